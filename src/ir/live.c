/*
 * Liveness by data flow over bit sets of the values that cross blocks, then one pass over the
 * blocks that makes ranges and uses.
 *
 * Values that cross blocks are numbered in the order of their definitions, so that those defined by
 * a block are one range of bits. There are two kinds of liveness: with snapshots (where a value has
 * to be kept) and without (where an operand wants it), the latter for uses of kind IR_USE_LOOP
 * only.
 */
#include <stdlib.h>

#include "ir/impl.h"
#include "ir/ir_live.h"

#define LIVE_MAX_RANGES 131072
#define LIVE_MAX_USES 262144
#define LIVE_MAX_PASSES 48
#define LIVE_NONE UINT32_MAX

enum { LIVE_IN, LIVE_OUT, LIVE_IN_REAL, LIVE_OUT_REAL, LIVE_SETS };

#define LIVE_WORDS ((size_t)LIVE_SETS * IR_MAX_BLOCKS * (IR_MAX_INS / 64))

struct live_range {
    uint32_t from, to, next;
};

struct ir_live_work {
    const struct ir *ir;
    uint64_t *words;     /* LIVE_SETS * blocks * row */
    uint32_t row;        /* words in a set */
    uint32_t *global;    /* by ref: its bit, LIVE_NONE: does not cross blocks */
    ir_ref *value;       /* by bit */
    uint32_t *def_first; /* by block: first bit defined there; [block's order + 1]: one after */
    uint32_t global_count;
    uint32_t *end;  /* by ref: end of its range in the block at hand, if > block_from */
    uint32_t *tail; /* by ref: its last range */
    struct live_range *range;
    uint32_t range_count;
    uint32_t loop_uses;
    bool failed;
};

struct ir_live *ir_live_new(void)
{
    struct ir_live *live = calloc(1, sizeof *live);
    if (!live)
        return NULL;
    struct ir_live_work *w = live->work = calloc(1, sizeof *w);
    live->interval = calloc(IR_MAX_INS, sizeof *live->interval);
    live->range = calloc(LIVE_MAX_RANGES, sizeof *live->range);
    live->use = calloc(LIVE_MAX_USES, sizeof *live->use);
    live->interval_of = calloc(IR_MAX_INS, sizeof *live->interval_of);
    live->pos = calloc(IR_MAX_INS, sizeof *live->pos);
    live->block_from = calloc(IR_MAX_BLOCKS, sizeof *live->block_from);
    live->block_to = calloc(IR_MAX_BLOCKS, sizeof *live->block_to);
    live->at = calloc(IR_MAX_INS + IR_MAX_BLOCKS + 1, sizeof *live->at);
    if (w) {
        w->words = calloc(LIVE_WORDS, sizeof *w->words);
        w->global = calloc(IR_MAX_INS, sizeof *w->global);
        w->value = calloc(IR_MAX_INS, sizeof *w->value);
        w->def_first = calloc(IR_MAX_BLOCKS + 1, sizeof *w->def_first);
        w->end = calloc(IR_MAX_INS, sizeof *w->end);
        w->tail = calloc(IR_MAX_INS, sizeof *w->tail);
        w->range = calloc(LIVE_MAX_RANGES, sizeof *w->range);
    }
    if (!w || !live->interval || !live->range || !live->use || !live->interval_of || !live->pos ||
        !live->block_from || !live->block_to || !live->at || !w->words || !w->global || !w->value ||
        !w->def_first || !w->end || !w->tail || !w->range) {
        ir_live_free(live);
        return NULL;
    }
    return live;
}

void ir_live_free(struct ir_live *live)
{
    if (!live)
        return;
    struct ir_live_work *w = live->work;
    if (w) {
        free(w->words);
        free(w->global);
        free(w->value);
        free(w->def_first);
        free(w->end);
        free(w->tail);
        free(w->range);
    }
    free(w);
    free(live->interval);
    free(live->range);
    free(live->use);
    free(live->interval_of);
    free(live->pos);
    free(live->block_from);
    free(live->block_to);
    free(live->at);
    free(live);
}

/* --- numbering ------------------------------------------------------------------------------ */

