/* Physical memory protection (3.7.1): what entries match, which one decides, what locks hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hart_rig.h"

enum { OFF = 0, TOR = 0x08, NA4 = 0x10, NAPOT = 0x18, LOCK = 0x80, R = 1, W = 2, X = 4 };

static int setup(void **state)
{
    *state = rig_new();
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void set_cfg(struct rig *r, unsigned i, unsigned cfg)
{
    unsigned csr = 0x3a0 + i / 8 * 2, shift = i % 8 * 8;
    uint64_t old = rig_csr_read(r, csr);
    rig_csr_write(r, csr, (old & ~(UINT64_C(0xff) << shift)) | (uint64_t)cfg << shift);
}

static unsigned cfg(struct rig *r, unsigned i)
{
    return rig_csr_read(r, 0x3a0 + i / 8 * 2) >> (i % 8 * 8) & 0xff;
}

static void set_entry(struct rig *r, unsigned i, unsigned how, uint64_t pmpaddr)
{
    rig_csr_write(r, 0x3b0 + i, pmpaddr);
    set_cfg(r, i, how);
}

static bool s_reads(struct rig *r, uint64_t gpa, unsigned size)
{
    return rv_pmp_allows(&r->h, RV_PRIV_S, gpa, size, RV_READ);
}

static bool m_reads(struct rig *r, uint64_t gpa, unsigned size)
{
    return rv_pmp_allows(&r->h, RV_PRIV_M, gpa, size, RV_READ);
}

/* Exactly [lo, hi) is readable. */
static void expect_range(struct rig *r, uint64_t lo, uint64_t hi)
{
    assert_true(s_reads(r, lo, 4));
    assert_true(s_reads(r, hi - 4, 4));
    assert_false(s_reads(r, hi, 1));
    assert_false(s_reads(r, hi - 4, 8));
    if (lo) {
        assert_false(s_reads(r, lo - 1, 1));
        assert_false(s_reads(r, lo - 4, 8));
    }
}

static void test_no_match(void **state)
{
    struct rig *r = *state;
    for (unsigned access = RV_READ; access <= RV_EXEC; access <<= 1) {
        assert_true(rv_pmp_allows(&r->h, RV_PRIV_M, 0x80000000, 8, access));
        assert_false(rv_pmp_allows(&r->h, RV_PRIV_S, 0x80000000, 8, access));
        assert_false(rv_pmp_allows(&r->h, RV_PRIV_U, 0x80000000, 8, access));
    }
    set_entry(r, 3, OFF | R | W | X, 0x80000000 >> 2);
    assert_false(s_reads(r, 0x80000000, 4));
}

static void test_ranges(void **state)
{
    struct rig *r = *state;
    set_entry(r, 0, TOR | R, 0x4000 >> 2); /* entry 0: from address 0 */
    expect_range(r, 0, 0x4000);
    set_cfg(r, 0, OFF);
    set_entry(r, 1, TOR | R, 0x7004 >> 2);
    expect_range(r, 0x4000, 0x7004);
    rig_csr_write(r, 0x3b0, 0x7004 >> 2); /* empty */
    assert_false(s_reads(r, 0x7000, 4));
    rig_csr_write(r, 0x3b0, 0x8000 >> 2); /* turned around */
    assert_false(s_reads(r, 0x7000, 4));
    assert_false(s_reads(r, 0x7800, 4));
    set_entry(r, 1, NA4 | R, 0x80001234 >> 2);
    expect_range(r, 0x80001234, 0x80001238);

    static const struct {
        uint64_t addr, lo, hi;
    } napot[] = {
        {0x20000000, 0x80000000, 0x80000008},     {0x20000001, 0x80000000, 0x80000010},
        {0x200001ff, 0x80000000, 0x80001000},     {0x200005ff, 0x80001000, 0x80002000},
        {0x2003ffff, 0x80000000, 0x80200000},     {0x1fffffff, 0, 0x100000000},
        {0x3fffffffffffff, 0, UINT64_C(1) << 57}, {0x1fffffffffffff, 0, UINT64_C(1) << 56},
    };
    for (unsigned i = 0; i < sizeof napot / sizeof *napot; i++) {
        set_entry(r, 1, NAPOT | R, napot[i].addr);
        expect_range(r, napot[i].lo, napot[i].hi);
    }
    /* Bits 63:54 of pmpaddr are 0. */
    rig_csr_write(r, 0x3b5, UINT64_MAX);
    assert_int_equal(rig_csr_read(r, 0x3b5), 0x3fffffffffffff);
}

static void test_permissions(void **state)
{
    struct rig *r = *state;
    for (unsigned bits = 0; bits < 8; bits++) {
        if ((bits & (R | W)) == W)
            continue;
        set_entry(r, 15, NAPOT | bits, UINT64_MAX);
        assert_int_equal(cfg(r, 15), NAPOT | bits);
        for (unsigned access = RV_READ; access <= RV_EXEC; access <<= 1) {
            assert_int_equal(rv_pmp_allows(&r->h, RV_PRIV_S, 64, 4, access), !!(bits & access));
            assert_int_equal(rv_pmp_allows(&r->h, RV_PRIV_U, 64, 4, access), !!(bits & access));
            assert_true(rv_pmp_allows(&r->h, RV_PRIV_M, 64, 4, access));
        }
    }
    /* W without R is reserved; bits 5 and 6 are 0. */
    set_cfg(r, 15, NAPOT | R);
    set_cfg(r, 15, NAPOT | W);
    assert_int_equal(cfg(r, 15), NAPOT | R);
    set_cfg(r, 15, NAPOT | W | X);
    assert_int_equal(cfg(r, 15), NAPOT | R);
    set_cfg(r, 15, 0x60 | NAPOT | X);
    assert_int_equal(cfg(r, 15), NAPOT | X);
}

