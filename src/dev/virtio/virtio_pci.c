#include "dev/virtio/virtio_pci.h"

#include "base/bits.h"
#include "dev/pci/pci_host.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define VENDOR 0x1af4u
#define DEVICE_BASE 0x1040u /* section 4.1.2.1: plus the virtio device number */
#define SUBSYSTEM 0x1100u
#define NO_VECTOR 0xffffu

enum { BAR_MSIX = 1, BAR_MODERN = 4 };

/* The structures in BAR_MODERN (section 4.1.4), a page each. */
enum structure { COMMON, ISR, DEVICE, NOTIFY, STRUCTURES };
#define STRUCTURE_SIZE 0x1000u
#define NOTIFY_MULTIPLIER 4u

/* Vendor capability, section 4.1.4: offsets, and the types of the structures. */
enum { CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_EXTRA = 16 };
enum { TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_ISR = 3, TYPE_DEVICE = 4, TYPE_PCI = 5 };

/* Section 4.1.4.3. */
enum {
    COMMON_DEVICE_FEATURE_SELECT = 0x00,
    COMMON_DEVICE_FEATURE = 0x04,
    COMMON_DRIVER_FEATURE_SELECT = 0x08,
    COMMON_DRIVER_FEATURE = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_NUM_QUEUES = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFF = 0x1e,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_DRIVER = 0x28,
    COMMON_QUEUE_DEVICE = 0x30,
    COMMON_SIZE = 0x38,
};

/* Bytes of the field at an offset: others are not there (section 4.1.3.1). */
static const uint8_t common_width[COMMON_SIZE] = {
    [COMMON_DEVICE_FEATURE_SELECT] = 4,
    [COMMON_DEVICE_FEATURE] = 4,
    [COMMON_DRIVER_FEATURE_SELECT] = 4,
    [COMMON_DRIVER_FEATURE] = 4,
    [COMMON_CONFIG_VECTOR] = 2,
    [COMMON_NUM_QUEUES] = 2,
    [COMMON_STATUS] = 1,
    [COMMON_GENERATION] = 1,
    [COMMON_QUEUE_SELECT] = 2,
    [COMMON_QUEUE_SIZE] = 2,
    [COMMON_QUEUE_VECTOR] = 2,
    [COMMON_QUEUE_ENABLE] = 2,
    [COMMON_QUEUE_NOTIFY_OFF] = 2,
    [COMMON_QUEUE_DESC] = 4,
    [COMMON_QUEUE_DESC + 4] = 4,
    [COMMON_QUEUE_DRIVER] = 4,
    [COMMON_QUEUE_DRIVER + 4] = 4,
    [COMMON_QUEUE_DEVICE] = 4,
    [COMMON_QUEUE_DEVICE + 4] = 4,
};

struct virtio_pci {
    struct pci_fn fn;
    struct virtio_dev *vd;
    unsigned pci_cap; /* the window in configuration space, section 4.1.4.9 */
    unsigned express;

    /* With the virtio device's lock. */
    uint16_t config_vector;
    uint16_t queue_vector[VIRTIO_QUEUE_MAX];
};

static struct virtio_pci *virtio_pci_of(struct pci_fn *fn)
{
    return container_of(fn, struct virtio_pci, fn);
}

/* ---- interrupts: what the device calls, its lock held ---- */

static bool virtio_pci_message(void *ctx, unsigned queue)
{
    struct virtio_pci *p = ctx;
    if (!pci_fn_msix_on(&p->fn))
        return false;
    pci_fn_msix_notify(&p->fn,
                       queue == VIRTIO_NO_QUEUE ? p->config_vector : p->queue_vector[queue]);
    return true;
}

static void virtio_pci_forget_vectors(void *ctx)
{
    struct virtio_pci *p = ctx;
    p->config_vector = NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++)
        p->queue_vector[i] = NO_VECTOR;
}

static const struct virtio_transport virtio_pci_transport = {
    .message = virtio_pci_message,
    .reset = virtio_pci_forget_vectors,
};

/* A vector that there is not reads back as none (section 4.1.5.1.2.1). */
static uint16_t virtio_pci_vector(const struct virtio_pci *p, uint64_t value)
{
    return value < p->fn.vectors ? (uint16_t)value : NO_VECTOR;
}

/* ---- the common structure; device's lock held ---- */

