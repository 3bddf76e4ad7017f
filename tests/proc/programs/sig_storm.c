/*
 * Queued signals to eight threads that compute: each counts its own, none is lost or comes out of
 * order, and what the threads compute is what they compute without signals. The number is of all
 * signals: argument 1, or a short run's.
 */
#include "sig.h"

#include <pthread.h>

#define THREADS 8

static pthread_t threads[THREADS];
static __thread volatile int mine;
static int got[THREADS];
static int each = 1500;
static pthread_barrier_t ready;

static void counts(int sig, siginfo_t *info, void *context)
{
    volatile double x = info->si_value.sival_int;
    (void)sig;
    (void)context;
    CHECK_IS(info->si_value.sival_int, mine);
    CHECK_IS(info->si_code, SI_QUEUE);
    x = x * 3.5 + 1; /* what the frame has to keep */
    mine++;
}

static uint64_t round_of(uint64_t x, double *f)
{
    for (int i = 0; i < 200; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *f = *f * 0.5 + (double)(x & 0xff);
    }
    return x;
}

static void *computes(void *arg)
{
    int me = (int)(intptr_t)arg;
    uint64_t seed = (uint64_t)me * 77 + 1;
    double expected_f = 0;
    uint64_t expected = round_of(seed, &expected_f);
    pthread_barrier_wait(&ready);
    while (mine < each) {
        double f = 0;
        CHECK(round_of(seed, &f) == expected);
        CHECK(f == expected_f);
    }
    got[me] = mine;
    return NULL;
}

static void *sends(void *arg)
{
    (void)arg;
    for (int i = 0; i < each; i++)
        for (int to = 0; to < THREADS; to++) {
            int rc;
            union sigval value = {.sival_int = i};
            while ((rc = pthread_sigqueue(threads[to], SIGRTMIN + 3, value)) == EAGAIN)
                sig_sleep_ms(1);
            CHECK_IS(rc, 0);
        }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t sender;
    if (argc > 1)
        each = atoi(argv[1]) / THREADS;
    sig_set(SIGRTMIN + 3, counts, SA_RESTART);
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&threads[i], NULL, computes, (void *)i), 0);
    pthread_barrier_wait(&ready);
    CHECK_IS(pthread_create(&sender, NULL, sends, NULL), 0);
    CHECK_IS(pthread_join(sender, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK_IS(pthread_join(threads[i], NULL), 0);
        CHECK_IS(got[i], each);
    }
    printf("%d\n", each * THREADS);
    return 0;
}
