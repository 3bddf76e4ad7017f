/* Between the files that signals.h is about. */
#pragma once

#include "proc/process.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

/* stack_t. */
struct guest_stack {
    uint64_t sp;
    int32_t flags;
    uint32_t pad;
    uint64_t size;
};

struct signal_action signal_get_action(struct thread *t, int sig);
int64_t signal_set_action(struct thread *t, int sig, const struct signal_action *a);

/* 0, or -THREAD_RESTART: a signal was noted while the old mask was in force. */
int64_t signal_change_mask(struct thread *t, uint64_t mask);

/* As sigaltstack sets it. */
int64_t signal_set_stack(struct thread *t, const struct guest_stack *stack);
/* Is the stack pointer on the alternate stack? */
bool signal_on_stack(const struct thread *t);

/*
 * Delivers a signal after the tracer, if there is one, has agreed, or another one if it wants that.
 * With all of the host's signals blocked; they are not any more afterwards.
 */
void signal_deliver_traced(struct thread *t, int sig, siginfo_t *info);
