/* The virtio network card (virtio 1.2, section 5.1). */
#include "test.h"

#include "base/bits.h"
#include "dev/virtio/virtio_net.h"
#include "driver.h"
#include "rig_test.h"

#include <stdlib.h>

#define RX_RING (RIG_RAM + 0x10000)
#define TX_RING (RIG_RAM + 0x14000)
#define CTRL_RING (RIG_RAM + 0x18000)
#define TABLE (RIG_RAM + 0x1c000)
#define TX_BUF (RIG_RAM + 0x20000)
#define RX2_RING (RIG_RAM + 0x1d000)
#define TX2_RING (RIG_RAM + 0x1e000)
#define RX_BUF (RIG_RAM + 0x40000)
#define CTRL_BUF (RIG_RAM + 0x80000)

/* Bits as section 5.1.3 numbers them. */
enum {
    CSUM = 1 << 0,
    GUEST_CSUM = 1 << 1,
    GUEST_OFFLOADS = 1 << 2,
    MTU = 1 << 3,
    MAC = 1 << 5,
    GUEST_TSO4 = 1 << 7,
    HOST_TSO4 = 1 << 11,
    HOST_TSO6 = 1 << 12,
    MRG = 1 << 15,
    STATUS = 1 << 16,
    CTRL = 1 << 17,
    CTRL_RX = 1 << 18,
    CTRL_VLAN = 1 << 19,
    CTRL_EXTRA = 1 << 20,
    ANNOUNCE = 1 << 21,
    MQ = 1 << 22,
    CTRL_MAC = 1 << 23,
};
#define ALL_CTRL (CTRL | CTRL_RX | CTRL_VLAN | CTRL_EXTRA | ANNOUNCE | CTRL_MAC | GUEST_OFFLOADS)

enum { R_STATUS = 0x70, R_ISR = 0x60, R_ACK = 0x64, NEEDS_RESET = 64 };

struct card {
    struct rig *r;
    struct vring rx, tx, ctrl, rx2, tx2;
};

static struct card start(struct rig *r, uint64_t features)
{
    struct card c = {.r = r};
    assert_int_equal(vdriver_negotiate(r->as, RIG_NET, VD_VERSION_1 | features), 11);
    vring_init(&c.rx, r->as, RIG_NET, 0, 8, RX_RING);
    vring_init(&c.tx, r->as, RIG_NET, 1, 8, TX_RING);
    vring_init(&c.ctrl, r->as, RIG_NET, features & MQ ? 4 : 2, 8, CTRL_RING);
    if (features & MQ) {
        vring_init(&c.rx2, r->as, RIG_NET, 2, 8, RX2_RING);
        vring_init(&c.tx2, r->as, RIG_NET, 3, 8, TX2_RING);
    }
    vdriver_ok(r->as, RIG_NET);
    return c;
}

static void expect_used(struct vring *q, uint32_t want_id, uint32_t want_len)
{
    uint32_t id, len;
    assert_true(vring_used(q, &id, &len));
    assert_int_equal(id, want_id);
    assert_int_equal(len, want_len);
}

static void expect_none(struct vring *q)
{
    uint32_t id, len;
    assert_false(vring_used(q, &id, &len));
}

static void expect_failed(const struct card *c)
{
    assert_int_equal(rig_read(c->r, RIG_NET + R_STATUS, 4), 15 | NEEDS_RESET);
    assert_int_equal(rig_read(c->r, RIG_NET + R_ISR, 4) & 2, 2);
}

/* A frame from `from` to `to` with bytes that tell their place. */
static void make_frame(uint8_t *frame, size_t len, const char *to, const char *from)
{
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 7 + i / 256);
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    memcpy(frame + 12, "\x08\x00", 2);
}

#define CARD_MAC "\x52\x54\x00\x01\x02\x03"
#define OTHER_MAC "\x52\x54\x00\x09\x09\x09"
#define BROADCAST "\xff\xff\xff\xff\xff\xff"
#define GROUP "\x01\x00\x5e\x00\x00\x01"

static enum net_taken input(const struct card *c, const uint8_t *frame, size_t len)
{
    struct net_hdr hdr = {0};
    return fake_net_input(&c->r->network, &hdr, frame, len);
}

static enum net_taken input_on(struct fake_net *n, const char *to)
{
    const struct net_hdr hdr = {0};
    uint8_t frame[64];
    make_frame(frame, sizeof frame, to, OTHER_MAC);
    return fake_net_input(n, &hdr, frame, sizeof frame);
}

static enum net_taken input_to(const struct card *c, const char *to)
{
    return input_on(&c->r->network, to);
}

