/*
 * New images: header, refcount table, refcount blocks and an empty L1 table, one after the other.
 */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CLUSTER 65536u

/* In clusters. */
struct layout {
    uint64_t cluster_size;
    unsigned cluster_bits, refcount_order, version;
    uint64_t reftable, reftable_clusters, blocks, l1, l1_clusters, l1_entries, end;
};

static unsigned log2_of(uint64_t v)
{
    return (unsigned)__builtin_ctzll(v);
}

static int layout_numbers(struct layout *l, const struct block_create *how, const char *path,
                          struct error *err)
{
    unsigned bits = how->refcount_bits ? how->refcount_bits : 16;
    l->cluster_size = how->cluster_size ? how->cluster_size : DEFAULT_CLUSTER;
    l->version = how->version ? how->version : 3;
    if (!is_pow2(l->cluster_size) || l->cluster_size < 1u << QCOW2_MIN_CLUSTER_BITS ||
        l->cluster_size > 1u << QCOW2_MAX_CLUSTER_BITS)
        return error_set(err, EINVAL, "%s: a cluster has 512 to 2M bytes, a power of two", path);
    if (!is_pow2(bits) || bits > 64)
        return error_set(err, EINVAL, "%s: a refcount has 1, 2, 4, 8, 16, 32 or 64 bits", path);
    if (l->version != 2 && l->version != 3)
        return error_set(err, EINVAL, "%s: qcow2 has the versions 2 and 3", path);
    if (l->version == 2 && (bits != 16 || how->lazy_refcounts || how->zstd))
        return error_set(err, EINVAL,
                         "%s: version 2 has refcounts of 16 bits, none of them lazy, and "
                         "zlib",
                         path);
    l->cluster_bits = log2_of(l->cluster_size);
    l->refcount_order = log2_of(bits);
    return 0;
}

static int layout_make(struct layout *l, const struct block_create *how, const char *path,
                       struct error *err)
{
    int rc = layout_numbers(l, how, path, err);
    if (rc)
        return rc;
    uint64_t span = l->cluster_size * l->cluster_size / 8;
    uint64_t per_block = l->cluster_size * 8 >> l->refcount_order;
    l->l1_entries = (how->size + span - 1) / span;
    if (l->l1_entries > QCOW2_MAX_L1 / 8)
        return error_set(err, EFBIG, "%s: too large for clusters of %llu bytes; give larger ones",
                         path, (unsigned long long)l->cluster_size);
    l->l1_clusters = (l->l1_entries * 8 + l->cluster_size - 1) >> l->cluster_bits;
    l->reftable = 1;
    l->reftable_clusters = l->blocks = 1;
    for (;;) {
        l->end = 1 + l->reftable_clusters + l->blocks + l->l1_clusters;
        uint64_t blocks = (l->end + per_block - 1) / per_block;
        uint64_t clusters = (blocks * 8 + l->cluster_size - 1) >> l->cluster_bits;
        if (blocks <= l->blocks && clusters <= l->reftable_clusters)
            break;
        l->blocks = blocks;
        l->reftable_clusters = clusters;
    }
    l->l1 = l->end - l->l1_clusters;
    return 0;
}

static void put(uint8_t *p, unsigned at, uint64_t value, unsigned size)
{
    uint64_t be = qcow2_be64(value << (64 - 8 * size));
    memcpy(p + at, &be, size);
}

static int put_backing(uint8_t *p, uint64_t at, uint64_t cluster_size,
                       const struct block_create *how, const char *path, struct error *err)
{
    size_t name = strlen(how->backing), format = strlen(how->backing_format);
    uint64_t end = at + 8 + align_up(format, 8) + 8;
    if (name > 1023 || end + name > cluster_size)
        return error_set(err, ENAMETOOLONG, "%s: the name of its backing file is too long", path);
    put(p, (unsigned)at, QCOW2_X_BACKING_FORMAT, 4);
    put(p, (unsigned)at + 4, format, 4);
    memcpy(p + at + 8, how->backing_format, format);
    put(p, QCOW2_H_BACKING_OFFSET, end, 8);
    put(p, QCOW2_H_BACKING_SIZE, name, 4);
    memcpy(p + end, how->backing, name);
    return 0;
}

