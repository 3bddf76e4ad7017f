/*
 * Address translation (10.3-10.6, Svnapot, Svpbmt, Svadu) over tables that the tests write by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hart_rig.h"

enum { V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128 };
#define N (UINT64_C(1) << 63)
#define PBMT(n) ((uint64_t)(n) << 61)
#define LEAF(pa, flags) ((uint64_t)(pa) >> 12 << 10 | (uint64_t)(flags))
#define RWXAD (V | R | W | X | A | D)

static int setup(void **state)
{
    struct rig *r = rig_new();
    rig_pmp_open(r);
    r->h.priv = RV_PRIV_S;
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void set_mode(struct rig *r, unsigned mode)
{
    assert_true(rv_csr_poke(&r->h, 0x180, (uint64_t)mode << 60 | RIG_PA >> 12));
}

static unsigned levels_of(const struct rig *r)
{
    return (unsigned)(r->h.satp >> 60) - 5; /* 8: 3, 9: 4, 10: 5 */
}

/* Writes `pte` as the entry for va at `level`, with tables on pages 0, 1, 2... Returns its place.
 */
static uint64_t *map(struct rig *r, uint64_t va, unsigned level, uint64_t pte)
{
    unsigned depth = 0;
    for (unsigned l = levels_of(r);; depth++) {
        l--;
        uint64_t *slot = &r->words[depth * 512 + (va >> (12 + 9 * l) & 511)];
        if (l == level) {
            *slot = pte;
            return slot;
        }
        *slot = LEAF(RIG_PA + (depth + 1) * 4096, V);
    }
}

static bool try_access(struct rig *r, enum rv_view view, uint64_t va, enum rv_access access,
                       struct rv_translation *t, enum rv_cause *cause)
{
    *t = (struct rv_translation){0};
    return rv_translate(&r->h, view, va, 1, access, t, cause);
}

static void expect_gpa(struct rig *r, uint64_t va, enum rv_access access, uint64_t gpa)
{
    struct rv_translation t;
    enum rv_cause cause;
    assert_true(try_access(r, RV_VIEW_S, va, access, &t, &cause));
    assert_int_equal(t.gpa, gpa);
}

static void expect_causes(struct rig *r, uint64_t va, const unsigned cause[3])
{
    static const enum rv_access access[] = {RV_EXEC, RV_READ, RV_WRITE};
    for (unsigned i = 0; i < 3; i++) {
        struct rv_translation t;
        enum rv_cause got = 99;
        assert_false(try_access(r, RV_VIEW_S, va, access[i], &t, &got));
        assert_int_equal(got, cause[i]);
    }
}

static void expect_page_faults(struct rig *r, uint64_t va)
{
    expect_causes(r, va, (const unsigned[]){12, 13, 15});
}

static void expect_access_faults(struct rig *r, uint64_t va)
{
    expect_causes(r, va, (const unsigned[]){1, 5, 7});
}

static void test_canonical(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned mode;
        uint64_t last_low, first_bad, last_bad, first_high;
    } c[] = {
        {8, 0x3fffffffff, 0x4000000000, 0xffffffbfffffffff, 0xffffffc000000000},
        {9, 0x7fffffffffff, 0x800000000000, 0xffff7fffffffffff, 0xffff800000000000},
        {10, 0xffffffffffffff, 0x100000000000000, 0xfeffffffffffffff, 0xff00000000000000},
    };
    for (unsigned i = 0; i < 3; i++) {
        set_mode(r, c[i].mode);
        unsigned top = levels_of(r) - 1;
        for (unsigned k = 0; k < 512; k++)
            r->words[k] = LEAF(0, RWXAD);
        uint64_t mask = (UINT64_C(1) << (12 + 9 * top)) - 1;
        expect_gpa(r, c[i].last_low, RV_READ, c[i].last_low & mask);
        expect_gpa(r, c[i].first_high, RV_READ, 0);
        expect_gpa(r, UINT64_MAX, RV_WRITE, mask);
        expect_page_faults(r, c[i].first_bad);
        expect_page_faults(r, c[i].last_bad);
        expect_page_faults(r, UINT64_C(1) << 63);
    }
}

