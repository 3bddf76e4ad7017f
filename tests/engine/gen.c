/*
 * Registers. Each program reserves some, at random: two pointers into the scratch area (sp, for
 * the compressed forms that name it, and one of x8..x15), a counter for each depth of loops, two
 * links for the two levels of functions, and a temporary for addresses. Everything else is free
 * for random instructions, which may read the reserved ones but not write them; the temporary may
 * be written by all.
 *
 * Data: registers at 0, the dump at GEN_DUMP, words for self-modifying code at WORDS, then the
 * scratch area of several pages, which the pointers show into the middle of.
 */
#include "gen.h"
#include "diff.h"
#include "operands.h"

#include "base/bits.h"

#include <assert.h>
#include <stdlib.h>

#define WORDS 2048
#define WORD_COUNT 64
#define SCRATCH 4096
#define SCRATCH_SIZE 16384
#define MIDDLE (SCRATCH + SCRATCH_SIZE / 2)
#define STACK \
    (SCRATCH + 4096 - 256) /* sp: up to 504 bytes are addressed from it, over a page's end */
#define DATA_SIZE (SCRATCH + SCRATCH_SIZE)

#define LOOPS 3
#define FUNCTIONS 6

struct gen {
    struct prog *p;
    struct rng *r;
    enum gen_kind kind;
    unsigned pointer, temp, counter[LOOPS], link[2];
    uint32_t reserved;             /* mask of registers that random instructions must not write */
    uint64_t functions[FUNCTIONS]; /* addresses; the first half are leaves */
    uint64_t cost[FUNCTIONS];      /* instructions that a call executes */
    unsigned function_count;
};

static bool chance(struct gen *g, unsigned n)
{
    return !rng_below(g->r, n);
}

static void emit(struct gen *g, uint32_t word, unsigned len)
{
    /* Some more instructions than by chance begin two bytes before the end of a page. */
    if (len == 4 && g->p->text_len % 4096 == 4092 && chance(g, 2))
        prog_emit(g->p, ASM_C_NOP, 2);
    prog_emit(g->p, word, len);
}

static unsigned any_reg(struct gen *g)
{
    return rng_below(g->r, 32);
}

/* A register that may be written. */
static unsigned free_reg(struct gen *g)
{
    unsigned reg;
    do
        reg = any_reg(g);
    while (g->reserved >> reg & 1);
    return reg;
}

static unsigned free_temp(struct gen *g)
{
    unsigned reg;
    do
        reg = free_reg(g);
    while (!reg);
    return reg;
}

static bool writes_reserved(const struct gen *g, const struct rv_insn *in)
{
    if (rv_op_info(in->op)->rd_class != RV_CLASS_x)
        return false;
    return g->reserved >> in->rd & 1 ||
           (in->op == RV_OP_AMOCAS_Q && in->rd && g->reserved >> (in->rd + 1) & 1);
}

/* ---- single instructions ---- */

#define KIND(ID) (UINT64_C(1) << RV_KIND_##ID)

/*
 * A word of one of the kinds, and of this length unless that is 0, that writes no reserved
 * register; its fields are random.
 */
static uint32_t random_word(struct gen *g, uint64_t kinds, unsigned len, struct rv_insn *in)
{
    uint16_t rows[RV_ENC_COUNT];
    uint32_t count = 0;
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        if ((kinds >> rv_op_info(rv_enc_info(enc)->op)->kind & 1) &&
            (!len || rv_enc_info(enc)->len == len))
            rows[count++] = (uint16_t)enc;
    for (;;) {
        uint32_t word = rv_encode_random(rows[rng_below(g->r, count)], rng_next(g->r));
        if (rv_decode(word, RV_EXTS_DEFAULT, in) && !writes_reserved(g, in) && !diff_accepted(in))
            return word;
    }
}

#define KINDS_ALU (KIND(ALU_RR) | KIND(ALU_RI) | KIND(ALU_R) | KIND(LUI) | KIND(AUIPC))

