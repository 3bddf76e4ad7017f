#include "rig.h"
#include "rig_devices.h"

#include "base/bits.h"
#include "block/queue.h"
#include "chr/chr.h"
#include "dev/aclint.h"
#include "dev/goldfish_rtc.h"
#include "dev/ns16550.h"
#include "dev/pflash.h"
#include "dev/plic.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_input.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_net.h"
#include "dev/virtio/virtio_rng.h"
#include "net/offload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- fakes ---- */

static struct fake_chr *chr_fake(struct chr *c)
{
    return (struct fake_chr *)(void *)c;
}

struct chr *fake_chr(struct fake_chr *c)
{
    return (struct chr *)(void *)c;
}

size_t chr_write(struct chr *chr, const void *data, size_t len)
{
    struct fake_chr *c = chr_fake(chr);
    size_t n = len < c->room ? len : c->room;
    for (size_t i = 0; i < n; i++) {
        if (c->out_len == sizeof c->out)
            c->out_len = 0;
        c->out[c->out_len++] = ((const uint8_t *)data)[i];
    }
    c->total += n;
    if (c->room != SIZE_MAX)
        c->room -= n;
    return n;
}

void chr_set_writable(struct chr *chr, void (*writable)(void *ctx), void *ctx)
{
    chr_fake(chr)->writable = writable;
    chr_fake(chr)->writable_ctx = ctx;
}

void chr_set_receiver(struct chr *chr, size_t (*can_receive)(void *ctx),
                      void (*receive)(void *ctx, const uint8_t *data, size_t len), void *ctx)
{
    chr_fake(chr)->can_receive = can_receive;
    chr_fake(chr)->receive = receive;
    chr_fake(chr)->receive_ctx = ctx;
}

void chr_accept_input(struct chr *chr)
{
    chr_fake(chr)->accepts++;
}

void chr_set_peer(struct chr *chr, void (*peer)(void *ctx, bool there), void *ctx)
{
    chr_fake(chr)->peer = peer;
    chr_fake(chr)->peer_ctx = ctx;
}

bool chr_peer(const struct chr *chr)
{
    return !((const struct fake_chr *)(const void *)chr)->away;
}

void chr_set_heard(struct chr *chr, bool heard)
{
    chr_fake(chr)->deaf = !heard;
}

void chr_ask_writable(struct chr *chr)
{
    chr_fake(chr)->asks++;
}

size_t fake_chr_input(struct fake_chr *c, const void *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t room = c->can_receive(c->receive_ctx);
        if (!room)
            break;
        size_t n = room < len - done ? room : len - done;
        c->receive(c->receive_ctx, (const uint8_t *)data + done, n);
        done += n;
    }
    return done;
}

void fake_chr_give_room(struct fake_chr *c, size_t room)
{
    c->room = room;
    c->writable(c->writable_ctx);
}

void fake_chr_set_peer(struct fake_chr *c, bool there)
{
    c->away = !there;
    c->peer(c->peer_ctx, there);
}

static struct fake_block *block_fake(const struct block *b)
{
    return (struct fake_block *)(uintptr_t)b;
}

struct block *fake_block(struct fake_block *b)
{
    return (struct block *)(void *)b;
}

uint64_t block_size(const struct block *b)
{
    (void)b;
    return RIG_DISK_SIZE;
}

bool block_readonly(const struct block *b)
{
    return block_fake(b)->readonly;
}

/* The devices have to check ranges themselves: what lies beyond is a bug of theirs. */
static uint8_t *block_fake_at(struct fake_block *b, uint64_t offset, uint64_t len)
{
    if (offset > RIG_DISK_SIZE || len > RIG_DISK_SIZE - offset)
        abort();
    return b->data + offset;
}

int block_readv(struct block *blk, uint64_t offset, const struct iovec *iov, int n)
{
    struct fake_block *b = block_fake(blk);
    if (b->fail)
        return -b->fail;
    for (int i = 0; i < n; offset += iov[i++].iov_len)
        memcpy(iov[i].iov_base, block_fake_at(b, offset, iov[i].iov_len), iov[i].iov_len);
    return 0;
}