static void test_leaf_levels(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned mode, level;
        uint64_t va, base, gpa, size;
    } c[] = {
        {8, 0, 0x123456789, 0x87654000, 0x87654789, 0x1000},
        {8, 1, 0x123456789, 0x87600000, 0x87656789, 0x200000},
        {8, 2, 0x123456789, 0xc0000000, 0xe3456789, 0x40000000},
        {9, 0, 0x523456789abc, 0xfffffffffff000, 0xfffffffffffabc, 0x1000},
        {9, 1, 0x523456789abc, 0x87600000, 0x87789abc, 0x200000},
        {9, 2, 0x523456789abc, 0xc0000000, 0xd6789abc, 0x40000000},
        {9, 3, 0x523456789abc, 0x8000000000, 0xb456789abc, 0x8000000000},
        {10, 0, 0xfff23456789abcde, 0x1000, 0x1cde, 0x1000},
        {10, 1, 0xfff23456789abcde, 0x200000, 0x3abcde, 0x200000},
        {10, 2, 0xfff23456789abcde, 0x40000000, 0x789abcde, 0x40000000},
        {10, 3, 0xfff23456789abcde, 0x8000000000, 0xd6789abcde, 0x8000000000},
        {10, 4, 0xfff23456789abcde, 0x1000000000000, 0x13456789abcde, 0x1000000000000},
    };
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        memset(r->words, 0, sizeof r->words);
        set_mode(r, c[i].mode);
        uint64_t *pte = map(r, c[i].va, c[i].level, LEAF(c[i].base, RWXAD));
        struct rv_translation t;
        enum rv_cause cause;
        assert_true(try_access(r, RV_VIEW_S, c[i].va, RV_WRITE, &t, &cause));
        assert_int_equal(t.gpa, c[i].gpa);
        assert_int_equal(t.page_size, c[i].size);
        assert_int_equal(t.perms, RV_READ | RV_WRITE | RV_EXEC);
        uint64_t gpa;
        assert_true(rv_translate_debug(&r->h, c[i].va, &gpa));
        assert_int_equal(gpa, t.gpa);
        /* Each low bit of a superpage's page number makes it misaligned. */
        for (unsigned bit = 0; bit < 9 * c[i].level; bit++) {
            *pte = LEAF(c[i].base | UINT64_C(4096) << bit, RWXAD);
            expect_page_faults(r, c[i].va);
        }
    }
}

static void test_malformed(void **state)
{
    struct rig *r = *state;
    const uint64_t va = 0x40201000;
    set_mode(r, 8);
    static const uint64_t bad_leaf[] = {
        0, R | W | X | A | D, V | W | A | D, V | W | X | A | D, V | A, V};
    for (unsigned i = 0; i < sizeof bad_leaf / sizeof *bad_leaf; i++) {
        map(r, va, 0, LEAF(0x80000000, bad_leaf[i]));
        expect_page_faults(r, va);
    }
    for (unsigned bit = 54; bit <= 63; bit++) {
        map(r, va, 0, LEAF(0x80000000, RWXAD) | UINT64_C(1) << bit);
        expect_page_faults(r, va);
    }
    uint64_t *leaf = map(r, va, 0, LEAF(0x80000000, RWXAD));
    expect_gpa(r, va, RV_READ, 0x80000000);
    *leaf |= 3u << 8 | G; /* for software, and global */
    expect_gpa(r, va, RV_READ, 0x80000000);

    uint64_t *pointer = &r->words[512 + (va >> 21 & 511)], good = *pointer;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool reserved = bit == 4 || bit == 6 || bit == 7 || bit >= 54; /* U A D; reserved PBMT N */
        bool software = bit == 5 || bit == 8 || bit == 9;
        if (!reserved && !software)
            continue;
        *pointer = good | UINT64_C(1) << bit;
        if (reserved)
            expect_page_faults(r, va);
        else
            expect_gpa(r, va, RV_READ, 0x80000000);
    }
}

