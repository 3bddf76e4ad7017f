/* The header: read, checked, and its fields written. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t be32(const uint8_t *p)
{
    return __builtin_bswap32(le32_get(p));
}

static uint64_t be64(const uint8_t *p)
{
    return __builtin_bswap64(le64_get(p));
}

static void header_parse(const uint8_t *raw, struct qcow2_header *h)
{
    *h = (struct qcow2_header){
        .version = be32(raw + QCOW2_H_VERSION),
        .cluster_bits = be32(raw + QCOW2_H_CLUSTER_BITS),
        .size = be64(raw + QCOW2_H_SIZE),
        .l1_size = be32(raw + QCOW2_H_L1_SIZE),
        .l1_offset = be64(raw + QCOW2_H_L1_OFFSET),
        .reftable_offset = be64(raw + QCOW2_H_REFTABLE_OFFSET),
        .reftable_clusters = be32(raw + QCOW2_H_REFTABLE_CLUSTERS),
        .snapshots = be32(raw + QCOW2_H_SNAPSHOTS),
        .snapshots_offset = be64(raw + QCOW2_H_SNAPSHOTS_OFFSET),
        .refcount_order = 4,
        .length = QCOW2_H_V2_LENGTH,
    };
    if (h->version < 3)
        return;
    h->incompatible = be64(raw + QCOW2_H_INCOMPATIBLE);
    h->compatible = be64(raw + QCOW2_H_COMPATIBLE);
    h->autoclear = be64(raw + QCOW2_H_AUTOCLEAR);
    h->refcount_order = be32(raw + QCOW2_H_REFCOUNT_ORDER);
    h->length = be32(raw + QCOW2_H_LENGTH);
    if (h->length > QCOW2_H_COMPRESSION)
        h->compression = raw[QCOW2_H_COMPRESSION];
}

static int header_features(const struct qcow2_header *h, const uint8_t *raw, const char *path,
                           struct error *err)
{
    const char *what = NULL;
    uint64_t known = QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION;
    if (be32(raw + QCOW2_H_CRYPT))
        what = "is encrypted";
    else if (h->incompatible & QCOW2_DATA_FILE)
        what = "keeps its data in an external data file";
    else if (h->incompatible & QCOW2_EXTL2)
        what = "has extended L2 entries";
    if (what)
        return error_set(err, ENOTSUP,
                         "%s: %s, which guise does not support; 'qemu-img convert' "
                         "makes an image without",
                         path, what);
    if (h->incompatible & ~known)
        return error_set(err, ENOTSUP,
                         "%s: uses features 0x%llx of qcow2, which guise does not "
                         "know",
                         path, (unsigned long long)(h->incompatible & ~known));
    if (h->compression > QCOW2_ZSTD || !h->compression != !(h->incompatible & QCOW2_COMPRESSION))
        return error_set(err, ENOTSUP, "%s: is compressed by method %u, which guise does not know",
                         path, h->compression);
    return 0;
}

static int header_numbers(const struct qcow2_header *h, const char *path, struct error *err)
{
    const char *what = NULL;
    uint64_t cluster = UINT64_C(1) << (h->cluster_bits & 63);
    if (h->version != 2 && h->version != 3)
        return error_set(err, ENOTSUP, "%s: is of version %u of qcow2; guise knows 2 and 3", path,
                         h->version);
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        what = "cluster size";
    else if (h->version == 3 &&
             (h->length < QCOW2_H_COMPRESSION || h->length % 8 || h->length > cluster))
        what = "header length";
    else if (h->refcount_order > 6)
        what = "refcount width";
    else if (h->size > INT64_MAX / 2)
        what = "size";
    else if (h->l1_size > QCOW2_MAX_L1 / 8 || h->l1_offset % cluster)
        what = "L1 table";
    else if (!h->reftable_clusters || !h->reftable_offset || h->reftable_offset % cluster ||
             (uint64_t)h->reftable_clusters * cluster > QCOW2_MAX_REFTABLE)
        what = "refcount table";
    else if (h->snapshots > QCOW2_MAX_SNAPSHOTS || h->snapshots_offset % cluster)
        what = "snapshot table";
    else if ((h->size + (cluster * cluster / 8) - 1) / (cluster * cluster / 8) > h->l1_size)
        what = "L1 table, which is too small for its size";
    return what ? error_set(err, EINVAL, "%s: is damaged: its header has a wrong %s", path, what)
                : 0;
}

/* ---- what follows the header in the first cluster ---- */

