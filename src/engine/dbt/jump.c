#include "engine/dbt/jump.h"

#include "base/bits.h"

#include <string.h>
#include <sys/mman.h>

static size_t jump_bytes(const struct jump_caches *js)
{
    return js->entries * sizeof(struct jump_entry);
}

static size_t jump_all_bytes(const struct jump_caches *js)
{
    return jump_bytes(js) + sizeof(struct jump_notes);
}

void jump_cache_clear(const struct jump_caches *js, struct jump_cache *j)
{
    if (!j->entry)
        return;
    if (j->pages)
        memset(j->notes->page_at, 0, sizeof j->notes->page_at);
    j->pages = 0;
    if (j->puts > JUMP_NOTED)
        memset(j->entry, 0, jump_bytes(js));
    else
        for (uint32_t i = 0; i < j->puts; i++)
            j->entry[j->notes->put[i]].pc = 0;
    j->entry[0].pc = UINT64_MAX;
    j->puts = 0;
}

void jump_caches_init(struct jump_caches *js, uint32_t entries)
{
    *js = (struct jump_caches){.entries = entries};
}

void jump_caches_fini(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        if (js->cache[i].entry)
            munmap(js->cache[i].entry, jump_all_bytes(js));
}

void jump_caches_clear(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        jump_cache_clear(js, &js->cache[i]);
}

/* Zero, and resident as it is used. */
static bool jump_cache_make(const struct jump_caches *js, struct jump_cache *j)
{
    void *p = mmap(NULL, jump_all_bytes(js), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    j->entry = p;
    j->notes = (void *)((uint8_t *)p + jump_bytes(js));
    j->entry[0].pc = UINT64_MAX;
    return true;
}

struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context)
{
    struct jump_cache *j = &js->cache[view == RV_VIEW_U ? RV_VIEWS + context : view];
    return j->entry || jump_cache_make(js, j) ? j : NULL;
}

/* Neighbours are apart as long as they can be. */
static unsigned jump_page_hash(uint64_t va)
{
    return (unsigned)(va / RV_PAGE) % (2 * JUMP_PAGES);
}

void jump_cache_note(struct jump_cache *j, uint64_t va, struct code_page *page)
{
    struct jump_notes *n = j->notes;
    unsigned i = jump_page_hash(va);
    for (; n->page_at[i]; i = (i + 1) % (2 * JUMP_PAGES))
        if (n->page[n->page_at[i] - 1].va == va)
            return;
    if (j->pages < JUMP_PAGES) {
        n->page[j->pages] = (struct jump_page){va, page};
        n->page_at[i] = (uint8_t)(j->pages + 1);
    }
    if (j->pages <= JUMP_PAGES)
        j->pages++;
}

void jump_cache_put(const struct jump_caches *js, struct jump_cache *j, uint64_t pc,
                    const void *code)
{
    uint32_t i = (uint32_t)(pc / 2) % js->entries;
    if (j->puts < JUMP_NOTED)
        j->notes->put[j->puts] = (uint16_t)i;
    if (j->puts <= JUMP_NOTED)
        j->puts++;
    j->entry[i] = (struct jump_entry){.pc = pc, .code = code};
}
