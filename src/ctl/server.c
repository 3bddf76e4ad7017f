#include "ctl/ctl.h"

#include "base/bits.h"
#include "base/loop.h"
#include "ctl/place.h"
#include "ctl/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 16u
#define RETRY_NS UINT64_C(1000000000)

/* One connection. Its answer is sent before its next request is looked at. */
struct client {
    struct ctl *owner;
    struct loop_fd conn; /* fd -1: free */
    bool over;           /* takes no more input */
    char *out;           /* the answer, NULL: none waits */
    size_t out_len, out_at;
    size_t in_len;
    char in[CTL_LINE_MAX + 1];
};

struct ctl {
    struct ctl_machine m;
    struct loop *loop;
    char path[CTL_PATH_SIZE];
    struct stat socket;      /* of ours, so that no other is removed */
    struct loop_fd listener; /* fd -1: not made */
    struct loop_timer retry;
    struct client clients[MAX_CLIENTS];
};

/* ---- a client ---- */

static void client_close(struct client *c)
{
    loop_fd_remove(c->owner->loop, &c->conn);
    close(c->conn.fd);
    c->conn.fd = -1;
    free(c->out);
    c->out = NULL;
}

/* False: the other side is gone. */
static bool client_receive(struct client *c)
{
    ssize_t n = recv(c->conn.fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->in_len += (size_t)n;
    /* It may have closed its half only: what it has asked is answered. */
    c->over |= n == 0;
    return true;
}

static bool client_send(struct client *c)
{
    while (c->out) {
        ssize_t n = send(c->conn.fd, c->out + c->out_at, c->out_len - c->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        c->out_at += (size_t)n;
        if (c->out_at == c->out_len) {
            free(c->out);
            c->out = NULL;
        }
    }
    return true;
}

static bool client_answer(struct client *c, char *text)
{
    c->out = text;
    c->out_len = text ? strlen(text) : 0;
    c->out_at = 0;
    return text && client_send(c);
}

static size_t client_line(const struct client *c)
{
    const char *end = memchr(c->in, '\n', c->in_len);
    return end ? (size_t)(end - c->in) + 1 : 0;
}

/* The next request, if the answers before it are out. */
static bool client_serve(struct client *c)
{
    size_t len = client_line(c);
    if (c->out)
        return true;
    if (len) {
        char *text = ctl_answer(&c->owner->m, c->in, len - 1);
        c->in_len -= len;
        memmove(c->in, c->in + len, c->in_len);
        return client_answer(c, text);
    }
    if (c->in_len < sizeof c->in)
        return true;
    c->in_len = 0;
    c->over = true;
    return client_answer(c, ctl_refusal("bad-request", "the line is too long: a request has up to "
                                                       "16384 bytes"));
}

/*
 * One request at a time, so that a client with many does not keep the loop: being able to write
 * brings it back here for the next.
 */
static void client_ready(void *ctx, unsigned events)
{
    struct client *c = ctx;
    bool alive = (!(events & LOOP_IN) || client_receive(c)) && client_send(c) && client_serve(c);
    bool more = c->out || client_line(c);
    unsigned want = more ? LOOP_OUT : 0;
    want |= !c->over && c->in_len < sizeof c->in ? LOOP_IN : 0;
    if (!alive || (c->over && !more) || loop_fd_watch(c->owner->loop, &c->conn, want))
        client_close(c);
}

/* ---- accepting ---- */

/* A line that says so and is lost if there is no room for it. */
static void ctl_refuse(int fd)
{
    char *text = ctl_refusal("busy", "the machine serves 16 clients already");
    if (text) {
        ssize_t ignored = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored;
    }
    free(text);
    close(fd);
}

static void ctl_accept(void *ctx, unsigned events)
{
    struct ctl *ctl = ctx;
    (void)events;
    int fd = accept4(ctl->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        /* The one who connects waits; the loop must not spin meanwhile. */
        loop_fd_remove(ctl->loop, &ctl->listener);
        loop_timer_set(ctl->loop, &ctl->retry, loop_now_ns() + RETRY_NS);
    }
    if (fd < 0)
        return;
    struct client *c = ctl->clients;
    while (c < ctl->clients + MAX_CLIENTS && c->conn.fd >= 0)
        c++;
    if (c == ctl->clients + MAX_CLIENTS) {
        ctl_refuse(fd);
        return;
    }
    c->owner = ctl;
    c->over = false;
    c->in_len = 0;
    loop_fd_init(&c->conn, fd, client_ready, c);
    if (loop_fd_watch(ctl->loop, &c->conn, LOOP_IN))
        client_close(c);
}

static void ctl_retry(void *ctx)
{
    struct ctl *ctl = ctx;
    loop_fd_watch(ctl->loop, &ctl->listener, LOOP_IN);
}

/* ---- the socket ---- */

/* The directory is locked. */
static int ctl_bind(struct ctl *ctl, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, ctl->path, sizeof addr.sun_path);
    int rc = ctl_free_path(ctl->path, err);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ctl->listener.fd = fd;
    /* The mode is given before the name exists, so that nobody can slip in. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&addr, sizeof addr) ||
        lstat(ctl->path, &ctl->socket) || listen(fd, MAX_CLIENTS))
        return error_set(err, errno, "%s: cannot make the control socket: %s", ctl->path,
                         strerror(errno));
    return 0;
}

static int ctl_listen(struct ctl *ctl, struct error *err)
{
    int dir = ctl_lock(ctl->path, err);
    if (dir < 0)
        return dir;
    int rc = ctl_bind(ctl, err);
    close(dir);
    if (!rc && (rc = loop_fd_watch(ctl->loop, &ctl->listener, LOOP_IN)))
        error_set(err, -rc, "%s: cannot wait for clients: %s", ctl->path, strerror(-rc));
    return rc;
}

/* ---- life ---- */

struct ctl *ctl_open(const struct ctl_machine *m, const char *path, struct error *err)
{
    struct ctl *ctl = calloc(1, sizeof *ctl);
    if (!ctl) {
        error_set(err, ENOMEM, "out of memory for the control socket");
        return NULL;
    }
    json_object_seed(0); /* now: it opens a file, which a confined machine could not do later */
    ctl->m = (struct ctl_machine){m->vm, strdup(m->name), strdup(m->version)};
    ctl->loop = vm_loop(m->vm);
    loop_timer_init(&ctl->retry, ctl_retry, ctl);
    loop_fd_init(&ctl->listener, -1, ctl_accept, ctl);
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        ctl->clients[i].conn.fd = -1;
    int rc = ctl_path(path, ctl->path, err);
    if (!rc && (!ctl->m.name || !ctl->m.version))
        rc = error_set(err, ENOMEM, "out of memory for the control socket");
    if (!rc)
        rc = ctl_listen(ctl, err);
    if (rc) {
        ctl_remove(ctl);
        ctl_close(ctl);
        return NULL;
    }
    return ctl;
}

void ctl_remove(struct ctl *ctl)
{
    struct stat st;
    if (ctl && ctl->socket.st_ino && !lstat(ctl->path, &st) && st.st_ino == ctl->socket.st_ino &&
        st.st_dev == ctl->socket.st_dev)
        unlink(ctl->path);
}

void ctl_close(struct ctl *ctl)
{
    if (!ctl)
        return;
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        if (ctl->clients[i].conn.fd >= 0)
            client_close(&ctl->clients[i]);
    loop_timer_cancel(ctl->loop, &ctl->retry);
    loop_fd_remove(ctl->loop, &ctl->listener);
    if (ctl->listener.fd >= 0)
        close(ctl->listener.fd);
    free((char *)(uintptr_t)ctl->m.name);
    free((char *)(uintptr_t)ctl->m.version);
    free(ctl);
}
