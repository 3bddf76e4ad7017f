/*
 * What the files of this layer share: the builder's state, lists of instructions, folding.
 *
 * Replacement. A value that turns out to be another is unlinked, made a NOP, and
 * build->forward[old] = new. Everybody who reads a ref that may be old calls ir_resolve; ir_settle
 * rewrites all that is left, so that after it nothing refers to a replaced value.
 */
#pragma once

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "ir/ir.h"

#define IR_HASH_SIZE 1024 /* cleared several times for each region */
#define IR_ANY_OP 255

struct ir_fold;
typedef ir_ref ir_fold_fn(struct ir_fold *f);

/* A pattern: an operation with operands a and b made by these operations (IR_ANY_OP: any). */
struct ir_fold_rule {
    uint8_t op, a, b;
    ir_fold_fn *fn;
};

extern const struct ir_fold_rule ir_fold_rules[];
extern const unsigned ir_fold_rule_count;

#define IR_MAX_FOLD_RULES 256

struct ir_edge {
    uint32_t from, next; /* next: of the same target, UINT32_MAX: last */
};

struct ir_build {
    /* slots while building: the value at the end of a block, [block * IR_MAX_SLOTS + slot] */
    ir_ref *cur;
    uint64_t written[2]; /* slots that may be written in this region */
    struct ir_edge *edge;
    uint32_t edge_count;
    uint32_t *edge_tail; /* by block */

    ir_ref *forward; /* by ref; 0: not replaced */
    bool any_forward;

    uint32_t hash[IR_HASH_SIZE]; /* heads of chains of values; 0: end */
    uint32_t *hash_next;         /* by ref */
    ir_ref fpenv_from;           /* FPENV values before this ref are not shared */

    ir_ref prelude_last;  /* last of the GETs, CONSTs and PCs */
    ir_ref insert_before; /* passes: new values go before this one; 0: to the end */

    uint32_t snap_block, snap_first, snap_count; /* entries to share; IR_NO_BLOCK: none */

    uint8_t fold_order[IR_MAX_FOLD_RULES]; /* rules by operation, otherwise in table order */
    uint16_t fold_first[IR_OP_COUNT + 1];

    /* scratch for passes, by ref, by block, by PHI argument; contents are anybody's */
    uint32_t *by_ref[4];
    uint32_t *by_block[4];
    uint32_t *by_phi_arg;
};

static inline ir_ref ir_resolve(struct ir *ir, ir_ref r)
{
    ir_ref *forward = ir->build->forward;
    while (forward[r]) {
        if (forward[forward[r]])
            forward[r] = forward[forward[r]];
        r = forward[r];
    }
    return r;
}

typedef void ir_entry_fn(void *ctx, ir_ref user, const struct ir_snap_entry *e);

/*
 * Calls fn for what the snapshots of a block list, but not again for what the snapshot before in
 * the block has, too: of some twenty entries, all but one or two.
 */
static inline __attribute__((always_inline)) void ir_each_new_entry(const struct ir *ir, uint32_t b,
                                                                    ir_entry_fn *fn, void *ctx)
{
    const struct ir_snap_entry *old = NULL;
    uint32_t old_count = 0;
    IR_EACH_INS(ir, b, r)
    {
        const struct ir_snap *s = &ir->snap[ir->ins[r].snap];
        const struct ir_snap_entry *e = ir->snap_entry + s->first;
        if (!ir->ins[r].snap || !s->count || e == old)
            continue;
        for (uint32_t i = 0, k = 0; i < s->count; i++) {
            while (k < old_count && old[k].slot < e[i].slot)
                k++;
            if (k == old_count || old[k].slot != e[i].slot || old[k].value != e[i].value ||
                old[k].how != e[i].how)
                fn(ctx, r, &e[i]);
        }
        old = e;
        old_count = s->count;
    }
}

static inline unsigned ir_flags(const struct ir_ins *ins)
{
    return ir_op_info[ins->op].flags;
}

static inline unsigned ir_type_bits(unsigned type)
{
    return type == IR_I1 ? 1 : type == IR_I32 || type == IR_F32 ? 32 : 64;
}

