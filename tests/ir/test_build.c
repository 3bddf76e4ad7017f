/* The builder and the text form at their edges: what snapshots list, bounds, wrong texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/impl.h"

static struct ir *ir;

static void reset(void)
{
    static const uint8_t types[4] = {IR_I64, IR_I64, IR_I64, IR_I64};
    ir_reset(ir, 4, types);
}

static void assert_verified(void)
{
    struct error err = {0};
    if (ir_verify(ir, &err) < 0)
        fail_msg("%s", err.msg);
}

/* The value a snapshot lists for a slot, 0: none. */
static ir_ref listed(uint32_t snap, unsigned slot)
{
    for (uint32_t i = 0; i < ir->snap[snap].count; i++) {
        if (ir_snap_entries(ir, snap)[i].slot == slot)
            return ir_snap_entries(ir, snap)[i].value;
    }
    return 0;
}

static void test_rules_are_distinct(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ir_fold_rule_count; i++) {
        const struct ir_fold_rule *x = &ir_fold_rules[i];
        for (unsigned j = 0; j < i; j++) {
            const struct ir_fold_rule *y = &ir_fold_rules[j];
            if (x->op == y->op && x->a == y->a && x->b == y->b)
                fail_msg("two rules for %s, lines %u and %u", ir_op_info[x->op].name, j, i);
        }
        /* A rule behind one that covers it may still apply, when that one declines; but its
         * operation has to be one that is folded. */
        assert_true(ir_op_info[x->op].flags & (IR_F_PURE | IR_F_FPENV));
        assert_true(ir_op_info[x->op].argc > 1 || x->b == IR_ANY_OP);
    }
}

static void test_snapshot_lists_changes_only(void **state)
{
    (void)state;
    reset();
    ir_ref x1 = ir_slot_read(ir, 1);
    ir_slot_write(ir, 2, ir_op2(ir, IR_ADD, x1, ir_i64(ir, 4)));
    ir_slot_write(ir, 3, ir_slot_read(ir, 3));
    uint32_t first = ir_snapshot(ir, 0x1000, 2), again = ir_snapshot(ir, 0x1004, 3);
    ir_slot_write(ir, 2, ir_slot_read(ir, 1));
    ir_slot_write(ir, 1, x1);
    uint32_t last = ir_snapshot(ir, 0x1008, 4);
    ir_store(ir, IR_MEM_64, x1, 0, x1, first);
    ir_store(ir, IR_MEM_64, x1, 0, x1, again);
    ir_exit(ir, last);
    assert_true(ir_finish(ir));
    assert_verified();
    assert_int_equal(ir->snap[first].count, 1);
    assert_int_equal(ir->ins[listed(first, 2)].op, IR_ADD);
    assert_int_equal(ir->snap[again].first, ir->snap[first].first);
    assert_int_equal(ir->snap[again].pc, 0x1004);
    assert_int_equal(ir->snap[last].count, 1);
    assert_int_equal(listed(last, 2), x1);
}

/* A call writes slot 1 home; afterwards the slot has its entry value again. */
static void test_written_home_is_listed(void **state)
{
    (void)state;
    reset();
    ir_ref old = ir_slot_read(ir, 1);
    ir_slot_write(ir, 1, ir_i64(ir, 7));
    ir_call(ir, IR_VOID, 1, IR_CALL_STATE, 0, 0, 0, ir_snapshot(ir, 0x1000, 1));
    ir_slot_write(ir, 1, old);
    uint32_t last = ir_snapshot(ir, 0x1004, 2);
    ir_exit(ir, last);
    assert_true(ir_finish(ir));
    assert_verified();
    assert_int_equal(listed(last, 1), old);
}

