/*
 * Places of a process that have been jumped to some times and have no region yet: how often. What
 * is left of them when the process ends is what the next run wants to find compiled.
 *
 * Few places matter, so it is a small table in which those that are rarely seen make room.
 *
 * Threads: the lock of struct dbt_code.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WARM_PLACES 4096u
#define WARM_STEP 16u /* jumps, after which a place is counted */

#define WARM_WANTED 112u /* what a place begins with that an earlier run wanted */

struct warm_place {
    uint64_t pc;
    uint32_t count; /* jumps, 0: no place */
};

struct warm {
    struct warm_place place[WARM_PLACES];
};

/* The place has been reached `by` times more: how often in all. */
uint32_t warm_add(struct warm *w, uint64_t pc, uint32_t by);
/* It is wanted no more. */
void warm_remove(struct warm *w, uint64_t pc);
/* All places, those with the highest count first: how many, and how many have at least `hot`. The
 * table is not in order then. */
unsigned warm_sort(struct warm *w, uint32_t hot, unsigned *hot_count);
