#include "dev/virtio/virtio_vsock.h"

#include "base/bits.h"
#include "base/loop.h"
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_ID 19u
#define QUEUE_SIZE 128u
#define HOST_CID 2u
#define ROOM (256u << 10) /* bytes from the guest that may wait for a socket, of each flow */
#define RESETS 64u        /* that wait for a buffer of the driver's */
#define AT_ONCE 65536u    /* bytes for the guest in one packet */

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUES };
enum { F_STREAM = 0 };
enum { TYPE_STREAM = 1 };
enum { EVENT_TRANSPORT_RESET = 0 };
enum { SHUT_RECEIVE = 1, SHUT_SEND = 2, SHUT_ALL = 3 };

enum {
    OP_REQUEST = 1,
    OP_RESPONSE = 2,
    OP_RST = 3,
    OP_SHUTDOWN = 4,
    OP_RW = 5,
    OP_CREDIT_UPDATE = 6,
    OP_CREDIT_REQUEST = 7,
};

/* Offsets in struct virtio_vsock_hdr (section 5.10.6). */
enum {
    HDR_SRC_CID = 0,
    HDR_DST_CID = 8,
    HDR_SRC_PORT = 16,
    HDR_DST_PORT = 20,
    HDR_LEN = 24,
    HDR_TYPE = 28,
    HDR_OP = 30,
    HDR_FLAGS = 32,
    HDR_BUF_ALLOC = 36,
    HDR_FWD_CNT = 40,
    HDR_SIZE = 44,
};

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len, flags, buf_alloc, fwd_cnt;
    uint16_t type, op;
};

enum flow_state { FLOW_FREE, FLOW_ASKED, FLOW_OPEN, FLOW_RESET };

/* A connection. Counters wrap, as the driver's do. */
struct flow {
    enum flow_state state;       /* RESET: only an RST is still to be sent */
    struct vsock_stream *stream; /* NULL in RESET */
    uint32_t guest_port, host_port;
    uint32_t guest_room, guest_taken; /* buf_alloc and fwd_cnt, as the guest last said */
    uint32_t sent;                    /* bytes to the guest */
    uint32_t taken, told;             /* bytes from the guest that are away, as known to it */
    bool respond, tell;               /* an answer, or news of credit, are to be sent */
    uint8_t shut, shut_sent;          /* what the host does no more, and what the guest knows */
    uint8_t guest_shut;               /* what the guest does no more */
    bool readable;                    /* the socket has something, or has ended */
    uint8_t *waiting;                 /* ROOM bytes, NULL: nothing has waited yet */
    uint32_t first, count;            /* those that wait */
};

struct address {
    uint32_t guest_port, host_port;
};

struct virtio_vsock {
    struct virtio_dev vd;
    struct vsock *vsock;
    struct loop *loop;
    struct loop_job job; /* serves the rings */

    uint8_t had_flows; /* when it was saved */
    uint8_t lost;      /* the driver does not know yet that all connections are gone */

    /* Not saved. */
    struct flow flow[VSOCK_MAX_STREAMS];
    unsigned next; /* the flow whose turn it is */
    struct address reset[RESETS];
    unsigned reset_count;
    bool dropping; /* the driver is another one than that of the flows */
    uint8_t buffer[AT_ONCE];
};

static struct virtio_vsock *vsock_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_vsock, vd);
}

/* ---- flows ---- */

static struct flow *flow_find(struct virtio_vsock *v, uint32_t guest_port, uint32_t host_port)
{
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++) {
        struct flow *f = &v->flow[i];
        if (f->state != FLOW_FREE && f->guest_port == guest_port && f->host_port == host_port)
            return f;
    }
    return NULL;
}

static struct flow *flow_new(struct virtio_vsock *v, enum flow_state state,
                             struct vsock_stream *stream, uint32_t guest_port, uint32_t host_port)
{
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++) {
        struct flow *f = &v->flow[i];
        if (f->state != FLOW_FREE)
            continue;
        *f = (struct flow){
            .state = state, .stream = stream, .guest_port = guest_port, .host_port = host_port};
        vsock_set_owner(stream, f);
        return f;
    }
    return NULL;
}

