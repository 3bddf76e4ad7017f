#include "dev/virtio/virtio.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define COMMON_FEATURES                                                            \
    (VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | \
     VIRTIO_FEATURE(VIRTIO_F_VERSION_1))

#define DRIVER_STATUS                                                             \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static void virtio_dev_update_irq(struct virtio_dev *vd)
{
    irq_set(&vd->irq, vd->isr != 0);
}

void virtio_dev_attach(struct virtio_dev *vd, const struct virtio_transport *t, void *ctx)
{
    vd->transport = t;
    vd->transport_ctx = ctx;
}

void virtio_dev_interrupt(struct virtio_dev *vd, unsigned queue)
{
    if (vd->transport && vd->transport->message(vd->transport_ctx, queue))
        return;
    vd->isr |= queue == VIRTIO_NO_QUEUE ? VIRTIO_ISR_CONFIG : VIRTIO_ISR_QUEUE;
    virtio_dev_update_irq(vd);
}

bool virtio_dev_has(const struct virtio_dev *vd, unsigned feature)
{
    return vd->features & VIRTIO_FEATURE(feature);
}

static int virtio_dev_enable_queue(struct virtio_dev *vd, struct virtq *q)
{
    if (q->size > vd->ops->queue_size)
        return -EINVAL;
    return virtq_enable(q, vd->mem, virtio_dev_has(vd, VIRTIO_F_INDIRECT_DESC),
                        virtio_dev_has(vd, VIRTIO_F_EVENT_IDX));
}

/* Values that no transport could have left behind are refused; pointers into RAM are found anew. */
static int virtio_dev_post_load(void *obj, struct error *err)
{
    struct virtio_dev *vd = obj;
    bool negotiated = vd->status & VIRTIO_STATUS_FEATURES_OK;
    if (negotiated && vd->features & ~vd->offered)
        return error_set(err, EINVAL,
                         "saved state uses features 0x%llx that the device does not offer",
                         (unsigned long long)(vd->features & ~vd->offered));
    vd->status &= DRIVER_STATUS | VIRTIO_STATUS_NEEDS_RESET;
    vd->isr &= VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG;
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        struct virtq *q = &vd->queues[i];
        if (!q->ready)
            continue;
        if (!negotiated || i >= vd->queue_count || virtio_dev_enable_queue(vd, q))
            return error_set(err, EINVAL, "saved state of queue %u is not valid", i);
    }
    virtio_dev_update_irq(vd);
    return 0;
}

static const struct state_field virtio_dev_fields[] = {
    STATE_FIELD(struct virtio_dev, features),
    STATE_FIELD(struct virtio_dev, device_features_sel),
    STATE_FIELD(struct virtio_dev, driver_features_sel),
    STATE_FIELD(struct virtio_dev, queue_sel),
    STATE_FIELD(struct virtio_dev, config_generation),
    STATE_FIELD(struct virtio_dev, status),
    STATE_FIELD(struct virtio_dev, isr),
    STATE_STRUCTS(struct virtio_dev, queues, &virtq_state),
    STATE_END,
};

const struct state_table virtio_dev_state = {
    .name = "virtio_dev",
    .version = 1,
    .size = sizeof(struct virtio_dev),
    .fields = virtio_dev_fields,
    .post_load = virtio_dev_post_load,
};

int virtio_dev_init(struct virtio_dev *vd, const struct device_ops *device_ops,
                    const struct virtio_dev_ops *ops, struct addrspace *mem, struct irq_line irq,
                    uint64_t features, const char *id, struct error *err)
{
    vd->chain = malloc(sizeof *vd->chain);
    if (!vd->chain)
        return error_set(err, ENOMEM, "out of memory for virtio device '%s'", id);
    device_init(&vd->dev, device_ops, "%s", id);
    vd->ops = ops;
    vd->queue_count = ops->queue_count;
    vd->mem = mem;
    vd->irq = irq;
    vd->offered = features | COMMON_FEATURES;
    return 0;
}

void virtio_dev_fini(struct virtio_dev *vd)
{
    device_fini(&vd->dev);
    free(vd->chain);
}

static void virtio_dev_quiesce(struct virtio_dev *vd)
{
    if (vd->ops->quiesce)
        vd->ops->quiesce(vd);
}

void virtio_dev_reset(struct device *dev)
{
    struct virtio_dev *vd = virtio_dev_of(dev);
    virtio_dev_quiesce(vd);
    vd->features = 0;
    vd->device_features_sel = vd->driver_features_sel = vd->queue_sel = 0;
    vd->status = 0;
    vd->isr = 0;
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        virtq_reset(&vd->queues[i]);
        vd->queues[i].size = i < vd->queue_count ? vd->ops->queue_size : 0;
    }
    if (vd->ops->reset)
        vd->ops->reset(vd);
    if (vd->transport)
        vd->transport->reset(vd->transport_ctx);
    virtio_dev_update_irq(vd);
}

