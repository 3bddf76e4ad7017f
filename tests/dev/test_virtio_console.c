/* The virtio console (virtio 1.2, section 5.3). */
#include "test.h"

#include "driver.h"
#include "rig_test.h"
#include "vrig.h"

#include "base/bits.h"

#include <string.h>

#define RX_RING (RIG_RAM + 0x10000)
#define TX_RING (RIG_RAM + 0x14000)
#define BUF (RIG_RAM + 0x40000)

static void start(struct rig *r, struct vring *rx, struct vring *tx)
{
    assert_int_equal(vdriver_negotiate(r->as, RIG_CONSOLE, VD_VERSION_1), 11);
    vring_init(rx, r->as, RIG_CONSOLE, 0, 8, RX_RING);
    vring_init(tx, r->as, RIG_CONSOLE, 1, 8, TX_RING);
    vdriver_ok(r->as, RIG_CONSOLE);
}

static void expect_used(struct vring *q, uint32_t want_id, uint32_t want_len)
{
    uint32_t id, len;
    assert_true(vring_used(q, &id, &len));
    assert_int_equal(id, want_id);
    assert_int_equal(len, want_len);
}

static void output(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "hello, world", 12);
    struct vbuf bufs[2] = {{BUF, 7, false}, {BUF + 7, 5, false}};
    vring_add(&tx, bufs, 2, 0);
    vring_kick(&tx);
    expect_used(&tx, 0, 0);
    assert_int_equal(r->console_chr.out_len, 12);
    assert_memory_equal(r->console_chr.out, "hello, world", 12);
}

static void output_waits_for_room(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    uint32_t id, len;
    start(r, &rx, &tx);
    r->console_chr.room = 9;
    addrspace_copy_in(r->as, BUF, "hello, world, again", 19);
    struct vbuf bufs[3] = {{BUF, 7, false}, {BUF + 7, 5, false}, {BUF + 12, 7, false}};
    vring_add(&tx, bufs, 2, 0);
    vring_add(&tx, bufs + 2, 1, 0);
    vring_kick(&tx);
    assert_false(vring_used(&tx, &id, &len));
    assert_int_equal(r->console_chr.out_len, 9);
    fake_chr_give_room(&r->console_chr, 1);
    assert_int_equal(r->console_chr.out_len, 10);
    fake_chr_give_room(&r->console_chr, 4);
    expect_used(&tx, 0, 0);
    assert_false(vring_used(&tx, &id, &len));
    fake_chr_give_room(&r->console_chr, SIZE_MAX);
    expect_used(&tx, 2, 0);
    assert_int_equal(r->console_chr.out_len, 19);
    assert_memory_equal(r->console_chr.out, "hello, world, again", 19);
}

static void input(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    assert_int_equal(fake_chr_input(&r->console_chr, "x", 1), 0); /* nobody listens yet */
    start(r, &rx, &tx);
    assert_int_equal(fake_chr_input(&r->console_chr, "x", 1), 0); /* no buffer */
    struct vbuf bufs[2] = {{BUF, 3, true}, {BUF + 0x100, 2, true}};
    unsigned accepts = r->console_chr.accepts;
    vring_add(&rx, bufs, 2, 0);
    vring_add(&rx, bufs, 1, 0);
    vring_kick(&rx);
    assert_int_equal(r->console_chr.accepts, accepts + 1);
    assert_int_equal(fake_chr_input(&r->console_chr, "ab", 2), 2);
    expect_used(&rx, 0, 2);
    assert_int_equal(rig_read(r, BUF, 2), 0x6261);
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x60, 4), 1);
    assert_int_equal(fake_chr_input(&r->console_chr, "cdefg", 5), 3);
    expect_used(&rx, 2, 3);
    vring_add(&rx, bufs, 2, 0);
    assert_int_equal(fake_chr_input(&r->console_chr, "vwxyz", 5), 5);
    expect_used(&rx, 3, 5);
    assert_int_equal(rig_read(r, BUF + 0x100, 2), 0x7a79);
}

static void a_buffer_that_cannot_be_filled(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    struct vbuf b = {BUF, 8, false};
    vring_add(&rx, &b, 1, 0);
    assert_int_equal(fake_chr_input(&r->console_chr, "a", 1), 0);
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x70, 4), 15 | 64);
}

