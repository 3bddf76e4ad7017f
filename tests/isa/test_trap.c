/* Traps, interrupts and returns (3.1.6-3.1.9, 3.3.2, 10.1), and the hart's saved state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"
#include "hart_rig.h"

#define BIT(n) (UINT64_C(1) << (n))
enum { SIE = 1, MIE = 3, SPIE = 5, MPIE = 7, SPP = 8, MPP = 11, MPRV = 17, TSR = 22 };

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

static void test_exceptions(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = &r->h;
    static const unsigned causes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15};
    static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_M};
    for (unsigned c = 0; c < sizeof causes / sizeof *causes; c++)
        for (unsigned p = 0; p < 3; p++)
            for (unsigned delegated = 0; delegated < 2; delegated++) {
                rv_hart_reset(h, 0x80001234);
                h->mtvec = 0x1001; /* vectored: exceptions go to the base */
                h->stvec = 0x2001;
                h->medeleg = delegated ? BIT(causes[c]) : ~BIT(causes[c]);
                h->priv = privs[p];
                h->mstatus = BIT(SIE) | BIT(MIE);
                h->reserve_key = 64;
                rv_trap_exception(h, causes[c], 0xabcd);
                assert_int_equal(h->reserve_key, RV_TLB_INVALID);
                if (delegated && privs[p] != RV_PRIV_M) {
                    assert_int_equal(h->priv, RV_PRIV_S);
                    assert_int_equal(h->pc, 0x2000);
                    assert_int_equal(h->sepc, 0x80001234);
                    assert_int_equal(h->scause, causes[c]);
                    assert_int_equal(h->stval, 0xabcd);
                    assert_int_equal(h->mcause, 0);
                    assert_int_equal(h->mstatus,
                                     BIT(MIE) | BIT(SPIE) | (privs[p] == 1 ? BIT(SPP) : 0));
                    assert_int_equal(h->fetch_view, RV_VIEW_S);
                } else {
                    assert_int_equal(h->priv, RV_PRIV_M);
                    assert_int_equal(h->pc, 0x1000);
                    assert_int_equal(h->mepc, 0x80001234);
                    assert_int_equal(h->mcause, causes[c]);
                    assert_int_equal(h->mtval, 0xabcd);
                    assert_int_equal(h->scause, 0);
                    assert_int_equal(h->mstatus, BIT(SIE) | BIT(MPIE) | (uint64_t)privs[p] << MPP);
                    assert_int_equal(h->fetch_view, RV_VIEW_M);
                }
            }
    /* Interrupts that were off stay recorded as off. */
    rv_hart_reset(h, 0);
    h->mstatus = BIT(MPIE) | BIT(SPIE);
    rv_trap_exception(h, 2, 0);
    assert_int_equal(h->mstatus, BIT(SPIE) | 3 * BIT(MPP));
}

static void test_interrupt_entry(void **state)
{
    struct rv_hart *h = &((struct rig *)*state)->h;
    static const unsigned irqs[] = {1, 3, 5, 7, 9, 11};
    for (unsigned i = 0; i < 6; i++)
        for (unsigned vectored = 0; vectored < 2; vectored++) {
            rv_hart_reset(h, 0x500);
            h->priv = RV_PRIV_U;
            h->mtvec = 0x1000 | vectored;
            h->stvec = 0x2000 | vectored;
            h->mideleg = 0x222;
            rv_trap_interrupt(h, irqs[i]);
            bool to_s = irqs[i] % 4 == 1;
            assert_int_equal(h->priv, to_s ? 1 : 3);
            assert_int_equal(to_s ? h->scause : h->mcause, BIT(63) | irqs[i]);
            assert_int_equal(to_s ? h->sepc : h->mepc, 0x500);
            assert_int_equal(to_s ? h->stval : h->mtval, 0);
            assert_int_equal(h->pc, (to_s ? 0x2000u : 0x1000u) + (vectored ? 4 * irqs[i] : 0));
        }
}

