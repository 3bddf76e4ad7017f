#include "block/file.h"

#include "block/block.h"
#include "block/nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_IOV 64
#define FILE_ZEROES 65536

/* ---- opening ---- */

static int file_open_error(const char *path, bool readonly, int code, struct error *err)
{
    if (!readonly && code == EBUSY)
        return error_set(err, code, "%s: the host uses this disk itself; unmount it first", path);
    if (!readonly && (code == EACCES || code == EROFS || code == EPERM))
        return error_set(err, code, "%s: cannot write to it: %s; open it as %s,readonly", path,
                         strerror(code), path);
    return error_set(err, code, "%s: cannot open the disk: %s", path, strerror(code));
}

/* A descriptor of a regular file or block device, or -errno. */
static int file_open_fd(const char *path, bool readonly, bool *is_device, struct error *err)
{
    struct stat st;
    if (stat(path, &st))
        return file_open_error(path, readonly, errno, err);
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
        return file_open_error(path, readonly, errno, err);
    /* Somebody may have put another thing there since stat. */
    if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
        close(fd);
        return error_set(err, EINVAL, "%s: is neither a file nor a block device", path);
    }
    *is_device = S_ISBLK(st.st_mode);
    return fd;
}

/* ---- locks ---- */

/*
 * QEMU locks byte 100 + n for a permission n that it uses and 200 + n for one that others must not
 * have, both as a reader does, and then looks whether somebody else holds the opposite byte.
 */
enum { LOCK_HELD = 100, LOCK_DENIED = 200 };
enum { PERM_READ = 1u << 0, PERM_WRITE = 1u << 1, PERM_RESIZE = 1u << 3 };
#define PERM_COUNT 4
#define LOCK_TRIES 10u
#define LOCK_WAIT_NS 20000000

static int file_lock_bytes(int fd, int base, unsigned perms)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        struct flock lock = {
            .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1};
        if (perms & 1u << i && fcntl(fd, F_OFD_SETLK, &lock))
            return -errno;
    }
    return 0;
}

static bool file_lock_is_free(int fd, int base, unsigned perms)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1};
        if (perms & 1u << i && !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK)
            return false;
    }
    return true;
}

/* A file system that knows no locks (some network ones) is used without. */
static bool file_try_lock(int fd, bool readonly)
{
    const unsigned change = PERM_WRITE | PERM_RESIZE;
    const unsigned held = PERM_READ | (readonly ? 0 : change);
    int rc = file_lock_bytes(fd, LOCK_HELD, held);
    if (!rc)
        rc = file_lock_bytes(fd, LOCK_DENIED, change);
    if (rc)
        return rc != -EAGAIN && rc != -EACCES;
    return file_lock_is_free(fd, LOCK_DENIED, held) && file_lock_is_free(fd, LOCK_HELD, change);
}

static void file_unlock(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    fcntl(fd, F_OFD_SETLK, &lock);
}

/*
 * A program that was killed leaves its files to the kernel's ring, which closes them some
 * milliseconds after its end; and two that look at once find each other. So there are some tries.
 */
static int file_lock(int fd, const char *path, bool readonly, struct error *err)
{
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        if (file_try_lock(fd, readonly))
            return 0;
        file_unlock(fd);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
    return error_set(err, EBUSY,
                     readonly
                         ? "%s: another program has this disk open for writing; stop it first"
                         : "%s: another program uses this disk; stop it first or use %s,readonly",
                     path, path);
}

/* The server sees to who may open it: there is nothing to lock. */
static int file_open_remote(struct block_file *f, const char *uri, bool readonly, struct error *err)
{
    if (!f->nbd)
        f->nbd = nbd_connect(uri, err);
    if (!f->nbd)
        return -err->code;
    f->is_device = true;
    int rc = 0;
    if (!readonly && nbd_readonly(f->nbd))
        rc = error_set(err, EROFS,
                       "%s: cannot write to it: the server gives it out read-only; open it as "
                       "%s,readonly",
                       uri, uri);
    else if (!readonly && nbd_size(f->nbd) % BLOCK_SECTOR)
        rc =
            error_set(err, EINVAL,
                      "%s: has %llu bytes, no whole number of sectors of %u, and cannot grow; open "
                      "it as %s,readonly",
                      uri, (unsigned long long)nbd_size(f->nbd), BLOCK_SECTOR, uri);
    if (rc)
        block_file_close(f);
    return rc;
}

