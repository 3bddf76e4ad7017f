/* Transport, negotiation and queues (virtio 1.2), seen from a driver over MMIO. */
#include "test.h"

#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_rng.h"
#include "driver.h"
#include "rig_test.h"

#define RING (RIG_RAM + 0x10000)
#define BUF (RIG_RAM + 0x40000)
#define RNG_FEATURES (VD_VERSION_1 | VD_INDIRECT_DESC | VD_EVENT_IDX)

enum { STATUS = 0x70, ISR = 0x60, ACK = 0x64, READY = 0x44, NEEDS_RESET = 64 };

static uint32_t reg(struct rig *r, gpa_t dev, unsigned at)
{
    return (uint32_t)rig_read(r, dev + at, 4);
}

/* An entropy device with one running queue. */
static struct vring rng_start(struct rig *r, uint64_t features, uint16_t size)
{
    struct vring q;
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, features), 11);
    vring_init(&q, r->as, RIG_RNG, 0, size, RING);
    assert_int_equal(reg(r, RIG_RNG, READY), 1);
    vdriver_ok(r->as, RIG_RNG);
    return q;
}

static void expect_used(struct vring *q, uint32_t want_id, uint32_t want_len)
{
    uint32_t id, len;
    assert_true(vring_used(q, &id, &len));
    assert_int_equal(id, want_id);
    assert_int_equal(len, want_len);
}

/* The device has given up: status, interrupt, and deaf until the reset. */
static void expect_failed(struct rig *r, struct vring *q)
{
    uint32_t id, len;
    assert_int_equal(reg(r, q->dev, STATUS), 15 | NEEDS_RESET);
    assert_int_equal(reg(r, q->dev, ISR) & 2, 2);
    assert_false(vring_used(q, &id, &len));
    vring_kick(q);
    assert_false(vring_used(q, &id, &len));
    rig_write(r, q->dev + STATUS, 4, 0);
    assert_int_equal(reg(r, q->dev, STATUS), 0);
    assert_int_equal(reg(r, q->dev, ISR), 0);
}

static void identity(void **state)
{
    struct rig *r = *state;
    static const struct {
        gpa_t dev;
        uint32_t id;
    } want[] = {{RIG_BLK, 2}, {RIG_CONSOLE, 3}, {RIG_RNG, 4}, {RIG_EMPTY, 0}};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(reg(r, want[i].dev, 0), 0x74726976);
        assert_int_equal(reg(r, want[i].dev, 4), 2);
        assert_int_equal(reg(r, want[i].dev, 8), want[i].id);
    }
    assert_int_equal(reg(r, RIG_RNG, 0xb0), UINT32_MAX); /* no shared memory */
    assert_int_equal(rig_read(r, RIG_RNG, 2), 0);        /* registers are words */
    assert_int_equal(rig_read(r, RIG_RNG, 8), 0);
    rig_write(r, RIG_RNG + 0x30, 4, 0);
    assert_int_equal(reg(r, RIG_RNG, 0x34), 64);
    rig_write(r, RIG_RNG + 0x30, 4, 1);
    assert_int_equal(reg(r, RIG_RNG, 0x34), 0);
    rig_write(r, RIG_RNG + 0x14, 4, 2);
    assert_int_equal(reg(r, RIG_RNG, 0x10), 0);
}

static void offered_features(void **state)
{
    struct rig *r = *state;
    assert_int_equal(vdriver_offered(r->as, RIG_RNG), UINT64_C(0x130000000));
    assert_int_equal(vdriver_offered(r->as, RIG_CONSOLE), UINT64_C(0x130000004));
    assert_int_equal(vdriver_offered(r->as, RIG_BLK), UINT64_C(0x130006646));
    assert_int_equal(vdriver_offered(r->as, RIG_RO_BLK), UINT64_C(0x130000666));
}

