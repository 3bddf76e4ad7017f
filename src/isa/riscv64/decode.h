/*
 * The riscv64 decoder, generated from insns.txt. Constant, reentrant, no state.
 *
 * What is illegal and what is not: words that the manual reserves or leaves undefined are illegal,
 * also those with a static rounding mode 5 or 6; reserved fields that it asks to ignore (in fences)
 * are ignored; hints are executed as the instruction that they are a case of, or have an operation
 * of kind hint when their extension is enabled. A dynamic rounding mode (rm = 7) and CSR numbers
 * are judged when the instruction is executed.
 */
#pragma once

#include "isa/riscv64/ops.h"

#include <stdbool.h>
#include <stdint.h>

/* Fields that an instruction does not have are 0. */
struct rv_insn {
    uint16_t op;  /* enum rv_op */
    uint16_t enc; /* enum rv_enc: the row of the table */
    uint8_t len;  /* bytes: 2 or 4 */
    uint8_t rd;
    uint8_t rs1; /* also the immediate of csrrwi, csrrsi, csrrci and the constant of fli */
    uint8_t rs2;
    uint8_t rs3;
    uint8_t rm;  /* rounding mode of kind fp; aq (bit 1) and rl (bit 0) of lr, sc, amo, amocas */
    int32_t imm; /* immediate, sign-extended where the instruction does; shift amount; offset from
                    pc; CSR number; fence: fm, predecessor and successor sets as in bits 31..20 */
};

/* The length in bytes (2 or 4) of the instruction whose first half-word this is. */
static inline unsigned rv_insn_len(uint16_t first_half)
{
    return (first_half & 3) == 3 ? 4 : 2;
}

/*
 * Decodes the instruction in the low 2 or 4 bytes of `bits`. `exts` is a set of RV_EXT_BIT()s as
 * rv_exts_closure() returns it. False when the word is unknown, reserved or belongs to a disabled
 * extension; then out->op is RV_OP_ILLEGAL and out->len the length that the low bits say.
 */
bool rv_decode(uint32_t bits, uint64_t exts, struct rv_insn *out);

/*
 * A word of the encoding enc (0 < enc < RV_ENC_COUNT) that is legal when all extensions are
 * enabled, with its fields taken from `random`; the same number gives the same word.
 */
uint32_t rv_encode_random(unsigned enc, uint64_t random);
