#include "net/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Frames taken at a time before others in the loop have their turn. */
#define NET_BATCH 64
#define NET_RETRY_NS UINT64_C(500000000)
#define NO_MEMORY "out of memory for a network"

/* ---- towards the host ---- */

int net_send(struct net *n, const struct net_hdr *hdr, const struct iovec *frame, unsigned count,
             size_t len)
{
    pthread_mutex_lock(&n->lock);
    int rc = n->carrier ? n->ops->send(n, hdr, frame, count, len) : -ENETDOWN;
    if (rc == -EAGAIN) {
        n->blocked = true;
    } else if (rc) {
        n->stats.tx_dropped++;
    } else {
        n->stats.tx_frames++;
        n->stats.tx_bytes += len;
    }
    if (n->pcap && rc != -EAGAIN)
        net_pcap_frame(n->pcap, frame, count, len);
    pthread_mutex_unlock(&n->lock);
    if (rc != -EAGAIN)
        return 0;
    loop_job_post(n->loop, &n->out_job);
    return rc;
}

void net_ask_writable(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    n->blocked = true;
    pthread_mutex_unlock(&n->lock);
    loop_job_post(n->loop, &n->out_job);
}

static void net_queue_set_offloads(struct net *n, unsigned offloads)
{
    pthread_mutex_lock(&n->lock);
    n->offloads = offloads;
    if (n->ops->offloads_changed && n->carrier)
        n->ops->offloads_changed(n);
    pthread_mutex_unlock(&n->lock);
}

void net_set_offloads(struct net *n, unsigned offloads)
{
    if (n->offloads == offloads) /* nearly always; those of the other queues are the same */
        return;
    for (unsigned i = 0; i < net_queue_count(n); i++)
        net_queue_set_offloads(net_queue(n, i), offloads);
}

void net_set_active(struct net *n, unsigned queues)
{
    for (unsigned i = 1; i < net_queue_count(n); i++) {
        struct net *q = net_queue(n, i);
        pthread_mutex_lock(&q->lock);
        bool changed = q->active != (i < queues);
        q->active = i < queues;
        if (changed && q->carrier)
            q->ops->active_changed(q);
        pthread_mutex_unlock(&q->lock);
    }
}

void net_stats(struct net *n, struct net_stats *out)
{
    *out = (struct net_stats){0};
    for (unsigned i = 0; i < net_queue_count(n); i++) {
        struct net *q = net_queue(n, i);
        pthread_mutex_lock(&q->lock);
        out->rx_frames += q->stats.rx_frames;
        out->rx_bytes += q->stats.rx_bytes;
        out->rx_dropped += q->stats.rx_dropped;
        out->tx_frames += q->stats.tx_frames;
        out->tx_bytes += q->stats.tx_bytes;
        out->tx_dropped += q->stats.tx_dropped;
        pthread_mutex_unlock(&q->lock);
    }
}

bool net_carrier(const struct net *n)
{
    return n->carrier;
}

static bool net_is_blocked(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    bool blocked = n->blocked;
    pthread_mutex_unlock(&n->lock);
    return blocked;
}

static void net_update_watch(struct net *n)
{
    unsigned events = (n->stalled ? 0 : LOOP_IN) | (net_is_blocked(n) ? LOOP_OUT : 0);
    if (n->fd >= 0)
        loop_fd_watch(n->loop, &n->watch, events);
}

void net_room(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    bool tell = n->blocked;
    n->blocked = false;
    pthread_mutex_unlock(&n->lock);
    if (tell && n->card)
        n->card->writable(n->card_ctx);
    net_update_watch(n);
}

/* Something was refused: only a descriptor can be busy. */
static void net_out_run(void *ctx)
{
    struct net *n = ctx;
    if (n->fd >= 0)
        net_update_watch(n);
    else
        net_room(n);
}

/* ---- towards the guest ---- */

/* The next piece of the frame that is offered, false if it is done. */
static bool net_next_piece(struct net *n)
{
    n->out_hdr = (struct net_hdr){0};
    n->out_frame = n->cut;
    n->out_len = net_segments_next(&n->segments, n->cut);
    return n->out_len != 0;
}

/* Looks at a packet in n->in; false if it is none for the card. */
static bool net_begin(struct net *n, size_t len)
{
    struct net_hdr *h = &n->out_hdr;
    if (len < NET_HDR_SIZE + NET_ETH_SIZE)
        return false;
    memcpy(h, n->in, NET_HDR_SIZE);
    h->num_buffers = 0;
    n->out_frame = n->in + NET_HDR_SIZE;
    n->out_len = len - NET_HDR_SIZE;
    if (!net_hdr_valid(h, n->out_len, NET_OFFLOAD_ALL))
        return false;
    if (net_hdr_valid(h, n->out_len, n->offloads)) {
        n->segments = (struct net_segments){.whole = true, .count = 1}; /* no more pieces */
        return true;
    }
    return net_segments_start(&n->segments, h, n->out_frame, n->out_len) && net_next_piece(n);
}

