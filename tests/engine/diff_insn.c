/*
 * Each row of the instruction table alone: words with random fields, each run over records of
 * operands that it loads before and results that it stores after.
 */
#include "diff.h"
#include "operands.h"

#include "base/bits.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <stdio.h>
#include <stdlib.h>

#define WORDS 20
#define RECORDS 64
#define FIRST_RECORD 4096
#define DUMP 1024

/* A record, 192 bytes; the memory is a cache block. */
struct record {
    uint64_t fcsr, rs1, rs2, rs3, rd, rd_high, rs2_high; /* in; _high are those of pairs */
    uint64_t out_rd, out_rd_high, out_fcsr, out_path;
    uint64_t unused[5];
    uint64_t memory[8];
};

_Static_assert(sizeof(struct record) == 192, "records are in the generated code");

#define OFFSET(m) ((int32_t)offsetof(struct record, m))
#define RECORD_ADDRESS(n) (PROG_DATA + FIRST_RECORD + (n) * sizeof(struct record))

struct batch {
    struct diff *diff;
    struct prog prog;
    char name[40];
    struct {
        uint32_t word;
        struct rv_insn insn;
        uint64_t pc;
    } words[WORDS];
    unsigned count;
    unsigned base, end, temp; /* registers that the instruction must not use */
};

static unsigned kind_of(const struct rv_insn *in)
{
    return rv_op_info(in->op)->kind;
}

static bool is_memory(unsigned kind)
{
    return kind == RV_KIND_LOAD || kind == RV_KIND_STORE || kind == RV_KIND_FLOAD ||
           kind == RV_KIND_FSTORE || kind == RV_KIND_LR || kind == RV_KIND_SC ||
           kind == RV_KIND_AMO || kind == RV_KIND_AMOCAS || kind == RV_KIND_CBO;
}

static bool is_atomic(unsigned kind)
{
    return kind == RV_KIND_LR || kind == RV_KIND_SC || kind == RV_KIND_AMO ||
           kind == RV_KIND_AMOCAS;
}

/* Bytes of memory that the instruction accesses. */
static unsigned width_of(const struct rv_insn *in)
{
    const char *name = rv_op_info(in->op)->name;
    if (is_atomic(kind_of(in)))
        return strstr(name, ".q") ? 16 : strstr(name, ".d") ? 8 : 4;
    char last = name[strlen(name) - 1] == 'u' ? name[strlen(name) - 2] : name[strlen(name) - 1];
    return last == 'b' ? 1 : last == 'h' ? 2 : last == 'w' ? 4 : 8;
}

/* Rows that are run here; traps and what is only for privileged modes are not. */
static bool row_runs(unsigned enc)
{
    unsigned op = rv_enc_info(enc)->op;
    const struct rv_insn any = {.op = (uint16_t)op, .rd = 1};
    if (diff_accepted(&any))
        return false;
    return rv_op_info(op)->kind != RV_KIND_SYSTEM || op == RV_OP_WRS_NTO || op == RV_OP_WRS_STO;
}

static bool uses(const struct rv_insn *in, unsigned reg)
{
    const struct rv_op_info *op = rv_op_info(in->op);
    bool pair = in->op == RV_OP_AMOCAS_Q;
    return (op->rd_class == RV_CLASS_x && (in->rd == reg || (pair && in->rd + 1u == reg))) ||
           (op->rs1_class == RV_CLASS_x && in->rs1 == reg) ||
           (op->rs2_class == RV_CLASS_x && (in->rs2 == reg || (pair && in->rs2 + 1u == reg)));
}

/* ---- code ---- */

