#include "dev/virtio/virtio_console.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_ID 3u
#define QUEUE_SIZE 128u
#define PORTS (1 + VIRTIO_CONSOLE_NAMED_MAX)

/* Those of port 0; port n > 0 has 2n + 2 and 2n + 3. */
enum { QUEUE_RX = 0, QUEUE_TX = 1 };
enum { QUEUE_CONTROL_RX = 2, QUEUE_CONTROL_TX = 3 };
enum { F_MULTIPORT = 1, F_EMERG_WRITE = 2 };
enum { CONFIG_MAX_PORTS = 4, CONFIG_EMERG_WRITE = 8 };

/* Control messages (section 5.3.6.2). */
enum {
    DEVICE_READY = 0,
    PORT_ADD = 1,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};
#define MESSAGE_SIZE 8u /* port, event, value */

/* What the driver is still to be told of a port, in this order. */
enum { TELL_ADD, TELL_CONSOLE, TELL_NAME, TELL_CLOSED, TELL_OPENED, TELLS };

struct console_port {
    struct virtio_console *v;
    unsigned id;
    const char *name; /* NULL: the console */
    struct chr *chr;  /* NULL: there is no such port */
    bool there;       /* on the host's side */

    uint8_t tx_blocked; /* the back end was full */
    uint32_t tx_done;   /* bytes of the next chain to transmit that have been sent already */
    uint8_t ready;      /* the driver has it */
    uint8_t open;       /* the guest has it open */
    uint8_t told;       /* `there` as the driver has been told, or will be */
    uint8_t pending;    /* 1 << TELL_... */
};

struct virtio_console {
    struct virtio_dev vd;
    unsigned port_count;
    struct console_port port[PORTS];
};

static struct virtio_console *virtio_console_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_console, vd);
}

static unsigned port_rx(const struct console_port *p)
{
    return p->id ? 2 * p->id + 2 : QUEUE_RX;
}

static unsigned port_tx(const struct console_port *p)
{
    return port_rx(p) + 1;
}

/* ---- output ---- */

static size_t port_write(struct console_port *p, const void *data, size_t len)
{
    return p->chr ? chr_write(p->chr, data, len) : len;
}

/* Sends what the chain has left; false when the back end is full. */
static bool port_send(struct console_port *p, struct virtq_chain *c)
{
    virtq_chain_read(c, NULL, p->tx_done);
    while (c->readable_count) {
        size_t len = c->readable->iov_len;
        size_t taken = port_write(p, c->readable->iov_base, len);
        virtq_chain_read(c, NULL, taken);
        p->tx_done += (uint32_t)taken;
        if (taken < len)
            return false;
    }
    p->tx_done = 0;
    return true;
}

static void port_transmit(struct console_port *p)
{
    struct virtio_dev *vd = &p->v->vd;
    unsigned queue = port_tx(p);
    struct virtq_chain *c;
    p->tx_blocked = 0;
    if (!virtio_dev_arm(vd, queue))
        return;
    while ((c = virtio_dev_pop(vd, queue))) {
        if (!port_send(p, c)) {
            virtq_unpop(&vd->queues[queue]);
            p->tx_blocked = 1;
            break;
        }
        virtq_push(&vd->queues[queue], c, 0);
    }
    virtio_dev_signal(vd, queue);
}

static void port_writable(void *ctx)
{
    struct console_port *p = ctx;
    pthread_mutex_lock(&p->v->vd.dev.lock);
    if (p->tx_blocked)
        port_transmit(p);
    pthread_mutex_unlock(&p->v->vd.dev.lock);
}

/* ---- input ---- */

/* Room in the next receive buffer. */
static size_t port_can_receive(void *ctx)
{
    struct console_port *p = ctx;
    struct virtio_dev *vd = &p->v->vd;
    unsigned queue = port_rx(p);
    size_t room = 0;
    pthread_mutex_lock(&vd->dev.lock);
    /* A driver throws away what comes to a named port that nobody has open. */
    bool wanted = !p->name || p->open;
    struct virtq_chain *c = wanted && virtio_dev_arm(vd, queue) ? virtio_dev_pop(vd, queue) : NULL;
    if (c) {
        virtq_unpop(&vd->queues[queue]);
        room = c->writable_bytes;
        if (!room)
            virtio_dev_fail(vd);
    }
    pthread_mutex_unlock(&vd->dev.lock);
    return room;
}

/* Input for which the driver has taken its buffers away meanwhile is lost. */
static void port_receive(void *ctx, const uint8_t *data, size_t len)
{
    struct console_port *p = ctx;
    struct virtio_dev *vd = &p->v->vd;
    unsigned queue = port_rx(p);
    struct virtq_chain *c;
    pthread_mutex_lock(&vd->dev.lock);
    if (virtio_dev_arm(vd, queue)) {
        while (len && (c = virtio_dev_pop(vd, queue))) {
            size_t n = virtq_chain_write(c, data, len);
            virtq_push(&vd->queues[queue], c, (uint32_t)n);
            data += n;
            len -= n;
        }
        virtio_dev_signal(vd, queue);
    }
    pthread_mutex_unlock(&vd->dev.lock);
}

