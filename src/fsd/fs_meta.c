/* What files are called, what they are, and whose. */
#include "fsd/fs_impl.h"

#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* How long the guest may believe what it was told, in seconds. */
#define VALID_SECONDS 1

#define NOBODY 65534u

/* Bits of files that are for the host's users to run do not come from a guest. */
static mode_t allowed_mode(mode_t type, mode_t mode)
{
    mode &= 07777;
    return type == S_IFDIR ? mode & ~(mode_t)S_ISUID : mode & ~(mode_t)(S_ISUID | S_ISGID);
}

static uint32_t guest_uid(const struct fs *fs, uid_t uid)
{
    return uid == fs->host_uid ? fs->config.uid : NOBODY;
}

static uint32_t guest_gid(const struct fs *fs, gid_t gid)
{
    return gid == fs->host_gid ? fs->config.gid : NOBODY;
}

/* The guest's own numbers: two file systems of the host may have the same. */
static uint64_t guest_ino(const struct fs *fs, const struct stat *st)
{
    uint64_t other = st->st_dev == fs->root->dev ? 0 : (uint64_t)st->st_dev << 48;
    return st->st_ino ^ other;
}

void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *attr)
{
    *attr = (struct fuse_attr){
        .ino = guest_ino(fs, st),
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint64_t)st->st_atim.tv_sec,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .atimensec = (uint32_t)st->st_atim.tv_nsec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = guest_uid(fs, st->st_uid),
        .gid = guest_gid(fs, st->st_gid),
        .rdev = (uint32_t)st->st_rdev,
        .blksize = (uint32_t)st->st_blksize,
    };
}

/* ---- names ---- */

int fs_lookup(struct fs *fs, struct fs_node *dir, const char *name, struct fuse_entry_out *out)
{
    struct stat st;
    struct fs_node *node;
    int fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstatat(fd, "", &st, AT_EMPTY_PATH)) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    int rc = fs_node_add(fs, dir, name, fd, &st, &node);
    if (rc)
        return rc;
    *out = (struct fuse_entry_out){
        .nodeid = fs_node_id(node), .entry_valid = VALID_SECONDS, .attr_valid = VALID_SECONDS};
    fs_fill_attr(fs, &st, &out->attr);
    fs_node_put(fs, node);
    return 0;
}

/* The entry as the answer; what cannot be delivered is forgotten. */
static int fs_reply_entry(struct fs_request *r, struct fs_node *dir, const char *name)
{
    struct fuse_entry_out out;
    int rc = fs_lookup(r->fs, dir, name, &out);
    if (!rc) {
        rc = fs_reply(r, &out, sizeof out);
        if (rc)
            fs_node_forget(r->fs, out.nodeid, 1);
    }
    return rc;
}

/* Calls `op` with the request's folder, and puts that back. */
static int in_folder(struct fs_request *r,
                     int (*op)(struct fs_request *r, struct fs_node *dir, const char *name))
{
    struct fs_node *dir;
    const char *name = fs_name(r);
    int rc = name ? fs_node_get(r->fs, r->in.nodeid, &dir) : -EINVAL;
    if (rc)
        return rc;
    rc = op(r, dir, name);
    fs_node_put(r->fs, dir);
    return rc;
}

FS_OPERATION(lookup)
{
    return in_folder(r, fs_reply_entry);
}

static int do_symlink(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const char *target = fs_string(r);
    if (!target || !*target)
        return -EINVAL;
    return symlinkat(target, dir->fd, name) ? -errno : fs_reply_entry(r, dir, name);
}

FS_OPERATION(symlink)
{
    return in_folder(r, do_symlink);
}

static int do_mknod(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const struct fuse_mknod_in *in = fs_arg(r);
    mode_t type = in->mode & S_IFMT;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
        return -EPERM;
    if (mknodat(dir->fd, name, type | allowed_mode(type, in->mode), 0))
        return -errno;
    return fs_reply_entry(r, dir, name);
}

FS_OPERATION(mknod)
{
    return in_folder(r, do_mknod);
}

static int do_mkdir(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const struct fuse_mkdir_in *in = fs_arg(r);
    if (mkdirat(dir->fd, name, allowed_mode(S_IFDIR, in->mode)))
        return -errno;
    return fs_reply_entry(r, dir, name);
}

FS_OPERATION(mkdir)
{
    return in_folder(r, do_mkdir);
}

static int do_unlink(struct fs_request *r, struct fs_node *dir, const char *name)
{
    fs_node_unnamed(r->fs, dir, name);
    return unlinkat(dir->fd, name, r->in.opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0) ? -errno : 0;
}

FS_OPERATION(unlink)
{
    return in_folder(r, do_unlink);
}

FS_OPERATION(rmdir)
{
    return in_folder(r, do_unlink);
}

