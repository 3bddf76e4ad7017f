#include "chr/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHR_FREE_WAIT_MS 1000
/* What a pipe or terminal takes at once when poll says that it is writable. */
#define CHR_SMALL_WRITE 512

/* What chr_open can make. */
static const struct chr_ops *const chr_backends[] = {
    &chr_none_ops, &chr_stdio_ops, &chr_stdout_ops, &chr_file_ops, &chr_pty_ops, &chr_unix_ops,
};

/* ---- rings ---- */

static size_t chr_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t chr_ring_put(struct chr_ring *r, const uint8_t *data, size_t len)
{
    len = chr_min(len, r->size - r->len);
    if (!len)
        return 0;
    size_t tail = (r->head + r->len) % r->size;
    size_t first = chr_min(len, r->size - tail);
    memcpy(r->data + tail, data, first);
    memcpy(r->data, data + first, len - first);
    r->len += len;
    return len;
}

static void chr_ring_drop(struct chr_ring *r, size_t len)
{
    r->head = (r->head + len) % r->size;
    r->len -= len;
}

size_t chr_ring_get(struct chr_ring *r, uint8_t *data, size_t len)
{
    len = chr_min(len, r->len);
    size_t first = chr_min(len, r->size - r->head);
    if (first)
        memcpy(data, r->data + r->head, first);
    if (len > first)
        memcpy(data + first, r->data, len - first);
    chr_ring_drop(r, len);
    return len;
}

/* ---- output ---- */

/* Lock held. */
static size_t chr_push(struct chr *c, const uint8_t *data, size_t len)
{
    if (c->discard || c->away)
        return len;
    if (!c->overwrite)
        return chr_ring_put(&c->out, data, len);
    size_t skip = len > c->out.size ? len - c->out.size : 0;
    size_t room = c->out.size - c->out.len;
    if (len - skip > room)
        chr_ring_drop(&c->out, len - skip - room);
    chr_ring_put(&c->out, data + skip, len - skip);
    return len;
}

/* Takes what there is room for. */
static size_t chr_offer(struct chr *c, const void *data, size_t len)
{
    pthread_mutex_lock(&c->lock);
    bool was_empty = !c->out.len;
    size_t taken = chr_push(c, data, len);
    if (taken < len)
        c->refused = true;
    bool wake = was_empty && c->out.len && c->out_fd >= 0;
    pthread_mutex_unlock(&c->lock);
    if (wake)
        loop_job_post(c->loop, &c->out_job);
    return taken;
}

/* One write to the host. Returns bytes or -errno. */
static ssize_t chr_write_host(const struct chr *c, const void *data, size_t len)
{
    if (c->may_block) {
        struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};
        if (poll(&p, 1, 0) <= 0)
            return -EAGAIN;
        len = chr_min(len, CHR_SMALL_WRITE);
    }
    ssize_t n =
        c->is_socket ? send(c->out_fd, data, len, MSG_NOSIGNAL) : write(c->out_fd, data, len);
    return n < 0 ? -errno : n;
}

/* There is something that can be written now. Lock held. */
static bool chr_has_output(const struct chr *c)
{
    return c->out.len && c->out_fd >= 0 && !c->overwrite;
}

/*
 * Writes at most one ring's worth. 0: the ring is empty or held back; -EAGAIN: there is more, or
 * the host takes no more now. Output that the host refuses is dropped, so that a full disk does not
 * stop the guest.
 */
static int chr_drain(struct chr *c)
{
    pthread_mutex_lock(&c->drain);
    pthread_mutex_lock(&c->lock);
    size_t budget = c->out.size;
    while (budget && chr_has_output(c)) {
        const uint8_t *data = c->out.data + c->out.head;
        size_t len = chr_min(chr_min(c->out.len, c->out.size - c->out.head), budget);
        pthread_mutex_unlock(&c->lock);
        ssize_t n = chr_write_host(c, data, len);
        pthread_mutex_lock(&c->lock);
        if (n == -EAGAIN)
            break;
        if (n > 0) {
            chr_ring_drop(&c->out, (size_t)n);
            budget -= (size_t)n;
        } else if (n != -EINTR) {
            if (!c->error && !c->is_socket)
                c->error = n ? (int)-n : EIO;
            chr_ring_drop(&c->out, c->out.len);
        }
    }
    bool more = chr_has_output(c);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->drain);
    return more ? -EAGAIN : 0;
}

