#include "engine/dbt/regalloc_impl.h"

#include <stdlib.h>
#include <string.h>

/* Steps that merging of bundles may take in all, so that no region makes it quadratic. */
#define RA_MERGE_STEPS 2000000u
#define RA_NO_BUNDLE UINT32_MAX

bool ra_init(struct ra *ra)
{
    struct ra_work *w = calloc(1, sizeof *w);
    *ra = (struct ra){
        .loc = malloc(IR_MAX_INS * sizeof *ra->loc),
        .temp = malloc(IR_MAX_INS * sizeof *ra->temp),
        .reload = malloc(RA_MAX_RELOADS * sizeof *ra->reload),
        .work = w,
    };
    if (!w || !ra->loc || !ra->temp || !ra->reload)
        return false;
    w->bundle_cap = w->heap_cap = 2 * IR_MAX_INS;
    w->bundle = malloc(w->bundle_cap * sizeof *w->bundle);
    w->heap = malloc(w->heap_cap * sizeof *w->heap);
    w->bundle_of = malloc(IR_MAX_INS * sizeof *w->bundle_of);
    w->next_value = malloc(IR_MAX_INS * sizeof *w->next_value);
    w->group_cap = w->bundle_cap;
    w->group = malloc(w->group_cap * sizeof *w->group);
    w->want = malloc(RA_MAX_WANTS * sizeof *w->want);
    w->range_cap = 65536;
    w->range = malloc(w->range_cap * sizeof *w->range);
    return w->bundle && w->heap && w->bundle_of && w->next_value && w->group && w->want && w->range;
}

void ra_fini(struct ra *ra)
{
    struct ra_work *w = ra->work;
    free(ra->loc);
    free(ra->temp);
    free(ra->reload);
    if (w) {
        free(w->bundle);
        free(w->heap);
        free(w->bundle_of);
        free(w->next_value);
        free(w->group);
        free(w->want);
        free(w->range);
        free(w->busy_memory);
    }
    free(w);
}

/* --- occupation ------------------------------------------------------------------------------- */

static bool ra_reset_busy(struct ra_work *w, uint32_t positions)
{
    size_t words = positions / 64 + 2;
    if (words > w->busy_words) {
        free(w->busy_memory);
        w->busy_memory = malloc(RA_REGS * words * sizeof(uint64_t));
        w->busy_words = w->busy_memory ? words : 0;
        if (!w->busy_memory)
            return false;
    }
    memset(w->busy_memory, 0, RA_REGS * words * sizeof(uint64_t));
    for (unsigned r = 0; r < RA_REGS; r++)
        w->busy[r] = w->busy_memory + r * words;
    return true;
}

static bool ra_fits(const struct ra_work *w, unsigned reg, const struct ra_bundle *b)
{
    for (uint32_t i = 0; i < b->range_count; i++)
        if (ra_busy(w->busy[reg], b->range[i].from, b->range[i].to))
            return false;
    return true;
}

/* --- what instructions need ------------------------------------------------------------------- */

static bool ra_pick_temp(struct ra *ra, ir_ref ref, unsigned n, uint32_t pos)
{
    struct ra_work *w = ra->work;
    const struct ra_host *h = w->host;
    uint32_t start = ra_is_random(w) ? ra_random(w, h->temp_count) : 0;
    for (uint32_t i = 0; i < h->temp_count; i++) {
        unsigned reg = h->temp_order[(start + i) % h->temp_count];
        if (!ra_busy(w->busy[reg], pos, pos + 1)) {
            ra_occupy(w->busy[reg], pos, pos + 1);
            ra->temp[ref][n] = (uint8_t)reg;
            return true;
        }
    }
    return false;
}

static struct ir_range *ra_new_ranges(struct ra_work *w, uint32_t n)
{
    if (w->range_cap - w->range_count < n)
        return NULL;
    w->range_count += n;
    return w->range + w->range_count - n;
}

/* The ranges of a value; one that is made early begins a position before. */
static bool ra_value_ranges(struct ra_work *w, const struct ir_interval *v, bool early,
                            struct ra_bundle *b)
{
    b->range = w->live->range + v->range_first;
    b->range_count = v->range_count;
    if (!early || !v->range_count)
        return true;
    struct ir_range *copy = ra_new_ranges(w, v->range_count);
    if (!copy)
        return false;
    memcpy(copy, b->range, v->range_count * sizeof *copy);
    copy->from--;
    b->range = copy;
    return true;
}

