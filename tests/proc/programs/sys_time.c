/* Clocks, sleeping, interval timers, and what time was used. */
#include "check.h"

#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <time.h>

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    CHECK_IS(clock_gettime(clock, &now), 0);
    CHECK(now.tv_nsec >= 0 && now.tv_nsec < 1000000000);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void clocks(void)
{
    const clockid_t each[] = {CLOCK_REALTIME,           CLOCK_MONOTONIC,
                              CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                              CLOCK_MONOTONIC_RAW,      CLOCK_REALTIME_COARSE,
                              CLOCK_MONOTONIC_COARSE,   CLOCK_BOOTTIME};
    for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        int64_t one = nanoseconds(each[i]), two = nanoseconds(each[i]);
        CHECK(two >= one);
        struct timespec step;
        CHECK_IS(clock_getres(each[i], &step), 0);
        CHECK(step.tv_sec == 0 && step.tv_nsec > 0);
    }
    struct timespec now;
    CHECK_ERROR(clock_gettime(77, &now), EINVAL);
    struct timeval today;
    CHECK_IS(gettimeofday(&today, NULL), 0);
    int64_t difference =
        nanoseconds(CLOCK_REALTIME) / 1000 - (today.tv_sec * 1000000LL + today.tv_usec);
    CHECK(difference >= 0 && difference < 5000000);
    time_t seconds = time(NULL);
    /* It is of the last tick of the kernel's, which may be of the second before. */
    CHECK(seconds - today.tv_sec >= -1 && seconds - today.tv_sec < 5);
    int64_t last = 0;
    for (int i = 0; i < 20000; i++) {
        int64_t at = nanoseconds(CLOCK_MONOTONIC);
        CHECK(at >= last);
        last = at;
    }
#ifdef __riscv
    uint64_t before, after;
    __asm__ volatile("rdtime %0" : "=r"(before));
    usleep(20000);
    __asm__ volatile("rdtime %0" : "=r"(after));
    CHECK(after > before);
    __asm__ volatile("rdcycle %0" : "=r"(before));
    __asm__ volatile("rdcycle %0" : "=r"(after));
    CHECK(after >= before);
#endif
    struct timex x = {.modes = 0};
    CHECK(adjtimex(&x) >= 0);
    CHECK(x.tick > 5000 && labs(x.time.tv_sec - time(NULL)) < 5);
    clockid_t own;
    CHECK_IS(clock_getcpuclockid(0, &own), 0);
    CHECK(nanoseconds(own) > 0);
    DONE("clocks");
}

static void sleeping(void)
{
    int64_t start = nanoseconds(CLOCK_MONOTONIC);
    struct timespec little = {0, 30000000}, left = {9, 9};
    CHECK_IS(nanosleep(&little, &left), 0);
    CHECK(nanoseconds(CLOCK_MONOTONIC) - start >= 30000000);
    start = nanoseconds(CLOCK_MONOTONIC);
    int64_t end = start + 30000000;
    struct timespec until = {end / 1000000000, end % 1000000000};
    CHECK_IS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0);
    CHECK(nanoseconds(CLOCK_MONOTONIC) >= end);
    struct timespec bad = {0, 1000000000};
    CHECK_ERROR(nanosleep(&bad, NULL), EINVAL);
    CHECK_IS(clock_nanosleep(77, 0, &little, NULL), EINVAL);
    DONE("sleeping");
}

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static void timers(void)
{
    struct sigaction action = {.sa_handler = tick};
    CHECK_IS(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval each = {{0, 10000}, {0, 10000}}, old;
    CHECK_IS(setitimer(ITIMER_REAL, &each, NULL), 0);
    while (ticks < 5)
        pause();
    each = (struct itimerval){{0, 0}, {0, 0}};
    CHECK_IS(setitimer(ITIMER_REAL, &each, &old), 0);
    CHECK_IS(old.it_interval.tv_usec, 10000);
    CHECK_IS(alarm(100), 0);
    CHECK(alarm(0) >= 99);

    /* Sleeping ends early, with what is left. */
    each.it_value.tv_usec = 20000;
    CHECK_IS(setitimer(ITIMER_REAL, &each, NULL), 0);
    struct timespec long_time = {50, 0}, left = {0, 0};
    CHECK_ERROR(nanosleep(&long_time, &left), EINTR);
    CHECK(left.tv_sec == 49 && left.tv_nsec > 0);

    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    CHECK_IS(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct itimerspec set = {{0, 5000000}, {0, 5000000}}, got;
    ticks = 0;
    CHECK_IS(timer_settime(timer, 0, &set, NULL), 0);
    while (ticks < 3)
        pause();
    CHECK_IS(timer_gettime(timer, &got), 0);
    CHECK_IS(got.it_interval.tv_nsec, 5000000);
    CHECK(timer_getoverrun(timer) >= 0);
    CHECK_IS(timer_delete(timer), 0);
    CHECK_ERROR(timer_delete(timer), EINVAL);

    /* The processor's time, while a loop runs that makes no calls. */
    ticks = 0;
    CHECK_IS(sigaction(SIGVTALRM, &action, NULL), 0);
    struct itimerval work = {{0, 0}, {0, 20000}};
    CHECK_IS(setitimer(ITIMER_VIRTUAL, &work, NULL), 0);
    for (volatile uint64_t i = 0; !ticks; i++)
        ;
    DONE("timers");
}

static void usage(void)
{
    struct rusage self;
    CHECK_IS(getrusage(RUSAGE_SELF, &self), 0);
    CHECK(self.ru_utime.tv_sec * 1000000 + self.ru_utime.tv_usec > 0 && self.ru_maxrss > 100);
    CHECK_IS(getrusage(RUSAGE_THREAD, &self), 0);
    CHECK_IS(getrusage(RUSAGE_CHILDREN, &self), 0);
    CHECK_IS(self.ru_utime.tv_sec, 0);
    struct tms used;
    CHECK(times(&used) != (clock_t)-1);
    CHECK(used.tms_utime >= 0 && used.tms_cutime == 0);
    CHECK(clock() > 0);
    DONE("usage");
}

int main(void)
{
    clocks();
    sleeping();
    timers();
    usage();
    return 0;
}
