/*
 * Code that the assembler wrote, executed: what the text comparison of test_asm cannot see, that
 * the rewritten address forms mean the same, that labels lead where they should, and what the
 * instructions that the translator depends on compute.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "host/x86_64/disasm.h"
#include "host/x86_64/features.h"
#include "jit.h"

static struct jit jit;
static struct host_features features;
static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int setup(void **state)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    (void)state;
    printf("GUISE_SEED=%ju\n", (uintmax_t)seed);
    random_state = (seed << 1 | 1) * UINT64_C(0x9e3779b97f4a7c15);
    host_features_probe(&features);
    return codemem_init(&jit.memory, 1 << 20, NULL);
}

static int teardown(void **state)
{
    (void)state;
    codemem_fini(&jit.memory);
    return 0;
}

/* Saves everything a function must keep, sets all registers but rsp to values[], runs, restores. */
static void with_registers(const uint64_t *values, void (*body)(struct asm_buf *, void *),
                           void *ctx, uint64_t *out)
{
    static const uint8_t kept[] = {RBX, RBP, R12, R13, R14, R15};
    struct asm_buf *b = &jit.b;
    for (unsigned i = 0; i < sizeof kept; i++)
        asm_push(b, kept[i]);
    asm_mov_imm(b, RAX, (uint64_t)(uintptr_t)out);
    asm_push(b, RAX);
    for (unsigned r = 0; r < 16; r++) {
        if (r != RSP)
            asm_mov_imm(b, r, values[r]);
    }
    body(b, ctx);
    asm_push(b, RAX);
    asm_rm(b, ASM_MOV, 8, RAX, asm_mem(RSP, 8));
    asm_rm(b, ASM_MOV, 8, RCX, asm_mem(RSP, 0));
    asm_mr(b, ASM_MOV, 8, asm_mem(RAX, 0), RCX);
    asm_lea(b, 8, RSP, asm_mem(RSP, 16));
    for (unsigned i = sizeof kept; i-- > 0;)
        asm_pop(b, kept[i]);
    asm_none(b, ASM_RET);
}

static void body_lea(struct asm_buf *b, void *ctx)
{
    asm_lea(b, 8, RAX, *(struct asm_mem *)ctx);
}

/* lea of every base, index and scale with displacements at the edges. */
static void test_addresses(void **state)
{
    static const int32_t disps[] = {0, 1, -1, 127, 128, -128, -129, INT32_MAX, INT32_MIN};
    uint64_t values[16], out;
    (void)state;
    for (unsigned base = 0; base <= 16; base++) {
        for (unsigned index = 0; index <= 16; index++) {
            if (index == RSP || base == RSP)
                continue;
            for (unsigned k = 0; k < 8; k++) {
                /* Every scale without a displacement, and with some other one. */
                int32_t disp = k < 4 ? 0 : disps[random_next() % ARRAY_SIZE(disps)];
                unsigned scale = k % 4;
                struct asm_mem m = asm_mem_index(base < 16 ? base : ASM_NOREG,
                                                 index < 16 ? index : ASM_NOREG, scale, disp);
                uint64_t expected = (uint64_t)(int64_t)disp;
                for (unsigned r = 0; r < 16; r++)
                    values[r] = random_next();
                if (base < 16)
                    expected += values[base];
                if (index < 16)
                    expected += values[index] << scale;
                jit_begin(&jit);
                with_registers(values, body_lea, &m, &out);
                jit_end (&jit)(0, 0, 0);
                assert_int_equal(out, expected);
                codemem_reset(&jit.memory);
            }
        }
    }
}

/* The stack pointer as base: with and without an index, through the same red zone. */
static void test_stack_base(void **state)
{
    (void)state;
    jit_begin(&jit);
    asm_mr(&jit.b, ASM_MOV, 8, asm_mem(RSP, -8), RDI);
    asm_mr(&jit.b, ASM_MOV, 8, asm_mem_index(RSP, RDX, 3, -128), RSI);
    asm_rm(&jit.b, ASM_MOV, 8, RAX, asm_mem(RSP, -64));
    asm_rm(&jit.b, ASM_SUB, 8, RAX, asm_mem(RSP, -8));
    asm_none(&jit.b, ASM_RET);
    assert_int_equal(jit_end(&jit)(1000, 1234, 8), 234);
}