static void send_on(struct card *c, struct vring *q, const struct net_hdr *hdr,
                    const uint8_t *frame, uint32_t len)
{
    struct vbuf bufs[2] = {{TX_BUF, NET_HDR_SIZE, false}, {TX_BUF + 0x100, len, false}};
    addrspace_copy_in(c->r->as, TX_BUF, hdr, NET_HDR_SIZE);
    addrspace_copy_in(c->r->as, TX_BUF + 0x100, frame, len);
    vring_add(q, bufs, 2, 0);
    vring_kick(q);
}

static void send(struct card *c, const struct net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
    send_on(c, &c->tx, hdr, frame, len);
}

/* ---- what it is ---- */

static void identity(void **state)
{
    struct rig *r = *state;
    uint64_t want = CSUM | GUEST_CSUM | MTU | MAC | GUEST_TSO4 | HOST_TSO4 | HOST_TSO6 | MRG |
                    STATUS | ALL_CTRL | MQ;
    assert_int_equal(rig_read(r, RIG_NET + 8, 4), 1);
    assert_int_equal(vdriver_offered(r->as, RIG_NET) & want, want);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(rig_read(r, RIG_NET + 0x100 + i, 1), (uint8_t)CARD_MAC[i]);
    assert_int_equal(rig_read(r, RIG_NET + 0x106, 2), 1); /* the link is up */
    assert_int_equal(rig_read(r, RIG_NET + 0x108, 2), 2); /* pairs of queues */
    assert_int_equal(rig_read(r, RIG_NET + 0x10a, 2), 9000);
}

/* ---- sending ---- */

static void frame_out(void **state)
{
    struct card c = start(*state, 0);
    struct net_hdr hdr = {0};
    uint8_t frame[300];
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    send(&c, &hdr, frame, sizeof frame);
    expect_used(&c.tx, 0, 0);
    assert_int_equal(c.r->network.sent, 1);
    assert_int_equal(c.r->network.out_len, sizeof frame);
    assert_memory_equal(c.r->network.out, frame, sizeof frame);
}

/* Header and frame need not begin with a buffer (section 2.7.4). */
static void any_layout(void **state)
{
    struct card c = start(*state, VD_INDIRECT_DESC);
    uint8_t packet[NET_HDR_SIZE + 300] = {0};
    make_frame(packet + NET_HDR_SIZE, 300, OTHER_MAC, CARD_MAC);
    addrspace_copy_in(c.r->as, TX_BUF, packet, sizeof packet);
    struct vbuf pieces[4] = {{TX_BUF, 5, false},
                             {TX_BUF + 5, 30, false},
                             {TX_BUF + 35, 1, false},
                             {TX_BUF + 36, sizeof packet - 36, false}};
    struct vbuf one = {TX_BUF, sizeof packet, false};
    for (unsigned i = 0; i < 3; i++) {
        memset(c.r->network.out, 0, sizeof packet);
        vring_add(&c.tx, i < 2 ? pieces : &one, i < 2 ? 4 : 1, i == 1 ? TABLE : 0);
        vring_kick(&c.tx);
        assert_int_equal(c.r->network.sent, i + 1);
        assert_int_equal(c.r->network.out_len, 300);
        assert_memory_equal(c.r->network.out, packet + NET_HDR_SIZE, 300);
    }
}

static void waits_for_the_network(void **state)
{
    struct card c = start(*state, 0);
    struct rig *other = rig_new();
    struct net_hdr hdr = {0};
    uint8_t frame[60];
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    c.r->network.busy = true;
    send(&c, &hdr, frame, sizeof frame);
    send(&c, &hdr, frame, sizeof frame);
    expect_none(&c.tx);
    /* So it does after a load, where the back end has to be asked. */
    assert_true(rig_copy(c.r, other));
    assert_true(rig_equal(c.r, other));
    assert_int_equal(other->network.asks, 1);
    fake_net_set_busy(&other->network, false);
    assert_int_equal(other->network.sent, 2);
    fake_net_set_busy(&c.r->network, false);
    expect_used(&c.tx, 0, 0);
    expect_used(&c.tx, 2, 0);
    assert_int_equal(c.r->network.sent, 2);
    assert_true(rig_equal(c.r, other));
    rig_free(other);
}

/* Whether a frame with this header goes out. */
static bool goes_out(struct rig *r, uint64_t features, struct net_hdr hdr)
{
    uint8_t frame[200];
    struct card c = start(r, features);
    unsigned before = r->network.sent;
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    send(&c, &hdr, frame, sizeof frame);
    expect_used(&c.tx, 0, 0);
    assert_int_equal(rig_read(r, RIG_NET + R_STATUS, 4), 15);
    return r->network.sent != before;
}

