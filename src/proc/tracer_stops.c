/* What the host's stops of tracees mean. */
#include "proc/process.h"
#include "proc/tracer_impl.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* As wait4 has a stop: signal, and event << 8. */
#define STOPPED(signal_and_event) ((int)((uint32_t)(signal_and_event) << 8 | 0x7f))

#define START_WORDS (1u << 20) /* of arguments and environment, when a program starts */

static bool tracee_info(pid_t tid, siginfo_t *info)
{
    return !tracer_host(PTRACE_GETSIGINFO, tid, 0, (uint64_t)(uintptr_t)info);
}

/* ---- stops at home ---- */

bool tracee_note_record(struct tracee *e)
{
    siginfo_t info;
    uint64_t magic;
    if (!tracee_info(e->tid, &info))
        return false;
    e->record = (uint64_t)(uintptr_t)info.si_value.sival_ptr;
    return TRACEE_LOAD(e, magic, &magic) && magic == TRACE_MAGIC;
}

/* One that this tracer did not know: by TRACEME, or of the program that this one was before exec.
 */
static void tracee_learn(struct tracee *e)
{
    uint64_t seized = 0;
    TRACEE_LOAD(e, options, &e->options);
    TRACEE_LOAD(e, seized, &seized);
    e->seized = seized;
    tracer_host(PTRACE_SETOPTIONS, e->tid, 0, tracer_host_options(e->options));
}

static void tracee_started(struct tracee *e)
{
    e->starting = false;
    tracee_instruct(e);
    TRACEE_STORE(e, message, e->message);
    if (e->called)
        tracer_host(PTRACE_INTERRUPT, e->tid, 0, 0);
    e->called = false;
    tracee_go_on(e, 0);
}

static bool stop_raised(struct tracee *e, enum trace_kind kind, int *status)
{
    uint64_t told = 0;
    bool known = e->record;
    if (!tracee_note_record(e)) {
        tracee_go_on(e, 0);
        return false;
    }
    if (!known && kind != TRACE_STARTED)
        tracee_learn(e);
    switch (kind) {
    case TRACE_STARTED:
        tracee_started(e);
        return false;
    case TRACE_HOME:
        /* The host says why, and stops it for that until it says otherwise. */
        tracer_host(PTRACE_INTERRUPT, e->tid, 0, 0);
        tracee_go_on(e, 0);
        return false;
    case TRACE_SYSCALL:
        *status = STOPPED(SIGTRAP | (e->options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0));
        return true;
    case TRACE_SIGNAL:
        TRACEE_STORE(e, signal, 0); /* what the tracer knows of is lost when it dies */
        break;
    default:
        break;
    }
    TRACEE_LOAD(e, status, &told);
    e->exiting = kind == TRACE_EVENT && told >> 8 == PTRACE_EVENT_EXIT;
    *status = STOPPED(told & 0xffff);
    return true;
}

/* ---- exec ---- */

/*
 * Guise has been started for a program, at its first instruction: it is told of its tracer by a bit
 * of AT_FLAGS, which Linux does not use.
 */
static void exec_tell(struct tracee *e)
{
    struct user_regs_struct regs;
    uint64_t at, word, ended = 0;
    if (tracer_host(PTRACE_GETREGS, e->tid, 0, (uint64_t)(uintptr_t)&regs))
        return;
    at = regs.rsp + 8;
    for (unsigned i = 0; i < START_WORDS && ended < 2; i++, at += 8) {
        if (tracer_host(PTRACE_PEEKDATA, e->tid, at, (uint64_t)(uintptr_t)&word))
            return;
        ended += !word; /* after the arguments, and the environment */
    }
    for (unsigned i = 0; i < 64; i++, at += 16) {
        if (tracer_host(PTRACE_PEEKDATA, e->tid, at, (uint64_t)(uintptr_t)&word) || word == AT_NULL)
            return;
        if (word != AT_FLAGS)
            continue;
        if (!tracer_host(PTRACE_PEEKDATA, e->tid, at + 8, (uint64_t)(uintptr_t)&word))
            tracer_host(PTRACE_POKEDATA, e->tid, at + 8, word | TRACE_AT_FLAG);
        return;
    }
}

