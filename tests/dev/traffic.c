#include "traffic.h"
#include "rig_devices.h"

#include "base/bits.h"
#include "dev/virtio/virtio_input.h"

/* Of device n, queue q; each has two but the network card. */
#define RING(n, q) (RIG_RAM + 0x1000 * (2 * (n) + (q) + ((n) > NET ? RIG_NET_QUEUES - 2 : 0)))
#define TABLES (RIG_RAM + 0xf000)
#define BUFFERS (RIG_RAM + 0x10000)
#define NET 4u
#define QUEUE_SIZE 8u

static const gpa_t virtio_devs[] = {RIG_BLK, RIG_CONSOLE, RIG_RNG, RIG_RO_BLK, RIG_NET, RIG_BUTTON};

static gpa_t pick_register(uint64_t *random)
{
    switch (rig_pick(random, 8)) {
    case 0:
        return RIG_PLIC + 4 * rig_pick(random, 100);
    case 1:
        return RIG_PLIC + 0x1000 + 0x1000 * rig_pick(random, 2) + 4 * rig_pick(random, 0x90);
    case 2:
        return RIG_PLIC + 0x200000 + 0x1000 * rig_pick(random, 5) + 4 * rig_pick(random, 3);
    case 3:
        return RIG_ACLINT + (rig_pick(random, 3)
                                 ? 4 * rig_pick(random, 3) + 0x4000 * rig_pick(random, 2)
                                 : 0xbff8 + 4 * rig_pick(random, 2));
    case 4:
    case 5:
        return RIG_UART + rig_pick(random, 9);
    case 6:
        return RIG_RTC + 4 * rig_pick(random, 9);
    default:
        return RIG_VIRTIO + 0x1000 * rig_pick(random, 7) + 4 * rig_pick(random, 0x50);
    }
}

static void put32(struct rig *r, gpa_t gpa, uint64_t v)
{
    rig_write(r, gpa, 4, (uint32_t)v);
}

/* A command as a driver gives it, now and then not to its end. */
static void flash_command(struct rig *r, uint64_t *random, gpa_t gpa)
{
    uint64_t words = 1 + rig_pick(random, 4);
    switch (rig_pick(random, 8)) {
    case 0:
        put32(r, gpa, 0x20);
        break;
    case 1:
    case 2:
        put32(r, gpa, 0x40);
        put32(r, gpa, rig_random(random));
        return;
    default:
        put32(r, gpa, 0xe8);
        put32(r, gpa, words - 1);
        for (uint64_t i = 0; i < words; i++)
            put32(r, gpa + 4 * i, rig_random(random));
        break;
    }
    if (rig_pick(random, 4))
        put32(r, gpa, 0xd0);
}

/* Commands and single writes, of which many make no sense where they come, in few places. */
static uint64_t step_flash(struct rig *r, uint64_t *random)
{
    static const uint8_t commands[] = {0x01, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90,
                                       0x98, 0xd0, 0xe8, 0xff, 0xff, 0xff, 0xff};
    gpa_t gpa = RIG_FLASH + rig_pick(random, 4) * (RIG_FLASH_SIZE / 4) + 8 * rig_pick(random, 32);
    unsigned size = rig_pick(random, 4) ? 4 : 1u << rig_pick(random, 4);
    uint64_t value = commands[rig_pick(random, sizeof commands)];
    if (!rig_pick(random, 4))
        value = rig_pick_value(random);
    if (rig_pick(random, 2))
        flash_command(r, random, gpa);
    if (rig_pick(random, 2))
        rig_write(r, gpa, size, value);
    return rig_read(r, gpa, size);
}

static uint64_t step_register(struct rig *r, uint64_t *random)
{
    if (!rig_pick(random, 8))
        return step_flash(r, random);
    gpa_t gpa = pick_register(random);
    unsigned size = 1u << rig_pick(random, 4);
    uint64_t value = 0;
    if (rig_pick(random, 3))
        size = gpa >= RIG_UART && gpa < RIG_VIRTIO ? 1 : 4;
    gpa = align_down(gpa, size);
    if (rig_pick(random, 2))
        return addrspace_write(r->as, gpa, size, rig_pick_value(random));
    return addrspace_read(r->as, gpa, size, &value) + 2 * value;
}

