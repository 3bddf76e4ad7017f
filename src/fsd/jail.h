/*
 * What holds if a guest should find a mistake in fs.c: the process sees no files but those of the
 * folder, cannot run programs, has no capabilities, and only the system calls of a file server.
 *
 * Files: a mount namespace with the folder as its root, where the host lets users have one; and
 * landlock, where its kernel has that. A read-only folder is read-only in both. One of them must
 * be there.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/*
 * Opens the folder at `path` and gives up the rest of the file system: *root is the folder, the
 * working directory is /proc/self/fd. Before there are threads. 0 or -errno with *err.
 */
int jail_files(const char *path, bool readonly, int *root, struct error *err);

/* Gives up all system calls that are not in sandbox/calls.def for it, in all threads, which must be
 * there already. */
int jail_calls(struct error *err);
