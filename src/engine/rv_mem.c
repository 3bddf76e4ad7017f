#include "engine/rv_mem.h"

#include "base/bits.h"
#include "engine/rv_direct.h"

#include <errno.h>

static struct rv_hart *hart_of(struct vcpu *v)
{
    return v->arch;
}

/* ---- page walks ---- */

static bool env_pte_read(void *ctx, uint64_t gpa, uint64_t *pte)
{
    const struct vcpu *v = ctx;
    const uint64_t *p = addrspace_readable(v->mem, gpa, 8);
    if (p)
        *pte = __atomic_load_n(p, __ATOMIC_ACQUIRE);
    return p;
}

static bool env_pte_swap(void *ctx, uint64_t gpa, uint64_t old, uint64_t new, bool *bus_error)
{
    const struct vcpu *v = ctx;
    uint64_t *p = addrspace_ram(v->mem, gpa, 8);
    *bus_error = !p;
    return p &&
           __atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void rv_mem_connect(struct rv_hart *h, struct vcpu *v)
{
    h->env.pte_read = env_pte_read;
    h->env.pte_swap = env_pte_swap;
    h->env.ctx = v;
    h->irq_lines = &v->irq_lines;
}

/* ---- translation ---- */

/* The ranges may reach to the end of the address space. */
static bool watch_overlaps(const struct vcpu_watch *w, uint64_t va, uint64_t size)
{
    return w->addr >= va ? w->addr - va < size : va - w->addr < w->len;
}

static bool watched_page(const struct vcpu *v, uint64_t page)
{
    for (unsigned i = 0; i < v->debug.watchpoint_count; i++) {
        if (watch_overlaps(&v->debug.watchpoints[i], page, RV_PAGE))
            return true;
    }
    return false;
}

static void watch_check(struct vcpu *v, uint64_t va, unsigned size, unsigned kind)
{
    for (unsigned i = 0; i < v->debug.watchpoint_count; i++) {
        const struct vcpu_watch *w = &v->debug.watchpoints[i];
        if ((w->kind & kind) && watch_overlaps(w, va, size)) {
            v->debug.hit = *w;
            v->debug.hit_watch = true;
        }
    }
}

/* What the TLBs note with a guest-physical page. */
static uint64_t tlb_gpa(const struct rv_translation *t)
{
    return align_down(t->gpa, RV_PAGE) | (t->global ? RV_TLB_GLOBAL : 0) |
           RV_TLB_SHIFT(__builtin_ctzll(t->page_size));
}

/* Enters a page of RAM into the TLB of the hart's view, as far as perms reach. */
static void tlb_fill(struct vcpu *v, uint64_t va, const struct rv_translation *t)
{
    struct rv_hart *h = hart_of(v);
    uint64_t page = align_down(va, RV_PAGE);
    if (!(t->perms & (RV_READ | RV_WRITE)) || watched_page(v, page))
        return;
    char *host = addrspace_ram(v->mem, align_down(t->gpa, RV_PAGE), RV_PAGE);
    if (!host)
        return;
    addrspace_expect(v->mem, host, RV_PAGE);
    page |= (t->perms & RV_READ ? RV_TLB_READ : 0) | (t->perms & RV_WRITE ? RV_TLB_WRITE : 0);
    rv_tlb_enter(h->tlb, page, tlb_gpa(t), host);
}

/* Translates an access that does not cross a page and enters it. */
static bool translate(struct vcpu *v, uint64_t va, unsigned size, enum rv_access access,
                      struct rv_translation *t, struct rv_fault *fault)
{
    struct rv_hart *h = hart_of(v);
    if (!rv_translate(h, h->view, va, size, access, t, &fault->cause)) {
        fault->tval = va;
        return false;
    }
    tlb_fill(v, va, t);
    return true;
}

static bool fail(struct rv_fault *fault, enum rv_cause cause, uint64_t va)
{
    *fault = (struct rv_fault){cause, va};
    return false;
}

/* ---- loads and stores ---- */

static bool crosses_page(uint64_t va, unsigned size)
{
    return (va & (RV_PAGE - 1)) + size > RV_PAGE;
}

/* A misaligned access within one page: RAM takes it, devices do not. */
static bool load_in_page(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value,
                         struct rv_fault *fault)
{
    struct rv_translation t;
    if (!translate(v, va, size, RV_READ, &t, fault))
        return false;
    if (!(va & (size - 1)))
        return addrspace_read(v->mem, t.gpa, size, value) || fail(fault, RV_CAUSE_LOAD_ACCESS, va);
    const void *p = addrspace_readable(v->mem, t.gpa, size);
    if (!p)
        return fail(fault, RV_CAUSE_LOAD_ACCESS, va);
    *value = 0;
    memcpy(value, p, size);
    return true;
}

static bool store_in_page(struct vcpu *v, uint64_t va, unsigned size, uint64_t value,
                          struct rv_fault *fault)
{
    struct rv_translation t;
    if (!translate(v, va, size, RV_WRITE, &t, fault))
        return false;
    if (!(va & (size - 1)))
        return addrspace_write(v->mem, t.gpa, size, value) ||
               fail(fault, RV_CAUSE_STORE_ACCESS, va);
    void *p = addrspace_ram(v->mem, t.gpa, size);
    if (!p)
        return fail(fault, RV_CAUSE_STORE_ACCESS, va);
    memcpy(p, &value, size);
    return true;
}

/*
 * Host address for an access within a page that the TLB knows already: the inline look-up was not
 * tried, or missed only because the address is not aligned.
 */
static void *page_host(const struct rv_hart *h, uint64_t va, enum rv_access access)
{
    const struct rv_tlb_entry *e = &h->tlb->entry[rv_tlb_index(va)];
    uint64_t tag = access == RV_READ ? e->rtag : e->wtag;
    return tag == align_down(va, RV_PAGE) ? (void *)(uintptr_t)(va + e->addend) : NULL;
}

/* An access over the end of a page: both parts must be memory before anything is read or written.
 */
static bool load_across(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value,
                        struct rv_fault *fault)
{
    unsigned first = (unsigned)(RV_PAGE - (va & (RV_PAGE - 1)));
    struct rv_translation t;
    if (!translate(v, va, first, RV_READ, &t, fault))
        return false;
    const uint8_t *low = addrspace_readable(v->mem, t.gpa, first);
    if (!low)
        return fail(fault, RV_CAUSE_LOAD_ACCESS, va);
    if (!translate(v, va + first, size - first, RV_READ, &t, fault))
        return false;
    const uint8_t *high = addrspace_readable(v->mem, t.gpa, size - first);
    if (!high)
        return fail(fault, RV_CAUSE_LOAD_ACCESS, va + first);
    uint8_t bytes[8] = {0};
    memcpy(bytes, low, first);
    memcpy(bytes + first, high, size - first);
    *value = le64_get(bytes);
    return true;
}

static bool store_across(struct vcpu *v, uint64_t va, unsigned size, uint64_t value,
                         struct rv_fault *fault)
{
    unsigned first = (unsigned)(RV_PAGE - (va & (RV_PAGE - 1)));
    struct rv_translation t;
    if (!translate(v, va, first, RV_WRITE, &t, fault))
        return false;
    uint8_t *low = addrspace_ram(v->mem, t.gpa, first);
    if (!low)
        return fail(fault, RV_CAUSE_STORE_ACCESS, va);
    if (!translate(v, va + first, size - first, RV_WRITE, &t, fault))
        return false;
    uint8_t *high = addrspace_ram(v->mem, t.gpa, size - first);
    if (!high)
        return fail(fault, RV_CAUSE_STORE_ACCESS, va + first);
    uint8_t bytes[8];
    le64_put(bytes, value);
    memcpy(low, bytes, first);
    memcpy(high, bytes + first, size - first);
    return true;
}

bool rv_mem_load(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value,
                 struct rv_fault *fault)
{
    bool ok;
    if (hart_of(v)->process)
        return rv_direct_load(va, size, value, fault);
    if (!crosses_page(va, size)) {
        const void *host = page_host(hart_of(v), va, RV_READ);
        if (host) {
            *value = 0;
            memcpy(value, host, size);
            return true;
        }
        ok = load_in_page(v, va, size, value, fault);
    } else {
        ok = load_across(v, va, size, value, fault);
    }
    if (ok && unlikely(v->debug.watchpoint_count))
        watch_check(v, va, size, VCPU_WATCH_READ);
    return ok;
}

bool rv_mem_store(struct vcpu *v, uint64_t va, unsigned size, uint64_t value,
                  struct rv_fault *fault)
{
    bool ok;
    if (hart_of(v)->process)
        return rv_direct_store(va, size, value, fault);
    if (!crosses_page(va, size)) {
        void *host = page_host(hart_of(v), va, RV_WRITE);
        if (host) {
            memcpy(host, &value, size);
            return true;
        }
        ok = store_in_page(v, va, size, value, fault);
    } else {
        ok = store_across(v, va, size, value, fault);
    }
    if (ok && unlikely(v->debug.watchpoint_count))
        watch_check(v, va, size, VCPU_WATCH_WRITE);
    return ok;
}

/* ---- atomics and cache blocks ---- */

void *rv_mem_atomic(struct vcpu *v, uint64_t va, unsigned size, enum rv_access access,
                    struct rv_fault *fault)
{
    bool read = access == RV_READ;
    if (va & (size - 1)) {
        fail(fault, read ? RV_CAUSE_LOAD_MISALIGNED : RV_CAUSE_STORE_MISALIGNED, va);
        return NULL;
    }
    if (hart_of(v)->process)
        return rv_direct_atomic(va, size, access, fault);
    void *p = page_host(hart_of(v), va, access);
    if (p)
        return p;
    struct rv_translation t;
    if (!translate(v, va, size, access, &t, fault))
        return NULL;
    p = addrspace_ram(v->mem, t.gpa, size);
    if (!p)
        fail(fault, read ? RV_CAUSE_LOAD_ACCESS : RV_CAUSE_STORE_ACCESS, va);
    else if (unlikely(v->debug.watchpoint_count))
        watch_check(v, va, size, read ? VCPU_WATCH_READ : VCPU_WATCH_READ | VCPU_WATCH_WRITE);
    return p;
}

bool rv_mem_amo(struct vcpu *v, uint64_t va, unsigned size, rv_mem_operation operation,
                uint64_t operand, uint64_t *result, struct rv_fault *fault)
{
    if (hart_of(v)->process && !(va & (size - 1)))
        return rv_direct_amo(va, size, operation, operand, result, fault);
    void *p = rv_mem_atomic(v, va, size, RV_WRITE, fault);
    if (!p)
        return false;
    *result = operation(p, operand);
    return true;
}

/* p: of rv_mem_atomic. In a process the memory may be gone since. */
static bool cas_at(struct vcpu *v, void *p, uint64_t va, unsigned size, uint64_t *expected,
                   uint64_t desired, struct rv_fault *fault)
{
    if (hart_of(v)->process)
        return rv_direct_cas(va, size, expected, desired, fault);
    uint32_t low = (uint32_t)*expected;
    if (size == 8) {
        __atomic_compare_exchange_n((uint64_t *)p, expected, desired, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    } else {
        __atomic_compare_exchange_n((uint32_t *)p, &low, (uint32_t)desired, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        *expected = low;
    }
    return true;
}

bool rv_mem_cas(struct vcpu *v, uint64_t va, unsigned size, uint64_t *expected, uint64_t desired,
                struct rv_fault *fault)
{
    void *p = rv_mem_atomic(v, va, size, RV_WRITE, fault);
    return p && cas_at(v, p, va, size, expected, desired, fault);
}

bool rv_mem_lr(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value, struct rv_fault *fault)
{
    struct rv_hart *h = hart_of(v);
    uint64_t raw;
    void *p = rv_mem_atomic(v, va, size, RV_READ, fault);
    if (!p)
        return false;
    if (!h->process)
        raw = size == 8 ? __atomic_load_n((uint64_t *)p, __ATOMIC_SEQ_CST)
                        : __atomic_load_n((uint32_t *)p, __ATOMIC_SEQ_CST);
    else if (!rv_direct_load(va, size, &raw, fault))
        return false;
    h->reserve_value = size == 8 ? raw : bits_sext(raw, 32);
    h->reserve_key = rv_reserve_key(va, size);
    *value = h->reserve_value;
    return true;
}

bool rv_mem_sc(struct vcpu *v, uint64_t va, unsigned size, uint64_t value, bool *failed,
               struct rv_fault *fault)
{
    struct rv_hart *h = hart_of(v);
    void *p = rv_mem_atomic(v, va, size, RV_WRITE, fault);
    if (!p)
        return false;
    bool ok = h->reserve_key == rv_reserve_key(va, size);
    uint64_t old = size == 8 ? h->reserve_value : (uint32_t)h->reserve_value, seen = old;
    h->reserve_key = RV_TLB_INVALID;
    if (ok && !cas_at(v, p, va, size, &seen, value, fault))
        return false;
    *failed = !ok || seen != old;
    return true;
}

bool rv_mem_reserved(struct vcpu *v)
{
    const struct rv_hart *h = hart_of(v);
    uint64_t w = h->reserve_key ^ RV_RESERVE_W, d = h->reserve_key ^ RV_RESERVE_D;
    const void *p = page_host(h, w, RV_READ);
    if (p)
        return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED) == (uint32_t)h->reserve_value;
    p = page_host(h, d, RV_READ);
    return p && __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED) == h->reserve_value;
}

/* Any of load and store permission will do for management; the fault is a store's (Zicbom 2.5.2).
 */
static bool cbo_manage(struct vcpu *v, uint64_t va, struct rv_fault *fault)
{
    struct rv_translation t;
    uint64_t value;
    if (hart_of(v)->process
            ? rv_direct_load(va, 1, &value, fault)
            : translate(v, va, 1, RV_READ, &t, fault) || translate(v, va, 1, RV_WRITE, &t, fault))
        return true;
    if (fault->cause == RV_CAUSE_LOAD_PAGE)
        fault->cause = RV_CAUSE_STORE_PAGE;
    if (fault->cause == RV_CAUSE_LOAD_ACCESS)
        fault->cause = RV_CAUSE_STORE_ACCESS;
    return false;
}

bool rv_mem_cbo(struct vcpu *v, uint64_t va, enum rv_cbo kind, struct rv_fault *fault)
{
    if (kind != RV_CBO_ZERO)
        return cbo_manage(v, va, fault);
    uint64_t block = align_down(va, RV_CBO_BLOCK);
    if (hart_of(v)->process)
        return rv_direct_zero(block, RV_CBO_BLOCK, fault);
    void *p = page_host(hart_of(v), block, RV_WRITE);
    if (p) {
        memset(p, 0, RV_CBO_BLOCK);
        return true;
    }
    struct rv_translation t;
    if (!translate(v, block, RV_CBO_BLOCK, RV_WRITE, &t, fault)) {
        fault->tval = va;
        return false;
    }
    p = addrspace_ram(v->mem, t.gpa, RV_CBO_BLOCK);
    if (!p)
        return fail(fault, RV_CAUSE_STORE_ACCESS, va);
    memset(p, 0, RV_CBO_BLOCK);
    if (unlikely(v->debug.watchpoint_count))
        watch_check(v, block, RV_CBO_BLOCK, VCPU_WATCH_WRITE);
    return true;
}

/* ---- fetch ---- */

const uint8_t *rv_mem_page(struct vcpu *v, gpa_t page)
{
    return hart_of(v)->process ? rv_direct_page(page) : addrspace_readable(v->mem, page, RV_PAGE);
}

/* A process's page: virtual and physical addresses are the same. */
static const uint8_t *fetch_direct(struct vcpu *v, uint64_t va, gpa_t *gpa_page,
                                   struct rv_fault *fault)
{
    const uint8_t *bytes = rv_direct_fetch(v, va, fault);
    if (!bytes)
        return NULL;
    *gpa_page = align_down(va, RV_PAGE);
    rv_fetch_enter(hart_of(v)->fetch, *gpa_page, *gpa_page | RV_TLB_SHIFT(12));
    return bytes;
}

/* The page if the fetch TLB has it. */
static const uint8_t *fetch_from_tlb(struct vcpu *v, uint64_t va, gpa_t *gpa_page)
{
    const struct rv_fetch_tlb *t = hart_of(v)->fetch;
    unsigned i = rv_fetch_index(va);
    if (t->page[i] != align_down(va, RV_PAGE))
        return NULL;
    *gpa_page = align_down(t->gpa[i], RV_PAGE);
    return rv_mem_page(v, *gpa_page);
}

/* The page of a translation, which the fetch TLB gets. */
static const uint8_t *fetch_translated(struct vcpu *v, uint64_t va, const struct rv_translation *t,
                                       gpa_t *gpa_page)
{
    *gpa_page = align_down(t->gpa, RV_PAGE);
    const uint8_t *bytes = addrspace_readable(v->mem, *gpa_page, RV_PAGE);
    if (bytes && (t->perms & RV_EXEC))
        rv_fetch_enter(hart_of(v)->fetch, align_down(va, RV_PAGE), tlb_gpa(t));
    return bytes;
}

const uint8_t *rv_mem_fetch(struct vcpu *v, uint64_t va, gpa_t *gpa_page, struct rv_fault *fault)
{
    struct rv_hart *h = hart_of(v);
    struct rv_translation t;
    const uint8_t *bytes = fetch_from_tlb(v, va, gpa_page);
    if (bytes)
        return bytes;
    if (h->process)
        return fetch_direct(v, va, gpa_page, fault);
    fault->tval = va;
    if (!rv_translate(h, h->fetch_view, va, 2, RV_EXEC, &t, &fault->cause))
        return NULL;
    bytes = fetch_translated(v, va, &t, gpa_page);
    if (!bytes)
        fault->cause = RV_CAUSE_FETCH_ACCESS;
    return bytes;
}

const uint8_t *rv_mem_fetch_known(struct vcpu *v, uint64_t va, gpa_t *gpa_page)
{
    struct rv_hart *h = hart_of(v);
    struct rv_translation t;
    const uint8_t *bytes = fetch_from_tlb(v, va, gpa_page);
    if (bytes)
        return bytes;
    struct rv_fault fault;
    if (h->process)
        return fetch_direct(v, va, gpa_page, &fault);
    if (!rv_translate_quiet(h, (enum rv_view)h->fetch_view, va, &t) || !(t.perms & RV_EXEC))
        return NULL;
    return fetch_translated(v, va, &t, gpa_page);
}

bool rv_mem_fetch_leads(struct vcpu *v, uint64_t va, gpa_t gpa_page)
{
    const struct rv_hart *h = hart_of(v);
    struct rv_fetch_tlb *tlb = h->fetch;
    struct rv_translation t;
    unsigned i = rv_fetch_index(va);
    if (tlb->page[i] == va)
        return align_down(tlb->gpa[i], RV_PAGE) == gpa_page;
    if (!rv_translate_quiet(h, (enum rv_view)h->fetch_view, va, &t) || !(t.perms & RV_EXEC) ||
        align_down(t.gpa, RV_PAGE) != gpa_page)
        return false;
    rv_fetch_note(tlb, va, tlb_gpa(&t));
    return true;
}

/* ---- saved state ---- */

static const void *relink_ram(void *ctx, uint64_t gpa)
{
    return addrspace_ram(((const struct vcpu *)ctx)->mem, gpa, RV_PAGE);
}

static const void *relink_memory(void *ctx, uint64_t gpa)
{
    return addrspace_readable(((const struct vcpu *)ctx)->mem, gpa, RV_PAGE);
}

static int relink_tlb(void *ctx, struct rv_tlb *t)
{
    return rv_tlb_relink(t, relink_ram, ctx) ? 0 : -EINVAL;
}

static int relink_fetch(void *ctx, struct rv_fetch_tlb *t)
{
    return rv_fetch_relink(t, relink_memory, ctx) ? 0 : -EINVAL;
}

int rv_mem_relink(struct vcpu *v, struct error *err)
{
    struct rv_hart *h = hart_of(v);
    rv_fetch_new_epochs(h);
    if (rv_tlbs_each(h, relink_tlb, v) || rv_fetches_each(h, relink_fetch, v))
        return error_set(err, EINVAL, "saved hart %u has an impossible TLB entry", v->index);
    return 0;
}
