#include "engine/dbt/window.h"

#include "base/bits.h"
#include "engine/dbt/backend.h"
#include "isa/riscv64/mmu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WINDOW_SIZE (UINT64_C(1) << WINDOW_BITS)
#define WINDOW_RANGE (WINDOW_SIZE + 2 * BACK_WINDOW_GUARD)
#define MAP_BYTES (WINDOW_SIZE / RV_PAGE / 8)
#define AROUND 16u                /* pages that are looked at round a fault */
#define LARGE (UINT64_C(2) << 20) /* the most that is mapped at once */
#define GIVE_UP 4u                /* times that it was full */
#define REPEATS 4u                /* of one fault before it is left to the slow path */

/*
 * The account of a window, in guest instructions: what an instruction saves on the average against
 * what a signal and a mapping cost. A context opens a window when it has earned the price, and
 * loses it when it has spent all: then the price is higher the next time. Who is often between
 * regions has much code, of which each piece would be compiled once more for the window, and earns
 * nothing.
 */
#define COST_FAULT 10000
#define COST_MAPPING 5000
#define COST_ENTRY 20000
#define CREDIT 16 /* prices that can be saved up */
#define MAX_PRICE (INT64_C(1) << 40)

struct window {
    uint8_t *range;         /* reserved, NULL: not yet; guest address 0 is behind the guard */
    uint64_t *mapped;       /* a bit for each page */
    uint32_t mappings;      /* made since it was empty */
    uint32_t full;          /* times */
    int64_t balance, price; /* in instructions, of the space `satp` */
    uint64_t satp;
    uint64_t large_lo, large_hi; /* superpages with a mapping lie within */
};

struct windows {
    struct vcpu *v;
    struct window window[RV_CONTEXTS];
    int64_t price; /* the first; 0: everyone has one at once, and keeps it */
    uintptr_t last;
    unsigned repeats;
    struct window_stats stats;
};

/* See window.h for why this is the process's. */
static _Atomic uint32_t window_mappings;

static uint8_t *window_host(const struct window *w, uint64_t va)
{
    return w->range + BACK_WINDOW_GUARD + va;
}

static bool is_mapped(const struct window *w, uint64_t va)
{
    uint64_t page = va / RV_PAGE;
    return w->mapped[page / 64] >> page % 64 & 1;
}

