/*
 * Configuration space, base addresses and MSI-X (PCI Local Bus 3.0), seen from firmware: by a
 * driver that finds everything by itself.
 */
#include "test.h"

#include "pci_driver.h"
#include "pci_rig.h"

#include <string.h>

#define CONFIG(slot) (PRIG_ECAM + UINT64_C(0x8000) * (slot))
#define FILE_ADDRESS PRIG_IMSIC(IMSIC_S, 1)

struct fixture {
    struct pci_rig *r;
    struct pci_driver d; /* of the disk, probed */
    gpa_t memory, high;
};

static int set_up(void **state, bool msi)
{
    static struct fixture f;
    f = (struct fixture){
        .r = pci_rig_new(msi), .memory = PRIG_MEMORY + 0x100000, .high = PRIG_HIGH};
    *state = &f;
    return !pd_probe(&f.d, f.r->as, CONFIG(PRIG_SLOT_BLK), &f.memory, &f.high);
}

static int setup(void **state)
{
    return set_up(state, true);
}

static int setup_pins(void **state)
{
    return set_up(state, false);
}

static int teardown(void **state)
{
    pci_rig_free(((struct fixture *)*state)->r);
    return 0;
}

/* Which of the identities 1 to 63 are pending in hart 1's supervisor file. */
static uint64_t arrived(struct fixture *f)
{
    uint64_t pending;
    assert_true(imsic_reg(f->r->imsic, 1, IMSIC_S, 0x80, UINT64_MAX, 0, &pending));
    return pending;
}

static void bus(void **state)
{
    struct fixture *f = *state;
    struct pci_driver d = f->d;
    static const struct {
        uint32_t id, class;
    } want[] = {{0x00081b36, 0x060000}, {0x10421af4, 0x010000}, {0x10441af4, 0x00ff00}};
    for (unsigned slot = 0; slot < 32; slot++) {
        d.config = CONFIG(slot);
        if (slot >= 3) {
            assert_int_equal(pd_read(&d, 0, 4), UINT32_MAX);
            assert_int_equal(pd_read(&d, 0xffc, 2), 0xffff);
            pd_write(&d, 4, 2, 0xffff);
            continue;
        }
        assert_int_equal(pd_read(&d, 0, 4), want[slot].id);
        assert_int_equal(pd_read(&d, 8, 4) >> 8, want[slot].class);
        assert_int_equal(pd_read(&d, 0xe, 1), 0);   /* header type 0, one function */
        assert_int_equal(pd_read(&d, 0x100, 4), 0); /* no extended capabilities */
        d.config = CONFIG(slot) + 0x1000;
        assert_int_equal(pd_read(&d, 0, 4), UINT32_MAX); /* function 1 */
        d.config = CONFIG(slot) + 0x100000;
        assert_int_equal(pd_read(&d, 0, 4), UINT32_MAX); /* bus 1 */
    }
    uint64_t v;
    assert_false(addrspace_read(f->r->as, CONFIG(0), 8, &v));
}

static void read_only_registers(void **state)
{
    struct fixture *f = *state;
    uint32_t before[64], after[64];
    for (unsigned i = 0; i < 64; i++)
        before[i] = pd_read(&f->d, 4 * i, 4);
    assert_int_equal(before[1] >> 16, 0x10);     /* status: capabilities */
    assert_int_equal(before[15] >> 8 & 0xff, 1); /* INTA */
    for (unsigned i = 0; i < 64; i++)
        pd_write(&f->d, 4 * i, 4, ~before[i]);
    for (unsigned i = 0; i < 64; i++)
        after[i] = pd_read(&f->d, 4 * i, 4);
    static const unsigned fixed[] = {0, 2, 4, 6, 7, 8, 10, 11, 12, 13, 14};
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (fixed[i] != 4 && fixed[i] != 8)
            assert_int_equal(after[fixed[i]], before[fixed[i]]);
    pd_write(&f->d, 4, 2, 0xffff);
    assert_int_equal(pd_read(&f->d, 4, 2), 0x0546);
    pd_write(&f->d, 6, 2, 0xffff);
    assert_int_equal(pd_read(&f->d, 6, 2), 0x10);
    pd_write(&f->d, 0x3c, 2, 0xff42);
    assert_int_equal(pd_read(&f->d, 0x3c, 2), 0x0142);
}

static void sizes(void **state)
{
    struct fixture *f = *state;
    const struct pci_bar_info *bars = f->d.bars;
    assert_int_equal(bars[1].size, 4096);
    assert_false(bars[1].is_64);
    assert_false(bars[1].prefetchable);
    assert_int_equal(bars[4].size, 16384);
    assert_true(bars[4].is_64);
    assert_true(bars[4].prefetchable);
    assert_int_equal(bars[0].size | bars[2].size | bars[3].size | bars[5].size, 0);
    /* The address is aligned to the size whatever is written. */
    pd_write(&f->d, 0x14, 4, 0x40000fff);
    assert_int_equal(pd_read(&f->d, 0x14, 4), 0x40000000);
    pd_write(&f->d, 0x20, 4, 0x40003fff);
    assert_int_equal(pd_read(&f->d, 0x20, 4), 0x4000000c);
    pd_write(&f->d, 0x24, 4, 0xfedcba98);
    assert_int_equal(pd_read(&f->d, 0x24, 4), 0xfedcba98);
}

