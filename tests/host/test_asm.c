/*
 * The assembler against binutils: every form of every instruction with random and boundary operands
 * goes to a file together with the text that it should be. objdump must print that text, and `as`
 * must not know a shorter encoding of it. GUISE_SEED repeats a run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "asm_case.h"
#include "host/x86_64/asm_impl.h"

enum { ROUNDS = 40 };

struct operands {
    unsigned size, a, b, c; /* registers of either kind */
    int32_t imm;
    struct random_mem m; /* of that size */
};

static struct operands random_operands(struct test *t, unsigned smallest)
{
    struct operands o = {.size = 0, .a = pick(t, 16), .b = pick(t, 16), .c = pick(t, 16)};
    while (o.size < smallest)
        o.size = 1u << pick(t, 4);
    o.imm = random_imm(t);
    o.m = random_mem(t, o.size);
    return o;
}

static void try_rr(struct test *t, enum asm_op op, const struct operands *o)
{
    const char *a = reg_text(o->size, o->a), *b = reg_text(o->size, o->b);
    asm_rr(&t->code, op, o->size, o->a, o->b);
    if (op == ASM_XCHG && o->b == RAX && o->size > 1 && o->a != RAX)
        add(t, "xchg %s,%s", a, b);
    else if (op == ASM_XCHG && o->a == RAX && o->size > 1 && o->b != RAX)
        add(t, "xchg %s,%s", b, a);
    else
        add(t, "%s %s,%s", op_text(op), a, b)->assemble = op != ASM_XCHG || o->a != o->b;
}

static void try_mr(struct test *t, enum asm_op op, const struct operands *o, bool lock)
{
    if (lock)
        asm_lock(&t->code);
    asm_mr(&t->code, op, o->size, o->m.mem, o->a);
    add(t, "%s%s %s,%s", lock ? "lock " : "", op_text(op), o->m.text, reg_text(o->size, o->a));
}

static void try_ri(struct test *t, enum asm_op op, const struct operands *o)
{
    uint64_t imm = cut(o->imm, o->size);
    asm_ri(&t->code, op, o->size, o->a, o->imm);
    if (op == ASM_MOV && o->size == 8 && o->imm >= 0)
        add(t, "mov %s,0x%" PRIx64, reg_text(4, o->a), imm);
    else
        add(t, "%s %s,0x%" PRIx64, op_text(op), reg_text(o->size, o->a), imm);
}

static void try_mi(struct test *t, enum asm_op op, const struct operands *o)
{
    asm_mi(&t->code, op, o->size, o->m.mem, o->imm);
    add(t, "%s %s,0x%" PRIx64, op_text(op), o->m.text, cut(o->imm, o->size));
}

static void try_alu(struct test *t, enum asm_op op, unsigned form)
{
    struct operands o = random_operands(t, 1);
    try_rr(t, op, &o);
    try_mr(t, op, &o, form == ALU && op != ASM_CMP && pick(t, 2));
    if (form != TEST) {
        asm_rm(&t->code, op, o.size, o.b, o.m.mem);
        add(t, "%s %s,%s", op_text(op), reg_text(o.size, o.b), o.m.text);
    }
    try_ri(t, op, &o);
    o.a = RAX;
    try_ri(t, op, &o);
    try_mi(t, op, &o);
}

static void try_rmw(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, 1);
    try_mr(t, op, &o, op != ASM_XCHG && pick(t, 2));
    try_rr(t, op, &o);
    o.a = RAX;
    try_rr(t, op, &o);
    o.a = o.b;
    o.b = RAX;
    try_rr(t, op, &o);
}

static void try_unary(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, 1);
    asm_r(&t->code, op, o.size, o.a);
    add(t, "%s %s", op_text(op), reg_text(o.size, o.a));
    asm_m(&t->code, op, o.size, o.m.mem);
    add(t, "%s %s", op_text(op), o.m.text);
}

