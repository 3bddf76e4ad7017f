/*
 * The x86-64 emitter from the inside: shared by the files emit*.c and by nothing else.
 *
 * rax and xmm15 are the emitter's own: an operand that is in memory or a constant passes through
 * them, and so do moves between memory. Frame slot 0 is a second place for operands when rax is
 * taken. Moves never change the condition flags: comparisons that are used by the next
 * instructions only leave their result there (RA_FLAGS).
 */
#pragma once

#include "engine/dbt/backend.h"
#include "engine/dbt/regalloc.h"
#include "host/x86_64/asm.h"

#define EMIT_SCRATCH RAX
#define EMIT_SCRATCH_X XMM15
#define EMIT_CLMUL_X (RA_FP + XMM14) /* where it needs two */
#define EMIT_MEM_BASE R14
#define EMIT_FRAME_SCRATCH RA_FRAME /* slot 0 */
#define EMIT_FRAME_SLOTS (BACK_FRAME / 8)

/* One move of a parallel move. The size is that of the type. */
struct emit_move {
    ra_loc to, from;
    uint8_t type; /* enum ir_type */
    uint8_t how;  /* IR_SNAP_...: extended on its way to an I64 */
    bool done;
};

/* Code that is put behind the region: at `label`, to go on at `resume`. */
enum emit_stub_kind {
    STUB_SLOW,     /* call of the slow thunk for `ref`; to: 1 + xmm that gets xmm15 back, or 0 */
    STUB_EDGE,     /* moves of the edge block -> to */
    STUB_DIV_ZERO, /* results of divisions by zero and by -1 */
    STUB_DIV_MINUS,
    STUB_LINK,   /* unlinked exit */
    STUB_NAN,    /* the canonical NaN instead of the result in xmm `to` */
    STUB_UNBOX,  /* likewise, for a value that was not boxed */
    STUB_SILENT, /* FLT_SILENT, FLE_SILENT of a NaN: false, flags as they were */
};

struct emit_stub {
    uint8_t kind;
    ir_ref ref;
    uint32_t block, to;
    uint32_t others; /* of STUB_SLOW: so many accesses behind `ref` are made here, too */
    struct asm_label label, resume;
};

struct emit {
    struct asm_buf a;
    const struct back_target *t;
    const struct ir *ir;
    const struct ir_live *live;
    struct back_code *out;
    struct ra ra;
    struct asm_label *block_label; /* by block index */
    uint8_t *flags_cc;             /* by ir_ref, of what is RA_FLAGS: enum asm_cc */
    struct emit_stub *stub;
    uint32_t stub_count;
    struct emit_move *move;
    uint32_t move_count;
    uint32_t *block_order; /* blocks as they are laid out */
    struct {
        uint32_t index; /* into ra.reload */
        ra_loc memory;
    } copy[RA_REGS]; /* reloads that are good now: ra.loc says the register */
    uint32_t copy_count;
    uint32_t next_reload; /* of the block */
    struct {
        uint32_t left, stub; /* accesses that share the look-up (emit_mem.c), and its slow path */
    } group;
    uint32_t next_block; /* in that order, after the current one; IR_NO_BLOCK */
    /* descriptors (emit_slow.c) */
    uint32_t *desc;
    uint32_t desc_count, desc_cap;
    uint64_t *pool;
    uint32_t pool_count, pool_cap;
    uint16_t *pool_of; /* by ir_ref: index + 1 */
    struct {
        uint32_t field, desc; /* offset in the code; index of a word */
    } * desc_ref;
    uint32_t desc_ref_count, desc_ref_cap;
    uint32_t *snap_desc; /* by snapshot: index + 1 of its words */
    bool failed;         /* out of memory */
    FILE *dump;
    struct {
        uint32_t at, what; /* offset; ir_ref or EMIT_MARK_... */
    } * mark;
    uint32_t mark_count, mark_cap;
};

#define EMIT_MARK_BLOCK (1u << 31)
#define EMIT_MARK_STUB (1u << 30)

/* An operand as an instruction wants it. */
enum emit_opnd_kind { OPND_REG, OPND_MEM, OPND_IMM };
struct emit_opnd {
    uint8_t kind, reg;
    int32_t imm;
    struct asm_mem mem;
};

static inline ra_loc emit_loc(const struct emit *e, ir_ref ref)
{
    return ra_where(&e->ra, e->ir, ref);
}

static inline unsigned emit_size(unsigned type)
{
    return type == IR_I64 || type == IR_F64 ? 8 : 4;
}

static inline bool emit_is_fp(unsigned type)
{
    return type == IR_F32 || type == IR_F64;
}

static inline enum asm_xmm emit_xmm(ra_loc l)
{
    return (enum asm_xmm)(l - RA_FP);
}

