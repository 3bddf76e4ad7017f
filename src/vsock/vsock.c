#include "vsock/vsock.h"

#include "base/local.h"
#include "base/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CID_MIN 3u /* section 5.10.4: the smaller ones are the hypervisor's and the host's */
#define CID_MAX 4294967294u
#define PORT_ROOM 11u   /* of "_4294967295" */
#define REQUEST_MAX 32u /* bytes of "CONNECT PORT\n" */
#define HOST_PORTS 0x40000000u

enum stream_state { STREAM_FREE, STREAM_ASKING, STREAM_OWNED };

struct vsock_stream {
    struct vsock *v;
    enum stream_state state;
    struct loop_fd watch;
    uint32_t host_port;
    char request[REQUEST_MAX]; /* as far as it has come */
    unsigned request_len;
    void *owner;
};

struct vsock {
    char *path;
    uint32_t cid;
    struct loop *loop;
    struct loop_fd listener;
    struct stat socket; /* what is at the path */
    const struct vsock_ops *ops;
    void *ctx;
    int (*opener)(void *ctx, uint32_t port);
    void *opener_ctx;
    uint32_t last_port;
    struct vsock_stream stream[VSOCK_MAX_STREAMS];
};

/* ---- the text ---- */

static int parse_cid(const char *text, uint32_t *cid, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || n < CID_MIN || n > CID_MAX)
        return error_set(err, EINVAL, "cid: '%s' is not a number from %u to %u", text, CID_MIN,
                         CID_MAX);
    *cid = (uint32_t)n;
    return 0;
}

/* *path is allocated. */
static int vsock_parse(const char *spec, char **path, uint32_t *cid, struct error *err)
{
    const char *option = strrchr(spec, ',');
    bool has_cid = option && !strncmp(option, ",cid=", 5);
    size_t len = has_cid ? (size_t)(option - spec) : strlen(spec);
    *path = NULL;
    *cid = VSOCK_CID_DEFAULT;
    if (!len)
        return error_set(err, EINVAL, "'%s' names no socket: PATH[,cid=N]", spec);
    if (len + PORT_ROOM > LOCAL_PATH_MAX)
        return error_set(err, EINVAL,
                         "%.*s: the name of a Unix socket, with _PORT behind it, has up to %zu "
                         "bytes",
                         (int)len, spec, LOCAL_PATH_MAX);
    int rc = has_cid ? parse_cid(option + 5, cid, err) : 0;
    if (rc)
        return rc;
    *path = strndup(spec, len);
    return *path ? 0 : error_set(err, ENOMEM, "out of memory for '%s'", spec);
}

int vsock_check(const char *spec, struct error *err)
{
    char *path;
    uint32_t cid;
    int rc = vsock_parse(spec, &path, &cid, err);
    free(path);
    return rc;
}

/* ---- names of the host ---- */

int vsock_dial(const struct vsock *v, uint32_t port)
{
    char path[LOCAL_PATH_MAX + 1];
    snprintf(path, sizeof path, "%s_%u", v->path, port);
    return local_connect(path);
}

void vsock_release(struct vsock *v)
{
    local_release(v->path, &v->socket);
}

/* ---- streams ---- */

static void stream_ready(void *ctx, unsigned events);

static struct vsock_stream *stream_new(struct vsock *v, int fd)
{
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++) {
        struct vsock_stream *s = &v->stream[i];
        if (s->state != STREAM_FREE)
            continue;
        *s = (struct vsock_stream){.v = v, .state = STREAM_ASKING};
        loop_fd_init(&s->watch, fd, stream_ready, s);
        return s;
    }
    return NULL;
}

void vsock_close(struct vsock_stream *s)
{
    loop_fd_remove(s->v->loop, &s->watch);
    close(s->watch.fd);
    s->state = STREAM_FREE;
}

void vsock_wait(struct vsock_stream *s, unsigned events)
{
    if (loop_fd_watch(s->v->loop, &s->watch, events))
        loop_fd_remove(s->v->loop, &s->watch);
}

void vsock_set_owner(struct vsock_stream *s, void *owner)
{
    s->owner = owner;
}

