/* A network card for tests of back ends: it keeps what it receives. */
#pragma once

#include "base/loop.h"
#include "net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CARD_KEPT 64u

struct card {
    struct net *net;
    struct {
        struct net_hdr hdr;
        size_t len;
        uint8_t *data;
    } got[CARD_KEPT];
    unsigned count;
    unsigned room; /* frames that it still takes */
    unsigned writable, carrier;
};

/* Opens the network; fails the test if it cannot. All offloads at first. */
struct card *card_new(const char *spec, struct loop *loop);
void card_free(struct card *c);
/* Forgets what has come. */
void card_forget(struct card *c);

/* Runs the loop until the card has `count` frames; false after some seconds. */
bool card_wait(struct card *c, struct loop *loop, unsigned count);
/* Runs the loop for a moment, in which something would happen if it did. */
void loop_settle(struct loop *loop);

/* Sends a frame without anything left to do; as net_send. */
int card_send(struct card *c, const void *frame, size_t len);
/* A frame of len bytes between two addresses that are told by their last byte, 0xff: all. */
void frame_make(uint8_t *frame, size_t len, uint8_t to, uint8_t from);
