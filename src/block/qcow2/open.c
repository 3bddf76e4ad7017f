/* The driver: images opened and closed. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define L2_BUDGET (UINT64_C(16) << 20)
#define L2_MOST 4096u
#define REFBLOCK_BUDGET (UINT64_C(4) << 20)
#define REFBLOCKS_MOST 512u

/* ---- tables ---- */

static int load_table(struct qcow2 *q, uint64_t offset, uint64_t entries, uint64_t **table,
                      const char *what, struct error *err)
{
    const char *path = q->block.path;
    if (entries && !qcow2_in_file(q, offset, entries * 8))
        return error_set(err, EINVAL, "%s: is damaged: its %s is not in the file", path, what);
    *table = malloc(entries ? entries * 8 : 8);
    if (!*table)
        return error_set(err, ENOMEM, "%s: out of memory for its %s", path, what);
    int rc = block_file_read(&q->block.file, offset, *table, entries * 8);
    return rc ? error_set(err, -rc, "%s: its %s cannot be read: %s", path, what, strerror(-rc)) : 0;
}

static int load_tables(struct qcow2 *q, struct error *err)
{
    q->l1_entries = q->h.l1_size;
    q->reftable_entries = ((uint64_t)q->h.reftable_clusters << q->h.cluster_bits) / 8;
    q->l1_dirty_from = q->reftable_dirty_from = UINT64_MAX;
    int rc = load_table(q, q->h.l1_offset, q->l1_entries, &q->l1, "L1 table", err);
    if (!rc)
        rc = load_table(q, q->h.reftable_offset, q->reftable_entries, &q->reftable,
                        "refcount table", err);
    return rc ? rc : qcow2_snapshots_read(q, err);
}

static int own_clusters(struct qcow2 *q, const uint64_t *table, uint64_t entries, uint64_t mask)
{
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t offset = qcow2_be64(table[i]) & mask;
        if (offset && !qcow2_set_add(&q->owned, offset >> q->h.cluster_bits))
            return -EINVAL;
    }
    return 0;
}

/* What a writer must keep off. */
static int note_metadata(struct qcow2 *q, struct error *err)
{
    if (own_clusters(q, q->l1, q->l1_entries, QCOW2_OFFSET) ||
        own_clusters(q, q->reftable, q->reftable_entries, ~UINT64_C(511)))
        return error_set(err, EINVAL,
                         "%s: is damaged: two of its tables are in the same place; it can only be "
                         "opened read-only",
                         q->block.path);
    return 0;
}

/* The disk as it was: the snapshot's L1 table takes the place of the active one. */
static int enter_snapshot(struct qcow2 *q, const char *name, struct error *err)
{
    const struct qcow2_snapshot *s = qcow2_snapshot_find(q, name);
    if (!s)
        return error_set(err, ENOENT, "%s: has no snapshot '%.64s'; 'guise disk info' lists them",
                         q->block.path, name);
    if (!q->block.readonly)
        return error_set(err, EROFS, "%s: snapshots can only be read", q->block.path);
    free(q->l1);
    q->l1 = NULL;
    q->l1_entries = s->l1_size;
    q->h.size = s->size;
    return load_table(q, s->l1_offset, s->l1_size, &q->l1, "snapshot's L1 table", err);
}

/* ---- the backing file ---- */

int block_backing_name(const char *path, const char *backing, char *name, size_t size,
                       struct error *err)
{
    if (!strncmp(backing, "file:", 5))
        backing += 5;
    const char *colon = strchr(backing, ':'), *slash = strchr(backing, '/');
    if (colon && (!slash || colon < slash))
        return error_set(err, ENOTSUP, "%s: its backing file '%.200s' is not a file's name", path,
                         backing);
    const char *last = strrchr(path, '/');
    int dir = backing[0] == '/' || !last ? 0 : (int)(last - path) + 1;
    if ((size_t)snprintf(name, size, "%.*s%s", dir, path, backing) >= size)
        return error_set(err, ENAMETOOLONG, "%s: the name of its backing file is too long", path);
    return 0;
}

static int open_backing(struct qcow2 *q, unsigned depth, struct error *err)
{
    const char *path = q->block.path;
    struct block_options options = {.format = q->h.backing_format, .readonly = true};
    char name[4096];
    if (!q->h.backing[0])
        return 0;
    if (q->block.file.nbd)
        return error_set(
            err, ENOTSUP,
            "%s: has the backing file '%.100s', which an image of a server does not get "
            "from this host; export the disk itself, as qemu-nbd does",
            path, q->h.backing);
    if (!q->h.backing_format[0])
        return error_set(
            err, EINVAL,
            "%s: does not say which format its backing file has, and a guest could have "
            "made it look like any; if you know, say it: qemu-img rebase -u -F FORMAT "
            "-b %.100s %s",
            path, q->h.backing, path);
    int rc = block_backing_name(path, q->h.backing, name, sizeof name, err);
    if (rc)
        return rc;
    q->block.backing = block_open_depth(name, &options, depth + 1, err);
    return q->block.backing ? 0 : -err->code;
}

/* ---- opening for writing ---- */

/* Refcounts that somebody left for later: everything else waits for them. */
static int settle_dirty(struct qcow2 *q, struct error *err)
{
    struct block_check result = {0};
    if (!(q->h.incompatible & QCOW2_DIRTY))
        return 0;
    int rc = qcow2_check(q, true, &result, NULL, err);
    if (!rc && result.errors > result.errors_fixed)
        rc = error_set(err, EINVAL,
                       "%s: was not closed properly and cannot be repaired; it can only "
                       "be opened read-only",
                       q->block.path);
    return rc;
}