static int pending(struct rv_hart *h, unsigned priv, uint64_t status, uint64_t deleg)
{
    h->priv = (uint8_t)priv;
    h->mstatus = status;
    h->mideleg = deleg;
    return rv_interrupt_pending(h);
}

static void test_interrupt_choice(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = &r->h;
    /* All pending: MEI MSI MTI SEI SSI STI; each is taken after those before it are gone. */
    static const int order[] = {11, 3, 7, 9, 1, 5};
    r->lines = 0xaaa;
    h->mie = 0xaaa;
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pending(h, 3, BIT(MIE), 0), order[i]);
        r->lines &= ~BIT(order[i]);
    }
    assert_int_equal(pending(h, 3, BIT(MIE), 0), -1);
    /* What goes to M-mode comes first, whatever its number. */
    r->lines = BIT(5) | BIT(9);
    assert_int_equal(pending(h, 0, 0, BIT(9)), 5);
    assert_int_equal(pending(h, 0, 0, BIT(5)), 9);
    /* Who is interrupted: lower modes always, the own mode by its bit, higher modes never. */
    r->lines = BIT(7);
    assert_int_equal(pending(h, 3, BIT(SIE), 0x222), -1);
    assert_int_equal(pending(h, 3, BIT(MIE), 0x222), 7);
    assert_int_equal(pending(h, 1, 0, 0x222), 7);
    assert_int_equal(pending(h, 0, 0, 0x222), 7);
    r->lines = BIT(9);
    assert_int_equal(pending(h, 3, BIT(MIE) | BIT(SIE), 0x222), -1);
    assert_int_equal(pending(h, 1, BIT(MIE), 0x222), -1);
    assert_int_equal(pending(h, 1, BIT(SIE), 0x222), 9);
    assert_int_equal(pending(h, 0, 0, 0x222), 9);
    assert_int_equal(pending(h, 3, BIT(MIE), 0), 9);
    h->mie = 0;
    assert_int_equal(pending(h, 0, 0, 0), -1);
    /* wfi: individually enabled is enough. */
    assert_false(rv_wfi_done(h));
    h->mie = BIT(9);
    pending(h, 3, 0, 0x222);
    assert_true(rv_wfi_done(h));
    r->lines = BIT(11);
    assert_false(rv_wfi_done(h));
}

static void test_mret(void **state)
{
    struct rv_hart *h = &((struct rig *)*state)->h;
    static const unsigned mpp[] = {0, 1, 3};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned pie = 0; pie < 2; pie++) {
            rv_hart_reset(h, 0);
            h->mepc = 0x4242;
            h->mstatus =
                (uint64_t)mpp[i] << MPP | (pie ? BIT(MPIE) : BIT(MIE)) | BIT(MPRV) | BIT(SPIE);
            assert_true(rv_mret(h));
            assert_int_equal(h->priv, mpp[i]);
            assert_int_equal(h->pc, 0x4242);
            assert_int_equal(h->mstatus, BIT(MPIE) | (pie ? BIT(MIE) : 0) | BIT(SPIE) |
                                             (mpp[i] == 3 ? BIT(MPRV) : 0));
            assert_int_equal(h->view, mpp[i] == 1 ? RV_VIEW_S : RV_VIEW_U); /* M: by MPRV, MPP=U */
        }
    h->priv = RV_PRIV_S;
    assert_false(rv_mret(h));
    h->priv = RV_PRIV_U;
    assert_false(rv_mret(h));
}

