/* Signals and threads: who gets them, masks, cancellation, storms of signals while others work. */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static atomic_int handled;
static atomic_bool stop;
static __thread volatile int mine;
static atomic_int who;

static void count(int sig)
{
    (void)sig;
    mine++;
    who = (int)syscall(SYS_gettid);
    handled++;
}

static void install(int sig, void (*handler)(int), int flags)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    CHECK(!sigaction(sig, &a, NULL));
}

/* ---- directed ---- */

static void *gets(void *p)
{
    while (mine < 200)
        usleep(100);
    return (void *)(intptr_t)mine + (p != NULL);
}

static void test_directed(void)
{
    pthread_t t;
    void *result;
    install(SIGUSR1, count, SA_RESTART);
    handled = 0;
    CHECK(!pthread_create(&t, NULL, gets, NULL));
    for (int i = 0; i < 200; i++) {
        CHECK(!pthread_kill(t, SIGUSR1));
        while (handled != i + 1)
            sched_yield();
    }
    CHECK(!pthread_join(t, &result));
    CHECK_IS((intptr_t)result, 200);
    CHECK_IS(mine, 0);
    DONE("directed");
}

/* Each of many real-time signals arrives, whatever the thread does. */
static atomic_long sum;

static void adds(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    sum += info->si_value.sival_int;
    handled++;
}

static uint64_t work(uint64_t x)
{
    double d = (double)(x % 1000);
    for (int i = 0; i < 50; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        d = d * 1.0000001 + (double)(x >> 60);
    }
    return x ^ (uint64_t)d;
}

static void *works(void *p)
{
    uint64_t x = 1, expected = (uint64_t)(uintptr_t)p;
    do {
        x = 1;
        for (int i = 0; i < 2000; i++)
            x = work(x);
        CHECK(!expected || x == expected);
        expected = x;
    } while (!stop);
    return (void *)(uintptr_t)x;
}

static void test_queue(void)
{
    struct sigaction a = {.sa_sigaction = adds, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t t[3];
    CHECK(!sigaction(SIGRTMIN + 3, &a, NULL));
    stop = true;
    void *expected = works(NULL), *result;
    stop = false;
    sum = handled = 0;
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&t[i], NULL, works, expected));
    long all = 0;
    for (int i = 0; i < 6000; i++) {
        union sigval value = {.sival_int = i};
        int rc;
        do
            rc = i % 4 == 3 ? sigqueue(getpid(), SIGRTMIN + 3, value)
                            : pthread_sigqueue(t[i % 4], SIGRTMIN + 3, value);
        while (rc == EAGAIN || (rc == -1 && errno == EAGAIN));
        CHECK(!rc);
        all += i;
    }
    while (handled < 6000)
        sched_yield();
    stop = true;
    for (int i = 0; i < 3; i++) {
        CHECK(!pthread_join(t[i], &result));
        CHECK(result == expected);
    }
    CHECK_IS(handled, 6000);
    CHECK_IS(sum, all);
    DONE("queue");
}

/* ---- masks ---- */

static sem_t ready;

static void *waits_for(void *p)
{
    sigset_t set;
    int sig;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sem_post(&ready);
    for (int i = 0; i < 50; i++) {
        CHECK(!sigwait(&set, &sig));
        CHECK_IS(sig, SIGUSR2);
        sem_post(&ready);
    }
    return p;
}

static void test_waiter(void)
{
    sigset_t set, old, now;
    pthread_t t;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    install(SIGUSR2, count, 0);
    handled = 0;
    CHECK(!pthread_sigmask(SIG_BLOCK, &set, &old));
    sem_init(&ready, 0, 0);
    CHECK(!pthread_create(&t, NULL, waits_for, NULL));
    sem_wait(&ready);
    for (int i = 0; i < 50; i++) {
        CHECK(!kill(getpid(), SIGUSR2));
        sem_wait(&ready);
    }
    CHECK(!pthread_join(t, NULL));
    CHECK_IS(handled, 0);
    CHECK(!pthread_sigmask(SIG_SETMASK, &old, &now));
    CHECK(sigismember(&now, SIGUSR2));
    DONE("waiter");
}

