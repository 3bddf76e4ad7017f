#include "engine/dbt/persist.h"

#include "base/bits.h"
#include "engine/interp/interp.h"
#include "engine/source_hash.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#define MAX_UNITS 1024u /* images of one process */

/* ---- units ---- */

struct persist_unit {
    struct unit_key key;
    struct unit unit;
    struct unit_draft draft;
    unsigned expected; /* records */
};

struct persist {
    const struct store *store;
    struct warm *warm;
    uint64_t host;
    struct persist_unit *units;
    uint32_t count, cap;
    struct code_page **pages; /* of images, maybe of other ones meanwhile */
    uint32_t page_count, page_cap;
    uint8_t *buffer; /* for one record */
};

struct persist *persist_new(const struct store *s, const struct host_features *f, struct warm *w)
{
    struct persist *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->store = s;
    p->warm = w;
    p->host = record_host(f);
    p->buffer = malloc(UNIT_MAX_RECORD);
    if (p->buffer)
        return p;
    persist_free(p);
    return NULL;
}

void persist_free(struct persist *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->count; i++) {
        unit_close(&p->units[i].unit);
        draft_free(&p->units[i].draft);
    }
    free(p->units);
    free(p->pages);
    free(p->buffer);
    free(p);
}

static bool persist_grow(void **array, uint32_t *cap, uint32_t count, size_t size)
{
    if (count < *cap)
        return true;
    void *new = realloc(*array, (*cap * 2 + 16) * size);
    if (!new)
        return false;
    *array = new;
    *cap = *cap * 2 + 16;
    return true;
}

/* Index + 1 of the image's unit, 0: there is none. */
static uint32_t persist_unit_for(struct persist *p, const struct rv_hart *h,
                                 const struct rv_image *image)
{
    struct unit_key key = {.image = {image->hash[0], image->hash[1]},
                           .size = image->size,
                           .base = image->base,
                           .exts = h->exts,
                           .build = SOURCE_HASH,
                           .host = p->host};
    for (uint32_t i = 0; i < p->count; i++)
        if (!memcmp(&p->units[i].key, &key, sizeof key))
            return i + 1;
    if (p->count == MAX_UNITS ||
        !persist_grow((void **)&p->units, &p->cap, p->count, sizeof *p->units))
        return 0;
    struct persist_unit *u = &p->units[p->count++];
    *u = (struct persist_unit){.key = key};
    store_read(p->store, &key, &u->unit);
    return p->count;
}

static uint32_t page_number(const struct persist_unit *u, const struct code_page *page)
{
    return (uint32_t)((page->gpa - u->key.base) / UNIT_PAGE);
}

/* ---- pages ---- */

/* What is known of the page in the file, if it is about these bytes. */
static const struct unit_page *stored_page(const struct persist *p, const struct code_page *page)
{
    const struct persist_unit *u = &p->units[page->origin - 1];
    const struct unit_page *s = unit_page(&u->unit, page_number(u, page));
    return s && s->content == page->content ? s : NULL;
}

static void page_use(const struct persist *p, struct code_page *page)
{
    const struct unit_page *s = stored_page(p, page);
    if (!s)
        return;
    const struct unit_entry *e = &p->units[page->origin - 1].unit.entries[s->first];
    for (unsigned i = 0; i < CODE_SLOTS / 64; i++)
        page->run[i] |= s->run[i];
    for (uint32_t i = 0; i < s->count; i++)
        if (e[i].size)
            interp_install(page, e[i].slot);
        else if (p->warm)
            warm_add(p->warm, page->gpa + e[i].slot * 2u, WARM_WANTED);
}

void persist_notice(struct persist *p, struct vcpu *v, struct code_page *page)
{
    const struct rv_hart *h = v->arch;
    struct rv_image image;
    page->noticed = true;
    page->origin = 0;
    if (!h->env.image || !h->env.image(h->env.ctx, page->gpa, &image) ||
        page->gpa - image.base >= (uint64_t)UINT32_MAX * UNIT_PAGE ||
        !persist_grow((void **)&p->pages, &p->page_cap, p->page_count, sizeof(void *)))
        return;
    page->origin = persist_unit_for(p, h, &image);
    if (!page->origin)
        return;
    p->pages[p->page_count++] = page;
    page->content = unit_hash(page->bytes, sizeof page->bytes);
    page_use(p, page);
}

/* ---- from the store ---- */

/* The pages that the record is about, if they are what they were. */
static bool record_pages(struct persist *p, struct vcpu *v, struct code_page *page,
                         struct record_region *out)
{
    const struct record *r = (const void *)p->buffer;
    uint32_t origin = page->origin;
    for (unsigned i = 0; i < r->pages; i++) {
        uint64_t va = p->units[origin - 1].key.base + (uint64_t)r->page[i].number * UNIT_PAGE;
        struct code_page *at = i ? interp_page_at(v, va) : page;
        if (at && !at->noticed)
            persist_notice(p, v, at);
        if (!at || at->origin != origin || at->gpa != va || at->content != r->page[i].content)
            return false;
        out->place.page[i] = (struct region_page){.page = at, .va = va};
    }
    return true;
}