/* Sum of 1 to n, with a loop, an exit ahead and a constant behind the code. */
static void test_loop(void **state)
{
    struct asm_label top = {0}, done = {0}, constant = {0};
    uint64_t value = UINT64_C(1) << 40;
    struct asm_buf *b = &jit.b;
    (void)state;
    jit_begin(&jit);
    asm_zero(b, RAX);
    asm_bind(b, &top);
    asm_rr(b, ASM_TEST, 8, RDI, RDI);
    asm_jcc(b, CC_E, &done);
    asm_rr(b, ASM_ADD, 8, RAX, RDI);
    asm_r(b, ASM_DEC, 8, RDI);
    asm_jmp(b, &top);
    asm_bind(b, &done);
    asm_rm(b, ASM_ADD, 8, RAX, asm_mem_label(&constant));
    asm_none(b, ASM_RET);
    asm_align(b, 64);
    asm_bind(b, &constant);
    asm_data(b, &value, 8);
    assert_int_equal(jit_end(&jit)(100, 0, 0), value + 5050);
}

static uint64_t helper(uint64_t a)
{
    return a * 3;
}

/* A call through a table and one through a register. */
static void test_calls(void **state)
{
    void *table[2] = {NULL, (void *)(uintptr_t)helper};
    struct asm_buf *b = &jit.b;
    struct asm_label local = {0};
    (void)state;
    jit_begin(&jit);
    asm_push(b, RBX);
    asm_rr(b, ASM_MOV, 8, RBX, RSI);
    asm_call_m(b, asm_mem(RBX, 8));
    asm_rr(b, ASM_MOV, 8, RDI, RAX);
    asm_rm(b, ASM_MOV, 8, R11, asm_mem(RBX, 8));
    asm_call_r(b, R11);
    asm_call(b, &local);
    asm_pop(b, RBX);
    asm_none(b, ASM_RET);
    asm_bind(b, &local);
    asm_ri(b, ASM_ADD, 8, RAX, 1);
    asm_none(b, ASM_RET);
    assert_int_equal(jit_end(&jit)(7, (uint64_t)(uintptr_t)table, 0), 64);
}

/* A jump from one piece of code to another, redirected while it exists. */
static void test_patch(void **state)
{
    uint8_t *target[2], *field;
    jit_fn fn;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        jit_begin(&jit);
        asm_ri(&jit.b, ASM_MOV, 4, RAX, (int32_t)i + 10);
        asm_none(&jit.b, ASM_RET);
        target[i] = jit.b.start;
        jit_end(&jit);
    }
    for (unsigned skew = 0; skew < 8; skew++) {
        jit_begin(&jit);
        asm_nop(&jit.b, skew);
        asm_rr(&jit.b, ASM_TEST, 8, RDI, RDI);
        field = asm_jcc_rel32(&jit.b, CC_NE, target[0]);
        assert_int_equal((uintptr_t)field % 4, 0);
        assert_int_equal((uintptr_t)asm_jmp_rel32(&jit.b, target[1]) % 4, 0);
        fn = jit_end(&jit);
        assert_int_equal(fn(1, 0, 0), 10);
        assert_int_equal(fn(0, 0, 0), 11);
        asm_patch_rel32(field, target[1]);
        assert_int_equal(fn(1, 0, 0), 11);
    }
    jit_begin(&jit);
    assert_null(asm_jmp_rel32(&jit.b, (void *)((uintptr_t)jit.b.p + (UINT64_C(1) << 32))));
    assert_true(jit.b.overflow);
}