static void negotiation_refuses_nonsense(void **state)
{
    struct rig *r = *state;
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, 0), 3);                /* no VERSION_1 */
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, 1u << 28), 3);         /* the same */
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, VD_VERSION_1 | 1), 3); /* not offered */
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, VD_VERSION_1 | UINT64_C(1) << 34), 3);
    /* DRIVER_OK does not come without FEATURES_OK; a new try after correction works. */
    rig_write(r, RIG_RNG + STATUS, 4, 15);
    assert_int_equal(reg(r, RIG_RNG, STATUS), 3);
    assert_int_equal(vdriver_negotiate(r->as, RIG_RNG, VD_VERSION_1), 11);
    /* Fixed now: this must not take INDIRECT_DESC in. */
    rig_write(r, RIG_RNG + 0x24, 4, 0);
    rig_write(r, RIG_RNG + 0x20, 4, 1u << 28);
    struct vring q;
    vring_init(&q, r->as, RIG_RNG, 0, 8, RING);
    vdriver_ok(r->as, RIG_RNG);
    struct vbuf b = {BUF, 16, true};
    vring_add(&q, &b, 1, BUF + 4096);
    vring_kick(&q);
    expect_failed(r, &q);
    /* A driver can neither set NEEDS_RESET nor take bits back. */
    rig_write(r, RIG_RNG + STATUS, 4, 0x43);
    rig_write(r, RIG_RNG + STATUS, 4, 1);
    assert_int_equal(reg(r, RIG_RNG, STATUS), 3);
    rig_write(r, RIG_RNG + STATUS, 4, 0x80);
    assert_int_equal(reg(r, RIG_RNG, STATUS), 0x83);
}

static void queue_setup_is_checked(void **state)
{
    struct rig *r = *state;
    static const struct {
        uint64_t size, desc, avail, used;
        bool good;
    } cases[] = {
        {64, RING, RING + 0x1000, RING + 0x2000, true},
        {1, RING, RING + 0x1000, RING + 0x2000, true},
        {0, RING, RING + 0x1000, RING + 0x2000, false},
        {48, RING, RING + 0x1000, RING + 0x2000, false},
        {128, RING, RING + 0x1000, RING + 0x2000, false},
        {65536 + 64, RING, RING + 0x1000, RING + 0x2000, false},
        {64, RING + 8, RING + 0x1000, RING + 0x2000, false},
        {64, RING, RING + 0x1001, RING + 0x2000, false},
        {64, RING, RING + 0x1000, RING + 0x2002, false},
        {64, 0, RING + 0x1000, RING + 0x2000, false},
        {64, UINT64_MAX - 15, RING + 0x1000, RING + 0x2000, false},
        {64, RIG_RAM + RIG_RAM_SIZE - 1008, RING + 0x1000, RING + 0x2000, false},
        {64, RING, RIG_RAM + RIG_RAM_SIZE - 132, RING + 0x2000, false},
        {64, RING, RIG_RAM + RIG_RAM_SIZE - 134, RING + 0x2000, true},
        {64, RING, RING + 0x1000, RIG_RAM + RIG_RAM_SIZE - 516, false},
        {64, RING, RING + 0x1000, RIG_RNG, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vdriver_negotiate(r->as, RIG_RNG, VD_VERSION_1);
        rig_write(r, RIG_RNG + 0x30, 4, 0);
        rig_write(r, RIG_RNG + 0x38, 4, cases[i].size);
        rig_write(r, RIG_RNG + 0x80, 4, cases[i].desc & UINT32_MAX);
        rig_write(r, RIG_RNG + 0x84, 4, cases[i].desc >> 32);
        rig_write(r, RIG_RNG + 0x90, 4, cases[i].avail & UINT32_MAX);
        rig_write(r, RIG_RNG + 0x94, 4, cases[i].avail >> 32);
        rig_write(r, RIG_RNG + 0xa0, 4, cases[i].used & UINT32_MAX);
        rig_write(r, RIG_RNG + 0xa4, 4, cases[i].used >> 32);
        rig_write(r, RIG_RNG + READY, 4, 1);
        assert_int_equal(reg(r, RIG_RNG, READY), cases[i].good);
        assert_int_equal(reg(r, RIG_RNG, STATUS), cases[i].good ? 11 : 11 | NEEDS_RESET);
        assert_int_equal(reg(r, RIG_RNG, ISR), 0); /* no interrupt before DRIVER_OK */
    }
    /* Not before the features are settled. */
    rig_write(r, RIG_RNG + STATUS, 4, 0);
    rig_write(r, RIG_RNG + 0x38, 4, 64);
    rig_write(r, RIG_RNG + READY, 4, 1);
    assert_int_equal(reg(r, RIG_RNG, READY), 0);
}

static void a_chain_goes_round(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, VD_VERSION_1, 8);
    uint8_t got[48];
    for (unsigned round = 0; round < 100; round++) {
        struct vbuf bufs[2] = {{BUF + 64, 10, true}, {BUF + 256, 20, true}};
        uint16_t head = vring_add(&q, bufs, 2, 0);
        vring_kick(&q);
        assert_int_equal(reg(r, RIG_RNG, ISR), 1);
        rig_write(r, RIG_RNG + ACK, 4, 1);
        assert_int_equal(reg(r, RIG_RNG, ISR), 0);
        expect_used(&q, head, 30);
    }
    /* Nothing beyond the buffers. */
    addrspace_copy_out(r->as, BUF + 64, got, 16);
    assert_int_not_equal(got[0], 0);
    for (unsigned i = 10; i < 16; i++)
        assert_int_equal(got[i], 0);
}

