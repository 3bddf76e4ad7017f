#include "store/store.h"

#include "base/error.h"
#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define USED_EVERY 3600 /* seconds between two notes that a file is used */

/* ---- where it is ---- */

/* Writes the path, PATH_MAX bytes. */
static int store_find(char *path, struct error *err)
{
    const char *own = secure_getenv("GUISE_CACHE"), *xdg = secure_getenv("XDG_CACHE_HOME");
    const char *home = secure_getenv("HOME");
    int n;
    if (own && !own[0])
        return error_set(err, ENOENT, "GUISE_CACHE is empty: translations are not kept");
    if (own)
        n = snprintf(path, PATH_MAX, "%s", own);
    else if (xdg && xdg[0] == '/')
        n = snprintf(path, PATH_MAX, "%s/guise", xdg);
    else if (home && home[0] == '/')
        n = snprintf(path, PATH_MAX, "%s/.cache/guise", home);
    else
        return error_set(err, ENOENT,
                         "neither GUISE_CACHE nor HOME says where translations are to be kept");
    if (n >= PATH_MAX || path[0] != '/')
        return error_set(err, EINVAL, "%s: translations are kept below an absolute path only",
                         path);
    return 0;
}

struct store *store_new(uint64_t limit, struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (store_find(path, err))
        return NULL;
    if (lstat(path, &st) == 0 && !store_owned(&st, S_IFDIR)) {
        error_set(err, EPERM,
                  "%s: translations are kept only where nobody else may write; make it a directory "
                  "of yours with mode 700",
                  path);
        return NULL;
    }
    struct store *s = malloc(sizeof *s + strlen(path) + 1);
    if (!s) {
        error_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    s->limit = limit ? limit : STORE_LIMIT;
    s->user = geteuid();
    memcpy(s->path, path, strlen(path) + 1);
    return s;
}

void store_free(struct store *s)
{
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

uint64_t store_limit(const struct store *s)
{
    return s->limit;
}

/* ---- whom we trust ---- */

bool store_owned(const struct stat *st, mode_t type)
{
    return (st->st_mode & S_IFMT) == type && st->st_uid == geteuid() && !(st->st_mode & 022);
}

static int checked(int fd, mode_t type)
{
    struct stat st;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && store_owned(&st, type))
        return fd;
    close(fd);
    return -EPERM;
}

/* The directory and its parent, if only they are missing. */
static void store_make(const char *path)
{
    char parent[PATH_MAX];
    const char *end = strrchr(path, '/');
    if (mkdir(path, 0700) == 0 || errno != ENOENT || end == path)
        return;
    memcpy(parent, path, (size_t)(end - path));
    parent[end - path] = 0;
    mkdir(parent, 0700);
    mkdir(path, 0700);
}

int store_directory(const struct store *s, bool make)
{
    const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (geteuid() != s->user) /* the program has become somebody else */
        return -EPERM;
    int fd = open(s->path, how);
    if (fd < 0 && errno == ENOENT && make) {
        store_make(s->path);
        fd = open(s->path, how);
    }
    return checked(fd, S_IFDIR);
}

int store_file(int dir, const char *name)
{
    return checked(openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                   S_IFREG);
}

/* ---- reading ---- */

static void unit_name(char name[STORE_NAME], const struct unit_key *key)
{
    XXH128_hash_t h = XXH3_128bits(key, sizeof *key);
    snprintf(name, STORE_NAME, "%016llx%016llx" STORE_SUFFIX, (unsigned long long)h.high64,
             (unsigned long long)h.low64);
}

static void note_use(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_atim.tv_sec + USED_EVERY < time(NULL))
        futimens(fd, (const struct timespec[2]){{0, UTIME_NOW}, {0, UTIME_OMIT}});
}

static bool read_from(int dir, const char *name, const struct unit_key *key, struct unit *out)
{
    int fd = store_file(dir, name);
    *out = (struct unit){0};
    if (fd < 0)
        return false;
    bool ok = unit_open(out, fd, key);
    if (ok)
        note_use(fd);
    close(fd);
    return ok;
}