/* asm_mov_imm at every width, and immediates of every operand size. */
static void test_immediates(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        uint64_t v = random_next() >> (random_next() % 64);
        if (i & 1)
            v = ~v;
        codemem_reset(&jit.memory);
        jit_begin(&jit);
        asm_mov_imm(&jit.b, R10, v);
        asm_rr(&jit.b, ASM_MOV, 8, RAX, R10);
        asm_none(&jit.b, ASM_RET);
        assert_int_equal(jit_end(&jit)(0, 0, 0), v);
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t mask = ~UINT64_C(0) >> (64 - 8 * size), a = random_next();
            uint64_t kept = size == 4 ? 0 : a & ~mask;
            jit_begin(&jit);
            asm_rr(&jit.b, ASM_MOV, 8, RAX, RDI);
            asm_ri(&jit.b, ASM_XOR, size, RAX, (int32_t)v);
            asm_none(&jit.b, ASM_RET);
            assert_int_equal(jit_end(&jit)(a, 0, 0), kept | ((a ^ (uint64_t)(int32_t)v) & mask));
        }
    }
}

/* rax = op(rdi, rsi), one instruction between. */
static uint64_t run_rr(enum asm_op op, uint64_t a, uint64_t b)
{
    jit_begin(&jit);
    asm_rr(&jit.b, ASM_MOV, 8, RAX, RDI);
    asm_rr(&jit.b, op, 8, RAX, RSI);
    asm_none(&jit.b, ASM_RET);
    uint64_t result = jit_end(&jit)(a, b, 0);
    codemem_reset(&jit.memory);
    return result;
}

static uint64_t run_rrr(enum asm_op op, uint64_t a, uint64_t b)
{
    jit_begin(&jit);
    asm_rrr(&jit.b, op, 8, RAX, RDI, RSI);
    asm_none(&jit.b, ASM_RET);
    uint64_t result = jit_end(&jit)(a, b, 0);
    codemem_reset(&jit.memory);
    return result;
}

static void test_integer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t a = random_next(), b = random_next() >> (i % 64);
        assert_int_equal(run_rr(ASM_SUB, a, b), a - b);
        assert_int_equal(run_rr(ASM_IMUL, a, b), a * b);
        assert_int_equal(run_rr(ASM_MOVSX16, a, b), (uint64_t)(int16_t)b);
        assert_int_equal(run_rr(ASM_MOVSXD, a, b), (uint64_t)(int32_t)b);
        if (features.popcnt)
            assert_int_equal(run_rr(ASM_POPCNT, a, b), __builtin_popcountll(b));
        if (features.lzcnt && b)
            assert_int_equal(run_rr(ASM_LZCNT, a, b), __builtin_clzll(b));
        if (features.bmi1) {
            assert_int_equal(run_rrr(ASM_ANDN, a, b), ~a & b);
            assert_int_equal(run_rr(ASM_BLSR, a, b), b & (b - 1));
            assert_int_equal(run_rr(ASM_TZCNT, a, 0), 64);
        }
        if (features.bmi2) {
            assert_int_equal(run_rrr(ASM_SHLX, a, b), a << (b & 63));
            assert_int_equal(run_rrr(ASM_SHRX, a, b), a >> (b & 63));
            assert_int_equal(run_rrr(ASM_SARX, a, b), (uint64_t)((int64_t)a >> (b & 63)));
        }
    }
}

