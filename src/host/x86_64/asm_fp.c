#include "host/x86_64/asm_impl.h"

static struct asm_enc asm_x(const struct asm_desc *d, unsigned reg)
{
    return (struct asm_enc){.prefix = d->prefix,
                            .map = d->map,
                            .opcode = d->opcode,
                            .w = d->flags & W1,
                            .reg = (uint8_t)reg};
}

void asm_xx(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s)
{
    struct asm_enc e = asm_x(asm_desc(op, FORM(X) | FORM(XMOV) | FORM(XMOVQ)), d);
    e.rm = (uint8_t)s;
    asm_put(b, &e);
}

void asm_xm(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s)
{
    struct asm_enc e =
        asm_x(asm_desc(op, FORM(X) | FORM(XMOV) | FORM(XMOVQ) | FORM(XMOVD) | FORM(XR)), d);
    e.mem = &s;
    asm_put(b, &e);
}

void asm_xm8(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s)
{
    struct asm_enc e = asm_x(asm_desc(op, FORM(XR)), d);
    e.w = true;
    e.mem = &s;
    asm_put(b, &e);
}

void asm_mx(struct asm_buf *b, enum asm_op op, struct asm_mem d, enum asm_xmm s)
{
    const struct asm_desc *t = asm_desc(op, FORM(XMOV) | FORM(XMOVQ) | FORM(XMOVD));
    struct asm_enc e = asm_x(t, s);
    e.opcode = t->ext;
    if (t->form == XMOVQ)
        e.prefix = 0x66;
    e.mem = &d;
    asm_put(b, &e);
}

void asm_xr(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_xmm d, enum asm_reg s)
{
    struct asm_enc e = asm_x(asm_desc(op, FORM(XMOVD) | FORM(XR)), d);
    assert(size == 4 || size == 8);
    e.w = size == 8;
    e.rm = (uint8_t)s;
    asm_put(b, &e);
}

void asm_rx(struct asm_buf *b, enum asm_op op, unsigned size, enum asm_reg d, enum asm_xmm s)
{
    const struct asm_desc *t = asm_desc(op, FORM(XMOVD) | FORM(RX));
    struct asm_enc e = asm_x(t, d);
    assert(size == 4 || size == 8);
    e.w = size == 8;
    e.rm = (uint8_t)s;
    if (t->form == XMOVD) {
        e.opcode = t->ext;
        e.reg = (uint8_t)s;
        e.rm = (uint8_t)d;
    }
    asm_put(b, &e);
}

void asm_xxi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, uint8_t imm)
{
    struct asm_enc e = asm_x(asm_desc(op, FORM(XI)), d);
    e.rm = (uint8_t)s;
    e.imm = imm;
    e.tail = 1;
    asm_put(b, &e);
}

void asm_xmi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, struct asm_mem s, uint8_t imm)
{
    struct asm_enc e = asm_x(asm_desc(op, FORM(XI)), d);
    e.mem = &s;
    e.imm = imm;
    e.tail = 1;
    asm_put(b, &e);
}

void asm_xi(struct asm_buf *b, enum asm_op op, enum asm_xmm d, uint8_t imm)
{
    const struct asm_desc *t = asm_desc(op, FORM(XSHIFT));
    struct asm_enc e = asm_x(t, t->ext);
    e.rm = (uint8_t)d;
    e.imm = imm;
    e.tail = 1;
    asm_put(b, &e);
}

static struct asm_enc asm_x3(enum asm_op op, enum asm_xmm d, enum asm_xmm s)
{
    const struct asm_desc *t = asm_desc(op, FORM(FMA) | FORM(X));
    struct asm_enc e = asm_x(t, d);
    assert(t->form == FMA || (t->flags & NDS));
    e.vvvv = (uint8_t)s;
    return e;
}

void asm_xxx(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, enum asm_xmm t)
{
    struct asm_enc e = asm_x3(op, d, s);
    e.rm = (uint8_t)t;
    asm_put_vex(b, &e);
}

void asm_xxm(struct asm_buf *b, enum asm_op op, enum asm_xmm d, enum asm_xmm s, struct asm_mem t)
{
    struct asm_enc e = asm_x3(op, d, s);
    e.mem = &t;
    asm_put_vex(b, &e);
}
