/*
 * Ethernet between a guest's network card and the host: nothing, a NAT without privileges, a tap
 * device, a switch for the machines of one host. The card's side is the same for all; which back
 * end it is comes from the text given to net_open.
 *
 * Frames have a header (net/frame.h). A card may leave check sums and the cutting of long TCP
 * segments to any back end, and gets as much of that as it has asked for with net_set_offloads:
 * what it cannot do is done here. Frames may be lost, as on any wire; their order is kept.
 *
 * A back end whose other side goes away lowers the carrier and tries to come back.
 *
 * A network may have several queues, each a struct net with a card's receiver and frames of its
 * own; the first is the network.
 *
 * Threads: net_send, net_ask_writable, net_accept, net_set_offloads and net_stats may be called
 * from any thread, with a device's lock held; they call nothing back. All other functions belong to
 * the loop's thread (any thread while the loop does not run). The card's callbacks are called on
 * the loop's thread with no lock held, so that they can take the device's own.
 */
#pragma once

#include "base/error.h"
#include "net/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct net;
struct loop;

/* Most pieces of memory that a frame may be in. */
#define NET_MAX_SEGMENTS 256u
#define NET_MAX_QUEUES 7u

/*
 * Opens a back end:
 *     none                 a card without a cable
 *     user                 NAT by the program guise-net, a process of its own (docs/networks.md)
 *     tap,ifname=NAME      a tap device of the host
 *     switch=PATH          a switch that all machines share that name the same socket
 * followed by ",key=value" and ",key" options, of which mac, mtu and pcap are for all and the
 * others in docs/networks.md. `index` numbers the cards of a machine. NULL with *err: EINVAL for a
 * wrong text, or the host's error. The loop must live longer than the result.
 */
struct net *net_open(const char *spec, unsigned index, struct loop *loop, struct error *err);

/* The same checks as net_open for the text only; opens nothing. For option parsing. */
int net_check(const char *spec, struct error *err);
/* True if frames can come from outside the machine. The text must be right. */
bool net_reaches_outside(const char *spec);

/* With all its queues. NULL is allowed. */
void net_free(struct net *n);

/* How many queues it has, 1 to NET_MAX_QUEUES, and one of them; number 0 is the network itself. */
unsigned net_queue_count(const struct net *n);
struct net *net_queue(struct net *n, unsigned queue);
/*
 * How many of them, from the first on, frames from outside come to; at first one. Any thread, with
 * a device's lock held.
 */
void net_set_active(struct net *n, unsigned queues);

/* What a network is, once it has been found by its names. */
struct net_link {
    int fd;   /* -1: none */
    bool hub; /* of a switch: it listens there */
};

/*
 * For a process that can use names of the host no longer, but has another one (a fork of it) that
 * can: from now on `opener` is called to connect a queue again, which has the other process call
 * net_reopen. When this process is gone, that one calls net_release.
 */
void net_set_opener(struct net *n, int (*opener)(void *ctx, unsigned queue, struct net_link *link),
                    void *ctx);
/* 0, -EAGAIN if nobody is there yet, -EINVAL if there is no such queue, or -errno. */
int net_reopen(struct net *n, unsigned queue, struct net_link *link);
void net_release(struct net *n);

/* Is it a switch's, which others may connect to? */
bool net_may_listen(const struct net *n);

/* The card's address, and its MTU or 0 for the usual one. */
const uint8_t *net_mac(const struct net *n);
unsigned net_mtu(const struct net *n);

/* Is there a cable, and somebody at its other end? */
bool net_carrier(const struct net *n);

/*
 * Sends a frame of len bytes, at most NET_FRAME_MAX in up to NET_MAX_SEGMENTS pieces; the header
 * must be valid for it. 0: it is sent or lost. -EAGAIN: the other side is busy; `writable` will be
 * called. Never blocks.
 */
int net_send(struct net *n, const struct net_hdr *hdr, const struct iovec *frame, unsigned count,
             size_t len);
/*
 * Asks for that call although nothing was refused here: the device's state comes from a machine
 * where it was.
 */
void net_ask_writable(struct net *n);

/* What the card can do with frames itself, those of all queues: NET_OFFLOAD_... */
void net_set_offloads(struct net *n, unsigned offloads);

enum net_taken {
    NET_TAKEN,
    NET_DROPPED, /* the card does not want it */
    NET_LATER,   /* it has no room: offer it again after net_accept */
};

struct net_card_ops {
    /* A frame from outside. */
    enum net_taken (*receive)(void *ctx, const struct net_hdr *hdr, const uint8_t *frame,
                              size_t len);
    /* There is room again after net_send has returned -EAGAIN. */
    void (*writable)(void *ctx);
    /* net_carrier has changed. */
    void (*carrier)(void *ctx);
};

/*
 * Whose callbacks those are, of this queue; NULL: nobody's, frames from outside are dropped. The
 * carrier is that of the first.
 */
void net_set_card(struct net *n, const struct net_card_ops *ops, void *ctx);

/* Room has appeared after `receive` has returned NET_LATER. */
void net_accept(struct net *n);

struct net_stats {
    uint64_t rx_frames, rx_bytes, rx_dropped; /* towards the guest */
    uint64_t tx_frames, tx_bytes, tx_dropped;
};

/* Of all queues. */
void net_stats(struct net *n, struct net_stats *out);
