#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asm_case.h"

uint64_t random_next(struct test *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

unsigned pick(struct test *t, unsigned n)
{
    return (unsigned)(random_next(t) >> 20) % n;
}

struct item *add(struct test *t, const char *fmt, ...)
{
    uint32_t last = t->count ? t->items[t->count - 1].at + t->items[t->count - 1].length : 0;
    struct item *item = &t->items[t->count++];
    va_list args;
    if (t->count > MAX_CASES || t->code.overflow) {
        fprintf(stderr, "the test's buffers are too small\n");
        exit(1);
    }
    item->at = last;
    item->length = asm_pos(&t->code) - last;
    item->assemble = true;
    va_start(args, fmt);
    vsnprintf(item->text, sizeof item->text, fmt, args);
    va_end(args);
    return item;
}

const char *reg_text(unsigned size, unsigned reg)
{
    static const char names[4][16][5] = {
        {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b",
         "r13b", "r14b", "r15b"},
        {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w",
         "r13w", "r14w", "r15w"},
        {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d",
         "r12d", "r13d", "r14d", "r15d"},
        {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
         "r13", "r14", "r15"},
    };
    return names[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3][reg];
}

const char *const conditions[16] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                    "s", "ns", "p", "np", "l", "ge", "le", "g"};

static const char *size_text(unsigned size)
{
    return size == 1    ? "BYTE PTR "
           : size == 2  ? "WORD PTR "
           : size == 4  ? "DWORD PTR "
           : size == 8  ? "QWORD PTR "
           : size == 16 ? "XMMWORD PTR "
                        : "";
}

const char *op_text(enum asm_op op)
{
    static const struct {
        enum asm_op op;
        const char *text;
    } others[] = {
        {ASM_MUL1, "mul"},      {ASM_IMUL1, "imul"},   {ASM_MOVZX8, "movzx"},
        {ASM_MOVZX16, "movzx"}, {ASM_MOVSX8, "movsx"}, {ASM_MOVSX16, "movsx"},
        {ASM_PUSHFQ, "pushf"},  {ASM_POPFQ, "popf"},
    };
    static char text[2][24];
    static unsigned which;
    char *to = text[which++ % 2];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (others[i].op == op)
            return others[i].text;
    }
    const char *name = asm_name(op);
    size_t n = 0;
    for (; name[n]; n++)
        to[n] = (char)tolower(name[n]);
    to[n] = 0;
    return to;
}

unsigned x_size(enum asm_op op)
{
    const char *name = asm_name(op);
    size_t n = strlen(name);
    if (op == ASM_CVTSD2SS || op == ASM_MOVQ)
        return 8;
    if (op == ASM_CVTSS2SD || op == ASM_MOVD)
        return 4;
    return n > 2 && !strcmp(name + n - 2, "SS") ? 4 : n > 2 && !strcmp(name + n - 2, "SD") ? 8 : 16;
}

uint64_t cut(int64_t v, unsigned size)
{
    return size == 8 ? (uint64_t)v : (uint64_t)v & ((UINT64_C(1) << size * 8) - 1);
}

int32_t random_imm(struct test *t)
{
    static const int32_t edges[] = {0,   1,         -1,        127,   128,   -128,   -129,   255,
                                    256, INT32_MAX, INT32_MIN, 32767, 32768, -32768, -32769, 65535};
    unsigned kind = pick(t, 4);
    if (kind == 0)
        return edges[pick(t, sizeof edges / sizeof *edges)];
    return (int32_t)random_next(t) >> (kind == 1 ? 0 : kind == 2 ? 16 : 25);
}

static const char *disp_text(int64_t disp)
{
    static char text[24];
    snprintf(text, sizeof text, "%c0x%" PRIx64, disp < 0 ? '-' : '+',
             (uint64_t)(disp < 0 ? -disp : disp));
    return text;
}

void mem_print(struct random_mem *r, unsigned size)
{
    unsigned base = r->mem.base, index = r->mem.index, scale = r->mem.scale;
    int64_t disp = r->mem.disp;
    char *to = r->text;
    bool indexed = index != ASM_NOREG;
    if (indexed && base == ASM_NOREG && scale < 2) {
        base = index;
        indexed = scale == 1;
        scale = 0;
    } else if (indexed && scale == 0 && disp == 0 && (base == RBP || base == R13)) {
        index = base;
        base = r->mem.index;
    }
    to += sprintf(to, "%s", size_text(size));
    if (base == ASM_NOREG && !indexed) {
        sprintf(to, "ds:0x%" PRIx64, (uint64_t)disp);
        return;
    }
    *to++ = '[';
    if (base != ASM_NOREG)
        to += sprintf(to, "%s", reg_text(8, base));
    if (indexed)
        to += sprintf(to, "%s%s*%u", base == ASM_NOREG ? "" : "+", reg_text(8, index), 1u << scale);
    if (disp || base == RBP || base == R13 || base == ASM_NOREG)
        to += sprintf(to, "%s", disp_text(disp));
    strcpy(to, "]");
}

struct random_mem random_mem(struct test *t, unsigned size)
{
    struct random_mem r;
    unsigned kind = pick(t, 10), base = pick(t, 16), index = pick(t, 16);
    int32_t disp = pick(t, 4) == 0 ? 0 : random_imm(t);
    if (index == RSP)
        index = R12;
    if (kind < 5)
        r.mem = asm_mem(base, disp);
    else if (kind < 9)
        r.mem = asm_mem_index(base, index, pick(t, 4), disp);
    else
        r.mem = asm_mem_index(ASM_NOREG, pick(t, 4) ? index : ASM_NOREG, pick(t, 4), disp);
    mem_print(&r, size);
    return r;
}