static void live_number(struct ir_live *live, const struct ir *ir)
{
    uint32_t k = 0;
    memset(live->pos, 0, ir->ins_count * sizeof *live->pos);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        live->block_from[b] = 2 * k;
        live->at[k++] = 0;
        IR_EACH_INS(ir, b, r)
        {
            if (ir_is_leaf(ir, r))
                continue;
            if (ir->ins[r].op == IR_PHI) {
                live->pos[r] = live->block_from[b];
                continue;
            }
            live->pos[r] = 2 * k;
            live->at[k++] = r;
        }
        live->block_to[b] = 2 * k;
    }
    live->positions = 2 * k;
}

/* --- uses of instructions ------------------------------------------------------------------- */

struct live_use {
    ir_ref value, user;
    uint32_t pos;
    uint32_t block;
    uint8_t kind; /* enum ir_use_kind, or LIVE_SNAP */
    uint8_t operand;
};

#define LIVE_SNAP 255

/* What is called for each use. The walks below are made for each such function, without calls. */
typedef void live_use_fn(struct ir_live *live, const struct live_use *use);
#define LIVE_WALK static inline __attribute__((always_inline)) void

LIVE_WALK live_call(struct ir_live *live, const struct live_use *use, live_use_fn *fn)
{
    const struct ir *ir = live->work->ir;
    if (!ir_is_leaf(ir, use->value))
        fn(live, use);
}

LIVE_WALK live_operands(struct ir_live *live, ir_ref r, live_use_fn *fn)
{
    const struct ir *ir = live->work->ir;
    const struct ir_ins *ins = &ir->ins[r];
    struct live_use use = {.user = r, .pos = live->pos[r], .block = ins->block};
    if (ins->op == IR_PHI)
        return;
    unsigned argc = ir_argc(ins);
    for (unsigned i = 0; i < argc; i++) {
        use.value = ins->arg[i];
        use.operand = (uint8_t)i;
        live_call(live, &use, fn);
    }
}

/* PHI arguments that leave block b by its edges. */
LIVE_WALK live_uses_of_edges(struct ir_live *live, uint32_t b, live_use_fn *fn)
{
    const struct ir *ir = live->work->ir;
    struct live_use use = {.pos = live->block_to[b] - 1, .block = b, .kind = IR_USE_PHI};
    for (uint32_t i = 0; i < ir->block[b].succ_count; i++) {
        uint32_t s = ir->block[b].succ[i], j = 0;
        if (ir->ins[ir->block[s].first].op != IR_PHI)
            continue;
        while (ir_preds(ir, s)[j] != b)
            j++;
        for (ir_ref r = ir->block[s].first; ir->ins[r].op == IR_PHI; r = ir->ins[r].next) {
            use.value = ir_phi_args(ir, r)[j];
            use.user = r;
            live_call(live, &use, fn);
        }
    }
}

LIVE_WALK live_uses_of_block(struct ir_live *live, uint32_t b, live_use_fn *fn)
{
    IR_EACH_INS(live->work->ir, b, r)
    live_operands(live, r, fn);
    live_uses_of_edges(live, b, fn);
}

/* --- data flow ------------------------------------------------------------------------------ */

static uint64_t *live_set(const struct ir_live_work *w, unsigned kind, uint32_t block)
{
    return w->words + ((size_t)kind * w->ir->block_count + block) * w->row;
}

static bool live_has(const uint64_t *set, uint32_t bit)
{
    return set[bit / 64] >> (bit % 64) & 1;
}

static void live_put(uint64_t *set, uint32_t bit)
{
    set[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static void live_mark_global(struct ir_live *live, const struct live_use *use)
{
    struct ir_live_work *w = live->work;
    if (use->kind == IR_USE_PHI || w->ir->ins[use->value].block != use->block)
        w->global[use->value] = 0;
}

static void live_mark_global_entry(void *ctx, ir_ref user, const struct ir_snap_entry *e)
{
    struct ir_live *live = ctx;
    const struct ir *ir = live->work->ir;
    const struct live_use use = {
        .value = e->value, .block = ir->ins[user].block, .kind = LIVE_SNAP};
    live_call(live, &use, live_mark_global);
}

static void live_find_global(struct ir_live *live)
{
    struct ir_live_work *w = live->work;
    const struct ir *ir = w->ir;
    memset(w->global, 0xff, ir->ins_count * sizeof *w->global);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        live_uses_of_block(live, ir->order[i], live_mark_global);
        ir_each_new_entry(ir, ir->order[i], live_mark_global_entry, live);
    }
    w->global_count = 0;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        w->def_first[i] = w->global_count;
        IR_EACH_INS(ir, ir->order[i], r)
        {
            if (w->global[r] == LIVE_NONE)
                continue;
            w->value[w->global_count] = r;
            w->global[r] = w->global_count++;
        }
    }
    w->def_first[ir->order_count] = w->global_count;
    w->row = (w->global_count + 63) / 64;
    memset(w->words, 0, (size_t)LIVE_SETS * ir->block_count * w->row * sizeof *w->words);
}

