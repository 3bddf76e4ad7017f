/* Which CSRs exist for whom, and what they keep of what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hart_rig.h"

#define BIT(n) (UINT64_C(1) << (n))
enum { MSTATUS = 0x300, MIDELEG = 0x303, MIE = 0x304, MIP = 0x344, SIP = 0x144, SIE = 0x104 };
enum { MENVCFG = 0x30a, MCOUNTEREN = 0x306, SCOUNTEREN = 0x106, MCOUNTINHIBIT = 0x320 };

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

static bool can_read(struct rig *r, unsigned number)
{
    uint64_t old;
    unsigned effects;
    return rv_csr_access(&r->h, number, RV_CSR_RS, true, false, 0, &old, &effects);
}

/* csrrs with a register that holds 0: a write all the same. */
static bool can_write(struct rig *r, unsigned number)
{
    uint64_t old;
    unsigned effects;
    return rv_csr_access(&r->h, number, RV_CSR_RS, true, true, 0, &old, &effects);
}

static uint64_t rmw(struct rig *r, unsigned number, enum rv_csr_op op, uint64_t operand)
{
    uint64_t old;
    unsigned effects;
    assert_true(rv_csr_access(&r->h, number, op, true, true, operand, &old, &effects));
    return old;
}

static uint64_t written(struct rig *r, unsigned number, uint64_t value)
{
    rig_csr_write(r, number, value);
    return rig_csr_read(r, number);
}

/* First and last number, whether software can write. Debug mode and H are not implemented. */
static const struct {
    unsigned first, last;
    bool writable;
} present[] = {
    {0x001, 0x003, true},                        /* fflags frm fcsr */
    {0xc00, 0xc1f, false},                       /* cycle time instret hpmcounter3..31 */
    {0x100, 0x100, true},  {0x104, 0x106, true}, /* sstatus; sie stvec scounteren */
    {0x10a, 0x10a, true},                        /* senvcfg */
    {0x140, 0x144, true},                        /* sscratch sepc scause stval sip */
    {0x14d, 0x14d, true},  {0x180, 0x180, true}, /* stimecmp; satp */
    {0xf11, 0xf15, false},                       /* vendor, arch, imp, hart, config */
    {0x300, 0x306, true},                        /* mstatus .. mcounteren */
    {0x30a, 0x30a, true},                        /* menvcfg */
    {0x320, 0x320, true},  {0x323, 0x33f, true}, /* mcountinhibit; mhpmevent3..31 */
    {0x340, 0x344, true},                        /* mscratch mepc mcause mtval mip */
    {0x3b0, 0x3ef, true},                        /* pmpaddr */
    {0xb00, 0xb00, true},  {0xb02, 0xb1f, true}, /* mcycle; minstret mhpmcounter */
};

static bool exists(unsigned number, bool *writable)
{
    if (number >= 0x3a0 && number <= 0x3af) { /* pmpcfg: with XLEN 64 the even ones */
        *writable = true;
        return !(number & 1);
    }
    for (unsigned i = 0; i < sizeof present / sizeof *present; i++)
        if (number >= present[i].first && number <= present[i].last) {
            *writable = present[i].writable;
            return true;
        }
    return false;
}

static void test_all_numbers(void **state)
{
    struct rig *r = *state;
    r->h.mstatus = BIT(13);
    r->h.mcounteren = r->h.scounteren = UINT32_MAX;
    r->h.menvcfg = BIT(63);
    static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_M};
    for (unsigned p = 0; p < 3; p++)
        for (unsigned number = 0; number < 4096; number++) {
            r->h.priv = privs[p];
            bool writable, there = exists(number, &writable) && privs[p] >= (number >> 8 & 3);
            if (can_read(r, number) != there)
                fail_msg("CSR 0x%x read in mode %u is %s", number, privs[p], there ? "bad" : "ok");
            if (can_write(r, number) != (there && writable))
                fail_msg("CSR 0x%x write in mode %u", number, privs[p]);
            uint64_t v;
            assert_int_equal(rv_csr_peek(&r->h, number, &v), exists(number, &writable));
        }
}

