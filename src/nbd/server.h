/*
 * A connection to an NBD server, libnbd's, whose requests are those of block/nbd_link.h.
 *
 * One thread.
 */
#pragma once

#include "base/error.h"
#include "block/nbd_link.h"

#include <poll.h>

struct server;

/* Told of each reply, inside of the functions below. */
typedef void server_replied(void *ctx, const struct nbd_reply *reply);

/*
 * Connects, in some seconds or not at all. `memory` are the slots. NULL with *err: a sentence
 * without the URI.
 */
struct server *server_connect(const char *uri, uint8_t *memory, server_replied *replied, void *ctx,
                              struct error *err);
/* What it offers. */
void server_hello(const struct server *s, struct nbd_hello *hello);

/* Starts a request, or replies at once what is wrong with it. */
void server_submit(struct server *s, const struct nbd_request *r);

/*
 * What to wait for. fd -1: nothing. How many milliseconds at most, after which server_serve is to
 * be called all the same; -1: any number.
 */
int server_poll(const struct server *s, struct pollfd *p);
/* Goes on with `revents` of that. */
void server_serve(struct server *s, int revents);

/* Says goodbye to the server, if it listens. */
void server_end(struct server *s);
