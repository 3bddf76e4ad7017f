/*
 * A hostile virtio driver: the input negotiates, lays out rings, writes descriptors, indices and
 * raw bytes into guest memory, and touches registers, in any order. The devices stay inside guest
 * memory and the disk (the fakes and the address sanitizer see to it), end every notification, and
 * what they saved loads into fresh ones and compares equal.
 *
 * Memory in use is small so that pieces meet: 8 entries a queue, rings in the first page of each
 * device, tables and buffers behind them. Each step takes 12 bytes: what, which, and operands.
 */
#include "base/bits.h"
#include "dev/virtio/virtio_input.h"
#include "rig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 12, ENTRIES = 8 };

static const gpa_t devs[] = {RIG_BLK, RIG_CONSOLE, RIG_RNG, RIG_RO_BLK, RIG_NET, RIG_BUTTON};
enum { NET = 4, BUTTON = 5 };

/* Those of the network card and of what follows it are behind the pool. */
#define RING(dev, queue) \
    (RIG_RAM + ((dev) < NET ? 0x2000 * (dev) : 0x10000 + 0x8000 * ((dev)-NET)) + 0x1000 * (queue))
#define AVAIL 0x400
#define USED 0x800
#define POOL (RIG_RAM + 0x8000) /* tables and buffers */
#define POOL_SIZE 0x8000

static void put(struct rig *r, gpa_t gpa, unsigned size, uint64_t value)
{
    addrspace_write(r->as, gpa, size, value);
}

static void set_up_queue(struct rig *r, unsigned dev, unsigned queue)
{
    gpa_t at = RING(dev, queue);
    put(r, devs[dev] + 0x30, 4, queue);
    put(r, devs[dev] + 0x38, 4, ENTRIES);
    for (unsigned part = 0; part < 3; part++) {
        put(r, devs[dev] + 0x80 + 16 * part, 4, at + 0x400 * part);
        put(r, devs[dev] + 0x84 + 16 * part, 4, 0);
    }
    put(r, devs[dev] + 0x44, 4, 1);
}

/* A driver that behaves, up to DRIVER_OK; the ring memory stays as it is unless `clean`. */
static void start(struct rig *r, unsigned dev, uint64_t features, bool clean)
{
    put(r, devs[dev] + 0x70, 4, 0);
    put(r, devs[dev] + 0x70, 4, 3);
    for (unsigned i = 0; i < 2; i++) {
        put(r, devs[dev] + 0x24, 4, i);
        put(r, devs[dev] + 0x20, 4, (uint32_t)(features >> 32 * i));
    }
    put(r, devs[dev] + 0x70, 4, 11);
    for (unsigned q = 0; q < (dev == NET ? RIG_NET_QUEUES : 2); q++) {
        set_up_queue(r, dev, q);
        for (unsigned i = 0; clean && i < 4; i += 2) {
            put(r, RING(dev, q) + AVAIL + i, 2, 0);
            put(r, RING(dev, q) + USED + i, 2, 0);
        }
    }
    put(r, devs[dev] + 0x70, 4, 15);
}

/* Places that matter, from 16 bits: the pool, its end, the ends of RAM, nowhere. */
static gpa_t place(uint32_t v)
{
    switch (v >> 13) {
    default:
        return POOL + v % POOL_SIZE;
    case 5:
        return RIG_RAM + RIG_RAM_SIZE - (v & 0x1fff);
    case 6:
        return RIG_RAM + (v & 0x1fff) * 16;
    case 7:
        return v & 1 ? UINT64_MAX - (v & 0xfff) : (uint64_t)(v & 0xfff) << 24;
    }
}

static uint32_t length(uint32_t v)
{
    return v >> 14 == 3 ? UINT32_MAX - (v & 0xfff) : v >> 14 == 2 ? 16 * (v & 0xff) : v & 0xfff;
}

/* A descriptor in a ring or in the pool's first tables. */
static void write_desc(struct rig *r, unsigned dev, unsigned queue, const uint8_t *s)
{
    uint8_t raw[16];
    unsigned index = s[2] & 15;
    gpa_t table = s[2] & 0x40 ? POOL + 0x100 * (s[2] >> 7) : RING(dev, queue);
    le64_put(raw, place(le16_get(s + 4)));
    le32_put(raw + 8, length(le16_get(s + 6)));
    le16_put(raw + 12, s[8] & 7);
    le16_put(raw + 14, s[9] & 0x80 ? le16_get(s + 9) : s[9] & 7);
    addrspace_copy_in(r->as, table + 16 * index, raw, sizeof raw);
}

