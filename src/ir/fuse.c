/*
 * Makes one operation of two where hosts have it: a shift and the addition it is for (ADDX2, ADDX4,
 * ADDX8), NOT and AND (ANDN). Comes late: nothing looks through the fused operations.
 */
#include "ir/impl.h"

/* Whether r is a shift by 1, 2 or 3 that only one addition wants. */
static bool fuse_is_scaled(const struct ir *ir, ir_ref r)
{
    const struct ir_ins *ins = &ir->ins[r];
    if (ins->op != IR_SHL || ins->uses != 1 || ins->snap_uses)
        return false;
    const struct ir_ins *n = &ir->ins[ins->arg[1]];
    return n->op == IR_CONST && n->imm >= 1 && n->imm <= 3;
}

static void fuse_add(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    bool left = fuse_is_scaled(ir, ins->arg[0]);
    ir_ref shift = ins->arg[left ? 0 : 1], other = ins->arg[left ? 1 : 0];
    if ((!left && !fuse_is_scaled(ir, shift)) || ir->ins[other].op == IR_CONST)
        return;
    const struct ir_ins *s = &ir->ins[shift];
    ins->op = (uint8_t)(IR_ADDX2 + ir->ins[s->arg[1]].imm - 1);
    ins->arg[0] = other;
    ins->arg[1] = s->arg[0];
    ir_replace(ir, shift, 0);
}

static bool fuse_is_not(const struct ir *ir, ir_ref r)
{
    return ir->ins[r].op == IR_NOT && ir->ins[r].uses == 1 && !ir->ins[r].snap_uses;
}

static void fuse_and(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    bool left = fuse_is_not(ir, ins->arg[0]);
    ir_ref not = ins->arg[left ? 0 : 1], other = ins->arg[left ? 1 : 0];
    if ((!left && !fuse_is_not(ir, not )) || ir->ins[other].op == IR_CONST)
        return;
    ins->op = IR_ANDN;
    ins->arg[0] = other;
    ins->arg[1] = ir->ins[not ].arg[0];
    ir_replace(ir, not, 0);
}

void ir_pass_fuse(struct ir *ir)
{
    ir_count_uses(ir);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        for (ir_ref r = ir->block[ir->order[i]].first; r; r = ir->ins[r].next) {
            if (ir->ins[r].op == IR_ADD)
                fuse_add(ir, r);
            else if (ir->ins[r].op == IR_AND)
                fuse_and(ir, r);
        }
    }
    ir_share_clear(ir);
}
