#include "dev/virtio/virtio_rng.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define DEVICE_ID 4u
#define QUEUE_SIZE 64u
#define REQUEST_MAX 65536u /* a longer buffer comes back partly filled */

struct virtio_rng {
    struct virtio_dev vd;

    uint8_t seeded;
    uint64_t seed;
    uint64_t position; /* 64-bit words drawn */
};

static struct virtio_rng *virtio_rng_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_rng, vd);
}

/* Word n of the sequence: SplitMix64 (Steele, Lea and Flood 2014), which can start anywhere. */
static uint64_t virtio_rng_word(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void virtio_rng_draw(struct virtio_rng *r, uint8_t *buf, size_t len)
{
    if (r->seeded) {
        for (size_t i = 0; i < len; i += 8)
            le64_put(buf + i, virtio_rng_word(r->seed, r->position++));
        return;
    }
    /* Up to 256 bytes come whole, without interruption, once the host's generator is ready. */
    while (getrandom(buf, len, 0) != (ssize_t)len)
        ;
}

static uint32_t virtio_rng_fill(struct virtio_rng *r, struct virtq_chain *c)
{
    uint32_t done = 0;
    while (c->writable_count && done < REQUEST_MAX) {
        uint8_t buf[256];
        virtio_rng_draw(r, buf, sizeof buf);
        done += (uint32_t)virtq_chain_write(c, buf, sizeof buf);
    }
    return done;
}

static void virtio_rng_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, queue))
        return;
    while ((c = virtio_dev_pop(vd, queue))) {
        uint32_t done = virtio_rng_fill(virtio_rng_of(vd), c);
        if (!done) {
            virtio_dev_fail(vd);
            break;
        }
        virtq_push(&vd->queues[queue], c, done);
    }
    virtio_dev_signal(vd, queue);
}

static const struct virtio_dev_ops virtio_rng_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = 1,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_rng_notify,
};

static int virtio_rng_post_load(void *obj, struct error *err)
{
    struct virtio_rng *r = obj;
    (void)err;
    r->seeded = r->seeded != 0;
    return 0;
}

static const struct state_field virtio_rng_fields[] = {
    STATE_STRUCT(struct virtio_rng, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_rng, seeded),
    STATE_FIELD(struct virtio_rng, seed),
    STATE_FIELD(struct virtio_rng, position),
    STATE_END,
};

static const struct state_table virtio_rng_state = {
    .name = "virtio_rng",
    .version = 1,
    .size = sizeof(struct virtio_rng),
    .fields = virtio_rng_fields,
    .post_load = virtio_rng_post_load,
};

static void virtio_rng_free(struct device *dev)
{
    virtio_dev_fini(virtio_dev_of(dev));
    free(virtio_rng_of(virtio_dev_of(dev)));
}

static const struct device_ops virtio_rng_ops = {
    .name = "virtio_rng",
    .state = &virtio_rng_state,
    .reset = virtio_dev_reset,
    .free = virtio_rng_free,
};

struct device *virtio_rng_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              const uint64_t *seed, struct error *err)
{
    struct virtio_rng *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(err, ENOMEM, "out of memory for entropy source '%s'", id);
        return NULL;
    }
    if (virtio_dev_init(&r->vd, &virtio_rng_ops, &virtio_rng_dev_ops, mem, irq, 0, id, err)) {
        free(r);
        return NULL;
    }
    r->seeded = seed != NULL;
    r->seed = seed ? *seed : 0;
    return &r->vd.dev;
}
