/* The system calls about signals: actions, masks, alternate stacks. */
#include "proc/signal_host.h"
#include "proc/signal_impl.h"
#include "proc/syscall.h"

#include <errno.h>
#include <sys/syscall.h>

#define STACK_MIN 2048u /* MINSIGSTKSZ of riscv64 */

/* ---- actions ---- */

struct signal_action signal_get_action(struct thread *t, int sig)
{
    struct signal_actions *all = t->signals.actions;
    pthread_mutex_lock(&all->lock);
    struct signal_action a = all->action[sig];
    pthread_mutex_unlock(&all->lock);
    return a;
}

int64_t signal_set_action(struct thread *t, int sig, const struct signal_action *a)
{
    struct signal_actions *all = t->signals.actions;
    pthread_mutex_lock(&all->lock);
    int64_t rc = host_follow(sig, a);
    if (!rc)
        all->action[sig] = *a;
    pthread_mutex_unlock(&all->lock);
    return rc;
}

int64_t signal_rt_sigaction(struct thread *t, int sig, uint64_t act, uint64_t old, uint64_t size)
{
    struct signal_action a;
    if (size != SET_SIZE)
        return -EINVAL;
    if (act && !guest_read(&a, act, sizeof a))
        return -EFAULT;
    if (sig < 1 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (act && (BIT(sig) & NEVER_BLOCKED))
        return -EINVAL;
    const struct signal_action before = signal_get_action(t, sig);
    if (act) {
        a.mask &= ~NEVER_BLOCKED;
        int64_t rc = signal_set_action(t, sig, &a);
        if (rc)
            return rc;
    }
    return old && !guest_write(old, &before, sizeof before) ? -EFAULT : 0;
}

/* ---- masks ---- */

int64_t signal_change_mask(struct thread *t, uint64_t mask)
{
    uint64_t host = host_mask(mask);
    int64_t rc = thread_host_call(t, SYS_rt_sigprocmask, SIG_SETMASK, guest_address(&host), 0,
                                  SET_SIZE, 0, 0);
    if (!rc)
        t->signals.mask = mask & ~NEVER_BLOCKED;
    return rc;
}

int64_t signal_rt_sigprocmask(struct thread *t, int how, uint64_t set, uint64_t old, uint64_t size)
{
    uint64_t before = t->signals.mask, bits;
    if (size != SET_SIZE)
        return -EINVAL;
    if (set) {
        if (!guest_read(&bits, set, sizeof bits))
            return -EFAULT;
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
        int64_t rc = signal_change_mask(t, how == SIG_BLOCK     ? before | bits
                                           : how == SIG_UNBLOCK ? before & ~bits
                                                                : bits);
        if (rc)
            return rc;
    }
    return old && !guest_write(old, &before, sizeof before) ? -EFAULT : 0;
}

int64_t signal_rt_sigpending(struct thread *t, uint64_t set, uint64_t size)
{
    uint64_t pending;
    if (size > SET_SIZE)
        return -EINVAL;
    int64_t rc =
        thread_host_call(t, SYS_rt_sigpending, guest_address(&pending), SET_SIZE, 0, 0, 0, 0);
    pending |= t->signals.held;
    return !rc && !guest_write(set, &pending, size) ? -EFAULT : rc;
}

bool signal_mask_read(struct signal_mask *m, uint64_t set)
{
    if (!guest_read(&m->guest, set, sizeof m->guest))
        return false;
    m->guest &= ~NEVER_BLOCKED;
    m->host = host_mask(m->guest);
    return true;
}

/* A call that a signal has interrupted leaves its mask in force for the delivery. */
int64_t signal_masked_call(struct thread *t, const struct signal_mask *m, long number,
                           const uint64_t a[6])
{
    struct thread_signals *s = &t->signals;
    uint64_t before = s->mask;
    if (m)
        s->mask = m->guest;
    int64_t rc = syscall_host(t, number, a);
    if (m && rc == -EINTR && s->pending) {
        s->mask_before = before;
        s->mask_replaced = true;
    } else {
        s->mask = before;
    }
    return rc;
}

int64_t signal_rt_sigsuspend(struct thread *t, uint64_t set, uint64_t size)
{
    struct signal_mask m;
    if (size != SET_SIZE)
        return -EINVAL;
    if (!signal_mask_read(&m, set))
        return -EFAULT;
    const uint64_t a[6] = {guest_address(&m.host), SET_SIZE};
    return signal_masked_call(t, &m, SYS_rt_sigsuspend, a);
}

/* ---- alternate stacks ---- */

bool signal_on_stack(const struct thread *t)
{
    const struct thread_signals *s = &t->signals;
    uint64_t sp = t->hart->x[REG_SP];
    return !((unsigned)s->stack_flags & (SS_DISABLE | SS_AUTODISARM)) && sp > s->stack &&
           sp - s->stack <= s->stack_size;
}

int64_t signal_set_stack(struct thread *t, const struct guest_stack *stack)
{
    unsigned mode = (unsigned)stack->flags & ~SS_AUTODISARM;
    if (signal_on_stack(t))
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        t->signals.stack = t->signals.stack_size = 0;
        t->signals.stack_flags = stack->flags;
        return 0;
    }
    if (stack->size < STACK_MIN)
        return -ENOMEM;
    t->signals.stack = stack->sp;
    t->signals.stack_size = stack->size;
    t->signals.stack_flags = stack->flags;
    return 0;
}

int64_t signal_sigaltstack(struct thread *t, uint64_t stack, uint64_t old)
{
    const struct thread_signals *s = &t->signals;
    struct guest_stack now, before = {.sp = s->stack, .size = s->stack_size};
    if (stack && !guest_read(&now, stack, sizeof now))
        return -EFAULT;
    unsigned state = !s->stack_size ? SS_DISABLE : signal_on_stack(t) ? SS_ONSTACK : 0;
    before.flags = (int32_t)(state | ((unsigned)s->stack_flags & SS_AUTODISARM));
    int64_t rc = stack ? signal_set_stack(t, &now) : 0;
    if (!rc && old && !guest_write(old, &before, sizeof before))
        rc = -EFAULT;
    return rc;
}