static int open_for_writing(struct qcow2 *q, const struct block_options *options, struct error *err)
{
    const char *path = q->block.path;
    if (q->h.incompatible & QCOW2_CORRUPT && !options->repair)
        return error_set(err, EINVAL,
                         "%s: is marked as damaged; repair it with 'guise disk check --repair', or "
                         "use %s,readonly",
                         path, path);
    int rc = note_metadata(q, err);
    if (!rc && q->h.autoclear) {
        rc = qcow2_header_put(q, QCOW2_H_AUTOCLEAR, 0, 8);
        q->h.autoclear = 0;
        if (rc)
            return error_set(err, -rc, "%s: cannot write to it: %s", path, strerror(-rc));
    }
    return rc || options->repair ? rc : settle_dirty(q, err);
}

/* A small disk has few. */
static uint64_t l2_most(const struct qcow2 *q)
{
    return q->l1_entries < L2_MOST ? q->l1_entries : L2_MOST;
}

static int qcow2_open(struct block *b, const struct block_options *options, unsigned depth,
                      struct error *err)
{
    struct qcow2 *q = qcow2_of(b);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->range_lock, NULL);
    pthread_mutex_init(&q->inflate_lock, NULL);
    pthread_cond_init(&q->range_freed, NULL);
    int rc = qcow2_header_read(&b->file, b->path, &q->h, err);
    if (rc)
        return rc;
    q->cluster_size = UINT64_C(1) << q->h.cluster_bits;
    q->l2_bits = q->h.cluster_bits - 3;
    rc = block_file_size(&b->file, &q->file_size);
    if (rc)
        return error_set(err, -rc, "%s: cannot find its size: %s", b->path, strerror(-rc));
    rc = load_tables(q, err);
    if (!rc && (qcow2_cache_init(&q->l2, q->cluster_size, L2_BUDGET, l2_most(q)) ||
                qcow2_cache_init(&q->refblocks, q->cluster_size, REFBLOCK_BUDGET, REFBLOCKS_MOST)))
        rc = error_set(err, ENOMEM, "%s: out of memory", b->path);
    if (!rc && options->snapshot)
        rc = enter_snapshot(q, options->snapshot, err);
    if (!rc && !q->h.size)
        rc = error_set(err, EINVAL, "%s: its disk is empty", b->path);
    b->size = align_up(q->h.size, BLOCK_SECTOR);
    if (!rc && !b->readonly)
        rc = open_for_writing(q, options, err);
    return rc || options->no_backing ? rc : open_backing(q, depth, err);
}

static void qcow2_close(struct block *b)
{
    struct qcow2 *q = qcow2_of(b);
    if (!b->readonly && q->l2.tables && q->refblocks.tables) {
        qcow2_flush(b);
        qcow2_flush(b); /* what the first one has freed */
    }
    qcow2_cache_fini(&q->l2);
    qcow2_cache_fini(&q->refblocks);
    qcow2_snapshots_free(q);
    free(q->l1);
    free(q->reftable);
    free(q->owned.slots);
    free(q->pending);
    free(q->inflated);
    free(q->deflated);
    pthread_cond_destroy(&q->range_freed);
    pthread_mutex_destroy(&q->inflate_lock);
    pthread_mutex_destroy(&q->range_lock);
    pthread_mutex_destroy(&q->lock);
}

/* ---- descriptions ---- */

static void qcow2_info(struct block *b, struct block_info *info)
{
    struct qcow2 *q = qcow2_of(b);
    info->cluster_size = (uint32_t)q->cluster_size;
    info->version = q->h.version;
    info->refcount_bits = 1u << q->h.refcount_order;
    info->compression = q->h.compression == QCOW2_ZSTD ? "zstd" : "zlib";
    info->backing = q->h.backing[0] ? q->h.backing : NULL;
    info->backing_format = q->h.backing_format[0] ? q->h.backing_format : NULL;
    info->lazy_refcounts = q->h.compatible & QCOW2_LAZY;
    info->dirty = q->h.incompatible & QCOW2_DIRTY;
    info->corrupt = q->h.incompatible & QCOW2_CORRUPT;
    info->snapshots = q->h.snapshots;
}

static void qcow2_snapshot(struct block *b, unsigned i, struct block_snapshot *snapshot)
{
    const struct qcow2_snapshot *s = &qcow2_of(b)->snapshots[i];
    *snapshot = (struct block_snapshot){s->id, s->name, s->size, s->seconds};
}

static int qcow2_check_block(struct block *b, bool repair, struct block_check *result,
                             const struct block_progress *progress, struct error *err)
{
    return qcow2_check(qcow2_of(b), repair, result, progress, err);
}

const struct block_ops block_qcow2_ops = {
    .name = "qcow2",
    .size = sizeof(struct qcow2),
    .probe = block_qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .readv = qcow2_readv,
    .writev = qcow2_writev,
    .flush = qcow2_flush,
    .discard = qcow2_discard,
    .write_zeroes = qcow2_write_zeroes,
    .map = qcow2_map,
    .resize = qcow2_resize,
    .create = qcow2_create,
    .info = qcow2_info,
    .snapshot = qcow2_snapshot,
    .check = qcow2_check_block,
    .drop = qcow2_drop,
    .place = qcow2_place,
    .unplace = qcow2_unplace,
};
