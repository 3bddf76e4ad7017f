/*
 * What the parts of the differential test share: a program is run by the peer once and by every
 * engine, and what they write must be equal.
 */
#pragma once

#include "box.h"
#include "isa/riscv64/decode.h"
#include "peer.h"
#include "rng.h"

struct diff {
    const char *peer;
    uint64_t seed;
    const char *only; /* parts whose name starts so, or NULL */
    unsigned scale;   /* length of the run: 10; 100 for a long, 1 for a short one */
    unsigned long programs, instructions, cases, failures;
};

/* Whether to run the part of this name; *r becomes its generator. */
bool diff_part(struct diff *d, const char *name, struct rng *r);

/*
 * Runs the program everywhere. Calls `differ` with the output of the peer and that of an engine,
 * which have the same length, if they are not equal; it prints what it knows. All else that goes
 * wrong is printed here.
 */
void diff_run(struct diff *d, const char *name, const struct prog *p,
              void (*differ)(void *ctx, const struct engine_ops *engine, const uint8_t *peer,
                             const uint8_t *ours),
              void *ctx);

/* Says which instruction is the first after which the engine and the peer differ. */
void diff_locate(struct diff *d, const struct engine_ops *engine, const struct prog *p);

/* Counts and announces a failure: prints name, engine and how to repeat it. */
void diff_fail(struct diff *d, const char *name, const struct engine_ops *engine);

/* What the peer is known to be wrong about (accepted.c): instructions not to run; those to run
 * only when their result is used; words that it takes for instructions. */
bool diff_accepted(const struct rv_insn *in);
bool diff_accepted_unused(const struct rv_insn *in);
bool diff_accepted_word(uint32_t word);

/* The parts. */
void diff_instructions(struct diff *d);
void diff_programs(struct diff *d);
void diff_illegal(struct diff *d);