/* A loop that writes slot 1 only: nothing but it gets a PHI. */
static void test_loop_phis(void **state)
{
    (void)state;
    reset();
    uint32_t head = ir_block_new(ir, 0x1000), out = ir_block_new(ir, 0x1010);
    ir_jump(ir, head);
    ir_block_begin(ir, head);
    ir_tick(ir, 0, ir_snapshot(ir, 0x1000, 0));
    ir_ref x = ir_op2(ir, IR_ADD, ir_slot_read(ir, 1), ir_slot_read(ir, 2));
    ir_slot_write(ir, 1, x);
    ir_branch(ir, ir_op2(ir, IR_LTU, x, ir_slot_read(ir, 3)), head, out, IR_BRANCH_LIKELY);
    ir_block_seal(ir, head);
    ir_block_seal(ir, out);
    ir_block_begin(ir, out);
    ir_exit(ir, ir_snapshot(ir, 0x1010, 2));
    assert_true(ir_finish(ir));
    assert_verified();
    unsigned phis = 0;
    IR_EACH_INS(ir, head, r)
    phis += ir->ins[r].op == IR_PHI;
    assert_int_equal(phis, 1);
    assert_true(ir->block[head].loop_head);
    assert_int_equal(ir->block[head].loop_depth, 1);
    assert_int_equal(ir->block[out].loop_depth, 0);
    assert_true(ir_dominates(ir, head, out));
    assert_false(ir_dominates(ir, out, head));
}

/* Everything may run out; the builder goes on doing nothing, and a reset makes it whole. */
static void test_overflow(void **state)
{
    (void)state;
    reset();
    for (unsigned i = 0; i < IR_MAX_INS + 10; i++) {
        uint32_t snap = ir_snapshot(ir, 0x1000 + i, i);
        ir_ref v = ir_load(ir, IR_I64, IR_MEM_64, ir_slot_read(ir, i % 4), 8, snap);
        if (v)
            ir_slot_write(ir, i % 4, v);
        else
            assert_true(ir_overflow(ir));
    }
    assert_true(ir_overflow(ir));
    assert_int_equal(ir_op2(ir, IR_ADD, 0, 0), 0);
    assert_int_equal(ir_slot_read(ir, 0), 0);
    assert_int_equal(ir_block_new(ir, 0), 0);
    assert_false(ir_finish(ir));
    reset();
    assert_false(ir_overflow(ir));
    ir_exit(ir, ir_snapshot(ir, 0x1000, 0));
    assert_true(ir_finish(ir));
    assert_verified();
}

static void test_too_many_blocks(void **state)
{
    (void)state;
    reset();
    for (unsigned i = 0; i + 1 < IR_MAX_BLOCKS; i++)
        assert_int_equal(ir_block_new(ir, i), i + 1);
    assert_int_equal(ir_block_new(ir, 0), 0);
    assert_true(ir_overflow(ir));
}

static void assert_rejected(const char *text, const char *what)
{
    struct error err = {0};
    int result = ir_parse(ir, text, &err);
    if (result == 0)
        result = ir_verify(ir, &err);
    assert_int_equal(result, -EINVAL);
    if (!strstr(err.msg, what))
        fail_msg("'%s' does not say '%s'", err.msg, what);
}

#define HEAD "slots i64*4\nblock0 0x1000\n v1 = get.i64 1\n v2 = const.i64 3\n v3 = const.i32 3\n"
#define TAIL "\n exit {0x1000 +0}\n"

static void test_wrong_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"", "slots"},
        {"slots i64*100\n", "bad slots"},
        {"slots i64*4\n", "no block"},
        {HEAD, "without an end"},
        {HEAD "v4 = frob.i64 v1" TAIL, "line 6: unknown operation"},
        {HEAD "v4 = add.i64 v1" TAIL, "operand is missing"},
        {HEAD "v4 = add.i64 v1, v9" TAIL, "no definition"},
        {HEAD "v4 = add.i64 v1, v3" TAIL, "operand types differ"},
        {HEAD "v4 = add.i32 v1, v2" TAIL, "result type"},
        {HEAD "v4 = sext32.i64 v1" TAIL, "types"},
        {HEAD "v4 = add.i64 v5, v1\n v5 = add.i64 v1, v1" TAIL, "operand"},
        {HEAD "v4 = load.i64 u64 [v1]" TAIL, "snapshot missing"},
        {HEAD "v4 = load.i32 u64 [v1] {0 +0}" TAIL, "types"},
        {HEAD "v4 = load.i64 u64 [v1 + 4294967296] {0 +0}" TAIL, "offset"},
        {HEAD "fence {0 +0}" TAIL, "needless"},
        {HEAD "exit {0 +0 s1=v1 s1=v2}\n", "twice"},
        {HEAD "exit {0 +0 s1=v3}\n", "snapshot type"},
        {HEAD "exit {0 +0 s9=v1}\n", "out of range"},
        {HEAD "jump block0\n", "predecessor"},
        {HEAD "jump block1\n", "not there"},
        {HEAD "branch v1 block1 block1\n", "equal"},
        {HEAD "jump block1\nblock1 0\n v5 = get.i64 2" TAIL, "first block"},
        {HEAD "jump block1\nblock1 0\n v5 = phi.i64" TAIL, "one argument"},
        {HEAD "jump block1\nblock1 0\n v5 = phi.i64 block0:v3" TAIL, "type"},
        {HEAD "jump block1\nblock1 0\n v5 = phi.i64 block0:v5" TAIL, "PHI argument"},
        {HEAD "exit {0 +0}\nblock1 0\n exit {0 +0}\n", "cannot be reached"},
        {HEAD "exit {0 +0}\nfence\n", "no block"},
        {HEAD "v1 = add.i64 v2, v2" TAIL, "second value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_rejected(cases[i].text, cases[i].what);
}

