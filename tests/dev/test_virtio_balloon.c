/* The virtio memory balloon (virtio 1.2, section 5.5). */
#include "test.h"

#include "base/bits.h"
#include "dev/virtio/virtio_balloon.h"
#include "driver.h"
#include "vrig.h"

#define REGS VRIG_REGS(VRIG_BALLOON)
#define CONFIG (REGS + 0x100)
#define RING(q) (VRIG_RAM + 0x10000 + 0x4000 * (q))
#define LIST (VRIG_RAM + 0x30000)
#define PAGE UINT64_C(4096)
#define FIRST (VRIG_RAM + 0x80000) /* pages that the guest does without */
#define NUMBER(i) ((uint32_t)(FIRST / PAGE) + (uint32_t)(i))

enum { STATS = 1 << 1, OOM = 1 << 2, POISON = 1 << 4, REPORTING = 1 << 5 };
enum { R_STATUS = 0x70, R_ISR = 0x60, R_ACK = 0x64 };
enum { INFLATE, DEFLATE, THIRD, FOURTH };

struct driver {
    struct vrig *r;
    struct vring q[5];
};

static struct driver start(struct vrig *r, uint64_t features)
{
    struct driver d = {.r = r};
    assert_int_equal(vdriver_negotiate(r->as, REGS, VD_VERSION_1 | features), 11);
    for (unsigned i = 0; i < 5; i++)
        vring_init(&d.q[i], r->as, REGS, i, 8, RING(i));
    vdriver_ok(r->as, REGS);
    return d;
}

static uint64_t get(struct vrig *r, gpa_t gpa, unsigned size)
{
    uint64_t v;
    assert_true(addrspace_read(r->as, gpa, size, &v));
    return v;
}

static void put(struct vrig *r, gpa_t gpa, unsigned size, uint64_t v)
{
    assert_true(addrspace_write(r->as, gpa, size, v));
}

/* Page i holds i + 1 in all its bytes. */
static void fill(struct vrig *r, unsigned pages)
{
    for (unsigned i = 0; i < pages; i++)
        memset(addrspace_ram(r->as, FIRST + i * PAGE, PAGE), (int)i + 1, PAGE);
}

static bool is_filled(struct vrig *r, unsigned i, uint8_t with)
{
    const uint8_t *p = addrspace_ram(r->as, FIRST + i * PAGE, PAGE);
    return p[0] == with && p[1] == with && !memcmp(p, p + 1, PAGE - 1);
}

static void send(struct driver *d, unsigned queue, const struct vbuf *bufs, unsigned n)
{
    uint32_t id, len;
    vring_add(&d->q[queue], bufs, n, 0);
    vring_kick(&d->q[queue]);
    assert_true(vring_used(&d->q[queue], &id, &len));
    assert_int_equal(len, 0);
}

static void offers(void **state)
{
    struct vrig *r = *state;
    assert_int_equal(get(r, REGS + 8, 4), 5);
    assert_int_equal(vdriver_offered(r->as, REGS) & 0xff, STATS | OOM | POISON | REPORTING);
    assert_int_equal(get(r, CONFIG, 4), 3); /* the rig's */
    assert_int_equal(get(r, CONFIG + 4, 4), 0);
}

static void inflate(void **state)
{
    struct vrig *r = *state;
    struct driver d = start(r, 0);
    const uint32_t pages[] = {NUMBER(5), NUMBER(1), NUMBER(0), NUMBER(5), NUMBER(9)};
    fill(r, 10);
    uint64_t before = addrspace_resident(r->as);
    /* Also one beyond memory, which is nothing. */
    for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
        put(r, LIST + 4 * i, 4, pages[i]);
    put(r, LIST + 20, 4, UINT32_MAX);
    struct vbuf bufs[] = {{LIST, 10, false}, {LIST + 10, 14, false}};
    send(&d, INFLATE, bufs, 2);
    for (unsigned i = 0; i < 10; i++)
        assert_true(is_filled(r, i, i == 0 || i == 1 || i == 5 || i == 9 ? 0 : (uint8_t)(i + 1)));
    /* Looking at a page makes it resident again. */
    fill(r, 10);
    send(&d, INFLATE, bufs, 2);
    assert_true(addrspace_resident(r->as) + 4 * PAGE <= before + 2 * PAGE);
    /* Out of the balloon: memory as any other. */
    send(&d, DEFLATE, bufs, 1);
    fill(r, 10);
    assert_true(is_filled(r, 5, 6));
    assert_int_equal(get(r, REGS + R_STATUS, 4), 15);
}

static void too_many_pages(void **state)
{
    struct vrig *r = *state;
    struct driver d = start(r, 0);
    struct vbuf most = {FIRST, 4096, false}, more = {FIRST, 4100, false};
    send(&d, INFLATE, &most, 1);
    assert_int_equal(get(r, REGS + R_STATUS, 4), 15);
    vring_add(&d.q[INFLATE], &more, 1, 0);
    vring_kick(&d.q[INFLATE]);
    uint32_t id, len;
    assert_false(vring_used(&d.q[INFLATE], &id, &len));
    assert_int_equal(get(r, REGS + R_STATUS, 4), 15 | 64);
}

/* The queue of reports is the one behind those that there are, or the one of the specification. */
static void report_to(struct vrig *r, uint64_t features, unsigned queue, bool taken)
{
    struct driver d = start(r, features);
    struct vbuf bufs[] = {{FIRST + 100, PAGE * 2, true}, {FIRST + 4 * PAGE, 2 * PAGE, true}};
    fill(r, 7);
    send(&d, queue, bufs, 2);
    /* Whole pages only: the first buffer has one. */
    const uint8_t want[] = {1, taken ? 0 : 2, 3, 4, taken ? 0 : 5, taken ? 0 : 6, 7};
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
        assert_true(is_filled(r, i, want[i]));
}

