/*
 * Wild programs: random code in S- and U-mode that traps, is interrupted, switches address spaces,
 * changes page tables and itself, and never ends. The machine around it is a hart with some pages
 * of memory. Two engines that run it must be in the same state after every instruction.
 *
 * What the architecture leaves open is kept out: an instruction that changes code or page tables is
 * followed by its fence, and whoever interrupts before it, fences too.
 *
 * A world owns its memory and hart; it is used by one thread.
 */
#pragma once

#include "core/engine.h"
#include "isa/riscv64/hart.h"
#include "rng.h"

struct world {
    struct addrspace *mem;
    struct clock clock;
    struct vcpu vcpu;
    struct rv_hart hart;
    const struct engine_ops *engine;
};

/* The same seed makes the same world. Aborts when the host's memory is short. */
struct world *world_new(const struct engine_ops *engine, uint64_t seed);
void world_free(struct world *w);

/*
 * As the engine's run, with interrupts: the inputs change at instruction counts that are the same
 * for all engines. To be used as `run` of a copy of the engine's operations.
 */
enum vcpu_exit world_run(struct vcpu *v, uint64_t max_insns, const struct engine_ops *engine);

/* Prints the instruction at the hart's pc, if there is one. */
void world_print(const struct world *w);