static void offloads_out(void **state)
{
    struct rig *r = *state;
    struct net_hdr sum = {.flags = 1, .csum_start = 34, .csum_offset = 16};
    struct net_hdr cut = sum;
    cut.gso_type = 1;
    cut.gso_size = 1448;
    assert_true(goes_out(r, CSUM, sum));
    assert_int_equal(r->network.out_hdr.flags, 1);
    assert_int_equal(r->network.out_hdr.csum_start, 34);
    assert_true(goes_out(r, CSUM | HOST_TSO4, cut));
    assert_int_equal(r->network.out_hdr.gso_size, 1448);
    /* Not agreed on. */
    assert_false(goes_out(r, 0, sum));
    assert_false(goes_out(r, CSUM, cut));
    cut.gso_type = 4;
    assert_false(goes_out(r, CSUM | HOST_TSO4, cut));
    assert_true(goes_out(r, CSUM | HOST_TSO6, cut));
    /* Wrong in themselves. */
    struct net_hdr bad = sum;
    bad.csum_start = 190;
    assert_false(goes_out(r, CSUM, bad));
    bad.csum_start = bad.csum_offset = 0xffff;
    assert_false(goes_out(r, CSUM, bad));
    bad = cut;
    bad.gso_size = 0;
    assert_false(goes_out(r, CSUM | HOST_TSO6, bad));
    bad = cut;
    bad.hdr_len = 201;
    assert_false(goes_out(r, CSUM | HOST_TSO6, bad));
    bad = cut;
    bad.gso_type = 77;
    assert_false(goes_out(r, CSUM | HOST_TSO6, bad));
    bad = cut;
    bad.flags = 0;
    assert_false(goes_out(r, CSUM | HOST_TSO6, bad));
    /* This flag is for the other direction. */
    sum.flags = 3;
    assert_true(goes_out(r, CSUM, sum));
    assert_int_equal(r->network.out_hdr.flags, 1);
}

static void lengths_out(void **state)
{
    struct card c = start(*state, 0);
    struct net_hdr hdr = {0};
    static uint8_t frame[NET_FRAME_MAX + 1];
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    send(&c, &hdr, frame, 13);
    assert_int_equal(c.r->network.sent, 0);
    send(&c, &hdr, frame, 14);
    assert_int_equal(c.r->network.sent, 1);
    send(&c, &hdr, frame, NET_FRAME_MAX);
    assert_int_equal(c.r->network.sent, 2);
    send(&c, &hdr, frame, NET_FRAME_MAX + 1);
    assert_int_equal(c.r->network.sent, 2);
    assert_int_equal(rig_read(c.r, RIG_NET + R_STATUS, 4), 15);
}

static void hostile_senders(void **state)
{
    struct rig *r = *state;
    struct card c = start(r, 0);
    struct vbuf header = {TX_BUF, NET_HDR_SIZE - 1, false};
    vring_add(&c.tx, &header, 1, 0);
    vring_kick(&c.tx);
    expect_failed(&c);

    c = start(r, 0);
    struct vbuf writable[2] = {{TX_BUF, 100, false}, {TX_BUF, 100, true}};
    vring_add(&c.tx, writable, 2, 0);
    vring_kick(&c.tx);
    expect_failed(&c);

    /* A table with more pieces than the ring may have. */
    c = start(r, VD_INDIRECT_DESC);
    struct vbuf many[300];
    for (unsigned i = 0; i < 300; i++)
        many[i] = (struct vbuf){TX_BUF, 20, false};
    vring_add(&c.tx, many, 300, TABLE);
    vring_kick(&c.tx);
    expect_failed(&c);
    assert_int_equal(r->network.sent, 0);
}

/* ---- receiving ---- */

static void frame_in(void **state)
{
    struct card c = start(*state, 0);
    uint8_t frame[100], got[NET_HDR_SIZE + 100];
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    assert_int_equal(input(&c, frame, sizeof frame), NET_LATER);
    struct vbuf bufs[2] = {{RX_BUF, 50, true}, {RX_BUF + 50, 1000, true}};
    unsigned accepts = c.r->network.accepts;
    vring_add(&c.rx, bufs, 2, 0);
    vring_kick(&c.rx);
    assert_int_equal(c.r->network.accepts, accepts + 1);
    assert_int_equal(input(&c, frame, sizeof frame), NET_TAKEN);
    expect_used(&c.rx, 0, sizeof got);
    assert_int_equal(rig_read(c.r, RIG_NET + R_ISR, 4), 1);
    addrspace_copy_out(c.r->as, RX_BUF, got, sizeof got);
    assert_int_equal(le16_get(got + 10), 1);
    assert_memory_equal(got + NET_HDR_SIZE, frame, sizeof frame);
    assert_int_equal(input(&c, frame, sizeof frame), NET_LATER);
}

