#include "engine/dbt/jump.h"

#include "base/bits.h"

#include <sys/mman.h>

static size_t jump_bytes(const struct jump_caches *js)
{
    return js->entries * sizeof(struct jump_entry);
}

static void jump_cache_clear(const struct jump_caches *js, struct jump_cache *j)
{
    if (!j->entry)
        return;
    if (j->puts > JUMP_NOTED)
        memset(j->entry, 0, jump_bytes(js));
    else
        for (uint32_t i = 0; i < j->puts; i++)
            j->entry[j->noted[i]].pc = 0;
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
            munmap(js->cache[i].entry, jump_bytes(js));
}

void jump_caches_clear(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        jump_cache_clear(js, &js->cache[i]);
}

/* Zero, and resident as it is used. */
static bool jump_cache_make(const struct jump_caches *js, struct jump_cache *j)
{
    void *p = mmap(NULL, jump_bytes(js), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    j->entry = p;
    j->entry[0].pc = UINT64_MAX;
    return true;
}

struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context,
                                 uint64_t epoch)
{
    struct jump_cache *j = &js->cache[view == RV_VIEW_U ? RV_VIEWS + context : view];
    if (!j->entry && !jump_cache_make(js, j))
        return NULL;
    if (j->epoch != epoch)
        jump_cache_clear(js, j);
    j->epoch = epoch;
    return j;
}

void jump_cache_put(const struct jump_caches *js, struct jump_cache *j, uint64_t pc,
                    const void *code)
{
    uint32_t i = (uint32_t)(pc / 2) % js->entries;
    if (j->puts < JUMP_NOTED)
        j->noted[j->puts] = (uint16_t)i;
    if (j->puts <= JUMP_NOTED)
        j->puts++;
    j->entry[i] = (struct jump_entry){.pc = pc, .code = code};
}