int block_file_open(struct block_file *f, const char *path, bool readonly, struct nbd *remote,
                    struct error *err)
{
    struct error local;
    err = err ? err : &local;
    f->fd = -1;
    f->nbd = remote;
    atomic_init(&f->failed, false);
    if (block_is_remote(path))
        return file_open_remote(f, path, readonly, err);
    f->fd = file_open_fd(path, readonly, &f->is_device, err);
    if (f->fd < 0)
        return f->fd;
    int rc = file_lock(f->fd, path, readonly, err);
    if (rc)
        block_file_close(f);
    return rc;
}

int block_file_create(struct block_file *f, const char *path, struct error *err)
{
    *f = (struct block_file){.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
    if (f->fd < 0 && errno == EEXIST)
        return error_set(err, EEXIST, "%s: exists; remove it first or give another name", path);
    if (f->fd < 0)
        return error_set(err, errno, "%s: cannot be created: %s", path, strerror(errno));
    int rc = file_lock(f->fd, path, false, err);
    if (rc)
        block_file_close(f);
    return rc;
}

void block_file_close(struct block_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    nbd_free(f->nbd);
    f->nbd = NULL;
}

/* ---- size ---- */

int block_file_size(const struct block_file *f, uint64_t *size)
{
    struct stat st;
    if (f->nbd)
        return *size = nbd_size(f->nbd), 0;
    if (f->is_device)
        return ioctl(f->fd, BLKGETSIZE64, size) ? -errno : 0;
    if (fstat(f->fd, &st))
        return -errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

int block_file_resize(const struct block_file *f, uint64_t size)
{
    if (f->is_device)
        return -ENOSPC;
    if (size > INT64_MAX)
        return -EFBIG;
    return ftruncate(f->fd, (off_t)size) ? -errno : 0;
}

/* ---- reading and writing ---- */

/* What is left of a request: the first `done` bytes of iov[0] are through. */
struct file_io {
    const struct iovec *iov;
    int n;
    size_t done;
    uint64_t offset;
};

static int file_io_next(const struct file_io *io, struct iovec *out, int max)
{
    int n = io->n < max ? io->n : max;
    memcpy(out, io->iov, (size_t)n * sizeof *out);
    out[0].iov_base = (char *)out[0].iov_base + io->done;
    out[0].iov_len -= io->done;
    return n;
}

static void file_io_skip_done(struct file_io *io)
{
    while (io->n && io->done == io->iov->iov_len) {
        io->done = 0;
        io->iov++;
        io->n--;
    }
}

static void file_io_advance(struct file_io *io, size_t len)
{
    io->offset += len;
    while (len) {
        size_t left = io->iov->iov_len - io->done;
        size_t step = len < left ? len : left;
        io->done += step;
        len -= step;
        file_io_skip_done(io);
    }
}

/* What there is of the buffers before the end. */
static int file_read_remote(const struct block_file *f, uint64_t offset, const struct iovec *iov,
                            int n, uint64_t *got)
{
    uint64_t size = nbd_size(f->nbd), left = offset < size ? size - offset : 0, done = 0;
    int rc = 0;
    for (int i = 0; i < n && left && !rc;) {
        struct iovec part[FILE_IOV];
        uint64_t bytes = 0;
        int count = 0;
        for (; i < n && count < FILE_IOV && bytes < left; i++, count++) {
            part[count] = iov[i];
            if (part[count].iov_len > left - bytes)
                part[count].iov_len = (size_t)(left - bytes);
            bytes += part[count].iov_len;
        }
        rc = nbd_readv(f->nbd, offset + done, part, count);
        done += rc ? 0 : bytes;
        left -= bytes;
    }
    if (got)
        *got = done;
    return rc;
}

int block_file_readv(const struct block_file *f, uint64_t offset, const struct iovec *iov, int n,
                     uint64_t *got)
{
    struct file_io io = {.iov = iov, .n = n, .offset = offset};
    int rc = 0;
    if (f->nbd)
        return file_read_remote(f, offset, iov, n, got);
    file_io_skip_done(&io);
    while (io.n) {
        struct iovec part[FILE_IOV];
        int count = file_io_next(&io, part, FILE_IOV);
        ssize_t len = preadv(f->fd, part, count, (off_t)io.offset);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0) {
            rc = len ? -errno : 0;
            break;
        }
        file_io_advance(&io, (size_t)len);
    }
    if (got)
        *got = io.offset - offset;
    return rc;
}

/* A network block device does not grow. */
static bool file_fits(const struct block_file *f, uint64_t offset, const struct iovec *iov, int n)
{
    uint64_t size = nbd_size(f->nbd), room = offset < size ? size - offset : 0;
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len > room)
            return false;
        room -= iov[i].iov_len;
    }
    return true;
}