/* High halves: mul and mulx; division; shifts by cl; setcc and cmov on a comparison. */
static void test_wide(void **state)
{
    struct asm_buf *b = &jit.b;
    jit_fn fn[4];
    (void)state;
    jit_begin(&jit);
    asm_rr(b, ASM_MOV, 8, RAX, RDI);
    asm_r(b, ASM_MUL1, 8, RSI);
    asm_rr(b, ASM_MOV, 8, RAX, RDX);
    asm_none(b, ASM_RET);
    fn[0] = jit_end(&jit);
    jit_begin(&jit);
    asm_rr(b, ASM_MOV, 8, RAX, RDI);
    asm_none(b, ASM_CQO);
    asm_r(b, ASM_IDIV, 8, RSI);
    asm_none(b, ASM_RET);
    fn[1] = jit_end(&jit);
    jit_begin(&jit);
    asm_rr(b, ASM_MOV, 8, RCX, RSI);
    asm_rr(b, ASM_MOV, 8, RAX, RDI);
    asm_r_cl(b, ASM_ROL, 4, RAX);
    asm_none(b, ASM_RET);
    fn[2] = jit_end(&jit);
    jit_begin(&jit);
    asm_rr(b, ASM_CMP, 8, RDI, RSI);
    asm_setcc_r(b, CC_L, RSI);
    asm_rr(b, ASM_MOVZX8, 4, RAX, RSI);
    asm_cmov_rr(b, CC_B, 8, RAX, RDX);
    asm_none(b, ASM_RET);
    fn[3] = jit_end(&jit);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t x = random_next(), y = (random_next() >> (i % 64)) | 2;
        uint32_t low = (uint32_t)x, by = y & 31;
        assert_int_equal(fn[0](x, y, 0), (uint64_t)((unsigned __int128)x * y >> 64));
        assert_int_equal(fn[1](x, y, 0), (uint64_t)((int64_t)x / (int64_t)y));
        assert_int_equal(fn[2](x, y, 0), by ? low << by | low >> (32 - by) : low);
        assert_int_equal(fn[3](x, y, 77), x < y ? 77 : (int64_t)x < (int64_t)y);
    }
}

static void test_atomics(void **state)
{
    uint64_t cell[2] __attribute__((aligned(16))) = {10, 20};
    struct asm_buf *b = &jit.b;
    jit_fn fn;
    (void)state;
    jit_begin(&jit);
    asm_rr(b, ASM_MOV, 8, RAX, RSI);
    asm_lock(b);
    asm_mr(b, ASM_XADD, 8, asm_mem(RDI, 0), RAX);
    asm_mr(b, ASM_XCHG, 8, asm_mem(RDI, 8), RAX);
    asm_none(b, ASM_RET);
    fn = jit_end(&jit);
    assert_int_equal(fn((uint64_t)(uintptr_t)cell, 5, 0), 20);
    assert_int_equal(cell[0], 15);
    assert_int_equal(cell[1], 10);
    if (!features.cx16)
        return;
    jit_begin(&jit);
    asm_push(b, RBX);
    asm_ri(b, ASM_MOV, 8, RAX, 15);
    asm_ri(b, ASM_MOV, 8, RDX, 10);
    asm_ri(b, ASM_MOV, 8, RBX, -1);
    asm_ri(b, ASM_MOV, 8, RCX, -2);
    asm_lock(b);
    asm_m(b, ASM_CMPXCHG16B, 8, asm_mem(RDI, 0));
    asm_setcc_r(b, CC_E, RAX);
    asm_rr(b, ASM_MOVZX8, 4, RAX, RAX);
    asm_pop(b, RBX);
    asm_none(b, ASM_RET);
    assert_int_equal(jit_end(&jit)((uint64_t)(uintptr_t)cell, 0, 0), 1);
    assert_int_equal(cell[0], UINT64_MAX);
    assert_int_equal(cell[1], UINT64_MAX - 1);
}

/* rdi points to three doubles; the result goes over the first. */
static void run_fp(double *v)
{
    jit_end (&jit)((uint64_t)(uintptr_t)v, 0, 0);
}