/* A shift by 1 is printed as a 1 whatever its encoding. */
static void try_shift(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, 1);
    int imm = pick(t, 4) ? (int)pick(t, 64) : 1;
    char text[8];
    snprintf(text, sizeof text, imm == 1 ? "1" : "0x%x", (unsigned)imm);
    asm_ri(&t->code, op, o.size, o.a, imm);
    add(t, "%s %s,%s", op_text(op), reg_text(o.size, o.a), text);
    asm_mi(&t->code, op, o.size, o.m.mem, imm);
    add(t, "%s %s,%s", op_text(op), o.m.text, text);
    asm_r_cl(&t->code, op, o.size, o.a);
    add(t, "%s %s,cl", op_text(op), reg_text(o.size, o.a));
    asm_m_cl(&t->code, op, o.size, o.m.mem);
    add(t, "%s %s,cl", op_text(op), o.m.text);
}

static void try_rm(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, op == ASM_MOVSXD ? 8 : 2);
    unsigned from = o.size;
    if (op == ASM_MOVZX8 || op == ASM_MOVSX8) {
        from = 1;
    } else if (op == ASM_MOVZX16 || op == ASM_MOVSX16) {
        from = 2;
        o.size = o.size == 2 ? 4 : o.size;
    } else if (op == ASM_MOVSXD) {
        from = 4;
    }
    mem_print(&o.m, from);
    asm_rr(&t->code, op, o.size, o.a, o.b);
    add(t, "%s %s,%s", op_text(op), reg_text(o.size, o.a), reg_text(from, o.b));
    asm_rm(&t->code, op, o.size, o.a, o.m.mem);
    add(t, "%s %s,%s", op_text(op), reg_text(o.size, o.a), o.m.text);
    if (op != ASM_IMUL)
        return;
    uint64_t imm = cut(o.size == 2 ? (int16_t)o.imm : o.imm, o.size);
    o.imm = o.size == 2 ? (int16_t)o.imm : o.imm;
    asm_rri(&t->code, op, o.size, o.a, o.b, o.imm);
    add(t, "imul %s,%s,0x%" PRIx64, reg_text(o.size, o.a), reg_text(o.size, o.b), imm);
    asm_rmi(&t->code, op, o.size, o.a, o.m.mem, o.imm);
    add(t, "imul %s,%s,0x%" PRIx64, reg_text(o.size, o.a), o.m.text, imm);
}

static void try_bit(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, 2);
    try_rr(t, op, &o);
    try_mr(t, op, &o, op != ASM_BT && pick(t, 2));
    o.imm = (int32_t)pick(t, 64);
    try_ri(t, op, &o);
    try_mi(t, op, &o);
}

static void try_mem(struct test *t, enum asm_op op)
{
    unsigned size = op == ASM_CMPXCHG8B                      ? 8
                    : op == ASM_CMPXCHG16B                   ? 16
                    : op == ASM_LDMXCSR || op == ASM_STMXCSR ? 4
                                                             : 1;
    struct random_mem m = random_mem(t, size);
    asm_m(&t->code, op, 8, m.mem);
    add(t, "%s %s", op_text(op), m.text);
}