static void flow_end(struct flow *f)
{
    if (f->stream)
        vsock_close(f->stream);
    free(f->waiting);
    *f = (struct flow){.state = FLOW_FREE};
}

/* Ends it here; the guest is told when there is a buffer. */
static void flow_reset(struct flow *f)
{
    struct flow rest = {
        .state = FLOW_RESET, .guest_port = f->guest_port, .host_port = f->host_port};
    flow_end(f);
    *f = rest;
}

/* Which events are worth waking for. */
static void flow_wait(struct flow *f)
{
    unsigned events = 0;
    if (f->state == FLOW_OPEN && !f->readable && !(f->shut & SHUT_SEND))
        events |= LOOP_IN;
    if (f->count)
        events |= LOOP_OUT;
    vsock_wait(f->stream, events);
}

/* How much more the guest takes. */
static uint32_t flow_credit(const struct flow *f)
{
    uint32_t under_way = f->sent - f->guest_taken;
    return under_way < f->guest_room ? f->guest_room - under_way : 0;
}

/* ---- from the guest to sockets ---- */

/* Sends what waits; false: the stream is over. */
static bool flow_flush(struct flow *f)
{
    while (f->count) {
        uint32_t run = f->count < ROOM - f->first ? f->count : ROOM - f->first;
        ssize_t n = vsock_write(f->stream, f->waiting + f->first, run);
        if (n == -EAGAIN)
            break;
        if (n <= 0)
            return false;
        f->first = (f->first + (uint32_t)n) % ROOM;
        f->count -= (uint32_t)n;
        f->taken += (uint32_t)n;
    }
    if (!f->count && f->guest_shut & SHUT_SEND)
        vsock_end_write(f->stream);
    return true;
}

/* After something has come from the guest, or the socket has room. */
static void flow_serve(struct flow *f)
{
    if (!flow_flush(f) || (f->guest_shut == SHUT_ALL && !f->count)) {
        flow_reset(f);
        return;
    }
    f->tell |= f->taken - f->told >= ROOM / 2;
    flow_wait(f);
}

/* Writes what the chain has left as far as the socket takes it; false: the stream is over. */
static bool flow_write(struct flow *f, struct virtq_chain *c, uint32_t *len)
{
    while (*len) {
        size_t run = c->readable->iov_len < *len ? c->readable->iov_len : *len;
        ssize_t n = run ? vsock_write(f->stream, c->readable->iov_base, run) : -EAGAIN;
        if (n == -EAGAIN)
            return true;
        if (n <= 0)
            return false;
        virtq_chain_read(c, NULL, (size_t)n);
        f->taken += (uint32_t)n;
        *len -= (uint32_t)n;
    }
    return true;
}

/* The rest of it waits; false: out of memory. */
static bool flow_keep(struct flow *f, struct virtq_chain *c, uint32_t len)
{
    if (len && !f->waiting)
        f->waiting = malloc(ROOM);
    if (len && !f->waiting)
        return false;
    while (len) {
        uint32_t at = (f->first + f->count) % ROOM;
        uint32_t run = len < ROOM - at ? len : ROOM - at;
        virtq_chain_read(c, f->waiting + at, run);
        f->count += run;
        len -= run;
    }
    return true;
}

/* The payload is behind the header in the chain. */
static void flow_take(struct flow *f, struct virtq_chain *c, uint32_t len)
{
    /* It may have no credit for that, or said that it was the end. */
    bool good = len <= ROOM - f->count && !(f->guest_shut & SHUT_SEND);
    if (good && !f->count)
        good = flow_write(f, c, &len);
    if (good && flow_keep(f, c, len))
        flow_serve(f);
    else
        flow_reset(f);
}

/* ---- packets from the guest ---- */

static void vsock_refuse(struct virtio_vsock *v, const struct packet *p)
{
    if (v->reset_count < RESETS)
        v->reset[v->reset_count++] = (struct address){p->src_port, p->dst_port};
}

