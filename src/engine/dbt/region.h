/*
 * Installed regions: their code, where each begins, and the links between them.
 *
 * A region belongs to one vCPU or all threads of a process, some pages of decoded code and one view
 * of memory; it begins on the first of its pages. One that is entered at several places is there
 * for each of them: the others lead into the first one's code, and go with it. A machine's links
 * lead to a region whose pages are all pages of the one they leave, at the same addresses, so they
 * need no look at translations. A process has one translation only, and its links lead anywhere.
 * When a page's bytes change all its regions go at once, and the links to them. Everything is
 * bounded; what does not fit sets `full`, and the owner starts over with regions_reset.
 *
 * Regions of a machine's user code are relative (backend.h): what they are found by is the page
 * they begin on, wherever the guest has mapped it, and they serve wherever their other pages are
 * mapped at the same distance. So a library is compiled once for all processes. Their addresses
 * here are relative to the base, the address of their first page. All others have base 0.
 *
 * Threads: the owner's lock; region_slow_path needs none.
 */
#pragma once

#include "engine/dbt/backend.h"
#include "engine/dbt/front.h"
#include "engine/interp/code.h"
#include "host/codemem.h"

struct region_page {
    struct code_page *page;
    uint64_t va;
    uint32_t next; /* of the page's list: index * FRONT_PAGES + number of the page, + 1; 0: end */
};

struct region {
    _Alignas(64) uint64_t pc;
    uint64_t base; /* base: where a relative one was found last; pc is relative to it */
    uint8_t *code; /* rw view; NULL: cannot be compiled */
    uint32_t size; /* 0: the code is another one's */
    uint8_t view;  /* enum rv_view, | REGION_WINDOW */
    uint8_t pages;
    bool uses_fp, relative;
    uint32_t incoming;             /* of a process: links that lead here, a chain of link + 1 */
    uint32_t sites_at, site_count; /* back_code.sites, in the code */
    struct region_page page[FRONT_PAGES];
};

/* Guest memory is reached through the context's window. */
#define REGION_WINDOW 0x80u

struct region_link {
    uint64_t pc;
    uint32_t region;
    uint32_t field, stub; /* offsets in its code: the jump, and where it goes unlinked */
    uint32_t next;        /* of region.incoming; LINK_END: the last; 0: not linked */
};
#define LINK_END UINT32_MAX

/* A region in the chain that it is found in. */
struct region_ref {
    uint32_t number; /* index + 1; 0: the end */
    uint32_t tag;    /* a hash of what it is found by */
};

struct regions {
    const struct back_target *target;
    struct codemem mem;
    struct back_thunks thunks;
    const uint8_t *thunks_exec;
    uint64_t (*enter)(void *hart, const void *code);
    struct region *region;
    struct region_ref *after; /* of the region with the same index: the next of its chain */
    struct region_link *link;
    uint32_t *by_granule; /* of code memory: index + 1 of the region that was last there */
    size_t region_ready, link_ready; /* bytes whose pages are there, as populate() has it */
    uint32_t count;
    uint32_t link_count;
    struct region_ref *hash; /* 1 << hash_bits chains, more as there are more regions */
    unsigned hash_bits;
    bool full;
    bool process;   /* links lead anywhere */
    size_t written; /* bytes of code since codemem_settle */
};

/* code_size: bytes of code, 0: 128 MiB. 0, or -errno with *err. */
int regions_init(struct regions *rs, const struct back_target *t, uint64_t code_size, bool process,
                 struct error *err);
void regions_fini(struct regions *rs);
/* All regions go; their memory is the host's again. */
void regions_reset(struct regions *rs);

struct region *region_find(const struct regions *rs, uint64_t pc, unsigned view,
                           const struct code_page *page);
/* Another one that is found by the same; NULL: that was the last. */
struct region *region_find_next(const struct regions *rs, const struct region *r);
/* What region_add is told of a region. */
struct region_place {
    uint64_t pc;
    bool relative; /* to the first page */
    uint8_t view, pages;
    struct region_page page[FRONT_PAGES]; /* page and va, as they are now */
};

/* Where region r has its page `i` when it is entered for pc. */
static inline uint64_t region_page_va(const struct region *r, unsigned i, uint64_t pc)
{
    return pc - r->pc + r->page[i].va;
}

/* Whether a page of r is where the place has another one. */
bool region_conflicts(const struct region *r, const struct region_place *place);

static inline uint64_t region_base(const struct region_place *place)
{
    return place->relative ? place->page[0].va : 0;
}

/* The page of the place on which pc is, NULL: none. */
struct code_page *region_page_of(const struct region_place *place, uint64_t pc);

/*
 * A new region with the code of `code`, or (NULL) one that cannot be compiled and is kept so that
 * it is not tried again. NULL when there is no room.
 */
struct region *region_add(struct regions *rs, const struct region_place *place,
                          const struct back_code *code);
/*
 * The same region, entered at another place, which is on one of its pages and has no region. NULL:
 * there is no room, which does no harm.
 */
struct region *region_add_entry(struct regions *rs, const struct region *r,
                                const struct back_entry *entry);
/* All regions of a page, whose bytes have changed. The caller empties the jump caches. */
void regions_drop_page(struct regions *rs, struct code_page *page);

static inline const void *region_code(const struct regions *rs, const struct region *r)
{
    return codemem_to_rx(&rs->mem, r->code);
}

/*
 * The site that the host pc is of: where its slow path is; 0: none. *write: BACK_SITE_WRITE. Safe
 * in a signal handler.
 */
uintptr_t region_slow_path(const struct regions *rs, uintptr_t pc, bool *write);

/* The exit `link` was taken: from now on it goes to `to`, if it may. */
bool region_link_to(struct regions *rs, uint32_t link, struct region *to);
