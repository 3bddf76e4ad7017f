/*
 * Random programs that neither trap nor run forever: straight-line code over all computational
 * instructions, memory accesses of every alignment within a scratch area, and, when asked for,
 * loops, branches, calls, computed jumps and code that changes itself. They end by writing their
 * data, which then holds all registers and the scratch area.
 */
#pragma once

#include "prog.h"
#include "rng.h"

enum gen_kind {
    GEN_LINE,   /* one run through straight-line code */
    GEN_BRANCH, /* everything that transfers control */
    GEN_MODIFY, /* as GEN_BRANCH, and instructions are overwritten */
};

#define GEN_DUMP 1024 /* offset in the data of what prog_dump writes */

/*
 * Makes the program of about `insns` executed instructions. The generator decides within it.
 * `p` is initialized here.
 */
void gen_program(struct prog *p, struct rng *r, enum gen_kind kind, uint64_t insns);
