/*
 * What a back end is made of; for the files of this folder only.
 *
 * A back end is a private struct that begins with `struct net`, and a const struct net_ops in the
 * table of options.c. Most exchange frames with a descriptor, one by each read and write, with the
 * header in front (packet.c); net.c does the rest.
 *
 * Locks: `lock` protects descriptor, carrier, counters and capture, and a back end's own state that
 * both threads use. It is taken inside the device's, and not held in calls of the card.
 */
#pragma once

#include "base/loop.h"
#include "net/net.h"
#include "net/offload.h"

#include <pthread.h>
#include <stdatomic.h>

#define NET_MAX_HOSTFWD 16u
#define NET_PACKET_MAX (NET_HDR_SIZE + NET_FRAME_MAX)

struct net_pcap;

/* What the text says. The strings point into `text`. */
struct net_config {
    const struct net_ops *ops;
    char *text;
    const char *path, *ifname, *pcap;
    const char *hostfwd[NET_MAX_HOSTFWD];
    unsigned hostfwd_count;
    bool restricted, host;
    bool has_mac;
    uint8_t mac[NET_MAC_SIZE];
    unsigned mtu;
    unsigned queues;
};

struct net_ops {
    const char *name;
    size_t size;       /* of the private struct */
    bool takes_path;   /* "name=PATH" */
    bool needs_ifname; /* option ifname */
    bool is_nat;       /* options hostfwd, restrict, host */
    bool shared;       /* others are on the same network: cards need addresses of their own */
    bool outside;      /* frames come from outside the machine */
    unsigned mtu;      /* 0: the usual one */
    /*
     * Optional: what needs names of the host, and connects. -EAGAIN if nobody is there yet. Called
     * again until it succeeds; it must leave nothing behind that it has not undone. A confined
     * process has another one do it (net_set_opener), so it may use only what is not changed
     * otherwise.
     */
    int (*acquire)(struct net *n, struct net_link *link, struct error *err);
    /* Optional: takes back what acquire has left in the host besides the descriptor. */
    void (*release)(struct net *n);
    /* Optional: starts with what acquire got, and owns its descriptor; without it that is fd. */
    int (*open)(struct net *n, const struct net_link *link, struct error *err);
    /* Optional: the opposite, before fd is closed. */
    void (*close)(struct net *n);
    /* Lock held. 0, -EAGAIN, or another error: the frame is lost. */
    int (*send)(struct net *n, const struct net_hdr *hdr, const struct iovec *frame, unsigned count,
                size_t len);
    /* Header and frame to n->in. Bytes, -EAGAIN, or 0 or an error: the other side is gone. */
    ssize_t (*fetch)(struct net *n);
    /* Optional, lock held: n->offloads has changed. */
    void (*offloads_changed)(struct net *n);
    /* Lock held: n->active has changed. A back end that has it can have queues. */
    void (*active_changed)(struct net *n);
};

struct net {
    const struct net_ops *ops;
    struct net_config config; /* of which the first queue's is the owner */
    struct loop *loop;
    unsigned queue;
    struct net **queues; /* of the first: all but itself */
    uint8_t mac[NET_MAC_SIZE];
    /* NULL: this process opens it itself. */
    int (*opener)(void *ctx, unsigned queue, struct net_link *link);
    void *opener_ctx;

    pthread_mutex_t lock;
    int fd;               /* -1: none */
    _Atomic bool carrier; /* written with the lock held */
    bool blocked;         /* net_send has returned -EAGAIN */
    bool active;          /* frames come here */
    struct net_stats stats;
    struct net_pcap *pcap; /* one for all queues */

    _Atomic unsigned offloads; /* of the card */

    /* Loop thread only. */
    const struct net_card_ops *card;
    void *card_ctx;
    struct loop_fd watch;
    struct loop_job pump_job, out_job;
    struct loop_timer retry;
    bool stalled; /* the card has no room */
    /* The frame that is offered: cut as the card needs it, or as it came. */
    bool offering;
    struct net_segments segments;
    struct net_hdr out_hdr;
    const uint8_t *out_frame;
    size_t out_len;
    uint8_t *in;  /* NET_PACKET_MAX */
    uint8_t *cut; /* NET_FRAME_MAX */
};

extern const struct net_ops net_none_ops, net_user_ops, net_tap_ops, net_switch_ops;

/* options.c: takes the text apart; net_config_fini also after an error. */
int net_config_parse(struct net_config *c, const char *spec, struct error *err);
void net_config_fini(struct net_config *c);

/* packet.c: `send` and `fetch` over n->fd. */
int net_packet_send(struct net *n, const struct net_hdr *hdr, const struct iovec *frame,
                    unsigned count, size_t len);
ssize_t net_packet_fetch(struct net *n);
/* One packet to a descriptor: 0 or -errno. */
int net_packet_write(int fd, const struct net_hdr *hdr, const struct iovec *frame, unsigned count);

/* Takes frames and gives them to the card. Loop thread. */
void net_pump(struct net *n);
/* The other side is gone: `open` is tried again from now on. Loop thread. */
void net_lost(struct net *n);
/* There is room for more after `send` has returned -EAGAIN. Loop thread. */
void net_room(struct net *n);

/*
 * pcap.c: a file with the frames that the card has sent or been offered, by any thread. NULL with
 * *err.
 */
struct net_pcap *net_pcap_open(const char *path, struct error *err);
void net_pcap_close(struct net_pcap *p);
void net_pcap_frame(struct net_pcap *p, const struct iovec *frame, unsigned count, size_t len);