/* The word with fields as the test needs them. */
static uint32_t fit_word(struct rng *r, uint32_t word, const struct rv_insn *in)
{
    static const uint16_t csrs[] = {1, 2, 3};
    switch (kind_of(in)) {
    case RV_KIND_CSR:
        return (word & 0xfffff) | (uint32_t)csrs[rng_below(r, 3)] << 20;
    case RV_KIND_BRANCH:
        return in->len == 2 ? asm_c_branch(in->op == RV_OP_BNE, in->rs1, 6)
                            : asm_branch(word >> 12 & 7, in->rs1, in->rs2, 8);
    case RV_KIND_JAL:
        return in->len == 2 ? asm_c_j(6) : asm_jal(in->rd, 8);
    default:
        return word;
    }
}

static bool choose_word(struct batch *b, struct rng *r, unsigned enc)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t word = rv_encode_random(enc, rng_next(r));
        struct rv_insn in;
        if (!rv_decode(word, RV_EXTS_DEFAULT, &in))
            return false;
        word = fit_word(r, word, &in);
        rv_decode(word, RV_EXTS_DEFAULT, &in);
        bool address = is_memory(kind_of(&in)) || in.op == RV_OP_JALR;
        if (uses(&in, b->base) || uses(&in, b->end) || uses(&in, b->temp) || (address && !in.rs1) ||
            diff_accepted(&in))
            continue;
        b->words[b->count].word = word;
        b->words[b->count].insn = in;
        return true;
    }
    return false;
}

static void emit_operand(struct batch *b, unsigned class, unsigned reg, int32_t offset)
{
    if (class == RV_CLASS_f)
        prog_emit(&b->prog, asm_fld(reg, b->base, offset), 4);
    else if (class == RV_CLASS_x && reg)
        prog_emit(&b->prog, asm_ld(reg, b->base, offset), 4);
}

static void emit_result(struct batch *b, unsigned class, unsigned reg, int32_t offset)
{
    if (class == RV_CLASS_f)
        prog_emit(&b->prog, asm_fsd(reg, b->base, offset), 4);
    else if (class == RV_CLASS_x)
        prog_emit(&b->prog, asm_sd(reg, b->base, offset), 4);
}

/* The loop over the records of the word; returns where a jump goes. */
static uint64_t emit_word(struct batch *b, unsigned index)
{
    struct prog *p = &b->prog;
    const struct rv_insn *in = &b->words[index].insn;
    const struct rv_op_info *op = rv_op_info(in->op);
    bool pair = in->op == RV_OP_AMOCAS_Q;

    prog_li(p, b->base, (int32_t)RECORD_ADDRESS(index * RECORDS));
    prog_li(p, b->end, (int32_t)RECORD_ADDRESS((index + 1) * RECORDS));
    uint64_t loop = prog_pc(p);
    prog_emit(p, asm_ld(b->temp, b->base, OFFSET(fcsr)), 4);
    prog_emit(p, asm_csrw(CSR_FCSR, b->temp), 4);
    if (pair && in->rd)
        emit_operand(b, RV_CLASS_x, in->rd + 1u, OFFSET(rd_high));
    if (pair && in->rs2)
        emit_operand(b, RV_CLASS_x, in->rs2 + 1u, OFFSET(rs2_high));
    emit_operand(b, op->rd_class, in->rd, OFFSET(rd));
    emit_operand(b, op->rs3_class, in->rs3, OFFSET(rs3));
    emit_operand(b, op->rs2_class, in->rs2, OFFSET(rs2));
    emit_operand(b, op->rs1_class, in->rs1, OFFSET(rs1));
    prog_li(p, b->temp, 1);
    b->words[index].pc = prog_pc(p);
    prog_emit(p, b->words[index].word, in->len);
    prog_li(p, b->temp, 2);
    uint64_t landing = prog_pc(p);
    prog_emit(p, asm_sd(b->temp, b->base, OFFSET(out_path)), 4);
    emit_result(b, op->rd_class, in->rd, OFFSET(out_rd));
    if (pair)
        emit_result(b, RV_CLASS_x, in->rd ? in->rd + 1u : 0, OFFSET(out_rd_high));
    prog_emit(p, asm_csrr(b->temp, CSR_FCSR), 4);
    prog_emit(p, asm_sd(b->temp, b->base, OFFSET(out_fcsr)), 4);
    prog_emit(p, asm_addi(b->base, b->base, sizeof(struct record)), 4);
    prog_emit(p, asm_branch(1, b->base, b->end, (int32_t)(loop - prog_pc(p))), 4);
    return landing;
}

