#include "engine/interp/code.h"

#include "base/bits.h"

#include <stdlib.h>
#include <sys/mman.h>

#define BUCKETS 1024

struct code_cache {
    struct code_page *pages; /* CODE_MAX_PAGES of them, mapped; resident as they are used */
    uint32_t used;
    uint32_t buckets[BUCKETS]; /* index + 1 of the first page of the chain */
    uint16_t crossing, page_end;
    uint64_t made;
    void (*changed)(void *ctx, struct code_page *p);
    void *changed_ctx;
};

struct code_cache *code_cache_new(uint16_t crossing, uint16_t page_end)
{
    struct code_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->pages = mmap(NULL, CODE_MAX_PAGES * sizeof *c->pages, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->pages == MAP_FAILED) {
        free(c);
        return NULL;
    }
    c->crossing = crossing;
    c->page_end = page_end;
    return c;
}

void code_cache_free(struct code_cache *c)
{
    if (!c)
        return;
    code_cache_reset(c);
    munmap(c->pages, CODE_MAX_PAGES * sizeof *c->pages);
    free(c);
}

/* The slots of p are 0: not decoded. */
static void code_page_fill(const struct code_cache *c, struct code_page *p, const uint8_t *bytes)
{
    memcpy(p->bytes, bytes, sizeof p->bytes);
    memset(p->run, 0, sizeof p->run);
    p->slots[CODE_SLOTS].handler = c->page_end;
    p->slots[CODE_SLOTS + 1].handler = c->page_end;
    if ((p->bytes[4094] & 3) == 3)
        p->slots[CODE_SLOTS - 1].handler = c->crossing;
    p->cross_handler = 0;
}

/* The page's native code is void. */
static void code_page_void(const struct code_cache *c, struct code_page *p)
{
    if (p->native_list)
        c->changed(c->changed_ctx, p);
    p->native_list = 0;
}

void code_cache_set_changed(struct code_cache *c, void (*changed)(void *ctx, struct code_page *p),
                            void *ctx)
{
    c->changed = changed;
    c->changed_ctx = ctx;
}

void code_cache_reset(struct code_cache *c)
{
    if (c->changed)
        c->changed(c->changed_ctx, NULL);
    memset(c->buckets, 0, sizeof c->buckets);
    /* Zero again, and the host's. */
    madvise(c->pages, c->used * sizeof *c->pages, MADV_DONTNEED);
    c->used = 0;
}

struct code_page *code_cache_find(const struct code_cache *c, gpa_t gpa)
{
    for (uint32_t i = c->buckets[(gpa >> 12) % BUCKETS]; i; i = c->pages[i - 1].chain)
        if (c->pages[i - 1].gpa == gpa)
            return &c->pages[i - 1];
    return NULL;
}

struct code_page *code_cache_get(struct code_cache *c, gpa_t gpa, const uint8_t *bytes,
                                 uint64_t epoch, bool *restarted)
{
    uint32_t *bucket = &c->buckets[(gpa >> 12) % BUCKETS];
    *restarted = false;
    struct code_page *p = code_cache_find(c, gpa);
    if (p) {
        if (p->epoch != epoch && memcmp(p->bytes, bytes, sizeof p->bytes)) {
            code_page_void(c, p);
            memset(p->slots, 0, sizeof p->slots);
            code_page_fill(c, p, bytes);
            c->made++;
        }
        p->epoch = epoch;
        return p;
    }
    if (c->used == CODE_MAX_PAGES) {
        code_cache_reset(c);
        *restarted = true;
    }
    p = &c->pages[c->used++];
    code_page_fill(c, p, bytes);
    p->gpa = gpa;
    p->epoch = epoch;
    p->chain = *bucket;
    *bucket = c->used;
    c->made++;
    return p;
}

uint64_t code_cache_made(const struct code_cache *c)
{
    return c->made;
}
