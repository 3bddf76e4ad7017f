#include "core/engine.h"

_Static_assert(sizeof(struct engine_stats) % sizeof(uint64_t) == 0, "nothing but counters");

void engine_stats_add(struct engine_stats *sum, const struct engine_stats *s)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)s;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

void engine_stats_print_translator(const struct engine_stats *s, FILE *out)
{
    typedef unsigned long long ull;
    fprintf(out,
            "regions       %llu of %llu instructions, %llu KiB of code, %llu given up\n"
            "found again   %llu times at another address\n"
            "started over  %llu times\n"
            "compiling     %.6f s, %.0f ns for an instruction\n"
            "entered       %llu times; links made %llu\n"
            "left          %llu unlinked, %llu indirect, %llu instruction, %llu stop, %llu trap\n",
            (ull)s->regions, (ull)s->region_insns, (ull)s->code_bytes / 1024, (ull)s->given_up,
            (ull)s->moved, (ull)s->starts_over, (double)s->compile_ns / 1e9,
            s->region_insns ? (double)s->compile_ns / (double)s->region_insns : 0.0,
            (ull)s->region_entries, (ull)s->links, (ull)s->left_direct, (ull)s->left_indirect,
            (ull)s->left_instruction, (ull)s->left_stop, (ull)s->left_trap);
}
