#include "engine/interp/code.h"

#include "base/bits.h"
#include "base/populate.h"
#include "host/guarded.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BUCKETS 32768
#define FEW 100                /* pages that small programs need at most */
#define OFTEN UINT64_C(200000) /* instructions, to open a page again */
#define LONG 8                 /* times open_max: so many pages opened again are no burst */

_Static_assert(CODE_MAX_SLOTS % CODE_FEW_SLOTS == 0, "doubled until there are as many");

/* One page's. */
struct code_slots {
    struct code_slot slot[CODE_SLOTS + 2];
};

struct code_cache {
    struct code_page *pages; /* `max` of them, mapped; resident as they are used */
    uint32_t max, used;
    size_t ready, slots_ready; /* bytes of pages and of slots, see populate.h */
    uint32_t free;             /* index + 1 of the first page that was dropped, a chain */
    /* A shared one's page has the slots with its index. */
    struct code_slots *slots; /* `max` of them or CODE_MAX_SLOTS, mapped */
    struct code_page **owner; /* of slots: the page */
    uint32_t open_max;        /* at most so many pages have slots now */
    uint32_t opened, oldest;  /* as many have; the one that loses its own next */
    uint32_t again;           /* pages that lost theirs and were opened again, */
    uint64_t again_since;     /* since this count of instructions */
    bool shared, full;
    pthread_mutex_t lock;      /* of a shared one */
    uint32_t buckets[BUCKETS]; /* index + 1 of the first page of the chain */
    uint16_t crossing, page_end;
    uint64_t made;
    void (*changed)(void *ctx, struct code_page *p);
    void *changed_ctx;
};

void code_cache_lock(struct code_cache *c)
{
    if (c->shared)
        pthread_mutex_lock(&c->lock);
}

void code_cache_unlock(struct code_cache *c)
{
    if (c->shared)
        pthread_mutex_unlock(&c->lock);
}

static uint32_t code_max_slots(const struct code_cache *c)
{
    return c->shared ? c->max : CODE_MAX_SLOTS;
}

/* Bytes for FEW pages, up to where there can be huge pages. */
static size_t code_few(const void *p, size_t size)
{
    return align_up((uintptr_t)p + FEW * size, HUGE_PAGE) - (uintptr_t)p;
}

/* NULL: out of memory. Most of a large program's pages become resident one by one otherwise. */
static void *code_map(const struct code_cache *c, size_t count, size_t size)
{
    void *p = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (c->shared)
        madvise((uint8_t *)p + code_few(p, size), count * size - code_few(p, size), MADV_HUGEPAGE);
    return p;
}