static float ra_value_weight(const struct ra_work *w, const struct ir_interval *v)
{
    const struct ir_ins *ins = ir_at(w->ir, v->value);
    float def = ra_depth_weight(w->ir->block[ins->block].loop_depth);
    float weight = ins->op == IR_GET ? -def : ins->op == IR_PHI ? 0.0f : def;
    for (uint32_t i = 0; i < v->use_count; i++) {
        const struct ir_use *use = &w->live->use[v->use_first + i];
        if (use->kind == IR_USE_ARG)
            weight += ra_depth_weight(use->depth);
        else if (use->kind == IR_USE_PHI)
            weight += 0.3f * ra_depth_weight(use->depth);
    }
    return weight;
}

static uint32_t ra_length(const struct ra_bundle *b)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < b->range_count; i++)
        n += b->range[i].to - b->range[i].from;
    return n;
}

static bool ra_is_fp_type(unsigned type)
{
    return type == IR_F32 || type == IR_F64;
}

static bool ra_new_bundle(struct ra *ra, ir_ref value, bool early)
{
    struct ra_work *w = ra->work;
    uint32_t interval = w->live->interval_of[value];
    if (interval == UINT32_MAX || ra->loc[value] == RA_FLAGS || ir_is_leaf(w->ir, value))
        return true;
    const struct ir_interval *v = &w->live->interval[interval];
    struct ra_bundle *b = &w->bundle[w->bundle_count];
    *b = (struct ra_bundle){
        .first = value,
        .group = w->bundle_count,
        .weight = ra_value_weight(w, v),
        .fp = ra_is_fp_type(ir_at(w->ir, value)->type),
    };
    if (!ra_value_ranges(w, v, early, b))
        return false;
    if (!b->range_count)
        return true;
    w->bundle_of[value] = w->bundle_count++;
    w->next_value[value] = 0;
    return true;
}

static void ra_note_state_call(struct ra_work *w, const struct ir_ins *ins)
{
    if (ins->op != IR_CALL || !(ins->aux & IR_CALL_STATE))
        return;
    const struct ir_snap_entry *e = ir_snap_entries(w->ir, ins->snap);
    for (uint32_t i = 0; i < w->ir->snap[ins->snap].count; i++)
        w->home_written[e[i].slot] = true;
}

static bool ra_scan(struct ra *ra)
{
    struct ra_work *w = ra->work;
    const struct ir *ir = w->ir;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], ref)
        {
            struct ra_needs needs = {0};
            w->host->needs(w->host->ctx, ref, &needs);
            uint32_t pos = w->live->pos[ref];
            for (uint32_t c = needs.clobbers; c; c &= c - 1)
                ra_occupy(w->busy[__builtin_ctz(c)], pos, pos + 1);
            for (unsigned n = 0; n < needs.temps; n++)
                if (!ra_pick_temp(ra, ref, n, pos))
                    return false;
            ra_note_state_call(w, ir_at(ir, ref));
            if (!ra_new_bundle(ra, ref, needs.early))
                return false;
        }
    }
    return true;
}

/* --- bundles ---------------------------------------------------------------------------------- */

static bool ra_overlap(struct ra_work *w, const struct ra_bundle *a, const struct ra_bundle *b)
{
    uint32_t i = 0, k = 0;
    while (i < a->range_count && k < b->range_count) {
        w->merge_steps++;
        if (a->range[i].to <= b->range[k].from)
            i++;
        else if (b->range[k].to <= a->range[i].from)
            k++;
        else
            return true;
    }
    return false;
}

static void ra_merge_ranges(const struct ra_bundle *a, const struct ra_bundle *b,
                            struct ir_range *out)
{
    uint32_t i = 0, k = 0;
    while (i < a->range_count || k < b->range_count) {
        bool first =
            k == b->range_count || (i < a->range_count && a->range[i].from < b->range[k].from);
        *out++ = first ? a->range[i++] : b->range[k++];
    }
}

static void ra_merge(struct ra_work *w, ir_ref x, ir_ref y)
{
    uint32_t to = w->bundle_of[x], from = w->bundle_of[y];
    if (to == RA_NO_BUNDLE || from == RA_NO_BUNDLE || to == from)
        return;
    struct ra_bundle *a = &w->bundle[to], *b = &w->bundle[from];
    if (w->merge_steps > RA_MERGE_STEPS || a->fp != b->fp || ra_overlap(w, a, b))
        return;
    uint32_t n = a->range_count + b->range_count;
    struct ir_range *merged = ra_new_ranges(w, n);
    if (!merged)
        return;
    ra_merge_ranges(a, b, merged);
    w->merge_steps += n;
    a->range = merged;
    a->range_count = n;
    a->weight += b->weight;
    ir_ref last = b->first;
    for (ir_ref v = b->first; v; v = w->next_value[v]) {
        w->bundle_of[v] = to;
        last = v;
    }
    w->next_value[last] = a->first;
    a->first = b->first;
    b->range_count = 0;
    b->first = 0;
}

