#include "host/x86_64/asm_impl.h"

/* opcode + reg without ModRM, or a plain opcode when reg has bits 0 to 2 only. */
static void asm_put_short(struct asm_buf *b, unsigned size, unsigned opcode, unsigned reg,
                          bool rex8)
{
    unsigned rex = (size == 8 ? 8u : 0) | (reg >> 3);
    if (size == 2)
        asm_byte(b, 0x66);
    if (rex || rex8)
        asm_byte(b, 0x40 | rex);
    asm_byte(b, opcode | (reg & 7));
}

/* Needs a REX prefix to be the low byte of rsp to rdi. */
static bool asm_low(unsigned size, unsigned reg)
{
    return size == 1 && reg >= RSP && reg <= RDI;
}

/* The fields common to an integer operation; opcode becomes the wide one when size says so. */
static struct asm_enc asm_int(const struct asm_desc *d, unsigned size)
{
    struct asm_enc e = {.prefix = d->prefix, .map = d->map, .opcode = d->opcode};
    assert(size == 1 || size == 2 || size == 4 || size == 8);
    e.op16 = size == 2;
    e.w = size == 8 || (d->flags & W1);
    if (FORM(d->form) &
        (FORM(ALU) | FORM(MOV) | FORM(TEST) | FORM(RMW) | FORM(UNARY) | FORM(SHIFT)))
        e.opcode = (uint8_t)(e.opcode | (size > 1));
    else
        assert(size > 1);
    return e;
}

void asm_rr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s)
{
    unsigned forms = FORM(ALU) | FORM(MOV) | FORM(TEST) | FORM(RMW) | FORM(BIT);
    const struct asm_desc *t = asm_desc(op, forms | FORM(RM) | FORM(RM8) | FORM(VM));
    struct asm_enc e = asm_int(t, size);
    if (t->form == VM) {
        e.reg = t->ext;
        e.vvvv = (uint8_t)d;
        e.rm = (uint8_t)s;
        asm_put_vex(b, &e);
        return;
    }
    /* xchg with rax is one byte shorter; but with itself that encoding is a nop. */
    if (op == ASM_XCHG && size > 1 && d != s && (d == RAX || s == RAX)) {
        if (asm_room(b))
            asm_put_short(b, size, 0x90, d == RAX ? s : d, false);
        return;
    }
    if (FORM(t->form) & forms) {
        e.reg = (uint8_t)s;
        e.rm = (uint8_t)d;
        e.rex = asm_low(size, s) || asm_low(size, d);
    } else {
        e.reg = (uint8_t)d;
        e.rm = (uint8_t)s;
        e.rex = t->form == RM8 && asm_low(1, s);
    }
    asm_put(b, &e);
}

void asm_rm(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s)
{
    const struct asm_desc *t =
        asm_desc(op, FORM(ALU) | FORM(MOV) | FORM(RM) | FORM(RM8) | FORM(VM));
    struct asm_enc e = asm_int(t, size);
    e.mem = &s;
    if (t->form == VM) {
        e.reg = t->ext;
        e.vvvv = (uint8_t)d;
        asm_put_vex(b, &e);
        return;
    }
    if (t->form == ALU || t->form == MOV)
        e.opcode |= 2;
    e.reg = (uint8_t)d;
    e.rex = asm_low(size, d);
    asm_put(b, &e);
}

void asm_mr(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d, enum asm_reg s)
{
    struct asm_enc e =
        asm_int(asm_desc(op, FORM(ALU) | FORM(MOV) | FORM(TEST) | FORM(RMW) | FORM(BIT)), size);
    e.mem = &d;
    e.reg = (uint8_t)s;
    e.rex = asm_low(size, s);
    asm_put(b, &e);
}

/* What all variants with an immediate share; the operand is still to be set. */
static struct asm_enc asm_int_imm(enum asm_op op, unsigned size, int32_t imm)
{
    const struct asm_desc *t =
        asm_desc(op, FORM(ALU) | FORM(MOV) | FORM(TEST) | FORM(SHIFT) | FORM(BIT));
    struct asm_enc e = asm_int(t, size);
    e.imm = size == 1 ? (int8_t)imm : size == 2 ? (int16_t)imm : imm;
    e.tail = (uint8_t)(size < 4 ? size : 4);
    e.reg = t->ext;
    if (t->form == ALU) {
        e.opcode = size > 1 ? 0x81 : 0x80;
        if (size > 1 && asm_fits8(e.imm)) {
            e.opcode = 0x83;
            e.tail = 1;
        }
    } else if (t->form == MOV) {
        e.opcode = size > 1 ? 0xc7 : 0xc6;
    } else if (t->form == TEST) {
        e.opcode = size > 1 ? 0xf7 : 0xf6;
    } else {
        assert(imm >= 0 && imm < 64);
        e.tail = 1;
        if (t->form == BIT) {
            e.opcode = 0xba;
        } else if (imm == 1) {
            e.opcode |= 0x10;
            e.tail = 0;
        }
    }
    return e;
}

