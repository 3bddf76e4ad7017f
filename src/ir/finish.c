/*
 * The end of building, and of every pass that replaced something: what no longer is one way is
 * made so everywhere.
 *
 * PHIs. A PHI is needless when, looking through PHIs, all its arguments are one value. This is
 * found optimistically: every PHI is assumed to be what its arguments known so far say, and looked
 * at again when one of them turns out to be something else; loops of PHIs that carry one value
 * disappear together. A PHI may change its mind a few times only, then it stays.
 */
#include "ir/impl.h"

/* --- graph ---------------------------------------------------------------------------------- */

void ir_edge_remove(struct ir *ir, uint32_t from, uint32_t to)
{
    struct ir_block *f = &ir->block[from], *t = &ir->block[to];
    uint32_t *pred = ir->pred + t->pred_first;
    uint32_t j = 0;
    while (pred[j] != from)
        j++;
    t->pred_count--;
    memmove(pred + j, pred + j + 1, (t->pred_count - j) * sizeof *pred);
    for (ir_ref r = t->first; r && ir->ins[r].op == IR_PHI; r = ir->ins[r].next) {
        ir_ref *arg = ir->phi_arg + ir->ins[r].arg[0];
        memmove(arg + j, arg + j + 1, (t->pred_count - j) * sizeof *arg);
    }
    if (f->succ[0] == to)
        f->succ[0] = f->succ[1];
    f->succ_count--;
}

/* Chains of edges become ir->pred. */
static void finish_preds(struct ir *ir)
{
    uint32_t n = 0;
    for (uint32_t b = 0; b < ir->block_count; b++) {
        uint32_t first = n;
        uint32_t e = ir->block[b].pred_count ? ir->block[b].pred_first : UINT32_MAX;
        for (; e != UINT32_MAX; e = ir->build->edge[e].next)
            ir->pred[n++] = ir->build->edge[e].from;
        ir->block[b].pred_first = first;
    }
    ir->pred_count = n;
}

static void finish_empty(struct ir *ir, uint32_t b)
{
    while (ir->block[b].succ_count)
        ir_edge_remove(ir, b, ir->block[b].succ[0]);
    for (ir_ref r = ir->block[b].first, next; r; r = next) {
        next = ir->ins[r].next;
        ir_replace(ir, r, 0);
    }
}

/* Empties blocks that cannot be reached. */
static void finish_unreachable(struct ir *ir)
{
    for (uint32_t b = 0; b < ir->block_count; b++) {
        if (ir->block[b].order == IR_NO_BLOCK && ir->block[b].first)
            finish_empty(ir, b);
    }
}

/* Edges from unreachable blocks would make ir_analyze see predecessors without a place. */
static void finish_reachable_edges(struct ir *ir)
{
    uint32_t *stack = ir->build->by_block[0], *seen = ir->build->by_block[1], depth = 0;
    memset(seen, 0, ir->block_count * sizeof *seen);
    stack[depth++] = 0;
    seen[0] = 1;
    while (depth) {
        const struct ir_block *b = &ir->block[stack[--depth]];
        for (uint32_t i = 0; i < b->succ_count; i++) {
            if (!seen[b->succ[i]]) {
                seen[b->succ[i]] = 1;
                stack[depth++] = b->succ[i];
            }
        }
    }
    for (uint32_t b = 0; b < ir->block_count; b++)
        ir->block[b].order = seen[b] ? 0 : IR_NO_BLOCK;
    finish_unreachable(ir);
}

/* --- PHIs ----------------------------------------------------------------------------------- */

struct finish_phis {
    struct ir *ir;
    uint32_t *value;   /* by ref: what a PHI is as far as known; 0: nothing known */
    uint32_t *changes; /* by ref */
    uint32_t *queue;   /* refs, a ring of IR_MAX_INS + 1 */
    uint32_t head, tail;
    uint32_t *user_first; /* by ref: into users */
    uint32_t *users;
};

#define FINISH_MAX_CHANGES 6

static void finish_push(struct finish_phis *p, ir_ref phi)
{
    if (p->ir->ins[phi].mark)
        return;
    p->ir->ins[phi].mark = 1;
    p->queue[p->tail] = phi;
    p->tail = p->tail == IR_MAX_INS ? 0 : p->tail + 1;
}

static ir_ref finish_known(const struct finish_phis *p, ir_ref r)
{
    return p->ir->ins[r].op == IR_PHI ? p->value[r] : r;
}

static void finish_visit(struct finish_phis *p, ir_ref phi)
{
    const struct ir_ins *ins = &p->ir->ins[phi];
    const ir_ref *arg = ir_phi_args(p->ir, phi);
    ir_ref v = 0;
    if (p->value[phi] == phi)
        return;
    for (uint32_t j = 0; j < p->ir->block[ins->block].pred_count && v != phi; j++) {
        ir_ref known = finish_known(p, arg[j]);
        if (known && known != phi)
            v = !v || v == known ? known : phi;
    }
    if (v == p->value[phi] || !v)
        return;
    p->value[phi] = ++p->changes[phi] < FINISH_MAX_CHANGES ? v : phi;
    for (uint32_t u = p->user_first[phi]; u < p->user_first[phi + 1]; u++)
        finish_push(p, p->users[u]);
}

