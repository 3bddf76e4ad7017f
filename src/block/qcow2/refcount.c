/*
 * Refcounts: how many references each host cluster has, and the clusters that have none.
 *
 * A refcount goes up before the reference is written and down after it is gone from the file
 * (docs/disks.md). A refcount block lies in the first of the clusters that it counts, so that a new
 * one counts itself; only a repair puts it elsewhere.
 */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OFFSET (UINT64_C(1) << 55)

/* ---- counters in a block ---- */

static uint64_t refcount_load(unsigned order, const uint8_t *block, uint64_t i)
{
    if (order < 3) {
        unsigned bits = 1u << order, per_byte = 8u >> order;
        return (unsigned)block[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
    }
    uint64_t v = 0;
    for (unsigned n = 1u << (order - 3), k = 0; k < n; k++)
        v = v << 8 | block[i * n + k];
    return v;
}

static void refcount_store(unsigned order, uint8_t *block, uint64_t i, uint64_t v)
{
    if (order < 3) {
        unsigned bits = 1u << order, per_byte = 8u >> order;
        unsigned shift = (unsigned)(i % per_byte) * bits, mask = ((1u << bits) - 1) << shift;
        uint8_t *p = &block[i / per_byte];
        *p = (uint8_t)((*p & ~mask) | ((unsigned)v << shift & mask));
        return;
    }
    for (unsigned k = 1u << (order - 3); k--; v >>= 8)
        block[(i << (order - 3)) + k] = (uint8_t)v;
}

static uint64_t per_block(const struct qcow2 *q)
{
    return q->cluster_size * 8 >> q->h.refcount_order;
}

static uint64_t reftable_entry(const struct qcow2 *q, uint64_t i)
{
    return i < q->reftable_entries ? qcow2_be64(q->reftable[i]) : 0;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
    uint64_t entry = reftable_entry(q, cluster / per_block(q));
    struct qcow2_table *t;
    *count = 0;
    if (!entry)
        return 0;
    int rc = qcow2_cache_get(q, &q->refblocks, entry, &t);
    if (!rc)
        *count = refcount_load(q->h.refcount_order, t->data, cluster % per_block(q));
    return rc;
}

/* ---- space in the file ---- */

static int grow_file(struct qcow2 *q, uint64_t end)
{
    if (end > MAX_OFFSET)
        return -EFBIG;
    if (end <= q->file_size)
        return 0;
    int rc = block_file_resize(&q->block.file, end);
    if (!rc)
        q->file_size = end;
    return rc;
}

static uint64_t end_cluster(const struct qcow2 *q)
{
    return (q->file_size + q->cluster_size - 1) >> q->h.cluster_bits;
}

/* ---- refcount blocks and their table ---- */

static void reftable_set(struct qcow2 *q, uint64_t i, uint64_t offset)
{
    q->reftable[i] = qcow2_be64(offset);
    if (i < q->reftable_dirty_from)
        q->reftable_dirty_from = i;
    if (i >= q->reftable_dirty_to)
        q->reftable_dirty_to = i + 1;
}

/* An empty block in a free cluster, in memory; nothing points to it yet. */
static int refblock_make(struct qcow2 *q, uint64_t cluster)
{
    struct qcow2_table *t;
    uint64_t offset = cluster << q->h.cluster_bits;
    int rc = qcow2_may_write(q, offset, q->cluster_size, QCOW2_PART_DATA);
    if (!rc)
        rc = grow_file(q, offset + q->cluster_size);
    if (!rc)
        rc = qcow2_cache_make(q, &q->refblocks, offset, &t);
    if (!rc && !qcow2_set_add(&q->owned, cluster))
        rc = -ENOMEM;
    return rc;
}

struct reftable_growth {
    uint64_t base;  /* cluster: first the new blocks, then the new table */
    uint64_t first; /* index of the first new block */
    uint64_t blocks;
    uint64_t clusters; /* of the new table */
};

/* As many new blocks as count themselves and the table that has room for them. */
static int growth_plan(const struct qcow2 *q, uint64_t index, struct reftable_growth *g)
{
    uint64_t per = per_block(q);
    g->first = q->at_end ? (end_cluster(q) + per - 1) / per : index;
    g->first = g->first < index ? index : g->first;
    g->base = g->first * per;
    for (g->blocks = 1;; g->blocks++) {
        uint64_t entries = g->first + g->blocks, roomy = q->reftable_entries * 3 / 2;
        entries = entries < roomy ? roomy : entries;
        g->clusters = (entries * 8 + q->cluster_size - 1) >> q->h.cluster_bits;
        if (g->clusters * q->cluster_size > QCOW2_MAX_REFTABLE)
            return -EFBIG;
        if (g->blocks * per >= g->blocks + g->clusters)
            return 0;
    }
}

static int growth_fill(struct qcow2 *q, const struct reftable_growth *g)
{
    int rc = 0;
    for (uint64_t i = 0; !rc && i < g->blocks; i++) {
        rc = refblock_make(q, g->base + i);
        q->reftable[g->first + i] = qcow2_be64((g->base + i) << q->h.cluster_bits);
    }
    uint64_t table = (g->base + g->blocks) << q->h.cluster_bits;
    uint64_t bytes = g->clusters << q->h.cluster_bits;
    if (!rc)
        rc = qcow2_may_write(q, table, bytes, QCOW2_PART_DATA);
    if (!rc)
        rc = grow_file(q, table + bytes);
    for (uint64_t i = 0; !rc && i < g->blocks + g->clusters; i++)
        rc = qcow2_refcount_set(q, g->base + i, 1);
    return rc;
}

/* Everything new is on disk before the one write that switches to it. */
static int growth_switch(struct qcow2 *q, const struct reftable_growth *g)
{
    struct block_file *f = &q->block.file;
    uint64_t table = (g->base + g->blocks) << q->h.cluster_bits;
    uint64_t where[2] = {qcow2_be64(table), qcow2_be64(g->clusters << 32)};
    int rc = qcow2_cache_write(q, &q->refblocks);
    if (!rc)
        rc = block_file_write(f, table, q->reftable, g->clusters << q->h.cluster_bits);
    if (!rc)
        rc = block_file_sync(f);
    if (!rc)
        rc = block_file_write(f, QCOW2_H_REFTABLE_OFFSET, where, 12);
    return rc ? rc : block_file_sync(f);
}

static int reftable_grow(struct qcow2 *q, uint64_t index)
{
    struct reftable_growth g;
    uint64_t *old = q->reftable, old_entries = q->reftable_entries;
    int rc = growth_plan(q, index, &g);
    if (rc)
        return rc;
    uint64_t *table = calloc(1, g.clusters << q->h.cluster_bits);
    if (!table)
        return -ENOMEM;
    memcpy(table, old, old_entries * 8);
    q->reftable = table;
    q->reftable_entries = g.clusters << q->h.cluster_bits >> 3;
    rc = growth_fill(q, &g);
    if (!rc)
        rc = growth_switch(q, &g);
    if (rc) {
        for (uint64_t i = 0; i < g.blocks; i++) {
            qcow2_cache_forget(&q->refblocks, (g.base + i) << q->h.cluster_bits);
            qcow2_set_remove(&q->owned, g.base + i);
        }
        q->reftable = old;
        q->reftable_entries = old_entries;
        free(table);
        return rc;
    }
    free(old);
    uint64_t from = q->h.reftable_offset >> q->h.cluster_bits, count = q->h.reftable_clusters;
    q->h.reftable_offset = (g.base + g.blocks) << q->h.cluster_bits;
    q->h.reftable_clusters = (uint32_t)g.clusters;
    q->reftable_dirty_from = UINT64_MAX;
    q->reftable_dirty_to = 0;
    for (uint64_t i = 0; !rc && !q->at_end && i < count; i++)
        rc = qcow2_refcount_set(q, from + i, 0);
    return rc;
}

static int refblock_new(struct qcow2 *q, uint64_t index)
{
    if (index >= q->reftable_entries)
        return reftable_grow(q, index);
    uint64_t cluster = q->at_end ? end_cluster(q) : index * per_block(q);
    int rc = refblock_make(q, cluster);
    if (rc)
        return rc;
    reftable_set(q, index, cluster << q->h.cluster_bits);
    return qcow2_refcount_set(q, cluster, 1);
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    uint64_t index = cluster / per_block(q);
    unsigned bits = 1u << q->h.refcount_order;
    struct qcow2_table *t;
    if (bits < 64 && count >> bits)
        return -ERANGE;
    while (!reftable_entry(q, index)) {
        int rc = count ? refblock_new(q, index) : 0;
        if (rc || !count)
            return rc;
    }
    int rc = qcow2_cache_get(q, &q->refblocks, reftable_entry(q, index), &t);
    if (rc)
        return rc;
    refcount_store(q->h.refcount_order, t->data, cluster % per_block(q), count);
    qcow2_cache_dirty(&q->refblocks, t);
    if (!count && cluster < q->free_hint)
        q->free_hint = cluster;
    return 0;
}

/* ---- taking and giving ---- */

/* Is the cluster free? Makes the block that counts it. */
static int cluster_is_free(struct qcow2 *q, uint64_t cluster, bool *is_free)
{
    uint64_t index = cluster / per_block(q), count;
    int rc = 0;
    while (!rc && !reftable_entry(q, index))
        rc = refblock_new(q, index);
    if (!rc)
        rc = qcow2_refcount_get(q, cluster, &count);
    *is_free = !rc && !count;
    return rc;
}

/* The first `least` or more free clusters. */
static int find_free(struct qcow2 *q, uint64_t want, uint64_t least, struct qcow2_space *s)
{
    bool is_free = false;
    s->cluster = q->at_end && q->free_hint < end_cluster(q) ? end_cluster(q) : q->free_hint;
    for (s->count = 0; s->count < want;) {
        int rc = cluster_is_free(q, s->cluster + s->count, &is_free);
        if (rc)
            return rc;
        if (is_free) {
            s->count++;
            continue;
        }
        if (s->count >= least && s->count)
            return 0;
        s->cluster += s->count + 1;
        s->count = 0;
        if (s->cluster >= MAX_OFFSET >> q->h.cluster_bits)
            return -ENOSPC;
    }
    return 0;
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t least, struct qcow2_space *s)
{
    int rc = find_free(q, want, least, s);
    if (rc)
        return rc;
    uint64_t offset = s->cluster << q->h.cluster_bits, bytes = s->count << q->h.cluster_bits;
    s->fresh = offset >= q->file_size;
    rc = qcow2_may_write(q, offset, bytes, QCOW2_PART_DATA);
    if (!rc)
        rc = grow_file(q, offset + bytes);
    uint64_t done = 0;
    for (; !rc && done < s->count; done++)
        rc = qcow2_refcount_set(q, s->cluster + done, 1);
    if (rc) {
        s->count = done;
        qcow2_unalloc(q, s);
    } else if (least == 1) {
        q->free_hint = s->cluster + s->count;
    }
    return rc;
}

void qcow2_unalloc(struct qcow2 *q, const struct qcow2_space *s)
{
    for (uint64_t i = 0; i < s->count; i++)
        qcow2_refcount_set(q, s->cluster + i, 0);
}

int qcow2_free_later(struct qcow2 *q, uint64_t cluster, uint64_t count, bool discard)
{
    struct qcow2_pending *last = q->pending_count ? &q->pending[q->pending_count - 1] : NULL;
    /* What a wrong entry names may be a table in use. */
    int rc = qcow2_may_write(q, cluster << q->h.cluster_bits, count << q->h.cluster_bits,
                             QCOW2_PART_DATA);
    if (rc)
        return rc;
    if (last && last->cluster + last->count == cluster && last->discard == discard) {
        last->count += count;
        return 0;
    }
    if (q->pending_count == q->pending_cap) {
        size_t cap = q->pending_cap ? q->pending_cap * 2 : 64;
        struct qcow2_pending *p = realloc(q->pending, cap * sizeof *p);
        if (!p)
            return 0; /* they leak, which a check repairs */
        q->pending = p;
        q->pending_cap = cap;
    }
    q->pending[q->pending_count++] = (struct qcow2_pending){cluster, count, discard};
    return 0;
}

/* One reference less; *is_free if that was the last. */
static int release_cluster(struct qcow2 *q, uint64_t cluster, bool *is_free)
{
    uint64_t count;
    int rc = qcow2_refcount_get(q, cluster, &count);
    if (!rc && !count)
        rc = qcow2_damaged(q);
    if (!rc)
        rc = qcow2_refcount_set(q, cluster, count - 1);
    *is_free = !rc && count == 1;
    return rc;
}

static int release_pending(struct qcow2 *q, const struct qcow2_pending *p)
{
    uint64_t hole = p->cluster; /* from here to i all are free */
    for (uint64_t i = p->cluster; i <= p->cluster + p->count; i++) {
        bool is_free = false;
        int rc = i < p->cluster + p->count ? release_cluster(q, i, &is_free) : 0;
        if (rc)
            return rc;
        if (is_free)
            continue;
        if (p->discard && i > hole)
            block_file_discard(&q->block.file, hole << q->h.cluster_bits,
                               (i - hole) << q->h.cluster_bits);
        hole = i + 1;
    }
    return 0;
}

/* ---- flushing ---- */

static int write_reftable(struct qcow2 *q)
{
    if (q->reftable_dirty_from >= q->reftable_dirty_to)
        return 0;
    uint64_t from = q->reftable_dirty_from, bytes = (q->reftable_dirty_to - from) * 8;
    uint64_t offset = q->h.reftable_offset + from * 8;
    int rc = block_file_sync(&q->block.file);
    if (!rc)
        rc = qcow2_may_write(q, offset, bytes, QCOW2_PART_REFTABLE);
    if (!rc)
        rc = block_file_write(&q->block.file, offset, q->reftable + from, bytes);
    if (!rc) {
        q->reftable_dirty_from = UINT64_MAX;
        q->reftable_dirty_to = 0;
    }
    return rc;
}

static int write_l1(struct qcow2 *q)
{
    if (q->l1_dirty_from >= q->l1_dirty_to)
        return 0;
    uint64_t from = q->l1_dirty_from, bytes = (q->l1_dirty_to - from) * 8;
    uint64_t offset = q->h.l1_offset + from * 8;
    int rc = block_file_sync(&q->block.file);
    if (!rc)
        rc = qcow2_may_write(q, offset, bytes, QCOW2_PART_L1);
    if (!rc)
        rc = block_file_write(&q->block.file, offset, q->l1 + from, bytes);
    if (!rc) {
        q->l1_dirty_from = UINT64_MAX;
        q->l1_dirty_to = 0;
    }
    return rc;
}

int qcow2_write_tables(struct qcow2 *q)
{
    int rc = qcow2_cache_write(q, &q->refblocks);
    if (!rc)
        rc = write_reftable(q);
    if (!rc && q->l2.dirty) {
        rc = block_file_sync(&q->block.file);
        if (!rc)
            rc = qcow2_cache_write(q, &q->l2);
    }
    return rc ? rc : write_l1(q);
}

int qcow2_flush_tables(struct qcow2 *q)
{
    int rc = qcow2_write_tables(q);
    if (!rc)
        rc = block_file_sync(&q->block.file);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < q->pending_count; i++)
        rc = release_pending(q, &q->pending[i]);
    q->pending_count = 0;
    return rc;
}
