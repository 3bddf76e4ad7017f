#include "dev/virtio/virtio_balloon.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

#define DEVICE_ID 5u
#define QUEUE_SIZE 128u
#define PAGE_SHIFT 12u  /* of the balloon, whatever the guest's and the host's pages are */
#define PAGES_MAX 1024u /* in one request: bounds the time that it takes */

enum {
    F_STATS_VQ = 1,
    F_DEFLATE_ON_OOM = 2,
    F_PAGE_POISON = 4,
    F_REPORTING = 5,
};

#define FEATURES                                                     \
    (VIRTIO_FEATURE(F_STATS_VQ) | VIRTIO_FEATURE(F_DEFLATE_ON_OOM) | \
     VIRTIO_FEATURE(F_PAGE_POISON) | VIRTIO_FEATURE(F_REPORTING))

/* Offsets in struct virtio_balloon_config. */
enum { CONFIG_NUM_PAGES = 0, CONFIG_ACTUAL = 4, CONFIG_POISON = 12 };

/*
 * Section 5.5.2 numbers the queues as if all features were there; drivers and devices number those
 * that are. QUEUE_REPORTING is the number of the specification, which is never another one's.
 */
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS, QUEUE_NEXT, QUEUE_REPORTING, QUEUES };

#define STAT_SIZE 10u /* struct virtio_balloon_stat */
#define STATS_BYTES_MAX (64 * STAT_SIZE)

struct virtio_balloon {
    struct virtio_dev vd;
    uint64_t given_back;

    uint32_t target, actual; /* pages */
    uint32_t poison;         /* what the driver fills free pages with */
    uint64_t updates;
    uint32_t known;
    uint64_t values[VIRTIO_BALLOON_STATS];
};

static struct virtio_balloon *virtio_balloon_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_balloon, vd);
}

static struct virtio_balloon *virtio_balloon_dev(struct device *dev)
{
    return virtio_balloon_of(virtio_dev_of(dev));
}

const char *virtio_balloon_stat_name(unsigned tag)
{
    static const char *const names[VIRTIO_BALLOON_STATS] = {
        "swap_in",         "swap_out",          "major_faults",    "minor_faults",
        "free_memory",     "total_memory",      "available",       "disk_caches",
        "huge_pages_made", "huge_pages_failed", "oom_kills",       "allocation_stalls",
        "async_scanned",   "direct_scanned",    "async_reclaimed", "direct_reclaimed",
    };
    return tag < VIRTIO_BALLOON_STATS ? names[tag] : NULL;
}

/* ---- configuration space ---- */

static void virtio_balloon_update_config(struct virtio_balloon *b)
{
    le32_put(b->vd.config + CONFIG_NUM_PAGES, b->target);
    le32_put(b->vd.config + CONFIG_ACTUAL, b->actual);
    le32_put(b->vd.config + CONFIG_POISON, b->poison);
}

static void virtio_balloon_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size,
                                        uint64_t value)
{
    struct virtio_balloon *b = virtio_balloon_of(vd);
    if (size != 4)
        return;
    if (offset == CONFIG_ACTUAL)
        b->actual = (uint32_t)value;
    else if (offset == CONFIG_POISON)
        b->poison = (uint32_t)value;
    virtio_balloon_update_config(b);
}

/* ---- memory ---- */

static int page_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What is not in RAM is left out: it costs nothing. */
static void virtio_balloon_drop(struct virtio_balloon *b, uint32_t first, uint32_t count)
{
    uint64_t bytes = (uint64_t)count << PAGE_SHIFT;
    void *host = addrspace_ram(b->vd.mem, (uint64_t)first << PAGE_SHIFT, bytes);
    if (host)
        b->given_back += addrspace_give_back(b->vd.mem, host, bytes);
}

/* The pages come in any order; neighbours go together, because each piece is a system call. */
static bool virtio_balloon_inflate(struct virtio_balloon *b, struct virtq_chain *c)
{
    uint32_t pages[PAGES_MAX];
    unsigned n = (unsigned)(c->readable_bytes / sizeof pages[0]);
    if (n > PAGES_MAX)
        return false;
    virtq_chain_read(c, pages, n * sizeof pages[0]);
    qsort(pages, n, sizeof pages[0], page_order);
    for (unsigned i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && pages[end] - pages[end - 1] <= 1; end++)
            ;
        virtio_balloon_drop(b, pages[i], pages[end - 1] - pages[i] + 1);
    }
    return true;
}

/* Free pages that the driver expects to find filled with something must keep it. */
static void virtio_balloon_report(struct virtio_balloon *b, struct virtq_chain *c)
{
    if (virtio_dev_has(&b->vd, F_PAGE_POISON) && b->poison)
        return;
    for (unsigned i = 0; i < c->writable_count; i++)
        b->given_back +=
            addrspace_give_back(b->vd.mem, c->writable[i].iov_base, c->writable[i].iov_len);
}

/* ---- statistics ---- */

/*
 * The driver's buffer stays in the ring until the next statistics are wanted (section 5.5.6.3): it
 * is read where it is, and popped by virtio_balloon_ask.
 */
static void virtio_balloon_read_stats(struct virtio_balloon *b, unsigned queue)
{
    uint8_t raw[STAT_SIZE];
    struct virtq_chain *c = virtio_dev_pop(&b->vd, queue);
    if (!c)
        return;
    if (c->readable_bytes > STATS_BYTES_MAX) {
        virtio_dev_fail(&b->vd);
        return;
    }
    virtq_unpop(&b->vd.queues[queue]);
    b->known = 0;
    while (virtq_chain_read(c, raw, sizeof raw) == sizeof raw) {
        unsigned tag = le16_get(raw);
        if (tag >= VIRTIO_BALLOON_STATS)
            continue;
        b->values[tag] = le64_get(raw + 2);
        b->known |= UINT32_C(1) << tag;
    }
    b->updates++;
}