static void reports(void **state)
{
    report_to(*state, STATS | REPORTING, FOURTH, true);
    report_to(*state, REPORTING, THIRD, true);
    report_to(*state, STATS | REPORTING, 4, true);
    report_to(*state, REPORTING, DEFLATE, false);
}

/* What free pages are filled with is in them when they are used again. */
static void poisoned(void **state)
{
    struct vrig *r = *state;
    struct driver d = start(r, POISON | REPORTING);
    struct vbuf buf = {FIRST, PAGE, true};
    fill(r, 1);
    put(r, CONFIG + 12, 4, 0xaaaaaaaa);
    send(&d, THIRD, &buf, 1);
    assert_true(is_filled(r, 0, 1));
    put(r, CONFIG + 12, 4, 0);
    send(&d, THIRD, &buf, 1);
    assert_true(is_filled(r, 0, 0));
}

static void target(void **state)
{
    struct vrig *r = *state;
    struct virtio_balloon_stats s;
    start(r, 0);
    uint64_t generation = get(r, REGS + 0xfc, 4);
    virtio_balloon_set_target(r->all[VRIG_BALLOON], 8 * PAGE + 5);
    assert_int_equal(get(r, CONFIG, 4), 8);
    assert_true(get(r, REGS + 0xfc, 4) != generation);
    assert_int_equal(get(r, REGS + R_ISR, 4), 2);
    assert_true(r->irq[VRIG_BALLOON]);
    put(r, REGS + R_ACK, 4, 2);
    virtio_balloon_set_target(r->all[VRIG_BALLOON], 8 * PAGE); /* nothing new */
    assert_false(r->irq[VRIG_BALLOON]);
    /* The driver says how far it got; the target is not its own. */
    put(r, CONFIG + 4, 4, 6);
    put(r, CONFIG, 4, 1);
    put(r, CONFIG + 4, 2, 1);
    virtio_balloon_stats(r->all[VRIG_BALLOON], &s);
    assert_true(s.target == 8 * PAGE && s.actual == 6 * PAGE);
    assert_int_equal(get(r, CONFIG, 4), 8);
    /* A reset empties the balloon; what the host wants stays. */
    put(r, REGS + R_STATUS, 4, 0);
    virtio_balloon_stats(r->all[VRIG_BALLOON], &s);
    assert_true(s.target == 8 * PAGE && !s.actual);
    virtio_balloon_set_target(r->all[VRIG_BALLOON], UINT64_MAX);
    assert_int_equal(get(r, CONFIG, 4), UINT32_MAX);
}

static void put_stat(struct vrig *r, unsigned i, unsigned tag, uint64_t value)
{
    uint8_t raw[10];
    le16_put(raw, (uint16_t)tag);
    le64_put(raw + 2, value);
    assert_true(addrspace_copy_in(r->as, LIST + 10 * i, raw, sizeof raw));
}

static void statistics(void **state)
{
    struct vrig *r = *state;
    struct device *dev = r->all[VRIG_BALLOON];
    struct driver d = start(r, STATS);
    struct virtio_balloon_stats s;
    uint32_t id, len;
    virtio_balloon_ask(dev); /* there is nothing to give back */
    put_stat(r, 0, 4, 1234567);
    put_stat(r, 1, 999, 1);
    put_stat(r, 2, 5, UINT64_MAX);
    struct vbuf buf = {LIST, 35, false}; /* and half a one */
    vring_add(&d.q[THIRD], &buf, 1, 0);
    vring_kick(&d.q[THIRD]);
    virtio_balloon_stats(dev, &s);
    assert_int_equal(s.updates, 1);
    assert_int_equal(s.known, 1 << 4 | 1 << 5);
    assert_true(s.values[4] == 1234567 && s.values[5] == UINT64_MAX);
    assert_string_equal(virtio_balloon_stat_name(4), "free_memory");
    assert_null(virtio_balloon_stat_name(VIRTIO_BALLOON_STATS));
    /* The device keeps the buffer until somebody asks. */
    assert_false(vring_used(&d.q[THIRD], &id, &len));
    virtio_balloon_ask(dev);
    assert_true(vring_used(&d.q[THIRD], &id, &len));
    assert_true(r->irq[VRIG_BALLOON]);
    virtio_balloon_ask(dev);
    assert_false(vring_used(&d.q[THIRD], &id, &len));
    put_stat(r, 0, 6, 7);
    buf.len = 10;
    vring_add(&d.q[THIRD], &buf, 1, 0);
    vring_kick(&d.q[THIRD]);
    virtio_balloon_stats(dev, &s);
    assert_true(s.updates == 2 && s.known == 1 << 6 && s.values[6] == 7);
    /* Too long to be statistics. */
    virtio_balloon_ask(dev);
    buf = (struct vbuf){LIST, 10000, false};
    vring_add(&d.q[THIRD], &buf, 1, 0);
    vring_kick(&d.q[THIRD]);
    assert_int_equal(get(r, REGS + R_STATUS, 4), 15 | 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vrig_unit_test(offers),     vrig_unit_test(inflate),  vrig_unit_test(too_many_pages),
        vrig_unit_test(reports),    vrig_unit_test(poisoned), vrig_unit_test(target),
        vrig_unit_test(statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
