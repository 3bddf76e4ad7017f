/* epoll, whose event has another layout on x86-64, and the descriptors that are made for it. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

static void epolls(void)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), fds[2], more[2];
    CHECK(ep >= 0);
    CHECK_IS(pipe(fds) | pipe(more), 0);
    struct epoll_event event = {EPOLLIN, {.u64 = UINT64_C(0x1122334455667788)}}, got[8];
    CHECK_IS(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event), 0);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event), EEXIST);
    event.data.u64 = UINT64_C(0x99aabbccddeeff00);
    CHECK_IS(epoll_ctl(ep, EPOLL_CTL_ADD, more[0], &event), 0);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 0);
    CHECK_IS(write(fds[1], "a", 1) + write(more[1], "b", 1), 2);
    memset(got, 0xee, sizeof(got));
    CHECK_IS(epoll_wait(ep, got, 8, 100), 2);
    printf("events %x %llx, %x %llx\n", got[0].events, (unsigned long long)got[0].data.u64,
           got[1].events, (unsigned long long)got[1].data.u64);
    CHECK_IS(((unsigned char *)&got[2])[0], 0xee);
    CHECK_IS(epoll_wait(ep, got, 1, 0), 1);
    CHECK_ERROR(epoll_wait(ep, got, 0, 0), EINVAL);

    event.events = EPOLLIN | EPOLLONESHOT;
    CHECK_IS(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event), 0);
    CHECK_IS(epoll_ctl(ep, EPOLL_CTL_DEL, more[0], NULL), 0);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 1);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 0);
    event.events = EPOLLIN | EPOLLET;
    CHECK_IS(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event), 0);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 1);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 0);
    CHECK_IS(write(fds[1], "c", 1), 1);
    struct timespec soon = {0, 1000000};
    CHECK_IS(epoll_pwait2(ep, got, 8, &soon, NULL), 1);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_DEL, more[0], NULL), ENOENT);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &event), EINVAL);

    int outer = epoll_create(1);
    event = (struct epoll_event){EPOLLIN, {.fd = ep}};
    CHECK_IS(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &event), 0);
    CHECK_IS(write(fds[1], "d", 1), 1);
    CHECK_IS(epoll_wait(outer, got, 8, 1000), 1);
    CHECK_IS(got[0].data.fd, ep);
    close(fds[1]);
    CHECK_IS(epoll_wait(ep, got, 8, 0), 1);
    printf("closed %x\n", got[0].events);
    DONE("epoll");
}

static void counters(void)
{
    uint64_t value = 3;
    int fd = eventfd(2, EFD_NONBLOCK), one = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK_IS(write(fd, &value, 8), 8);
    CHECK_IS(read(fd, &value, 8), 8);
    CHECK_IS(value, 5);
    CHECK_ERROR(read(fd, &value, 8), EAGAIN);
    CHECK_ERROR(read(fd, &value, 4), EINVAL);
    value = UINT64_MAX;
    CHECK_ERROR(write(fd, &value, 8), EINVAL);
    for (int i = 0; i < 3; i++) {
        CHECK_IS(read(one, &value, 8), 8);
        CHECK_IS(value, 1);
    }
    CHECK_ERROR(read(one, &value, 8), EAGAIN);
    DONE("eventfd");
}

static void timers(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    CHECK(fd >= 0);
    uint64_t count = 0;
    CHECK_ERROR(read(fd, &count, 8), EAGAIN);
    struct itimerspec set = {{0, 5000000}, {0, 10000000}}, old;
    CHECK_IS(timerfd_settime(fd, 0, &set, NULL), 0);
    CHECK_IS(timerfd_gettime(fd, &old), 0);
    CHECK(old.it_interval.tv_nsec == 5000000 && old.it_value.tv_nsec <= 10000000);
    struct pollfd wait = {fd, POLLIN, 0};
    CHECK_IS(poll(&wait, 1, 5000), 1);
    CHECK_IS(read(fd, &count, 8), 8);
    CHECK(count >= 1);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    set = (struct itimerspec){{0, 0}, now};
    CHECK_IS(timerfd_settime(fd, TFD_TIMER_ABSTIME, &set, &old), 0);
    CHECK_IS(poll(&wait, 1, 5000), 1);
    CHECK_IS(read(fd, &count, 8), 8);
    CHECK_IS(count, 1);
    CHECK_ERROR(timerfd_create(77, 0), EINVAL);
    DONE("timerfd");
}

static void signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    CHECK_IS(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0);
    struct signalfd_siginfo info[3];
    CHECK_ERROR(read(fd, info, sizeof(info)), EAGAIN);
    CHECK_IS(kill(getpid(), SIGUSR1), 0);
    CHECK_IS(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 1234}), 0);
    CHECK_IS(read(fd, info, sizeof(info)), 2 * sizeof(info[0]));
    CHECK_IS(sizeof(info[0]), 128);
    CHECK(info[0].ssi_pid == (uint32_t)getpid() && info[0].ssi_uid == getuid());
    printf("signals %u %d, %u %d %d\n", info[0].ssi_signo, info[0].ssi_code,
           info[1].ssi_signo - (unsigned)SIGRTMIN, info[1].ssi_code, info[1].ssi_int);
    DONE("signalfd");
}

int main(void)
{
    epolls();
    counters();
    timers();
    signals();
    return 0;
}
