/* A chase of pointers in random order through 64 MiB, one to each cache line. The unit is one step;
 * a short run uses no more lines than it takes steps. */
#include "bench.h"

enum { LINES = 1 << 20, SHORT = 100000 };

struct line {
    struct line *next;
    uint64_t value[7];
};

/* One cycle through all lines (Sattolo's shuffle). */
static void shuffle(struct line *lines, uint64_t n)
{
    uint64_t random = 5;
    for (uint64_t i = 0; i < n; i++) {
        lines[i].next = &lines[i];
        lines[i].value[0] = i;
    }
    for (uint64_t i = n - 1; i > 0; i--) {
        uint64_t j = bench_random(&random) % i;
        struct line *saved = lines[i].next;
        lines[i].next = lines[j].next;
        lines[j].next = saved;
    }
}

static uint64_t run(uint64_t count)
{
    uint64_t n = count < SHORT ? count : LINES, sum = 0;
    struct line *lines = bench_memory(n * sizeof(*lines));
    shuffle(lines, n);

    bench_start();
    const struct line *line = lines;
    for (uint64_t i = 0; i < count; i++) {
        line = line->next;
        sum += line->value[0] ^ i;
    }
    bench_stop();
    if (count == n && line != lines)
        bench_fail("the chase does not come back");
    return bench_mix(sum, line->value[0]);
}

const struct bench_program bench_chase = {"chase", "int", 1, 4000000, 400000, 20000, run};