int block_writev(struct block *blk, uint64_t offset, const struct iovec *iov, int n)
{
    struct fake_block *b = block_fake(blk);
    if (b->readonly)
        abort();
    if (b->fail)
        return -b->fail;
    for (int i = 0; i < n; offset += iov[i++].iov_len)
        memcpy(block_fake_at(b, offset, iov[i].iov_len), iov[i].iov_base, iov[i].iov_len);
    return 0;
}

int block_read(struct block *b, uint64_t offset, void *buf, size_t len)
{
    return block_readv(b, offset, &(struct iovec){buf, len}, 1);
}

int block_write(struct block *b, uint64_t offset, const void *buf, size_t len)
{
    return block_writev(b, offset, &(struct iovec){(void *)(uintptr_t)buf, len}, 1);
}

const char *block_path(const struct block *b)
{
    (void)b;
    return "fake";
}

int block_flush(struct block *b)
{
    block_fake(b)->flushes++;
    return -block_fake(b)->fail;
}

int block_discard(struct block *blk, uint64_t offset, uint64_t len)
{
    struct fake_block *b = block_fake(blk);
    b->discards++;
    memset(block_fake_at(b, offset, len), 0xdd, len);
    return -b->fail;
}

int block_write_zeroes(struct block *blk, uint64_t offset, uint64_t len, bool unmap)
{
    struct fake_block *b = block_fake(blk);
    (void)unmap;
    memset(block_fake_at(b, offset, len), 0, len);
    return -b->fail;
}

int block_execute(struct block *b, const struct block_request *r)
{
    switch (r->op) {
    case BLOCK_READ:
        return block_readv(b, r->offset, r->iov, r->iov_count);
    case BLOCK_WRITE:
        return block_writev(b, r->offset, r->iov, r->iov_count);
    case BLOCK_FLUSH:
        return block_flush(b);
    case BLOCK_DISCARD:
        return block_discard(b, r->offset, r->length);
    default:
        return block_write_zeroes(b, r->offset, r->length, r->unmap);
    }
}

/* The devices of the rig do everything at once; test_back_ends.c has queues. */
struct block_queue *block_queue_new(struct block *b, bool ring, struct error *err)
{
    (void)b;
    (void)ring;
    (void)err;
    abort();
}

int block_queue_start(struct block_queue *q, struct error *err)
{
    (void)q;
    (void)err;
    abort();
}

void block_queue_free(struct block_queue *q)
{
    if (q)
        abort();
}

bool block_queue_try(struct block_queue *q, struct block_request *r)
{
    (void)q;
    (void)r;
    abort();
}

void block_queue_submit(struct block_queue *q, struct block_request *r)
{
    (void)q;
    (void)r;
    abort();
}

void block_queue_kick(struct block_queue *q)
{
    (void)q;
    abort();
}

static struct fake_net *net_fake(const struct net *n)
{
    return (struct fake_net *)(uintptr_t)n;
}

struct net *fake_net(struct fake_net *n)
{
    return (struct net *)(void *)n;
}

const uint8_t *net_mac(const struct net *n)
{
    static const uint8_t mac[NET_MAC_SIZE] = {0x52, 0x54, 0, 1, 2, 3};
    (void)n;
    return mac;
}

unsigned net_mtu(const struct net *n)
{
    (void)n;
    return 9000;
}

bool net_carrier(const struct net *n)
{
    return !net_fake(n)->no_carrier;
}

unsigned net_queue_count(const struct net *n)
{
    return ((const struct fake_net *)(const void *)n)->second ? 2 : 1;
}

struct net *net_queue(struct net *n, unsigned queue)
{
    return queue ? fake_net(net_fake(n)->second) : n;
}

void net_set_active(struct net *n, unsigned queues)
{
    net_fake(n)->active = queues;
}

