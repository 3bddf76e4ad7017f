/*
 * Which accesses to guest memory repeat a check. Two marks, for the emitter to use as its memory
 * mode allows:
 *
 *  IR_MEM_RANGE: an access with the same base dominates this one. Both offsets are within IR_GUARD.
 *    If the base had been out of range, that access would have left the region. It is a property of
 *    the number, so that nothing in between matters.
 *  IR_MEM_PERM: such an access that needs the same or more permission (a store's includes a load's:
 *    a page that is writable only does not exist), and on no path in between a CALL that may change
 *    translations. Paths are not followed: without such a CALL in the region dominance is enough,
 *    otherwise both must be in a chain of blocks each of which has one predecessor, with no such
 * CALL in between ("epoch").
 *
 * An access that is itself marked need not be remembered: what it dominates is dominated by the one
 * that marked it. Looking gives up after some steps.
 */
#include "ir/impl.h"

#define MEM_STEPS 16

struct mem {
    struct ir *ir;
    uint32_t *range_head, *range_next; /* accesses: by base, by access */
    uint32_t *perm_head, *perm_next;
    uint32_t *epoch;     /* by access */
    uint32_t *block_end; /* by block: epoch at its end */
    uint32_t now, last;  /* epoch; the highest so far */
    bool killers;
};

static bool mem_kills(const struct ir_ins *ins)
{
    return ins->op == IR_CALL && !(ins->aux & IR_CALL_MEM_SAME);
}

static bool mem_writes(const struct ir_ins *ins)
{
    return ir_flags(ins) & IR_F_STORE;
}

static bool mem_in_guard(const struct ir_ins *ins)
{
    return ins->op == IR_AMO || (ins->imm >= -IR_GUARD && ins->imm <= IR_GUARD);
}

static bool mem_find_range(const struct mem *m, ir_ref r)
{
    const struct ir *ir = m->ir;
    ir_ref x = m->range_head[ir->ins[r].arg[0]];
    for (int i = 0; x && i < MEM_STEPS; i++, x = m->range_next[x]) {
        if (ir_dominates(ir, ir->ins[x].block, ir->ins[r].block))
            return true;
    }
    return false;
}

static bool mem_find_perm(const struct mem *m, ir_ref r)
{
    const struct ir *ir = m->ir;
    bool write = mem_writes(&ir->ins[r]);
    ir_ref x = m->perm_head[ir->ins[r].arg[0]];
    for (int i = 0; x && i < MEM_STEPS; i++, x = m->perm_next[x]) {
        if (m->epoch[x] == m->now && (!write || mem_writes(&ir->ins[x])) &&
            ir_dominates(ir, ir->ins[x].block, ir->ins[r].block))
            return true;
    }
    return false;
}

static void mem_push(uint32_t *head, uint32_t *next, ir_ref base, ir_ref r)
{
    next[r] = head[base];
    head[base] = r;
}

static void mem_access(struct mem *m, ir_ref r)
{
    struct ir_ins *ins = &m->ir->ins[r];
    bool range = mem_find_range(m, r), perm = mem_find_perm(m, r);
    m->epoch[r] = m->now;
    if (!range)
        mem_push(m->range_head, m->range_next, ins->arg[0], r);
    if (!perm)
        mem_push(m->perm_head, m->perm_next, ins->arg[0], r);
    if (ins->op == IR_AMO)
        return;
    ins->aux &= (uint8_t) ~(IR_MEM_RANGE | IR_MEM_PERM);
    ins->aux |= (uint8_t)((range ? IR_MEM_RANGE : 0) | (perm ? IR_MEM_PERM : 0));
}

static void mem_block(struct mem *m, uint32_t b)
{
    const struct ir *ir = m->ir;
    if (m->killers)
        m->now = ir->block[b].pred_count == 1 ? m->block_end[ir_preds(ir, b)[0]] : ++m->last;
    IR_EACH_INS(ir, b, r)
    {
        const struct ir_ins *ins = &ir->ins[r];
        if (mem_kills(ins))
            m->now = ++m->last;
        if (ir_flags(ins) & (IR_F_MEM | IR_F_STORE) && mem_in_guard(ins))
            mem_access(m, r);
    }
    m->block_end[b] = m->now;
}

void ir_pass_mem(struct ir *ir)
{
    struct ir_build *build = ir->build;
    struct mem m = {.ir = ir,
                    .range_head = build->by_ref[0],
                    .range_next = build->by_ref[1],
                    .perm_head = build->by_ref[2],
                    .perm_next = build->by_phi_arg,
                    .epoch = build->by_ref[3],
                    .block_end = build->by_block[0]};
    _Static_assert(IR_MAX_PHI_ARGS >= IR_MAX_INS, "perm_next is by ref");
    memset(m.range_head, 0, ir->ins_count * sizeof *m.range_head);
    memset(m.perm_head, 0, ir->ins_count * sizeof *m.perm_head);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        m.killers |= mem_kills(&ir->ins[r]);
    }
    for (uint32_t i = 0; i < ir->order_count; i++)
        mem_block(&m, ir->order[i]);
}