/* A base address answers where it is put, and nowhere else. */
static void moving(void **state)
{
    struct fixture *f = *state;
    static const gpa_t places[] = {PRIG_HIGH, PRIG_HIGH + 0x123450000, PRIG_MEMORY,
                                   PRIG_MEMORY + PRIG_MEMORY_SIZE - 0x4000,
                                   PRIG_HIGH + PRIG_HIGH_SIZE - 0x4000};
    gpa_t common = f->d.common - f->d.bars[4].base;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        pd_place_bar(&f->d, 4, places[i]);
        assert_int_equal(pd_get(&f->d, places[i] + common + PD_NUM_QUEUES, 2), 1);
        for (unsigned k = 0; k < sizeof places / sizeof *places; k++)
            if (k != i)
                assert_int_equal(pd_get(&f->d, places[k] + common + PD_NUM_QUEUES, 2), 0xffff);
        if (places[i] >= PRIG_HIGH + 0x4000)
            assert_int_equal(pd_get(&f->d, places[i] - 8, 8), UINT64_MAX);
    }
    /* Memory space off: nothing answers; on again: it is where it was. */
    pd_write(&f->d, 4, 2, 4);
    assert_int_equal(pd_get(&f->d, places[4] + common + PD_NUM_QUEUES, 2), 0xffff);
    pd_put(&f->d, places[4] + common + PD_STATUS, 1, 1);
    pd_write(&f->d, 4, 2, 2);
    assert_int_equal(pd_get(&f->d, places[4] + common + PD_STATUS, 1), 0);
    /* Over RAM or another device it is not seen, and they stay what they are. */
    pd_put(&f->d, PRIG_RAM, 4, 0x12345678);
    pd_place_bar(&f->d, 4, PRIG_RAM);
    assert_int_equal(pd_get(&f->d, PRIG_RAM, 4), 0x12345678);
    pd_place_bar(&f->d, 4, PRIG_ECAM);
    assert_int_equal(pd_read(&f->d, 0, 2), 0x1af4);
}

/* Two functions at the same address: one answers, and the other does when they part. */
static void overlap(void **state)
{
    struct fixture *f = *state;
    struct pci_driver rng;
    assert_true(pd_probe(&rng, f->r->as, CONFIG(PRIG_SLOT_RNG), &f->memory, &f->high));
    gpa_t queue_size = f->d.common - f->d.bars[4].base + PD_QUEUE_SIZE;
    gpa_t own = rng.bars[4].base;
    pd_place_bar(&rng, 4, f->d.bars[4].base);
    assert_int_equal(pd_get(&rng, f->d.bars[4].base + queue_size, 2), 256); /* the disk's */
    pd_place_bar(&rng, 4, own);
    assert_int_equal(pd_get(&rng, own + queue_size, 2), 64);
}

static void capabilities(void **state)
{
    struct fixture *f = *state;
    unsigned express = pd_find_cap(&f->d, 0x10, 0);
    assert_int_not_equal(express, 0);
    assert_int_equal(pd_read(&f->d, express + 2, 2), 0x92);
    assert_int_equal(pd_read(&f->d, express + 4, 4) >> 28 & 1, 1); /* function-level reset */
    assert_int_not_equal(f->d.msix_cap, 0);
    assert_int_equal(f->d.vectors, 2);
    assert_int_equal(pd_find_cap(&f->d, 0x05, 0), 0); /* MSI */
    /* No two overlap, all lie behind the header, and the list ends. */
    bool used[256] = {0};
    unsigned count = 0;
    for (unsigned at = pd_read(&f->d, 0x34, 1); at; at = pd_read(&f->d, at + 1, 1)) {
        static const uint8_t sizes_of[] = {[0x09] = 0, [0x10] = 60, [0x11] = 12};
        unsigned id = pd_read(&f->d, at, 1);
        unsigned size = id == 9 ? pd_read(&f->d, at + 2, 1) : sizes_of[id];
        assert_true(at >= 0x40 && at + size <= 256 && !(at & 3) && size);
        for (unsigned i = at; i < at + size; i++) {
            assert_false(used[i]);
            used[i] = true;
        }
        assert_true(++count < 16);
    }
    assert_int_equal(count, 7);
}

static void no_messages_no_msix(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->d.msix_cap, 0);
    assert_int_equal(f->d.bars[1].size, 0);
    assert_int_not_equal(f->d.common, 0);
}

/* ---- MSI-X (section 6.8.2) ---- */

static void msix_fire(struct fixture *f, unsigned vector)
{
    pci_fn_msix_notify((struct pci_fn *)(void *)f->r->blk_fn, vector);
}

