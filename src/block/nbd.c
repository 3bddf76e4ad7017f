/*
 * guise's end of a network block device (block/nbd_link.h).
 *
 * Each caller has a slot of the shared memory while it waits. Nobody reads replies but those who
 * wait for one: one of them reads, whosever reply comes, until it has its own, and then wakes the
 * others, of which one goes on. So no thread is needed, and up to NBD_SLOTS requests are in flight.
 */
#include "block/nbd.h"

#include "base/beside.h"
#include "base/bits.h"
#include "block/nbd_link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "guise-nbd"
#define MEMORY_SIZE ((size_t)NBD_SLOTS * NBD_SLOT_SIZE)
#define SIZE_MAX_BYTES (UINT64_C(1) << 62)
#define BLOCK_MAX 65536u
#define RANGE_MAX (UINT32_C(64) << 20) /* of a request without data */
#define SECTOR 512u
#define END_WAIT_MS 1000

struct nbd_slot {
    bool used, done;
    struct nbd_reply reply;
};

struct nbd {
    char *uri;
    struct nbd_hello server;
    uint32_t align; /* what requests must be multiples of; a power of two */
    uint32_t chunk; /* bytes of a request with data, at most */
    int fd;
    uint8_t *memory;
    pthread_rwlock_t blocks; /* held for writing by who changes a part of a block */

    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t change;
    bool receiving; /* a thread reads replies */
    bool lost;
    struct nbd_slot slots[NBD_SLOTS];
};

/* What others say is not to do anything to a terminal. */
static void nbd_clean(char text[NBD_TEXT])
{
    text[NBD_TEXT - 1] = 0;
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
}

/* ---- slots and replies ---- */

/* Lock held. */
static void nbd_lose(struct nbd *n, const char *why)
{
    if (!n->lost)
        fprintf(stderr, "guise: %s: %s; all that is asked of this disk fails from now on\n", n->uri,
                why);
    n->lost = true;
}

/* Lock held; gives it up meanwhile. */
static void nbd_receive(struct nbd *n)
{
    struct nbd_reply reply;
    ssize_t len;
    n->receiving = true;
    pthread_mutex_unlock(&n->lock);
    do
        len = recv(n->fd, &reply, sizeof reply, 0);
    while (len < 0 && errno == EINTR);
    pthread_mutex_lock(&n->lock);
    n->receiving = false;
    if (len != sizeof reply)
        nbd_lose(n, PROGRAM ", which had the connection, has ended");
    else if (reply.lost) {
        nbd_clean(reply.why);
        nbd_lose(n, reply.why);
    } else if (reply.slot >= NBD_SLOTS || !n->slots[reply.slot].used)
        nbd_lose(n, PROGRAM " has replied to what nobody asked");
    else {
        n->slots[reply.slot].reply = reply;
        n->slots[reply.slot].done = true;
    }
    pthread_cond_broadcast(&n->change);
}

/* The number of a slot, which is the caller's then, or -EIO. */
static int nbd_take(struct nbd *n)
{
    int slot = -EIO;
    pthread_mutex_lock(&n->lock);
    while (slot < 0 && !n->lost) {
        for (unsigned i = 0; i < NBD_SLOTS && slot < 0; i++)
            if (!n->slots[i].used)
                slot = (int)i;
        if (slot < 0)
            pthread_cond_wait(&n->change, &n->lock);
    }
    if (slot >= 0)
        n->slots[slot].used = true;
    pthread_mutex_unlock(&n->lock);
    return slot;
}

static void nbd_give(struct nbd *n, int slot)
{
    pthread_mutex_lock(&n->lock);
    n->slots[slot].used = false;
    pthread_cond_broadcast(&n->change);
    pthread_mutex_unlock(&n->lock);
}

static uint8_t *nbd_data(const struct nbd *n, int slot)
{
    return n->memory + (size_t)slot * NBD_SLOT_SIZE;
}

