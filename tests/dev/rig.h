/*
 * A board-like assembly of all devices over fake back ends, for tests and fuzzers: RAM, a virtual
 * clock that only rig_advance moves, and recorders at the end of every interrupt line.
 */
#pragma once

#include "core/addrspace.h"
#include "core/clock.h"
#include "core/device.h"
#include "dev/sifive_test.h"
#include "net/net.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_HARTS 2u
#define RIG_RAM UINT64_C(0x80000000)
#define RIG_NET_QUEUES 5u /* of the network card, which has two pairs */
#define RIG_RAM_SIZE UINT64_C(0x100000)
#define RIG_DISK_SIZE UINT64_C(65536)
#define RIG_EPOCH UINT64_C(1700000000123456789)

#define RIG_POWER UINT64_C(0x100000)
#define RIG_RTC UINT64_C(0x101000)
#define RIG_ACLINT UINT64_C(0x2000000)
#define RIG_PLIC UINT64_C(0xc000000)
#define RIG_UART UINT64_C(0x10000000)
#define RIG_FLASH UINT64_C(0x20000000)
#define RIG_FLASH_SIZE UINT64_C(0x80000)
#define RIG_VIRTIO UINT64_C(0x10001000)
#define RIG_BLK (RIG_VIRTIO + 0x0000)
#define RIG_CONSOLE (RIG_VIRTIO + 0x1000)
#define RIG_RNG (RIG_VIRTIO + 0x2000)
#define RIG_EMPTY (RIG_VIRTIO + 0x3000)
#define RIG_RO_BLK (RIG_VIRTIO + 0x4000)
#define RIG_NET (RIG_VIRTIO + 0x5000)
#define RIG_BUTTON (RIG_VIRTIO + 0x6000)

enum {
    RIG_IRQ_BLK = 1,
    RIG_IRQ_CONSOLE,
    RIG_IRQ_RNG,
    RIG_IRQ_RO_BLK = 5,
    RIG_IRQ_NET,
    RIG_IRQ_BUTTON
};
enum { RIG_IRQ_UART = 10, RIG_IRQ_RTC = 11 };

/* Stands for the character back end: what is written stays here while there is room. */
struct fake_chr {
    uint8_t out[8192];
    size_t out_len, total;
    size_t room; /* bytes it still takes; SIZE_MAX: all, the oldest are forgotten */
    unsigned accepts, asks;
    size_t (*can_receive)(void *ctx);
    void (*receive)(void *ctx, const uint8_t *data, size_t len);
    void *receive_ctx;
    void (*writable)(void *ctx);
    void *writable_ctx;
    void (*peer)(void *ctx, bool there);
    void *peer_ctx;
    bool away, deaf; /* there is no client; nobody in the guest listens */
};

/* Stands for a disk. */
struct fake_block {
    uint8_t data[RIG_DISK_SIZE];
    bool readonly;
    int fail; /* errno value that every access returns */
    unsigned flushes, discards;
};

/* Stands for a queue of a network: the last frame that was sent stays here. */
struct fake_net {
    uint8_t out[NET_FRAME_MAX];
    size_t out_len;
    struct net_hdr out_hdr;
    unsigned sent;
    uint64_t digest; /* of all that was sent */
    bool busy, no_carrier;
    unsigned accepts, asks, offloads, active;
    const struct net_card_ops *card;
    void *card_ctx;
    struct fake_net *second; /* the other queue, if there are two */
};

struct net *fake_net(struct fake_net *n);
/* Offers a frame as the event loop does. */
enum net_taken fake_net_input(struct fake_net *n, const struct net_hdr *hdr, const void *frame,
                              size_t len);
void fake_net_set_busy(struct fake_net *n, bool busy);
void fake_net_set_carrier(struct fake_net *n, bool carrier);

struct chr *fake_chr(struct fake_chr *c);
/* Offers input as the event loop does; returns how much was taken. */
size_t fake_chr_input(struct fake_chr *c, const void *data, size_t len);
/* Makes room and says so. */
void fake_chr_give_room(struct fake_chr *c, size_t room);
/* A client comes or goes. */
void fake_chr_set_peer(struct fake_chr *c, bool there);
/* What has been written and can be told goes to another one. */
void fake_chr_copy(struct fake_chr *to, const struct fake_chr *from);
struct block *fake_block(struct fake_block *b);

/* The recorder of a line's level. */
struct irq_line line_to(bool *level);

struct rig {
    struct addrspace *as;
    struct clock clock;
    struct fake_chr uart_chr, console_chr;
    struct fake_block disk, ro_disk;
    struct fake_net network, network2;
    bool eip[2 * RIG_HARTS], msip[RIG_HARTS], mtip[RIG_HARTS];
    unsigned power_events;
    enum power_event power_what;
    unsigned power_code;
    struct device *plic, *aclint, *uart, *rtc, *power, *blk, *console, *rng, *empty, *ro_blk, *net,
        *button, *flash;
    struct device *all[16]; /* in the order in which state is saved; NULL ends */
};

/* Aborts when it cannot be made. */
struct rig *rig_new(void);
void rig_free(struct rig *r);

void rig_advance(struct rig *r, uint64_t ns);

/* Accesses that must not be bus errors. */
uint64_t rig_read(struct rig *r, gpa_t gpa, unsigned size);
void rig_write(struct rig *r, gpa_t gpa, unsigned size, uint64_t value);

/* Saves everything of a, loads it into b. False with a message on stderr if b refuses. */
bool rig_copy(struct rig *a, struct rig *b);
/* Compares all declared state and the lines; false with a message on stderr. */
bool rig_equal(struct rig *a, struct rig *b);

/* The run's seed: GUISE_SEED or the clock; printed. */
uint64_t rig_seed(void);
/* A generator with a caller-held state. */
uint64_t rig_random(uint64_t *state);
/* Below n. */
uint64_t rig_pick(uint64_t *state, uint64_t n);
/* Small, all ones, one bit, or anything. */
uint64_t rig_pick_value(uint64_t *state);
