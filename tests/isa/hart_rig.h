/*
 * A hart with a small physical memory behind it, for tests of the privileged architecture: pages
 * at RIG_PA hold page tables, everything else is a bus error.
 */
#pragma once

#include "isa/riscv64/csr.h"
#include "isa/riscv64/hart.h"
#include "isa/riscv64/mmu.h"

#define RIG_PA UINT64_C(0x80000000)
#define RIG_PAGES 16u

struct rig {
    struct rv_hart h;
    uint64_t words[RIG_PAGES * 512];
    uint64_t time;
    unsigned stimecmp_changes, swaps;
    bool swap_bus_error;
    /* When not NULL: called before a swap compares. */
    void (*before_swap)(struct rig *r, uint64_t gpa);
    _Atomic uint64_t lines;
    /* With rig_add_imsic: what the hart was last asked to do with it, and what it answers. */
    struct {
        unsigned priv, select, accesses, claims;
        uint64_t clear, set, value, top;
        bool absent;
    } imsic;
};

/* A hart after reset, in M-mode, with all extensions and modes up to Sv57. Free with rig_free. */
struct rig *rig_new(void);
void rig_free(struct rig *r);

/* Lets every mode use all of memory: PMP entry 15, so that a test's own entries come first. */
void rig_pmp_open(struct rig *r);

/* The hart gets an IMSIC, and with it the CSRs of the Advanced Interrupt Architecture. */
void rig_add_imsic(struct rig *r);

/* As an instruction would; assert that it was legal. */
uint64_t rig_csr_read(struct rig *r, unsigned number);
void rig_csr_write(struct rig *r, unsigned number, uint64_t value);
