/*
 * The front end from the inside: shared by front.c and front_sys.c and by nothing else.
 */
#pragma once

#include "engine/dbt/front.h"
#include "isa/riscv64/decode.h"

#define FRONT_PAGE 4096u
#define FRONT_NO_BLOCK UINT16_MAX

struct front_block {
    uint16_t start; /* offset in the page */
    uint32_t ir;    /* block of the IR */
};

struct front {
    const struct front_input *in;
    struct ir *ir;
    struct front_info *info;
    struct front_block blocks[FRONT_MAX_BLOCKS];
    unsigned count;
    uint16_t block_at[FRONT_PAGE / 2]; /* index of the block that starts there, or NO_BLOCK */
    uint8_t seen[FRONT_PAGE / 2];      /* an instruction starts there that is in the region */
    uint64_t writes[2];                /* bits of slots that the region may write */
    /* while building */
    uint64_t pc;
    unsigned retired; /* in this block, before the current instruction */
};

static inline ir_ref front_get_x(struct front *f, unsigned r)
{
    return r ? ir_slot_read(f->ir, r) : ir_i64(f->ir, 0);
}

static inline void front_set_x(struct front *f, unsigned r, ir_ref v)
{
    if (r)
        ir_slot_write(f->ir, r, v);
}

static inline uint32_t front_snap_here(struct front *f)
{
    return ir_snapshot(f->ir, f->pc, f->retired);
}

/* front_sys.c: CSRs, LR and SC, cbo.zero. */
bool front_csr_compiles(const struct front *f, const struct rv_insn *in);
bool front_csr_uses_fp(const struct rv_insn *in);
void front_csr(struct front *f, const struct rv_insn *in);
void front_cbo_zero(struct front *f, const struct rv_insn *in);
void front_lr_sc(struct front *f, const struct rv_insn *in);
/* Entry of a region that uses floating point: left at once when the unit is off. */
void front_fp_gate(struct front *f, uint64_t pc);