/* The card has to check headers and lengths itself. */
int net_send(struct net *net, const struct net_hdr *hdr, const struct iovec *frame, unsigned count,
             size_t len)
{
    struct fake_net *n = net_fake(net);
    size_t done = 0;
    if (n->busy)
        return -EAGAIN;
    if (len < NET_ETH_SIZE || len > NET_FRAME_MAX || count > NET_MAX_SEGMENTS ||
        !net_hdr_valid(hdr, len, NET_OFFLOAD_ALL))
        abort();
    for (unsigned i = 0; i < count; done += frame[i++].iov_len)
        memcpy(n->out + done, frame[i].iov_base, frame[i].iov_len);
    if (done != len)
        abort();
    n->out_hdr = *hdr;
    n->out_len = len;
    n->sent++;
    for (size_t i = 0; i < len; i++)
        n->digest = (n->digest ^ n->out[i]) * UINT64_C(0x100000001b3);
    return 0;
}

void net_ask_writable(struct net *n)
{
    net_fake(n)->asks++;
}

void net_accept(struct net *n)
{
    net_fake(n)->accepts++;
}

void net_set_offloads(struct net *n, unsigned offloads)
{
    net_fake(n)->offloads = offloads;
}

void net_set_card(struct net *n, const struct net_card_ops *ops, void *ctx)
{
    net_fake(n)->card = ops;
    net_fake(n)->card_ctx = ctx;
}

enum net_taken fake_net_input(struct fake_net *n, const struct net_hdr *hdr, const void *frame,
                              size_t len)
{
    return n->card->receive(n->card_ctx, hdr, frame, len);
}

void fake_net_set_busy(struct fake_net *n, bool busy)
{
    n->busy = busy;
    if (!busy)
        n->card->writable(n->card_ctx);
}

void fake_net_set_carrier(struct fake_net *n, bool carrier)
{
    n->no_carrier = !carrier;
    n->card->carrier(n->card_ctx);
}

/* ---- lines ---- */

static void line_set(void *ctx, unsigned number, bool level)
{
    (void)number;
    *(bool *)ctx = level;
}

struct irq_line line_to(bool *level)
{
    return (struct irq_line){.set = line_set, .ctx = level};
}

/* ---- the assembly ---- */

static void rig_power_event(void *ctx, enum power_event what, unsigned code)
{
    struct rig *r = ctx;
    r->power_events++;
    r->power_what = what;
    r->power_code = code;
}

static void rig_add(struct rig *r, struct device *dev)
{
    if (!dev)
        abort();
    unsigned n = 0;
    while (r->all[n])
        n++;
    r->all[n] = dev;
}

static void rig_map(struct rig *r, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                    struct device *dev)
{
    rig_add(r, dev);
    if (addrspace_add_mmio(r->as, base, size, ops, dev, NULL))
        abort();
}

static void rig_make_platform(struct rig *r)
{
    struct irq_line eip[2 * RIG_HARTS], msip[RIG_HARTS], mtip[RIG_HARTS];
    for (unsigned i = 0; i < 2 * RIG_HARTS; i++)
        eip[i] = line_to(&r->eip[i]);
    for (unsigned i = 0; i < RIG_HARTS; i++) {
        msip[i] = line_to(&r->msip[i]);
        mtip[i] = line_to(&r->mtip[i]);
    }
    r->plic = plic_new(RIG_HARTS, eip, NULL);
    r->aclint = aclint_new(&r->clock, RIG_HARTS, msip, mtip, NULL);
    r->uart = ns16550_new(fake_chr(&r->uart_chr), plic_input(r->plic, RIG_IRQ_UART), NULL);
    r->rtc = goldfish_rtc_new(&r->clock, RIG_EPOCH, plic_input(r->plic, RIG_IRQ_RTC), NULL);
    r->power = sifive_test_new(rig_power_event, r, NULL);
    rig_map(r, RIG_POWER, SIFIVE_TEST_SIZE, &sifive_test_mmio, r->power);
    rig_map(r, RIG_RTC, GOLDFISH_RTC_SIZE, &goldfish_rtc_mmio, r->rtc);
    rig_map(r, RIG_ACLINT, ACLINT_SIZE, &aclint_mmio, r->aclint);
    rig_map(r, RIG_UART, NS16550_SIZE, &ns16550_mmio, r->uart);
    r->flash = pflash_new(r->as, RIG_FLASH, RIG_FLASH_SIZE, "flash0", NULL, NULL);
    rig_add(r, r->flash);
}