static void nobody_listens(void **state)
{
    struct rig *r = *state;
    struct card c = {.r = r};
    assert_int_equal(input_to(&c, CARD_MAC), NET_DROPPED);
    c = start(r, 0);
    assert_int_equal(input_to(&c, CARD_MAC), NET_LATER);
}

/* All that belong to a frame come back, together, or none. */
static void merged_buffers(void **state)
{
    struct card c = start(*state, MRG);
    uint8_t frame[250], got[NET_HDR_SIZE + 250];
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    struct vbuf bufs[3] = {
        {RX_BUF, 100, true}, {RX_BUF + 100, 100, true}, {RX_BUF + 200, 99, true}};
    vring_add(&c.rx, bufs, 1, 0);
    vring_add(&c.rx, bufs + 1, 1, 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_LATER);
    expect_none(&c.rx);
    vring_add(&c.rx, bufs + 2, 1, 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_TAKEN);
    expect_used(&c.rx, 0, 100);
    expect_used(&c.rx, 1, 100);
    expect_used(&c.rx, 2, sizeof got - 200);
    addrspace_copy_out(c.r->as, RX_BUF, got, sizeof got);
    assert_int_equal(le16_get(got + 10), 3);
    assert_memory_equal(got + NET_HDR_SIZE, frame, sizeof frame);
    /* A frame that fits into one says so. */
    vring_add(&c.rx, bufs, 1, 0);
    assert_int_equal(input(&c, frame, 88), NET_TAKEN);
    expect_used(&c.rx, 3, 100);
    assert_int_equal(rig_read(c.r, RX_BUF + 10, 2), 1);
}

/* The number of buffers may lie across two pieces of memory. */
static void split_header(void **state)
{
    struct card c = start(*state, MRG);
    uint8_t frame[60];
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    struct vbuf bufs[3] = {
        {RX_BUF, 11, true}, {RX_BUF + 0x100, 1, true}, {RX_BUF + 0x200, 60, true}};
    rig_write(c.r, RX_BUF + 0x100, 1, 0xaa);
    vring_add(&c.rx, bufs, 3, 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_TAKEN);
    assert_int_equal(rig_read(c.r, RX_BUF + 10, 1), 1);
    assert_int_equal(rig_read(c.r, RX_BUF + 0x100, 1), 0);
    assert_int_equal(rig_read(c.r, RX_BUF + 0x200, 1), 0x52);
}

static void frames_that_never_fit(void **state)
{
    struct rig *r = *state;
    uint8_t frame[3000];
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    struct vbuf b = {RX_BUF, 200, true};
    struct card c = start(r, 0);
    vring_add(&c.rx, &b, 1, 0);
    assert_int_equal(input(&c, frame, 189), NET_DROPPED);
    expect_none(&c.rx);
    assert_int_equal(input(&c, frame, 188), NET_TAKEN);
    expect_used(&c.rx, 0, 200);

    c = start(r, MRG);
    for (unsigned i = 0; i < 8; i++)
        vring_add(&c.rx, &b, 1, 0);
    assert_int_equal(input(&c, frame, 1589), NET_DROPPED);
    expect_none(&c.rx);
    assert_int_equal(input(&c, frame, 1588), NET_TAKEN);
    for (unsigned i = 0; i < 8; i++)
        expect_used(&c.rx, i, 200);
}

static void hostile_receivers(void **state)
{
    struct rig *r = *state;
    static const struct vbuf bad[][2] = {
        {{RX_BUF, 11, true}, {0}},                       /* no place for the header */
        {{RX_BUF, 100, false}, {RX_BUF, 100, true}},     /* something to read */
        {{RIG_RAM + RIG_RAM_SIZE - 50, 100, true}, {0}}, /* beyond memory */
        {{UINT64_MAX - 5, 100, true}, {0}},              /* around the end */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct card c = start(r, MRG);
        vring_add(&c.rx, bad[i], bad[i][1].len ? 2 : 1, 0);
        assert_int_equal(input_to(&c, CARD_MAC), NET_DROPPED);
        expect_failed(&c);
        assert_int_equal(input_to(&c, CARD_MAC), NET_DROPPED);
    }
    /* The second of two has no byte to write to. */
    struct card c = start(r, MRG);
    struct vbuf good = {RX_BUF, 20, true}, empty = {RX_BUF, 0, true};
    vring_add(&c.rx, &good, 1, 0);
    vring_add(&c.rx, &empty, 1, 0);
    assert_int_equal(input_to(&c, CARD_MAC), NET_DROPPED);
    expect_failed(&c);
    expect_none(&c.rx);
}