static void *reserve(void *at, uint64_t size)
{
    int fixed = at ? MAP_FIXED : 0;
    void *p = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* ---- dropping ---- */

/* Nothing may stay that the guest has fenced: a host that cannot unmap leaves no other way. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

static void window_empty(struct windows *ws, struct window *w)
{
    if (!w->range || !w->mappings)
        return;
    must(reserve(w->range, WINDOW_RANGE));
    must(!madvise(w->mapped, MAP_BYTES, MADV_DONTNEED));
    atomic_fetch_sub_explicit(&window_mappings, w->mappings, memory_order_relaxed);
    w->mappings = 0;
    w->large_lo = UINT64_MAX;
    w->large_hi = 0;
    ws->stats.emptied++;
}

static void window_count(struct window *w)
{
    w->mappings++;
    atomic_fetch_add_explicit(&window_mappings, 1, memory_order_relaxed);
}

/* Unmapping a page can need a mapping more; when there is none left, all of the window goes. */
static void window_drop(struct windows *ws, struct window *w, uint64_t va)
{
    uint64_t page = va / RV_PAGE;
    if (!is_mapped(w, va))
        return;
    if (!reserve(window_host(w, page * RV_PAGE), RV_PAGE)) {
        window_empty(ws, w);
        return;
    }
    w->mapped[page / 64] &= ~(UINT64_C(1) << page % 64);
    window_count(w);
    w->balance -= COST_MAPPING;
    ws->stats.dropped++;
}

static void windows_fenced(struct rv_hart *h, unsigned context, const struct rv_fence *f)
{
    struct windows *ws = h->fenced_ctx;
    struct window *w = &ws->window[context];
    ws->last = 0;
    if (!w->mappings)
        return;
    if (!f->one_page || (f->va >= w->large_lo && f->va <= w->large_hi))
        window_empty(ws, w);
    else if (f->va < WINDOW_SIZE)
        window_drop(ws, w, f->va);
}

/* ---- mapping ---- */

struct run {
    uint64_t va, gpa, size;
    uint8_t perms;
};

static bool window_map_run(struct windows *ws, struct window *w, const struct run *r)
{
    int fd;
    uint64_t offset;
    if (!r->size || !addrspace_ram_file(ws->v->mem, r->gpa, r->size, &fd, &offset))
        return false;
    int prot = PROT_READ | (r->perms & RV_WRITE ? PROT_WRITE : 0);
    if (mmap(window_host(w, r->va), r->size, prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
             (off_t)offset) == MAP_FAILED)
        return false;
    for (uint64_t page = r->va / RV_PAGE; page < (r->va + r->size) / RV_PAGE; page++)
        w->mapped[page / 64] |= UINT64_C(1) << page % 64;
    window_count(w);
    w->balance -= COST_MAPPING;
    ws->stats.mappings++;
    return true;
}

/* What a user may do with the page; false: it is not to be mapped. */
static bool page_look(const struct windows *ws, uint64_t va, struct run *r, uint64_t *page_size)
{
    struct rv_translation t;
    if (!rv_translate_quiet(ws->v->arch, RV_VIEW_U, va, &t) || !(t.perms & RV_READ) ||
        !addrspace_ram(ws->v->mem, align_down(t.gpa, RV_PAGE), RV_PAGE))
        return false;
    *r = (struct run){.va = va,
                      .gpa = align_down(t.gpa, RV_PAGE),
                      .size = RV_PAGE,
                      .perms = t.perms & (RV_READ | RV_WRITE)};
    *page_size = t.page_size;
    return true;
}

/* Pages round va whose physical pages follow each other become one mapping. */
static bool window_map_around(struct windows *ws, struct window *w, uint64_t va)
{
    uint64_t first = align_down(va, AROUND * RV_PAGE), page_size;
    struct run run = {0}, next;
    bool done = false;
    for (unsigned i = 0; i < AROUND; i++) {
        uint64_t at = first + i * RV_PAGE;
        if ((at != va && is_mapped(w, at)) || !page_look(ws, at, &next, &page_size))
            continue;
        if (run.size && run.va + run.size == at && run.gpa + run.size == next.gpa &&
            run.perms == next.perms) {
            run.size += RV_PAGE;
            continue;
        }
        done |= window_map_run(ws, w, &run) && va - run.va < run.size;
        run = next;
    }
    return (window_map_run(ws, w, &run) && va - run.va < run.size) || done;
}

/* Up to 2 MiB of a superpage at once, if PMP does not divide them. */
static bool window_map_large(struct windows *ws, struct window *w, struct run r, uint64_t page_size)
{
    uint64_t size = page_size < LARGE ? page_size : LARGE, inner = r.va & (size - 1);
    struct run all = {.va = r.va - inner, .gpa = r.gpa - inner, .size = size, .perms = r.perms};
    uint64_t lo = align_down(r.va, page_size);
    if (lo < w->large_lo)
        w->large_lo = lo;
    if (lo + (page_size - 1) > w->large_hi)
        w->large_hi = lo + (page_size - 1);
    return (rv_pmp_same(ws->v->arch, all.gpa, size) && window_map_run(ws, w, &all)) ||
           window_map_run(ws, w, &r);
}

static void window_make_room(struct windows *ws, struct window *w)
{
    if (atomic_load_explicit(&window_mappings, memory_order_relaxed) + AROUND <= WINDOW_MAPPINGS)
        return;
    window_empty(ws, w);
    w->full++;
}

static bool window_map(struct windows *ws, struct window *w, uint64_t va, bool write)
{
    struct rv_hart *h = ws->v->arch;
    struct rv_translation t;
    enum rv_cause cause;
    struct run r;
    uint64_t page_size;
    if (ws->v->debug.watchpoint_count ||
        !rv_translate(h, RV_VIEW_U, va, 1, write ? RV_WRITE : RV_READ, &t, &cause) ||
        !page_look(ws, align_down(va, RV_PAGE), &r, &page_size) ||
        !(r.perms & (write ? RV_WRITE : RV_READ)))
        return false;
    window_make_room(ws, w);
    if (page_size > RV_PAGE)
        return window_map_large(ws, w, r, page_size);
    return window_map_around(ws, w, align_down(va, RV_PAGE));
}

bool window_fault(struct windows *ws, uintptr_t address, bool write)
{
    const struct rv_hart *h = ws->v->arch;
    struct window *w = &ws->window[h->context];
    uint64_t va = address - (uintptr_t)window_host(w, 0);
    ws->stats.faults++;
    w->balance -= COST_FAULT;
    if (!w->range || !h->contexts[h->context].window || va >= WINDOW_SIZE)
        return false;
    /* What is mapped and still refused, for whatever reason, must not go round for ever. */
    ws->repeats = address == ws->last ? ws->repeats + 1 : 0;
    ws->last = address;
    return ws->repeats < REPEATS && window_map(ws, w, va, write);
}

/* ---- who has one ---- */

void windows_earn(struct windows *ws, uint64_t insns)
{
    const struct rv_hart *h = ws->v->arch;
    struct window *w = &ws->window[h->context];
    if (w->satp != h->satp) {
        w->satp = h->satp;
        w->price = ws->price;
        w->balance = 0;
    }
    w->balance += (int64_t)insns;
    if (!h->contexts[h->context].window)
        w->balance = w->balance > COST_ENTRY ? w->balance - COST_ENTRY : 0;
    if (w->balance > CREDIT * w->price)
        w->balance = CREDIT * w->price;
}

static bool window_reserve(struct window *w)
{
    if (w->range)
        return true;
    void *mapped = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return false;
    w->range = reserve(NULL, WINDOW_RANGE);
    if (!w->range) {
        munmap(mapped, MAP_BYTES);
        return false;
    }
    w->mapped = mapped;
    return true;
}

static void window_open(struct windows *ws, struct window *w)
{
    struct rv_hart *h = ws->v->arch;
    if (!window_reserve(w)) {
        w->balance = 0;
        return;
    }
    w->full = 0;
    w->large_lo = UINT64_MAX;
    w->large_hi = 0;
    h->contexts[h->context].window = (uint64_t)(uintptr_t)window_host(w, 0);
    rv_hart_view_changed(h);
}

static void window_close(struct windows *ws, struct window *w)
{
    struct rv_hart *h = ws->v->arch;
    window_empty(ws, w);
    h->contexts[h->context].window = 0;
    rv_hart_view_changed(h);
    w->balance = 0;
    if (w->price < MAX_PRICE)
        w->price *= 4;
}

void windows_settle(struct windows *ws)
{
    const struct rv_hart *h = ws->v->arch;
    struct window *w = &ws->window[h->context];
    if (h->contexts[h->context].window) {
        if (ws->price && (w->balance < 0 || w->full >= GIVE_UP))
            window_close(ws, w);
        return;
    }
    if (h->view == RV_VIEW_U && h->satp >> 60 == RV_SATP_SV39 &&
        (!ws->price || (w->satp == h->satp && w->balance >= w->price)))
        window_open(ws, w);
}

/* ---- life ---- */

void windows_clear(struct windows *ws)
{
    for (unsigned i = 0; i < RV_CONTEXTS; i++)
        window_empty(ws, &ws->window[i]);
}

struct windows *windows_new(struct vcpu *v, uint32_t price)
{
    struct rv_hart *h = v->arch;
    struct windows *ws = calloc(1, sizeof *ws);
    if (!ws)
        return NULL;
    ws->v = v;
    ws->price = price;
    h->fenced = windows_fenced;
    h->fenced_ctx = ws;
    return ws;
}

void windows_free(struct windows *ws)
{
    if (!ws)
        return;
    struct rv_hart *h = ws->v->arch;
    for (unsigned i = 0; i < RV_CONTEXTS; i++) {
        struct window *w = &ws->window[i];
        h->contexts[i].window = 0;
        if (!w->range)
            continue;
        window_empty(ws, w);
        munmap(w->range, WINDOW_RANGE);
        munmap(w->mapped, MAP_BYTES);
    }
    h->fenced = NULL;
    rv_hart_view_changed(h);
    free(ws);
}

const struct window_stats *windows_stats(const struct windows *ws)
{
    return &ws->stats;
}