static inline bool ir_is_int(unsigned type)
{
    return type == IR_I32 || type == IR_I64;
}

static inline bool ir_is_compare(unsigned op)
{
    return op >= IR_EQ && op <= IR_GEU;
}

static inline bool ir_is_prelude(unsigned op)
{
    return op == IR_GET || op == IR_CONST || op == IR_PC;
}

/* The number `v` as a constant of this type has it. */
static inline int64_t ir_imm_of(unsigned type, uint64_t v)
{
    if (type == IR_I1)
        return (int64_t)(v & 1);
    if (type == IR_F32)
        return (int64_t)(v & UINT32_MAX);
    return type == IR_I32 ? (int64_t)bits_sext(v, 32) : (int64_t)v;
}

extern const char *const ir_amo_names[IR_AMO_COUNT];

/* --- ir.c: lists ---------------------------------------------------------------------------- */

/* A new instruction, in no block. 0: no room, overflow is set. */
ir_ref ir_ins_new(struct ir *ir, unsigned op, unsigned type);
void ir_link_end(struct ir *ir, uint32_t block, ir_ref r);
void ir_link_front(struct ir *ir, uint32_t block, ir_ref r);
void ir_link_before(struct ir *ir, ir_ref at, ir_ref r);
void ir_link_after(struct ir *ir, ir_ref at, ir_ref r);
void ir_unlink(struct ir *ir, ir_ref r);
/* Takes r out and makes it a NOP; with `by`, what refers to r means `by` from now on. */
void ir_replace(struct ir *ir, ir_ref r, ir_ref by);
/* The GET of a slot, made when it is not there yet. */
ir_ref ir_get(struct ir *ir, unsigned slot);
/* Puts r where new values go: before insert_before, or at the end of the current block. */
void ir_place(struct ir *ir, ir_ref r);
/* Adds a GET or CONST after the others. */
void ir_link_prelude(struct ir *ir, ir_ref r);

/* --- share.c -------------------------------------------------------------------------------- */

/* Forgets all but the CONSTs. */
void ir_share_clear(struct ir *ir);
/* A value equal to `like` whose definition dominates the current place, or 0. */
ir_ref ir_share_find(struct ir *ir, const struct ir_ins *like);
void ir_share_add(struct ir *ir, ir_ref r);

/* --- fold.c, fold_rules.c, fold_const.c ------------------------------------------------------- */

struct ir_fold {
    struct ir *ir;
    uint8_t op, type, aux;
    ir_ref a, b, c;
    const struct ir_ins *l, *r; /* of a and b */
};

#define IR_FOLD_RETRY UINT32_MAX

void ir_fold_init(struct ir_build *build);
/*
 * What the operation in *f can be instead: a value, or 0: f as it is now (operands may have been
 * exchanged or simplified) has to be made.
 */
ir_ref ir_fold(struct ir_fold *f);
/* The value of a PURE operation on constants; false: not known here. x are the operands' imm. */
bool ir_fold_const(unsigned op, unsigned type, unsigned arg_type, const int64_t *x,
                   int64_t *result);

/*
 * How many low bits say everything about r: zero-extending (u) or sign-extending (s) them gives its
 * value. For integers; at most the type's width. Looks at few instructions.
 */
unsigned ir_width_u(const struct ir *ir, ir_ref r);
unsigned ir_width_s(const struct ir *ir, ir_ref r);

/* Moves constant additions of *base into *offset while it fits; whether anything moved. */
bool ir_fold_address(struct ir *ir, ir_ref *base, int64_t *offset);
/* The value whose low `bits` bits are those of r, without extensions. */
ir_ref ir_fold_stored(struct ir *ir, ir_ref r, unsigned bits);

/* --- finish.c ------------------------------------------------------------------------------- */

/*
 * After a change: resolves all refs that stay, and, when `graph` changed, orders it anew and
 * empties unreachable blocks; removes PHIs that are one value.
 */
void ir_settle(struct ir *ir, bool graph);
/* Takes the edge from -> to out, with the arguments of PHIs. */
void ir_edge_remove(struct ir *ir, uint32_t from, uint32_t to);
