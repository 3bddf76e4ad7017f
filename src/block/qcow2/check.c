/*
 * References counted, and compared with the refcounts.
 *
 * Tables are read past the caches. A repair sets refcounts and COPIED flags to what was counted; it
 * takes new clusters beyond everything, since refcounts cannot be believed yet. What a table says
 * wrongly is only reported.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLUSTERS (UINT64_C(1) << 28)

struct check {
    struct qcow2 *q;
    uint32_t *refs; /* of each host cluster */
    uint64_t clusters;
    uint64_t *table; /* one cluster */
    bool repair;
    struct block_check *result;
    const struct block_progress *progress;
};

static void check_step(const struct check *c, uint64_t done, uint64_t total)
{
    if (c->progress)
        c->progress->step(c->progress->ctx, done, total);
}

/* ---- counting ---- */

static void count_clusters(struct check *c, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (i >= c->clusters)
            c->result->errors++;
        else
            c->refs[i]++;
    }
}

static void count_bytes(struct check *c, uint64_t offset, uint64_t bytes)
{
    uint64_t size = c->q->cluster_size;
    if (offset & (size - 1))
        c->result->errors++;
    else if (bytes)
        count_clusters(c, offset >> c->q->h.cluster_bits,
                       ((bytes - 1) >> c->q->h.cluster_bits) + 1);
}

static bool table_is_sound(const struct qcow2 *q, uint64_t offset)
{
    return offset && qcow2_in_file(q, offset, q->cluster_size);
}

static void count_entry(struct check *c, uint64_t entry, bool active)
{
    struct qcow2_run run;
    uint64_t first, count;
    if (qcow2_decode(c->q, entry, &run)) {
        c->result->errors++;
        return;
    }
    if (run.kind == BLOCK_COMPRESSED) {
        qcow2_compressed_clusters(c->q, entry, &first, &count);
        /* The last sector may be cut off with the file. */
        while (count > 1 && first + count > c->clusters)
            count--;
        count_clusters(c, first, count);
    } else if (run.host) {
        count_clusters(c, run.host >> c->q->h.cluster_bits, 1);
    }
    c->result->data_clusters += active && (run.kind == BLOCK_DATA || run.kind == BLOCK_COMPRESSED);
    c->result->compressed_clusters += active && run.kind == BLOCK_COMPRESSED;
}

static int count_l1(struct check *c, const uint64_t *l1, uint64_t entries, bool active)
{
    struct qcow2 *q = c->q;
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t entry = qcow2_be64(l1[i]), offset = entry & QCOW2_OFFSET;
        check_step(c, i, entries * 2);
        if (entry & QCOW2_L1_RESERVED || (offset && !table_is_sound(q, offset))) {
            c->result->errors++;
            continue;
        }
        if (!offset)
            continue;
        count_clusters(c, offset >> q->h.cluster_bits, 1);
        int rc = block_file_read(&q->block.file, offset, c->table, q->cluster_size);
        if (rc)
            return rc;
        for (uint64_t k = 0; k < UINT64_C(1) << q->l2_bits; k++)
            if (c->table[k])
                count_entry(c, qcow2_be64(c->table[k]), active);
    }
    return 0;
}

static int count_snapshots(struct check *c)
{
    struct qcow2 *q = c->q;
    count_bytes(c, q->h.snapshots_offset, q->snapshots_end - q->h.snapshots_offset);
    for (uint32_t i = 0; i < q->h.snapshots; i++) {
        const struct qcow2_snapshot *s = &q->snapshots[i];
        uint64_t bytes = s->l1_size * UINT64_C(8);
        uint64_t *l1 = malloc(bytes ? bytes : 8);
        int rc = l1 ? block_file_read(&q->block.file, s->l1_offset, l1, bytes) : -ENOMEM;
        count_bytes(c, s->l1_offset, bytes);
        if (!rc)
            rc = count_l1(c, l1, s->l1_size, false);
        free(l1);
        if (rc)
            return rc;
    }
    return 0;
}