static void emergency_write(void **state)
{
    struct rig *r = *state;
    rig_write(r, RIG_CONSOLE + 0x108, 4, '!');
    rig_write(r, RIG_CONSOLE + 0x104, 4, '?');
    assert_int_equal(r->console_chr.out_len, 1);
    assert_int_equal(r->console_chr.out[0], '!');
    assert_int_equal(rig_read(r, RIG_CONSOLE + 0x104, 4), 1); /* one port */
}

static void reset_forgets_half_sent_output(void **state)
{
    struct rig *r = *state;
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "0123456789", 10);
    struct vbuf b = {BUF, 10, false};
    r->console_chr.room = 4;
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    start(r, &rx, &tx);
    fake_chr_give_room(&r->console_chr, SIZE_MAX);
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    assert_int_equal(r->console_chr.out_len, 14);
    assert_memory_equal(r->console_chr.out, "01230123456789", 14);
}

static void waiting_output_survives_a_load(void **state)
{
    struct rig *r = *state;
    struct rig *other = rig_new();
    struct vring rx, tx;
    start(r, &rx, &tx);
    addrspace_copy_in(r->as, BUF, "0123456789", 10);
    struct vbuf b = {BUF, 10, false};
    r->console_chr.room = 4;
    vring_add(&tx, &b, 1, 0);
    vring_kick(&tx);
    assert_true(rig_copy(r, other));
    assert_true(rig_equal(r, other));
    assert_int_equal(other->console_chr.asks, 1);
    fake_chr_give_room(&other->console_chr, SIZE_MAX);
    assert_int_equal(other->console_chr.out_len, 10);
    assert_memory_equal(other->console_chr.out, "0123456789", 10);
    tx.as = other->as;
    expect_used(&tx, 0, 0);
    rig_free(other);
}

/* ---- named ports, on the other rig ---- */

#define PORTS VRIG_REGS(VRIG_PORTS)
#define PRING(q) (VRIG_RAM + 0x10000 + 0x1000 * (q))
#define PBUF (VRIG_RAM + 0x40000)
#define MULTIPORT (VD_VERSION_1 | 2)

enum { RX0, TX0, CTRL_RX, CTRL_TX, RX1, TX1, RX2, TX2, PQUEUES };
enum { DEVICE_READY, PORT_ADD, PORT_READY = 3, CONSOLE_PORT, PORT_OPEN = 6, PORT_NAME };

static void start_ports(struct vrig *r, struct vring *q)
{
    assert_int_equal(vdriver_negotiate(r->as, PORTS, MULTIPORT), 11);
    for (unsigned i = 0; i < PQUEUES; i++)
        vring_init(&q[i], r->as, PORTS, i, 16, PRING(i));
    vdriver_ok(r->as, PORTS);
}

/* A message of the driver's of `len` bytes. */
static void say(struct vring *q, uint32_t port, unsigned event, unsigned value, uint32_t len)
{
    uint8_t m[8];
    le32_put(m, port);
    le16_put(m + 4, (uint16_t)event);
    le16_put(m + 6, (uint16_t)value);
    addrspace_copy_in(q[CTRL_TX].as, PBUF, m, sizeof m);
    struct vbuf b = {PBUF, len, false};
    uint16_t head = vring_add(&q[CTRL_TX], &b, 1, 0);
    vring_kick(&q[CTRL_TX]);
    expect_used(&q[CTRL_TX], head, 0);
}

/* Gives a buffer, which the device fills with this message. */
static void hear(struct vring *q, uint32_t port, unsigned event, unsigned value, const char *name)
{
    const gpa_t at = PBUF + 0x100;
    struct vbuf b = {at, 100, true};
    uint32_t id, len;
    vring_add(&q[CTRL_RX], &b, 1, 0);
    vring_kick(&q[CTRL_RX]);
    assert_true(vring_used(&q[CTRL_RX], &id, &len));
    const uint8_t *m = addrspace_ram(q->as, at, 100);
    assert_int_equal(le32_get(m), port);
    assert_int_equal(le16_get(m + 4), event);
    assert_int_equal(le16_get(m + 6), value);
    assert_int_equal(len, 8 + strlen(name));
    assert_memory_equal(m + 8, name, strlen(name));
}