ssize_t vsock_read(struct vsock_stream *s, void *to, size_t len)
{
    ssize_t n;
    do
        n = read(s->watch.fd, to, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t vsock_write(struct vsock_stream *s, const void *data, size_t len)
{
    ssize_t n;
    do
        n = send(s->watch.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void vsock_end_write(struct vsock_stream *s)
{
    shutdown(s->watch.fd, SHUT_WR);
}

struct vsock_stream *vsock_connect(struct vsock *v, uint32_t port)
{
    int fd = v->opener ? v->opener(v->opener_ctx, port) : vsock_dial(v, port);
    if (fd < 0)
        return NULL;
    struct vsock_stream *s = stream_new(v, fd);
    if (!s) {
        close(fd);
        return NULL;
    }
    s->state = STREAM_OWNED;
    s->host_port = port;
    return s;
}

void vsock_accepted(struct vsock_stream *s)
{
    char line[24];
    int len = snprintf(line, sizeof line, "OK %u\n", s->host_port);
    /* There is room: it is the first that is sent. */
    vsock_write(s, line, (size_t)len);
}

/* ---- who connects to the path ---- */

/* The port of a whole line "CONNECT PORT"; false: it is none. */
static bool request_port(const char *line, uint32_t *port)
{
    char *end;
    if (strncmp(line, "CONNECT ", 8) || line[8] < '0' || line[8] > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(line + 8, &end, 10);
    *port = (uint32_t)n;
    return !errno && !*end && n < UINT32_MAX;
}

static void stream_asked(struct vsock_stream *s)
{
    struct vsock *v = s->v;
    uint32_t port;
    s->request[s->request_len - 1] = 0;
    vsock_wait(s, 0);
    s->state = STREAM_OWNED;
    s->host_port = HOST_PORTS + ++v->last_port % HOST_PORTS;
    if (!request_port(s->request, &port) || !v->ops ||
        !v->ops->wanted(v->ctx, s, port, s->host_port))
        vsock_close(s);
}

/* Byte by byte: what is behind the line is the guest's. */
static void stream_ask(struct vsock_stream *s)
{
    while (s->request_len < REQUEST_MAX) {
        ssize_t n = vsock_read(s, &s->request[s->request_len], 1);
        if (n == -EAGAIN)
            return;
        if (n <= 0)
            break;
        if (s->request[s->request_len++] == '\n') {
            stream_asked(s);
            return;
        }
    }
    vsock_close(s);
}

static void stream_ready(void *ctx, unsigned events)
{
    struct vsock_stream *s = ctx;
    (void)events;
    if (s->state == STREAM_ASKING)
        stream_ask(s);
    else if (s->v->ops)
        s->v->ops->ready(s->v->ctx, s, s->owner);
}

static void vsock_incoming(void *ctx, unsigned events)
{
    struct vsock *v = ctx;
    (void)events;
    int fd = accept4(v->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct vsock_stream *s = stream_new(v, fd);
    if (!s)
        close(fd);
    else
        vsock_wait(s, LOOP_IN);
}

/* ---- life ---- */

struct vsock *vsock_open(const char *spec, struct loop *loop, struct error *err)
{
    struct vsock *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(err, ENOMEM, "out of memory for '%s'", spec);
        return NULL;
    }
    v->loop = loop;
    v->listener.fd = -1;
    if (!vsock_parse(spec, &v->path, &v->cid, err))
        v->listener.fd = local_listen(v->path, &v->socket, err);
    if (v->listener.fd < 0) {
        free(v->path);
        free(v);
        return NULL;
    }
    loop_fd_init(&v->listener, v->listener.fd, vsock_incoming, v);
    if (loop_fd_watch(loop, &v->listener, LOOP_IN)) {
        error_set(err, EINVAL, "%s: cannot wait for connections", v->path);
        vsock_release(v);
        vsock_free(v);
        return NULL;
    }
    return v;
}

void vsock_free(struct vsock *v)
{
    if (!v)
        return;
    for (unsigned i = 0; i < VSOCK_MAX_STREAMS; i++)
        if (v->stream[i].state != STREAM_FREE)
            vsock_close(&v->stream[i]);
    loop_fd_remove(v->loop, &v->listener);
    close(v->listener.fd);
    free(v->path);
    free(v);
}

uint64_t vsock_cid(const struct vsock *v)
{
    return v->cid;
}

void vsock_set_device(struct vsock *v, const struct vsock_ops *ops, void *ctx)
{
    v->ops = ops;
    v->ctx = ctx;
}

void vsock_set_opener(struct vsock *v, int (*opener)(void *ctx, uint32_t port), void *ctx)
{
    v->opener = opener;
    v->opener_ctx = ctx;
}
