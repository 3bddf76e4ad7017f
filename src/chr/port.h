/*
 * A named port, which a guest finds by its name (/dev/virtio-ports/NAME), and what it leads to on
 * the host: a text SPEC,name=NAME, where SPEC is unix:PATH or file:PATH as chr_open takes it, and
 * NAME up to CHR_PORT_NAME_MAX letters and digits, with . _ - after the first.
 */
#pragma once

#include "chr/chr.h"

#define CHR_PORT_NAME_MAX 63

/*
 * Opens it and writes the name. NULL with *err: EINVAL for a text that is none, or as chr_open.
 */
struct chr *chr_port_open(const char *text, char name[CHR_PORT_NAME_MAX + 1], struct loop *loop,
                          struct error *err);

/* The same checks for the text only, and the name. For option parsing. */
int chr_port_check(const char *text, char name[CHR_PORT_NAME_MAX + 1], struct error *err);

/* Is it one that clients connect to? */
bool chr_port_listens(const char *text);
