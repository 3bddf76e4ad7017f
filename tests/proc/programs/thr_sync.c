/* What threads wait for each other with, and counters that they share. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define THREADS 6
#define ROUNDS 3000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, pi, robust;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long under_mutex, under_pi, under_write, turn;
static struct {
    int32_t w, or, and, max;
    int64_t d, xor, min;
    uint8_t byte;
    uint16_t half;
} shared = {.and = -1, .min = 1 << 20};

static void *counts(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        under_mutex++;
        pthread_mutex_unlock(&mutex);
        pthread_mutex_lock(&pi);
        under_pi++;
        pthread_mutex_unlock(&pi);
        if (i % 8 == me) {
            pthread_rwlock_wrlock(&rwlock);
            under_write++;
            pthread_rwlock_unlock(&rwlock);
        } else {
            pthread_rwlock_rdlock(&rwlock);
            CHECK(under_write >= 0);
            pthread_rwlock_unlock(&rwlock);
        }
        __atomic_fetch_add(&shared.w, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&shared.d, me, __ATOMIC_RELAXED);
        __atomic_fetch_xor(&shared.xor, (int64_t)1 << me, __ATOMIC_ACQ_REL);
        __atomic_fetch_or(&shared.or, 1 << me, __ATOMIC_SEQ_CST);
        __atomic_fetch_and(&shared.and, ~(1 << me), __ATOMIC_SEQ_CST);
        /* Loops of lr and sc, of parts of words, too. */
        __atomic_fetch_add(&shared.byte, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&shared.half, 1, __ATOMIC_SEQ_CST);
        int32_t old = __atomic_load_n(&shared.max, __ATOMIC_RELAXED), want = i * 8 + (int)me;
        while (old < want && !__atomic_compare_exchange_n(&shared.max, &old, want, 0,
                                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
    }
    return NULL;
}

static void counters(void)
{
    pthread_t t[THREADS];
    for (long i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&t[i], NULL, counts, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    CHECK_IS(under_mutex, THREADS * ROUNDS);
    CHECK_IS(under_pi, THREADS * ROUNDS);
    CHECK_IS(under_write, THREADS * (ROUNDS / 8));
    CHECK_IS(shared.w, THREADS * ROUNDS);
    CHECK_IS(shared.d, 15 * ROUNDS);
    CHECK_IS(shared.xor, 0);
    CHECK_IS(shared.or, 63);
    CHECK_IS(shared.and, ~63);
    CHECK_IS(shared.byte, (uint8_t)(THREADS * ROUNDS));
    CHECK_IS(shared.half, (uint16_t)(THREADS * ROUNDS));
    CHECK_IS(shared.max, (ROUNDS - 1) * 8 + THREADS - 1);
    DONE("counters");
}

static void *takes_turns(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&cond, &mutex);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
        if (i % 50 == 0)
            pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void turns(void)
{
    pthread_t t[THREADS];
    CHECK_IS(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (long i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&t[i], NULL, takes_turns, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    CHECK_IS(turn, THREADS * 300);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    pthread_mutex_lock(&mutex);
    CHECK_IS(pthread_cond_timedwait(&cond, &mutex, &soon), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    DONE("turns");
}

static void *dies_with_it(void *arg)
{
    CHECK_IS(pthread_mutex_lock(&robust), 0);
    return arg;
}

static void *takes_over(void *arg)
{
    CHECK_IS(pthread_mutex_lock(&robust), EOWNERDEAD);
    CHECK_IS(pthread_mutex_consistent(&robust), 0);
    CHECK_IS(pthread_mutex_unlock(&robust), 0);
    return arg;
}

static void owner_died(pthread_mutexattr_t *attr)
{
    pthread_t t, waits;
    for (int i = 0; i < 50; i++) {
        CHECK_IS(pthread_mutex_init(&robust, attr), 0);
        CHECK_IS(pthread_create(&t, NULL, dies_with_it, NULL), 0);
        CHECK_IS(pthread_join(t, NULL), 0);
        CHECK_IS(pthread_create(&waits, NULL, takes_over, NULL), 0);
        CHECK_IS(pthread_join(waits, NULL), 0);
    }
}

static void robust_between_processes(void)
{
    struct {
        pthread_mutex_t mutex;
        int state;
    } *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    CHECK_IS(pthread_mutex_init(&m->mutex, &attr), 0);
    pid_t child = fork();
    if (!child) {
        CHECK_IS(pthread_mutex_lock(&m->mutex), 0);
        __atomic_store_n(&m->state, 1, __ATOMIC_SEQ_CST);
        for (;;)
            pause();
    }
    while (!__atomic_load_n(&m->state, __ATOMIC_SEQ_CST))
        usleep(1000);
    CHECK_IS(pthread_mutex_trylock(&m->mutex), EBUSY);
    CHECK_IS(kill(child, SIGKILL), 0);
    CHECK_IS(pthread_mutex_lock(&m->mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_consistent(&m->mutex), 0);
    CHECK_IS(pthread_mutex_unlock(&m->mutex), 0);
    CHECK_IS(waitpid(child, NULL, 0), child);
    DONE("processes");
}

int main(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    CHECK_IS(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
    CHECK_IS(pthread_mutex_init(&pi, &attr), 0);
    counters();
    turns();
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    owner_died(&attr);
    DONE("robust");
    robust_between_processes();
    return 0;
}