static void hear_nothing(struct vring *q)
{
    uint32_t id, len;
    struct vring before = q[CTRL_RX];
    struct vbuf b = {PBUF + 0x100, 100, true};
    vring_add(&q[CTRL_RX], &b, 1, 0);
    vring_kick(&q[CTRL_RX]);
    assert_false(vring_used(&q[CTRL_RX], &id, &len));
    /* Takes the buffer back, which a driver may not do; the device has not looked behind it. */
    q[CTRL_RX] = before;
    addrspace_write(q->as, before.avail + 2, 2, before.avail_idx);
}

static void ports_are_added(void **state)
{
    struct vrig *r = *state;
    struct vring q[PQUEUES];
    start_ports(r, q);
    uint64_t max = 0;
    addrspace_read(r->as, PORTS + 0x104, 4, &max);
    assert_int_equal(max, 3);
    say(q, UINT32_MAX, DEVICE_READY, 1, 8);
    for (unsigned i = 0; i < 3; i++)
        hear(q, i, PORT_ADD, 1, "");
    hear_nothing(q);
    say(q, 0, PORT_READY, 1, 8);
    hear(q, 0, CONSOLE_PORT, 1, "");
    hear(q, 0, PORT_OPEN, 1, "");
    say(q, 1, PORT_READY, 1, 8);
    hear(q, 1, PORT_NAME, 1, "org.qemu.guest_agent.0");
    hear_nothing(q); /* nobody is there */
    say(q, 2, PORT_READY, 1, 8);
    hear(q, 2, PORT_NAME, 1, "second");
    hear(q, 2, PORT_OPEN, 1, "");
}

static void clients_come_and_go(void **state)
{
    struct vrig *r = *state;
    struct vring q[PQUEUES];
    start_ports(r, q);
    fake_chr_set_peer(&r->port[1], true);
    say(q, 1, PORT_READY, 1, 8);
    hear(q, 1, PORT_NAME, 1, "org.qemu.guest_agent.0");
    hear(q, 1, PORT_OPEN, 1, "");
    /* Another one while there is no buffer: both changes are told. */
    fake_chr_set_peer(&r->port[1], false);
    fake_chr_set_peer(&r->port[1], true);
    hear(q, 1, PORT_OPEN, 0, "");
    hear(q, 1, PORT_OPEN, 1, "");
    /* One that comes and goes before it is told of is nobody. */
    fake_chr_set_peer(&r->port[1], false);
    hear(q, 1, PORT_OPEN, 0, "");
    fake_chr_set_peer(&r->port[1], true);
    fake_chr_set_peer(&r->port[1], false);
    hear_nothing(q);
}

static void data_of_ports(void **state)
{
    struct vrig *r = *state;
    struct vring q[PQUEUES];
    start_ports(r, q);
    struct vbuf in = {PBUF + 0x200, 16, true}, out = {PBUF + 0x300, 5, false};
    vring_add(&q[RX1], &in, 1, 0);
    say(q, 1, PORT_READY, 1, 8);
    assert_true(r->port[1].deaf);
    assert_int_equal(fake_chr_input(&r->port[1], "x", 1), 0); /* not open */
    unsigned accepts = r->port[1].accepts;
    say(q, 1, PORT_OPEN, 1, 8);
    assert_int_equal(r->port[1].accepts, accepts + 1);
    assert_false(r->port[1].deaf);
    assert_int_equal(fake_chr_input(&r->port[1], "hello", 5), 5);
    expect_used(&q[RX1], 0, 5);
    assert_memory_equal(addrspace_ram(r->as, in.addr, 5), "hello", 5);
    addrspace_copy_in(r->as, out.addr, "there", 5);
    vring_add(&q[TX2], &out, 1, 0);
    vring_kick(&q[TX2]);
    expect_used(&q[TX2], 0, 0);
    assert_int_equal(r->port[2].out_len, 5);
    assert_int_equal(r->port[1].out_len, 0);
    r->port[1].room = 2;
    vring_add(&q[TX1], &out, 1, 0);
    vring_kick(&q[TX1]);
    fake_chr_give_room(&r->port[1], SIZE_MAX);
    expect_used(&q[TX1], 0, 0);
    assert_memory_equal(r->port[1].out, "there", 5);
    say(q, 1, PORT_OPEN, 0, 8);
    assert_true(r->port[1].deaf);
}

