/* The integer semantics of alu.h against values worked out by hand from the manual. */
#include "isa/riscv64/alu.h"
#include "isa/riscv64/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* after the four headers above, which it needs */
#include <cmocka.h>

#define MIN64 UINT64_C(0x8000000000000000)
#define MAX64 UINT64_C(0x7fffffffffffffff)
#define ONES UINT64_C(0xffffffffffffffff)
#define MIN32 UINT64_C(0xffffffff80000000)
#define X UINT64_C(0x123456789abcdef0)

typedef uint64_t alu2(uint64_t a, uint64_t b);
typedef uint64_t alu1(uint64_t a);

static const struct {
    const char *name;
    alu2 *binary;
    alu1 *unary;
} functions[] = {
/* One entry per operation of the table: a missing function does not compile. */
#define FN_alu_rr(sem) rv_alu_##sem, NULL
#define FN_alu_ri(sem) rv_alu_##sem, NULL
#define FN_alu_r(sem) NULL, rv_alu_##sem
#define FN_lui(sem) NULL, NULL
#define FN_auipc(sem) NULL, NULL
#define FN_load(sem) NULL, NULL
#define FN_store(sem) NULL, NULL
#define FN_fload(sem) NULL, NULL
#define FN_fstore(sem) NULL, NULL
#define FN_branch(sem) NULL, NULL
#define FN_jal(sem) NULL, NULL
#define FN_jalr(sem) NULL, NULL
#define FN_lr(sem) NULL, NULL
#define FN_sc(sem) NULL, NULL
#define FN_amo(sem) NULL, NULL
#define FN_amocas(sem) NULL, NULL
#define FN_csr(sem) NULL, NULL
#define FN_fp(sem) NULL, NULL
#define FN_system(sem) NULL, NULL
#define FN_fence(sem) NULL, NULL
#define FN_cbo(sem) NULL, NULL
#define FN_hint(sem) NULL, NULL
#define RV_OP(ID, name, kind, sem, ext, hasc) {#name, FN_##kind(sem)},
#include "isa/riscv64/rv_ops.def"
};

