#include "isa/riscv64/mmu.h"

#include "base/bits.h"

/* Page-table entry (10.3.1, 10.4.1). */
#define PTE_V (UINT64_C(1) << 0)
#define PTE_R (UINT64_C(1) << 1)
#define PTE_W (UINT64_C(1) << 2)
#define PTE_X (UINT64_C(1) << 3)
#define PTE_U (UINT64_C(1) << 4)
#define PTE_G (UINT64_C(1) << 5)
#define PTE_A (UINT64_C(1) << 6)
#define PTE_D (UINT64_C(1) << 7)
#define PTE_RESERVED (UINT64_C(0x7f) << 54)
#define PTE_PBMT_SHIFT 61
#define PTE_N (UINT64_C(1) << 63)

#define NAPOT_BITS 4 /* the one size that Svnapot defines: 64 KiB */

static unsigned satp_levels(uint64_t satp)
{
    switch (satp >> 60) {
    case RV_SATP_SV39:
        return 3;
    case RV_SATP_SV48:
        return 4;
    case RV_SATP_SV57:
        return 5;
    default:
        return 0;
    }
}

/* ---- physical memory protection ---- */

enum { PMP_OFF, PMP_TOR, PMP_NA4, PMP_NAPOT };

#define PMP_A(cfg) ((cfg) >> 3 & 3)
#define PMP_LOCK 0x80

/* The range of entry i as [*lo, *hi); false when it is off. */
static bool pmp_range(const struct rv_hart *h, unsigned i, uint64_t *lo, uint64_t *hi)
{
    uint64_t addr = h->pmpaddr[i];
    switch (PMP_A(h->pmpcfg[i])) {
    case PMP_TOR:
        *lo = i ? h->pmpaddr[i - 1] << 2 : 0;
        *hi = addr << 2;
        return *lo < *hi;
    case PMP_NA4:
        *lo = addr << 2;
        *hi = *lo + 4;
        return true;
    case PMP_NAPOT: {
        uint64_t ones = addr ^ (addr + 1); /* the trailing ones and the zero above them */
        *lo = (addr & ~ones) << 2;
        *hi = *lo + ((ones + 1) << 2);
        return true;
    }
    default:
        return false;
    }
}

void rv_pmp_changed(struct rv_hart *h)
{
    h->pmp_used = 0;
    for (unsigned i = 0; i < RV_PMP_COUNT; i++)
        if (PMP_A(h->pmpcfg[i]) != PMP_OFF)
            h->pmp_used = (uint8_t)(i + 1);
}

/*
 * What a privilege may do with [gpa, gpa + size): the first entry that touches the range decides,
 * and must contain all of it. *partial tells that the answer holds for parts of the range only.
 */
static uint8_t pmp_perms(const struct rv_hart *h, enum rv_priv priv, uint64_t gpa, uint64_t size,
                         bool *partial)
{
    const uint8_t all = RV_READ | RV_WRITE | RV_EXEC;
    for (unsigned i = 0; i < h->pmp_used; i++) {
        uint64_t lo, hi;
        if (!pmp_range(h, i, &lo, &hi) || gpa >= hi || gpa + size <= lo)
            continue;
        if (gpa < lo || gpa + size > hi) {
            *partial = true;
            return 0;
        }
        uint8_t cfg = h->pmpcfg[i];
        return priv == RV_PRIV_M && !(cfg & PMP_LOCK) ? all : cfg & all;
    }
    return priv == RV_PRIV_M ? all : 0;
}

bool rv_pmp_same(const struct rv_hart *h, uint64_t gpa, uint64_t size)
{
    bool partial = false;
    pmp_perms(h, RV_PRIV_M, gpa, size, &partial);
    return !partial;
}

bool rv_pmp_allows(const struct rv_hart *h, enum rv_priv priv, uint64_t gpa, unsigned size,
                   enum rv_access access)
{
    bool partial = false;
    return (pmp_perms(h, priv, gpa, size, &partial) & access) == access;
}

/* ---- page tables ---- */

static enum rv_cause page_fault(enum rv_access access)
{
    return access == RV_EXEC   ? RV_CAUSE_FETCH_PAGE
           : access == RV_READ ? RV_CAUSE_LOAD_PAGE
                               : RV_CAUSE_STORE_PAGE;
}

