/*
 * The raw format: byte n of the disk is byte n of what holds it.
 */
#include "block/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct raw {
    struct block block;
    uint64_t file_size; /* when opened; what lies between it and block.size reads as zeroes */
};

static struct raw *raw_of(struct block *b)
{
    return container_of(b, struct raw, block);
}

static bool raw_probe(const uint8_t *head, size_t len)
{
    (void)head;
    (void)len;
    return true;
}

static int raw_open(struct block *b, const struct block_options *options, unsigned depth,
                    struct error *err)
{
    struct raw *raw = raw_of(b);
    (void)depth;
    if (options->snapshot)
        return error_set(err, EINVAL, "%s: is raw, which has no snapshots", b->path);
    int rc = block_file_size(&b->file, &raw->file_size);
    if (rc)
        return error_set(err, -rc, "%s: cannot find its size: %s", b->path, strerror(-rc));
    if (!raw->file_size)
        return error_set(err, EINVAL, "%s: is empty, a disk image has at least one sector",
                         b->path);
    b->size = align_up(raw->file_size, BLOCK_SECTOR);
    return 0;
}

static void raw_close(struct block *b)
{
    (void)b;
}

/* Zeroes for what lies behind the end of the file in its last sector. */
static void raw_read_tail(const struct iovec *iov, int n, uint64_t got)
{
    for (int i = 0; i < n; i++) {
        if (got < iov[i].iov_len)
            memset((char *)iov[i].iov_base + got, 0, iov[i].iov_len - got);
        got -= got < iov[i].iov_len ? got : iov[i].iov_len;
    }
}

static int raw_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    uint64_t got, want = 0;
    for (int i = 0; i < n; i++)
        want += iov[i].iov_len;
    int rc = block_file_readv(&b->file, offset, iov, n, &got);
    if (rc || got == want)
        return rc;
    if (offset + got < raw_of(b)->file_size)
        return -EIO; /* somebody has cut the file */
    raw_read_tail(iov, n, got);
    return 0;
}

/* ---- the first bytes of a disk that nobody said is raw ---- */

static bool raw_guards(const struct block *b, uint64_t offset)
{
    return b->probed && offset < BLOCK_SECTOR;
}

/*
 * The bytes are copied before they are looked at: a guest can change its memory at any time. What
 * begins after the magic needs no look.
 */
static int raw_write_start(struct block *b, uint64_t offset, const uint8_t *data, size_t len)
{
    uint8_t head[BLOCK_SECTOR];
    size_t have = b->size < sizeof head ? (size_t)b->size : sizeof head;
    struct iovec iov = {head, have};
    int rc = raw_readv(b, 0, &iov, 1);
    if (rc)
        return rc;
    memcpy(head + offset, data, len);
    if (block_qcow2_probe(head, have))
        return -EPERM;
    return block_file_write(&b->file, offset, data, len);
}

static int raw_write_guarded(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++) {
        size_t done = 0;
        uint8_t copy[BLOCK_SECTOR];
        if (offset < BLOCK_SECTOR) {
            done = BLOCK_SECTOR - (size_t)offset;
            done = done < iov[i].iov_len ? done : iov[i].iov_len;
            memcpy(copy, iov[i].iov_base, done);
            int rc = raw_write_start(b, offset, copy, done);
            if (rc)
                return rc;
        }
        int rc = block_file_write(&b->file, offset + done, (char *)iov[i].iov_base + done,
                                  iov[i].iov_len - done);
        if (rc)
            return rc;
        offset += iov[i].iov_len;
    }
    return 0;
}

static int raw_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    if (raw_guards(b, offset))
        return raw_write_guarded(b, offset, iov, n);
    return block_file_writev(&b->file, offset, iov, n);
}

static int raw_flush(struct block *b)
{
    return block_file_sync(&b->file);
}

static int raw_discard(struct block *b, uint64_t offset, uint64_t len)
{
    return block_file_discard(&b->file, offset, len);
}

static int raw_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
    return block_file_zero(&b->file, offset, len, unmap);
}

static int raw_map(struct block *b, uint64_t offset, struct block_extent *extent)
{
    bool data;
    int rc = block_file_map(&b->file, offset, b->size, &extent->length, &data);
    extent->kind = data ? BLOCK_DATA : BLOCK_ZERO;
    extent->host = offset;
    return rc;
}

static int raw_resize(struct block *b, uint64_t size, struct error *err)
{
    if (b->file.is_device)
        return error_set(err, EINVAL, "%s: is a block device, whose size %s decides", b->path,
                         b->file.nbd ? "the server" : "the host");
    int rc = block_file_resize(&b->file, size);
    if (rc)
        return error_set(err, -rc, "%s: cannot get a size of %llu bytes: %s", b->path,
                         (unsigned long long)size, strerror(-rc));
    b->size = raw_of(b)->file_size = size;
    return 0;
}

static int raw_create(struct block_file *f, const char *path, const struct block_create *how,
                      struct error *err)
{
    int rc = block_file_resize(f, how->size);
    return rc ? error_set(err, -rc, "%s: cannot get a size of %llu bytes: %s", path,
                          (unsigned long long)how->size, strerror(-rc))
              : 0;
}

static bool raw_place(struct block *b, struct block_request *r, struct block_place *place)
{
    if (r->op == BLOCK_FLUSH) /* which remembers failures */
        return false;
    if (r->op == BLOCK_WRITE && raw_guards(b, r->offset))
        return false;
    *place = (struct block_place){b->file.fd, r->offset};
    return true;
}

const struct block_ops block_raw_ops = {
    .name = "raw",
    .size = sizeof(struct raw),
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .readv = raw_readv,
    .writev = raw_writev,
    .flush = raw_flush,
    .discard = raw_discard,
    .write_zeroes = raw_write_zeroes,
    .map = raw_map,
    .resize = raw_resize,
    .create = raw_create,
    .place = raw_place,
};
