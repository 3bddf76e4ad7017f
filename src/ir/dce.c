/*
 * Removes values that nothing needs: starting from instructions that must stay, everything they,
 * and their snapshots, refer to is marked; what is PURE and not marked goes, loops of PHIs
 * included.
 */
#include "ir/impl.h"

struct dce {
    struct ir *ir;
    ir_ref *stack;
    uint32_t depth;
};

static void dce_mark(struct dce *d, ir_ref r)
{
    if (d->ir->ins[r].mark)
        return;
    d->ir->ins[r].mark = 1;
    d->stack[d->depth++] = r;
}

static void dce_mark_operands(struct dce *d, ir_ref r)
{
    const struct ir *ir = d->ir;
    const struct ir_ins *ins = &ir->ins[r];
    if (ins->op == IR_PHI) {
        for (uint32_t j = 0; j < ir->block[ins->block].pred_count; j++)
            dce_mark(d, ir_phi_args(ir, r)[j]);
        return;
    }
    for (unsigned i = ir_argc(ins); i-- > 0;)
        dce_mark(d, ins->arg[i]);
}

static void dce_mark_entry(void *ctx, ir_ref user, const struct ir_snap_entry *e)
{
    (void)user;
    dce_mark(ctx, e->value);
}

void ir_pass_dce(struct ir *ir)
{
    struct dce d = {.ir = ir, .stack = ir->build->by_ref[0]};
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        {
            if (!(ir_flags(&ir->ins[r]) & IR_F_PURE))
                dce_mark(&d, r);
        }
        ir_each_new_entry(ir, ir->order[i], dce_mark_entry, &d);
    }
    while (d.depth)
        dce_mark_operands(&d, d.stack[--d.depth]);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        for (ir_ref r = ir->block[ir->order[i]].first, next; r; r = next) {
            next = ir->ins[r].next;
            if (!ir->ins[r].mark)
                ir_replace(ir, r, 0);
            ir->ins[r].mark = 0;
        }
    }
    ir_share_clear(ir);
}
