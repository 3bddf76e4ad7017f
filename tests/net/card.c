#include "card.h"

#include <stdlib.h>
#include <string.h>

static enum net_taken card_receive(void *ctx, const struct net_hdr *hdr, const uint8_t *frame,
                                   size_t len)
{
    struct card *c = ctx;
    assert_true(len >= NET_ETH_SIZE && len <= NET_FRAME_MAX);
    if (!c->room)
        return NET_LATER;
    if (c->room != UINT32_MAX)
        c->room--;
    if (c->count == CARD_KEPT)
        return NET_DROPPED;
    c->got[c->count].hdr = *hdr;
    c->got[c->count].len = len;
    c->got[c->count].data = malloc(len);
    assert_non_null(c->got[c->count].data);
    memcpy(c->got[c->count++].data, frame, len);
    return NET_TAKEN;
}

static void card_writable(void *ctx)
{
    ((struct card *)ctx)->writable++;
}

static void card_carrier(void *ctx)
{
    ((struct card *)ctx)->carrier++;
}

static const struct net_card_ops card_ops = {card_receive, card_writable, card_carrier};

struct card *card_new(const char *spec, struct loop *loop)
{
    struct error err = {0};
    struct card *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->room = UINT32_MAX;
    c->net = net_open(spec, 0, loop, &err);
    if (!c->net)
        fail_msg("%s: %s", spec, err.msg);
    net_set_card(c->net, &card_ops, c);
    net_set_offloads(c->net, NET_OFFLOAD_ALL);
    return c;
}

void card_forget(struct card *c)
{
    for (unsigned i = 0; i < c->count; i++)
        free(c->got[i].data);
    c->count = 0;
}

void card_free(struct card *c)
{
    net_free(c->net);
    card_forget(c);
    free(c);
}

bool card_wait(struct card *c, struct loop *loop, unsigned count)
{
    uint64_t end = loop_now_ns() + UINT64_C(20000000000);
    while (c->count < count && loop_now_ns() < end)
        loop_run_once(loop, 20);
    return c->count >= count;
}

void loop_settle(struct loop *loop)
{
    for (unsigned i = 0; i < 20; i++)
        loop_run_once(loop, 2);
}

int card_send(struct card *c, const void *frame, size_t len)
{
    const struct net_hdr hdr = {0};
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)frame, .iov_len = len};
    return net_send(c->net, &hdr, &iov, 1, len);
}

void frame_make(uint8_t *frame, size_t len, uint8_t to, uint8_t from)
{
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 5 + i / 256);
    memset(frame, to == 0xff ? 0xff : 2, 6);
    memset(frame + 6, 2, 6);
    frame[5] = to;
    frame[11] = from;
    memcpy(frame + 12, "\x88\xb5", 2); /* for local experiments */
}