/* Starts a device the way a driver does, now and then with a wrong size or address. */
static uint64_t step_start(struct rig *r, uint64_t *random)
{
    unsigned n = (unsigned)rig_pick(random, ARRAY_SIZE(virtio_devs));
    gpa_t dev = virtio_devs[n];
    uint64_t features = rig_pick(random, 4) ? UINT64_C(0x130000000) : UINT64_C(0x100000000);
    if (n == NET && rig_pick(random, 4))
        features |= rig_pick(random, 2) ? 0xffbbaf : rig_random(random) & 0xffbbaf;
    put32(r, dev + 0x70, 0);
    put32(r, dev + 0x70, 3);
    for (unsigned i = 0; i < 2; i++) {
        put32(r, dev + 0x24, i);
        put32(r, dev + 0x20, features >> 32 * i);
    }
    put32(r, dev + 0x70, 11);
    for (unsigned q = 0; q < (n == NET ? RIG_NET_QUEUES : 2); q++) {
        gpa_t at = RING(n, q);
        put32(r, dev + 0x30, q);
        put32(r, dev + 0x38, rig_pick(random, 20) ? QUEUE_SIZE : rig_pick_value(random));
        put32(r, dev + 0x80, at);
        put32(r, dev + 0x84, at >> 32);
        put32(r, dev + 0x90, at + 0x400);
        put32(r, dev + 0x94, at >> 32);
        put32(r, dev + 0xa0, at + 0x800);
        put32(r, dev + 0xa4, at >> 32);
        put32(r, dev + 0x44, 1);
        rig_write(r, at + 0x402, 2, 0);
    }
    put32(r, dev + 0x70, 15);
    return rig_read(r, dev + 0x70, 4);
}

/* Fills a table with a chain that is mostly right: readable, writable, status. */
static void put_chain(struct rig *r, uint64_t *random, gpa_t table)
{
    gpa_t header = BUFFERS + 16 * rig_pick(random, 16);
    rig_write(r, header, 4, rig_pick(random, 4) ? rig_pick(random, 2) : rig_pick(random, 14));
    rig_write(r, header + 8, 8,
              rig_pick(random, 10) ? rig_pick(random, 130) : rig_pick_value(random));
    bool in = rig_pick(random, 2);
    gpa_t data = BUFFERS + 0x1000 + 64 * rig_pick(random, 64);
    uint64_t len = rig_pick(random, 4) ? 512 * rig_pick(random, 8) : rig_pick(random, 100);
    uint64_t kind = rig_pick(random, 4);
    if (kind == 0) {
        rig_put_desc(r->as, table, data, len, in ? 2 : 0, 0);
        return;
    }
    rig_put_desc(r->as, table, header, 16, 1, 1);
    rig_put_desc(r->as, table + 16, data, len, in ? 3 : 1, 2);
    rig_put_desc(r->as, table + 32, BUFFERS + 0x800 + rig_pick(random, 16), 1, 2, 0);
    if (kind == 1)
        rig_put_desc(r->as, table + 16 * rig_pick(random, 3), data + rig_pick_value(random),
                     rig_pick_value(random), rig_pick_value(random), rig_pick(random, 10));
}

/* The header of a frame or command, mostly right, where the first buffer is. */
static void put_net_header(struct rig *r, uint64_t *random, gpa_t at)
{
    uint8_t raw[16] = {0};
    if (rig_pick(random, 2)) {
        raw[2] = (uint8_t)rig_pick(random, 2);
    } else if (!rig_pick(random, 4)) {
        raw[0] = 4; /* how many pairs */
        raw[2] = (uint8_t)rig_pick(random, 4);
    } else if (rig_pick(random, 2)) {
        raw[0] = (uint8_t)rig_pick(random, 2);
        raw[1] = (uint8_t)(rig_pick(random, 3) ? 0 : rig_pick(random, 6));
        le16_put(raw + 4, (uint16_t)rig_pick(random, 200));
        le16_put(raw + 6, (uint16_t)rig_pick(random, 60));
        le16_put(raw + 8, (uint16_t)rig_pick(random, 20));
    } else {
        raw[0] = (uint8_t)rig_pick(random, 6);
        raw[1] = (uint8_t)rig_pick(random, 3);
        le32_put(raw + 2,
                 (uint32_t)(rig_pick(random, 4) ? rig_pick(random, 2) : rig_pick_value(random)));
    }
    addrspace_copy_in(r->as, at, raw, sizeof raw);
}

/* A chain for that queue of the network card, mostly right, from entry `first` of the table on. */
static void put_net_chain(struct rig *r, uint64_t *random, unsigned queue, gpa_t table,
                          unsigned first)
{
    gpa_t header = BUFFERS + 16 * rig_pick(random, 16),
          data = BUFFERS + 0x1000 + 64 * rig_pick(random, 64);
    uint64_t len = NET_ETH_SIZE + rig_pick(random, 200);
    bool right = rig_pick(random, 8);
    table += 16 * first;
    put_net_header(r, random, header);
    if (queue == 0 || queue == 2) {
        rig_put_desc(r->as, table, data, right ? 12 + 8 * len : len,
                     right ? 2 : rig_pick_value(random), 1);
        return;
    }
    rig_put_desc(r->as, table, header, right ? 12 : rig_pick(random, 40), 1, first + 1);
    rig_put_desc(r->as, table + 16, data, len, queue == RIG_NET_QUEUES - 1, first + 2);
    rig_put_desc(r->as, table + 32, BUFFERS + 0x800 + rig_pick(random, 16), 1,
                 right ? 2 : rig_pick(random, 8), 0);
}

