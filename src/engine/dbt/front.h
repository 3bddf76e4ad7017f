/*
 * The riscv64 front end of the translator: finds a region in guest code and builds its IR. What it
 * does not compile (most CSRs, system instructions ...) ends in an exit to the engine.
 *
 * A region begins at one instruction and follows branches and jumps. Calls of small functions that
 * call nothing but the like become part of it, each with a copy of what it calls. Any other call
 * leaves the region, and the place that it returns to is another *entry*, so that one region covers
 * a function, not one for each call in it. So is what follows an instruction that is not compiled.
 * A region lies in up to FRONT_PAGES pages.
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
#define FRONT_MAX_BLOCKS 160
#define FRONT_PAGES 4
#define FRONT_MAX_ENTRIES 24 /* beside the first */

struct front_page {
    uint64_t va;          /* where the guest sees it */
    const uint8_t *bytes; /* 4096 */
    /* A bit for each halfword: an instruction there has run. What has not is left out. NULL: all.
     */
    const uint64_t *executed;
};

struct front_input {
    struct front_page page[FRONT_PAGES]; /* the entry is on the first */
    unsigned pages;
    unsigned entry; /* offset of the first instruction, even */
    uint64_t exts;  /* as for rv_decode */
    uint8_t view;   /* enum rv_view: of code and data */
    bool relative;  /* addresses are relative to the first page's: the code serves at others, too */
    bool host_time; /* the time is the host's: it may be read in the middle of a region */
    /*
     * For front_pages: fills *out with the page that holds pc. False: it is not at hand, or no
     * instruction has run at pc, unless `middle` says that none begins there.
     */
    bool (*more)(void *ctx, uint64_t pc, bool middle, struct front_page *out);
    /* For front_pages: whether the region shall be entered at pc, which has run, too. */
    bool (*wanted)(void *ctx, uint64_t pc);
    void *ctx; /* of both */
    /* Where else the region is entered, as front_pages found it. */
    uint64_t entries[FRONT_MAX_ENTRIES];
    unsigned entry_count;
};

struct front_info {
    unsigned insns; /* guest instructions in the region */
    unsigned blocks;
    bool uses_fp; /* needs mstatus.FS to be dirty, and leaves at its entry if it is not */
};

/*
 * Adds to in->page what else the region at the entry wants, as far as in->more has it, and to
 * in->entries what in->wanted says.
 */
void front_pages(struct front_input *in);
/* Resets ir and fills it. False: nothing worth compiling begins there. */
bool front_build(struct ir *ir, const struct front_input *in, struct front_info *info);
