/*
 * The riscv64 front end of the translator: finds a region in a page of guest code and builds its
 * IR. What it does not compile (most CSRs, system instructions ...) ends in an exit to the
 * engine.
 *
 * Slots of the IR are x0..x31 (x0 is never written), 32 + f0..f31 as F64, and some CSRs.
 */
#pragma once

#include "ir/ir.h"

#include <stdbool.h>
#include <stdint.h>

#define FRONT_SLOT_F 32
#define FRONT_SLOT_CSR 64
enum {
    FRONT_SLOT_MSTATUS = FRONT_SLOT_CSR,
    FRONT_SLOT_SSCRATCH,
    FRONT_SLOT_SEPC,
    FRONT_SLOT_SCAUSE,
    FRONT_SLOT_STVAL,
    FRONT_SLOTS,
};

#define FRONT_MAX_INSNS 512 /* guest instructions of a region */
#define FRONT_MAX_BLOCKS 128

struct front_input {
    const uint8_t *page; /* the 4096 bytes */
    uint64_t page_va;    /* where the guest sees them */
    unsigned entry;      /* offset of the first instruction, even */
    uint64_t exts;       /* as for rv_decode */
    uint8_t view;        /* enum rv_view: of code and data */
    /* A bit for each halfword: an instruction there has run. What has not is left out. NULL: all.
     */
    const uint64_t *executed;
};

struct front_info {
    unsigned insns; /* guest instructions in the region */
    unsigned blocks;
    bool uses_fp;       /* needs mstatus.FS to be dirty, and leaves at its entry if it is not */
    uint16_t low, high; /* offsets within the page: [low, high) was looked at */
};

/* Resets ir and fills it. False: nothing worth compiling begins there. */
bool front_build(struct ir *ir, const struct front_input *in, struct front_info *info);