static void seeded_entropy_is_the_published_sequence(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, VD_VERSION_1, 8);
    struct vbuf b = {BUF, 16, true};
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_int_equal(rig_read(r, BUF, 8), UINT64_C(0xbdd732262feb6e95));
    assert_int_equal(rig_read(r, BUF + 8, 8), UINT64_C(0x28efe333b266f103));
}

/* Without a seed the host's generator answers: nothing to compare with but itself. */
static void entropy_of_the_host(void **state)
{
    struct rig *r = *state;
    const gpa_t base = RIG_VIRTIO + 0x8000;
    struct device *rng = virtio_rng_new(r->as, (struct irq_line){0}, "rng1", NULL, NULL);
    assert_int_equal(addrspace_add_mmio(r->as, base, VIRTIO_MMIO_SIZE, &virtio_mmio, rng, NULL), 0);
    struct vring q;
    vdriver_negotiate(r->as, base, VD_VERSION_1);
    vring_init(&q, r->as, base, 0, 8, RING);
    vdriver_ok(r->as, base);
    /* A buffer of more than a request's limit comes back partly filled. */
    struct vbuf b = {BUF, 0x20000, true};
    uint32_t zero_runs = 0;
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    expect_used(&q, 0, 65536);
    for (unsigned i = 0; i < 65536; i += 8)
        zero_runs += !rig_read(r, BUF + i, 8);
    assert_int_equal(zero_runs, 0);
    assert_int_equal(rig_read(r, BUF + 65536, 8), 0);
    assert_int_not_equal(rig_read(r, BUF, 8), rig_read(r, BUF + 256, 8));
    device_free(rng);
}

static void interrupt_suppression_by_flag(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, VD_VERSION_1, 8);
    struct vbuf b = {BUF, 16, true};
    rig_write(r, q.avail, 2, 1);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    expect_used(&q, 0, 16);
    assert_int_equal(reg(r, RIG_RNG, ISR), 0);
    rig_write(r, q.avail, 2, 0);
    vring_kick(&q); /* nothing new: nothing to tell */
    assert_int_equal(reg(r, RIG_RNG, ISR), 0);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_int_equal(reg(r, RIG_RNG, ISR), 1);
}

static void event_index(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, RNG_FEATURES, 8);
    struct vbuf b = {BUF, 16, true};
    gpa_t used_event = q.avail + 4 + 2 * 8, avail_event = q.used + 4 + 8 * 8;
    rig_write(r, q.avail, 2, 1); /* the flag has no meaning now */
    rig_write(r, used_event, 2, 2);
    for (unsigned i = 1; i <= 2; i++) {
        vring_add(&q, &b, 1, 0);
        vring_kick(&q);
        assert_int_equal(reg(r, RIG_RNG, ISR), 0);
        assert_int_equal(rig_read(r, avail_event, 2), i);
    }
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_int_equal(reg(r, RIG_RNG, ISR), 1);
    rig_write(r, RIG_RNG + ACK, 4, 3);
    /* A batch that passes the event index counts as one. */
    rig_write(r, used_event, 2, 4);
    vring_add(&q, &b, 1, 0);
    vring_add(&q, &b, 1, 0);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_int_equal(reg(r, RIG_RNG, ISR), 1);
    assert_int_equal(rig_read(r, avail_event, 2), 6);
    rig_write(r, RIG_RNG + ACK, 4, 1);
    rig_write(r, used_event, 2, 5);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_int_equal(reg(r, RIG_RNG, ISR), 0);
}