/* For each kind of page what each view may do, from the text of 10.3.1 and 3.1.6.3. */
static void test_permissions(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned flags;
        const char *plain, *mxr;
    } kinds[] = {
        {R, "r", "r"},       {R | W, "rw", "rw"},       {X, "x", "rx"},
        {R | X, "rx", "rx"}, {R | W | X, "rwx", "rwx"},
    };
    static const char letters[] = "rwx";
    set_mode(r, 9);
    for (unsigned k = 0; k < 5; k++)
        for (unsigned user = 0; user < 2; user++)
            for (unsigned mxr = 0; mxr < 2; mxr++)
                for (unsigned view = RV_VIEW_U; view <= RV_VIEW_S_SUM; view++) {
                    map(r, 0x5000, 0, LEAF(0x99000, V | A | D | kinds[k].flags | (user ? U : 0)));
                    r->h.mstatus = mxr ? RV_MSTATUS_MXR : 0;
                    const char *page = mxr ? kinds[k].mxr : kinds[k].plain;
                    unsigned all = 0;
                    for (unsigned a = 0; a < 3; a++) {
                        bool want = strchr(page, letters[a]);
                        if (view == RV_VIEW_U)
                            want &= user;
                        else if (user)
                            want &= view == RV_VIEW_S_SUM && letters[a] != 'x';
                        all |= want ? 1u << a : 0;
                    }
                    for (unsigned a = 0; a < 3; a++) {
                        struct rv_translation t;
                        enum rv_cause cause;
                        bool ok = try_access(r, view, 0x5123, 1u << a, &t, &cause);
                        assert_int_equal(ok, all >> a & 1);
                        if (ok)
                            assert_int_equal(t.perms, all);
                    }
                }
}

static void test_views(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned priv, mprv, mpp, sum, data, fetch;
    } c[] = {
        {0, 0, 3, 0, RV_VIEW_U, RV_VIEW_U},     {0, 0, 3, 1, RV_VIEW_U, RV_VIEW_U},
        {1, 0, 3, 0, RV_VIEW_S, RV_VIEW_S},     {1, 0, 3, 1, RV_VIEW_S_SUM, RV_VIEW_S},
        {3, 0, 0, 1, RV_VIEW_M, RV_VIEW_M},     {3, 0, 1, 1, RV_VIEW_M, RV_VIEW_M},
        {3, 1, 3, 1, RV_VIEW_M, RV_VIEW_M},     {3, 1, 0, 0, RV_VIEW_U, RV_VIEW_M},
        {3, 1, 0, 1, RV_VIEW_U, RV_VIEW_M},     {3, 1, 1, 0, RV_VIEW_S, RV_VIEW_M},
        {3, 1, 1, 1, RV_VIEW_S_SUM, RV_VIEW_M},
    };
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        r->h.priv = (uint8_t)c[i].priv;
        r->h.mstatus = (c[i].mprv ? UINT64_C(1) << 17 : 0) | (uint64_t)c[i].mpp << 11 |
                       (c[i].sum ? UINT64_C(1) << 18 : 0);
        rv_hart_view_changed(&r->h);
        assert_int_equal(r->h.view, c[i].data);
        assert_int_equal(r->h.fetch_view, c[i].fetch);
    }
}

/* M-mode and mode Bare see physical addresses, whatever the tables say. */
static void test_untranslated(void **state)
{
    struct rig *r = *state;
    struct rv_translation t;
    enum rv_cause cause;
    set_mode(r, 8);
    assert_true(try_access(r, RV_VIEW_M, 0x8000000000001234, RV_WRITE, &t, &cause));
    assert_int_equal(t.gpa, 0x8000000000001234);
    assert_int_equal(t.page_size, 4096);
    set_mode(r, 0);
    expect_gpa(r, 0x4000000000, RV_EXEC, 0x4000000000);
}

