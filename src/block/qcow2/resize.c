/* A new size for an image. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t l1_needed(const struct qcow2 *q, uint64_t size)
{
    uint64_t span = q->cluster_size << q->l2_bits;
    return (size + span - 1) / span;
}

/* The larger table is on disk before the header switches to it. */
static int write_new_l1(struct qcow2 *q, const struct qcow2_space *s, const uint64_t *l1,
                        uint64_t entries)
{
    struct block_file *f = &q->block.file;
    uint64_t offset = s->cluster << q->h.cluster_bits;
    uint8_t where[12];
    uint32_t count = __builtin_bswap32((uint32_t)entries);
    uint64_t at = qcow2_be64(offset);
    memcpy(where, &count, 4);
    memcpy(where + 4, &at, 8);
    int rc = qcow2_flush_tables(q);
    if (!rc)
        rc = block_file_write(f, offset, l1, s->count << q->h.cluster_bits);
    if (!rc)
        rc = block_file_sync(f);
    if (!rc)
        rc = block_file_write(f, QCOW2_H_L1_SIZE, where, sizeof where);
    return rc ? rc : block_file_sync(f);
}

/* Lock held. */
static int grow_l1(struct qcow2 *q, uint64_t entries)
{
    struct qcow2_space s;
    if (entries <= q->l1_entries)
        return 0;
    if (entries > QCOW2_MAX_L1 / 8)
        return -EFBIG;
    uint64_t clusters = (entries * 8 + q->cluster_size - 1) >> q->h.cluster_bits;
    uint64_t *l1 = calloc(1, clusters << q->h.cluster_bits);
    if (!l1)
        return -ENOMEM;
    int rc = qcow2_alloc(q, clusters, clusters, &s);
    if (rc) {
        free(l1);
        return rc;
    }
    memcpy(l1, q->l1, q->l1_entries * 8);
    rc = write_new_l1(q, &s, l1, entries);
    if (rc) {
        free(l1);
        return rc; /* the clusters leak: nobody knows whether the header has changed */
    }
    uint64_t old = q->h.l1_offset >> q->h.cluster_bits;
    uint64_t old_clusters = (q->l1_entries * 8 + q->cluster_size - 1) >> q->h.cluster_bits;
    free(q->l1);
    q->l1 = l1;
    q->l1_entries = entries;
    q->h.l1_size = (uint32_t)entries;
    q->h.l1_offset = s.cluster << q->h.cluster_bits;
    return qcow2_free_later(q, old, old_clusters, false);
}

/* Lock held. L2 tables that map nothing of the disk any more. */
static int drop_tables(struct qcow2 *q, uint64_t first)
{
    int rc = 0;
    for (uint64_t i = first; !rc && i < q->l1_entries; i++) {
        uint64_t offset = qcow2_be64(q->l1[i]) & QCOW2_OFFSET;
        if (!offset)
            continue;
        q->l1[i] = 0;
        if (i < q->l1_dirty_from)
            q->l1_dirty_from = i;
        if (i >= q->l1_dirty_to)
            q->l1_dirty_to = i + 1;
        qcow2_cache_forget(&q->l2, offset);
        qcow2_set_remove(&q->owned, offset >> q->h.cluster_bits);
        rc = qcow2_free_later(q, offset >> q->h.cluster_bits, 1, true);
    }
    return rc;
}

static int shrink(struct qcow2 *q, uint64_t size)
{
    uint64_t from = align_up(size, q->cluster_size);
    uint64_t to = align_up(q->block.size, q->cluster_size);
    int rc = from < to ? qcow2_drop(&q->block, from, q->block.size - from) : 0;
    pthread_mutex_lock(&q->lock);
    /* Entries first, durable: then nothing is reachable that the tables held. */
    if (!rc)
        rc = qcow2_flush_tables(q);
    if (!rc)
        rc = drop_tables(q, l1_needed(q, size));
    if (!rc)
        rc = qcow2_flush_tables(q);
    pthread_mutex_unlock(&q->lock);
    /* What is left of the last cluster would come back if the disk grew again. */
    if (!rc && size < from && size < q->block.size) {
        uint64_t rest = (from < q->block.size ? from : q->block.size) - size;
        rc = qcow2_write_zeroes(&q->block, size, rest, false);
    }
    return rc ? rc : qcow2_flush(&q->block);
}

/* What a larger backing disk has there must not show. */
static int hide_backing(struct qcow2 *q, uint64_t old, uint64_t size)
{
    uint64_t end = q->block.backing ? q->block.backing->size : 0;
    end = end < size ? end : size;
    return old < end ? qcow2_write_zeroes(&q->block, old, end - old, true) : 0;
}

static int grow(struct qcow2 *q, uint64_t size)
{
    uint64_t old = q->block.size;
    pthread_mutex_lock(&q->lock);
    int rc = grow_l1(q, l1_needed(q, size));
    pthread_mutex_unlock(&q->lock);
    if (rc)
        return rc;
    q->block.size = size;
    rc = hide_backing(q, old, size);
    if (!rc)
        rc = qcow2_flush(&q->block);
    q->block.size = rc ? old : size;
    return rc;
}

int qcow2_resize(struct block *b, uint64_t size, struct error *err)
{
    struct qcow2 *q = qcow2_of(b);
    if (q->h.snapshots && (size < b->size || q->h.version < 3))
        return error_set(err, ENOTSUP, "%s: has snapshots, with which it cannot %s", b->path,
                         size < b->size ? "shrink" : "grow in version 2");
    if (size > INT64_MAX / 2)
        return error_set(err, EFBIG, "%s: %llu bytes are too many", b->path,
                         (unsigned long long)size);
    int rc = size < b->size ? shrink(q, size) : grow(q, size);
    if (!rc)
        rc = qcow2_header_put(q, QCOW2_H_SIZE, size, 8);
    if (!rc)
        rc = block_file_sync(&b->file);
    if (rc)
        return error_set(err, -rc, "%s: cannot be made %llu bytes large: %s", b->path,
                         (unsigned long long)size, strerror(-rc));
    b->size = q->h.size = size;
    return 0;
}
