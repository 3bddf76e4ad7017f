/* Masks for the time of a call, waiting for signals, signals that wait to be delivered. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile int calls, order[16];
static volatile bool saved_blocked, now_blocked;

static bool in_mask(const void *mask, int sig)
{
    return *(const uint64_t *)mask >> (sig - 1) & 1;
}

static void note(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    sigset_t now;
    (void)info;
    order[calls++] = sig;
    saved_blocked = in_mask(&uc->uc_sigmask, SIGUSR1) && in_mask(&uc->uc_sigmask, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    now_blocked = in_mask(&now, SIGUSR1) && in_mask(&now, SIGUSR2);
}

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&a.sa_mask);
    CHECK(!sigaction(sig, &a, NULL));
}

static sigset_t both, none;

static void check_both_came(const char *what)
{
    sigset_t pending;
    sigpending(&pending);
    if (calls != 2 || in_mask(&pending, SIGUSR1) || in_mask(&pending, SIGUSR2))
        check_failed(__FILE__, __LINE__, "%s: %d handlers ran", what, calls);
    /* The handler's frame goes back to the mask of before the call, the last one first. */
    CHECK(saved_blocked == (order[1] == SIGUSR1));
    calls = 0;
}

static void send_both(void)
{
    calls = 0;
    raise(SIGUSR1);
    raise(SIGUSR2);
    CHECK_IS(calls, 0);
}

/* All that are let through by the call's mask are delivered before it returns. */
static void test_masks(void)
{
    struct timespec long_time = {10, 0};
    struct epoll_event event;
    int ep = epoll_create1(0);
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    send_both();
    CHECK_ERROR(sigsuspend(&none), EINTR);
    CHECK_IS(calls, 2);
    check_both_came("sigsuspend");
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(in_mask(&now, SIGUSR1) && in_mask(&now, SIGUSR2));
    send_both();
    CHECK_ERROR(ppoll(NULL, 0, &long_time, &none), EINTR);
    check_both_came("ppoll");
    send_both();
    CHECK_ERROR(pselect(0, NULL, NULL, NULL, &long_time, &none), EINTR);
    check_both_came("pselect");
    send_both();
    CHECK_ERROR(epoll_pwait(ep, &event, 1, 10000, &none), EINTR);
    check_both_came("epoll_pwait");
    close(ep);
    /* What the mask still blocks stays. */
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGUSR2);
    send_both();
    CHECK_ERROR(sigsuspend(&only), EINTR);
    CHECK_IS(calls, 1);
    CHECK_IS(order[0], SIGUSR1);
    CHECK(now_blocked && saved_blocked);
    sigpending(&now);
    CHECK(!in_mask(&now, SIGUSR1) && in_mask(&now, SIGUSR2));
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    CHECK_IS(calls, 2);
    CHECK(!saved_blocked);
    DONE("masks");
}

/* A call that has something to tell returns it, and nobody's handler runs. */
static void test_ready(void)
{
    int pipes[2];
    struct timespec zero = {0, 0};
    CHECK(!pipe(pipes));
    CHECK_IS(write(pipes[1], "x", 1), 1);
    struct pollfd fds = {.fd = pipes[0], .events = POLLIN};
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    calls = 0;
    CHECK_IS(ppoll(&fds, 1, &zero, &none), 1);
    raise(SIGUSR1);
    int rc = ppoll(&fds, 1, &zero, &none);
    CHECK((rc == 1 && calls == 0) || (rc == -1 && calls == 1));
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    CHECK_IS(calls, 1);
    close(pipes[0]);
    close(pipes[1]);
    DONE("ready");
}

static void test_sigwait(void)
{
    int sig;
    siginfo_t info;
    struct timespec short_time = {0, 1000000};
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    calls = 0;
    raise(SIGUSR2);
    CHECK(!sigwait(&both, &sig));
    CHECK_IS(sig, SIGUSR2);
    CHECK_ERROR(sigtimedwait(&both, &info, &short_time), EAGAIN);
    CHECK(!sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77}));
    CHECK_IS(sigwaitinfo(&both, &info), SIGUSR1);
    CHECK_IS(info.si_value.sival_int, 77);
    CHECK_IS(info.si_code, SI_QUEUE);
    int fd = signalfd(-1, &both, SFD_NONBLOCK);
    struct signalfd_siginfo s;
    CHECK_ERROR(read(fd, &s, sizeof s), EAGAIN);
    CHECK(!sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 78}));
    CHECK_IS(read(fd, &s, sizeof s), sizeof s);
    CHECK_IS(s.ssi_signo, SIGUSR1);
    CHECK_IS(s.ssi_int, 78);
    close(fd);
    CHECK_IS(calls, 0);
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    DONE("sigwait");
}

/* A handler may change the mask that its return restores. */
static void unblock_later(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig;
    (void)info;
    CHECK_IS(in_mask(&uc->uc_sigmask, SIGUSR2), 1);
    sigdelset(&uc->uc_sigmask, SIGUSR2);
    sigaddset(&uc->uc_sigmask, SIGWINCH);
}

static void test_frame_mask(void)
{
    sigset_t one, now;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    install(SIGUSR1, unblock_later, 0);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    calls = 0;
    raise(SIGUSR2);
    CHECK_IS(calls, 0);
    raise(SIGUSR1);
    CHECK_IS(calls, 1);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(in_mask(&now, SIGWINCH) && !in_mask(&now, SIGUSR2) && !in_mask(&now, SIGUSR1));
    sigemptyset(&now);
    pthread_sigmask(SIG_SETMASK, &now, NULL);
    install(SIGUSR1, note, 0);
    DONE("frame's mask");
}

static sigjmp_buf back;

static void jump(int sig)
{
    siglongjmp(back, sig);
}

static void test_jump(void)
{
    sigset_t now;
    signal(SIGALRM, jump);
    for (volatile int i = 0; i < 200; i++) {
        int sig = sigsetjmp(back, 1);
        if (!sig) {
            raise(SIGALRM);
            CHECK(0);
        }
        CHECK_IS(sig, SIGALRM);
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        CHECK(!in_mask(&now, SIGALRM));
    }
    DONE("jump");
}

/* Stopped and continued calls go on. */
static void test_stop(void)
{
    int status;
    pid_t child = fork();
    if (!child) {
        struct timespec t = {0, 200000000};
        struct timespec rest = {0, 0};
        _exit(nanosleep(&t, &rest) ? 1 : 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(!kill(child, SIGSTOP));
        CHECK_IS(waitpid(child, &status, WUNTRACED), child);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        CHECK(!kill(child, SIGCONT));
        CHECK_IS(waitpid(child, &status, WCONTINUED), child);
        CHECK(WIFCONTINUED(status));
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
    DONE("stop");
}

int main(void)
{
    sigemptyset(&none);
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    install(SIGUSR1, note, 0);
    install(SIGUSR2, note, 0);
    test_masks();
    test_ready();
    test_sigwait();
    test_frame_mask();
    test_jump();
    test_stop();
    return 0;
}