static void vsock_requested(struct virtio_vsock *v, const struct packet *p)
{
    struct flow *f = flow_find(v, p->src_port, p->dst_port);
    if (f) {
        flow_reset(f);
        return;
    }
    struct vsock_stream *s = vsock_connect(v->vsock, p->dst_port);
    f = s ? flow_new(v, FLOW_OPEN, s, p->src_port, p->dst_port) : NULL;
    if (!f) {
        if (s)
            vsock_close(s);
        vsock_refuse(v, p);
        return;
    }
    f->guest_room = p->buf_alloc;
    f->guest_taken = p->fwd_cnt;
    f->respond = true;
    flow_wait(f);
}

static void flow_packet(struct flow *f, const struct packet *p, struct virtq_chain *c)
{
    f->guest_room = p->buf_alloc;
    f->guest_taken = p->fwd_cnt;
    switch (p->op) {
    case OP_RESPONSE:
        if (f->state != FLOW_ASKED) {
            flow_reset(f);
            return;
        }
        f->state = FLOW_OPEN;
        vsock_accepted(f->stream);
        flow_wait(f);
        return;
    case OP_RW:
        if (f->state == FLOW_OPEN)
            flow_take(f, c, p->len);
        else
            flow_reset(f);
        return;
    case OP_SHUTDOWN:
        f->guest_shut |= p->flags & SHUT_ALL;
        flow_serve(f);
        return;
    case OP_CREDIT_REQUEST:
        f->tell = true;
        return;
    case OP_CREDIT_UPDATE:
        return;
    default:
        flow_reset(f);
    }
}

static struct packet packet_of(const uint8_t *h)
{
    return (struct packet){
        .src_cid = le64_get(h + HDR_SRC_CID),
        .dst_cid = le64_get(h + HDR_DST_CID),
        .src_port = le32_get(h + HDR_SRC_PORT),
        .dst_port = le32_get(h + HDR_DST_PORT),
        .len = le32_get(h + HDR_LEN),
        .type = le16_get(h + HDR_TYPE),
        .op = le16_get(h + HDR_OP),
        .flags = le32_get(h + HDR_FLAGS),
        .buf_alloc = le32_get(h + HDR_BUF_ALLOC),
        .fwd_cnt = le32_get(h + HDR_FWD_CNT),
    };
}

static void vsock_packet(struct virtio_vsock *v, struct virtq_chain *c)
{
    uint8_t header[HDR_SIZE];
    if (virtq_chain_read(c, header, HDR_SIZE) < HDR_SIZE) {
        virtio_dev_fail(&v->vd);
        return;
    }
    struct packet p = packet_of(header);
    if (p.len > c->readable_bytes) {
        virtio_dev_fail(&v->vd);
        return;
    }
    if (p.src_cid != vsock_cid(v->vsock))
        return; /* nobody's, section 5.10.6.4 */
    struct flow *f = flow_find(v, p.src_port, p.dst_port);
    if (p.op == OP_RST) {
        if (f)
            flow_end(f);
    } else if (p.dst_cid != HOST_CID || p.type != TYPE_STREAM) {
        vsock_refuse(v, &p);
    } else if (p.op == OP_REQUEST) {
        vsock_requested(v, &p);
    } else if (!f) {
        vsock_refuse(v, &p);
    } else if (f->state != FLOW_RESET) {
        flow_packet(f, &p, c);
    }
}

static void vsock_transmit(struct virtio_vsock *v)
{
    struct virtq *q = &v->vd.queues[QUEUE_TX];
    struct virtq_chain *c;
    if (!virtio_dev_arm(&v->vd, QUEUE_TX))
        return;
    while (v->reset_count < RESETS && (c = virtio_dev_pop(&v->vd, QUEUE_TX))) {
        vsock_packet(v, c);
        if (!virtio_dev_queue_live(&v->vd, QUEUE_TX))
            return;
        virtq_push(q, c, 0);
    }
    virtio_dev_signal(&v->vd, QUEUE_TX);
}

