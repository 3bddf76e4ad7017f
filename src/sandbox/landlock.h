/* Files that a process may open by name, as the kernel's landlock checks it. */
#pragma once

#include <stdbool.h>

enum landlock_rights {
    LANDLOCK_READ,
    LANDLOCK_WRITE, /* also written, made and removed: files */
    LANDLOCK_TREE,  /* everything but execution and devices */
};

struct landlock_path {
    const char *path; /* a file, or a directory with all below it */
    int fd;           /* or the directory itself, if `path` is NULL */
    enum landlock_rights rights;
};

/*
 * From now on this thread, and those that it starts, can open only what is at and below `paths`;
 * what is open stays so. `net`: but it may use TCP. It can reach no abstract socket and signal no
 * process that is not confined with it, where the kernel knows how to. The version of landlock, 0
 * if the kernel has none, or -errno.
 */
int landlock_confine(const struct landlock_path *paths, unsigned count, bool net);
