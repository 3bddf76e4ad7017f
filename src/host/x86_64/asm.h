/*
 * Assembler for x86-64: functions that put the bytes of one instruction into a caller's buffer.
 *
 * Instructions are ASM_name of asm.def; the function names the operands, in Intel's order: r a
 * general register, x an xmm register, m memory, i an immediate. `asm_rm(b, ASM_ADD, 8, RAX, m)`
 * is `add rax, [m]`. The encoding is the shortest there is. An instruction given to a function that
 * does not fit its form is a bug of the caller (assertion).
 *
 * The size of an integer operation is in bytes: 1, 2, 4, 8. As the processor defines it, 4 clears
 * the upper half of a destination register, 1 and 2 leave the rest of it as it was. With size 1 the
 * registers 4 to 7 are spl, bpl, sil, dil; ah to bh cannot be named.
 *
 * Buffer: the caller owns it, may move the finished code, and may write it anywhere: nothing
 * depends on the address, except what asm_*_rel32 is told. When fewer than ASM_MAX_INSN bytes are
 * left, or a short jump turns out too long, `overflow` is set and stays; from then on nothing is
 * written, and the code must be thrown away. So a caller looks once, at the end.
 *
 * Host features are the caller's business: BMI, LZCNT, POPCNT, FMA and AVX encodings are written
 * as asked for (see features.h). Threads: a buffer belongs to one; there is no other state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum asm_reg {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    ASM_NOREG = 0xff,
};

enum asm_xmm {
    XMM0,
    XMM1,
    XMM2,
    XMM3,
    XMM4,
    XMM5,
    XMM6,
    XMM7,
    XMM8,
    XMM9,
    XMM10,
    XMM11,
    XMM12,
    XMM13,
    XMM14,
    XMM15,
};

/* Conditions; cc ^ 1 is the opposite. After ucomis: unordered sets C, Z and P. */
enum asm_cc {
    CC_O,
    CC_NO,
    CC_B,
    CC_AE,
    CC_E,
    CC_NE,
    CC_BE,
    CC_A,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_GE,
    CC_LE,
    CC_G,
    CC_C = CC_B,
    CC_NC = CC_AE,
    CC_Z = CC_E,
    CC_NZ = CC_NE,
};

enum asm_op {
#define ASM_OP(name, form, prefix, map, opcode, ext, flags) ASM_##name,
#include "host/x86_64/asm.def"
#undef ASM_OP
    ASM_OP_COUNT
};

#define ASM_MAX_INSN 16

struct asm_buf {
    uint8_t *start, *p, *end; /* start <= p <= end; p is where the next byte goes */
    bool overflow;
};

/* A place in the code of one buffer. All zero: not used and not bound yet. */
struct asm_label {
    uint32_t at;     /* offset from start, plus 1, when bound */
    uint32_t wide;   /* newest 32-bit field that waits for it, offset + 1 */
    uint32_t narrow; /* newest 8-bit field that waits for it, offset + 1 */
};

/* A memory operand: base + (index << scale) + disp, or label (then no registers and disp 0). */
struct asm_mem {
    uint8_t base, index, scale; /* ASM_NOREG: none; index is never RSP */
    int32_t disp;
    struct asm_label *label;
};

static inline struct asm_mem asm_mem(enum asm_reg base, int32_t disp)
{
    return (struct asm_mem){(uint8_t)base, ASM_NOREG, 0, disp, NULL};
}

/* scale: log2 of the factor, 0 to 3; base may be ASM_NOREG. */
static inline struct asm_mem asm_mem_index(enum asm_reg base, enum asm_reg index, unsigned scale,
                                           int32_t disp)
{
    return (struct asm_mem){(uint8_t)base, (uint8_t)index, (uint8_t)scale, disp, NULL};
}

/* rip-relative; the label may be bound later. */
static inline struct asm_mem asm_mem_label(struct asm_label *label)
{
    return (struct asm_mem){ASM_NOREG, ASM_NOREG, 0, 0, label};
}

static inline void asm_init(struct asm_buf *b, void *start, size_t size)
{
    b->start = b->p = start;
    b->end = b->start + size;
    b->overflow = false;
}

/* Offset of the next byte. */
static inline uint32_t asm_pos(const struct asm_buf *b)
{
    return (uint32_t)(b->p - b->start);
}

/* The name in asm.def. */
const char *asm_name(enum asm_op op);

/* --- Integers --- */

/* ALU MOV TEST RMW RM RM8 BIT VM. RM8 and MOVSXD: size is the destination's. */
void asm_rr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s);
/* ALU MOV RM RM8 VM. */
void asm_rm(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s);
/* ALU MOV TEST RMW; BIT only for a bit number below the size (it would reach elsewhere). */
void asm_mr(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d, enum asm_reg s);
/* ALU MOV TEST, imm sign-extended from 32 bits (cut to size); SHIFT and BIT, imm 0 to 63. */
void asm_ri(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, int32_t imm);
void asm_mi(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d, int32_t imm);
/* UNARY. */
void asm_r(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d);
/* UNARY; MEM (size is ignored). */
void asm_m(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d);
/* SHIFT by cl. */
void asm_r_cl(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d);
void asm_m_cl(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d);
/* RVM and RMV, size 4 or 8. */
void asm_rrr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             enum asm_reg t);
/* RVM. */
void asm_rrm(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             struct asm_mem t);
/* RMV. */
void asm_rmr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s,
             enum asm_reg t);
