/*
 * Register allocation for a whole region.
 *
 * Values that a PHI joins and that are never alive at the same time form a *bundle*. Bundles get
 * registers in order of their weight (uses, ten times for each loop round them, over length): each
 * takes the first register that is free in all of its ranges. What remains is taken apart into its
 * values, and what then remains lives in memory: an entry value in its home in the guest state, all
 * others in a slot of the frame; members of one bundle share a slot. Occupation is a bitmap of
 * positions for each register, so that a test costs a few words.
 *
 * A value has one location for all its life, except PHIs: the emitter moves their arguments on the
 * edges. CONSTs and PCs have none. A value nobody wants has the location RA_NONE. One that lives in
 * memory may be *reloaded*: within a block, from one use to another, a register has a copy of it.
 *
 * Registers are numbered 0 to 15 (integer) and 16 to 31 (floating point); what they are is the
 * host's business.
 */
#pragma once

#include "ir/ir.h"
#include "ir/ir_live.h"

typedef uint16_t ra_loc;

enum {
    RA_REGS = 32,
    RA_FP = 16,       /* first floating point register */
    RA_FRAME = 0x100, /* + slot of the frame */
    RA_HOME = 0x800,  /* + slot of the IR */
    RA_FLAGS = 0x900, /* I1: in the host's condition flags; set by the emitter */
    RA_NONE = 0xfff,
    RA_CONST = 0x8000, /* + ir_ref of the CONST or PC */
};
_Static_assert(IR_MAX_INS <= 0x8000, "a reference fits a location");

static inline bool ra_is_gpr(ra_loc l)
{
    return l < RA_FP;
}

static inline bool ra_is_fp(ra_loc l)
{
    return l >= RA_FP && l < RA_REGS;
}

static inline bool ra_is_reg(ra_loc l)
{
    return l < RA_REGS;
}

static inline bool ra_is_frame(ra_loc l)
{
    return l >= RA_FRAME && l < RA_HOME;
}

static inline bool ra_is_home(ra_loc l)
{
    return l >= RA_HOME && l < RA_FLAGS;
}

static inline bool ra_is_mem(ra_loc l)
{
    return l >= RA_FRAME && l < RA_FLAGS;
}

static inline bool ra_is_const(ra_loc l)
{
    return l & RA_CONST;
}

/* What an instruction needs beyond its operands and result. */
struct ra_needs {
    uint32_t clobbers; /* registers it destroys: none of its operands is there, its result may be */
    uint8_t temps;     /* integer registers of its own, up to 2; the result may be in one */
    bool early;        /* its result shares no register with its operands */
};

struct ra_host {
    uint32_t regs;          /* the allocator's, as bits */
    uint8_t order[RA_REGS]; /* which to try first */
    uint8_t order_count;
    uint8_t temp_order[RA_FP]; /* likewise for temporaries */
    uint8_t temp_count;
    uint32_t frame_first, frame_count; /* slots */
    void (*needs)(const void *ctx, ir_ref ref, struct ra_needs *out);
    const void *ctx;
    uint32_t random_seed;
};

/* Before the instruction at position `from` a copy of the value is put into reg, good until `to`.
 */
struct ra_reload {
    ir_ref value;
    uint32_t from, to;
    ra_loc reg;
};

#define RA_MAX_RELOADS 4096u

struct ra {
    ra_loc *loc;              /* by ir_ref */
    uint8_t (*temp)[2];       /* by ir_ref */
    struct ra_reload *reload; /* sorted by from */
    uint32_t reload_count;
    struct ra_work *work;
};

bool ra_init(struct ra *ra); /* false: out of memory */
void ra_fini(struct ra *ra);

/*
 * Fills loc and temp. Values with loc RA_FLAGS before (the rest has to be RA_NONE) are left alone.
 * False: too many values for the frame, or out of memory.
 */
bool ra_run(struct ra *ra, const struct ir *ir, const struct ir_live *live,
            const struct ra_host *host);

static inline ra_loc ra_where(const struct ra *ra, const struct ir *ir, ir_ref ref)
{
    return ir_is_leaf(ir, ref) ? (ra_loc)(RA_CONST | ref) : ra->loc[ref];
}
