/*
 * Order of blocks, dominators, loops.
 *
 * The order is a reverse post-order in which the blocks of a loop are contiguous, its head first.
 * Dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm".
 *
 * Loops follow P. Havlak, "Nesting of Reducible and Irreducible Loops" (TOPLAS 1997): the head is
 * where a retreating edge ends, the body what reaches the edge backward, as far as it descends from
 * the head in the depth-first tree; inner loops first, each block visited once for each loop level.
 * So a cycle that is entered at several places is a loop, too, which its head need not dominate;
 * but what dominates a block of it from outside comes before the head all the same.
 */
#include "ir/impl.h"

/* The successor that should come right after a block: the likely one, otherwise the one that the
 * guest falls into. */
static uint32_t order_near(const struct ir *ir, const struct ir_block *b)
{
    const struct ir_ins *end = &ir->ins[b->last];
    return b->succ_count == 2 && end->aux != IR_BRANCH_LIKELY;
}

/* Reachable blocks in post-order into by_block[1], when each was seen into by_block[0]; how many.
 */
static uint32_t order_post(struct ir *ir)
{
    uint32_t *seen = ir->build->by_block[0], *list = ir->build->by_block[1];
    uint32_t *stack = ir->build->by_block[2];
    uint32_t *edge = ir->build->by_block[3]; /* next successor to look at, +1; 0: not seen */
    uint32_t count = 0, depth = 0, time = 0;
    memset(edge, 0, ir->block_count * sizeof *edge);
    stack[depth++] = 0;
    edge[0] = 1;
    seen[0] = time++;
    while (depth) {
        const struct ir_block *b = &ir->block[stack[depth - 1]];
        if (edge[b - ir->block] > b->succ_count) {
            list[count++] = stack[--depth];
            continue;
        }
        uint32_t near = order_near(ir, b);
        bool last = edge[b - ir->block]++ == b->succ_count;
        uint32_t s = b->succ[last ? near : 1 - near];
        if (!edge[s]) {
            edge[s] = 1;
            seen[s] = time++;
            stack[depth++] = s;
        }
    }
    return count;
}

static uint32_t order_meet(const struct ir *ir, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (ir->block[a].order > ir->block[b].order)
            a = ir->block[a].idom;
        else
            b = ir->block[b].idom;
    }
    return a;
}

static void order_dominators(struct ir *ir)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 1; i < ir->order_count; i++) {
            struct ir_block *b = &ir->block[ir->order[i]];
            const uint32_t *pred = ir_preds(ir, ir->order[i]);
            uint32_t idom = IR_NO_BLOCK;
            for (uint32_t j = 0; j < b->pred_count; j++) {
                if (ir->block[pred[j]].idom == IR_NO_BLOCK)
                    continue;
                idom = idom == IR_NO_BLOCK ? pred[j] : order_meet(ir, idom, pred[j]);
            }
            changed |= b->idom != idom;
            b->idom = idom;
        }
    }
}

/* Numbers the dominator tree in pre-order; by_block[0]: size, then next number among children. */
static void order_dominator_tree(struct ir *ir)
{
    uint32_t *size = ir->build->by_block[2], *next = ir->build->by_block[3];
    for (uint32_t i = 0; i < ir->order_count; i++)
        size[ir->order[i]] = 1;
    for (uint32_t i = ir->order_count; i-- > 1;)
        size[ir->block[ir->order[i]].idom] += size[ir->order[i]];
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        struct ir_block *block = &ir->block[b];
        block->dom_in = b ? next[block->idom] : 0;
        block->dom_out = block->dom_in + size[b];
        if (b)
            next[block->idom] += size[b];
        next[b] = block->dom_in + 1;
    }
}

/* The head of the outermost loop found so far that b is in, or b itself (union-find). */
static uint32_t order_outermost(uint32_t *outer, uint32_t b)
{
    while (outer[b] != b)
        b = outer[b] = outer[outer[b]];
    return b;
}

/* Whether b descends from head in the depth-first tree: seen later, left earlier. */
static bool order_descends(const struct ir *ir, uint32_t head, uint32_t b)
{
    const uint32_t *seen = ir->build->by_block[0];
    return seen[head] <= seen[b] && ir->block[head].order <= ir->block[b].order;
}

/* Collects the body of the loop at `head` from its retreating edges. */
static void order_loop(struct ir *ir, uint32_t head, uint32_t *outer, uint32_t *stack)
{
    uint32_t depth = 0;
    const uint32_t *pred = ir_preds(ir, head);
    for (uint32_t j = 0; j < ir->block[head].pred_count; j++) {
        if (ir->block[head].order <= ir->block[pred[j]].order)
            stack[depth++] = pred[j];
    }
    while (depth) {
        uint32_t b = order_outermost(outer, stack[--depth]);
        if (b == head)
            continue;
        /* b is in no loop yet, or is the head of an inner one. */
        outer[b] = head;
        ir->block[b].loop = head;
        pred = ir_preds(ir, b);
        for (uint32_t j = 0; j < ir->block[b].pred_count; j++) {
            uint32_t p = order_outermost(outer, pred[j]);
            if (p != head && depth < IR_MAX_PREDS && order_descends(ir, head, p))
                stack[depth++] = p;
        }
    }
}

