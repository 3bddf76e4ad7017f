/* Signals that a tracer sees, takes away, changes and gives; what is told about them. */
#include "trace.h"

static volatile sig_atomic_t got, code, value;

static void note(int sig, siginfo_t *info, void *context)
{
    (void)context;
    got = sig;
    code = info->si_code;
    value = info->si_value.sival_int;
}

static void handle(int sig)
{
    const struct sigaction a = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    CHECK_IS(sigaction(sig, &a, NULL), 0);
}

static void raises(void)
{
    handle(SIGUSR1);
    handle(SIGUSR2);
    raise(SIGUSR1); /* let through */
    CHECK_IS(got, SIGUSR1);
    CHECK_IS(code, SI_TKILL);
    got = 0;
    raise(SIGUSR1); /* taken away */
    CHECK_IS(got, 0);
    raise(SIGUSR1); /* another one instead */
    CHECK_IS(got, SIGUSR2);
    CHECK_IS(code, SI_USER);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5}); /* with another value */
    CHECK_IS(got, SIGUSR1);
    CHECK_IS(code, SI_QUEUE);
    CHECK_IS(value, 6);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1); /* seen although it is ignored */
    raise(SIGCHLD); /* and what is ignored by default */
    raise(SIGTERM); /* taken away: else this is the end */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    got = 0;
    raise(SIGUSR2); /* not seen before it is delivered */
    raise(SIGUSR1);
    CHECK_IS(got, 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK_IS(got, SIGUSR2);
    _exit(3);
}

static void seen(pid_t pid, int sig)
{
    siginfo_t info;
    wait_stop(pid, sig, 0);
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_signo, sig);
    CHECK_IS(info.si_pid, pid);
}

static void signals(void)
{
    pid_t pid = start_traced(raises);
    go_on(PTRACE_CONT, pid, 0);
    seen(pid, SIGUSR1);
    go_on(PTRACE_CONT, pid, SIGUSR1);
    seen(pid, SIGUSR1);
    go_on(PTRACE_CONT, pid, 0);
    seen(pid, SIGUSR1);
    go_on(PTRACE_CONT, pid, SIGUSR2);
    seen(pid, SIGUSR1);
    siginfo_t info;
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_code, SI_QUEUE);
    CHECK_IS(info.si_value.sival_int, 5);
    info.si_value.sival_int = 6;
    CHECK_IS(trace(PTRACE_SETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    go_on(PTRACE_CONT, pid, SIGUSR1);
    seen(pid, SIGUSR1);
    go_on(PTRACE_CONT, pid, SIGUSR1);
    seen(pid, SIGCHLD);
    go_on(PTRACE_CONT, pid, SIGCHLD);
    seen(pid, SIGTERM);
    go_on(PTRACE_CONT, pid, 0);
    seen(pid, SIGUSR1);
    uint64_t mask;
    CHECK_IS(trace(PTRACE_GETSIGMASK, pid, 8, (uintptr_t)&mask), 0);
    CHECK_IS(mask >> (SIGUSR2 - 1) & 1, 1);
    go_on(PTRACE_CONT, pid, SIGUSR1);
    seen(pid, SIGUSR2);
    go_on(PTRACE_CONT, pid, SIGUSR2);
    wait_exit(pid, 3);
    DONE("signals");
}

static void pauses(void)
{
    for (;;)
        pause();
}

/* A signal that ends it, given by the tracer and by somebody else. */
static void ends(void)
{
    pid_t pid = start_traced(pauses);
    go_on(PTRACE_CONT, pid, SIGTERM);
    CHECK_IS(wait_for(pid), SIGTERM);
    pid = start_traced(pauses);
    go_on(PTRACE_CONT, pid, 0);
    CHECK_IS(kill(pid, SIGHUP), 0);
    wait_stop(pid, SIGHUP, 0);
    go_on(PTRACE_CONT, pid, SIGHUP);
    CHECK_IS(wait_for(pid), SIGHUP);
    pid = start_traced(pauses);
    go_on(PTRACE_CONT, pid, 0);
    CHECK_IS(kill(pid, SIGKILL), 0);
    CHECK_IS(wait_for(pid), SIGKILL);
    DONE("ends");
}

static void crashes(void)
{
    int *volatile nowhere = (int *)16;
    *nowhere = 1;
}

static void faults(void)
{
    pid_t pid = start_traced(crashes);
    siginfo_t info;
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGSEGV, 0);
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK_IS(info.si_code, SEGV_MAPERR);
    CHECK_IS((uintptr_t)info.si_addr, 16);
    go_on(PTRACE_CONT, pid, 0); /* nothing is mended: it happens again */
    wait_stop(pid, SIGSEGV, 0);
    go_on(PTRACE_CONT, pid, SIGKILL);
    CHECK_IS(wait_for(pid), SIGKILL);
    pid = start_traced(crashes);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGSEGV, 0);
    go_on(PTRACE_CONT, pid, SIGTERM);
    CHECK_IS(wait_for(pid), SIGTERM);
    DONE("faults");
}

static void stops(void)
{
    raise(SIGTSTP);
    raise(SIGUSR1);
    _exit(4);
}

/* Stopped by a signal that is let through: the process is, which has no siginfo_t. */
static void group(void)
{
    pid_t pid = start_traced(stops);
    siginfo_t info;
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGTSTP, 0);
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    go_on(PTRACE_CONT, pid, SIGSTOP);
    wait_stop(pid, SIGSTOP, 0);
    CHECK_ERROR(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), EINVAL);
    struct registers r;
    get_registers(pid, &r);
    CHECK(PC(&r));
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGUSR1, 0);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 4);
    DONE("group");
}

int main(void)
{
    signals();
    ends();
    faults();
    group();
    int status;
    CHECK_ERROR(trace(PTRACE_CONT, getpid(), 0, 0), ESRCH);
    CHECK_ERROR(trace(PTRACE_PEEKDATA, 1 << 22, 0, (uintptr_t)&status), ESRCH);
    CHECK_ERROR(wait(&status), ECHILD);
    return 0;
}
