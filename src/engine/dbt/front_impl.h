/*
 * The front end from the inside: shared by the files front*.c and by nothing else.
 *
 * A place in a region is a guest address in a *context*: the function that the region begins in is
 * context 0, and each inlined call has one of its own, so that the code called is there once for
 * each call. No way leads back into a context but returns, which go forward in the caller; so every
 * loop has a branch or jump backwards within one context.
 */
#pragma once

#include "engine/dbt/front.h"
#include "isa/riscv64/decode.h"

#define FRONT_PAGE 4096u
#define FRONT_MAX_CONTEXTS 32u
#define FRONT_SPOTS 2048u /* a power of two, some times more than places */
#define FRONT_NO_BLOCK UINT16_MAX

struct front_block {
    uint64_t pc;
    uint32_t ir; /* block of the IR */
    uint16_t context;
};

struct front_context {
    uint64_t return_pc;
    uint16_t parent; /* context of the call */
    uint16_t insns;  /* scanned in it */
    uint8_t depth;
};

/* What is known of a place: an entry of a hash table. */
struct front_spot {
    uint32_t key;   /* context << 16 | position, + 1; 0: free */
    uint16_t block; /* index of the block that starts there, or NO_BLOCK */
    bool seen;      /* an instruction starts there that is in the region */
};

struct front {
    const struct front_input *in;
    struct ir *ir;
    struct front_info *info;
    struct front_page page[FRONT_PAGES];
    unsigned pages;
    struct front_block blocks[FRONT_MAX_BLOCKS];
    unsigned count;
    struct front_context contexts[FRONT_MAX_CONTEXTS];
    unsigned context_count;
    struct front_spot spots[FRONT_SPOTS];
    uint64_t writes[2];                  /* bits of slots that the region may write */
    uint64_t entries[FRONT_MAX_ENTRIES]; /* beside the first, in context 0 */
    unsigned entry_count;
    /* while building */
    uint64_t pc;
    uint32_t bits;    /* of the current instruction */
    uint16_t context; /* of the current block */
    unsigned retired; /* in this block, before the current instruction */
};

/* front_scan.c */
void front_scan(struct front *f);
/* False if it is illegal, or not all of it is at hand. bits may be NULL. */
bool front_decode(struct front *f, uint64_t pc, struct rv_insn *out, uint32_t *bits);
/* Whether the instruction is in the region / the block that begins there, NULL: none. */
bool front_seen(struct front *f, unsigned context, uint64_t pc);
struct front_block *front_block_at(struct front *f, unsigned context, uint64_t pc);
/* Whether pc is on one of the region's pages. */
bool front_has_page(struct front *f, uint64_t pc);
/* The context of the call that returns to return_pc; 0: it was not inlined. */
unsigned front_call_context(const struct front *f, unsigned context, uint64_t return_pc);
bool front_ends_block(const struct rv_insn *in);
bool front_is_return(const struct rv_insn *in);

/* front.c */
bool front_compiles(const struct front *f, const struct rv_insn *in);

static inline ir_ref front_get_x(struct front *f, unsigned r)
{
    return r ? ir_slot_read(f->ir, r) : ir_i64(f->ir, 0);
}

static inline void front_set_x(struct front *f, unsigned r, ir_ref v)
{
    if (r)
        ir_slot_write(f->ir, r, v);
}

/* A guest address as a value: relative to the region's base, if it is one that is. */
static inline ir_ref front_pc(struct front *f, uint64_t pc)
{
    int64_t offset = (int64_t)(pc - f->page[0].va);
    if (!f->in->relative)
        return ir_i64(f->ir, pc);
    if (offset == (int32_t)offset)
        return ir_pc(f->ir, (int32_t)offset);
    return ir_op2(f->ir, IR_ADD, ir_pc(f->ir, 0), ir_i64(f->ir, (uint64_t)offset));
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