/* ---- operands ---- */

/* A format that the name mentions, mostly. */
static char format_of(struct rng *r, const char *name)
{
    char found[4] = "";
    unsigned n = 0;
    for (const char *dot = strchr(name, '.'); dot && n < 3; dot = strchr(dot + 1, '.'))
        if (strchr("hsd", dot[1]) && !dot[2 + (dot[1] == 0)])
            found[n++] = dot[1];
        else if (strchr("hsd", dot[1]) && dot[2] == '.')
            found[n++] = dot[1];
    if (!n || !rng_below(r, 6))
        return "hsd"[rng_below(r, 3)];
    return found[rng_below(r, n)];
}

static uint64_t operand(struct rng *r, unsigned class, char format)
{
    return class == RV_CLASS_f ? operand_fp(r, format) : operand_int(r);
}

/* Now and then two operands have something to do with each other. */
static uint64_t related(struct rng *r, uint64_t other, uint64_t value, char format)
{
    uint64_t sign = format == 'h' ? 0x8000 : format == 's' ? 0x80000000u : UINT64_C(1) << 63;
    switch (rng_below(r, 16)) {
    case 0:
        return other;
    case 1:
        return other ^ sign;
    case 2:
        return other + rng_below(r, 3) - 1;
    case 3:
        return -other;
    default:
        return value;
    }
}

static void fill_record(struct batch *b, struct rng *r, unsigned index, unsigned n,
                        uint64_t landing)
{
    const struct rv_insn *in = &b->words[index].insn;
    const struct rv_op_info *op = rv_op_info(in->op);
    uint64_t at = FIRST_RECORD + (index * RECORDS + n) * sizeof(struct record);
    struct record *rec = (struct record *)(void *)(b->prog.data + at);
    char format = format_of(r, op->name);
    unsigned frm = rng_below(r, kind_of(in) == RV_KIND_CSR ? 8 : 5);

    rec->fcsr = frm << 5 | (rng_below(r, 2) ? 0 : rng_below(r, 32));
    rec->rs1 = operand(r, op->rs1_class, format);
    rec->rs2 = related(r, rec->rs1, operand(r, op->rs2_class, format), format);
    rec->rs3 = related(r, rec->rs1, operand(r, op->rs3_class, format), format);
    rec->rd = operand(r, op->rd_class, format);
    rec->rd_high = operand_int(r);
    rec->rs2_high = operand_int(r);
    for (unsigned i = 0; i < ARRAY_SIZE(rec->memory); i++)
        rec->memory[i] = rng_below(r, 2) ? operand_int(r) : operand_fp_any(r);
    if (is_memory(kind_of(in))) {
        unsigned width = width_of(in);
        unsigned place = rng_below(r, 64 - width + 1);
        if (is_atomic(kind_of(in)) || rng_below(r, 2))
            place -= place % width;
        rec->rs1 = PROG_DATA + at + offsetof(struct record, memory) + place;
        if (kind_of(in) == RV_KIND_AMOCAS && rng_below(r, 2)) {
            memcpy((uint8_t *)rec->memory + place, &rec->rd, width < 8 ? width : 8);
            if (width == 16)
                memcpy((uint8_t *)rec->memory + place + 8, &rec->rd_high, 8);
        }
        if (kind_of(in) != RV_KIND_CBO)
            rec->rs1 -= (uint64_t)(int64_t)(is_atomic(kind_of(in)) ? 0 : in->imm);
    }
    if (in->op == RV_OP_JALR)
        rec->rs1 = landing - (uint64_t)(int64_t)in->imm + (rng_below(r, 2) && !(in->imm & 1));
}

