#include "host/x86_64/asm_impl.h"

const struct asm_desc asm_table[ASM_OP_COUNT] = {
#define ASM_OP(name, form, prefix, map, opcode, ext, flags) {form, prefix, map, opcode, ext, flags},
#include "host/x86_64/asm.def"
#undef ASM_OP
};

_Static_assert(ASM_OP_COUNT < 256, "operations fit a byte");

const char *asm_name(enum asm_op op)
{
    static const char names[][16] = {
#define ASM_OP(name, form, prefix, map, opcode, ext, flags) #name,
#include "host/x86_64/asm.def"
#undef ASM_OP
    };
    return op < ASM_OP_COUNT ? names[op] : "?";
}

/* The same address with fewer bytes: a base costs less than an index, rbp needs a displacement. */
static struct asm_mem asm_shorten(struct asm_mem m)
{
    if (m.index == ASM_NOREG) {
        m.scale = 0;
        return m;
    }
    assert(m.index != RSP && m.scale <= 3);
    if (m.base == ASM_NOREG && m.scale == 0) {
        m.base = m.index;
        m.index = ASM_NOREG;
    } else if (m.base == ASM_NOREG && m.scale == 1) {
        m.base = m.index;
        m.scale = 0;
    } else if (m.scale == 0 && m.disp == 0 && (m.base & 7) == RBP) {
        uint8_t base = m.base;
        m.base = m.index;
        m.index = base;
    }
    return m;
}

/* A field that a later asm_bind fills in: it holds the previous one and what follows the field. */
static void asm_wait_wide(struct asm_buf *b, struct asm_label *label, unsigned tail)
{
    uint32_t pos = asm_pos(b);
    assert(pos < UINT32_C(1) << 28);
    asm_imm(b, label->wide << 3 | tail, 4);
    label->wide = pos + 1;
}

void asm_label_ref(struct asm_buf *b, struct asm_label *label, unsigned tail)
{
    if (label->at)
        asm_imm(b, label->at - 1 - (asm_pos(b) + 4 + tail), 4);
    else
        asm_wait_wide(b, label, tail);
}

static void asm_modrm_mem(struct asm_buf *b, unsigned reg, const struct asm_mem *m, unsigned tail)
{
    unsigned mod, base = m->base & 7, index = m->index == ASM_NOREG ? RSP : m->index & 7;
    reg = (reg & 7) << 3;
    if (m->label) {
        asm_byte(b, reg | 5);
        asm_label_ref(b, m->label, tail);
        return;
    }
    if (m->base == ASM_NOREG) {
        asm_byte(b, reg | 4);
        asm_byte(b, (unsigned)m->scale << 6 | index << 3 | 5);
        asm_imm(b, (uint32_t)m->disp, 4);
        return;
    }
    mod = m->disp == 0 && base != RBP ? 0 : asm_fits8(m->disp) ? 1 : 2;
    if (m->index != ASM_NOREG || base == RSP) {
        asm_byte(b, mod << 6 | reg | 4);
        asm_byte(b, (unsigned)m->scale << 6 | index << 3 | base);
    } else {
        asm_byte(b, mod << 6 | reg | base);
    }
    asm_imm(b, (uint32_t)m->disp, mod == 2 ? 4 : mod);
}

static void asm_modrm(struct asm_buf *b, const struct asm_enc *e)
{
    if (e->mem)
        asm_modrm_mem(b, e->reg, e->mem, e->tail);
    else
        asm_byte(b, 0xc0u | (e->reg & 7u) << 3 | (e->rm & 7u));
    asm_imm(b, (uint32_t)e->imm, e->tail);
}

/* The bits R, X, B of REX. */
static unsigned asm_rxb(const struct asm_enc *e)
{
    unsigned v = (e->reg & 8u) >> 1;
    if (!e->mem)
        return v | (e->rm & 8u) >> 3;
    if (e->mem->index != ASM_NOREG)
        v |= (e->mem->index & 8u) >> 2;
    if (e->mem->base != ASM_NOREG)
        v |= (e->mem->base & 8u) >> 3;
    return v;
}

void asm_put(struct asm_buf *b, const struct asm_enc *e)
{
    struct asm_enc enc = *e;
    struct asm_mem mem;
    unsigned rex;
    if (!asm_room(b))
        return;
    if (e->mem) {
        mem = asm_shorten(*e->mem);
        enc.mem = &mem;
    }
    if (enc.op16)
        asm_byte(b, 0x66);
    if (enc.prefix)
        asm_byte(b, enc.prefix);
    rex = (enc.w ? 8u : 0) | asm_rxb(&enc);
    if (rex || enc.rex)
        asm_byte(b, 0x40 | rex);
    if (enc.map)
        asm_byte(b, 0x0f);
    if (enc.map > 1)
        asm_byte(b, enc.map == 2 ? 0x38 : 0x3a);
    asm_byte(b, enc.opcode);
    asm_modrm(b, &enc);
}

void asm_put_vex(struct asm_buf *b, const struct asm_enc *e)
{
    struct asm_enc enc = *e;
    struct asm_mem mem;
    unsigned pp = e->prefix == 0x66 ? 1 : e->prefix == 0xf3 ? 2 : e->prefix == 0xf2 ? 3 : 0;
    unsigned rxb, last;
    if (!asm_room(b))
        return;
    if (e->mem) {
        mem = asm_shorten(*e->mem);
        enc.mem = &mem;
    }
    rxb = asm_rxb(&enc);
    last = (~(unsigned)enc.vvvv & 15) << 3 | pp;
    if (!(rxb & 3) && !enc.w && enc.map == 1) {
        asm_byte(b, 0xc5);
        asm_byte(b, (rxb ^ 4) << 5 | last);
    } else {
        asm_byte(b, 0xc4);
        asm_byte(b, (rxb ^ 7) << 5 | enc.map);
        asm_byte(b, (enc.w ? 0x80u : 0) | last);
    }
    asm_byte(b, enc.opcode);
    asm_modrm(b, &enc);
}