static int header_extension(struct qcow2_header *h, uint32_t type, const uint8_t *data,
                            uint32_t len, const char *path, struct error *err)
{
    if (type == QCOW2_X_BACKING_FORMAT) {
        if (len >= sizeof h->backing_format)
            return error_set(err, EINVAL,
                             "%s: is damaged: the name of its backing file's format "
                             "has %u bytes",
                             path, len);
        memcpy(h->backing_format, data, len);
        h->backing_format[len] = 0;
    } else if (type == QCOW2_X_BITMAPS && len >= 24) {
        h->bitmaps = be32(data);
        h->bitmaps_size = be64(data + 8);
        h->bitmaps_offset = be64(data + 16);
    }
    return 0;
}

static int header_extensions(struct qcow2_header *h, const uint8_t *cluster, uint64_t end,
                             const char *path, struct error *err)
{
    uint64_t at = h->length;
    while (at + 8 <= end) {
        uint32_t type = be32(cluster + at), len = be32(cluster + at + 4);
        at += 8;
        if (!type)
            break;
        if (len > end - at)
            return error_set(err, EINVAL,
                             "%s: is damaged: a header extension is longer than the "
                             "header",
                             path);
        int rc = header_extension(h, type, cluster + at, len, path, err);
        if (rc)
            return rc;
        at += align_up(len, 8);
    }
    return 0;
}

static int header_tail(struct qcow2_header *h, const uint8_t *cluster, uint64_t have,
                       const char *path, struct error *err)
{
    uint64_t offset = be64(cluster + QCOW2_H_BACKING_OFFSET), end = have;
    uint32_t len = be32(cluster + QCOW2_H_BACKING_SIZE);
    if (offset) {
        if (!len || len >= sizeof h->backing || offset < h->length || offset > have ||
            len > have - offset)
            return error_set(err, EINVAL,
                             "%s: is damaged: the name of its backing file is not in "
                             "its header",
                             path);
        memcpy(h->backing, cluster + offset, len);
        if (memchr(h->backing, 0, len))
            return error_set(err, EINVAL,
                             "%s: is damaged: the name of its backing file has a zero "
                             "byte",
                             path);
        end = offset;
    }
    return header_extensions(h, cluster, end, path, err);
}

int qcow2_header_read(const struct block_file *f, const char *path, struct qcow2_header *h,
                      struct error *err)
{
    uint8_t raw[QCOW2_H_V3_LENGTH] = {0};
    uint64_t got;
    struct iovec iov = {raw, sizeof raw};
    int rc = block_file_readv(f, 0, &iov, 1, &got);
    if (rc)
        return error_set(err, -rc, "%s: cannot be read: %s", path, strerror(-rc));
    if (got < QCOW2_H_V2_LENGTH || !block_qcow2_probe(raw, got))
        return error_set(err, EINVAL, "%s: is not a qcow2 image", path);
    header_parse(raw, h);
    rc = header_numbers(h, path, err);
    if (!rc)
        rc = header_features(h, raw, path, err);
    if (rc)
        return rc;
    size_t cluster_size = (size_t)1 << h->cluster_bits;
    uint8_t *cluster = calloc(1, cluster_size);
    if (!cluster)
        return error_set(err, ENOMEM, "%s: out of memory", path);
    iov = (struct iovec){cluster, cluster_size};
    rc = block_file_readv(f, 0, &iov, 1, &got);
    if (rc || got < h->length)
        rc = error_set(err, EINVAL, "%s: is damaged: its header is cut off", path);
    else
        rc = header_tail(h, cluster, got, path, err);
    free(cluster);
    return rc;
}

/* ---- writing ---- */

int qcow2_header_put(struct qcow2 *q, unsigned at, uint64_t value, unsigned size)
{
    uint64_t be = qcow2_be64(value << (64 - 8 * size));
    return block_file_write(&q->block.file, at, &be, size);
}

int qcow2_header_put_incompatible(struct qcow2 *q, uint64_t bits)
{
    int rc = qcow2_header_put(q, QCOW2_H_INCOMPATIBLE, bits, 8);
    if (!rc)
        q->h.incompatible = bits;
    return rc;
}

int qcow2_damaged(struct qcow2 *q)
{
    if (!q->corrupt && !q->block.readonly) {
        q->corrupt = true;
        if (q->h.version >= 3)
            qcow2_header_put_incompatible(q, q->h.incompatible | QCOW2_CORRUPT);
    }
    return -EIO;
}

bool qcow2_in_file(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    return !(offset & (q->cluster_size - 1)) && offset <= q->file_size &&
           bytes <= q->file_size - offset;
}
