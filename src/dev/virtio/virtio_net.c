#include "dev/virtio/virtio_net.h"

#include "base/bits.h"
#include "dev/virtio/virtio_net_impl.h"
#include "net/offload.h"

#include <errno.h>
#include <stdlib.h>

#define DEVICE_ID 1u
#define QUEUE_SIZE 256u

_Static_assert(NET_QUEUES_OF_PAIR *NET_MAX_QUEUES + 1 <= VIRTIO_QUEUE_MAX, "and the control queue");
_Static_assert(QUEUE_SIZE <= NET_MAX_SEGMENTS, "a chain is no longer than its ring");

/* Offsets in struct virtio_net_config, and bits of its status. */
enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_MAX_PAIRS = 8, CONFIG_MTU = 10 };
enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };

#define FEATURES                                                             \
    (VIRTIO_FEATURE(NET_F_CSUM) | VIRTIO_FEATURE(NET_F_GUEST_CSUM) |         \
     VIRTIO_FEATURE(NET_F_CTRL_GUEST_OFFLOADS) | VIRTIO_FEATURE(NET_F_MAC) | \
     VIRTIO_FEATURE(NET_F_GUEST_TSO4) | VIRTIO_FEATURE(NET_F_GUEST_TSO6) |   \
     VIRTIO_FEATURE(NET_F_GUEST_ECN) | VIRTIO_FEATURE(NET_F_HOST_TSO4) |     \
     VIRTIO_FEATURE(NET_F_HOST_TSO6) | VIRTIO_FEATURE(NET_F_HOST_ECN) |      \
     VIRTIO_FEATURE(NET_F_MRG_RXBUF) | VIRTIO_FEATURE(NET_F_STATUS) |        \
     VIRTIO_FEATURE(NET_F_CTRL_VQ) | VIRTIO_FEATURE(NET_F_CTRL_RX) |         \
     VIRTIO_FEATURE(NET_F_CTRL_VLAN) | VIRTIO_FEATURE(NET_F_CTRL_RX_EXTRA) | \
     VIRTIO_FEATURE(NET_F_GUEST_ANNOUNCE) | VIRTIO_FEATURE(NET_F_CTRL_MAC_ADDR))

static struct virtio_net *virtio_net_of(struct virtio_dev *vd)
{
    return container_of(vd, struct virtio_net, vd);
}

/* ---- what follows from the state ---- */

/* NET_OFFLOAD_... of four feature bits, which are in another order for each direction. */
static unsigned offloads_of(uint64_t features, unsigned csum, unsigned tso4, unsigned tso6,
                            unsigned ecn)
{
    unsigned set = 0;
    set |= features & VIRTIO_FEATURE(csum) ? NET_OFFLOAD_CSUM : 0;
    set |= features & VIRTIO_FEATURE(tso4) ? NET_OFFLOAD_TSO4 : 0;
    set |= features & VIRTIO_FEATURE(tso6) ? NET_OFFLOAD_TSO6 : 0;
    set |= features & VIRTIO_FEATURE(ecn) ? NET_OFFLOAD_ECN : 0;
    return set;
}

static unsigned virtio_net_rx_offloads(const struct virtio_net *v)
{
    uint64_t features = v->offloads_set ? v->offloads : v->vd.features;
    return offloads_of(features, NET_F_GUEST_CSUM, NET_F_GUEST_TSO4, NET_F_GUEST_TSO6,
                       NET_F_GUEST_ECN);
}

static unsigned virtio_net_tx_offloads(const struct virtio_net *v)
{
    return offloads_of(v->vd.features, NET_F_CSUM, NET_F_HOST_TSO4, NET_F_HOST_TSO6,
                       NET_F_HOST_ECN);
}

void virtio_net_update(struct virtio_net *v)
{
    uint8_t *config = v->vd.config;
    unsigned status = v->link ? STATUS_LINK_UP : 0;
    status |= v->announce ? STATUS_ANNOUNCE : 0;
    memcpy(config + CONFIG_MAC, v->mac, NET_MAC_SIZE);
    le16_put(config + CONFIG_STATUS, (uint16_t)status);
    net_set_offloads(v->net, virtio_net_rx_offloads(v));
    net_set_active(v->net, v->active);
}

/* Tells the driver if the link is not what it knows. */
static void virtio_net_check_link(struct virtio_net *v)
{
    uint8_t link = !v->unplugged && net_carrier(v->net);
    if (v->link == link)
        return;
    v->link = link;
    virtio_net_update(v);
    virtio_dev_config_changed(&v->vd);
}

void virtio_net_set_link(struct device *dev, bool up)
{
    struct virtio_net *v = virtio_net_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    v->unplugged = !up;
    virtio_net_check_link(v);
    pthread_mutex_unlock(&dev->lock);
}