static void net_count(struct net *n, bool taken)
{
    const struct iovec frame = {.iov_base = (void *)(uintptr_t)n->out_frame, .iov_len = n->out_len};
    pthread_mutex_lock(&n->lock);
    if (taken) {
        n->stats.rx_frames++;
        n->stats.rx_bytes += n->out_len;
        if (n->pcap)
            net_pcap_frame(n->pcap, &frame, 1, n->out_len);
    } else {
        n->stats.rx_dropped++;
    }
    pthread_mutex_unlock(&n->lock);
}

/* Offers what there is of the frame; false if the card has no room. */
static bool net_offer(struct net *n)
{
    while (n->offering) {
        enum net_taken taken =
            n->card ? n->card->receive(n->card_ctx, &n->out_hdr, n->out_frame, n->out_len)
                    : NET_DROPPED;
        if (taken == NET_LATER)
            return false;
        net_count(n, taken == NET_TAKEN);
        n->offering = net_next_piece(n);
    }
    return true;
}

static void net_drop(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    n->stats.rx_dropped++;
    pthread_mutex_unlock(&n->lock);
}

void net_pump(struct net *n)
{
    n->stalled = !net_offer(n);
    for (unsigned i = 0; n->carrier && !n->stalled; i++) {
        if (i == NET_BATCH) {
            loop_job_post(n->loop, &n->pump_job);
            break;
        }
        ssize_t len = n->ops->fetch(n);
        if (len == -EAGAIN || len == -EINTR)
            break;
        if (len <= 0) {
            net_lost(n);
            return;
        }
        n->offering = net_begin(n, (size_t)len);
        if (!n->offering)
            net_drop(n);
        n->stalled = !net_offer(n);
    }
    net_update_watch(n);
}

static void net_pump_run(void *ctx)
{
    net_pump(ctx);
}

void net_accept(struct net *n)
{
    loop_job_post(n->loop, &n->pump_job);
}

static void net_ready(void *ctx, unsigned events)
{
    struct net *n = ctx;
    if (events & LOOP_OUT)
        net_room(n);
    net_pump(n);
}

/* ---- connection ---- */

static int net_acquire(struct net *n, struct net_link *link, struct error *err)
{
    return n->ops->acquire ? n->ops->acquire(n, link, err) : 0;
}

static int net_start_link(struct net *n, const struct net_link *link, struct error *err)
{
    if (n->ops->open)
        return n->ops->open(n, link, err);
    n->fd = link->fd;
    n->carrier = link->fd >= 0;
    return 0;
}

void net_release(struct net *n)
{
    if (n->ops->release)
        n->ops->release(n);
}

static void net_disconnect(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    if (n->fd >= 0)
        loop_fd_remove(n->loop, &n->watch);
    if (n->ops->close)
        n->ops->close(n);
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    n->carrier = false;
    if (!n->opener)
        net_release(n);
    pthread_mutex_unlock(&n->lock);
}

static int net_connect(struct net *n, struct error *err)
{
    struct net_link link = {.fd = -1};
    pthread_mutex_lock(&n->lock);
    int rc = n->opener ? n->opener(n->opener_ctx, n->queue, &link) : net_acquire(n, &link, err);
    bool found = !rc;
    if (!rc)
        rc = net_start_link(n, &link, err);
    if (!rc && n->carrier && n->ops->offloads_changed)
        n->ops->offloads_changed(n);
    if (!rc && n->carrier && !n->active)
        n->ops->active_changed(n);
    pthread_mutex_unlock(&n->lock);
    if (rc && found)
        net_disconnect(n);
    if (rc == -EAGAIN)
        loop_timer_set(n->loop, &n->retry, loop_now_ns() + NET_RETRY_NS);
    if (rc)
        return rc == -EAGAIN ? 0 : rc;
    if (n->fd >= 0)
        loop_fd_init(&n->watch, n->fd, net_ready, n);
    net_accept(n);
    return 0;
}

static void net_carrier_changed(struct net *n)
{
    if (n->card)
        n->card->carrier(n->card_ctx);
}

void net_lost(struct net *n)
{
    net_disconnect(n);
    net_carrier_changed(n);
    net_room(n);
    loop_timer_set(n->loop, &n->retry, loop_now_ns() + NET_RETRY_NS);
}

static void net_retry(void *ctx)
{
    struct net *n = ctx;
    if (net_connect(n, NULL))
        loop_timer_set(n->loop, &n->retry, loop_now_ns() + NET_RETRY_NS);
    else if (n->carrier)
        net_carrier_changed(n);
}

void net_set_opener(struct net *n, int (*opener)(void *ctx, unsigned queue, struct net_link *link),
                    void *ctx)
{
    for (unsigned i = 0; i < net_queue_count(n); i++) {
        net_queue(n, i)->opener = opener;
        net_queue(n, i)->opener_ctx = ctx;
    }
}

