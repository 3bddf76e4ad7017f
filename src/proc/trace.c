#include "proc/trace.h"

#include "base/bits.h"
#include "proc/host_call.h"
#include "proc/signal_host.h"
#include "proc/signal_impl.h"
#include "proc/syscall.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    TRACE_WANT_HOME = 1,
    TRACE_WANT_GROUP = 2,
    TRACE_WANT_STOP = 4,    /* SIGSTOP has come while another signal waited */
    TRACE_WANT_INITIAL = 8, /* first of all, in a new thread */
    TRACE_WANT_STARTED = 16,
};

/* As the kernel shows them at the end of a call. */
#define ERESTARTNOHAND 514

#define NUMBER_EXECVE 221

_Static_assert(sizeof(siginfo_t) == sizeof((struct trace_record){0}).info, "all of it");

/* PTRACE_GETEVENTMSG of the two stops of a system call. */
enum { MESSAGE_ENTRY = 1, MESSAGE_EXIT };

/* ---- calls ---- */

static void trace_send_self(int kind, const struct trace_record *record)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = TRACE_RAISED, .si_errno = kind};
    info.si_pid = (pid_t)syscall(SYS_getpid);
    memcpy(&info.si_value, &record, sizeof record);
    syscall(SYS_rt_tgsigqueueinfo, info.si_pid, syscall(SYS_gettid), SIGBUS, &info);
}

/* The signal has come while another one waits, and is not to be forgotten. */
static void trace_keep(struct thread *t, siginfo_t *info, ucontext_t *uc)
{
    uint64_t mask = ~HOST_NEEDS;
    if (info->si_signo == SIGSTOP) { /* which cannot be blocked */
        t->trace.wanted |= TRACE_WANT_STOP;
        return;
    }
    memcpy(&uc->uc_sigmask, &mask, sizeof mask);
    host_send_again(info->si_signo, info);
}

static int trace_called_for(struct thread *t, siginfo_t *info)
{
    switch (info->si_code) {
    case TRACE_CALL_GROUP:
        t->trace.group = info->si_errno;
        t->trace.wanted |= TRACE_WANT_GROUP;
        return TRACE_CALLED;
    case TRACE_CALL_HOME:
        t->trace.wanted |= TRACE_WANT_HOME;
        return TRACE_CALLED;
    default:
        trace_unpack(info);
        return info->si_signo;
    }
}

int trace_called(struct thread *t, siginfo_t *info, ucontext_t *uc)
{
    if (info->si_code == TRACE_RAISED) { /* nobody has caught it */
        if (t)
            t->trace.record.traced = 0;
        return 0;
    }
    if (!t) {
        trace_send_self(TRACE_NOT_A_GUEST, NULL);
        return 0;
    }
    int sig = trace_called_for(t, info);
    if (sig < 1 || sig > TRACE_CALLED)
        return 0;
    t->trace.record.traced = 1;
    enum host_call_end end = host_call_end(t, uc);
    if (end != HOST_CALL_UNTOUCHED)
        t->trace.interrupted = (int)end;
    if (!t->signals.pending || sig == SIGSEGV || sig == SIGBUS)
        return sig;
    if (sig != TRACE_CALLED)
        trace_keep(t, info, uc);
    return 0;
}

/* ---- at home ---- */

void trace_publish(struct thread *t)
{
    struct trace_record *r = &t->trace.record;
    const struct rv_hart *h = t->hart;
    r->magic = TRACE_MAGIC;
    r->code = guest_address(&t->process->trace_code);
    r->reg[0] = h->pc;
    memcpy(&r->reg[1], &h->x[1], 31 * sizeof h->x[0]);
    memcpy(r->f, h->f, sizeof r->f);
    r->fcsr = (uint32_t)h->frm << 5 | h->fflags;
    r->mask = t->signals.mask;
    r->home = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/*
 * Whoever comes back from a stop sees to it, before it runs, that nobody runs what was there before
 * a tracer wrote. It is noted until it is done.
 */
static void trace_code_changed(struct process *p)
{
    uint64_t end = atomic_load(&p->trace_code.end);
    if (!end)
        return;
    process_code_changed(p, atomic_load(&p->trace_code.start), end);
    atomic_compare_exchange_strong(&p->trace_code.end, &end, 0);
}

void trace_adopt(struct thread *t)
{
    struct trace_record *r = &t->trace.record;
    struct rv_hart *h = t->hart;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    r->home = 0;
    h->pc = r->reg[0] & ~UINT64_C(1);
    memcpy(&h->x[1], &r->reg[1], 31 * sizeof h->x[0]);
    memcpy(h->f, r->f, sizeof r->f);
    h->fflags = r->fcsr & 0x1f;
    h->frm = r->fcsr >> 5 & 7;
    t->signals.mask = r->mask & ~NEVER_BLOCKED; /* the host is told by the caller */
    trace_code_changed(t->process);
}

static void trace_stop(struct thread *t, enum trace_kind kind, uint64_t status)
{
    t->trace.record.status = status;
    trace_publish(t);
    trace_send_self((int)kind, &t->trace.record);
    trace_adopt(t);
}

static void trace_event(struct thread *t, unsigned event, uint64_t message)
{
    struct trace_record *r = &t->trace.record;
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = (int)(SIGTRAP | event << 8)};
    info.si_pid = t->tid;
    memcpy(r->info, &info, sizeof info);
    r->message = message;
    trace_stop(t, TRACE_EVENT, SIGTRAP | event << 8);
}