static void stop_exec(struct tracer *r, pid_t tid, uint64_t former)
{
    struct tracee *was = tracee_find(r, (pid_t)former), *e = tracee_get(r, tid);
    if (e && was && was != e) { /* another thread than the first: it is called like that now */
        e->options = was->options;
        e->seized = was->seized;
        e->mode = was->mode;
        tracer_drop(r, (pid_t)former);
    }
    if (e) {
        e->tgid = tid;
        e->record = 0;
        e->message = former;
        e->native = !tracee_is_guise(tid);
        e->starting = !e->native;
        if (e->starting)
            exec_tell(e);
    }
    tracer_host(PTRACE_SETOPTIONS, tid, 0, tracer_host_options(e ? e->options : 0));
    tracer_host(PTRACE_CONT, tid, 0, 0);
}

/* A tracee by TRACEME that its tracer has not met yet: the host sends SIGTRAP after exec. */
static bool stop_is_exec(pid_t tid, const siginfo_t *info)
{
    struct user_regs_struct regs;
    return info->si_signo == SIGTRAP && info->si_code == SI_USER && info->si_pid == tid &&
           !tracer_host(PTRACE_GETREGS, tid, 0, (uint64_t)(uintptr_t)&regs) &&
           (regs.orig_rax == SYS_execve || regs.orig_rax == SYS_execveat);
}

/* ---- new threads and processes ---- */

/*
 * The host has told that e has made another one, which goes home first of all. Its maker may wait
 * for that. A thread of guise's own is not the program's business.
 */
static void child_made(struct tracer *r, const struct tracee *e)
{
    uint64_t tid = 0, cloning = 0;
    tracer_host(PTRACE_GETEVENTMSG, e->tid, 0, (uint64_t)(uintptr_t)&tid);
    struct tracee *child = tid ? tracee_get(r, (pid_t)tid) : NULL;
    if (!child)
        return;
    child->options = e->options;
    child->seized = e->seized;
    child->native = e->native;
    int status;
    bool stopped = child->held || !tracee_await(child, &status, NULL, NULL);
    child->held = false;
    if (!e->native && !(TRACEE_LOAD(e, cloning, &cloning) && cloning)) {
        tracer_host(PTRACE_DETACH, child->tid, 0, 0);
        tracer_drop(r, child->tid);
    } else if (stopped) {
        tracee_go_on(child, 0);
    }
}

/* The first stop of one that its maker has not told of yet. */
static void child_first(struct tracer *r, pid_t tid)
{
    struct tracee *child = tracee_get(r, tid);
    if (child)
        child->held = true;
}

static bool tracer_expects(const struct tracer *r)
{
    const uint64_t makes = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    for (const struct tracee *e = r->first; e; e = e->next)
        if (e->options & makes)
            return true;
    return false;
}

/* ---- signals ---- */

/* May the host deliver it as it is? */
static bool signal_passes(const struct tracee *e, const siginfo_t *info)
{
    uint64_t letting = 0;
    int sig = info->si_signo;
    if ((sig == SIGSEGV || sig == SIGBUS) && (info->si_code > 0 || trace_is_ours(info)))
        return true; /* of translated code, or a call */
    if (e->native || e->starting)
        return true;
    if (!TRACEE_LOAD(e, letting, &letting) || letting != (uint64_t)sig)
        return false;
    TRACEE_STORE(e, letting, 0);
    return true;
}

static bool stop_signal(struct tracer *r, pid_t tid, siginfo_t *info, int *status)
{
    struct tracee *e = tracee_find(r, tid);
    int sig = info->si_signo;
    if (!e && sig == SIGSTOP && info->si_code == SI_USER && !info->si_pid && tracer_expects(r)) {
        child_first(r, tid);
        return false;
    }
    if ((!e || !e->record) && stop_is_exec(tid, info)) {
        stop_exec(r, tid, (uint64_t)tid);
        return false;
    }
    e = tracee_get(r, tid);
    if (!e)
        return true;
    if (sig == SIGBUS && info->si_code == TRACE_RAISED)
        return stop_raised(e, (enum trace_kind)info->si_errno, status);
    if (sig == SIGBUS && trace_is_ours(info) && (e->starting || e->native)) {
        e->called = info->si_code == TRACE_CALL_HOME;
        sig = 0; /* there is no handler yet */
    } else if (!signal_passes(e, info)) {
        trace_pack(info);
        tracer_host(PTRACE_SETSIGINFO, tid, 0, (uint64_t)(uintptr_t)info);
        sig = SIGBUS;
    }
    tracee_go_on(e, sig);
    return false;
}