static void test_fp(void **state)
{
    struct asm_buf *b = &jit.b;
    double v[3];
    (void)state;
    jit_begin(&jit);
    asm_xm(b, ASM_MOVSD, XMM9, asm_mem(RDI, 0));
    asm_xm(b, ASM_DIVSD, XMM9, asm_mem(RDI, 8));
    asm_xx(b, ASM_SQRTSD, XMM1, XMM9);
    asm_rx(b, ASM_CVTTSD2SI, 8, RAX, XMM1);
    asm_xr(b, ASM_CVTSI2SD, 8, XMM2, RAX);
    asm_xx(b, ASM_SUBSD, XMM1, XMM2);
    asm_mx(b, ASM_MOVSD, asm_mem(RDI, 0), XMM1);
    asm_none(b, ASM_RET);
    v[0] = 50;
    v[1] = 4;
    run_fp(v);
    assert_true(v[0] == sqrt(12.5) - 3);
    if (features.fma) {
        jit_begin(&jit);
        asm_xm(b, ASM_MOVSD, XMM1, asm_mem(RDI, 0));
        asm_xm(b, ASM_MOVSD, XMM12, asm_mem(RDI, 8));
        asm_xxm(b, ASM_VFNMADD213SD, XMM1, XMM12, asm_mem(RDI, 16));
        asm_mx(b, ASM_MOVSD, asm_mem(RDI, 0), XMM1);
        asm_none(b, ASM_RET);
        v[0] = 1 + 0x1p-30;
        v[1] = 1 - 0x1p-30;
        v[2] = 1;
        run_fp(v);
        assert_true(v[0] == 0x1p-60);
    }
    if (features.avx) {
        jit_begin(&jit);
        asm_xm(b, ASM_MOVSD, XMM1, asm_mem(RDI, 0));
        asm_xm(b, ASM_MOVSD, XMM8, asm_mem(RDI, 8));
        asm_xxx(b, ASM_SUBSD, XMM10, XMM1, XMM8);
        asm_mx(b, ASM_MOVSD, asm_mem(RDI, 0), XMM10);
        asm_none(b, ASM_RET);
        v[0] = 10;
        v[1] = 3;
        run_fp(v);
        assert_true(v[0] == 7);
    }
}

/* The sticky flags through mxcsr: cleared, an inexact division, read. */
static void test_flags(void **state)
{
    struct asm_buf *b = &jit.b;
    uint32_t mxcsr[2] = {0x1f80, 0};
    double v[2] = {1, 3};
    (void)state;
    jit_begin(&jit);
    asm_m(b, ASM_LDMXCSR, 4, asm_mem(RDI, 0));
    asm_xm(b, ASM_MOVSD, XMM0, asm_mem(RSI, 0));
    asm_xm(b, ASM_DIVSD, XMM0, asm_mem(RSI, 8));
    asm_m(b, ASM_STMXCSR, 4, asm_mem(RDI, 4));
    asm_m(b, ASM_LDMXCSR, 4, asm_mem(RDI, 0));
    asm_none(b, ASM_RET);
    jit_end (&jit)((uint64_t)(uintptr_t)mxcsr, (uint64_t)(uintptr_t)v, 0);
    assert_int_equal(mxcsr[1], 0x1fa0);
}

/* A dump has a line for each instruction; with capstone (GUISE_CAPSTONE) it names them. */
static void test_disasm(void **state)
{
    static const uint8_t code[] = {0x48, 0x8b, 0x44, 0x8f, 0x10, 0xc3, 0x06};
    char *text = NULL;
    size_t size, lines = 0;
    FILE *f = open_memstream(&text, &size);
    (void)state;
    struct host_disasm *d = host_disasm_new();
    assert_non_null(d);
    host_disasm_print(d, f, code, sizeof code, 0x1000);
    host_disasm_free(d);
    fclose(f);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    assert_non_null(strstr(text, "1000  "));
    assert_non_null(strstr(text, "db 0x06"));
    if (GUISE_CAPSTONE) {
        assert_int_equal(lines, 3);
        assert_non_null(strstr(text, "488b448f10"));
        assert_non_null(strstr(text, "mov rax, qword ptr [rdi + rcx*4 + 0x10]\n"));
        assert_non_null(strstr(text, "ret\n"));
    } else {
        assert_int_equal(lines, sizeof code);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_stack_base),
        cmocka_unit_test(test_loop),      cmocka_unit_test(test_calls),
        cmocka_unit_test(test_patch),     cmocka_unit_test(test_immediates),
        cmocka_unit_test(test_integer),   cmocka_unit_test(test_wide),
        cmocka_unit_test(test_atomics),   cmocka_unit_test(test_fp),
        cmocka_unit_test(test_flags),     cmocka_unit_test(test_disasm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
