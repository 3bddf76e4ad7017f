#include "vrig.h"
#include "rig_devices.h"

#include "base/bits.h"
#include "base/loop.h"
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES 8u /* room for so many of each device */
#define QUEUE_SIZE 8u
#define RING(n, q) (VRIG_RAM + 0x1000 * (QUEUES * (n) + (q)))
#define TABLES (VRIG_RAM + 0x40000)
#define BUFFERS (VRIG_RAM + 0x50000)
#define BUFFERS_SIZE 0x10000u

enum { R_FEATURES = 0x20, R_FEATURES_SEL = 0x24, R_QUEUE_SEL = 0x30, R_QUEUE_NUM = 0x38 };
enum { R_QUEUE_READY = 0x44, R_NOTIFY = 0x50, R_STATUS = 0x70, R_DESC = 0x80 };
#define COMMON_FEATURES UINT64_C(0x130000000)

/* ---- the host's sockets ---- */

struct vsock_stream {
    struct fake_vsock *v;
    bool open, broken;
    void *owner;
    unsigned wait;
    uint32_t has, room; /* bytes to be read, and that can be written */
};

static struct vsock *fake_vsock(struct fake_vsock *v)
{
    return (struct vsock *)(void *)v;
}

static struct fake_vsock *fake_of(struct vsock *v)
{
    return (struct fake_vsock *)(void *)v;
}

static struct vsock_stream *stream_open(struct fake_vsock *v)
{
    for (unsigned i = 0; i < VRIG_STREAMS; i++)
        if (!v->stream[i].open) {
            v->stream[i] = (struct vsock_stream){.v = v, .open = true};
            return &v->stream[i];
        }
    return NULL;
}

uint64_t vsock_cid(const struct vsock *v)
{
    (void)v;
    return VSOCK_CID_DEFAULT;
}

void vsock_set_device(struct vsock *v, const struct vsock_ops *ops, void *ctx)
{
    fake_of(v)->ops = ops;
    fake_of(v)->ctx = ctx;
}

struct vsock_stream *vsock_connect(struct vsock *v, uint32_t port)
{
    return port == 1 ? stream_open(fake_of(v)) : NULL;
}

void vsock_accepted(struct vsock_stream *s)
{
    s->v->digest += 1000003;
}

void vsock_close(struct vsock_stream *s)
{
    s->open = false;
}

void vsock_set_owner(struct vsock_stream *s, void *owner)
{
    s->owner = owner;
}

void vsock_wait(struct vsock_stream *s, unsigned events)
{
    s->wait = events;
}

void vsock_end_write(struct vsock_stream *s)
{
    s->v->digest += 7;
}

/* Broken ones end when they have nothing more. */
ssize_t vsock_read(struct vsock_stream *s, void *to, size_t len)
{
    size_t n = len < s->has ? len : s->has;
    if (!n)
        return s->broken ? 0 : -EAGAIN;
    memset(to, (int)n, n);
    s->has -= (uint32_t)n;
    return (ssize_t)n;
}

ssize_t vsock_write(struct vsock_stream *s, const void *data, size_t len)
{
    size_t n = len < s->room ? len : s->room;
    if (!n)
        return s->broken ? -EPIPE : -EAGAIN;
    for (size_t i = 0; i < n; i++)
        s->v->digest = s->v->digest * 31 + ((const uint8_t *)data)[i] + 1;
    s->room -= (uint32_t)n;
    return (ssize_t)n;
}

/* ---- the machine ---- */

static void make(struct vrig *r, unsigned n, struct device *dev)
{
    if (!dev || addrspace_add_mmio(r->as, VRIG_REGS(n), VIRTIO_MMIO_SIZE, &virtio_mmio, dev, NULL))
        abort();
    r->all[n] = dev;
}

