/*
 * Calls that a signal interrupts: repeated with SA_RESTART, EINTR without. Calls that do not wait
 * never say EINTR, however many signals come.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static volatile int calls;
static int pipes[2];

static void count(int sig)
{
    (void)sig;
    calls++;
}

static void count_and_write(int sig)
{
    (void)sig;
    calls++;
    if (calls == 3 && write(pipes[1], "x", 1) != 1)
        _exit(3);
}

static void install(int sig, void (*handler)(int), int flags)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    CHECK(!sigaction(sig, &a, NULL));
}

/* Every `us` microseconds; 0: never. */
static void timer(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    CHECK(!setitimer(ITIMER_REAL, &t, NULL));
}

static void test_restart(void)
{
    char c;
    calls = 0;
    install(SIGALRM, count_and_write, SA_RESTART);
    timer(10000);
    CHECK_IS(read(pipes[0], &c, 1), 1);
    timer(0);
    CHECK_IS(calls >= 3, 1);
    /* wait, too */
    install(SIGALRM, count, SA_RESTART);
    calls = 0;
    pid_t child = fork();
    if (!child) {
        usleep(60000);
        _exit(3);
    }
    timer(10000);
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    timer(0);
    CHECK_IS(status, 3 << 8);
    CHECK(calls >= 1);
    DONE("restart");
}

static void test_eintr(void)
{
    char c;
    int pair[2];
    struct timespec second = {1, 0}, rest;
    install(SIGALRM, count, 0);
    calls = 0;
    timer(20000);
    CHECK_ERROR(read(pipes[0], &c, 1), EINTR);
    CHECK_ERROR(waitpid(-1, NULL, 0), ECHILD);
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    CHECK_ERROR(recv(pair[0], &c, 1, 0), EINTR);
    CHECK_ERROR(nanosleep(&second, &rest), EINTR);
    CHECK(rest.tv_sec == 0 && rest.tv_nsec > 500000000);
    timer(0);
    CHECK_IS(calls, 3);
    /* Those that SA_RESTART does not repeat. */
    struct pollfd fds = {.fd = pipes[0], .events = POLLIN};
    int ep = epoll_create1(0);
    struct epoll_event event;
    install(SIGALRM, count, SA_RESTART);
    timer(20000);
    CHECK_ERROR(poll(&fds, 1, -1), EINTR);
    CHECK_ERROR(pause(), EINTR);
    CHECK_ERROR(select(0, NULL, NULL, NULL, NULL), EINTR);
    CHECK_ERROR(epoll_wait(ep, &event, 1, -1), EINTR);
    CHECK_ERROR(nanosleep(&second, &rest), EINTR);
    timer(0);
    close(ep);
    close(pair[0]);
    close(pair[1]);
    DONE("eintr");
}

/* With a signal every few microseconds, none of these may fail. */
static void test_never(void)
{
    struct stat st;
    struct timespec now;
    char buffer[4096] = {0};
    struct timespec start;
    install(SIGALRM, count, 0);
    calls = 0;
    timer(50);
    clock_gettime(CLOCK_MONOTONIC, &start);
    long rounds = 0;
    do {
        int fd = open("file", O_RDWR | O_CREAT, 0600);
        CHECK(fd >= 0);
        CHECK_IS(write(fd, buffer, sizeof buffer), sizeof buffer);
        CHECK_IS(lseek(fd, 0, SEEK_SET), 0);
        CHECK_IS(read(fd, buffer, sizeof buffer), sizeof buffer);
        CHECK_IS(fstat(fd, &st), 0);
        CHECK_IS(stat("file", &st), 0);
        CHECK_IS(access("file", R_OK), 0);
        CHECK_IS(dup2(fd, 100), 100);
        CHECK_IS(fcntl(100, F_GETFD), 0);
        CHECK_IS(close(100), 0);
        CHECK_IS(close(fd), 0);
        CHECK_IS(unlink("file"), 0);
        CHECK_IS(getppid() > 0, 1);
        CHECK_IS(mkdir("dir", 0700), 0);
        CHECK_IS(rmdir("dir"), 0);
        CHECK(!sched_yield());
        clock_gettime(CLOCK_MONOTONIC, &now);
        rounds++;
    } while (now.tv_sec - start.tv_sec < 2);
    timer(0);
    CHECK(calls > 100);
    DONE("never");
}

/* The same for fork and exec, which signals do not interrupt either. */
static void test_processes(void)
{
    install(SIGALRM, count, 0);
    calls = 0;
    timer(300);
    for (int i = 0; i < 100; i++) {
        int before = calls, status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            /* Timers are not inherited, nor is what was pending. */
            int now = calls;
            for (volatile int k = 0; k < 1000; k++) {
            }
            _exit(calls == now && calls - before < 1000 ? 0 : 1);
        }
        int rc;
        do
            rc = waitpid(child, &status, 0);
        while (rc < 0 && errno == EINTR);
        CHECK_IS(rc, child);
        CHECK_IS(status, 0);
    }
    timer(0);
    DONE("processes");
}

static void *nothing(void *p)
{
    return p;
}

static void test_threads(void)
{
    install(SIGALRM, count, 0);
    timer(300);
    for (int i = 0; i < 200; i++) {
        pthread_t t;
        CHECK(!pthread_create(&t, NULL, nothing, NULL));
        CHECK(!pthread_join(t, NULL));
    }
    timer(0);
    DONE("threads");
}

int main(void)
{
    CHECK(!pipe(pipes));
    test_restart();
    test_eintr();
    test_never();
    test_processes();
    test_threads();
    return 0;
}
