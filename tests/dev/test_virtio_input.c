/* The power button, a virtio input device (virtio 1.2, section 5.8) with one key. */
#include "test.h"

#include "base/bits.h"
#include "dev/virtio/virtio_input.h"
#include "driver.h"
#include "rig_test.h"

#include <string.h>

#define EVENT_RING (RIG_RAM + 0x10000)
#define STATUS_RING (RIG_RAM + 0x14000)
#define BUF (RIG_RAM + 0x40000)
#define CONFIG (RIG_BUTTON + 0x100)

enum { NEEDS_RESET = 64 };

static void start(struct rig *r, struct vring *events, struct vring *status)
{
    assert_int_equal(vdriver_negotiate(r->as, RIG_BUTTON, VD_VERSION_1), 11);
    vring_init(events, r->as, RIG_BUTTON, 0, 8, EVENT_RING);
    vring_init(status, r->as, RIG_BUTTON, 1, 8, STATUS_RING);
    vdriver_ok(r->as, RIG_BUTTON);
}

static void give(struct vring *events, unsigned n, uint32_t len)
{
    for (unsigned i = 0; i < n; i++) {
        struct vbuf b = {BUF + 64 * events->next_desc, len, true};
        vring_add(events, &b, 1, 0);
    }
    vring_kick(events);
}

/* The next event as type, code and value in one number, 0: none has come. */
static uint64_t event(struct vring *events)
{
    uint32_t id, len;
    uint8_t raw[8];
    if (!vring_used(events, &id, &len))
        return 0;
    assert_int_equal(len, sizeof raw);
    addrspace_copy_out(events->as, BUF + 64 * id, raw, sizeof raw);
    return (uint64_t)le16_get(raw) << 48 | (uint64_t)le16_get(raw + 2) << 32 | le32_get(raw + 4);
}

#define DOWN (UINT64_C(1) << 48 | UINT64_C(116) << 32 | 1)
#define UP (UINT64_C(1) << 48 | UINT64_C(116) << 32)

/* Answer of the configuration, of the length that it says; the bytes behind are 0. */
static size_t ask(struct rig *r, uint8_t select, uint8_t subsel, uint8_t answer[56])
{
    rig_write(r, CONFIG, 1, select);
    rig_write(r, CONFIG + 1, 1, subsel);
    for (unsigned i = 0; i < 56; i++)
        answer[i] = (uint8_t)rig_read(r, CONFIG + 8 + i, 1);
    return rig_read(r, CONFIG + 2, 1);
}

static void says_what_it_is(void **state)
{
    struct rig *r = *state;
    uint8_t a[56], none[56] = {0};
    assert_int_equal(rig_read(r, RIG_BUTTON + 8, 4), 18);
    assert_int_equal(ask(r, 1, 0, a), 18);
    assert_string_equal((char *)a, "guise power button");
    assert_int_equal(ask(r, 3, 0, a), 8);
    assert_int_equal(a[0], 6); /* a virtual bus */
    assert_int_equal(ask(r, 0x11, 1, a), 15);
    assert_int_equal(a[14], 1 << 4); /* key 116 and no other */
    a[14] = 0;
    assert_memory_equal(a, none, sizeof a);
    static const uint8_t unknown[][2] = {{0, 0},    {1, 1},    {2, 0},
                                         {0x11, 0}, {0x11, 2}, {0xff, 0xff}};
    for (unsigned i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(ask(r, unknown[i][0], unknown[i][1], a), 0);
        assert_memory_equal(a, none, sizeof a);
    }
    /* Nothing but the two selectors can be written, each alone. */
    ask(r, 1, 0, a);
    rig_write(r, CONFIG + 2, 1, 99);
    rig_write(r, CONFIG, 2, 0x111);
    rig_write(r, CONFIG + 8, 1, 'x');
    assert_int_equal(rig_read(r, CONFIG, 4), 1 | 18 << 16);
    assert_int_equal(rig_read(r, CONFIG + 8, 1), 'g');
}

static void a_press_is_down_and_up(void **state)
{
    struct rig *r = *state;
    struct vring events, status;
    assert_false(virtio_input_press(r->button)); /* nobody hears it */
    start(r, &events, &status);
    give(&events, 8, 8);
    assert_int_equal(event(&events), 0);
    assert_true(virtio_input_press(r->button));
    assert_int_equal(rig_read(r, RIG_BUTTON + 0x60, 4), 1);
    assert_int_equal(event(&events), DOWN);
    uint32_t id, len;
    assert_true(vring_used(&events, &id, &len)); /* of a report's end all is 0 */
    assert_int_equal(event(&events), UP);
    assert_true(vring_used(&events, &id, &len));
    assert_false(vring_used(&events, &id, &len));
}

static void waits_for_buffers(void **state)
{
    struct rig *r = *state;
    struct vring events, status;
    uint32_t id, len;
    start(r, &events, &status);
    assert_true(virtio_input_press(r->button));
    assert_true(virtio_input_press(r->button)); /* it is down already: no second one */
    give(&events, 1, 8);
    assert_int_equal(event(&events), DOWN);
    give(&events, 7, 8);
    assert_true(vring_used(&events, &id, &len));
    assert_int_equal(event(&events), UP);
    assert_true(vring_used(&events, &id, &len));
    assert_false(vring_used(&events, &id, &len));
    /* A reset forgets a press. */
    start(r, &events, &status);
    assert_true(virtio_input_press(r->button));
    start(r, &events, &status);
    give(&events, 4, 8);
    assert_false(vring_used(&events, &id, &len));
}

static void short_buffers_fail_it(void **state)
{
    struct rig *r = *state;
    struct vring events, status;
    start(r, &events, &status);
    give(&events, 1, 7);
    virtio_input_press(r->button);
    assert_int_equal(rig_read(r, RIG_BUTTON + 0x70, 4), 15 | NEEDS_RESET);
    assert_false(virtio_input_press(r->button));
}

static void takes_status(void **state)
{
    struct rig *r = *state;
    struct vring events, status;
    uint32_t id, len;
    start(r, &events, &status);
    struct vbuf b = {BUF, 8, false};
    vring_add(&status, &b, 1, 0);
    vring_kick(&status);
    assert_true(vring_used(&status, &id, &len));
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(says_what_it_is),   rig_unit_test(a_press_is_down_and_up),
        rig_unit_test(waits_for_buffers), rig_unit_test(short_buffers_fail_it),
        rig_unit_test(takes_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