static void make_ports(struct vrig *r)
{
    static const char *const names[VRIG_NAMED] = {"org.qemu.guest_agent.0", "second"};
    struct virtio_console_port named[VRIG_NAMED];
    for (unsigned i = 0; i < VRIG_NAMED; i++)
        named[i] = (struct virtio_console_port){names[i], fake_chr(&r->port[i + 1])};
    for (unsigned i = 0; i <= VRIG_NAMED; i++) {
        r->port[i].room = SIZE_MAX;
        r->port[i].away = i == 1;
    }
    make(r, VRIG_PORTS,
         virtio_console_new(r->as, line_to(&r->irq[VRIG_PORTS]), "ports0", fake_chr(&r->port[0]),
                            named, VRIG_NAMED, NULL));
}

struct vrig *vrig_new(void)
{
    struct vrig *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->as = addrspace_new(NULL);
    if (!r->as || addrspace_add_ram(r->as, VRIG_RAM, VRIG_RAM_SIZE, NULL))
        abort();
    make(r, VRIG_BALLOON,
         virtio_balloon_new(r->as, line_to(&r->irq[VRIG_BALLOON]), "balloon0", 0x3000, NULL));
    make(r, VRIG_DISK,
         virtio_blk_new(r->as, line_to(&r->irq[VRIG_DISK]), "disk0", fake_block(&r->disk), NULL, 3,
                        true, NULL));
    r->loop = loop_new(NULL);
    r->vsock.stream = calloc(VRIG_STREAMS, sizeof *r->vsock.stream);
    if (!r->loop || !r->vsock.stream)
        abort();
    make(r, VRIG_VSOCK,
         virtio_vsock_new(r->as, line_to(&r->irq[VRIG_VSOCK]), "vsock0", fake_vsock(&r->vsock),
                          r->loop, NULL));
    make_ports(r);
    for (unsigned i = 0; r->all[i]; i++)
        device_reset(r->all[i]);
    return r;
}

void vrig_free(struct vrig *r)
{
    addrspace_free(r->as);
    for (unsigned i = 0; r->all[i]; i++)
        device_free(r->all[i]);
    loop_free(r->loop);
    free(r->vsock.stream);
    free(r);
}

/*
 * Those of a machine that goes on elsewhere are lost; so that both do the same, a's are, too. They
 * end when the loop runs: their streams could not be opened again before.
 */
static bool lose_connections(struct vrig *a)
{
    struct device *only[] = {a->all[VRIG_VSOCK], NULL};
    struct state_out out = {0};
    device_save(only[0], &out);
    struct state_in in = {.data = out.data, .len = out.len};
    bool ok = !out.failed && !device_load(only[0], &in, NULL);
    state_out_free(&out);
    return ok;
}

bool vrig_copy(struct vrig *a, struct vrig *b)
{
    struct state_out out = {0};
    rig_devices_save(a->as, a->all, &out);
    b->disk = a->disk;
    b->vsock.digest = a->vsock.digest;
    for (unsigned i = 0; i <= VRIG_NAMED; i++) {
        fake_chr_copy(&b->port[i], &a->port[i]);
        fake_chr_set_peer(&b->port[i], !a->port[i].away);
    }
    struct state_in in = {.data = out.data, .len = out.len};
    bool ok = !out.failed && rig_devices_load(b->as, b->all, &in);
    state_out_free(&out);
    if (!ok || !lose_connections(a))
        return false;
    loop_run_once(a->loop, 0);
    loop_run_once(b->loop, 0);
    return true;
}

bool vrig_equal(struct vrig *a, struct vrig *b)
{
    if (!rig_devices_equal(a->as, a->all, b->as, b->all))
        return false;
    if (memcmp(a->disk.data, b->disk.data, sizeof a->disk.data)) {
        fprintf(stderr, "the disk differs\n");
        return false;
    }
    for (unsigned i = 0; i <= VRIG_NAMED; i++)
        if (a->port[i].out_len != b->port[i].out_len || a->port[i].deaf != b->port[i].deaf ||
            memcmp(a->port[i].out, b->port[i].out, a->port[i].out_len)) {
            fprintf(stderr, "port %u differs\n", i);
            return false;
        }
    return !memcmp(a->irq, b->irq, sizeof a->irq);
}

