/*
 * Jump caches: where the code of a guest address is, for indirect exits of regions. Each view of a
 * vCPU has one, the U view one in each context.
 *
 * Threads: the vCPU's only; in a process also whoever has stopped all vCPUs.
 */
#pragma once

#include "engine/dbt/region.h"

/*
 * Entries of a machine's caches, which are emptied often, and of a process's, which are not:
 * programs of some megabytes have thousands of targets.
 */
#define JUMP_CACHE 16384u
#define JUMP_CACHE_PROCESS 32768u
#define JUMP_NOTED 1024u /* puts are noted, so that emptying costs by what is there */

/* An empty one has pc 0, the first UINT64_MAX: it is where pc 0 would be looked for. */
struct jump_entry {
    uint64_t pc;
    const void *code;
};

/* Where code is in one fetch TLB at one time: good as long as its epoch is. */
struct jump_cache {
    uint64_t epoch;
    struct jump_entry *entry; /* NULL: not used yet */
    uint32_t puts; /* since it was empty; of the first JUMP_NOTED the index is in `noted` */
    uint16_t noted[JUMP_NOTED];
};

struct jump_caches {
    struct jump_cache cache[RV_VIEWS + RV_CONTEXTS];
    uint32_t entries; /* of each, a power of two */
};

/* All are unused. */
void jump_caches_init(struct jump_caches *js, uint32_t entries);
void jump_caches_fini(struct jump_caches *js);
void jump_caches_clear(struct jump_caches *js);

/*
 * The cache of a view, for U also of the context, emptied if it was filled in another epoch. NULL:
 * out of memory.
 */
struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context,
                                 uint64_t epoch);
void jump_cache_put(const struct jump_caches *js, struct jump_cache *j, uint64_t pc,
                    const void *code);

/* NULL: it is not there. */
static inline const void *jump_cache_get(const struct jump_caches *js, const struct jump_cache *j,
                                         uint64_t pc)
{
    const struct jump_entry *e = &j->entry[(uint32_t)(pc / 2) % js->entries];
    return e->pc == pc ? e->code : NULL;
}