static void ra_merge_phi(struct ra_work *w, ir_ref phi)
{
    const struct ir *ir = w->ir;
    uint32_t n = ir->block[ir_at(ir, phi)->block].pred_count;
    const ir_ref *arg = ir_phi_args(ir, phi);
    for (uint32_t i = 0; i < n; i++)
        if (!ir_is_leaf(ir, arg[i]) && !(ra_is_random(w) && ra_random(w, 4) == 0))
            ra_merge(w, phi, arg[i]);
}

/* The PHIs of inner loops first: their moves cost most. */
static void ra_merge_phis(struct ra_work *w)
{
    const struct ir *ir = w->ir;
    unsigned deepest = 0;
    for (uint32_t i = 0; i < ir->order_count; i++)
        if (ir->block[ir->order[i]].loop_depth > deepest)
            deepest = ir->block[ir->order[i]].loop_depth;
    if (deepest > 8)
        deepest = 8;
    for (unsigned depth = deepest + 1; depth--;) {
        for (uint32_t i = 0; i < ir->order_count; i++) {
            const struct ir_block *b = &ir->block[ir->order[i]];
            if ((b->loop_depth < 8 ? b->loop_depth : 8) != depth)
                continue;
            for (ir_ref r = b->first; r && ir_at(ir, r)->op == IR_PHI; r = ir_at(ir, r)->next)
                ra_merge_phi(w, r);
        }
    }
}

/* --- order ------------------------------------------------------------------------------------ */

static bool ra_before(const struct ra_work *w, uint32_t a, uint32_t b)
{
    float x = w->bundle[a].weight, y = w->bundle[b].weight;
    return x > y || (x >= y && a < b);
}