static void live_expose(struct ir_live *live, const struct live_use *use)
{
    const struct ir_live_work *w = live->work;
    uint32_t bit = w->global[use->value];
    if (bit == LIVE_NONE)
        return;
    bool edge = use->kind == IR_USE_PHI;
    if (!edge && w->ir->ins[use->value].block == use->block)
        return;
    live_put(live_set(w, edge ? LIVE_OUT : LIVE_IN, use->block), bit);
    if (use->kind != LIVE_SNAP)
        live_put(live_set(w, edge ? LIVE_OUT_REAL : LIVE_IN_REAL, use->block), bit);
}

static void live_expose_entry(void *ctx, ir_ref user, const struct ir_snap_entry *e)
{
    struct ir_live *live = ctx;
    const struct live_use use = {
        .value = e->value, .block = live->work->ir->ins[user].block, .kind = LIVE_SNAP};
    live_expose(live, &use);
}

/* Bits of word i that are not in [first, end). */
static uint64_t live_outside(uint32_t i, uint32_t first, uint32_t end)
{
    uint32_t low = i * 64;
    if (first >= low + 64 || end <= low || first >= end)
        return UINT64_MAX;
    uint64_t from = first <= low ? UINT64_MAX : UINT64_MAX << (first - low);
    uint64_t to = end >= low + 64 ? UINT64_MAX : (UINT64_C(1) << (end - low)) - 1;
    return ~(from & to);
}

static bool live_flow_block(const struct ir_live_work *w, uint32_t b, unsigned in_kind)
{
    const struct ir_block *block = &w->ir->block[b];
    uint64_t *in = live_set(w, in_kind, b), *out = live_set(w, in_kind + 1, b);
    uint32_t first = w->def_first[block->order], end = w->def_first[block->order + 1];
    bool changed = false;
    for (uint32_t s = 0; s < block->succ_count; s++) {
        const uint64_t *next = live_set(w, in_kind, block->succ[s]);
        for (uint32_t i = 0; i < w->row; i++)
            out[i] |= next[i];
    }
    for (uint32_t i = 0; i < w->row; i++) {
        uint64_t v = in[i] | (out[i] & live_outside(i, first, end));
        changed |= v != in[i];
        in[i] = v;
    }
    return changed;
}

static bool live_flow(const struct ir_live_work *w, unsigned in_kind)
{
    for (int pass = 0; pass < LIVE_MAX_PASSES; pass++) {
        bool changed = false;
        for (uint32_t i = w->ir->order_count; i-- > 0;)
            changed |= live_flow_block(w, w->ir->order[i], in_kind);
        if (!changed)
            return true;
    }
    return false;
}

/* --- ranges --------------------------------------------------------------------------------- */

static void live_add_range(struct ir_live *live, ir_ref v, uint32_t from, uint32_t to)
{
    struct ir_live_work *w = live->work;
    struct ir_interval *interval = &live->interval[live->interval_of[v]];
    struct live_range *last = interval->range_count ? &w->range[w->tail[v]] : NULL;
    if (last && (last->to == from || w->range_count == LIVE_MAX_RANGES)) {
        last->to = to; /* with no room left, a hole is given up */
        return;
    }
    if (w->range_count == LIVE_MAX_RANGES) {
        w->failed = true;
        return;
    }
    uint32_t n = w->range_count++;
    w->range[n] = (struct live_range){from, to, LIVE_NONE};
    if (last)
        last->next = n;
    else
        interval->range_first = n;
    interval->range_count++;
    w->tail[v] = n;
}