/* A request header or range that is right but for what the input says. */
static void write_header(struct rig *r, const uint8_t *s)
{
    gpa_t at = place(le16_get(s + 4) & 0x1fff);
    put(r, align_down(at, 8), 8, s[6] & 0x80 ? rig_random(&(uint64_t){s[6]}) : s[6] & 15);
    put(r, align_down(at, 8) + 8, 8, s[7] & 0x80 ? le64_get(s + 4) : s[7]);
}

static void offer(struct rig *r, unsigned dev, unsigned queue, const uint8_t *s)
{
    gpa_t avail = RING(dev, queue) + AVAIL;
    uint64_t idx = 0;
    addrspace_read(r->as, avail + 2, 2, &idx);
    put(r, avail + 4 + 2 * (idx % ENTRIES), 2, s[2] & 0x80 ? le16_get(s + 4) : s[2] % ENTRIES);
    put(r, avail + 2, 2, s[3] & 0x80 ? le16_get(s + 6) : idx + 1);
    if (!(s[3] & 0x40))
        put(r, devs[dev] + 0x50, 4, queue);
}

static void touch_network(struct rig *r, const uint8_t *s)
{
    struct fake_net *network = s[3] & 4 ? &r->network2 : &r->network;
    uint8_t frame[600] = {0x52, 0x54, 0, 1, 2, 3};
    struct net_hdr hdr = {.flags = s[4] & 1, .csum_start = s[5] & 15, .csum_offset = s[6] & 15};
    size_t len = NET_ETH_SIZE + (le16_get(s + 7) & 0x1ff);
    memcpy(frame, s + 6, s[4] & 2 ? 6 : 0);
    switch (s[3] & 3) {
    case 0:
        fake_net_set_busy(network, s[4] & 1);
        break;
    case 1:
        fake_net_set_carrier(&r->network, s[4] & 1);
        break;
    default:
        fake_net_input(network, &hdr, frame, len);
        break;
    }
}

static void touch_back_end(struct rig *r, const uint8_t *s)
{
    if (s[2] & 8)
        virtio_input_press(r->button);
    if (s[2] & 4) {
        touch_network(r, s);
        return;
    }
    switch (s[2] & 3) {
    case 0:
        fake_chr_input(&r->console_chr, s + 3, STEP - 3);
        break;
    case 1:
        r->console_chr.room = 0;
        break;
    case 2:
        fake_chr_give_room(&r->console_chr, s[3] & 1 ? SIZE_MAX : s[3]);
        break;
    default:
        r->disk.fail = s[3] & 1 ? 5 : 0;
        break;
    }
}

static void run_step(struct rig *r, const uint8_t *s)
{
    unsigned dev = s[1] & 32 ? BUTTON : s[1] & 8 ? NET : s[1] & 3;
    unsigned queue = dev == NET && s[1] & 16 ? 2 + (s[1] >> 6) % 3u : s[1] >> 2 & 1;
    uint64_t value = le32_get(s + 4);
    switch (s[0] % 10) {
    case 0:
        start(r, dev,
              s[2] & 1 ? UINT64_C(0x100000000) | value
                       : (s[2] & 2 ? UINT64_C(0x100000000) : UINT64_C(0x130000000)),
              s[2] & 4);
        break;
    case 1:
    case 2:
        write_desc(r, dev, queue, s);
        break;
    case 3:
        write_header(r, s);
        break;
    case 4:
    case 5:
        offer(r, dev, queue, s);
        break;
    case 6:
        put(r, devs[dev] + 4 * (s[2] % 0x50), s[3] & 7 ? 4 : 1, value);
        break;
    case 7:
        addrspace_read(r->as, devs[dev] + 4 * (s[2] % 0x50), s[3] & 7 ? 4 : 2, &value);
        break;
    case 8:
        addrspace_copy_in(r->as, RIG_RAM + le16_get(s + 2), s + 4, STEP - 4);
        break;
    default:
        touch_back_end(r, s);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig *r = rig_new();
    for (unsigned dev = 0; dev < ARRAY_SIZE(devs); dev++)
        start(r, dev, UINT64_C(0x130000000) | (dev == NET ? 0xffbbaf : 0), true);
    for (size_t at = 0; at + STEP <= size; at += STEP)
        run_step(r, data + at);
    struct rig *copy = rig_new();
    if (!rig_copy(r, copy) || !rig_equal(r, copy))
        abort();
    rig_free(copy);
    rig_free(r);
    return 0;
}
