/* Compressed clusters: read, one kept for the next request. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>
#if GUISE_ZSTD
#include <zstd.h>
#endif

/* Raw deflate; what follows in the last sector belongs to others. */
static int inflate_zlib(const uint8_t *from, size_t from_len, uint8_t *to, size_t to_len)
{
    z_stream z = {
        .next_in = from, .avail_in = (uInt)from_len, .next_out = to, .avail_out = (uInt)to_len};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return -ENOMEM;
    int rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    bool full = rc == Z_STREAM_END || (rc == Z_BUF_ERROR && !z.avail_out);
    return full && !z.avail_out ? 0 : -EIO;
}

static int inflate_zstd(const uint8_t *from, size_t from_len, uint8_t *to, size_t to_len)
{
#if GUISE_ZSTD
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    if (!ctx)
        return -ENOMEM;
    ZSTD_inBuffer in = {from, from_len, 0};
    ZSTD_outBuffer out = {to, to_len, 0};
    size_t rc = 1;
    while (out.pos < out.size && in.pos < in.size && !ZSTD_isError(rc))
        rc = ZSTD_decompressStream(ctx, &out, &in);
    ZSTD_freeDCtx(ctx);
    return ZSTD_isError(rc) || out.pos < out.size ? -EIO : 0;
#else
    (void)from;
    (void)from_len;
    (void)to;
    (void)to_len;
    return -ENOTSUP;
#endif
}

/* inflate_lock held. Makes `inflated` the contents of the cluster. */
static int inflate_load(struct qcow2 *q, uint64_t entry)
{
    uint64_t offset, bytes, got;
    qcow2_compressed_place(q, entry, &offset, &bytes);
    q->inflated_entry = 0;
    if (!q->inflated)
        q->inflated = malloc(q->cluster_size);
    /* A field of cluster_bits - 8 bits counts sectors: never more than two clusters. */
    if (!q->deflated)
        q->deflated = malloc(q->cluster_size * 2 + 512);
    if (!q->inflated || !q->deflated)
        return -ENOMEM;
    struct iovec iov = {q->deflated, bytes};
    int rc = block_file_readv(&q->block.file, offset, &iov, 1, &got);
    if (!rc && q->h.compression == QCOW2_ZSTD)
        rc = inflate_zstd(q->deflated, got, q->inflated, q->cluster_size);
    else if (!rc)
        rc = inflate_zlib(q->deflated, got, q->inflated, q->cluster_size);
    if (!rc)
        q->inflated_entry = entry;
    return rc;
}

int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, void *buf, size_t len)
{
    pthread_mutex_lock(&q->inflate_lock);
    int rc = q->inflated_entry == entry ? 0 : inflate_load(q, entry);
    if (!rc)
        memcpy(buf, q->inflated + skip, len);
    pthread_mutex_unlock(&q->inflate_lock);
    return rc;
}

void qcow2_inflate_forget(struct qcow2 *q)
{
    pthread_mutex_lock(&q->inflate_lock);
    q->inflated_entry = 0;
    pthread_mutex_unlock(&q->inflate_lock);
}
