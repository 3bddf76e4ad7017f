/* What signals do without a handler, how processes end, and what children tell of it. */
#include "sig.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static volatile int calls, code, status_of, child_of;

static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    calls++;
    code = info->si_code;
    status_of = info->si_status;
    child_of = info->si_pid;
}

static void ends(void)
{
    static const int fatal[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP,   SIGABRT,
                                SIGBUS,  SIGFPE,  SIGKILL, SIGUSR1, SIGSEGV,   SIGUSR2,
                                SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGVTALRM, SIGSYS};
    static const int harmless[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        pid_t child = fork();
        if (!child) {
            signal(fatal[i], SIG_DFL); /* a shell's background job ignores some */
            raise(fatal[i]);
            _exit(1);
        }
        CHECK_IS(sig_wait(child), 1000 + fatal[i]);
    }
    for (unsigned i = 0; i < sizeof harmless / sizeof *harmless; i++)
        raise(harmless[i]);
    pid_t child = fork();
    if (!child)
        *(volatile int *)8 = 1;
    CHECK_IS(sig_wait(child), 1000 + SIGSEGV);
    child = fork();
    if (!child) {
        /* Neither blocked nor ignored. */
        sig_block(SIG_BLOCK, SIGSEGV, 0);
        signal(SIGSEGV, SIG_IGN);
        *(volatile int *)8 = 1;
    }
    CHECK_IS(sig_wait(child), 1000 + SIGSEGV);
    child = fork();
    if (!child)
        abort();
    CHECK_IS(sig_wait(child), 1000 + SIGABRT);
    DONE("ends");
}

static void stops(void)
{
    int status;
    sig_set(SIGCHLD, on_child, 0);
    pid_t child = fork();
    if (!child) {
        raise(SIGSTOP);
        sig_sleep_ms(200); /* its end must not find the signal of its going on still pending */
        _exit(7);
    }
    pid_t got;
    while ((got = waitpid(child, &status, WUNTRACED)) < 0 && errno == EINTR)
        ;
    CHECK_IS(got, child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK_IS(code, CLD_STOPPED);
    CHECK_IS(status_of, SIGSTOP);
    CHECK_IS(kill(child, SIGCONT), 0);
    while ((got = waitpid(child, &status, WCONTINUED)) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status)) {
        CHECK(WIFCONTINUED(status));
        CHECK_IS(sig_wait(child), 7);
    } else {
        CHECK_IS(WEXITSTATUS(status), 7);
    }
    for (int i = 0; i < 1000 && code != CLD_EXITED; i++)
        sig_sleep_ms(1);
    CHECK_IS(code, CLD_EXITED);
    CHECK_IS(child_of, child);
    child = fork();
    if (!child) {
        pause();
        _exit(1);
    }
    kill(child, SIGKILL);
    CHECK_IS(sig_wait(child), 1000 + SIGKILL);
    for (int i = 0; i < 1000 && code != CLD_KILLED; i++)
        sig_sleep_ms(1);
    CHECK_IS(code, CLD_KILLED);
    CHECK_IS(status_of, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
    DONE("stops");
}

static void no_zombies(void)
{
    struct sigaction a = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    for (int i = 0; i < 2; i++) {
        CHECK_IS(sigaction(SIGCHLD, &a, NULL), 0);
        pid_t child = fork();
        if (!child)
            _exit(5);
        CHECK_ERROR(waitpid(child, NULL, 0), ECHILD);
        a = (struct sigaction){.sa_handler = SIG_IGN};
    }
    signal(SIGCHLD, SIG_DFL);
    DONE("no zombies");
}

static void broken_pipe(void)
{
    int ends[2];
    CHECK_IS(pipe(ends), 0);
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERROR(write(ends[1], "x", 1), EPIPE);
    sig_set(SIGPIPE, on_child, 0);
    calls = 0;
    CHECK_ERROR(write(ends[1], "x", 1), EPIPE);
    CHECK_IS(calls, 1);
    signal(SIGPIPE, SIG_DFL);
    pid_t child = fork();
    if (!child) {
        CHECK_IS(write(ends[1], "x", 1), 1);
        _exit(1);
    }
    CHECK_IS(sig_wait(child), 1000 + SIGPIPE);
    close(ends[1]);
    DONE("broken pipe");
}

/* The mask and pending signals over fork: the one is kept, the others are not. */
static void forked(void)
{
    sig_block(SIG_BLOCK, SIGUSR1, SIGUSR2);
    raise(SIGUSR1);
    pid_t child = fork();
    if (!child) {
        sigset_t pending;
        CHECK(sig_blocked(SIGUSR1) && sig_blocked(SIGUSR2));
        CHECK_IS(sigpending(&pending), 0);
        CHECK(!sigismember(&pending, SIGUSR1));
        _exit(0);
    }
    CHECK_IS(sig_wait(child), 0);
    sigset_t set = sig_of(SIGUSR1, 0);
    int sig;
    CHECK_IS(sigwait(&set, &sig), 0);
    sig_block(SIG_UNBLOCK, SIGUSR1, SIGUSR2);
    DONE("forked");
}

static void parent_dies(void)
{
    int ends[2];
    char c = 0;
    CHECK_IS(pipe(ends), 0);
    pid_t child = fork();
    if (!child) {
        pid_t grandchild = fork();
        if (!grandchild) {
            sigset_t set = sig_of(SIGUSR1, 0);
            int sig;
            sig_block(SIG_BLOCK, SIGUSR1, 0);
            CHECK_IS(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
            CHECK_IS(write(ends[1], "r", 1), 1);
            CHECK_IS(sigwait(&set, &sig), 0);
            CHECK_IS(write(ends[1], "d", 1), 1);
            _exit(0);
        }
        CHECK_IS(read(ends[0], &c, 1), 1);
        _exit(c == 'r' ? 0 : 1);
    }
    CHECK_IS(sig_wait(child), 0);
    CHECK_IS(read(ends[0], &c, 1), 1);
    CHECK_IS(c, 'd');
    DONE("parent dies");
}

static void groups(void)
{
    pid_t leader = fork();
    if (!leader) {
        CHECK_IS(setpgid(0, 0), 0);
        pause();
        _exit(1);
    }
    setpgid(leader, leader);
    pid_t member = fork();
    if (!member) {
        CHECK_IS(setpgid(0, leader), 0);
        pause();
        _exit(1);
    }
    setpgid(member, leader);
    CHECK_IS(getpgid(member), leader);
    CHECK_IS(kill(-leader, SIGTERM), 0);
    CHECK_IS(sig_wait(leader), 1000 + SIGTERM);
    CHECK_IS(sig_wait(member), 1000 + SIGTERM);
    DONE("groups");
}

int main(void)
{
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    ends();
    stops();
    no_zombies();
    broken_pipe();
    forked();
    parent_dies();
    groups();
    return 0;
}
