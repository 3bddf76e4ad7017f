/* APLIC: two domains register by register, after chapter 4 of the AIA specification 1.0. */
#include "test.h"

#include "dev/aplic.h"
#include "rig.h"

#include <string.h>

#define HARTS 2u
#define BASE(level) (UINT64_C(0xc000000) + UINT64_C(0x1000000) * (level))
#define FILES_M UINT64_C(0x24000000)
#define FILES_S UINT64_C(0x28000000)

enum { DOMAINCFG = 0, SETIP = 0x1c00, SETIPNUM = 0x1cdc, IN_CLRIP = 0x1d00, CLRIPNUM = 0x1ddc };
enum { SETIE = 0x1e00, SETIENUM = 0x1edc, CLRIE = 0x1f00, CLRIENUM = 0x1fdc };
enum { SETIPNUM_LE = 0x2000, SETIPNUM_BE = 0x2004, GENMSI = 0x3000 };
enum { MMSI = 0x1bc0, MMSIH = 0x1bc4, SMSI = 0x1bc8, SMSIH = 0x1bcc };
enum { IE = 0x100, DM = 4, D = 0x400 };
enum { INACTIVE, DETACHED, EDGE1 = 4, EDGE0, LEVEL1, LEVEL0 };
enum { IDELIVERY = 0, IFORCE = 4, ITHRESHOLD = 8, TOPI = 0x18, CLAIMI = 0x1c };

struct fixture {
    struct addrspace *as;
    struct device *aplic;
    bool line[HARTS * APLIC_LEVELS];
    unsigned messages; /* since the last look, and the last of them */
    uint64_t address;
    uint32_t data;
};

static void record(void *ctx, uint64_t address, uint32_t data)
{
    struct fixture *f = ctx;
    f->messages++;
    f->address = address;
    f->data = data;
}

static int set_up(void **state, bool delegated)
{
    static struct fixture f;
    struct irq_line out[HARTS * APLIC_LEVELS];
    f = (struct fixture){.as = addrspace_new(NULL)};
    for (unsigned i = 0; i < HARTS * APLIC_LEVELS; i++)
        out[i] = line_to(&f.line[i]);
    const struct aplic_config config = {.harts = HARTS,
                                        .direct = out,
                                        .msi = {.send = record, .ctx = &f},
                                        .files = {FILES_M, FILES_S},
                                        .delegated = delegated};
    f.aplic = aplic_new(&config, NULL);
    *state = &f;
    device_reset(f.aplic);
    for (unsigned level = 0; level < APLIC_LEVELS; level++)
        if (addrspace_add_mmio(f.as, BASE(level), APLIC_SIZE, &aplic_mmio[level], f.aplic, NULL))
            return -1;
    return 0;
}

static int setup(void **state)
{
    return set_up(state, false);
}

static int setup_delegated(void **state)
{
    return set_up(state, true);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    addrspace_free(f->as);
    device_free(f->aplic);
    return 0;
}

static uint32_t rd(struct fixture *f, unsigned level, unsigned reg)
{
    uint64_t v;
    assert_true(addrspace_read(f->as, BASE(level) + reg, 4, &v));
    return (uint32_t)v;
}

static void wr(struct fixture *f, unsigned level, unsigned reg, uint32_t v)
{
    assert_true(addrspace_write(f->as, BASE(level) + reg, 4, v));
}

static uint32_t written(struct fixture *f, unsigned level, unsigned reg, uint32_t v)
{
    wr(f, level, reg, v);
    return rd(f, level, reg);
}

static unsigned sourcecfg(unsigned i)
{
    return 4 * i;
}

static unsigned target(unsigned i)
{
    return GENMSI + 4 * i;
}

static unsigned idc(unsigned hart, unsigned reg)
{
    return 0x4000 + 32 * hart + reg;
}

static void input(struct fixture *f, unsigned source, bool level)
{
    struct irq_line line = aplic_input(f->aplic, source);
    irq_set(&line, level);
}

