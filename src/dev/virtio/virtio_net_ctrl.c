/* The control queue of the virtio network card (section 5.1.6.5), and the filters that it sets. */
#include "dev/virtio/virtio_net_impl.h"

#include "base/bits.h"

#include <errno.h>

#define COMMAND_MAX 8u /* bytes of a command's fixed part */
#define ETH_TYPE_VLAN 0x8100u

enum {
    CLASS_RX = 0,
    CLASS_MAC = 1,
    CLASS_VLAN = 2,
    CLASS_ANNOUNCE = 3,
    CLASS_MQ = 4,
    CLASS_GUEST_OFFLOADS = 5,
};
enum { ACK_OK = 0, ACK_ERR = 1 };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { VLAN_ADD = 0, VLAN_DEL = 1 };

#define GUEST_OFFLOADS                                                     \
    (VIRTIO_FEATURE(NET_F_GUEST_CSUM) | VIRTIO_FEATURE(NET_F_GUEST_TSO4) | \
     VIRTIO_FEATURE(NET_F_GUEST_TSO6) | VIRTIO_FEATURE(NET_F_GUEST_ECN))

static const struct state_field net_table_fields[] = {
    STATE_FIELD(struct net_table, count),
    STATE_ARRAY(struct net_table, macs),
    STATE_END,
};

static int net_table_post_load(void *obj, struct error *err)
{
    const struct net_table *t = obj;
    return t->count <= NET_TABLE_MAX + 1
               ? 0
               : error_set(err, EINVAL, "a saved address filter has %u addresses", t->count);
}

const struct state_table virtio_net_table_state = {
    .name = "virtio_net_table",
    .version = 1,
    .size = sizeof(struct net_table),
    .fields = net_table_fields,
    .post_load = net_table_post_load,
};

/* ---- filters ---- */

static bool net_table_has(const struct net_table *t, const uint8_t *mac)
{
    if (t->count > NET_TABLE_MAX)
        return true;
    for (unsigned i = 0; i < t->count; i++)
        if (!memcmp(t->macs + i * NET_MAC_SIZE, mac, NET_MAC_SIZE))
            return true;
    return false;
}

static bool rx_mode_has(const struct virtio_net *v, unsigned bit)
{
    return v->rx_mode >> bit & 1;
}