/* Asks and waits for the reply. 0 or -errno. */
static int nbd_ask(struct nbd *n, int slot, struct nbd_request r, struct nbd_reply *reply)
{
    struct nbd_slot *s = &n->slots[slot];
    ssize_t sent;
    r.slot = (uint32_t)slot;
    pthread_mutex_lock(&n->lock);
    s->done = false;
    pthread_mutex_unlock(&n->lock);
    do
        sent = send(n->fd, &r, sizeof r, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    pthread_mutex_lock(&n->lock);
    if (sent != sizeof r)
        nbd_lose(n, PROGRAM ", which had the connection, has ended");
    while (!s->done && !n->lost) {
        if (n->receiving)
            pthread_cond_wait(&n->change, &n->lock);
        else
            nbd_receive(n);
    }
    bool done = s->done;
    if (done && reply)
        *reply = s->reply;
    int result = done ? s->reply.result : -EIO;
    pthread_mutex_unlock(&n->lock);
    /* It is told to guests and people: only what is an error's number. */
    return result > 0 || result < -4095 ? -EIO : result;
}

/* Something without data. */
static int nbd_do(struct nbd *n, struct nbd_request r, struct nbd_reply *reply)
{
    int slot = nbd_take(n);
    if (slot < 0)
        return slot;
    int rc = nbd_ask(n, slot, r, reply);
    nbd_give(n, slot);
    return rc;
}

/* ---- data ---- */

struct nbd_buffers {
    const struct iovec *iov;
    int count;
    size_t done; /* of iov[0] */
};

/* The next len bytes of the buffers, to or from `data`. */
static void nbd_copy(struct nbd_buffers *b, uint8_t *data, size_t len, bool out)
{
    while (len) {
        size_t left = b->iov->iov_len - b->done;
        size_t step = len < left ? len : left;
        uint8_t *buffer = (uint8_t *)b->iov->iov_base + b->done;
        if (out)
            memcpy(buffer, data, step);
        else
            memcpy(data, buffer, step);
        data += step;
        len -= step;
        b->done += step;
        if (b->done == b->iov->iov_len) {
            b->iov++;
            b->count--;
            b->done = 0;
        }
    }
}

/* The whole blocks around a range, which fit into a slot. */
static struct nbd_request nbd_around(const struct nbd *n, enum nbd_op op, uint64_t offset,
                                     uint64_t len)
{
    uint64_t first = align_down(offset, n->align), end = align_up(offset + len, n->align);
    if (end > n->server.size)
        end = n->server.size;
    return (struct nbd_request){.op = op, .offset = first, .length = (uint32_t)(end - first)};
}

/* How much of `left` bytes at `offset` one request takes. */
static size_t nbd_step(const struct nbd *n, uint64_t offset, uint64_t left)
{
    uint64_t most = n->chunk - offset % n->align;
    return (size_t)(left < most ? left : most);
}

static uint64_t nbd_bytes(const struct iovec *iov, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

int nbd_readv(struct nbd *n, uint64_t offset, const struct iovec *iov, int count)
{
    struct nbd_buffers b = {iov, count, 0};
    int rc = 0;
    for (uint64_t left = nbd_bytes(iov, count); left && !rc;) {
        size_t step = nbd_step(n, offset, left);
        struct nbd_request r = nbd_around(n, NBD_READ, offset, step);
        int slot = nbd_take(n);
        if (slot < 0)
            return slot;
        rc = nbd_ask(n, slot, r, NULL);
        if (!rc)
            nbd_copy(&b, nbd_data(n, slot) + (offset - r.offset), step, true);
        nbd_give(n, slot);
        offset += step;
        left -= step;
    }
    return rc;
}

/* `part`: of blocks, the rest of which stays as it is. */
static int nbd_write_step(struct nbd *n, struct nbd_buffers *b, uint64_t offset, size_t step,
                          bool part)
{
    struct nbd_request r = nbd_around(n, NBD_WRITE, offset, step);
    int slot = nbd_take(n), rc = 0;
    if (slot < 0)
        return slot;
    if (part) {
        r.op = NBD_READ;
        rc = nbd_ask(n, slot, r, NULL);
        r.op = NBD_WRITE;
    }
    if (!rc) {
        nbd_copy(b, nbd_data(n, slot) + (offset - r.offset), step, false);
        rc = nbd_ask(n, slot, r, NULL);
    }
    nbd_give(n, slot);
    return rc;
}

int nbd_writev(struct nbd *n, uint64_t offset, const struct iovec *iov, int count)
{
    struct nbd_buffers b = {iov, count, 0};
    int rc = 0;
    for (uint64_t left = nbd_bytes(iov, count); left && !rc;) {
        size_t step = nbd_step(n, offset, left);
        struct nbd_request whole = nbd_around(n, NBD_WRITE, offset, step);
        bool part = whole.length != step;
        if (part)
            pthread_rwlock_wrlock(&n->blocks);
        else
            pthread_rwlock_rdlock(&n->blocks);
        rc = nbd_write_step(n, &b, offset, step, part);
        pthread_rwlock_unlock(&n->blocks);
        offset += step;
        left -= step;
    }
    return rc;
}

int nbd_flush(struct nbd *n)
{
    return nbd_do(n, (struct nbd_request){.op = NBD_FLUSH}, NULL);
}

/* ---- ranges ---- */

/* One request for whole blocks after the other. */
static int nbd_ranges(struct nbd *n, struct nbd_request r, uint64_t first, uint64_t end)
{
    int rc = 0;
    pthread_rwlock_rdlock(&n->blocks);
    while (first < end && !rc) {
        r.offset = first;
        r.length = end - first < RANGE_MAX ? (uint32_t)(end - first) : RANGE_MAX;
        rc = nbd_do(n, r, NULL);
        first += r.length;
    }
    pthread_rwlock_unlock(&n->blocks);
    return rc;
}

int nbd_discard(struct nbd *n, uint64_t offset, uint64_t len)
{
    if (!n->server.trim)
        return -ENOTSUP;
    return nbd_ranges(n, (struct nbd_request){.op = NBD_TRIM}, align_up(offset, n->align),
                      align_down(offset + len, n->align));
}

static int nbd_write_zeroes(struct nbd *n, uint64_t offset, uint64_t len)
{
    static const char zeroes[BLOCK_MAX];
    int rc = 0;
    while (len && !rc) {
        size_t step = len < sizeof zeroes ? (size_t)len : sizeof zeroes;
        struct iovec iov = {(void *)(uintptr_t)zeroes, step}; /* which is read only */
        rc = nbd_writev(n, offset, &iov, 1);
        offset += step;
        len -= step;
    }
    return rc;
}

int nbd_zero(struct nbd *n, uint64_t offset, uint64_t len, bool unmap)
{
    uint64_t end = offset + len;
    uint64_t first = align_up(offset, n->align), last = align_down(end, n->align);
    if (!n->server.zero || first >= last)
        return nbd_write_zeroes(n, offset, len);
    int rc = nbd_write_zeroes(n, offset, first - offset);
    if (!rc)
        rc = nbd_ranges(n, (struct nbd_request){.op = NBD_ZERO, .unmap = unmap ? 1 : 0}, first,
                        last);
    return rc ? rc : nbd_write_zeroes(n, last, end - last);
}

int nbd_map(struct nbd *n, uint64_t offset, uint64_t len, uint64_t *length, bool *data)
{
    struct nbd_reply reply;
    uint64_t most = len < RANGE_MAX ? len : RANGE_MAX;
    struct nbd_request r = nbd_around(n, NBD_STATUS, offset, most);
    *length = len;
    *data = true;
    if (!n->server.status)
        return 0;
    int rc = nbd_do(n, r, &reply);
    if (rc)
        return rc;
    uint64_t skip = offset - r.offset;
    *length = most;
    if (reply.length <= skip)
        return 0; /* nothing that helps */
    *length = reply.length - skip < most ? reply.length - skip : most;
    *data = !reply.zero;
    return 0;
}

/* ---- the process ---- */

static int nbd_spawn(const char *uri, int socket, int memory, struct error *err)
{
    const char *argv[] = {PROGRAM, uri, NULL};
    const int fds[] = {[NBD_SOCKET_FD - 3] = socket, [NBD_MEMORY_FD - 3] = memory};
    pid_t pid;
    int rc = program_start("GUISE_NBD", argv, fds, 2,
                           "network block devices need this program, which is built where "
                           "libnbd-dev is installed",
                           &pid, err);
    return rc ? error_prefix(err, "%s", uri) : 0;
}

/* What the server says is believed only if it can be. */
static int nbd_check_server(struct nbd *n, struct error *err)
{
    struct nbd_hello *s = &n->server;
    nbd_clean(s->why);
    if (s->why[0])
        return error_set(err, EIO, "%.200s: %s", n->uri, s->why);
    if (s->size > SIZE_MAX_BYTES)
        return error_set(err, EFBIG,
                         "%s: the server says that it has %llu bytes, which are too many", n->uri,
                         (unsigned long long)s->size);
    n->align = s->min_block ? s->min_block : s->size % SECTOR ? 1 : SECTOR;
    uint32_t most = s->max_data && s->max_data < NBD_SLOT_SIZE ? s->max_data : NBD_SLOT_SIZE;
    if (n->align > BLOCK_MAX || n->align & (n->align - 1) || s->size % n->align || n->align > most)
        return error_set(err, EINVAL,
                         "%s: the server has blocks of %u bytes, up to %u in a request, and %llu "
                         "in all, which do not fit together",
                         n->uri, n->align, most, (unsigned long long)s->size);
    n->chunk = (uint32_t)align_down(most, n->align);
    return 0;
}

static int nbd_wait(struct nbd *n, struct error *err)
{
    ssize_t len;
    do
        len = recv(n->fd, &n->server, sizeof n->server, 0);
    while (len < 0 && errno == EINTR);
    if (len != sizeof n->server)
        return error_set(err, EIO, "%s: %s has ended at once", n->uri, PROGRAM);
    return nbd_check_server(n, err);
}

/* Above the places that they get in the process: neither may be at the other's. */
static int nbd_moved(int fd)
{
    int to = fcntl(fd, F_DUPFD_CLOEXEC, NBD_MEMORY_FD + 1);
    close(fd);
    return to;
}

static int nbd_start(struct nbd *n, struct error *err)
{
    int pair[2];
    int memory = memfd_create("guise-nbd", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, (off_t)MEMORY_SIZE) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        int code = errno;
        if (memory >= 0)
            close(memory);
        return error_set(err, code, "cannot make memory and a socket for %s: %s", PROGRAM,
                         strerror(code));
    }
    n->fd = pair[0];
    int socket = nbd_moved(pair[1]);
    memory = nbd_moved(memory);
    void *map = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    int rc = 0;
    if (socket < 0 || memory < 0 || map == MAP_FAILED)
        rc = error_set(err, ENOMEM, "no memory or descriptors for %s", PROGRAM);
    n->memory = map == MAP_FAILED ? NULL : map;
    if (!rc) {
        madvise(map, MEMORY_SIZE, MADV_DONTDUMP);
        rc = nbd_spawn(n->uri, socket, memory, err);
    }
    close(socket);
    close(memory);
    return rc ? rc : nbd_wait(n, err);
}

struct nbd *nbd_connect(const char *uri, struct error *err)
{
    struct nbd *n = calloc(1, sizeof *n);
    if (!n || !(n->uri = strdup(uri))) {
        free(n);
        error_set(err, ENOMEM, "%s: out of memory", uri);
        return NULL;
    }
    n->fd = -1;
    pthread_rwlock_init(&n->blocks, NULL);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->change, NULL);
    if (!nbd_start(n, err))
        return n;
    nbd_free(n);
    return NULL;
}

/* It ends when it reads the end of what we send; a confined process cannot kill it. */
static void nbd_await_end(struct nbd *n)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    char byte;
    shutdown(n->fd, SHUT_WR);
    for (int i = 0; i < END_WAIT_MS; i++) {
        ssize_t len = recv(n->fd, &byte, sizeof byte, MSG_DONTWAIT);
        if (!len || (len < 0 && errno != EAGAIN && errno != EINTR))
            break;
        nanosleep(&ms, NULL);
    }
}

void nbd_free(struct nbd *n)
{
    if (!n)
        return;
    if (n->fd >= 0) {
        nbd_await_end(n);
        close(n->fd);
    }
    if (n->memory)
        munmap(n->memory, MEMORY_SIZE);
    pthread_rwlock_destroy(&n->blocks);
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->change);
    free(n->uri);
    free(n);
}

uint64_t nbd_size(const struct nbd *n)
{
    return n->server.size;
}

bool nbd_readonly(const struct nbd *n)
{
    return n->server.readonly;
}
