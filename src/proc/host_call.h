/* For the handler of signals: see host_call.c. */
#pragma once

#include "proc/process.h"

#include <ucontext.h>

/*
 * A signal for t was noted in this context: if t is about to make a system call, or the kernel has
 * gone back to it, it is given up. restarts: false: a call that the kernel has gone back to is
 * -EINTR, because the program's handler wants that and the host's did not say so.
 */
void host_call_give_up(const struct thread *t, ucontext_t *uc, bool restarts);

/* What the signal of this context has done to a host call of t. */
enum host_call_end {
    HOST_CALL_UNTOUCHED,
    HOST_CALL_REPEATS, /* the kernel has gone back to it */
    HOST_CALL_EINTR,   /* it is over */
};
enum host_call_end host_call_end(const struct thread *t, const ucontext_t *uc);
