#include "proc/signal_host.h"

#include "proc/host_call.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* While a signal waits to be delivered. */
#define WAITING_MASK (~HOST_NEEDS)
/* With si_code > 0 an exception of the instruction at which the host is. */
#define EXCEPTIONS (HOST_NEEDS | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP))

/* As the kernel takes it: the C library keeps signals 32 and 33 to itself. */
struct host_action {
    uint64_t handler; /* address of a function; or SIG_DFL, SIG_IGN */
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

_Static_assert(sizeof(struct host_action) == sizeof(struct signals_former), "as signals.h has it");

#define HOST_RESTORER 0x04000000u /* SA_RESTORER */

void signal_host_restorer(void);
__asm__(".pushsection .text\n"
        ".hidden signal_host_restorer\n"
        ".globl signal_host_restorer\n"
        "signal_host_restorer:\n"
        "movq $15, %rax\n" /* rt_sigreturn */
        "syscall\n"
        ".popsection\n");

void host_set_mask(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, SET_SIZE);
}

bool host_hold_signals(struct thread *t)
{
    host_set_mask(WAITING_MASK);
    return !t->signals.pending;
}

static int64_t host_sigaction(int sig, const struct host_action *a)
{
    return syscall(SYS_rt_sigaction, sig, a, NULL, SET_SIZE) ? -errno : 0;
}

void host_send_again(int sig, siginfo_t *info)
{
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info))
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

void host_die(int sig)
{
    struct thread *t = thread_self();
    if (t) {
        trace_let(t, sig);
        trace_publish(t);
    }
    host_sigaction(sig, &(struct host_action){0});
    host_set_mask(~BIT(sig));
    for (;;)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

/* ---- handlers ---- */

/* SIGSEGV or SIGBUS that the program blocks or that finds another signal waiting. */
static void host_hold(struct thread *t, int sig, const siginfo_t *info)
{
    t->signals.held_info[held_index(sig)] = *info;
    __atomic_or_fetch(&t->signals.held, BIT(sig), __ATOMIC_SEQ_CST);
    atomic_store(&t->vcpu.stop_at, 0);
}

/* restarts: the handler wants an interrupted call to be repeated. */
static void host_note(struct thread *t, int sig, const siginfo_t *info, ucontext_t *uc,
                      bool restarts)
{
    uint64_t mask = WAITING_MASK;
    t->signals.info = *info;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    t->signals.pending = sig;
    atomic_store(&t->vcpu.stop_at, 0);
    memcpy(&uc->uc_sigmask, &mask, sizeof mask);
    host_call_give_up(t, uc, restarts);
}

/*
 * The program's action, without the lock, which this thread may hold: the words are the program's,
 * one by one.
 */
static struct signal_action host_look(const struct thread *t, int sig)
{
    const struct signal_action *a = &t->signals.actions->action[sig];
    return (struct signal_action){.handler = __atomic_load_n(&a->handler, __ATOMIC_RELAXED),
                                  .flags = __atomic_load_n(&a->flags, __ATOMIC_RELAXED)};
}

/* SIGSEGV and SIGBUS that somebody sent, and what a tracer passes on, who sees what is ignored. */
static void host_note_sent(struct thread *t, int sig, const siginfo_t *info, ucontext_t *uc,
                           bool traced)
{
    const struct signal_action a = host_look(t, sig);
    bool handled = a.handler != IGNORE && a.handler != DEFAULT;
    if (a.handler == IGNORE && !traced)
        return;
    if ((BIT(sig) & HOST_NEEDS) && (t->signals.pending || (t->signals.mask & BIT(sig))))
        host_hold(t, sig, info);
    else /* with a tracer it is decided later */
        host_note(t, sig, info, uc, traced || !handled || (a.flags & SA_RESTART));
}

/* SIGBUS that is to do with tracing. */
static void host_called(struct thread *t, const siginfo_t *sent, ucontext_t *uc)
{
    siginfo_t info = *sent;
    int sig = trace_called(t, &info, uc);
    if (sig == TRACE_CALLED)
        host_note(t, sig, &info, uc, true);
    else if (sig)
        host_note_sent(t, sig, &info, uc, true);
}

static void host_handler(int sig, siginfo_t *info, void *context)
{
    struct thread *t = thread_self();
    if ((BIT(sig) & EXCEPTIONS) && info->si_code > 0)
        host_die(sig); /* of guise itself, which nobody knew how to mend */
    if (sig == SIGBUS && trace_is_ours(info))
        host_called(t, info, context);
    else if (t && !(BIT(sig) & HOST_NEEDS))
        host_note(t, sig, info, context, true);
    else if (t)
        host_note_sent(t, sig, info, context, false);
}

int64_t host_install(int sig, uint64_t guest_flags)
{
    /* SA_RESTART: the kernel knows which calls it repeats, and which it repeats without, too. */
    const struct host_action a = {
        .handler = (uint64_t)(uintptr_t)host_handler,
        .flags =
            SA_SIGINFO | HOST_RESTORER | (guest_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESTART)),
        .restorer = signal_host_restorer,
        .mask = WAITING_MASK,
    };
    return host_sigaction(sig, &a);
}

int64_t host_follow(int sig, const struct signal_action *action)
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

/* ---- exec ---- */

static const int host_needed[] = {SIGSEGV, SIGBUS};

void signals_before_exec(struct thread *t, struct signals_former former[2])
{
    const struct host_action ignore = {.handler = IGNORE};
    for (unsigned i = 0; i < 2; i++) {
        const struct signal_action *a = &t->signals.actions->action[host_needed[i]];
        former[i].handler = DEFAULT;
        if (__atomic_load_n(&a->handler, __ATOMIC_RELAXED) == IGNORE)
            syscall(SYS_rt_sigaction, host_needed[i], &ignore, &former[i], SET_SIZE);
    }
    if (host_hold_signals(t))
        host_set_mask(t->signals.mask);
}

void signals_after_exec(struct thread *t, const struct signals_former former[2])
{
    host_hold_signals(t);
    signals_unblock(t);
    for (unsigned i = 0; i < 2; i++)
        if (former[i].handler != DEFAULT)
            syscall(SYS_rt_sigaction, host_needed[i], &former[i], NULL, SET_SIZE);
}

/* ---- the start ---- */

uint64_t signals_prepare(void)
{
    uint64_t ignored = 0;
    for (int sig = 1; sig <= SIGNAL_COUNT; sig++) {
        struct host_action a;
        if (!syscall(SYS_rt_sigaction, sig, NULL, &a, SET_SIZE) && a.handler == IGNORE)
            ignored |= BIT(sig);
    }
    host_install(SIGSEGV, SA_RESTART);
    host_install(SIGBUS, SA_RESTART);
    return ignored;
}
