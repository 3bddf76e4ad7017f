/* A product of two 300x300 matrices of doubles in the order of the definition, so that one of them
 * is read by columns, a stride of 2,400 bytes. The unit is one row of the product; whole numbers
 * below 2^53 keep it exact. */
#include "bench.h"

enum { SIDE = 300 };

BENCH_OPAQUE static void row(double *to, const double *from, double (*by)[SIDE])
{
    for (int j = 0; j < SIDE; j++) {
        double sum = 0;
        for (int k = 0; k < SIDE; k++)
            sum += from[k] * by[k][j];
        to[j] = sum;
    }
}

static uint64_t run(uint64_t count)
{
    static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
    uint64_t sum = 1;

    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            a[i][j] = (i * 5 + j) % 17 - 8;
            b[i][j] = (i + j * 3) % 23;
        }
    }
    bench_start();
    for (uint64_t i = 0; i < count; i++)
        row(c[i % SIDE], a[i % SIDE], b);
    bench_stop();
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j += 7)
            sum = bench_mix(sum, (uint64_t)(int64_t)c[i][j]);
    }
    return sum;
}

const struct bench_program bench_matmul = {"matmul", "fp", 1, 300, 60, 4, run};
