/*
 * Engines in lockstep over wild programs (wild.h). GUISE_LONG=1 runs 10^9 instructions, and
 * GUISE_WILD=N only program N.
 */
#include "engine/engines.h"
#include "lockstep.h"
#include "wild.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define INSNS 200000u /* of a program */
#define STRIDE 50000u

static enum vcpu_exit run_first(struct vcpu *v, uint64_t max_insns)
{
    return world_run(v, max_insns, engines_for_tests[0]);
}

static enum vcpu_exit run_second(struct vcpu *v, uint64_t max_insns)
{
    return world_run(v, max_insns, engines_for_tests[1]);
}

static bool service(void *ctx, struct vcpu *v, enum vcpu_exit exit)
{
    (void)ctx;
    (void)v;
    return exit == VCPU_EXIT_WAIT; /* what it waits for comes soon */
}

static bool one_program(uint64_t seed, uint64_t insns, unsigned long *traps)
{
    struct engine_ops first = *engines_for_tests[0], second = *engines_for_tests[1];
    first.run = run_first;
    second.run = run_second;
    struct world *w[2] = {world_new(&first, seed), world_new(&second, seed)};
    struct lockstep l = {{&w[0]->vcpu, &w[1]->vcpu}, STRIDE, service, NULL};
    struct lockstep_result r;
    enum lockstep_end end = lockstep_run(&l, insns, &r);
    struct engine_stats stats;
    first.stats(&w[0]->vcpu, &stats);
    *traps += stats.traps;
    if (end == LOCKSTEP_DIFFERENT) {
        printf("FAILED: %s and %s differ after %lu instructions, by that at %lx: %s\n", first.name,
               second.name, (unsigned long)r.insns, (unsigned long)r.pc, r.what);
        world_print(w[0]);
        world_print(w[1]);
    }
    world_free(w[0]);
    world_free(w[1]);
    return end == LOCKSTEP_LIMIT;
}

int main(void)
{
    const char *env = getenv("GUISE_SEED"), *only = getenv("GUISE_WILD");
    uint64_t seed = env && *env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);
    unsigned programs = getenv("GUISE_LONG") ? 5000 : getenv("GUISE_SHORT") ? 5 : 40;
    unsigned long traps = 0;
    if (!engines_for_tests[1]) {
        printf("skipped: this host has one engine\n");
        return 77;
    }
    printf("seed %lu\n", (unsigned long)seed);
    for (unsigned i = 0; i < programs; i++) {
        struct rng r = rng_part(seed, i);
        if (only && strtoul(only, NULL, 0) != i)
            continue;
        if (!one_program(rng_next(&r), INSNS, &traps)) {
            printf("again: GUISE_SEED=%lu GUISE_WILD=%u\n", (unsigned long)seed, i);
            return 1;
        }
    }
    printf("%u programs of %u instructions, %lu exceptions\n", programs, INSNS, traps);
    return 0;
}