/* ---- what the driver is told ---- */

/* Takes one thing that is pending and writes its message, up to the length returned. */
static size_t port_message(struct console_port *p, uint8_t *to)
{
    static const uint8_t events[TELLS] = {PORT_ADD, CONSOLE_PORT, PORT_NAME, PORT_OPEN, PORT_OPEN};
    unsigned what = (unsigned)__builtin_ctz(p->pending);
    p->pending &= (uint8_t) ~(1u << what);
    le32_put(to, p->id);
    le16_put(to + 4, events[what]);
    le16_put(to + 6, what != TELL_CLOSED);
    size_t len = what == TELL_NAME ? strlen(p->name) : 0;
    memcpy(to + MESSAGE_SIZE, len ? p->name : "", len);
    return MESSAGE_SIZE + len;
}

/* Tells what is pending as far as there are buffers. */
static void console_tell(struct virtio_console *v)
{
    uint8_t message[MESSAGE_SIZE + VIRTIO_CONSOLE_NAME_MAX];
    struct virtq_chain *c;
    unsigned i = 0;
    if (!virtio_dev_has(&v->vd, F_MULTIPORT) || !virtio_dev_arm(&v->vd, QUEUE_CONTROL_RX))
        return;
    for (;;) {
        while (i < v->port_count && !v->port[i].pending)
            i++;
        if (i == v->port_count || !(c = virtio_dev_pop(&v->vd, QUEUE_CONTROL_RX)))
            break;
        size_t len = port_message(&v->port[i], message);
        if (c->writable_bytes < len) {
            virtio_dev_fail(&v->vd);
            return;
        }
        virtq_chain_write(c, message, len);
        virtq_push(&v->vd.queues[QUEUE_CONTROL_RX], c, (uint32_t)len);
    }
    virtio_dev_signal(&v->vd, QUEUE_CONTROL_RX);
}

/* What the driver knows of the host's side is made true. */
static void port_update(struct console_port *p)
{
    const unsigned opened = 1u << TELL_OPENED, closed = 1u << TELL_CLOSED;
    if (!p->ready || p->told == p->there)
        return;
    p->told = p->there;
    if (p->there)
        p->pending |= opened;
    else if (p->pending & opened) /* he came and went before it was told */
        p->pending &= (uint8_t)~opened;
    else
        p->pending |= closed;
}

static void port_peer(void *ctx, bool there)
{
    struct console_port *p = ctx;
    pthread_mutex_lock(&p->v->vd.dev.lock);
    p->there = there;
    port_update(p);
    console_tell(p->v);
    pthread_mutex_unlock(&p->v->vd.dev.lock);
}

/* ---- what the driver says ---- */

static void port_set_open(struct console_port *p, bool open)
{
    p->open = open;
    if (!p->chr || !p->name)
        return;
    chr_set_heard(p->chr, open);
    if (open)
        chr_accept_input(p->chr);
}

static void port_set_ready(struct console_port *p, bool ready)
{
    p->ready = ready;
    p->told = 0;
    p->pending = 0;
    if (ready) {
        p->pending = (uint8_t)(1u << (p->name ? TELL_NAME : TELL_CONSOLE));
        port_update(p);
    } else {
        port_set_open(p, false);
    }
}

/* What makes no sense is passed over: the specification gives the device no way to complain. */
static void console_message(struct virtio_console *v, uint32_t id, unsigned event, bool value)
{
    if (event == DEVICE_READY) {
        for (unsigned i = 0; value && i < v->port_count; i++)
            if (v->port[i].chr)
                v->port[i].pending |= 1u << TELL_ADD;
        return;
    }
    struct console_port *p = id < v->port_count ? &v->port[id] : NULL;
    if (!p || !p->chr)
        return;
    if (event == PORT_READY)
        port_set_ready(p, value);
    else if (event == PORT_OPEN && p->ready)
        port_set_open(p, value);
}

static void console_control(struct virtio_console *v)
{
    uint8_t m[MESSAGE_SIZE];
    struct virtq_chain *c;
    if (!virtio_dev_arm(&v->vd, QUEUE_CONTROL_TX))
        return;
    while ((c = virtio_dev_pop(&v->vd, QUEUE_CONTROL_TX))) {
        if (virtq_chain_read(c, m, sizeof m) == sizeof m)
            console_message(v, le32_get(m), le16_get(m + 4), le16_get(m + 6) != 0);
        virtq_push(&v->vd.queues[QUEUE_CONTROL_TX], c, 0);
    }
    virtio_dev_signal(&v->vd, QUEUE_CONTROL_TX);
    console_tell(v);
}

/* ---- the device ---- */

static void virtio_console_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_console *v = virtio_console_of(vd);
    if (queue > QUEUE_TX && !virtio_dev_has(vd, F_MULTIPORT))
        return;
    if (queue == QUEUE_CONTROL_RX) {
        console_tell(v);
        return;
    }
    if (queue == QUEUE_CONTROL_TX) {
        console_control(v);
        return;
    }
    struct console_port *p = &v->port[queue > QUEUE_TX ? (queue - 2) / 2 : 0];
    if (queue == port_tx(p))
        port_transmit(p);
    else if (p->chr)
        chr_accept_input(p->chr);
}

