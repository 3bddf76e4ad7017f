/* Threads: making and joining many, thread-local memory, stacks, identifiers, the order of ends. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static __thread uint64_t local = 0x1234567890abcdef;
static __thread char big[20000];
static atomic_int count;

static void *adds(void *p)
{
    CHECK_IS(local, 0x1234567890abcdef);
    CHECK_IS(big[19999], 0);
    local = (uintptr_t)p;
    big[19999] = 1;
    count++;
    sched_yield();
    CHECK_IS(local, (uintptr_t)p);
    return (void *)(local * 3);
}

static void test_storm(void)
{
    count = 0;
    for (uintptr_t round = 0; round < 40; round++) {
        pthread_t t[16];
        for (uintptr_t i = 0; i < 16; i++)
            CHECK(!pthread_create(&t[i], NULL, adds, (void *)(round * 16 + i)));
        for (uintptr_t i = 0; i < 16; i++) {
            void *result;
            CHECK(!pthread_join(t[i], &result));
            CHECK_IS((uintptr_t)result, (round * 16 + i) * 3);
        }
    }
    CHECK_IS(count, 640);
    CHECK_IS(local, 0x1234567890abcdef);
    DONE("storm");
}

static sem_t ended;

static void *posts(void *p)
{
    sem_post(&ended);
    return p;
}

static void test_detached(void)
{
    pthread_attr_t attr;
    sem_init(&ended, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 65536);
    for (int i = 0; i < 200; i++) {
        pthread_t t;
        CHECK(!pthread_create(&t, &attr, posts, NULL));
        sem_wait(&ended);
    }
    DONE("detached");
}

/*
 * Threads that make threads, which outlive them. (The C library's pthread_detach of a thread that
 * is about to end may find it gone.)
 */
static pthread_attr_t detached;

static void *tree(void *p)
{
    intptr_t depth = (intptr_t)p;
    pthread_t t;
    count++;
    for (int i = 0; i < 2 && depth; i++) {
        CHECK(!pthread_create(&t, &detached, tree, (void *)(depth - 1)));
    }
    sem_post(&ended);
    return NULL;
}

static void test_tree(void)
{
    count = 0;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    tree((void *)6);
    for (int i = 0; i < 127; i++)
        sem_wait(&ended);
    CHECK_IS(count, 127);
    DONE("tree");
}

static void *tid_of(void *p)
{
    *(pid_t *)p = (pid_t)syscall(SYS_gettid);
    CHECK_IS(getpid() == *(pid_t *)p, 0);
    CHECK(!syscall(SYS_tgkill, getpid(), *(pid_t *)p, 0));
    return NULL;
}

static void test_identity(void)
{
    pid_t first, second;
    pthread_t t;
    CHECK_IS(syscall(SYS_gettid), getpid());
    CHECK(!pthread_create(&t, NULL, tid_of, &first));
    CHECK(!pthread_join(t, NULL));
    CHECK(!pthread_create(&t, NULL, tid_of, &second));
    CHECK(!pthread_join(t, NULL));
    CHECK(first != second);
    DONE("identity");
}

/* ---- ends ---- */

static int status_of(void (*run)(void))
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        run();
        _exit(99);
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    return status;
}

static void *sleeps_and_exits(void *p)
{
    usleep(30000);
    exit((int)(intptr_t)p);
}

static void *sleeps(void *p)
{
    usleep(30000);
    return p;
}

static void *waits(void *p)
{
    for (;;)
        pause();
    return p;
}

static void *spins(void *p)
{
    for (volatile int i = 0;; i++) {
    }
    return p;
}

static void main_leaves(void)
{
    pthread_t t;
    pthread_create(&t, NULL, sleeps, NULL);
    pthread_exit(NULL);
}

static void other_exits(void)
{
    pthread_t t;
    pthread_create(&t, NULL, waits, NULL);
    pthread_create(&t, NULL, spins, NULL);
    pthread_create(&t, NULL, sleeps_and_exits, (void *)7);
    pthread_exit(NULL);
}

static void main_exits(void)
{
    pthread_t t;
    for (int i = 0; i < 4; i++) {
        pthread_create(&t, NULL, waits, NULL);
        pthread_create(&t, NULL, spins, NULL);
    }
    usleep(10000);
    exit(8);
}

static void *raw_exit(void *p)
{
    usleep(20000);
    syscall(SYS_exit, 5);
    return p;
}

/* Without exit_group: of one of the two, which depends on the kernel. */
static void raw_exits(void)
{
    pthread_t t;
    pthread_create(&t, NULL, raw_exit, NULL);
    syscall(SYS_exit, 6);
}

static void *faults(void *p)
{
    usleep(10000);
    *(volatile char *)8 = 1;
    return p;
}

static void other_faults(void)
{
    pthread_t t;
    pthread_create(&t, NULL, spins, NULL);
    pthread_create(&t, NULL, faults, NULL);
    waits(NULL);
}

static void test_ends(void)
{
    for (int i = 0; i < 5; i++) {
        CHECK_IS(status_of(main_leaves), 0);
        CHECK_IS(status_of(other_exits), 7 << 8);
        CHECK_IS(status_of(main_exits), 8 << 8);
        int status = status_of(raw_exits);
        CHECK(status == 5 << 8 || status == 6 << 8);
        CHECK_IS(status_of(other_faults) & 0x7f, SIGSEGV);
    }
    DONE("ends");
}

static pthread_key_t key;
static int destroyed;

static void destroy(void *p)
{
    destroyed += *(int *)p;
}

static void *has_key(void *p)
{
    pthread_setspecific(key, p);
    return NULL;
}

static void test_keys(void)
{
    int value = 5;
    pthread_t t;
    pthread_key_create(&key, destroy);
    for (int i = 0; i < 3; i++) {
        pthread_create(&t, NULL, has_key, &value);
        pthread_join(t, NULL);
    }
    CHECK_IS(destroyed, 15);
    DONE("keys");
}

int main(void)
{
    test_storm();
    test_detached();
    test_tree();
    test_identity();
    test_ends();
    test_keys();
    return 0;
}