static void gen_alu(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KINDS_ALU, 0, &in);
    emit(g, word, in.len);
}

static void gen_fp(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KIND(FP), 0, &in);
    emit(g, word, in.len);
    if (diff_accepted_unused(&in))
        emit(g, asm_fsd(in.rd, 2, 0), 4);
}

static void gen_quiet(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KIND(HINT) | KIND(FENCE), 0, &in);
    emit(g, word, in.len);
}

/* Mnemonics end in the width of the access. */
static unsigned width_of(unsigned op)
{
    const char *name = rv_op_info(op)->name;
    size_t len = strlen(name);
    char last = name[len - 1] == 'u' ? name[len - 2] : name[len - 1];
    return last == 'b' ? 1 : last == 'h' ? 2 : last == 'w' ? 4 : last == 'q' ? 16 : 8;
}

#define KINDS_MEMORY (KIND(LOAD) | KIND(STORE) | KIND(FLOAD) | KIND(FSTORE))

/* Replaces rs1 of a word; compressed forms have only x8..x15, or sp. */
static uint32_t with_rs1(uint32_t word, unsigned len, unsigned rs1)
{
    if (len == 4)
        return (word & ~(31u << 15)) | rs1 << 15;
    return (word & 3) == 2 ? word : (word & ~(7u << 7)) | (rs1 - 8) << 7;
}

/* At a constant distance from a pointer: any alignment, also over the end of a page. */
static void gen_memory(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KINDS_MEMORY, 0, &in);
    bool sp = in.len == 4 && chance(g, 4) && in.imm >= 0 && in.imm < 512;
    emit(g, with_rs1(word, in.len, sp ? 2 : g->pointer), in.len);
}

/* temp = an address in the scratch area, a multiple of `align` (a power of two up to 64). */
static void gen_address(struct gen *g, unsigned temp, unsigned align)
{
    unsigned source = any_reg(g);
    /* Up to 4 KiB above the middle, or 2 KiB below. */
    emit(g, asm_andi(temp, source, (int32_t)(2047 & -align)), 4);
    if (chance(g, 8)) /* below the middle, over which wide accesses may reach */
        emit(g, asm_addi(temp, temp, -2048), 4);
    else if (chance(g, 2))
        emit(g, asm_slli(temp, temp, 1), 4);
    emit(g, asm_add(temp, temp, g->pointer), 4);
}

/* At a computed address. */
static void gen_memory_far(struct gen *g)
{
    struct rv_insn in;
    unsigned temp = free_temp(g);
    gen_address(g, temp, 1u << rng_below(g->r, 4));
    uint32_t word = random_word(g, KINDS_MEMORY, 4, &in);
    word = with_rs1(word, 4, temp);
    bool store =
        rv_op_info(in.op)->kind == RV_KIND_STORE || rv_op_info(in.op)->kind == RV_KIND_FSTORE;
    /* A distance of 0 .. 15: loads have it in bits 31..20, stores in 11..7. */
    word &= store ? ~(127u << 25 | 1u << 11) : ~(255u << 24);
    emit(g, word, 4);
}

static void gen_atomic(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KIND(AMO) | KIND(AMOCAS), 4, &in);
    unsigned temp = free_temp(g);
    gen_address(g, temp, width_of(in.op));
    word = with_rs1(word, 4, temp);
    if (rv_op_info(in.op)->kind == RV_KIND_AMOCAS && in.op != RV_OP_AMOCAS_Q && in.rd &&
        in.rd != temp && chance(g, 2)) /* one that succeeds */
        emit(g, (in.op == RV_OP_AMOCAS_W ? asm_lw : asm_ld)(in.rd, temp, 0), 4);
    emit(g, word, 4);
}

/*
 * lr and sc with and without something in between; or a lone sc, which fails. The width is the
 * same for both, and nothing stores the value that is there: for these the manual allows more than
 * one outcome.
 */
