/*
 * Handlers of signals: what they are told, the flags of sigaction, masks while they run, the order
 * of real-time signals.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static volatile int calls, depth, deepest;
static volatile siginfo_t seen;
static int order[32];

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags, const int *mask)
{
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&a.sa_mask);
    for (; mask && *mask; mask++)
        sigaddset(&a.sa_mask, *mask);
    CHECK(!sigaction(sig, &a, NULL));
}

static void note(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    seen = *info;
    order[calls % 32] = info->si_value.sival_int;
    calls++;
}

static void test_info(void)
{
    install(SIGUSR1, note, 0, NULL);
    raise(SIGUSR1);
    CHECK_IS(calls, 1);
    CHECK_IS(seen.si_signo, SIGUSR1);
    CHECK_IS(seen.si_code, SI_TKILL);
    CHECK_IS(seen.si_pid, getpid());
    kill(getpid(), SIGUSR1);
    CHECK_IS(calls, 2);
    CHECK_IS(seen.si_code, SI_USER);
    CHECK_IS(seen.si_uid, getuid());
    union sigval value = {.sival_ptr = (void *)0x123456789abcdef0};
    CHECK(!sigqueue(getpid(), SIGUSR1, value));
    CHECK_IS(seen.si_code, SI_QUEUE);
    CHECK(seen.si_value.sival_ptr == value.sival_ptr);
    install(SIGCHLD, note, 0, NULL);
    calls = 0;
    pid_t child = fork();
    if (!child)
        _exit(5);
    while (!calls)
        usleep(1000);
    CHECK_IS(seen.si_code, CLD_EXITED);
    CHECK_IS(seen.si_pid, child);
    CHECK_IS(seen.si_status, 5);
    CHECK_IS(waitpid(child, NULL, 0), child);
    signal(SIGCHLD, SIG_DFL);
    DONE("siginfo");
}

static void nest(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    calls++;
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (calls < 5)
        raise(sig);
    depth--;
}

static void test_nodefer(void)
{
    calls = depth = deepest = 0;
    install(SIGUSR1, nest, SA_NODEFER, NULL);
    raise(SIGUSR1);
    CHECK_IS(calls, 5);
    CHECK_IS(deepest, 5);
    calls = depth = deepest = 0;
    install(SIGUSR1, nest, 0, NULL);
    raise(SIGUSR1);
    CHECK_IS(calls, 5);
    CHECK_IS(deepest, 1);
    DONE("nodefer");
}

static void test_resethand(void)
{
    struct sigaction now;
    calls = 0;
    install(SIGUSR2, note, SA_RESETHAND, NULL);
    raise(SIGUSR2);
    CHECK_IS(calls, 1);
    CHECK(!sigaction(SIGUSR2, NULL, &now));
    CHECK(now.sa_handler == SIG_DFL);
    DONE("resethand");
}

static volatile sig_atomic_t inner_at;

static void outer(int sig, siginfo_t *info, void *context)
{
    sigset_t mask;
    (void)sig;
    (void)info;
    (void)context;
    raise(SIGUSR2);
    CHECK_IS(inner_at, 0);
    CHECK(!sigpending(&mask));
    CHECK(sigismember(&mask, SIGUSR2));
    CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &mask));
    CHECK(sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2));
    CHECK(!sigismember(&mask, SIGTERM));
    calls = 1;
}

static void inner(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    CHECK_IS(calls, 1);
    inner_at = 1;
}

static void test_mask(void)
{
    const int blocked[] = {SIGUSR2, 0};
    sigset_t mask;
    calls = 0;
    install(SIGUSR1, outer, 0, blocked);
    install(SIGUSR2, inner, 0, NULL);
    raise(SIGUSR1);
    CHECK_IS(inner_at, 1);
    CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &mask));
    CHECK(!sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
    DONE("mask");
}

static void test_realtime(void)
{
    sigset_t all, none;
    calls = 0;
    const int both[] = {SIGRTMIN, SIGRTMIN + 1, 0};
    install(SIGRTMIN, note, 0, both);
    install(SIGRTMIN + 1, note, 0, both);
    sigfillset(&all);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i < 10; i++)
        CHECK(!sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 100 + i}));
    for (int i = 0; i < 10; i++)
        CHECK(!sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    CHECK_IS(calls, 20);
    /* Frames are stacked from the lowest number on, unless the mask keeps the rest back. */
    for (int i = 0; i < 10; i++) {
        CHECK_IS(order[i], i);
        CHECK_IS(order[10 + i], 100 + i);
    }
    DONE("realtime");
}

static void test_actions(void)
{
    struct sigaction a = {.sa_handler = SIG_IGN}, old;
    CHECK_ERROR(sigaction(SIGKILL, &a, NULL), EINVAL);
    CHECK_ERROR(sigaction(SIGSTOP, &a, NULL), EINVAL);
    CHECK_ERROR(sigaction(65, &a, NULL), EINVAL);
    CHECK(!sigaction(SIGKILL, NULL, &old));
    CHECK(old.sa_handler == SIG_DFL);
    CHECK(!sigaction(SIGTERM, &a, NULL));
    raise(SIGTERM);
    CHECK(!sigaction(SIGTERM, NULL, &old));
    CHECK(old.sa_handler == SIG_IGN);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGTERM, NULL, &old, 4L), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGTERM, 8L, NULL, 8L), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, 77L, &a.sa_mask, NULL, 8L), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &a.sa_mask, NULL, 16L), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8L, NULL, 8L), EFAULT);
    /* Ignoring drops what is pending. */
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    install(SIGUSR1, note, 0, NULL);
    calls = 0;
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    install(SIGUSR1, note, 0, NULL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    CHECK_IS(calls, 0);
    DONE("actions");
}

static void test_nocldwait(void)
{
    struct sigaction a = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    CHECK(!sigaction(SIGCHLD, &a, NULL));
    pid_t child = fork();
    if (!child)
        _exit(1);
    CHECK_ERROR(waitpid(child, NULL, 0), ECHILD);
    install(SIGCHLD, note, SA_NOCLDWAIT, NULL);
    calls = 0;
    child = fork();
    if (!child)
        _exit(1);
    int rc;
    do
        rc = waitpid(child, NULL, 0);
    while (rc < 0 && errno == EINTR);
    CHECK_IS(rc, -1);
    CHECK_IS(errno, ECHILD);
    CHECK_IS(calls, 1);
    signal(SIGCHLD, SIG_DFL);
    DONE("nocldwait");
}

static void test_memory_signals_sent(void)
{
    sigset_t two;
    sigemptyset(&two);
    sigaddset(&two, SIGSEGV);
    sigaddset(&two, SIGBUS);
    install(SIGSEGV, note, 0, NULL);
    install(SIGBUS, note, 0, NULL);
    calls = 0;
    kill(getpid(), SIGSEGV);
    CHECK_IS(calls, 1);
    CHECK_IS(seen.si_code, SI_USER);
    CHECK_IS(seen.si_pid, getpid());
    pthread_sigmask(SIG_BLOCK, &two, NULL);
    raise(SIGSEGV);
    raise(SIGBUS);
    CHECK_IS(calls, 1);
    pthread_sigmask(SIG_UNBLOCK, &two, NULL);
    CHECK_IS(calls, 3);
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    signal(SIGSEGV, SIG_DFL);
    DONE("sent SIGSEGV");
}

int main(void)
{
    test_info();
    test_nodefer();
    test_resethand();
    test_mask();
    test_realtime();
    test_actions();
    test_nocldwait();
    test_memory_signals_sent();
    return 0;
}
