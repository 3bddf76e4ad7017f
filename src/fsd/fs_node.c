/*
 * The numbers that the guest has for files (nodes) and for what it has open (handles).
 *
 * A Linux guest keeps as many nodes as its memory has room for, which may be more than a process
 * may have descriptors. So only some nodes have one; a clock decides which (recent, hand).
 */
#include "fsd/fs_impl.h"

#include "base/bits.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HASH_MIN 1024u
/* Nodes in all, with what a node costs in memory (some 200 bytes) in mind. */
#define NODES_MAX (4u << 20)

/* ---- slots ---- */

static int slots_add(struct fs_slots *s, void *what, uint32_t max, uint32_t *slot)
{
    if (s->used >= max)
        return -ENFILE;
    if (s->used == s->count) {
        uint32_t count = s->count ? 2 * s->count : 64;
        void **at = realloc(s->at, count * sizeof *at);
        if (!at)
            return -ENOMEM;
        memset(at + s->count, 0, (count - s->count) * sizeof *at);
        s->hint = s->count;
        s->at = at;
        s->count = count;
    }
    while (s->at[s->hint])
        s->hint = (s->hint + 1) & (s->count - 1);
    s->at[s->hint] = what;
    s->used++;
    *slot = s->hint;
    return 0;
}

static void *slots_get(const struct fs_slots *s, uint64_t slot)
{
    return slot < s->count ? s->at[slot] : NULL;
}

static void slots_remove(struct fs_slots *s, uint32_t slot)
{
    s->at[slot] = NULL;
    s->used--;
}

/* ---- nodes ---- */