static bool pending(struct fixture *f, unsigned level, unsigned i)
{
    return rd(f, level, SETIP + 4 * (i / 32)) >> i % 32 & 1;
}

/* What was sent since the last look: one message or none. */
static void expect_message(struct fixture *f, uint64_t address, uint32_t data)
{
    assert_int_equal(f->messages, 1);
    assert_int_equal(f->address, address);
    assert_int_equal(f->data, data);
    f->messages = 0;
}

/* Supervisor's source i in this mode. */
static void delegate(struct fixture *f, unsigned i, uint32_t mode)
{
    wr(f, APLIC_M, sourcecfg(i), D);
    wr(f, APLIC_S, sourcecfg(i), mode);
}

/* 4.5.1, 4.5.2 */
static void configuration(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rd(f, APLIC_M, DOMAINCFG), 0x80000000);
    assert_int_equal(written(f, APLIC_S, DOMAINCFG, UINT32_MAX), 0x80000104);
    assert_int_equal(rd(f, APLIC_M, DOMAINCFG), 0x80000000);
    static const uint32_t legal[] = {0, 1, 0, 0, 4, 5, 6, 7};
    for (uint32_t mode = 0; mode < 8; mode++)
        assert_int_equal(written(f, APLIC_M, sourcecfg(95), mode), legal[mode]);
    assert_int_equal(written(f, APLIC_M, sourcecfg(96), 6), 0); /* there is none */
    assert_int_equal(written(f, APLIC_S, sourcecfg(95), 6), 0); /* not delegated */
    assert_int_equal(written(f, APLIC_M, sourcecfg(95), 0x7ff), D);
    assert_int_equal(written(f, APLIC_S, sourcecfg(95), 6), 6);
    assert_int_equal(written(f, APLIC_S, sourcecfg(95), D | 6), 0); /* a leaf */
    wr(f, APLIC_S, sourcecfg(95), 6);
    wr(f, APLIC_S, SETIENUM, 95);
    assert_int_equal(rd(f, APLIC_S, SETIE + 8), 0x80000000);
    /* Taken back: nothing of it is left. */
    wr(f, APLIC_M, sourcecfg(95), 0);
    assert_int_equal(rd(f, APLIC_S, sourcecfg(95)) | rd(f, APLIC_S, SETIE + 8), 0);
    assert_int_equal(rd(f, APLIC_S, target(95)), 0);
    uint64_t v;
    assert_false(addrspace_read(f->as, BASE(0), 8, &v));
    assert_false(addrspace_read(f->as, BASE(0), 1, &v));
}

/* 4.5.3, 4.5.4: the root's only, and locked for good. */
static void message_addresses(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(written(f, APLIC_M, MMSI, UINT32_MAX), UINT32_MAX);
    assert_int_equal(written(f, APLIC_M, SMSIH, UINT32_MAX), 0x00700fff);
    assert_int_equal(written(f, APLIC_S, MMSI, 5) | rd(f, APLIC_S, SMSIH), 0);
    assert_int_equal(written(f, APLIC_M, MMSIH, UINT32_MAX), 0x9f77ffff);
    assert_int_equal(written(f, APLIC_M, MMSIH, 0), 0x9f77ffff);
    assert_int_equal(written(f, APLIC_M, MMSI, 0), UINT32_MAX);
    assert_int_equal(written(f, APLIC_M, SMSI, 1), 0);
}