static void test_warl(void **state)
{
    struct rig *r = *state;
    /* mstatus: MPP takes 0, 1, 3; UXL and SXL say 64; no big-endian, no extension state. */
    static const unsigned mpp[] = {0, 1, 3};
    for (unsigned i = 0; i < 3; i++) {
        rig_csr_write(r, MSTATUS, (uint64_t)mpp[i] << 11);
        assert_int_equal(written(r, MSTATUS, BIT(12)) >> 11 & 3, mpp[i]);
    }
    assert_int_equal(written(r, MSTATUS, UINT64_MAX), 0x8000000a007e79aa);
    assert_int_equal(written(r, MSTATUS, 0), 0xa00000000);
    assert_int_equal(written(r, 0x100, UINT64_MAX), 0x80000002000c6122);
    assert_int_equal(rig_csr_read(r, MSTATUS), 0x8000000a000c6122);

    /* xtvec: modes 0 and 1. */
    for (unsigned csr = 0x105; csr <= 0x305; csr += 0x200) {
        assert_int_equal(written(r, csr, 0x80000000), 0x80000000);
        assert_int_equal(written(r, csr, 0x80000101), 0x80000101);
        assert_true((written(r, csr, 0x80000102) & 3) < 2);
        assert_true((written(r, csr, 0x80000103) & 3) < 2);
    }
    /* xepc: even. */
    assert_int_equal(written(r, 0x341, UINT64_MAX), UINT64_MAX - 1);
    assert_int_equal(written(r, 0x141, UINT64_MAX), UINT64_MAX - 1);
    /* Delegation: no call from M-mode, no reserved cause, supervisor interrupts only. */
    assert_int_equal(written(r, 0x302, UINT64_MAX) & 0x4c00, 0);
    assert_int_equal(written(r, 0x302, 0xb1ff), 0xb1ff);
    assert_int_equal(written(r, MIDELEG, UINT64_MAX), 0x222);
    assert_int_equal(written(r, MIE, UINT64_MAX), 0xaaa);
    /* xenvcfg: CBIE takes 0, 1, 3. */
    assert_int_equal(written(r, 0x10a, 0x10), 0x10);
    assert_int_equal(written(r, 0x10a, 0x20), 0x10);
    assert_int_equal(written(r, 0x10a, UINT64_MAX), 0xf1);
    assert_int_equal(written(r, MENVCFG, UINT64_MAX), 0xe0000000000000f1);
    assert_int_equal(written(r, MENVCFG, 0x20), 0x30);
    assert_int_equal(written(r, MCOUNTINHIBIT, UINT64_MAX), 5);
    assert_int_equal(written(r, MCOUNTEREN, UINT64_MAX), UINT32_MAX);
    /* misa does not change; reserved identification reads 0. */
    r->h.misa = 0x8000000000141129;
    assert_int_equal(written(r, 0x301, 0), 0x8000000000141129);
    assert_int_equal(rig_csr_read(r, 0xf14), 3);
    assert_int_equal(rig_csr_read(r, 0xf15), 0);
}

static void test_satp(void **state)
{
    struct rig *r = *state;
    static const unsigned max[] = {8, 9, 10};
    for (unsigned i = 0; i < 3; i++) {
        r->h.satp_max = (uint8_t)max[i];
        rig_csr_write(r, 0x180, 0);
        for (unsigned mode = 0; mode < 16; mode++) {
            bool legal = !mode || (mode >= 8 && mode <= max[i]);
            uint64_t before = rig_csr_read(r, 0x180);
            uint64_t v = (uint64_t)mode << 60 | 0x1234500000080000 >> 4;
            assert_int_equal(written(r, 0x180, v), legal ? v : before);
        }
    }
    /* A new space or mode drops translations that are not global. */
    rv_tlb_enter(&r->h.tlb_s, 0x1000 | RV_TLB_READ, RIG_PA | RV_TLB_SHIFT(12), r->words);
    rig_csr_write(r, 0x180, UINT64_C(8) << 60 | 77);
    assert_int_equal(r->h.tlb_s.entry[1].rtag, RV_TLB_INVALID);
    /* TVM: not for S-mode. */
    r->h.priv = RV_PRIV_S;
    assert_true(can_read(r, 0x180));
    r->h.mstatus |= BIT(20);
    assert_false(can_read(r, 0x180));
    assert_false(can_write(r, 0x180));
    r->h.priv = RV_PRIV_M;
    assert_true(can_write(r, 0x180));
}

