/*
 * System calls of a confined process: a seccomp filter made from the rows of calls.def that concern
 * it.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Whose rows; a process may be several. */
enum {
    CALLS_VM = 1u << 0,
    CALLS_DISK = 1u << 1,
    CALLS_NET = 1u << 2,
    CALLS_LISTEN = 1u << 3,
    CALLS_TTY = 1u << 4,
    CALLS_NAT = 1u << 5,
    CALLS_IMAGE = 1u << 6,
    CALLS_SHARE = 1u << 7,
    CALLS_FS = 1u << 8,
    CALLS_NBD = 1u << 9,
};

/*
 * From now on, and for all threads, only the rows of `whose` are carried out; `quiet`: others fail
 * with EPERM and do not end the process. Privileges must have been given up (PR_SET_NO_NEW_PRIVS).
 * *count: how many calls there are. -ENOSYS with a sentence if the kernel has no filters.
 */
int calls_confine(unsigned whose, bool quiet, unsigned *count, struct error *err);

/*
 * Installs the handler that says which call was refused, after which the process ends by SIGSYS as
 * if there were no handler; one that was there before is called in between.
 */
int violation_init(struct error *err);