/* 4.5.5 to 4.5.14: enabling, by bit and by number; only active sources. */
static void enables(void **state)
{
    struct fixture *f = *state;
    wr(f, APLIC_M, sourcecfg(1), DETACHED);
    wr(f, APLIC_M, sourcecfg(33), EDGE1);
    wr(f, APLIC_M, SETIE, UINT32_MAX);
    wr(f, APLIC_M, SETIE + 4, UINT32_MAX);
    wr(f, APLIC_M, SETIE + 12, UINT32_MAX); /* behind the last */
    assert_int_equal(rd(f, APLIC_M, SETIE), 2);
    assert_int_equal(rd(f, APLIC_M, SETIE + 4), 2);
    assert_int_equal(rd(f, APLIC_M, SETIE + 12), 0);
    assert_int_equal(rd(f, APLIC_M, CLRIE), 0);
    wr(f, APLIC_M, CLRIENUM, 1);
    assert_int_equal(rd(f, APLIC_M, SETIE), 0);
    wr(f, APLIC_M, SETIENUM, 1);
    wr(f, APLIC_M, CLRIE, 2);
    assert_int_equal(rd(f, APLIC_M, SETIE), 0);
    static const uint32_t none[] = {0, 2, 96, 1023, 1024, UINT32_MAX};
    for (unsigned i = 0; i < sizeof none / sizeof *none; i++) {
        wr(f, APLIC_M, SETIENUM, none[i]);
        wr(f, APLIC_M, SETIPNUM, none[i]);
    }
    assert_int_equal(rd(f, APLIC_M, SETIE) | rd(f, APLIC_M, SETIP), 0);
    assert_int_equal(rd(f, APLIC_M, SETIENUM) | rd(f, APLIC_M, SETIPNUM), 0);
    wr(f, APLIC_M, SETIPNUM_BE, 1); /* little-endian only */
    assert_false(pending(f, APLIC_M, 1));
    wr(f, APLIC_M, SETIPNUM_LE, 1);
    assert_true(pending(f, APLIC_M, 1));
    wr(f, APLIC_M, sourcecfg(1), INACTIVE);
    assert_false(pending(f, APLIC_M, 1));
}

/* 4.7, modes Detached and Edge. */
static void pending_by_edges(void **state)
{
    struct fixture *f = *state;
    wr(f, APLIC_M, sourcecfg(1), DETACHED);
    wr(f, APLIC_M, sourcecfg(2), EDGE1);
    wr(f, APLIC_M, sourcecfg(3), EDGE0);
    for (unsigned i = 1; i <= 3; i++)
        input(f, i, true);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 2);
    assert_int_equal(rd(f, APLIC_M, IN_CLRIP), 1 << 2); /* rectified inputs */
    for (unsigned i = 1; i <= 3; i++)
        input(f, i, false);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 2 | 1 << 3);
    assert_int_equal(rd(f, APLIC_M, IN_CLRIP), 1 << 3);
    wr(f, APLIC_M, IN_CLRIP, 1 << 2);
    wr(f, APLIC_M, CLRIPNUM, 3);
    assert_int_equal(rd(f, APLIC_M, SETIP), 0);
    wr(f, APLIC_M, SETIP, UINT32_MAX);
    assert_int_equal(rd(f, APLIC_M, SETIP), 0xe);
}

/* 4.7, level modes: what is pending while interrupts are delivered directly is the input. */
static void pending_by_levels(void **state)
{
    struct fixture *f = *state;
    wr(f, APLIC_M, sourcecfg(4), LEVEL1);
    wr(f, APLIC_M, sourcecfg(5), LEVEL0);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 5);
    wr(f, APLIC_M, SETIP, 1 << 4);
    wr(f, APLIC_M, IN_CLRIP, 1 << 5);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 5);
    input(f, 4, true);
    input(f, 5, true);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 4);
    /* By messages: a rise sets, software may set it while the input is high, a fall clears. */
    wr(f, APLIC_M, DOMAINCFG, DM);
    wr(f, APLIC_M, CLRIPNUM, 4);
    wr(f, APLIC_M, SETIPNUM, 5);
    assert_int_equal(rd(f, APLIC_M, SETIP), 0);
    wr(f, APLIC_M, SETIPNUM, 4);
    assert_true(pending(f, APLIC_M, 4));
    input(f, 4, false);
    assert_false(pending(f, APLIC_M, 4));
    wr(f, APLIC_M, SETIPNUM, 4);
    assert_false(pending(f, APLIC_M, 4));
    input(f, 4, true);
    assert_true(pending(f, APLIC_M, 4));
    /* Directly again: the input's level. */
    wr(f, APLIC_M, CLRIPNUM, 4);
    wr(f, APLIC_M, DOMAINCFG, 0);
    assert_int_equal(rd(f, APLIC_M, SETIP), 1 << 4);
}