/* A text cut anywhere, or with a byte changed, is read or refused; nothing else happens. */
static void test_damaged_texts(void **state)
{
    (void)state;
    static const char text[] = HEAD
        "v4 = load.i64 s32 [v1 - 8] {0x1004 +1 s1=v2 s2=v1}\n v5 = lts.i1 v4, v1\n"
        " branch v5 block1 block2 likely\nblock1 0x1010\n v6 = phi.i64 s1 block0:v1 block1:v6\n"
        " v7 = call.i64 3 state exits v6 {0x1010 +0 s1=v6}\n branch v5 block1 block2\n"
        "block2 0\n exit_ind v1 {0 +0}\n";
    struct error err;
    char copy[sizeof text];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        memcpy(copy, text, sizeof text);
        copy[i] = '\0';
        ir_parse(ir, copy, &err);
    }
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(copy, text, sizeof text);
        for (unsigned n = 0; n < 1 + i % 3; n++) {
            seed = seed * 1664525 + 1013904223;
            copy[(seed >> 8) % (sizeof text - 1)] = text[(seed >> 16) % (sizeof text - 1)];
        }
        if (ir_parse(ir, copy, &err) == 0 && ir_verify(ir, &err) == 0)
            assert_int_equal(ir_optimize(ir, NULL, true, &err), 0);
    }
}

/* Flags read and written back round a comparison make it silent; round anything else they stay. */
static void test_silent_comparison(void **state)
{
    static const uint8_t types[] = {IR_F64, IR_F64, IR_I64, IR_I64};
    static const struct {
        enum ir_op op, becomes;
        bool second, set;
    } rows[] = {
        {IR_FLT, IR_FLT_SILENT, false, false}, {IR_FLE, IR_FLE_SILENT, false, false},
        {IR_FEQ, IR_FEQ, false, true},         {IR_FADD, IR_FADD, false, true},
        {IR_FLT, IR_FLT, true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err;
        bool set = false;
        ir_reset(ir, 4, types);
        ir_ref a = ir_slot_read(ir, 0), b = ir_slot_read(ir, 1), flags = ir_fflags(ir);
        ir_ref v = ir_value(ir, rows[i].op, IR_ANY, a, b, 0, 0);
        if (rows[i].second)
            ir_value(ir, rows[i].op, IR_ANY, b, a, 0, 0);
        ir_fflags_set(ir, flags);
        ir_exit(ir, ir_snapshot(ir, 0x1000, 1));
        assert_true(ir_finish(ir));
        assert_int_equal(ir_verify(ir, &err), 0);
        assert_int_equal(ir_at(ir, v)->op, rows[i].becomes);
        for (ir_ref r = 1; r < ir->ins_count; r++)
            set |= ir_at(ir, r)->op == IR_FFLAGS_SET;
        assert_int_equal(set, rows[i].set);
    }
}

static int set_up(void **state)
{
    (void)state;
    ir = ir_new();
    return ir ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ir_free(ir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_are_distinct),
        cmocka_unit_test(test_snapshot_lists_changes_only),
        cmocka_unit_test(test_written_home_is_listed),
        cmocka_unit_test(test_loop_phis),
        cmocka_unit_test(test_silent_comparison),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_too_many_blocks),
        cmocka_unit_test(test_wrong_texts),
        cmocka_unit_test(test_damaged_texts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
