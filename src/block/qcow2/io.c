/* Requests: what is read, written, discarded and zeroed where. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IO_PARTS 64
#define PENDING_MAX 4096

/* ---- parts of a request's buffers ---- */

struct cursor {
    const struct iovec *iov;
    int n;
    size_t done; /* of iov[0] */
};

/* Up to `bytes` of what is left, as *count parts; returns how many bytes they have. */
static uint64_t cursor_take(struct cursor *c, uint64_t bytes, struct iovec *parts, int *count)
{
    uint64_t got = 0;
    *count = 0;
    while (c->n && got < bytes && *count < IO_PARTS) {
        size_t left = c->iov->iov_len - c->done;
        size_t step = left < bytes - got ? left : (size_t)(bytes - got);
        if (step)
            parts[(*count)++] = (struct iovec){(char *)c->iov->iov_base + c->done, step};
        got += step;
        c->done += step;
        if (c->done == c->iov->iov_len) {
            c->iov++;
            c->n--;
            c->done = 0;
        }
    }
    return got;
}

static void parts_zero(const struct iovec *parts, int count, uint64_t from)
{
    for (int i = 0; i < count; i++) {
        if (from < parts[i].iov_len)
            memset((char *)parts[i].iov_base + from, 0, parts[i].iov_len - from);
        from -= from < parts[i].iov_len ? from : parts[i].iov_len;
    }
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

/* ---- reading ---- */

static int read_backing(struct qcow2 *q, uint64_t offset, const struct iovec *parts, int count)
{
    struct block *b = q->block.backing;
    uint64_t bytes = iov_bytes(parts, count);
    uint64_t there = b && offset < b->size ? b->size - offset : 0;
    there = there < bytes ? there : bytes;
    struct cursor c = {parts, count, 0};
    struct iovec cut[IO_PARTS];
    int n;
    cursor_take(&c, there, cut, &n);
    int rc = there ? block_readv(b, offset, cut, n) : 0;
    if (!rc)
        parts_zero(parts, count, there);
    return rc;
}

static int read_compressed(struct qcow2 *q, uint64_t entry, uint64_t skip,
                           const struct iovec *parts, int count)
{
    int rc = 0;
    for (int i = 0; i < count && !rc; i++) {
        rc = qcow2_inflate(q, entry, skip, parts[i].iov_base, parts[i].iov_len);
        skip += parts[i].iov_len;
    }
    return rc;
}

/* The last cluster of a file may be cut off: what it lacks is zeroes. */
static int read_data(struct qcow2 *q, uint64_t host, const struct iovec *parts, int count)
{
    uint64_t got;
    int rc = block_file_readv(&q->block.file, host, parts, count, &got);
    if (!rc)
        parts_zero(parts, count, got);
    return rc;
}

static int read_run(struct qcow2 *q, const struct qcow2_run *run, uint64_t offset,
                    const struct iovec *parts, int count)
{
    switch (run->kind) {
    case BLOCK_DATA:
        return read_data(q, run->host, parts, count);
    case BLOCK_COMPRESSED:
        return read_compressed(q, run->entry, offset & (q->cluster_size - 1), parts, count);
    case BLOCK_NONE:
        return read_backing(q, offset, parts, count);
    case BLOCK_ZERO:
        parts_zero(parts, count, 0);
        return 0;
    }
    return -EIO;
}

static int lookup(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_run *run)
{
    pthread_mutex_lock(&q->lock);
    int rc = qcow2_lookup(q, offset, bytes, false, run);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* The clusters are held. */
static int read_held(struct qcow2 *q, uint64_t offset, const struct iovec *iov, int n)
{
    struct cursor c = {iov, n, 0};
    uint64_t left = iov_bytes(iov, n);
    while (left) {
        struct qcow2_run run;
        struct iovec parts[IO_PARTS];
        int count, rc = lookup(q, offset, left, &run);
        if (rc)
            return rc;
        uint64_t got = cursor_take(&c, run.bytes, parts, &count);
        rc = read_run(q, &run, offset, parts, count);
        if (rc)
            return rc;
        offset += got;
        left -= got;
    }
    return 0;
}

int qcow2_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    struct qcow2 *q = qcow2_of(b);
    struct block_request r;
    qcow2_hold(q, &r, offset, iov_bytes(iov, n), false, true);
    int rc = read_held(q, offset, iov, n);
    qcow2_release(q, &r);
    return rc;
}

/* ---- writing ---- */

static bool reads_as_zeroes(const struct qcow2 *q, const struct qcow2_run *run, uint64_t offset)
{
    const struct block *b = q->block.backing;
    return run->kind == BLOCK_ZERO || (run->kind == BLOCK_NONE && (!b || offset >= b->size));
}

/* Fills part of a new cluster with what the guest sees there now. */
static int fill_around(struct qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t host, bool fresh)
{
    struct qcow2_run run;
    if (!bytes)
        return 0;
    int rc = lookup(q, offset, bytes, &run);
    if (rc)
        return rc;
    if (run.bytes == bytes && reads_as_zeroes(q, &run, offset))
        return fresh ? 0 : block_file_zero(&q->block.file, host, bytes, true);
    void *buf = malloc(bytes);
    if (!buf)
        return -ENOMEM;
    struct iovec iov = {buf, bytes};
    rc = read_held(q, offset, &iov, 1);
    if (!rc)
        rc = block_file_write(&q->block.file, host, buf, bytes);
    free(buf);
    return rc;
}

/* Data and what surrounds it, into new clusters. */
static int write_space(struct qcow2 *q, const struct qcow2_space *s, uint64_t offset,
                       uint64_t bytes, struct cursor *c)
{
    uint64_t host = s->cluster << q->h.cluster_bits, skip = offset & (q->cluster_size - 1);
    uint64_t end = skip + bytes, whole = s->count << q->h.cluster_bits;
    int rc = fill_around(q, offset - skip, skip, host, s->fresh);
    if (!rc)
        rc = fill_around(q, offset + bytes, whole - end, host + end, s->fresh);
    for (uint64_t done = 0; !rc && done < bytes;) {
        struct iovec parts[IO_PARTS];
        int count;
        uint64_t got = cursor_take(c, bytes - done, parts, &count);
        rc = block_file_writev(&q->block.file, host + skip + done, parts, count);
        done += got;
    }
    return rc;
}

/* Lock held. How many clusters from offset on have no place that may be written? */
static int clusters_to_move(struct qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t *clusters)
{
    uint64_t skip = offset & (q->cluster_size - 1);
    uint64_t span = q->cluster_size << q->l2_bits;
    uint64_t at = offset, end = offset + bytes;
    uint64_t table_end = (offset | (span - 1)) + 1;
    end = end < table_end ? end : table_end;
    while (at < end) {
        struct qcow2_run run;
        int rc = qcow2_lookup(q, at, end - at, false, &run);
        if (rc)
            return rc;
        if (run.kind == BLOCK_DATA && run.own)
            break;
        at += run.bytes;
    }
    *clusters = (at - (offset - skip) + q->cluster_size - 1) >> q->h.cluster_bits;
    return 0;
}

/* The guest's disk is made of the new clusters from now on; lock held. */
static int link_space(struct qcow2 *q, const struct qcow2_space *s, uint64_t offset)
{
    uint64_t entry = s->cluster << q->h.cluster_bits | QCOW2_COPIED;
    struct qcow2_table *t;
    int rc = qcow2_own_table(q, offset, &t);
    if (rc) {
        qcow2_unalloc(q, s);
        return rc;
    }
    rc = qcow2_set_entries(q, offset & ~(q->cluster_size - 1), s->count, entry, q->cluster_size,
                           false);
    if (!rc && q->pending_count > PENDING_MAX)
        rc = qcow2_flush_tables(q);
    return rc;
}

/* The first part of a write, to clusters that have no place of their own; *done bytes of it. */
static int write_new(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct cursor *c,
                     uint64_t *done)
{
    struct qcow2_space space;
    uint64_t clusters = 0;
    pthread_mutex_lock(&q->lock);
    int rc = clusters_to_move(q, offset, bytes, &clusters);
    if (!rc)
        rc = qcow2_alloc(q, clusters, 1, &space);
    pthread_mutex_unlock(&q->lock);
    if (rc)
        return rc;
    uint64_t room = (space.count << q->h.cluster_bits) - (offset & (q->cluster_size - 1));
    *done = bytes < room ? bytes : room;
    rc = write_space(q, &space, offset, *done, c);
    pthread_mutex_lock(&q->lock);
    if (rc)
        qcow2_unalloc(q, &space);
    else
        rc = link_space(q, &space, offset);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int write_in_place(struct qcow2 *q, const struct qcow2_run *run, struct cursor *c,
                          uint64_t *done)
{
    struct iovec parts[IO_PARTS];
    int count;
    *done = cursor_take(c, run->bytes, parts, &count);
    return block_file_writev(&q->block.file, run->host, parts, count);
}

/* The clusters are held. */
static int write_held(struct qcow2 *q, uint64_t offset, const struct iovec *iov, int n)
{
    struct cursor c = {iov, n, 0};
    uint64_t left = iov_bytes(iov, n), done = 0;
    while (left) {
        struct qcow2_run run;
        pthread_mutex_lock(&q->lock);
        int rc = q->corrupt ? -EIO : qcow2_lookup(q, offset, left, false, &run);
        bool in_place = !rc && run.kind == BLOCK_DATA && run.own;
        if (in_place)
            rc = qcow2_may_write(q, run.host, run.bytes, QCOW2_PART_DATA);
        pthread_mutex_unlock(&q->lock);
        if (!rc)
            rc = in_place ? write_in_place(q, &run, &c, &done)
                          : write_new(q, offset, left, &c, &done);
        if (rc)
            return rc;
        offset += done;
        left -= done;
    }
    return 0;
}

int qcow2_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    struct qcow2 *q = qcow2_of(b);
    struct block_request r;
    qcow2_hold(q, &r, offset, iov_bytes(iov, n), true, true);
    int rc = write_held(q, offset, iov, n);
    qcow2_release(q, &r);
    return rc;
}

int qcow2_flush(struct block *b)
{
    struct qcow2 *q = qcow2_of(b);
    /* Most of the waiting, without the lock. */
    int rc = block_file_sync(&b->file);
    pthread_mutex_lock(&q->lock);
    bool dirty = q->l2.dirty || q->refblocks.dirty || q->pending_count ||
                 q->l1_dirty_from < q->l1_dirty_to || q->reftable_dirty_from < q->reftable_dirty_to;
    if (!rc && dirty)
        rc = q->corrupt ? -EIO : qcow2_flush_tables(q);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* ---- zeroes and nothing ---- */

enum clear { CLEAR_DISCARD, CLEAR_ZERO, CLEAR_ZERO_UNMAP, CLEAR_DROP };

/* The entry for whole clusters that are a run now; false: it stays as it is. */
static bool clear_entry(const struct qcow2 *q, const struct qcow2_run *run, enum clear how,
                        uint64_t *entry, uint64_t *step)
{
    bool backing = q->block.backing;
    bool zeroes = how == CLEAR_ZERO || how == CLEAR_ZERO_UNMAP;
    *step = 0;
    *entry = 0;
    if (how == CLEAR_DROP || (!backing && !(zeroes && run->kind != BLOCK_NONE)))
        return run->kind != BLOCK_NONE;
    if (how == CLEAR_DISCARD && run->kind == BLOCK_NONE)
        return false;
    if (q->h.version < 3)
        return zeroes && !backing;
    *entry = QCOW2_ZERO;
    if (how == CLEAR_ZERO && run->own && run->host) {
        *entry = run->host | QCOW2_COPIED | QCOW2_ZERO;
        *step = q->cluster_size;
    }
    return run->kind != BLOCK_ZERO || (run->host && how != CLEAR_ZERO);
}

/* Whole clusters; lock held. */
static int clear_clusters(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum clear how)
{
    int rc = q->corrupt ? -EIO : 0;
    while (bytes && !rc) {
        struct qcow2_run run;
        uint64_t entry, step;
        rc = qcow2_lookup(q, offset, bytes, false, &run);
        if (rc)
            break;
        if (clear_entry(q, &run, how, &entry, &step))
            rc = qcow2_set_entries(q, offset, run.bytes >> q->h.cluster_bits, entry, step,
                                   how != CLEAR_ZERO);
        if (!rc && q->pending_count > PENDING_MAX)
            rc = qcow2_flush_tables(q);
        offset += run.bytes;
        bytes -= run.bytes;
    }
    return rc;
}

/* The whole clusters of a range; the last one of the disk counts as whole. */
static void whole_clusters(const struct qcow2 *q, uint64_t offset, uint64_t len, uint64_t *from,
                           uint64_t *to)
{
    uint64_t end = offset + len;
    *from = align_up(offset, q->cluster_size);
    *to = end == q->block.size ? align_up(end, q->cluster_size) : align_down(end, q->cluster_size);
}

static int clear_whole(struct qcow2 *q, uint64_t from, uint64_t to, enum clear how)
{
    struct block_request r;
    if (from >= to)
        return 0;
    qcow2_hold(q, &r, from, to - from, true, true);
    pthread_mutex_lock(&q->lock);
    int rc = clear_clusters(q, from, to - from, how);
    pthread_mutex_unlock(&q->lock);
    qcow2_release(q, &r);
    return rc;
}

int qcow2_discard(struct block *b, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = qcow2_of(b);
    uint64_t from, to;
    whole_clusters(q, offset, len, &from, &to);
    return clear_whole(q, from, to, CLEAR_DISCARD);
}

int qcow2_drop(struct block *b, uint64_t offset, uint64_t len)
{
    struct qcow2 *q = qcow2_of(b);
    uint64_t from, to;
    whole_clusters(q, offset, len, &from, &to);
    return clear_whole(q, from, to, CLEAR_DROP);
}

/* Zeroes as data, where they are not there yet. */
static int write_zero_bytes(struct qcow2 *q, uint64_t offset, uint64_t len)
{
    static const char zeroes[65536];
    union {
        const char *from;
        void *base;
    } data = {.from = zeroes};
    while (len) {
        struct qcow2_run run;
        int rc = lookup(q, offset, len, &run);
        if (rc)
            return rc;
        bool done = reads_as_zeroes(q, &run, offset);
        if (!done && run.bytes > sizeof zeroes)
            run.bytes = sizeof zeroes;
        struct iovec iov = {data.base, run.bytes};
        rc = done ? 0 : qcow2_writev(&q->block, offset, &iov, 1);
        if (rc)
            return rc;
        offset += run.bytes;
        len -= run.bytes;
    }
    return 0;
}

int qcow2_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
    struct qcow2 *q = qcow2_of(b);
    uint64_t from, to, end = offset + len;
    whole_clusters(q, offset, len, &from, &to);
    bool entries = q->h.version >= 3 || (unmap && !b->backing);
    if (from >= to || !entries)
        return write_zero_bytes(q, offset, len);
    int rc = write_zero_bytes(q, offset, from - offset);
    if (!rc)
        rc = clear_whole(q, from, to, unmap ? CLEAR_ZERO_UNMAP : CLEAR_ZERO);
    return rc || to >= end ? rc : write_zero_bytes(q, to, end - to);
}

/* ---- without waiting ---- */

int qcow2_map(struct block *b, uint64_t offset, struct block_extent *extent)
{
    struct qcow2 *q = qcow2_of(b);
    struct qcow2_run run;
    int rc = lookup(q, offset, b->size - offset, &run);
    *extent = (struct block_extent){.length = run.bytes, .kind = run.kind, .host = run.host};
    return rc;
}

/* Lock held: is all of it in one piece that is there? */
static bool place_known(struct qcow2 *q, const struct block_request *r, uint64_t *host)
{
    struct qcow2_run run;
    if (q->corrupt || qcow2_lookup(q, r->offset, r->bytes, true, &run) || run.kind != BLOCK_DATA ||
        run.bytes != r->bytes)
        return false;
    *host = run.host;
    return r->op == BLOCK_READ ||
           (run.own && !qcow2_may_write(q, run.host, run.bytes, QCOW2_PART_DATA));
}

bool qcow2_place(struct block *b, struct block_request *r, struct block_place *place)
{
    struct qcow2 *q = qcow2_of(b);
    place->fd = b->file.fd;
    if (!qcow2_hold(q, r, r->offset, r->bytes, false, false))
        return false;
    bool known = false;
    if (!pthread_mutex_trylock(&q->lock)) {
        known = place_known(q, r, &place->offset);
        pthread_mutex_unlock(&q->lock);
    }
    if (!known)
        qcow2_release(q, r);
    return known;
}

void qcow2_unplace(struct block *b, struct block_request *r)
{
    qcow2_release(qcow2_of(b), r);
}
