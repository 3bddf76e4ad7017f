/* IMSIC: interrupt files register by register, after chapter 3 of the AIA specification 1.0. */
#include "test.h"

#include "dev/imsic.h"
#include "rig.h"

#define HARTS 3u
#define BASE_M UINT64_C(0x24000000)
#define BASE_S UINT64_C(0x28000000)

enum { DELIVERY = 0x70, THRESHOLD = 0x72, EIP = 0x80, EIE = 0xc0 };

struct fixture {
    struct addrspace *as;
    struct device *imsic;
    bool line[HARTS * IMSIC_LEVELS];
};

static int setup(void **state)
{
    static const gpa_t base[] = {BASE_M, BASE_S};
    static struct fixture f;
    struct irq_line out[HARTS * IMSIC_LEVELS];
    f = (struct fixture){.as = addrspace_new(NULL)};
    for (unsigned i = 0; i < HARTS * IMSIC_LEVELS; i++)
        out[i] = line_to(&f.line[i]);
    f.imsic = imsic_new(HARTS, out, base, NULL);
    *state = &f;
    for (unsigned level = 0; level < IMSIC_LEVELS; level++)
        if (addrspace_add_mmio(f.as, base[level], 4 * IMSIC_PAGE, &imsic_mmio[level], f.imsic,
                               NULL))
            return -1;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    addrspace_free(f->as);
    device_free(f->imsic);
    return 0;
}

/* Registers of hart 1's supervisor file. */
static uint64_t change(struct fixture *f, unsigned reg, uint64_t clear, uint64_t set)
{
    uint64_t old;
    assert_true(imsic_reg(f->imsic, 1, IMSIC_S, reg, clear, set, &old));
    return old;
}

static uint64_t rd(struct fixture *f, unsigned reg)
{
    return change(f, reg, 0, 0);
}

static void wr(struct fixture *f, unsigned reg, uint64_t value)
{
    change(f, reg, UINT64_MAX, value);
}

static uint64_t written(struct fixture *f, unsigned reg, uint64_t value)
{
    wr(f, reg, value);
    return rd(f, reg);
}

static void send(struct fixture *f, uint32_t id)
{
    assert_true(addrspace_write(f->as, BASE_S + IMSIC_PAGE, 4, id));
}

static bool line(const struct fixture *f)
{
    return f->line[IMSIC_LEVELS * 1 + IMSIC_S];
}

/* The line of this file only. */
static void expect_line(const struct fixture *f, bool level)
{
    for (unsigned i = 0; i < HARTS * IMSIC_LEVELS; i++)
        assert_int_equal(f->line[i], level && i == IMSIC_LEVELS * 1 + IMSIC_S);
}

/* 3.5: one register per page takes messages, in words. */
static void pages(void **state)
{
    struct fixture *f = *state;
    uint64_t v = 1;
    send(f, 77);
    assert_int_equal(rd(f, EIP + 2), 1 << 13);
    for (gpa_t at = 0; at < IMSIC_PAGE; at += 4) {
        assert_true(addrspace_read(f->as, BASE_S + IMSIC_PAGE + at, 4, &v));
        assert_int_equal(v, 0);
        if (at)
            assert_true(addrspace_write(f->as, BASE_S + IMSIC_PAGE + at, 4, 5));
    }
    assert_int_equal(rd(f, EIP), 0);
    assert_false(addrspace_write(f->as, BASE_S + IMSIC_PAGE, 8, 5));
    assert_false(addrspace_write(f->as, BASE_S + IMSIC_PAGE, 2, 5));
    /* Identities that there are not: none, and behind the last. */
    static const uint32_t ids[] = {0, 256, 0x10005, 0x80000005, UINT32_MAX};
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++)
        send(f, ids[i]);
    assert_int_equal(rd(f, EIP), 0);
    send(f, 255);
    assert_int_equal(rd(f, EIP + 6), UINT64_C(1) << 63);
    /* A page without a hart. */
    assert_true(addrspace_write(f->as, BASE_S + 3 * IMSIC_PAGE, 4, 5));
    /* Each page is a file's own. */
    uint64_t old;
    for (unsigned h = 0; h < HARTS; h++)
        for (unsigned l = 0; l < IMSIC_LEVELS; l++) {
            gpa_t page = (l ? BASE_S : BASE_M) + IMSIC_PAGE * h;
            assert_true(imsic_send(f->imsic, page, 1 + 2 * h + l));
            assert_true(imsic_reg(f->imsic, h, l, EIP, 0, 0, &old));
            assert_int_equal(old, 1 << (1 + 2 * h + l));
        }
    assert_false(imsic_send(f->imsic, BASE_S + HARTS * IMSIC_PAGE, 5));
    assert_false(imsic_send(f->imsic, BASE_M - 4, 5));
}

