/*
 * Folds and shares everything again. After the graph is complete, more is known than while it was
 * built: PHIs have disappeared, dominators allow sharing across blocks, constants have reached
 * branches. Blocks are visited in order, so that definitions come before uses.
 */
#include "ir/impl.h"

static void fold_resolve(struct ir *ir, struct ir_ins *ins)
{
    for (int i = 0; i < 3; i++)
        ins->arg[i] = ir_resolve(ir, ins->arg[i]);
}

static void fold_value(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    struct ir_fold f = {.ir = ir,
                        .op = ins->op,
                        .type = ins->type,
                        .aux = ins->aux,
                        .a = ins->arg[0],
                        .b = ins->arg[1],
                        .c = ins->arg[2]};
    ir_ref v = ir_fold(&f);
    if (ir->overflow)
        return;
    ins->arg[0] = f.a;
    ins->arg[1] = f.b;
    ins->arg[2] = f.c;
    if (!v)
        v = ir_share_find(ir, ins);
    if (v)
        ir_replace(ir, r, ir_resolve(ir, v));
    else
        ir_share_add(ir, r);
}

/* A branch on x == 0, where x is a condition that has no opposite, goes the other way on x. */
static bool fold_branch_opposite(struct ir *ir, struct ir_ins *ins, const struct ir_ins *cond)
{
    const struct ir_ins *bit = &ir->ins[cond->arg[0]], *zero = &ir->ins[cond->arg[1]];
    if (cond->op != IR_EQ || bit->op != IR_BOOL || zero->op != IR_CONST || zero->imm)
        return false;
    struct ir_block *b = &ir->block[ins->block];
    uint32_t yes = b->succ[0];
    b->succ[0] = b->succ[1];
    b->succ[1] = yes;
    ins->arg[0] = bit->arg[0];
    if (ins->aux)
        ins->aux = ins->aux == IR_BRANCH_LIKELY ? IR_BRANCH_UNLIKELY : IR_BRANCH_LIKELY;
    return true;
}

/* A branch on a constant becomes a jump; whether the graph has changed. */
static bool fold_branch(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    const struct ir_ins *cond = &ir->ins[ins->arg[0]];
    if (cond->op != IR_CONST)
        return fold_branch_opposite(ir, ins, cond);
    ir_edge_remove(ir, ins->block, ir->block[ins->block].succ[cond->imm ? 1 : 0]);
    ins->op = IR_JUMP;
    ins->aux = 0;
    ins->arg[0] = 0;
    return true;
}

/* What ir_pass_mem said was about the old base. */
static void fold_access(struct ir *ir, struct ir_ins *ins)
{
    if (ir_fold_address(ir, &ins->arg[0], &ins->imm))
        ins->aux &= (uint8_t) ~(IR_MEM_RANGE | IR_MEM_PERM);
}

/* A count on a constant is a plain one. */
static void fold_count_if(struct ir *ir, struct ir_ins *ins)
{
    const struct ir_ins *cond = &ir->ins[ins->arg[0]];
    if (cond->op != IR_CONST)
        return;
    ins->op = IR_COUNT;
    ins->imm = cond->imm ? ir_count_if_yes(ins->imm) : ir_count_if_no(ins->imm);
    ins->arg[0] = 0;
}

static bool fold_ins(struct ir *ir, ir_ref r)
{
    struct ir_ins *ins = &ir->ins[r];
    if (ins->op == IR_PHI || ir_is_prelude(ins->op))
        return false;
    fold_resolve(ir, ins);
    ir->build->insert_before = r;
    if (ir_flags(ins) & (IR_F_PURE | IR_F_FPENV))
        fold_value(ir, r);
    if (ins->op == IR_LOAD || ins->op == IR_STORE)
        fold_access(ir, ins);
    if (ins->op == IR_STORE)
        ins->arg[1] = ir_fold_stored(ir, ins->arg[1], IR_MEM_SIZE(ins->aux) * 8);
    if (ins->op == IR_COUNT_IF)
        fold_count_if(ir, ins);
    return ins->op == IR_BRANCH && fold_branch(ir, r);
}

void ir_pass_fold(struct ir *ir)
{
    bool graph = false;
    ir_share_clear(ir);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        ir->current = ir->order[i];
        for (ir_ref r = ir->block[ir->current].first, next; r && !ir->overflow; r = next) {
            next = ir->ins[r].next;
            graph |= fold_ins(ir, r);
        }
    }
    if (!ir->overflow)
        ir_settle(ir, graph);
}