void virtio_balloon_ask(struct device *dev)
{
    struct virtio_dev *vd = virtio_dev_of(dev);
    pthread_mutex_lock(&dev->lock);
    if (virtio_dev_has(vd, F_STATS_VQ) && virtio_dev_arm(vd, QUEUE_STATS)) {
        const struct virtq_chain *c = virtio_dev_pop(vd, QUEUE_STATS);
        if (c)
            virtq_push(&vd->queues[QUEUE_STATS], c, 0);
        virtio_dev_signal(vd, QUEUE_STATS);
    }
    pthread_mutex_unlock(&dev->lock);
}

/* ---- the device ---- */

static bool virtio_balloon_reports(const struct virtio_balloon *b, unsigned queue)
{
    return queue == QUEUE_REPORTING ||
           queue == (virtio_dev_has(&b->vd, F_STATS_VQ) ? QUEUE_NEXT : QUEUE_STATS);
}

static void virtio_balloon_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_balloon *b = virtio_balloon_of(vd);
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, queue))
        return;
    if (queue == QUEUE_STATS && virtio_dev_has(vd, F_STATS_VQ)) {
        virtio_balloon_read_stats(b, queue);
        return;
    }
    while ((c = virtio_dev_pop(vd, queue))) {
        if (queue == QUEUE_INFLATE && !virtio_balloon_inflate(b, c)) {
            virtio_dev_fail(vd);
            break;
        }
        if (virtio_balloon_reports(b, queue))
            virtio_balloon_report(b, c);
        virtq_push(&vd->queues[queue], c, 0);
    }
    virtio_dev_signal(vd, queue);
}

/* The target is the host's and stays. */
static void virtio_balloon_reset(struct virtio_dev *vd)
{
    struct virtio_balloon *b = virtio_balloon_of(vd);
    b->actual = b->poison = 0;
    b->known = 0;
    b->updates = 0;
    memset(b->values, 0, sizeof b->values);
    virtio_balloon_update_config(b);
}

static const struct virtio_dev_ops virtio_balloon_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = QUEUES,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_balloon_notify,
    .reset = virtio_balloon_reset,
    .write_config = virtio_balloon_write_config,
};

static int virtio_balloon_post_load(void *obj, struct error *err)
{
    (void)err;
    virtio_balloon_update_config(obj);
    return 0;
}

static const struct state_field virtio_balloon_fields[] = {
    STATE_STRUCT(struct virtio_balloon, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_balloon, target),
    STATE_FIELD(struct virtio_balloon, actual),
    STATE_FIELD(struct virtio_balloon, poison),
    STATE_FIELD(struct virtio_balloon, updates),
    STATE_FIELD(struct virtio_balloon, known),
    STATE_ARRAY(struct virtio_balloon, values),
    STATE_END,
};

static const struct state_table virtio_balloon_state = {
    .name = "virtio_balloon",
    .version = 1,
    .size = sizeof(struct virtio_balloon),
    .fields = virtio_balloon_fields,
    .post_load = virtio_balloon_post_load,
};

static void virtio_balloon_free(struct device *dev)
{
    virtio_dev_fini(virtio_dev_of(dev));
    free(virtio_balloon_dev(dev));
}

static const struct device_ops virtio_balloon_ops = {
    .name = "virtio_balloon",
    .state = &virtio_balloon_state,
    .reset = virtio_dev_reset,
    .free = virtio_balloon_free,
};

static uint32_t pages_of(uint64_t bytes)
{
    return bytes >> PAGE_SHIFT < UINT32_MAX ? (uint32_t)(bytes >> PAGE_SHIFT) : UINT32_MAX;
}

struct device *virtio_balloon_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  uint64_t target, struct error *err)
{
    struct virtio_balloon *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(err, ENOMEM, "out of memory for balloon '%s'", id);
        return NULL;
    }
    if (virtio_dev_init(&b->vd, &virtio_balloon_ops, &virtio_balloon_dev_ops, mem, irq, FEATURES,
                        id, err)) {
        free(b);
        return NULL;
    }
    b->target = pages_of(target);
    return &b->vd.dev;
}

void virtio_balloon_set_target(struct device *dev, uint64_t bytes)
{
    struct virtio_balloon *b = virtio_balloon_dev(dev);
    pthread_mutex_lock(&dev->lock);
    if (b->target != pages_of(bytes)) {
        b->target = pages_of(bytes);
        virtio_balloon_update_config(b);
        virtio_dev_config_changed(&b->vd);
    }
    pthread_mutex_unlock(&dev->lock);
}

void virtio_balloon_stats(struct device *dev, struct virtio_balloon_stats *out)
{
    struct virtio_balloon *b = virtio_balloon_dev(dev);
    pthread_mutex_lock(&dev->lock);
    *out = (struct virtio_balloon_stats){
        .target = (uint64_t)b->target << PAGE_SHIFT,
        .actual = (uint64_t)b->actual << PAGE_SHIFT,
        .given_back = b->given_back,
        .updates = b->updates,
        .known = b->known,
    };
    memcpy(out->values, b->values, sizeof out->values);
    pthread_mutex_unlock(&dev->lock);
}