/* 3.7, 3.8: which registers there are for XLEN 64, and which bits. */
static void registers(void **state)
{
    struct fixture *f = *state;
    uint64_t old;
    for (unsigned reg = 0; reg < 0x200; reg++) {
        bool there = reg >= 0x70 && reg < 0x100 && (reg < 0x80 || !(reg & 1));
        assert_int_equal(imsic_reg(f->imsic, 1, IMSIC_S, reg, 0, 0, &old), there);
        if (there && (reg < 0x80 ? reg != DELIVERY && reg != THRESHOLD : (reg & 0x3f) >= 8))
            assert_int_equal(written(f, reg, UINT64_MAX), 0);
    }
    assert_int_equal(written(f, EIE, UINT64_MAX), UINT64_MAX - 1);
    assert_int_equal(written(f, EIE + 6, UINT64_MAX), UINT64_MAX);
    assert_int_equal(written(f, EIP, UINT64_MAX), UINT64_MAX - 1);
    assert_int_equal(written(f, THRESHOLD, 255), 255);
    assert_int_equal(change(f, EIP, 0xf0, 0x100), UINT64_MAX - 1);
    assert_int_equal(rd(f, EIP), (UINT64_MAX - 1) & ~UINT64_C(0xf0));
}

/* 3.8.1 */
static void delivery(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rd(f, DELIVERY), 0x40000000); /* reset */
    assert_int_equal(written(f, DELIVERY, 1), 1);
    assert_int_equal(written(f, DELIVERY, 2), 1); /* not legal: as before */
    assert_int_equal(written(f, DELIVERY, 0x140000000), 1);
    assert_int_equal(written(f, DELIVERY, 0), 0);
    wr(f, EIE, 1 << 5);
    send(f, 5);
    expect_line(f, false);
    wr(f, DELIVERY, 1);
    expect_line(f, true);
    struct irq_line external = imsic_external(f->imsic, 1, IMSIC_S);
    wr(f, DELIVERY, 0x40000000);
    expect_line(f, false);
    irq_set(&external, true);
    expect_line(f, true);
    wr(f, DELIVERY, 0);
    expect_line(f, false);
    wr(f, DELIVERY, 1);
    irq_set(&external, false);
    expect_line(f, true);
}

/* 3.8.2, 3.9, 3.10: low identities first, up to the threshold; a claim ends the pending. */
static void top(void **state)
{
    struct fixture *f = *state;
    wr(f, DELIVERY, 1);
    wr(f, EIE, UINT64_MAX);
    wr(f, EIE + 4, UINT64_MAX);
    send(f, 200); /* not enabled */
    expect_line(f, false);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, false), 0);
    send(f, 150);
    send(f, 40);
    send(f, 3);
    expect_line(f, true);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, false), 3 << 16 | 3);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, false), 3 << 16 | 3);
    wr(f, THRESHOLD, 3);
    expect_line(f, false);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, true), 0); /* claims nothing */
    wr(f, THRESHOLD, 4);
    expect_line(f, true);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, true), 3 << 16 | 3);
    expect_line(f, false);
    wr(f, THRESHOLD, 0);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, true), 40 << 16 | 40);
    /* The value does not depend on eidelivery. */
    wr(f, DELIVERY, 0);
    expect_line(f, false);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, true), 150 << 16 | 150);
    assert_int_equal(imsic_top(f->imsic, 1, IMSIC_S, true), 0);
    assert_int_equal(rd(f, EIP + 6), 1 << 8);
    /* Pending by software, enabled afterwards. */
    wr(f, DELIVERY, 1);
    wr(f, EIE, 0);
    wr(f, EIP, 1 << 9);
    expect_line(f, false);
    change(f, EIE, 0, 1 << 9);
    expect_line(f, true);
    change(f, EIP, 1 << 9, 0);
    expect_line(f, false);
}

static void reset(void **state)
{
    struct fixture *f = *state;
    wr(f, DELIVERY, 1);
    wr(f, EIE, UINT64_MAX);
    send(f, 5);
    assert_true(line(f));
    device_reset(f->imsic);
    expect_line(f, false);
    assert_int_equal(rd(f, EIP) | rd(f, EIE) | rd(f, THRESHOLD), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(pages), T(registers), T(delivery), T(top), T(reset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