static void msix_messages(void **state)
{
    struct fixture *f = *state;
    for (unsigned v = 0; v < 2; v++) {
        assert_int_equal(pd_get(&f->d, f->d.table + 16 * v + 12, 4), 1); /* masked by reset */
        pd_msix_entry(&f->d, v, FILE_ADDRESS, 5 + v, false);
    }
    msix_fire(f, 0);
    assert_int_equal(arrived(f), 0); /* not enabled */
    pd_msix_enable(&f->d, true, false);
    assert_int_equal(arrived(f), 0);
    msix_fire(f, 0);
    assert_int_equal(arrived(f), 1 << 5);
    msix_fire(f, 1);
    assert_int_equal(arrived(f), 1 << 6);
    msix_fire(f, 2);
    msix_fire(f, 0xffff);
    assert_int_equal(arrived(f), 0);
}

static void msix_masks(void **state)
{
    struct fixture *f = *state;
    pd_msix_entry(&f->d, 0, FILE_ADDRESS, 5, true);
    pd_msix_entry(&f->d, 1, FILE_ADDRESS, 6, false);
    pd_msix_enable(&f->d, true, false);
    msix_fire(f, 0);
    msix_fire(f, 0);
    assert_int_equal(arrived(f), 0);
    assert_int_equal(pd_get(&f->d, f->d.pba, 8), 1);
    pd_put(&f->d, f->d.pba, 8, 0); /* read-only */
    assert_int_equal(pd_get(&f->d, f->d.pba, 4), 1);
    pd_put(&f->d, f->d.table + 12, 4, 0); /* unmasked: it goes out, once */
    assert_int_equal(arrived(f), 1 << 5);
    assert_int_equal(pd_get(&f->d, f->d.pba, 8), 0);
    /* All masked at once. */
    pd_msix_enable(&f->d, true, true);
    msix_fire(f, 0);
    msix_fire(f, 1);
    assert_int_equal(pd_get(&f->d, f->d.pba, 4), 3);
    assert_int_equal(arrived(f), 0);
    pd_msix_enable(&f->d, true, false);
    assert_int_equal(arrived(f), 3 << 5);
    /* A function that may not write memory keeps its message. */
    pd_write(&f->d, 4, 2, 2);
    msix_fire(f, 1);
    assert_int_equal(arrived(f), 0);
    pd_write(&f->d, 4, 2, 6);
    assert_int_equal(arrived(f), 1 << 6);
    /* What was pending when MSI-X went off does not come back. */
    pd_msix_enable(&f->d, true, true);
    msix_fire(f, 1);
    pd_msix_enable(&f->d, false, false);
    pd_msix_enable(&f->d, true, false);
    assert_int_equal(arrived(f), 0);
}

static void msix_table_accesses(void **state)
{
    struct fixture *f = *state;
    gpa_t entry = f->d.table;
    pd_put(&f->d, entry, 8, UINT64_C(0x123456789abcdef3));
    assert_int_equal(pd_get(&f->d, entry, 8), UINT64_C(0x123456789abcdef0)); /* aligned */
    pd_put(&f->d, entry + 8, 8, UINT64_C(0xfffffffe11223344));
    assert_int_equal(pd_get(&f->d, entry + 8, 8), 0x11223344);
    pd_put(&f->d, entry + 8, 2, 0); /* words only */
    pd_put(&f->d, entry + 8, 1, 0);
    assert_int_equal(pd_get(&f->d, entry + 8, 4), 0x11223344);
    for (gpa_t at = 0; at < 4096; at += 4)
        pd_put(&f->d, entry + at, 4, UINT32_MAX);
    for (gpa_t at = 32; at < 4096; at += 4)
        assert_int_equal(pd_get(&f->d, entry + at, 4), 0);
}

/* Messages go to interrupt files only, whatever address they were given. */
static void msix_wild_addresses(void **state)
{
    struct fixture *f = *state;
    const gpa_t wild[] = {0,
                          PRIG_ECAM + 4,
                          f->d.common,
                          f->d.table,
                          PRIG_APLIC(1),
                          FILE_ADDRESS + 4,
                          FILE_ADDRESS + IMSIC_PAGE,
                          UINT64_MAX & ~UINT64_C(3)};
    pd_msix_enable(&f->d, true, false);
    for (unsigned i = 0; i < sizeof wild / sizeof *wild; i++) {
        pd_msix_entry(&f->d, 0, wild[i], 5, false);
        msix_fire(f, 0);
    }
    pd_msix_entry(&f->d, 0, FILE_ADDRESS, 0, false); /* no identity */
    msix_fire(f, 0);
    pd_msix_entry(&f->d, 0, FILE_ADDRESS, 256, false);
    msix_fire(f, 0);
    assert_int_equal(arrived(f), 0);
    assert_int_equal(pd_read(&f->d, 4, 2), 6);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bus),
        T(read_only_registers),
        T(sizes),
        T(moving),
        T(overlap),
        T(capabilities),
        cmocka_unit_test_setup_teardown(no_messages_no_msix, setup_pins, teardown),
        T(msix_messages),
        T(msix_masks),
        T(msix_table_accesses),
        T(msix_wild_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