/* users[user_first[phi] ..]: PHIs that have phi as an argument. */
static void finish_users(struct finish_phis *p)
{
    struct ir *ir = p->ir;
    memset(p->user_first, 0, (ir->ins_count + 1) * sizeof *p->user_first);
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t i = 0; i < ir->order_count; i++) {
            const struct ir_block *b = &ir->block[ir->order[i]];
            for (ir_ref r = b->first; r && ir->ins[r].op == IR_PHI; r = ir->ins[r].next) {
                const ir_ref *arg = ir_phi_args(ir, r);
                for (uint32_t j = 0; j < b->pred_count; j++) {
                    if (ir->ins[arg[j]].op != IR_PHI)
                        continue;
                    if (fill)
                        p->users[--p->user_first[arg[j]]] = r;
                    else
                        p->user_first[arg[j]]++;
                }
            }
        }
        for (ir_ref r = 1; !fill && r <= ir->ins_count; r++)
            p->user_first[r] += p->user_first[r - 1];
    }
}

/* Replaces PHIs that are one value; whether there were any. */
static bool finish_needless_phis(struct ir *ir)
{
    struct ir_build *build = ir->build;
    /* hash_next serves as a fourth array: sharing starts afresh afterwards */
    struct finish_phis p = {.ir = ir,
                            .value = build->by_ref[0],
                            .changes = build->hash_next,
                            .queue = build->by_ref[1],
                            .user_first = build->by_ref[2],
                            .users = build->by_phi_arg};
    bool any = false;
    memset(ir->build->hash, 0, sizeof ir->build->hash);
    memset(p.value, 0, ir->ins_count * sizeof *p.value);
    memset(p.changes, 0, ir->ins_count * sizeof *p.changes);
    finish_users(&p);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        ir_ref r = ir->block[ir->order[i]].first;
        for (; r && ir->ins[r].op == IR_PHI; r = ir->ins[r].next)
            finish_push(&p, r);
    }
    while (p.head != p.tail) {
        ir_ref phi = p.queue[p.head];
        p.head = p.head == IR_MAX_INS ? 0 : p.head + 1;
        ir->ins[phi].mark = 0;
        finish_visit(&p, phi);
    }
    for (uint32_t i = 0; i < ir->order_count; i++) {
        ir_ref next, r = ir->block[ir->order[i]].first;
        for (; r && ir->ins[r].op == IR_PHI; r = next) {
            next = ir->ins[r].next;
            if (p.value[r] && p.value[r] != r) {
                ir_replace(ir, r, p.value[r]);
                any = true;
            }
        }
    }
    return any;
}

/* --- references ----------------------------------------------------------------------------- */

static bool finish_resolve_phi(struct ir *ir, const struct ir_block *b, const struct ir_ins *phi)
{
    ir_ref *arg = ir->phi_arg + phi->arg[0];
    bool changed = false;
    for (uint32_t j = 0; j < b->pred_count; j++) {
        ir_ref now = ir_resolve(ir, arg[j]);
        changed |= now != arg[j];
        arg[j] = now;
    }
    return changed;
}

static bool finish_resolve_block(struct ir *ir, const struct ir_block *b)
{
    bool changed = false;
    for (ir_ref r = b->first; r; r = ir->ins[r].next) {
        struct ir_ins *ins = &ir->ins[r];
        if (ins->op == IR_PHI)
            changed |= finish_resolve_phi(ir, b, ins);
        else
            for (int i = 0; i < 3; i++)
                ins->arg[i] = ir_resolve(ir, ins->arg[i]);
    }
    return changed;
}

/* Whether a PHI has other arguments now. */
static bool finish_resolve(struct ir *ir)
{
    bool changed = false;
    if (!ir->build->any_forward)
        return false;
    for (uint32_t i = 0; i < ir->order_count; i++)
        changed |= finish_resolve_block(ir, &ir->block[ir->order[i]]);
    for (uint32_t i = 0; i < ir->snap_entry_count; i++)
        ir->snap_entry[i].value = ir_resolve(ir, ir->snap_entry[i].value);
    for (unsigned s = 0; s < ir->slots; s++)
        ir->slot_get[s] = ir_resolve(ir, ir->slot_get[s]);
    ir->build->any_forward = false;
    return changed;
}

void ir_settle(struct ir *ir, bool graph)
{
    if (graph) {
        finish_reachable_edges(ir);
        ir_analyze(ir);
    }
    /* Only a PHI whose arguments or predecessors are others than before can have become needless.
     */
    bool other = finish_resolve(ir);
    if ((graph || other) && finish_needless_phis(ir))
        finish_resolve(ir);
    ir_share_clear(ir);
    ir->current = IR_NO_BLOCK;
    ir->build->insert_before = 0;
}

/* --- snapshots ------------------------------------------------------------------------------ */

struct finish_homes {
    uint64_t slots[2];
};

