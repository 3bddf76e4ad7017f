#include "dev/virtio/virtio_blk.h"

#include "base/bits.h"
#include "block/queue.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

#define DEVICE_ID 2u
#define QUEUE_SIZE 256u
#define SERIAL_SIZE 20u
#define SEGMENT_SIZE_MAX (UINT32_C(1) << 20)
#define SEGMENTS_MAX (QUEUE_SIZE - 2u) /* header and status take one each */
#define DISCARD_SECTORS_MAX (UINT32_C(1) << 22)
#define DISCARD_SEGMENTS_MAX 16u
#define ZEROES_SECTORS_MAX (UINT32_C(1) << 16)

_Static_assert(SEGMENTS_MAX *(uint64_t)SEGMENT_SIZE_MAX < VIRTQ_MAX_BYTES,
               "a request of the greatest size must pass through the queue");

enum {
    F_SIZE_MAX = 1,
    F_SEG_MAX = 2,
    F_RO = 5,
    F_BLK_SIZE = 6,
    F_FLUSH = 9,
    F_TOPOLOGY = 10,
    F_MQ = 12,
    F_DISCARD = 13,
    F_WRITE_ZEROES = 14,
};

/* Offsets in struct virtio_blk_config. */
enum {
    CONFIG_CAPACITY = 0,
    CONFIG_SIZE_MAX = 8,
    CONFIG_SEG_MAX = 12,
    CONFIG_BLK_SIZE = 20,
    CONFIG_PHYSICAL_BLOCK_EXP = 24,
    CONFIG_MIN_IO_SIZE = 26,
    CONFIG_OPT_IO_SIZE = 28,
    CONFIG_NUM_QUEUES = 34,
    CONFIG_MAX_DISCARD_SECTORS = 36,
    CONFIG_MAX_DISCARD_SEG = 40,
    CONFIG_DISCARD_SECTOR_ALIGNMENT = 44,
    CONFIG_MAX_WRITE_ZEROES_SECTORS = 48,
    CONFIG_MAX_WRITE_ZEROES_SEG = 52,
    CONFIG_WRITE_ZEROES_MAY_UNMAP = 56,
};

enum {
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13,
};

/* Status bytes, and what is none yet. */
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, PENDING = 0xff };

#define HEADER_SIZE 16u
#define RANGE_SIZE 16u /* struct virtio_blk_discard_write_zeroes */
#define RANGE_UNMAP 1u

/* A request of the driver, in flight. */
struct virtio_blk_request {
    struct block_request io;
    struct virtio_blk *blk;
    struct virtio_blk_request *next; /* unused ones */
    struct virtq_chain *chain;       /* own; unused: a spare */
    unsigned queue;                  /* where it came from */
    uint8_t *status;
    uint64_t room; /* writable bytes before anything was written */
    uint32_t type;
};

struct virtio_blk {
    struct virtio_dev vd;
    struct block *block;
    struct block_queue *queue; /* NULL: requests are carried out at once */
    char serial[SERIAL_SIZE];

    struct virtio_blk_request *unused;
    unsigned made, in_flight;
    uint32_t stalled;    /* queues of which the ring has requests that found none unused */
    bool stopping;       /* takes no more requests */
    pthread_cond_t idle; /* none is in flight */
    struct virtio_blk_stats stats;

    uint64_t capacity; /* sectors */
};

static struct virtio_blk *virtio_blk_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_blk, vd);
}

/* ---- what a request asks for ---- */

static bool virtio_blk_in_range(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
    return sector <= b->capacity && sectors <= b->capacity - sector;
}

static uint8_t virtio_blk_prepare_io(struct virtio_blk_request *r, bool write, uint64_t sector)
{
    const struct virtio_blk *b = r->blk;
    const struct virtq_chain *c = r->chain;
    uint64_t bytes = write ? c->readable_bytes : c->writable_bytes;
    if ((write && block_readonly(b->block)) || bytes % BLOCK_SECTOR ||
        !virtio_blk_in_range(b, sector, bytes / BLOCK_SECTOR))
        return S_IOERR;
    r->io.op = write ? BLOCK_WRITE : BLOCK_READ;
    r->io.iov = write ? c->readable : c->writable;
    r->io.iov_count = (int)(write ? c->readable_count : c->writable_count);
    r->io.offset = sector * BLOCK_SECTOR;
    for (int i = 0; i < r->io.iov_count && !write; i++)
        addrspace_expect(b->vd.mem, r->io.iov[i].iov_base, r->io.iov[i].iov_len);
    return PENDING;
}

