/* Pipes and waiting for several things: poll, select, their time-outs and masks. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>

static void pipes(void)
{
    int fds[2];
    CHECK_IS(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_IS(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    char buffer[70000];
    memset(buffer, 'p', sizeof(buffer));
    CHECK_ERROR(read(fds[0], buffer, 1), EAGAIN);
    CHECK_IS(write(fds[1], buffer, sizeof(buffer)), 65536);
    CHECK_ERROR(write(fds[1], buffer, 1), EAGAIN);
    int n = 0;
    CHECK_IS(ioctl(fds[0], FIONREAD, &n), 0);
    CHECK_IS(n, 65536);
    CHECK_IS(fcntl(fds[0], F_GETPIPE_SZ), 65536);
    CHECK_IS(fcntl(fds[0], F_SETPIPE_SZ, 131072), 131072);
    CHECK_IS(write(fds[1], buffer, sizeof(buffer)), 65536);
    CHECK_IS(close(fds[0]), 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERROR(write(fds[1], "x", 1), EPIPE);
    CHECK_IS(close(fds[1]), 0);
    CHECK_ERROR(pipe2(fds, 0x1), EINVAL);
    CHECK_IS(pipe2(fds, O_DIRECT), 0);
    CHECK_IS(write(fds[1], "ab", 2) + write(fds[1], "cde", 3), 5);
    CHECK_IS(read(fds[0], buffer, 100), 2);
    CHECK_IS(read(fds[0], buffer, 100), 3);
    DONE("pipes");
}

static void between_processes(void)
{
    int there[2], back[2];
    CHECK_IS(pipe(there) | pipe(back), 0);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        close(there[1]);
        close(back[0]);
        unsigned char byte;
        while (read(there[0], &byte, 1) == 1) {
            byte ^= 0x55;
            if (write(back[1], &byte, 1) != 1)
                _exit(2);
        }
        _exit(7);
    }
    close(there[0]);
    close(back[1]);
    for (int i = 0; i < 500; i++) {
        unsigned char byte = (unsigned char)i;
        CHECK_IS(write(there[1], &byte, 1), 1);
        CHECK_IS(read(back[0], &byte, 1), 1);
        CHECK_IS(byte, (i ^ 0x55) & 255);
    }
    close(there[1]);
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    unsigned char byte;
    CHECK_IS(read(back[0], &byte, 1), 0);
    DONE("between processes");
}

static void polling(void)
{
    int fds[2];
    CHECK_IS(pipe(fds), 0);
    struct pollfd set[4] = {
        {fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}, {-1, POLLIN, 0}, {9999, POLLIN, 0}};
    CHECK_IS(poll(set, 4, 0), 2);
    printf("poll %x %x %x %x\n", set[0].revents, set[1].revents, set[2].revents, set[3].revents);
    CHECK_IS(write(fds[1], "x", 1), 1);
    CHECK_IS(poll(set, 1, -1), 1);
    struct timespec now = {0, 0}, bad = {0, -1}, little = {0, 20000000}, before, after;
    CHECK_IS(ppoll(set, 2, &now, NULL), 2);
    CHECK_ERROR(ppoll(set, 2, &bad, NULL), EINVAL);
    char byte;
    CHECK_IS(read(fds[0], &byte, 1), 1);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_IS(ppoll(set, 1, &little, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 20000000);
    CHECK_IS(close(fds[1]), 0);
    CHECK_IS(poll(set, 1, 0), 1);
    printf("hang-up %x\n", set[0].revents);
    DONE("polling");
}

static volatile sig_atomic_t caught;

static void catch (int number)
{
    caught = number;
}

static void selecting(void)
{
    int fds[2];
    CHECK_IS(pipe(fds), 0);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(fds[0], &in);
    FD_SET(fds[1], &out);
    struct timeval zero = {0, 0};
    CHECK_IS(select(fds[1] + 1, &in, &out, NULL, &zero), 1);
    CHECK(!FD_ISSET(fds[0], &in) && FD_ISSET(fds[1], &out));
    /* The time that is left comes back. */
    struct timeval left = {5, 0};
    CHECK_IS(write(fds[1], "x", 1), 1);
    FD_SET(fds[0], &in);
    CHECK_IS(select(fds[0] + 1, &in, NULL, NULL, &left), 1);
    CHECK(left.tv_sec == 4 && left.tv_usec > 0);
    FD_SET(fds[1] + 1, &in);
    CHECK_ERROR(select(fds[1] + 2, &in, NULL, NULL, &zero), EBADF);

    /* A signal that is only let in while pselect waits. */
    sigset_t blocked, none;
    sigemptyset(&blocked);
    sigemptyset(&none);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    struct sigaction action = {.sa_handler = catch};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    CHECK_IS(caught, 0);
    struct timespec long_time = {20, 0};
    CHECK_ERROR(pselect(0, NULL, NULL, NULL, &long_time, &none), EINTR);
    CHECK_IS(caught, SIGUSR1);
    caught = 0;
    raise(SIGUSR1);
    CHECK_ERROR(ppoll(NULL, 0, &long_time, &none), EINTR);
    CHECK_IS(caught, SIGUSR1);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    DONE("selecting");
}

int main(void)
{
    pipes();
    between_processes();
    polling();
    selecting();
    return 0;
}
