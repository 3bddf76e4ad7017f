/* Open folders. */
#include "fsd/fs_impl.h"

#include <dirent.h>
#include <unistd.h>

#define BUFFER 16384

FS_OPERATION(opendir)
{
    struct fs_node *node;
    struct fuse_open_out out = {0};
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    int fd = S_ISDIR(node->type) ? fs_node_open(node, O_RDONLY | O_DIRECTORY) : -ENOTDIR;
    fs_node_put(r->fs, node);
    if (fd < 0)
        return fd;
    rc = fs_handle_add(r->fs, fd, true, &out.fh);
    if (rc)
        return rc;
    rc = fs_reply(r, &out, sizeof out);
    if (rc)
        fs_handle_close(r->fs, out.fh);
    return rc;
}

FS_OPERATION(releasedir)
{
    const struct fuse_release_in *in = fs_arg(r);
    fs_handle_close(r->fs, in->fh);
    return 0;
}

struct dir_reading {
    struct fs_request *r;
    struct fs_node *dir; /* readdirplus: names are looked up; else NULL */
    size_t room;
};

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* One entry of the answer. False: there is no room for it. */
static bool dir_entry(struct dir_reading *d, const struct dirent64 *e)
{
    static const uint8_t zeros[FUSE_DIRENT_ALIGN(1)];
    struct fuse_direntplus plus = {0};
    size_t name_len = strlen(e->d_name);
    size_t head = d->dir ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    size_t size = FUSE_DIRENT_ALIGN(head + name_len);
    if (size > d->room)
        return false;
    plus.dirent = (struct fuse_dirent){.ino = e->d_ino,
                                       .off = (uint64_t)e->d_off,
                                       .namelen = (uint32_t)name_len,
                                       .type = e->d_type};
    /* A file that is gone meanwhile is one without a node. */
    if (d->dir && !is_dots(e->d_name) && fs_lookup(d->r->fs, d->dir, e->d_name, &plus.entry_out))
        plus.entry_out = (struct fuse_entry_out){0};
    fs_reply(d->r, d->dir ? (const void *)&plus : &plus.dirent, head);
    fs_reply(d->r, e->d_name, name_len);
    fs_reply(d->r, zeros, size - head - name_len);
    d->room -= size;
    return true;
}

/* Entries from `offset` on until the answer is full. */
static int dir_read(struct dir_reading *d, int fd, uint64_t offset)
{
    _Alignas(struct dirent64) char buffer[BUFFER];
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
        return -errno;
    for (;;) {
        ssize_t n = getdents64(fd, buffer, sizeof buffer);
        if (n < 0)
            return d->r->written ? 0 : -errno;
        if (!n)
            return 0;
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *e = (const void *)(buffer + at);
            if (!dir_entry(d, e))
                return 0;
            at += e->d_reclen;
        }
    }
}

static int dir_answer(struct fs_request *r, struct fs_node *dir)
{
    struct fuse_read_in in = *(const struct fuse_read_in *)fs_arg(r);
    struct dir_reading d = {.r = r, .dir = dir, .room = r->c->writable_bytes};
    struct fs_handle *h = fs_handle_get(r->fs, in.fh, true);
    if (!h)
        return -EBADF;
    if (in.size < d.room)
        d.room = in.size;
    pthread_mutex_lock(&h->lock);
    int rc = dir_read(&d, h->fd, in.offset);
    pthread_mutex_unlock(&h->lock);
    fs_handle_put(r->fs, h);
    return rc;
}

FS_OPERATION(readdir)
{
    return dir_answer(r, NULL);
}

FS_OPERATION(readdirplus)
{
    struct fs_node *dir;
    int rc = fs_node_get(r->fs, r->in.nodeid, &dir);
    if (rc)
        return rc;
    rc = S_ISDIR(dir->type) ? dir_answer(r, dir) : -ENOTDIR;
    fs_node_put(r->fs, dir);
    return rc;
}