static void virtio_console_write_config(struct virtio_dev *vd, uint64_t offset, unsigned size,
                                        uint64_t value)
{
    uint8_t byte = (uint8_t)value;
    (void)size;
    if (offset == CONFIG_EMERG_WRITE)
        port_write(&virtio_console_of(vd)->port[0], &byte, 1);
}

static void virtio_console_reset(struct virtio_dev *vd)
{
    struct virtio_console *v = virtio_console_of(vd);
    for (unsigned i = 0; i < v->port_count; i++) {
        struct console_port *p = &v->port[i];
        p->tx_blocked = 0;
        p->tx_done = 0;
        port_set_ready(p, false);
    }
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
    for (unsigned i = 0; i < PORTS; i++) {
        struct console_port *p = &v->port[i];
        p->tx_blocked = p->tx_blocked != 0;
        p->ready = p->ready != 0;
        p->told = p->told != 0;
        /* What there is none of has nothing to say. */
        p->pending &= !p->chr ? 0 : p->name ? 0x1d : 0x1b;
        if (!p->chr)
            continue;
        port_set_open(p, p->open != 0);
        port_update(p);
        chr_accept_input(p->chr);
        if (p->tx_blocked)
            chr_ask_writable(p->chr);
    }
    return 0;
}

static const struct state_field console_port_fields[] = {
    STATE_FIELD(struct console_port, tx_blocked),
    STATE_FIELD(struct console_port, tx_done),
    STATE_FIELD(struct console_port, ready),
    STATE_FIELD(struct console_port, open),
    STATE_FIELD(struct console_port, told),
    STATE_FIELD(struct console_port, pending),
    STATE_END,
};

static const struct state_table console_port_state = {
    .name = "virtio_console_port",
    .version = 1,
    .size = sizeof(struct console_port),
    .fields = console_port_fields,
};

static const struct state_field virtio_console_fields[] = {
    STATE_STRUCT(struct virtio_console, vd, &virtio_dev_state),
    STATE_STRUCTS(struct virtio_console, port, &console_port_state),
    STATE_END,
};

static const struct state_table virtio_console_state = {
    .name = "virtio_console",
    .version = 2,
    .size = sizeof(struct virtio_console),
    .fields = virtio_console_fields,
    .post_load = virtio_console_post_load,
};

/* Tells what has changed between a load and the start. */
static int virtio_console_start(struct device *dev, struct error *err)
{
    (void)err;
    console_tell(virtio_console_of(virtio_dev_of(dev)));
    return 0;
}

static void virtio_console_free(struct device *dev)
{
    struct virtio_console *v = virtio_console_of(virtio_dev_of(dev));
    for (unsigned i = 0; i < v->port_count; i++)
        if (v->port[i].chr) {
            chr_set_receiver(v->port[i].chr, NULL, NULL, NULL);
            chr_set_writable(v->port[i].chr, NULL, NULL);
            chr_set_peer(v->port[i].chr, NULL, NULL);
        }
    virtio_dev_fini(&v->vd);
    free(v);
}

static const struct device_ops virtio_console_ops = {
    .name = "virtio_console",
    .state = &virtio_console_state,
    .reset = virtio_dev_reset,
    .start = virtio_console_start,
    .free = virtio_console_free,
};

static void port_init(struct virtio_console *v, unsigned id, const char *name, struct chr *chr)
{
    struct console_port *p = &v->port[id];
    *p = (struct console_port){.v = v, .id = id, .name = name, .chr = chr};
    if (!chr)
        return;
    p->there = chr_peer(chr);
    chr_set_receiver(chr, port_can_receive, port_receive, p);
    chr_set_writable(chr, port_writable, p);
    chr_set_peer(chr, port_peer, p);
}

struct device *virtio_console_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  struct chr *chr, const struct virtio_console_port *named,
                                  unsigned named_count, struct error *err)
{
    if (named_count > VIRTIO_CONSOLE_NAMED_MAX) {
        error_set(err, EINVAL, "%u named ports: the machine takes up to %u", named_count,
                  VIRTIO_CONSOLE_NAMED_MAX);
        return NULL;
    }
    struct virtio_console *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(err, ENOMEM, "out of memory for console '%s'", id);
        return NULL;
    }
    uint64_t features = VIRTIO_FEATURE(F_EMERG_WRITE);
    if (virtio_dev_init(&v->vd, &virtio_console_ops, &virtio_console_dev_ops, mem, irq,
                        features | (named_count ? VIRTIO_FEATURE(F_MULTIPORT) : 0), id, err)) {
        free(v);
        return NULL;
    }
    v->port_count = 1 + named_count;
    v->vd.queue_count = named_count ? 2 * v->port_count + 2 : 2;
    le32_put(v->vd.config + CONFIG_MAX_PORTS, v->port_count);
    port_init(v, 0, NULL, chr);
    for (unsigned i = 0; i < named_count; i++)
        port_init(v, i + 1, named[i].name, named[i].chr);
    return &v->vd.dev;
}
