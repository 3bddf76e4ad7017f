/* Recursive calls: Fibonacci numbers by two functions that call each other, so that no compiler
 * makes loops of them. The unit is fib(20), 21,891 calls. */
#include "bench.h"

static uint64_t other(uint64_t n);

BENCH_OPAQUE static uint64_t one(uint64_t n)
{
    return n < 2 ? n : other(n - 1) + other(n - 2);
}

BENCH_OPAQUE static uint64_t other(uint64_t n)
{
    return n < 2 ? n : one(n - 1) + one(n - 2);
}

static uint64_t run(uint64_t count)
{
    uint64_t sum = 1;
    bench_start();
    for (uint64_t i = 0; i < count; i++)
        sum = bench_mix(sum, one(20) + i);
    bench_stop();
    if (one(20) != 6765)
        bench_fail("fib(20) is not 6765");
    return sum;
}

const struct bench_program bench_calls = {"calls", "int", 1, 15000, 1200, 20, run};