static void indices_wrap(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, RNG_FEATURES, 4);
    struct vbuf b = {BUF, 1, true};
    for (unsigned i = 0; i < 70000; i++) {
        vring_add(&q, &b, 1, 0);
        vring_kick(&q);
        expect_used(&q, i % 4, 1);
    }
    assert_int_equal(reg(r, RIG_RNG, STATUS), 15);
}

static void indirect_tables(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, RNG_FEATURES, 4);
    struct vbuf bufs[40];
    for (unsigned i = 0; i < 40; i++)
        bufs[i] = (struct vbuf){BUF + 16 * i, 8, true};
    /* Longer than the queue, and at an address that is not aligned. */
    vring_add(&q, bufs, 40, BUF + 0x1004);
    vring_kick(&q);
    expect_used(&q, 0, 320);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_not_equal(rig_read(r, BUF + 16 * i, 8), 0);
        assert_int_equal(rig_read(r, BUF + 16 * i + 8, 8), 0);
    }
    /* After direct descriptors; the write flag of the referring descriptor means nothing. */
    vring_write_desc(&q, BUF + 0x2000, 0, BUF + 0x3000, 4, VD_WRITE, 0);
    vring_write_desc(&q, q.desc, 1, BUF + 0x4000, 4, VD_WRITE | VD_NEXT, 2);
    vring_write_desc(&q, q.desc, 2, BUF + 0x2000, 16, VD_INDIRECT | VD_WRITE, 0);
    vring_offer(&q, 1);
    vring_kick(&q);
    expect_used(&q, 1, 8);
}

struct bad_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static void wrong_chains_fail_the_device(void **state)
{
    struct rig *r = *state;
    const gpa_t end = RIG_RAM + RIG_RAM_SIZE;
    const struct {
        struct bad_desc d[3]; /* descriptors 0, 1 of the queue; 0 of the table at BUF */
    } cases[] = {
        {{{BUF, 4, VD_WRITE | VD_NEXT, 1}, {BUF, 4, VD_WRITE | VD_NEXT, 0}}}, /* loop */
        {{{BUF, 4, VD_WRITE | VD_NEXT, 0}}},                                  /* on itself */
        {{{BUF, 4, VD_WRITE | VD_NEXT, 8}}},                                  /* no such one */
        {{{0, 4, VD_WRITE, 0}}},                                              /* no RAM there */
        {{{end - 4, 5, VD_WRITE, 0}}},                                        /* beyond the end */
        {{{UINT64_MAX, 2, VD_WRITE, 0}}},
        {{{BUF, UINT32_MAX, VD_WRITE, 0}}},
        {{{RIG_UART, 4, VD_WRITE, 0}}},
        {{{BUF, 4, VD_WRITE | VD_NEXT, 1}, {BUF, 4, 0, 0}}},           /* readable after writable */
        {{{BUF, 0, VD_INDIRECT, 0}}},                                  /* empty table */
        {{{BUF, 24, VD_INDIRECT, 0}}},                                 /* one and a half */
        {{{BUF, 16 * 2048, VD_INDIRECT, 0}}},                          /* too long */
        {{{end - 8, 16, VD_INDIRECT, 0}}},                             /* not in RAM */
        {{{BUF, 16, VD_INDIRECT | VD_NEXT, 1}}},                       /* more after a table */
        {{{BUF, 16, VD_INDIRECT, 0}, {0}, {BUF, 16, VD_INDIRECT, 0}}}, /* table in table */
        {{{BUF, 16, VD_INDIRECT, 0}, {0}, {BUF, 4, VD_WRITE | VD_NEXT, 1}}},
        {{{BUF, 16, VD_INDIRECT, 0}, {0}, {BUF, 4, VD_WRITE | VD_NEXT, 0}}},
        {{{BUF, 4, 0, 0}}}, /* nothing to write to */
        {{{BUF, 0, VD_WRITE, 0}}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vring q = rng_start(r, RNG_FEATURES, 8);
        for (unsigned k = 0; k < 3; k++) {
            const struct bad_desc *d = &cases[i].d[k];
            vring_write_desc(&q, k < 2 ? q.desc : BUF, k % 2, d->addr, d->len, d->flags, d->next);
        }
        vring_offer(&q, 0);
        vring_kick(&q);
        expect_failed(r, &q);
    }
}

static void wrong_indices_fail_the_device(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, RNG_FEATURES, 8);
    vring_offer(&q, 8); /* no such descriptor */
    vring_kick(&q);
    expect_failed(r, &q);
    /* As many as the ring holds are good, even all the same one; one more is not. */
    q = rng_start(r, RNG_FEATURES, 8);
    vring_write_desc(&q, q.desc, 0, BUF, 16, VD_WRITE, 0);
    rig_write(r, q.avail + 2, 2, 8);
    vring_kick(&q);
    for (unsigned i = 0; i < 8; i++)
        expect_used(&q, 0, 16);
    q = rng_start(r, RNG_FEATURES, 8);
    vring_write_desc(&q, q.desc, 0, BUF, 16, VD_WRITE, 0);
    rig_write(r, q.avail + 2, 2, 9);
    vring_kick(&q);
    expect_failed(r, &q);
    q = rng_start(r, VD_VERSION_1, 8);
    rig_write(r, q.avail + 2, 2, 0xffff);
    vring_kick(&q);
    expect_failed(r, &q);
}