/* Reads the record at a slot into the buffer: its size, 0: none that is good. */
static uint32_t record_get(struct persist *p, const struct code_page *page, unsigned slot)
{
    const struct unit_page *s = page->origin ? stored_page(p, page) : NULL;
    if (!s)
        return 0;
    const struct unit *u = &p->units[page->origin - 1].unit;
    const struct unit_entry *e = unit_entry(u, s, slot);
    bool good = e && e->size >= sizeof(struct record) && unit_get(u, e, p->buffer);
    return good ? e->size : 0;
}

/* The page on which the region begins that the record in the buffer is an entry of. */
static struct code_page *record_begins_on(struct persist *p, struct vcpu *v,
                                          const struct code_page *page)
{
    const struct record *r = (const void *)p->buffer;
    uint64_t base = p->units[page->origin - 1].key.base;
    struct code_page *at = interp_page_at(v, base + (uint64_t)r->page[0].number * UNIT_PAGE);
    if (at && !at->noticed)
        persist_notice(p, v, at);
    return at && at->origin == page->origin && at->content == r->page[0].content ? at : NULL;
}

bool persist_find(struct persist *p, struct vcpu *v, struct code_page *page, uint64_t pc,
                  struct record_region *out)
{
    const struct record *r = (const void *)p->buffer;
    unsigned slot = (unsigned)(pc % UNIT_PAGE / 2);
    uint32_t size = record_get(p, page, slot);
    if (size && !r->size) {
        slot = r->slot % UNIT_SLOTS;
        page = record_begins_on(p, v, page);
        size = page ? record_get(p, page, slot) : 0;
    }
    out->place.pages = 0;
    if (!size || !record_read(p->buffer, size, out) || !record_pages(p, v, page, out))
        return false;
    out->place.pc = out->place.page[0].va + slot * 2u;
    return true;
}

/* ---- to the store ---- */

static bool same_origin(const struct region_place *place)
{
    for (unsigned i = 0; i < place->pages; i++)
        if (!place->page[i].page->origin ||
            place->page[i].page->origin != place->page[0].page->origin ||
            place->page[i].page->gpa != place->page[i].va)
            return false;
    return true;
}

void persist_keep(struct persist *p, const struct region_place *place,
                  const struct compile_job *job)
{
    if (!same_origin(place))
        return;
    struct persist_unit *u = &p->units[place->page[0].page->origin - 1];
    for (unsigned i = 0; i < place->pages; i++) {
        const struct code_page *page = place->page[i].page;
        if (!draft_page(&u->draft, page_number(u, page), page->content, page->run))
            return;
    }
    uint32_t numbers[FRONT_PAGES];
    for (unsigned i = 0; i < place->pages; i++)
        numbers[i] = page_number(u, place->page[i].page);
    struct record *r = record_make(place, numbers, job);
    if (r)
        draft_record(&u->draft, page_number(u, place->page[0].page),
                     (unsigned)(place->pc % 4096 / 2), (uint8_t *)r, (uint32_t)record_size(r));
}

void persist_keep_entry(struct persist *p, const struct region_place *place,
                        const struct code_page *page, uint64_t pc)
{
    const struct code_page *first = place->page[0].page;
    if (!same_origin(place))
        return;
    struct persist_unit *u = &p->units[first->origin - 1];
    struct record *r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->slot = (uint16_t)(place->pc % UNIT_PAGE / 2);
    r->page[0] = (struct record_page){.content = first->content, .number = page_number(u, first)};
    draft_record(&u->draft, page_number(u, page), (unsigned)(pc % UNIT_PAGE / 2), (uint8_t *)r,
                 sizeof *r);
}

bool persist_want(struct persist *p, const struct code_page *page, uint64_t pc)
{
    struct persist_unit *u = page->origin ? &p->units[page->origin - 1] : NULL;
    return u && draft_page(&u->draft, page_number(u, page), page->content, page->run) &&
           draft_record(&u->draft, page_number(u, page), (unsigned)(pc % UNIT_PAGE / 2), NULL, 0);
}

#define EXPECTED_SIZE 3000u /* of a record */
#define EXPECTED_MIN 8u     /* for fewer, nothing is done: some never can be compiled */

void persist_expect(struct persist *p, const struct code_page *page)
{
    if (page->origin)
        p->units[page->origin - 1].expected++;
}

bool persist_worth(const struct persist *p, const struct code_page *page)
{
    const struct persist_unit *u = page->origin ? &p->units[page->origin - 1] : NULL;
    return u && u->expected >= EXPECTED_MIN &&
           store_worth(&u->unit, u->draft.bytes + u->expected * EXPECTED_SIZE);
}

/* What has run in all pages, for those who compile more of them. */
static void persist_note_run(struct persist *p)
{
    for (uint32_t i = 0; i < p->page_count; i++) {
        const struct code_page *page = p->pages[i];
        struct persist_unit *u = page->origin ? &p->units[page->origin - 1] : NULL;
        if (u && u->draft.record_count)
            draft_page(&u->draft, page_number(u, page), page->content, page->run);
    }
}

/* The records' memory stays the parent's pages: to free it would copy them. */
void persist_forked(struct persist *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        p->units[i].draft = (struct unit_draft){0};
        p->units[i].expected = 0;
    }
}

void persist_save(struct persist *p)
{
    persist_note_run(p);
    for (uint32_t i = 0; i < p->count; i++) {
        struct persist_unit *u = &p->units[i];
        u->expected = 0;
        if (!store_worth(&u->unit, u->draft.bytes))
            continue; /* it may have become more until the next time */
        store_add(p->store, &u->key, &u->draft);
        draft_free(&u->draft);
    }
}