static void ra_push(struct ra_work *w, uint32_t bundle)
{
    uint32_t i = w->heap_count++;
    while (i && ra_before(w, bundle, w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = bundle;
}

static uint32_t ra_pop(struct ra_work *w)
{
    uint32_t top = w->heap[0], last = w->heap[--w->heap_count], i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && ra_before(w, w->heap[child + 1], w->heap[child]))
            child++;
        if (!ra_before(w, w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* Turns the weight into what the order is by; the bundle is complete. */
static void ra_queue(struct ra_work *w, uint32_t bundle)
{
    struct ra_bundle *b = &w->bundle[bundle];
    b->weight /= (float)ra_length(b);
    if (ra_is_random(w))
        b->weight *= 0.1f + (float)ra_random(w, 64);
    ra_push(w, bundle);
}

/* --- allocation ------------------------------------------------------------------------------- */

static bool ra_take(struct ra *ra, unsigned reg, const struct ra_bundle *b)
{
    struct ra_work *w = ra->work;
    if (reg >= RA_REGS || (reg >= RA_FP) != b->fp || !(w->host->regs >> reg & 1) ||
        !ra_fits(w, reg, b))
        return false;
    for (uint32_t i = 0; i < b->range_count; i++)
        ra_occupy(w->busy[reg], b->range[i].from, b->range[i].to);
    for (ir_ref v = b->first; v; v = w->next_value[v])
        ra->loc[v] = (ra_loc)reg;
    return true;
}

/* Registers of values that the first operand, or result, would best share with. */
static bool ra_take_hint(struct ra *ra, const struct ra_bundle *b)
{
    struct ra_work *w = ra->work;
    const struct ir *ir = w->ir;
    for (ir_ref v = b->first; v; v = w->next_value[v]) {
        const struct ir_ins *ins = ir_at(ir, v);
        const struct ir_interval *in = &w->live->interval[w->live->interval_of[v]];
        if (in->hint && ra_take(ra, ra->loc[in->hint], b))
            return true;
        if (ins->op != IR_PHI && ins->arg[0] && ra_take(ra, ra->loc[ins->arg[0]], b))
            return true;
        if ((ir_op_info[ins->op].flags & IR_F_COMM) && ra_take(ra, ra->loc[ins->arg[1]], b))
            return true;
        for (uint32_t i = 0; i < in->use_count && i < 4; i++) {
            const struct ir_use *use = &w->live->use[in->use_first + i];
            if (use->user && (use->kind == IR_USE_PHI || use->operand == 0) &&
                ra_take(ra, ra->loc[use->user], b))
                return true;
        }
    }
    return false;
}

static bool ra_take_any(struct ra *ra, const struct ra_bundle *b)
{
    struct ra_work *w = ra->work;
    const struct ra_host *h = w->host;
    if (ra_is_random(w)) {
        if (ra_random(w, 8) == 0)
            return false;
        uint32_t start = ra_random(w, h->order_count);
        for (uint32_t i = 0; i < h->order_count; i++)
            if (ra_take(ra, h->order[(start + i) % h->order_count], b))
                return true;
        return false;
    }
    if (ra_take_hint(ra, b))
        return true;
    for (uint32_t i = 0; i < h->order_count; i++)
        if (ra_take(ra, h->order[i], b))
            return true;
    return false;
}

/* Makes a bundle of each value again. */
static bool ra_dissolve(struct ra_work *w, uint32_t bundle)
{
    uint32_t group = w->bundle[bundle].group;
    ir_ref next;
    for (ir_ref v = w->bundle[bundle].first; v; v = next) {
        next = w->next_value[v];
        const struct ir_interval *in = &w->live->interval[w->live->interval_of[v]];
        struct ra_needs needs = {0};
        w->host->needs(w->host->ctx, v, &needs);
        if (w->bundle_count == w->bundle_cap || w->heap_count == w->heap_cap)
            return false;
        struct ra_bundle *b = &w->bundle[w->bundle_count];
        *b = (struct ra_bundle){
            .first = v,
            .group = group,
            .weight = ra_value_weight(w, in),
            .fp = w->bundle[bundle].fp,
        };
        if (!ra_value_ranges(w, in, needs.early, b))
            return false;
        w->next_value[v] = 0;
        w->bundle_of[v] = w->bundle_count;
        ra_queue(w, w->bundle_count++);
    }
    w->bundle[bundle].first = 0;
    return true;
}

/* In memory: home, or RA_FRAME with the group, which ra_frame turns into a slot. */
static void ra_spill(struct ra *ra, const struct ra_bundle *b)
{
    struct ra_work *w = ra->work;
    const struct ir_ins *ins = ir_at(w->ir, b->first);
    if (ins->op == IR_GET && !w->home_written[ins->imm]) {
        ra->loc[b->first] = (ra_loc)(RA_HOME + ins->imm);
        return;
    }
    struct ra_group *g = &w->group[b->group];
    uint32_t from = b->range[0].from, to = b->range[b->range_count - 1].to;
    g->from = from < g->from ? from : g->from;
    g->to = to > g->to ? to : g->to;
    ra->loc[b->first] = RA_FRAME;
}

static bool ra_allocate(struct ra *ra)
{
    struct ra_work *w = ra->work;
    while (w->heap_count) {
        uint32_t i = ra_pop(w);
        const struct ra_bundle *b = &w->bundle[i];
        if (b->weight > 0 && ra_take_any(ra, b))
            continue;
        if (w->next_value[b->first]) {
            if (!ra_dissolve(w, i))
                return false;
        } else {
            ra_spill(ra, b);
        }
    }
    return true;
}

/* Slots of the frame for the groups that want one, first come first served. */
static bool ra_frame(struct ra *ra)
{
    struct ra_work *w = ra->work;
    const struct ra_host *h = w->host;
    uint32_t ends[IR_MAX_SLOTS * 8];
    uint32_t count = h->frame_count < IR_MAX_SLOTS * 8 ? h->frame_count : IR_MAX_SLOTS * 8;
    uint32_t *order = w->heap, n = 0;
    memset(ends, 0, sizeof ends);
    for (uint32_t i = 0; i < w->group_count; i++)
        if (w->group[i].to)
            order[n++] = i;
    for (uint32_t i = 0; i < n; i++) {
        struct ra_group *g = &w->group[order[i]];
        uint32_t s = 0;
        while (s < count && ends[s] > g->from)
            s++;
        if (s == count)
            return false;
        ends[s] = g->to;
        g->slot = h->frame_first + s;
    }
    for (uint32_t i = 0; i < w->bundle_count; i++) {
        const struct ra_bundle *b = &w->bundle[i];
        if (b->first && ra->loc[b->first] == RA_FRAME)
            ra->loc[b->first] = (ra_loc)(RA_FRAME + w->group[b->group].slot);
    }
    return true;
}

bool ra_run(struct ra *ra, const struct ir *ir, const struct ir_live *live,
            const struct ra_host *host)
{
    struct ra_work *w = ra->work;
    w->ir = ir;
    w->live = live;
    w->host = host;
    w->bundle_count = w->heap_count = w->range_count = w->merge_steps = 0;
    w->random = host->random_seed;
    memset(w->home_written, 0, sizeof w->home_written);
    memset(w->bundle_of, 0xff, ir->ins_count * sizeof *w->bundle_of);
    memset(ra->temp, 0xff, ir->ins_count * sizeof *ra->temp);
    if (!ra_reset_busy(w, live->positions) || !ra_scan(ra))
        return false;
    ra_merge_phis(w);
    w->group_count = w->bundle_count;
    for (uint32_t i = 0; i < w->group_count; i++) {
        w->group[i] = (struct ra_group){.from = UINT32_MAX};
        if (w->bundle[i].first)
            ra_queue(w, i);
    }
    if (!ra_allocate(ra) || !ra_frame(ra))
        return false;
    ra_find_reloads(ra);
    return true;
}