static void live_note_end(struct ir_live *live, const struct live_use *use)
{
    uint32_t end = use->pos + 1;
    if (live->work->end[use->value] < end)
        live->work->end[use->value] = end;
}

/* Of the snapshots of block b, in order; what is noted for a leaf is not looked at. */
static void live_note_snapshot_ends(struct ir_live *live, uint32_t b)
{
    const struct ir *ir = live->work->ir;
    uint32_t *end = live->work->end;
    IR_EACH_INS(ir, b, r)
    {
        const struct ir_snap *s = &ir->snap[ir->ins[r].snap];
        const struct ir_snap_entry *e = ir->snap_entry + s->first;
        uint32_t pos = live->pos[r] + (ir->ins[r].op == IR_CALL) + 1;
        for (uint32_t i = 0; ir->ins[r].snap && i < s->count; i++)
            end[e[i].value] = end[e[i].value] < pos ? pos : end[e[i].value];
    }
}

static void live_new_interval(struct ir_live *live, ir_ref r)
{
    uint32_t n = live->interval_count++;
    live->interval[n] = (struct ir_interval){.value = r};
    live->interval_of[r] = n;
}

/* The range of r in the block at hand, from where it is there. */
static void live_range_in_block(struct ir_live *live, uint32_t b, ir_ref r, uint32_t from)
{
    const struct ir_live_work *w = live->work;
    uint32_t bit = w->global[r], to = from + 1;
    if (bit != LIVE_NONE && live_has(live_set(w, LIVE_OUT, b), bit))
        to = live->block_to[b];
    else if (w->end[r] > from)
        to = w->end[r];
    live_add_range(live, r, from, to);
}

static void live_ranges_of_block(struct ir_live *live, uint32_t b)
{
    const struct ir_live_work *w = live->work;
    const struct ir *ir = w->ir;
    const uint64_t *in = live_set(w, LIVE_IN, b);
    live_uses_of_block(live, b, live_note_end);
    live_note_snapshot_ends(live, b);
    for (uint32_t i = 0; i < w->row && !ir_is_entrance(ir, b); i++) {
        for (uint64_t m = in[i]; m; m &= m - 1) {
            ir_ref r = w->value[i * 64 + (unsigned)__builtin_ctzll(m)];
            if (live->interval_of[r] != LIVE_NONE)
                live_range_in_block(live, b, r, live->block_from[b]);
        }
    }
    IR_EACH_INS(ir, b, r)
    {
        if (ir->ins[r].type == IR_VOID || ir_is_leaf(ir, r))
            continue;
        live_new_interval(live, r);
        if (!ir_is_entrance(ir, b))
            live_range_in_block(live, b, r, live->pos[r] + (ir->ins[r].op != IR_PHI));
    }
}

static void live_flatten_ranges(struct ir_live *live)
{
    const struct ir_live_work *w = live->work;
    live->range_count = 0;
    for (uint32_t i = 0; i < live->interval_count; i++) {
        struct ir_interval *interval = &live->interval[i];
        uint32_t n = interval->range_first;
        interval->range_first = live->range_count;
        if (!interval->range_count) { /* of an entrance; nobody uses it */
            uint32_t from = live->pos[interval->value];
            live->range[live->range_count++] = (struct ir_range){from + 1, from + 2};
            interval->range_count = 1;
            interval->from = from + 1;
            interval->to = from + 2;
            continue;
        }
        for (uint32_t k = 0; k < interval->range_count; k++, n = w->range[n].next)
            live->range[live->range_count++] = (struct ir_range){w->range[n].from, w->range[n].to};
        interval->from = live->range[interval->range_first].from;
        interval->to = live->range[live->range_count - 1].to;
    }
}

/* --- uses ----------------------------------------------------------------------------------- */

static void live_count_use(struct ir_live *live, const struct live_use *use)
{
    live->interval[live->interval_of[use->value]].use_count++;
}

static void live_hint(struct ir_live *live, ir_ref value, ir_ref other)
{
    struct ir_interval *interval = &live->interval[live->interval_of[value]];
    if (!interval->hint)
        interval->hint = other;
}

