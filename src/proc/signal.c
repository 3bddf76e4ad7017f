/*
 * Handlers of the host, and what they noted brought to the program's.
 *
 * While a noted signal waits, the host blocks all others of the thread (the handler sets the mask
 * that the kernel restores on its return), so one place for it is enough; the kernel keeps the
 * rest. SIGSEGV and SIGBUS cannot be blocked: one that somebody sent is kept in `held` while the
 * program blocks it.
 */
#include "proc/signal_frame.h"

#include "base/bits.h"
#include "host/fault.h"
#include "proc/host_call.h"
#include "proc/syscall.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Of signal_action.handler. */
enum { DEFAULT, IGNORE };

#define SET_SIZE 8u /* bytes of the kernel's sigset_t */
#define BIT(sig) (UINT64_C(1) << ((sig)-1))
#define NEVER_BLOCKED (BIT(SIGKILL) | BIT(SIGSTOP))
#define HOST_NEEDS (BIT(SIGSEGV) | BIT(SIGBUS))
/* While a signal waits to be delivered: exceptions of guise itself have to kill it. */
#define WAITING_MASK (~(HOST_NEEDS | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP)))

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
#define STACK_MIN 2048u /* MINSIGSTKSZ of riscv64 */

/* ---- the host's side ---- */

/* As the kernel takes it: the C library keeps signals 32 and 33 to itself. */
struct host_action {
    uint64_t handler; /* address of a function; or SIG_DFL, SIG_IGN */
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

#define HOST_RESTORER 0x04000000u /* SA_RESTORER */

void signal_host_restorer(void);
__asm__(".pushsection .text\n"
        ".hidden signal_host_restorer\n"
        ".globl signal_host_restorer\n"
        "signal_host_restorer:\n"
        "movq $15, %rax\n" /* rt_sigreturn */
        "syscall\n"
        ".popsection\n");

static void host_set_mask(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, SET_SIZE);
}

static uint64_t host_mask(uint64_t guest)
{
    return guest & ~HOST_NEEDS;
}

static int64_t host_sigaction(int sig, const struct host_action *a)
{
    return syscall(SYS_rt_sigaction, sig, a, NULL, SET_SIZE) ? -errno : 0;
}

static void host_default(int sig)
{
    const struct host_action a = {0};
    host_sigaction(sig, &a);
}

/* Sends a signal again to this thread, as it was. */
static void host_send_again(int sig, siginfo_t *info)
{
    if (info->si_code < 0 && info->si_code != SI_TKILL)
        syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info);
    else
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

