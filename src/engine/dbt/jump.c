#include "engine/dbt/jump.h"

#include "base/bits.h"

#include <stdlib.h>

static void jump_cache_clear(const struct jump_caches *js, struct jump_cache *j)
{
    if (j->puts > JUMP_NOTED)
        memset(j->entry, 0, js->entries * sizeof *j->entry);
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
        free(js->cache[i].entry);
}

void jump_caches_clear(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        if (js->cache[i].entry)
            jump_cache_clear(js, &js->cache[i]);
}

struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context,
                                 uint64_t epoch)
{
    struct jump_cache *j = &js->cache[view == RV_VIEW_U ? RV_VIEWS + context : view];
    if (!j->entry) {
        j->entry = calloc(js->entries, sizeof *j->entry);
        if (!j->entry)
            return NULL;
        j->entry[0].pc = UINT64_MAX;
        j->puts = 0;
    } else if (j->epoch != epoch) {
        jump_cache_clear(js, j);
    }
    j->epoch = epoch;
    return j;
}

void jump_cache_put(const struct jump_caches *js, struct jump_cache *j, uint64_t pc,
                    const void *code)
{
    uint32_t i = (uint32_t)(pc / 2) & (js->entries - 1);
    if (j->puts < JUMP_NOTED)
        j->noted[j->puts] = (uint16_t)i;
    if (j->puts <= JUMP_NOTED)
        j->puts++;
    j->entry[i] = (struct jump_entry){.pc = pc, .code = code};
}