bool virtio_net_plugged(struct device *dev)
{
    struct virtio_net *v = virtio_net_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    bool plugged = !v->unplugged;
    pthread_mutex_unlock(&dev->lock);
    return plugged;
}

void virtio_net_announce(struct device *dev)
{
    struct virtio_net *v = virtio_net_of(virtio_dev_of(dev));
    pthread_mutex_lock(&dev->lock);
    if (virtio_dev_has(&v->vd, NET_F_GUEST_ANNOUNCE)) {
        v->announce = 1;
        virtio_net_update(v);
        virtio_dev_config_changed(&v->vd);
    }
    pthread_mutex_unlock(&dev->lock);
}

/* ---- towards the network ---- */

/* False when the back end is busy. */
static bool virtio_net_send(struct net_pair *p, struct virtq_chain *c)
{
    struct virtio_net *v = p->card;
    struct net_hdr hdr;
    if (virtq_chain_read(c, &hdr, NET_HDR_SIZE) < NET_HDR_SIZE || c->writable_count ||
        c->readable_count > NET_MAX_SEGMENTS) {
        virtio_dev_fail(&v->vd);
        return true;
    }
    size_t len = c->readable_bytes;
    hdr.num_buffers = 0;
    hdr.flags &= NET_HDR_NEEDS_CSUM; /* the others are the device's */
    /* No frame, or one that asks for what was not agreed on: lost, as on a wire. */
    if (!v->link || len < NET_ETH_SIZE || len > NET_FRAME_MAX ||
        !net_hdr_valid(&hdr, len, virtio_net_tx_offloads(v)))
        return true;
    return !net_send(p->net, &hdr, c->readable, c->readable_count, len);
}

static void net_pair_set_blocked(const struct net_pair *p, bool blocked)
{
    p->card->tx_blocked = (uint8_t)bits_set(p->card->tx_blocked, p->index, 1, blocked);
}

static void virtio_net_transmit(struct net_pair *p)
{
    struct virtio_dev *vd = &p->card->vd;
    struct virtq *q = &vd->queues[p->tx];
    struct virtq_chain *c;
    net_pair_set_blocked(p, false);
    if (!virtio_dev_arm(vd, p->tx))
        return;
    while ((c = virtio_dev_pop(vd, p->tx))) {
        if (!virtio_net_send(p, c)) {
            virtq_unpop(q);
            net_pair_set_blocked(p, true);
            break;
        }
        if (!virtio_dev_queue_live(vd, p->tx))
            return;
        virtq_push(q, c, 0);
    }
    virtio_dev_signal(vd, p->tx);
}

static void virtio_net_writable(void *ctx)
{
    struct net_pair *p = ctx;
    struct virtio_net *v = p->card;
    pthread_mutex_lock(&v->vd.dev.lock);
    if (v->tx_blocked >> p->index & 1)
        virtio_net_transmit(p);
    pthread_mutex_unlock(&v->vd.dev.lock);
}

/* ---- from the network ---- */

/* The buffers that a frame goes into; they are the driver's again when all is there. */
struct rx_buffers {
    unsigned count;
    uint16_t heads[QUEUE_SIZE];
    uint32_t written[QUEUE_SIZE];
    uint8_t *total[2]; /* where the header's num_buffers is */
};

static struct virtq_chain *rx_next(const struct net_pair *p, struct rx_buffers *b, size_t need)
{
    struct virtio_dev *vd = &p->card->vd;
    if (b->count == QUEUE_SIZE)
        return NULL;
    /* Arming asks for a notification of the next buffers: only when these are used up. */
    struct virtq_chain *c = virtio_dev_pop(vd, p->rx);
    if (!c && virtio_dev_arm(vd, p->rx))
        c = virtio_dev_pop(vd, p->rx);
    if (c && (c->readable_count || c->writable_bytes < need)) {
        virtio_dev_fail(vd);
        return NULL;
    }
    return c;
}

/* The header, of which the number of buffers comes at the end. */
static void rx_put_header(struct virtq_chain *c, struct rx_buffers *b, const struct net_hdr *hdr)
{
    virtq_chain_write(c, hdr, offsetof(struct net_hdr, num_buffers));
    for (unsigned i = 0; i < 2; i++) {
        b->total[i] = c->writable->iov_base;
        virtq_chain_write(c, NULL, 1);
    }
}

/* Fills buffers; false if they do not suffice. */
static bool rx_fill(const struct net_pair *p, struct rx_buffers *b, const struct net_hdr *hdr,
                    const uint8_t *frame, size_t len)
{
    bool merge = virtio_dev_has(&p->card->vd, NET_F_MRG_RXBUF);
    size_t done = 0;
    do {
        struct virtq_chain *c = rx_next(p, b, b->count ? 1 : NET_HDR_SIZE);
        if (!c)
            return false;
        size_t before = done, head = b->count ? 0 : NET_HDR_SIZE;
        if (!b->count)
            rx_put_header(c, b, hdr);
        done += virtq_chain_write(c, frame + done, len - done);
        b->heads[b->count] = c->head;
        b->written[b->count++] = (uint32_t)(head + done - before);
    } while (merge && done < len);
    return done == len;
}

