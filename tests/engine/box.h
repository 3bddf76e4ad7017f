/*
 * A box runs a program (prog.h) on an engine: one hart in U-mode without address translation,
 * memory for text and data, and the two system calls write and exit. Traps go to M-mode, whose
 * handler is a single wfi, so that the engine leaves with VCPU_EXIT_WAIT whatever engine it is.
 *
 * A box owns its memory and hart; it is used by one thread, except for vcpu_kick.
 */
#pragma once

#include "core/engine.h"
#include "isa/riscv64/hart.h"
#include "prog.h"

#define BOX_TRAP UINT64_C(0x10000) /* the page of the trap handler */

struct box {
    struct addrspace *mem;
    struct clock clock;
    struct vcpu vcpu;
    struct rv_hart hart;
    const struct engine_ops *engine;
    bool catches;          /* the program called sigaction: SIGILL goes on at PROG_RESUME_REG */
    const uint8_t *output; /* what the program wrote, in guest memory; NULL before it did */
    uint64_t output_len;
};

enum box_end {
    BOX_RUNS,   /* nothing ended it: the limit was reached, or it was kicked */
    BOX_EXITED, /* the program called exit */
    BOX_DIED,   /* another trap: mcause, mepc and mtval of the hart tell */
};

/* Aborts when the host's memory is short. */
struct box *box_new(const struct engine_ops *engine, const struct prog *p);
void box_free(struct box *b);

/* Does what the guest asked for when the engine returned `exit`. */
enum box_end box_service(struct box *b, enum vcpu_exit exit);

/* One call of the engine's run, then what the guest asked for. */
enum box_end box_step(struct box *b, uint64_t max_insns);

/* To the end of the program or the number of instructions since it started. */
enum box_end box_run(struct box *b, uint64_t max_insns);
