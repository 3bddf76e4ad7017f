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
            "loaded        %llu regions of earlier runs%s%s\n",
            (ull)s.instructions, (ull)s.decoded, (ull)s.code_pages, (ull)s.loaded, why ? ": " : "",
            why ? why : "");
    if (s.regions)
        engine_stats_print_translator(&s, stderr);
}
