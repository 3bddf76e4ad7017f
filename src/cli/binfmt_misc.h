/*
 * The kernel's list of handlers for programs that it cannot run itself: binfmt_misc (Linux,
 * Documentation/admin-guide/binfmt-misc.rst), a file system with a file for each handler.
 *
 * It is the kernel's, so what is registered holds for all processes of the user namespace that the
 * file system was mounted in, until it is removed or the system starts again.
 */
#pragma once

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>

#define BINFMT_DIR "/proc/sys/fs/binfmt_misc"

struct binfmt_handler {
    const char *name; /* of the file */
    char interpreter[PATH_MAX];
    char flags[16]; /* letters, as when it was registered */
    bool enabled;
};

/* 1: it is mounted and does something, 0: it is switched off as a whole, or -errno: not mounted. */
int binfmt_enabled(void);

/* Mounts it when it is not mounted yet. -errno with a sentence. */
int binfmt_mount(struct error *err);

/* Calls fn for each handler that riscv64 programs would be given to. -errno with a sentence. */
int binfmt_each(void (*fn)(void *ctx, const struct binfmt_handler *h), void *ctx,
                struct error *err);

/* Registers a handler for riscv64 programs. -errno with a sentence. */
int binfmt_register(const char *name, const char *interpreter, const char *flags,
                    struct error *err);

/* Takes one out of the list; the name must be one that binfmt_each gave. -errno with a sentence. */
int binfmt_remove(const char *name, struct error *err);
