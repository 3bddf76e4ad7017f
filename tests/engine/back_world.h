/*
 * A small guest for tests of the back end: slots, memory with pages of all kinds, helpers. One that
 * translated code runs in, and one that the evaluator of the IR works on, are compared.
 */
#pragma once

#include "engine/dbt/backend.h"
#include "ir/ir.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define WORLD_PAGES 16
#define WORLD_VA UINT64_C(0x40000000)
#define WORLD_TLB 8
#define WORLD_JUMP 16

/* Pages: 12 is read only, 13 is not there, 14 is never in the TLB. */
enum { WORLD_PAGE_RO = 12, WORLD_PAGE_NONE = 13, WORLD_PAGE_IO = 14 };

enum { WORLD_CALL = BACK_HELPER_FIRST, WORLD_CALL_STATE, WORLD_CALL_EXITS, WORLD_HELPERS };

struct world {
    uint64_t slot[IR_MAX_SLOTS];
    uint64_t pc, icount, stop_at;
    uint64_t base;      /* of relative regions */
    uint64_t made_base; /* for the evaluator: base in the addresses of snapshots */
    uint64_t *stop_at_pointer;
    void **helpers;
    int exit;
    uint64_t expect; /* by IR_AMO_CAS */
    uint8_t fflags, frm;
    const void *mem_base; /* tlb */
    struct {
        uint64_t rtag, wtag, addend, gpa;
    } tlb[WORLD_TLB];
    struct {
        uint64_t pc;
        const void *code;
    } jump[WORLD_JUMP], *jump_pointer;
    uint32_t calls; /* helpers called */
    bool fill;      /* slow paths enter pages into the TLB */
    _Alignas(4096) uint8_t ram[WORLD_PAGES * 4096];
};

#define WORLD_SLOTS 48
extern const uint8_t world_types[WORLD_SLOTS];

/* The target that describes struct world. */
void world_target(struct back_target *t);
/* The table of helpers, with room for WORLD_HELPERS. */
void world_helpers(void **table, const struct back_target *t);

/* How a region was left. */
struct world_exit {
    enum back_thunk why;
    uint64_t pc;
};

/*
 * Evaluates a finished region from entry number `entry` of it. False: more than `steps`
 * instructions.
 */
bool world_eval(struct world *w, const struct ir *ir, unsigned entry, struct world_exit *out,
                unsigned steps);
