/* Streaming: reads one array and updates another, 32 MiB each. The unit is 4 KiB of both. The
 * arrays do not begin a power of two apart, where a direct-mapped TLB would have nothing but
 * conflicts: malloc() would not place them so. */
#include "bench.h"

enum { WORDS = 512, UNITS = 8192, GAP = 67 * 4096 };

BENCH_OPAQUE static void pass(uint64_t *restrict to, const uint64_t *restrict from, uint64_t words,
                              uint64_t key)
{
    for (uint64_t i = 0; i < words; i++)
        to[i] += from[i] ^ key;
}

static uint64_t run(uint64_t count)
{
    uint64_t units = count < UNITS ? count : UNITS, words = units * WORDS;
    uint64_t *to = bench_memory(2 * words * 8 + GAP), *from = to + words + GAP / 8;
    uint64_t sum = 1;

    for (uint64_t i = 0; i < words; i++) {
        from[i] = i * 3;
        to[i] = i;
    }
    bench_start();
    for (uint64_t done = 0; done < count; done += units)
        pass(to, from, words, done + 1);
    bench_stop();
    for (uint64_t i = 0; i < words; i += 509)
        sum = bench_mix(sum, to[i]);
    return sum;
}

const struct bench_program bench_stream = {"stream", "int", 1, 800000, 80000, 200, run};