static void gen_reserve(struct gen *g)
{
    bool wide = chance(g, 2);
    unsigned temp = free_temp(g), other = free_temp(g);
    uint32_t aqrl = rng_below(g->r, 4) << 25, op = (wide ? 3u : 2u) << 12 | 0x2f;
    gen_address(g, temp, 8);
    unsigned rd = free_reg(g);
    if (rd != temp && !chance(g, 6))
        emit(g, op | 2u << 27 | aqrl | temp << 15 | rd << 7, 4);
    switch (rng_below(g->r, 6)) {
    case 0:
        if (other != temp) { /* the value changes: fails */
            emit(g, asm_ld(other, temp, 0), 4);
            emit(g, asm_i(0x13, 4, other, other, -1), 4);
            emit(g, asm_sd(other, temp, 0), 4);
        }
        break;
    case 1: /* another address: fails */
        emit(g, asm_i(0x13, 4, temp, temp, 8), 4);
        break;
    case 2:
        if (other != temp)
            emit(g, asm_addi(other, any_reg(g), 1), 4);
        break;
    default:
        break;
    }
    emit(g, op | 3u << 27 | aqrl | any_reg(g) << 20 | temp << 15 | free_reg(g) << 7, 4);
}

static void gen_zero_block(struct gen *g)
{
    unsigned temp = free_temp(g);
    gen_address(g, temp, 1);
    emit(g, 0x0040200f | temp << 15, 4);
}

/* fflags, frm and fcsr; afterwards frm is valid again. */
static void gen_csr(struct gen *g)
{
    struct rv_insn in;
    uint32_t word = random_word(g, KIND(CSR), 4, &in);
    uint32_t csr = 1 + rng_below(g->r, 3);
    emit(g, (word & 0xfffff) | csr << 20, 4);
    if (csr != 1)
        emit(g, asm_i(0x73, 5, free_reg(g), rng_below(g->r, 5), 2), 4); /* csrrwi frm */
}

/* Numbers that keep the registers from all becoming NaN and 0. */
static void gen_fresh(struct gen *g)
{
    struct rv_insn in;
    uint32_t word;
    switch (rng_below(g->r, 4)) {
    case 0:
        prog_li(g->p, free_temp(g), (int32_t)rng_next(g->r));
        break;
    case 1: /* an integer into a floating-point register */
        emit(
            g,
            (const uint32_t[]){0xd2200053, 0xd2000053, 0xd0200053, 0xf2000053}[rng_below(g->r, 4)] |
                any_reg(g) << 15 | any_reg(g) << 7,
            4);
        break;
    default: /* one of the operands that the program started with */
        word = random_word(g, chance(g, 2) ? KIND(FLOAD) : KIND(LOAD), 4, &in);
        word = (word & 0xfffff) | (uint32_t)(8 * rng_below(g->r, 255)) << 20;
        if (writes_reserved(g, &in))
            break;
        emit(g, asm_lui(g->temp, (uint32_t)PROG_DATA >> 12), 4);
        emit(g, with_rs1(word, 4, g->temp), 4);
        break;
    }
}

static void gen_one(struct gen *g)
{
    unsigned dice = rng_below(g->r, 100);
    if (dice < 38)
        gen_alu(g);
    else if (dice < 65)
        gen_fp(g);
    else if (dice < 75)
        gen_memory(g);
    else if (dice < 81)
        gen_memory_far(g);
    else if (dice < 85)
        gen_atomic(g);
    else if (dice < 88)
        gen_reserve(g);
    else if (dice < 90)
        gen_csr(g);
    else if (dice < 91)
        gen_quiet(g);
    else if (chance(g, 20))
        gen_zero_block(g);
    else
        gen_fresh(g);
}

/* ---- control ---- */

/* Several random instructions; the number of bytes is returned. */
static size_t gen_some(struct gen *g, unsigned count)
{
    size_t start = g->p->text_len;
    while (count--)
        gen_one(g);
    return g->p->text_len - start;
}

