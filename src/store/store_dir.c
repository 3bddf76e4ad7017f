/* All files of the store: what there is, and what has to go. */
#include "base/error.h"
#include "store/store_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STAMP "looked" /* its time of change: when the directory was last looked through */
#define LOOK_EVERY 10  /* seconds */
#define SMALL (UINT64_C(64) << 20) /* limits below that are kept to at once */
#define DEAD_AFTER 600             /* seconds, in which a writer surely has come to its end */

/* ---- looking through ---- */

static bool is_unit(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == 32 && !strcmp(name + digits, STORE_SUFFIX);
}

static bool is_archive(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == 32 && !strcmp(name + digits, STORE_ARCHIVE);
}

static bool is_temporary(const char *name)
{
    return !strncmp(name, STORE_TEMPORARY, strlen(STORE_TEMPORARY));
}

static bool file_look(int dir, const char *name, struct store_file *f)
{
    struct stat st;
    if ((!is_unit(name) && !is_archive(name) && !is_temporary(name)) ||
        fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
        return false;
    *f = (struct store_file){.name = name, .size = (uint64_t)st.st_size, .used = st.st_atim};
    f->kind = !store_owned(&st, S_IFREG) ? STORE_FOREIGN
              : is_unit(name)            ? STORE_UNIT
              : is_archive(name)         ? STORE_ARCHIVE_FILE
                                         : STORE_LEFT;
    if (f->kind == STORE_LEFT)
        f->used = st.st_mtim;
    return true;
}

/* dir stays open. */
static int each_file(int dir, void (*fn)(void *ctx, int dir, const struct store_file *f), void *ctx)
{
    struct store_file f;
    const struct dirent *entry;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while ((entry = readdir(d)) != NULL)
        if (file_look(dir, entry->d_name, &f))
            fn(ctx, dir, &f);
    closedir(d);
    return 0;
}

int store_each(const struct store *s, void (*fn)(void *ctx, int dir, const struct store_file *f),
               void *ctx, struct error *err)
{
    int dir = store_directory(s, false);
    int rc = dir < 0 ? dir : each_file(dir, fn, ctx);
    if (dir >= 0)
        close(dir);
    return rc ? error_set(err, -rc, "%s: %s", s->path, strerror(-rc)) : 0;
}

bool store_verify(int dir, const char *name, struct unit_key *key)
{
    struct unit_head head;
    struct unit u = {0};
    int fd = store_file(dir, name);
    bool ok = fd >= 0 && pread(fd, &head, sizeof head, 0) == (ssize_t)sizeof head &&
              unit_open(&u, fd, &head.key);
    for (uint32_t i = 0; ok && i < u.head->entry_count; i++) {
        void *record = malloc(u.entries[i].size + 1u);
        ok = record && (!u.entries[i].size || unit_get(&u, &u.entries[i], record));
        free(record);
    }
    *key = ok ? head.key : (struct unit_key){0};
    unit_close(&u);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* ---- what has to go ---- */

struct shrink_file {
    char name[STORE_NAME];
    uint64_t size;
    struct timespec used;
};

struct shrink {
    struct shrink_file *files;
    size_t count, cap;
    uint64_t size;
    time_t now;
};

static void shrink_note(void *ctx, int dir, const struct store_file *f)
{
    struct shrink *s = ctx;
    if (f->kind == STORE_FOREIGN || strlen(f->name) >= STORE_NAME)
        return;
    if (f->kind == STORE_LEFT) {
        if (f->used.tv_sec + DEAD_AFTER < s->now)
            unlinkat(dir, f->name, 0);
        return;
    }
    if (s->count == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        struct shrink_file *files = realloc(s->files, cap * sizeof *files);
        if (!files)
            return;
        s->files = files;
        s->cap = cap;
    }
    struct shrink_file *to = &s->files[s->count++];
    *to = (struct shrink_file){.size = f->size, .used = f->used};
    memcpy(to->name, f->name, strlen(f->name) + 1);
    s->size += f->size;
}

static int used_order(const void *a, const void *b)
{
    const struct timespec *x = &((const struct shrink_file *)a)->used;
    const struct timespec *y = &((const struct shrink_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Whether it is time; then it is noted that it has been done. */
static bool shrink_due(const struct store *s, int dir)
{
    struct stat st;
    if (s->limit < SMALL)
        return true;
    bool there = fstatat(dir, STAMP, &st, AT_SYMLINK_NOFOLLOW) == 0;
    time_t now = time(NULL);
    if (there && st.st_mtim.tv_sec <= now && st.st_mtim.tv_sec + LOOK_EVERY > now)
        return false;
    int fd = openat(dir, STAMP, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return false;
    futimens(fd, NULL);
    close(fd);
    return true;
}

/* Some more than must be goes, so that it is not for each file that it has to. */
void store_shrink(const struct store *s, int dir)
{
    struct shrink all = {.now = time(NULL)};
    if (!shrink_due(s, dir))
        return;
    each_file(dir, shrink_note, &all);
    if (all.size > s->limit) {
        qsort(all.files, all.count, sizeof *all.files, used_order);
        for (size_t i = 0; i < all.count && all.size > s->limit / 8 * 7; i++) {
            unlinkat(dir, all.files[i].name, 0);
            all.size -= all.files[i].size;
        }
    }
    free(all.files);
}