/* 4.8: delivery by lines. */
static void direct(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(APLIC_LEVELS * 1 + APLIC_S, 3);
    for (unsigned i = 10; i < 13; i++) {
        delegate(f, i, EDGE1);
        wr(f, APLIC_S, SETIENUM, i);
        assert_int_equal(rd(f, APLIC_S, target(i)), 1); /* priority 0 does not exist */
    }
    assert_int_equal(written(f, APLIC_S, target(10), UINT32_MAX), 0xfffc00ff);
    wr(f, APLIC_S, target(10), 1 << 18 | 7);
    wr(f, APLIC_S, target(11), 1 << 18 | 3);
    wr(f, APLIC_S, target(12), 1 << 18 | 3);
    for (unsigned i = 10; i < 13; i++)
        input(f, i, true);
    assert_int_equal(rd(f, APLIC_S, idc(1, TOPI)), 11 << 16 | 3);
    assert_int_equal(rd(f, APLIC_S, idc(0, TOPI)), 0);
    assert_false(f->line[3]);
    wr(f, APLIC_S, idc(1, IDELIVERY), 1);
    assert_false(f->line[3]);
    wr(f, APLIC_S, DOMAINCFG, IE);
    assert_true(f->line[3]);
    assert_false(f->line[0] || f->line[1] || f->line[2]);
    assert_int_equal(rd(f, APLIC_S, idc(1, CLAIMI)), 11 << 16 | 3);
    assert_int_equal(rd(f, APLIC_S, idc(1, CLAIMI)), 12 << 16 | 3);
    wr(f, APLIC_S, idc(1, ITHRESHOLD), 7);
    assert_false(f->line[3]);
    assert_int_equal(rd(f, APLIC_S, idc(1, TOPI)), 0);
    wr(f, APLIC_S, idc(1, ITHRESHOLD), 8);
    assert_true(f->line[3]);
    assert_int_equal(rd(f, APLIC_S, idc(1, CLAIMI)), 10 << 16 | 7);
    assert_false(f->line[3]);
    /* Forced: a claim that finds nothing ends it. */
    wr(f, APLIC_S, idc(1, IFORCE), 1);
    assert_true(f->line[3]);
    assert_int_equal(rd(f, APLIC_S, idc(1, CLAIMI)), 0);
    assert_false(f->line[3]);
    assert_int_equal(rd(f, APLIC_S, idc(1, IFORCE)), 0);
    /* A claim does not end a level. */
    delegate(f, 13, LEVEL1);
    wr(f, APLIC_S, SETIENUM, 13);
    input(f, 13, true);
    assert_int_equal(rd(f, APLIC_S, idc(0, CLAIMI)), 13 << 16 | 1);
    assert_int_equal(rd(f, APLIC_S, idc(0, CLAIMI)), 13 << 16 | 1);
    input(f, 13, false);
    assert_int_equal(rd(f, APLIC_S, idc(0, CLAIMI)), 0);
    assert_int_equal(f->messages, 0);
    /* A hart that there is not. */
    assert_int_equal(written(f, APLIC_S, idc(2, IDELIVERY), 1), 0);
}

