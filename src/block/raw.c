/*
 * The raw format: byte n of the disk is byte n of the file or block device.
 */
#include "block/impl.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAW_IOV 64
#define RAW_ZEROES 65536

struct raw {
    struct block block;
    int fd;
    bool is_device;
    uint64_t file_size; /* when opened; what lies between it and block.size reads as zeroes */
};

static struct raw *raw_of(struct block *b)
{
    return container_of(b, struct raw, block);
}

static bool raw_probe(int fd)
{
    (void)fd;
    return true;
}

static int raw_open(struct block *b, int fd, struct error *err)
{
    struct raw *raw = raw_of(b);
    struct stat st;
    raw->fd = fd;
    if (fstat(fd, &st))
        return error_set(err, errno, "%s: cannot find its size: %s", b->path, strerror(errno));
    raw->is_device = S_ISBLK(st.st_mode);
    raw->file_size = (uint64_t)st.st_size;
    if (raw->is_device && ioctl(fd, BLKGETSIZE64, &raw->file_size))
        return error_set(err, errno, "%s: cannot find its size: %s", b->path, strerror(errno));
    if (!raw->file_size)
        return error_set(err, EINVAL, "%s: is empty, a disk image has at least one sector",
                         b->path);
    b->size = align_up(raw->file_size, BLOCK_SECTOR);
    return 0;
}

static void raw_close(struct block *b)
{
    /* Closing gives up the lock, too. */
    close(raw_of(b)->fd);
}

/* A request that is under way: the host may do less than was asked for. */
struct raw_io {
    const struct iovec *iov;
    int n;
    size_t done; /* of iov[0] */
    uint64_t offset;
};

/* The next piece, at most `size` vectors. Returns how many; 0: the request is complete. */
static int raw_io_next(const struct raw_io *io, struct iovec *out, int size)
{
    int n = io->n < size ? io->n : size;
    for (int i = 0; i < n; i++)
        out[i] = io->iov[i];
    if (n) {
        out[0].iov_base = (char *)out[0].iov_base + io->done;
        out[0].iov_len -= io->done;
    }
    return n;
}

static void raw_io_skip_done(struct raw_io *io)
{
    while (io->n && io->done == io->iov->iov_len) {
        io->done = 0;
        io->iov++;
        io->n--;
    }
}

static void raw_io_advance(struct raw_io *io, size_t len)
{
    io->offset += len;
    while (len) {
        size_t left = io->iov->iov_len - io->done;
        size_t step = len < left ? len : left;
        io->done += step;
        len -= step;
        raw_io_skip_done(io);
    }
}

/* Zeroes for what lies behind the end of the file in its last sector. */
static void raw_read_tail(struct raw_io *io)
{
    for (; io->n; io->iov++, io->n--, io->done = 0)
        memset((char *)io->iov->iov_base + io->done, 0, io->iov->iov_len - io->done);
}

static int raw_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    struct raw *raw = raw_of(b);
    struct raw_io io = {.iov = iov, .n = n, .offset = offset};
    raw_io_skip_done(&io);
    while (io.n) {
        struct iovec part[RAW_IOV];
        int count = raw_io_next(&io, part, RAW_IOV);
        ssize_t got = preadv(raw->fd, part, count, (off_t)io.offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got) {
            if (io.offset < raw->file_size)
                return -EIO; /* somebody has cut the file */
            raw_read_tail(&io);
            return 0;
        }
        raw_io_advance(&io, (size_t)got);
    }
    return 0;
}

static int raw_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n)
{
    struct raw *raw = raw_of(b);
    struct raw_io io = {.iov = iov, .n = n, .offset = offset};
    raw_io_skip_done(&io);
    while (io.n) {
        struct iovec part[RAW_IOV];
        int count = raw_io_next(&io, part, RAW_IOV);
        ssize_t got = pwritev(raw->fd, part, count, (off_t)io.offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : -EIO;
        raw_io_advance(&io, (size_t)got);
    }
    return 0;
}

static int raw_flush(struct block *b)
{
    return fdatasync(raw_of(b)->fd) ? -errno : 0;
}

static int raw_fallocate(const struct raw *raw, int mode, uint64_t offset, uint64_t len)
{
    int rc;
    do
        rc = fallocate(raw->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
    while (rc && errno == EINTR);
    if (!rc)
        return 0;
    return errno == EOPNOTSUPP || errno == ENODEV || errno == ENOSYS ? -ENOTSUP : -errno;
}

static int raw_discard(struct block *b, uint64_t offset, uint64_t len)
{
    struct raw *raw = raw_of(b);
    if (!raw->is_device)
        return raw_fallocate(raw, FALLOC_FL_PUNCH_HOLE, offset, len);
    uint64_t range[2] = {offset, len};
    if (!ioctl(raw->fd, BLKDISCARD, range))
        return 0;
    return errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

/* The way that works everywhere. */
static int raw_write_zero_bytes(struct block *b, uint64_t offset, uint64_t len)
{
    static const char zeroes[RAW_ZEROES];
    union {
        const char *from;
        void *base;
    } data = {.from = zeroes};
    while (len) {
        size_t step = len < RAW_ZEROES ? (size_t)len : RAW_ZEROES;
        struct iovec iov = {.iov_base = data.base, .iov_len = step};
        int rc = raw_writev(b, offset, &iov, 1);
        if (rc)
            return rc;
        offset += step;
        len -= step;
    }
    return 0;
}

static int raw_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap)
{
    struct raw *raw = raw_of(b);
    /* On a block device PUNCH_HOLE zeroes, too, and fails rather than to leave old data. */
    int rc = unmap ? raw_fallocate(raw, FALLOC_FL_PUNCH_HOLE, offset, len) : -ENOTSUP;
    if (rc == -ENOTSUP)
        rc = raw_fallocate(raw, FALLOC_FL_ZERO_RANGE, offset, len);
    return rc ? raw_write_zero_bytes(b, offset, len) : 0;
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
};
