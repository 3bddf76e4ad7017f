/* Functions of the mathematical library in double precision. The unit is one argument. */
#include "bench.h"

#include <math.h>

static uint64_t run(uint64_t count)
{
    double sum = 0;
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        double x = 0.001 * (double)(i % 9973) + 0.1;
        double wave = sin(x) * cos(2 * x) + atan2(x, 3);
        double growth = exp(-x) + log(x) + pow(x, 1.3);
        sum += wave + growth + sqrt(x) + floor(x) + tanh(wave);
    }
    bench_stop();
    bench_exact(bench_bits(sum));
    return bench_rounded(sum, count > 100000 ? 2 : 5);
}

const struct bench_program bench_libm = {"libm", "fp", 1, 4000000, 400000, 2000, run};