static void test_accessed_dirty(void **state)
{
    struct rig *r = *state;
    struct rv_translation t;
    enum rv_cause cause;
    static const struct {
        enum rv_access access;
        unsigned before, after, perms;
    } on[] = {
        {RV_READ, 0, A, RV_READ | RV_EXEC},
        {RV_EXEC, 0, A, RV_READ | RV_EXEC},
        {RV_WRITE, 0, A | D, RV_READ | RV_WRITE | RV_EXEC},
        {RV_READ, A, A, RV_READ | RV_EXEC},
        {RV_WRITE, A, A | D, RV_READ | RV_WRITE | RV_EXEC},
        {RV_READ, D, A | D, RV_READ | RV_WRITE | RV_EXEC},
        {RV_READ, A | D, A | D, RV_READ | RV_WRITE | RV_EXEC},
    };
    set_mode(r, 8);
    for (unsigned i = 0; i < sizeof on / sizeof *on; i++) {
        uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R | W | X | on[i].before));
        r->swaps = 0;
        assert_true(try_access(r, RV_VIEW_S, 0x7000, on[i].access, &t, &cause));
        assert_int_equal(*pte, LEAF(0x3000, V | R | W | X | on[i].after));
        assert_int_equal(t.perms, on[i].perms);
        assert_int_equal(r->swaps, on[i].before != on[i].after);
    }
    /* An access that is not permitted leaves no trace. */
    uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R));
    assert_false(try_access(r, RV_VIEW_S, 0x7000, RV_WRITE, &t, &cause));
    assert_false(try_access(r, RV_VIEW_U, 0x7000, RV_READ, &t, &cause));
    assert_int_equal(*pte, LEAF(0x3000, V | R));

    assert_true(rv_csr_poke(&r->h, 0x30a, 0)); /* ADUE off */
    for (unsigned i = 0; i < sizeof on / sizeof *on; i++) {
        uint64_t was = LEAF(0x3000, V | R | W | X | on[i].before);
        pte = map(r, 0x7000, 0, was);
        bool want = on[i].before == on[i].after;
        assert_int_equal(try_access(r, RV_VIEW_S, 0x7000, on[i].access, &t, &cause), want);
        if (want)
            assert_int_equal(t.perms, on[i].perms);
        else
            assert_int_equal(cause, on[i].access == RV_READ    ? 13
                                    : on[i].access == RV_WRITE ? 15
                                                               : 12);
        assert_int_equal(*pte, was);
    }
}

static void test_bus_errors(void **state)
{
    struct rig *r = *state;
    set_mode(r, 8);
    map(r, 0x7000, 1, LEAF(0x40000000, V)); /* the last table is nowhere */
    expect_access_faults(r, 0x7000);
    assert_true(rv_csr_poke(&r->h, 0x180, UINT64_C(8) << 60 | 0x123));
    expect_access_faults(r, 0x7000);
    set_mode(r, 8);
    uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R | W | X));
    r->swap_bus_error = true;
    expect_access_faults(r, 0x7000);
    assert_int_equal(*pte, LEAF(0x3000, V | R | W | X));
}

static void test_pmp_on_tables(void **state)
{
    struct rig *r = *state;
    set_mode(r, 8);
    uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R | W | X));
    /* Page 2 holds the last table: nothing allowed, then reads only. */
    assert_true(rv_csr_poke(&r->h, 0x3b0, (RIG_PA + 0x2000) >> 2 | 0x1ff));
    assert_true(rv_csr_poke(&r->h, 0x3a0, 0x18));
    expect_access_faults(r, 0x7000);
    assert_true(rv_csr_poke(&r->h, 0x3a0, 0x19));
    expect_access_faults(r, 0x7000);
    assert_int_equal(*pte, LEAF(0x3000, V | R | W | X));
    *pte |= A | D;
    expect_gpa(r, 0x7000, RV_WRITE, 0x3000);
    /* The tables are read as S-mode does even when M-mode asks on a user's behalf. */
    assert_true(rv_csr_poke(&r->h, 0x3a0, 0x18));
    r->h.priv = RV_PRIV_M;
    expect_access_faults(r, 0x7000);
    /* The page itself: an access fault, not a page fault. */
    assert_true(rv_csr_poke(&r->h, 0x3b0, 0x3000 >> 2 | 0x1ff));
    expect_access_faults(r, 0x7000);
}

static void test_napot(void **state)
{
    struct rig *r = *state;
    set_mode(r, 8);
    for (unsigned page = 0; page < 16; page++) {
        for (unsigned low = 0; low < 16; low++) {
            map(r, 0x50000 + page * 4096, 0, LEAF(0x87650000 + low * 4096, RWXAD) | N);
            if (low != 8) {
                expect_page_faults(r, 0x50000 + page * 4096);
                continue;
            }
            struct rv_translation t;
            enum rv_cause cause;
            assert_true(try_access(r, RV_VIEW_S, 0x50abc + page * 4096, RV_READ, &t, &cause));
            assert_int_equal(t.gpa, 0x87650abc + page * 4096);
            assert_int_equal(t.page_size, 65536);
        }
    }
    memset(r->words, 0, sizeof r->words);
    map(r, 0x40000000, 1, LEAF(0x80000000, RWXAD) | N);
    expect_page_faults(r, 0x40000000);
    map(r, 0x40000000, 1, LEAF(0x80000000 + 8 * 4096, RWXAD) | N);
    expect_page_faults(r, 0x40000000);
}