static void live_add_use(struct ir_live *live, const struct live_use *use)
{
    struct ir_interval *interval = &live->interval[live->interval_of[use->value]];
    live->use[interval->use_first + interval->use_count++] =
        (struct ir_use){.pos = use->pos,
                        .kind = use->kind,
                        .operand = use->operand,
                        .depth = live->work->ir->block[use->block].loop_depth,
                        .user = use->user};
    interval->last_use = use->pos;
    if (use->kind != IR_USE_PHI)
        return;
    live_hint(live, use->value, use->user);
    if (live->pos[use->value] < live->pos[use->user])
        live_hint(live, use->user, use->value);
}

/* Values wanted in a further round, at the back edges of block b. */
LIVE_WALK live_loop_uses(struct ir_live *live, uint32_t b, live_use_fn *fn)
{
    const struct ir_live_work *w = live->work;
    const struct ir *ir = w->ir;
    struct live_use use = {.pos = live->block_to[b] - 1, .block = b, .kind = IR_USE_LOOP};
    for (uint32_t s = 0; s < ir->block[b].succ_count; s++) {
        uint32_t head = ir->block[b].succ[s];
        if (ir->block[head].order > ir->block[b].order)
            continue;
        for (uint32_t i = 0; i < w->row; i++) {
            for (uint64_t m = live_set(w, LIVE_IN_REAL, head)[i]; m; m &= m - 1) {
                use.value = w->value[i * 64 + (unsigned)__builtin_ctzll(m)];
                fn(live, &use);
            }
        }
    }
}

static void live_count_loop_use(struct ir_live *live, const struct live_use *use)
{
    (void)use;
    live->work->loop_uses++;
}

static bool live_uses(struct ir_live *live)
{
    struct ir_live_work *w = live->work;
    const struct ir *ir = w->ir;
    uint32_t total = 0;
    w->loop_uses = 0;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        live_uses_of_block(live, ir->order[i], live_count_use);
        live_loop_uses(live, ir->order[i], live_count_loop_use);
    }
    for (uint32_t i = 0; i < live->interval_count; i++)
        total += live->interval[i].use_count;
    bool loops = total <= LIVE_MAX_USES && w->loop_uses <= LIVE_MAX_USES - total;
    if (total > LIVE_MAX_USES)
        return false;
    for (uint32_t i = 0; loops && i < ir->order_count; i++)
        live_loop_uses(live, ir->order[i], live_count_use);
    live->use_count = 0;
    for (uint32_t i = 0; i < live->interval_count; i++) {
        live->interval[i].use_first = live->use_count;
        live->use_count += live->interval[i].use_count;
        live->interval[i].use_count = 0;
    }
    for (uint32_t i = 0; i < ir->order_count; i++) {
        live_uses_of_block(live, ir->order[i], live_add_use);
        if (loops)
            live_loop_uses(live, ir->order[i], live_add_use);
    }
    return true;
}

/* --- everything ----------------------------------------------------------------------------- */

bool ir_live_build(struct ir_live *live, const struct ir *ir)
{
    struct ir_live_work *w = live->work;
    w->ir = ir;
    w->failed = false;
    w->range_count = live->interval_count = live->range_count = live->use_count = 0;
    live_number(live, ir);
    live_find_global(live);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        live_uses_of_block(live, ir->order[i], live_expose);
        ir_each_new_entry(ir, ir->order[i], live_expose_entry, live);
    }
    if (!live_flow(w, LIVE_IN) || !live_flow(w, LIVE_IN_REAL))
        return false;
    memset(live->interval_of, 0xff, ir->ins_count * sizeof *live->interval_of);
    memset(w->end, 0, ir->ins_count * sizeof *w->end);
    for (uint32_t i = 0; i < ir->order_count; i++)
        live_ranges_of_block(live, ir->order[i]);
    if (w->failed)
        return false;
    live_flatten_ranges(live);
    return live_uses(live);
}

static bool live_in_set(const struct ir_live *live, unsigned kind, uint32_t block, ir_ref value)
{
    uint32_t bit = live->work->global[value];
    return bit != LIVE_NONE && live_has(live_set(live->work, kind, block), bit);
}

bool ir_live_in(const struct ir_live *live, uint32_t block, ir_ref value)
{
    return live_in_set(live, LIVE_IN, block, value);
}

bool ir_live_out(const struct ir_live *live, uint32_t block, ir_ref value)
{
    return live_in_set(live, LIVE_OUT, block, value);
}
