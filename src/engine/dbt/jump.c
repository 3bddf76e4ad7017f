#include "engine/dbt/jump.h"

#include "base/bits.h"

#include <stdlib.h>

#define JUMP_BYTES (JUMP_CACHE * sizeof(struct jump_entry))

static void jump_cache_clear(struct jump_cache *j)
{
    if (j->puts > JUMP_NOTED)
        memset(j->entry, 0xff, JUMP_BYTES);
    else
        for (uint32_t i = 0; i < j->puts; i++)
            j->entry[j->noted[i]].pc = UINT64_MAX;
    j->puts = 0;
}

void jump_caches_init(struct jump_caches *js)
{
    *js = (struct jump_caches){0};
}

void jump_caches_fini(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        free(js->cache[i].entry);
}

void jump_caches_clear(struct jump_caches *js)
{
    for (unsigned i = 0; i < ARRAY_SIZE(js->cache); i++)
        jump_cache_clear(&js->cache[i]);
}

struct jump_cache *jump_cache_at(struct jump_caches *js, unsigned view, unsigned context,
                                 uint64_t epoch)
{
    struct jump_cache *j = &js->cache[view == RV_VIEW_U ? RV_VIEWS + context : view];
    if (!j->entry) {
        j->entry = malloc(JUMP_BYTES);
        if (!j->entry)
            return NULL;
        memset(j->entry, 0xff, JUMP_BYTES);
        j->puts = 0;
    } else if (j->epoch != epoch) {
        jump_cache_clear(j);
    }
    j->epoch = epoch;
    return j;
}

void jump_cache_put(struct jump_cache *j, uint64_t pc, const void *code)
{
    unsigned i = pc / 2 % JUMP_CACHE;
    if (j->puts < JUMP_NOTED)
        j->noted[j->puts] = (uint16_t)i;
    if (j->puts <= JUMP_NOTED)
        j->puts++;
    j->entry[i] = (struct jump_entry){.pc = pc, .code = code};
}
