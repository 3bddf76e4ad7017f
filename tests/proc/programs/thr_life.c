/* Threads: made and joined, detached, at once, the first one's end, exit from any, their variables.
 */
#include "check.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static __thread long variable = 41;
static __thread char room[3000];
static long sum;
static int detached_left;

static void *adds(void *arg)
{
    CHECK_IS(variable, 41);
    CHECK_IS(room[2999], 0);
    variable += (long)arg;
    memset(room, (int)(long)arg, sizeof room);
    __atomic_fetch_add(&sum, variable - 41, __ATOMIC_SEQ_CST);
    return (void *)((long)arg * 2);
}

static void storm(void)
{
    for (long i = 0; i < 3000; i++) {
        pthread_t t;
        void *result;
        CHECK_IS(pthread_create(&t, NULL, adds, (void *)i), 0);
        CHECK_IS(pthread_join(t, &result), 0);
        CHECK_IS((long)result, i * 2);
    }
    CHECK_IS(sum, 4498500);
    DONE("storm");
}

static pthread_barrier_t all;

static void *meets(void *arg)
{
    pthread_barrier_wait(&all);
    adds(arg);
    pthread_barrier_wait(&all);
    return NULL;
}

static void at_once(void)
{
    pthread_t t[64];
    sum = 0;
    CHECK_IS(pthread_barrier_init(&all, NULL, 65), 0);
    for (long i = 0; i < 64; i++)
        CHECK_IS(pthread_create(&t[i], NULL, meets, (void *)i), 0);
    pthread_barrier_wait(&all);
    pthread_barrier_wait(&all);
    for (int i = 0; i < 64; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    CHECK_IS(sum, 63 * 32);
    DONE("at once");
}

static void *leaves(void *arg)
{
    adds(arg);
    __atomic_fetch_sub(&detached_left, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void detached(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    detached_left = 500;
    for (long i = 0; i < 500; i++) {
        pthread_t t;
        int rc;
        while ((rc = pthread_create(&t, &attr, leaves, (void *)i)) == EAGAIN)
            usleep(1000);
        CHECK_IS(rc, 0);
    }
    while (__atomic_load_n(&detached_left, __ATOMIC_SEQ_CST))
        usleep(1000);
    DONE("detached");
}

static int status_of(void (*child)(void))
{
    fflush(stdout);
    int status;
    pid_t pid = fork();
    if (!pid) {
        child();
        _exit(99);
    }
    CHECK_IS(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *exits_late(void *arg)
{
    usleep(50000);
    /* What the first thread's end must not take away. */
    CHECK_IS(access("/proc/self/fd/1", F_OK) == 0 || errno == ENOENT || errno == EACCES, 1);
    CHECK_IS(getpid() != syscall(SYS_gettid), 1);
    exit((int)(long)arg);
}

static void first_ends(void)
{
    pthread_t t;
    CHECK_IS(pthread_create(&t, NULL, exits_late, (void *)7), 0);
    pthread_exit(NULL);
}

static void *returns(void *arg)
{
    usleep(20000);
    return arg;
}

static void all_end(void)
{
    pthread_t t;
    for (int i = 0; i < 4; i++)
        CHECK_IS(pthread_create(&t, NULL, returns, NULL), 0);
    pthread_exit(NULL);
}

static void *spins(void *arg)
{
    volatile unsigned long n = 0;
    for (;;)
        n++;
    return arg;
}

static void *ends_all(void *arg)
{
    usleep(20000);
    _exit((int)(long)arg);
}

static void group_ends(void)
{
    pthread_t t;
    for (int i = 0; i < 3; i++)
        CHECK_IS(pthread_create(&t, NULL, spins, NULL), 0);
    CHECK_IS(pthread_create(&t, NULL, ends_all, (void *)8), 0);
    spins(NULL);
}

static void *waits(void *arg)
{
    pause();
    return arg;
}

static void *spins_until_canceled(void *arg)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    return spins(arg);
}

static void canceled(void)
{
    pthread_t t;
    void *result;
    for (int i = 0; i < 200; i++) {
        CHECK_IS(pthread_create(&t, NULL, i % 2 ? waits : spins_until_canceled, NULL), 0);
        if (i % 3)
            usleep(100);
        CHECK_IS(pthread_cancel(t), 0);
        CHECK_IS(pthread_join(t, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    DONE("canceled");
}

int main(void)
{
    storm();
    at_once();
    detached();
    CHECK_IS(status_of(first_ends), 7);
    CHECK_IS(status_of(all_end), 0);
    CHECK_IS(status_of(group_ends), 8);
    DONE("ends");
    canceled();
    return 0;
}
