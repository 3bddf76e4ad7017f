/*
 * What had to be left in memory is brought into registers where it is used several times in one
 * block, in what the allocation of whole lives has left free. The value stays in memory too, and
 * whoever comes from outside the block finds it there.
 */
#include "engine/dbt/regalloc_impl.h"

#include <stdlib.h>

static const struct ir_use *reload_use(const struct ra_work *w, uint32_t i)
{
    return &w->live->use[i];
}

/* What a use costs when it is in memory: addresses are wanted several times. */
static float reload_cost(const struct ra_work *w, const struct ir_use *use)
{
    unsigned op = ir_at(w->ir, use->user)->op;
    bool address = (op == IR_LOAD || op == IR_STORE || op == IR_AMO) && use->operand == 0;
    return (address ? 3.0f : 1.0f) * ra_depth_weight(use->depth);
}

static uint32_t reload_block(const struct ra_work *w, const struct ir_use *use)
{
    return use->kind == IR_USE_ARG ? ir_at(w->ir, use->user)->block : IR_NO_BLOCK;
}

/* The first two uses of a block pay for the load. */
static void reload_wants_of(struct ra_work *w, const struct ir_interval *in)
{
    uint32_t end = in->use_first + in->use_count;
    for (uint32_t i = in->use_first; i < end && w->want_count < RA_MAX_WANTS;) {
        uint32_t block = reload_block(w, reload_use(w, i)), first = i, last = i;
        float weight = 0, depth = ra_depth_weight(reload_use(w, i)->depth);
        for (; i < end; i++) {
            if (reload_use(w, i)->kind != IR_USE_ARG)
                continue;
            if (reload_block(w, reload_use(w, i)) != block)
                break;
            weight += reload_cost(w, reload_use(w, i));
            last = i;
        }
        if (weight >= 2 * depth && block != IR_NO_BLOCK)
            w->want[w->want_count++] = (struct ra_want){in, first, last, weight};
    }
}

static int reload_heavier(const void *x, const void *y)
{
    const struct ra_want *a = x, *b = y;
    if (a->weight > b->weight || a->weight < b->weight)
        return a->weight > b->weight ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static bool reload_take(struct ra *ra, unsigned reg, const struct ra_want *want)
{
    struct ra_work *w = ra->work;
    uint32_t from = reload_use(w, want->first)->pos, to = reload_use(w, want->last)->pos + 1;
    unsigned type = ir_at(w->ir, want->interval->value)->type;
    bool fp = type == IR_F32 || type == IR_F64;
    if ((reg >= RA_FP) != fp || ra_busy(w->busy[reg], from, to))
        return false;
    ra_occupy(w->busy[reg], from, to);
    ra->reload[ra->reload_count++] =
        (struct ra_reload){want->interval->value, from, to, (ra_loc)reg};
    return true;
}

/* In one register, or in halves; a single use is worth it for an address only. */
static void reload_place(struct ra *ra, struct ra_want want)
{
    const struct ra_work *w = ra->work;
    const struct ra_host *h = w->host;
    uint32_t start = ra_is_random(w) ? ra_random(ra->work, h->order_count) : 0;
    if (ra->reload_count == RA_MAX_RELOADS || (ra_is_random(w) && ra_random(ra->work, 4) == 0))
        return;
    for (uint32_t i = 0; i < h->order_count; i++)
        if (reload_take(ra, h->order[(start + i) % h->order_count], &want))
            return;
    if (want.last - want.first < 3)
        return;
    uint32_t middle = want.first + (want.last - want.first) / 2;
    const struct ir_use *a = reload_use(w, middle), *b = reload_use(w, middle + 1);
    if (a->kind != IR_USE_ARG || b->kind != IR_USE_ARG || a->pos == b->pos)
        return;
    reload_place(ra, (struct ra_want){want.interval, want.first, middle, 0});
    reload_place(ra, (struct ra_want){want.interval, middle + 1, want.last, 0});
}

static int reload_earlier(const void *x, const void *y)
{
    const struct ra_reload *a = x, *b = y;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

void ra_find_reloads(struct ra *ra)
{
    struct ra_work *w = ra->work;
    w->want_count = ra->reload_count = 0;
    for (uint32_t i = 0; i < w->live->interval_count; i++)
        if (ra_is_mem(ra->loc[w->live->interval[i].value]))
            reload_wants_of(w, &w->live->interval[i]);
    qsort(w->want, w->want_count, sizeof *w->want, reload_heavier);
    for (uint32_t i = 0; i < w->want_count; i++)
        reload_place(ra, w->want[i]);
    qsort(ra->reload, ra->reload_count, sizeof *ra->reload, reload_earlier);
}