static void notifications_that_mean_nothing(void **state)
{
    struct rig *r = *state;
    struct vring q;
    struct vbuf b = {BUF, 16, true};
    uint32_t id, len;
    vdriver_negotiate(r->as, RIG_RNG, RNG_FEATURES);
    vring_init(&q, r->as, RIG_RNG, 0, 8, RING);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q); /* not yet DRIVER_OK */
    assert_false(vring_used(&q, &id, &len));
    vdriver_ok(r->as, RIG_RNG);
    rig_write(r, RIG_RNG + 0x50, 4, 1); /* no such queue */
    rig_write(r, RIG_RNG + 0x50, 4, UINT32_MAX);
    assert_false(vring_used(&q, &id, &len));
    vring_kick(&q);
    expect_used(&q, 0, 16);
    /* A stopped queue is deaf, and starts from the beginning when it is enabled again. */
    rig_write(r, RIG_RNG + READY, 4, 0);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    assert_false(vring_used(&q, &id, &len));
    vring_init(&q, r->as, RIG_RNG, 0, 8, RING);
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    expect_used(&q, 0, 16);
}

static void reset_is_complete(void **state)
{
    struct rig *r = *state;
    struct vring q = rng_start(r, RNG_FEATURES, 8);
    struct vbuf b = {BUF, 16, true};
    vring_add(&q, &b, 1, 0);
    vring_kick(&q);
    rig_write(r, RIG_PLIC + 4 * RIG_IRQ_RNG, 4, 1);
    rig_write(r, RIG_PLIC + 0x2000, 4, 1u << RIG_IRQ_RNG);
    assert_true(r->eip[0]);
    rig_read(r, RIG_PLIC + 0x200004, 4);
    rig_write(r, RIG_RNG + STATUS, 4, 0);
    rig_write(r, RIG_PLIC + 0x200004, 4, RIG_IRQ_RNG);
    assert_false(r->eip[0]); /* the line is down */
    assert_int_equal(reg(r, RIG_RNG, STATUS), 0);
    assert_int_equal(reg(r, RIG_RNG, ISR), 0);
    rig_write(r, RIG_RNG + 0x30, 4, 0);
    assert_int_equal(reg(r, RIG_RNG, READY), 0);
    /* Features must be accepted anew. */
    rig_write(r, RIG_RNG + STATUS, 4, 11);
    assert_int_equal(reg(r, RIG_RNG, STATUS), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(identity),
        rig_unit_test(offered_features),
        rig_unit_test(negotiation_refuses_nonsense),
        rig_unit_test(queue_setup_is_checked),
        rig_unit_test(a_chain_goes_round),
        rig_unit_test(seeded_entropy_is_the_published_sequence),
        rig_unit_test(entropy_of_the_host),
        rig_unit_test(interrupt_suppression_by_flag),
        rig_unit_test(event_index),
        rig_unit_test(indices_wrap),
        rig_unit_test(indirect_tables),
        rig_unit_test(wrong_chains_fail_the_device),
        rig_unit_test(wrong_indices_fail_the_device),
        rig_unit_test(notifications_that_mean_nothing),
        rig_unit_test(reset_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