static void test_pbmt(void **state)
{
    struct rig *r = *state;
    set_mode(r, 10);
    for (unsigned on = 0; on < 2; on++) {
        assert_true(rv_csr_poke(&r->h, 0x30a, on ? UINT64_C(1) << 62 : 0));
        for (unsigned type = 0; type < 4; type++) {
            map(r, 0x1000, 0, LEAF(0x5000, RWXAD) | PBMT(type));
            if (!type || (on && type < 3))
                expect_gpa(r, 0x1000, RV_WRITE, 0x5000);
            else
                expect_page_faults(r, 0x1000);
        }
        map(r, 0x1000, 0, LEAF(0x5000, RWXAD));
        r->words[0] |= PBMT(1); /* in a pointer: reserved */
        expect_page_faults(r, 0x1000);
    }
}

static uint64_t new_pte;

static void change_pte(struct rig *r, uint64_t gpa)
{
    r->words[(gpa - RIG_PA) / 8] = new_pte;
    r->before_swap = NULL;
}

static void test_swap_race(void **state)
{
    struct rig *r = *state;
    set_mode(r, 8);
    uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R | W | X));
    new_pte = LEAF(0x9000, V | R | W);
    r->before_swap = change_pte;
    expect_gpa(r, 0x7000, RV_WRITE, 0x9000);
    assert_int_equal(*pte, LEAF(0x9000, V | R | W | A | D));

    *pte = LEAF(0x3000, V | R | W | X);
    new_pte = 0;
    r->before_swap = change_pte;
    struct rv_translation t;
    enum rv_cause cause;
    assert_false(try_access(r, RV_VIEW_S, 0x7000, RV_WRITE, &t, &cause));
    assert_int_equal(cause, 15);
    assert_int_equal(*pte, 0);
}

/* ---- fences (10.2.1) ---- */

enum { SPACE_A = 1, SPACE_B = 2 };

static uint64_t satp_of(unsigned asid)
{
    return UINT64_C(8) << 60 | (uint64_t)asid << 44 | 0x80000;
}

static void use_space(struct rig *r, unsigned asid)
{
    rv_csr_poke(&r->h, 0x180, satp_of(asid));
}

static struct rv_context *space(struct rig *r)
{
    return &r->h.contexts[r->h.context];
}

#define SMALL RV_TLB_SHIFT(12)
#define LARGE RV_TLB_SHIFT(21)

static void enter(struct rig *r, struct rv_tlb *t, uint64_t va, uint64_t flags)
{
    rv_tlb_enter(t, va | RV_TLB_READ | RV_TLB_WRITE, RIG_PA | flags, r->words);
}

static bool in_tlb(const struct rv_tlb *t, uint64_t va)
{
    const struct rv_tlb_entry *e = &t->entry[rv_tlb_index(va)];
    assert_int_equal(e->rtag, e->wtag);
    assert_int_equal(e->rtag == va, (t->page[rv_tlb_index(va)] & ~UINT64_C(3)) == va);
    return e->rtag == va;
}

static bool in_fetch(const struct rv_fetch_tlb *t, uint64_t va)
{
    return t->entry[rv_fetch_index(va)].tag == va;
}

static void fence(struct rig *r, const uint64_t *va, const uint64_t *asid)
{
    rv_tlb_fence(&r->h, &(struct rv_fence){.one_page = va,
                                           .one_space = asid,
                                           .va = va ? *va : 0,
                                           .asid = asid ? *asid : 0});
}

