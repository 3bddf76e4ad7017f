/* --stats: what the engine did for the program. */
#include "proc/thread.h"

#include <stdio.h>

void process_print_stats(const struct thread *t)
{
    typedef unsigned long long ull;
    struct engine_stats s;
    const char *why = t->process->config->store_why;
    t->vcpu.engine->stats(&t->vcpu, &s);
    fprintf(stderr,
            "instructions  %llu of the last thread\n"
            "decoded       %llu instructions, %llu pages\n"
            "regions       %llu of %llu instructions, %llu KiB of code, %llu given up\n"
            "loaded        %llu regions of earlier runs%s%s\n"
            "started over  %llu times\n"
            "compiling     %.6f s, %.0f ns for an instruction\n"
            "entered       %llu times; links made %llu\n"
            "left          %llu unlinked, %llu indirect, %llu instruction, %llu stop, %llu trap\n",
            (ull)s.instructions, (ull)s.decoded, (ull)s.code_pages, (ull)s.regions,
            (ull)s.region_insns, (ull)s.code_bytes / 1024, (ull)s.given_up, (ull)s.loaded,
            why ? ": " : "", why ? why : "", (ull)s.starts_over, (double)s.compile_ns / 1e9,
            s.region_insns ? (double)s.compile_ns / (double)s.region_insns : 0.0,
            (ull)s.region_entries, (ull)s.links, (ull)s.left_direct, (ull)s.left_indirect,
            (ull)s.left_instruction, (ull)s.left_stop, (ull)s.left_trap);
}