static void test_sret(void **state)
{
    struct rv_hart *h = &((struct rig *)*state)->h;
    for (unsigned from = RV_PRIV_S; from <= RV_PRIV_M; from += 2)
        for (unsigned spp = 0; spp < 2; spp++)
            for (unsigned pie = 0; pie < 2; pie++) {
                rv_hart_reset(h, 0);
                h->priv = (uint8_t)from;
                h->sepc = 0x4242;
                h->mstatus = (spp ? BIT(SPP) : 0) | (pie ? BIT(SPIE) : BIT(SIE)) | BIT(MPRV) |
                             BIT(MPIE) | 3 * BIT(MPP);
                assert_true(rv_sret(h));
                assert_int_equal(h->priv, spp);
                assert_int_equal(h->pc, 0x4242);
                assert_int_equal(h->mstatus,
                                 BIT(SPIE) | (pie ? BIT(SIE) : 0) | BIT(MPIE) | 3 * BIT(MPP));
            }
    h->priv = RV_PRIV_U;
    assert_false(rv_sret(h));
    h->mstatus = BIT(TSR);
    h->priv = RV_PRIV_S;
    assert_false(rv_sret(h));
    h->priv = RV_PRIV_M;
    assert_true(rv_sret(h));
}

static void test_reset(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = &r->h;
    memset(h->x, 0xff, sizeof h->x);
    h->priv = RV_PRIV_U;
    h->mstatus = UINT64_MAX;
    h->satp = UINT64_C(8) << 60;
    h->icount = 77;
    rv_hart_reset(h, 0x1000);
    assert_int_equal(h->pc, 0x1000);
    assert_int_equal(h->priv, RV_PRIV_M);
    assert_int_equal(h->mstatus & (BIT(MIE) | BIT(MPRV)), 0);
    assert_int_equal(h->mcause, 0);
    assert_int_equal(h->satp, 0);
    assert_int_equal(h->hartid, 3);
    assert_int_equal(h->icount, 77);
    assert_true(h->irq_lines == &r->lines);
}

/* ---- saved state ---- */

static int reload(struct rig *r, struct error *err)
{
    struct state_out out = {0};
    state_save(&out, &rv_hart_state, &r->h);
    assert_false(out.failed);
    struct state_in in = {.data = out.data, .len = out.len};
    struct rig *other = rig_new();
    int rc = state_load(&in, &rv_hart_state, &other->h, err);
    if (!rc) {
        char difference[128];
        if (!state_equal(&rv_hart_state, &r->h, &other->h, difference, sizeof difference))
            fail_msg("%s", difference);
        assert_int_equal(r->h.view, other->h.view);
        assert_int_equal(r->h.fetch_view, other->h.fetch_view);
        assert_int_equal(r->h.pmp_used, other->h.pmp_used);
    }
    rig_free(other);
    state_out_free(&out);
    return rc;
}

static void test_saved(void **state)
{
    struct rig *r = *state;
    struct error err;
    rig_pmp_open(r);
    for (unsigned i = 1; i < 32; i++)
        r->h.x[i] = i * 0x123456789abcdef, r->h.f[i] = ~r->h.x[i];
    rig_csr_write(r, 0x300, BIT(MPRV) | BIT(MPP) | BIT(18));
    rig_csr_write(r, 0x180, UINT64_C(10) << 60 | 5);
    rv_tlb_enter(&r->h.tlb_s, 0x3000 | RV_TLB_READ, 0x80000000 | RV_TLB_SHIFT(12), r->words);
    rv_fetch_enter(&r->h.contexts[r->h.context].fetch, 0x3000, 0x80000000 | RV_TLB_SHIFT(12));
    assert_int_equal(reload(r, &err), 0);

    r->h.priv = 2;
    assert_true(reload(r, &err) < 0);
    r->h.priv = RV_PRIV_M;
    r->h.mstatus = BIT(12);
    assert_true(reload(r, &err) < 0);
    r->h.mstatus = 0;
    rv_hart_view_changed(&r->h);
    for (unsigned mode = 1; mode < 16; mode++) {
        r->h.satp = (uint64_t)mode << 60;
        rv_context_select(&r->h);
        assert_int_equal(reload(r, &err) == 0, mode >= 8 && mode <= 10);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_exceptions),
        T(test_interrupt_entry),
        T(test_interrupt_choice),
        T(test_mret),
        T(test_sret),
        T(test_reset),
        T(test_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
