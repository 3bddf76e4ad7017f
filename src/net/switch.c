/*
 * A switch for the machines of one host. Whoever names the socket first is the hub: it listens
 * there, forwards frames between all, and has a port itself. The others are connected to it. When
 * the hub ends, one of the others takes its place; frames of that moment are lost.
 *
 * A packet of the socket is header and frame as a card gives them, so that long segments cross the
 * switch in one piece; who receives them does what its card cannot.
 *
 * Peers are hostile. Each has a queue of bounded size, and one that does not read loses frames;
 * what is no valid packet is dropped; the table of addresses has a fixed size. A peer can claim
 * another's address, as at any switch: machines that must not trust each other get switches of
 * their own.
 *
 * Who becomes the hub is decided with a lock on the socket's directory, held for a moment only.
 * Ports and table are protected by the net's lock, for the hub's own card sends on other threads.
 */
#include "net/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_PEERS 64u
#define LOCAL MAX_PEERS /* the number of the hub's own port */
#define TABLE_SIZE 1024u
#define QUEUE_SIZE (1u << 20) /* bytes for a port */
#define PEER_BATCH 32
#define SOCKET_BUFFER (1 << 20)

/* Packets that wait, each with its length before it; `data` is NULL until the port is in use. */
struct queue {
    uint8_t *data;
    size_t head, len;
};

struct peer {
    struct switch_net *owner;
    int fd; /* -1: free */
    unsigned number;
    struct loop_fd watch;
    struct queue queue;
};

struct place {
    uint8_t mac[NET_MAC_SIZE];
    uint8_t port;
    bool known;
};

struct switch_net {
    struct net n;
    struct sockaddr_un address;
    bool hub;
    struct loop_fd listener; /* fd -1: not the hub */
    struct stat socket;      /* of the hub's, so that it removes no other */
    struct peer *peers;      /* MAX_PEERS, for the hub */
    struct queue local;      /* towards the hub's own card */
    struct loop_job job;     /* queues have got packets */
    struct place table[TABLE_SIZE];
    uint8_t *buf; /* NET_PACKET_MAX; loop thread */
};

static struct switch_net *switch_of(struct net *n)
{
    return (struct switch_net *)(void *)n;
}

/* ---- queues ---- */

static void queue_copy_in(struct queue *q, const void *data, size_t len)
{
    size_t at = (q->head + q->len) % QUEUE_SIZE;
    size_t first = len < QUEUE_SIZE - at ? len : QUEUE_SIZE - at;
    memcpy(q->data + at, data, first);
    memcpy(q->data, (const uint8_t *)data + first, len - first);
    q->len += len;
}

static void queue_copy_out(const struct queue *q, size_t skip, void *data, size_t len)
{
    size_t at = (q->head + skip) % QUEUE_SIZE;
    size_t first = len < QUEUE_SIZE - at ? len : QUEUE_SIZE - at;
    memcpy(data, q->data + at, first);
    memcpy((uint8_t *)data + first, q->data, len - first);
}

/* False: there is no room, the packet is lost. */
static bool queue_put(struct queue *q, const struct net_hdr *hdr, const struct iovec *frame,
                      unsigned count, size_t len)
{
    uint32_t size = (uint32_t)(NET_HDR_SIZE + len);
    if (!q->data || sizeof size + size > QUEUE_SIZE - q->len)
        return false;
    queue_copy_in(q, &size, sizeof size);
    queue_copy_in(q, hdr, sizeof *hdr);
    for (unsigned i = 0; i < count; i++)
        queue_copy_in(q, frame[i].iov_base, frame[i].iov_len);
    return true;
}

/* The first packet's length, and its bytes in buf[NET_PACKET_MAX]; 0: there is none. */
static size_t queue_peek(const struct queue *q, uint8_t *buf)
{
    uint32_t size;
    if (!q->len)
        return 0;
    queue_copy_out(q, 0, &size, sizeof size);
    queue_copy_out(q, sizeof size, buf, size);
    return size;
}

static void queue_drop(struct queue *q, size_t size)
{
    q->head = (q->head + sizeof(uint32_t) + size) % QUEUE_SIZE;
    q->len -= sizeof(uint32_t) + size;
}

static void queue_fini(struct queue *q)
{
    free(q->data);
    *q = (struct queue){0};
}