static void test_counter_enables(void **state)
{
    struct rig *r = *state;
    for (unsigned i = 0; i < 32; i++)
        for (unsigned m = 0; m < 2; m++)
            for (unsigned s = 0; s < 2; s++) {
                r->h.priv = RV_PRIV_M;
                rig_csr_write(r, MCOUNTEREN, m ? BIT(i) : ~BIT(i));
                rig_csr_write(r, SCOUNTEREN, s ? BIT(i) : ~BIT(i));
                assert_true(can_read(r, 0xc00 + i));
                r->h.priv = RV_PRIV_S;
                assert_int_equal(can_read(r, 0xc00 + i), m);
                r->h.priv = RV_PRIV_U;
                assert_int_equal(can_read(r, 0xc00 + i), m && s);
            }
}

static void test_counters(void **state)
{
    struct rig *r = *state;
    r->h.icount = 1000;
    /* The instruction after a write reads the value written. */
    for (unsigned csr = 0xb00; csr <= 0xb02; csr += 2) {
        rig_csr_write(r, csr, 50);
        r->h.icount++;
        assert_int_equal(rig_csr_read(r, csr), 50);
        assert_int_equal(rig_csr_read(r, csr + 0x100), 50);
        r->h.icount += 7;
        assert_int_equal(rig_csr_read(r, csr), 57);
        /* From outside there is no instruction. */
        assert_true(rv_csr_poke(&r->h, csr, 0));
        assert_int_equal(rig_csr_read(r, csr), 0);
    }
    rig_csr_write(r, MCOUNTINHIBIT, 4);
    uint64_t stopped = rig_csr_read(r, 0xb02), cycle = rig_csr_read(r, 0xb00);
    r->h.icount += 100;
    assert_int_equal(rig_csr_read(r, 0xb02), stopped);
    assert_int_equal(rig_csr_read(r, 0xb00), cycle + 100);
    rig_csr_write(r, 0xb02, 9);
    r->h.icount += 100;
    assert_int_equal(rig_csr_read(r, 0xb02), 9);
    assert_true(rv_csr_poke(&r->h, 0xb02, 10));
    assert_int_equal(rig_csr_read(r, 0xb02), 10);
    rig_csr_write(r, MCOUNTINHIBIT, 1);
    cycle = rig_csr_read(r, 0xb00);
    r->h.icount += 5;
    assert_int_equal(rig_csr_read(r, 0xb02), 15);
    assert_int_equal(rig_csr_read(r, 0xb00), cycle);
    r->time = 12345;
    assert_int_equal(rig_csr_read(r, 0xc01), 12345);
    /* Programmable counters count nothing. */
    assert_int_equal(written(r, 0xb03, 77), 0);
    assert_int_equal(written(r, 0x323, 77), 0);
}

static void test_float_state(void **state)
{
    struct rig *r = *state;
    for (unsigned csr = 1; csr <= 3; csr++) {
        r->h.mstatus = 0;
        assert_false(can_read(r, csr));
        assert_false(can_write(r, csr));
        r->h.mstatus = BIT(13); /* initial */
        assert_true(can_read(r, csr));
        assert_int_equal(r->h.mstatus, BIT(13));
        rig_csr_write(r, csr, 0xff);
        assert_int_equal(r->h.mstatus, 3 * BIT(13)); /* dirty */
        assert_int_equal(rig_csr_read(r, MSTATUS) >> 63, 1);
    }
    r->h.mstatus = BIT(13);
    assert_int_equal(rig_csr_read(r, MSTATUS) >> 63, 0);
    assert_int_equal(rig_csr_read(r, 3), 0xff);
    rig_csr_write(r, 2, 5);
    assert_int_equal(rig_csr_read(r, 3), 0xbf);
    rig_csr_write(r, 1, 3);
    assert_int_equal(rig_csr_read(r, 3), 0xa3);
    assert_int_equal(written(r, 3, UINT64_MAX), 0xff);
}

