#include "block/impl.h"
#include "block/nbd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 64u

bool block_is_remote(const char *path)
{
    static const char *const schemes[] = {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://"};
    for (unsigned i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (!strncasecmp(path, schemes[i], strlen(schemes[i])))
            return true;
    return false;
}

/* Formats, the ones that can be told by their contents first. */
static const struct block_ops *const block_drivers[] = {
    &block_qcow2_ops,
    &block_raw_ops,
};
#define DRIVER_COUNT (sizeof block_drivers / sizeof block_drivers[0])

const struct block_ops *block_find_driver(const char *path, const char *format, struct error *err)
{
    for (unsigned i = 0; i < DRIVER_COUNT; i++)
        if (!strcmp(block_drivers[i]->name, format))
            return block_drivers[i];
    error_set(err, EINVAL, "%s: there is no disk format '%.32s'; it is raw or qcow2", path, format);
    return NULL;
}

static const struct block_ops *block_probe(const struct block_file *f)
{
    uint8_t head[BLOCK_SECTOR];
    struct iovec iov = {head, sizeof head};
    uint64_t got = 0;
    unsigned i = 0;
    block_file_readv(f, 0, &iov, 1, &got);
    while (!block_drivers[i]->probe(head, (size_t)got))
        i++;
    return block_drivers[i];
}

static struct block *block_new(const char *path, const struct block_ops *ops,
                               struct block_file *file)
{
    struct block *b = calloc(1, ops->size);
    char *name = strdup(path);
    if (!b || !name) {
        free(b);
        free(name);
        return NULL;
    }
    b->ops = ops;
    b->path = name;
    b->file.fd = file->fd;
    b->file.nbd = file->nbd;
    b->file.is_device = file->is_device;
    return b;
}

static void block_close(struct block *b)
{
    b->ops->close(b);
    block_free(b->backing);
    block_file_close(&b->file);
    free(b->path);
    free(b);
}

struct block *block_open_depth(const char *path, const struct block_options *options,
                               unsigned depth, struct error *err)
{
    struct block_file file;
    const struct block_ops *ops = NULL;
    if (depth > CHAIN_MAX) {
        error_set(err, ELOOP, "%s: the chain of backing files is longer than %u, or a circle", path,
                  CHAIN_MAX);
        return NULL;
    }
    if (options->format && !(ops = block_find_driver(path, options->format, err))) {
        nbd_free(options->remote);
        return NULL;
    }
    if (block_file_open(&file, path, options->readonly, options->remote, err))
        return NULL;
    if (!ops)
        ops = block_probe(&file);
    struct block *b = block_new(path, ops, &file);
    if (!b) {
        error_set(err, ENOMEM, "%s: out of memory", path);
        block_file_close(&file);
        return NULL;
    }
    b->readonly = options->readonly;
    b->probed = !options->format;
    if (ops->open(b, options, depth, err)) {
        block_close(b);
        return NULL;
    }
    return b;
}

struct block *block_open(const char *path, const struct block_options *options, struct error *err)
{
    return block_open_depth(path, options, 0, err);
}

void block_free(struct block *b)
{
    if (!b)
        return;
    block_close(b);
}

uint64_t block_size(const struct block *b)
{
    return b->size;
}

bool block_readonly(const struct block *b)
{
    return b->readonly;
}

const char *block_format(const struct block *b)
{
    return b->ops->name;
}

const char *block_path(const struct block *b)
{
    return b->path;
}

struct block *block_backing(const struct block *b)
{
    return b->backing;
}

/* ---- requests ---- */

static int block_check_range(const struct block *b, uint64_t offset, uint64_t len, bool change)
{
    if (len > b->size || offset > b->size - len)
        return -EINVAL;
    return change && b->readonly ? -EROFS : 0;
}

static int block_iov_bytes(const struct iovec *iov, int n, uint64_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < n; i++)
        if (__builtin_add_overflow(*bytes, (uint64_t)iov[i].iov_len, bytes))
            return -EINVAL;
    return 0;
}

int block_check_request(const struct block *b, struct block_request *r)
{
    int rc = 0;
    r->bytes = r->length;
    if (r->op == BLOCK_FLUSH)
        return 0;
    if (r->op == BLOCK_READ || r->op == BLOCK_WRITE)
        rc = block_iov_bytes(r->iov, r->iov_count, &r->bytes);
    return rc ? rc : block_check_range(b, r->offset, r->bytes, r->op != BLOCK_READ);
}

int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    uint64_t bytes;
    int rc = block_iov_bytes(iov, n, &bytes);
    if (!rc)
        rc = block_check_range(b, offset, bytes, false);
    return rc || !bytes ? rc : b->ops->readv(b, offset, iov, n);
}

int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    uint64_t bytes;
    int rc = block_iov_bytes(iov, n, &bytes);
    if (!rc)
        rc = block_check_range(b, offset, bytes, true);
    return rc || !bytes ? rc : b->ops->writev(b, offset, iov, n);
}

int block_read(struct block *b, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    return block_readv(b, offset, &iov, 1);
}

int block_write(struct block *b, uint64_t offset, const void *buf, size_t len)
{
    union {
        const void *from;
        void *base;
    } data = {.from = buf};
    struct iovec iov = {data.base, len};
    return block_writev(b, offset, &iov, 1);
}

int block_flush(struct block *b)
{
    return b->readonly ? 0 : b->ops->flush(b);
}

int block_discard(struct block *b, uint64_t offset, uint64_t len)
{
    int rc = block_check_range(b, offset, len, true);
    if (rc || !len)
        return rc;
    return b->ops->discard(b, offset, len);
}

int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
    int rc = block_check_range(b, offset, len, true);
    if (rc || !len)
        return rc;
    return b->ops->write_zeroes(b, offset, len, unmap);
}

int block_map(struct block *b, uint64_t offset, struct block_extent *extent)
{
    if (offset >= b->size)
        return -EINVAL;
    return b->ops->map(b, offset, extent);
}

int block_resize(struct block *b, uint64_t size, struct error *err)
{
    if (b->readonly)
        return error_set(err, EROFS, "%s: is read-only", b->path);
    if (!size || size % BLOCK_SECTOR)
        return error_set(err, EINVAL, "%s: %llu bytes are no whole number of sectors of %u",
                         b->path, (unsigned long long)size, BLOCK_SECTOR);
    return size == b->size ? 0 : b->ops->resize(b, size, err);
}

int block_execute(struct block *b, const struct block_request *r)
{
    switch (r->op) {
    case BLOCK_READ:
        return block_readv(b, r->offset, r->iov, r->iov_count);
    case BLOCK_WRITE:
        return block_writev(b, r->offset, r->iov, r->iov_count);
    case BLOCK_FLUSH:
        return block_flush(b);
    case BLOCK_DISCARD:
        return block_discard(b, r->offset, r->length);
    case BLOCK_WRITE_ZEROES:
        return block_write_zeroes(b, r->offset, r->length, r->unmap);
    }
    return -EINVAL;
}