void trace_exit(struct thread *t, int status)
{
    const struct trace_record *r = &t->trace.record;
    if (r->traced && (r->options & PTRACE_O_TRACEEXIT))
        trace_event(t, PTRACE_EVENT_EXIT, (uint64_t)(status & 0xff) << 8);
}

/* ---- signals ---- */

int trace_signal(struct thread *t, int sig, siginfo_t *info)
{
    struct trace_record *r = &t->trace.record;
    if (!r->traced)
        return sig;
    r->signal = (uint64_t)sig;
    memcpy(r->info, info, sizeof *info);
    trace_stop(t, TRACE_SIGNAL, (uint64_t)sig);
    memcpy(info, r->info, sizeof *info);
    return r->signal <= SIGNAL_COUNT ? (int)r->signal : 0;
}

void trace_let(struct thread *t, int sig)
{
    if (t->trace.record.traced)
        t->trace.record.letting = (uint64_t)sig;
}

/* A signal of guise's own making. */
static void trace_own_signal(struct thread *t, int sig, int code)
{
    siginfo_t info = {.si_signo = sig, .si_code = code};
    if (code > 0)
        info.si_addr = (void *)(uintptr_t)t->hart->pc;
    else
        info.si_pid = (pid_t)syscall(SYS_getpid);
    signal_deliver_traced(t, sig, &info);
}

void trace_stepped(struct thread *t)
{
    if (host_hold_signals(t))
        trace_own_signal(t, SIGTRAP, TRAP_TRACE);
}

static bool trace_restarts(struct thread *t)
{
    int64_t shown = t->trace.restart == HOST_CALL_EINTR ? -ERESTARTNOHAND : -THREAD_RESTART;
    return t->trace.restart && (int64_t)t->hart->x[REG_A0] == shown; /* as the tracer left it */
}

static void trace_restart(struct thread *t)
{
    t->hart->x[REG_A0] = t->trace.first_arg;
    t->hart->pc -= 4;
    if (t->trace.restart == HOST_CALL_EINTR)
        t->trace.repeated = t->hart->pc;
}

bool trace_repeats(const struct thread *t)
{
    return t->trace.repeated && t->trace.repeated == t->hart->pc - 4;
}

void trace_before_handler(struct thread *t, uint64_t flags)
{
    bool repeats = t->trace.restart == HOST_CALL_REPEATS && (flags & SA_RESTART);
    if (trace_restarts(t) && repeats)
        trace_restart(t);
    else if (trace_restarts(t))
        t->hart->x[REG_A0] = (uint64_t)-EINTR;
    t->trace.restart = 0;
}

void trace_after_signals(struct thread *t)
{
    if (trace_restarts(t))
        trace_restart(t);
    t->trace.restart = 0;
}

/* ---- system calls ---- */

static void trace_syscall(struct thread *t, unsigned op)
{
    struct trace_record *r = &t->trace.record;
    unsigned code = SIGTRAP | (r->options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0);
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = (int)code};
    info.si_pid = t->tid;
    memcpy(r->info, &info, sizeof info);
    r->op = op;
    r->signal = 0;
    trace_stop(t, TRACE_SYSCALL, SIGTRAP);
    r->op = PTRACE_SYSCALL_INFO_NONE;
    signals_unblock(t);
    if (r->signal && r->signal <= SIGNAL_COUNT)
        syscall(SYS_tgkill, getpid(), t->tid, r->signal);
}

bool trace_enter(struct thread *t, uint64_t *number, uint64_t a[6])
{
    struct trace_record *r = &t->trace.record;
    if (!r->traced || r->mode != PTRACE_SYSCALL)
        return true;
    r->number = *number;
    memcpy(r->args, a, sizeof r->args);
    r->message = MESSAGE_ENTRY;
    trace_syscall(t, PTRACE_SYSCALL_INFO_ENTRY);
    return trace_reload(t, number, a);
}

bool trace_reload(const struct thread *t, uint64_t *number, uint64_t a[6])
{
    /* The first argument is what it was, because a0 is the result's place, too. */
    memcpy(&a[1], &t->hart->x[REG_A0 + 1], 5 * sizeof a[0]);
    *number = t->hart->x[REG_A7];
    return *number != UINT64_MAX;
}

bool trace_seccomp(struct thread *t, uint64_t number, const uint64_t a[6], uint32_t data)
{
    struct trace_record *r = &t->trace.record;
    if (!r->traced || !(r->options & PTRACE_O_TRACESECCOMP))
        return false;
    r->number = number;
    memcpy(r->args, a, sizeof r->args);
    r->op = PTRACE_SYSCALL_INFO_SECCOMP;
    trace_event(t, PTRACE_EVENT_SECCOMP, data);
    r->op = PTRACE_SYSCALL_INFO_NONE;
    return true;
}

