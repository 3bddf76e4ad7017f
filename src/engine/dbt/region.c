#include "engine/dbt/region.h"

#include "base/bits.h"
#include "base/error.h"
#include "base/populate.h"
#include "host/x86_64/asm.h"
#include "isa/riscv64/hart.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CODE_SIZE (128u << 20) /* of each vCPU; resident as it is used */
#define THUNK_CODE 4096u
#define MAX_REGIONS 262144u
#define SETTLE_EVERY (1u << 20) /* bytes of code */
#define MAX_LINKS 524288u
#define HASH_BITS 10u /* a small program touches few pages */
#define MAX_HASH_BITS 17u

/* ---- the tables ---- */

static size_t granules(const struct regions *rs)
{
    return rs->mem.size / CODEMEM_GRANULE;
}

/* The upper bits choose a chain, those below tell apart what is in one. */
static uint64_t region_hash(uint64_t pc, unsigned view, const struct code_page *page)
{
    uint64_t key = (page->gpa ^ pc % RV_PAGE ^ (uint64_t)view << 52) / 2;
    return key * UINT64_C(0x9e3779b97f4a7c15);
}

static struct region_ref *region_chain(const struct regions *rs, uint64_t hash)
{
    return &rs->hash[hash >> (64 - rs->hash_bits)];
}

static uint32_t region_tag(uint64_t hash)
{
    return (uint32_t)(hash >> (32 - MAX_HASH_BITS));
}

static uint64_t region_own_hash(const struct region *r)
{
    return region_hash(r->pc, r->view, r->page[0].page);
}

/* Each chain becomes two, in the same order. Without memory for that they stay as long as they are.
 */
static void regions_grow_hash(struct regions *rs)
{
    struct region_ref *old = rs->hash, *hash = calloc((size_t)2 << rs->hash_bits, sizeof *hash);
    if (!hash)
        return;
    rs->hash = hash;
    rs->hash_bits++;
    for (uint32_t i = 0; i < 1u << (rs->hash_bits - 1); i++) {
        struct region_ref *end[2] = {&hash[2 * i], &hash[2 * i + 1]}, next;
        for (struct region_ref r = old[i]; r.number; r = next) {
            struct region_ref *after = &rs->after[r.number - 1];
            uint64_t own = region_own_hash(&rs->region[r.number - 1]);
            unsigned half = (region_chain(rs, own) - hash) & 1;
            next = *after;
            *after = (struct region_ref){0};
            *end[half] = r;
            end[half] = after;
        }
    }
    free(old);
}

/* The next region, with the links of its code, is about to be written. */
static void regions_expect(struct regions *rs, const struct back_code *code)
{
    populate((uint8_t *)rs->region, MAX_REGIONS * sizeof *rs->region, &rs->region_ready,
             (rs->count + 1) * sizeof *rs->region);
    if (!code)
        return;
    populate((uint8_t *)rs->link, MAX_LINKS * sizeof *rs->link, &rs->link_ready,
             (rs->link_count + code->link_count) * sizeof *rs->link);
}

/* The last region, which is filled in but for this. */
static void region_enter(struct regions *rs)
{
    struct region *r = &rs->region[rs->count - 1];
    if (rs->count > 1u << rs->hash_bits && rs->hash_bits < MAX_HASH_BITS)
        regions_grow_hash(rs);
    uint64_t hash = region_own_hash(r);
    struct region_ref *chain = region_chain(rs, hash);
    rs->after[rs->count - 1] = *chain;
    *chain = (struct region_ref){rs->count, region_tag(hash)};
}

/* In a chain. Regions are large and many, tags are with what leads there: one is seldom wrong. */
static struct region *region_search(const struct regions *rs, struct region_ref at, uint32_t tag,
                                    uint64_t pc, unsigned view, const struct code_page *page)
{
    for (; at.number; at = rs->after[at.number - 1]) {
        struct region *r = &rs->region[at.number - 1];
        if (at.tag == tag && r->view == view && r->page[0].page == page &&
            (r->relative ? r->pc % RV_PAGE == pc % RV_PAGE : r->pc == pc))
            return r;
    }
    return NULL;
}