static int chr_out_fd(struct chr *c)
{
    pthread_mutex_lock(&c->lock);
    int fd = c->out_fd;
    pthread_mutex_unlock(&c->lock);
    return fd;
}

/* Waits until the host takes output again. */
static void chr_wait_out(struct chr *c, int timeout_ms)
{
    struct pollfd p = {.fd = chr_out_fd(c), .events = POLLOUT};
    poll(&p, 1, timeout_ms);
}

/* Offers the rest again and again until all is taken, or until *on is false. Returns what was. */
static size_t chr_offer_until(struct chr *c, const uint8_t *data, size_t len,
                              const _Atomic bool *on)
{
    size_t done = 0;
    for (;;) {
        done += chr_offer(c, data + done, len - done);
        if (done == len || (on && !*on))
            break;
        /* The limited wait is for a pty that is closed meanwhile, and for one without an fd. */
        if (chr_drain(c))
            chr_wait_out(c, 100);
        else if (chr_out_fd(c) < 0)
            chr_wait_out(c, 1);
    }
    /* chr_drain here may have made the room that a refused chr_write waits to hear of. */
    loop_job_post(c->loop, &c->out_job);
    return done;
}

void chr_write_wait(struct chr *c, const void *data, size_t len)
{
    chr_offer_until(c, data, len, NULL);
}

size_t chr_write(struct chr *c, const void *data, size_t len)
{
    size_t done = chr_offer(c, data, len);
    if (done < len && c->wait)
        done += chr_offer_until(c, (const uint8_t *)data + done, len - done, &c->wait);
    return done;
}

void chr_set_wait(struct chr *c, bool wait)
{
    c->wait = wait;
}

void chr_ask_writable(struct chr *c)
{
    pthread_mutex_lock(&c->lock);
    c->refused = true;
    pthread_mutex_unlock(&c->lock);
    loop_job_post(c->loop, &c->out_job);
}

static void chr_tell_writable(struct chr *c)
{
    pthread_mutex_lock(&c->lock);
    bool tell = c->refused && c->out.len < c->out.size;
    if (tell)
        c->refused = false;
    pthread_mutex_unlock(&c->lock);
    if (tell && c->writable)
        c->writable(c->writable_ctx);
}

static void chr_out_run(void *ctx)
{
    struct chr *c = ctx;
    bool more = chr_drain(c) == -EAGAIN;
    if (loop_fd_watch(c->loop, &c->out_watch, more ? LOOP_OUT : 0) && more)
        loop_job_post(c->loop, &c->out_job); /* a regular file: always ready */
    chr_tell_writable(c);
}

static void chr_out_ready(void *ctx, unsigned events)
{
    (void)events;
    chr_out_run(ctx);
}

void chr_set_overwrite(struct chr *c, bool on)
{
    pthread_mutex_lock(&c->drain);
    pthread_mutex_lock(&c->lock);
    c->overwrite = on;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->drain);
    loop_job_post(c->loop, &c->out_job);
}

