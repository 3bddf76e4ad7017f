/*
 * The control socket of a machine: a Unix socket, served by the machine's event loop, at which each
 * line is a request and gets one line as its answer (docs/control.md).
 *
 * Only the owner can connect (mode 0600). Clients are hostile all the same: their number, the
 * length of a line and what is kept for a slow reader are bounded, and a client that does not read
 * its answers is not listened to.
 */
#pragma once

#include "ctl/command.h"

struct ctl;

/*
 * Listens at `path` for requests to the machine. A socket there that nobody serves is replaced;
 * -EADDRINUSE with *err if somebody does. NULL with *err. Before vm_run; m's strings are copied.
 */
struct ctl *ctl_open(const struct ctl_machine *m, const char *path, struct error *err);
/* Removes the socket's name; in a process that was forked, too. NULL is allowed. */
void ctl_remove(struct ctl *c);
/* After vm_run, before vm_free; ctl_remove is to come before. NULL is allowed. */
void ctl_close(struct ctl *c);
