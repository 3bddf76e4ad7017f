/* Signals: signal_calls.c does the work. */
#include "proc/syscall.h"

#include <errno.h>

int64_t sys_sigaltstack(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return signal_sigaltstack(t, a[0], a[1]);
}

int64_t sys_rt_sigsuspend(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return signal_rt_sigsuspend(t, a[0], a[1]);
}

int64_t sys_rt_sigaction(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return signal_rt_sigaction(t, (int)a[0], a[1], a[2], a[3]);
}

int64_t sys_rt_sigprocmask(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return signal_rt_sigprocmask(t, (int)a[0], a[1], a[2], a[3]);
}

int64_t sys_rt_sigpending(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return signal_rt_sigpending(t, a[0], a[1]);
}

int64_t sys_rt_sigreturn(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)a;
    return signal_sigreturn(t);
}

/* The kernel repeats on its own only calls that no handler interrupted, and it does so there. */
int64_t sys_restart_syscall(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)a;
    return -EINTR;
}
