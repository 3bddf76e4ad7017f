/*
 * The program's seccomp filters. They see riscv64's numbers and registers, which the host's kernel
 * does not have; so they are run here, before the call is served.
 *
 * A filter is constant once installed and points to the one before it. fork copies them with all
 * memory; a new thread must be given its parent's (seccomp_inherit).
 *
 * Threads: each sets its own; SECCOMP_FILTER_FLAG_TSYNC sets all under process->lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct thread;
struct seccomp_filter;

struct seccomp {
    bool active;                                 /* there is something to ask */
    bool strict;                                 /* SECCOMP_MODE_STRICT */
    const struct seccomp_filter *_Atomic filter; /* the last installed */
};

/*
 * Whether the call is to be made. False: *result is what it gives instead; a signal may be pending.
 * Does not come back if it ends the thread.
 */
bool seccomp_allows(struct thread *t, uint64_t number, const uint64_t a[6], int64_t *result);

/* Of a thread that `parent` makes, before it runs. */
void seccomp_inherit(struct thread *child, const struct thread *parent);

/* prctl(PR_GET_SECCOMP) and the system call: -errno. */
int64_t seccomp_mode(const struct thread *t);
int64_t seccomp_set(struct thread *t, unsigned operation, unsigned flags, uint64_t args);