struct region *region_find(const struct regions *rs, uint64_t pc, unsigned view,
                           const struct code_page *page)
{
    uint64_t hash = region_hash(pc, view, page);
    return region_search(rs, *region_chain(rs, hash), region_tag(hash), pc, view, page);
}

struct region *region_find_next(const struct regions *rs, const struct region *r)
{
    return region_search(rs, rs->after[r - rs->region], region_tag(region_own_hash(r)), r->pc,
                         r->view, r->page[0].page);
}

bool region_conflicts(const struct region *r, const struct region_place *place)
{
    for (unsigned i = 0; i < r->pages; i++) {
        const struct code_page *page = region_page_of(place, region_page_va(r, i, place->pc));
        if (page && page != r->page[i].page)
            return true;
    }
    return false;
}

static void region_unhash(struct regions *rs, uint32_t index)
{
    uint64_t hash = region_own_hash(&rs->region[index]);
    for (struct region_ref *p = region_chain(rs, hash); p->number; p = &rs->after[p->number - 1])
        if (p->number == index + 1) {
            *p = rs->after[index];
            return;
        }
}

/* Host code in its place; NULL: no room. */
static uint8_t *region_place_code(struct regions *rs, const struct back_code *code)
{
    if (rs->link_count + code->link_count > MAX_LINKS)
        return NULL;
    uint8_t *rw = codemem_alloc(&rs->mem, code->size);
    if (!rw)
        return NULL;
    memcpy(rw, code->bytes, code->size);
    back_place(code, rw, codemem_to_rx(&rs->mem, rw), &rs->thunks, rs->thunks_exec);
    rs->written += code->size;
    if (rs->written >= SETTLE_EVERY) {
        codemem_settle(&rs->mem);
        rs->written = 0;
    }
    return rw;
}

static void region_add_links(struct regions *rs, struct region *r, const struct back_code *code)
{
    for (uint32_t i = 0; i < code->link_count; i++) {
        const struct back_link *l = &code->links[i];
        le32_put(r->code + l->index, rs->link_count);
        rs->link[rs->link_count++] = (struct region_link){
            .pc = l->pc,
            .region = (uint32_t)(r - rs->region),
            .field = l->field,
            .stub = l->stub,
        };
    }
}

/* The link of a page's list that its number n of region index stands in. */
static uint32_t *region_page_next(struct regions *rs, uint32_t number)
{
    return &rs->region[(number - 1) / FRONT_PAGES].page[(number - 1) % FRONT_PAGES].next;
}

static void region_list(struct regions *rs, struct region *r)
{
    for (unsigned i = 0; i < r->pages; i++) {
        struct region_page *p = &r->page[i];
        p->next = p->page->native_list;
        p->page->native_list = (uint32_t)(r - rs->region) * FRONT_PAGES + i + 1;
    }
}

static void region_unlist(struct regions *rs, uint32_t index)
{
    struct region *r = &rs->region[index];
    for (unsigned i = 0; i < r->pages; i++) {
        uint32_t *p = &r->page[i].page->native_list;
        while (*p && *p != index * FRONT_PAGES + i + 1)
            p = region_page_next(rs, *p);
        *p = r->page[i].next;
    }
}

static void region_add_sites(struct regions *rs, struct region *r, const struct back_code *code)
{
    size_t first = (size_t)(r->code - rs->mem.rw) / CODEMEM_GRANULE;
    r->sites_at = (uint32_t)code->sites_at;
    r->site_count = code->site_count;
    for (size_t i = 0; i * CODEMEM_GRANULE < code->size; i++)
        rs->by_granule[first + i] = rs->count;
}

