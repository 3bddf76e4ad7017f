#include "dev/virtio/virtio_console.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

#define DEVICE_ID 3u
#define QUEUE_SIZE 128u

enum { QUEUE_RX = 0, QUEUE_TX = 1 };
enum { F_EMERG_WRITE = 2 };
enum { CONFIG_MAX_PORTS = 4, CONFIG_EMERG_WRITE = 8 };

struct virtio_console {
    struct virtio_dev vd;
    struct chr *chr;

    uint8_t tx_blocked; /* the back end was full */
    uint32_t tx_done;   /* bytes of the next chain to transmit that have been sent already */
};

static struct virtio_console *virtio_console_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_console, vd);
}

static size_t virtio_console_write(struct virtio_console *v, const void *data, size_t len)
{
    return v->chr ? chr_write(v->chr, data, len) : len;
}

/* Sends what the chain has left; false when the back end is full. */
static bool virtio_console_send(struct virtio_console *v, struct virtq_chain *c)
{
    virtq_chain_read(c, NULL, v->tx_done);
    while (c->readable_count) {
        size_t len = c->readable->iov_len;
        size_t taken = virtio_console_write(v, c->readable->iov_base, len);
        virtq_chain_read(c, NULL, taken);
        v->tx_done += (uint32_t)taken;
        if (taken < len)
            return false;
    }
    v->tx_done = 0;
    return true;
}

static void virtio_console_transmit(struct virtio_console *v)
{
    struct virtq *q = &v->vd.queues[QUEUE_TX];
    struct virtq_chain *c;
    v->tx_blocked = 0;
    if (!virtio_dev_arm(&v->vd, QUEUE_TX))
        return;
    while ((c = virtio_dev_pop(&v->vd, QUEUE_TX))) {
        if (!virtio_console_send(v, c)) {
            virtq_unpop(q);
            v->tx_blocked = 1;
            break;
        }
        virtq_push(q, c, 0);
    }
    virtio_dev_signal(&v->vd, QUEUE_TX);
}

static void virtio_console_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_console *v = virtio_console_of(vd);
    if (queue == QUEUE_TX)
        virtio_console_transmit(v);
    else if (v->chr)
        chr_accept_input(v->chr);
}

static void virtio_console_writable(void *ctx)
{
    struct virtio_console *v = ctx;
    pthread_mutex_lock(&v->vd.dev.lock);
    if (v->tx_blocked)
        virtio_console_transmit(v);
    pthread_mutex_unlock(&v->vd.dev.lock);
}

/* Room in the next receive buffer. */
static size_t virtio_console_can_receive(void *ctx)
{
    struct virtio_console *v = ctx;
    size_t room = 0;
    pthread_mutex_lock(&v->vd.dev.lock);
    struct virtq_chain *c =
        virtio_dev_arm(&v->vd, QUEUE_RX) ? virtio_dev_pop(&v->vd, QUEUE_RX) : NULL;
    if (c) {
        virtq_unpop(&v->vd.queues[QUEUE_RX]);
        room = c->writable_bytes;
        if (!room)
            virtio_dev_fail(&v->vd);
    }
    pthread_mutex_unlock(&v->vd.dev.lock);
    return room;
}

/* Input for which the driver has taken its buffers away meanwhile is lost. */
static void virtio_console_receive(void *ctx, const uint8_t *data, size_t len)
{
    struct virtio_console *v = ctx;
    struct virtq_chain *c;
    pthread_mutex_lock(&v->vd.dev.lock);
    if (virtio_dev_arm(&v->vd, QUEUE_RX)) {
        while (len && (c = virtio_dev_pop(&v->vd, QUEUE_RX))) {
            size_t n = virtq_chain_write(c, data, len);
            virtq_push(&v->vd.queues[QUEUE_RX], c, (uint32_t)n);
            data += n;
            len -= n;
        }
        virtio_dev_signal(&v->vd, QUEUE_RX);
    }
    pthread_mutex_unlock(&v->vd.dev.lock);
}

static void virtio_console_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size,
                                        uint64_t value)
{
    uint8_t byte = (uint8_t)value;
    (void)size;
    if (offset == CONFIG_EMERG_WRITE)
        virtio_console_write(virtio_console_of(vd), &byte, 1);
}

static void virtio_console_reset(struct virtio_dev *vd)
{
    struct virtio_console *v = virtio_console_of(vd);
    v->tx_blocked = 0;
    v->tx_done = 0;
}

static const struct virtio_dev_ops virtio_console_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = 2,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_console_notify,
    .reset = virtio_console_reset,
    .write_config = virtio_console_write_config,
};

static int virtio_console_post_load(void *obj, struct error *err)
{
    struct virtio_console *v = obj;
    (void)err;
    v->tx_blocked = v->tx_blocked != 0;
    if (v->chr)
        chr_accept_input(v->chr);
    if (v->chr && v->tx_blocked)
        chr_ask_writable(v->chr);
    return 0;
}

static const struct state_field virtio_console_fields[] = {
    STATE_STRUCT(struct virtio_console, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_console, tx_blocked),
    STATE_FIELD(struct virtio_console, tx_done),
    STATE_END,
};

static const struct state_table virtio_console_state = {
    .name = "virtio_console",
    .version = 1,
    .size = sizeof(struct virtio_console),
    .fields = virtio_console_fields,
    .post_load = virtio_console_post_load,
};

static void virtio_console_free(struct device *dev)
{
    struct virtio_console *v = virtio_console_of(virtio_dev_of(dev));
    if (v->chr) {
        chr_set_receiver(v->chr, NULL, NULL, NULL);
        chr_set_writable(v->chr, NULL, NULL);
    }
    virtio_dev_fini(&v->vd);
    free(v);
}

static const struct device_ops virtio_console_ops = {
    .name = "virtio_console",
    .state = &virtio_console_state,
    .reset = virtio_dev_reset,
    .free = virtio_console_free,
};

struct device *virtio_console_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  struct chr *chr, struct error *err)
{
    struct virtio_console *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(err, ENOMEM, "out of memory for console '%s'", id);
        return NULL;
    }
    if (virtio_dev_init(&v->vd, &virtio_console_ops, &virtio_console_dev_ops, mem, irq,
                        VIRTIO_FEATURE(F_EMERG_WRITE), id, err)) {
        free(v);
        return NULL;
    }
    le32_put(v->vd.config + CONFIG_MAX_PORTS, 1);
    v->chr = chr;
    if (chr) {
        chr_set_receiver(chr, virtio_console_can_receive, virtio_console_receive, v);
        chr_set_writable(chr, virtio_console_writable, v);
    }
    return &v->vd.dev;
}
