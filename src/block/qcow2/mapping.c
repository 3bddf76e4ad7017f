/* Where guest clusters are: L1 and L2 tables. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

uint64_t qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> q->h.cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
}

static uint64_t l1_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> q->h.cluster_bits >> q->l2_bits;
}

static uint64_t *table_entries(struct qcow2_table *t)
{
    return (uint64_t *)(void *)t->data;
}

/* Bytes from offset to the end of what its L2 table maps. */
static uint64_t table_rest(const struct qcow2 *q, uint64_t offset)
{
    uint64_t span = q->cluster_size << q->l2_bits;
    return span - (offset & (span - 1));
}

/* ---- entries ---- */

void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
                            uint64_t *bytes)
{
    unsigned shift = 62 - (q->h.cluster_bits - 8);
    *offset = entry & ((UINT64_C(1) << shift) - 1);
    uint64_t sectors = (entry >> shift & ((UINT64_C(1) << (62 - shift)) - 1)) + 1;
    *bytes = sectors * 512 - (*offset & 511);
}

void qcow2_compressed_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *first,
                               uint64_t *count)
{
    uint64_t offset, bytes;
    qcow2_compressed_place(q, entry, &offset, &bytes);
    *first = offset >> q->h.cluster_bits;
    *count = ((offset + bytes - 1) >> q->h.cluster_bits) - *first + 1;
}

static int decode_compressed(const struct qcow2 *q, uint64_t entry)
{
    uint64_t offset, bytes;
    qcow2_compressed_place(q, entry, &offset, &bytes);
    return offset < q->cluster_size || offset >= q->file_size ? -EIO : 0;
}

int qcow2_decode(const struct qcow2 *q, uint64_t entry, struct qcow2_run *run)
{
    *run = (struct qcow2_run){.entry = entry};
    if (entry & QCOW2_COMPRESSED) {
        run->kind = BLOCK_COMPRESSED;
        return decode_compressed(q, entry);
    }
    bool zero = entry & QCOW2_ZERO;
    run->host = entry & QCOW2_OFFSET;
    run->own = entry & QCOW2_COPIED;
    if (entry & QCOW2_L2_RESERVED || (zero && q->h.version < 3) ||
        run->host & (q->cluster_size - 1) || run->host >= q->file_size || (!run->host && run->own))
        return -EIO;
    run->kind = zero ? BLOCK_ZERO : run->host ? BLOCK_DATA : BLOCK_NONE;
    return 0;
}

/* Does the next cluster go on as the run, which has `bytes` so far? */
static bool run_goes_on(const struct qcow2_run *run, const struct qcow2_run *next, uint64_t bytes)
{
    if (run->kind != next->kind || run->kind == BLOCK_COMPRESSED || run->own != next->own)
        return false;
    if (run->kind == BLOCK_NONE || (!run->host && !next->host))
        return true;
    return run->host && next->host == run->host + bytes;
}

static int run_in_table(struct qcow2 *q, struct qcow2_table *t, uint64_t offset, uint64_t bytes,
                        struct qcow2_run *run)
{
    const uint64_t *entries = table_entries(t);
    uint64_t i = qcow2_l2_index(q, offset), skip = offset & (q->cluster_size - 1);
    if (qcow2_decode(q, qcow2_be64(entries[i]), run))
        return qcow2_damaged(q);
    run->bytes = q->cluster_size;
    while (run->bytes < skip + bytes && ++i < UINT64_C(1) << q->l2_bits) {
        struct qcow2_run next;
        if (qcow2_decode(q, qcow2_be64(entries[i]), &next) || !run_goes_on(run, &next, run->bytes))
            break;
        run->bytes += q->cluster_size;
    }
    run->bytes -= skip;
    run->bytes = run->bytes < bytes ? run->bytes : bytes;
    run->host += run->host ? skip : 0;
    return 0;
}