static void patch(struct gen *g, size_t at, uint32_t word, unsigned len)
{
    if (len == 2)
        le16_put(g->p->text + at, (uint16_t)word);
    else
        le32_put(g->p->text + at, word);
}

static uint64_t gen_block(struct gen *g, unsigned depth, unsigned level, uint64_t insns);

/* if (random condition) skip a block */
static uint64_t gen_skip(struct gen *g, unsigned depth, unsigned level, uint64_t insns)
{
    bool small = chance(g, 3);
    size_t at = g->p->text_len;
    unsigned f3 = (const unsigned[]){0, 1, 4, 5, 6, 7}[rng_below(g->r, 6)];
    unsigned rs1 = small ? 8 + rng_below(g->r, 8) : any_reg(g), rs2 = any_reg(g);
    prog_emit(g->p, 0, small ? 2 : 4);
    uint64_t done = 1;
    if (small || insns < 40)
        done += gen_some(g, 1 + rng_below(g->r, 6)) / 4;
    else
        done += gen_block(g, depth, level, insns < 200 ? insns : 200);
    int32_t offset = (int32_t)(g->p->text_len - at);
    assert(offset < (small ? 256 : 4096));
    patch(g, at, small ? asm_c_branch(f3 & 1, rs1, offset) : asm_branch(f3, rs1, rs2, offset),
          small ? 2 : 4);
    return done;
}

/* A jump over words that are no instructions. */
static void gen_jump_over(struct gen *g)
{
    bool small = chance(g, 2);
    size_t at = g->p->text_len;
    prog_emit(g->p, 0, small ? 2 : 4);
    for (unsigned n = rng_below(g->r, 12); n; n--)
        prog_emit(g->p, (uint32_t)rng_next(g->r), 2);
    int32_t offset = (int32_t)(g->p->text_len - at);
    patch(g, at, small ? asm_c_j(offset) : asm_jal(free_reg(g), offset), small ? 2 : 4);
}

/* A jump through a table of jumps, by the low bits of a register. */
static void gen_switch(struct gen *g)
{
    unsigned temp = free_temp(g), cases = 4;
    size_t ends[4];
    emit(g, asm_andi(g->temp, any_reg(g), 4 * ((int32_t)cases - 1)), 4);
    if (temp == g->temp)
        return;
    size_t base = g->p->text_len;
    prog_emit(g->p, asm_auipc(temp, 0), 4);
    prog_emit(g->p, asm_add(temp, temp, g->temp), 4);
    prog_emit(g->p, asm_jalr(free_reg(g), temp, 12), 4);
    size_t table = g->p->text_len;
    assert(table == base + 12);
    for (unsigned i = 0; i < cases; i++)
        prog_emit(g->p, 0, 4);
    for (unsigned i = 0; i < cases; i++) {
        patch(g, table + 4 * i, asm_jal(0, (int32_t)(g->p->text_len - (table + 4 * i))), 4);
        gen_some(g, 1 + rng_below(g->r, 3));
        ends[i] = g->p->text_len;
        prog_emit(g->p, 0, 4);
    }
    for (unsigned i = 0; i < cases; i++)
        patch(g, ends[i], asm_jal(0, (int32_t)(g->p->text_len - ends[i])), 4);
}

/* Calls a function of a lower level: jal, or auipc and jalr, full-size or compressed. */
static uint64_t gen_call(struct gen *g, unsigned level, uint64_t insns)
{
    unsigned count = level == 0 ? g->function_count : g->function_count < 3 ? 0 : FUNCTIONS / 2;
    if (level > 1 || !count)
        return 0;
    unsigned i = rng_below(g->r, count);
    if (g->cost[i] > insns)
        return 0;
    unsigned link = g->link[i < FUNCTIONS / 2 ? 0 : 1];
    int32_t away = (int32_t)(g->functions[i] - prog_pc(g->p));
    if (chance(g, 2)) {
        prog_emit(g->p, asm_jal(link, away), 4);
        return g->cost[i];
    }
    uint32_t high = ((uint32_t)away + 0x800) >> 12;
    int32_t low = (int32_t)((uint32_t)away - (high << 12));
    unsigned temp = g->temp;
    prog_emit(g->p, asm_auipc(temp, high & 0xfffff), 4);
    if (link == 1 && chance(g, 2)) {
        prog_emit(g->p, asm_addi(temp, temp, low), 4);
        prog_emit(g->p, 0x9002 | temp << 7, 2); /* c.jalr */
    } else {
        prog_emit(g->p, asm_jalr(link, temp, low | (int32_t)chance(g, 2)), 4);
    }
    return g->cost[i];
}