/* The same page in two spaces, and global and other pages of S. */
static void fill_spaces(struct rig *r)
{
    rv_tlb_flush(&r->h);
    for (unsigned asid = SPACE_A; asid <= SPACE_B; asid++) {
        use_space(r, asid);
        enter(r, &space(r)->user, 0x5000, SMALL);
        enter(r, &space(r)->user_by_s, 0x5000, SMALL);
        enter(r, &space(r)->user_by_s, 0x8000, SMALL | RV_TLB_GLOBAL);
        rv_fetch_enter(&space(r)->fetch, 0x5000, RIG_PA | SMALL);
    }
    enter(r, &r->h.tlb_s, 0x6000, SMALL);
    enter(r, &r->h.tlb_s, 0x8000, SMALL | RV_TLB_GLOBAL);
    rv_fetch_enter(&r->h.fetch_s, 0x9000, RIG_PA | SMALL | RV_TLB_GLOBAL);
    enter(r, &r->h.tlb_m, 0x5000, SMALL);
}

static void expect_space(struct rig *r, unsigned asid, bool local, bool global)
{
    use_space(r, asid);
    assert_int_equal(in_tlb(&space(r)->user, 0x5000), local);
    assert_int_equal(in_tlb(&space(r)->user_by_s, 0x5000), local);
    assert_int_equal(in_tlb(&space(r)->user_by_s, 0x8000), global);
    assert_int_equal(in_fetch(&space(r)->fetch, 0x5000), local);
}

static void expect_shared(struct rig *r, bool local, bool global)
{
    assert_int_equal(in_tlb(&r->h.tlb_s, 0x6000), local);
    assert_int_equal(in_tlb(&r->h.tlb_s, 0x8000), global);
    assert_true(in_tlb(&r->h.tlb_m, 0x5000));
}

static void test_spaces(void **state)
{
    struct rig *r = *state;
    fill_spaces(r);
    expect_shared(r, true, true);
    /* The spaces keep theirs, S keeps what is global. */
    expect_space(r, SPACE_A, true, true);
    expect_shared(r, false, true);
    expect_space(r, SPACE_B, true, true);
    /* Other tables with the same identifier are another space. */
    rv_csr_poke(&r->h, 0x180, satp_of(SPACE_A) + 1);
    assert_false(in_tlb(&space(r)->user, 0x5000));
    /* A space that was not used for long is forgotten, one that was is not. */
    for (unsigned asid = 10; asid < 10 + RV_CONTEXTS; asid++) {
        use_space(r, SPACE_B);
        use_space(r, asid);
    }
    expect_space(r, SPACE_B, true, true);
    expect_space(r, SPACE_A, false, false);
}

static void test_fences(void **state)
{
    struct rig *r = *state;
    static const uint64_t page = 0x5123, global = 0x8fff, other = 0x7000;
    static const uint64_t a = SPACE_A, b = SPACE_B, none = 77;
    static const struct {
        const uint64_t *va, *asid;
        bool a, a_global, b, b_global, s, s_global;
    } c[] = {
        {NULL, NULL, 0, 0, 0, 0, 0, 0},    {&page, NULL, 0, 1, 0, 1, 1, 1},
        {NULL, &a, 0, 1, 1, 1, 1, 1},      {NULL, &b, 1, 1, 0, 1, 0, 1},
        {&page, &a, 0, 1, 1, 1, 1, 1},     {&page, &b, 1, 1, 0, 1, 1, 1},
        {&global, NULL, 1, 0, 1, 0, 1, 0}, {&global, &a, 1, 1, 1, 1, 1, 1},
        {&other, NULL, 1, 1, 1, 1, 1, 1},  {&other, &b, 1, 1, 1, 1, 1, 1},
        {NULL, &none, 1, 1, 1, 1, 1, 1},
    };
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        fill_spaces(r);
        fence(r, c[i].va, c[i].asid);
        expect_shared(r, c[i].s, c[i].s_global);
        expect_space(r, SPACE_B, c[i].b, c[i].b_global);
        expect_space(r, SPACE_A, c[i].a, c[i].a_global);
    }
}