static void try_vex(struct test *t, enum asm_op op, unsigned form)
{
    struct operands o = random_operands(t, 4);
    const char *name = op_text(op), *a = reg_text(o.size, o.a), *b = reg_text(o.size, o.b);
    const char *c = reg_text(o.size, o.c);
    unsigned imm = pick(t, 64);
    if (form == VM) {
        asm_rr(&t->code, op, o.size, o.a, o.b);
        add(t, "%s %s,%s", name, a, b);
        asm_rm(&t->code, op, o.size, o.a, o.m.mem);
        add(t, "%s %s,%s", name, a, o.m.text);
    } else if (form == RMI) {
        asm_rri(&t->code, op, o.size, o.a, o.b, (int32_t)imm);
        add(t, "%s %s,%s,0x%x", name, a, b, imm);
        asm_rmi(&t->code, op, o.size, o.a, o.m.mem, (int32_t)imm);
        add(t, "%s %s,%s,0x%x", name, a, o.m.text, imm);
    } else {
        asm_rrr(&t->code, op, o.size, o.a, o.b, o.c);
        add(t, "%s %s,%s,%s", name, a, b, c);
        if (form == RVM) {
            asm_rrm(&t->code, op, o.size, o.a, o.b, o.m.mem);
            add(t, "%s %s,%s,%s", name, a, b, o.m.text);
        } else {
            asm_rmr(&t->code, op, o.size, o.a, o.m.mem, o.c);
            add(t, "%s %s,%s,%s", name, a, o.m.text, c);
        }
    }
}

static void try_x(struct test *t, enum asm_op op, unsigned form)
{
    struct operands o = random_operands(t, 8);
    const char *name = op_text(op);
    mem_print(&o.m, x_size(op));
    if (form != XMOVD) {
        asm_xx(&t->code, op, o.a, o.b);
        add(t, "%s xmm%u,xmm%u", name, o.a, o.b);
    }
    asm_xm(&t->code, op, o.a, o.m.mem);
    add(t, "%s xmm%u,%s", name, o.a, o.m.text);
    if (form == XMOV || form == XMOVQ || form == XMOVD) {
        asm_mx(&t->code, op, o.m.mem, o.a);
        add(t, "%s %s,xmm%u", name, o.m.text, o.a);
    }
}

static void try_x3(struct test *t, enum asm_op op, unsigned form)
{
    struct operands o = random_operands(t, 8);
    const char *name = op_text(op), *v = form == FMA ? "" : "v";
    mem_print(&o.m, x_size(op));
    asm_xxx(&t->code, op, o.a, o.b, o.c);
    add(t, "%s%s xmm%u,xmm%u,xmm%u", v, name, o.a, o.b, o.c);
    asm_xxm(&t->code, op, o.a, o.b, o.m.mem);
    add(t, "%s%s xmm%u,xmm%u,%s", v, name, o.a, o.b, o.m.text);
}

/* Immediates for which there is no name of their own. */
static void try_xi(struct test *t, enum asm_op op)
{
    struct operands o = random_operands(t, 8);
    const char *name = op_text(op);
    uint8_t imm = (uint8_t)(pick(t, 100) + 0x20);
    mem_print(&o.m, x_size(op));
    asm_xxi(&t->code, op, o.a, o.b, imm);
    add(t, "%s xmm%u,xmm%u,0x%x", name, o.a, o.b, imm);
    asm_xmi(&t->code, op, o.a, o.m.mem, imm);
    add(t, "%s xmm%u,%s,0x%x", name, o.a, o.m.text, imm);
}

static void try_x_int(struct test *t, enum asm_op op, unsigned form)
{
    struct operands o = random_operands(t, 4);
    const char *name = op == ASM_MOVD && o.size == 8 ? "movq" : op_text(op);
    if (op == ASM_MOVMSKPS || op == ASM_MOVMSKPD)
        o.size = 4;
    if (form != RX) {
        asm_xr(&t->code, op, o.size, o.a, o.b);
        add(t, "%s xmm%u,%s", name, o.a, reg_text(o.size, o.b));
    }
    if (form != XR) {
        asm_rx(&t->code, op, o.size, o.a, o.b);
        add(t, "%s %s,xmm%u", name, reg_text(o.size, o.a), o.b);
    } else {
        (o.size == 8 ? asm_xm8 : asm_xm)(&t->code, op, o.a, o.m.mem);
        add(t, "%s xmm%u,%s", name, o.a, o.m.text);
    }
}