/* ---- traffic ---- */

static void put(struct vrig *r, gpa_t gpa, unsigned size, uint64_t value)
{
    if (!addrspace_write(r->as, gpa, size, value))
        abort();
}

static uint64_t get(struct vrig *r, gpa_t gpa, unsigned size)
{
    uint64_t value;
    if (!addrspace_read(r->as, gpa, size, &value))
        abort();
    return value;
}

/* Page numbers, of which some are those of rings; statistics. */
static void fill_balloon(struct vrig *r, unsigned queue, gpa_t at, uint64_t len, uint64_t *random)
{
    uint8_t *p = addrspace_ram(r->as, at, len);
    if (queue == 2)
        for (uint64_t i = 0; i + 10 <= len; i += 10)
            le16_put(p + i, (uint16_t)rig_pick(random, 20));
    else
        for (uint64_t i = 0; i + 4 <= len; i += 4)
            le32_put(p + i,
                     (uint32_t)(rig_pick(random, 20) ? (VRIG_RAM >> 12) + rig_pick(random, 300)
                                                     : rig_pick_value(random)));
}

static uint64_t touch_balloon(struct vrig *r, uint64_t *random)
{
    struct virtio_balloon_stats s;
    if (rig_pick(random, 2))
        virtio_balloon_ask(r->all[VRIG_BALLOON]);
    else
        virtio_balloon_set_target(r->all[VRIG_BALLOON], rig_pick_value(random));
    virtio_balloon_stats(r->all[VRIG_BALLOON], &s);
    return s.updates ^ s.known ^ s.target ^ s.actual ^ s.values[3];
}

/* Requests, most of them right. */
static void fill_disk(struct vrig *r, unsigned queue, gpa_t at, uint64_t len, uint64_t *random)
{
    uint8_t header[16] = {(uint8_t)rig_pick(random, rig_pick(random, 3) ? 2 : 14)};
    (void)queue;
    header[8] = (uint8_t)rig_pick(random, 130);
    addrspace_copy_in(r->as, at, header, len < sizeof header ? len : sizeof header);
}

static uint64_t touch_disk(struct vrig *r, uint64_t *random)
{
    r->disk.fail = rig_pick(random, 8) ? 0 : 5;
    return r->disk.flushes;
}

/* Headers of packets, most of them right, between few ports. */
static void fill_vsock(struct vrig *r, unsigned queue, gpa_t at, uint64_t len, uint64_t *random)
{
    static const uint8_t ops[] = {1, 1, 1, 5, 5, 5, 5, 2, 2, 3, 4, 6, 7, 8};
    uint8_t header[44] = {0};
    (void)queue;
    le64_put(header, rig_pick(random, 30) ? VSOCK_CID_DEFAULT : rig_pick_value(random));
    le64_put(header + 8, rig_pick(random, 30) ? 2 : rig_pick_value(random));
    le32_put(header + 16, 1000 + (uint32_t)rig_pick(random, 3));
    le32_put(header + 20, 1 + (uint32_t)rig_pick(random, 2));
    le32_put(header + 24,
             (uint32_t)(rig_pick(random, 40) ? rig_pick(random, len + 1) : rig_pick_value(random)) /
                 2);
    le16_put(header + 28, rig_pick(random, 30) ? 1 : (uint16_t)rig_pick(random, 4));
    le16_put(header + 30, ops[rig_pick(random, sizeof ops)]);
    le32_put(header + 32, (uint32_t)rig_pick(random, 5));
    le32_put(header + 36, (uint32_t)(rig_pick(random, 3) ? 4096 : rig_pick_value(random)));
    le32_put(header + 40, (uint32_t)(rig_pick(random, 3) ? 0 : rig_pick_value(random)));
    addrspace_copy_in(r->as, at, header, len < sizeof header ? len : sizeof header);
}