static void messages_that_make_no_sense(void **state)
{
    struct vrig *r = *state;
    struct vring q[PQUEUES];
    start_ports(r, q);
    say(q, 1, PORT_OPEN, 1, 8); /* before it is ready */
    assert_true(r->port[1].deaf);
    for (unsigned event = 0; event < 12; event++) {
        say(q, 3, event, event != DEVICE_READY, 8);
        say(q, UINT32_MAX, event, event != DEVICE_READY, 8);
        say(q, 1, event, 1, 7);
        say(q, 1, event, 1, 1);
    }
    hear_nothing(q);
    uint64_t status = 0;
    addrspace_read(r->as, PORTS + 0x70, 4, &status);
    assert_int_equal(status, 15);
    /* A name needs more than that. */
    struct vbuf b = {PBUF, 8, true};
    say(q, 1, PORT_READY, 1, 8);
    vring_add(&q[CTRL_RX], &b, 1, 0);
    vring_kick(&q[CTRL_RX]);
    addrspace_read(r->as, PORTS + 0x70, 4, &status);
    assert_int_equal(status, 15 | 64);
    assert_int_equal(vdriver_negotiate(r->as, PORTS, MULTIPORT), 11);
}

/* A driver that knows of no ports has the console alone. */
static void without_multiport(void **state)
{
    struct vrig *r = *state;
    struct vring tx, more;
    uint32_t id, len;
    assert_int_equal(vdriver_negotiate(r->as, PORTS, VD_VERSION_1), 11);
    vring_init(&tx, r->as, PORTS, TX0, 8, PRING(TX0));
    vring_init(&more, r->as, PORTS, TX1, 8, PRING(TX1));
    vdriver_ok(r->as, PORTS);
    struct vbuf out = {PBUF, 5, false};
    vring_add(&tx, &out, 1, 0);
    vring_kick(&tx);
    expect_used(&tx, 0, 0);
    assert_int_equal(r->port[0].out_len, 5);
    vring_add(&more, &out, 1, 0);
    vring_kick(&more);
    assert_false(vring_used(&more, &id, &len));
    assert_int_equal(r->port[1].out_len, 0);
}

/* The machine goes on elsewhere, where nobody is connected yet. */
static void ports_after_a_load(void **state)
{
    struct vrig *r = *state, *other = vrig_new();
    struct vring q[PQUEUES];
    start_ports(r, q);
    fake_chr_set_peer(&r->port[1], true);
    say(q, 1, PORT_READY, 1, 8);
    hear(q, 1, PORT_NAME, 1, "org.qemu.guest_agent.0");
    hear(q, 1, PORT_OPEN, 1, "");
    say(q, 1, PORT_OPEN, 1, 8);
    struct vbuf b = {PBUF + 0x100, 100, true};
    vring_add(&q[CTRL_RX], &b, 1, 0);
    vring_kick(&q[CTRL_RX]);
    assert_true(vrig_copy(r, other));
    assert_true(vrig_equal(r, other));
    struct state_out out = {0};
    device_save(r->all[VRIG_PORTS], &out);
    struct state_in in = {.data = out.data, .len = out.len};
    fake_chr_set_peer(&other->port[1], false);
    assert_int_equal(device_load(other->all[VRIG_PORTS], &in, NULL), 0);
    state_out_free(&out);
    assert_int_equal(device_start(other->all[VRIG_PORTS], NULL), 0);
    q[CTRL_RX].as = other->as;
    expect_used(&q[CTRL_RX], 2, 8);
    const uint8_t *m = addrspace_ram(other->as, b.addr, 8);
    assert_int_equal(m[4], PORT_OPEN);
    assert_int_equal(m[6], 0);
    assert_false(other->port[1].deaf);
    vrig_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(output),
        rig_unit_test(output_waits_for_room),
        rig_unit_test(input),
        rig_unit_test(a_buffer_that_cannot_be_filled),
        rig_unit_test(emergency_write),
        rig_unit_test(reset_forgets_half_sent_output),
        rig_unit_test(waiting_output_survives_a_load),
        vrig_unit_test(ports_are_added),
        vrig_unit_test(clients_come_and_go),
        vrig_unit_test(data_of_ports),
        vrig_unit_test(messages_that_make_no_sense),
        vrig_unit_test(without_multiport),
        vrig_unit_test(ports_after_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