int chr_error(struct chr *c)
{
    pthread_mutex_lock(&c->lock);
    int rc = -c->error;
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int chr_flush(struct chr *c, int timeout_ms)
{
    uint64_t end = loop_now_ns() + (uint64_t)timeout_ms * 1000000;
    while (chr_drain(c)) {
        uint64_t now = loop_now_ns();
        if (now >= end)
            return -ETIMEDOUT;
        chr_wait_out(c, (int)((end - now) / 1000000) + 1);
    }
    return chr_error(c);
}

/* ---- input ---- */

/* Gives the device what it has room for. */
static void chr_deliver(struct chr *c)
{
    uint8_t buf[512];
    while (c->can_receive) {
        pthread_mutex_lock(&c->lock);
        bool any = c->in.len != 0;
        pthread_mutex_unlock(&c->lock);
        size_t room = any ? c->can_receive(c->receive_ctx) : 0;
        if (!room)
            return;
        pthread_mutex_lock(&c->lock);
        size_t n = chr_ring_get(&c->in, buf, chr_min(room, sizeof buf));
        pthread_mutex_unlock(&c->lock);
        c->receive(c->receive_ctx, buf, n);
    }
}

/* Reads once from the host. */
static void chr_read(struct chr *c)
{
    uint8_t buf[512];
    pthread_mutex_lock(&c->lock);
    size_t room = c->in.size - c->in.len;
    pthread_mutex_unlock(&c->lock);
    size_t want = c->keep_input ? chr_min(room, sizeof buf) : sizeof buf;
    if (!want)
        return;
    ssize_t n = read(c->in_fd, buf, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        loop_fd_remove(c->loop, &c->in_watch);
        if (c->ops->hangup)
            c->ops->hangup(c);
        else
            c->in_over = true;
        return;
    }
    size_t len = (size_t)n;
    if (c->ops->filter)
        len = c->ops->filter(c, buf, len);
    pthread_mutex_lock(&c->lock);
    chr_ring_put(&c->in, buf, len);
    pthread_mutex_unlock(&c->lock);
}

/* Waits for more input if there is a place for it. */
static void chr_watch_in(struct chr *c)
{
    if (c->in_fd < 0 || c->in_over)
        return;
    pthread_mutex_lock(&c->lock);
    bool want = !c->keep_input || c->in.len < c->in.size;
    pthread_mutex_unlock(&c->lock);
    if (!want && c->ops->stuck)
        c->ops->stuck(c);
    if (c->in_unpollable && want)
        loop_job_post(c->loop, &c->in_job);
    else if (loop_fd_watch(c->loop, &c->in_watch, want ? LOOP_IN : 0) == -EPERM) {
        c->in_unpollable = true;
        loop_job_post(c->loop, &c->in_job);
    }
}

static void chr_in_ready(void *ctx, unsigned events)
{
    (void)events;
    struct chr *c = ctx;
    chr_read(c);
    chr_deliver(c);
    chr_watch_in(c);
}

void chr_pump(struct chr *c)
{
    if (c->in_unpollable && !c->in_over)
        chr_read(c);
    chr_deliver(c);
    chr_watch_in(c);
}

static void chr_in_run(void *ctx)
{
    chr_pump(ctx);
}

void chr_accept_input(struct chr *c)
{
    loop_job_post(c->loop, &c->in_job);
}

/* ---- clients ---- */

void chr_set_client(struct chr *c, int in_fd, int out_fd)
{
    loop_fd_remove(c->loop, &c->in_watch);
    loop_fd_remove(c->loop, &c->out_watch);
    pthread_mutex_lock(&c->drain);
    pthread_mutex_lock(&c->lock);
    if (c->own_in)
        close(c->in_fd);
    if (c->own_out)
        close(c->out_fd);
    c->in_fd = in_fd;
    c->out_fd = out_fd;
    c->own_in = in_fd >= 0;
    c->own_out = out_fd >= 0;
    c->away = out_fd < 0;
    c->in.len = c->out.len = 0;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->drain);
    loop_fd_init(&c->in_watch, in_fd, chr_in_ready, c);
    loop_fd_init(&c->out_watch, out_fd, chr_out_ready, c);
    c->in_over = false;
    if (c->peer)
        c->peer(c->peer_ctx, !c->away);
    /* There is room now, and there may be input. */
    loop_job_post(c->loop, &c->out_job);
    loop_job_post(c->loop, &c->in_job);
}

void chr_set_peer(struct chr *c, void (*peer)(void *ctx, bool there), void *ctx)
{
    c->peer = peer;
    c->peer_ctx = ctx;
}

bool chr_peer(const struct chr *c)
{
    return !c->away;
}

void chr_set_heard(struct chr *c, bool heard)
{
    c->deaf = !heard;
}

/* ---- life ---- */

void chr_set_receiver(struct chr *c, size_t (*can_receive)(void *ctx),
                      void (*receive)(void *ctx, const uint8_t *data, size_t len), void *ctx)
{
    c->can_receive = can_receive;
    c->receive = receive;
    c->receive_ctx = ctx;
    chr_accept_input(c);
}

