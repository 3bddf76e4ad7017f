#include "nbd/server.h"

#include <errno.h>
#include <libnbd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_MS 15000
#define GOODBYE_MS 500
#define ANSWER_SECONDS 60 /* $GUISE_NBD_SECONDS has another number */
#define CONTEXT "base:allocation"

struct server_request {
    struct server *server;
    struct nbd_reply reply;
    bool busy;
    bool completed; /* libnbd is through with it */
};

struct server {
    struct nbd_handle *nbd;
    uint8_t *memory;
    server_replied *replied;
    void *ctx;
    bool lost;
    bool no_flush; /* the server has none: what it has acknowledged is as safe as it gets */
    unsigned busy;
    int64_t patience_ms, heard_ms; /* how long an answer may take; when there was one */
    struct server_request requests[NBD_SLOTS];
};

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- replies ---- */

static void server_finish(struct server_request *q, int result)
{
    q->reply.result = result;
    q->busy = false;
    q->server->busy--;
    q->server->heard_ms = now_ms();
    q->server->replied(q->server->ctx, &q->reply);
}

/* libnbd's texts begin with the name of a function. */
static const char *server_reason(void)
{
    const char *text = nbd_get_error();
    const char *colon = text ? strstr(text, ": ") : NULL;
    return !text ? "no reason is known" : colon && !strncmp(text, "nbd_", 4) ? colon + 2 : text;
}

static void server_lose(struct server *s, const char *why)
{
    if (s->lost)
        return;
    struct nbd_reply reply = {.lost = 1};
    s->lost = true;
    snprintf(reply.why, sizeof reply.why, "the connection to the server is lost: %s", why);
    s->replied(s->ctx, &reply);
    for (unsigned i = 0; i < NBD_SLOTS; i++)
        if (s->requests[i].busy)
            server_finish(&s->requests[i], -EIO);
}

/* ---- libnbd's calls ---- */

static int server_extents(void *data, const char *context, uint64_t offset, uint32_t *entries,
                          size_t count, int *error)
{
    struct server_request *q = data;
    (void)offset;
    (void)error;
    if (!strcmp(context, CONTEXT) && count >= 2 && !q->reply.length) {
        q->reply.length = entries[0];
        q->reply.zero = (entries[1] & LIBNBD_STATE_ZERO) != 0;
    }
    return 0;
}

/* Whether the connection is lost, which comes first, libnbd cannot be asked in here. */
static int server_completed(void *data, int *error)
{
    struct server_request *q = data;
    q->completed = true;
    q->reply.result = *error ? -*error : 0;
    return 1;
}

/* After each call that may have completed something; `failed`: the call. */
static void server_settle(struct server *s, bool failed)
{
    const char *why = failed ? server_reason() : "the server has closed it";
    if (failed || nbd_aio_is_dead(s->nbd) || nbd_aio_is_closed(s->nbd))
        server_lose(s, why);
    for (unsigned i = 0; i < NBD_SLOTS; i++)
        if (s->requests[i].busy && s->requests[i].completed)
            server_finish(&s->requests[i], s->requests[i].reply.result);
}