static uint64_t touch_vsock(struct vrig *r, uint64_t *random)
{
    struct fake_vsock *v = &r->vsock;
    uint32_t port = (uint32_t)rig_pick(random, 3);
    struct vsock_stream *s = &v->stream[rig_pick(random, VRIG_STREAMS)];
    if (rig_pick(random, 3)) {
        s->has += (uint32_t)rig_pick(random, 5000);
        s->room = (uint32_t)rig_pick(random, 3000);
        s->broken |= !rig_pick(random, 20);
        if (s->open && s->wait)
            v->ops->ready(v->ctx, s, s->owner);
    } else if ((s = stream_open(v)) && !v->ops->wanted(v->ctx, s, 1000 + port, 2)) {
        vsock_close(s);
    }
    return v->digest;
}

/* Messages of the driver's, most of them about ports that are there; buffers are longer. */
static void fill_ports(struct vrig *r, unsigned queue, gpa_t at, uint64_t len, uint64_t *random)
{
    static const uint16_t events[] = {0, 3, 3, 3, 6, 6, 6, 6, 1, 9};
    uint8_t m[8];
    (void)queue;
    le32_put(m, (uint32_t)(rig_pick(random, 20) ? rig_pick(random, 4) : rig_pick_value(random)));
    le16_put(m + 4, events[rig_pick(random, ARRAY_SIZE(events))]);
    le16_put(m + 6, rig_pick(random, 4) != 0);
    addrspace_copy_in(r->as, at, m, len < sizeof m ? len : sizeof m);
}

static uint64_t touch_ports(struct vrig *r, uint64_t *random)
{
    struct fake_chr *c = &r->port[rig_pick(random, 1 + VRIG_NAMED)];
    uint64_t data[4] = {rig_random(random), 1, 2, 3};
    switch (rig_pick(random, 6)) {
    case 0:
        c->room = 0;
        return c->deaf;
    case 1:
        fake_chr_give_room(c, rig_pick(random, 2) ? SIZE_MAX : rig_pick(random, 30));
        return c->out_len;
    case 2:
    case 3:
        fake_chr_set_peer(c, c->away);
        return c->away;
    default:
        return fake_chr_input(c, data, 1 + rig_pick(random, 32));
    }
}

static const struct {
    unsigned queues;
    uint64_t features;
    uint8_t in, out; /* queues whose buffers are mostly for the device to write, or to read */
    void (*fill)(struct vrig *r, unsigned queue, gpa_t at, uint64_t len, uint64_t *random);
    uint64_t (*touch)(struct vrig *r, uint64_t *random); /* what the host does */
} kinds[VRIG_DEVICES] = {
    [VRIG_BALLOON] = {5, 0x36, 0, 0, fill_balloon, touch_balloon},
    [VRIG_DISK] = {3, 0x7646, 0, 0, fill_disk, touch_disk},
    [VRIG_VSOCK] = {3, 0x1, 5, 2, fill_vsock, touch_vsock},
    [VRIG_PORTS] = {8, 0x6, 0x55, 0xaa, fill_ports, touch_ports},
};

static void start_queue(struct vrig *r, unsigned n, unsigned q, uint64_t *random)
{
    gpa_t at = RING(n, q), regs = VRIG_REGS(n);
    put(r, regs + R_QUEUE_SEL, 4, q);
    put(r, regs + R_QUEUE_NUM, 4, rig_pick(random, 40) ? QUEUE_SIZE : rig_pick_value(random));
    for (unsigned part = 0; part < 3; part++) {
        put(r, regs + R_DESC + 16 * part, 4, at + 0x400 * part);
        put(r, regs + R_DESC + 16 * part + 4, 4, 0);
    }
    put(r, regs + R_QUEUE_READY, 4, 1);
    put(r, at + 0x400, 4, 0);
}

