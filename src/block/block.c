#include "block/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Formats, the ones that can be told by their contents first. */
static const struct block_ops *const block_drivers[] = {
    &block_raw_ops,
};

static const struct block_ops *block_probe(int fd)
{
    unsigned i = 0;
    while (!block_drivers[i]->probe(fd))
        i++;
    return block_drivers[i];
}

static int block_open_error(const char *path, bool readonly, int code, struct error *err)
{
    if (!readonly && code == EBUSY)
        return error_set(err, code, "%s: the host uses this disk itself; unmount it first", path);
    if (!readonly && (code == EACCES || code == EROFS || code == EPERM))
        return error_set(err, code, "%s: cannot write to it: %s; open it as %s,readonly", path,
                         strerror(code), path);
    return error_set(err, code, "%s: cannot open the disk: %s", path, strerror(code));
}

/* A descriptor of a regular file or block device, or -errno. */
static int block_open_fd(const char *path, bool readonly, struct error *err)
{
    struct stat st;
    if (stat(path, &st))
        return block_open_error(path, readonly, errno, err);
    if (S_ISDIR(st.st_mode))
        return error_set(err, EISDIR, "%s: is a directory, not a disk image", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_set(err, EINVAL, "%s: is neither a file nor a block device", path);
    int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    /* Without O_CREAT this asks the kernel that nothing else, a mount for one, holds the device. */
    if (S_ISBLK(st.st_mode) && !readonly)
        flags |= O_EXCL;
    int fd = open(path, flags);
    if (fd < 0)
        return block_open_error(path, readonly, errno, err);
    /* Somebody may have put another thing there since stat. */
    if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
        close(fd);
        return error_set(err, EINVAL, "%s: is neither a file nor a block device", path);
    }
    return fd;
}

/*
 * One writer or many readers. A file system that knows no locks (some network ones) is used without
 * one.
 */
static int block_lock(int fd, const char *path, bool readonly, struct error *err)
{
    struct flock lock = {.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (!fcntl(fd, F_OFD_SETLK, &lock))
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return 0;
    return error_set(err, EBUSY,
                     readonly
                         ? "%s: another program has this disk open for writing; stop it first"
                         : "%s: another program uses this disk; stop it first or use %s,readonly",
                     path, path);
}

struct block *block_open(const char *path, bool readonly, struct error *err)
{
    int fd = block_open_fd(path, readonly, err);
    if (fd < 0)
        return NULL;
    if (block_lock(fd, path, readonly, err)) {
        close(fd);
        return NULL;
    }
    const struct block_ops *ops = block_probe(fd);
    struct block *b = calloc(1, ops->size);
    char *name = strdup(path);
    if (!b || !name) {
        error_set(err, ENOMEM, "%s: out of memory", path);
        close(fd);
        free(b);
        free(name);
        return NULL;
    }
    b->ops = ops;
    b->path = name;
    b->readonly = readonly;
    if (ops->open(b, fd, err)) {
        block_free(b);
        return NULL;
    }
    return b;
}

void block_free(struct block *b)
{
    if (!b)
        return;
    b->ops->close(b);
    free(b->path);
    free(b);
}

uint64_t block_size(const struct block *b)
{
    return b->size;
}

bool block_readonly(const struct block *b)
{
    return b->readonly;
}

static int block_check(const struct block *b, uint64_t offset, uint64_t len, bool change)
{
    if (len > b->size || offset > b->size - len)
        return -EINVAL;
    return change && b->readonly ? -EROFS : 0;
}

static int block_check_iov(const struct block *b, uint64_t offset, const struct iovec *iov, int n,
                           bool change)
{
    uint64_t len = 0;
    for (int i = 0; i < n; i++)
        if (__builtin_add_overflow(len, (uint64_t)iov[i].iov_len, &len))
            return -EINVAL;
    return block_check(b, offset, len, change);
}

int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    int rc = block_check_iov(b, offset, iov, n, false);
    return rc ? rc : b->ops->readv(b, offset, iov, n);
}

int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    int rc = block_check_iov(b, offset, iov, n, true);
    return rc ? rc : b->ops->writev(b, offset, iov, n);
}

int block_flush(struct block *b)
{
    return b->readonly ? 0 : b->ops->flush(b);
}

int block_discard(struct block *b, uint64_t offset, uint64_t len)
{
    int rc = block_check(b, offset, len, true);
    if (rc || !len)
        return rc;
    return b->ops->discard(b, offset, len);
}

int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
    int rc = block_check(b, offset, len, true);
    if (rc || !len)
        return rc;
    return b->ops->write_zeroes(b, offset, len, unmap);
}
