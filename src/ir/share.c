/*
 * Sharing of equal values: a hash table of chains over all values that may be shared.
 *
 * While building, the graph is not complete: a value is shared when it is in the entry block, in
 * the same block, or in a block that the current one is reached from by single edges only. In
 * passes the dominator tree decides; they fill the table in an order in which definitions come
 * first. Looking gives up after some steps, so that no input makes it slow.
 */
#include "ir/impl.h"

#define SHARE_STEPS 64

static uint32_t share_hash(const struct ir_ins *ins)
{
    uint64_t h = (uint64_t)ins->imm;
    h = (h ^ ins->op ^ (uint64_t)ins->type << 8 ^ (uint64_t)ins->aux << 16) *
        UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 3; i++)
        h = ((h ^ h >> 29) + ins->arg[i]) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(h >> 40) % IR_HASH_SIZE;
}

static bool share_equal(const struct ir_ins *x, const struct ir_ins *y)
{
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->imm == y->imm &&
           x->arg[0] == y->arg[0] && x->arg[1] == y->arg[1] && x->arg[2] == y->arg[2];
}

/* Whether what is in block `from` already is there at the current place. */
static bool share_reaches(const struct ir *ir, uint32_t from)
{
    uint32_t b = ir->current;
    if (from == 0 || from == b)
        return true;
    if (ir->finished)
        return ir_dominates(ir, from, b);
    for (int i = 0; i < SHARE_STEPS && b != from; i++) {
        const struct ir_block *block = &ir->block[b];
        if (!block->sealed || block->pred_count != 1)
            return false;
        b = ir->build->edge[block->pred_first].from;
    }
    return b == from;
}

static bool share_usable(const struct ir *ir, ir_ref r)
{
    const struct ir_ins *ins = &ir->ins[r];
    if (ir_flags(ins) & IR_F_FPENV)
        return !ir->finished && ins->block == ir->current && r >= ir->build->fpenv_from;
    return share_reaches(ir, ins->block);
}

ir_ref ir_share_find(struct ir *ir, const struct ir_ins *like)
{
    ir_ref r = ir->build->hash[share_hash(like)];
    for (int i = 0; r && i < SHARE_STEPS; i++, r = ir->build->hash_next[r]) {
        if (share_equal(&ir->ins[r], like) && share_usable(ir, r))
            return r;
    }
    return 0;
}

void ir_share_add(struct ir *ir, ir_ref r)
{
    uint32_t *head = &ir->build->hash[share_hash(&ir->ins[r])];
    ir->build->hash_next[r] = *head;
    *head = r;
}

void ir_share_clear(struct ir *ir)
{
    memset(ir->build->hash, 0, sizeof ir->build->hash);
    ir->build->fpenv_from = ir->ins_count;
    if (!ir->block_count)
        return;
    for (ir_ref r = ir->block[0].first; r && ir_is_prelude(ir->ins[r].op); r = ir->ins[r].next) {
        if (ir_is_leaf(ir, r))
            ir_share_add(ir, r);
    }
}
