/* The list of tracees, what is done with one, and how it begins. */
#include "proc/tracer.h"

#include "proc/process.h"
#include "proc/signal_host.h"
#include "proc/tracer_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE 100 /* microseconds between two looks */

/* ---- the list ---- */

void tracer_init(struct tracer *r)
{
    pthread_mutex_init(&r->lock, NULL);
    while (r->first)
        tracer_drop(r, r->first->tid);
}

struct tracee *tracee_find(const struct tracer *r, pid_t tid)
{
    struct tracee *e = r->first;
    while (e && e->tid != tid)
        e = e->next;
    return e;
}

/* The value of a line of /proc/TID/status; false: there is none. */
static bool tracee_status(pid_t tid, const char *name, int base, uint64_t *value)
{
    char path[32], line[256];
    size_t len = strlen(name);
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *in = fopen(path, "re");
    while (in && !found && fgets(line, sizeof line, in)) {
        found = !strncmp(line, name, len);
        if (found)
            *value = strtoull(line + len, NULL, base);
    }
    if (in)
        fclose(in);
    return found;
}

struct tracee *tracee_get(struct tracer *r, pid_t tid)
{
    struct tracee *e = tracee_find(r, tid);
    uint64_t tgid;
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->tid = tid;
    e->tgid = tracee_status(tid, "Tgid:", 10, &tgid) ? (pid_t)tgid : tid;
    e->mode = PTRACE_CONT;
    e->next = r->first;
    r->first = e;
    return e;
}

void tracer_drop(struct tracer *r, pid_t tid)
{
    struct tracee **at = &r->first;
    while (*at && (*at)->tid != tid)
        at = &(*at)->next;
    struct tracee *e = *at;
    if (!e)
        return;
    *at = e->next;
    free(e);
}

/* ---- one ---- */

int64_t tracer_host(int request, pid_t tid, uint64_t address, uint64_t data)
{
    long rc = syscall(SYS_ptrace, request, tid, address, data);
    return rc < 0 ? -errno : rc;
}

bool tracee_load(const struct tracee *e, size_t offset, uint64_t *value)
{
    return e->record &&
           !tracer_host(PTRACE_PEEKDATA, e->tid, e->record + offset, (uint64_t)(uintptr_t)value);
}

bool tracee_store(const struct tracee *e, size_t offset, uint64_t value)
{
    return e->record && !tracer_host(PTRACE_POKEDATA, e->tid, e->record + offset, value);
}

bool tracee_raised(const struct tracee *e, enum trace_kind *kind)
{
    siginfo_t info;
    if (tracer_host(PTRACE_GETSIGINFO, e->tid, 0, (uint64_t)(uintptr_t)&info) ||
        info.si_signo != SIGBUS || info.si_code != TRACE_RAISED)
        return false;
    *kind = (enum trace_kind)info.si_errno;
    return true;
}

bool tracee_at_home(const struct tracee *e)
{
    uint64_t magic, home;
    return TRACEE_LOAD(e, magic, &magic) && magic == TRACE_MAGIC && TRACEE_LOAD(e, home, &home) &&
           home;
}

void tracee_call(const struct tracee *e, int code, int group)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = code, .si_errno = group};
    syscall(SYS_rt_tgsigqueueinfo, e->tgid, e->tid, SIGBUS, &info);
}

void tracee_go_on(const struct tracee *e, int sig)
{
    tracer_host(PTRACE_CONT, e->tid, 0, (uint64_t)sig);
}

uint64_t tracer_host_options(uint64_t options)
{
    const uint64_t same = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                          PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL;
    return (options & same) | PTRACE_O_TRACEEXEC; /* which guise has to know of always */
}

bool tracee_is_guise(pid_t tid)
{
    char path[32];
    struct stat own, its;
    snprintf(path, sizeof path, "/proc/%d/exe", tid);
    return !stat("/proc/self/exe", &own) && !stat(path, &its) && own.st_dev == its.st_dev &&
           own.st_ino == its.st_ino;
}