/* The next range of a discard or write-zeroes request (section 5.2.6.2), S_OK after the last. */
static uint8_t virtio_blk_prepare_range(struct virtio_blk_request *r)
{
    bool zeroes = r->type == T_WRITE_ZEROES;
    uint8_t raw[RANGE_SIZE];
    if (!virtq_chain_read(r->chain, raw, sizeof raw))
        return S_OK;
    uint64_t sector = le64_get(raw);
    uint32_t sectors = le32_get(raw + 8);
    uint32_t flags = le32_get(raw + 12);
    if (flags & ~(zeroes ? RANGE_UNMAP : 0u))
        return S_UNSUPP;
    if (sectors > (zeroes ? ZEROES_SECTORS_MAX : DISCARD_SECTORS_MAX) ||
        !virtio_blk_in_range(r->blk, sector, sectors))
        return S_IOERR;
    r->io.op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
    r->io.offset = sector * BLOCK_SECTOR;
    r->io.length = (uint64_t)sectors * BLOCK_SECTOR;
    r->io.unmap = flags & RANGE_UNMAP;
    return PENDING;
}

static uint8_t virtio_blk_prepare_ranges(struct virtio_blk_request *r)
{
    bool zeroes = r->type == T_WRITE_ZEROES;
    const struct virtq_chain *c = r->chain;
    if (!virtio_dev_has(&r->blk->vd, zeroes ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    uint64_t most = zeroes ? 1 : DISCARD_SEGMENTS_MAX;
    if (!c->readable_bytes || c->readable_bytes % RANGE_SIZE ||
        c->readable_bytes / RANGE_SIZE > most)
        return S_IOERR;
    return virtio_blk_prepare_range(r);
}

/* The first thing to do for a request, PENDING with r->io filled, or its status. */
static uint8_t virtio_blk_prepare(struct virtio_blk_request *r, uint64_t sector)
{
    switch (r->type) {
    case T_IN:
    case T_OUT:
        return virtio_blk_prepare_io(r, r->type == T_OUT, sector);
    case T_FLUSH:
        r->io.op = BLOCK_FLUSH;
        return PENDING;
    case T_GET_ID:
        virtq_chain_write(r->chain, r->blk->serial, SERIAL_SIZE);
        return S_OK;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return virtio_blk_prepare_ranges(r);
    default:
        return S_UNSUPP;
    }
}

static void virtio_blk_count(struct virtio_blk_stats *s, const struct virtio_blk_request *r)
{
    switch (r->io.op) {
    case BLOCK_READ:
        s->reads++;
        s->read_bytes += r->chain->writable_bytes;
        break;
    case BLOCK_WRITE:
        s->writes++;
        s->write_bytes += r->chain->readable_bytes;
        break;
    case BLOCK_FLUSH:
        s->flushes++;
        break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
        s->discards++;
        break;
    }
}

void virtio_blk_stats(struct device *dev, struct virtio_blk_stats *out)
{
    pthread_mutex_lock(&dev->lock);
    *out = virtio_blk_of(virtio_dev_of(dev))->stats;
    pthread_mutex_unlock(&dev->lock);
}

/* r->io is done: the next thing to do, or the request's status. */
static uint8_t virtio_blk_next(struct virtio_blk_request *r, int rc)
{
    if (rc && !(r->io.op == BLOCK_DISCARD && rc == -ENOTSUP)) {
        r->blk->stats.errors++;
        return S_IOERR;
    }
    virtio_blk_count(&r->blk->stats, r);
    if (r->io.op == BLOCK_READ)
        virtq_chain_write(r->chain, NULL, r->chain->writable_bytes);
    /* What a driver that knows no flush has written must be durable (section 5.2.6.2). */
    if (r->io.op != BLOCK_READ && r->io.op != BLOCK_FLUSH &&
        !virtio_dev_has(&r->blk->vd, F_FLUSH)) {
        r->io.op = BLOCK_FLUSH;
        return PENDING;
    }
    return r->type == T_DISCARD ? virtio_blk_prepare_range(r) : S_OK;
}

/* ---- requests in flight ---- */

static void virtio_blk_done(struct block_request *io, int rc);

static struct virtio_blk_request *virtio_blk_make_request(struct virtio_blk *b)
{
    if (b->made == QUEUE_SIZE * b->vd.queue_count)
        return NULL;
    struct virtio_blk_request *r = calloc(1, sizeof *r);
    struct virtq_chain *chain = malloc(sizeof *chain);
    if (!r || !chain) {
        free(r);
        free(chain);
        return NULL;
    }
    b->made++;
    r->blk = b;
    r->chain = chain;
    r->io.done = virtio_blk_done;
    return r;
}

static struct virtio_blk_request *virtio_blk_take(struct virtio_blk *b)
{
    struct virtio_blk_request *r = b->unused;
    if (!r)
        return virtio_blk_make_request(b);
    b->unused = r->next;
    return r;
}

static void virtio_blk_give(struct virtio_blk *b, struct virtio_blk_request *r)
{
    r->next = b->unused;
    b->unused = r;
}

/*
 * Back to the driver. The length counts the bytes from the front of the writable buffers that are
 * now valid: the status at their end only if all before it are.
 */
static void virtio_blk_finish(struct virtio_blk *b, struct virtio_blk_request *r, uint8_t status)
{
    struct virtq *q = &b->vd.queues[r->queue];
    const struct virtq_chain *c = r->chain;
    *r->status = status;
    if (q->ready)
        virtq_push(q, c, (uint32_t)(r->room - c->writable_bytes) + !c->writable_bytes);
    b->in_flight--;
    virtio_blk_give(b, r);
}

static void virtio_blk_go(struct virtio_blk *b, struct virtio_blk_request *r, uint8_t status)
{
    while (status == PENDING) {
        int rc = 0;
        if (!b->queue) {
            rc = block_execute(b->block, &r->io);
        } else if (!block_queue_try(b->queue, &r->io)) {
            block_queue_submit(b->queue, &r->io);
            return;
        }
        status = virtio_blk_next(r, rc);
    }
    virtio_blk_finish(b, r, status);
}

/* Takes the next chain of a ring as a request; false: there is none, or it is none. */
static bool virtio_blk_start(struct virtio_blk *b, struct virtio_blk_request *r, unsigned queue)
{
    uint8_t header[HEADER_SIZE];
    struct virtq_chain *c = virtio_dev_pop(&b->vd, queue);
    if (!c)
        return false;
    r->status = virtq_chain_cut_last(c);
    if (!r->status || virtq_chain_read(c, header, sizeof header) != sizeof header) {
        virtio_dev_fail(&b->vd);
        return false;
    }
    b->vd.chain = r->chain; /* the spare one */
    r->chain = c;
    r->queue = queue;
    r->room = c->writable_bytes;
    r->type = le32_get(header);
    b->in_flight++;
    virtio_blk_go(b, r, virtio_blk_prepare(r, le64_get(header + 8)));
    return true;
}

static void virtio_blk_serve(struct virtio_blk *b, unsigned queue)
{
    b->stalled &= ~(UINT32_C(1) << queue);
    if (b->stopping || !virtio_dev_arm(&b->vd, queue))
        return;
    for (;;) {
        struct virtio_blk_request *r = virtio_blk_take(b);
        if (!r) {
            b->stalled |= UINT32_C(1) << queue;
            break;
        }
        if (!virtio_blk_start(b, r, queue)) {
            virtio_blk_give(b, r);
            break;
        }
    }
    if (b->queue)
        block_queue_kick(b->queue);
}

static void virtio_blk_notify(struct virtio_dev *vd, unsigned queue)
{
    virtio_blk_serve(virtio_blk_of(vd), queue);
    virtio_dev_signal(vd, queue);
}

/* On a thread of the queue. */
static void virtio_blk_done(struct block_request *io, int rc)
{
    struct virtio_blk_request *r = container_of(io, struct virtio_blk_request, io);
    struct virtio_blk *b = r->blk;
    pthread_mutex_lock(&b->vd.dev.lock);
    unsigned queue = r->queue; /* the request may be another one's soon */
    virtio_blk_go(b, r, virtio_blk_next(r, rc));
    for (unsigned i = 0; b->stalled && i < b->vd.queue_count; i++)
        if (b->stalled >> i & 1)
            virtio_blk_notify(&b->vd, i);
    block_queue_kick(b->queue);
    virtio_dev_signal(&b->vd, queue);
    if (!b->in_flight)
        pthread_cond_broadcast(&b->idle);
    pthread_mutex_unlock(&b->vd.dev.lock);
}

static void virtio_blk_wait(struct virtio_blk *b)
{
    while (b->in_flight)
        pthread_cond_wait(&b->idle, &b->vd.dev.lock);
}

static void virtio_blk_drain(struct device *dev)
{
    virtio_blk_wait(virtio_blk_of(virtio_dev_of(dev)));
}

static void virtio_blk_quiesce(struct virtio_dev *vd)
{
    struct virtio_blk *b = virtio_blk_of(vd);
    b->stopping = true;
    virtio_blk_wait(b);
    b->stopping = false;
    b->stalled = 0;
}

/* The disk's, too, after a load that was refused. */
static void virtio_blk_reset(struct virtio_dev *vd)
{
    struct virtio_blk *b = virtio_blk_of(vd);
    b->capacity = block_size(b->block) / BLOCK_SECTOR;
}

static const struct virtio_dev_ops virtio_blk_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = 1,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_blk_notify,
    .quiesce = virtio_blk_quiesce,
    .reset = virtio_blk_reset,
};

static int virtio_blk_post_load(void *obj, struct error *err)
{
    struct virtio_blk *b = obj;
    uint64_t capacity = block_size(b->block) / BLOCK_SECTOR;
    if (b->capacity != capacity)
        return error_set(err, EINVAL, "the disk has %llu sectors, the saved state had %llu",
                         (unsigned long long)capacity, (unsigned long long)b->capacity);
    return 0;
}

static const struct state_field virtio_blk_fields[] = {
    STATE_STRUCT(struct virtio_blk, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_blk, capacity),
    STATE_END,
};

static const struct state_table virtio_blk_state = {
    .name = "virtio_blk",
    .version = 1,
    .size = sizeof(struct virtio_blk),
    .fields = virtio_blk_fields,
    .post_load = virtio_blk_post_load,
};

static void virtio_blk_free(struct device *dev)
{
    struct virtio_blk *b = virtio_blk_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    virtio_blk_quiesce(&b->vd);
    pthread_mutex_unlock(&dev->lock);
    block_queue_free(b->queue);
    while (b->unused) {
        struct virtio_blk_request *r = b->unused;
        b->unused = r->next;
        free(r->chain);
        free(r);
    }
    pthread_cond_destroy(&b->idle);
    virtio_dev_fini(&b->vd);
    free(b);
}

static int virtio_blk_start_threads(struct device *dev, struct error *err)
{
    struct virtio_blk *b = virtio_blk_of(virtio_dev_of(dev));
    return b->queue ? block_queue_start(b->queue, err) : 0;
}

static const struct device_ops virtio_blk_ops = {
    .name = "virtio_blk",
    .state = &virtio_blk_state,
    .reset = virtio_dev_reset,
    .start = virtio_blk_start_threads,
    .drain = virtio_blk_drain,
    .free = virtio_blk_free,
};

static void virtio_blk_fill_config(struct virtio_blk *b)
{
    uint8_t *config = b->vd.config;
    le64_put(config + CONFIG_CAPACITY, b->capacity);
    le32_put(config + CONFIG_SIZE_MAX, SEGMENT_SIZE_MAX);
    le32_put(config + CONFIG_SEG_MAX, SEGMENTS_MAX);
    le32_put(config + CONFIG_BLK_SIZE, BLOCK_SECTOR);
    config[CONFIG_PHYSICAL_BLOCK_EXP] = 3; /* 4096 bytes: a page of the host's cache */
    le16_put(config + CONFIG_MIN_IO_SIZE, 8);
    le32_put(config + CONFIG_OPT_IO_SIZE, 0);
    le16_put(config + CONFIG_NUM_QUEUES, (uint16_t)b->vd.queue_count);
    if (block_readonly(b->block))
        return;
    le32_put(config + CONFIG_MAX_DISCARD_SECTORS, DISCARD_SECTORS_MAX);
    le32_put(config + CONFIG_MAX_DISCARD_SEG, DISCARD_SEGMENTS_MAX);
    le32_put(config + CONFIG_DISCARD_SECTOR_ALIGNMENT, 8);
    le32_put(config + CONFIG_MAX_WRITE_ZEROES_SECTORS, ZEROES_SECTORS_MAX);
    le32_put(config + CONFIG_MAX_WRITE_ZEROES_SEG, 1);
    config[CONFIG_WRITE_ZEROES_MAY_UNMAP] = 1;
}

struct device *virtio_blk_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              struct block *block, const char *serial, unsigned queues,
                              bool at_once, struct error *err)
{
    struct virtio_blk *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(err, ENOMEM, "out of memory for disk '%s'", id);
        return NULL;
    }
    uint64_t features = VIRTIO_FEATURE(F_SIZE_MAX) | VIRTIO_FEATURE(F_SEG_MAX) |
                        VIRTIO_FEATURE(F_BLK_SIZE) | VIRTIO_FEATURE(F_FLUSH) |
                        VIRTIO_FEATURE(F_TOPOLOGY);
    if (queues > 1)
        features |= VIRTIO_FEATURE(F_MQ);
    features |= block_readonly(block) ? VIRTIO_FEATURE(F_RO)
                                      : VIRTIO_FEATURE(F_DISCARD) | VIRTIO_FEATURE(F_WRITE_ZEROES);
    if (virtio_dev_init(&b->vd, &virtio_blk_ops, &virtio_blk_dev_ops, mem, irq, features, id,
                        err)) {
        free(b);
        return NULL;
    }
    pthread_cond_init(&b->idle, NULL);
    b->vd.queue_count = queues;
    b->block = block;
    b->capacity = block_size(block) / BLOCK_SECTOR;
    if (serial)
        memcpy(b->serial, serial, strnlen(serial, SERIAL_SIZE));
    virtio_blk_fill_config(b);
    if (!at_once && !(b->queue = block_queue_new(block, true, err))) {
        virtio_blk_free(&b->vd.dev);
        return NULL;
    }
    return &b->vd.dev;
}