static int put_header(uint8_t *p, const struct layout *l, const struct block_create *how,
                      const char *path, struct error *err)
{
    unsigned length = l->version == 2 ? QCOW2_H_V2_LENGTH : QCOW2_H_V3_LENGTH;
    memcpy(p, "QFI\xfb", 4);
    put(p, QCOW2_H_VERSION, l->version, 4);
    put(p, QCOW2_H_CLUSTER_BITS, l->cluster_bits, 4);
    put(p, QCOW2_H_SIZE, how->size, 8);
    put(p, QCOW2_H_L1_SIZE, l->l1_entries, 4);
    put(p, QCOW2_H_L1_OFFSET, l->l1 << l->cluster_bits, 8);
    put(p, QCOW2_H_REFTABLE_OFFSET, l->reftable << l->cluster_bits, 8);
    put(p, QCOW2_H_REFTABLE_CLUSTERS, l->reftable_clusters, 4);
    if (l->version >= 3) {
        put(p, QCOW2_H_INCOMPATIBLE, how->zstd ? QCOW2_COMPRESSION : 0, 8);
        put(p, QCOW2_H_COMPATIBLE, how->lazy_refcounts ? QCOW2_LAZY : 0, 8);
        put(p, QCOW2_H_REFCOUNT_ORDER, l->refcount_order, 4);
        put(p, QCOW2_H_LENGTH, length, 4);
        put(p, QCOW2_H_COMPRESSION, how->zstd ? QCOW2_ZSTD : QCOW2_ZLIB, 1);
    }
    return how->backing ? put_backing(p, length, l->cluster_size, how, path, err) : 0;
}

/* A refcount of 1 for each cluster up to the end: as bytes of the blocks. */
static void put_refcounts(uint8_t *p, const struct layout *l)
{
    for (uint64_t i = 0; i < l->end; i++) {
        if (l->refcount_order < 3) {
            unsigned bits = 1u << l->refcount_order, per_byte = 8u / bits;
            p[i / per_byte] |= (uint8_t)(1u << (i % per_byte * bits));
        } else {
            p[((i + 1) << (l->refcount_order - 3)) - 1] = 1;
        }
    }
}

static int write_layout(struct block_file *f, const struct layout *l,
                        const struct block_create *how, const char *path, struct error *err)
{
    uint64_t tables = (1 + l->reftable_clusters + l->blocks) << l->cluster_bits;
    uint8_t *p = calloc(1, tables);
    if (!p)
        return error_set(err, ENOMEM, "%s: out of memory", path);
    uint64_t first_block = 1 + l->reftable_clusters;
    int rc = put_header(p, l, how, path, err);
    for (uint64_t i = 0; i < l->blocks; i++)
        put(p + l->cluster_size, (unsigned)i * 8, (first_block + i) << l->cluster_bits, 8);
    put_refcounts(p + (first_block << l->cluster_bits), l);
    int io = rc ? 0 : block_file_resize(f, l->end << l->cluster_bits);
    if (!rc && !io)
        io = block_file_write(f, 0, p, tables);
    if (!rc && !io)
        io = block_file_sync(f);
    free(p);
    return io ? error_set(err, -io, "%s: cannot be written: %s", path, strerror(-io)) : rc;
}

int qcow2_create(struct block_file *f, const char *path, const struct block_create *how,
                 struct error *err)
{
    struct layout l = {0};
    int rc = layout_make(&l, how, path, err);
    return rc ? rc : write_layout(f, &l, how, path, err);
}

int qcow2_preallocate_block(struct block *b)
{
    struct qcow2 *q = qcow2_of(b);
    uint64_t end = align_up(b->size, q->cluster_size), span = q->cluster_size << q->l2_bits;
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    for (uint64_t at = 0; !rc && at < end;) {
        uint64_t table_end = (at | (span - 1)) + 1;
        uint64_t bytes = (table_end < end ? table_end : end) - at;
        struct qcow2_space s;
        rc = qcow2_alloc(q, bytes >> q->h.cluster_bits, 1, &s);
        if (!rc)
            rc = qcow2_set_entries(q, at, s.count, s.cluster << q->h.cluster_bits | QCOW2_COPIED,
                                   q->cluster_size, false);
        at += rc ? 0 : s.count << q->h.cluster_bits;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}
