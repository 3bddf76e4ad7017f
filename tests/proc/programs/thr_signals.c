/* Signals for one thread, and identities that all threads change at once. */
#include "sig.h"

#include <pthread.h>
#include <sys/syscall.h>

#define THREADS 4

static __thread volatile int mine;
static int ready, stop, total;

static void counts(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    mine++;
    __atomic_fetch_add(&total, 1, __ATOMIC_SEQ_CST);
}

static void *waits(void *arg)
{
    sigset_t set = sig_of(SIGUSR2, 0);
    int sig;
    sig_block(SIG_BLOCK, SIGUSR2, 0);
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    CHECK_IS(sigwait(&set, &sig), 0);
    CHECK_IS(mine, (int)(long)arg);
    return NULL;
}

static void directed(void)
{
    pthread_t t[THREADS];
    sig_set(SIGUSR1, counts, SA_RESTART);
    for (long i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&t[i], NULL, waits, (void *)(i * 20)), 0);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < THREADS)
        usleep(1000);
    for (int i = 0; i < THREADS; i++)
        for (int n = 0; n < i * 20; n++) {
            int before = __atomic_load_n(&total, __ATOMIC_SEQ_CST);
            CHECK_IS(pthread_kill(t[i], SIGUSR1), 0);
            while (__atomic_load_n(&total, __ATOMIC_SEQ_CST) == before)
                sched_yield();
        }
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_kill(t[i], SIGUSR2), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    CHECK_IS(mine, 0);
    DONE("directed");
}

/* A process's signal goes to a thread that does not block it. */
static void *takes(void *arg)
{
    sig_block(SIG_UNBLOCK, SIGUSR1, 0);
    __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
    while (!mine)
        sched_yield();
    return arg;
}

static void of_the_process(void)
{
    pthread_t t;
    ready = 0;
    sig_block(SIG_BLOCK, SIGUSR1, 0);
    CHECK_IS(pthread_create(&t, NULL, takes, NULL), 0);
    while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST))
        sched_yield();
    CHECK_IS(kill(getpid(), SIGUSR1), 0);
    CHECK_IS(pthread_join(t, NULL), 0);
    CHECK_IS(mine, 0);
    sig_block(SIG_UNBLOCK, SIGUSR1, 0);
    DONE("of the process");
}

static void *spins(void *arg)
{
    volatile unsigned long n = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
        n++;
    *(int *)arg = (int)syscall(SYS_getegid);
    return NULL;
}

/* Each thread is asked by a signal of the C library's own. */
static void identities(void)
{
    pthread_t t[THREADS];
    int seen[THREADS];
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < THREADS; i++)
            CHECK_IS(pthread_create(&t[i], NULL, spins, &seen[i]), 0);
        for (int i = 0; i < 100; i++)
            CHECK_IS(setresgid(-1, getegid(), -1), 0);
        gid_t other = getuid() ? getegid() : 1234;
        CHECK_IS(setegid(other), 0);
        stop = 1;
        for (int i = 0; i < THREADS; i++) {
            CHECK_IS(pthread_join(t[i], NULL), 0);
            CHECK_IS(seen[i], other);
        }
        _exit(0);
    }
    CHECK_IS(sig_wait(child), 0);
    DONE("identities");
}

int main(void)
{
    directed();
    of_the_process();
    identities();
    return 0;
}