/* Of the bitmaps extension: tables of clusters, in a directory of entries of 24 bytes and more. */
static int count_bitmap(struct check *c, const uint8_t *entry)
{
    struct qcow2 *q = c->q;
    uint64_t offset, bytes;
    uint32_t n;
    memcpy(&offset, entry, 8);
    memcpy(&n, entry + 8, 4);
    offset = qcow2_be64(offset);
    bytes = __builtin_bswap32(n) * UINT64_C(8);
    if (!qcow2_in_file(q, offset, bytes) || bytes > QCOW2_MAX_L1) {
        c->result->errors++;
        return 0;
    }
    count_bytes(c, offset, bytes);
    for (uint64_t i = 0; i < bytes / 8; i++) {
        uint64_t v;
        int rc = block_file_read(&q->block.file, offset + i * 8, &v, 8);
        if (rc)
            return rc;
        if (qcow2_be64(v) & QCOW2_OFFSET)
            count_bytes(c, qcow2_be64(v) & QCOW2_OFFSET, 1);
    }
    return 0;
}

static int count_bitmaps(struct check *c)
{
    struct qcow2 *q = c->q;
    uint64_t at = q->h.bitmaps_offset, end = at + q->h.bitmaps_size;
    if (!q->h.bitmaps || !(q->h.autoclear & QCOW2_BITMAPS))
        return 0;
    if (q->h.bitmaps_size > QCOW2_MAX_L1 || !qcow2_in_file(q, at, q->h.bitmaps_size)) {
        c->result->errors++;
        return 0;
    }
    count_bytes(c, at, q->h.bitmaps_size);
    for (uint32_t i = 0; i < q->h.bitmaps && end - at >= 24; i++) {
        uint8_t entry[24];
        int rc = block_file_read(&q->block.file, at, entry, sizeof entry);
        if (!rc)
            rc = count_bitmap(c, entry);
        if (rc)
            return rc;
        uint64_t name = (uint64_t)entry[18] << 8 | entry[19], extra = 0;
        for (unsigned k = 20; k < 24; k++)
            extra = extra << 8 | entry[k];
        uint64_t size = (24 + name + extra + 7) & ~UINT64_C(7);
        at += size < end - at ? size : end - at;
    }
    return 0;
}

/* A block that is not in the file, or that two entries name, counts nothing: a repair drops it. */
static void count_refblocks(struct check *c)
{
    struct qcow2 *q = c->q;
    count_bytes(c, q->h.reftable_offset, (uint64_t)q->h.reftable_clusters << q->h.cluster_bits);
    for (uint64_t i = 0; i < q->reftable_entries; i++) {
        uint64_t offset = qcow2_be64(q->reftable[i]);
        if (!offset)
            continue;
        if (table_is_sound(q, offset)) {
            count_clusters(c, offset >> q->h.cluster_bits, 1);
            continue;
        }
        c->result->errors++;
        if (c->repair || q->block.readonly)
            q->reftable[i] = 0;
        if (c->repair) {
            c->result->errors_fixed++;
            q->reftable_dirty_from = 0;
            q->reftable_dirty_to = q->reftable_entries;
        }
    }
}

static int count_all(struct check *c)
{
    struct qcow2 *q = c->q;
    count_clusters(c, 0, 1);
    count_refblocks(c);
    count_bytes(c, q->h.l1_offset, q->l1_entries * 8);
    int rc = count_l1(c, q->l1, q->l1_entries, true);
    if (!rc)
        rc = count_snapshots(c);
    return rc ? rc : count_bitmaps(c);
}

/* ---- comparing ---- */

static int compare_refcount(struct check *c, uint64_t cluster)
{
    uint64_t count;
    int rc = qcow2_refcount_get(c->q, cluster, &count);
    if (rc || count == c->refs[cluster])
        return rc;
    bool leak = count > c->refs[cluster];
    *(leak ? &c->result->leaks : &c->result->errors) += 1;
    if (!c->repair)
        return 0;
    rc = qcow2_refcount_set(c->q, cluster, c->refs[cluster]);
    if (!rc)
        *(leak ? &c->result->leaks_fixed : &c->result->errors_fixed) += 1;
    return rc;
}

static int compare_refcounts(struct check *c)
{
    int rc = 0;
    for (uint64_t i = 0; i < c->clusters && !rc; i++) {
        if (!(i & 1023))
            check_step(c, c->clusters + i, c->clusters * 2);
        rc = compare_refcount(c, i);
    }
    return rc;
}

/* Refcounts of clusters beyond the end of the file, where nothing can be used. */
static int compare_beyond(struct check *c)
{
    struct qcow2 *q = c->q;
    uint64_t per_block = q->cluster_size * 8 >> q->h.refcount_order;
    int rc = 0;
    for (uint64_t i = c->clusters / per_block; !rc && i < q->reftable_entries; i++) {
        uint64_t offset = qcow2_be64(q->reftable[i]), first = i * per_block;
        /* A block that two entries name is an error already, and could be named a million times. */
        if (!table_is_sound(q, offset) || c->refs[offset >> q->h.cluster_bits] != 1)
            continue;
        for (uint64_t k = 0; !rc && k < per_block; k++) {
            uint64_t count = 0;
            if (first + k >= c->clusters)
                rc = qcow2_refcount_get(q, first + k, &count);
            if (rc || !count)
                continue;
            c->result->leaks++;
            c->result->leaks_fixed += c->repair;
            if (c->repair)
                rc = qcow2_refcount_set(q, first + k, 0);
        }
    }
    return rc;
}

