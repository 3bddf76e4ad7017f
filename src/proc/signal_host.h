/*
 * The host's side of signals: its handlers, which only note, its masks and its actions. For the
 * files of signals.h only.
 */
#pragma once

#include "proc/process.h"

/* Of signal_action.handler. */
enum { DEFAULT, IGNORE };

#define SET_SIZE 8u /* bytes of the kernel's sigset_t */
#define BIT(sig) (UINT64_C(1) << ((sig)-1))
#define NEVER_BLOCKED (BIT(SIGKILL) | BIT(SIGSTOP))
/* Translated code needs them: never blocked in the host. */
#define HOST_NEEDS (BIT(SIGSEGV) | BIT(SIGBUS))

/* The host blocks this for a guest's mask. */
static inline uint64_t host_mask(uint64_t guest)
{
    return guest & ~HOST_NEEDS;
}

void host_set_mask(uint64_t mask);

/*
 * Blocks all signals that can be; false: one has been noted before and has to be delivered first.
 * They stay blocked in either case. What comes between two looks at `pending` would be lost.
 */
bool host_hold_signals(struct thread *t);

/* The handler of the host for this signal. */
int64_t host_install(int sig, uint64_t guest_flags);
/* The host does what the program's action says, SIGSEGV and SIGBUS apart. */
int64_t host_follow(int sig, const struct signal_action *action);

/* Sends a signal again to this thread, as it was. */
void host_send_again(int sig, siginfo_t *info);
/* The process ends as the signal's default says; for those that end it. */
_Noreturn void host_die(int sig);

/* The place of SIGSEGV or SIGBUS in thread_signals.held_info. */
static inline unsigned held_index(int sig)
{
    return sig == SIGBUS;
}