static void rig_make_virtio(struct rig *r)
{
    uint64_t seed = 42;
    r->network.second = &r->network2;
    r->ro_disk.readonly = true;
    for (unsigned i = 0; i < RIG_DISK_SIZE; i++)
        r->disk.data[i] = r->ro_disk.data[i] = (uint8_t)(i / 512 + i);
    r->blk = virtio_blk_new(r->as, plic_input(r->plic, RIG_IRQ_BLK), "disk0", fake_block(&r->disk),
                            "serial-0", 1, true, NULL);
    r->console = virtio_console_new(r->as, plic_input(r->plic, RIG_IRQ_CONSOLE), "console0",
                                    fake_chr(&r->console_chr), NULL, 0, NULL);
    r->rng = virtio_rng_new(r->as, plic_input(r->plic, RIG_IRQ_RNG), "rng0", &seed, NULL);
    r->empty = virtio_mmio_empty_new(NULL);
    r->ro_blk = virtio_blk_new(r->as, plic_input(r->plic, RIG_IRQ_RO_BLK), "disk1",
                               fake_block(&r->ro_disk), NULL, 1, true, NULL);
    r->net = virtio_net_new(r->as, plic_input(r->plic, RIG_IRQ_NET), "net0", fake_net(&r->network),
                            NULL);
    r->button = virtio_input_new(r->as, plic_input(r->plic, RIG_IRQ_BUTTON), "button", NULL);
    rig_map(r, RIG_BLK, VIRTIO_MMIO_SIZE, &virtio_mmio, r->blk);
    rig_map(r, RIG_CONSOLE, VIRTIO_MMIO_SIZE, &virtio_mmio, r->console);
    rig_map(r, RIG_RNG, VIRTIO_MMIO_SIZE, &virtio_mmio, r->rng);
    rig_map(r, RIG_EMPTY, VIRTIO_MMIO_SIZE, &virtio_mmio_empty, r->empty);
    rig_map(r, RIG_RO_BLK, VIRTIO_MMIO_SIZE, &virtio_mmio, r->ro_blk);
    rig_map(r, RIG_NET, VIRTIO_MMIO_SIZE, &virtio_mmio, r->net);
    rig_map(r, RIG_BUTTON, VIRTIO_MMIO_SIZE, &virtio_mmio, r->button);
}

struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->as = addrspace_new(NULL);
    if (!r->as || addrspace_add_ram(r->as, RIG_RAM, RIG_RAM_SIZE, NULL))
        abort();
    clock_init(&r->clock, true);
    r->uart_chr.room = r->console_chr.room = SIZE_MAX;
    rig_make_platform(r);
    rig_make_virtio(r);
    /* Last, so that a load restores it after the others have driven its inputs. */
    rig_map(r, RIG_PLIC, PLIC_SIZE, &plic_mmio, r->plic);
    for (unsigned i = 0; r->all[i]; i++)
        device_reset(r->all[i]);
    return r;
}

void rig_free(struct rig *r)
{
    addrspace_free(r->as);
    for (unsigned i = 0; r->all[i]; i++)
        device_free(r->all[i]);
    clock_fini(&r->clock);
    free(r);
}

void rig_advance(struct rig *r, uint64_t ns)
{
    clock_advance(&r->clock, clock_ns(&r->clock) + ns);
    clock_run(&r->clock);
}

