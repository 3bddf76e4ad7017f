/*
 * Between the files of the assembler: asm.c puts bytes down, asm_int.c, asm_fp.c and asm_flow.c say
 * which. Everything here follows the rules of asm.h.
 */
#pragma once

#include <assert.h>
#include <string.h>

#include "host/x86_64/asm.h"

/* The column `form` of asm.def. */
enum asm_form {
    ALU,
    MOV,
    TEST,
    RMW,
    UNARY,
    SHIFT,
    RM,
    RM8,
    BIT,
    MEM,
    NONE,
    FENCE,
    RVM,
    RMV,
    RMI,
    VM,
    XMOV,
    XMOVQ,
    XMOVD,
    X,
    XI,
    XSHIFT,
    XR,
    RX,
    FMA,
};

/* The column `flags`. */
enum { W1 = 1, NDS = 2 };

/* A row of asm.def. */
struct asm_desc {
    uint8_t form, prefix, map, opcode, ext, flags;
};

extern const struct asm_desc asm_table[ASM_OP_COUNT];

/* A set of forms. */
#define FORM(f) (1u << (f))

/* The row of op, which must have one of these forms. */
static inline const struct asm_desc *asm_desc(enum asm_op op, unsigned forms)
{
    assert(op < ASM_OP_COUNT && (forms & FORM(asm_table[op].form)));
    return &asm_table[op];
}

/* What the fields of one instruction are; tail is the number of immediate bytes. */
struct asm_enc {
    uint8_t prefix, map, opcode;
    bool op16, w, rex; /* rex: needed even when empty, for spl to dil */
    uint8_t reg, rm;   /* rm: when mem is NULL */
    uint8_t vvvv, tail;
    int32_t imm;
    const struct asm_mem *mem;
};

/* Is there room for an instruction? If not, sets overflow. */
static inline bool asm_room(struct asm_buf *b)
{
    if (b->end - b->p < ASM_MAX_INSN)
        b->overflow = true;
    return !b->overflow;
}

static inline void asm_byte(struct asm_buf *b, unsigned v)
{
    *b->p++ = (uint8_t)v;
}

static inline void asm_imm(struct asm_buf *b, uint64_t v, unsigned n)
{
    memcpy(b->p, &v, n);
    b->p += n;
}

static inline bool asm_fits8(int64_t v)
{
    return v == (int8_t)v;
}

/* One instruction with ModRM, legacy or VEX encoded. */
void asm_put(struct asm_buf *b, const struct asm_enc *e);
void asm_put_vex(struct asm_buf *b, const struct asm_enc *e);
/* A 32-bit displacement to label; tail bytes of the instruction follow it. */
void asm_label_ref(struct asm_buf *b, struct asm_label *label, unsigned tail);
