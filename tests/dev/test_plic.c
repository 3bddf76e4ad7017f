/* The PLIC register by register, after the PLIC specification 1.0.0. */
#include "test.h"

#include "core/addrspace.h"
#include "dev/plic.h"
#include "rig.h"

struct fixture {
    struct addrspace *as;
    struct device *plic;
    bool eip[4]; /* M0 S0 M1 S1 */
};

enum { M0, S0, M1, S1 };

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.as = addrspace_new(NULL)};
    struct irq_line out[4];
    for (unsigned i = 0; i < 4; i++)
        out[i] = line_to(&f.eip[i]);
    f.plic = plic_new(2, out, NULL);
    *state = &f;
    return addrspace_add_mmio(f.as, 0, PLIC_SIZE, &plic_mmio, f.plic, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    addrspace_free(f->as);
    device_free(f->plic);
    return 0;
}

static uint32_t rd(struct fixture *f, uint64_t at)
{
    uint64_t v;
    assert_true(addrspace_read(f->as, at, 4, &v));
    return (uint32_t)v;
}

static void wr(struct fixture *f, uint64_t at, uint32_t v)
{
    assert_true(addrspace_write(f->as, at, 4, v));
}

static uint64_t threshold(unsigned context)
{
    return 0x200000 + 0x1000 * context;
}

static uint64_t claim(unsigned context)
{
    return threshold(context) + 4;
}

static void raise(struct fixture *f, unsigned source, bool level)
{
    struct irq_line line = plic_input(f->plic, source);
    irq_set(&line, level);
}

/* Priority and enable bit of one source for one context. */
static void route(struct fixture *f, unsigned source, unsigned context, unsigned priority)
{
    wr(f, 4 * source, priority);
    uint64_t at = 0x2000 + 0x80 * context + 4 * (source / 32);
    wr(f, at, rd(f, at) | 1u << source % 32);
}

static void registers_hold_legal_values(void **state)
{
    struct fixture *f = *state;
    wr(f, 4 * 10, 0xffffffff);
    assert_int_equal(rd(f, 4 * 10), 7);
    wr(f, 0, 7);
    assert_int_equal(rd(f, 0), 0);
    wr(f, 4 * 96, 7);
    assert_int_equal(rd(f, 4 * 96), 0);
    wr(f, threshold(S1), 0xfffffffd);
    assert_int_equal(rd(f, threshold(S1)), 5);
    for (unsigned w = 0; w < 4; w++)
        wr(f, 0x2000 + 0x80 * S1 + 4 * w, 0xffffffff);
    assert_int_equal(rd(f, 0x2180), 0xfffffffe);
    assert_int_equal(rd(f, 0x2184), 0xffffffff);
    assert_int_equal(rd(f, 0x2188), 0xffffffff);
    assert_int_equal(rd(f, 0x218c), 0);
    wr(f, 0x1000, 0xffffffff);
    assert_int_equal(rd(f, 0x1000), 0);
    /* Contexts that do not exist. */
    wr(f, 0x2000 + 0x80 * 4, 0xffffffff);
    wr(f, threshold(4), 3);
    assert_int_equal(rd(f, 0x2200), 0);
    assert_int_equal(rd(f, threshold(4)), 0);
    assert_int_equal(rd(f, claim(4)), 0);
}

static void only_words(void **state)
{
    struct fixture *f = *state;
    uint64_t v;
    assert_false(addrspace_read(f->as, 4, 1, &v));
    assert_false(addrspace_read(f->as, 8, 8, &v));
    assert_false(addrspace_write(f->as, 8, 2, 1));
}

static void claim_and_complete(void **state)
{
    struct fixture *f = *state;
    route(f, 10, S0, 1);
    assert_false(f->eip[S0]);
    raise(f, 10, true);
    assert_true(f->eip[S0]);
    assert_false(f->eip[M0] || f->eip[M1] || f->eip[S1]);
    assert_int_equal(rd(f, 0x1000), 1 << 10);
    assert_int_equal(rd(f, claim(S0)), 10);
    assert_false(f->eip[S0]);
    assert_int_equal(rd(f, 0x1000), 0);
    /* The line is still high, but its gateway waits for the completion. */
    raise(f, 10, true);
    assert_int_equal(rd(f, claim(S0)), 0);
    wr(f, claim(S0), 10);
    assert_true(f->eip[S0]);
    assert_int_equal(rd(f, claim(S0)), 10);
    raise(f, 10, false);
    wr(f, claim(S0), 10);
    assert_false(f->eip[S0]);
    assert_int_equal(rd(f, claim(S0)), 0);
}