static const struct {
    const char *name;
    uint64_t a, b, result;
} vectors[] = {
    {"add", ONES, 1, 0},
    {"addi", 5, (uint64_t)-7, (uint64_t)-2},
    {"sub", 0, 1, ONES},
    {"sub", MIN64, 1, MAX64},
    {"sll", 1, 63, MIN64},
    {"sll", 3, 64, 3},
    {"slli", X, 4, 0x23456789abcdef00},
    {"slt", ONES, 0, 1},
    {"slt", MAX64, MIN64, 0},
    {"slti", MIN64, (uint64_t)-1, 1},
    {"slt", 7, 7, 0},
    {"sltu", ONES, 0, 0},
    {"sltiu", 5, ONES, 1},
    {"xor", 0xff00, 0x0ff0, 0xf0f0},
    {"xori", X, ONES, 0xedcba9876543210f},
    {"or", 0xff00, 0x0ff0, 0xfff0},
    {"ori", 5, (uint64_t)-4, (uint64_t)-3},
    {"andi", 7, (uint64_t)-4, 4},
    {"srli", ONES, 60, 15},
    {"srliw", 0x80000000, 28, 8},
    {"and", 0xff00, 0x0ff0, 0x0f00},
    {"srl", MIN64, 63, 1},
    {"srl", MIN64, 65, 0x4000000000000000},
    {"sra", MIN64, 63, ONES},
    {"srai", 0x4000000000000000, 62, 1},
    {"sra", MIN64, 64, MIN64},
    {"addw", MAX64, 1, 0},
    {"addiw", 0x7fffffff, 1, MIN32},
    {"addiw", 0xffffffff80000000, (uint64_t)-1, 0x7fffffff},
    {"subw", MIN32, 1, 0x7fffffff},
    {"subw", UINT64_C(0x500000000), 1, ONES},
    {"sllw", 1, 31, MIN32},
    {"sllw", 1, 32, 1},
    {"slliw", X, 4, 0xffffffffabcdef00},
    {"srlw", UINT64_C(0xf80000000), 31, 1},
    {"srlw", 0x80000000, 0, MIN32},
    {"sraw", 0x80000000, 31, ONES},
    {"sraiw", UINT64_C(0x17fffffff), 4, 0x07ffffff},

    {"mul", X, 16, 0x23456789abcdef00},
    {"mul", ONES, ONES, 1},
    {"mulh", ONES, ONES, 0},
    {"mulh", MIN64, MIN64, 0x4000000000000000},
    {"mulh", MIN64, 2, ONES},
    {"mulhu", ONES, ONES, 0xfffffffffffffffe},
    {"mulhsu", ONES, ONES, ONES},
    {"mulhsu", MIN64, ONES, MIN64},
    {"mulhsu", 2, MIN64, 1},
    {"div", 7, (uint64_t)-2, (uint64_t)-3},
    {"div", MIN64, ONES, MIN64},
    {"div", MIN64, 0, ONES},
    {"div", 5, 0, ONES},
    {"divu", MIN64, ONES, 0},
    {"divu", 5, 0, ONES},
    {"rem", (uint64_t)-7, 2, ONES},
    {"rem", 7, (uint64_t)-2, 1},
    {"rem", MIN64, ONES, 0},
    {"rem", MIN64, 0, MIN64},
    {"remu", ONES, 16, 15},
    {"remu", 5, 0, 5},
    {"mulw", 0x10000, 0x8000, MIN32},
    {"mulw", 0xffffffff, 0xffffffff, 1},
    {"divw", 0x80000000, 0xffffffff, MIN32},
    {"divw", 0x80000000, UINT64_C(0x100000000), ONES},
    {"divw", UINT64_C(0x100000007), 2, 3},
    {"divuw", 0x80000000, 1, MIN32},
    {"divuw", 0xffffffff, UINT64_C(0x700000000), ONES},
    {"remw", 0x80000000, 0xffffffff, 0},
    {"remw", 0x80000001, 0, 0xffffffff80000001},
    {"remw", 0xfffffff9, 2, ONES},
    {"remuw", 0x80000000, 0, MIN32},
    {"remuw", 0xffffffff, 0x10, 15},

    {"add_uw", ONES, 1, UINT64_C(0x100000000)},
    {"sh1add", MIN64 | 3, 1, 7},
    {"sh2add", 3, 1, 13},
    {"sh3add", 3, 1, 25},
    {"sh1add_uw", ONES, 1, UINT64_C(0x1ffffffff)},
    {"sh2add_uw", ONES, 3, UINT64_C(0x3ffffffff)},
    {"sh3add_uw", ONES, 7, UINT64_C(0x7ffffffff)},
    {"slli_uw", ONES, 32, UINT64_C(0xffffffff00000000)},
    {"slli_uw", X, 36, UINT64_C(0xabcdef0000000000)},

    {"andn", 0xff, 0x0f, 0xf0},
    {"orn", 0, 0x0f, 0xfffffffffffffff0},
    {"xnor", 0xff, 0x0f, 0xffffffffffffff0f},
    {"clz", 0, 0, 64},
    {"clz", 1, 0, 63},
    {"clz", MIN64, 0, 0},
    {"ctz", 0, 0, 64},
    {"ctz", MIN64, 0, 63},
    {"cpop", ONES, 0, 64},
    {"cpop", X, 0, 32},
    {"clzw", UINT64_C(0xffffffff00000000), 0, 32},
    {"clzw", 0x8000, 0, 16},
    {"ctzw", UINT64_C(0xffffffff00000000), 0, 32},
    {"ctzw", 0x8000, 0, 15},
    {"cpopw", ONES, 0, 32},
    {"sext_b", 0x180, 0, 0xffffffffffffff80},
    {"sext_b", 0x17f, 0, 0x7f},
    {"sext_h", 0x18000, 0, 0xffffffffffff8000},
    {"sext_h", 0x17fff, 0, 0x7fff},
    {"zext_h", X, 0, 0xdef0},
    {"max", ONES, 1, 1},
    {"maxu", ONES, 1, ONES},
    {"min", ONES, 1, ONES},
    {"minu", ONES, 1, 1},
    {"rol", X, 8, 0x3456789abcdef012},
    {"rol", X, 0, X},
    {"ror", X, 8, 0xf0123456789abcde},
    {"rori", X, 64, X},
    {"rolw", X, 8, 0xffffffffbcdef09a},
    {"rolw", X, 32, 0xffffffff9abcdef0},
    {"rorw", X, 8, 0xfffffffff09abcde},
    {"roriw", 1, 1, MIN32},
    {"orc_b", UINT64_C(0x0100800010000002), 0, UINT64_C(0xff00ff00ff0000ff)},
    {"orc_b", UINT64_C(0x0008000400200040), 0, UINT64_C(0x00ff00ff00ff00ff)},
    {"rev8", X, 0, 0xf0debc9a78563412},

    {"bclr", ONES, 63, MAX64},
    {"bclri", ONES, 0, 0xfffffffffffffffe},
    {"bclr", ONES, 64, 0xfffffffffffffffe},
    {"bext", MIN64, 63, 1},
    {"bexti", MIN64, 62, 0},
    {"binv", 0, 63, MIN64},
    {"binvi", 5, 0, 4},
    {"bset", 0, 63, MIN64},
    {"bseti", 5, 1, 7},

    {"clmul", 3, 3, 5},
    {"clmul", ONES, ONES, 0x5555555555555555},
    {"clmulh", ONES, ONES, 0x5555555555555555},
    {"clmulr", ONES, ONES, 0xaaaaaaaaaaaaaaaa},
    {"clmulh", MIN64, 2, 1},
    {"clmulr", MIN64, 1, 1},

    {"czero_eqz", 7, 0, 0},
    {"czero_eqz", 7, 9, 7},
    {"czero_nez", 7, 0, 7},
    {"czero_nez", 7, 9, 0},
};

