/*
 * Bringing what the host's handlers noted (signal_host.c) to the program's.
 *
 * While a noted signal waits, the host blocks all others of the thread (the handler sets the mask
 * that the kernel restores on its return), so one place for it is enough; the kernel keeps the
 * rest. SIGSEGV and SIGBUS cannot be blocked: one that somebody sent is kept in `held` while the
 * program blocks it.
 *
 * A noted signal has come before whatever the thread does next: before the guest's instruction, so
 * that an exception is forgotten and happens again, and before a system call that changes what is
 * blocked or who has what pending. Such calls hold the host's signals first, or are host calls.
 */
#include "proc/signal_frame.h"
#include "proc/signal_host.h"
#include "proc/signal_impl.h"

#include "base/bits.h"
#include "proc/syscall.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- masks ---- */

static void signal_set_mask(struct thread *t, uint64_t mask)
{
    t->signals.mask = mask & ~NEVER_BLOCKED;
    host_set_mask(host_mask(t->signals.mask));
}

bool signals_block_all(struct thread *t)
{
    return host_hold_signals(t);
}

bool signals_shut(struct thread *t)
{
    host_set_mask(UINT64_MAX);
    return !t->signals.pending;
}

void signals_unblock(const struct thread *t)
{
    if (!t->signals.pending)
        host_set_mask(host_mask(t->signals.mask));
}

/* ---- entering handlers ---- */

/* Where a handler's frame goes below; UINT64_MAX: over the end of the alternate stack. */
static uint64_t signal_stack(const struct thread *t, const struct signal_action *a)
{
    const struct thread_signals *s = &t->signals;
    uint64_t sp = t->hart->x[REG_SP];
    if (signal_on_stack(t))
        return sp - s->stack <= SIGNAL_FRAME_SIZE ? UINT64_MAX : sp;
    return (a->flags & SA_ONSTACK) && s->stack_size ? s->stack + s->stack_size : sp;
}

/* The mask that the handler's return brings back. */
static uint64_t signal_take_mask(struct thread *t)
{
    struct thread_signals *s = &t->signals;
    uint64_t mask = s->mask_replaced ? s->mask_before : s->mask;
    s->mask_replaced = false;
    return mask;
}

static void signal_force_now(struct thread *t, int sig, const siginfo_t *info);

static siginfo_t signal_info(int sig, int code, uint64_t address)
{
    siginfo_t info = {.si_signo = sig, .si_code = code};
    info.si_addr = (void *)(uintptr_t)address;
    return info;
}

/* As the kernel does when it cannot make a frame. */
static void signal_no_frame(struct thread *t, int sig)
{
    if (sig == SIGSEGV)
        host_die(SIGSEGV);
    const siginfo_t info = signal_info(SIGSEGV, SI_KERNEL, 0);
    signal_force_now(t, SIGSEGV, &info);
}

/* With all of the host's signals blocked, as all that follows. */
static void signal_enter(struct thread *t, int sig, const siginfo_t *info,
                         const struct signal_action *a)
{
    struct rv_hart *h = t->hart;
    trace_before_handler(t, a->flags);
    uint64_t sp = signal_stack(t, a), before = signal_take_mask(t);
    uint64_t frame = sp == UINT64_MAX ? 0 : signal_frame_push(t, sp, info, before);
    if (a->flags & SA_RESETHAND)
        signal_set_action(t, sig, &(struct signal_action){.flags = a->flags, .mask = a->mask});
    if (!frame) {
        signal_no_frame(t, sig);
        return;
    }
    if ((unsigned)t->signals.stack_flags & SS_AUTODISARM) {
        t->signals.stack = t->signals.stack_size = 0;
        t->signals.stack_flags = SS_DISABLE;
    }
    h->x[REG_RA] = t->process->mm.sigreturn;
    h->x[REG_SP] = frame;
    h->x[REG_A0] = (uint64_t)sig;
    h->x[REG_A1] = signal_frame_info(frame);
    h->x[REG_A2] = signal_frame_context(frame);
    h->pc = a->handler & ~UINT64_C(1);
    h->reserve_key = RV_TLB_INVALID;
    signal_set_mask(t, t->signals.mask | a->mask | (a->flags & SA_NODEFER ? 0 : BIT(sig)));
}