static void test_interrupt_views(void **state)
{
    struct rig *r = *state;
    rig_csr_write(r, MIE, 0xaaa);
    rig_csr_write(r, MIP, 0xaaa); /* M's own bits are not software's */
    assert_int_equal(rig_csr_read(r, MIP), 0x222);
    assert_int_equal(rig_csr_read(r, SIP), 0);
    assert_int_equal(rig_csr_read(r, SIE), 0);
    rig_csr_write(r, SIP, 0);
    rig_csr_write(r, SIE, 0);
    assert_int_equal(rig_csr_read(r, MIP), 0x222);
    assert_int_equal(rig_csr_read(r, MIE), 0xaaa);
    rig_csr_write(r, MIDELEG, 0x202);
    assert_int_equal(rig_csr_read(r, SIP), 0x202);
    assert_int_equal(rig_csr_read(r, SIE), 0x202);
    rig_csr_write(r, SIP, 0); /* SEIP is read-only there */
    assert_int_equal(rig_csr_read(r, MIP), 0x220);
    rig_csr_write(r, SIE, 0);
    assert_int_equal(rig_csr_read(r, MIE), 0x8a8 | 0x020);
    r->lines = BIT(11) | BIT(7) | BIT(3);
    assert_int_equal(rig_csr_read(r, MIP), 0xaa8 | 0x020 | 0x200);
}

/* 3.1.9: a read-modify-write sees the line in rd, but does not write it back. */
static void test_seip(void **state)
{
    struct rig *r = *state;
    r->lines = BIT(9);
    assert_int_equal(rmw(r, MIP, RV_CSR_RS, BIT(1)), BIT(9));
    r->lines = 0;
    assert_int_equal(rig_csr_read(r, MIP), BIT(1));
    rmw(r, MIP, RV_CSR_RS, BIT(9));
    assert_int_equal(rig_csr_read(r, MIP), BIT(9) | BIT(1));
    r->lines = BIT(9);
    rmw(r, MIP, RV_CSR_RC, BIT(9));
    assert_int_equal(rig_csr_read(r, MIP), BIT(9) | BIT(1));
    r->lines = 0;
    assert_int_equal(rig_csr_read(r, MIP), BIT(1));
}

static void test_sstc(void **state)
{
    struct rig *r = *state;
    r->h.menvcfg = 0;
    static const struct {
        uint64_t stce, tm;
    } c[] = {{0, 0}, {0, 2}, {BIT(63), 0}, {BIT(63), 2}};
    for (unsigned i = 0; i < 4; i++) {
        r->h.menvcfg = c[i].stce;
        r->h.mcounteren = c[i].tm;
        r->h.priv = RV_PRIV_S;
        assert_int_equal(can_read(r, 0x14d), i == 3);
        assert_int_equal(can_write(r, 0x14d), i == 3);
        r->h.priv = RV_PRIV_M;
        assert_true(can_read(r, 0x14d));
    }
    unsigned changes = r->stimecmp_changes;
    rig_csr_write(r, 0x14d, 500);
    assert_int_equal(r->stimecmp_changes, changes + 1);
    assert_int_equal(r->h.stimecmp, 500);
    /* Without STCE software makes STIP; with it the bit is the timer's alone. */
    rig_csr_write(r, MENVCFG, 0);
    assert_int_equal(r->stimecmp_changes, changes + 2);
    assert_int_equal(written(r, MIP, BIT(5)), BIT(5));
    rig_csr_write(r, MENVCFG, BIT(63));
    assert_int_equal(r->stimecmp_changes, changes + 3);
    assert_int_equal(rig_csr_read(r, MIP), 0);
    assert_int_equal(written(r, MIP, BIT(5)), 0);
    r->lines = BIT(5);
    assert_int_equal(written(r, MIP, 0), BIT(5));
}

/* ---- Advanced Interrupt Architecture 1.0, chapters 2, 3 and 5 ---- */

enum { MVIEN = 0x308, MVIP = 0x309, MTOPI = 0xfb0, STOPI = 0xdb0 };
/* Of supervisor level; those of machine level are 0x200 above. */
enum { SISELECT = 0x150, SIREG = 0x151, STOPEI = 0x15c };

static void test_aia_exists(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned number;
        bool writable;
    } csrs[] = {{SISELECT, true}, {SIREG, true}, {STOPEI, true}, {STOPI, false}, {0x350, true},
                {0x351, true},    {0x35c, true}, {MTOPI, false}, {MVIEN, true},  {MVIP, true}};
    for (unsigned with = 0; with < 2; with++) {
        for (unsigned i = 0; i < sizeof csrs / sizeof *csrs; i++)
            for (unsigned priv = 0; priv < 4; priv += 1 + (priv == 1)) {
                r->h.priv = (uint8_t)priv;
                r->h.siselect = r->h.miselect = 0x70;
                bool there = with && priv >= (csrs[i].number >> 8 & 3);
                assert_int_equal(can_read(r, csrs[i].number), there);
                assert_int_equal(can_write(r, csrs[i].number), there && csrs[i].writable);
                uint64_t v;
                assert_int_equal(rv_csr_peek(&r->h, csrs[i].number, &v), with);
            }
        rig_add_imsic(r);
    }
}

