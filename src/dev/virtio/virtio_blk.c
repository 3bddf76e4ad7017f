#include "dev/virtio/virtio_blk.h"

#include "base/bits.h"
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

enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

#define HEADER_SIZE 16u
#define RANGE_SIZE 16u /* struct virtio_blk_discard_write_zeroes */
#define RANGE_UNMAP 1u

struct virtio_blk {
    struct virtio_dev vd;
    struct block *block;
    char serial[SERIAL_SIZE];

    uint64_t capacity; /* sectors */
};

static struct virtio_blk *virtio_blk_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_blk, vd);
}

static bool virtio_blk_in_range(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
    return sector <= b->capacity && sectors <= b->capacity - sector;
}

static uint8_t virtio_blk_result(int rc)
{
    return rc ? S_IOERR : S_OK;
}

static uint8_t virtio_blk_read(struct virtio_blk *b, struct virtq_chain *c, uint64_t sector)
{
    if (c->writable_bytes % BLOCK_SECTOR ||
        !virtio_blk_in_range(b, sector, c->writable_bytes / BLOCK_SECTOR))
        return S_IOERR;
    int rc = block_readv(b->block, sector * BLOCK_SECTOR, c->writable, (int)c->writable_count);
    if (!rc)
        virtq_chain_write(c, NULL, c->writable_bytes);
    return virtio_blk_result(rc);
}

/* What a driver that knows no flush has written must be durable (section 5.2.6.2). */
static uint8_t virtio_blk_settle(struct virtio_blk *b, int rc)
{
    if (!rc && !virtio_dev_has(&b->vd, F_FLUSH))
        rc = block_flush(b->block);
    return virtio_blk_result(rc);
}

static uint8_t virtio_blk_write(struct virtio_blk *b, struct virtq_chain *c, uint64_t sector)
{
    if (block_readonly(b->block) || c->readable_bytes % BLOCK_SECTOR ||
        !virtio_blk_in_range(b, sector, c->readable_bytes / BLOCK_SECTOR))
        return S_IOERR;
    int rc = block_writev(b->block, sector * BLOCK_SECTOR, c->readable, (int)c->readable_count);
    return virtio_blk_settle(b, rc);
}

/* One range of a discard or write-zeroes request (section 5.2.6.2). */
static uint8_t virtio_blk_range(struct virtio_blk *b, bool zeroes, const uint8_t raw[RANGE_SIZE])
{
    uint64_t sector = le64_get(raw);
    uint32_t sectors = le32_get(raw + 8);
    uint32_t flags = le32_get(raw + 12);
    if (flags & ~(zeroes ? RANGE_UNMAP : 0u))
        return S_UNSUPP;
    if (sectors > (zeroes ? ZEROES_SECTORS_MAX : DISCARD_SECTORS_MAX) ||
        !virtio_blk_in_range(b, sector, sectors))
        return S_IOERR;
    uint64_t offset = sector * BLOCK_SECTOR;
    uint64_t len = (uint64_t)sectors * BLOCK_SECTOR;
    if (zeroes)
        return virtio_blk_settle(b, block_write_zeroes(b->block, offset, len, flags & RANGE_UNMAP));
    int rc = block_discard(b->block, offset, len);
    return rc == -ENOTSUP ? S_OK : virtio_blk_settle(b, rc);
}

static uint8_t virtio_blk_ranges(struct virtio_blk *b, struct virtq_chain *c, bool zeroes)
{
    if (!virtio_dev_has(&b->vd, zeroes ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    uint64_t most = zeroes ? 1 : DISCARD_SEGMENTS_MAX;
    if (!c->readable_bytes || c->readable_bytes % RANGE_SIZE ||
        c->readable_bytes / RANGE_SIZE > most)
        return S_IOERR;
    uint8_t raw[RANGE_SIZE];
    while (virtq_chain_read(c, raw, sizeof raw)) {
        uint8_t status = virtio_blk_range(b, zeroes, raw);
        if (status != S_OK)
            return status;
    }
    return S_OK;
}

static uint8_t virtio_blk_execute(struct virtio_blk *b, struct virtq_chain *c,
                                  const uint8_t header[HEADER_SIZE])
{
    uint64_t sector = le64_get(header + 8);
    switch (le32_get(header)) {
    case T_IN:
        return virtio_blk_read(b, c, sector);
    case T_OUT:
        return virtio_blk_write(b, c, sector);
    case T_FLUSH:
        return virtio_blk_result(block_flush(b->block));
    case T_GET_ID:
        virtq_chain_write(c, b->serial, sizeof b->serial);
        return S_OK;
    case T_DISCARD:
        return virtio_blk_ranges(b, c, false);
    case T_WRITE_ZEROES:
        return virtio_blk_ranges(b, c, true);
    default:
        return S_UNSUPP;
    }
}

/*
 * Carries out one request; false if it is not one. *written counts the bytes from the front of the
 * writable buffers that are now valid: the status at their end only if all before it are.
 */
static bool virtio_blk_request(struct virtio_blk *b, struct virtq_chain *c, uint32_t *written)
{
    uint8_t header[HEADER_SIZE];
    uint8_t *status = virtq_chain_cut_last(c);
    if (!status || virtq_chain_read(c, header, sizeof header) != sizeof header)
        return false;
    uint64_t room = c->writable_bytes;
    *status = virtio_blk_execute(b, c, header);
    *written = (uint32_t)(room - c->writable_bytes) + !c->writable_bytes;
    return true;
}

static void virtio_blk_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_blk *b = virtio_blk_of(vd);
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, queue))
        return;
    while ((c = virtio_dev_pop(vd, queue))) {
        uint32_t written = 0;
        if (!virtio_blk_request(b, c, &written)) {
            virtio_dev_fail(vd);
            break;
        }
        virtq_push(&vd->queues[queue], c, written);
    }
    virtio_dev_signal(vd, queue);
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
    virtio_dev_fini(virtio_dev_of(dev));
    free(virtio_blk_of(virtio_dev_of(dev)));
}

static const struct device_ops virtio_blk_ops = {
    .name = "virtio_blk",
    .state = &virtio_blk_state,
    .reset = virtio_dev_reset,
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
    le16_put(config + CONFIG_NUM_QUEUES, 1);
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
                              struct block *block, const char *serial, struct error *err)
{
    struct virtio_blk *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(err, ENOMEM, "out of memory for disk '%s'", id);
        return NULL;
    }
    uint64_t features = VIRTIO_FEATURE(F_SIZE_MAX) | VIRTIO_FEATURE(F_SEG_MAX) |
                        VIRTIO_FEATURE(F_BLK_SIZE) | VIRTIO_FEATURE(F_FLUSH) |
                        VIRTIO_FEATURE(F_TOPOLOGY);
    features |= block_readonly(block) ? VIRTIO_FEATURE(F_RO)
                                      : VIRTIO_FEATURE(F_DISCARD) | VIRTIO_FEATURE(F_WRITE_ZEROES);
    if (virtio_dev_init(&b->vd, &virtio_blk_ops, &virtio_blk_dev_ops, mem, irq, features, id,
                        err)) {
        free(b);
        return NULL;
    }
    b->block = block;
    b->capacity = block_size(block) / BLOCK_SECTOR;
    if (serial)
        memcpy(b->serial, serial, strnlen(serial, SERIAL_SIZE));
    virtio_blk_fill_config(b);
    return &b->vd.dev;
}