static uint64_t step_net_input(struct rig *r, uint64_t *random)
{
    struct fake_net *network = rig_pick(random, 3) ? &r->network : &r->network2;
    uint8_t frame[2048];
    struct net_hdr hdr = {0};
    static const uint8_t mac[] = {0x52, 0x54, 0, 1, 2, 3};
    size_t len =
        NET_ETH_SIZE + rig_pick(random, rig_pick(random, 3) ? 100 : sizeof frame - NET_ETH_SIZE);
    memset(frame, (int)rig_pick(random, 256), sizeof frame);
    if (rig_pick(random, 2))
        memcpy(frame, mac, sizeof mac);
    if (!rig_pick(random, 4))
        hdr = (struct net_hdr){.flags = 1, .csum_start = 14, .csum_offset = 6};
    switch (rig_pick(random, 8)) {
    case 0:
        fake_net_set_busy(network, true);
        return 0;
    case 1:
    case 2:
        fake_net_set_busy(network, false);
        return network->sent;
    case 3:
        fake_net_set_carrier(&r->network, rig_pick(random, 3));
        return 0;
    default:
        return fake_net_input(network, &hdr, frame, len);
    }
}

static uint64_t step_request(struct rig *r, uint64_t *random)
{
    unsigned n = (unsigned)rig_pick(random, ARRAY_SIZE(virtio_devs));
    unsigned q = n == 1     ? (unsigned)rig_pick(random, 2)
                 : n == NET ? (unsigned)rig_pick(random, RIG_NET_QUEUES)
                            : 0;
    gpa_t at = RING(n, q);
    unsigned head = (unsigned)rig_pick(random, 5);
    bool direct = rig_pick(random, 3);
    if (n == NET && rig_pick(random, 8))
        put_net_chain(r, random, q, direct ? at : TABLES, direct ? head : 0);
    else
        put_chain(r, random, direct ? at + 16 * head : TABLES);
    if (!direct)
        rig_put_desc(r->as, at + 16 * head, TABLES, 48, 4, 0);
    uint64_t idx = rig_read(r, at + 0x402, 2);
    rig_write(r, at + 0x404 + 2 * (idx % QUEUE_SIZE), 2, head);
    rig_write(r, at + 0x402, 2, idx + 1);
    if (!rig_pick(random, 8))
        rig_write(r, at + 0x404 + 2 * QUEUE_SIZE, 2, idx + rig_pick(random, 3));
    if (rig_pick(random, 4))
        put32(r, virtio_devs[n] + 0x50, q);
    return rig_read(r, at + 0x802, 2) + (rig_read(r, virtio_devs[n] + 0x60, 4) << 16);
}

static uint64_t step_back_end(struct rig *r, uint64_t *random)
{
    struct fake_chr *c = rig_pick(random, 2) ? &r->uart_chr : &r->console_chr;
    uint64_t data[4] = {rig_random(random), rig_random(random), rig_random(random), 7};
    if (!rig_pick(random, 3))
        return step_net_input(r, random);
    if (!rig_pick(random, 10))
        return virtio_input_press(r->button);
    switch (rig_pick(random, 8)) {
    case 0:
        c->room = 0;
        return 0;
    case 1:
    case 2:
    case 3:
        fake_chr_give_room(c, rig_pick(random, 2) ? SIZE_MAX : rig_pick(random, 30));
        return c->out_len;
    default:
        return fake_chr_input(c, data, 1 + rig_pick(random, 32));
    }
}

static uint64_t lines(const struct rig *r)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 2 * RIG_HARTS; i++)
        v = v << 1 | r->eip[i];
    for (unsigned i = 0; i < RIG_HARTS; i++)
        v = v << 2 | (unsigned)r->msip[i] << 1 | r->mtip[i];
    return v;
}

uint64_t traffic_step(struct rig *r, uint64_t *random)
{
    uint64_t seen;
    switch (rig_pick(random, 8)) {
    case 0:
        rig_advance(r, rig_pick(random, 2) ? rig_pick(random, 100000) : rig_pick(random, 100));
        seen = clock_deadline(&r->clock);
        break;
    case 1:
        seen = step_back_end(r, random);
        break;
    case 2:
        seen = rig_pick(random, 4) ? step_request(r, random) : step_start(r, random);
        break;
    case 3:
    case 4:
        seen = step_request(r, random);
        break;
    default:
        seen = step_register(r, random);
        break;
    }
    return (seen << 16) ^ lines(r) ^ (uint64_t)r->power_events << 48;
}