/* 2.1, 2.2: *ireg is what *iselect says; priorities are fixed. */
static void test_aia_indirect(void **state)
{
    struct rig *r = *state;
    rig_add_imsic(r);
    r->imsic.value = 0x1234;
    for (unsigned level = 0; level < 2; level++) {
        unsigned select = SISELECT + 0x200 * level, reg = SIREG + 0x200 * level;
        assert_int_equal(written(r, select, 0xff), 0xff);
        assert_int_equal(written(r, select, UINT64_MAX) & ~UINT64_C(0xff), 0);
        for (unsigned i = 0x30; i < 0x40; i++) {
            rig_csr_write(r, select, i);
            assert_int_equal(can_read(r, reg), !(i & 1));
            if (!(i & 1))
                assert_int_equal(written(r, reg, UINT64_MAX), 0);
        }
        r->imsic.accesses = 0;
        rig_csr_write(r, select, 0x80);
        assert_int_equal(rig_csr_read(r, reg), 0x1234);
        assert_int_equal(r->imsic.priv, level ? RV_PRIV_M : RV_PRIV_S);
        assert_int_equal(r->imsic.select, 0x80);
        assert_int_equal(r->imsic.clear | r->imsic.set, 0);
        assert_int_equal(rmw(r, reg, RV_CSR_RS, 0xf0), 0x1234);
        assert_true(r->imsic.clear == 0 && r->imsic.set == 0xf0);
        assert_int_equal(rmw(r, reg, RV_CSR_RC, 0xf0), 0x1234);
        assert_true(r->imsic.clear == 0xf0 && r->imsic.set == 0);
        assert_int_equal(rmw(r, reg, RV_CSR_RW, 0xf0), 0x1234);
        assert_true(r->imsic.clear == UINT64_MAX && r->imsic.set == 0xf0);
        assert_int_equal(r->imsic.accesses, 4); /* each in one step */
        r->imsic.absent = true;
        assert_false(can_read(r, reg));
        assert_false(can_write(r, reg));
        r->imsic.absent = false;
    }
    assert_int_equal(r->h.siselect, 0x80);
}

/* 3.9: a write of any value claims, and the read with it says what. */
static void test_aia_topei(void **state)
{
    struct rig *r = *state;
    rig_add_imsic(r);
    r->imsic.top = 7 << 16 | 7;
    for (unsigned level = 0; level < 2; level++) {
        unsigned number = STOPEI + 0x200 * level, effects;
        uint64_t old;
        r->imsic.claims = 0;
        assert_int_equal(rig_csr_read(r, number), 7 << 16 | 7);
        assert_int_equal(r->imsic.claims, 0);
        assert_int_equal(r->imsic.priv, level ? RV_PRIV_M : RV_PRIV_S);
        assert_int_equal(rmw(r, number, RV_CSR_RW, 0), 7 << 16 | 7);
        assert_int_equal(rmw(r, number, RV_CSR_RC, 0), 7 << 16 | 7);
        assert_int_equal(r->imsic.claims, 2);
        /* csrrw with rd = x0 claims, too. */
        assert_true(rv_csr_access(&r->h, number, RV_CSR_RW, false, true, 5, &old, &effects));
        assert_int_equal(r->imsic.claims, 3);
        assert_int_equal(effects, RV_CSR_CHECK_IRQ);
    }
}

/* 5.2.2, 5.4.2: by mideleg, whatever mstatus says, and not what is disabled. */
static void test_aia_topi(void **state)
{
    struct rig *r = *state;
    rig_add_imsic(r);
    rig_csr_write(r, MIDELEG, UINT64_MAX);
    rig_csr_write(r, MIE, UINT64_MAX);
    assert_int_equal(rig_csr_read(r, STOPI) | rig_csr_read(r, MTOPI), 0);
    r->lines = BIT(RV_IRQ_STI) | BIT(RV_IRQ_MTI);
    assert_int_equal(rig_csr_read(r, STOPI), 5 << 16 | 1);
    assert_int_equal(rig_csr_read(r, MTOPI), 7 << 16 | 1);
    r->lines |= BIT(RV_IRQ_SEI) | BIT(RV_IRQ_MEI);
    assert_int_equal(rig_csr_read(r, STOPI), 9 << 16 | 1);
    assert_int_equal(rig_csr_read(r, MTOPI), 11 << 16 | 1);
    rig_csr_write(r, MIDELEG, BIT(RV_IRQ_STI)); /* the supervisor's external is the machine's */
    assert_int_equal(rig_csr_read(r, STOPI), 5 << 16 | 1);
    r->lines = BIT(RV_IRQ_SEI);
    assert_int_equal(rig_csr_read(r, MTOPI), 9 << 16 | 1);
    rig_csr_write(r, MIE, 0);
    assert_int_equal(rig_csr_read(r, MTOPI), 0);
}