/* ---- forwarding; the net's lock is held ---- */

static struct place *switch_place(struct switch_net *s, const uint8_t *mac)
{
    uint64_t v = 0;
    memcpy(&v, mac, NET_MAC_SIZE);
    return &s->table[(v * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

static void switch_learn(struct switch_net *s, const uint8_t *mac, unsigned port)
{
    struct place *p = switch_place(s, mac);
    if (mac[0] & 1)
        return;
    memcpy(p->mac, mac, NET_MAC_SIZE);
    p->port = (uint8_t)port;
    p->known = true;
}

static bool switch_find(struct switch_net *s, const uint8_t *mac, unsigned *port)
{
    const struct place *p = switch_place(s, mac);
    *port = p->port;
    return p->known && !memcmp(p->mac, mac, NET_MAC_SIZE);
}

static void switch_forget(struct switch_net *s, unsigned port)
{
    for (unsigned i = 0; i < TABLE_SIZE; i++)
        if (s->table[i].port == port)
            s->table[i].known = false;
}

/* True: there is something for the loop to do. */
static bool switch_give(struct switch_net *s, unsigned port, const struct net_hdr *hdr,
                        const struct iovec *frame, unsigned count, size_t len)
{
    if (port == LOCAL)
        return queue_put(&s->local, hdr, frame, count, len);
    struct peer *p = &s->peers[port];
    if (p->fd < 0)
        return false;
    if (!p->queue.len && net_packet_write(p->fd, hdr, frame, count) != -EAGAIN)
        return false;
    return queue_put(&p->queue, hdr, frame, count, len);
}

static bool switch_forward(struct switch_net *s, unsigned from, const struct net_hdr *hdr,
                           const struct iovec *frame, unsigned count, size_t len)
{
    uint8_t macs[2 * NET_MAC_SIZE];
    size_t got = 0;
    unsigned to;
    bool work = false;
    for (unsigned i = 0; i < count && got < sizeof macs; i++) {
        size_t left = sizeof macs - got;
        size_t n = frame[i].iov_len < left ? frame[i].iov_len : left;
        memcpy(macs + got, frame[i].iov_base, n);
        got += n;
    }
    if (got < sizeof macs)
        return false;
    switch_learn(s, macs + NET_MAC_SIZE, from);
    if (switch_find(s, macs, &to))
        return to != from && switch_give(s, to, hdr, frame, count, len);
    for (to = 0; to <= LOCAL; to++)
        if (to != from)
            work |= switch_give(s, to, hdr, frame, count, len);
    return work;
}

/* ---- peers of the hub; loop thread ---- */

static void peer_remove(struct peer *p)
{
    struct net *n = &p->owner->n;
    pthread_mutex_lock(&n->lock);
    loop_fd_remove(n->loop, &p->watch);
    close(p->fd);
    p->fd = -1;
    queue_fini(&p->queue);
    switch_forget(p->owner, p->number);
    pthread_mutex_unlock(&n->lock);
}

/* Lock held. Sends what waits. */
static void peer_drain(struct peer *p)
{
    size_t size;
    while ((size = queue_peek(&p->queue, p->owner->buf))) {
        if (send(p->fd, p->owner->buf, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
            break;
        queue_drop(&p->queue, size);
    }
    loop_fd_watch(p->owner->n.loop, &p->watch, LOOP_IN | (p->queue.len ? LOOP_OUT : 0));
}

/* Forwards one packet; false if the peer has none, or is gone. */
static bool peer_take(struct peer *p, bool *gone)
{
    struct switch_net *s = p->owner;
    struct net_hdr hdr;
    ssize_t n = recv(p->fd, s->buf, NET_PACKET_MAX, MSG_DONTWAIT | MSG_TRUNC);
    *gone = !n || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return false;
    size_t size = (size_t)n;
    if (size < NET_HDR_SIZE + NET_ETH_SIZE || size > NET_PACKET_MAX)
        return true;
    memcpy(&hdr, s->buf, sizeof hdr);
    struct iovec frame = {.iov_base = s->buf + NET_HDR_SIZE, .iov_len = size - NET_HDR_SIZE};
    if (!net_hdr_valid(&hdr, frame.iov_len, NET_OFFLOAD_ALL))
        return true;
    pthread_mutex_lock(&s->n.lock);
    if (switch_forward(s, p->number, &hdr, &frame, 1, frame.iov_len))
        loop_job_post(s->n.loop, &s->job);
    pthread_mutex_unlock(&s->n.lock);
    return true;
}

static void peer_ready(void *ctx, unsigned events)
{
    struct peer *p = ctx;
    bool gone = false;
    if (events & LOOP_OUT) {
        pthread_mutex_lock(&p->owner->n.lock);
        peer_drain(p);
        pthread_mutex_unlock(&p->owner->n.lock);
    }
    for (unsigned i = 0; i < PEER_BATCH && peer_take(p, &gone); i++)
        ;
    if (gone)
        peer_remove(p);
}

/* Queues have got packets: peers that were busy are watched, the own card gets its. */
static void switch_work(void *ctx)
{
    struct switch_net *s = ctx;
    if (!s->hub)
        return;
    pthread_mutex_lock(&s->n.lock);
    for (unsigned i = 0; i < MAX_PEERS; i++)
        if (s->peers[i].fd >= 0 && s->peers[i].queue.len)
            peer_drain(&s->peers[i]);
    pthread_mutex_unlock(&s->n.lock);
    net_pump(&s->n);
}

static void switch_socket_buffer(int fd)
{
    int size = SOCKET_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* A new machine; without a place or memory for it, it is sent away. */
static void switch_accept(void *ctx, unsigned events)
{
    struct switch_net *s = ctx;
    (void)events;
    int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct peer *p = s->peers;
    while (p < s->peers + MAX_PEERS && p->fd >= 0)
        p++;
    uint8_t *data = p < s->peers + MAX_PEERS ? malloc(QUEUE_SIZE) : NULL;
    if (!data) {
        close(fd);
        return;
    }
    switch_socket_buffer(fd);
    pthread_mutex_lock(&s->n.lock);
    p->queue.data = data;
    p->fd = fd;
    pthread_mutex_unlock(&s->n.lock);
    loop_fd_init(&p->watch, fd, peer_ready, p);
    if (loop_fd_watch(s->n.loop, &p->watch, LOOP_IN))
        peer_remove(p);
}

/* ---- becoming the hub, or its peer ---- */

static int switch_listen(struct switch_net *s, struct net_link *link, struct error *err)
{
    const char *path = s->address.sun_path;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Before the socket has a name: nobody else may come in between. */
    if (fd < 0 || fchmod(fd, 0600) ||
        bind(fd, (const struct sockaddr *)&s->address, sizeof s->address) ||
        listen(fd, (int)MAX_PEERS) || lstat(path, &s->socket)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "%s: cannot make the switch's socket: %s", path,
                         strerror(code));
    }
    *link = (struct net_link){.fd = fd, .hub = true};
    return 0;
}

/* The directory's lock is held. 0, -EAGAIN: the hub is there but busy. */
static int switch_join(struct switch_net *s, struct net_link *link, struct error *err)
{
    const char *path = s->address.sun_path;
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(err, errno, "cannot make a socket: %s", strerror(errno));
    if (!connect(fd, (const struct sockaddr *)&s->address, sizeof s->address)) {
        switch_socket_buffer(fd);
        link->fd = fd;
        return 0;
    }
    int code = errno;
    close(fd);
    if (code == EAGAIN)
        return -EAGAIN;
    if (code != ENOENT && code != ECONNREFUSED)
        return error_set(err, code, "%s: cannot connect to the switch: %s", path, strerror(code));
    /* Left behind by a hub that was killed. */
    if (code == ECONNREFUSED && !lstat(path, &st) && S_ISSOCK(st.st_mode))
        unlink(path);
    return switch_listen(s, link, err);
}

/* The directory of the socket, locked; -EAGAIN: another machine has it. */
static int switch_lock(const struct switch_net *s, struct error *err)
{
    char dir[sizeof s->address.sun_path];
    memcpy(dir, s->address.sun_path, sizeof dir);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "%s: the directory cannot be opened: %s", s->address.sun_path,
                         strerror(errno));
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    int code = errno;
    close(fd);
    return code == EWOULDBLOCK ? -EAGAIN
                               : error_set(err, code, "%s: the directory cannot be locked: %s",
                                           s->address.sun_path, strerror(code));
}

static int switch_acquire(struct net *n, struct net_link *link, struct error *err)
{
    struct switch_net *s = switch_of(n);
    const char *path = n->config.path;
    s->socket = (struct stat){0};
    s->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof s->address.sun_path)
        return error_set(err, ENAMETOOLONG, "%s: a socket's path has at most %zu bytes", path,
                         sizeof s->address.sun_path - 1);
    memcpy(s->address.sun_path, path, strlen(path));
    int dir = switch_lock(s, err);
    if (dir < 0)
        return dir;
    int rc = switch_join(s, link, err);
    close(dir);
    return rc;
}

/* Removes the hub's socket, if it is still there. */
static void switch_release(struct net *n)
{
    struct switch_net *s = switch_of(n);
    struct stat st;
    if (!s->socket.st_ino)
        return;
    int dir = switch_lock(s, NULL);
    if (!lstat(s->address.sun_path, &st) && st.st_ino == s->socket.st_ino &&
        st.st_dev == s->socket.st_dev)
        unlink(s->address.sun_path);
    if (dir >= 0)
        close(dir);
    s->socket = (struct stat){0};
}

static int switch_prepare(struct switch_net *s, struct error *err)
{
    loop_job_init(&s->job, switch_work, s);
    s->buf = malloc(NET_PACKET_MAX);
    s->local.data = malloc(QUEUE_SIZE);
    s->peers = calloc(MAX_PEERS, sizeof *s->peers);
    if (!s->buf || !s->local.data || !s->peers)
        return error_set(err, ENOMEM, "%s: out of memory for a switch", s->n.config.path);
    for (unsigned i = 0; i < MAX_PEERS; i++) {
        s->peers[i].owner = s;
        s->peers[i].number = i;
        s->peers[i].fd = -1;
    }
    return 0;
}

static void switch_close(struct net *n)
{
    struct switch_net *s = switch_of(n);
    loop_job_cancel(n->loop, &s->job);
    for (unsigned i = 0; s->peers && i < MAX_PEERS; i++)
        if (s->peers[i].fd >= 0) {
            loop_fd_remove(n->loop, &s->peers[i].watch);
            close(s->peers[i].fd);
            queue_fini(&s->peers[i].queue);
        }
    if (s->hub) {
        loop_fd_remove(n->loop, &s->listener);
        close(s->listener.fd);
    }
    queue_fini(&s->local);
    free(s->peers);
    free(s->buf);
    s->peers = NULL;
    s->buf = NULL;
    s->hub = false;
    memset(s->table, 0, sizeof s->table);
}

static int switch_open(struct net *n, const struct net_link *link, struct error *err)
{
    struct switch_net *s = switch_of(n);
    int rc = switch_prepare(s, err);
    loop_fd_init(&s->listener, link->hub ? link->fd : -1, switch_accept, s);
    s->hub = link->hub;
    n->fd = link->hub ? -1 : link->fd;
    if (!rc && s->hub)
        rc = loop_fd_watch(n->loop, &s->listener, LOOP_IN);
    n->carrier = !rc;
    return rc;
}

static int switch_send(struct net *n, const struct net_hdr *hdr, const struct iovec *frame,
                       unsigned count, size_t len)
{
    struct switch_net *s = switch_of(n);
    if (!s->hub)
        return net_packet_send(n, hdr, frame, count, len);
    if (switch_forward(s, LOCAL, hdr, frame, count, len))
        loop_job_post(n->loop, &s->job);
    return 0;
}

static ssize_t switch_fetch(struct net *n)
{
    struct switch_net *s = switch_of(n);
    if (!s->hub)
        return net_packet_fetch(n);
    pthread_mutex_lock(&n->lock);
    size_t size = queue_peek(&s->local, n->in);
    if (size)
        queue_drop(&s->local, size);
    pthread_mutex_unlock(&n->lock);
    return size ? (ssize_t)size : -EAGAIN;
}

const struct net_ops net_switch_ops = {
    .name = "switch",
    .size = sizeof(struct switch_net),
    .takes_path = true,
    .shared = true,
    .outside = true,
    .acquire = switch_acquire,
    .release = switch_release,
    .open = switch_open,
    .close = switch_close,
    .send = switch_send,
    .fetch = switch_fetch,
};