static inline bool emit_is_imm32(const struct emit *e, ir_ref ref)
{
    return ir_is_const(e->ir, ref) && ir_at(e->ir, ref)->imm == (int32_t)ir_at(e->ir, ref)->imm;
}

static inline bool emit_is_pc(const struct emit *e, ir_ref ref)
{
    return ir_at(e->ir, ref)->op == IR_PC;
}

/* emit_move.c */
struct asm_mem emit_mem(const struct emit *e, ra_loc l);
/* A move of any to any, through rax when it must; keeps the flags. */
void emit_move(struct emit *e, unsigned type, ra_loc to, ra_loc from);
/*
 * The guest address, known while compiling (emit_pc) or by its offset from the base, in a register;
 * keeps the flags.
 */
void emit_pc(struct emit *e, enum asm_reg to, uint64_t pc);
void emit_pc_offset(struct emit *e, enum asm_reg to, int64_t offset);
void emit_moves_begin(struct emit *e);
void emit_moves_add(struct emit *e, unsigned type, unsigned how, ra_loc to, ra_loc from);
/* All that were added, as if at once; uses rax and xmm15. */
void emit_moves_end(struct emit *e);
/* The register an integer value is in; if it is in none, `scratch`, loaded. */
enum asm_reg emit_gpr(struct emit *e, ir_ref ref, enum asm_reg scratch);
enum asm_xmm emit_fp(struct emit *e, ir_ref ref, enum asm_xmm scratch);
/* Register or memory or imm32; other constants are loaded into rax, or frame slot 0 if it's taken.
 */
struct emit_opnd emit_opnd(struct emit *e, ir_ref ref, bool rax_taken);
/* The same without immediates. */
struct emit_opnd emit_opnd_rm(struct emit *e, ir_ref ref, bool rax_taken);
void emit_op(struct emit *e, enum asm_op op, unsigned size, enum asm_reg d, struct emit_opnd s);
/* Moves the slots of a snapshot home. */
void emit_home(struct emit *e, uint32_t snap);
void emit_count(struct emit *e, uint64_t n);

/* Where a value is for all its life: descriptors may be used from other places of the code. */
ra_loc emit_home_loc(const struct emit *e, ir_ref ref);

/* emit_int.c: false: not an operation of that file */
bool emit_int(struct emit *e, ir_ref ref);
/* The condition of an I1 value: the flags it is in, or set by a test now. */
enum asm_cc emit_condition(struct emit *e, ir_ref ref);
/* Leaves condition cc as the value of ref: in the flags or as 0 or 1. */
void emit_result_cc(struct emit *e, ir_ref ref, enum asm_cc cc);
void emit_div_stub(struct emit *e, struct emit_stub *s);
bool emit_has_int(const struct emit *e, ir_ref ref); /* not by a slow path */

/* emit_mem.c */
void emit_sites(struct emit *e); /* when all stubs are there: completes the sites */
void emit_load(struct emit *e, ir_ref ref);
void emit_store(struct emit *e, ir_ref ref);
void emit_amo(struct emit *e, ir_ref ref);

/* emit_fp.c, emit_fp_bits.c: false: not an operation of that file, or not in line */
bool emit_float(struct emit *e, ir_ref ref);
bool emit_float_bits(struct emit *e, ir_ref ref);
void emit_nan_stub(struct emit *e, struct emit_stub *s);
void emit_silent_stub(struct emit *e, struct emit_stub *s);
void emit_fflags(struct emit *e, ir_ref ref);
void emit_fflags_set(struct emit *e, ir_ref ref);
/* A comparison whose result can stay in the flags. */
bool emit_is_float_order(const struct emit *e, ir_ref ref);

/* emit_slow.c: the region goes on at the stub's resume label when the helper has returned. */
void emit_slow(struct emit *e, struct emit_stub *s);
/* emit_mem.c: what is executed next in the block; 0: nothing. */
ir_ref emit_next_access(const struct emit *e, ir_ref ref);
/* The same, in line. */
void emit_slow_here(struct emit *e, ir_ref ref);
uint32_t emit_mxcsr(unsigned frm);
void emit_slow_begin(struct emit *e);
void emit_slow_end(struct emit *e);

/* emit_dump.c: what stands at this place of the code, if a dump is wanted; and the dump. */
void emit_note(struct emit *e, uint32_t what);
void emit_dump(const struct emit *e);

/* emit.c */
struct emit_stub *emit_stub(struct emit *e, enum emit_stub_kind kind, ir_ref ref);
void emit_thunk_jump(struct emit *e, unsigned opcode, enum back_thunk thunk);
void emit_ref(struct emit *e, enum back_thunk thunk); /* a rel32 field */
bool emit_grow(void **array, uint32_t *cap, uint32_t need, size_t item);