/* As the kernel shows what only it and guise know. */
static int64_t trace_shown(struct thread *t, int64_t result)
{
    struct thread_trace *trace = &t->trace;
    int how = t->signals.pending ? trace->interrupted : 0;
    bool repeats = how == HOST_CALL_REPEATS && result == -THREAD_RESTART;
    bool ended = how == HOST_CALL_EINTR && result == -EINTR;
    trace->interrupted = 0;
    trace->restart = repeats || ended ? how : 0;
    return ended ? -ERESTARTNOHAND : result;
}

void trace_leave(struct thread *t, int64_t result, uint64_t first_arg)
{
    struct trace_record *r = &t->trace.record;
    struct rv_hart *h = t->hart;
    if (result != SYSCALL_NO_RESULT)
        h->x[REG_A0] = (uint64_t)trace_shown(t, result);
    t->trace.first_arg = first_arg;
    if (result != -THREAD_RESTART)
        t->trace.repeated = 0;
    r->result = h->x[REG_A0];
    if (r->mode == PTRACE_SYSCALL) {
        r->message = MESSAGE_EXIT;
        trace_syscall(t, PTRACE_SYSCALL_INFO_EXIT);
    }
    if (result == -THREAD_RESTART && !t->trace.restart && (int64_t)h->x[REG_A0] == -THREAD_RESTART)
        trace_restart(t); /* nothing of it has been done */
    else if (r->mode == PTRACE_SINGLESTEP)
        trace_stepped(t);
}

/* ---- what was wanted ---- */

static void trace_serve_started(struct thread *t)
{
    struct trace_record *r = &t->trace.record;
    trace_stop(t, TRACE_STARTED, 0);
    if (r->traced && (r->options & PTRACE_O_TRACEEXEC))
        trace_event(t, PTRACE_EVENT_EXEC, r->message);
    r->number = NUMBER_EXECVE;
    r->result = 0;
    if (r->traced && r->mode == PTRACE_SYSCALL)
        trace_syscall(t, PTRACE_SYSCALL_INFO_EXIT);
    if (r->traced && !(r->options & PTRACE_O_TRACEEXEC) && !r->seized)
        trace_own_signal(t, SIGTRAP, SI_USER);
}

void trace_serve(struct thread *t)
{
    struct thread_trace *trace = &t->trace;
    unsigned wanted = __atomic_exchange_n(&trace->wanted, 0, __ATOMIC_SEQ_CST);
    bool seized = trace->record.seized;
    if (wanted & TRACE_WANT_STARTED)
        trace_serve_started(t);
    if ((wanted & TRACE_WANT_HOME) || ((wanted & TRACE_WANT_INITIAL) && seized))
        trace_stop(t, TRACE_HOME, 0);
    if (((wanted & TRACE_WANT_INITIAL) && !seized) || (wanted & TRACE_WANT_STOP))
        trace_own_signal(t, SIGSTOP, SI_USER);
    if (wanted & TRACE_WANT_GROUP)
        trace_stop(t, TRACE_GROUP, (uint64_t)trace->group);
}

/* ---- life ---- */

static void trace_want(struct thread *t, unsigned what)
{
    t->trace.record.traced = 1;
    t->trace.wanted = what;
    t->signals.pending = TRACE_CALLED;
}

int64_t trace_me(struct thread *t)
{
    if (syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0))
        return -errno;
    t->trace.record = (struct trace_record){.traced = 1, .mode = PTRACE_CONT};
    return 0;
}

void trace_start(struct thread *first)
{
    host_hold_signals(first);
    trace_want(first, TRACE_WANT_STARTED);
}

static unsigned trace_clone_event(uint64_t flags, int exit_signal)
{
    if (flags & CLONE_VFORK)
        return PTRACE_EVENT_VFORK;
    return exit_signal == SIGCHLD ? PTRACE_EVENT_FORK : PTRACE_EVENT_CLONE;
}

bool trace_follows(const struct thread *t, uint64_t flags, int exit_signal)
{
    const struct trace_record *r = &t->trace.record;
    return r->traced && !(flags & CLONE_UNTRACED) &&
           (r->options >> trace_clone_event(flags, exit_signal) & 1);
}

void trace_inherit(struct thread *child, const struct thread *t, bool traced)
{
    uint64_t options = t->trace.record.options, seized = t->trace.record.seized;
    child->trace = (struct thread_trace){0};
    child->signals.pending = 0;
    if (!traced)
        return;
    trace_want(child, TRACE_WANT_INITIAL);
    child->trace.record.options = options;
    child->trace.record.seized = seized;
    child->trace.record.mode = PTRACE_CONT;
}

void trace_cloned(struct thread *t, uint64_t flags, int exit_signal, int64_t child)
{
    unsigned event = trace_clone_event(flags, exit_signal);
    if (child > 0 && event != PTRACE_EVENT_VFORK && trace_follows(t, flags, exit_signal))
        trace_event(t, event, (uint64_t)child);
}
