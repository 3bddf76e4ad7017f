#include "engine/dbt/record.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct record) % 8 == 0, "links follow");
_Static_assert(sizeof(struct back_link) == 24 && sizeof(struct back_ref) == 8, "as stored");
_Static_assert(sizeof(struct back_entry) == 16, "as stored");

/* One bit for each feature. */
uint64_t record_host(const struct host_features *f)
{
    const bool has[] = {f->cx16, f->sse41, f->pclmul, f->popcnt, f->lzcnt,
                        f->bmi1, f->bmi2,  f->avx,    f->fma,    f->fast_pdep};
    _Static_assert(sizeof has == sizeof *f, "all of them");
    uint64_t bits = 0;
    for (unsigned i = 0; i < sizeof has / sizeof has[0]; i++)
        bits |= (uint64_t)has[i] << i;
    return bits;
}

size_t record_size(const struct record *r)
{
    return sizeof *r + r->entry_count * sizeof(struct back_entry) +
           r->link_count * sizeof(struct back_link) + r->ref_count * sizeof(struct back_ref) +
           r->size;
}

/* ---- reading ---- */

static bool link_good(const struct back_link *l, uint32_t size)
{
    return l->pc % 2 == 0 && l->field % 4 == 0 && size >= 4 && l->field <= size - 4 &&
           l->stub < size && l->index <= size - 4;
}

static bool code_good(const struct back_code *c)
{
    uint32_t size = (uint32_t)c->size;
    for (uint32_t i = 0; i < c->entry_count; i++)
        if (c->entries[i].pc % 2 || c->entries[i].at >= size)
            return false;
    for (uint32_t i = 0; i < c->link_count; i++)
        if (!link_good(&c->links[i], size))
            return false;
    for (uint32_t i = 0; i < c->ref_count; i++)
        if (size < 4 || c->refs[i].field > size - 4 || c->refs[i].thunk >= BACK_THUNK_COUNT)
            return false;
    const struct back_site *s = (const void *)(c->bytes + c->sites_at);
    for (uint32_t i = 0; i < c->site_count; i++)
        if (s[i].at >= size || (s[i].slow & ~BACK_SITE_WRITE) >= size)
            return false;
    return true;
}

static bool record_good(const struct record *r, size_t size)
{
    return size >= sizeof *r && r->entry_count <= FRONT_MAX_ENTRIES + 1 && r->link_count <= size &&
           r->ref_count <= size && r->size && record_size(r) == size && r->pages &&
           r->pages <= FRONT_PAGES && r->hot_size <= r->size && r->sites_at % 4 == 0 &&
           r->sites_at <= r->size &&
           r->site_count <= (r->size - r->sites_at) / sizeof(struct back_site);
}

bool record_read(uint8_t *bytes, size_t size, struct record_region *out)
{
    const struct record *r = (const void *)bytes;
    if (!record_good(r, size))
        return false;
    struct back_code *c = &out->code;
    c->entries = (void *)(bytes + sizeof *r);
    c->links = (void *)(c->entries + r->entry_count);
    c->refs = (void *)(c->links + r->link_count);
    c->bytes = (uint8_t *)(c->refs + r->ref_count);
    c->size = c->cap = r->size;
    c->hot_size = r->hot_size;
    c->sites_at = r->sites_at;
    c->site_count = r->site_count;
    c->entry_count = r->entry_count;
    c->link_count = r->link_count;
    c->ref_count = r->ref_count;
    out->insns = r->insns;
    out->uses_fp = r->uses_fp;
    out->place.pages = r->pages;
    return code_good(c);
}

/* ---- writing ---- */

static void record_fill(struct record *r, const struct region_place *place, const uint32_t *numbers,
                        const struct compile_job *job)
{
    const struct back_code *c = &job->code;
    for (unsigned i = 0; i < place->pages; i++)
        r->page[i] =
            (struct record_page){.content = place->page[i].page->content, .number = numbers[i]};
    struct back_entry *entries = (void *)(r + 1);
    struct back_link *links = (void *)(entries + c->entry_count);
    if (c->entry_count)
        memcpy(entries, c->entries, c->entry_count * sizeof *entries);
    for (uint32_t i = 0; i < c->link_count; i++) {
        links[i].pc = c->links[i].pc;
        links[i].field = c->links[i].field;
        links[i].stub = c->links[i].stub;
        links[i].index = c->links[i].index;
    }
    struct back_ref *refs = (void *)(links + c->link_count);
    if (c->ref_count)
        memcpy(refs, c->refs, c->ref_count * sizeof *refs);
    memcpy(refs + c->ref_count, c->bytes, c->size);
}

struct record *record_make(const struct region_place *place, const uint32_t *numbers,
                           const struct compile_job *job)
{
    const struct back_code *c = &job->code;
    struct record head = {.size = (uint32_t)c->size,
                          .hot_size = c->hot_size,
                          .sites_at = (uint32_t)c->sites_at,
                          .site_count = c->site_count,
                          .entry_count = c->entry_count,
                          .link_count = c->link_count,
                          .ref_count = c->ref_count,
                          .insns = job->info.insns,
                          .pages = place->pages,
                          .uses_fp = job->info.uses_fp};
    struct record *r = calloc(1, record_size(&head));
    if (!r)
        return NULL;
    *r = head;
    record_fill(r, place, numbers, job);
    return r;
}
