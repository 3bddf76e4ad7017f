#include "store/archive.h"

#include "base/bits.h"
#include "base/error.h"
#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ARCHIVE_MAGIC "GUISARC"
#define ARCHIVE_VERSION 1u
#define RECORD_MAGIC 0x64726352u
#define HEADS 16384u
#define WINDOW (UINT64_C(1) << 18)

/* ---- the form of the file ---- */

struct archive_head {
    char magic[8];
    uint32_t version, reserved;
    uint64_t exts, build, host;
    uint64_t sum; /* of all before */
};

/* Followed by the bytes, up to a multiple of eight. */
struct archive_record {
    uint32_t magic, size;
    uint64_t page;
    uint32_t place, reserved;
    uint64_t sum; /* of the bytes, with page, place and size as its seed */
};

_Static_assert(sizeof(struct archive_head) == 48 && sizeof(struct archive_record) == 32,
               "no padding");

struct archive_entry {
    uint64_t page, at; /* in the file: of the struct archive_record */
    uint32_t place, size;
    uint32_t next; /* of the chain: index + 1, 0: end */
};

struct archive {
    int fd;
    struct archive *below; /* NULL: none */
    uint64_t limit, end;
    struct archive_head head; /* magic 0: not begun */
    pthread_mutex_t lock;     /* of all below, and of end */
    struct archive_entry *entries;
    uint32_t count, cap;
    uint32_t heads[HEADS];
    bool full;
};

static uint64_t record_end(uint64_t at, uint32_t size)
{
    return at + sizeof(struct archive_record) + align_up(size, 8);
}

static uint64_t record_sum(const struct archive_record *r, const void *bytes)
{
    uint64_t seed = r->page ^ (uint64_t)r->place << 32 ^ r->size;
    return XXH3_64bits_withSeed(bytes, r->size, seed);
}

/* ---- opening ---- */

/* The name is the disk's: the same file, not one that has taken its name. */
static int archive_name(char name[STORE_NAME], const char *disk, struct error *err)
{
    struct statx st;
    if (statx(AT_FDCWD, disk, 0, STATX_INO | STATX_BTIME, &st) < 0)
        return error_set(err, errno, "%s: %s", disk, strerror(errno));
    if (!(st.stx_mask & STATX_BTIME))
        return error_set(err, ENOTSUP,
                         "%s: its file system does not tell when files were made, so it would not "
                         "be known again",
                         disk);
    const uint64_t id[] = {makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino,
                           (uint64_t)st.stx_btime.tv_sec, st.stx_btime.tv_nsec};
    XXH128_hash_t h = XXH3_128bits(id, sizeof id);
    snprintf(name, STORE_NAME, "%016llx%016llx" STORE_ARCHIVE, (unsigned long long)h.high64,
             (unsigned long long)h.low64);
    return 0;
}

static uint64_t archive_limit(void)
{
    struct rlimit limit;
    /* What is beyond a limit of this process is SIGXFSZ, which would be its end. */
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur > UNIT_MAX_SIZE)
        return UNIT_MAX_SIZE;
    return limit.rlim_cur;
}

/* Alone, or together with others that read it, as which it must be there. */
static int archive_open(const struct store *s, const char *name, bool read, struct error *err)
{
    int dir = store_directory(s, true);
    if (dir < 0)
        return error_set(err, -dir, "%s: %s", store_path(s), strerror(-dir));
    if (!read)
        store_shrink(s, dir);
    const int how = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(dir, name, how | (read ? O_RDONLY : O_RDWR | O_CREAT), 0600);
    struct stat st;
    int rc = fd < 0 ? -errno : 0;
    close(dir);
    if (!rc && (fstat(fd, &st) < 0 || !store_owned(&st, S_IFREG)))
        rc = -EPERM;
    if (!rc && flock(fd, LOCK_NB | (read ? LOCK_SH : LOCK_EX)) < 0)
        rc = -errno;
    if (!rc)
        return fd;
    if (fd >= 0)
        close(fd);
    return error_set(err, -rc, "%s/%s: %s", store_path(s), name, strerror(-rc));
}