/* for (counter = n; counter; counter--) block */
static uint64_t gen_loop(struct gen *g, unsigned depth, unsigned level, uint64_t insns)
{
    unsigned counter = g->counter[depth], turns = 2 + rng_below(g->r, depth ? 12 : 60);
    uint64_t body = insns / turns;
    if (body < 10)
        return 0;
    prog_li(g->p, counter, (int32_t)turns);
    size_t top = g->p->text_len;
    body = gen_block(g, depth + 1, level, body < 400 ? body : 400);
    if (chance(g, 2))
        prog_emit(g->p, 0x107d | counter << 7, 2); /* c.addi counter,-1 */
    else
        prog_emit(g->p, asm_addi(counter, counter, -1), 4);
    int32_t offset = (int32_t)top - (int32_t)g->p->text_len;
    if (counter >= 8 && counter < 16 && offset >= -256)
        prog_emit(g->p, asm_c_branch(true, counter, offset), 2);
    else if (offset >= -4096 && !chance(g, 4))
        prog_emit(g->p, asm_branch(chance(g, 2) ? 1 : 6, 0, counter, offset), 4);
    else { /* too far for a branch */
        prog_emit(g->p, asm_branch(0, counter, 0, 8), 4);
        prog_emit(g->p, asm_jal(0, offset - 4), 4);
    }
    return turns * (body + 2) + 1;
}

/*
 * Overwrites an instruction that comes soon with one of the words of the data, then fence.i; in a
 * loop it is another word each time.
 */
static uint64_t gen_modify(struct gen *g)
{
    unsigned temp = free_temp(g), value = free_temp(g);
    if (temp == value || temp == g->temp || value == g->temp)
        return 0;
    emit(g, asm_add(temp, g->counter[0], g->counter[1]), 4);
    emit(g, asm_andi(temp, temp, WORD_COUNT - 1), 4);
    emit(g, asm_slli(temp, temp, 2), 4);
    emit(g, asm_lui(g->temp, (uint32_t)(PROG_DATA + WORDS + 0x800) >> 12), 4);
    emit(g, asm_add(temp, temp, g->temp), 4);
    emit(g, asm_lw(value, temp, WORDS - 4096), 4);
    size_t base = g->p->text_len;
    prog_emit(g->p, asm_auipc(temp, 0), 4);
    size_t store = g->p->text_len;
    prog_emit(g->p, 0, 4);
    gen_some(g, rng_below(g->r, 3));
    prog_emit(g->p, ASM_FENCE_I, 4);
    gen_some(g, rng_below(g->r, 3));
    size_t site = g->p->text_len;
    assert(site - base < 2048);
    patch(g, store, asm_sw(value, temp, (int32_t)(site - base)), 4);
    struct rv_insn in;
    prog_emit(g->p, random_word(g, KINDS_ALU, 4, &in), 4);
    return 10;
}

