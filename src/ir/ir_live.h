/*
 * Liveness of a finished region, as the register allocator wants it: a linear numbering, and for
 * each value an interval with holes and its uses. Nothing in here changes the IR.
 *
 * Numbering. Blocks are laid out in ir->order. A block covers positions [block_from, block_to),
 * both even; block_to of one is block_from of the next. PHIs are defined at block_from. Every other
 * instruction but CONST has an even position p > block_from: it reads its operands at p and defines
 * its result at p + 1. What an edge moves (PHI arguments) is read at block_to - 1 of the
 * predecessor. Snapshots are read at p; those of CALLs at p + 1, when the result is there already.
 *
 * Ranges are half open; a value is live in [from, to). A value whose last use is at p ends at p +
 * 1, so that the result of that instruction may take its place. Ranges of one value are sorted and
 * do not touch. Values live round a loop are live in all of it. A value nobody uses has the range
 * of its definition.
 *
 * In blocks that end with ENTER nothing is live: GETs are made on the way from there into the
 * region, each for itself.
 *
 * CONSTs have no position and no interval: they are made where they are used.
 *
 * Uses are those as operand and as PHI argument, sorted. Snapshots extend ranges but are no uses: a
 * snapshot takes a value from wherever it is. At the end of each back edge's block (block_to - 1),
 * values that an operand wants in a further round have a use of kind IR_USE_LOOP, so that "the
 * next use" is found by looking forward. (It is advice: a region with very many has none.)
 */
#pragma once

#include "ir/ir.h"

enum ir_use_kind { IR_USE_ARG, IR_USE_PHI, IR_USE_LOOP };

struct ir_range {
    uint32_t from, to;
};

struct ir_use {
    uint32_t pos;
    uint8_t kind;    /* enum ir_use_kind */
    uint8_t operand; /* IR_USE_ARG: which */
    uint8_t depth;   /* loop depth at pos */
    uint8_t pad;
    ir_ref user; /* instruction or PHI; IR_USE_LOOP: 0 */
};

struct ir_interval {
    ir_ref value;
    uint32_t from, to; /* of all its ranges */
    uint32_t range_first, range_count;
    uint32_t use_first, use_count;
    uint32_t last_use; /* position of the last use, 0: none; after it only snapshots want it */
    ir_ref hint;       /* value it would best share a register with (PHI or argument); 0: none */
};

struct ir_live {
    struct ir_interval *interval; /* in the order of definitions */
    uint32_t interval_count;
    struct ir_range *range;
    uint32_t range_count;
    struct ir_use *use;
    uint32_t use_count;
    uint32_t *interval_of; /* by ir_ref: index into interval, UINT32_MAX: none */
    uint32_t *pos;         /* by ir_ref: position; PHI: block_from */
    uint32_t *block_from;  /* by block index */
    uint32_t *block_to;
    ir_ref *at; /* by position / 2: the instruction, 0 at a block's beginning */
    uint32_t positions;
    struct ir_live_work *work; /* private to live.c */
};

struct ir_live *ir_live_new(void); /* NULL: out of memory */
void ir_live_free(struct ir_live *live);

/*
 * Computes everything for `ir`, which is finished and analyzed; what was there is overwritten.
 * False: the region is too entangled for the bounds (give it up).
 */
bool ir_live_build(struct ir_live *live, const struct ir *ir);

/* Whether `value` is live into / out of a block (snapshots included). Not for CONST. */
bool ir_live_in(const struct ir_live *live, uint32_t block, ir_ref value);
bool ir_live_out(const struct ir_live *live, uint32_t block, ir_ref value);