/* A guise that has come so far that it can be called. */
static bool tracee_can_be_called(pid_t tid)
{
    uint64_t caught;
    return tracee_is_guise(tid) && tracee_status(tid, "SigCgt:", 16, &caught) &&
           (caught & BIT(SIGBUS));
}

/* Has one come that is to end a wait? SIGCHLD is about the stops that are waited for. */
static bool signal_ends(const volatile int *signal)
{
    return signal && *signal && *signal != SIGCHLD && *signal != TRACE_CALLED;
}

int tracee_await(const struct tracee *e, int *status, struct tracer *others,
                 const volatile int *signal)
{
    int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (others ? WNOHANG : 0);
    siginfo_t info = {.si_code = CLD_KILLED};
    for (;;) {
        long rc = syscall(SYS_waitid, P_PID, e->tid, &info, options, NULL);
        if (rc < 0 && errno != EINTR)
            return -ESRCH;
        if (!rc && info.si_pid)
            break;
        if (signal_ends(signal))
            return -EINTR;
        if (others) {
            tracer_serve(others, e);
            usleep(PAUSE);
        }
    }
    if (info.si_code != CLD_TRAPPED)
        return -ESRCH;
    return syscall(SYS_wait4, e->tid, status, __WALL, NULL) > 0 ? 0 : -ESRCH;
}

/* ---- attaching ---- */

/* What the tracee is to do and to tell. */
void tracee_instruct(const struct tracee *e)
{
    TRACEE_STORE(e, traced, 1);
    TRACEE_STORE(e, options, e->options);
    TRACEE_STORE(e, seized, e->seized);
    TRACEE_STORE(e, mode, e->mode);
}

/*
 * Brings it home for the first time. What comes in between goes the usual way, but for stops of the
 * whole process, which it has to leave for that; *stopped: it has, and is to be stopped again.
 */
static int64_t attach_wait(struct tracer *r, struct tracee *e, const volatile int *signal,
                           bool *stopped)
{
    enum trace_kind kind;
    int status, rc;
    while (!(rc = tracee_await(e, &status, r, signal))) {
        bool raised = tracee_raised(e, &kind);
        if (raised && kind == TRACE_NOT_A_GUEST)
            return -ESRCH;
        if (raised && (kind == TRACE_HOME || kind == TRACE_STARTED)) {
            tracee_note_record(e);
            e->starting = false;
            return 0;
        }
        if (status >> 16 == PTRACE_EVENT_STOP) {
            *stopped |= WSTOPSIG(status) != SIGTRAP;
            tracee_go_on(e, 0);
        } else if (tracer_stopped(r, e->tid, &status)) {
            tracee_go_on(e, 0);
        }
    }
    return rc;
}

int64_t tracer_attach(struct tracer *r, pid_t tid, bool seize, uint64_t options,
                      const volatile int *signal)
{
    bool stopped = false;
    /* Who cannot be called must not be; the host says who may be traced at all. */
    if (!tracee_can_be_called(tid))
        return kill(tid, 0) && errno == ESRCH ? -ESRCH : -EPERM;
    int64_t rc = tracer_host(PTRACE_SEIZE, tid, 0, tracer_host_options(options));
    struct tracee *e = rc ? NULL : tracee_get(r, tid);
    if (!e)
        return rc ? rc : -ENOMEM;
    tracee_call(e, TRACE_CALL_HOME, 0);
    rc = attach_wait(r, e, signal, &stopped);
    if (rc) {
        tracer_host(PTRACE_DETACH, tid, 0, 0);
        tracer_drop(r, tid);
        return rc;
    }
    e->options = options;
    e->seized = seize;
    tracee_instruct(e);
    if (stopped)
        tracer_host(PTRACE_INTERRUPT, tid, 0, 0);
    if (!seize)
        syscall(SYS_tgkill, e->tgid, tid, SIGSTOP);
    tracee_go_on(e, 0);
    return 0;
}