static void try_op(struct test *t, enum asm_op op)
{
    unsigned form = asm_table[op].form;
    if (form == ALU || form == MOV || form == TEST)
        try_alu(t, op, form);
    else if (form == RMW)
        try_rmw(t, op);
    else if (form == UNARY)
        try_unary(t, op);
    else if (form == SHIFT)
        try_shift(t, op);
    else if (form == RM || form == RM8)
        try_rm(t, op);
    else if (form == BIT)
        try_bit(t, op);
    else if (form == MEM)
        try_mem(t, op);
    else if (form == NONE || form == FENCE)
        asm_none(&t->code, op), add(t, "%s", op_text(op));
    else if (form == RVM || form == RMV || form == RMI || form == VM)
        try_vex(t, op, form);
    else if (form == X || form == XMOV || form == XMOVQ || form == XMOVD)
        try_x(t, op, form);
    else if (form == XI)
        try_xi(t, op);
    if (form == FMA || (form == X && (asm_table[op].flags & NDS)))
        try_x3(t, op, form);
    if (form == XR || form == RX || form == XMOVD)
        try_x_int(t, op, form);
    if (form == XSHIFT) {
        unsigned reg = pick(t, 16), imm = pick(t, 64);
        asm_xi(&t->code, op, reg, (uint8_t)imm);
        add(t, "%s xmm%u,0x%x", op_text(op), reg, imm);
    }
}

static void try_mov_imm(struct test *t)
{
    unsigned reg = pick(t, 16);
    uint64_t imm = random_next(t) >> pick(t, 64);
    if (pick(t, 2))
        imm = ~imm;
    asm_mov_imm(&t->code, reg, imm);
    if (imm <= UINT32_MAX)
        add(t, "mov %s,0x%" PRIx64, reg_text(4, reg), imm);
    else if (imm >= (uint64_t)INT32_MIN)
        add(t, "mov %s,0x%" PRIx64, reg_text(8, reg), imm);
    else
        add(t, "movabs %s,0x%" PRIx64, reg_text(8, reg), imm);
}

static void try_others(struct test *t)
{
    struct operands o = random_operands(t, 4);
    unsigned cc = pick(t, 16);
    const char *a = reg_text(o.size, o.a), *b = reg_text(o.size, o.b);
    try_mov_imm(t);
    asm_zero(&t->code, o.a);
    add(t, "xor %s,%s", reg_text(4, o.a), reg_text(4, o.a));
    asm_bswap(&t->code, o.size, o.a);
    add(t, "bswap %s", a);
    asm_push(&t->code, o.a);
    add(t, "push %s", reg_text(8, o.a));
    asm_pop(&t->code, o.a);
    add(t, "pop %s", reg_text(8, o.a));
    asm_cmov_rr(&t->code, cc, o.size, o.a, o.b);
    add(t, "cmov%s %s,%s", conditions[cc], a, b);
    asm_cmov_rm(&t->code, cc, o.size, o.a, o.m.mem);
    add(t, "cmov%s %s,%s", conditions[cc], a, o.m.text);
    asm_setcc_r(&t->code, cc, o.a);
    add(t, "set%s %s", conditions[cc], reg_text(1, o.a));
    mem_print(&o.m, 1);
    asm_setcc_m(&t->code, cc, o.m.mem);
    add(t, "set%s %s", conditions[cc], o.m.text);
    mem_print(&o.m, 0);
    asm_lea(&t->code, o.size, o.a, o.m.mem);
    add(t, "lea %s,%s", a, o.m.text);
    mem_print(&o.m, 8);
    asm_jmp_r(&t->code, o.a);
    add(t, "jmp %s", reg_text(8, o.a));
    asm_call_r(&t->code, o.a);
    add(t, "call %s", reg_text(8, o.a));
    asm_jmp_m(&t->code, o.m.mem);
    add(t, "jmp %s", o.m.text);
    asm_call_m(&t->code, o.m.mem);
    add(t, "call %s", o.m.text);
}

/* --- Labels: the text names offsets that are known afterwards --- */

