#include "isa/riscv64/tlb.h"

#include "base/bits.h"
#include "base/state.h"
#include "isa/riscv64/hart.h"

#define FLAGS (RV_PAGE - 1)
#define GPA_FLAGS (RV_TLB_GLOBAL | RV_TLB_SHIFT(63))

/* ---- declared state ---- */

static const struct state_field large_fields[] = {
    STATE_FIELD(struct rv_tlb_large, lo),
    STATE_FIELD(struct rv_tlb_large, hi),
    STATE_END,
};

static const struct state_table large_state = {
    .name = "large",
    .version = 1,
    .size = sizeof(struct rv_tlb_large),
    .fields = large_fields,
};

/* What is derived may be anything until rv_tlb_relink; so that nothing is overlooked: */
static int tlb_post_load(void *obj, struct error *err)
{
    struct rv_tlb *t = obj;
    (void)err;
    memset(t->used, 0xff, sizeof t->used);
    t->locals = 1;
    return 0;
}

static int fetch_post_load(void *obj, struct error *err)
{
    struct rv_fetch_tlb *t = obj;
    (void)err;
    memset(t->used, 0xff, sizeof t->used);
    memset(t->seen, 0xff, sizeof t->seen);
    t->seen_lo = 0;
    t->seen_hi = UINT64_MAX;
    t->locals = 1;
    return 0;
}

static const struct state_field tlb_fields[] = {
    STATE_ARRAY(struct rv_tlb, page),
    STATE_ARRAY(struct rv_tlb, gpa),
    STATE_STRUCT(struct rv_tlb, large, &large_state),
    STATE_END,
};

const struct state_table rv_tlb_state = {
    .name = "tlb",
    .version = 2,
    .size = sizeof(struct rv_tlb),
    .fields = tlb_fields,
    .post_load = tlb_post_load,
};

static const struct state_field fetch_fields[] = {
    STATE_ARRAY(struct rv_fetch_tlb, page),
    STATE_ARRAY(struct rv_fetch_tlb, gpa),
    STATE_STRUCT(struct rv_fetch_tlb, large, &large_state),
    STATE_END,
};

const struct state_table rv_fetch_state = {
    .name = "fetch",
    .version = 2,
    .size = sizeof(struct rv_fetch_tlb),
    .fields = fetch_fields,
    .post_load = fetch_post_load,
};

static const struct state_field context_fields[] = {
    STATE_FIELD(struct rv_context, satp),
    STATE_FIELD(struct rv_context, last_used),
    STATE_STRUCT(struct rv_context, user, &rv_tlb_state),
    STATE_STRUCT(struct rv_context, user_by_s, &rv_tlb_state),
    STATE_STRUCT(struct rv_context, fetch, &rv_fetch_state),
    STATE_END,
};

const struct state_table rv_context_state = {
    .name = "context",
    .version = 1,
    .size = sizeof(struct rv_context),
    .fields = context_fields,
};

/* ---- what both kinds have in common ---- */

static void bit_set(uint64_t *map, unsigned i)
{
    map[i / 64] |= UINT64_C(1) << i % 64;
}

static bool large_may_hold(const struct rv_tlb_large *l, uint64_t va)
{
    return va >= l->lo && va <= l->hi;
}

static void large_note(struct rv_tlb_large *l, uint64_t va, uint64_t gpa)
{
    uint64_t size = UINT64_C(1) << (gpa & GPA_FLAGS) / 2, lo = align_down(va, size);
    if (size <= RV_PAGE)
        return;
    if (lo < l->lo)
        l->lo = lo;
    if (lo + (size - 1) > l->hi)
        l->hi = lo + (size - 1);
}

/* Whether the fence concerns an entry; of the address space it is known already. */
static bool fence_hits(const struct rv_fence *f, uint64_t page, uint64_t gpa)
{
    uint64_t size = UINT64_C(1) << (gpa & GPA_FLAGS) / 2;
    return !(f->one_space && (gpa & RV_TLB_GLOBAL)) &&
           !(f->one_page && align_down(page ^ f->va, size));
}

/* ---- data ---- */

static void tlb_init(struct rv_tlb *t)
{
    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < RV_TLB_SIZE; i++)
        t->entry[i].rtag = t->entry[i].wtag = t->page[i] = RV_TLB_INVALID;
    t->large = (struct rv_tlb_large){UINT64_MAX, 0};
}