/* ---- packets for the guest ---- */

/* A buffer with room for a header and `need` bytes; NULL: there is none. */
static struct virtq_chain *rx_next(struct virtio_vsock *v, uint32_t need)
{
    struct virtq_chain *c = virtio_dev_pop(&v->vd, QUEUE_RX);
    /* Arming asks for a notification of the next buffers: only when these are used up. */
    if (!c && virtio_dev_arm(&v->vd, QUEUE_RX))
        c = virtio_dev_pop(&v->vd, QUEUE_RX);
    if (c && (c->readable_count || c->writable_bytes < HDR_SIZE + need)) {
        virtio_dev_fail(&v->vd);
        return NULL;
    }
    return c;
}

static void rx_header(struct virtio_vsock *v, uint8_t *h, uint32_t guest_port, uint32_t host_port,
                      uint16_t op)
{
    memset(h, 0, HDR_SIZE);
    le64_put(h + HDR_SRC_CID, HOST_CID);
    le64_put(h + HDR_DST_CID, vsock_cid(v->vsock));
    le32_put(h + HDR_SRC_PORT, host_port);
    le32_put(h + HDR_DST_PORT, guest_port);
    le16_put(h + HDR_TYPE, TYPE_STREAM);
    le16_put(h + HDR_OP, op);
}

/* What each packet of a flow says besides. */
static void rx_flow_header(struct virtio_vsock *v, uint8_t *h, struct flow *f, uint16_t op)
{
    rx_header(v, h, f->guest_port, f->host_port, op);
    le32_put(h + HDR_BUF_ALLOC, ROOM);
    le32_put(h + HDR_FWD_CNT, f->taken);
    f->told = f->taken;
    f->tell = false;
}

static void rx_push(struct virtio_vsock *v, struct virtq_chain *c, const uint8_t *header)
{
    size_t n = virtq_chain_write(c, header, HDR_SIZE);
    virtq_push(&v->vd.queues[QUEUE_RX], c, (uint32_t)n);
}

/* The packet without data that the flow has to send next; 0: none. */
static uint16_t flow_op(const struct flow *f)
{
    if (f->state == FLOW_RESET)
        return OP_RST;
    if (f->respond)
        return f->state == FLOW_ASKED ? OP_REQUEST : OP_RESPONSE;
    if (f->shut != f->shut_sent)
        return OP_SHUTDOWN;
    return f->tell ? OP_CREDIT_UPDATE : 0;
}

/* Sends it, if there is one. False: no buffer. */
static bool flow_control(struct virtio_vsock *v, struct flow *f)
{
    uint8_t h[HDR_SIZE];
    uint16_t op = flow_op(f);
    if (!op)
        return true;
    struct virtq_chain *c = rx_next(v, 0);
    if (!c)
        return false;
    rx_flow_header(v, h, f, op);
    if (op == OP_SHUTDOWN)
        le32_put(h + HDR_FLAGS, f->shut);
    rx_push(v, c, h);
    f->respond = false;
    if (op == OP_SHUTDOWN)
        f->shut_sent = f->shut;
    if (op == OP_RST)
        flow_end(f);
    return true;
}

/* Whether the socket may have data that the guest takes. */
static bool flow_may_send(const struct flow *f)
{
    return f->state == FLOW_OPEN && f->readable && flow_credit(f) &&
           !(f->guest_shut & SHUT_RECEIVE);
}