static struct fs_node **hash_place(const struct fs *fs, dev_t dev, ino_t ino)
{
    uint64_t h = ((uint64_t)ino ^ (uint64_t)dev << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return &fs->hash[(h >> 32) & (fs->hash_size - 1)];
}

static struct fs_node *hash_find(const struct fs *fs, dev_t dev, ino_t ino)
{
    struct fs_node *n = *hash_place(fs, dev, ino);
    while (n && (n->dev != dev || n->ino != ino))
        n = n->next;
    return n;
}

static void hash_insert(struct fs *fs, struct fs_node *n)
{
    struct fs_node **place = hash_place(fs, n->dev, n->ino);
    n->next = *place;
    n->hashed = true;
    *place = n;
}

static void hash_remove(struct fs *fs, struct fs_node *n)
{
    struct fs_node **place = hash_place(fs, n->dev, n->ino);
    while (*place && *place != n)
        place = &(*place)->next;
    if (*place)
        *place = n->next;
    n->hashed = false;
}

/* More nodes than places: there is time for twice as many. Longer lists are no error. */
static void hash_grow(struct fs *fs)
{
    struct fs_node **table = calloc(2 * (size_t)fs->hash_size, sizeof *table);
    if (!table)
        return;
    free(fs->hash);
    fs->hash = table;
    fs->hash_size *= 2;
    for (uint32_t i = 0; i < fs->nodes.count; i++) {
        struct fs_node *n = fs->nodes.at[i];
        if (n && n->hashed)
            hash_insert(fs, n);
    }
}

/*
 * The number of a file that is gone and that nobody has open may be given to another at once. A
 * file handle has the generation as well; a file system that has none gives 0 for all.
 */
static uint64_t file_identity(int fd)
{
    union {
        struct file_handle handle;
        unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.handle.handle_bytes = MAX_HANDLE_SZ};
    int mount;
    uint64_t h = 0;
    if (name_to_handle_at(fd, "", &u.handle, &mount, AT_EMPTY_PATH))
        return 0;
    for (unsigned i = 0; i < u.handle.handle_bytes; i++)
        h = (h ^ u.handle.f_handle[i]) * UINT64_C(0x100000001b3) + 1;
    return h;
}

static void node_close(struct fs *fs, struct fs_node *n)
{
    if (n->fd < 0 || n == fs->root)
        return;
    n->identity = file_identity(n->fd);
    close(n->fd);
    n->fd = -1;
    fs->open_nodes--;
}

/* Frees a node that nobody needs any more, and its parents likewise. */
static void node_release(struct fs *fs, struct fs_node *n)
{
    while (n && n != fs->root && !n->refs && !n->lookups && !n->children) {
        struct fs_node *parent = n->parent;
        node_close(fs, n);
        hash_remove(fs, n);
        slots_remove(&fs->nodes, n->slot);
        free(n->name);
        free(n);
        if (parent)
            parent->children--;
        n = parent;
    }
}

static uint32_t most_open_nodes(const struct fs *fs)
{
    return fs->config.max_descriptors / 2;
}

/* Makes room for a descriptor: the hand goes round at most twice. */
static void nodes_make_room(struct fs *fs)
{
    uint32_t most = most_open_nodes(fs), steps = 2 * fs->nodes.count;
    if (fs->open_nodes < most)
        return;
    for (; steps && fs->open_nodes > most - most / 8; steps--) {
        struct fs_node *n = slots_get(&fs->nodes, fs->hand);
        fs->hand = (fs->hand + 1) & (fs->nodes.count - 1);
        if (!n || n->refs || n->pinned || n->fd < 0)
            continue;
        if (!n->recent)
            node_close(fs, n);
        n->recent = false;
    }
}

static bool is_same(const struct fs_node *n, const struct stat *st)
{
    return n->dev == st->st_dev && n->ino == st->st_ino && n->type == (st->st_mode & S_IFMT);
}

/* A descriptor keeps the number. */
static bool is_same_open(const struct fs_node *n, const struct stat *st, int fd)
{
    return is_same(n, st) && (n->fd >= 0 || n->identity == file_identity(fd));
}

static int node_reopen_one(struct fs *fs, struct fs_node *n)
{
    struct stat st;
    if (n->pinned)
        return -ESTALE;
    int fd = openat(n->parent->fd, n->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? -ESTALE : -errno;
    if (fstatat(fd, "", &st, AT_EMPTY_PATH) || !is_same_open(n, &st, fd)) {
        close(fd);
        return -ESTALE;
    }
    n->fd = fd;
    fs->open_nodes++;
    return 0;
}

/* Opens a node's descriptor again, and before that those of the folders above it. */
static int node_reopen(struct fs *fs, struct fs_node *node)
{
    struct fs_node *n = node;
    int rc = 0;
    nodes_make_room(fs);
    for (n->below = NULL; n->parent && n->parent->fd < 0; n = n->parent)
        n->parent->below = n;
    for (; !rc && n; n = n->below)
        rc = n->parent ? node_reopen_one(fs, n) : -ESTALE;
    return rc;
}

int fs_node_get(struct fs *fs, uint64_t id, struct fs_node **node)
{
    int rc = 0;
    pthread_mutex_lock(&fs->lock);
    struct fs_node *n = slots_get(&fs->nodes, id - 1);
    if (!n || (n != fs->root && !n->lookups))
        rc = -ESTALE;
    else if (n->fd < 0)
        rc = node_reopen(fs, n);
    if (!rc) {
        n->refs++;
        n->recent = true;
        *node = n;
    }
    pthread_mutex_unlock(&fs->lock);
    return rc;
}

void fs_node_put(struct fs *fs, struct fs_node *node)
{
    pthread_mutex_lock(&fs->lock);
    node->refs--;
    node_release(fs, node);
    pthread_mutex_unlock(&fs->lock);
}

/* Is `n` in the folder below itself? A host that moves folders about could make it seem so. */
static bool is_above(const struct fs_node *n, const struct fs_node *folder)
{
    while (folder && folder != n)
        folder = folder->parent;
    return folder;
}

/* Where a node can be found again. Without memory for the name it keeps its descriptor. */
static void node_set_name(struct fs *fs, struct fs_node *n, struct fs_node *parent,
                          const char *name)
{
    struct fs_node *before = n->parent;
    if (n == fs->root || (n->children && before != parent && is_above(n, parent)))
        return;
    if (!n->name || strcmp(n->name, name)) {
        free(n->name);
        n->name = strdup(name);
    }
    n->pinned = !n->name;
    if (before == parent)
        return;
    parent->children++;
    n->parent = parent;
    if (before) {
        before->children--;
        node_release(fs, before);
    }
}

static int node_new(struct fs *fs, int fd, const struct stat *st, struct fs_node **node)
{
    struct fs_node *n = calloc(1, sizeof *n);
    if (!n)
        return -ENOMEM;
    int rc = slots_add(&fs->nodes, n, NODES_MAX, &n->slot);
    if (rc) {
        free(n);
        return rc;
    }
    n->fd = fd;
    n->dev = st->st_dev;
    n->ino = st->st_ino;
    n->type = st->st_mode & S_IFMT;
    if (fs->nodes.used > fs->hash_size)
        hash_grow(fs);
    hash_insert(fs, n);
    *node = n;
    return 0;
}

int fs_node_add(struct fs *fs, struct fs_node *parent, const char *name, int fd,
                const struct stat *st, struct fs_node **node)
{
    int rc = 0;
    pthread_mutex_lock(&fs->lock);
    struct fs_node *n = hash_find(fs, st->st_dev, st->st_ino);
    if (n && is_same_open(n, st, fd)) {
        if (n->fd < 0) {
            n->fd = fd;
            fs->open_nodes++;
        } else {
            close(fd);
        }
    } else {
        if (n) {
            /* Another file has got its number. */
            hash_remove(fs, n);
            n->pinned = true;
        }
        nodes_make_room(fs);
        rc = node_new(fs, fd, st, &n);
        if (rc)
            close(fd);
        else
            fs->open_nodes++;
    }
    if (!rc) {
        n->lookups++;
        n->refs++;
        n->recent = true;
        node_set_name(fs, n, parent, name);
        *node = n;
    }
    pthread_mutex_unlock(&fs->lock);
    return rc;
}

void fs_node_forget(struct fs *fs, uint64_t id, uint64_t lookups)
{
    pthread_mutex_lock(&fs->lock);
    struct fs_node *n = slots_get(&fs->nodes, id - 1);
    if (n && n != fs->root) {
        n->lookups -= lookups < n->lookups ? lookups : n->lookups;
        node_release(fs, n);
    }
    pthread_mutex_unlock(&fs->lock);
}

/* The known node that has this name, or NULL. Lock held. */
static struct fs_node *node_named(struct fs *fs, const struct fs_node *parent, const char *name)
{
    struct stat st;
    if (fstatat(parent->fd, name, &st, AT_SYMLINK_NOFOLLOW))
        return NULL;
    struct fs_node *n = hash_find(fs, st.st_dev, st.st_ino);
    return n && is_same(n, &st) && n != fs->root ? n : NULL;
}

void fs_node_unnamed(struct fs *fs, const struct fs_node *parent, const char *name)
{
    pthread_mutex_lock(&fs->lock);
    struct fs_node *n = node_named(fs, parent, name);
    if (n && n->parent == parent && n->name && !strcmp(n->name, name)) {
        if (n->fd < 0)
            (void)!node_reopen(fs, n);
        n->pinned = true;
    }
    pthread_mutex_unlock(&fs->lock);
}

void fs_node_renamed(struct fs *fs, struct fs_node *parent, const char *name)
{
    pthread_mutex_lock(&fs->lock);
    struct fs_node *n = node_named(fs, parent, name);
    if (n)
        node_set_name(fs, n, parent, name);
    pthread_mutex_unlock(&fs->lock);
}

/* ---- handles ---- */

static uint32_t most_handles(const struct fs *fs)
{
    return fs->config.max_descriptors / 3;
}

int fs_handle_add(struct fs *fs, int fd, bool is_dir, uint64_t *id)
{
    struct fs_handle *h = calloc(1, sizeof *h);
    int rc = -ENOMEM;
    if (h) {
        pthread_mutex_init(&h->lock, NULL);
        h->is_dir = is_dir;
        h->fd = fd;
        pthread_mutex_lock(&fs->lock);
        rc = slots_add(&fs->handles, h, most_handles(fs), &h->slot);
        *id = h->slot;
        pthread_mutex_unlock(&fs->lock);
    }
    if (rc) {
        close(fd);
        free(h);
    }
    return rc;
}

struct fs_handle *fs_handle_get(struct fs *fs, uint64_t id, bool is_dir)
{
    pthread_mutex_lock(&fs->lock);
    struct fs_handle *h = slots_get(&fs->handles, id);
    if (h && !h->closed && h->is_dir == is_dir)
        h->refs++;
    else
        h = NULL;
    pthread_mutex_unlock(&fs->lock);
    return h;
}

/* Lock held. */
static void handle_release(struct fs *fs, struct fs_handle *h)
{
    if (h->refs || !h->closed)
        return;
    slots_remove(&fs->handles, h->slot);
    close(h->fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void fs_handle_put(struct fs *fs, struct fs_handle *h)
{
    pthread_mutex_lock(&fs->lock);
    h->refs--;
    handle_release(fs, h);
    pthread_mutex_unlock(&fs->lock);
}

void fs_handle_close(struct fs *fs, uint64_t id)
{
    pthread_mutex_lock(&fs->lock);
    struct fs_handle *h = slots_get(&fs->handles, id);
    if (h && !h->closed) {
        h->closed = true;
        handle_release(fs, h);
    }
    pthread_mutex_unlock(&fs->lock);
}

/* ---- all ---- */

void fs_forget_all(struct fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < fs->nodes.count; i++) {
        struct fs_node *n = fs->nodes.at[i];
        if (n && n != fs->root)
            n->lookups = 0;
    }
    for (uint32_t i = 0; i < fs->nodes.count; i++)
        if (fs->nodes.at[i])
            node_release(fs, fs->nodes.at[i]);
    for (uint32_t i = 0; i < fs->handles.count; i++) {
        struct fs_handle *h = fs->handles.at[i];
        if (!h || h->closed)
            continue;
        h->closed = true;
        handle_release(fs, h);
    }
    pthread_mutex_unlock(&fs->lock);
}

struct fs *fs_new(const struct fs_config *config, struct error *err)
{
    struct stat st;
    struct fs *fs = calloc(1, sizeof *fs);
    struct fs_node **hash = calloc(HASH_MIN, sizeof *hash);
    if (!fs || !hash || fstat(config->root, &st)) {
        error_set(err, errno, "cannot look at the folder: %s", strerror(errno));
        free(fs);
        free(hash);
        return NULL;
    }
    fs->config = *config;
    fs->host_uid = geteuid();
    fs->host_gid = getegid();
    fs->hash = hash;
    fs->hash_size = HASH_MIN;
    pthread_mutex_init(&fs->lock, NULL);
    if (node_new(fs, config->root, &st, &fs->root)) {
        error_set(err, ENOMEM, "out of memory for the folder");
        fs_free(fs);
        return NULL;
    }
    return fs;
}

void fs_free(struct fs *fs)
{
    fs_forget_all(fs);
    free(fs->root);
    free(fs->nodes.at);
    free(fs->handles.at);
    free(fs->hash);
    pthread_mutex_destroy(&fs->lock);
    free(fs);
}

struct fs_path fs_path_of(int fd)
{
    struct fs_path path;
    snprintf(path.text, sizeof path.text, "%d", fd);
    return path;
}

int fs_node_open(const struct fs_node *node, int flags)
{
    if (!S_ISREG(node->type) && !S_ISDIR(node->type))
        return S_ISLNK(node->type) ? -ELOOP : -ENXIO;
    /* The link in /proc leads to this very file, wherever it is now. */
    int fd = open(fs_path_of(node->fd).text, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
