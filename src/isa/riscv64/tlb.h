/*
 * What a hart remembers of address translation: TLBs for data and for fetches, and the address
 * spaces ("contexts") that have some of their own.
 *
 * The U and S_SUM views see user pages, so each context has TLBs of its own for them; a context is
 * found by the value of satp, and when all are taken the one that was current longest ago is
 * emptied. The S view's TLBs are shared by all contexts; when satp changes, what is not global (PTE
 * bit G) leaves them. The M view is not translated: fences do not concern it.
 *
 * A guest that changes a page table without sfence.vma can observe what a TLB holds; so TLBs are
 * saved with the rest of the hart's state. What is saved are the arrays `page` and `gpa`; the rest
 * is derived (rv_tlb_relink, rv_fetch_relink).
 *
 * Cost: entering and dropping a page is a few stores. Emptying takes time by what is there (`used`
 * has a bit for each entry), not by size.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define RV_TLB_SIZE 1024
#define RV_FETCH_SIZE 256
#define RV_CONTEXTS 8
#define RV_TLB_INVALID UINT64_MAX

/*
 * One translation, for data, as the fast paths see it. The tags hold the page's virtual address
 * when reads (writes) may use the entry and RV_TLB_INVALID otherwise. An aligned access of `size`
 * bytes hits if (va & (~0xfff | (size - 1))) == tag; its host address is then va + addend. Only RAM
 * is entered.
 */
struct rv_tlb_entry {
    uint64_t rtag, wtag;
    uint64_t addend;
    uint64_t unused;
};

/* Low bits of rv_tlb.page: which tags are set; of rv_tlb.gpa and rv_fetch_tlb.gpa: the rest. */
#define RV_TLB_READ UINT64_C(1)
#define RV_TLB_WRITE UINT64_C(2)
#define RV_TLB_GLOBAL UINT64_C(1)
#define RV_TLB_SHIFT(log2_size) ((uint64_t)(log2_size) << 1)

/* Superpages (anything above 4 KiB) with an entry lie within [lo, hi]. */
struct rv_tlb_large {
    uint64_t lo, hi;
};

struct rv_tlb {
    struct rv_tlb_entry entry[RV_TLB_SIZE];
    uint64_t page[RV_TLB_SIZE]; /* va | RV_TLB_READ | RV_TLB_WRITE; RV_TLB_INVALID */
    uint64_t gpa[RV_TLB_SIZE];  /* | RV_TLB_GLOBAL | RV_TLB_SHIFT(of the page-table entry) */
    uint64_t used[RV_TLB_SIZE / 64];
    struct rv_tlb_large large;
    uint64_t locals; /* not 0: entries that are not global may be there */
};

/* One translation for instruction fetch; `code` is the engine's, NULL when it has to look again. */
struct rv_fetch_entry {
    uint64_t tag;
    void *code;
};

/*
 * `epoch` is what an engine that remembers where code is (jump caches, links between pages) has to
 * watch: it changes when a translation that was entered since the last change may have been
 * dropped, also if the entry had been replaced by then. It is unique among all fetch TLBs of the
 * hart and all times; so the epoch of rv_hart.fetch alone says whether what is remembered is good.
 * A page whose code nobody fetched since can be fenced without a change.
 */
#define RV_FETCH_SEEN 1024
struct rv_fetch_tlb {
    struct rv_fetch_entry entry[RV_FETCH_SIZE];
    uint64_t page[RV_FETCH_SIZE]; /* va; RV_TLB_INVALID */
    uint64_t gpa[RV_FETCH_SIZE];  /* as in rv_tlb */
    uint64_t used[RV_FETCH_SIZE / 64];
    struct rv_tlb_large large;
    uint64_t locals;
    uint64_t epoch;
    uint64_t seen[RV_FETCH_SEEN / 64]; /* pages entered in this epoch, hashed */
    uint64_t seen_lo, seen_hi;         /* they lie in [lo, hi]: a kernel's are not a program's */
};

/* An address space that was current not long ago. */
struct rv_context {
    uint64_t satp;
    uint64_t last_used; /* 0: free */
    uint64_t window;    /* for generated code in U-mode, instead of `user`; 0: none; the engine's */
    struct rv_tlb user, user_by_s;
    struct rv_fetch_tlb fetch;
};

extern const struct state_table rv_tlb_state, rv_fetch_state, rv_context_state;

struct rv_hart;

static inline unsigned rv_tlb_index(uint64_t va)
{
    return (unsigned)(va >> 12) % RV_TLB_SIZE;
}

static inline unsigned rv_fetch_index(uint64_t va)
{
    return (unsigned)(va >> 12) % RV_FETCH_SIZE;
}

/* Everything becomes empty and unselected; for power-on. */
void rv_tlbs_init(struct rv_hart *h);

/*
 * Enters a page. page: its va | RV_TLB_READ | RV_TLB_WRITE; gpa: with RV_TLB_GLOBAL and
 * RV_TLB_SHIFT; host: its bytes.
 */
void rv_tlb_enter(struct rv_tlb *t, uint64_t page, uint64_t gpa, const void *host);
/* Likewise for fetches: page is its va. Returns the entry, without code. */
struct rv_fetch_entry *rv_fetch_enter(struct rv_fetch_tlb *t, uint64_t page, uint64_t gpa);
/* The epoch is to change with what the page leads to, as if it had been entered, which it is not.
 */
void rv_fetch_note(struct rv_fetch_tlb *t, uint64_t page, uint64_t gpa);

/* To be called after satp has changed: finds or makes the context, makes it current. */
void rv_context_select(struct rv_hart *h);
/* The same after loading saved state: without an effect if the state had that context. */
void rv_context_loaded(struct rv_hart *h);

/* Drops everything of all views: what translations are made from other than tables has changed. */
void rv_tlb_flush(struct rv_hart *h);
/*
 * sfence.vma (10.2.1). With `one_page` only what concerns the page (or superpage) that holds va;
 * with `one_space` only what is not global and belongs to the address space `asid`.
 */
struct rv_fence {
    bool one_page, one_space;
    uint64_t va;
    uint64_t asid; /* only the bits that satp has count */
};
void rv_tlb_fence(struct rv_hart *h, const struct rv_fence *f);

/* The engine's pointers in all fetch TLBs become NULL. */
void rv_fetch_forget(struct rv_hart *h);

/* All fetch TLBs get new epochs: after saved state was loaded. */
void rv_fetch_new_epochs(struct rv_hart *h);

/* Runs fn over all data TLBs until it fails. For what has to be rebuilt after loading. */
int rv_tlbs_each(struct rv_hart *h, int (*fn)(void *ctx, struct rv_tlb *t), void *ctx);
int rv_fetches_each(struct rv_hart *h, int (*fn)(void *ctx, struct rv_fetch_tlb *t), void *ctx);
/*
 * Rebuilds what saved state lacks. host gives the bytes of a guest-physical page, NULL if it is not
 * RAM (for fetches: not memory). False: impossible contents.
 */
typedef const void *(*rv_tlb_host_fn)(void *ctx, uint64_t gpa);
bool rv_tlb_relink(struct rv_tlb *t, rv_tlb_host_fn host, void *ctx);
bool rv_fetch_relink(struct rv_fetch_tlb *t, rv_tlb_host_fn host, void *ctx);