static int64_t server_start(struct server *s, const struct nbd_request *r, struct server_request *q)
{
    uint8_t *data = s->memory + (size_t)r->slot * NBD_SLOT_SIZE;
    nbd_completion_callback done = {.callback = server_completed, .user_data = q};
    nbd_extent_callback extents = {.callback = server_extents, .user_data = q};
    switch ((enum nbd_op)r->op) {
    case NBD_READ:
        return nbd_aio_pread(s->nbd, data, r->length, r->offset, done, 0);
    case NBD_WRITE:
        return nbd_aio_pwrite(s->nbd, data, r->length, r->offset, done, 0);
    case NBD_FLUSH:
        return nbd_aio_flush(s->nbd, done, 0);
    case NBD_TRIM:
        return nbd_aio_trim(s->nbd, r->length, r->offset, done, 0);
    case NBD_ZERO:
        return nbd_aio_zero(s->nbd, r->length, r->offset, done,
                            r->unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
    case NBD_STATUS:
        return nbd_aio_block_status(s->nbd, r->length, r->offset, extents, done,
                                    LIBNBD_CMD_FLAG_REQ_ONE);
    }
    return -1;
}

void server_submit(struct server *s, const struct nbd_request *r)
{
    if (r->slot >= NBD_SLOTS || s->requests[r->slot].busy)
        return;
    struct server_request *q = &s->requests[r->slot];
    bool data = r->op == NBD_READ || r->op == NBD_WRITE;
    *q = (struct server_request){.server = s, .reply = {.slot = r->slot}, .busy = true};
    if (!s->busy++)
        s->heard_ms = now_ms();
    if (r->op == NBD_FLUSH && s->no_flush)
        server_finish(q, 0);
    else if (s->lost || (data && r->length > NBD_SLOT_SIZE))
        server_finish(q, -EIO);
    else if (server_start(s, r, q) < 0)
        server_finish(q, -(nbd_get_errno() ? nbd_get_errno() : EIO));
    if (!s->lost)
        server_settle(s, false);
}

/* ---- the connection ---- */

int server_poll(const struct server *s, struct pollfd *p)
{
    *p = (struct pollfd){.fd = -1};
    if (s->lost)
        return -1;
    unsigned direction = nbd_aio_get_direction(s->nbd);
    p->fd = nbd_aio_get_fd(s->nbd);
    p->events |= direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0;
    p->events |= direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0;
    if (!s->busy)
        return -1;
    int64_t left = s->heard_ms + s->patience_ms - now_ms();
    return left > 0 ? (int)left + 1 : 0;
}

void server_serve(struct server *s, int revents)
{
    int rc = 0;
    if (s->lost)
        return;
    unsigned direction = nbd_aio_get_direction(s->nbd);
    if (revents & (POLLIN | POLLHUP) && direction & LIBNBD_AIO_DIRECTION_READ)
        rc = nbd_aio_notify_read(s->nbd);
    else if (revents & POLLOUT && direction & LIBNBD_AIO_DIRECTION_WRITE)
        rc = nbd_aio_notify_write(s->nbd);
    else if (revents & (POLLERR | POLLNVAL | POLLHUP))
        server_lose(s, "it has been reset");
    if (s->lost)
        return;
    server_settle(s, rc != 0);
    if (!s->lost && s->busy && now_ms() - s->heard_ms > s->patience_ms)
        server_lose(s, "the server does not answer");
}

static int server_await(struct server *s, const char *uri, struct error *err)
{
    const int64_t end = now_ms() + (s->patience_ms < CONNECT_MS ? s->patience_ms : CONNECT_MS);
    if (nbd_aio_connect_uri(s->nbd, uri))
        return error_set(err, EIO, "there is no connection: %s", server_reason());
    while (nbd_aio_is_connecting(s->nbd)) {
        int64_t left = end - now_ms();
        int rc = left > 0 ? nbd_poll(s->nbd, (int)left) : 0;
        if (rc < 0)
            return error_set(err, EIO, "there is no connection: %s", server_reason());
        if (!rc)
            return error_set(err, ETIMEDOUT, "the server does not answer");
    }
    return nbd_aio_is_ready(s->nbd)
               ? 0
               : error_set(err, EIO, "there is no connection: %s", server_reason());
}

static int server_open(struct server *s, const char *uri, struct error *err)
{
    const char *seconds = getenv("GUISE_NBD_SECONDS");
    int given = seconds ? atoi(seconds) : 0;
    s->patience_ms = INT64_C(1000) * (given > 0 && given < 86400 ? given : ANSWER_SECONDS);
    s->nbd = nbd_create();
    if (!s->nbd)
        return error_set(err, ENOMEM, "libnbd: %s", server_reason());
    /* The URI is the user's, and so are the certificates that it names. */
    nbd_set_uri_allow_local_file(s->nbd, true);
    nbd_set_uri_allow_transports(s->nbd, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX);
    nbd_add_meta_context(s->nbd, CONTEXT);
    int rc = server_await(s, uri, err);
    if (rc)
        return rc;
    s->no_flush = nbd_can_flush(s->nbd) <= 0;
    return nbd_get_size(s->nbd) < 0
               ? error_set(err, EIO, "the size is not known: %s", server_reason())
               : 0;
}

struct server *server_connect(const char *uri, uint8_t *memory, server_replied *replied, void *ctx,
                              struct error *err)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    s->memory = memory;
    s->replied = replied;
    s->ctx = ctx;
    if (!server_open(s, uri, err))
        return s;
    nbd_close(s->nbd);
    free(s);
    return NULL;
}

static uint32_t server_block_size(const struct server *s, int which)
{
    int64_t size = nbd_get_block_size(s->nbd, which);
    return size < 0 || size > UINT32_MAX ? 0 : (uint32_t)size;
}

void server_hello(const struct server *s, struct nbd_hello *hello)
{
    *hello = (struct nbd_hello){
        .size = (uint64_t)nbd_get_size(s->nbd),
        .min_block = server_block_size(s, LIBNBD_SIZE_MINIMUM),
        .max_data = server_block_size(s, LIBNBD_SIZE_MAXIMUM),
        .readonly = nbd_is_read_only(s->nbd) > 0,
        .trim = nbd_can_trim(s->nbd) > 0,
        .zero = nbd_can_zero(s->nbd) > 0,
        .status = nbd_can_meta_context(s->nbd, CONTEXT) > 0,
    };
}

void server_end(struct server *s)
{
    const int64_t end = now_ms() + GOODBYE_MS;
    if (!s->lost && nbd_aio_is_ready(s->nbd) > 0 && !nbd_aio_disconnect(s->nbd, 0))
        while (!nbd_aio_is_closed(s->nbd) && !nbd_aio_is_dead(s->nbd) && now_ms() < end)
            if (nbd_poll(s->nbd, GOODBYE_MS) <= 0)
                break;
    nbd_close(s->nbd);
    free(s);
}