int block_file_writev(const struct block_file *f, uint64_t offset, const struct iovec *iov, int n)
{
    struct file_io io = {.iov = iov, .n = n, .offset = offset};
    if (f->nbd)
        return file_fits(f, offset, iov, n) ? nbd_writev(f->nbd, offset, iov, n) : -ENOSPC;
    file_io_skip_done(&io);
    while (io.n) {
        struct iovec part[FILE_IOV];
        int count = file_io_next(&io, part, FILE_IOV);
        ssize_t len = pwritev(f->fd, part, count, (off_t)io.offset);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return len ? -errno : -EIO;
        file_io_advance(&io, (size_t)len);
    }
    return 0;
}

int block_file_read(const struct block_file *f, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    uint64_t got;
    int rc = block_file_readv(f, offset, &iov, 1, &got);
    return rc ? rc : got == len ? 0 : -EIO;
}

int block_file_write(const struct block_file *f, uint64_t offset, const void *buf, size_t len)
{
    union {
        const void *from;
        void *base;
    } data = {.from = buf};
    struct iovec iov = {data.base, len};
    return block_file_writev(f, offset, &iov, 1);
}

int block_file_sync(struct block_file *f)
{
    /* The kernel forgets what it could not write: a second call would report success. */
    if (atomic_load(&f->failed))
        return -EIO;
    int rc = f->nbd ? nbd_flush(f->nbd) : fdatasync(f->fd) ? -errno : 0;
    if (rc)
        atomic_store(&f->failed, true);
    return rc;
}

/* ---- space ---- */

static int file_fallocate(const struct block_file *f, int mode, uint64_t offset, uint64_t len)
{
    int rc;
    do
        rc = fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
    while (rc && errno == EINTR);
    if (!rc)
        return 0;
    return errno == EOPNOTSUPP || errno == ENODEV || errno == ENOSYS ? -ENOTSUP : -errno;
}

int block_file_discard(const struct block_file *f, uint64_t offset, uint64_t len)
{
    if (f->nbd)
        return nbd_discard(f->nbd, offset, len);
    if (!f->is_device)
        return file_fallocate(f, FALLOC_FL_PUNCH_HOLE, offset, len);
    uint64_t range[2] = {offset, len};
    if (!ioctl(f->fd, BLKDISCARD, range))
        return 0;
    return errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

/* The way that works everywhere. */
static int file_write_zeroes(const struct block_file *f, uint64_t offset, uint64_t len)
{
    static const char zeroes[FILE_ZEROES];
    while (len) {
        size_t step = len < FILE_ZEROES ? (size_t)len : FILE_ZEROES;
        int rc = block_file_write(f, offset, zeroes, step);
        if (rc)
            return rc;
        offset += step;
        len -= step;
    }
    return 0;
}

int block_file_zero(const struct block_file *f, uint64_t offset, uint64_t len, bool unmap)
{
    if (f->nbd)
        return nbd_zero(f->nbd, offset, len, unmap);
    /* On a block device PUNCH_HOLE zeroes, too, and fails rather than to leave old data. */
    int rc = unmap ? file_fallocate(f, FALLOC_FL_PUNCH_HOLE, offset, len) : -ENOTSUP;
    if (rc == -ENOTSUP)
        rc = file_fallocate(f, FALLOC_FL_ZERO_RANGE, offset, len);
    return rc ? file_write_zeroes(f, offset, len) : 0;
}

int block_file_map(const struct block_file *f, uint64_t offset, uint64_t size, uint64_t *length,
                   bool *data)
{
    if (f->nbd) {
        uint64_t end = size < nbd_size(f->nbd) ? size : nbd_size(f->nbd);
        *data = false;
        *length = size - offset;
        return offset < end ? nbd_map(f->nbd, offset, end - offset, length, data) : 0;
    }
    off_t start = (off_t)offset;
    off_t hole = lseek(f->fd, start, SEEK_HOLE);
    *data = true;
    *length = size - offset;
    if (hole < 0) /* a device, or a file system that does not tell */
        return errno == ENXIO && offset < size ? (*data = false, 0) : 0;
    if (hole > start) {
        *length = (uint64_t)hole < size ? (uint64_t)hole - offset : size - offset;
        return 0;
    }
    off_t next = lseek(f->fd, start, SEEK_DATA);
    *data = false;
    if (next > start && (uint64_t)next < size)
        *length = (uint64_t)next - offset;
    return 0;
}
