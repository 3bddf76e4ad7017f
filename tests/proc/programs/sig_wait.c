/* Calls that wait, and are interrupted: which are repeated, and which masks hold. */
#include "sig.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static volatile int calls, blocked_in[4];
static int pipe_ends[2];

static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    (void)sig;
    calls++;
}

/* Wakes whoever reads again. */
static void writes(int sig, siginfo_t *info, void *context)
{
    on_signal(sig, info, context);
    CHECK_IS(write(pipe_ends[1], "x", 1), 1);
}

static void restarted(void)
{
    char c;
    struct pollfd p = {.fd = pipe_ends[0], .events = POLLIN};
    sig_set(SIGUSR1, writes, SA_RESTART);
    pid_t child = sig_send_soon(SIGUSR1);
    CHECK_IS(read(pipe_ends[0], &c, 1), 1);
    CHECK_IS(calls, 1);
    CHECK_IS(sig_wait(child), 0);
    /* Never repeated, whatever the flag. */
    sig_set(SIGUSR1, on_signal, SA_RESTART);
    child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(poll(&p, 1, -1), EINTR);
    CHECK_IS(sig_wait(child), 0);
    child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(pause(), EINTR);
    CHECK_IS(sig_wait(child), 0);
    child = sig_send_soon(SIGUSR1);
    struct timespec t = {.tv_sec = 60}, left;
    CHECK_ERROR(nanosleep(&t, &left), EINTR);
    CHECK(left.tv_sec < 60 && left.tv_sec >= 0);
    CHECK_IS(sig_wait(child), 0);
    /* A wait for a child is. */
    child = sig_send_soon(SIGUSR1);
    pid_t other = fork();
    if (!other) {
        sig_sleep_ms(300);
        _exit(3);
    }
    int status;
    CHECK_IS(waitpid(other, &status, 0), other);
    CHECK_IS(WEXITSTATUS(status), 3);
    CHECK_IS(sig_wait(child), 0);
    DONE("restarted");
}

static void wakes(int sig, siginfo_t *info, void *context);
static uint32_t word;

static void not_restarted(void)
{
    char c;
    sig_set(SIGUSR1, on_signal, 0);
    pid_t child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(read(pipe_ends[0], &c, 1), EINTR);
    CHECK_IS(sig_wait(child), 0);
    child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0), EINTR);
    CHECK_IS(sig_wait(child), 0);
    child = sig_send_soon(SIGUSR1);
    pid_t other = fork();
    if (!other) {
        pause();
        _exit(3);
    }
    CHECK_ERROR(waitpid(other, NULL, 0), EINTR);
    CHECK_IS(kill(other, SIGTERM), 0);
    CHECK_IS(sig_wait(other), 1000 + SIGTERM);
    CHECK_IS(sig_wait(child), 0);
    int pair[2];
    CHECK_IS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(recv(pair[0], &c, 1, 0), EINTR);
    CHECK_IS(sig_wait(child), 0);
    child = sig_send_soon(SIGUSR1);
    CHECK_ERROR(read(pair[1], &c, 1), EINTR);
    CHECK_IS(sig_wait(child), 0);
    DONE("not restarted");
}

static void wakes(int sig, siginfo_t *info, void *context)
{
    on_signal(sig, info, context);
    word = 1;
}

static void waits_on_futex(void)
{
    sig_set(SIGUSR1, wakes, SA_RESTART);
    pid_t child = sig_send_soon(SIGUSR1);
    /* Repeated without a limit of time: the word has another value then. */
    CHECK_ERROR(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN);
    CHECK_IS(sig_wait(child), 0);
    word = 0;
    child = sig_send_soon(SIGUSR1);
    struct timespec t = {.tv_sec = 60};
    errno = 0;
    CHECK_ERROR(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0), EINTR);
    CHECK_IS(sig_wait(child), 0);
    DONE("futex");
}

/* What is blocked in the handlers of two signals at once. */
static void sees(int sig, siginfo_t *info, void *context)
{
    int i = sig == SIGUSR1 ? 0 : 2;
    on_signal(sig, info, context);
    blocked_in[i] = sig_blocked(SIGUSR1);
    blocked_in[i + 1] = sig_blocked(SIGUSR2);
}

