/* The Mandelbrot set in single precision, at most 200 iterations a point. The unit is one row of
 * 256 points; the image has 256 rows. Built without contraction, so that every point is exact. */
#include "bench.h"

enum { SIDE = 256, LIMIT = 200 };

BENCH_OPAQUE static int iterations(float cr, float ci)
{
    float zr = 0, zi = 0;
    for (int i = 0; i < LIMIT; i++) {
        float r2 = zr * zr, i2 = zi * zi;
        if (r2 + i2 > 4.0f)
            return i;
        zi = 2.0f * zr * zi + ci;
        zr = r2 - i2 + cr;
    }
    return LIMIT;
}

static uint64_t run(uint64_t count)
{
    uint64_t sum = 1;
    bench_start();
    for (uint64_t y = 0; y < count; y++) {
        /* An odd factor spreads a short run over the image. */
        float ci = (float)(int)(y * 77 % SIDE) * (2.4f / SIDE) - 1.2f;
        uint64_t total = 0;
        for (int x = 0; x < SIDE; x++)
            total = total * 3 + (uint64_t)iterations((float)x * (2.8f / SIDE) - 2.0f, ci);
        sum = bench_mix(sum, total);
    }
    bench_stop();
    return sum;
}

const struct bench_program bench_mandelbrot = {"mandelbrot", "fp", 1, 12000, 1000, 8, run};