/* 5.3: no virtual interrupts; mvip shows the writable bits of mip. */
static void test_aia_virtual(void **state)
{
    struct rig *r = *state;
    rig_add_imsic(r);
    assert_int_equal(written(r, MVIEN, UINT64_MAX), 0);
    assert_int_equal(written(r, MVIP, UINT64_MAX), BIT(1) | BIT(5) | BIT(9));
    assert_int_equal(rig_csr_read(r, MIP), BIT(1) | BIT(5) | BIT(9));
    rig_csr_write(r, MVIP, 0);
    r->lines = BIT(RV_IRQ_SEI); /* not the controller's */
    assert_int_equal(rig_csr_read(r, MVIP), 0);
    rig_csr_write(r, MENVCFG, BIT(63));
    assert_int_equal(written(r, MVIP, UINT64_MAX), BIT(1) | BIT(9));
}

static void test_effects(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned csr, effects;
    } c[] = {
        {MSTATUS, RV_CSR_CHECK_IRQ | RV_CSR_VIEW},
        {0x100, RV_CSR_CHECK_IRQ | RV_CSR_VIEW},
        {MIE, RV_CSR_CHECK_IRQ},
        {SIE, RV_CSR_CHECK_IRQ},
        {MIP, RV_CSR_CHECK_IRQ},
        {SIP, RV_CSR_CHECK_IRQ},
        {MIDELEG, RV_CSR_CHECK_IRQ},
        {0x14d, RV_CSR_CHECK_IRQ},
        {0x180, RV_CSR_VIEW},
        {0x3a0, RV_CSR_VIEW},
        {0x3b7, RV_CSR_VIEW},
    };
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        uint64_t old;
        unsigned effects = 0;
        assert_true(rv_csr_access(&r->h, c[i].csr, RV_CSR_RS, true, true, 0, &old, &effects));
        assert_int_equal(effects & c[i].effects, c[i].effects);
        assert_true(rv_csr_access(&r->h, c[i].csr, RV_CSR_RS, true, false, 0, &old, &effects));
        assert_int_equal(effects, 0);
    }
    /* MXR changes what translations allow, PBMTE and ADUE what tables mean. */
    static const struct {
        unsigned csr;
        uint64_t value;
    } flush[] = {
        {MSTATUS, BIT(19)}, {MENVCFG, BIT(62)}, {MENVCFG, BIT(61)}, {0x3b0, 5}, {0x3a0, 9}};
    for (unsigned i = 0; i < sizeof flush / sizeof *flush; i++) {
        struct rv_tlb *user = &r->h.contexts[r->h.context].user;
        rv_tlb_enter(user, 0x3000 | RV_TLB_WRITE, RIG_PA | RV_TLB_SHIFT(12), r->words);
        assert_int_equal(user->entry[3].wtag, 0x3000);
        rig_csr_write(r, flush[i].csr, flush[i].value);
        assert_int_equal(user->entry[3].wtag, RV_TLB_INVALID);
    }
    /* SUM and MPRV choose another view. */
    rig_csr_write(r, MSTATUS, BIT(17) | BIT(18) | BIT(11));
    assert_int_equal(r->h.view, RV_VIEW_S_SUM);
    rig_csr_write(r, 0x100, 0);
    assert_int_equal(r->h.view, RV_VIEW_S);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_all_numbers),     T(test_warl),       T(test_satp),
        T(test_counter_enables), T(test_counters),   T(test_float_state),
        T(test_interrupt_views), T(test_seip),       T(test_sstc),
        T(test_effects),         T(test_aia_exists), T(test_aia_indirect),
        T(test_aia_topei),       T(test_aia_topi),   T(test_aia_virtual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