static void check_two(int expected)
{
    CHECK_IS(calls, expected);
    CHECK(sig_blocked(SIGUSR1) && sig_blocked(SIGUSR2) && !sig_blocked(SIGHUP));
    calls = 0;
}

static void suspended(void)
{
    sigset_t none = sig_of(0, 0), hup = sig_of(SIGHUP, SIGUSR2);
    sig_set(SIGUSR1, sees, 0);
    sig_set(SIGUSR2, sees, 0);
    sig_block(SIG_BLOCK, SIGUSR1, SIGUSR2);
    calls = 0;
    raise(SIGUSR1);
    raise(SIGUSR2);
    /* Both handlers run before the call ends. */
    CHECK_ERROR(sigsuspend(&none), EINTR);
    check_two(2);
    /* The first one's frame was interrupted by the second. */
    CHECK(blocked_in[2] + blocked_in[1] >= 1);
    struct pollfd p = {.fd = pipe_ends[0], .events = POLLIN};
    struct timespec t = {.tv_sec = 60}, zero = {0};
    raise(SIGUSR1);
    raise(SIGUSR2);
    CHECK_ERROR(ppoll(&p, 1, &t, &hup), EINTR);
    check_two(1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    CHECK_ERROR(pselect(pipe_ends[0] + 1, &set, NULL, NULL, &t, &none), EINTR);
    check_two(1);
    int epoll = epoll_create1(0);
    struct epoll_event e;
    raise(SIGUSR1);
    CHECK_ERROR(epoll_pwait(epoll, &e, 1, 60000, &none), EINTR);
    check_two(1);
    /* A result is better than a signal. */
    CHECK_IS(write(pipe_ends[1], "x", 1), 1);
    CHECK_IS(ppoll(&p, 1, &zero, &hup), 1);
    check_two(0);
    char c;
    CHECK_IS(read(pipe_ends[0], &c, 1), 1);
    close(epoll);
    sig_block(SIG_UNBLOCK, SIGUSR1, SIGUSR2);
    DONE("suspended");
}

/* Calls that do not wait are not interrupted, however many signals come. */
static volatile int stop;

static void *storms(void *to)
{
    while (!stop)
        pthread_kill(*(pthread_t *)to, SIGUSR1);
    return NULL;
}

static void short_calls(void)
{
    pthread_t self = pthread_self(), thread;
    sig_set(SIGUSR1, on_signal, 0);
    CHECK_IS(pthread_create(&thread, NULL, storms, &self), 0);
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    calls = 0;
    for (int i = 0; i < 3000 || calls < 200; i++) {
        CHECK_IS(getppid() > 0, 1);
        CHECK_IS(lseek(fd, 0, SEEK_SET), 0);
        CHECK_IS(fcntl(fd, F_GETFD), 0);
        CHECK_IS(pthread_kill(self, 0), 0);
        CHECK_IS(sched_yield(), 0);
    }
    stop = 1;
    CHECK_IS(pthread_join(thread, NULL), 0);
    close(fd);
    DONE("short calls");
}

/* Nothing comes while it is blocked. */
static volatile int closed;

static void never_while_closed(int sig, siginfo_t *info, void *context)
{
    on_signal(sig, info, context);
    CHECK(!closed);
}

static void blocked(void)
{
    pthread_t self = pthread_self(), thread;
    stop = 0;
    sig_set(SIGUSR1, never_while_closed, SA_RESTART);
    CHECK_IS(pthread_create(&thread, NULL, storms, &self), 0);
    calls = 0;
    for (int i = 0; i < 3000 || calls < 200; i++) {
        sig_block(SIG_BLOCK, SIGUSR1, 0);
        closed = 1;
        getppid();
        closed = 0;
        sig_block(SIG_UNBLOCK, SIGUSR1, 0);
    }
    stop = 1;
    CHECK_IS(pthread_join(thread, NULL), 0);
    DONE("blocked");
}

int main(void)
{
    CHECK_IS(pipe(pipe_ends), 0);
    restarted();
    not_restarted();
    waits_on_futex();
    suspended();
    short_calls();
    blocked();
    return 0;
}