/* 4.9: delivery by messages. */
static void messages(void **state)
{
    struct fixture *f = *state;
    wr(f, APLIC_M, MMSI, FILES_M >> 12);
    wr(f, APLIC_M, MMSIH, 1 << 12); /* one bit of hart index */
    wr(f, APLIC_M, SMSI, FILES_S >> 12);
    wr(f, APLIC_S, DOMAINCFG, DM | IE);
    delegate(f, 20, LEVEL1);
    assert_int_equal(rd(f, APLIC_S, target(20)), 0);
    assert_int_equal(written(f, APLIC_S, target(20), UINT32_MAX), 0xfffc07ff);
    wr(f, APLIC_S, target(20), 1 << 18 | 99);
    input(f, 20, true);
    assert_int_equal(f->messages, 0); /* not enabled */
    wr(f, APLIC_S, SETIENUM, 20);
    expect_message(f, FILES_S + 0x1000, 99);
    assert_false(pending(f, APLIC_S, 20));
    /* Still high: 4.9.2, software asks again. */
    wr(f, APLIC_S, SETIPNUM_LE, 20);
    expect_message(f, FILES_S + 0x1000, 99);
    input(f, 20, false);
    wr(f, APLIC_S, SETIPNUM_LE, 20);
    assert_int_equal(f->messages, 0);
    /* What comes while the domain is off goes when it is on. */
    wr(f, APLIC_S, DOMAINCFG, DM);
    input(f, 20, true);
    assert_int_equal(f->messages, 0);
    wr(f, APLIC_S, DOMAINCFG, DM | IE);
    expect_message(f, FILES_S + 0x1000, 99);
    /* The machine's own. */
    wr(f, APLIC_M, DOMAINCFG, DM | IE);
    wr(f, APLIC_M, sourcecfg(21), EDGE1);
    wr(f, APLIC_M, target(21), 7);
    wr(f, APLIC_M, SETIENUM, 21);
    input(f, 21, true);
    expect_message(f, FILES_M, 7);
    /* An extempore message does not ask whether the domain is on (4.5.15). */
    wr(f, APLIC_S, DOMAINCFG, DM);
    wr(f, APLIC_S, GENMSI, 1 << 18 | 1 << 12 | 3);
    expect_message(f, FILES_S + 0x1000, 3);
    assert_int_equal(rd(f, APLIC_S, GENMSI), 1 << 18 | 3); /* not busy */
    wr(f, APLIC_S, DOMAINCFG, 0);
    wr(f, APLIC_S, GENMSI, 3);
    assert_int_equal(rd(f, APLIC_S, GENMSI) | f->messages, 0);
    for (unsigned i = 0; i < HARTS * APLIC_LEVELS; i++)
        assert_false(f->line[i]);
}

/* 4.9.1: groups of harts, each shifted. */
static void message_formula(void **state)
{
    struct fixture *f = *state;
    wr(f, APLIC_M, MMSI, 0x300000);
    wr(f, APLIC_M, MMSIH, 4 << 24 | 1 << 20 | 2 << 16 | 3 << 12); /* HHXS LHXS HHXW LHXW */
    wr(f, APLIC_M, SMSI, 0x500000);
    wr(f, APLIC_M, SMSIH, 2 << 20 | 1);
    wr(f, APLIC_M, DOMAINCFG, DM);
    wr(f, APLIC_S, DOMAINCFG, DM);
    uint32_t hart = 2 << 3 | 5; /* group 2, hart 5 */
    wr(f, APLIC_M, GENMSI, hart << 18 | 1);
    expect_message(f, (UINT64_C(0x300000) | 2 << 16 | 5 << 1) << 12, 1);
    wr(f, APLIC_S, GENMSI, hart << 18 | 1);
    expect_message(f, (UINT64_C(0x100500000) | 2 << 16 | 5 << 2) << 12, 1);
}

/* As firmware leaves it. */
static void delegated(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 1; i < APLIC_SOURCES; i++)
        assert_int_equal(rd(f, APLIC_M, sourcecfg(i)), D);
    wr(f, APLIC_S, DOMAINCFG, DM | IE);
    wr(f, APLIC_S, sourcecfg(1), EDGE1);
    wr(f, APLIC_S, target(1), 1 << 18 | 5);
    wr(f, APLIC_S, SETIENUM, 1);
    input(f, 1, true);
    expect_message(f, FILES_S + 0x1000, 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(configuration),
        T(message_addresses),
        T(enables),
        T(pending_by_edges),
        T(pending_by_levels),
        T(direct),
        T(messages),
        T(message_formula),
        cmocka_unit_test_setup_teardown(delegated, setup_delegated, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