/* ---- a batch ---- */

static void print_record(const char *who, const struct record *rec)
{
    printf("    %s: rd %016lx %016lx fcsr %02lx path %lu memory", who, (unsigned long)rec->out_rd,
           (unsigned long)rec->out_rd_high, (unsigned long)rec->out_fcsr,
           (unsigned long)rec->out_path);
    for (unsigned i = 0; i < 8; i++)
        printf(" %016lx", (unsigned long)rec->memory[i]);
    printf("\n");
}

static void batch_differ(void *ctx, const struct engine_ops *engine, const uint8_t *peer,
                         const uint8_t *ours)
{
    struct batch *b = ctx;
    unsigned shown = 0;
    (void)engine;
    for (unsigned i = 0; i < b->count * RECORDS && shown < 5; i++) {
        uint64_t at = FIRST_RECORD + i * sizeof(struct record);
        if (!memcmp(peer + at, ours + at, sizeof(struct record)))
            continue;
        const struct record *in = (const void *)(b->prog.data + at);
        shown++;
        prog_print(&b->prog, b->words[i / RECORDS].pc, 1, b->words[i / RECORDS].pc);
        printf("    record %u: fcsr %02lx rs1 %016lx rs2 %016lx rs3 %016lx rd %016lx %016lx\n", i,
               (unsigned long)in->fcsr, (unsigned long)in->rs1, (unsigned long)in->rs2,
               (unsigned long)in->rs3, (unsigned long)in->rd, (unsigned long)in->rd_high);
        print_record("peer", (const void *)(peer + at));
        print_record("ours", (const void *)(ours + at));
    }
    if (!shown)
        printf("    other registers or memory changed\n");
}

static void choose_registers(struct batch *b, struct rng *r)
{
    do {
        b->base = 1 + rng_below(r, 31);
        b->end = 1 + rng_below(r, 31);
        b->temp = 1 + rng_below(r, 31);
        /* Some compressed encodings name ra and sp. */
    } while (b->base < 3 || b->end < 3 || b->temp < 3 || b->base == b->end || b->base == b->temp ||
             b->end == b->temp);
}

static void run_row(struct diff *d, unsigned enc)
{
    struct batch b = {.diff = d};
    struct rng r;
    snprintf(b.name, sizeof b.name, "insn/%s", rv_enc_info(enc)->name);
    if (!row_runs(enc) || !diff_part(d, b.name, &r))
        return;
    for (unsigned round = 0; round < (d->scale + 9) / 10; round++) {
        prog_init(&b.prog, FIRST_RECORD + WORDS * RECORDS * sizeof(struct record));
        choose_registers(&b, &r);
        for (unsigned i = 1; i < 64; i++)
            le64_put(b.prog.data + 8 * i, i < 32 ? operand_int(&r) : operand_fp_any(&r));
        prog_li(&b.prog, b.base, (int32_t)PROG_DATA);
        prog_restore(&b.prog, b.base, 0, 0, b.temp);
        for (b.count = 0; b.count < WORDS && choose_word(&b, &r, enc); b.count++) {
            uint64_t landing = emit_word(&b, b.count);
            for (unsigned i = 0; i < RECORDS; i++)
                fill_record(&b, &r, b.count, i, landing);
        }
        prog_li(&b.prog, b.base, (int32_t)PROG_DATA);
        prog_dump(&b.prog, b.base, 0, DUMP, b.temp);
        prog_exit(&b.prog);
        if (b.count < WORDS) {
            printf("%s: cannot make words\n", b.name);
            d->failures++;
        }
        d->cases += b.count * RECORDS;
        diff_run(d, b.name, &b.prog, batch_differ, &b);
        prog_fini(&b.prog);
    }
}

void diff_instructions(struct diff *d)
{
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        run_row(d, enc);
}