struct code_cache *code_cache_new(uint16_t crossing, uint16_t page_end, bool shared)
{
    struct code_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->shared = shared;
    c->max = shared ? CODE_MAX_SHARED : CODE_MAX_PAGES;
    pthread_mutex_init(&c->lock, NULL);
    c->open_max = CODE_FEW_SLOTS;
    c->pages = code_map(c, c->max, sizeof *c->pages);
    c->slots = code_map(c, code_max_slots(c), sizeof *c->slots);
    c->owner = shared ? NULL : calloc(CODE_MAX_SLOTS, sizeof *c->owner);
    if (!c->pages || !c->slots || (!shared && !c->owner)) {
        code_cache_free(c);
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
    if (c->pages)
        munmap(c->pages, c->max * sizeof *c->pages);
    if (c->slots)
        munmap(c->slots, code_max_slots(c) * sizeof *c->slots);
    free(c->owner);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The memory of a process may be gone: another thread unmaps it. False then. */
static bool code_page_read(const struct code_cache *c, uint8_t *to, const uint8_t *bytes)
{
    if (c->shared)
        return guarded_copy(to, bytes, RV_PAGE);
    memcpy(to, bytes, RV_PAGE);
    return true;
}

/* Slots that are 0, not decoded, become the page's, whose bytes are there. */
static void code_page_open(const struct code_cache *c, struct code_page *p,
                           struct code_slots *slots)
{
    p->slots = slots->slot;
    p->slots[CODE_SLOTS].handler = c->page_end;
    p->slots[CODE_SLOTS + 1].handler = c->page_end;
    if ((p->bytes[4094] & 3) == 3)
        p->slots[CODE_SLOTS - 1].handler = c->crossing;
    p->cross_handler = 0;
}

/* Nothing of the page has run. */
static void code_page_begin(struct code_page *p)
{
    memset(p->run, 0, sizeof p->run);
    p->origin = 0;
    p->noticed = false;
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

/*
 * To open a page again costs as much as some 10,000 instructions. A kernel's start does that 4,000
 * times in all, in bursts. Where it is often for long, more pages may be open.
 */
static void code_cache_reopen(struct code_cache *c, uint64_t icount)
{
    if (++c->again < LONG * c->open_max)
        return;
    if (icount - c->again_since < c->again * OFTEN && c->open_max < CODE_MAX_SLOTS)
        c->open_max *= 2;
    c->again = 0;
    c->again_since = icount;
}

void code_cache_open(struct code_cache *c, struct code_page *p, uint64_t icount)
{
    if (p->opened)
        code_cache_reopen(c, icount);
    uint32_t n = c->opened;
    if (n < c->open_max) {
        c->opened++;
    } else {
        n = c->oldest;
        c->oldest = (n + 1) % c->open_max;
        c->owner[n]->slots = NULL;
        memset(&c->slots[n], 0, sizeof c->slots[n]);
    }
    c->owner[n] = p;
    p->opened = true;
    code_page_open(c, p, &c->slots[n]);
}

void code_cache_reset(struct code_cache *c)
{
    if (c->changed)
        c->changed(c->changed_ctx, NULL);
    memset(c->buckets, 0, sizeof c->buckets);
    /* Zero again, and the host's. */
    madvise(c->pages, c->used * sizeof *c->pages, MADV_DONTNEED);
    madvise(c->slots, (c->shared ? c->used : c->opened) * sizeof *c->slots, MADV_DONTNEED);
    c->used = c->free = c->opened = c->oldest = 0;
    c->ready = c->slots_ready = 0;
    c->full = false;
}

bool code_cache_full(struct code_cache *c)
{
    return c->full;
}

struct code_page *code_cache_find(const struct code_cache *c, gpa_t gpa)
{
    for (uint32_t i = c->buckets[(gpa >> 12) % BUCKETS]; i; i = c->pages[i - 1].chain)
        if (c->pages[i - 1].gpa == gpa)
            return &c->pages[i - 1];
    return NULL;
}

/* Other bytes in place of those that the page was decoded from. */
static void code_page_renew(struct code_cache *c, struct code_page *p, const uint8_t *bytes)
{
    code_page_void(c, p);
    memcpy(p->bytes, bytes, sizeof p->bytes);
    code_page_begin(p);
    if (p->slots) {
        struct code_slots *slots = (void *)p->slots;
        memset(slots, 0, sizeof *slots);
        code_page_open(c, p, slots);
    }
    c->made++;
}

/* A page that is nobody's, all zero but for bytes; NULL: there is none. */
static struct code_page *code_page_take(struct code_cache *c)
{
    if (c->free) {
        struct code_page *p = &c->pages[c->free - 1];
        c->free = p->chain;
        return p;
    }
    if (c->used == c->max)
        return NULL;
    c->used++;
    populate((uint8_t *)c->pages, c->max * sizeof *c->pages, &c->ready, c->used * sizeof *c->pages);
    return &c->pages[c->used - 1];
}

static struct code_page *code_cache_add(struct code_cache *c, gpa_t gpa, const uint8_t *bytes,
                                        uint64_t epoch, bool *restarted)
{
    uint32_t *bucket = &c->buckets[(gpa >> 12) % BUCKETS];
    struct code_page *p = code_page_take(c);
    if (!p && c->shared) {
        c->full = true;
        return NULL;
    }
    if (!p) {
        code_cache_reset(c);
        *restarted = true;
        p = code_page_take(c);
    }
    if (!code_page_read(c, p->bytes, bytes)) {
        p->gpa = UINT64_MAX;
        p->chain = c->free;
        c->free = (uint32_t)(p - c->pages) + 1;
        return NULL;
    }
    code_page_begin(p);
    if (c->shared) {
        size_t index = (size_t)(p - c->pages);
        populate((uint8_t *)c->slots, code_few(c->slots, sizeof *c->slots), &c->slots_ready,
                 (index + 1) * sizeof *c->slots);
        code_page_open(c, p, &c->slots[index]);
    }
    p->gpa = gpa;
    p->epoch = epoch;
    p->chain = *bucket;
    *bucket = (uint32_t)(p - c->pages) + 1;
    c->made++;
    return p;
}

struct code_page *code_cache_get(struct code_cache *c, gpa_t gpa, const uint8_t *bytes,
                                 uint64_t epoch, bool *restarted)
{
    *restarted = false;
    code_cache_lock(c);
    struct code_page *p = code_cache_find(c, gpa);
    if (!p) {
        p = code_cache_add(c, gpa, bytes, epoch, restarted);
    } else if (!c->shared) {
        if (p->epoch != epoch && memcmp(p->bytes, bytes, sizeof p->bytes))
            code_page_renew(c, p, bytes);
        p->epoch = epoch;
    }
    code_cache_unlock(c);
    return p;
}

static void code_cache_drop(struct code_cache *c, struct code_page *p)
{
    uint32_t index = (uint32_t)(p - c->pages) + 1;
    uint32_t *at = &c->buckets[(p->gpa >> 12) % BUCKETS];
    while (*at != index)
        at = &c->pages[*at - 1].chain;
    *at = p->chain;
    code_page_void(c, p);
    memset(&c->slots[index - 1], 0, sizeof *c->slots);
    memset(p, 0, sizeof *p);
    p->gpa = UINT64_MAX;
    p->chain = c->free;
    c->free = index;
    c->made++;
}

/* The next page in [*at, end), NULL: no more. *at: where to go on. */
static struct code_page *code_cache_next(struct code_cache *c, gpa_t start, gpa_t end, uint64_t *at)
{
    /* A few pages are looked up, many are looked through. */
    uint64_t pages = ((end - start) >> 12) + 2;
    bool look_up = pages < c->used;
    for (uint64_t last = look_up ? pages : c->used; *at < last;) {
        uint64_t i = (*at)++;
        struct code_page *p =
            look_up ? code_cache_find(c, align_down(start, 4096) + (i << 12)) : &c->pages[i];
        if (p && p->gpa != UINT64_MAX && p->gpa + 4096 > start && p->gpa < end)
            return p;
    }
    return NULL;
}

bool code_cache_has(struct code_cache *c, gpa_t start, gpa_t end)
{
    uint64_t at = 0;
    code_cache_lock(c);
    bool has = code_cache_next(c, start, end, &at) != NULL;
    code_cache_unlock(c);
    return has;
}

bool code_cache_check(struct code_cache *c, gpa_t start, gpa_t end,
                      const uint8_t *(*bytes)(void *ctx, gpa_t page), void *ctx)
{
    struct code_page *p;
    uint64_t at = 0, made = c->made;
    uint8_t copy[RV_PAGE];
    while ((p = code_cache_next(c, start, end, &at)) != NULL) {
        const uint8_t *now = bytes(ctx, p->gpa);
        if (!now || !code_page_read(c, copy, now))
            code_cache_drop(c, p);
        else if (memcmp(p->bytes, copy, sizeof copy))
            code_page_renew(c, p, copy);
    }
    return c->made != made;
}

uint64_t code_cache_made(const struct code_cache *c)
{
    return c->made;
}