static int rename_to(struct fs_request *r, struct fs_node *from, const char *name, uint64_t to_id,
                     unsigned flags)
{
    struct fs_node *to;
    const char *to_name = fs_name(r);
    int rc = to_name ? fs_node_get(r->fs, to_id, &to) : -EINVAL;
    if (rc)
        return rc;
    if (flags != RENAME_EXCHANGE)
        fs_node_unnamed(r->fs, to, to_name);
    rc = renameat2(from->fd, name, to->fd, to_name, flags) ? -errno : 0;
    fs_node_renamed(r->fs, to, to_name);
    if (!rc && flags == RENAME_EXCHANGE)
        fs_node_renamed(r->fs, from, name);
    fs_node_put(r->fs, to);
    return rc;
}

static int do_rename(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const struct fuse_rename_in *in = fs_arg(r);
    return rename_to(r, dir, name, in->newdir, 0);
}

FS_OPERATION(rename)
{
    return in_folder(r, do_rename);
}

static int do_rename2(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const struct fuse_rename2_in *in = fs_arg(r);
    if (in->flags && in->flags != RENAME_NOREPLACE && in->flags != RENAME_EXCHANGE)
        return -EINVAL;
    return rename_to(r, dir, name, in->newdir, in->flags);
}

FS_OPERATION(rename2)
{
    return in_folder(r, do_rename2);
}

static int do_link(struct fs_request *r, struct fs_node *dir, const char *name)
{
    const struct fuse_link_in *in = fs_arg(r);
    struct fs_node *old;
    int rc = fs_node_get(r->fs, in->oldnodeid, &old);
    if (rc)
        return rc;
    /* What is followed is the link in /proc, not a symbolic link behind it. */
    if (linkat(AT_FDCWD, fs_path_of(old->fd).text, dir->fd, name, AT_SYMLINK_FOLLOW))
        rc = -errno;
    fs_node_put(r->fs, old);
    return rc ? rc : fs_reply_entry(r, dir, name);
}

FS_OPERATION(link)
{
    return in_folder(r, do_link);
}

FS_OPERATION(readlink)
{
    char target[PATH_MAX];
    struct fs_node *node;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    ssize_t n = S_ISLNK(node->type) ? readlinkat(node->fd, "", target, sizeof target) : -1;
    rc = n >= 0 ? 0 : S_ISLNK(node->type) ? -errno : -EINVAL;
    fs_node_put(r->fs, node);
    return rc ? rc : fs_reply(r, target, (size_t)n);
}

/* ---- attributes ---- */

static int fs_reply_attr(struct fs_request *r, int fd)
{
    struct stat st;
    struct fuse_attr_out out = {.attr_valid = VALID_SECONDS};
    if (fstatat(fd, "", &st, AT_EMPTY_PATH))
        return -errno;
    fs_fill_attr(r->fs, &st, &out.attr);
    return fs_reply(r, &out, sizeof out);
}

FS_OPERATION(getattr)
{
    const struct fuse_getattr_in *in = fs_arg(r);
    struct fs_handle *h = NULL;
    struct fs_node *node = NULL;
    if (in->getattr_flags & FUSE_GETATTR_FH)
        h = fs_handle_get(r->fs, in->fh, false);
    int rc = h ? 0 : fs_node_get(r->fs, r->in.nodeid, &node);
    if (!rc)
        rc = fs_reply_attr(r, h ? h->fd : node->fd);
    if (h)
        fs_handle_put(r->fs, h);
    if (node)
        fs_node_put(r->fs, node);
    return rc;
}

/* Nothing is given away; to whom it belongs already it can be given again. */
static int set_owner(const struct fs *fs, const struct fuse_setattr_in *in, int fd)
{
    struct stat st;
    if (fstatat(fd, "", &st, AT_EMPTY_PATH))
        return -errno;
    bool same = (!(in->valid & FATTR_UID) || in->uid == guest_uid(fs, st.st_uid)) &&
                (!(in->valid & FATTR_GID) || in->gid == guest_gid(fs, st.st_gid));
    return same ? 0 : -EPERM;
}

static int set_size(struct fs_request *r, const struct fuse_setattr_in *in,
                    const struct fs_node *node)
{
    struct fs_handle *h = NULL;
    if (in->size > INT64_MAX)
        return -EFBIG;
    if (in->valid & FATTR_FH)
        h = fs_handle_get(r->fs, in->fh, false);
    int fd = h ? h->fd : fs_node_open(node, O_WRONLY);
    int rc = fd < 0 ? fd : 0;
    if (!rc && ftruncate(fd, (off_t)in->size))
        rc = -errno;
    if (h)
        fs_handle_put(r->fs, h);
    else if (fd >= 0)
        close(fd);
    return rc;
}

static struct timespec new_time(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds,
                                uint32_t ns)
{
    if (valid & now)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (!(valid & set))
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = ns};
}

static int set_times(const struct fuse_setattr_in *in, int fd)
{
    if (in->atimensec >= 1000000000 || in->mtimensec >= 1000000000)
        return -EINVAL;
    const struct timespec times[2] = {
        new_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
        new_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
    };
    return utimensat(fd, "", times, AT_EMPTY_PATH) ? -errno : 0;
}

