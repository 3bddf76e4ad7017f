/*
 * Guest memory as riscv64 instructions see it: virtual addresses, translated and checked, RAM or
 * device. This is the slow path that every engine shares: what the inline TLB look-up does not
 * serve ends here, and comes back served or as the exception to take.
 *
 * All functions belong to the vCPU's thread; the hart's icount must be current, because a device
 * may ask for the time.
 */
#pragma once

#include "core/vcpu.h"
#include "isa/riscv64/mmu.h"

/* The exception that an access ends in. */
struct rv_fault {
    enum rv_cause cause;
    uint64_t tval;
};

/* Connects the hart's page walks to the vCPU's memory (fills pte_read, pte_swap and ctx). */
void rv_mem_connect(struct rv_hart *h, struct vcpu *v);

/* Loads and stores of 1, 2, 4 or 8 bytes at any alignment. The value is zero-extended. */
bool rv_mem_load(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value,
                 struct rv_fault *fault);
bool rv_mem_store(struct vcpu *v, uint64_t va, unsigned size, uint64_t value,
                  struct rv_fault *fault);

/*
 * Host address of naturally aligned RAM for an atomic access of up to 16 bytes, NULL with *fault.
 * RV_READ is for lr, RV_WRITE for everything that may write.
 */
void *rv_mem_atomic(struct vcpu *v, uint64_t va, unsigned size, enum rv_access access,
                    struct rv_fault *fault);

/*
 * Read-modify-write of an aligned word of 4 or 8 bytes. `operation` works on host memory, which may
 * be a copy, and may be called again if the word has changed; *result is what it returns.
 */
typedef uint64_t (*rv_mem_operation)(void *mem, uint64_t operand);
bool rv_mem_amo(struct vcpu *v, uint64_t va, unsigned size, rv_mem_operation operation,
                uint64_t operand, uint64_t *result, struct rv_fault *fault);
/* Stores if the word is *expected, which becomes what was there, zero-extended. */
bool rv_mem_cas(struct vcpu *v, uint64_t va, unsigned size, uint64_t *expected, uint64_t desired,
                struct rv_fault *fault);

/*
 * lr and sc of 4 or 8 bytes, values sign-extended. sc succeeds if the memory still has the value
 * that lr read: a store of the same value in between goes unnoticed, as in every emulation by
 * compare-and-swap.
 */
bool rv_mem_lr(struct vcpu *v, uint64_t va, unsigned size, uint64_t *value, struct rv_fault *fault);
bool rv_mem_sc(struct vcpu *v, uint64_t va, unsigned size, uint64_t value, bool *failed,
               struct rv_fault *fault);

/* Whether the reserved bytes are at hand and still as lr read them. */
bool rv_mem_reserved(struct vcpu *v);

/* The cache-block instructions (Zicbom, Zicboz): translates, checks, and for zero clears. */
enum rv_cbo { RV_CBO_INVAL, RV_CBO_CLEAN, RV_CBO_FLUSH, RV_CBO_ZERO };
bool rv_mem_cbo(struct vcpu *v, uint64_t va, enum rv_cbo kind, struct rv_fault *fault);

/*
 * The page that holds va for instruction fetch: gpa of the page and its bytes, which only RAM and
 * ROM have. Enters the hart's fetch TLB.
 */
const uint8_t *rv_mem_fetch(struct vcpu *v, uint64_t va, gpa_t *gpa_page, struct rv_fault *fault);

/* The same if it takes no effect that the guest could see, no exception in particular; else NULL.
 */
const uint8_t *rv_mem_fetch_known(struct vcpu *v, uint64_t va, gpa_t *gpa_page);
/*
 * Of a machine: whether a fetch from the page at va would lead to gpa_page. Fills no TLB; what
 * would make it untrue changes the fetch TLB's epoch.
 */
bool rv_mem_fetch_leads(struct vcpu *v, uint64_t va, gpa_t gpa_page);

/* The bytes of a page that was fetched from; NULL: they are not there any more. */
const uint8_t *rv_mem_page(struct vcpu *v, gpa_t page);

/* Rebuilds what a TLB loaded from saved state lacks (host addresses). */
int rv_mem_relink(struct vcpu *v, struct error *err);