/* What the socket has goes into a buffer of the driver's. False: no buffer. */
static bool flow_data(struct virtio_vsock *v, struct flow *f)
{
    uint8_t h[HDR_SIZE];
    if (!flow_may_send(f))
        return true;
    struct virtq_chain *c = rx_next(v, 1);
    if (!c)
        return false;
    size_t most = c->writable_bytes - HDR_SIZE;
    most = most < AT_ONCE ? most : AT_ONCE;
    most = most < flow_credit(f) ? most : flow_credit(f);
    ssize_t n = vsock_read(f->stream, v->buffer, most);
    if (n <= 0) {
        virtq_unpop(&v->vd.queues[QUEUE_RX]);
        f->readable = false;
        if (n != -EAGAIN)
            f->shut |= n ? SHUT_ALL : SHUT_SEND;
        flow_wait(f);
        return true;
    }
    f->sent += (uint32_t)n;
    rx_flow_header(v, h, f, OP_RW);
    le32_put(h + HDR_LEN, (uint32_t)n);
    virtq_chain_write(c, h, HDR_SIZE);
    virtq_chain_write(c, v->buffer, (size_t)n);
    virtq_push(&v->vd.queues[QUEUE_RX], c, HDR_SIZE + (uint32_t)n);
    return true;
}

static bool vsock_send_resets(struct virtio_vsock *v)
{
    uint8_t h[HDR_SIZE];
    while (v->reset_count) {
        const struct address *a = &v->reset[v->reset_count - 1];
        struct virtq_chain *c = rx_next(v, 0);
        if (!c)
            return false;
        rx_header(v, h, a->guest_port, a->host_port, OP_RST);
        rx_push(v, c, h);
        v->reset_count--;
    }
    return true;
}

/*
 * Each flow in turn sends a packet, as long as there is one and there are buffers. True: there may
 * be more to do, but the loop has other work, too.
 */
static bool vsock_receive(struct virtio_vsock *v)
{
    if (!virtio_dev_queue_live(&v->vd, QUEUE_RX) || !vsock_send_resets(v))
        return false;
    for (unsigned idle = 0, sent = 0; idle < VSOCK_MAX_STREAMS; v->next++) {
        struct flow *f = &v->flow[v->next % VSOCK_MAX_STREAMS];
        if (f->state == FLOW_FREE || (!flow_op(f) && !flow_may_send(f))) {
            idle++;
            continue;
        }
        if (sent++ == QUEUE_SIZE)
            return true;
        idle = 0;
        if (!flow_control(v, f) || (f->state != FLOW_FREE && !flow_data(v, f)))
            return false;
    }
    return false;
}

/* ---- the event loop ---- */

static void vsock_tell_lost(struct virtio_vsock *v)
{
    uint8_t event[4];
    struct virtq_chain *c;
    if (!v->lost || !virtio_dev_arm(&v->vd, QUEUE_EVENT) ||
        !(c = virtio_dev_pop(&v->vd, QUEUE_EVENT)))
        return;
    le32_put(event, EVENT_TRANSPORT_RESET);
    size_t n = virtq_chain_write(c, event, sizeof event);
    virtq_push(&v->vd.queues[QUEUE_EVENT], c, (uint32_t)n);
    virtio_dev_signal(&v->vd, QUEUE_EVENT);
    v->lost = 0;
}

/* All connections end without a word. */
static void vsock_drop(struct virtio_vsock *v)
{
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++)
        if (v->flow[i].state != FLOW_FREE)
            flow_end(&v->flow[i]);
    v->reset_count = v->next = 0;
    v->dropping = false;
}

static void vsock_serve(struct virtio_vsock *v)
{
    if (v->dropping)
        vsock_drop(v);
    vsock_tell_lost(v);
    vsock_transmit(v);
    bool more = vsock_receive(v);
    virtio_dev_signal(&v->vd, QUEUE_RX);
    /* With many resets to tell first, the driver notifies when it has buffers for them. */
    if (v->reset_count < RESETS && virtio_dev_queue_live(&v->vd, QUEUE_TX))
        more |= virtq_pending(&v->vd.queues[QUEUE_TX]);
    if (more)
        loop_job_post(v->loop, &v->job);
}

static void vsock_run(void *ctx)
{
    struct virtio_vsock *v = ctx;
    pthread_mutex_lock(&v->vd.dev.lock);
    vsock_serve(v);
    pthread_mutex_unlock(&v->vd.dev.lock);
}

