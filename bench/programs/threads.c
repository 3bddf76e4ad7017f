/* Two threads, each with work of its own: lengths of Collatz sequences, counted in a table that
 * only the one thread touches. The unit is 100 numbers for each thread. */
#include "bench.h"

#include <pthread.h>

enum { LENGTHS = 512, NUMBERS = 100 };

struct worker {
    uint64_t first, count;
    uint32_t table[LENGTHS];
    /* Keeps the other one's cache lines away. */
    char pad[128];
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t i = 0; i < worker->count * NUMBERS; i++) {
        uint64_t n = worker->first + i % 20000, length = 0;
        for (; n != 1; length++)
            n = n & 1 ? 3 * n + 1 : n / 2;
        worker->table[length % LENGTHS]++;
    }
    return NULL;
}

static uint64_t run(uint64_t count)
{
    static struct worker workers[2];
    uint64_t sum = 1;
    pthread_t other;

    workers[0].first = 1;
    workers[1].first = 20001;
    workers[0].count = workers[1].count = count;
    bench_start();
    if (pthread_create(&other, NULL, work, &workers[1]))
        bench_fail("there is no second thread");
    work(&workers[0]);
    pthread_join(other, NULL);
    bench_stop();
    for (int i = 0; i < 2 * LENGTHS; i++)
        sum = bench_mix(sum, workers[i / LENGTHS].table[i % LENGTHS]);
    return sum;
}

const struct bench_program bench_threads = {"threads", "harts", 2, 20000, 2000, 20, run};
