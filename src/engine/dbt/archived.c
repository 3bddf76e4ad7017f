#include "engine/dbt/archived.h"

#include "base/bits.h"
#include "engine/interp/interp.h"
#include "isa/riscv64/hart.h"
#include "store/archive.h"

#include <stdlib.h>

/* Only user code is relative. */
static bool is_relative(unsigned view)
{
    return (view & ~REGION_WINDOW) == RV_VIEW_U;
}

void archived_notice(struct code_page *page)
{
    page->content = unit_hash(page->bytes, sizeof page->bytes);
}

/* Bytes may have changed since the page was entered last, and regions have been left for it. */
static uint64_t content_of(struct code_page *page)
{
    if (!page->noticed)
        archived_notice(page);
    return page->content;
}

static uint64_t page_key(struct code_page *page, unsigned view, uint64_t va)
{
    const uint64_t key[] = {content_of(page), view & ~REGION_WINDOW,
                            is_relative(view) ? 0 : align_down(va, UNIT_PAGE)};
    return unit_hash(key, sizeof key);
}

static uint32_t place_of(unsigned slot, unsigned view)
{
    return slot % UNIT_SLOTS | (view & REGION_WINDOW ? UNIT_SLOTS : 0);
}

/* Pages from one address to another. */
static uint32_t distance(uint64_t from, uint64_t to)
{
    return (uint32_t)((to >> 12) - (from >> 12));
}

static uint64_t at_distance(uint64_t from, uint32_t pages)
{
    return align_down(from, UNIT_PAGE) + (uint64_t)(int32_t)pages * UNIT_PAGE;
}

static void open_slot(void *ctx, uint32_t place)
{
    interp_install(ctx, place % UNIT_SLOTS);
}

void archived_open(struct archive *a, const struct vcpu *v, struct code_page *page, uint64_t va)
{
    const struct rv_hart *h = v->arch;
    archive_each(a, page_key(page, h->view, va), open_slot, page);
}

/* ---- from the archive ---- */

/* The page at va if it has been entered here and holds what the record says. */
static struct code_page *page_at(struct vcpu *v, uint64_t va, const struct record_page *r)
{
    struct code_page *page = interp_page_at(v, va);
    return page && content_of(page) == r->content ? page : NULL;
}

static bool find_pages(struct vcpu *v, const struct record *r, struct code_page *first, uint64_t va,
                       struct region_place *place)
{
    for (unsigned i = 0; i < r->pages; i++) {
        uint64_t at = at_distance(va, r->page[i].number);
        struct code_page *page = i ? page_at(v, at, &r->page[i]) : first;
        if (!page || content_of(page) != r->page[i].content)
            return false;
        place->page[i] = (struct region_page){.page = page, .va = at};
    }
    return true;
}

bool archived_find(struct archive *a, uint8_t *buffer, struct vcpu *v, struct code_page *page,
                   uint64_t pc, unsigned view, struct record_region *out)
{
    const struct record *r = (const void *)buffer;
    unsigned slot = (unsigned)(pc % UNIT_PAGE / 2);
    uint32_t size = archive_get(a, page_key(page, view, pc), place_of(slot, view), buffer);
    if (size < sizeof *r)
        return false;
    if (!r->size) { /* the region begins elsewhere */
        slot = r->slot % UNIT_SLOTS;
        pc = at_distance(pc, r->page[0].number) + slot * 2u;
        page = page_at(v, pc, &r->page[0]);
        size = page ? archive_get(a, page_key(page, view, pc), place_of(slot, view), buffer) : 0;
    }
    out->place.pages = 0;
    if (!size || !record_read(buffer, size, out) || !find_pages(v, r, page, pc, &out->place))
        return false;
    out->place.pc = pc;
    out->place.view = (uint8_t)view;
    out->place.relative = is_relative(view);
    return true;
}

/* ---- to the archive ---- */

void archived_keep(struct archive *a, const struct region_place *place,
                   const struct compile_job *job)
{
    uint32_t numbers[FRONT_PAGES];
    for (unsigned i = 0; i < place->pages; i++) {
        numbers[i] = distance(place->page[0].va, place->page[i].va);
        content_of(place->page[i].page); /* which is in the record */
    }
    struct record *r = record_make(place, numbers, job);
    if (r)
        archive_add(a, page_key(place->page[0].page, place->view, place->pc),
                    place_of((unsigned)(place->pc % UNIT_PAGE / 2), place->view), r,
                    (uint32_t)record_size(r));
    free(r);
}

void archived_keep_entry(struct archive *a, const struct region_place *place,
                         struct code_page *page, uint64_t pc)
{
    struct record r = {.slot = (uint16_t)(place->pc % UNIT_PAGE / 2)};
    r.page[0] = (struct record_page){.content = content_of(place->page[0].page),
                                     .number = distance(pc, place->page[0].va)};
    archive_add(a, page_key(page, place->view, pc),
                place_of((unsigned)(pc % UNIT_PAGE / 2), place->view), &r, sizeof r);
}