uint64_t rig_read(struct rig *r, gpa_t gpa, unsigned size)
{
    uint64_t v;
    if (!addrspace_read(r->as, gpa, size, &v)) {
        fprintf(stderr, "read of %u at 0x%" PRIx64 " is a bus error\n", size, gpa);
        abort();
    }
    return v;
}

void rig_write(struct rig *r, gpa_t gpa, unsigned size, uint64_t value)
{
    if (!addrspace_write(r->as, gpa, size, value)) {
        fprintf(stderr, "write of %u at 0x%" PRIx64 " is a bus error\n", size, gpa);
        abort();
    }
}

static bool rig_load(struct rig *b, struct state_in *in)
{
    struct error err = {0};
    if (!state_load(in, &clock_state, &b->clock, &err))
        return rig_devices_load(b->as, b->all, in);
    fprintf(stderr, "load: %s\n", err.msg);
    return false;
}

void fake_chr_copy(struct fake_chr *to, const struct fake_chr *from)
{
    memcpy(to->out, from->out, sizeof to->out);
    to->out_len = from->out_len;
    to->room = from->room;
}

static void fake_net_copy(struct fake_net *to, const struct fake_net *from)
{
    to->busy = from->busy;
    to->no_carrier = from->no_carrier;
    to->sent = from->sent;
    to->digest = from->digest;
}

bool rig_copy(struct rig *a, struct rig *b)
{
    struct state_out out = {0};
    state_save(&out, &clock_state, &a->clock);
    rig_devices_save(a->as, a->all, &out);
    fake_chr_copy(&b->uart_chr, &a->uart_chr);
    fake_chr_copy(&b->console_chr, &a->console_chr);
    b->disk = a->disk;
    b->ro_disk = a->ro_disk;
    fake_net_copy(&b->network, &a->network);
    fake_net_copy(&b->network2, &a->network2);
    struct state_in in = {.data = out.data, .len = out.len};
    bool ok = !out.failed && rig_load(b, &in);
    state_out_free(&out);
    return ok;
}

static bool lines_equal(const char *name, const bool *a, const bool *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i] != b[i]) {
            fprintf(stderr, "%s[%u]: %d != %d\n", name, i, a[i], b[i]);
            return false;
        }
    return true;
}

bool rig_equal(struct rig *a, struct rig *b)
{
    if (!rig_devices_equal(a->as, a->all, b->as, b->all))
        return false;
    if (memcmp(a->disk.data, b->disk.data, sizeof a->disk.data) ||
        a->network.sent != b->network.sent || a->network.digest != b->network.digest ||
        a->uart_chr.out_len != b->uart_chr.out_len ||
        memcmp(a->uart_chr.out, b->uart_chr.out, a->uart_chr.out_len) ||
        a->console_chr.out_len != b->console_chr.out_len ||
        memcmp(a->console_chr.out, b->console_chr.out, a->console_chr.out_len)) {
        fprintf(stderr, "a back end differs\n");
        return false;
    }
    return lines_equal("eip", a->eip, b->eip, 2 * RIG_HARTS) &&
           lines_equal("msip", a->msip, b->msip, RIG_HARTS) &&
           lines_equal("mtip", a->mtip, b->mtip, RIG_HARTS);
}

uint64_t rig_seed(void)
{
    const char *text = getenv("GUISE_SEED");
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t seed =
        text ? strtoull(text, NULL, 0) : (uint64_t)ts.tv_sec * 1000003 ^ (uint64_t)ts.tv_nsec;
    printf("seed: GUISE_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}

uint64_t rig_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

uint64_t rig_pick(uint64_t *state, uint64_t n)
{
    return rig_random(state) % n;
}

uint64_t rig_pick_value(uint64_t *state)
{
    uint64_t v = rig_random(state);
    switch (rig_pick(state, 5)) {
    case 0:
        return v % 16;
    case 1:
        return v % 256;
    case 2:
        return ~UINT64_C(0);
    case 3:
        return UINT64_C(1) << v % 64;
    default:
        return v;
    }
}