static enum rv_cause access_fault(enum rv_access access)
{
    return access == RV_EXEC   ? RV_CAUSE_FETCH_ACCESS
           : access == RV_READ ? RV_CAUSE_LOAD_ACCESS
                               : RV_CAUSE_STORE_ACCESS;
}

static enum rv_priv view_priv(enum rv_view view)
{
    return view == RV_VIEW_U ? RV_PRIV_U : view == RV_VIEW_M ? RV_PRIV_M : RV_PRIV_S;
}

/* What a leaf lets this view do, apart from A and D. */
static uint8_t leaf_perms(const struct rv_hart *h, enum rv_view view, uint64_t pte)
{
    uint8_t perms = 0;
    if (pte & PTE_R)
        perms |= RV_READ;
    if (pte & PTE_W)
        perms |= RV_WRITE;
    if (pte & PTE_X)
        perms |= RV_EXEC | (h->mstatus & RV_MSTATUS_MXR ? RV_READ : 0);
    if (view == RV_VIEW_U)
        return pte & PTE_U ? perms : 0;
    if (!(pte & PTE_U))
        return perms;
    return view == RV_VIEW_S_SUM ? perms & (uint8_t)~RV_EXEC : 0;
}

static bool pte_is_leaf(uint64_t pte)
{
    return pte & (PTE_R | PTE_X);
}

/* Bits that must not be set, or combinations that are reserved. */
static bool pte_is_malformed(const struct rv_hart *h, uint64_t pte, unsigned level)
{
    unsigned pbmt = (unsigned)bits_get(pte, PTE_PBMT_SHIFT, 2);
    if (!(pte & PTE_V) || ((pte & PTE_W) && !(pte & PTE_R)) || (pte & PTE_RESERVED))
        return true;
    if (pbmt && (pbmt == 3 || !(h->menvcfg & RV_ENVCFG_PBMTE)))
        return true;
    uint64_t ppn = bits_get(pte, 10, 44);
    if (!pte_is_leaf(pte))
        return (pte & (PTE_N | PTE_A | PTE_D | PTE_U)) || pbmt || !level;
    if (pte & PTE_N)
        return level || bits_get(ppn, 0, NAPOT_BITS) != 1u << (NAPOT_BITS - 1);
    return level && bits_get(ppn, 0, 9 * level);
}

struct walk {
    uint64_t pte, pte_gpa, gpa, page_size;
    bool global; /* said by the leaf or by any entry on the way */
};

enum walk_result { WALK_OK, WALK_PAGE_FAULT, WALK_ACCESS_FAULT };

/* Finds the leaf for va (10.3.2, steps 1 to 5). */
static enum walk_result walk_tables(const struct rv_hart *h, uint64_t va, struct walk *w)
{
    unsigned levels = satp_levels(h->satp);
    if (bits_sext(va, 12 + 9 * levels) != va)
        return WALK_PAGE_FAULT;
    uint64_t table = bits_get(h->satp, 0, 44) * RV_PAGE;
    w->global = false;
    for (unsigned level = levels; level-- > 0;) {
        w->pte_gpa = table + 8 * bits_get(va, 12 + 9 * level, 9);
        if (!rv_pmp_allows(h, RV_PRIV_S, w->pte_gpa, 8, RV_READ) ||
            !h->env.pte_read(h->env.ctx, w->pte_gpa, &w->pte))
            return WALK_ACCESS_FAULT;
        if (pte_is_malformed(h, w->pte, level))
            return WALK_PAGE_FAULT;
        w->global |= w->pte & PTE_G;
        uint64_t base = bits_get(w->pte, 10, 44) * RV_PAGE;
        if (!pte_is_leaf(w->pte)) {
            table = base;
            continue;
        }
        w->page_size = RV_PAGE << (9 * level);
        if (w->pte & PTE_N) {
            w->page_size = RV_PAGE << NAPOT_BITS;
            base = align_down(base, w->page_size);
        }
        w->gpa = base | (va & (w->page_size - 1));
        return WALK_OK;
    }
    return WALK_PAGE_FAULT;
}

