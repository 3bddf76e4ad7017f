/* Takes requests apart, calls the operation, puts the answer together. */
#include "fsd/fs_impl.h"

#define TAKES_CHANGE 1u /* refused when the folder is read-only */

struct fs_operation {
    int (*call)(struct fs_request *r);
    uint16_t arg; /* the least bytes of body */
    uint16_t flags;
};

/* The size of a structure of the protocol without a tail that older guests do not send. */
static const struct fs_operation operations[] = {
    [FUSE_LOOKUP] = {fs_op_lookup, 1, 0},
    [FUSE_FORGET] = {fs_op_forget, sizeof(struct fuse_forget_in), 0},
    [FUSE_GETATTR] = {fs_op_getattr, sizeof(struct fuse_getattr_in), 0},
    [FUSE_SETATTR] = {fs_op_setattr, sizeof(struct fuse_setattr_in), TAKES_CHANGE},
    [FUSE_READLINK] = {fs_op_readlink, 0, 0},
    [FUSE_SYMLINK] = {fs_op_symlink, 2, TAKES_CHANGE},
    [FUSE_MKNOD] = {fs_op_mknod, sizeof(struct fuse_mknod_in), TAKES_CHANGE},
    [FUSE_MKDIR] = {fs_op_mkdir, sizeof(struct fuse_mkdir_in), TAKES_CHANGE},
    [FUSE_UNLINK] = {fs_op_unlink, 1, TAKES_CHANGE},
    [FUSE_RMDIR] = {fs_op_rmdir, 1, TAKES_CHANGE},
    [FUSE_RENAME] = {fs_op_rename, sizeof(struct fuse_rename_in), TAKES_CHANGE},
    [FUSE_LINK] = {fs_op_link, sizeof(struct fuse_link_in), TAKES_CHANGE},
    [FUSE_OPEN] = {fs_op_open, sizeof(struct fuse_open_in), 0},
    [FUSE_READ] = {fs_op_read, sizeof(struct fuse_read_in), 0},
    [FUSE_WRITE] = {fs_op_write, sizeof(struct fuse_write_in), TAKES_CHANGE},
    [FUSE_STATFS] = {fs_op_statfs, 0, 0},
    [FUSE_RELEASE] = {fs_op_release, sizeof(struct fuse_release_in), 0},
    [FUSE_FSYNC] = {fs_op_fsync, sizeof(struct fuse_fsync_in), 0},
    [FUSE_SETXATTR] = {fs_op_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, TAKES_CHANGE},
    [FUSE_GETXATTR] = {fs_op_getxattr, sizeof(struct fuse_getxattr_in), 0},
    [FUSE_LISTXATTR] = {fs_op_listxattr, sizeof(struct fuse_getxattr_in), 0},
    [FUSE_REMOVEXATTR] = {fs_op_removexattr, 1, TAKES_CHANGE},
    [FUSE_FLUSH] = {fs_op_flush, sizeof(struct fuse_flush_in), 0},
    [FUSE_INIT] = {fs_op_init, 16, 0},
    [FUSE_OPENDIR] = {fs_op_opendir, sizeof(struct fuse_open_in), 0},
    [FUSE_READDIR] = {fs_op_readdir, sizeof(struct fuse_read_in), 0},
    [FUSE_RELEASEDIR] = {fs_op_releasedir, sizeof(struct fuse_release_in), 0},
    [FUSE_FSYNCDIR] = {fs_op_fsyncdir, sizeof(struct fuse_fsync_in), 0},
    [FUSE_CREATE] = {fs_op_create, sizeof(struct fuse_create_in), TAKES_CHANGE},
    [FUSE_DESTROY] = {fs_op_destroy, 0, 0},
    [FUSE_BATCH_FORGET] = {fs_op_batch_forget, sizeof(struct fuse_batch_forget_in), 0},
    [FUSE_FALLOCATE] = {fs_op_fallocate, sizeof(struct fuse_fallocate_in), TAKES_CHANGE},
    [FUSE_READDIRPLUS] = {fs_op_readdirplus, sizeof(struct fuse_read_in), 0},
    [FUSE_RENAME2] = {fs_op_rename2, sizeof(struct fuse_rename2_in), TAKES_CHANGE},
    [FUSE_LSEEK] = {fs_op_lseek, sizeof(struct fuse_lseek_in), 0},
    [FUSE_COPY_FILE_RANGE] = {fs_op_copy_file_range, sizeof(struct fuse_copy_file_range_in),
                              TAKES_CHANGE},
    [FUSE_SYNCFS] = {fs_op_syncfs, sizeof(struct fuse_syncfs_in), 0},
};

const char *fs_string(struct fs_request *r)
{
    const char *s = (const char *)r->body + r->name_at;
    if (r->name_at >= r->body_len)
        return NULL;
    size_t len = strnlen(s, r->body_len - r->name_at);
    if (len == r->body_len - r->name_at)
        return NULL;
    r->name_at += len + 1;
    return s;
}

