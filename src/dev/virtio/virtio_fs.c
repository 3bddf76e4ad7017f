#include "dev/virtio/virtio_fs.h"

#include "base/bits.h"
#include "dev/virtio/vhost_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_ID 26u
#define QUEUE_SIZE 512u
/* One for what must not wait (FORGET), and some for requests: one for each of a few harts. */
#define QUEUES 5u
#define CONFIG_NUM_REQUEST_QUEUES SHARE_TAG_MAX

/* FUSE's headers, in the guest's order of bytes: of a request and of its answer. */
#define IN_SIZE 40u
#define IN_UNIQUE 8u
#define OUT_SIZE 16u

struct virtio_fs {
    struct virtio_dev vd;
    struct virtio_dev_ops ops; /* as many queues as the back end has */
    struct vhost_user vhost;
    const struct share *share;
};

static struct virtio_fs *virtio_fs_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_fs, vd);
}

/* ---- without a back end ---- */

static uint32_t virtio_fs_refuse(struct virtq_chain *c)
{
    uint8_t in[IN_SIZE] = {0}, out[OUT_SIZE];
    virtq_chain_read(c, in, sizeof in);
    le32_put(out, OUT_SIZE);
    le32_put(out + 4, (uint32_t)-EIO);
    memcpy(out + 8, in + IN_UNIQUE, 8);
    return (uint32_t)virtq_chain_write(c, out, sizeof out);
}

static void virtio_fs_refuse_all(struct virtio_dev *vd, unsigned queue)
{
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, queue))
        return;
    while ((c = virtio_dev_pop(vd, queue)))
        virtq_push(&vd->queues[queue], c, virtio_fs_refuse(c));
    virtio_dev_signal(vd, queue);
}

static void virtio_fs_gone(struct virtio_dev *vd)
{
    fprintf(stderr,
            "guise: %s: what serves this folder has ended; in the guest it is out of reach\n",
            share_path(virtio_fs_of(vd)->share));
    for (unsigned i = 0; i < vd->ops->queue_count; i++)
        virtio_fs_refuse_all(vd, i);
}

/* ---- the device ---- */

static void virtio_fs_notify(struct virtio_dev *vd, unsigned queue)
{
    if (!vhost_user_notify(&virtio_fs_of(vd)->vhost, queue))
        virtio_fs_refuse_all(vd, queue);
}

static void virtio_fs_quiesce(struct virtio_dev *vd)
{
    vhost_user_stop(&virtio_fs_of(vd)->vhost);
}

static void virtio_fs_drain(struct device *dev)
{
    vhost_user_drain(&virtio_fs_of(virtio_dev_of(dev))->vhost);
}

static const struct virtio_dev_ops virtio_fs_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = QUEUES,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_fs_notify,
    .quiesce = virtio_fs_quiesce,
};

/* What is mounted, open and known by number is the back end's, and is not part of it. */
static const struct state_field virtio_fs_fields[] = {
    STATE_STRUCT(struct virtio_fs, vd, &virtio_dev_state),
    STATE_END,
};

static const struct state_table virtio_fs_state = {
    .name = "virtio_fs",
    .version = 1,
    .size = sizeof(struct virtio_fs),
    .fields = virtio_fs_fields,
};

static void virtio_fs_free(struct device *dev)
{
    struct virtio_fs *f = virtio_fs_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    vhost_user_stop(&f->vhost);
    pthread_mutex_unlock(&dev->lock);
    vhost_user_fini(&f->vhost);
    virtio_dev_fini(&f->vd);
    free(f);
}

static const struct device_ops virtio_fs_ops = {
    .name = "virtio_fs",
    .state = &virtio_fs_state,
    .reset = virtio_dev_reset,
    .drain = virtio_fs_drain,
    .free = virtio_fs_free,
};

static int virtio_fs_connect(struct virtio_fs *f, struct share *share, struct loop *loop,
                             struct error *err)
{
    const char *tag = share_tag(share);
    unsigned queues = QUEUES;
    int rc = vhost_user_init(&f->vhost, &f->vd, share_take_socket(share), loop, &queues, err);
    if (!rc && queues < 2)
        rc = error_set(err, EPROTO, "the back end has no queue for requests");
    if (rc)
        return error_prefix(err, "%s", share_path(share));
    f->vhost.gone = virtio_fs_gone;
    f->ops.queue_count = queues;
    memcpy(f->vd.config, tag, strnlen(tag, SHARE_TAG_MAX));
    le32_put(f->vd.config + CONFIG_NUM_REQUEST_QUEUES, queues - 1);
    return 0;
}

struct device *virtio_fs_new(struct addrspace *mem, struct irq_line irq, const char *id,
                             struct share *share, struct loop *loop, struct error *err)
{
    struct virtio_fs *f = calloc(1, sizeof *f);
    if (!f) {
        error_set(err, ENOMEM, "out of memory for the folder '%s'", id);
        return NULL;
    }
    f->ops = virtio_fs_dev_ops;
    f->share = share;
    if (virtio_dev_init(&f->vd, &virtio_fs_ops, &f->ops, mem, irq, 0, id, err)) {
        free(f);
        return NULL;
    }
    f->vhost.fd = -1;
    if (virtio_fs_connect(f, share, loop, err)) {
        virtio_fs_free(&f->vd.dev);
        return NULL;
    }
    return &f->vd.dev;
}