static uint32_t queue_read(const struct virtio_pci *p, const struct virtq *q, uint64_t offset)
{
    uint32_t number = p->vd->queue_sel;
    switch (offset) {
    case COMMON_QUEUE_SIZE:
        return q->size;
    case COMMON_QUEUE_VECTOR:
        return p->queue_vector[number];
    case COMMON_QUEUE_ENABLE:
        return q->ready;
    case COMMON_QUEUE_NOTIFY_OFF:
        return number;
    case COMMON_QUEUE_DESC:
        return (uint32_t)q->desc;
    case COMMON_QUEUE_DESC + 4:
        return (uint32_t)(q->desc >> 32);
    case COMMON_QUEUE_DRIVER:
        return (uint32_t)q->avail;
    case COMMON_QUEUE_DRIVER + 4:
        return (uint32_t)(q->avail >> 32);
    case COMMON_QUEUE_DEVICE:
        return (uint32_t)q->used;
    default:
        return (uint32_t)(q->used >> 32);
    }
}

static uint32_t common_read(struct virtio_pci *p, uint64_t offset)
{
    struct virtio_dev *vd = p->vd;
    const struct virtq *q = virtio_dev_selected(vd);
    if (offset >= COMMON_QUEUE_SIZE)
        return q ? queue_read(p, q, offset) : offset == COMMON_QUEUE_VECTOR ? NO_VECTOR : 0;
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        return vd->device_features_sel;
    case COMMON_DEVICE_FEATURE:
        return virtio_dev_offered(vd, vd->device_features_sel);
    case COMMON_DRIVER_FEATURE_SELECT:
        return vd->driver_features_sel;
    case COMMON_DRIVER_FEATURE:
        return vd->driver_features_sel < 2
                   ? (uint32_t)(vd->features >> 32 * vd->driver_features_sel)
                   : 0;
    case COMMON_CONFIG_VECTOR:
        return p->config_vector;
    case COMMON_NUM_QUEUES:
        return vd->queue_count;
    case COMMON_STATUS:
        return vd->status;
    case COMMON_GENERATION:
        return vd->config_generation & 0xff;
    default:
        return vd->queue_sel;
    }
}

/* The rings' places and size are fixed while the queue is enabled. */
static void queue_write_place(struct virtq *q, uint64_t offset, uint32_t value)
{
    unsigned lo = offset & 4 ? 32 : 0;
    switch (offset & ~UINT64_C(4)) {
    case COMMON_QUEUE_SIZE:
        q->size = value <= VIRTQ_MAX_SIZE ? (uint16_t)value : 0;
        break;
    case COMMON_QUEUE_DESC:
        q->desc = bits_set(q->desc, lo, 32, value);
        break;
    case COMMON_QUEUE_DRIVER:
        q->avail = bits_set(q->avail, lo, 32, value);
        break;
    case COMMON_QUEUE_DEVICE:
        q->used = bits_set(q->used, lo, 32, value);
        break;
    }
}

static void queue_write(struct virtio_pci *p, struct virtq *q, uint64_t offset, uint32_t value)
{
    if (offset == COMMON_QUEUE_VECTOR)
        p->queue_vector[p->vd->queue_sel] = virtio_pci_vector(p, value);
    else if (offset == COMMON_QUEUE_ENABLE && value == 1)
        virtio_dev_enable_selected(p->vd, true);
    else if (offset != COMMON_QUEUE_ENABLE && !q->ready)
        queue_write_place(q, offset, value);
}

static void common_write(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
    struct virtio_dev *vd = p->vd;
    struct virtq *q = virtio_dev_selected(vd);
    if (offset >= COMMON_QUEUE_SIZE) {
        if (q)
            queue_write(p, q, offset, value);
        return;
    }
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        vd->device_features_sel = value;
        break;
    case COMMON_DRIVER_FEATURE_SELECT:
        vd->driver_features_sel = value;
        break;
    case COMMON_DRIVER_FEATURE:
        virtio_dev_accept(vd, vd->driver_features_sel, value);
        break;
    case COMMON_CONFIG_VECTOR:
        p->config_vector = virtio_pci_vector(p, value);
        break;
    case COMMON_STATUS:
        virtio_dev_set_status(vd, (uint8_t)value);
        break;
    case COMMON_QUEUE_SELECT:
        vd->queue_sel = value;
        break;
    }
}

/* ---- BAR_MODERN; device's lock held ---- */

/* Reading acknowledges (section 4.1.4.5). */
static uint64_t isr_read(struct virtio_dev *vd)
{
    uint8_t isr = vd->isr;
    virtio_dev_ack(vd, isr);
    return isr;
}

static uint64_t modern_read(struct virtio_pci *p, uint64_t at, unsigned size)
{
    uint64_t offset = at % STRUCTURE_SIZE;
    switch (at / STRUCTURE_SIZE) {
    case COMMON:
        return offset < COMMON_SIZE && common_width[offset] == size ? common_read(p, offset) : 0;
    case ISR:
        return offset ? 0 : isr_read(p->vd);
    case DEVICE:
        return virtio_dev_read_config(p->vd, offset, size);
    default:
        return 0;
    }
}

