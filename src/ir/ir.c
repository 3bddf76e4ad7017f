/* The container: memory, the lists of instructions, and the values every region begins with. */
#include <stdlib.h>

#include "ir/impl.h"

static bool ir_alloc_build(struct ir_build *build)
{
    build->cur = calloc((size_t)IR_MAX_BLOCKS * IR_MAX_SLOTS, sizeof *build->cur);
    build->edge = calloc(IR_MAX_PREDS, sizeof *build->edge);
    build->edge_tail = calloc(IR_MAX_BLOCKS, sizeof *build->edge_tail);
    build->forward = calloc(IR_MAX_INS, sizeof *build->forward);
    build->hash_next = calloc(IR_MAX_INS, sizeof *build->hash_next);
    build->by_phi_arg = calloc(IR_MAX_PHI_ARGS, sizeof *build->by_phi_arg);
    bool ok = build->cur && build->edge && build->edge_tail && build->forward && build->hash_next &&
              build->by_phi_arg;
    for (size_t i = 0; i < ARRAY_SIZE(build->by_ref); i++)
        ok &= (build->by_ref[i] = calloc(IR_MAX_INS + 1, sizeof **build->by_ref)) != NULL;
    for (size_t i = 0; i < ARRAY_SIZE(build->by_block); i++)
        ok &= (build->by_block[i] = calloc(IR_MAX_BLOCKS + 1, sizeof **build->by_block)) != NULL;
    return ok;
}

struct ir *ir_new(void)
{
    struct ir *ir = calloc(1, sizeof *ir);
    if (!ir)
        return NULL;
    ir->ins = calloc(IR_MAX_INS, sizeof *ir->ins);
    ir->block = calloc(IR_MAX_BLOCKS, sizeof *ir->block);
    ir->snap = calloc(IR_MAX_SNAPS, sizeof *ir->snap);
    ir->snap_entry = calloc(IR_MAX_SNAP_ENTRIES, sizeof *ir->snap_entry);
    ir->phi_arg = calloc(IR_MAX_PHI_ARGS, sizeof *ir->phi_arg);
    ir->pred = calloc(IR_MAX_PREDS, sizeof *ir->pred);
    ir->order = calloc(IR_MAX_BLOCKS, sizeof *ir->order);
    ir->build = calloc(1, sizeof *ir->build);
    if (!ir->ins || !ir->block || !ir->snap || !ir->snap_entry || !ir->phi_arg || !ir->pred ||
        !ir->order || !ir->build || !ir_alloc_build(ir->build)) {
        ir_free(ir);
        return NULL;
    }
    ir_fold_init(ir->build);
    ir_reset(ir, 0, NULL);
    return ir;
}

static void ir_free_build(struct ir_build *build)
{
    free(build->cur);
    free(build->edge);
    free(build->edge_tail);
    free(build->forward);
    free(build->hash_next);
    free(build->by_phi_arg);
    for (size_t i = 0; i < ARRAY_SIZE(build->by_ref); i++)
        free(build->by_ref[i]);
    for (size_t i = 0; i < ARRAY_SIZE(build->by_block); i++)
        free(build->by_block[i]);
    free(build);
}

void ir_free(struct ir *ir)
{
    if (!ir)
        return;
    if (ir->build)
        ir_free_build(ir->build);
    free(ir->ins);
    free(ir->block);
    free(ir->snap);
    free(ir->snap_entry);
    free(ir->phi_arg);
    free(ir->pred);
    free(ir->order);
    free(ir);
}

void ir_reset(struct ir *ir, unsigned slots, const uint8_t *types)
{
    assert(slots <= IR_MAX_SLOTS);
    struct ir_build *build = ir->build;
    memset(&ir->ins[0], 0, sizeof ir->ins[0]);
    memset(&ir->snap[0], 0, sizeof ir->snap[0]);
    ir->ins_count = ir->snap_count = 1;
    ir->block_count = ir->snap_entry_count = ir->phi_arg_count = ir->pred_count = 0;
    ir->order_count = 0;
    ir->slots = slots;
    memset(ir->slot_type, 0, sizeof ir->slot_type);
    if (slots)
        memcpy(ir->slot_type, types, slots);
    memset(ir->slot_get, 0, sizeof ir->slot_get);
    ir->overflow = ir->finished = false;

    build->written[0] = slots >= 64 ? UINT64_MAX : (UINT64_C(1) << slots) - 1;
    build->written[1] = slots > 64 ? (UINT64_C(1) << (slots - 64)) - 1 : 0;
    build->edge_count = 0;
    build->forward[0] = 0;
    build->any_forward = false;
    build->prelude_last = build->insert_before = 0;
    build->snap_block = IR_NO_BLOCK;
    ir_share_clear(ir);

    ir->current = IR_NO_BLOCK;
    uint32_t entry = ir_block_new(ir, 0);
    ir->block[entry].sealed = true;
    ir_block_begin(ir, entry);
}

