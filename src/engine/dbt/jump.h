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
#define JUMP_CACHE 65536u
#define JUMP_CACHE_PROCESS 32768u
#define JUMP_NOTED 1024u /* puts are noted, so that emptying costs by what is there */
#define JUMP_PAGES 254u  /* pages are noted, so that they can be looked at instead */

/* An empty one has pc 0, the first UINT64_MAX: it is where pc 0 would be looked for. */
struct jump_entry {
    uint64_t pc;
    const void *code;
};

/* A page of a region that is in a cache: where it was, and what. */
struct jump_page {
    uint64_t va;
    struct code_page *page;
};

/* What was put, so that it can be taken back or looked at. */
struct jump_notes {
    uint16_t put[JUMP_NOTED]; /* index of the entry */
    struct jump_page page[JUMP_PAGES];
    uint8_t page_at[2 * JUMP_PAGES]; /* by a hash of va: index + 1; 0: none */
};
_Static_assert(JUMP_PAGES < 256, "an index + 1 is a byte");

/*
 * Where code is in one fetch TLB at one time: good as long as the epochs are, or as long as the
 * pages are there and what they were.
 */
struct jump_cache {
    uint64_t epoch;           /* of the fetch TLB */
    uint64_t code_epoch;      /* of the hart */
    struct jump_entry *entry; /* NULL: not used yet */
    struct jump_notes *notes; /* behind the entries */
    unsigned view;            /* of the regions that are in it: dbt_view */
    uint32_t puts;            /* since it was empty; JUMP_NOTED + 1: more than are noted */
    uint32_t pages;           /* JUMP_PAGES + 1: more than are noted */
};

struct jump_caches {
    struct jump_cache cache[RV_VIEWS + RV_CONTEXTS];
    uint32_t entries; /* of each, a power of two */
};

/* All are unused. */
void jump_caches_init(struct jump_caches *js, uint32_t entries);
void jump_caches_fini(struct jump_caches *js);
void jump_caches_clear(struct jump_caches *js);

/* The cache of a view, for U also of the context. NULL: out of memory. */
struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context);
void jump_cache_clear(const struct jump_caches *js, struct jump_cache *j);
void jump_cache_put(const struct jump_caches *js, struct jump_cache *j, uint64_t pc,
                    const void *code);
/* What was put relies on the page, which is at va. */
void jump_cache_note(struct jump_cache *j, uint64_t va, struct code_page *page);

/* NULL: it is not there. */
static inline const void *jump_cache_get(const struct jump_caches *js, const struct jump_cache *j,
                                         uint64_t pc)
{
    const struct jump_entry *e = &j->entry[(uint32_t)(pc / 2) % js->entries];
    return e->pc == pc ? e->code : NULL;
}