/* An instruction that refers to `label`, with an immediate behind the displacement or without. */
static void add_label_ref(struct test *t, struct asm_label *label, unsigned kind, char *how)
{
    struct asm_mem m = asm_mem_label(label);
    if (kind == 0)
        asm_jmp(&t->code, label), strcpy(how, "jmp 0x%x");
    else if (kind == 1)
        asm_jcc(&t->code, CC_L, label), strcpy(how, "jl 0x%x");
    else if (kind == 2)
        asm_call(&t->code, label), strcpy(how, "call 0x%x");
    else if (kind == 3)
        asm_lea(&t->code, 8, R9, m), strcpy(how, "lea r9,[rip%s]");
    else if (kind == 4)
        asm_mi(&t->code, ASM_ADD, 8, m, 0x12345), strcpy(how, "add QWORD PTR [rip%s],0x12345");
    else if (kind == 5)
        asm_mi(&t->code, ASM_MOV, 2, m, 0x1234), strcpy(how, "mov WORD PTR [rip%s],0x1234");
    else if (kind == 6)
        asm_mi(&t->code, ASM_CMP, 1, m, 7), strcpy(how, "cmp BYTE PTR [rip%s],0x7");
    else if (kind == 7)
        asm_xmi(&t->code, ASM_ROUNDSD, XMM9, m, 3),
            strcpy(how, "roundsd xmm9,QWORD PTR [rip%s],0x3");
    else
        asm_xxm(&t->code, ASM_VFMADD213SD, XMM9, XMM1, m),
            strcpy(how, "vfmadd213sd xmm9,xmm1,QWORD PTR [rip%s]");
}

static void add_filler(struct test *t, unsigned n)
{
    for (; n > 0; n--) {
        asm_none(&t->code, ASM_INT3);
        add(t, "int3");
    }
}

enum { REFS = 9 };

static void try_label(struct test *t, unsigned gap)
{
    struct asm_label label = {0};
    char how[2 * REFS][64];
    size_t first[2 * REFS];
    uint32_t target = 0;
    for (unsigned i = 0; i < 2 * REFS; i++) {
        if (i == REFS) {
            add_filler(t, gap);
            target = asm_pos(&t->code);
            asm_bind(&t->code, &label);
            add_filler(t, gap);
        }
        add_label_ref(t, &label, i % REFS, how[i]);
        first[i] = t->count;
        add(t, "?");
    }
    for (unsigned i = 0; i < 2 * REFS; i++) {
        struct item *item = &t->items[first[i]];
        char *conversion = strstr(how[i], "%s");
        int64_t rel = (int64_t)target - (item->at + item->length);
        item->assemble = false;
        if (conversion)
            snprintf(item->text, MAX_TEXT, "%.*s+0x%" PRIx64 "%s", (int)(conversion - how[i]),
                     how[i], (uint64_t)rel, conversion + 2);
        else
            snprintf(item->text, MAX_TEXT, "%.*s0x%x", (int)(strstr(how[i], "0x") - how[i]), how[i],
                     target);
        /* Known and near: two bytes. */
        if (i >= REFS && i % REFS < 2 && rel >= -128 && item->length != 2) {
            printf("a jump over %" PRId64 " bytes back has %u bytes\n", rel, item->length);
            t->failures++;
        }
    }
}

/* Short jumps forward and back over `gap` bytes; 127 forward and 126 back are the limits. */
static void try_short(struct test *t, unsigned gap)
{
    struct asm_label ahead = {0}, behind = {0};
    size_t first = t->count;
    asm_jmp_short(&t->code, &ahead);
    add(t, "?");
    asm_jcc_short(&t->code, CC_NP, &ahead);
    add(t, "?");
    uint32_t back = asm_pos(&t->code);
    asm_bind(&t->code, &behind);
    add_filler(t, gap);
    uint32_t target = asm_pos(&t->code);
    asm_bind(&t->code, &ahead);
    size_t last = t->count;
    asm_jcc_short(&t->code, CC_G, &behind);
    add(t, "jg 0x%x", back)->assemble = false;
    snprintf(t->items[first].text, MAX_TEXT, "jmp 0x%x", target);
    snprintf(t->items[first + 1].text, MAX_TEXT, "jnp 0x%x", target);
    t->items[first].assemble = t->items[first + 1].assemble = false;
    if (t->items[first].length != 2 || t->items[last].length != 2)
        t->failures++;
}