static struct archive *archive_new(const struct store *s, const char *disk, bool read,
                                   struct error *err)
{
    char name[STORE_NAME];
    if (archive_name(name, disk, err))
        return NULL;
    struct archive *a = calloc(1, sizeof *a);
    int fd = a ? archive_open(s, name, read, err) : error_set(err, ENOMEM, "out of memory");
    if (fd < 0) {
        free(a);
        return NULL;
    }
    a->fd = fd;
    a->limit = archive_limit();
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

struct archive *store_archive(const struct store *s, const char *disk, struct error *err)
{
    return archive_new(s, disk, false, err);
}

void archive_put_below(struct archive *a, const struct store *s, const char *disk)
{
    struct archive *below = archive_new(s, disk, true, NULL);
    if (!below)
        return;
    /* What is used last is thrown away last. */
    futimens(below->fd, NULL);
    while (a->below)
        a = a->below;
    a->below = below;
}

void archive_free(struct archive *a)
{
    if (!a)
        return;
    archive_free(a->below);
    close(a->fd);
    pthread_mutex_destroy(&a->lock);
    free(a->entries);
    free(a);
}

/* ---- the index ---- */

static uint32_t *archive_chain(struct archive *a, uint64_t page)
{
    return &a->heads[page % HEADS];
}

static const struct archive_entry *archive_find(struct archive *a, uint64_t page, uint32_t place)
{
    for (uint32_t i = *archive_chain(a, page); i; i = a->entries[i - 1].next)
        if (a->entries[i - 1].page == page && a->entries[i - 1].place == place)
            return &a->entries[i - 1];
    return NULL;
}

static bool archive_note(struct archive *a, const struct archive_record *r, uint64_t at)
{
    if (a->count == UNIT_MAX_ENTRIES)
        return false;
    if (a->count == a->cap) {
        uint32_t cap = a->cap ? 2 * a->cap : 4096;
        struct archive_entry *entries = realloc(a->entries, cap * sizeof *entries);
        if (!entries)
            return false;
        a->entries = entries;
        a->cap = cap;
    }
    uint32_t *chain = archive_chain(a, r->page);
    a->entries[a->count++] = (struct archive_entry){
        .page = r->page, .at = at, .place = r->place, .size = r->size, .next = *chain};
    *chain = a->count;
    return true;
}

/* ---- reading what is there ---- */

static bool record_good(const struct archive_record *r, uint64_t at, uint64_t file)
{
    return r->magic == RECORD_MAGIC && r->size <= UNIT_MAX_RECORD && !r->reserved &&
           at + sizeof *r + r->size <= file;
}

/* A part of the file in memory: a call for each record would take longer than all that is read. */
struct archive_window {
    uint8_t *bytes; /* WINDOW */
    uint64_t at, size;
};

static bool window_record(struct archive_window *w, int fd, uint64_t at, struct archive_record *r)
{
    if (at < w->at || at + sizeof *r > w->at + w->size) {
        ssize_t got = pread(fd, w->bytes, WINDOW, (off_t)at);
        w->at = at;
        w->size = got > 0 ? (uint64_t)got : 0;
        if (w->size < sizeof *r)
            return false;
    }
    memcpy(r, w->bytes + (at - w->at), sizeof *r);
    return true;
}

/* Up to the first record that is none; what a writer left there is overwritten. */
static void archive_scan(struct archive *a, uint64_t file)
{
    struct archive_window w = {.bytes = malloc(WINDOW)};
    struct archive_record r;
    while (w.bytes && window_record(&w, a->fd, a->end, &r) && record_good(&r, a->end, file) &&
           archive_note(a, &r, a->end))
        a->end = record_end(a->end, r.size);
    free(w.bytes);
}

static bool archive_same(const struct archive_head *x, const struct archive_head *y)
{
    return !memcmp(x, y, sizeof *x);
}

static void archive_anew(struct archive *a, const struct archive_head *head)
{
    a->count = 0;
    a->end = sizeof *head;
    memset(a->heads, 0, sizeof a->heads);
    if (ftruncate(a->fd, 0) < 0 || pwrite(a->fd, head, sizeof *head, 0) != (ssize_t)sizeof *head)
        a->full = true;
}

/* What is in the file, if it begins like this. */
static void archive_take(struct archive *a, const struct archive_head *head)
{
    struct archive_head found;
    struct stat st;
    a->head = *head;
    a->end = sizeof *head;
    if (fstat(a->fd, &st) == 0 && pread(a->fd, &found, sizeof found, 0) == (ssize_t)sizeof found &&
        archive_same(&found, head))
        archive_scan(a, (uint64_t)st.st_size);
}

bool archive_begin(struct archive *a, uint64_t exts, uint64_t build, uint64_t host)
{
    struct archive_head head = {.magic = ARCHIVE_MAGIC,
                                .version = ARCHIVE_VERSION,
                                .exts = exts,
                                .build = build,
                                .host = host};
    head.sum = XXH3_64bits(&head, offsetof(struct archive_head, sum));
    if (a->head.magic[0])
        return archive_same(&a->head, &head);
    for (struct archive *each = a; each; each = each->below)
        archive_take(each, &head);
    if (!a->count || a->end >= a->limit / 8 * 7)
        archive_anew(a, &head);
    return true;
}

/* ---- use ---- */

static uint32_t archive_get_here(struct archive *a, uint64_t page, uint32_t place, void *to)
{
    pthread_mutex_lock(&a->lock);
    const struct archive_entry *found = archive_find(a, page, place);
    struct archive_entry e = found ? *found : (struct archive_entry){0};
    pthread_mutex_unlock(&a->lock);
    struct archive_record r;
    if (!e.at || pread(a->fd, &r, sizeof r, (off_t)e.at) != (ssize_t)sizeof r || r.page != page ||
        r.place != place || r.size != e.size ||
        pread(a->fd, to, e.size, (off_t)(e.at + sizeof r)) != (ssize_t)e.size ||
        record_sum(&r, to) != r.sum)
        return 0;
    return e.size;
}

uint32_t archive_get(struct archive *a, uint64_t page, uint32_t place, void *to)
{
    uint32_t size = 0;
    for (; a && !size; a = a->below)
        size = archive_get_here(a, page, place, to);
    return size;
}

void archive_each(struct archive *a, uint64_t page, void (*fn)(void *ctx, uint32_t place),
                  void *ctx)
{
    for (; a; a = a->below) {
        pthread_mutex_lock(&a->lock);
        for (uint32_t i = *archive_chain(a, page); i; i = a->entries[i - 1].next)
            if (a->entries[i - 1].page == page)
                fn(ctx, a->entries[i - 1].place);
        pthread_mutex_unlock(&a->lock);
    }
}

static bool archive_write(struct archive *a, const struct archive_record *r, const void *bytes)
{
    const struct iovec iov[] = {{(void *)(uintptr_t)r, sizeof *r},
                                {(void *)(uintptr_t)bytes, r->size}};
    return pwritev(a->fd, iov, 2, (off_t)a->end) == (ssize_t)(sizeof *r + r->size);
}

void archive_add(struct archive *a, uint64_t page, uint32_t place, const void *bytes, uint32_t size)
{
    struct archive_record r = {.magic = RECORD_MAGIC, .size = size, .page = page, .place = place};
    r.sum = record_sum(&r, bytes);
    pthread_mutex_lock(&a->lock);
    if (!a->full && size <= UNIT_MAX_RECORD && !archive_find(a, page, place)) {
        if (record_end(a->end, size) > a->limit || !archive_write(a, &r, bytes) ||
            !archive_note(a, &r, a->end))
            a->full = true;
        else
            a->end = record_end(a->end, size);
    }
    pthread_mutex_unlock(&a->lock);
}