bool store_read(const struct store *s, const struct unit_key *key, struct unit *out)
{
    char name[STORE_NAME];
    int dir = store_directory(s, false);
    *out = (struct unit){0};
    if (dir < 0)
        return false;
    unit_name(name, key);
    bool ok = read_from(dir, name, key, out);
    close(dir);
    return ok;
}

/* ---- writing ---- */

static bool old_has(const struct unit *old, uint64_t content, const struct draft_record *r)
{
    const struct unit_page *p = unit_page(old, r->page);
    const struct unit_entry *e = p && p->content == content ? unit_entry(old, p, r->slot) : NULL;
    return e && (e->size || !r->size);
}

static uint64_t draft_content(const struct unit_draft *d, uint32_t page)
{
    for (uint32_t i = 0; i < d->page_count; i++)
        if (d->pages[i].number == page)
            return d->pages[i].content;
    return 0;
}

/*
 * Takes away what the file has already: another process had the same to tell. (One whose code the
 * file has, but damaged, was found out by who wanted to use it, and is kept: `renew`.)
 */
static void draft_reduce(struct unit_draft *d, const struct unit *old)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->record_count; i++) {
        struct draft_record *r = &d->records[i];
        if (r->renew || !old_has(old, draft_content(d, r->page), r)) {
            d->records[kept++] = *r;
            continue;
        }
        d->bytes -= r->size;
        free(r->bytes);
    }
    d->record_count = kept;
}

/*
 * Writing takes 1.5 ms for each MB of the file, where 1 KiB of new code has taken 0.1 ms to
 * compile, which the next run saves if it is written. So a file grows by what is worth two such
 * writes, or not often.
 */
bool store_worth(const struct unit *old, uint64_t bytes)
{
    return bytes && (!old->head || bytes >= old->head->file_size / WORTH_PART ||
                     old->written + WORTH_EVERY < time(NULL));
}

/* The program's limits are this process's: SIGXFSZ would be the program's end. */
static bool size_allowed(const struct unit *old, const struct unit_draft *d)
{
    struct rlimit limit;
    uint64_t most = (old->head ? old->head->file_size : 0) + d->bytes + sizeof(struct unit_head) +
                    d->page_count * sizeof(struct unit_page) +
                    d->record_count * sizeof(struct unit_entry);
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && most <= limit.rlim_cur;
}

/* A new file; its name is nobody else's. */
static int temporary(int dir, char name[STORE_NAME])
{
    static _Atomic unsigned count;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, STORE_NAME, STORE_TEMPORARY "%x-%x-%lx", (unsigned)getpid(),
             atomic_fetch_add(&count, 1), (unsigned long)now.tv_nsec);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        fchmod(fd, 0600); /* whatever the program's umask */
    return fd < 0 ? -errno : fd;
}

static int write_unit(int dir, const char *name, const struct unit_key *key, const struct unit *old,
                      struct unit_draft *d)
{
    char new[STORE_NAME];
    int fd = temporary(dir, new);
    if (fd < 0)
        return fd;
    int rc = unit_write(fd, key, old, d);
    if (close(fd) < 0 && !rc)
        rc = -errno;
    /* Some file systems write all of a file to the disk that takes the place of another. */
    if (!rc)
        unlinkat(dir, name, 0);
    if (!rc && renameat(dir, new, dir, name) < 0)
        rc = -errno;
    if (rc)
        unlinkat(dir, new, 0);
    return rc;
}

int store_add(const struct store *s, const struct unit_key *key, struct unit_draft *d)
{
    char name[STORE_NAME];
    struct unit old;
    int rc = 0, dir = store_directory(s, true);
    if (dir < 0)
        return dir;
    unit_name(name, key);
    read_from(dir, name, key, &old);
    draft_reduce(d, &old);
    bool worth = store_worth(&old, d->bytes);
    if (worth)
        rc = size_allowed(&old, d) ? write_unit(dir, name, key, &old, d) : -EFBIG;
    unit_close(&old);
    if (worth && !rc)
        store_shrink(s, dir);
    close(dir);
    return rc ? rc : worth;
}
