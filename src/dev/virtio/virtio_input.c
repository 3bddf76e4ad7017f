#include "dev/virtio/virtio_input.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_ID 18u
#define QUEUE_SIZE 64u
#define EVENT_SIZE 8u /* struct virtio_input_event */

enum { QUEUE_EVENTS = 0, QUEUE_STATUS = 1, QUEUES };

/* Offsets in struct virtio_input_config; the driver writes the first two. */
enum { CONFIG_SELECT = 0, CONFIG_SUBSEL = 1, CONFIG_SIZE = 2, CONFIG_DATA = 8 };

/* Values of CONFIG_SELECT that have an answer. */
enum { SELECT_NAME = 0x01, SELECT_IDS = 0x03, SELECT_EVENTS = 0x11 };

/* Of Linux's input system, which the specification refers to. */
enum { EV_SYN = 0, EV_KEY = 1, KEY_POWER = 116, BUS_VIRTUAL = 6 };

static const char virtio_input_name[] = "guise power button";

/* Down and up again, each with the mark that ends a report. */
static const struct {
    uint16_t type, code;
    uint32_t value;
} virtio_input_events[] = {
    {EV_KEY, KEY_POWER, 1},
    {EV_SYN, 0, 0},
    {EV_KEY, KEY_POWER, 0},
    {EV_SYN, 0, 0},
};

struct virtio_input {
    struct virtio_dev vd;

    uint8_t select, subsel;
    uint8_t sent; /* of the events above; all: the button is not pressed */
};

static struct virtio_input *virtio_input_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_input, vd);
}

/* Shows what the driver has selected (section 5.8.4). */
static void virtio_input_show(struct virtio_input *in)
{
    uint8_t *config = in->vd.config, *data = config + CONFIG_DATA;
    unsigned size = 0;
    memset(config, 0, VIRTIO_CONFIG_SIZE);
    if (in->select == SELECT_NAME && !in->subsel) {
        size = sizeof virtio_input_name - 1;
        memcpy(data, virtio_input_name, size);
    } else if (in->select == SELECT_IDS && !in->subsel) {
        size = 8;
        le16_put(data, BUS_VIRTUAL);
    } else if (in->select == SELECT_EVENTS && in->subsel == EV_KEY) {
        size = KEY_POWER / 8 + 1;
        data[KEY_POWER / 8] = 1u << KEY_POWER % 8;
    }
    config[CONFIG_SELECT] = in->select;
    config[CONFIG_SUBSEL] = in->subsel;
    config[CONFIG_SIZE] = (uint8_t)size;
}

static void virtio_input_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size,
                                      uint64_t value)
{
    struct virtio_input *in = virtio_input_of(vd);
    if (size != 1 || offset > CONFIG_SUBSEL)
        return;
    *(offset == CONFIG_SELECT ? &in->select : &in->subsel) = (uint8_t)value;
    virtio_input_show(in);
}

/* The driver's buffers take what is left of a press; what finds no room waits for more. */
static void virtio_input_send(struct virtio_input *in)
{
    struct virtio_dev *vd = &in->vd;
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, QUEUE_EVENTS))
        return;
    while (in->sent < ARRAY_SIZE(virtio_input_events) && (c = virtio_dev_pop(vd, QUEUE_EVENTS))) {
        uint8_t event[EVENT_SIZE];
        le16_put(event, virtio_input_events[in->sent].type);
        le16_put(event + 2, virtio_input_events[in->sent].code);
        le32_put(event + 4, virtio_input_events[in->sent].value);
        if (virtq_chain_write(c, event, sizeof event) != sizeof event) {
            virtio_dev_fail(vd);
            return;
        }
        virtq_push(&vd->queues[QUEUE_EVENTS], c, sizeof event);
        in->sent++;
    }
    virtio_dev_signal(vd, QUEUE_EVENTS);
}

/* What the driver says of lights, of which a button has none, is taken and forgotten. */
static void virtio_input_take_status(struct virtio_dev *vd)
{
    struct virtq_chain *c;
    if (!virtio_dev_arm(vd, QUEUE_STATUS))
        return;
    while ((c = virtio_dev_pop(vd, QUEUE_STATUS)))
        virtq_push(&vd->queues[QUEUE_STATUS], c, 0);
    virtio_dev_signal(vd, QUEUE_STATUS);
}

static void virtio_input_notify(struct virtio_dev *vd, unsigned queue)
{
    if (queue == QUEUE_EVENTS)
        virtio_input_send(virtio_input_of(vd));
    else
        virtio_input_take_status(vd);
}

bool virtio_input_press(struct device *dev)
{
    struct virtio_input *in = virtio_input_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    bool heard = virtio_dev_queue_live(&in->vd, QUEUE_EVENTS);
    if (heard && in->sent == ARRAY_SIZE(virtio_input_events)) {
        in->sent = 0;
        virtio_input_send(in);
    }
    pthread_mutex_unlock(&dev->lock);
    return heard;
}

static void virtio_input_reset(struct virtio_dev *vd)
{
    struct virtio_input *in = virtio_input_of(vd);
    in->select = in->subsel = 0;
    in->sent = ARRAY_SIZE(virtio_input_events);
    virtio_input_show(in);
}

static const struct virtio_dev_ops virtio_input_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = QUEUES,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_input_notify,
    .reset = virtio_input_reset,
    .write_config = virtio_input_write_config,
};

static int virtio_input_post_load(void *obj, struct error *err)
{
    struct virtio_input *in = obj;
    if (in->sent > ARRAY_SIZE(virtio_input_events))
        return error_set(err, EINVAL, "saved state of a button that has sent %u events", in->sent);
    virtio_input_show(in);
    return 0;
}

static const struct state_field virtio_input_fields[] = {
    STATE_STRUCT(struct virtio_input, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_input, select),
    STATE_FIELD(struct virtio_input, subsel),
    STATE_FIELD(struct virtio_input, sent),
    STATE_END,
};

static const struct state_table virtio_input_state = {
    .name = "virtio_input",
    .version = 1,
    .size = sizeof(struct virtio_input),
    .fields = virtio_input_fields,
    .post_load = virtio_input_post_load,
};

static void virtio_input_free(struct device *dev)
{
    virtio_dev_fini(virtio_dev_of(dev));
    free(virtio_input_of(virtio_dev_of(dev)));
}

static const struct device_ops virtio_input_ops = {
    .name = "virtio_input",
    .state = &virtio_input_state,
    .reset = virtio_dev_reset,
    .free = virtio_input_free,
};

struct device *virtio_input_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                struct error *err)
{
    struct virtio_input *in = calloc(1, sizeof *in);
    if (!in) {
        error_set(err, ENOMEM, "out of memory for button '%s'", id);
        return NULL;
    }
    if (virtio_dev_init(&in->vd, &virtio_input_ops, &virtio_input_dev_ops, mem, irq, 0, id, err)) {
        free(in);
        return NULL;
    }
    virtio_input_reset(&in->vd);
    return &in->vd.dev;
}
