/* What the files of the file system share. */
#pragma once

#include "fsd/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/*
 * A file that the guest knows by number. Its descriptor (O_PATH) may be closed when there are too
 * many and comes back by parent and name, if the same file is still there.
 */
struct fs_node {
    uint32_t slot; /* its number less one */
    uint32_t refs; /* requests that use it */
    uint64_t lookups;
    uint32_t children; /* nodes whose parent it is */
    int fd;            /* -1: closed meanwhile */
    dev_t dev;
    ino_t ino;
    mode_t type;
    uint64_t identity; /* without a descriptor: what tells it from a later file of that number */
    bool hashed;
    bool recent;           /* used since the clock's hand went by */
    bool pinned;           /* its name is gone */
    struct fs_node *next;  /* of the same hash */
    struct fs_node *below; /* scratch of fs_node_reopen */
    struct fs_node *parent;
    char *name;
    /* When the guest last opened it: is what it has cached still true? */
    bool opened;
    struct timespec mtime, ctime;
    off_t size;
};

/* An open file or folder. */
struct fs_handle {
    uint32_t slot, refs;
    bool closed; /* to be freed with the last reference */
    bool is_dir;
    int fd;
    pthread_mutex_t lock; /* a folder's position */
};

/* A growing array of pointers, some of them NULL; numbers are reused. */
struct fs_slots {
    void **at;
    uint32_t count, used, hint;
};

struct fs {
    struct fs_config config;
    uint32_t host_uid, host_gid;
    pthread_mutex_t lock; /* of all that follows, and the nodes' and handles' own fields */
    struct fs_slots nodes, handles;
    struct fs_node **hash;
    uint32_t hash_size; /* a power of two */
    struct fs_node *root;
    uint32_t open_nodes; /* with a descriptor, the root apart */
    uint32_t hand;
};

/* One request while it is served. */
struct fs_request {
    struct fs *fs;
    struct virtq_chain *c;
    struct fuse_in_header in;
    uint8_t *body; /* what follows the header, but the data of a write; ends with a 0 */
    size_t body_len;
    size_t name_at; /* where the next name begins */
    /* Where the answer's header will go. */
    struct iovec head[sizeof(struct fuse_out_header)];
    unsigned head_count;
    uint32_t written; /* behind the header */
};

/* The fixed part of the request's body, whose size the table has checked. */
static inline const void *fs_arg(const struct fs_request *r)
{
    return r->body;
}

/* The next string of the body, NULL if there is none. */
const char *fs_string(struct fs_request *r);
/* The same for a name in a folder: NULL also if it is none. */
const char *fs_name(struct fs_request *r);
/* Appends to the answer. 0, or -ERANGE if there is no room. */
int fs_reply(struct fs_request *r, const void *data, size_t len);
/* Leaves the first `len` bytes of the rest of the request, or of the room, if there are so many. */
void fs_cut(struct iovec *iov, unsigned *count, size_t len);

/* ---- fs_node.c ---- */

/* A reference with fd open: 0 and *node, or -ESTALE or another error. */
int fs_node_get(struct fs *fs, uint64_t id, struct fs_node **node);
void fs_node_put(struct fs *fs, struct fs_node *node);
/*
 * The node of a file that was found as `name` in `parent`, with one lookup more and a reference; fd
 * (O_PATH) becomes the table's. 0 or -errno.
 */
int fs_node_add(struct fs *fs, struct fs_node *parent, const char *name, int fd,
                const struct stat *st, struct fs_node **node);
void fs_node_forget(struct fs *fs, uint64_t id, uint64_t lookups);
static inline uint64_t fs_node_id(const struct fs_node *node)
{
    return (uint64_t)node->slot + 1;
}
/* The name leads to this file no more, or does so from now on. */
void fs_node_unnamed(struct fs *fs, const struct fs_node *parent, const char *name);
void fs_node_renamed(struct fs *fs, struct fs_node *parent, const char *name);
/* Forgets all nodes but the root, and all handles. */
void fs_forget_all(struct fs *fs);

/* Takes fd, also on failure: 0 and *id, or -errno. */
int fs_handle_add(struct fs *fs, int fd, bool is_dir, uint64_t *id);
/* A reference, or NULL. */
struct fs_handle *fs_handle_get(struct fs *fs, uint64_t id, bool is_dir);
void fs_handle_put(struct fs *fs, struct fs_handle *h);
void fs_handle_close(struct fs *fs, uint64_t id);

/* The path of a node's descriptor from the working directory. */
struct fs_path {
    char text[16];
};
struct fs_path fs_path_of(int fd);
/* A real descriptor of a regular file or folder. -errno on failure. */
int fs_node_open(const struct fs_node *node, int flags);

/* ---- fs_meta.c ---- */

void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *attr);
/* Finds a name in a folder: fills the entry, which counts as a lookup. */
int fs_lookup(struct fs *fs, struct fs_node *dir, const char *name, struct fuse_entry_out *out);

/* ---- operations: 0 or -errno ---- */

#define FS_OPERATION(name) int fs_op_##name(struct fs_request *r)

FS_OPERATION(init);
FS_OPERATION(destroy);
FS_OPERATION(forget);
FS_OPERATION(batch_forget);
FS_OPERATION(lookup);
FS_OPERATION(getattr);
FS_OPERATION(setattr);
FS_OPERATION(readlink);
FS_OPERATION(symlink);
FS_OPERATION(mknod);
FS_OPERATION(mkdir);
FS_OPERATION(unlink);
FS_OPERATION(rmdir);
FS_OPERATION(rename);
FS_OPERATION(rename2);
FS_OPERATION(link);
FS_OPERATION(open);
FS_OPERATION(create);
FS_OPERATION(read);
FS_OPERATION(write);
FS_OPERATION(statfs);
FS_OPERATION(release);
FS_OPERATION(releasedir);
FS_OPERATION(fsync);
FS_OPERATION(fsyncdir);
FS_OPERATION(syncfs);
FS_OPERATION(flush);
FS_OPERATION(fallocate);
FS_OPERATION(lseek);
FS_OPERATION(copy_file_range);
FS_OPERATION(opendir);
FS_OPERATION(readdir);
FS_OPERATION(readdirplus);
FS_OPERATION(setxattr);
FS_OPERATION(getxattr);
FS_OPERATION(listxattr);
FS_OPERATION(removexattr);
