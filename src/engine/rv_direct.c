#include "engine/rv_direct.h"

#include "base/bits.h"
#include "host/guarded.h"

static void *host(uint64_t va)
{
    return (void *)(uintptr_t)va;
}

static bool refuse(struct rv_fault *fault, enum rv_cause cause, uint64_t va)
{
    *fault = (struct rv_fault){cause, va};
    return false;
}

uint64_t rv_direct_refused(uint64_t va, unsigned size, enum rv_access access)
{
    uint64_t value, second = align_down(va + size - 1, RV_PAGE);
    if (second <= va)
        return va;
    bool first =
        access == RV_READ ? guarded_load(host(va), 1, &value) : guarded_writable(host(second - 4));
    return first ? second : va;
}

bool rv_direct_load(uint64_t va, unsigned size, uint64_t *value, struct rv_fault *fault)
{
    return guarded_load(host(va), size, value) ||
           refuse(fault, RV_CAUSE_LOAD_PAGE, rv_direct_refused(va, size, RV_READ));
}

bool rv_direct_store(uint64_t va, unsigned size, uint64_t value, struct rv_fault *fault)
{
    return guarded_store(host(va), size, value) ||
           refuse(fault, RV_CAUSE_STORE_PAGE, rv_direct_refused(va, size, RV_WRITE));
}

void *rv_direct_atomic(uint64_t va, unsigned size, enum rv_access access, struct rv_fault *fault)
{
    uint64_t value;
    bool there = access == RV_READ ? guarded_load(host(va), size, &value)
                                   : guarded_writable(host(align_down(va, 4)));
    if (there)
        return host(va);
    refuse(fault, access == RV_READ ? RV_CAUSE_LOAD_PAGE : RV_CAUSE_STORE_PAGE, va);
    return NULL;
}

bool rv_direct_cas(uint64_t va, unsigned size, uint64_t *expected, uint64_t desired,
                   struct rv_fault *fault)
{
    if (size == 4)
        *expected = (uint32_t)*expected;
    return guarded_cas(host(va), size, expected, desired) || refuse(fault, RV_CAUSE_STORE_PAGE, va);
}

bool rv_direct_amo(uint64_t va, unsigned size, rv_mem_operation operation, uint64_t operand,
                   uint64_t *result, struct rv_fault *fault)
{
    uint64_t old, seen;
    if (!guarded_load(host(va), size, &seen))
        return refuse(fault, RV_CAUSE_STORE_PAGE, va);
    do {
        uint64_t word = old = seen;
        *result = operation(&word, operand);
        if (!rv_direct_cas(va, size, &seen, word, fault))
            return false;
    } while (seen != old);
    return true;
}

bool rv_direct_zero(uint64_t va, uint64_t size, struct rv_fault *fault)
{
    return guarded_clear(host(va), size) || refuse(fault, RV_CAUSE_STORE_PAGE, va);
}

const uint8_t *rv_direct_page(uint64_t page)
{
    uint64_t first;
    return guarded_load(host(page), 8, &first) ? host(page) : NULL;
}

const uint8_t *rv_direct_fetch(struct vcpu *v, uint64_t va, struct rv_fault *fault)
{
    const struct rv_hart *h = v->arch;
    const uint8_t *page = NULL;
    if (h->env.executable(v, va))
        page = rv_direct_page(align_down(va, RV_PAGE));
    if (!page)
        refuse(fault, RV_CAUSE_FETCH_PAGE, va);
    return page;
}