static bool has_vector(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
        if (!strcmp(vectors[i].name, name))
            return true;
    return false;
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        size_t k = 0;
        while (strcmp(functions[k].name, vectors[i].name) != 0)
            assert_true(++k < ARRAY_SIZE(functions));
        uint64_t got = functions[k].binary ? functions[k].binary(vectors[i].a, vectors[i].b)
                                           : functions[k].unary(vectors[i].a);
        if (got != vectors[i].result)
            fail_msg("%s(%#jx, %#jx) = %#jx, not %#jx", vectors[i].name, (uintmax_t)vectors[i].a,
                     (uintmax_t)vectors[i].b, (uintmax_t)got, (uintmax_t)vectors[i].result);
    }
}

static void test_every_operation_has_a_vector(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
        unsigned kind = rv_op_info((unsigned)i + 1)->kind;
        bool pure = kind == RV_KIND_ALU_RR || kind == RV_KIND_ALU_RI || kind == RV_KIND_ALU_R;
        assert_int_equal(pure, functions[i].binary || functions[i].unary);
        if (pure && !has_vector(functions[i].name))
            fail_msg("no vector for %s", functions[i].name);
    }
}

static void test_conditions(void **state)
{
    (void)state;
    assert_true(rv_cond_beq(5, 5) && !rv_cond_beq(5, 6));
    assert_true(!rv_cond_bne(5, 5) && rv_cond_bne(5, 6));
    assert_true(rv_cond_blt(ONES, 0) && !rv_cond_blt(0, ONES) && !rv_cond_blt(3, 3));
    assert_true(!rv_cond_bge(ONES, 0) && rv_cond_bge(0, ONES) && rv_cond_bge(3, 3));
    assert_true(!rv_cond_bltu(ONES, 0) && rv_cond_bltu(0, ONES) && !rv_cond_bltu(3, 3));
    assert_true(rv_cond_bgeu(ONES, 0) && !rv_cond_bgeu(0, ONES) && rv_cond_bgeu(3, 3));
    assert_true(rv_cond_blt(MIN64, MAX64) && rv_cond_bltu(MAX64, MIN64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_operation_has_a_vector),
        cmocka_unit_test(test_conditions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
