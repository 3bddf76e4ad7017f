/* The decoder: fields, reserved words, extensions, and that no word upsets it. */
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* after the headers above, which it needs */
#include <cmocka.h>

#define ALL RV_EXTS_DEFAULT

static const struct {
    uint32_t bits;
    struct rv_insn want; /* without enc */
} fields[] = {
    /* addi a0, a1, -1 */
    {0xfff58513, {.op = RV_OP_ADDI, .len = 4, .rd = 10, .rs1 = 11, .imm = -1}},
    /* lui a0, 0x80000 */
    {0x80000537, {.op = RV_OP_LUI, .len = 4, .rd = 10, .imm = INT32_MIN}},
    /* auipc t0, 1 */
    {0x00001297, {.op = RV_OP_AUIPC, .len = 4, .rd = 5, .imm = 4096}},
    /* jal ra, . - 2 */
    {0xfffff0ef, {.op = RV_OP_JAL, .len = 4, .rd = 1, .imm = -2}},
    /* jal zero, . + 0xffffe */
    {0x7ffff06f, {.op = RV_OP_JAL, .len = 4, .imm = 0xffffe}},
    /* jalr ra, 16(a0) */
    {0x010500e7, {.op = RV_OP_JALR, .len = 4, .rd = 1, .rs1 = 10, .imm = 16}},
    /* bne a0, a1, . - 4096 */
    {0x80b51063, {.op = RV_OP_BNE, .len = 4, .rs1 = 10, .rs2 = 11, .imm = -4096}},
    /* beq a0, a1, . + 2048 + 30 */
    {0x00b50fe3, {.op = RV_OP_BEQ, .len = 4, .rs1 = 10, .rs2 = 11, .imm = 2048 + 30}},
    /* sd ra, -8(sp) */
    {0xfe113c23, {.op = RV_OP_SD, .len = 4, .rs1 = 2, .rs2 = 1, .imm = -8}},
    /* srai a0, a0, 63 */
    {0x43f55513, {.op = RV_OP_SRAI, .len = 4, .rd = 10, .rs1 = 10, .imm = 63}},
    /* sraiw a0, a0, 31 */
    {0x41f5551b, {.op = RV_OP_SRAIW, .len = 4, .rd = 10, .rs1 = 10, .imm = 31}},
    /* csrrw a0, satp, a1; csrrwi a0, satp, 31 */
    {0x18059573, {.op = RV_OP_CSRRW, .len = 4, .rd = 10, .rs1 = 11, .imm = 0x180}},
    {0xfff85573, {.op = RV_OP_CSRRWI, .len = 4, .rd = 10, .rs1 = 16, .imm = 0xfff}},
    /* fence rw,w; fence.tso; pause */
    {0x0310000f, {.op = RV_OP_FENCE, .len = 4, .imm = 0x031}},
    {0x8330000f, {.op = RV_OP_FENCE, .len = 4, .imm = 0x833}},
    {0x0100000f, {.op = RV_OP_PAUSE, .len = 4}},
    /* lr.w.aqrl a0,(a1); amoadd.d.rl a0,a2,(a1) */
    {0x1605a52f, {.op = RV_OP_LR_W, .len = 4, .rd = 10, .rs1 = 11, .rm = 3}},
    {0x02c5b52f, {.op = RV_OP_AMOADD_D, .len = 4, .rd = 10, .rs1 = 11, .rs2 = 12, .rm = 1}},
    /* fmadd.d fa0,fa1,fa2,fa3,dyn */
    {0x6ac5f543,
     {.op = RV_OP_FMADD_D, .len = 4, .rd = 10, .rs1 = 11, .rs2 = 12, .rs3 = 13, .rm = 7}},
    /* fcvt.lu.s a0,fa1,rup */
    {0xc035b553, {.op = RV_OP_FCVT_LU_S, .len = 4, .rd = 10, .rs1 = 11, .rm = 3}},
    /* fli.d fa0, index 31 */
    {0xf21f8553, {.op = RV_OP_FLI_D, .len = 4, .rd = 10, .rs1 = 31}},
    /* prefetch.w -32(a0) */
    {0xfe356013, {.op = RV_OP_PREFETCH_W, .len = 4, .rs1 = 10, .imm = -32}},

    /* c.addi4spn a0,sp,1020 and its immediate's bits one by one */
    {0x1fe8, {.op = RV_OP_ADDI, .len = 2, .rd = 10, .rs1 = 2, .imm = 1020}},
    {0x0040, {.op = RV_OP_ADDI, .len = 2, .rd = 8, .rs1 = 2, .imm = 4}},
    {0x0020, {.op = RV_OP_ADDI, .len = 2, .rd = 8, .rs1 = 2, .imm = 8}},
    {0x0800, {.op = RV_OP_ADDI, .len = 2, .rd = 8, .rs1 = 2, .imm = 16}},
    {0x0080, {.op = RV_OP_ADDI, .len = 2, .rd = 8, .rs1 = 2, .imm = 64}},
    /* c.lw s0,64(s1): bit 5 is imm[6], bit 6 imm[2] */
    {0x40a0, {.op = RV_OP_LW, .len = 2, .rd = 8, .rs1 = 9, .imm = 64}},
    {0x40c0, {.op = RV_OP_LW, .len = 2, .rd = 8, .rs1 = 9, .imm = 4}},
    /* c.sd s0,192(s1) */
    {0xe0e0, {.op = RV_OP_SD, .len = 2, .rs1 = 9, .rs2 = 8, .imm = 192}},
    /* c.nop, c.addi a0,-32, c.li a0,-1 */
    {0x0001, {.op = RV_OP_ADDI, .len = 2}},
    {0x1501, {.op = RV_OP_ADDI, .len = 2, .rd = 10, .rs1 = 10, .imm = -32}},
    {0x557d, {.op = RV_OP_ADDI, .len = 2, .rd = 10, .imm = -1}},
    /* c.addi16sp -512, 496, 32 */
    {0x7101, {.op = RV_OP_ADDI, .len = 2, .rd = 2, .rs1 = 2, .imm = -512}},
    {0x617d, {.op = RV_OP_ADDI, .len = 2, .rd = 2, .rs1 = 2, .imm = 496}},
    {0x6105, {.op = RV_OP_ADDI, .len = 2, .rd = 2, .rs1 = 2, .imm = 32}},
    /* c.lui a0,0xfffe0 */
    {0x7501, {.op = RV_OP_LUI, .len = 2, .rd = 10, .imm = -131072}},
    /* c.srai s0,63 */
    {0x947d, {.op = RV_OP_SRAI, .len = 2, .rd = 8, .rs1 = 8, .imm = 63}},
    /* c.j . - 2048, c.j . + 2 */
    {0xb001, {.op = RV_OP_JAL, .len = 2, .imm = -2048}},
    {0xa009, {.op = RV_OP_JAL, .len = 2, .imm = 2}},
    /* c.beqz s0,. - 256; c.bnez a5,. + 32 */
    {0xd001, {.op = RV_OP_BEQ, .len = 2, .rs1 = 8, .imm = -256}},
    {0xe385, {.op = RV_OP_BNE, .len = 2, .rs1 = 15, .imm = 32}},
    /* c.ldsp a0,256(sp); c.swsp a0,128(sp) */
    {0x6512, {.op = RV_OP_LD, .len = 2, .rd = 10, .rs1 = 2, .imm = 256}},
    {0xc12a, {.op = RV_OP_SW, .len = 2, .rs1 = 2, .rs2 = 10, .imm = 128}},
    /* c.jr ra, c.jalr a0, c.mv a0,a1, c.add a0,a1, c.ebreak */
    {0x8082, {.op = RV_OP_JALR, .len = 2, .rs1 = 1}},
    {0x9502, {.op = RV_OP_JALR, .len = 2, .rd = 1, .rs1 = 10}},
    {0x852e, {.op = RV_OP_ADD, .len = 2, .rd = 10, .rs2 = 11}},
    {0x952e, {.op = RV_OP_ADD, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x9002, {.op = RV_OP_EBREAK, .len = 2}},
    /* c.zext.b a0, c.not a0, c.zext.w a0, c.lbu s0,2(s1), c.ntl.all */
    {0x9d61, {.op = RV_OP_ANDI, .len = 2, .rd = 10, .rs1 = 10, .imm = 255}},
    {0x9d75, {.op = RV_OP_XORI, .len = 2, .rd = 10, .rs1 = 10, .imm = -1}},
    {0x9d71, {.op = RV_OP_ADD_UW, .len = 2, .rd = 10, .rs1 = 10}},
    {0x80a0, {.op = RV_OP_LBU, .len = 2, .rd = 8, .rs1 = 9, .imm = 2}},
    {0x9016, {.op = RV_OP_NTL_ALL, .len = 2}},
    /* the other compressed instructions */
    {0x2480, {.op = RV_OP_FLD, .len = 2, .rd = 8, .rs1 = 9, .imm = 8}},
    {0x78e0, {.op = RV_OP_LD, .len = 2, .rd = 8, .rs1 = 9, .imm = 240}},
    {0x84a0, {.op = RV_OP_LHU, .len = 2, .rd = 8, .rs1 = 9, .imm = 2}},
    {0x84e0, {.op = RV_OP_LH, .len = 2, .rd = 8, .rs1 = 9, .imm = 2}},
    {0x88e0, {.op = RV_OP_SB, .len = 2, .rs1 = 9, .rs2 = 8, .imm = 3}},
    {0x8ca0, {.op = RV_OP_SH, .len = 2, .rs1 = 9, .rs2 = 8, .imm = 2}},
    {0xbce0, {.op = RV_OP_FSD, .len = 2, .rs1 = 9, .rs2 = 8, .imm = 248}},
    {0xdce0, {.op = RV_OP_SW, .len = 2, .rs1 = 9, .rs2 = 8, .imm = 124}},
    {0x3575, {.op = RV_OP_ADDIW, .len = 2, .rd = 10, .rs1 = 10, .imm = -3}},
    {0x9105, {.op = RV_OP_SRLI, .len = 2, .rd = 10, .rs1 = 10, .imm = 33}},
    {0x9979, {.op = RV_OP_ANDI, .len = 2, .rd = 10, .rs1 = 10, .imm = -2}},
    {0x8d0d, {.op = RV_OP_SUB, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x8d2d, {.op = RV_OP_XOR, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x8d4d, {.op = RV_OP_OR, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x8d6d, {.op = RV_OP_AND, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x9d0d, {.op = RV_OP_SUBW, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x9d2d, {.op = RV_OP_ADDW, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x9d4d, {.op = RV_OP_MUL, .len = 2, .rd = 10, .rs1 = 10, .rs2 = 11}},
    {0x9d65, {.op = RV_OP_SEXT_B, .len = 2, .rd = 10, .rs1 = 10}},
    {0x9d69, {.op = RV_OP_ZEXT_H, .len = 2, .rd = 10, .rs1 = 10}},
    {0x9d6d, {.op = RV_OP_SEXT_H, .len = 2, .rd = 10, .rs1 = 10}},
    {0x1522, {.op = RV_OP_SLLI, .len = 2, .rd = 10, .rs1 = 10, .imm = 40}},
    {0x357e, {.op = RV_OP_FLD, .len = 2, .rd = 10, .rs1 = 2, .imm = 504}},
    {0x557e, {.op = RV_OP_LW, .len = 2, .rd = 10, .rs1 = 2, .imm = 252}},
    {0xbfaa, {.op = RV_OP_FSD, .len = 2, .rs1 = 2, .rs2 = 10, .imm = 504}},
    {0xffaa, {.op = RV_OP_SD, .len = 2, .rs1 = 2, .rs2 = 10, .imm = 504}},
    {0x900a, {.op = RV_OP_NTL_P1, .len = 2}},
    {0x900e, {.op = RV_OP_NTL_PALL, .len = 2}},
    {0x9012, {.op = RV_OP_NTL_S1, .len = 2}},
};

static void test_fields(void **state)
{
    (void)state;
    bool seen[RV_ENC_COUNT] = {false};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct rv_insn got;
        bool ok = rv_decode(fields[i].bits, ALL, &got);
        const struct rv_insn *w = &fields[i].want;
        if (!ok || got.op != w->op || got.len != w->len || got.rd != w->rd || got.rs1 != w->rs1 ||
            got.rs2 != w->rs2 || got.rs3 != w->rs3 || got.rm != w->rm || got.imm != w->imm)
            fail_msg("%08x: %s len %u rd %u rs1 %u rs2 %u rs3 %u rm %u imm %d", fields[i].bits,
                     rv_op_info(got.op)->name, got.len, got.rd, got.rs1, got.rs2, got.rs3, got.rm,
                     got.imm);
        assert_int_equal(rv_enc_info(got.enc)->op, got.op);
        seen[got.enc] = true;
    }
    /* objdump does not say what a compressed instruction expands to: all of them are above */
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++)
        if (rv_enc_info(enc)->len == 2 && !seen[enc])
            fail_msg("no word of %s", rv_enc_info(enc)->name);
}

static const struct {
    uint32_t bits;
    const char *what;
} reserved[] = {
    {0x0000, "the all-zero half-word"},
    {0x001c, "c.addi4spn with immediate 0"},
    {0x2005, "c.addiw with rd = 0"},
    {0x6101, "c.addi16sp with immediate 0"},
    {0x6501, "c.lui with immediate 0"},
    {0x4002, "c.lwsp with rd = 0"},
    {0x6002, "c.ldsp with rd = 0"},
    {0x8002, "c.jr with rs1 = 0"},
    {0x9c7d, "reserved in quadrant 1"},
    {0x8c40, "quadrant 0, funct6 = 100011 as in c.sh, but bit 6 set"},
    {0x00000003 | 0x7 << 12, "load with funct3 = 7"},
    {0xffffffff, "all ones"},
    {0x00105013 | 0x80000000, "srli with bit 31"},
    {0x0200551b, "srliw with shift amount 32"},
    {0x1015252f, "lr.w with rs2 != 0"},
    {0x2805452f | 1 << 7, "amocas.q with odd rd"},
    {0x2815452f, "amocas.q with odd rs2"},
    {0x00c5d553, "fadd.s with rounding mode 5"},
    {0x02c5e553, "fadd.d with rounding mode 6"},
    {0x5a15f553, "fsqrt.d with rs2 != 0"},
    {0xf2159553, "fli.d with rm != 0"},
    {0xc2859553 ^ 1 << 12, "fcvtmod.w.d with a rounding mode other than rtz"},
    {0x00100073 | 1 << 7, "ebreak with rd != 0"},
    {0x00054073, "SYSTEM with funct3 = 4"},
    {0x0035200f, "cbo with number 3"},
    {0x5e000053, "fsqrt with format q"},
};

static void test_reserved(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        struct rv_insn got;
        if (rv_decode(reserved[i].bits, ALL, &got))
            fail_msg("%08x, %s: decoded as %s", reserved[i].bits, reserved[i].what,
                     rv_enc_info(got.enc)->name);
        assert_int_equal(got.op, RV_OP_ILLEGAL);
        assert_int_equal(got.len, (reserved[i].bits & 3) == 3 ? 4 : 2);
    }
}

static const struct {
    uint32_t bits;
    uint64_t without;
    unsigned op; /* what the word is without these extensions */
} disabled[] = {
    {0x852e, RV_EXT_BIT(C), RV_OP_ILLEGAL},
    {0x02c58533, RV_EXT_BIT(M), RV_OP_ILLEGAL},
    {0x2000, RV_EXT_BIT(D), RV_OP_ILLEGAL},             /* c.fld */
    {0x9d71, RV_EXT_BIT(ZBA), RV_OP_ILLEGAL},           /* c.zext.w */
    {0xf21f8553, RV_EXT_BIT(ZFA), RV_OP_ILLEGAL},       /* fli.d */
    {0xf21f8553, RV_EXT_BIT(D), RV_OP_ILLEGAL},         /* fli.d */
    {0x00c5f553, RV_EXT_BIT(ZFA), RV_OP_FADD_S},        /* unrelated */
    {0x0100000f, RV_EXT_BIT(ZIHINTPAUSE), RV_OP_FENCE}, /* pause */
    {0xfe356013, RV_EXT_BIT(ZICBOP), RV_OP_ORI},        /* prefetch.w */
    {0x00500033, RV_EXT_BIT(ZIHINTNTL), RV_OP_ADD},     /* ntl.all */
    {0x9016, RV_EXT_BIT(ZIHINTNTL), RV_OP_ADD},         /* c.ntl.all */
    {0x12000073, RV_EXT_BIT(S), RV_OP_ILLEGAL},         /* sfence.vma */
};

static void test_disabled_extensions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof disabled / sizeof disabled[0]; i++) {
        struct rv_insn got;
        bool ok = rv_decode(disabled[i].bits, ALL & ~disabled[i].without, &got);
        assert_int_equal(got.op, disabled[i].op);
        assert_int_equal(ok, disabled[i].op != RV_OP_ILLEGAL);
    }
}

static void test_extensions(void **state)
{
    (void)state;
    assert_int_equal(rv_ext_find("zba", 3), RV_EXT_ZBA);
    assert_int_equal(rv_ext_find("zbaX", 3), RV_EXT_ZBA);
    assert_int_equal(rv_ext_find("zb", 2), -1);
    assert_string_equal(rv_ext_name(RV_EXT_ZIFENCEI), "zifencei");
    assert_true(rv_exts_closure(0) == RV_EXT_BIT(I));
    assert_true(
        rv_exts_closure(RV_EXT_BIT(ZFH)) ==
        (RV_EXT_BIT(I) | RV_EXT_BIT(ZFH) | RV_EXT_BIT(ZFHMIN) | RV_EXT_BIT(F) | RV_EXT_BIT(ZICSR)));
    assert_true(rv_exts_closure(ALL) == ALL);
    assert_false(ALL & (RV_EXT_BIT(V) | RV_EXT_BIT(H)));
}

static void test_info(void **state)
{
    (void)state;
    const struct rv_op_info *i = rv_op_info(RV_OP_FCVT_W_D);
    assert_string_equal(i->name, "fcvt.w.d");
    assert_int_equal(i->kind, RV_KIND_FP);
    assert_int_equal(i->ext, RV_EXT_D);
    assert_int_equal(i->rd_class, RV_CLASS_x);
    assert_int_equal(i->rs1_class, RV_CLASS_f);
    assert_int_equal(i->rs2_class, RV_CLASS_none);
    i = rv_op_info(RV_OP_FSD);
    assert_int_equal(i->rd_class, RV_CLASS_none);
    assert_int_equal(i->rs1_class, RV_CLASS_x);
    assert_int_equal(i->rs2_class, RV_CLASS_f);
    assert_int_equal(rv_op_info(RV_OP_FMADD_S)->rs3_class, RV_CLASS_f);
    assert_int_equal(rv_op_info(RV_OP_CSRRWI)->rs1_class, RV_CLASS_none);
    assert_int_equal(rv_op_info(RV_OP_AMOCAS_Q)->rs1_class, RV_CLASS_x);
}

static uint64_t seed_get(void)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    printf("GUISE_SEED=%ju\n", (uintmax_t)seed);
    return seed;
}

static uint64_t random_next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Every encoding produces legal words of itself, whatever the random number. */
static void test_encode_random(void **state)
{
    (void)state;
    uint64_t random = seed_get() | 1;
    for (unsigned enc = 1; enc < RV_ENC_COUNT; enc++) {
        for (int i = 0; i < 1000; i++) {
            uint32_t word = rv_encode_random(enc, random_next(&random));
            struct rv_insn got;
            assert_true(rv_decode(word, ALL, &got));
            assert_int_equal(got.enc, enc);
            assert_int_equal(got.len, rv_enc_info(enc)->len);
        }
    }
}

/* Whatever is decoded has fields in range, and matches what the table says about its row. */
static void check_word(uint32_t word, uint64_t exts)
{
    struct rv_insn i;
    bool ok = rv_decode(word, exts, &i);
    bool sane = i.op < RV_OP_COUNT && i.enc < RV_ENC_COUNT && (i.len == 2 || i.len == 4) &&
                ok == (i.op != RV_OP_ILLEGAL) && (i.rd | i.rs1 | i.rs2 | i.rs3) < 32 && i.rm < 8;
    if (sane && ok) {
        const struct rv_enc_info *e = rv_enc_info(i.enc);
        sane = (word & e->mask) == e->match && !(e->exts & ~exts) && e->op == i.op;
    }
    char text[64];
    int len = rv_disasm(word, 0x80000000, exts, text, sizeof text);
    if (!sane || len <= 0 || len >= (int)sizeof text || strlen(text) != (size_t)len)
        fail_msg("word %08x", word);
}

static void test_all_words_of_16_bits(void **state)
{
    (void)state;
    for (uint32_t w = 0; w < 65536; w++) {
        check_word(w, ALL);
        check_word(w, RV_EXT_BIT(I) | RV_EXT_BIT(C));
    }
}

static void test_random_words(void **state)
{
    (void)state;
    uint64_t random = seed_get() | 1;
    unsigned count = getenv("GUISE_LONG") ? 100000000 : getenv("GUISE_SHORT") ? 200000 : 10000000;
    for (unsigned i = 0; i < count; i++)
        check_word((uint32_t)(random_next(&random) >> 32), ALL);
}

static void test_disasm(void **state)
{
    (void)state;
    char text[64];
    rv_disasm(0xfff58513, 0, ALL, text, sizeof text);
    assert_string_equal(text, "addi\ta0,a1,-1");
    rv_disasm(0xfffff0ef, 0x80000000, ALL, text, sizeof text);
    assert_string_equal(text, "jal\tra,0x7ffffffe");
    rv_disasm(0x00c5f553, 0, ALL, text, sizeof text); /* rm = 7 is not shown */
    assert_string_equal(text, "fadd.s\tfa0,fa1,fa2");
    rv_disasm(0x1605a52f, 0, ALL, text, sizeof text);
    assert_string_equal(text, "lr.w.aqrl\ta0,(a1)");
    rv_disasm(0x1234, 0, RV_EXT_BIT(I), text, sizeof text);
    assert_string_equal(text, ".insn\t2, 0x1234");
    assert_string_equal(rv_csr_name(0x180), "satp");
    assert_null(rv_csr_name(0x181));

    /* a buffer that is too small holds the beginning, and nothing is written behind it */
    for (size_t size = 1; size < 24; size++) {
        memset(text, 'X', sizeof text);
        assert_int_equal(rv_disasm(0x00c5f553, 0, ALL, text, size), 18);
        assert_true(strlen(text) < size && text[size] == 'X');
        assert_memory_equal(text, "fadd.s\tfa0,fa1,fa2", strlen(text));
    }
}

/* Prints what decoding costs: legal words of all rows, the same ones again and again. */
static void test_rate(void **state)
{
    (void)state;
    enum { WORDS = 4096, ROUNDS = 1000 };
    static uint32_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = rv_encode_random(1 + i * 7 % (RV_ENC_COUNT - 1), i);

    struct timespec a, b;
    unsigned sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < WORDS; i++) {
            struct rv_insn insn;
            sum += rv_decode(words[i], ALL, &insn);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
    printf("decode: %.1f ns per instruction\n", ns / WORDS / ROUNDS);
    assert_int_equal(sum, WORDS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_disabled_extensions),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_encode_random),
        cmocka_unit_test(test_all_words_of_16_bits),
        cmocka_unit_test(test_random_words),
        cmocka_unit_test(test_disasm),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
