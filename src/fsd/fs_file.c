/* Open files. */
#include "fsd/fs_impl.h"

#include <unistd.h>

#define READ_MAX (4u << 20)
#define COPY_MAX (16u << 20) /* at once: others wait meanwhile */

/*
 * The guest's flags that mean something on the host, by the numbers of FUSE's wire, which are those
 * of all architectures but a few old ones. O_APPEND is done at each write.
 */
static int host_flags(uint32_t flags)
{
    int host = (int)(flags & O_ACCMODE);
    if (host == O_ACCMODE)
        host = O_RDWR;
    return host | (int)(flags & (O_TRUNC | O_DSYNC));
}

/* Whether what the guest has cached of the file since it last opened it is still what is there. */
static bool is_cached(struct fs *fs, struct fs_node *node, int fd)
{
    struct stat st;
    if (fstat(fd, &st))
        return false;
    pthread_mutex_lock(&fs->lock);
    bool same = node->opened && node->size == st.st_size &&
                !memcmp(&node->mtime, &st.st_mtim, sizeof st.st_mtim) &&
                !memcmp(&node->ctime, &st.st_ctim, sizeof st.st_ctim);
    node->opened = true;
    node->size = st.st_size;
    node->mtime = st.st_mtim;
    node->ctime = st.st_ctim;
    pthread_mutex_unlock(&fs->lock);
    return same;
}

/* Takes fd. */
static int open_handle(struct fs_request *r, struct fs_node *node, int fd,
                       struct fuse_open_out *out)
{
    *out = (struct fuse_open_out){0};
    if (is_cached(r->fs, node, fd))
        out->open_flags |= FOPEN_KEEP_CACHE;
    return fs_handle_add(r->fs, fd, false, &out->fh);
}

static bool is_change(uint32_t flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

FS_OPERATION(open)
{
    const struct fuse_open_in *in = fs_arg(r);
    struct fs_node *node;
    struct fuse_open_out out;
    if (is_change(in->flags) && r->fs->config.readonly)
        return -EROFS;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    int fd = S_ISDIR(node->type) ? -EISDIR : fs_node_open(node, host_flags(in->flags));
    rc = fd < 0 ? fd : open_handle(r, node, fd, &out);
    fs_node_put(r->fs, node);
    if (rc)
        return rc;
    rc = fs_reply(r, &out, sizeof out);
    if (rc)
        fs_handle_close(r->fs, out.fh);
    return rc;
}

/*
 * The new file itself is opened, whatever has its name a moment later. One that is there already
 * may be anything: only a regular file is opened, and no link is followed.
 */
static int create_file(struct fs_node *dir, const char *name, const struct fuse_create_in *in)
{
    struct stat st;
    int flags = host_flags(in->flags) & ~O_TRUNC;
    int fd = openat(dir->fd, name,
                    flags | O_CREAT | (int)(in->flags & O_EXCL) | O_NOFOLLOW | O_NONBLOCK |
                        O_NOCTTY | O_CLOEXEC,
                    in->mode & 0777);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EEXIST;
    if (!rc && in->flags & O_TRUNC && st.st_size && ftruncate(fd, 0))
        rc = -errno;
    if (!rc)
        return fd;
    close(fd);
    return rc;
}

/* The node of an open file that was just found as `name`. */
static int entry_of(struct fs_request *r, struct fs_node *dir, const char *name, int fd,
                    struct fuse_entry_out *entry)
{
    struct stat st;
    int rc = fs_lookup(r->fs, dir, name, entry);
    if (rc)
        return rc;
    if (!fstat(fd, &st) && S_ISREG(entry->attr.mode)) {
        struct fuse_attr attr;
        fs_fill_attr(r->fs, &st, &attr);
        if (attr.ino == entry->attr.ino)
            return 0;
    }
    /* Somebody has put another file there meanwhile; the guest looks again. */
    fs_node_forget(r->fs, entry->nodeid, 1);
    return -ESTALE;
}

static int create_in(struct fs_request *r, struct fs_node *dir, const char *name)
{
    struct fuse_create_in in = *(const struct fuse_create_in *)fs_arg(r);
    struct fuse_entry_out entry;
    struct fuse_open_out out = {0};
    int fd = create_file(dir, name, &in);
    if (fd < 0)
        return fd;
    int rc = entry_of(r, dir, name, fd, &entry);
    if (rc) {
        close(fd);
        return rc;
    }
    rc = fs_handle_add(r->fs, fd, false, &out.fh);
    bool added = !rc;
    if (!rc && r->c->writable_bytes < sizeof entry + sizeof out)
        rc = -ERANGE;
    if (rc) {
        fs_node_forget(r->fs, entry.nodeid, 1);
        if (added)
            fs_handle_close(r->fs, out.fh);
        return rc;
    }
    fs_reply(r, &entry, sizeof entry);
    return fs_reply(r, &out, sizeof out);
}

FS_OPERATION(create)
{
    struct fs_node *dir;
    const char *name = fs_name(r);
    int rc = name ? fs_node_get(r->fs, r->in.nodeid, &dir) : -EINVAL;
    if (rc)
        return rc;
    rc = create_in(r, dir, name);
    fs_node_put(r->fs, dir);
    return rc;
}

/* ---- with a handle ---- */

FS_OPERATION(read)
{
    const struct fuse_read_in *in = fs_arg(r);
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, false);
    if (!h)
        return -EBADF;
    unsigned count = r->c->writable_count;
    fs_cut(r->c->writable, &count, in->size < READ_MAX ? in->size : READ_MAX);
    ssize_t n = preadv(h->fd, r->c->writable, (int)count, (off_t)in->offset);
    int rc = n < 0 ? -errno : 0;
    fs_handle_put(r->fs, h);
    if (!rc)
        r->written = (uint32_t)n;
    return rc;
}