/* A signal for the process goes to the one that lets it through. */
static void *lets_through(void *p)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(!pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    *(atomic_int *)p = (int)syscall(SYS_gettid);
    sem_post(&ready);
    while (!stop)
        sched_yield();
    return NULL;
}

static void test_choice(void)
{
    sigset_t set;
    atomic_int tid;
    pthread_t t;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
    stop = false;
    handled = 0;
    CHECK(!pthread_create(&t, NULL, lets_through, &tid));
    sem_wait(&ready);
    for (int i = 0; i < 50; i++) {
        CHECK(!kill(getpid(), SIGUSR2));
        while (handled != i + 1)
            sched_yield();
        CHECK_IS(who, tid);
    }
    stop = true;
    CHECK(!pthread_join(t, NULL));
    CHECK(!pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    DONE("choice");
}

/* ---- cancellation: a signal of the C library's own ---- */

static int cleaned;

static void clean(void *p)
{
    cleaned += (int)(intptr_t)p;
}

static void *sleeps(void *p)
{
    pthread_cleanup_push(clean, p);
    sem_post(&ready);
    for (;;)
        sleep(100);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *spins(void *p)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cleanup_push(clean, p);
    sem_post(&ready);
    for (volatile int i = 0;; i++) {
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void test_cancel(void)
{
    for (int i = 0; i < 30; i++) {
        pthread_t t;
        void *result;
        CHECK(!pthread_create(&t, NULL, i % 2 ? spins : sleeps, (void *)1));
        sem_wait(&ready);
        CHECK(!pthread_cancel(t));
        CHECK(!pthread_join(t, &result));
        CHECK(result == PTHREAD_CANCELED);
    }
    CHECK_IS(cleaned, 30);
    DONE("cancel");
}

/* ---- faults of several threads at once ---- */

static char *area;

static void mend(int sig, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)4095;
    (void)sig;
    (void)context;
    CHECK(page >= (uintptr_t)area && page < (uintptr_t)area + (64 << 12));
    CHECK(!mprotect((void *)page, 4096, PROT_READ | PROT_WRITE));
}

static void *touches(void *p)
{
    for (int i = 0; i < 64 * 50; i++)
        __atomic_fetch_add((int *)(void *)(area + (i % 64 << 12)), 1, __ATOMIC_RELAXED);
    return p;
}

static void test_faults(void)
{
    struct sigaction a = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    pthread_t t[3];
    area = mmap(NULL, 64 << 12, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(!sigaction(SIGSEGV, &a, NULL));
    install(SIGALRM, count, SA_RESTART);
    CHECK(!setitimer(ITIMER_REAL, &often, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&t[i], NULL, touches, NULL));
    for (int i = 0; i < 50; i++) {
        CHECK(!mprotect(area, 64 << 12, PROT_READ));
        sched_yield();
    }
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_join(t[i], NULL));
    CHECK(!setitimer(ITIMER_REAL, &never, NULL));
    for (int i = 0; i < 64; i++)
        CHECK_IS(*(int *)(void *)(area + (i << 12)), 150);
    DONE("faults");
}

/* ---- a timer of its own for a thread ---- */

static void *timed(void *p)
{
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 5};
    struct itimerspec often = {{0, 1000000}, {0, 1000000}};
    timer_t id;
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
    e.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    mine = 0;
    CHECK(!timer_create(CLOCK_MONOTONIC, &e, &id));
    CHECK(!timer_settime(id, 0, &often, NULL));
    while (mine < 20) {
    }
    CHECK(!timer_delete(id));
    return p;
}

static void test_timers(void)
{
    pthread_t t[2];
    mine = 0;
    install(SIGRTMIN + 5, count, SA_RESTART);
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&t[i], NULL, timed, NULL));
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_join(t[i], NULL));
    CHECK_IS(mine, 0);
    DONE("timers");
}

int main(void)
{
    test_directed();
    test_queue();
    test_waiter();
    test_choice();
    test_cancel();
    test_faults();
    test_timers();
    return 0;
}
