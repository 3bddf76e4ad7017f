/*
 * An evaluator of the IR, written from ir.def alone: the oracle for folding and passes. State is a
 * set of slots with homes, and a small memory; an access beyond it is a fault.
 */
#pragma once

#include "ir/ir.h"

#define EVAL_MEM 4096

enum eval_exit { EVAL_EXIT, EVAL_IND, EVAL_INTERP, EVAL_FAULT, EVAL_CALL, EVAL_TICK, EVAL_LOST };

struct eval_state {
    uint64_t slot[IR_MAX_SLOTS]; /* homes; at the end: the state that was left */
    uint8_t mem[EVAL_MEM];
    uint64_t retired, pc;
    uint64_t base;    /* of PCs */
    uint64_t effects; /* hash over what calls and fences saw, in order */
    unsigned entry;   /* which of the region's entries, in the order of ENTERs */
    enum eval_exit exit;
};

/* Value of a PURE or FPENV operation; garbage: upper half of XEXT32. */
uint64_t eval_op(unsigned op, unsigned type, unsigned arg_type, uint64_t a, uint64_t b, uint64_t c,
                 uint64_t garbage);
/* False: fault. */
bool eval_load(const struct eval_state *s, uint64_t addr, unsigned size, bool sign, uint64_t *v);
bool eval_store(struct eval_state *s, uint64_t addr, unsigned size, uint64_t v);
bool eval_amo(struct eval_state *s, unsigned kind, uint64_t addr, unsigned size, uint64_t v,
              uint64_t *old);
/* A helper's result; it has seen the homes of `slots` slots when aux says STATE. */
uint64_t eval_helper(struct eval_state *s, unsigned slots, int64_t helper, unsigned aux, uint64_t a,
                     uint64_t b, uint64_t c);
bool eval_helper_leaves(uint64_t result);

/*
 * Runs a finished region on *s. TICK leaves when it has been executed `ticks` times. It checks as
 * it goes that operands have been computed and that marks of ir_pass_mem hold; EVAL_LOST: something
 * was wrong (printed), or too many steps.
 */
void eval_run(const struct ir *ir, struct eval_state *s, unsigned ticks);

/* Whether two ends are the same; prints the first difference. */
bool eval_same(const struct eval_state *x, const struct eval_state *y, unsigned slots);