/* About `insns` executed instructions; returns how many, roughly. */
static uint64_t gen_block(struct gen *g, unsigned depth, unsigned level, uint64_t insns)
{
    uint64_t done = 0;
    while (done < insns && g->p->text_len < PROG_TEXT_MAX - 65536) {
        unsigned dice = rng_below(g->r, 100);
        uint64_t left = insns - done;
        if (dice < 6 && depth < LOOPS)
            done += gen_loop(g, depth, level, left);
        else if (dice < 14)
            done += gen_skip(g, depth, level, left);
        else if (dice < 17)
            gen_jump_over(g);
        else if (dice < 19)
            gen_switch(g);
        else if (dice < 24)
            done += gen_call(g, level, left);
        else if (dice < 27 && g->kind == GEN_MODIFY)
            done += gen_modify(g);
        else
            gen_one(g);
        done++;
    }
    return done;
}

/* ---- programs ---- */

static void choose_registers(struct gen *g)
{
    g->reserved = 1u << 2;
    unsigned *const roles[] = {&g->counter[0], &g->counter[1], &g->counter[2], &g->link[0],
                               &g->link[1]};
    g->pointer = 8 + rng_below(g->r, 8);
    g->reserved |= 1u << g->pointer;
    for (unsigned i = 0; i < ARRAY_SIZE(roles); i++) {
        *roles[i] = i == 3 && chance(g, 2) && !(g->reserved & 2) ? 1 : free_temp(g);
        g->reserved |= 1u << *roles[i];
    }
    g->temp = free_temp(g);
}

static void gen_function(struct gen *g, unsigned level)
{
    unsigned i = g->function_count;
    unsigned link = g->link[level == 2 ? 0 : 1];
    g->functions[i] = prog_pc(g->p);
    /* Loops within functions would share their counters with the caller's. */
    g->cost[i] = gen_block(g, LOOPS, level, 10 + rng_below(g->r, 60)) + 2;
    if (chance(g, 2))
        prog_emit(g->p, 0x8002 | link << 7, 2); /* c.jr */
    else
        prog_emit(g->p, asm_jalr(chance(g, 4) ? free_reg(g) : 0, link, 0), 4);
    g->function_count++;
}

static void gen_functions(struct gen *g)
{
    size_t skip = g->p->text_len;
    prog_emit(g->p, 0, 4);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        gen_function(g, i < FUNCTIONS / 2 ? 2 : 1);
    patch(g, skip, asm_jal(0, (int32_t)(g->p->text_len - skip)), 4);
}

static void fill_data(struct gen *g)
{
    uint8_t *data = g->p->data;
    struct rv_insn in;
    for (unsigned i = 0; i < DATA_SIZE / 8; i++)
        le64_put(data + 8 * i, chance(g, 2) ? operand_int(g->r) : operand_fp_any(g->r));
    for (unsigned i = 0; i < WORD_COUNT; i++)
        le32_put(data + WORDS + 4 * i, random_word(g, KINDS_ALU, 4, &in));
    le64_put(data + 8 * 2, PROG_DATA + STACK);
    le64_put(data + 8 * 64, rng_below(g->r, 5) << 5 | rng_below(g->r, 32)); /* fcsr */
}

void gen_program(struct prog *p, struct rng *r, enum gen_kind kind, uint64_t insns)
{
    struct gen g = {.p = p, .r = r, .kind = kind};
    prog_init(p, DATA_SIZE);
    p->writable_text = kind == GEN_MODIFY;
    choose_registers(&g);
    fill_data(&g);
    prog_li(p, g.pointer, (int32_t)PROG_DATA);
    prog_restore(p, g.pointer, 0, 0, g.temp);
    prog_li(p, g.pointer, (int32_t)(PROG_DATA + MIDDLE));
    for (unsigned i = 0; i < LOOPS; i++)
        prog_li(p, g.counter[i], 0);
    if (kind == GEN_LINE) {
        for (uint64_t i = 0; i < insns && p->text_len < PROG_TEXT_MAX - 65536; i++)
            gen_one(&g);
    } else {
        gen_functions(&g);
        gen_block(&g, 0, 0, insns);
    }
    prog_emit(p, asm_lui(g.pointer, (uint32_t)PROG_DATA >> 12), 4);
    prog_dump(p, g.pointer, 0, GEN_DUMP, g.temp);
    prog_exit(p);
}