void asm_ri(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, int32_t imm)
{
    struct asm_enc e = asm_int_imm(op, size, imm);
    unsigned form = asm_table[op].form;
    bool wide = size > 1;
    if (!asm_room(b))
        return;
    if (form == MOV && (size < 8 || imm >= 0)) {
        asm_put_short(b, size < 8 ? size : 4, wide ? 0xb8 : 0xb0, d, asm_low(size, d));
        asm_imm(b, (uint32_t)e.imm, e.tail);
        return;
    }
    if (d == RAX && (form == TEST || (form == ALU && e.opcode != 0x83))) {
        unsigned opcode = form == TEST ? 0xa8u : asm_table[op].opcode | 4u;
        asm_put_short(b, size, opcode | wide, RAX, false);
        asm_imm(b, (uint32_t)e.imm, e.tail);
        return;
    }
    e.rm = (uint8_t)d;
    e.rex = asm_low(size, d);
    asm_put(b, &e);
}

void asm_mi(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d, int32_t imm)
{
    struct asm_enc e = asm_int_imm(op, size, imm);
    e.mem = &d;
    asm_put(b, &e);
}

void asm_r(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d)
{
    const struct asm_desc *t = asm_desc(op, FORM(UNARY));
    struct asm_enc e = asm_int(t, size);
    e.reg = t->ext;
    e.rm = (uint8_t)d;
    e.rex = asm_low(size, d);
    asm_put(b, &e);
}

void asm_m(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d)
{
    const struct asm_desc *t = asm_desc(op, FORM(UNARY) | FORM(MEM));
    struct asm_enc e = asm_int(t, t->form == MEM ? 4 : size);
    e.reg = t->ext;
    e.mem = &d;
    asm_put(b, &e);
}

static struct asm_enc asm_by_cl(enum asm_op op, unsigned size)
{
    const struct asm_desc *t = asm_desc(op, FORM(SHIFT));
    struct asm_enc e = asm_int(t, size);
    e.opcode |= 0x12;
    e.reg = t->ext;
    return e;
}

void asm_r_cl(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d)
{
    struct asm_enc e = asm_by_cl(op, size);
    e.rm = (uint8_t)d;
    e.rex = asm_low(size, d);
    asm_put(b, &e);
}

void asm_m_cl(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_mem d)
{
    struct asm_enc e = asm_by_cl(op, size);
    e.mem = &d;
    asm_put(b, &e);
}

void asm_rrr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             enum asm_reg t)
{
    const struct asm_desc *desc = asm_desc(op, FORM(RVM) | FORM(RMV));
    struct asm_enc e = asm_int(desc, size);
    assert(size >= 4);
    e.reg = (uint8_t)d;
    e.vvvv = (uint8_t)(desc->form == RVM ? s : t);
    e.rm = (uint8_t)(desc->form == RVM ? t : s);
    asm_put_vex(b, &e);
}

void asm_rrm(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             struct asm_mem t)
{
    struct asm_enc e = asm_int(asm_desc(op, FORM(RVM)), size);
    assert(size >= 4);
    e.reg = (uint8_t)d;
    e.vvvv = (uint8_t)s;
    e.mem = &t;
    asm_put_vex(b, &e);
}

void asm_rmr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s,
             enum asm_reg t)
{
    struct asm_enc e = asm_int(asm_desc(op, FORM(RMV)), size);
    assert(size >= 4);
    e.reg = (uint8_t)d;
    e.vvvv = (uint8_t)t;
    e.mem = &s;
    asm_put_vex(b, &e);
}

static void asm_put_rmi(struct asm_buf *b, enum asm_op op, unsigned size, struct asm_enc *operands,
                        int32_t imm)
{
    struct asm_enc e = asm_int(&asm_table[op], size);
    e.reg = operands->reg;
    e.rm = operands->rm;
    e.mem = operands->mem;
    e.imm = imm;
    if (op == ASM_IMUL) {
        e.map = 0;
        e.opcode = asm_fits8(imm) ? 0x6b : 0x69;
        e.tail = (uint8_t)(asm_fits8(imm) ? 1 : size < 4 ? size : 4);
        asm_put(b, &e);
    } else {
        assert(asm_table[op].form == RMI && size >= 4 && imm >= 0 && imm < 64);
        e.tail = 1;
        asm_put_vex(b, &e);
    }
}