int net_reopen(struct net *n, unsigned queue, struct net_link *link)
{
    if (queue >= net_queue_count(n))
        return -EINVAL;
    net_release(net_queue(n, queue));
    return net_acquire(net_queue(n, queue), link, NULL);
}

/* ---- life ---- */

unsigned net_queue_count(const struct net *n)
{
    return n->config.queues;
}

struct net *net_queue(struct net *n, unsigned queue)
{
    return queue ? n->queues[queue - 1] : n;
}

bool net_may_listen(const struct net *n)
{
    return n->ops == &net_switch_ops;
}

const uint8_t *net_mac(const struct net *n)
{
    return n->mac;
}

unsigned net_mtu(const struct net *n)
{
    return n->config.mtu ? n->config.mtu : n->ops->mtu;
}

void net_set_card(struct net *n, const struct net_card_ops *ops, void *ctx)
{
    n->card = ops;
    n->card_ctx = ctx;
    net_accept(n);
}

/*
 * A card that is alone on its network has the same address at every start, so that guests that
 * remember their cards find it; where others are, one of 2^46 that are not any maker's.
 */
static void net_choose_mac(struct net *n, unsigned index)
{
    static const uint8_t alone[NET_MAC_SIZE] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    memcpy(n->mac, n->config.has_mac ? n->config.mac : alone, NET_MAC_SIZE);
    if (n->config.has_mac)
        return;
    n->mac[5] = (uint8_t)(n->mac[5] + index);
    if (!n->ops->shared)
        return;
    while (getrandom(n->mac, NET_MAC_SIZE, 0) != (ssize_t)NET_MAC_SIZE)
        ;
    n->mac[0] = (uint8_t)((n->mac[0] & 0xfc) | 2);
}

/* A queue in its own right; what it shares with the first comes from there. */
static struct net *net_new(const struct net_config *config, unsigned queue, struct loop *loop)
{
    struct net *n = calloc(1, config->ops->size);
    if (!n)
        return NULL;
    n->ops = config->ops;
    n->config = *config;
    n->loop = loop;
    n->queue = queue;
    n->active = queue == 0;
    n->fd = -1;
    pthread_mutex_init(&n->lock, NULL);
    loop_job_init(&n->pump_job, net_pump_run, n);
    loop_job_init(&n->out_job, net_out_run, n);
    loop_timer_init(&n->retry, net_retry, n);
    n->in = malloc(NET_PACKET_MAX);
    n->cut = malloc(NET_FRAME_MAX);
    return n;
}

static int net_start(struct net *n, struct error *err)
{
    return n->in && n->cut ? net_connect(n, err) : error_set(err, ENOMEM, NO_MEMORY);
}

static int net_start_queues(struct net *n, struct error *err)
{
    const unsigned more = n->config.queues - 1;
    n->queues = calloc(more + 1, sizeof(struct net *));
    if (!n->queues)
        return error_set(err, ENOMEM, NO_MEMORY);
    for (unsigned i = 0; i < more; i++) {
        struct net *q = n->queues[i] = net_new(&n->config, i + 1, n->loop);
        if (!q)
            return error_set(err, ENOMEM, NO_MEMORY);
        memcpy(q->mac, n->mac, NET_MAC_SIZE);
        q->pcap = n->pcap;
        int rc = net_start(q, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int net_start_all(struct net *n, unsigned index, struct error *err)
{
    net_choose_mac(n, index);
    if (n->config.pcap) {
        n->pcap = net_pcap_open(n->config.pcap, err);
        if (!n->pcap)
            return -EIO;
    }
    int rc = net_start(n, err);
    return rc ? rc : net_start_queues(n, err);
}

struct net *net_open(const char *spec, unsigned index, struct loop *loop, struct error *err)
{
    struct net_config config;
    struct net *n = NULL;
    int rc = net_config_parse(&config, spec, err);
    if (!rc && !(n = net_new(&config, 0, loop)))
        error_set(err, ENOMEM, NO_MEMORY);
    if (!n)
        net_config_fini(&config);
    else if (!net_start_all(n, index, err))
        return n;
    net_free(n);
    return NULL;
}

static void net_queue_free(struct net *n)
{
    if (!n)
        return;
    net_disconnect(n);
    loop_job_cancel(n->loop, &n->pump_job);
    loop_job_cancel(n->loop, &n->out_job);
    loop_timer_cancel(n->loop, &n->retry);
    pthread_mutex_destroy(&n->lock);
    free(n->in);
    free(n->cut);
    free(n);
}

void net_free(struct net *n)
{
    if (!n)
        return;
    struct net_config config = n->config;
    for (unsigned i = 1; n->queues && i < config.queues; i++)
        net_queue_free(n->queues[i - 1]);
    free(n->queues);
    net_pcap_close(n->pcap);
    n->pcap = NULL;
    net_queue_free(n);
    net_config_fini(&config);
}