/* ---- delivery ---- */

#define DEFAULT_IGNORES (BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH))

static void signal_deliver_one(struct thread *t, int sig, siginfo_t *info)
{
    const struct signal_action a = signal_get_action(t, sig);
    if (a.handler != DEFAULT && a.handler != IGNORE) {
        signal_enter(t, sig, info, &a);
        return;
    }
    /* The action has changed since the signal was noted. */
    signals_unblock(t);
    if (a.handler == IGNORE || (BIT(sig) & DEFAULT_IGNORES))
        return;
    if (BIT(sig) & HOST_NEEDS)
        host_die(sig);
    trace_let(t, sig);
    trace_publish(t);
    host_send_again(sig, info);
    trace_adopt(t);
}

void signal_deliver_traced(struct thread *t, int sig, siginfo_t *info)
{
    sig = trace_signal(t, sig, info);
    if (sig)
        signal_deliver_one(t, sig, info);
    else
        signals_unblock(t);
}

/* One that the program did block, and does not any more. */
static bool signal_release(struct thread *t)
{
    uint64_t free = t->signals.held & ~t->signals.mask;
    if (!free)
        return false;
    if (!host_hold_signals(t))
        return true; /* that one first */
    int sig = __builtin_ctzll(free) + 1;
    siginfo_t info = t->signals.held_info[held_index(sig)];
    __atomic_and_fetch(&t->signals.held, ~BIT(sig), __ATOMIC_SEQ_CST);
    signal_deliver_traced(t, sig, &info);
    return true;
}

/* The tracer has called. */
static void signal_called(struct thread *t)
{
    host_hold_signals(t);
    trace_serve(t);
    signals_unblock(t);
}

void signals_deliver(struct thread *t)
{
    for (;;) {
        int sig = t->signals.pending;
        if (!sig && !signal_release(t))
            break;
        if (!sig)
            continue;
        siginfo_t info = t->signals.info;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        t->signals.pending = 0;
        if (sig != TRACE_CALLED)
            signal_deliver_traced(t, sig, &info);
        if (sig == TRACE_CALLED || t->trace.wanted)
            signal_called(t);
    }
    if (t->signals.mask_replaced) {
        signal_set_mask(t, signal_take_mask(t)); /* nobody's handler ran */
        if (t->signals.pending)
            signals_deliver(t);
    }
    trace_after_signals(t);
}

int64_t signal_sigreturn(struct thread *t)
{
    struct signal_frame_rest rest;
    struct guest_stack stack;
    uint64_t frame = t->hart->x[REG_SP];
    bool sound = signal_frame_read(frame, &rest) && guest_read(&stack, rest.stack, sizeof stack);
    if (sound && signal_change_mask(t, rest.mask))
        return -THREAD_RESTART;
    if (!sound || !signal_frame_pop(t, frame))
        return signal_force(t, SIGSEGV, SI_KERNEL, 0) ? SYSCALL_NO_RESULT : -THREAD_RESTART;
    /* The registers are those of the code that was interrupted, the stack as well. */
    signal_set_stack(t, &stack);
    return SYSCALL_NO_RESULT;
}

/* ---- exceptions ---- */

static void signal_force_now(struct thread *t, int sig, const siginfo_t *info)
{
    const struct signal_action a = signal_get_action(t, sig);
    if ((t->signals.mask & BIT(sig)) || a.handler == DEFAULT || a.handler == IGNORE)
        host_die(sig);
    signal_enter(t, sig, info, &a);
}