/*
 * Afterwards block->loop of a block is its innermost loop; of a head, meanwhile, the enclosing loop
 * (the head itself is entered last).
 */
static void order_loops(struct ir *ir)
{
    uint32_t *outer = ir->build->by_block[2];
    for (uint32_t b = 0; b < ir->block_count; b++)
        outer[b] = b;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        for (uint32_t j = 0; j < ir->block[b].succ_count; j++) {
            struct ir_block *s = &ir->block[ir->block[b].succ[j]];
            s->loop_head |= s->order <= ir->block[b].order;
        }
    }
    for (uint32_t i = ir->order_count; i-- > 0;) {
        if (ir->block[ir->order[i]].loop_head)
            order_loop(ir, ir->order[i], outer, ir->build->by_phi_arg);
    }
}

/*
 * Makes loops contiguous: a block is put behind what has been put of its loop, so that the first
 * block of a loop (its head) brings the whole loop to its place. Items of a loop are chained in the
 * order they had; chains are then written out, inner ones where their head is.
 */
static void order_contiguous(struct ir *ir)
{
    uint32_t *first = ir->build->by_block[0], *last = ir->build->by_block[1];
    uint32_t *next = ir->build->by_block[2], *stack = ir->build->by_block[3];
    const uint32_t top = ir->block_count; /* the chain of what is in no loop */
    first[top] = IR_NO_BLOCK;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        uint32_t in = ir->block[b].loop == IR_NO_BLOCK ? top : ir->block[b].loop;
        first[b] = next[b] = IR_NO_BLOCK;
        *(first[in] == IR_NO_BLOCK ? &first[in] : &next[last[in]]) = b;
        last[in] = b;
    }
    uint32_t n = 0, depth = 0;
    for (uint32_t b = first[top]; b != IR_NO_BLOCK || depth;) {
        if (b == IR_NO_BLOCK) {
            uint32_t head = stack[--depth];
            ir->block[head].loop_end = n;
            b = next[head];
            continue;
        }
        ir->order[n] = b;
        ir->block[b].order = n++;
        ir->block[b].loop_end = n;
        stack[depth++] = b;
        b = first[b];
    }
}

static void order_depths(struct ir *ir)
{
    for (uint32_t i = 0; i < ir->order_count; i++) {
        struct ir_block *b = &ir->block[ir->order[i]];
        if (b->loop_head) {
            unsigned outer = b->loop == IR_NO_BLOCK ? 0 : ir->block[b->loop].loop_depth;
            b->loop_depth = (uint8_t)(outer < UINT8_MAX ? outer + 1 : outer);
            b->loop = ir->order[i];
        } else {
            b->loop_depth = b->loop == IR_NO_BLOCK ? 0 : ir->block[b->loop].loop_depth;
            b->loop_end = b->order + 1;
        }
    }
}

void ir_analyze(struct ir *ir)
{
    for (uint32_t b = 0; b < ir->block_count; b++) {
        struct ir_block *block = &ir->block[b];
        block->loop_head = false;
        block->loop = block->order = block->idom = IR_NO_BLOCK;
        block->loop_end = block->dom_in = block->dom_out = block->loop_depth = 0;
    }
    uint32_t count = order_post(ir);
    for (uint32_t i = 0; i < count; i++) {
        ir->order[i] = ir->build->by_block[1][count - 1 - i];
        ir->block[ir->order[i]].order = i;
    }
    ir->order_count = count;
    ir->block[0].idom = 0;
    order_dominators(ir);
    order_dominator_tree(ir);
    order_loops(ir);
    order_contiguous(ir);
    order_depths(ir);
}

static void order_use(uint16_t *uses)
{
    *uses = (uint16_t)(*uses < UINT16_MAX ? *uses + 1 : *uses);
}

static void order_count_ins(struct ir *ir, uint32_t block, ir_ref r)
{
    const struct ir_ins *ins = &ir->ins[r];
    if (ins->op == IR_PHI) {
        const ir_ref *arg = ir_phi_args(ir, r);
        for (uint32_t j = 0; j < ir->block[block].pred_count; j++)
            order_use(&ir->ins[arg[j]].uses);
        return;
    }
    for (unsigned i = ir_argc(ins); i-- > 0;)
        order_use(&ir->ins[ins->arg[i]].uses);
    if (ins->snap) {
        const struct ir_snap_entry *entry = ir_snap_entries(ir, ins->snap);
        for (uint32_t i = 0; i < ir->snap[ins->snap].count; i++)
            order_use(&ir->ins[entry[i].value].snap_uses);
    }
}

void ir_count_uses(struct ir *ir)
{
    for (ir_ref r = 0; r < ir->ins_count; r++)
        ir->ins[r].uses = ir->ins[r].snap_uses = 0;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        order_count_ins(ir, ir->order[i], r);
    }
}