static enum net_taken virtio_net_put(const struct net_pair *p, const struct net_hdr *hdr,
                                     const uint8_t *frame, size_t len)
{
    struct virtio_dev *vd = &p->card->vd;
    struct virtq *q = &vd->queues[p->rx];
    struct rx_buffers b;
    b.count = 0;
    if (!rx_fill(p, &b, hdr, frame, len)) {
        if (!virtio_dev_queue_live(vd, p->rx))
            return NET_DROPPED;
        for (unsigned i = 0; i < b.count; i++)
            virtq_unpop(q);
        /* It would not fit if the driver gave all that it can. */
        bool never = b.count && (b.count == q->size || !virtio_dev_has(vd, NET_F_MRG_RXBUF));
        return never ? NET_DROPPED : NET_LATER;
    }
    *b.total[0] = (uint8_t)b.count;
    *b.total[1] = (uint8_t)(b.count >> 8);
    for (unsigned i = 0; i < b.count; i++)
        virtq_fill(q, b.heads[i], b.written[i]);
    virtq_publish(q);
    virtio_dev_signal(vd, p->rx);
    return NET_TAKEN;
}

static enum net_taken virtio_net_receive(void *ctx, const struct net_hdr *hdr, const uint8_t *frame,
                                         size_t len)
{
    const struct net_pair *p = ctx;
    struct virtio_net *v = p->card;
    enum net_taken taken = NET_DROPPED;
    pthread_mutex_lock(&v->vd.dev.lock);
    /* The driver may have changed what it can do since the back end looked. */
    if (p->index < v->active && virtio_dev_queue_live(&v->vd, p->rx) && v->link &&
        net_hdr_valid(hdr, len, virtio_net_rx_offloads(v)) && virtio_net_wants(v, frame, len))
        taken = virtio_net_put(p, hdr, frame, len);
    pthread_mutex_unlock(&v->vd.dev.lock);
    return taken;
}

static void virtio_net_carrier(void *ctx)
{
    struct virtio_net *v = ((const struct net_pair *)ctx)->card;
    pthread_mutex_lock(&v->vd.dev.lock);
    virtio_net_check_link(v);
    pthread_mutex_unlock(&v->vd.dev.lock);
}

static const struct net_card_ops virtio_net_card_ops = {
    .receive = virtio_net_receive,
    .writable = virtio_net_writable,
    .carrier = virtio_net_carrier,
};

/* ---- the device ---- */

static void virtio_net_notify(struct virtio_dev *vd, unsigned queue)
{
    struct virtio_net *v = virtio_net_of(vd);
    net_set_offloads(v->net, virtio_net_rx_offloads(v));
    if (queue == virtio_net_ctrl_queue(v)) {
        virtio_net_ctrl_notify(v);
        return;
    }
    if (queue >= NET_QUEUES_OF_PAIR * v->active)
        return;
    struct net_pair *p = &v->pairs[queue / NET_QUEUES_OF_PAIR];
    if (queue == p->tx)
        virtio_net_transmit(p);
    else
        net_accept(p->net);
}

void virtio_net_serve(struct net_pair *p)
{
    net_accept(p->net);
    virtio_net_transmit(p);
}

static void virtio_net_accept_all(const struct virtio_net *v)
{
    for (unsigned i = 0; i < v->pair_count; i++)
        net_accept(v->pairs[i].net);
}

static void virtio_net_reset(struct virtio_dev *vd)
{
    struct virtio_net *v = virtio_net_of(vd);
    memcpy(v->mac, net_mac(v->net), NET_MAC_SIZE);
    v->link = !v->unplugged && net_carrier(v->net);
    v->announce = 0;
    v->tx_blocked = 0;
    virtio_net_ctrl_reset(v);
    virtio_net_update(v);
    virtio_net_accept_all(v); /* what waits is not for the next driver */
}

static const struct virtio_dev_ops virtio_net_dev_ops = {
    .device_id = DEVICE_ID,
    .queue_size = QUEUE_SIZE,
    .notify = virtio_net_notify,
    .reset = virtio_net_reset,
};

static uint16_t *rx_limit_of(struct virtio_net *v, unsigned pair)
{
    return pair ? &v->rx_limits[pair - 1] : &v->rx_limit;
}

static void virtio_net_pre_save(void *obj)
{
    struct virtio_net *v = obj;
    for (unsigned i = 0; i < v->pair_count; i++)
        *rx_limit_of(v, i) = v->vd.queues[v->pairs[i].rx].limit;
}

