/*
 * Random programs of a little guest: instructions on slots, blocks, branches. They are run directly
 * and turned into IR by the builder as a front end would: two ways to the same end.
 */
#pragma once

#include "ir_eval.h"

#define GUEST_INTS 10  /* slots 0..9: I64 */
#define GUEST_FLOATS 3 /* slots 10..12: F64 */
#define GUEST_SLOTS (GUEST_INTS + GUEST_FLOATS)
#define GUEST_MAX_BLOCKS 24
#define GUEST_MAX_INS 14
#define GUEST_MAX_ENTRIES 4

enum guest_kind {
    GUEST_OP,     /* d = a op b */
    GUEST_OP_IMM, /* d = a op imm */
    GUEST_OPW,    /* d = sext32(a op32 b) */
    GUEST_OPW_IMM,
    GUEST_OP1,  /* d = op a */
    GUEST_OP1W, /* d = sext32(op32 a) */
    GUEST_EXT,  /* d = extension of a's low half */
    GUEST_SET,  /* d = a compared with b */
    GUEST_SET_IMM,
    GUEST_SELECT, /* d = (a compared with 0) ? b : 0 */
    GUEST_MOVE,
    GUEST_IMM,
    GUEST_LOAD,
    GUEST_STORE,
    GUEST_AMO,
    GUEST_CALL,
    GUEST_FENCE,
    GUEST_FLOAT, /* fd = fa op fb */
    GUEST_FTOX,  /* d = bits of fa */
    GUEST_XTOF,
    GUEST_KINDS
};

enum guest_end { GUEST_JUMP, GUEST_BRANCH, GUEST_EXIT, GUEST_EXIT_IND, GUEST_EXIT_INTERP };

struct guest_ins {
    enum guest_kind kind;
    unsigned op, aux, d, a, b;
    int64_t imm;
};

struct guest_block {
    struct guest_ins ins[GUEST_MAX_INS];
    unsigned count;
    enum guest_end end;
    unsigned op, a, b; /* BRANCH: a op b; b == GUEST_SLOTS: op 0. EXIT_IND: a */
    unsigned to[2];
    bool tick; /* begins with one: a jump from further down ends here */
};

struct guest {
    struct guest_block block[GUEST_MAX_BLOCKS];
    unsigned count;
    bool declares; /* the front end says which slots it writes */
    unsigned entry[GUEST_MAX_ENTRIES],
        entries; /* blocks where it is entered; the first is block 0 */
};

uint64_t guest_random(uint64_t *seed);
void guest_make(struct guest *g, uint64_t *seed);
void guest_state(struct eval_state *s, uint64_t *seed);
/* The meaning of the program, entered at entry s->entry. */
void guest_run(const struct guest *g, struct eval_state *s, unsigned ticks);
/* The same as IR, up to ir_finish. */
void guest_build(const struct guest *g, struct ir *ir);
