/*
 * The program's seccomp filters (Documentation/userspace-api/seccomp_filter.rst). They see
 * riscv64's numbers and registers, which the host's kernel does not have; so they are run here,
 * before a call is served.
 *
 * There are no tracers and no listeners: SECCOMP_RET_TRACE is -ENOSYS, as without a tracer, and
 * SECCOMP_FILTER_FLAG_NEW_LISTENER is refused.
 *
 * A filter is constant once installed and points to the one before it; it is never freed, because
 * any thread may run it. fork copies filters with all memory; a new thread must be given its
 * parent's (seccomp_inherit).
 *
 * Threads: each asks and sets its own; SECCOMP_FILTER_FLAG_TSYNC sets all under process->lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct thread;
struct seccomp_filter;

struct seccomp {
    _Atomic bool active;                         /* there is something to ask */
    _Atomic bool strict;                         /* SECCOMP_MODE_STRICT */
    const struct seccomp_filter *_Atomic filter; /* the last installed */
};

/*
 * Whether the call is to be made. False: *result is what it gives instead; a signal may be pending.
 * Does not come back if it ends the thread.
 */
bool seccomp_allows(struct thread *t, uint64_t number, const uint64_t a[6], int64_t *result);

/* Of a thread that `parent` makes, before it runs. With process->lock held. */
void seccomp_inherit(struct thread *child, const struct thread *parent);

/* SECCOMP_MODE_... */
int64_t seccomp_mode(const struct thread *t);

/* The system call of that name: its result. */
int64_t seccomp_set(struct thread *t, unsigned operation, unsigned flags, uint64_t args);