uintptr_t region_slow_path(const struct regions *rs, uintptr_t pc, bool *write)
{
    uint32_t n = codemem_has_pc(&rs->mem, pc)
                     ? rs->by_granule[(pc - (uintptr_t)rs->mem.rx) / CODEMEM_GRANULE]
                     : 0;
    if (!n)
        return 0;
    const struct region *r = &rs->region[n - 1];
    if (!r->code)
        return 0;
    const uint8_t *code = region_code(rs, r);
    const struct back_site *sites = (const void *)(code + r->sites_at);
    uint64_t at = pc - (uintptr_t)code;
    uint32_t lo = 0, hi = r->site_count;
    while (lo < hi) {
        uint32_t middle = (lo + hi) / 2;
        if (sites[middle].at < at)
            lo = middle + 1;
        else
            hi = middle;
    }
    if (lo == r->site_count || sites[lo].at != at)
        return 0;
    *write = sites[lo].slow & BACK_SITE_WRITE;
    return (uintptr_t)code + (sites[lo].slow & ~BACK_SITE_WRITE);
}

struct code_page *region_page_of(const struct region_place *place, uint64_t pc)
{
    for (unsigned i = 0; i < place->pages; i++)
        if (place->page[i].va == align_down(pc, RV_PAGE))
            return place->page[i].page;
    return NULL;
}

struct region *region_add(struct regions *rs, const struct region_place *place,
                          const struct back_code *code)
{
    regions_expect(rs, code);
    uint8_t *rw = code ? region_place_code(rs, code) : NULL;
    if (rs->count == MAX_REGIONS || (code && !rw)) {
        rs->full = true;
        return NULL;
    }
    struct region *r = &rs->region[rs->count++];
    *r = (struct region){
        .pc = place->pc - region_base(place),
        .base = region_base(place),
        .relative = place->relative,
        .code = rw,
        .size = rw ? (uint32_t)code->size : 0,
        .incoming = LINK_END,
        .view = place->view,
        .pages = place->pages,
    };
    memcpy(r->page, place->page, sizeof r->page);
    for (unsigned i = 0; i < r->pages; i++)
        r->page[i].va -= r->base;
    region_enter(rs);
    region_list(rs, r);
    if (rw) {
        region_add_links(rs, r, code);
        region_add_sites(rs, r, code);
    }
    return r;
}

struct region *region_add_entry(struct regions *rs, const struct region *r,
                                const struct back_entry *entry)
{
    unsigned own = 0;
    while (own < r->pages && r->page[own].va != align_down(entry->pc, RV_PAGE))
        own++;
    if (rs->count == MAX_REGIONS || own == r->pages)
        return NULL;
    regions_expect(rs, NULL);
    struct region *e = &rs->region[rs->count++];
    *e = *r;
    e->pc = entry->pc;
    e->code = r->code + entry->at;
    e->size = e->site_count = 0;
    e->incoming = LINK_END;
    e->page[0] = r->page[own];
    e->page[own] = r->page[0];
    region_enter(rs);
    region_list(rs, e);
    return e;
}

/* Links to a region that goes lead to their stubs again. */
static void region_unlink(struct regions *rs, struct region *r)
{
    uint32_t next;
    for (uint32_t n = r->incoming; n != LINK_END; n = next) {
        struct region_link *l = &rs->link[n - 1];
        const uint8_t *from = rs->region[l->region].code;
        next = l->next;
        l->next = 0;
        if (from)
            asm_patch_rel32(rs->region[l->region].code + l->field, from + l->stub);
    }
    r->incoming = LINK_END;
}

void regions_drop_page(struct regions *rs, struct code_page *page)
{
    while (page->native_list) {
        uint32_t index = (page->native_list - 1) / FRONT_PAGES;
        struct region *r = &rs->region[index];
        region_unhash(rs, index);
        region_unlist(rs, index);
        if (r->size)
            codemem_free(&rs->mem, r->code, r->size);
        r->code = NULL;
        region_unlink(rs, r);
    }
}

static bool region_has_page(const struct region *r, const struct region_page *p)
{
    for (unsigned i = 0; i < r->pages; i++)
        if (r->page[i].page == p->page && r->page[i].va == p->va)
            return true;
    return false;
}