void rv_tlb_enter(struct rv_tlb *t, uint64_t page, uint64_t gpa, const void *host)
{
    uint64_t va = page & ~FLAGS;
    unsigned i = rv_tlb_index(va);
    t->entry[i] = (struct rv_tlb_entry){
        .rtag = page & RV_TLB_READ ? va : RV_TLB_INVALID,
        .wtag = page & RV_TLB_WRITE ? va : RV_TLB_INVALID,
        .addend = (uint64_t)(uintptr_t)host - va,
    };
    t->page[i] = page;
    t->gpa[i] = gpa;
    bit_set(t->used, i);
    large_note(&t->large, va, gpa);
    if (!(gpa & RV_TLB_GLOBAL))
        t->locals = 1;
}

static void tlb_drop(struct rv_tlb *t, unsigned i)
{
    t->entry[i] = (struct rv_tlb_entry){.rtag = RV_TLB_INVALID, .wtag = RV_TLB_INVALID};
    t->page[i] = RV_TLB_INVALID;
    t->gpa[i] = 0;
    t->used[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static void tlb_fence_all(struct rv_tlb *t, const struct rv_fence *f)
{
    for (unsigned w = 0; w < ARRAY_SIZE(t->used); w++)
        for (uint64_t bits = t->used[w]; bits; bits &= bits - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (fence_hits(f, t->page[i], t->gpa[i]))
                tlb_drop(t, i);
        }
    if (!f->one_page)
        t->locals = 0;
    if (!f->one_page && !f->one_space)
        t->large = (struct rv_tlb_large){UINT64_MAX, 0};
}

static void tlb_fence(struct rv_tlb *t, const struct rv_fence *f)
{
    unsigned i = rv_tlb_index(f->va);
    if (f->one_space && !t->locals)
        return;
    if (!f->one_page || large_may_hold(&t->large, f->va))
        tlb_fence_all(t, f);
    else if (t->page[i] != RV_TLB_INVALID && fence_hits(f, t->page[i], t->gpa[i]))
        tlb_drop(t, i);
}

bool rv_tlb_relink(struct rv_tlb *t, rv_tlb_host_fn host, void *ctx)
{
    memset(t->used, 0, sizeof t->used);
    t->locals = 0;
    for (unsigned i = 0; i < RV_TLB_SIZE; i++) {
        uint64_t page = t->page[i], gpa = t->gpa[i];
        t->entry[i] = (struct rv_tlb_entry){.rtag = RV_TLB_INVALID, .wtag = RV_TLB_INVALID};
        if (page == RV_TLB_INVALID)
            continue;
        const void *bytes = host(ctx, gpa & ~FLAGS);
        if (!bytes || rv_tlb_index(page) != i || (page & FLAGS & ~(RV_TLB_READ | RV_TLB_WRITE)) ||
            (gpa & FLAGS & ~GPA_FLAGS))
            return false;
        rv_tlb_enter(t, page, gpa, bytes);
    }
    return true;
}

/* ---- fetches ---- */

static void fetch_init(struct rv_fetch_tlb *t)
{
    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        t->entry[i].tag = t->page[i] = RV_TLB_INVALID;
    t->large = (struct rv_tlb_large){UINT64_MAX, 0};
    t->seen_lo = UINT64_MAX;
}

/* The host's multiplier spreads neighbours over the map. */
static unsigned fetch_hash(uint64_t va)
{
    return (unsigned)((va >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % RV_FETCH_SEEN;
}

static void fetch_note_seen(struct rv_fetch_tlb *t, uint64_t page)
{
    bit_set(t->seen, fetch_hash(page));
    if (page < t->seen_lo)
        t->seen_lo = page;
    if (page > t->seen_hi)
        t->seen_hi = page;
}

void rv_fetch_note(struct rv_fetch_tlb *t, uint64_t page, uint64_t gpa)
{
    fetch_note_seen(t, page);
    large_note(&t->large, page, gpa);
    if (!(gpa & RV_TLB_GLOBAL))
        t->locals = 1;
}

struct rv_fetch_entry *rv_fetch_enter(struct rv_fetch_tlb *t, uint64_t page, uint64_t gpa)
{
    unsigned i = rv_fetch_index(page);
    t->entry[i] = (struct rv_fetch_entry){.tag = page};
    t->page[i] = page;
    t->gpa[i] = gpa;
    bit_set(t->used, i);
    rv_fetch_note(t, page, gpa);
    return &t->entry[i];
}

static void fetch_drop(struct rv_fetch_tlb *t, unsigned i)
{
    t->entry[i] = (struct rv_fetch_entry){.tag = RV_TLB_INVALID};
    t->page[i] = RV_TLB_INVALID;
    t->gpa[i] = 0;
    t->used[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static bool fetch_seen_any(const struct rv_fetch_tlb *t)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(t->seen); i++)
        any |= t->seen[i];
    return any;
}

/* Whether the fence may concern a page that was entered in this epoch. */
static bool fetch_seen(const struct rv_fetch_tlb *t, const struct rv_fence *f)
{
    unsigned bit = fetch_hash(f->va);
    uint64_t page = align_down(f->va, RV_PAGE);
    if (!f->one_page)
        return fetch_seen_any(t);
    return (page >= t->seen_lo && page <= t->seen_hi && t->seen[bit / 64] >> bit % 64 & 1) ||
           large_may_hold(&t->large, f->va);
}

/* What stays may still be remembered by the engine, which forgets it: it enters it again. */
static void fetch_new_epoch(struct rv_hart *h, struct rv_fetch_tlb *t)
{
    t->epoch = ++h->tlb_epoch;
    memset(t->seen, 0, sizeof t->seen);
    t->seen_lo = UINT64_MAX;
    t->seen_hi = 0;
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        if (t->page[i] != RV_TLB_INVALID)
            fetch_note_seen(t, t->page[i]);
}

static void fetch_fence(struct rv_hart *h, struct rv_fetch_tlb *t, const struct rv_fence *f)
{
    if ((f->one_space && !t->locals) || !fetch_seen(t, f))
        return;
    for (unsigned w = 0; w < ARRAY_SIZE(t->used); w++)
        for (uint64_t bits = t->used[w]; bits; bits &= bits - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (fence_hits(f, t->page[i], t->gpa[i]))
                fetch_drop(t, i);
        }
    if (!f->one_page)
        t->locals = 0;
    if (!f->one_page && !f->one_space)
        t->large = (struct rv_tlb_large){UINT64_MAX, 0};
    fetch_new_epoch(h, t);
}

bool rv_fetch_relink(struct rv_fetch_tlb *t, rv_tlb_host_fn host, void *ctx)
{
    memset(t->used, 0, sizeof t->used);
    t->locals = 0;
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++) {
        uint64_t page = t->page[i], gpa = t->gpa[i];
        t->entry[i] = (struct rv_fetch_entry){.tag = RV_TLB_INVALID};
        if (page == RV_TLB_INVALID)
            continue;
        if (!host(ctx, gpa & ~FLAGS) || rv_fetch_index(page) != i || (page & FLAGS) ||
            (gpa & FLAGS & ~GPA_FLAGS))
            return false;
        rv_fetch_enter(t, page, gpa);
    }
    return true;
}

/* ---- contexts ---- */

/* The views of a machine, and all contexts: a process has neither data TLBs nor other contexts. */
static void machine_tlbs_init(struct rv_hart *h)
{
    tlb_init(&h->tlb_s);
    tlb_init(&h->tlb_m);
    fetch_init(&h->fetch_s);
    fetch_init(&h->fetch_m);
    static const struct rv_fence all = {0};
    for (unsigned i = 0; i < RV_CONTEXTS; i++) {
        struct rv_context *c = &h->contexts[i];
        if (c->window && h->fenced)
            h->fenced(h, i, &all);
        c->satp = c->last_used = c->window = 0;
        tlb_init(&c->user);
        tlb_init(&c->user_by_s);
        fetch_init(&c->fetch);
    }
}

void rv_tlbs_init(struct rv_hart *h)
{
    if (h->process)
        fetch_init(&h->contexts[0].fetch);
    else
        machine_tlbs_init(h);
    rv_fetch_new_epochs(h);
    h->context = 0;
    h->contexts[0].satp = h->satp;
    h->contexts[0].last_used = ++h->context_clock;
}

static void context_fence(struct rv_hart *h, struct rv_context *c, const struct rv_fence *f)
{
    tlb_fence(&c->user, f);
    tlb_fence(&c->user_by_s, f);
    fetch_fence(h, &c->fetch, f);
    if (c->window && h->fenced)
        h->fenced(h, (unsigned)(c - h->contexts), f);
}

static unsigned context_find(const struct rv_hart *h)
{
    for (unsigned i = 0; i < RV_CONTEXTS; i++)
        if (h->contexts[i].last_used && h->contexts[i].satp == h->satp)
            return i;
    return RV_CONTEXTS;
}

static unsigned context_make(struct rv_hart *h)
{
    static const struct rv_fence all = {0};
    unsigned oldest = 0;
    for (unsigned i = 1; i < RV_CONTEXTS; i++)
        if (h->contexts[i].last_used < h->contexts[oldest].last_used)
            oldest = i;
    context_fence(h, &h->contexts[oldest], &all);
    h->contexts[oldest].satp = h->satp;
    h->contexts[oldest].window = 0;
    return oldest;
}

void rv_context_select(struct rv_hart *h)
{
    static const struct rv_fence locals = {.one_space = true};
    unsigned i = context_find(h);
    h->reserve_key = RV_TLB_INVALID;
    if (i == RV_CONTEXTS)
        i = context_make(h);
    h->contexts[i].last_used = ++h->context_clock;
    h->context = (uint8_t)i;
    tlb_fence(&h->tlb_s, &locals);
    fetch_fence(h, &h->fetch_s, &locals);
    rv_hart_view_changed(h);
}

void rv_context_loaded(struct rv_hart *h)
{
    unsigned i = context_find(h);
    if (i == RV_CONTEXTS)
        rv_context_select(h);
    else
        h->context = (uint8_t)i;
}

void rv_tlb_flush(struct rv_hart *h)
{
    static const struct rv_fence all = {0};
    tlb_fence(&h->tlb_m, &all);
    fetch_fence(h, &h->fetch_m, &all);
    h->tlb_epoch++;
    rv_tlb_fence(h, &all);
}

static bool other_space(uint64_t satp, const struct rv_fence *f)
{
    uint64_t differs = satp >> RV_SATP_ASID_SHIFT ^ f->asid;
    return f->one_space && bits_get(differs, 0, RV_SATP_ASID_BITS);
}

void rv_tlb_fence(struct rv_hart *h, const struct rv_fence *f)
{
    h->reserve_key = RV_TLB_INVALID;
    for (unsigned i = 0; i < RV_CONTEXTS; i++) {
        struct rv_context *c = &h->contexts[i];
        if (c->last_used && !other_space(c->satp, f))
            context_fence(h, c, f);
    }
    /* The S view holds what is global, and what belongs to the current space. */
    if (other_space(h->satp, f))
        return;
    tlb_fence(&h->tlb_s, f);
    fetch_fence(h, &h->fetch_s, f);
}

int rv_tlbs_each(struct rv_hart *h, int (*fn)(void *ctx, struct rv_tlb *t), void *ctx)
{
    int rc = fn(ctx, &h->tlb_s);
    if (!rc)
        rc = fn(ctx, &h->tlb_m);
    for (unsigned i = 0; i < RV_CONTEXTS && !rc; i++) {
        rc = fn(ctx, &h->contexts[i].user);
        if (!rc)
            rc = fn(ctx, &h->contexts[i].user_by_s);
    }
    return rc;
}

int rv_fetches_each(struct rv_hart *h, int (*fn)(void *ctx, struct rv_fetch_tlb *t), void *ctx)
{
    int rc = fn(ctx, &h->fetch_s);
    if (!rc)
        rc = fn(ctx, &h->fetch_m);
    for (unsigned i = 0; i < RV_CONTEXTS && !rc; i++)
        rc = fn(ctx, &h->contexts[i].fetch);
    return rc;
}

static int fetch_forget(void *ctx, struct rv_fetch_tlb *t)
{
    (void)ctx;
    for (unsigned w = 0; w < ARRAY_SIZE(t->used); w++)
        for (uint64_t bits = t->used[w]; bits; bits &= bits - 1)
            t->entry[w * 64 + (unsigned)__builtin_ctzll(bits)].code = NULL;
    return 0;
}

void rv_fetch_new_epochs(struct rv_hart *h)
{
    if (h->process) { /* has no other */
        fetch_new_epoch(h, &h->contexts[0].fetch);
        return;
    }
    fetch_new_epoch(h, &h->fetch_s);
    fetch_new_epoch(h, &h->fetch_m);
    for (unsigned i = 0; i < RV_CONTEXTS; i++)
        fetch_new_epoch(h, &h->contexts[i].fetch);
}

void rv_fetch_forget(struct rv_hart *h)
{
    rv_fetches_each(h, fetch_forget, NULL);
}
