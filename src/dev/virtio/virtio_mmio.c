#include "dev/virtio/virtio_mmio.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

#define MAGIC 0x74726976u  /* "virt" */
#define VENDOR 0x53495547u /* "GUIS" */
#define VERSION 2u

enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_SIZE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_SHM_LEN = 0x0b0,
    REG_SHM_BASE = 0x0b8,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

static uint32_t virtio_mmio_read_reg(struct virtio_dev *vd, uint64_t reg)
{
    struct virtq *q = virtio_dev_selected(vd);
    switch (reg) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return VERSION;
    case REG_DEVICE_ID:
        return vd->ops->device_id;
    case REG_VENDOR_ID:
        return VENDOR;
    case REG_DEVICE_FEATURES:
        return virtio_dev_offered(vd, vd->device_features_sel);
    case REG_QUEUE_SIZE_MAX:
        return q ? vd->ops->queue_size : 0;
    case REG_QUEUE_READY:
        return q ? q->ready : 0;
    case REG_INTERRUPT_STATUS:
        return vd->isr;
    case REG_STATUS:
        return vd->status;
    case REG_SHM_LEN:
    case REG_SHM_LEN + 4:
    case REG_SHM_BASE:
    case REG_SHM_BASE + 4:
        return UINT32_MAX; /* no shared memory region has any number */
    case REG_CONFIG_GENERATION:
        return vd->config_generation;
    default:
        return 0;
    }
}

static uint64_t virtio_mmio_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct virtio_dev *vd = virtio_dev_of(dev);
    if (offset >= REG_CONFIG)
        return virtio_dev_read_config(vd, offset - REG_CONFIG, size);
    return size == 4 ? virtio_mmio_read_reg(vd, offset) : 0;
}

/* The selected queue's own registers, which are fixed while it is ready. */
static void virtio_mmio_write_queue(struct virtio_dev *vd, uint64_t reg, uint32_t value)
{
    struct virtq *q = virtio_dev_selected(vd);
    if (!q || q->ready)
        return;
    unsigned lo = reg & 4 ? 32 : 0;
    switch (reg & ~UINT64_C(4)) {
    case REG_QUEUE_SIZE:
        q->size = value <= VIRTQ_MAX_SIZE ? (uint16_t)value : 0;
        break;
    case REG_QUEUE_DESC:
        q->desc = bits_set(q->desc, lo, 32, value);
        break;
    case REG_QUEUE_DRIVER:
        q->avail = bits_set(q->avail, lo, 32, value);
        break;
    case REG_QUEUE_DEVICE:
        q->used = bits_set(q->used, lo, 32, value);
        break;
    }
}

static void virtio_mmio_write_reg(struct virtio_dev *vd, uint64_t reg, uint32_t value)
{
    switch (reg) {
    case REG_DEVICE_FEATURES_SEL:
        vd->device_features_sel = value;
        break;
    case REG_DRIVER_FEATURES:
        virtio_dev_accept(vd, vd->driver_features_sel, value);
        break;
    case REG_DRIVER_FEATURES_SEL:
        vd->driver_features_sel = value;
        break;
    case REG_QUEUE_SEL:
        vd->queue_sel = value;
        break;
    case REG_QUEUE_READY:
        virtio_dev_enable_selected(vd, value & 1);
        break;
    case REG_QUEUE_NOTIFY:
        virtio_dev_notify(vd, value);
        break;
    case REG_INTERRUPT_ACK:
        virtio_dev_ack(vd, value);
        break;
    case REG_STATUS:
        virtio_dev_set_status(vd, (uint8_t)value);
        break;
    case REG_QUEUE_SIZE:
    case REG_QUEUE_DESC:
    case REG_QUEUE_DESC + 4:
    case REG_QUEUE_DRIVER:
    case REG_QUEUE_DRIVER + 4:
    case REG_QUEUE_DEVICE:
    case REG_QUEUE_DEVICE + 4:
        virtio_mmio_write_queue(vd, reg, value);
        break;
    }
}

static void virtio_mmio_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_dev *vd = virtio_dev_of(dev);
    if (offset >= REG_CONFIG)
        virtio_dev_write_config(vd, offset - REG_CONFIG, size, value);
    else if (size == 4)
        virtio_mmio_write_reg(vd, offset, (uint32_t)value);
}

const struct mmio_ops virtio_mmio = {
    .read = virtio_mmio_read,
    .write = virtio_mmio_write,
    .sizes = 1 | 2 | 4 | 8,
};

static uint64_t virtio_mmio_empty_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    if (size != 4)
        return 0;
    switch (offset) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return VERSION;
    case REG_VENDOR_ID:
        return VENDOR;
    default:
        return 0;
    }
}

static void virtio_mmio_empty_write(struct device *dev, uint64_t offset, unsigned size,
                                    uint64_t value)
{
    (void)dev;
    (void)offset;
    (void)size;
    (void)value;
}

const struct mmio_ops virtio_mmio_empty = {
    .read = virtio_mmio_empty_read,
    .write = virtio_mmio_empty_write,
    .sizes = 1 | 2 | 4 | 8,
};

static void virtio_mmio_empty_reset(struct device *dev)
{
    (void)dev;
}

static void virtio_mmio_empty_free(struct device *dev)
{
    device_fini(dev);
    free(dev);
}

static const struct state_field virtio_mmio_empty_fields[] = {
    STATE_END,
};

static const struct state_table virtio_mmio_empty_state = {
    .name = "virtio_empty",
    .version = 1,
    .size = sizeof(struct device),
    .fields = virtio_mmio_empty_fields,
};

static const struct device_ops virtio_mmio_empty_ops = {
    .name = "virtio_empty",
    .state = &virtio_mmio_empty_state,
    .reset = virtio_mmio_empty_reset,
    .free = virtio_mmio_empty_free,
};

struct device *virtio_mmio_empty_new(struct error *err)
{
    struct device *dev = calloc(1, sizeof *dev);
    if (!dev) {
        error_set(err, ENOMEM, "out of memory for an empty virtio slot");
        return NULL;
    }
    device_init(dev, &virtio_mmio_empty_ops, "virtio-empty");
    return dev;
}