static bool region_may_link(const struct regions *rs, const struct region *from,
                            const struct region *to)
{
    /* Relative ones have the same base if the place is the same for both. */
    for (unsigned i = 0; i < to->pages && !rs->process; i++)
        if (!region_has_page(from, &to->page[i]))
            return false;
    return true;
}

bool region_link_to(struct regions *rs, uint32_t link, struct region *to)
{
    struct region_link *l = &rs->link[link];
    const struct region *from = &rs->region[l->region];
    if (l->pc != to->pc || from->view != to->view || from->relative != to->relative ||
        !region_may_link(rs, from, to))
        return false;
    if (rs->process && !l->next) {
        l->next = to->incoming;
        to->incoming = link + 1;
    }
    asm_patch_rel32(from->code + l->field, to->code + (to->relative ? BACK_SKIP : 0));
    return true;
}

/* ---- life ---- */

/* The thunks come first in the code memory, also after it was emptied. */
static bool regions_make_thunks(struct regions *rs, const struct back_target *t)
{
    uint8_t bytes[THUNK_CODE];
    struct back_code out;
    back_code_init(&out, bytes, sizeof bytes);
    uint8_t *rw = codemem_alloc(&rs->mem, THUNK_CODE);
    bool ok = rw && back_emit_thunks(t, &out, &rs->thunks);
    if (ok) {
        memcpy(rw, out.bytes, out.size);
        rs->thunks_exec = codemem_to_rx(&rs->mem, rw);
        const uint8_t *enter = rs->thunks_exec + rs->thunks.enter;
        memcpy(&rs->enter, &enter, sizeof rs->enter);
    }
    back_code_fini(&out);
    return ok;
}

/* Zero, on lines of the cache, and resident as it is used. */
static void *regions_table(size_t size, bool huge)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (huge)
        madvise(p, size, MADV_HUGEPAGE);
    return p;
}

int regions_init(struct regions *rs, const struct back_target *t, uint64_t code_size, bool process,
                 struct error *err)
{
    uint64_t size = code_size ? code_size : CODE_SIZE;
    int rc =
        process ? codemem_init_private(&rs->mem, size, err) : codemem_init(&rs->mem, size, err);
    if (rc)
        return rc;
    rs->target = t;
    rs->process = process;
    rs->region = regions_table(MAX_REGIONS * sizeof *rs->region, !process);
    rs->after = regions_table(MAX_REGIONS * sizeof *rs->after, !process);
    rs->link = regions_table(MAX_LINKS * sizeof *rs->link, false);
    rs->by_granule = regions_table(granules(rs) * sizeof *rs->by_granule, false);
    rs->hash_bits = HASH_BITS;
    rs->hash = calloc((size_t)1 << HASH_BITS, sizeof *rs->hash);
    bool ok = rs->region && rs->hash && rs->after && rs->link && rs->by_granule &&
              regions_make_thunks(rs, t);
    if (!ok)
        return error_set(err, ENOMEM, "out of memory for translated code");
    return 0;
}

void regions_fini(struct regions *rs)
{
    if (rs->region)
        munmap(rs->region, MAX_REGIONS * sizeof *rs->region);
    if (rs->after)
        munmap(rs->after, MAX_REGIONS * sizeof *rs->after);
    if (rs->link)
        munmap(rs->link, MAX_LINKS * sizeof *rs->link);
    if (rs->by_granule)
        munmap(rs->by_granule, granules(rs) * sizeof *rs->by_granule);
    free(rs->hash);
    codemem_fini(&rs->mem);
}

void regions_reset(struct regions *rs)
{
    memset(rs->hash, 0, sizeof *rs->hash << rs->hash_bits);
    memset(rs->by_granule, 0, granules(rs) * sizeof *rs->by_granule);
    rs->count = rs->link_count = 0;
    codemem_reset(&rs->mem);
    regions_make_thunks(rs, rs->target);
    rs->full = false;
}
