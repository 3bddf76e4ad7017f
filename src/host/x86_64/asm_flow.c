#include "host/x86_64/asm_impl.h"

static void asm_bind_wide(struct asm_buf *b, struct asm_label *label, uint32_t target)
{
    while (label->wide) {
        uint8_t *field = b->start + label->wide - 1;
        uint32_t next;
        memcpy(&next, field, 4);
        uint32_t rel = target - (label->wide - 1 + 4 + (next & 7));
        memcpy(field, &rel, 4);
        label->wide = next >> 3;
    }
}

static void asm_bind_narrow(struct asm_buf *b, struct asm_label *label, uint32_t target)
{
    while (label->narrow) {
        uint8_t *field = b->start + label->narrow - 1;
        uint32_t rel = target - label->narrow;
        label->narrow = *field ? label->narrow - *field : 0;
        *field = (uint8_t)rel;
        if (rel > 127)
            b->overflow = true;
    }
}

void asm_bind(struct asm_buf *b, struct asm_label *label)
{
    uint32_t target = asm_pos(b);
    assert(!label->at);
    label->at = target + 1;
    asm_bind_wide(b, label, target);
    asm_bind_narrow(b, label, target);
}

/* narrow, wide: opcodes; narrow 0: there is none. Wide ones above 0xff have two bytes. */
static void asm_branch(struct asm_buf *b, unsigned narrow, unsigned wide, struct asm_label *label)
{
    int64_t rel = (int64_t)label->at - 1 - (asm_pos(b) + 2);
    if (!asm_room(b))
        return;
    if (label->at && narrow && asm_fits8(rel)) {
        asm_byte(b, narrow);
        asm_byte(b, (uint8_t)rel);
        return;
    }
    if (wide > 0xff)
        asm_byte(b, wide >> 8);
    asm_byte(b, wide & 0xff);
    asm_label_ref(b, label, 0);
}

static unsigned asm_jcc_wide(enum asm_cc cc)
{
    return 0x0f80u | cc;
}

void asm_jmp(struct asm_buf *b, struct asm_label *label)
{
    asm_branch(b, 0xeb, 0xe9, label);
}

void asm_jcc(struct asm_buf *b, enum asm_cc cc, struct asm_label *label)
{
    asm_branch(b, 0x70u | cc, asm_jcc_wide(cc), label);
}

void asm_call(struct asm_buf *b, struct asm_label *label)
{
    asm_branch(b, 0, 0xe8, label);
}

static void asm_branch_short(struct asm_buf *b, unsigned opcode, struct asm_label *label)
{
    uint32_t field = asm_pos(b) + 1;
    if (!asm_room(b))
        return;
    int64_t link = label->narrow ? (int64_t)field + 1 - label->narrow : 0;
    if (label->at)
        link = (int64_t)label->at - 1 - (field + 1);
    /* Two that wait for one label are closer to each other than it may be to the first. */
    if (label->at ? !asm_fits8(link) : link > 127) {
        b->overflow = true;
        return;
    }
    asm_byte(b, opcode);
    asm_byte(b, (uint8_t)link);
    if (!label->at)
        label->narrow = field + 1;
}

void asm_jmp_short(struct asm_buf *b, struct asm_label *label)
{
    asm_branch_short(b, 0xeb, label);
}

void asm_jcc_short(struct asm_buf *b, enum asm_cc cc, struct asm_label *label)
{
    asm_branch_short(b, 0x70u | cc, label);
}

static void asm_ind(struct asm_buf *b, unsigned ext, unsigned rm, const struct asm_mem *mem)
{
    struct asm_enc e = {.opcode = 0xff, .reg = (uint8_t)ext, .rm = (uint8_t)rm, .mem = mem};
    asm_put(b, &e);
}

void asm_jmp_r(struct asm_buf *b, enum asm_reg r)
{
    asm_ind(b, 4, r, NULL);
}

void asm_jmp_m(struct asm_buf *b, struct asm_mem m)
{
    asm_ind(b, 4, 0, &m);
}

void asm_call_r(struct asm_buf *b, enum asm_reg r)
{
    asm_ind(b, 2, r, NULL);
}

void asm_call_m(struct asm_buf *b, struct asm_mem m)
{
    asm_ind(b, 2, 0, &m);
}

static uint8_t *asm_rel32(struct asm_buf *b, unsigned opcode, const void *target)
{
    unsigned length = opcode > 0xff ? 2 : 1;
    if (!asm_room(b))
        return NULL;
    asm_nop(b, (unsigned)-((uintptr_t)b->p + length) & 3);
    int64_t rel = (int64_t)((uintptr_t)target - ((uintptr_t)b->p + length + 4));
    if (rel != (int32_t)rel || !asm_room(b)) {
        b->overflow = true;
        return NULL;
    }
    if (length > 1)
        asm_byte(b, opcode >> 8);
    asm_byte(b, opcode & 0xff);
    uint8_t *field = b->p;
    asm_imm(b, (uint32_t)rel, 4);
    return field;
}

uint8_t *asm_jmp_rel32(struct asm_buf *b, const void *target)
{
    return asm_rel32(b, 0xe9, target);
}

uint8_t *asm_jcc_rel32(struct asm_buf *b, enum asm_cc cc, const void *target)
{
    return asm_rel32(b, asm_jcc_wide(cc), target);
}

uint8_t *asm_call_rel32(struct asm_buf *b, const void *target)
{
    return asm_rel32(b, 0xe8, target);
}

void asm_patch_rel32(uint8_t *field, const void *target)
{
    int64_t rel = (int64_t)((uintptr_t)target - ((uintptr_t)field + 4));
    assert(((uintptr_t)field & 3) == 0 && rel == (int32_t)rel);
    __atomic_store_n((int32_t *)(void *)field, (int32_t)rel, __ATOMIC_RELEASE);
}

void asm_nop(struct asm_buf *b, unsigned n)
{
    static const uint8_t nops[][9] = {
        {0x90},
        {0x66, 0x90},
        {0x0f, 0x1f, 0x00},
        {0x0f, 0x1f, 0x40, 0x00},
        {0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };
    while (n > 0 && asm_room(b)) {
        unsigned length = n < 9 ? n : 9;
        memcpy(b->p, nops[length - 1], length);
        b->p += length;
        n -= length;
    }
}

void asm_align(struct asm_buf *b, unsigned align)
{
    assert(align && align <= 64 && !(align & (align - 1)));
    asm_nop(b, -asm_pos(b) & (align - 1));
}

void asm_data(struct asm_buf *b, const void *data, size_t n)
{
    if ((size_t)(b->end - b->p) < n)
        b->overflow = true;
    if (b->overflow)
        return;
    memcpy(b->p, data, n);
    b->p += n;
}
