/*
 * Takes from this process all that it does not need any more (docs/confinement.md): other files,
 * networks and processes, new programs, privileges, most system calls.
 */
#pragma once

#include "base/error.h"
#include "sandbox/calls.h"
#include "sandbox/landlock.h"

#include <stdint.h>

struct confine {
    unsigned calls;                    /* CALLS_... */
    bool quiet;                        /* other calls fail, and do not end the process */
    const struct landlock_path *paths; /* what it may still open */
    unsigned path_count;
    bool net;     /* it may still use networks */
    bool keep;    /* its user, privileges and descriptors: it goes on opening files */
    bool isolate; /* namespaces of its own, where the host allows that: nothing is opened by name */
    uint32_t user; /* a process that is root becomes this user and group */
    uint32_t group;
};

#define CONFINE_NOBODY 65534u

struct confine_report {
    unsigned calls; /* system calls that are left */
    int landlock;   /* its version, 0: none */
    bool namespaces;
    uint32_t user;
    bool root; /* it is still root, which may be one of a container only */
};

/*
 * The process must have one thread: the kernel confines most of it thread by thread. What the host
 * does not have is left out, and reported; without a list of system calls it fails. Descriptors
 * that it was started with are closed, but 0, 1 and 2: guise's own close on exec. -errno with a
 * sentence; then some of it may have been done.
 */
int confine(const struct confine *how, struct confine_report *report, struct error *err);

/* A part of it: no capabilities any more, and none by executing a program. 0 or -errno. */
int confine_privileges(void);