bool virtio_dev_queue_live(const struct virtio_dev *vd, unsigned queue)
{
    return vd->status & VIRTIO_STATUS_DRIVER_OK && !(vd->status & VIRTIO_STATUS_NEEDS_RESET) &&
           queue < vd->queue_count && vd->queues[queue].ready;
}

bool virtio_dev_arm(struct virtio_dev *vd, unsigned queue)
{
    if (!virtio_dev_queue_live(vd, queue))
        return false;
    if (!virtq_arm(&vd->queues[queue]))
        return true;
    virtio_dev_fail(vd);
    return false;
}

struct virtq_chain *virtio_dev_pop(struct virtio_dev *vd, unsigned queue)
{
    if (!virtio_dev_queue_live(vd, queue))
        return NULL;
    int rc = virtq_pop(&vd->queues[queue], vd->chain);
    if (rc < 0)
        virtio_dev_fail(vd);
    return rc > 0 ? vd->chain : NULL;
}

void virtio_dev_signal(struct virtio_dev *vd, unsigned queue)
{
    struct virtq *q = &vd->queues[queue];
    if (!q->ready || !virtq_wants_interrupt(q))
        return;
    virtio_dev_interrupt(vd, queue);
}

void virtio_dev_config_changed(struct virtio_dev *vd)
{
    vd->config_generation++;
    if (!(vd->status & VIRTIO_STATUS_DRIVER_OK))
        return;
    virtio_dev_interrupt(vd, VIRTIO_NO_QUEUE);
}

/* Section 2.1.2: the interrupt goes out only once the driver runs. */
void virtio_dev_fail(struct virtio_dev *vd)
{
    if (vd->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    vd->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (!(vd->status & VIRTIO_STATUS_DRIVER_OK))
        return;
    virtio_dev_interrupt(vd, VIRTIO_NO_QUEUE);
}

uint32_t virtio_dev_offered(const struct virtio_dev *vd, uint32_t word)
{
    return word < 2 ? (uint32_t)(vd->offered >> 32 * word) : 0;
}

void virtio_dev_accept(struct virtio_dev *vd, uint32_t word, uint32_t bits)
{
    if (word < 2 && !(vd->status & VIRTIO_STATUS_FEATURES_OK))
        vd->features = bits_set(vd->features, 32 * word, 32, bits);
}

static bool virtio_dev_features_valid(const struct virtio_dev *vd)
{
    return !(vd->features & ~vd->offered) && virtio_dev_has(vd, VIRTIO_F_VERSION_1);
}

void virtio_dev_set_status(struct virtio_dev *vd, uint8_t value)
{
    if (!value) {
        virtio_dev_reset(&vd->dev);
        return;
    }
    /* A driver only adds bits; only the device sets NEEDS_RESET. */
    unsigned status = vd->status | (value & (unsigned)DRIVER_STATUS);
    if (!(vd->status & VIRTIO_STATUS_FEATURES_OK) && !virtio_dev_features_valid(vd))
        status &= ~(unsigned)VIRTIO_STATUS_FEATURES_OK;
    if (!(status & VIRTIO_STATUS_FEATURES_OK))
        status &= ~(unsigned)VIRTIO_STATUS_DRIVER_OK;
    vd->status = (uint8_t)status;
}

struct virtq *virtio_dev_selected(struct virtio_dev *vd)
{
    return vd->queue_sel < vd->queue_count ? &vd->queues[vd->queue_sel] : NULL;
}

void virtio_dev_enable_selected(struct virtio_dev *vd, bool enable)
{
    struct virtq *q = virtio_dev_selected(vd);
    if (!q || q->ready == enable)
        return;
    if (!enable) {
        virtio_dev_quiesce(vd);
        q->ready = 0;
        q->next_avail = q->next_used = q->signaled_used = 0;
    } else if (!(vd->status & VIRTIO_STATUS_FEATURES_OK) || virtio_dev_enable_queue(vd, q)) {
        virtio_dev_fail(vd);
    }
}

void virtio_dev_notify(struct virtio_dev *vd, uint32_t queue)
{
    if (virtio_dev_queue_live(vd, queue))
        vd->ops->notify(vd, queue);
}

void virtio_dev_ack(struct virtio_dev *vd, uint32_t isr)
{
    vd->isr &= (uint8_t)~isr;
    virtio_dev_update_irq(vd);
}

uint64_t virtio_dev_read_config(const struct virtio_dev *vd, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    if (offset < VIRTIO_CONFIG_SIZE && size <= VIRTIO_CONFIG_SIZE - offset)
        memcpy(&value, vd->config + offset, size);
    return value;
}

void virtio_dev_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size, uint64_t value)
{
    if (vd->ops->write_config)
        vd->ops->write_config(vd, offset, size, value);
}