FS_OPERATION(write)
{
    const struct fuse_write_in *in = fs_arg(r);
    struct fuse_write_out out = {0};
    if (in->size > r->c->readable_bytes)
        return -EINVAL;
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, false);
    if (!h)
        return -EBADF;
    /* What the guest had in its cache belongs where it was. */
    bool append = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE);
    unsigned count = r->c->readable_count;
    fs_cut(r->c->readable, &count, in->size);
    ssize_t n =
        pwritev2(h->fd, r->c->readable, (int)count, (off_t)in->offset, append ? RWF_APPEND : 0);
    int rc = n < 0 ? -errno : 0;
    fs_handle_put(r->fs, h);
    out.size = (uint32_t)n;
    return rc ? rc : fs_reply(r, &out, sizeof out);
}

FS_OPERATION(flush)
{
    const struct fuse_flush_in *in = fs_arg(r);
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, false);
    if (!h)
        return -EBADF;
    /* Some file systems have errors to tell at a close. */
    int copy = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    int rc = copy >= 0 && close(copy) ? -errno : 0;
    fs_handle_put(r->fs, h);
    return rc;
}

FS_OPERATION(release)
{
    const struct fuse_release_in *in = fs_arg(r);
    fs_handle_close(r->fs, in->fh);
    return 0;
}

static int sync_handle(struct fs_request *r, bool is_dir)
{
    const struct fuse_fsync_in *in = fs_arg(r);
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, is_dir);
    if (!h)
        return -EBADF;
    bool data = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
    int rc = (data ? fdatasync(h->fd) : fsync(h->fd)) ? -errno : 0;
    fs_handle_put(r->fs, h);
    return rc;
}

FS_OPERATION(fsync)
{
    return sync_handle(r, false);
}

FS_OPERATION(fsyncdir)
{
    return sync_handle(r, true);
}

FS_OPERATION(syncfs)
{
    int fd = fs_node_open(r->fs->root, O_RDONLY | O_DIRECTORY);
    int rc = fd < 0 ? fd : syncfs(fd) ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

FS_OPERATION(fallocate)
{
    const struct fuse_fallocate_in *in = fs_arg(r);
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, false);
    if (!h)
        return -EBADF;
    int rc = fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) ? -errno : 0;
    fs_handle_put(r->fs, h);
    return rc;
}

FS_OPERATION(lseek)
{
    const struct fuse_lseek_in *in = fs_arg(r);
    if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
        return -EINVAL;
    struct fs_handle *h = fs_handle_get(r->fs, in->fh, false);
    if (!h)
        return -EBADF;
    off_t at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
    int rc = at < 0 ? -errno : 0;
    fs_handle_put(r->fs, h);
    const struct fuse_lseek_out out = {.offset = (uint64_t)at};
    return rc ? rc : fs_reply(r, &out, sizeof out);
}

FS_OPERATION(copy_file_range)
{
    const struct fuse_copy_file_range_in *in = fs_arg(r);
    struct fuse_write_out out = {0};
    off_t from = (off_t)in->off_in, to = (off_t)in->off_out;
    if (in->flags)
        return -EINVAL;
    struct fs_handle *a = fs_handle_get(r->fs, in->fh_in, false);
    struct fs_handle *b = fs_handle_get(r->fs, in->fh_out, false);
    ssize_t n = -1;
    errno = EBADF;
    if (a && b)
        n = copy_file_range(a->fd, &from, b->fd, &to, in->len < COPY_MAX ? in->len : COPY_MAX, 0);
    int rc = n < 0 ? -errno : 0;
    if (a)
        fs_handle_put(r->fs, a);
    if (b)
        fs_handle_put(r->fs, b);
    out.size = (uint32_t)n;
    return rc ? rc : fs_reply(r, &out, sizeof out);
}