/* Buffers of which the device knew already are used without arming, as they would have been. */
static void virtio_net_load_limit(struct virtio_net *v, unsigned pair)
{
    struct virtq *q = &v->vd.queues[v->pairs[pair].rx];
    uint16_t limit = *rx_limit_of(v, pair);
    if (q->ready && (uint16_t)(limit - q->next_avail) <= q->size)
        q->limit = limit;
}

static int virtio_net_post_load(void *obj, struct error *err)
{
    struct virtio_net *v = obj;
    if (!v->active || v->active > v->pair_count)
        return error_set(err, EINVAL,
                         "saved state uses %u pairs of queues of a network card that has %u",
                         v->active, v->pair_count);
    v->link = v->link != 0;
    v->announce = v->announce != 0;
    v->tx_blocked &= (uint8_t)((1u << v->pair_count) - 1);
    v->offloads_set = v->offloads_set != 0;
    for (unsigned i = 0; i < v->pair_count; i++)
        virtio_net_load_limit(v, i);
    virtio_net_update(v);
    virtio_net_check_link(v);
    virtio_net_accept_all(v);
    for (unsigned i = 0; i < v->pair_count; i++)
        if (v->tx_blocked >> i & 1)
            net_ask_writable(v->pairs[i].net);
    return 0;
}

static const struct state_field virtio_net_fields[] = {
    STATE_STRUCT(struct virtio_net, vd, &virtio_dev_state),
    STATE_ARRAY(struct virtio_net, mac),
    STATE_FIELD(struct virtio_net, link),
    STATE_FIELD(struct virtio_net, announce),
    STATE_FIELD(struct virtio_net, tx_blocked),
    STATE_FIELD(struct virtio_net, rx_mode),
    STATE_FIELD(struct virtio_net, rx_limit),
    STATE_ARRAY_SINCE(struct virtio_net, rx_limits, 2),
    STATE_FIELD_SINCE(struct virtio_net, active, 2),
    STATE_FIELD(struct virtio_net, offloads),
    STATE_FIELD(struct virtio_net, offloads_set),
    STATE_STRUCT(struct virtio_net, unicast, &virtio_net_table_state),
    STATE_STRUCT(struct virtio_net, multicast, &virtio_net_table_state),
    STATE_ARRAY(struct virtio_net, vlans),
    STATE_END,
};

static const struct state_table virtio_net_state = {
    .name = "virtio_net",
    .version = 2,
    .size = sizeof(struct virtio_net),
    .fields = virtio_net_fields,
    .pre_save = virtio_net_pre_save,
    .post_load = virtio_net_post_load,
};

static void virtio_net_free(struct device *dev)
{
    struct virtio_net *v = virtio_net_of(virtio_dev_of(dev));
    for (unsigned i = 0; i < v->pair_count; i++)
        net_set_card(v->pairs[i].net, NULL, NULL);
    virtio_dev_fini(&v->vd);
    free(v);
}

static const struct device_ops virtio_net_ops = {
    .name = "virtio_net",
    .state = &virtio_net_state,
    .reset = virtio_dev_reset,
    .free = virtio_net_free,
};

static void virtio_net_make_pairs(struct virtio_net *v)
{
    for (unsigned i = 0; i < v->pair_count; i++) {
        struct net_pair *p = &v->pairs[i];
        *p = (struct net_pair){.card = v,
                               .net = net_queue(v->net, i),
                               .rx = NET_QUEUES_OF_PAIR * i + NET_QUEUE_RX,
                               .tx = NET_QUEUES_OF_PAIR * i + NET_QUEUE_TX,
                               .index = i};
        net_set_card(p->net, &virtio_net_card_ops, p);
    }
}

struct device *virtio_net_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              struct net *net, struct error *err)
{
    struct virtio_net *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(err, ENOMEM, "out of memory for network card '%s'", id);
        return NULL;
    }
    const unsigned mtu = net_mtu(net), pairs = net_queue_count(net);
    uint64_t features = FEATURES;
    features |= mtu ? VIRTIO_FEATURE(NET_F_MTU) : 0;
    features |= pairs > 1 ? VIRTIO_FEATURE(NET_F_MQ) : 0;
    if (virtio_dev_init(&v->vd, &virtio_net_ops, &virtio_net_dev_ops, mem, irq, features, id,
                        err)) {
        free(v);
        return NULL;
    }
    v->vd.queue_count = NET_QUEUES_OF_PAIR * pairs + 1;
    v->net = net;
    v->pair_count = pairs;
    le16_put(v->vd.config + CONFIG_MAX_PAIRS, (uint16_t)pairs);
    le16_put(v->vd.config + CONFIG_MTU, (uint16_t)mtu);
    virtio_net_make_pairs(v);
    return &v->vd.dev;
}
