/*
 * The vocabulary of the riscv64 instruction table: extensions, kinds, operations and encodings,
 * and what is known about each. All of it is generated from insns.txt.
 *
 * An operation (enum rv_op) is what an instruction means; an encoding (enum rv_enc) is a row of the
 * table: c.addi and addi are two encodings of the operation ADDI. The lists can be re-included:
 *
 *     #define RV_OP(ID, name, kind, sem, ext, hasc) ...
 *     #include "isa/riscv64/rv_ops.def"
 *
 * ID, kind, sem and ext are bare identifiers: RV_OP_##ID, RV_EXT_##ext, rv_alu_##sem of alu.h (for
 * the kinds alu_rr, alu_ri, alu_r; `none` otherwise). hasc is 1 when a 16-bit encoding exists.
 *
 * Everything here is constant; any thread may call anything.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum rv_ext {
#define RV_EXT(ID, name, closure, used) RV_EXT_##ID,
#include "isa/riscv64/rv_exts.def"
#undef RV_EXT
    RV_EXT_COUNT
};

_Static_assert(RV_EXT_COUNT <= 64, "a set of extensions is a 64-bit mask");

#define RV_EXT_BIT(ID) (UINT64_C(1) << RV_EXT_##ID)

/* All extensions that have instructions in the table. */
#define RV_EXT(ID, name, closure, used) | ((uint64_t)(used) << RV_EXT_##ID)
static const uint64_t RV_EXTS_DEFAULT = UINT64_C(0)
#include "isa/riscv64/rv_exts.def"
    ;
#undef RV_EXT

enum rv_kind {
    RV_KIND_NONE,
#define RV_KIND(ID, name) RV_KIND_##ID,
#include "isa/riscv64/rv_kinds.def"
#undef RV_KIND
};

enum rv_op {
    RV_OP_ILLEGAL,
#define RV_OP(ID, name, kind, sem, ext, hasc) RV_OP_##ID,
#include "isa/riscv64/rv_ops.def"
#undef RV_OP
    RV_OP_COUNT
};

enum rv_enc {
    RV_ENC_ILLEGAL,
#define RV_ENC(ID, name, op, text, len, mask, match, exts, layout) RV_ENC_##ID,
#include "isa/riscv64/rv_encs.def"
#undef RV_ENC
    RV_ENC_COUNT
};

/* What a register number of struct rv_insn names. */
enum rv_class { RV_CLASS_none, RV_CLASS_x, RV_CLASS_f };

struct rv_op_info {
    const char *name;                                  /* as in the manual: "fcvt.w.d" */
    uint8_t kind;                                      /* enum rv_kind */
    uint8_t ext;                                       /* enum rv_ext it counts as */
    uint8_t rd_class, rs1_class, rs2_class, rs3_class; /* enum rv_class */
};

struct rv_enc_info {
    const char *name; /* "c.addi" */
    const char *text; /* operands: '%' and a letter of rv_operands.def, or the character itself */
    uint64_t exts;    /* extensions that must all be enabled */
    uint32_t mask, match;
    uint16_t op; /* enum rv_op */
    uint8_t len; /* bytes: 2 or 4 */
};

/* op < RV_OP_COUNT; RV_OP_ILLEGAL has the name "illegal" and the kind RV_KIND_NONE. */
const struct rv_op_info *rv_op_info(unsigned op);

/* 0 < enc < RV_ENC_COUNT. */
const struct rv_enc_info *rv_enc_info(unsigned enc);

/* The name in lower case, as in a device tree's isa-extensions; ext < RV_EXT_COUNT. */
const char *rv_ext_name(unsigned ext);

/* The extension called `name` (len characters, lower case), or -1. */
int rv_ext_find(const char *name, size_t len);

/* exts and everything that it implies; I is always in it. */
uint64_t rv_exts_closure(uint64_t exts);
