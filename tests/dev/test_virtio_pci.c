/* virtio over PCI (virtio 1.2, section 4.1), by a driver that walks the capabilities itself. */
#include "test.h"

#include "pci_driver.h"
#include "pci_rig.h"

#include <string.h>

#define CONFIG(slot) (PRIG_ECAM + UINT64_C(0x8000) * (slot))
#define RING (PRIG_RAM + 0x1000)
#define BUF (PRIG_RAM + 0x8000)
#define FEATURES (VD_VERSION_1 | VD_INDIRECT_DESC | VD_EVENT_IDX)
#define FILE_ADDRESS PRIG_IMSIC(IMSIC_S, 0)

struct fixture {
    struct pci_rig *r;
    struct pci_driver blk, rng;
};

static int set_up(void **state, bool msi)
{
    static struct fixture f;
    gpa_t memory = PRIG_MEMORY, high = PRIG_HIGH;
    f = (struct fixture){.r = pci_rig_new(msi)};
    *state = &f;
    return !pd_probe(&f.blk, f.r->as, CONFIG(PRIG_SLOT_BLK), &memory, &high) ||
           !pd_probe(&f.rng, f.r->as, CONFIG(PRIG_SLOT_RNG), &memory, &high);
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

static uint64_t common(const struct pci_driver *d, unsigned at, unsigned size)
{
    return pd_get(d, d->common + at, size);
}

static void set(const struct pci_driver *d, unsigned at, unsigned size, uint64_t value)
{
    pd_put(d, d->common + at, size, value);
}

static uint64_t arrived(struct fixture *f)
{
    uint64_t pending;
    assert_true(imsic_reg(f->r->imsic, 0, IMSIC_S, 0x80, UINT64_MAX, 0, &pending));
    return pending;
}

/* The level of a pin, as the APLIC sees it when the source is set up. */
static bool pin(struct fixture *f, unsigned slot)
{
    unsigned source = PRIG_PIN + slot % 4;
    pd_put(&f->blk, PRIG_APLIC(0) + 4 * source, 4, 6);
    return pd_get(&f->blk, PRIG_APLIC(0) + 0x1d00 + 4 * (source / 32), 4) >> source % 32 & 1;
}

static struct vring start(struct pci_driver *d, uint16_t vector)
{
    struct vring q;
    assert_int_equal(pd_negotiate(d, FEATURES), 11);
    pd_ring_init(&q, d, 0, 8, RING, vector);
    assert_int_equal(common(d, PD_QUEUE_ENABLE, 2), 1);
    set(d, PD_STATUS, 1, 15);
    return q;
}

/* Asks the entropy device for n bytes. */
static void draw(struct vring *q, uint32_t n)
{
    const struct vbuf buf = {.addr = BUF, .len = n, .write = true};
    uint32_t id, len;
    vring_add(q, &buf, 1, 0);
    vring_kick(q);
    assert_true(vring_used(q, &id, &len));
    assert_int_equal(len, n);
}

static void structures(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->blk;
    assert_true(d->common && d->notify && d->isr && d->device && d->window_cap);
    assert_int_equal(d->common & 3, 0);
    assert_int_equal(d->notify & 1, 0);
    assert_true(d->device_length >= 60); /* struct virtio_blk_config */
    assert_int_equal(common(d, PD_NUM_QUEUES, 2), 1);
    assert_int_equal(common(d, PD_QUEUE_SIZE, 2), 256);
    assert_int_equal(common(d, PD_STATUS, 1), 0);
    assert_int_equal(common(d, PD_CONFIG_VECTOR, 2), PD_NO_VECTOR);
    assert_int_equal(common(d, PD_QUEUE_VECTOR, 2), PD_NO_VECTOR);
    assert_int_equal(pd_get(d, d->device, 8), RIG_DISK_SIZE / 512); /* capacity */
    set(d, PD_DEVICE_SELECT, 4, 1);
    assert_int_equal(common(d, PD_DEVICE_FEATURE, 4) & 1, 1); /* VERSION_1 */
    set(d, PD_DEVICE_SELECT, 4, 2);
    assert_int_equal(common(d, PD_DEVICE_FEATURE, 4), 0);
    /* Another queue does not exist. */
    set(d, PD_QUEUE_SELECT, 2, 1);
    assert_int_equal(common(d, PD_QUEUE_SIZE, 2), 0);
    set(d, PD_QUEUE_VECTOR, 2, 0);
    assert_int_equal(common(d, PD_QUEUE_VECTOR, 2), PD_NO_VECTOR);
    /* Fields have one width. */
    assert_int_equal(common(d, PD_NUM_QUEUES, 1), 0);
    assert_int_equal(common(d, PD_CONFIG_VECTOR, 4), 0);
    set(d, PD_STATUS, 4, 1);
    assert_int_equal(common(d, PD_STATUS, 1), 0);
}

static void vectors(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->blk;
    set(d, PD_CONFIG_VECTOR, 2, 1);
    assert_int_equal(common(d, PD_CONFIG_VECTOR, 2), 1);
    set(d, PD_CONFIG_VECTOR, 2, 2); /* there are 2 */
    assert_int_equal(common(d, PD_CONFIG_VECTOR, 2), PD_NO_VECTOR);
    set(d, PD_QUEUE_VECTOR, 2, 0);
    assert_int_equal(common(d, PD_QUEUE_VECTOR, 2), 0);
    set(d, PD_STATUS, 1, 0); /* reset forgets them */
    assert_int_equal(common(d, PD_QUEUE_VECTOR, 2), PD_NO_VECTOR);
}

static void with_messages(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->rng;
    pd_msix_entry(d, 0, FILE_ADDRESS, 9, false);
    pd_msix_entry(d, 1, FILE_ADDRESS, 10, false);
    pd_msix_enable(d, true, false);
    struct vring q = start(d, 1);
    set(d, PD_CONFIG_VECTOR, 2, 0);
    draw(&q, 32);
    assert_int_equal(arrived(f), 1 << 10);
    assert_int_equal(pd_get(d, d->isr, 1), 0);
    assert_false(pin(f, PRIG_SLOT_RNG));
    /* A driver's mistake: the configuration's vector. */
    vring_offer(&q, 0xffff);
    vring_kick(&q);
    assert_int_equal(common(d, PD_STATUS, 1), 15 | 64);
    assert_int_equal(arrived(f), 1 << 9);
    /* Without a vector nothing is sent, and the line stays low, too. */
    q = start(d, PD_NO_VECTOR);
    draw(&q, 32);
    assert_int_equal(arrived(f), 0);
    assert_false(pin(f, PRIG_SLOT_RNG));
}

static void with_a_pin(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->rng;
    struct vring q = start(d, PD_NO_VECTOR);
    assert_false(pin(f, PRIG_SLOT_RNG));
    draw(&q, 32);
    assert_true(pin(f, PRIG_SLOT_RNG));
    assert_false(pin(f, PRIG_SLOT_BLK));
    assert_int_equal(pd_read(d, 6, 2) & 8, 8);
    pd_write(d, 4, 2, 0x406); /* INTx off: the status bit stays */
    assert_false(pin(f, PRIG_SLOT_RNG));
    assert_int_equal(pd_read(d, 6, 2) & 8, 8);
    pd_write(d, 4, 2, 6);
    assert_true(pin(f, PRIG_SLOT_RNG));
    assert_int_equal(pd_get(d, d->isr, 1), 1); /* reading acknowledges */
    assert_int_equal(pd_get(d, d->isr, 1), 0);
    assert_false(pin(f, PRIG_SLOT_RNG));
    assert_int_equal(pd_read(d, 6, 2) & 8, 0);
}

static void a_disk_is_read(void **state)
{
    struct fixture *f = *state;
    struct vring q = start(&f->blk, PD_NO_VECTOR);
    const struct vbuf bufs[] = {{.addr = BUF, .len = 16},
                                {.addr = BUF + 0x1000, .len = 1024, .write = true},
                                {.addr = BUF + 0x800, .len = 1, .write = true}};
    uint32_t id, len;
    pd_put(&f->blk, BUF, 8, 0);
    pd_put(&f->blk, BUF + 8, 8, 3);
    vring_add(&q, bufs, 3, 0);
    vring_kick(&q);
    assert_true(vring_used(&q, &id, &len));
    assert_int_equal(pd_get(&f->blk, BUF + 0x800, 1), 0);
    uint8_t data[1024];
    assert_true(addrspace_copy_out(f->r->as, BUF + 0x1000, data, sizeof data));
    assert_memory_equal(data, f->r->disk.data + 3 * 512, sizeof data);
}

/* The window in configuration space (4.1.4.9) reaches the same registers, base address or not. */
static void window(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->rng;
    unsigned cap = d->window_cap;
    pd_write(d, 4, 2, 0);
    pd_write(d, cap + 4, 1, 4);
    pd_write(d, cap + 8, 4, (uint32_t)(d->common - d->bars[4].base) + PD_STATUS);
    pd_write(d, cap + 12, 4, 1);
    assert_int_equal(pd_read(d, cap + 16, 1), 0);
    pd_write(d, cap + 16, 1, 3);
    assert_int_equal(pd_read(d, cap + 16, 1), 3);
    pd_write(d, cap + 8, 4, (uint32_t)(d->common - d->bars[4].base) + PD_QUEUE_SIZE);
    pd_write(d, cap + 12, 4, 2);
    assert_int_equal(pd_read(d, cap + 16, 2), 64);
    /* Nonsense in it does nothing. */
    static const uint32_t wild[][3] = {{0, 0x14, 1},          {4, 0xfffffffc, 4}, {4, 0x14, 0},
                                       {4, 0x14, UINT32_MAX}, {4, 2, 4},          {4, 0x4000, 4},
                                       {255, 0x14, 1},        {1, 0, 4}};
    for (unsigned i = 0; i < sizeof wild / sizeof *wild; i++) {
        pd_write(d, cap + 4, 1, wild[i][0]);
        pd_write(d, cap + 8, 4, wild[i][1]);
        pd_write(d, cap + 12, 4, wild[i][2]);
        pd_write(d, cap + 16, 4, 0);
        pd_read(d, cap + 16, 4);
    }
    pd_write(d, 4, 2, 6);
    assert_int_equal(common(d, PD_STATUS, 1), 3);
}

static void function_reset(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->rng;
    unsigned express = pd_find_cap(d, 0x10, 0);
    gpa_t memory = PRIG_MEMORY + 0x100000, high = PRIG_HIGH + 0x100000;
    struct vring q = start(d, PD_NO_VECTOR);
    draw(&q, 8);
    assert_true(pin(f, PRIG_SLOT_RNG));
    pd_msix_enable(d, true, false);
    pd_write(d, express + 8, 2, 0x8000);
    assert_false(pin(f, PRIG_SLOT_RNG));
    assert_int_equal(pd_read(d, 4, 2), 0);
    assert_int_equal(pd_read(d, 0x20, 4), 0xc);
    assert_int_equal(pd_read(d, d->msix_cap + 2, 2), 1);
    assert_int_equal(pd_read(d, express + 8, 2) & 0x8000, 0);
    assert_true(pd_probe(d, f->r->as, CONFIG(PRIG_SLOT_RNG), &memory, &high));
    assert_int_equal(common(d, PD_STATUS, 1), 0);
    assert_int_equal(common(d, PD_QUEUE_ENABLE, 2), 0);
    q = start(d, PD_NO_VECTOR);
    draw(&q, 8);
}

static void rings_are_fixed_while_enabled(void **state)
{
    struct fixture *f = *state;
    struct pci_driver *d = &f->rng;
    start(d, PD_NO_VECTOR);
    uint64_t desc = common(d, PD_QUEUE_DESC, 4);
    set(d, PD_QUEUE_DESC, 4, 0);
    set(d, PD_QUEUE_SIZE, 2, 4);
    set(d, PD_QUEUE_ENABLE, 2, 0); /* only a reset disables */
    assert_int_equal(common(d, PD_QUEUE_DESC, 4), desc);
    assert_int_equal(common(d, PD_QUEUE_SIZE, 2), 8);
    assert_int_equal(common(d, PD_QUEUE_ENABLE, 2), 1);
    /* A ring outside RAM fails the device. */
    assert_int_equal(pd_negotiate(d, FEATURES), 11);
    set(d, PD_QUEUE_SELECT, 2, 0);
    set(d, PD_QUEUE_DESC, 4, 0x10);
    set(d, PD_QUEUE_ENABLE, 2, 1);
    assert_int_equal(common(d, PD_QUEUE_ENABLE, 2), 0);
    assert_int_equal(common(d, PD_STATUS, 1) & 64, 64);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(structures),
        T(vectors),
        T(with_messages),
        T(with_a_pin),
        cmocka_unit_test_setup_teardown(with_a_pin, setup_pins, teardown),
        T(a_disk_is_read),
        T(window),
        T(function_reset),
        T(rings_are_fixed_while_enabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