ir_ref ir_ins_new(struct ir *ir, unsigned op, unsigned type)
{
    if (ir->overflow || ir->ins_count == IR_MAX_INS) {
        ir->overflow = true;
        return 0;
    }
    ir_ref r = ir->ins_count++;
    ir->ins[r] = (struct ir_ins){.op = (uint8_t)op, .type = (uint8_t)type};
    ir->build->forward[r] = 0;
    return r;
}

static void ir_link(struct ir *ir, uint32_t block, ir_ref prev, ir_ref r, ir_ref next)
{
    struct ir_block *b = &ir->block[block];
    ir->ins[r].block = block;
    ir->ins[r].prev = prev;
    ir->ins[r].next = next;
    *(prev ? &ir->ins[prev].next : &b->first) = r;
    *(next ? &ir->ins[next].prev : &b->last) = r;
}

void ir_link_end(struct ir *ir, uint32_t block, ir_ref r)
{
    ir_link(ir, block, ir->block[block].last, r, 0);
}

void ir_link_front(struct ir *ir, uint32_t block, ir_ref r)
{
    ir_link(ir, block, 0, r, ir->block[block].first);
}

void ir_link_before(struct ir *ir, ir_ref at, ir_ref r)
{
    ir_link(ir, ir->ins[at].block, ir->ins[at].prev, r, at);
}

void ir_link_after(struct ir *ir, ir_ref at, ir_ref r)
{
    ir_link(ir, ir->ins[at].block, at, r, ir->ins[at].next);
}

void ir_link_prelude(struct ir *ir, ir_ref r)
{
    if (ir->build->prelude_last)
        ir_link_after(ir, ir->build->prelude_last, r);
    else
        ir_link_front(ir, 0, r);
    ir->build->prelude_last = r;
}

void ir_unlink(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    struct ir_block *b = &ir->block[ins->block];
    if (ir->build->prelude_last == r)
        ir->build->prelude_last = ins->prev;
    *(ins->prev ? &ir->ins[ins->prev].next : &b->first) = ins->next;
    *(ins->next ? &ir->ins[ins->next].prev : &b->last) = ins->prev;
    ins->prev = ins->next = 0;
}

void ir_replace(struct ir *ir, ir_ref r, ir_ref by)
{
    ir_unlink(ir, r);
    struct ir_ins *ins = &ir->ins[r];
    if (ins->op == IR_GET)
        ir->slot_get[ins->imm] = 0;
    ins->op = IR_NOP;
    ins->snap = 0;
    if (by) {
        assert(by != r);
        ir->build->forward[r] = by;
        ir->build->any_forward = true;
    }
}

void ir_place(struct ir *ir, ir_ref r)
{
    if (ir->build->insert_before)
        ir_link_before(ir, ir->build->insert_before, r);
    else
        ir_link_end(ir, ir->current, r);
}

ir_ref ir_get(struct ir *ir, unsigned slot)
{
    if (!ir->slot_get[slot]) {
        ir_ref r = ir_ins_new(ir, IR_GET, ir->slot_type[slot]);
        if (!r)
            return 0;
        ir->ins[r].imm = slot;
        ir_link_prelude(ir, r);
        ir->slot_get[slot] = r;
    }
    return ir->slot_get[slot];
}

/* A CONST or PC, which are there once each. */
static ir_ref ir_leaf(struct ir *ir, enum ir_op op, enum ir_type type, int64_t imm)
{
    struct ir_ins like = {.op = (uint8_t)op, .type = (uint8_t)type, .imm = imm};
    ir_ref r = ir_share_find(ir, &like);
    if (r)
        return r;
    r = ir_ins_new(ir, op, type);
    if (!r)
        return 0;
    ir->ins[r].imm = imm;
    ir_link_prelude(ir, r);
    ir_share_add(ir, r);
    return r;
}

ir_ref ir_const(struct ir *ir, enum ir_type type, int64_t imm)
{
    return ir_leaf(ir, IR_CONST, type, ir_imm_of(type, (uint64_t)imm));
}

ir_ref ir_pc(struct ir *ir, int32_t offset)
{
    return ir_leaf(ir, IR_PC, IR_I64, offset);
}