static void vsock_ready(void *ctx, struct vsock_stream *s, void *owner)
{
    struct virtio_vsock *v = ctx;
    struct flow *f = owner;
    (void)s;
    pthread_mutex_lock(&v->vd.dev.lock);
    if (!v->dropping) {
        f->readable = f->state == FLOW_OPEN && !(f->shut & SHUT_SEND);
        flow_serve(f);
    }
    vsock_serve(v);
    pthread_mutex_unlock(&v->vd.dev.lock);
}

static bool vsock_wanted(void *ctx, struct vsock_stream *s, uint32_t port, uint32_t host_port)
{
    struct virtio_vsock *v = ctx;
    struct flow *f = NULL;
    pthread_mutex_lock(&v->vd.dev.lock);
    vsock_serve(v);
    if (v->vd.status & VIRTIO_STATUS_DRIVER_OK && !flow_find(v, port, host_port))
        f = flow_new(v, FLOW_ASKED, s, port, host_port);
    if (f) {
        f->respond = true;
        vsock_serve(v);
    }
    pthread_mutex_unlock(&v->vd.dev.lock);
    return f != NULL;
}

static const struct vsock_ops vsock_device = {.wanted = vsock_wanted, .ready = vsock_ready};

/* ---- the device ---- */

static void virtio_vsock_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_vsock *v = vsock_of(vd);
    (void)queue;
    loop_job_post(v->loop, &v->job);
}

static void virtio_vsock_reset(struct virtio_dev *vd)
{
    struct virtio_vsock *v = vsock_of(vd);
    v->lost = 0;
    v->dropping = true;
    loop_job_post(v->loop, &v->job);
}

static const struct virtio_dev_ops virtio_vsock_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_count = QUEUES,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_vsock_notify,
    .reset = virtio_vsock_reset,
};

static void virtio_vsock_pre_save(void *obj)
{
    struct virtio_vsock *v = obj;
    v->had_flows = v->lost || v->reset_count;
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++)
        v->had_flows |= v->flow[i].state != FLOW_FREE;
}

static int virtio_vsock_post_load(void *obj, struct error *err)
{
    struct virtio_vsock *v = obj;
    (void)err;
    v->had_flows = v->had_flows != 0;
    v->lost = v->had_flows;
    v->dropping = true;
    loop_job_post(v->loop, &v->job);
    return 0;
}

static const struct state_field virtio_vsock_fields[] = {
    STATE_STRUCT(struct virtio_vsock, vd, &virtio_dev_state),
    STATE_FIELD(struct virtio_vsock, had_flows),
    STATE_END,
};

static const struct state_table virtio_vsock_state = {
    .name = "virtio_vsock",
    .version = 1,
    .size = sizeof(struct virtio_vsock),
    .fields = virtio_vsock_fields,
    .pre_save = virtio_vsock_pre_save,
    .post_load = virtio_vsock_post_load,
};

static void virtio_vsock_free(struct device *dev)
{
    struct virtio_vsock *v = vsock_of(virtio_dev_of(dev));
    loop_job_cancel(v->loop, &v->job);
    vsock_drop(v);
    vsock_set_device(v->vsock, NULL, NULL);
    virtio_dev_fini(&v->vd);
    free(v);
}

static const struct device_ops virtio_vsock_ops = {
    .name = "virtio_vsock",
    .state = &virtio_vsock_state,
    .reset = virtio_dev_reset,
    .free = virtio_vsock_free,
};

struct device *virtio_vsock_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                struct vsock *vsock, struct loop *loop, struct error *err)
{
    struct virtio_vsock *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(err, ENOMEM, "out of memory for the socket device '%s'", id);
        return NULL;
    }
    v->vsock = vsock;
    v->loop = loop;
    loop_job_init(&v->job, vsock_run, v);
    if (virtio_dev_init(&v->vd, &virtio_vsock_ops, &virtio_vsock_dev_ops, mem, irq,
                        VIRTIO_FEATURE(F_STREAM), id, err)) {
        free(v);
        return NULL;
    }
    le64_put(v->vd.config, vsock_cid(vsock));
    vsock_set_device(vsock, &vsock_device, v);
    return &v->vd.dev;
}