int qcow2_lookup(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool peek, struct qcow2_run *run)
{
    uint64_t i = l1_index(q, offset), rest = table_rest(q, offset);
    bytes = bytes < rest ? bytes : rest;
    *run = (struct qcow2_run){.kind = BLOCK_NONE, .bytes = bytes};
    uint64_t entry = i < q->l1_entries ? qcow2_be64(q->l1[i]) : 0;
    if (entry & QCOW2_L1_RESERVED)
        return qcow2_damaged(q);
    if (!(entry & QCOW2_OFFSET))
        return 0;
    struct qcow2_table *t = qcow2_cache_peek(&q->l2, entry & QCOW2_OFFSET);
    if (!t && peek)
        return -EAGAIN;
    int rc = t ? 0 : qcow2_cache_get(q, &q->l2, entry & QCOW2_OFFSET, &t);
    return rc ? rc : run_in_table(q, t, offset, bytes, run);
}

/* ---- changes ---- */

static void l1_set(struct qcow2 *q, uint64_t i, uint64_t entry)
{
    q->l1[i] = qcow2_be64(entry);
    if (i < q->l1_dirty_from)
        q->l1_dirty_from = i;
    if (i >= q->l1_dirty_to)
        q->l1_dirty_to = i + 1;
}

/* A table in a cluster of its own, a copy of the one at `old` if that is not 0. */
static int table_copy(struct qcow2 *q, uint64_t cluster, uint64_t old, struct qcow2_table **table)
{
    struct qcow2_table *from = NULL;
    int rc = old ? qcow2_cache_get(q, &q->l2, old, &from) : 0;
    if (!rc)
        rc = qcow2_cache_make(q, &q->l2, cluster << q->h.cluster_bits, table);
    if (!rc && from)
        memcpy((*table)->data, from->data, q->cluster_size);
    if (!rc && !qcow2_set_add(&q->owned, cluster))
        rc = -ENOMEM;
    return rc;
}

static int table_new(struct qcow2 *q, uint64_t i, uint64_t old, struct qcow2_table **table)
{
    struct qcow2_space space;
    int rc = qcow2_alloc(q, 1, 1, &space);
    if (rc)
        return rc;
    uint64_t offset = space.cluster << q->h.cluster_bits;
    rc = table_copy(q, space.cluster, old, table);
    if (rc) {
        qcow2_cache_forget(&q->l2, offset);
        qcow2_unalloc(q, &space);
        return rc;
    }
    l1_set(q, i, offset | QCOW2_COPIED);
    if (!old)
        return 0;
    qcow2_set_remove(&q->owned, old >> q->h.cluster_bits);
    return qcow2_free_later(q, old >> q->h.cluster_bits, 1, false);
}

int qcow2_own_table(struct qcow2 *q, uint64_t offset, struct qcow2_table **table)
{
    uint64_t i = l1_index(q, offset);
    if (i >= q->l1_entries)
        return -EIO;
    uint64_t entry = qcow2_be64(q->l1[i]), old = entry & QCOW2_OFFSET;
    if (entry & QCOW2_L1_RESERVED)
        return qcow2_damaged(q);
    if (old && entry & QCOW2_COPIED)
        return qcow2_cache_get(q, &q->l2, old, table);
    return table_new(q, i, old, table);
}

/* What an entry named that has been replaced. */
static int entry_drop(struct qcow2 *q, uint64_t old, uint64_t now, bool discard)
{
    struct qcow2_run run;
    uint64_t first = 0, count = 1;
    if (qcow2_decode(q, old, &run))
        return qcow2_damaged(q);
    if (run.kind == BLOCK_COMPRESSED) {
        qcow2_compressed_clusters(q, old, &first, &count);
        qcow2_inflate_forget(q);
        return qcow2_free_later(q, first, count, false);
    }
    if (!run.host || run.host == (now & QCOW2_OFFSET))
        return 0;
    return qcow2_free_later(q, run.host >> q->h.cluster_bits, 1, discard);
}

int qcow2_set_entries(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t first,
                      uint64_t step, bool discard)
{
    struct qcow2_table *t;
    int rc = qcow2_own_table(q, offset, &t);
    if (rc)
        return rc;
    uint64_t *entry = table_entries(t) + qcow2_l2_index(q, offset);
    qcow2_cache_dirty(&q->l2, t);
    for (uint64_t i = 0; !rc && i < count; i++) {
        uint64_t old = qcow2_be64(entry[i]), now = first + i * step;
        entry[i] = qcow2_be64(now);
        rc = entry_drop(q, old, now, discard);
    }
    return rc;
}
