#include "isa/riscv64/disasm.h"

#include "isa/riscv64/decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct rv_text {
    char *buf;
    size_t size, used; /* used may pass size: what would have been written */
    uint64_t pc;
};

__attribute__((format(printf, 2, 3))) static void rv_print(struct rv_text *t, const char *fmt, ...)
{
    size_t room = t->used < t->size ? t->size - t->used : 0;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(room ? t->buf + t->used : NULL, room, fmt, ap);
    va_end(ap);
    t->used += n > 0 ? (size_t)n : 0;
}

/* Styles of operands: each prints one member of struct rv_insn -------------------------------- */

static void rv_print_x(struct rv_text *t, int32_t value)
{
    static const char names[32][5] = {
        "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
        "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
        "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    };
    rv_print(t, "%s", names[value & 31]);
}

static void rv_print_f(struct rv_text *t, int32_t value)
{
    static const char names[32][5] = {
        "ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
        "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
        "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
    };
    rv_print(t, "%s", names[value & 31]);
}

static void rv_print_dec(struct rv_text *t, int32_t value)
{
    rv_print(t, "%" PRId32, value);
}

static void rv_print_regno(struct rv_text *t, int32_t value)
{
    rv_print_dec(t, value);
}

static void rv_print_hex(struct rv_text *t, int32_t value)
{
    rv_print(t, "0x%" PRIx32, (uint32_t)value);
}

static void rv_print_hi20(struct rv_text *t, int32_t value)
{
    rv_print(t, "0x%" PRIx32, (uint32_t)value >> 12);
}

static void rv_print_pcrel(struct rv_text *t, int32_t value)
{
    rv_print(t, "0x%" PRIx64, t->pc + (uint64_t)(int64_t)value);
}

static void rv_print_csr(struct rv_text *t, int32_t value)
{
    const char *name = rv_csr_name((unsigned)value);
    if (name)
        rv_print(t, "%s", name);
    else
        rv_print(t, "0x%" PRIx32, (uint32_t)value);
}

/* Takes back the comma before an operand that is not shown. */
static void rv_print_nothing(struct rv_text *t)
{
    t->used--;
    if (t->used < t->size)
        t->buf[t->used] = 0;
}

static void rv_print_round(struct rv_text *t, int32_t value)
{
    static const char names[5][4] = {"rne", "rtz", "rdn", "rup", "rmm"};
    if (value < 5)
        rv_print(t, "%s", names[value]);
    else
        rv_print_nothing(t); /* the dynamic rounding mode */
}

static void rv_print_exact(struct rv_text *t, int32_t value)
{
    if (value)
        rv_print_round(t, value);
    else
        rv_print_nothing(t);
}

static void rv_print_fence_set(struct rv_text *t, unsigned set)
{
    rv_print(t, "%s%s%s%s%s", set & 8 ? "i" : "", set & 4 ? "o" : "", set & 2 ? "r" : "",
             set & 1 ? "w" : "", set ? "" : "unknown");
}

static void rv_print_fence(struct rv_text *t, int32_t value)
{
    rv_print_fence_set(t, (unsigned)value >> 4 & 15);
    rv_print(t, ",");
    rv_print_fence_set(t, (unsigned)value & 15);
}

static void rv_print_fli(struct rv_text *t, int32_t value)
{
    static const char *const values[32] = {
        "-0x1p+0",  "min",      "0x1p-16",  "0x1p-15",  "0x1p-8",   "0x1p-7",   "0x1p-4",
        "0x1p-3",   "0x1p-2",   "0x1.4p-2", "0x1.8p-2", "0x1.cp-2", "0x1p-1",   "0x1.4p-1",
        "0x1.8p-1", "0x1.cp-1", "0x1p+0",   "0x1.4p+0", "0x1.8p+0", "0x1.cp+0", "0x1p+1",
        "0x1.4p+1", "0x1.8p+1", "0x1p+2",   "0x1p+3",   "0x1p+4",   "0x1p+7",   "0x1p+8",
        "0x1p+15",  "0x1p+16",  "inf",      "nan",
    };
    rv_print(t, "%s", values[value & 31]);
}

/* ---------------------------------------------------------------------------------------------- */

static void rv_print_operand(struct rv_text *t, char letter, const struct rv_insn *insn)
{
    switch (letter) {
#define RV_OPERAND(letter, slot, style)  \
    case letter:                         \
        rv_print_##style(t, insn->slot); \
        break;
#include "isa/riscv64/rv_operands.def"
#undef RV_OPERAND
    }
}

/* The ordering bits of atomic instructions are part of the mnemonic. */
static const char *rv_suffix(const struct rv_insn *insn)
{
    static const char suffixes[4][6] = {"", ".rl", ".aq", ".aqrl"};
    switch (rv_op_info(insn->op)->kind) {
    case RV_KIND_LR:
    case RV_KIND_SC:
    case RV_KIND_AMO:
    case RV_KIND_AMOCAS:
        return suffixes[insn->rm & 3];
    default:
        return "";
    }
}

int rv_disasm(uint32_t bits, uint64_t pc, uint64_t exts, char *buf, size_t size)
{
    struct rv_text t = {.buf = buf, .size = size, .pc = pc};
    struct rv_insn insn;
    if (!rv_decode(bits, exts, &insn)) {
        rv_print(&t, ".insn\t%u, 0x%0*" PRIx32, insn.len, insn.len * 2,
                 insn.len == 2 ? bits & 0xffff : bits);
        return (int)t.used;
    }

    const struct rv_enc_info *enc = rv_enc_info(insn.enc);
    rv_print(&t, "%s%s%s", enc->name, rv_suffix(&insn), enc->text[0] ? "\t" : "");
    for (const char *c = enc->text; *c; c++) {
        if (*c == '%')
            rv_print_operand(&t, *++c, &insn);
        else
            rv_print(&t, "%c", *c);
    }
    return (int)t.used;
}

const char *rv_csr_name(unsigned number)
{
    switch (number) {
#define RV_CSR(number, ID, name) \
    case number:                 \
        return #name;
#include "isa/riscv64/csrs.def"
#undef RV_CSR
    default:
        return NULL;
    }
}