static void test_priority(void **state)
{
    struct rig *r = *state;
    set_entry(r, 2, NAPOT, 0x80001000 >> 2 | 0x1ff); /* nothing on one page */
    set_entry(r, 5, NAPOT | R, UINT64_MAX);          /* reads everywhere */
    set_entry(r, 6, NAPOT | R | W | X, UINT64_MAX);  /* never reached */
    assert_true(s_reads(r, 0x80000ffc, 4));
    assert_false(s_reads(r, 0x80001000, 4));
    assert_false(s_reads(r, 0x80001ffc, 4));
    assert_true(s_reads(r, 0x80002000, 4));
    assert_false(rv_pmp_allows(&r->h, RV_PRIV_S, 0x80002000, 4, RV_WRITE));
    /* The lowest entry that touches an access must contain all of it, in M-mode too. */
    set_entry(r, 0, NA4 | R | W | X, 0x80003004 >> 2);
    assert_true(s_reads(r, 0x80003000, 4));
    assert_true(s_reads(r, 0x80003004, 4));
    assert_false(s_reads(r, 0x80003000, 8));
    assert_false(m_reads(r, 0x80003000, 8));
    assert_false(m_reads(r, 0x80003004, 8));
    assert_true(m_reads(r, 0x80003008, 8));
}

static void test_locks(void **state)
{
    struct rig *r = *state;
    set_entry(r, 4, LOCK | NAPOT | R, 0x80000000 >> 2 | 0x1ff);
    assert_true(m_reads(r, 0x80000000, 8));
    assert_false(rv_pmp_allows(&r->h, RV_PRIV_M, 0x80000000, 8, RV_WRITE));
    assert_false(rv_pmp_allows(&r->h, RV_PRIV_M, 0x80000000, 4, RV_EXEC));
    assert_true(rv_pmp_allows(&r->h, RV_PRIV_M, 0x80001000, 4, RV_EXEC));
    set_cfg(r, 4, NAPOT | R | W);
    rig_csr_write(r, 0x3b4, 0);
    assert_int_equal(cfg(r, 4), LOCK | NAPOT | R);
    assert_int_equal(rig_csr_read(r, 0x3b4), 0x200001ff);
    rig_csr_write(r, 0x3b3, 0x77); /* not a TOR entry's lower end */
    assert_int_equal(rig_csr_read(r, 0x3b3), 0x77);
    /* Its neighbours in the same register can still change. */
    set_cfg(r, 5, NA4 | R);
    assert_int_equal(cfg(r, 5), NA4 | R);

    rig_csr_write(r, 0x3b8, 0x100);
    set_entry(r, 9, LOCK | TOR | R, 0x200);
    rig_csr_write(r, 0x3b8, 0x180);
    assert_int_equal(rig_csr_read(r, 0x3b8), 0x100);
    set_cfg(r, 8, NA4 | R); /* the configuration below is not locked */
    assert_int_equal(cfg(r, 8), NA4 | R);
    /* An entry that is off can be locked. */
    set_entry(r, 12, LOCK | OFF, 0x300);
    rig_csr_write(r, 0x3bc, 0);
    assert_int_equal(rig_csr_read(r, 0x3bc), 0x300);
    /* Only reset unlocks. */
    rv_hart_reset(&r->h, 0);
    assert_int_equal(cfg(r, 4), 0);
    assert_true(rv_pmp_allows(&r->h, RV_PRIV_M, 0x80000000, 8, RV_WRITE));
}

/* What a whole page may be used for is known only if one entry decides for all of it. */
static void test_pages(void **state)
{
    struct rig *r = *state;
    struct rv_translation t;
    enum rv_cause cause;
    set_entry(r, 0, NAPOT | R, 0x80000100 >> 2 | 0x1f); /* 256 bytes */
    set_entry(r, 1, NAPOT | R | W, 0x80000000 >> 2 | 0x1ffff);
    assert_true(rv_translate(&r->h, RV_VIEW_U, 0x80001000, 4, RV_WRITE, &t, &cause));
    assert_int_equal(t.perms, RV_READ | RV_WRITE);
    assert_true(rv_translate(&r->h, RV_VIEW_U, 0x80000000, 4, RV_WRITE, &t, &cause));
    assert_int_equal(t.perms, 0);
    assert_true(rv_translate(&r->h, RV_VIEW_U, 0x80000100, 4, RV_READ, &t, &cause));
    assert_int_equal(t.perms, 0);
    assert_false(rv_translate(&r->h, RV_VIEW_U, 0x80000100, 4, RV_WRITE, &t, &cause));
    assert_int_equal(cause, 7);
    assert_false(rv_translate(&r->h, RV_VIEW_U, 0x800000fe, 4, RV_READ, &t, &cause));
    assert_int_equal(cause, 5);
    assert_false(rv_translate(&r->h, RV_VIEW_U, 0x80001000, 2, RV_EXEC, &t, &cause));
    assert_int_equal(cause, 1);
    /* Above all that entries can describe: nobody's. */
    assert_false(rv_translate(&r->h, RV_VIEW_U, UINT64_MAX - 7, 8, RV_READ, &t, &cause));
    assert_true(rv_translate(&r->h, RV_VIEW_M, UINT64_MAX - 7, 8, RV_READ, &t, &cause));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_no_match), T(test_ranges), T(test_permissions),
        T(test_priority), T(test_locks),  T(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
