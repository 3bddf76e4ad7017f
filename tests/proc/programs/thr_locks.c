/* Threads that work together: atomics, mutexes, conditions, barriers, robust and shared mutexes. */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define THREADS 4
#define ROUNDS 20000

static void run(void *(*function)(void *))
{
    pthread_t t[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&t[i], NULL, function, (void *)i));
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_join(t[i], NULL));
}

static atomic_int words[4];
static atomic_long longs;
static _Atomic uint8_t byte;
static _Atomic uint16_t half;

static void *atomics(void *p)
{
    for (int i = 0; i < ROUNDS; i++) {
        words[i % 4]++;
        longs += i;
        byte++;
        half += 3;
        int old = words[3];
        while (!atomic_compare_exchange_weak(&words[3], &old, old + 1)) {
        }
        atomic_fetch_xor(&words[2], 0x40000000);
    }
    return p;
}

static void test_atomics(void)
{
    run(atomics);
    int n = THREADS * ROUNDS;
    CHECK_IS(words[0], n / 4);
    CHECK_IS(words[2], n / 4);
    CHECK_IS(words[3], n / 4 + n);
    CHECK_IS(longs, (long)THREADS * (ROUNDS - 1) * ROUNDS / 2);
    CHECK_IS(byte, (uint8_t)n);
    CHECK_IS(half, (uint16_t)(3 * n));
    DONE("atomics");
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long plain[3];

static void *locks(void *p)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        plain[0]++;
        pthread_mutex_unlock(&mutex);
        if (i % 16 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            plain[1]++;
            pthread_rwlock_unlock(&rwlock);
        } else if (i % 4 == 0) {
            pthread_rwlock_rdlock(&rwlock);
            CHECK(plain[1] >= 0);
            pthread_rwlock_unlock(&rwlock);
        }
        if (i % 8 == 0) {
            pthread_spin_lock(&spin);
            plain[2]++;
            pthread_spin_unlock(&spin);
        }
    }
    return p;
}

static void test_locks(void)
{
    pthread_spin_init(&spin, 0);
    run(locks);
    CHECK_IS(plain[0], THREADS * ROUNDS);
    CHECK_IS(plain[1], THREADS * ROUNDS / 16);
    CHECK_IS(plain[2], THREADS * ROUNDS / 8);
    DONE("locks");
}

static pthread_barrier_t barrier;
static atomic_int arrived;

static void *meets(void *p)
{
    for (int i = 0; i < 300; i++) {
        arrived++;
        pthread_barrier_wait(&barrier);
        CHECK_IS(arrived, THREADS * (i + 1));
        pthread_barrier_wait(&barrier);
    }
    return p;
}

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *takes_turns(void *p)
{
    int me = (int)(intptr_t)p;
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&changed, &mutex);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return p;
}

static void test_meeting(void)
{
    pthread_barrier_init(&barrier, NULL, THREADS);
    run(meets);
    run(takes_turns);
    CHECK_IS(turn, THREADS * 1000);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 20000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    CHECK_IS(pthread_cond_timedwait(&changed, &mutex, &t), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    DONE("meeting");
}

/* ---- the owner dies ---- */

static pthread_mutex_t *robust;

static void make_robust(int shared, int protocol)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, shared);
    pthread_mutexattr_setprotocol(&attr, protocol);
    memset(robust, 0, sizeof *robust);
    CHECK(!pthread_mutex_init(robust, &attr));
}

static void *locks_and_ends(void *p)
{
    CHECK(!pthread_mutex_lock(robust));
    return p;
}

static void check_owner_died(void)
{
    CHECK_IS(pthread_mutex_lock(robust), EOWNERDEAD);
    CHECK(!pthread_mutex_consistent(robust));
    CHECK(!pthread_mutex_unlock(robust));
    CHECK(!pthread_mutex_lock(robust));
    CHECK(!pthread_mutex_unlock(robust));
}

static void *sleeps_with_lock(void *p)
{
    CHECK(!pthread_mutex_lock(robust));
    sem_post(p);
    usleep(30000);
    return NULL;
}

static void test_robust(int protocol)
{
    pthread_t t;
    sem_t locked;
    make_robust(PTHREAD_PROCESS_PRIVATE, protocol);
    CHECK(!pthread_create(&t, NULL, locks_and_ends, NULL));
    CHECK(!pthread_join(t, NULL));
    check_owner_died();
    /* Somebody waits. */
    make_robust(PTHREAD_PROCESS_PRIVATE, protocol);
    sem_init(&locked, 0, 0);
    CHECK(!pthread_create(&t, NULL, sleeps_with_lock, &locked));
    sem_wait(&locked);
    check_owner_died();
    CHECK(!pthread_join(t, NULL));
    /* A process, by its own will and by force. */
    for (int forced = 0; forced < 2; forced++) {
        int pipes[2];
        char c;
        CHECK(!pipe(pipes));
        make_robust(PTHREAD_PROCESS_SHARED, protocol);
        pid_t child = fork();
        if (!child) {
            pthread_mutex_lock(robust);
            if (write(pipes[1], "x", 1) != 1)
                _exit(1);
            usleep(30000);
            if (forced)
                kill(getpid(), SIGKILL);
            _exit(0);
        }
        CHECK_IS(read(pipes[0], &c, 1), 1);
        check_owner_died();
        CHECK_IS(waitpid(child, NULL, 0), child);
        close(pipes[0]);
        close(pipes[1]);
    }
}

static void *locks_shared(void *p)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(robust);
        ++*(long *)p;
        pthread_mutex_unlock(robust);
    }
    return NULL;
}

/* Threads of several processes at one mutex. */
static void test_shared(void)
{
    long *counter = (long *)(void *)(robust + 1);
    make_robust(PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE);
    *counter = 0;
    for (int i = 0; i < 2; i++)
        if (!fork()) {
            pthread_t t;
            pthread_create(&t, NULL, locks_shared, counter);
            locks_shared(counter);
            pthread_join(t, NULL);
            _exit(0);
        }
    locks_shared(counter);
    while (wait(NULL) > 0) {
    }
    CHECK_IS(*counter, 10000);
    DONE("shared");
}

int main(void)
{
    robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_atomics();
    test_locks();
    test_meeting();
    test_robust(PTHREAD_PRIO_NONE);
    DONE("robust");
    test_robust(PTHREAD_PRIO_INHERIT);
    DONE("robust with priorities");
    test_shared();
    return 0;
}