/* The process ends as the signal's default says; for those that end it. */
static _Noreturn void host_die(int sig)
{
    host_default(sig);
    host_set_mask(~BIT(sig));
    for (;;)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static unsigned held_index(int sig)
{
    return sig == SIGBUS;
}

/* SIGSEGV or SIGBUS that the program blocks or that finds another signal waiting. */
static void host_hold(struct thread *t, int sig, const siginfo_t *info)
{
    t->signals.held_info[held_index(sig)] = *info;
    t->signals.held |= BIT(sig);
    atomic_store(&t->vcpu.stop_at, 0);
}

static void host_note(struct thread *t, int sig, const siginfo_t *info, ucontext_t *uc)
{
    uint64_t mask = WAITING_MASK;
    t->signals.info = *info;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    t->signals.pending = sig;
    atomic_store(&t->vcpu.stop_at, 0);
    memcpy(&uc->uc_sigmask, &mask, sizeof mask);
    uintptr_t pc = host_call_interrupted((uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);
    if (pc)
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

static void host_handler(int sig, siginfo_t *info, void *context)
{
    struct thread *t = thread_self();
    if (!t)
        return;
    if (!(BIT(sig) & HOST_NEEDS)) {
        host_note(t, sig, info, context);
        return;
    }
    if (info->si_code > 0)
        host_die(sig); /* a fault of guise itself, which nobody knew how to mend */
    if (t->signals.pending || (t->signals.mask & BIT(sig)))
        host_hold(t, sig, info);
    else
        host_note(t, sig, info, context);
}

static int64_t host_install(int sig, uint64_t guest_flags)
{
    const struct host_action a = {
        .handler = (uint64_t)(uintptr_t)host_handler,
        .flags =
            SA_SIGINFO | SA_RESTART | HOST_RESTORER | (guest_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT)),
        .restorer = signal_host_restorer,
        .mask = WAITING_MASK,
    };
    return host_sigaction(sig, &a);
}

/* The host does what the program's action says, SIGSEGV and SIGBUS apart. */
static int64_t host_follow(int sig, const struct signal_action *action)
{
    if (BIT(sig) & HOST_NEEDS)
        return 0;
    if (action->handler != DEFAULT && action->handler != IGNORE)
        return host_install(sig, action->flags);
    const struct host_action a = {
        .handler = action->handler,
        .flags = action->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESTART),
    };
    return host_sigaction(sig, &a);
}

/* ---- actions ---- */

static struct signal_action signal_get_action(struct thread *t, int sig)
{
    struct signal_actions *all = t->signals.actions;
    pthread_mutex_lock(&all->lock);
    struct signal_action a = all->action[sig];
    pthread_mutex_unlock(&all->lock);
    return a;
}

static int64_t signal_set_action(struct thread *t, int sig, const struct signal_action *a)
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
    if (size != SET_SIZE || sig < 1 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (act && (BIT(sig) & NEVER_BLOCKED))
        return -EINVAL;
    if (act && !guest_read(&a, act, sizeof a))
        return -EFAULT;
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

static void signal_set_mask(struct thread *t, uint64_t mask)
{
    t->signals.mask = mask & ~NEVER_BLOCKED;
    host_set_mask(host_mask(t->signals.mask));
}

void signals_block_all(uint64_t *old)
{
    uint64_t all = ~HOST_NEEDS;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, SET_SIZE);
}

void signals_unblock(const struct thread *t, bool for_exec)
{
    /* With a signal waiting the rest stays blocked until it is delivered. */
    if (!t->signals.pending || for_exec)
        host_set_mask(for_exec ? t->signals.mask : host_mask(t->signals.mask));
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
        t->signals.mask = (how == SIG_BLOCK     ? before | bits
                           : how == SIG_UNBLOCK ? before & ~bits
                                                : bits) &
                          ~NEVER_BLOCKED;
        signals_unblock(t, false);
    }
    return old && !guest_write(old, &before, sizeof before) ? -EFAULT : 0;
}

bool signal_host_mask(uint64_t set, uint64_t *host)
{
    if (!guest_read(host, set, sizeof *host))
        return false;
    *host = host_mask(*host);
    return true;
}

int64_t signal_rt_sigsuspend(struct thread *t, uint64_t set, uint64_t size)
{
    uint64_t host;
    if (size != SET_SIZE)
        return -EINVAL;
    if (!signal_host_mask(set, &host))
        return -EFAULT;
    return thread_host_call(t, SYS_rt_sigsuspend, guest_address(&host), SET_SIZE, 0, 0, 0, 0);
}

/* ---- alternate stacks ---- */

static bool signal_on_stack(const struct thread *t)
{
    const struct thread_signals *s = &t->signals;
    uint64_t sp = t->hart->x[REG_SP];
    return !((unsigned)s->stack_flags & (SS_DISABLE | SS_AUTODISARM)) && sp > s->stack &&
           sp - s->stack <= s->stack_size;
}

struct guest_stack {
    uint64_t sp;
    int32_t flags;
    uint32_t pad;
    uint64_t size;
};

static int64_t signal_set_stack(struct thread *t, const struct guest_stack *stack)
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

/* Where a handler's frame goes below; UINT64_MAX: over the end of the alternate stack. */
static uint64_t signal_stack(const struct thread *t, const struct signal_action *a)
{
    const struct thread_signals *s = &t->signals;
    uint64_t sp = t->hart->x[REG_SP];
    if (signal_on_stack(t))
        return sp - s->stack < SIGNAL_FRAME_SIZE ? UINT64_MAX : sp;
    return (a->flags & SA_ONSTACK) && s->stack_size ? s->stack + s->stack_size : sp;
}

/* ---- delivery ---- */

/* The call at pc that a signal came before: repeated, unless the handler does not want that. */
static void signal_end_call(struct thread *t, const struct signal_action *a)
{
    if (t->signals.interrupted && !(a->flags & SA_RESTART)) {
        t->hart->x[REG_A0] = (uint64_t)-EINTR;
        t->hart->pc += 4;
    }
    t->signals.interrupted = false;
}

/* No frame can be made: the kernel's force_sigsegv. */
static _Noreturn void signal_no_frame(int sig)
{
    (void)sig;
    host_die(SIGSEGV);
}