static void offloads_in(void **state)
{
    struct rig *r = *state;
    uint8_t frame[200];
    struct net_hdr hdr = {.flags = 1, .csum_start = 34, .csum_offset = 16};
    struct vbuf b = {RX_BUF, 1000, true};
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    struct card c = start(r, 0);
    vring_add(&c.rx, &b, 1, 0);
    vring_kick(&c.rx);
    assert_int_equal(r->network.offloads, 0);
    assert_int_equal(fake_net_input(&r->network, &hdr, frame, sizeof frame), NET_DROPPED);
    c = start(r, GUEST_CSUM | GUEST_TSO4);
    vring_add(&c.rx, &b, 1, 0);
    vring_kick(&c.rx);
    assert_int_equal(r->network.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
    assert_int_equal(fake_net_input(&r->network, &hdr, frame, sizeof frame), NET_TAKEN);
    assert_int_equal(rig_read(r, RX_BUF, 1), 1);
    assert_int_equal(rig_read(r, RX_BUF + 6, 2), 34);
}

/* ---- control queue ---- */

/* Gives a command of len bytes; its answer. */
static unsigned command(struct card *c, const void *data, uint32_t len)
{
    struct vbuf bufs[2] = {{CTRL_BUF, len, false}, {CTRL_BUF + 0x8000, 1, true}};
    uint32_t id, written;
    addrspace_copy_in(c->r->as, CTRL_BUF, data, len);
    rig_write(c->r, CTRL_BUF + 0x8000, 1, 0xee);
    vring_add(&c->ctrl, bufs, 2, 0);
    vring_kick(&c->ctrl);
    assert_true(vring_used(&c->ctrl, &id, &written));
    assert_int_equal(written, 1);
    return (unsigned)rig_read(c->r, CTRL_BUF + 0x8000, 1);
}

#define COMMAND(c, text) command(c, text, sizeof text - 1)

static struct card start_listening(struct rig *r, uint64_t features)
{
    struct card c = start(r, features);
    struct vbuf b = {RX_BUF, 2000, true};
    for (unsigned i = 0; i < 8; i++)
        vring_add(&c.rx, &b, 1, 0);
    return c;
}

static void expect_passes(const struct card *c, const char *to, bool passes)
{
    assert_int_equal(input_to(c, to), passes ? NET_TAKEN : NET_DROPPED);
}

static void address_filter(void **state)
{
    struct card c = start_listening(*state, ALL_CTRL);
    expect_passes(&c, OTHER_MAC, true); /* it starts promiscuous */
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    expect_passes(&c, OTHER_MAC, false);
    expect_passes(&c, GROUP, false);
    expect_passes(&c, CARD_MAC, true);
    expect_passes(&c, BROADCAST, true);
    /* Tables: one unicast, one multicast address. */
    assert_int_equal(COMMAND(&c, "\1\0\1\0\0\0" OTHER_MAC "\1\0\0\0" GROUP), 0);
    expect_passes(&c, OTHER_MAC, true);
    expect_passes(&c, GROUP, true);
    expect_passes(&c, "\x52\x54\0\0\0\1", false);
    c = start_listening(*state, ALL_CTRL);
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    expect_passes(&c, GROUP, false);            /* a reset has emptied them */
    assert_int_equal(COMMAND(&c, "\0\1\1"), 0); /* all multicast */
    expect_passes(&c, GROUP, true);
    assert_int_equal(COMMAND(&c, "\0\3\1"), 0); /* no multicast wins */
    expect_passes(&c, GROUP, false);
    assert_int_equal(COMMAND(&c, "\0\2\1"), 0); /* all unicast */
    expect_passes(&c, OTHER_MAC, true);
    assert_int_equal(COMMAND(&c, "\0\4\1"), 0); /* no unicast */
    expect_passes(&c, CARD_MAC, false);
    assert_int_equal(COMMAND(&c, "\0\5\1"), 0); /* no broadcast */
    expect_passes(&c, BROADCAST, false);
    assert_int_equal(COMMAND(&c, "\0\5\0"), 0);
    expect_passes(&c, BROADCAST, true);
}

static void filter_that_overflows(void **state)
{
    struct card c = start_listening(*state, ALL_CTRL);
    uint8_t data[2 + 4 + 65 * 6 + 4] = {1, 0, 65};
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    assert_int_equal(command(&c, data, sizeof data), 0);
    expect_passes(&c, OTHER_MAC, true); /* as section 5.1.6.5.2 has it */
    expect_passes(&c, GROUP, false);
    data[2] = 64;
    assert_int_equal(command(&c, data, sizeof data - 6), 0);
    expect_passes(&c, OTHER_MAC, false);
}

static void vlan_filter(void **state)
{
    struct card c = start_listening(*state, ALL_CTRL);
    uint8_t frame[64];
    make_frame(frame, sizeof frame, CARD_MAC, OTHER_MAC);
    memcpy(frame + 12, "\x81\x00\x61\x23", 4); /* priority 3, VLAN 0x123 */
    assert_int_equal(input(&c, frame, sizeof frame), NET_DROPPED);
    assert_int_equal(COMMAND(&c, "\2\0\x23\1"), 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_TAKEN);
    expect_passes(&c, CARD_MAC, true); /* untagged */
    assert_int_equal(COMMAND(&c, "\2\1\x23\1"), 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_DROPPED);
    assert_int_equal(COMMAND(&c, "\2\0\0\x10"), 1); /* 4096 */
    assert_int_equal(COMMAND(&c, "\2\2\x23\1"), 1);
    c = start_listening(*state, 0);
    assert_int_equal(input(&c, frame, sizeof frame), NET_TAKEN);
}

static void other_commands(void **state)
{
    struct rig *r = *state;
    struct card c = start_listening(r, ALL_CTRL | GUEST_CSUM | GUEST_TSO4);
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    assert_int_equal(COMMAND(&c, "\1\1" OTHER_MAC), 0);
    assert_int_equal(rig_read(r, RIG_NET + 0x105, 1), 9);
    expect_passes(&c, OTHER_MAC, true);
    expect_passes(&c, CARD_MAC, false);
    assert_int_equal(r->network.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
    assert_int_equal(COMMAND(&c, "\5\0\2\0\0\0\0\0\0\0"), 0);
    assert_int_equal(r->network.offloads, NET_OFFLOAD_CSUM);
    assert_int_equal(COMMAND(&c, "\5\0\2\1\0\0\0\0\0\0"), 1); /* GUEST_TSO6 was not agreed on */
    assert_int_equal(COMMAND(&c, "\5\0\0\0\0\0\0\0\0\0"), 0);
    assert_int_equal(r->network.offloads, 0);
    /* A reset gives the address back. */
    c = start(r, 0);
    assert_int_equal(rig_read(r, RIG_NET + 0x105, 1), 3);
}

static void commands_that_are_refused(void **state)
{
    struct rig *r = *state;
    struct card c = start(r, ALL_CTRL);
    assert_int_equal(COMMAND(&c, "\0"), 1);
    assert_int_equal(COMMAND(&c, "\0\0"), 1);
    assert_int_equal(COMMAND(&c, "\0\6\1"), 1);
    assert_int_equal(COMMAND(&c, "\1\0\1\0\0\0"), 1);
    assert_int_equal(COMMAND(&c, "\1\0\xff\xff\xff\xff\0\0\0\0"), 1);
    assert_int_equal(COMMAND(&c, "\1\0\0\0\0\0\1\0\0\0\1\2\3"), 1);
    assert_int_equal(COMMAND(&c, "\1\1\1\2\3"), 1);
    assert_int_equal(COMMAND(&c, "\1\2"), 1);
    assert_int_equal(COMMAND(&c, "\2\0\1"), 1);
    assert_int_equal(COMMAND(&c, "\3\1"), 1);
    assert_int_equal(COMMAND(&c, "\4\0\1\0"), 1); /* one pair of queues */
    assert_int_equal(COMMAND(&c, "\5\0\1"), 1);
    assert_int_equal(COMMAND(&c, "\x2a\0\0"), 1);
    c = start(r, CTRL); /* nothing of it agreed on */
    assert_int_equal(COMMAND(&c, "\0\0\0"), 1);
    assert_int_equal(COMMAND(&c, "\0\3\0"), 1);
    assert_int_equal(COMMAND(&c, "\1\1" OTHER_MAC), 1);
    assert_int_equal(COMMAND(&c, "\2\0\1\0"), 1);
    assert_int_equal(COMMAND(&c, "\3\0"), 1);
    assert_int_equal(COMMAND(&c, "\5\0\0\0\0\0\0\0\0\0"), 1);
    /* No place for the answer. */
    struct vbuf b = {CTRL_BUF, 3, false};
    vring_add(&c.ctrl, &b, 1, 0);
    vring_kick(&c.ctrl);
    expect_failed(&c);
}

/* ---- link ---- */

static unsigned link_status(struct rig *r)
{
    return (unsigned)rig_read(r, RIG_NET + 0x106, 2);
}

static void expect_config_interrupt(struct rig *r)
{
    assert_int_equal(rig_read(r, RIG_NET + R_ISR, 4) & 2, 2);
    rig_write(r, RIG_NET + R_ACK, 4, 3);
}

static void link_changes(void **state)
{
    struct rig *r = *state;
    struct card c = start_listening(r, STATUS);
    struct net_hdr hdr = {0};
    uint8_t frame[60];
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    virtio_net_set_link(r->net, false);
    assert_int_equal(link_status(r), 0);
    expect_config_interrupt(r);
    expect_passes(&c, CARD_MAC, false);
    send(&c, &hdr, frame, sizeof frame);
    expect_used(&c.tx, 0, 0);
    assert_int_equal(r->network.sent, 0);
    fake_net_set_carrier(&r->network, false);
    virtio_net_set_link(r->net, true);
    assert_int_equal(link_status(r), 0); /* there is still nobody */
    assert_int_equal(rig_read(r, RIG_NET + R_ISR, 4) & 2, 0);
    fake_net_set_carrier(&r->network, true);
    assert_int_equal(link_status(r), 1);
    expect_config_interrupt(r);
    expect_passes(&c, CARD_MAC, true);
    send(&c, &hdr, frame, sizeof frame);
    assert_int_equal(r->network.sent, 1);
}

static void announcement(void **state)
{
    struct rig *r = *state;
    struct card c = start(r, ALL_CTRL);
    virtio_net_announce(r->net);
    assert_int_equal(link_status(r), 3);
    expect_config_interrupt(r);
    assert_int_equal(COMMAND(&c, "\3\0"), 0);
    assert_int_equal(link_status(r), 1);
    start(r, 0);
    virtio_net_announce(r->net); /* a driver that does not know of it */
    assert_int_equal(link_status(r), 1);
}

/* ---- saved state ---- */

static void state_survives(void **state)
{
    struct rig *r = *state;
    struct rig *other = rig_new();
    struct card c = start_listening(r, ALL_CTRL | GUEST_CSUM | STATUS);
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    assert_int_equal(COMMAND(&c, "\1\1" OTHER_MAC), 0);
    assert_int_equal(COMMAND(&c, "\1\0\0\0\0\0\1\0\0\0" GROUP), 0);
    assert_int_equal(COMMAND(&c, "\2\0\x23\1"), 0);
    assert_int_equal(COMMAND(&c, "\5\0\0\0\0\0\0\0\0\0"), 0);
    /* Where it is loaded there is nobody at the other end: the driver is told. */
    other->network.no_carrier = true;
    r->network.no_carrier = true;
    assert_true(rig_copy(r, other));
    assert_int_equal(link_status(r), 1);
    assert_int_equal(link_status(other), 0);
    expect_config_interrupt(other);
    fake_net_set_carrier(&other->network, true);
    assert_int_equal(rig_read(other, RIG_NET + 0x105, 1), 9);
    assert_int_equal(other->network.offloads, 0);
    c.r = other;
    expect_passes(&c, OTHER_MAC, true);
    expect_passes(&c, CARD_MAC, false);
    expect_passes(&c, GROUP, true);
    rig_free(other);
}

/* When the driver is asked to tell of new buffers is what it sees: a load changes nothing of it. */
static void asks_for_buffers_as_before(void **state)
{
    struct rig *r = *state;
    struct rig *other = rig_new();
    struct card c = start(r, VD_EVENT_IDX);
    struct vbuf b = {RX_BUF, 200, true};
    for (unsigned i = 0; i < 4; i++)
        vring_add(&c.rx, &b, 1, 0);
    expect_passes(&c, CARD_MAC, true);
    assert_true(rig_copy(r, other));
    struct card o = c;
    o.r = other;
    o.rx.as = other->as;
    vring_add(&c.rx, &b, 1, 0);
    vring_add(&o.rx, &b, 1, 0);
    for (unsigned i = 0; i < 4; i++) {
        expect_passes(&c, CARD_MAC, true);
        expect_passes(&o, CARD_MAC, true);
        assert_true(rig_equal(r, other));
    }
    rig_free(other);
}

/* ---- several queues (section 5.1.6.5.5) ---- */

static void send_one(struct card *c, struct vring *q)
{
    const struct net_hdr hdr = {0};
    uint8_t frame[64];
    make_frame(frame, sizeof frame, OTHER_MAC, CARD_MAC);
    send_on(c, q, &hdr, frame, sizeof frame);
}

static void second_pair(void **state)
{
    struct rig *r = *state;
    struct card c = start(r, MQ | ALL_CTRL);
    struct vbuf buffer = {RX_BUF, 1000, true};
    assert_int_equal(r->network.active, 1);
    vring_add(&c.rx2, &buffer, 1, 0);
    vring_kick(&c.rx2);
    send_one(&c, &c.tx2);
    assert_int_equal(r->network2.sent, 0);
    assert_int_equal(input_on(&r->network2, CARD_MAC), NET_DROPPED);
    expect_none(&c.tx2);

    /* What was asked for before is served now. */
    unsigned accepts = r->network2.accepts;
    assert_int_equal(COMMAND(&c, "\4\0\2\0"), 0);
    assert_int_equal(r->network.active, 2);
    assert_int_equal(r->network2.sent, 1);
    assert_true(r->network2.accepts > accepts);
    expect_used(&c.tx2, 0, 0);
    assert_int_equal(input_on(&r->network2, CARD_MAC), NET_TAKEN);
    expect_used(&c.rx2, 0, NET_HDR_SIZE + 64);
    assert_int_equal(input_on(&r->network2, CARD_MAC), NET_LATER);
    assert_int_equal(input_on(&r->network, CARD_MAC), NET_LATER);
    send_one(&c, &c.tx);
    assert_int_equal(r->network.sent, 1);

    /* Filters are the card's. */
    assert_int_equal(COMMAND(&c, "\0\0\0"), 0);
    assert_int_equal(input_on(&r->network2, OTHER_MAC), NET_DROPPED);

    assert_int_equal(COMMAND(&c, "\4\0\1\0"), 0);
    assert_int_equal(r->network.active, 1);
    assert_int_equal(input_on(&r->network2, CARD_MAC), NET_DROPPED);
    start(r, 0);
    assert_int_equal(r->network.active, 1);
}

static void pairs_that_are_refused(void **state)
{
    struct card c = start(*state, MQ | ALL_CTRL);
    assert_int_equal(COMMAND(&c, "\4\0\0\0"), 1);
    assert_int_equal(COMMAND(&c, "\4\0\3\0"), 1);
    assert_int_equal(COMMAND(&c, "\4\0\2"), 1);
    assert_int_equal(COMMAND(&c, "\4\1\2\0"), 1);
    assert_int_equal(c.r->network.active, 1);
    c = start(*state, ALL_CTRL);
    assert_int_equal(COMMAND(&c, "\4\0\2\0"), 1);
}

/* A queue that waits for its back end does so after a load, too, and only that one. */
static void pairs_survive(void **state)
{
    struct card c = start(*state, MQ | ALL_CTRL);
    struct rig *other = rig_new();
    assert_int_equal(COMMAND(&c, "\4\0\2\0"), 0);
    c.r->network2.busy = true;
    send_one(&c, &c.tx2);
    send_one(&c, &c.tx);
    assert_true(rig_copy(c.r, other));
    assert_true(rig_equal(c.r, other));
    assert_int_equal(other->network.active, 2);
    assert_int_equal(other->network.asks, 0);
    assert_int_equal(other->network2.asks, 1);
    fake_net_set_busy(&other->network2, false);
    fake_net_set_busy(&c.r->network2, false);
    assert_int_equal(other->network2.sent, 1);
    assert_true(rig_equal(c.r, other));
    rig_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(identity),
        rig_unit_test(frame_out),
        rig_unit_test(any_layout),
        rig_unit_test(waits_for_the_network),
        rig_unit_test(offloads_out),
        rig_unit_test(lengths_out),
        rig_unit_test(hostile_senders),
        rig_unit_test(frame_in),
        rig_unit_test(nobody_listens),
        rig_unit_test(merged_buffers),
        rig_unit_test(split_header),
        rig_unit_test(frames_that_never_fit),
        rig_unit_test(hostile_receivers),
        rig_unit_test(offloads_in),
        rig_unit_test(address_filter),
        rig_unit_test(filter_that_overflows),
        rig_unit_test(vlan_filter),
        rig_unit_test(other_commands),
        rig_unit_test(commands_that_are_refused),
        rig_unit_test(link_changes),
        rig_unit_test(announcement),
        rig_unit_test(state_survives),
        rig_unit_test(asks_for_buffers_as_before),
        rig_unit_test(second_pair),
        rig_unit_test(pairs_that_are_refused),
        rig_unit_test(pairs_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