/* IMUL (size 2, 4, 8) and RORX (4, 8). */
void asm_rri(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             int32_t imm);
void asm_rmi(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s,
             int32_t imm);
/* NONE and FENCE. */
void asm_none(struct asm_buf *b, enum asm_op op);

/* d = imm, in 5, 7 or 10 bytes (6 to 10 with r8 to r15); flags are kept. */
void asm_mov_imm(struct asm_buf *b, enum asm_reg d, uint64_t imm);
/* d = 0 by xor: 2 or 3 bytes, changes the flags. */
void asm_zero(struct asm_buf *b, enum asm_reg d);
/* size 4 or 8. */
void asm_lea(struct asm_buf *b, unsigned size, enum asm_reg d, struct asm_mem s);
void asm_bswap(struct asm_buf *b, unsigned size, enum asm_reg d);
/* size 2, 4, 8; a memory source is read whatever the condition. */
void asm_cmov_rr(struct asm_buf *b, enum asm_cc cc, unsigned size, enum asm_reg d, enum asm_reg s);
void asm_cmov_rm(struct asm_buf *b, enum asm_cc cc, unsigned size, enum asm_reg d,
                 struct asm_mem s);
/* Writes the low byte only. */
void asm_setcc_r(struct asm_buf *b, enum asm_cc cc, enum asm_reg d);
void asm_setcc_m(struct asm_buf *b, enum asm_cc cc, struct asm_mem d);
void asm_push(struct asm_buf *b, enum asm_reg r);
void asm_pop(struct asm_buf *b, enum asm_reg r);
/* Makes the next instruction (RMW, ALU, UNARY, BIT with mem first; CMPXCHG16B) atomic. */
void asm_lock(struct asm_buf *b);

/* --- Floating point and vectors --- */

/* X XMOV XMOVQ. */
void asm_xx(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s);
/* X XMOV XMOVQ; XMOVD and XR with an integer of 4 bytes. */
void asm_xm(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s);
/* XR with an integer of 8 bytes. */
void asm_xm8(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s);
/* XMOV XMOVQ; XMOVD with 4 bytes. */
void asm_mx(struct asm_buf *b, enum asm_op op, struct asm_mem d, enum asm_xmm s);
/* XMOVD XR; size of the integer: 4 or 8. */
void asm_xr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_xmm d, enum asm_reg s);
/* XMOVD RX; size of the integer: 4 or 8. */
void asm_rx(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_xmm s);
/* XI. */
void asm_xxi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, uint8_t imm);
void asm_xmi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s, uint8_t imm);
/* XSHIFT. */
void asm_xi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, uint8_t imm);
/* FMA; X with NDS: the AVX variant d = f(s, t), which leaves s alone. */
void asm_xxx(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, enum asm_xmm t);
void asm_xxm(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, struct asm_mem t);

/* --- Control flow --- */

/* Puts the label here and completes what waits for it; at most once for a label. */
void asm_bind(struct asm_buf *b, struct asm_label *label);

/* To a label: 2 bytes when it is bound and near, else a 32-bit displacement. */
void asm_jmp(struct asm_buf *b, struct asm_label *label);
void asm_jcc(struct asm_buf *b, enum asm_cc cc, struct asm_label *label);
void asm_call(struct asm_buf *b, struct asm_label *label);
/* Always 2 bytes: the caller knows that the label will be within -128 .. 127 bytes. */
void asm_jmp_short(struct asm_buf *b, struct asm_label *label);
void asm_jcc_short(struct asm_buf *b, enum asm_cc cc, struct asm_label *label);

void asm_jmp_r(struct asm_buf *b, enum asm_reg r);
void asm_jmp_m(struct asm_buf *b, struct asm_mem m);
void asm_call_r(struct asm_buf *b, enum asm_reg r);
void asm_call_m(struct asm_buf *b, struct asm_mem m);

/*
 * To a fixed address outside the buffer, seen through the same mapping as the buffer and at most
 * 2 GiB away (else overflow); the code must not be moved. They return the 32-bit field, for
 * asm_patch_rel32; the field is aligned to 4 bytes by nops before the instruction. NULL: overflow.
 */
uint8_t *asm_jmp_rel32(struct asm_buf *b, const void *target);
uint8_t *asm_jcc_rel32(struct asm_buf *b, enum asm_cc cc, const void *target);
uint8_t *asm_call_rel32(struct asm_buf *b, const void *target);

/*
 * Redirects such a jump with one aligned store, while other threads may be executing it: they go to
 * the old or to the new target. field and target are in one (the writable) mapping.
 */
void asm_patch_rel32(uint8_t *field, const void *target);

/* --- Data and padding --- */

/* n bytes of nops, as few as possible. */
void asm_nop(struct asm_buf *b, unsigned n);
/* Nops until the offset from start is a multiple of align (a power of two up to 64). */
void asm_align(struct asm_buf *b, unsigned align);
void asm_data(struct asm_buf *b, const void *data, size_t n);