/* Drops entries that say what need not be said. Snapshots with the same entries stay together. */
static void finish_drop_unchanged(struct ir *ir)
{
    uint32_t to = 0, done = 0, first = 0, count = 0;
    for (uint32_t s = 1; s < ir->snap_count; s++) {
        struct ir_snap *snap = &ir->snap[s];
        if (snap->first >= done && snap->count) { /* entries not seen before */
            first = to;
            for (uint32_t i = snap->first; i < snap->first + snap->count; i++) {
                struct ir_snap_entry e = ir->snap_entry[i];
                if (e.value != ir->slot_get[e.slot])
                    ir->snap_entry[to++] = e;
            }
            done = snap->first + snap->count;
            count = to - first;
        }
        snap->first = snap->count ? first : 0;
        snap->count = snap->count ? count : 0;
    }
    ir->snap_entry_count = to;
}

static void finish_listed(const struct ir *ir, uint32_t snap, struct finish_homes *h)
{
    const struct ir_snap_entry *e = ir_snap_entries(ir, snap);
    for (uint32_t i = 0; i < ir->snap[snap].count; i++)
        h->slots[e[i].slot / 64] |= UINT64_C(1) << (e[i].slot % 64);
}

/* The snapshot gets entries for written homes that it does not list. */
static void finish_list_written(struct ir *ir, uint32_t s, const struct finish_homes *written)
{
    struct finish_homes listed = {{0, 0}};
    finish_listed(ir, s, &listed);
    if (!(written->slots[0] & ~listed.slots[0]) && !(written->slots[1] & ~listed.slots[1]))
        return;
    struct ir_snap *snap = &ir->snap[s];
    uint32_t to = ir->snap_entry_count;
    if (snap->count + ir->slots > IR_MAX_SNAP_ENTRIES - to) {
        ir->overflow = true;
        return;
    }
    memcpy(ir->snap_entry + to, ir_snap_entries(ir, s), snap->count * sizeof *ir->snap_entry);
    snap->first = to;
    to += snap->count;
    for (unsigned slot = 0; slot < ir->slots; slot++) {
        if (!((written->slots[slot / 64] & ~listed.slots[slot / 64]) >> (slot % 64) & 1))
            continue;
        ir->snap_entry[to++] =
            (struct ir_snap_entry){.slot = (uint16_t)slot, .value = ir_get(ir, slot)};
        snap->count++;
    }
    ir->snap_entry_count = to;
}

/* Walks a block: `h` becomes what homes calls with STATE have written. */
static void finish_homes_block(struct ir *ir, uint32_t b, struct finish_homes *h, bool list)
{
    IR_EACH_INS(ir, b, r)
    {
        const struct ir_ins *ins = &ir->ins[r];
        if (ins->snap && list)
            finish_list_written(ir, ins->snap, h);
        if (ins->op == IR_CALL && ins->aux & IR_CALL_STATE)
            finish_listed(ir, ins->snap, h);
    }
}

static struct finish_homes finish_homes_in(const struct ir *ir, uint32_t b,
                                           const struct finish_homes *out)
{
    struct finish_homes h = {{0, 0}};
    for (uint32_t j = 0; j < ir->block[b].pred_count; j++) {
        h.slots[0] |= out[ir_preds(ir, b)[j]].slots[0];
        h.slots[1] |= out[ir_preds(ir, b)[j]].slots[1];
    }
    return h;
}

/*
 * Calls with STATE write homes; a slot that has its entry value (again) afterwards must be listed,
 * or an exit would leave what the call wrote.
 */
static void finish_written_homes(struct ir *ir)
{
    bool any = false;
    for (ir_ref r = 1; r < ir->ins_count; r++)
        any |= ir->ins[r].op == IR_CALL && ir->ins[r].aux & IR_CALL_STATE;
    if (!any)
        return;
    struct finish_homes *out = (struct finish_homes *)(void *)ir->build->cur;
    _Static_assert(sizeof *out <= IR_MAX_SLOTS * sizeof(ir_ref), "one for each block");
    memset(out, 0, ir->block_count * sizeof *out);
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < ir->order_count; i++) {
            struct finish_homes h = finish_homes_in(ir, ir->order[i], out);
            finish_homes_block(ir, ir->order[i], &h, false);
            changed |= memcmp(&out[ir->order[i]], &h, sizeof h) != 0;
            out[ir->order[i]] = h;
        }
    }
    for (uint32_t i = 0; i < ir->order_count && !ir->overflow; i++) {
        struct finish_homes h = finish_homes_in(ir, ir->order[i], out);
        finish_homes_block(ir, ir->order[i], &h, true);
    }
}

bool ir_finish(struct ir *ir)
{
    if (ir->overflow)
        return false;
    for (uint32_t b = 0; b < ir->block_count; b++)
        assert(ir->block[b].sealed && (ir->block[b].filled || (b && !ir->block[b].pred_count)));
    finish_preds(ir);
    ir->finished = true;
    ir_settle(ir, true);
    finish_drop_unchanged(ir);
    finish_written_homes(ir);
    return !ir->overflow;
}