static bool wants_address(const struct virtio_net *v, const uint8_t *mac)
{
    static const uint8_t broadcast[NET_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (rx_mode_has(v, NET_RX_PROMISC))
        return true;
    if (!memcmp(mac, broadcast, NET_MAC_SIZE))
        return !rx_mode_has(v, NET_RX_NOBCAST);
    if (mac[0] & 1)
        return !rx_mode_has(v, NET_RX_NOMULTI) &&
               (rx_mode_has(v, NET_RX_ALLMULTI) || net_table_has(&v->multicast, mac));
    return !rx_mode_has(v, NET_RX_NOUNI) &&
           (rx_mode_has(v, NET_RX_ALLUNI) || !memcmp(v->mac, mac, NET_MAC_SIZE) ||
            net_table_has(&v->unicast, mac));
}

bool virtio_net_wants(const struct virtio_net *v, const uint8_t *frame, size_t len)
{
    bool tagged = frame[12] == ETH_TYPE_VLAN >> 8 && frame[13] == (ETH_TYPE_VLAN & 0xff);
    if (tagged && len >= NET_ETH_SIZE + 4 && virtio_dev_has(&v->vd, NET_F_CTRL_VLAN)) {
        unsigned vlan = (frame[14] & 0xfu) << 8 | frame[15];
        if (!(v->vlans[vlan / 64] >> vlan % 64 & 1))
            return false;
    }
    return wants_address(v, frame);
}

void virtio_net_ctrl_reset(struct virtio_net *v)
{
    /* A driver without the control queue gets everything. */
    v->rx_mode = 1u << NET_RX_PROMISC;
    v->offloads = 0;
    v->offloads_set = 0;
    v->active = 1;
    v->unicast = v->multicast = (struct net_table){0};
    memset(v->vlans, 0, sizeof v->vlans);
}

/* ---- commands; false: refused ---- */

/* Takes exactly len bytes. */
static bool take(struct virtq_chain *c, void *buf, size_t len)
{
    return virtq_chain_read(c, buf, len) == len;
}

static bool ctrl_rx(struct virtio_net *v, struct virtq_chain *c, uint8_t command)
{
    uint8_t on;
    unsigned needs = command < NET_RX_ALLUNI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA;
    if (command >= NET_RX_COUNT || !virtio_dev_has(&v->vd, needs) || !take(c, &on, 1))
        return false;
    v->rx_mode = (uint8_t)bits_set(v->rx_mode, command, 1, on != 0);
    return true;
}

/* A table of any length that the driver says is there; what is beyond ours is passed over. */
static bool take_table(struct virtq_chain *c, struct net_table *t)
{
    uint8_t count[4];
    *t = (struct net_table){0};
    if (!take(c, count, sizeof count))
        return false;
    uint64_t n = le32_get(count);
    if (n * NET_MAC_SIZE > c->readable_bytes)
        return false;
    t->count = (uint16_t)(n > NET_TABLE_MAX ? NET_TABLE_MAX + 1 : n);
    if (n > NET_TABLE_MAX)
        virtq_chain_read(c, NULL, n * NET_MAC_SIZE);
    else
        virtq_chain_read(c, t->macs, n * NET_MAC_SIZE);
    return true;
}

static bool ctrl_mac(struct virtio_net *v, struct virtq_chain *c, uint8_t command)
{
    struct net_table unicast, multicast;
    if (command == MAC_ADDR_SET)
        return virtio_dev_has(&v->vd, NET_F_CTRL_MAC_ADDR) && c->readable_bytes == NET_MAC_SIZE &&
               take(c, v->mac, NET_MAC_SIZE);
    if (command != MAC_TABLE_SET || !virtio_dev_has(&v->vd, NET_F_CTRL_RX) ||
        !take_table(c, &unicast) || !take_table(c, &multicast))
        return false;
    v->unicast = unicast;
    v->multicast = multicast;
    return true;
}

static bool ctrl_vlan(struct virtio_net *v, struct virtq_chain *c, uint8_t command)
{
    uint8_t raw[2];
    if (!virtio_dev_has(&v->vd, NET_F_CTRL_VLAN) || !take(c, raw, sizeof raw))
        return false;
    unsigned vlan = le16_get(raw);
    if (command > VLAN_DEL || vlan >= NET_VLANS)
        return false;
    v->vlans[vlan / 64] = bits_set(v->vlans[vlan / 64], vlan % 64, 1, command == VLAN_ADD);
    return true;
}

static bool ctrl_announce(struct virtio_net *v, uint8_t command)
{
    if (command || !virtio_dev_has(&v->vd, NET_F_GUEST_ANNOUNCE))
        return false;
    v->announce = 0;
    return true;
}

static bool ctrl_guest_offloads(struct virtio_net *v, struct virtq_chain *c, uint8_t command)
{
    uint8_t raw[8];
    if (command || !virtio_dev_has(&v->vd, NET_F_CTRL_GUEST_OFFLOADS) || !take(c, raw, sizeof raw))
        return false;
    uint64_t offloads = le64_get(raw);
    if (offloads & ~(GUEST_OFFLOADS & v->vd.features))
        return false;
    v->offloads = offloads;
    v->offloads_set = 1;
    return true;
}

static bool ctrl_pairs(struct virtio_net *v, struct virtq_chain *c, uint8_t command)
{
    uint8_t raw[2];
    if (command || !virtio_dev_has(&v->vd, NET_F_MQ) || !take(c, raw, sizeof raw))
        return false;
    unsigned pairs = le16_get(raw);
    if (!pairs || pairs > v->pair_count)
        return false;
    v->active = (uint16_t)pairs;
    return true;
}

static bool ctrl_command(struct virtio_net *v, struct virtq_chain *c)
{
    uint8_t head[2];
    if (!take(c, head, sizeof head))
        return false;
    switch (head[0]) {
    case CLASS_RX:
        return ctrl_rx(v, c, head[1]);
    case CLASS_MAC:
        return ctrl_mac(v, c, head[1]);
    case CLASS_VLAN:
        return ctrl_vlan(v, c, head[1]);
    case CLASS_ANNOUNCE:
        return ctrl_announce(v, head[1]);
    case CLASS_MQ:
        return ctrl_pairs(v, c, head[1]);
    case CLASS_GUEST_OFFLOADS:
        return ctrl_guest_offloads(v, c, head[1]);
    default:
        return false;
    }
}

void virtio_net_ctrl_notify(struct virtio_net *v)
{
    const unsigned queue = virtio_net_ctrl_queue(v), active = v->active;
    struct virtq_chain *c;
    if (!virtio_dev_arm(&v->vd, queue))
        return;
    while ((c = virtio_dev_pop(&v->vd, queue))) {
        if (!c->writable_bytes) {
            virtio_dev_fail(&v->vd);
            break;
        }
        uint8_t ack = ctrl_command(v, c) ? ACK_OK : ACK_ERR;
        virtq_chain_write(c, &ack, 1);
        virtio_net_update(v);
        virtq_push(&v->vd.queues[queue], c, 1);
    }
    virtio_dev_signal(&v->vd, queue);
    for (unsigned i = active; i < v->active; i++)
        virtio_net_serve(&v->pairs[i]);
}