const char *fs_name(struct fs_request *r)
{
    const char *s = fs_string(r);
    return s && *s && strcmp(s, ".") && strcmp(s, "..") && !strchr(s, '/') ? s : NULL;
}

int fs_reply(struct fs_request *r, const void *data, size_t len)
{
    if (r->c->writable_bytes < len)
        return -ERANGE;
    virtq_chain_write(r->c, data, len);
    r->written += (uint32_t)len;
    return 0;
}

void fs_cut(struct iovec *iov, unsigned *count, size_t len)
{
    unsigned i = 0;
    for (; i < *count && len; i++) {
        if (iov[i].iov_len > len)
            iov[i].iov_len = len;
        len -= iov[i].iov_len;
    }
    *count = i;
}

/* ---- sessions ---- */

#define WANTED                                                                             \
    (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |      \
     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | \
     FUSE_HANDLE_KILLPRIV_V2 | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS)
#define MAX_WRITE (1u << 20)

FS_OPERATION(init)
{
    const struct fuse_init_in *in = fs_arg(r);
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = in->max_readahead,
        .flags = in->flags & WANTED,
        .max_background = 64,
        .congestion_threshold = 48,
        .max_write = MAX_WRITE,
        .time_gran = 1,
        .max_pages = MAX_WRITE / 4096,
    };
    /* A guest that starts anew knows nothing of what was before. */
    fs_forget_all(r->fs);
    if (in->major < FUSE_KERNEL_VERSION || (in->major == FUSE_KERNEL_VERSION && in->minor < 31))
        return -EPROTO;
    return fs_reply(r, &out, sizeof out);
}

FS_OPERATION(destroy)
{
    fs_forget_all(r->fs);
    return 0;
}

FS_OPERATION(forget)
{
    const struct fuse_forget_in *in = fs_arg(r);
    fs_node_forget(r->fs, r->in.nodeid, in->nlookup);
    return 0;
}

FS_OPERATION(batch_forget)
{
    const struct fuse_batch_forget_in *in = fs_arg(r);
    const struct fuse_forget_one *one = (const void *)(r->body + sizeof *in);
    size_t room = (r->body_len - sizeof *in) / sizeof *one;
    for (size_t i = 0; i < in->count && i < room; i++)
        fs_node_forget(r->fs, one[i].nodeid, one[i].nlookup);
    return 0;
}

/* ---- requests ---- */

/* Keeps the place of the answer's header, which is known last. */
static bool fs_keep_head(struct fs_request *r)
{
    size_t left = sizeof(struct fuse_out_header);
    if (r->c->writable_bytes < left)
        return false;
    for (; left; r->head_count++) {
        struct iovec *piece = &r->head[r->head_count];
        *piece = *r->c->writable;
        if (piece->iov_len > left)
            piece->iov_len = left;
        virtq_chain_write(r->c, NULL, piece->iov_len);
        left -= piece->iov_len;
    }
    return true;
}

static uint32_t fs_finish(struct fs_request *r, int rc)
{
    struct fuse_out_header out = {.error = rc, .unique = r->in.unique};
    const uint8_t *from = (const uint8_t *)&out;
    out.len = (uint32_t)sizeof out + (rc ? 0 : r->written);
    for (unsigned i = 0; i < r->head_count; i++) {
        memcpy(r->head[i].iov_base, from, r->head[i].iov_len);
        from += r->head[i].iov_len;
    }
    return out.len;
}

/* The body, or of a write only what says where the data belongs. */
static int fs_read_body(struct fs_request *r, const struct fs_operation *op)
{
    size_t most = r->in.opcode == FUSE_WRITE ? op->arg : FS_BODY_MAX - 1;
    if (r->c->readable_bytes > most && r->in.opcode != FUSE_WRITE)
        return -E2BIG;
    r->body_len = virtq_chain_read(r->c, r->body, most);
    r->body[r->body_len] = 0;
    r->name_at = op->arg > 2 ? op->arg : 0;
    return r->body_len < op->arg ? -EINVAL : 0;
}

static int fs_perform(struct fs_request *r)
{
    uint32_t code = r->in.opcode;
    if (code >= sizeof operations / sizeof operations[0] || !operations[code].call)
        return -ENOSYS;
    const struct fs_operation *op = &operations[code];
    int rc = fs_read_body(r, op);
    if (rc)
        return rc;
    if (op->flags & TAKES_CHANGE && r->fs->config.readonly)
        return -EROFS;
    return op->call(r);
}

static bool fs_wants_answer(uint32_t opcode)
{
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

uint32_t fs_request(struct fs *fs, struct virtq_chain *c, uint8_t *scratch)
{
    struct fs_request r = {.fs = fs, .c = c, .body = scratch};
    if (virtq_chain_read(c, &r.in, sizeof r.in) != sizeof r.in)
        return 0;
    bool answer = fs_keep_head(&r);
    if (fs_wants_answer(r.in.opcode) && !answer)
        return 0;
    int rc = fs_perform(&r);
    return fs_wants_answer(r.in.opcode) ? fs_finish(&r, rc) : 0;
}
