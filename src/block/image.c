#include "block/image.h"

#include "base/bits.h"
#include "block/impl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int block_info(struct block *b, struct block_info *info)
{
    struct stat st;
    *info = (struct block_info){0};
    if (!b->file.nbd && fstat(b->file.fd, &st))
        return -errno;
    info->allocated = b->file.nbd ? 0 : (uint64_t)st.st_blocks * 512;
    if (b->ops->info)
        b->ops->info(b, info);
    return block_file_size(&b->file, &info->file_size);
}

void block_snapshot(struct block *b, unsigned i, struct block_snapshot *snapshot)
{
    b->ops->snapshot(b, i, snapshot);
}

int block_check(struct block *b, bool repair, struct block_check *result,
                const struct block_progress *progress, struct error *err)
{
    *result = (struct block_check){0};
    if (!b->ops->check)
        return error_set(err, ENOTSUP, "%s: is %s, where there is nothing to check", b->path,
                         b->ops->name);
    if (repair && b->readonly)
        return error_set(err, EROFS, "%s: is read-only", b->path);
    return b->ops->check(b, repair, result, progress, err);
}

int block_drop(struct block *b, uint64_t offset, uint64_t len)
{
    return b->ops->drop && !b->readonly ? b->ops->drop(b, offset, len) : -ENOTSUP;
}

int block_map_chain(struct block *b, uint64_t offset, struct block_extent *extent,
                    struct block **owner, unsigned *depth)
{
    uint64_t most = b->size - offset;
    *depth = 0;
    for (;;) {
        int rc = block_map(b, offset, extent);
        *owner = b;
        extent->length = extent->length < most ? extent->length : most;
        if (rc || extent->kind != BLOCK_NONE)
            return rc;
        most = extent->length;
        if (!b->backing || offset >= b->backing->size)
            break;
        b = b->backing;
        most = most < b->size - offset ? most : b->size - offset;
        ++*depth;
    }
    extent->kind = BLOCK_ZERO;
    return 0;
}

int block_backing_path(struct block *b, char *name, size_t size, struct error *err)
{
    struct block_info info;
    int rc = block_info(b, &info);
    if (rc)
        return error_set(err, -rc, "%s: %s", b->path, strerror(-rc));
    if (!info.backing)
        return error_set(err, ENOENT, "%s: has no backing file", b->path);
    return block_backing_name(b->path, info.backing, name, size, err);
}

/* ---- making ---- */

static int create_check(const char *path, const struct block_create *how, struct error *err)
{
    bool raw = !strcmp(how->format, "raw");
    if (raw && (how->backing || how->cluster_size || how->version || how->refcount_bits ||
                how->lazy_refcounts || how->zstd || how->preallocate))
        return error_set(err, EINVAL, "%s: a raw disk has a size and nothing else", path);
    if (how->backing && !how->backing_format)
        return error_set(err, EINVAL,
                         "%s: the format of its backing file %s must be given: raw or "
                         "qcow2",
                         path, how->backing);
    if (!how->size)
        return error_set(err, EINVAL, "%s: a disk needs a size", path);
    if (how->size > INT64_MAX / 2)
        return error_set(err, EFBIG, "%s: %llu bytes are too many", path,
                         (unsigned long long)how->size);
    return 0;
}

/* The backing file is opened as the image will open it, which is also how its size is found. */
static int create_look_at_backing(const char *path, struct block_create *how, struct error *err)
{
    char name[4096];
    struct block_options options = {.format = how->backing_format, .readonly = true};
    if (!how->backing || !how->backing_format)
        return 0;
    int rc = block_backing_name(path, how->backing, name, sizeof name, err);
    struct block *b = rc ? NULL : block_open(name, &options, err);
    if (!b)
        return -err->code;
    if (!how->size)
        how->size = block_size(b);
    block_free(b);
    return 0;
}

static int create_preallocate(const char *path, const struct block_create *how, struct error *err)
{
    const struct block_options options = {.format = how->format};
    struct block *b = block_open(path, &options, err);
    if (!b)
        return -err->code;
    int rc = qcow2_preallocate_block(b);
    if (!rc)
        rc = block_flush(b);
    block_free(b);
    return rc ? error_set(err, -rc, "%s: cannot be preallocated: %s", path, strerror(-rc)) : 0;
}

int block_create(const char *path, const struct block_create *wanted, struct error *err)
{
    struct block_create how = *wanted;
    struct block_file f;
    struct error local;
    err = err ? err : &local;
    const struct block_ops *ops = block_find_driver(path, how.format, err);
    if (!ops)
        return -err->code;
    if (block_is_remote(path))
        return error_set(err, ENOTSUP,
                         "%s: a network block device is made by its server; convert can copy to it",
                         path);
    int rc = create_look_at_backing(path, &how, err);
    how.size = align_up(how.size, BLOCK_SECTOR);
    if (!rc)
        rc = create_check(path, &how, err);
    if (!rc)
        rc = block_file_create(&f, path, err);
    if (rc)
        return rc;
    rc = ops->create(&f, path, &how, err);
    block_file_close(&f);
    if (!rc && how.preallocate)
        rc = create_preallocate(path, &how, err);
    if (rc)
        unlink(path);
    return rc;
}
