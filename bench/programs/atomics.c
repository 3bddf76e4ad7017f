/* Two threads that contend for one cache line: a counter by atomic addition, one by compare and
 * exchange, a maximum, and every 16th time a counter under a mutex. The unit is one turn of both.
 */
#include "bench.h"

#include <pthread.h>

static struct {
    uint64_t added, exchanged, best;
    pthread_mutex_t mutex;
    uint64_t locked;
    uint64_t count;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void turn(uint64_t value)
{
    __atomic_fetch_add(&shared.added, value, __ATOMIC_RELAXED);

    uint64_t old = __atomic_load_n(&shared.exchanged, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&shared.exchanged, &old, old + value, 1, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
    }

    uint64_t best = __atomic_load_n(&shared.best, __ATOMIC_ACQUIRE);
    while (best < value && !__atomic_compare_exchange_n(&shared.best, &best, value, 0,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) {
    }

    if (value % 16 == 0) {
        pthread_mutex_lock(&shared.mutex);
        shared.locked += value;
        pthread_mutex_unlock(&shared.mutex);
    }
}

static void *work(void *argument)
{
    (void)argument;
    for (uint64_t i = 1; i <= shared.count; i++)
        turn(i);
    return NULL;
}

static uint64_t run(uint64_t count)
{
    pthread_t other;
    uint64_t sixteens = count / 16;

    shared.count = count;
    bench_start();
    if (pthread_create(&other, NULL, work, NULL))
        bench_fail("there is no second thread");
    work(NULL);
    pthread_join(other, NULL);
    bench_stop();

    if (shared.added != count * (count + 1) || shared.exchanged != shared.added)
        bench_fail("an atomic update was lost");
    if (shared.best != count || shared.locked != 16 * sixteens * (sixteens + 1))
        bench_fail("an update of the maximum or under the mutex was lost");
    return bench_mix(shared.added, shared.locked);
}

const struct bench_program bench_atomics = {"atomics", "harts", 2, 20000000, 2000000, 20000, run};
