/* Timers. */
#include "sig.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>

static volatile int calls, code, value, tid;

static void ticks(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    calls++;
    code = info->si_code;
    value = info->si_value.sival_int;
    tid = (int)syscall(SYS_gettid);
}

static void until(int n)
{
    volatile unsigned long spent = 0;
    while (calls < n)
        spent++;
}

static void intervals(void)
{
    static const int which[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    static const int sigs[] = {SIGALRM, SIGVTALRM, SIGPROF};
    for (int i = 0; i < 3; i++) {
        struct itimerval t = {{0, 2000}, {0, 2000}}, none = {0};
        sig_set(sigs[i], ticks, SA_RESTART);
        calls = 0;
        CHECK_IS(setitimer(which[i], &t, NULL), 0);
        until(10);
        CHECK_IS(setitimer(which[i], &none, NULL), 0);
        CHECK_IS(code, SI_KERNEL);
    }
    DONE("setitimer");
}

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static void *waits(void *arg)
{
    struct itimerspec when = {{0, 2000000}, {0, 2000000}};
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 99};
    timer_t timer;
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    sig_set(SIGRTMIN + 1, ticks, 0);
    calls = 0;
    CHECK_IS(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_IS(timer_settime(timer, 0, &when, NULL), 0);
    until(10);
    CHECK_IS(tid, syscall(SYS_gettid));
    CHECK_IS(code, SI_TIMER);
    CHECK_IS(value, 99);
    CHECK(timer_getoverrun(timer) >= 0);
    CHECK_IS(timer_delete(timer), 0);
    return arg;
}

static void notified(union sigval v)
{
    value = v.sival_int;
    __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
}

static void threads(void)
{
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, waits, NULL), 0);
    CHECK_IS(pthread_join(thread, NULL), 0);
    DONE("a thread's");
    struct itimerspec when = {{0, 1000000}, {0, 1000000}};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD,
                             .sigev_notify_function = notified,
                             .sigev_value.sival_int = 55};
    timer_t timer;
    calls = 0;
    CHECK_IS(timer_create(CLOCK_REALTIME, &event, &timer), 0);
    CHECK_IS(timer_settime(timer, 0, &when, NULL), 0);
    until(5);
    CHECK_IS(timer_delete(timer), 0);
    CHECK_IS(value, 55);
    DONE("threads'");
}

int main(void)
{
    intervals();
    threads();
    return 0;
}
