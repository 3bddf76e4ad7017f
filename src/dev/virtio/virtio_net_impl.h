/* What the files of the virtio network card share: the card, and what its driver has set. */
#pragma once

#include "dev/virtio/virtio.h"
#include "net/net.h"

#include <stdbool.h>
#include <stdint.h>

/* Queues (section 5.1.2): receive and transmit by turns, then the control queue. */
enum { NET_QUEUE_RX = 0, NET_QUEUE_TX = 1, NET_QUEUES_OF_PAIR = 2 };

/* Feature bits (section 5.1.3). */
enum {
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_CTRL_GUEST_OFFLOADS = 2,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_GUEST_TSO4 = 7,
    NET_F_GUEST_TSO6 = 8,
    NET_F_GUEST_ECN = 9,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_HOST_ECN = 13,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_GUEST_ANNOUNCE = 21,
    NET_F_MQ = 22,
    NET_F_CTRL_MAC_ADDR = 23,
};

#define NET_TABLE_MAX 64u /* addresses in a filter; with more it passes all */
#define NET_VLANS 4096u

/* Which frames pass (section 5.1.6.5.1); a bit for each command of that class. */
enum {
    NET_RX_PROMISC,
    NET_RX_ALLMULTI,
    NET_RX_ALLUNI,
    NET_RX_NOMULTI,
    NET_RX_NOUNI,
    NET_RX_NOBCAST,
    NET_RX_COUNT,
};

struct net_table {
    uint16_t count; /* NET_TABLE_MAX + 1: too many */
    uint8_t macs[NET_TABLE_MAX * NET_MAC_SIZE];
};

struct virtio_net;

/* A pair of queues, whose frames go over a queue of the back end. */
struct net_pair {
    struct virtio_net *card;
    struct net *net;
    unsigned rx, tx; /* queues */
    unsigned index;
};

struct virtio_net {
    struct virtio_dev vd;
    struct net *net;
    struct net_pair pairs[NET_MAX_QUEUES];
    unsigned pair_count;
    bool unplugged; /* virtio_net_set_link */

    uint8_t mac[NET_MAC_SIZE];
    uint8_t link, announce; /* as the driver has been told */
    uint8_t tx_blocked;     /* 1 << pair: the back end was busy */
    uint8_t rx_mode;        /* 1 << NET_RX_... */
    /* Of the receive queues, in saved state: when each is armed next. Of the first, the others. */
    uint16_t rx_limit, rx_limits[NET_MAX_QUEUES - 1];
    uint16_t active;      /* pairs that the driver uses */
    uint64_t offloads;    /* guest offloads by CTRL_GUEST_OFFLOADS: feature bits */
    uint8_t offloads_set; /* the driver has given them */
    struct net_table unicast, multicast;
    uint64_t vlans[NET_VLANS / 64];
};

/* The control queue, which is behind the pairs that the driver knows of. */
static inline unsigned virtio_net_ctrl_queue(const struct virtio_net *v)
{
    return NET_QUEUES_OF_PAIR * (virtio_dev_has(&v->vd, NET_F_MQ) ? v->pair_count : 1);
}

/* virtio_net_ctrl.c: power-on values of what the control queue sets. */
void virtio_net_ctrl_reset(struct virtio_net *v);
/* Serves the control queue. */
void virtio_net_ctrl_notify(struct virtio_net *v);
/* Does the driver want this frame of at least NET_ETH_SIZE bytes? */
bool virtio_net_wants(const struct virtio_net *v, const uint8_t *frame, size_t len);
extern const struct state_table virtio_net_table_state;

/* virtio_net.c: what follows from the state: configuration space, the back end's settings. */
void virtio_net_update(struct virtio_net *v);
/* For a pair that has become active: what the driver has asked for already. */
void virtio_net_serve(struct net_pair *p);
