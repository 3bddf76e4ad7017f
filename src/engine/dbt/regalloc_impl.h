/*
 * The register allocator from the inside: shared by regalloc.c and reload.c and by nothing else.
 */
#pragma once

#include "engine/dbt/regalloc.h"

struct ra_bundle {
    const struct ir_range *range;
    uint32_t range_count;
    ir_ref first;   /* values, chained by next_value */
    uint32_t group; /* bundles of one group share a slot of the frame */
    float weight;
    bool fp, queued;
};

/* What is known of a frame slot's use by a group of values. */
struct ra_group {
    uint32_t from, to, slot;
};

/* Uses [first, last] of a value, all in one block, that a register would be good for. */
struct ra_want {
    const struct ir_interval *interval;
    uint32_t first, last;
    float weight;
};

#define RA_MAX_WANTS 4096u

struct ra_work {
    const struct ir *ir;
    const struct ir_live *live;
    const struct ra_host *host;
    uint64_t *busy[RA_REGS]; /* bitmap by position */
    uint64_t *busy_memory;
    size_t busy_words; /* for each register */
    struct ra_bundle *bundle;
    uint32_t bundle_count, bundle_cap;
    uint32_t *bundle_of; /* by ir_ref */
    ir_ref *next_value;  /* by ir_ref: chain of a bundle */
    uint32_t *heap;
    uint32_t heap_count, heap_cap;
    struct ir_range *range;
    uint32_t range_count, range_cap;
    struct ra_group *group;
    uint32_t group_cap, group_count;
    struct ra_want *want;
    uint32_t want_count;
    uint32_t merge_steps;
    uint32_t random;
    bool home_written[IR_MAX_SLOTS]; /* by a helper, while the region runs */
};

static inline uint32_t ra_random(struct ra_work *w, uint32_t below)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(w->random ^ w->random >> 15) & 0xffffffff) * below >> 32);
}

static inline bool ra_is_random(const struct ra_work *w)
{
    return w->host->random_seed != 0;
}

static inline uint64_t ra_bits_from(uint32_t pos)
{
    return ~UINT64_C(0) << (pos & 63);
}

/* The bits before the position, in the word of the one before. */
static inline uint64_t ra_bits_to(uint32_t pos)
{
    return ~UINT64_C(0) >> (63 - ((pos - 1) & 63));
}

static inline bool ra_busy(const uint64_t *map, uint32_t from, uint32_t to)
{
    uint32_t i = from / 64, last = (to - 1) / 64;
    if (i == last)
        return map[i] & ra_bits_from(from) & ra_bits_to(to);
    if (map[i] & ra_bits_from(from))
        return true;
    while (++i < last)
        if (map[i])
            return true;
    return map[last] & ra_bits_to(to);
}

static inline void ra_occupy(uint64_t *map, uint32_t from, uint32_t to)
{
    uint32_t i = from / 64, last = (to - 1) / 64;
    if (i == last) {
        map[i] |= ra_bits_from(from) & ra_bits_to(to);
        return;
    }
    map[i] |= ra_bits_from(from);
    while (++i < last)
        map[i] = ~UINT64_C(0);
    map[last] |= ra_bits_to(to);
}

static inline float ra_depth_weight(unsigned depth)
{
    static const float weight[] = {1, 10, 100, 1000, 10000, 100000};
    return weight[depth < 5 ? depth : 5];
}

/* reload.c: fills ra->reload, when all values have their places. */
void ra_find_reloads(struct ra *ra);