static void modern_write(struct virtio_pci *p, uint64_t at, unsigned size, uint64_t value)
{
    uint64_t offset = at % STRUCTURE_SIZE;
    switch (at / STRUCTURE_SIZE) {
    case COMMON:
        if (offset < COMMON_SIZE && common_width[offset] == size)
            common_write(p, offset, (uint32_t)value);
        break;
    case DEVICE:
        virtio_dev_write_config(p->vd, offset, size, value);
        break;
    case NOTIFY:
        virtio_dev_notify(p->vd, (uint32_t)(offset / NOTIFY_MULTIPLIER));
        break;
    }
}

static uint64_t virtio_pci_bar_read(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size)
{
    struct virtio_pci *p = virtio_pci_of(fn);
    (void)bar;
    pthread_mutex_lock(&p->vd->dev.lock);
    uint64_t value = modern_read(p, offset, size);
    pthread_mutex_unlock(&p->vd->dev.lock);
    return value;
}

static void virtio_pci_bar_write(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size,
                                 uint64_t value)
{
    struct virtio_pci *p = virtio_pci_of(fn);
    (void)bar;
    pthread_mutex_lock(&p->vd->dev.lock);
    modern_write(p, offset, size, value);
    pthread_mutex_unlock(&p->vd->dev.lock);
}

/* ---- configuration space: the window for drivers that cannot map the BAR, and reset ---- */

struct cfg_access {
    uint64_t offset;
    unsigned size;
};

/* What the window shows now. False: it is not set up for an access that BAR_MODERN takes. */
static bool cfg_access(struct virtio_pci *p, unsigned at, unsigned size, struct cfg_access *a)
{
    unsigned data = p->pci_cap + CAP_EXTRA;
    if (at < data || at + size > data + 4)
        return false;
    pthread_mutex_lock(&p->fn.dev.lock);
    const uint8_t *cap = p->fn.config + p->pci_cap;
    uint8_t bar = cap[CAP_BAR];
    a->offset = le32_get(cap + CAP_OFFSET);
    a->size = le32_get(cap + CAP_LENGTH);
    pthread_mutex_unlock(&p->fn.dev.lock);
    return bar == BAR_MODERN && (a->size == 1 || a->size == 2 || a->size == 4) &&
           !(a->offset % a->size) && a->offset < STRUCTURES * STRUCTURE_SIZE;
}

static void virtio_pci_config_read(struct pci_fn *fn, unsigned at, unsigned size)
{
    struct virtio_pci *p = virtio_pci_of(fn);
    struct cfg_access a;
    if (!cfg_access(p, at, size, &a))
        return;
    uint64_t value = virtio_pci_bar_read(fn, BAR_MODERN, a.offset, a.size);
    pthread_mutex_lock(&fn->dev.lock);
    memcpy(fn->config + p->pci_cap + CAP_EXTRA, &value, a.size);
    pthread_mutex_unlock(&fn->dev.lock);
}

static void virtio_pci_config_written(struct pci_fn *fn, unsigned at, unsigned size, uint32_t value)
{
    struct virtio_pci *p = virtio_pci_of(fn);
    unsigned control = p->express + PCI_EXPRESS_CONTROL;
    struct cfg_access a;
    if (cfg_access(p, at, size, &a)) {
        uint8_t data[4];
        pthread_mutex_lock(&fn->dev.lock);
        memcpy(data, fn->config + p->pci_cap + CAP_EXTRA, sizeof data);
        pthread_mutex_unlock(&fn->dev.lock);
        virtio_pci_bar_write(fn, BAR_MODERN, a.offset, a.size,
                             bits_get(le32_get(data), 0, 8 * a.size));
    } else if (at <= control && control + 2 <= at + size &&
               value >> 8 * (control - at) & PCI_EXPRESS_CONTROL_RESET) {
        device_reset(&p->vd->dev);
        device_reset(&fn->dev);
    }
}

static const struct pci_fn_ops virtio_pci_fn_ops = {
    .bar_read = virtio_pci_bar_read,
    .bar_write = virtio_pci_bar_write,
    .config_read = virtio_pci_config_read,
    .config_written = virtio_pci_config_written,
};

/* ---- state ---- */

static int virtio_pci_post_load(void *obj, struct error *err)
{
    struct virtio_pci *p = obj;
    (void)err;
    p->config_vector = virtio_pci_vector(p, p->config_vector);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++)
        p->queue_vector[i] = virtio_pci_vector(p, p->queue_vector[i]);
    return 0;
}

static const struct state_field virtio_pci_fields[] = {
    STATE_STRUCT(struct virtio_pci, fn, &pci_fn_state),
    STATE_FIELD(struct virtio_pci, config_vector),
    STATE_ARRAY(struct virtio_pci, queue_vector),
    STATE_END,
};