/* Sets A, and D for a write (10.3.2 step 7, Svadu). WALK_OK with *again: the entry changed. */
static enum walk_result walk_set_ad(struct rv_hart *h, struct walk *w, enum rv_access access,
                                    bool *again)
{
    uint64_t want = w->pte | PTE_A | (access == RV_WRITE ? PTE_D : 0);
    if (want == w->pte)
        return WALK_OK;
    if (!(h->menvcfg & RV_ENVCFG_ADUE))
        return WALK_PAGE_FAULT;
    if (!rv_pmp_allows(h, RV_PRIV_S, w->pte_gpa, 8, RV_WRITE))
        return WALK_ACCESS_FAULT;
    bool bus_error = false;
    if (h->env.pte_swap(h->env.ctx, w->pte_gpa, w->pte, want, &bus_error)) {
        w->pte = want;
        return WALK_OK;
    }
    *again = true;
    return bus_error ? WALK_ACCESS_FAULT : WALK_OK;
}

static enum walk_result walk(struct rv_hart *h, enum rv_view view, uint64_t va,
                             enum rv_access access, struct walk *w, uint8_t *perms)
{
    for (;;) {
        enum walk_result r = walk_tables(h, va, w);
        if (r != WALK_OK)
            return r;
        *perms = leaf_perms(h, view, w->pte);
        if (!(*perms & access))
            return WALK_PAGE_FAULT;
        bool again = false;
        r = walk_set_ad(h, w, access, &again);
        if (r != WALK_OK)
            return r;
        if (again)
            continue;
        if (!(w->pte & PTE_D))
            *perms &= (uint8_t)~RV_WRITE;
        return WALK_OK;
    }
}

bool rv_translate(struct rv_hart *h, enum rv_view view, uint64_t va, unsigned size,
                  enum rv_access access, struct rv_translation *out, enum rv_cause *cause)
{
    struct walk w = {.gpa = va, .page_size = RV_PAGE};
    uint8_t perms = RV_READ | RV_WRITE | RV_EXEC;
    if (view != RV_VIEW_M && satp_levels(h->satp)) {
        enum walk_result r = walk(h, view, va, access, &w, &perms);
        if (r != WALK_OK) {
            *cause = r == WALK_PAGE_FAULT ? page_fault(access) : access_fault(access);
            return false;
        }
    }
    enum rv_priv priv = view_priv(view);
    bool partial = false;
    uint8_t pmp = pmp_perms(h, priv, w.gpa & ~(RV_PAGE - 1), RV_PAGE, &partial);
    if (!(pmp & access) && !(partial && rv_pmp_allows(h, priv, w.gpa, size, access))) {
        *cause = access_fault(access);
        return false;
    }
    out->gpa = w.gpa;
    out->page_size = w.page_size;
    out->global = w.global;
    out->perms = partial ? 0 : perms & pmp;
    return true;
}

bool rv_translate_quiet(const struct rv_hart *h, enum rv_view view, uint64_t va,
                        struct rv_translation *out)
{
    struct walk w = {.gpa = va, .page_size = RV_PAGE};
    uint8_t perms = RV_READ | RV_WRITE | RV_EXEC;
    if (view != RV_VIEW_M && satp_levels(h->satp)) {
        if (walk_tables(h, va, &w) != WALK_OK || !(w.pte & PTE_A))
            return false;
        perms = leaf_perms(h, view, w.pte);
        if (!(w.pte & PTE_D))
            perms &= (uint8_t)~RV_WRITE;
    }
    enum rv_priv priv = view_priv(view);
    bool partial = false;
    perms &= pmp_perms(h, priv, align_down(w.gpa, RV_PAGE), RV_PAGE, &partial);
    *out = (struct rv_translation){w.gpa, w.page_size, w.global, partial ? 0 : perms};
    return out->perms;
}

bool rv_translate_debug(const struct rv_hart *h, uint64_t va, uint64_t *gpa)
{
    struct walk w = {.gpa = va};
    bool bare = h->priv == RV_PRIV_M || !satp_levels(h->satp);
    if (!bare && walk_tables(h, va, &w) != WALK_OK)
        return false;
    *gpa = w.gpa;
    return true;
}