static void try_labels(struct test *t)
{
    static const unsigned gaps[] = {0,   1,   60,  90,  110, 118, 120, 121, 122,
                                    123, 124, 125, 126, 127, 128, 200, 300};
    for (unsigned i = 0; i < sizeof gaps / sizeof *gaps; i++)
        try_label(t, gaps[i]);
    for (unsigned gap = 0; gap <= 125; gap += 25)
        try_short(t, gap);
}

static void try_padding(struct test *t)
{
    static const char *const texts[] = {
        "nop",
        "xchg ax,ax",
        "nop DWORD PTR [rax]",
        "nop DWORD PTR [rax+0x0]",
        "nop DWORD PTR [rax+rax*1+0x0]",
        "nop WORD PTR [rax+rax*1+0x0]",
        "nop DWORD PTR [rax+0x0]",
        "nop DWORD PTR [rax+rax*1+0x0]",
        "nop WORD PTR [rax+rax*1+0x0]",
    };
    for (unsigned n = 1; n <= 9; n++) {
        asm_nop(&t->code, n);
        add(t, "%s", texts[n - 1])->assemble = false;
    }
}

static void check_limits(struct test *t)
{
    uint8_t memory[400];
    struct asm_buf b;
    struct asm_label far = {0}, near = {0};
    for (unsigned size = 0; size < 60; size++) {
        memset(memory, 0xee, sizeof memory);
        asm_init(&b, memory, size);
        for (unsigned i = 0; i < 30; i++)
            asm_mi(&b, ASM_ADD, 8, asm_mem_index(R8, R9, 3, 1 << 20), 1 << 20);
        for (unsigned i = size; i < sizeof memory; i++)
            t->failures += memory[i] != 0xee;
        t->failures += !b.overflow || b.p > b.end;
    }
    asm_init(&b, memory, sizeof memory);
    asm_jmp_short(&b, &near);
    asm_nop(&b, 127);
    asm_bind(&b, &near);
    t->failures += b.overflow;
    asm_jmp_short(&b, &far);
    asm_nop(&b, 128);
    asm_bind(&b, &far);
    t->failures += !b.overflow;
}

int main(void)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    char dir[] = "/tmp/guise-asm-XXXXXX";
    struct test t = {.random = (seed << 1 | 1) * UINT64_C(0x9e3779b97f4a7c15)};
    printf("GUISE_SEED=%ju\n", (uintmax_t)seed);
    if (system("objdump --version >/dev/null 2>&1 && as --version >/dev/null 2>&1") != 0) {
        printf("skipped: objdump and as of binutils are not installed\n");
        return 77;
    }
    t.items = calloc(MAX_CASES + 1, sizeof *t.items);
    void *code = malloc(MAX_CODE);
    if (!t.items || !code || !mkdtemp(dir))
        return 1;
    asm_init(&t.code, code, MAX_CODE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned op = 0; op < ASM_OP_COUNT; op++)
            try_op(&t, op);
        try_others(&t);
    }
    try_labels(&t);
    try_padding(&t);
    check_text(&t, dir);
    check_length(&t, dir);
    check_limits(&t);
    printf("%zu instructions, %u bytes, %u failures\n", t.count, asm_pos(&t.code), t.failures);
    if (!t.failures)
        work_remove(dir);
    else
        printf("left for inspection: %s\n", dir);
    free(t.items);
    free(code);
    return t.failures ? 1 : 0;
}
