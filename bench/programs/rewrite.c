/* Code that is written, made visible to instruction fetch and called: a function of two
 * instructions is rewritten each time, at 64 places of one page. The unit is one rewriting and
 * call. */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

enum { PLACES = 64, STEP = 64 };

/* x + addend, 0 <= addend < 2048. */
static void write_function(char *at, unsigned addend)
{
#if defined(__riscv)
    /* addi a0, a0, addend; ret */
    uint32_t code[2] = {0x00050513u | addend << 20, 0x00008067u};
    memcpy(at, code, sizeof(code));
    __builtin___clear_cache(at, at + sizeof(code));
#elif defined(__x86_64__)
    /* lea addend(%rdi), %rax; ret */
    unsigned char code[8] = {0x48, 0x8d, 0x87, addend & 255, addend >> 8 & 255, 0, 0, 0xc3};
    memcpy(at, code, sizeof(code));
    __builtin___clear_cache(at, at + sizeof(code));
#else
#error "rewrite.c knows no instructions of this machine"
#endif
}

static uint64_t run(uint64_t count)
{
    char *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t sum = 1;
    if (page == MAP_FAILED)
        bench_fail("there is no page that can be written and executed");

    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        char *at = page + i * 5 % PLACES * STEP;
        uint64_t (*function)(uint64_t);
        write_function(at, (unsigned)(i % 2039));
        memcpy(&function, &at, sizeof(function));
        uint64_t result = function(i);
        if (result != i + i % 2039)
            bench_fail("an old function was executed");
        sum = bench_mix(sum, result);
    }
    bench_stop();
    return sum;
}

const struct bench_program bench_rewrite = {"rewrite", "code", 1, 600000, 60000, 400, run};