/* ---- stops of the process, and PTRACE_INTERRUPT ---- */

/* sig: SIGTRAP, or the signal by which the process is stopped. */
static bool stop_group(struct tracer *r, pid_t tid, int sig, bool seized, int *status)
{
    struct tracee *e = tracee_find(r, tid);
    if (!e)
        child_first(r, tid);
    if (!e || e->held)
        return false;
    if (e->native || e->starting || (!e->seized && seized && sig == SIGTRAP)) {
        tracee_go_on(e, 0);
        return false;
    }
    if (!tracee_at_home(e)) {
        tracee_call(e, seized ? TRACE_CALL_HOME : TRACE_CALL_GROUP, sig);
        tracee_go_on(e, 0);
        return false;
    }
    if (seized && !e->seized)
        *status = STOPPED(sig);
    return true;
}

/* ---- all ---- */

static bool stop_event(struct tracer *r, pid_t tid, unsigned event, int *status)
{
    uint64_t message = 0;
    struct tracee *e = tracee_find(r, tid);
    switch (event) {
    case PTRACE_EVENT_STOP:
        return stop_group(r, tid, WSTOPSIG(*status), true, status);
    case PTRACE_EVENT_EXEC:
        tracer_host(PTRACE_GETEVENTMSG, tid, 0, (uint64_t)(uintptr_t)&message);
        stop_exec(r, tid, message);
        return false;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        if (e)
            child_made(r, e);
        break;
    default:
        break;
    }
    /* Of some it tells itself, when it is at home. */
    bool told = e && !e->native && !e->starting && event != PTRACE_EVENT_FORK &&
                event != PTRACE_EVENT_CLONE && !(event == PTRACE_EVENT_EXIT && e->exiting);
    if (!told)
        tracer_host(PTRACE_CONT, tid, 0, 0);
    return told;
}

bool tracer_stopped(struct tracer *r, pid_t tid, int *status)
{
    siginfo_t info;
    unsigned event = (unsigned)*status >> 16;
    int64_t rc = tracer_host(PTRACE_GETSIGINFO, tid, 0, (uint64_t)(uintptr_t)&info);
    if (rc == -ESRCH) /* a child of the program, not traced; or a tracee that was killed */
        return !tracee_find(r, tid);
    if (event)
        return stop_event(r, tid, event, status);
    return rc ? stop_group(r, tid, WSTOPSIG(*status), false, status)
              : stop_signal(r, tid, &info, status);
}

/* True: there was one, and the list may be another. */
static bool serve_one(struct tracer *r, const struct tracee *e)
{
    siginfo_t info = {0};
    pid_t tid = e->tid;
    if (syscall(SYS_waitid, P_PID, tid, &info, WSTOPPED | WNOHANG | __WALL | __WNOTHREAD, NULL) ||
        info.si_pid != tid)
        return false;
    int status = STOPPED(info.si_status);
    bool tells = tracer_stopped(r, tid, &status);
    struct tracee *now = tracee_find(r, tid);
    if (tells && now)
        now->kept = status;
    return true;
}

void tracer_serve(struct tracer *r, const struct tracee *but)
{
    const struct tracee *e = r->first;
    while (e)
        e = e != but && !e->kept && serve_one(r, e) ? r->first : e->next;
}

void tracer_ended(struct tracer *r, pid_t tid)
{
    tracer_drop(r, tid);
    /* Its children cannot be told of any more. */
    for (struct tracee *e = r->first; e; e = e->next) {
        if (e->held)
            tracee_go_on(e, 0);
        e->held = false;
    }
}