static const struct state_table virtio_pci_state = {
    .name = "virtio_pci",
    .version = 1,
    .size = sizeof(struct virtio_pci),
    .fields = virtio_pci_fields,
    .post_load = virtio_pci_post_load,
};

static void virtio_pci_free(struct device *dev)
{
    struct virtio_pci *p = container_of(dev, struct virtio_pci, fn.dev);
    pci_fn_fini(&p->fn);
    free(p);
}

static const struct device_ops virtio_pci_ops = {
    .name = "virtio_pci",
    .state = &virtio_pci_state,
    .reset = pci_fn_reset,
    .free = virtio_pci_free,
};

/* ---- construction ---- */

/* PCI class codes by virtio device number; revision 1 or more is a device without legacy. */
static uint32_t class_revision(uint32_t device_id)
{
    static const uint32_t classes[] = {[1] = 0x020000, [2] = 0x010000, [3] = 0x078000};
    uint32_t class = device_id < ARRAY_SIZE(classes) ? classes[device_id] : 0;
    return (class ? class : 0x00ff00u) << 8 | 1;
}

static unsigned structure_cap(struct virtio_pci *p, unsigned type, enum structure s, uint32_t len)
{
    unsigned size = type == TYPE_NOTIFY ? CAP_EXTRA + 4 : CAP_EXTRA;
    const struct pci_reg rows[] = {
        {CAP_LEN, 1, size, 0},       {CAP_TYPE, 1, type, 0},
        {CAP_BAR, 1, BAR_MODERN, 0}, {CAP_OFFSET, 4, s * STRUCTURE_SIZE, 0},
        {CAP_LENGTH, 4, len, 0},     {CAP_EXTRA, 4, NOTIFY_MULTIPLIER, 0},
    };
    return pci_fn_cap(&p->fn, PCI_CAP_VENDOR, size, rows, ARRAY_SIZE(rows) - (type != TYPE_NOTIFY));
}

static unsigned window_cap(struct virtio_pci *p)
{
    static const struct pci_reg rows[] = {
        {CAP_LEN, 1, CAP_EXTRA + 4, 0},
        {CAP_TYPE, 1, TYPE_PCI, 0},
        {CAP_BAR, 1, 0, 0xff},
        {CAP_OFFSET, 4, 0, ~UINT32_C(0)},
        {CAP_LENGTH, 4, 0, ~UINT32_C(0)},
        {CAP_EXTRA, 4, 0, ~UINT32_C(0)},
    };
    return pci_fn_cap(&p->fn, PCI_CAP_VENDOR, CAP_EXTRA + 4, rows, ARRAY_SIZE(rows));
}

static void virtio_pci_caps(struct virtio_pci *p, bool msi)
{
    unsigned queues = p->vd->queue_count;
    pci_fn_intx(&p->fn);
    pci_fn_bar(&p->fn, BAR_MODERN, STRUCTURES * STRUCTURE_SIZE, PCI_BAR_64 | PCI_BAR_PREFETCHABLE);
    if (msi)
        pci_fn_msix(&p->fn, BAR_MSIX, queues + 1);
    structure_cap(p, TYPE_COMMON, COMMON, COMMON_SIZE);
    structure_cap(p, TYPE_ISR, ISR, 1);
    structure_cap(p, TYPE_DEVICE, DEVICE, VIRTIO_CONFIG_SIZE);
    structure_cap(p, TYPE_NOTIFY, NOTIFY, queues * NOTIFY_MULTIPLIER);
    p->pci_cap = window_cap(p);
    p->express = pci_fn_express(&p->fn);
}

struct device *virtio_pci_new(struct device *host, unsigned slot, struct device *virtio,
                              struct error *err)
{
    struct virtio_dev *vd = virtio_dev_of(virtio);
    const struct pci_id id = {
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_BASE + vd->ops->device_id),
        .subsystem_vendor = VENDOR,
        .subsystem = SUBSYSTEM,
        .class_revision = class_revision(vd->ops->device_id),
    };
    struct virtio_pci *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ENOMEM, "out of memory for the PCI function of '%s'", virtio->id);
        return NULL;
    }
    char name[sizeof virtio->id];
    snprintf(name, sizeof name, "pci%u", slot);
    pci_fn_init(&p->fn, &virtio_pci_ops, &virtio_pci_fn_ops, &id, name);
    p->vd = vd;
    virtio_pci_caps(p, pci_host_has_msi(host));
    virtio_pci_forget_vectors(p);
    virtio_dev_attach(vd, &virtio_pci_transport, p);
    pci_host_add(host, slot, &p->fn);
    return &p->fn.dev;
}