/* The flag that an entry of the active tables should have, in place of the one it has. */
static uint64_t right_flag(const struct check *c, uint64_t entry)
{
    uint64_t cluster = (entry & QCOW2_OFFSET) >> c->q->h.cluster_bits;
    if (!cluster || cluster >= c->clusters || entry & QCOW2_COMPRESSED)
        return entry & ~(entry & QCOW2_COMPRESSED ? QCOW2_COPIED : 0);
    return c->refs[cluster] == 1 ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED;
}

static int compare_flags_l2(struct check *c, uint64_t offset)
{
    struct qcow2_table *t;
    int rc = qcow2_cache_get(c->q, &c->q->l2, offset, &t);
    uint64_t *entries = rc ? NULL : (uint64_t *)(void *)t->data;
    for (uint64_t k = 0; !rc && k < UINT64_C(1) << c->q->l2_bits; k++) {
        uint64_t entry = qcow2_be64(entries[k]), right = right_flag(c, entry);
        if (entry == right)
            continue;
        c->result->errors++;
        if (!c->repair)
            continue;
        c->result->errors_fixed++;
        entries[k] = qcow2_be64(right);
        qcow2_cache_dirty(&c->q->l2, t);
    }
    return rc;
}

static int compare_flags(struct check *c)
{
    struct qcow2 *q = c->q;
    int rc = 0;
    for (uint64_t i = 0; !rc && i < q->l1_entries; i++) {
        uint64_t entry = qcow2_be64(q->l1[i]), right = right_flag(c, entry);
        if (!table_is_sound(q, entry & QCOW2_OFFSET))
            continue;
        if (entry != right) {
            c->result->errors++;
            c->result->errors_fixed += c->repair;
            if (c->repair) {
                q->l1[i] = qcow2_be64(right);
                q->l1_dirty_from = 0;
                q->l1_dirty_to = q->l1_entries;
            }
        }
        rc = compare_flags_l2(c, entry & QCOW2_OFFSET);
    }
    return rc;
}

/* ---- the whole ---- */

/* Everything is right: the image is as good as new. */
static int finish_repair(struct check *c)
{
    struct qcow2 *q = c->q;
    int rc = qcow2_flush_tables(q);
    uint64_t marks = q->h.incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT);
    if (rc || !marks || c->result->errors > c->result->errors_fixed)
        return rc;
    rc = qcow2_header_put_incompatible(q, q->h.incompatible & ~marks);
    return rc ? rc : block_file_sync(&q->block.file);
}

static int check_run(struct check *c)
{
    struct qcow2 *q = c->q;
    int rc = count_all(c);
    /* Refcount blocks that cannot be read count nothing. */
    q->at_end = c->repair;
    if (!rc)
        rc = compare_beyond(c);
    if (!rc)
        rc = compare_refcounts(c);
    if (!rc)
        rc = compare_flags(c);
    if (!rc && c->repair)
        rc = finish_repair(c);
    q->at_end = false;
    q->free_hint = 0;
    return rc;
}

int qcow2_check(struct qcow2 *q, bool repair, struct block_check *result,
                const struct block_progress *progress, struct error *err)
{
    const char *path = q->block.path;
    struct check c = {.q = q, .repair = repair, .result = result, .progress = progress};
    c.clusters = (q->file_size + q->cluster_size - 1) >> q->h.cluster_bits;
    if (c.clusters > MAX_CLUSTERS)
        return error_set(err, EFBIG, "%s: has too many clusters to be checked", path);
    result->total_clusters = (q->h.size + q->cluster_size - 1) >> q->h.cluster_bits;
    c.refs = calloc(c.clusters ? c.clusters : 1, sizeof *c.refs);
    c.table = malloc(q->cluster_size);
    int rc = c.refs && c.table ? check_run(&c) : -ENOMEM;
    free(c.refs);
    free(c.table);
    return rc ? error_set(err, -rc, "%s: cannot be checked: %s", path, strerror(-rc)) : 0;
}