static uint64_t step_start(struct vrig *r, unsigned n, uint64_t *random)
{
    gpa_t regs = VRIG_REGS(n);
    uint64_t features = kinds[n].features | COMMON_FEATURES;
    if (!rig_pick(random, 3))
        features &= rig_random(random) | UINT64_C(1) << 32;
    put(r, regs + R_STATUS, 4, 0);
    put(r, regs + R_STATUS, 4, 3);
    for (unsigned i = 0; i < 2; i++) {
        put(r, regs + R_FEATURES_SEL, 4, i);
        put(r, regs + R_FEATURES, 4, (uint32_t)(features >> 32 * i));
    }
    put(r, regs + R_STATUS, 4, 11);
    for (unsigned q = 0; q < kinds[n].queues; q++)
        start_queue(r, n, q, random);
    put(r, regs + R_STATUS, 4, 15);
    return get(r, regs + R_STATUS, 4);
}

/* A chain of up to three buffers, the first of which are readable. */
static void put_chain(struct vrig *r, unsigned n, unsigned q, gpa_t table, uint64_t *random)
{
    unsigned count = 1 + (unsigned)rig_pick(random, 3);
    unsigned readable = (unsigned)rig_pick(random, count + 1);
    bool in = kinds[n].in >> q & 1,
         directed = (in || kinds[n].out >> q & 1) && rig_pick(random, 40);
    if (directed)
        readable = in ? 0 : count;
    for (unsigned i = 0; i < count; i++) {
        uint64_t len = rig_pick(random, rig_pick(random, 8) ? 128 : 0x2000);
        len += directed ? 64 : 0;
        gpa_t at = BUFFERS + align_down(rig_pick(random, BUFFERS_SIZE - 0x2100), 4);
        kinds[n].fill(r, q, at, len, random);
        rig_put_desc(r->as, table + 16 * i, rig_pick(random, 40) ? at : rig_pick_value(random),
                     rig_pick(random, 60) ? len : rig_pick_value(random),
                     (i >= readable ? 2u : 0) | (i + 1 < count), i + 1);
    }
}

static uint64_t step_request(struct vrig *r, unsigned n, uint64_t *random)
{
    unsigned q = (unsigned)rig_pick(random, kinds[n].queues);
    gpa_t at = RING(n, q);
    unsigned head = 4 * (unsigned)rig_pick(random, 2);
    bool direct = rig_pick(random, 3) && !head;
    if ((kinds[n].in | kinds[n].out) && rig_pick(random, 10)) {
        head = 0;
        direct = true;
    }
    put_chain(r, n, q, direct ? at : TABLES, random);
    if (!direct)
        rig_put_desc(r->as, at + 16 * head, TABLES, 16 * (1 + rig_pick(random, 3)), 4, 0);
    uint64_t idx = get(r, at + 0x402, 2);
    put(r, at + 0x404 + 2 * (idx % QUEUE_SIZE), 2, head);
    put(r, at + 0x402, 2, idx + 1);
    if (rig_pick(random, 4))
        put(r, VRIG_REGS(n) + R_NOTIFY, 4, q);
    return get(r, at + 0x802, 2);
}

static uint64_t step_register(struct vrig *r, unsigned n, uint64_t *random)
{
    unsigned size = rig_pick(random, 3) ? 4 : 1u << rig_pick(random, 4);
    gpa_t gpa = align_down(VRIG_REGS(n) + 4 * rig_pick(random, 0x50), size);
    uint64_t value = 0;
    if (rig_pick(random, 2))
        return addrspace_write(r->as, gpa, size, rig_pick_value(random));
    return addrspace_read(r->as, gpa, size, &value) + 2 * value;
}

uint64_t vrig_step(struct vrig *r, uint64_t *random)
{
    unsigned n = (unsigned)rig_pick(random, VRIG_DEVICES);
    uint64_t seen = 0;
    switch (rig_pick(random, 16)) {
    case 0:
        seen = step_start(r, n, random);
        break;
    case 1:
    case 2:
        seen = step_register(r, n, random);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        seen = kinds[n].touch(r, random);
        break;
    default:
        seen = step_request(r, n, random);
        break;
    }
    loop_run_once(r->loop, 0);
    for (unsigned i = 0; i < VRIG_DEVICES; i++)
        seen = seen << 1 ^ r->irq[i];
    return seen;
}