static void pending_outlives_the_line(void **state)
{
    struct fixture *f = *state;
    route(f, 33, M1, 2);
    raise(f, 33, true);
    raise(f, 33, false);
    assert_int_equal(rd(f, 0x1004), 2);
    assert_true(f->eip[M1]);
    assert_int_equal(rd(f, claim(M1)), 33);
    assert_false(f->eip[M1]);
    wr(f, claim(M1), 33);
    assert_false(f->eip[M1]);
}

static void highest_priority_then_lowest_number(void **state)
{
    struct fixture *f = *state;
    route(f, 5, S0, 3);
    route(f, 40, S0, 7);
    route(f, 95, S0, 7);
    route(f, 1, S0, 0); /* priority 0: never */
    raise(f, 1, true);
    assert_false(f->eip[S0]);
    raise(f, 5, true);
    raise(f, 95, true);
    raise(f, 40, true);
    assert_int_equal(rd(f, claim(S0)), 40);
    assert_int_equal(rd(f, claim(S0)), 95);
    assert_int_equal(rd(f, claim(S0)), 5);
    assert_int_equal(rd(f, claim(S0)), 0);
}

static void threshold_masks_but_does_not_hide(void **state)
{
    struct fixture *f = *state;
    route(f, 7, S1, 4);
    wr(f, threshold(S1), 4);
    raise(f, 7, true);
    assert_false(f->eip[S1]);
    wr(f, threshold(S1), 3);
    assert_true(f->eip[S1]);
    wr(f, threshold(S1), 7);
    assert_false(f->eip[S1]);
    assert_int_equal(rd(f, claim(S1)), 7);
}

static void one_context_claims_for_all(void **state)
{
    struct fixture *f = *state;
    route(f, 12, S0, 1);
    route(f, 12, S1, 1);
    raise(f, 12, true);
    assert_true(f->eip[S0] && f->eip[S1]);
    assert_int_equal(rd(f, claim(S1)), 12);
    assert_false(f->eip[S0] || f->eip[S1]);
    assert_int_equal(rd(f, claim(S0)), 0);
    /* A completion counts only where the source is enabled: M0 has not enabled it. */
    wr(f, claim(M0), 12);
    assert_false(f->eip[S0]);
    wr(f, claim(S0), 96);
    wr(f, claim(S0), 0xffffffff);
    wr(f, claim(S0), 0);
    assert_false(f->eip[S0]);
    wr(f, claim(S0), 12);
    assert_true(f->eip[S0] && f->eip[S1]);
}

static void reset_sees_high_lines_anew(void **state)
{
    struct fixture *f = *state;
    route(f, 3, S0, 1);
    raise(f, 3, true);
    assert_int_equal(rd(f, claim(S0)), 3);
    device_reset(f->plic);
    assert_false(f->eip[S0]);
    assert_int_equal(rd(f, 4 * 3), 0);
    assert_int_equal(rd(f, 0x1000), 8);
    route(f, 3, S0, 1);
    assert_true(f->eip[S0]);
}

static void hart_counts(void **state)
{
    struct error err = {0};
    (void)state;
    assert_null(plic_new(0, NULL, &err));
    assert_null(plic_new(65, NULL, &err));
    assert_int_equal(err.code, 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(registers_hold_legal_values, setup, teardown),
        cmocka_unit_test_setup_teardown(only_words, setup, teardown),
        cmocka_unit_test_setup_teardown(claim_and_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(pending_outlives_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(highest_priority_then_lowest_number, setup, teardown),
        cmocka_unit_test_setup_teardown(threshold_masks_but_does_not_hide, setup, teardown),
        cmocka_unit_test_setup_teardown(one_context_claims_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_sees_high_lines_anew, setup, teardown),
        cmocka_unit_test(hart_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