bool signal_force(struct thread *t, int sig, int code, uint64_t address)
{
    if (!host_hold_signals(t))
        return false;
    siginfo_t info = signal_info(sig, code, address);
    int now = trace_signal(t, sig, &info);
    if (now == sig)
        signal_force_now(t, sig, &info);
    else if (now)
        signal_deliver_one(t, now, &info);
    else
        signals_unblock(t);
    return true;
}

/* The host refused an access. */
static void signal_memory(struct thread *t, int needs, uint64_t address)
{
    switch (mm_access(&t->process->mm, address, needs)) {
    case MM_ALLOWED: /* the instruction is tried again */
        break;
    case MM_NOTHING:
        signal_force(t, SIGSEGV, SEGV_MAPERR, address);
        break;
    case MM_NOT_SO:
        signal_force(t, SIGSEGV, SEGV_ACCERR, address);
        break;
    case MM_NOT_THERE:
        signal_force(t, SIGBUS, BUS_ADRERR, address);
        break;
    }
}

void signal_exception(struct thread *t, unsigned cause, uint64_t tval)
{
    uint64_t pc = t->hart->pc;
    switch (cause) {
    case RV_CAUSE_ILLEGAL:
        signal_force(t, SIGILL, ILL_ILLOPC, pc);
        break;
    case RV_CAUSE_BREAKPOINT:
        signal_force(t, SIGTRAP, TRAP_BRKPT, pc);
        break;
    case RV_CAUSE_LOAD_MISALIGNED:
    case RV_CAUSE_STORE_MISALIGNED:
    case RV_CAUSE_FETCH_MISALIGNED:
        signal_force(t, SIGBUS, BUS_ADRALN, pc); /* as the kernel, which tells where it is */
        break;
    case RV_CAUSE_STORE_PAGE:
    case RV_CAUSE_STORE_ACCESS:
        signal_memory(t, PROT_WRITE, tval);
        break;
    case RV_CAUSE_FETCH_PAGE:
    case RV_CAUSE_FETCH_ACCESS:
        signal_memory(t, PROT_EXEC, tval);
        break;
    default:
        signal_memory(t, PROT_READ | PROT_EXEC, tval);
        break;
    }
}

/* ---- life ---- */

void signals_inherit(struct thread *child, const struct thread *parent)
{
    child->signals = (struct thread_signals){
        .actions = parent->signals.actions,
        .mask = parent->signals.mask,
        .stack_flags = SS_DISABLE,
    };
}

bool signals_own_actions(struct thread *child, bool clear)
{
    struct signal_actions *own = calloc(1, sizeof *own), *all = child->signals.actions;
    if (!own)
        return false;
    pthread_mutex_init(&own->lock, NULL);
    pthread_mutex_lock(&all->lock);
    memcpy(own->action, all->action, sizeof own->action);
    pthread_mutex_unlock(&all->lock);
    child->signals.actions = own;
    child->own_actions = true;
    child->clear_actions = clear;
    return true;
}

void signals_clear(struct thread *t)
{
    for (int sig = 1; sig <= SIGNAL_COUNT; sig++) {
        struct signal_action a = signal_get_action(t, sig);
        if (a.handler != DEFAULT && a.handler != IGNORE)
            signal_set_action(t, sig, &(struct signal_action){0});
    }
}

int signals_init(struct thread *first, uint64_t ignored, struct error *err)
{
    struct signal_actions *all = calloc(1, sizeof *all);
    if (!all)
        return error_set(err, ENOMEM, "out of memory for signals");
    pthread_mutex_init(&all->lock, NULL);
    first->signals.actions = all;
    first->signals.stack_flags = SS_DISABLE;
    /* What was ignored stays so. */
    for (int sig = 1; sig <= SIGNAL_COUNT; sig++)
        if (ignored & BIT(sig))
            all->action[sig].handler = IGNORE;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &first->signals.mask, SET_SIZE);
    host_set_mask(host_mask(first->signals.mask));
    return 0;
}
