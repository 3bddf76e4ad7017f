/* Quicksort of random integers, with insertion sort for short pieces. The unit is one integer; they
 * come in arrays of up to 200,000. */
#include "bench.h"

enum { LENGTH = 200000, SHORT = 12 };

static void insertion_sort(int32_t *a, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        int32_t value = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1] > value; j--)
            a[j] = a[j - 1];
        a[j] = value;
    }
}

static int32_t median(int32_t a, int32_t b, int32_t c)
{
    if (a < b)
        return b < c ? b : a < c ? c : a;
    return a < c ? a : b < c ? c : b;
}

BENCH_OPAQUE static void quicksort(int32_t *a, int64_t n)
{
    while (n > SHORT) {
        int32_t pivot = median(a[0], a[n / 2], a[n - 1]);
        int64_t i = -1, j = n;
        for (;;) {
            while (a[++i] < pivot) {
            }
            while (a[--j] > pivot) {
            }
            if (i >= j)
                break;
            int32_t saved = a[i];
            a[i] = a[j];
            a[j] = saved;
        }
        /* The shorter part by a call, so that the stack stays small. */
        if (j + 1 < n - j - 1) {
            quicksort(a, j + 1);
            a += j + 1;
            n -= j + 1;
        } else {
            quicksort(a + j + 1, n - j - 1);
            n = j + 1;
        }
    }
    insertion_sort(a, n);
}

static uint64_t run(uint64_t count)
{
    static int32_t numbers[LENGTH];
    uint64_t sum = 1, random = 99;

    bench_start();
    for (uint64_t left = count; left > 0;) {
        int64_t n = left < LENGTH ? (int64_t)left : LENGTH;
        for (int64_t i = 0; i < n; i++)
            numbers[i] = (int32_t)(bench_random(&random) >> 32);
        quicksort(numbers, n);
        for (int64_t i = 1; i < n; i++) {
            if (numbers[i - 1] > numbers[i])
                bench_fail("the numbers are not sorted");
        }
        sum = bench_mix(sum, (uint64_t)numbers[n / 3]);
        left -= (uint64_t)n;
    }
    bench_stop();
    return sum;
}

const struct bench_program bench_quicksort = {"quicksort", "int", 1, 8000000, 700000, 15000, run};