/* A superpage goes with any address in it, and nothing but it. */
static void test_fence_superpage(void **state)
{
    struct rig *r = *state;
    struct rv_tlb *t = &r->h.tlb_s;
    const uint64_t in = 0x3ff000, out = 0x400000, g = SPACE_A;
    use_space(r, SPACE_A);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t flags = i == 2 ? RV_TLB_GLOBAL : 0;
        enter(r, t, 0x201000, LARGE | flags);
        enter(r, t, 0x205000, LARGE | flags);
        enter(r, t, 0x406000, LARGE | flags);
        enter(r, t, 0x007000, SMALL | flags);
        rv_fetch_enter(&r->h.fetch_s, 0x209000, RIG_PA | LARGE | flags);
        rv_fetch_enter(&r->h.fetch_s, 0x40a000, RIG_PA | LARGE | flags);
        fence(r, &in, i ? &g : NULL);
        assert_int_equal(in_tlb(t, 0x201000), i == 2);
        assert_int_equal(in_tlb(t, 0x205000), i == 2);
        assert_int_equal(in_fetch(&r->h.fetch_s, 0x209000), i == 2);
        assert_true(in_tlb(t, 0x406000) && in_tlb(t, 0x007000));
        assert_true(in_fetch(&r->h.fetch_s, 0x40a000));
    }
    fence(r, &out, NULL);
    assert_false(in_tlb(t, 0x406000) || in_fetch(&r->h.fetch_s, 0x40a000));
    assert_true(in_tlb(t, 0x007000) && in_tlb(t, 0x201000));
}

/* The epoch of fetches changes when what was entered in it may have been dropped, and only then. */
static void test_fetch_epoch(void **state)
{
    struct rig *r = *state;
    const uint64_t page = 0x5000, replaced = 0x6000, other = 0x7000, a = SPACE_A, b = SPACE_B;
    use_space(r, SPACE_A);
    r->h.priv = RV_PRIV_U;
    rv_hart_view_changed(&r->h);
    rv_fetch_enter(r->h.fetch, page, RIG_PA | SMALL);
    rv_fetch_enter(r->h.fetch, replaced, RIG_PA | SMALL);
    rv_fetch_enter(r->h.fetch, replaced + RV_FETCH_SIZE * RV_PAGE, RIG_PA | SMALL);
    uint64_t epoch = r->h.fetch->epoch;
    fence(r, &other, NULL);
    fence(r, NULL, &b);
    assert_int_equal(r->h.fetch->epoch, epoch);
    fence(r, &replaced, NULL);
    assert_int_not_equal(r->h.fetch->epoch, epoch);
    epoch = r->h.fetch->epoch;
    /* What stayed counts as entered again, what had been replaced does not. */
    fence(r, &replaced, NULL);
    assert_int_equal(r->h.fetch->epoch, epoch);
    fence(r, &page, &a);
    assert_int_not_equal(r->h.fetch->epoch, epoch);
    epoch = r->h.fetch->epoch;
    /* Each space has its own. */
    use_space(r, SPACE_B);
    uint64_t epoch_b = r->h.fetch->epoch;
    assert_int_not_equal(epoch_b, epoch);
    use_space(r, SPACE_A);
    assert_int_equal(r->h.fetch->epoch, epoch);
    rv_tlb_flush(&r->h);
    assert_int_not_equal(r->h.fetch->epoch, epoch);
    use_space(r, SPACE_B);
    assert_int_equal(r->h.fetch->epoch, epoch_b);
}

/* A leaf is global, or all below an entry that is (10.3.1). */
static void test_global(void **state)
{
    struct rig *r = *state;
    struct rv_translation t;
    enum rv_cause cause;
    set_mode(r, 8);
    uint64_t *pte = map(r, 0x7000, 0, LEAF(0x3000, V | R | W | A | D));
    assert_true(try_access(r, RV_VIEW_S, 0x7000, RV_READ, &t, &cause));
    assert_false(t.global);
    *pte |= 1u << 5;
    assert_true(try_access(r, RV_VIEW_S, 0x7000, RV_READ, &t, &cause));
    assert_true(t.global);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_canonical),      T(test_leaf_levels), T(test_malformed),
        T(test_permissions),    T(test_views),       T(test_untranslated),
        T(test_accessed_dirty), T(test_bus_errors),  T(test_pmp_on_tables),
        T(test_napot),          T(test_pbmt),        T(test_swap_race),
        T(test_spaces),         T(test_fences),      T(test_fence_superpage),
        T(test_fetch_epoch),    T(test_global),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