void chr_set_writable(struct chr *c, void (*writable)(void *ctx), void *ctx)
{
    c->writable = writable;
    c->writable_ctx = ctx;
}

void chr_set_quit(struct chr *c, void (*quit)(void *ctx), void *ctx)
{
    c->quit = quit;
    c->quit_ctx = ctx;
}

const char *chr_path(const struct chr *c)
{
    return c->path;
}

/* Releases everything but what ops->open made and ops->close knows of. */
static void chr_release(struct chr *c)
{
    loop_fd_remove(c->loop, &c->in_watch);
    loop_fd_remove(c->loop, &c->out_watch);
    loop_job_cancel(c->loop, &c->in_job);
    loop_job_cancel(c->loop, &c->out_job);
    if (c->ops->close)
        c->ops->close(c);
    if (c->own_in)
        close(c->in_fd);
    if (c->own_out)
        close(c->out_fd);
    pthread_mutex_destroy(&c->drain);
    pthread_mutex_destroy(&c->lock);
    free(c->out.data);
    free(c->in.data);
    free(c->path);
    free(c);
}

struct chr *chr_new(const struct chr_ops *ops, const char *arg, struct loop *loop,
                    struct error *err)
{
    struct chr *c = calloc(1, ops->size);
    if (!c) {
        error_set(err, ENOMEM, "%s: out of memory", ops->name);
        return NULL;
    }
    c->ops = ops;
    c->loop = loop;
    c->in_fd = c->out_fd = -1;
    c->keep_input = true;
    pthread_mutex_init(&c->drain, NULL);
    pthread_mutex_init(&c->lock, NULL);
    loop_job_init(&c->in_job, chr_in_run, c);
    loop_job_init(&c->out_job, chr_out_run, c);
    c->out = (struct chr_ring){.size = CHR_OUT_SIZE, .data = malloc(CHR_OUT_SIZE)};
    c->in = (struct chr_ring){.size = CHR_IN_SIZE, .data = malloc(CHR_IN_SIZE)};
    int rc = c->out.data && c->in.data ? ops->open(c, arg, err)
                                       : error_set(err, ENOMEM, "%s: out of memory", ops->name);
    loop_fd_init(&c->in_watch, c->in_fd, chr_in_ready, c);
    loop_fd_init(&c->out_watch, c->out_fd, chr_out_ready, c);
    if (rc) {
        chr_release(c);
        return NULL;
    }
    chr_accept_input(c);
    return c;
}

void chr_free(struct chr *c)
{
    if (!c)
        return;
    chr_flush(c, CHR_FREE_WAIT_MS);
    chr_release(c);
}

void chr_remove(struct chr *c)
{
    if (c->ops->remove)
        c->ops->remove(c);
}

void chr_set_discard(struct chr *c)
{
    pthread_mutex_lock(&c->lock);
    c->discard = true;
    pthread_mutex_unlock(&c->lock);
}

void chr_abandon(struct chr *c)
{
    c->abandoned = true;
}

/* The back end that spec names, *arg what follows the colon (NULL: no colon). */
static const struct chr_ops *chr_find(const char *spec, const char **arg, struct error *err)
{
    const char *colon = strchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    *arg = colon ? colon + 1 : NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(chr_backends); i++) {
        const struct chr_ops *ops = chr_backends[i];
        if (strlen(ops->name) != len || memcmp(ops->name, spec, len))
            continue;
        if (ops->takes_arg ? *arg && **arg : !*arg)
            return ops;
        error_set(err, EINVAL,
                  ops->takes_arg ? "'%s' needs a file name after '%s:'"
                                 : "'%s': '%s' takes nothing after it",
                  spec, ops->name);
        return NULL;
    }
    error_set(err, EINVAL, "'%s' is not a console; use stdio, none, pty, file:PATH or unix:PATH",
              spec);
    return NULL;
}

int chr_check(const char *spec, struct error *err)
{
    const char *arg;
    return chr_find(spec, &arg, err) ? 0 : -EINVAL;
}

struct chr *chr_open(const char *spec, struct loop *loop, struct error *err)
{
    const char *arg;
    const struct chr_ops *ops = chr_find(spec, &arg, err);
    return ops ? chr_new(ops, arg, loop, err) : NULL;
}