static void signal_enter(struct thread *t, int sig, const siginfo_t *info,
                         const struct signal_action *a)
{
    struct rv_hart *h = t->hart;
    signal_end_call(t, a);
    uint64_t sp = signal_stack(t, a);
    uint64_t frame = sp == UINT64_MAX ? 0 : signal_frame_push(t, sp, info, t->signals.mask);
    if (!frame)
        signal_no_frame(sig);
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
    if (a->flags & SA_RESETHAND)
        signal_set_action(t, sig, &(struct signal_action){.flags = a->flags});
    signal_set_mask(t, t->signals.mask | a->mask | (a->flags & SA_NODEFER ? 0 : BIT(sig)));
}

static void signal_deliver_one(struct thread *t, int sig, siginfo_t *info)
{
    const struct signal_action a = signal_get_action(t, sig);
    if (a.handler != DEFAULT && a.handler != IGNORE) {
        signal_enter(t, sig, info, &a);
        return;
    }
    /* The action has changed since the signal was noted. */
    signals_unblock(t, false);
    if (a.handler == IGNORE)
        return;
    if (BIT(sig) & HOST_NEEDS)
        host_die(sig);
    host_send_again(sig, info);
}

/* One that the program did block, and does not any more. */
static bool signal_release(struct thread *t)
{
    uint64_t free = t->signals.held & ~t->signals.mask;
    if (!free)
        return false;
    int sig = __builtin_ctzll(free) + 1;
    siginfo_t info = t->signals.held_info[held_index(sig)];
    __atomic_and_fetch(&t->signals.held, ~BIT(sig), __ATOMIC_SEQ_CST);
    signal_deliver_one(t, sig, &info);
    return true;
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
        signal_deliver_one(t, sig, &info);
    }
    t->signals.interrupted = false; /* nobody's handler ran: the call is repeated */
}

void signal_sigreturn(struct thread *t)
{
    struct signal_frame_rest rest;
    struct guest_stack stack;
    if (!signal_frame_pop(t, t->hart->x[REG_SP], &rest) ||
        !guest_read(&stack, rest.stack, sizeof stack)) {
        signal_force(t, SIGSEGV, SI_KERNEL, 0);
        return;
    }
    t->signals.mask = rest.mask & ~NEVER_BLOCKED;
    signals_unblock(t, false);
    /* The registers are those of the code that was interrupted, the stack as well. */
    signal_set_stack(t, &stack);
}

/* ---- exceptions ---- */

void signal_force(struct thread *t, int sig, int code, uint64_t address)
{
    const struct signal_action a = signal_get_action(t, sig);
    siginfo_t info = {.si_signo = sig, .si_code = code};
    info.si_addr = (void *)(uintptr_t)address;
    bool blocked = t->signals.mask & BIT(sig);
    if (blocked || a.handler == DEFAULT || a.handler == IGNORE)
        host_die(sig);
    signal_enter(t, sig, &info, &a);
}

/* A page that the host refused: not there, not so, or beyond its file's end. */
static void signal_memory(struct thread *t, int needs, uint64_t address)
{
    int prot;
    if (!mm_protection(&t->process->mm, address, &prot))
        signal_force(t, SIGSEGV, SEGV_MAPERR, address);
    else if (!(prot & needs))
        signal_force(t, SIGSEGV, SEGV_ACCERR, address);
    else
        signal_force(t, SIGBUS, BUS_ADRERR, address);
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
        signal_force(t, SIGBUS, BUS_ADRALN, tval);
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

void signals_prepare(void)
{
    host_install(SIGSEGV, 0);
    host_install(SIGBUS, 0);
}

int signals_init(struct thread *first, struct error *err)
{
    struct signal_actions *all = calloc(1, sizeof *all);
    if (!all)
        return error_set(err, ENOMEM, "out of memory for signals");
    pthread_mutex_init(&all->lock, NULL);
    first->signals.actions = all;
    first->signals.stack_flags = SS_DISABLE;
    /* What was ignored stays so. */
    for (int sig = 1; sig <= SIGNAL_COUNT; sig++) {
        struct host_action a;
        if (!syscall(SYS_rt_sigaction, sig, NULL, &a, SET_SIZE) && a.handler == IGNORE)
            all->action[sig].handler = IGNORE;
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &first->signals.mask, SET_SIZE);
    host_set_mask(host_mask(first->signals.mask));
    return 0;
}