static int set_attributes(struct fs_request *r, const struct fs_node *node)
{
    const struct fuse_setattr_in *in = fs_arg(r);
    int rc = 0;
    if (in->valid & (FATTR_UID | FATTR_GID))
        rc = set_owner(r->fs, in, node->fd);
    if (!rc && in->valid & FATTR_MODE) {
        if (S_ISLNK(node->type))
            rc = -EOPNOTSUPP;
        else if (chmod(fs_path_of(node->fd).text, allowed_mode(node->type, in->mode)))
            rc = -errno;
    }
    if (!rc && in->valid & FATTR_SIZE)
        rc = set_size(r, in, node);
    if (!rc && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
        rc = set_times(in, node->fd);
    return rc ? rc : fs_reply_attr(r, node->fd);
}

FS_OPERATION(setattr)
{
    struct fs_node *node;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    rc = set_attributes(r, node);
    fs_node_put(r->fs, node);
    return rc;
}

FS_OPERATION(statfs)
{
    struct statfs s;
    struct fs_node *node;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    if (fstatfs(node->fd, &s))
        rc = -errno;
    fs_node_put(r->fs, node);
    if (rc)
        return rc;
    const struct fuse_statfs_out out = {.st = {
                                            .blocks = s.f_blocks,
                                            .bfree = s.f_bfree,
                                            .bavail = s.f_bavail,
                                            .files = s.f_files,
                                            .ffree = s.f_ffree,
                                            .bsize = (uint32_t)s.f_bsize,
                                            .namelen = (uint32_t)s.f_namelen,
                                            .frsize = (uint32_t)s.f_frsize,
                                        }};
    return fs_reply(r, &out, sizeof out);
}

/* ---- extended attributes: the users' own only; others mean something to the host ---- */

static bool is_users(const char *name)
{
    return name && !strncmp(name, "user.", 5);
}

typedef int (*xattr_op)(struct fs_request *r, const char *path, const char *name);

static int with_xattr(struct fs_request *r, xattr_op op)
{
    struct fs_node *node;
    const char *name = fs_string(r);
    if (!is_users(name))
        return -EOPNOTSUPP;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    rc = S_ISREG(node->type) || S_ISDIR(node->type) ? op(r, fs_path_of(node->fd).text, name)
                                                    : -EPERM;
    fs_node_put(r->fs, node);
    return rc;
}

static int do_setxattr(struct fs_request *r, const char *path, const char *name)
{
    const struct fuse_setxattr_in *in = fs_arg(r);
    if (in->size > r->body_len - r->name_at)
        return -EINVAL;
    return setxattr(path, name, r->body + r->name_at, in->size, (int)in->flags) ? -errno : 0;
}

FS_OPERATION(setxattr)
{
    return with_xattr(r, do_setxattr);
}

/* A size that is asked for, or the value itself. */
static int reply_value(struct fs_request *r, uint32_t room, const void *value, ssize_t n)
{
    const struct fuse_getxattr_out out = {.size = (uint32_t)n};
    if (!room)
        return fs_reply(r, &out, sizeof out);
    return (size_t)n > room ? -ERANGE : fs_reply(r, value, (size_t)n);
}

static int do_getxattr(struct fs_request *r, const char *path, const char *name)
{
    const struct fuse_getxattr_in *in = fs_arg(r);
    uint32_t room = in->size;
    char copy[XATTR_NAME_MAX + 1];
    if (snprintf(copy, sizeof copy, "%s", name) > XATTR_NAME_MAX)
        return -ERANGE;
    ssize_t n = getxattr(path, copy, r->body, FS_BODY_MAX);
    return n < 0 ? -errno : reply_value(r, room, r->body, n);
}

FS_OPERATION(getxattr)
{
    return with_xattr(r, do_getxattr);
}

static int do_removexattr(struct fs_request *r, const char *path, const char *name)
{
    (void)r;
    return removexattr(path, name) ? -errno : 0;
}

FS_OPERATION(removexattr)
{
    return with_xattr(r, do_removexattr);
}

FS_OPERATION(listxattr)
{
    const struct fuse_getxattr_in *in = fs_arg(r);
    uint32_t room = in->size;
    struct fs_node *node;
    int rc = fs_node_get(r->fs, r->in.nodeid, &node);
    if (rc)
        return rc;
    char *names = (char *)r->body;
    ssize_t n = 0, kept = 0;
    if (S_ISREG(node->type) || S_ISDIR(node->type))
        n = listxattr(fs_path_of(node->fd).text, names, FS_BODY_MAX);
    rc = n < 0 ? -errno : 0;
    fs_node_put(r->fs, node);
    for (ssize_t at = 0; at < n;) {
        ssize_t len = (ssize_t)strlen(names + at) + 1;
        if (is_users(names + at)) {
            memmove(names + kept, names + at, (size_t)len);
            kept += len;
        }
        at += len;
    }
    return rc ? rc : reply_value(r, room, names, kept);
}