void asm_rri(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_reg s,
             int32_t imm)
{
    struct asm_enc e = {.reg = (uint8_t)d, .rm = (uint8_t)s};
    asm_put_rmi(b, op, size, &e, imm);
}

void asm_rmi(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, struct asm_mem s,
             int32_t imm)
{
    struct asm_enc e = {.reg = (uint8_t)d, .mem = &s};
    asm_put_rmi(b, op, size, &e, imm);
}

void asm_none(struct asm_buf *b, enum asm_op op)
{
    const struct asm_desc *t = asm_desc(op, FORM(NONE) | FORM(FENCE));
    if (!asm_room(b))
        return;
    if (t->prefix)
        asm_byte(b, t->prefix);
    if (t->flags & W1)
        asm_byte(b, 0x48);
    if (t->map)
        asm_byte(b, 0x0f);
    asm_byte(b, t->opcode);
    if (t->form == FENCE)
        asm_byte(b, 0xc0u | (unsigned)t->ext << 3);
}

void asm_mov_imm(struct asm_buf *b, enum asm_reg d, uint64_t imm)
{
    if (imm == (uint64_t)(int32_t)imm) {
        asm_ri(b, ASM_MOV, 8, d, (int32_t)imm);
    } else if (imm == (uint32_t)imm) {
        asm_ri(b, ASM_MOV, 4, d, (int32_t)imm);
    } else if (asm_room(b)) {
        asm_put_short(b, 8, 0xb8, d, false);
        asm_imm(b, imm, 8);
    }
}

void asm_zero(struct asm_buf *b, enum asm_reg d)
{
    asm_rr(b, ASM_XOR, 4, d, d);
}

void asm_lea(struct asm_buf *b, unsigned size, enum asm_reg d, struct asm_mem s)
{
    struct asm_enc e = {.opcode = 0x8d, .w = size == 8, .reg = (uint8_t)d, .mem = &s};
    assert(size == 4 || size == 8);
    asm_put(b, &e);
}

void asm_bswap(struct asm_buf *b, unsigned size, enum asm_reg d)
{
    unsigned rex = (size == 8 ? 8u : 0) | (unsigned)d >> 3;
    assert(size == 4 || size == 8);
    if (!asm_room(b))
        return;
    if (rex)
        asm_byte(b, 0x40 | rex);
    asm_byte(b, 0x0f);
    asm_byte(b, 0xc8u | (d & 7u));
}

static struct asm_enc asm_cond(unsigned opcode, enum asm_cc cc, unsigned size, unsigned reg)
{
    struct asm_enc e = {.map = 1, .opcode = (uint8_t)(opcode | cc), .reg = (uint8_t)reg};
    e.op16 = size == 2;
    e.w = size == 8;
    return e;
}

void asm_cmov_rr(struct asm_buf *b, enum asm_cc cc, unsigned size, enum asm_reg d, enum asm_reg s)
{
    struct asm_enc e = asm_cond(0x40, cc, size, d);
    assert(size > 1);
    e.rm = (uint8_t)s;
    asm_put(b, &e);
}

void asm_cmov_rm(struct asm_buf *b, enum asm_cc cc, unsigned size, enum asm_reg d, struct asm_mem s)
{
    struct asm_enc e = asm_cond(0x40, cc, size, d);
    assert(size > 1);
    e.mem = &s;
    asm_put(b, &e);
}

void asm_setcc_r(struct asm_buf *b, enum asm_cc cc, enum asm_reg d)
{
    struct asm_enc e = asm_cond(0x90, cc, 1, 0);
    e.rm = (uint8_t)d;
    e.rex = asm_low(1, d);
    asm_put(b, &e);
}

void asm_setcc_m(struct asm_buf *b, enum asm_cc cc, struct asm_mem d)
{
    struct asm_enc e = asm_cond(0x90, cc, 1, 0);
    e.mem = &d;
    asm_put(b, &e);
}

void asm_push(struct asm_buf *b, enum asm_reg r)
{
    if (asm_room(b))
        asm_put_short(b, 4, 0x50, r, false);
}

void asm_pop(struct asm_buf *b, enum asm_reg r)
{
    if (asm_room(b))
        asm_put_short(b, 4, 0x58, r, false);
}

void asm_lock(struct asm_buf *b)
{
    if (asm_room(b))
        asm_byte(b, 0xf0);
}
