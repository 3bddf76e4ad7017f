/* Page faults: 1 MiB is mapped, every page touched, and unmapped again. The unit is one page. */
#include "bench.h"

#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 256 };

static uint64_t run(uint64_t count)
{
    uint64_t sum = 1;
    bench_start();
    for (uint64_t done = 0; done < count;) {
        uint64_t pages = count - done < PAGES ? count - done : PAGES;
        char *memory = bench_memory(pages * PAGE);
        for (uint64_t i = 0; i < pages; i++) {
            volatile uint64_t *word = (volatile uint64_t *)(memory + i * PAGE + i % 500 * 8);
            if (*word != 0)
                bench_fail("a new page is not zero");
            *word = done + i;
        }
        for (uint64_t i = 0; i < pages; i += 16)
            sum = bench_mix(sum, *(volatile uint64_t *)(memory + i * PAGE + i % 500 * 8));
        munmap(memory, pages * PAGE);
        done += pages;
    }
    bench_stop();
    return sum;
}

const struct bench_program bench_faults = {"faults", "trap", 1, 200000, 16000, 400, run};
