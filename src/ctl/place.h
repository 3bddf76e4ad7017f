/*
 * Where control sockets are: NAME.sock in $XDG_RUNTIME_DIR/guise, which for root without that
 * variable is /run/guise.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/un.h>

#define CTL_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)
#define CTL_NAME_MAX 63

/* A letter or digit, then those, '.', '_' and '-'. */
bool ctl_name_valid(const char *name);

/*
 * The directory; -ENOENT with *err if this user has none. `make` makes it if it is missing, and
 * refuses one that others may change.
 */
int ctl_directory(char dir[CTL_PATH_SIZE], bool make, struct error *err);

/* The socket of a machine: of that name, or the path itself if there is a slash in it. */
int ctl_path(const char *name, char path[CTL_PATH_SIZE], struct error *err);

/* Whether a file in the directory is a machine's socket; then its name. */
bool ctl_name_of(const char *file, char name[CTL_NAME_MAX + 1]);

/*
 * A lock against others who look whether a socket's name is free: a descriptor of its directory, to
 * be closed; or -errno.
 */
int ctl_lock(const char *path, struct error *err);
/*
 * Removes a socket that its machine has left behind; with the lock. -EADDRINUSE: a machine serves
 * it; -EEXIST: it is something else.
 */
int ctl_free_path(const char *path, struct error *err);
/* The same with the lock taken, and without a word. */
void ctl_forget(const char *path);
