#include "cli/cache.h"

#include "cli/options.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct store *cache_open(struct error *err)
{
    uint64_t limit = 0;
    const char *size = getenv("GUISE_CACHE_SIZE");
    if (size && parse_size(size, &limit, err)) {
        error_prefix(err, "GUISE_CACHE_SIZE");
        return NULL;
    }
    return store_new(limit, err);
}

struct cache_sum {
    uint64_t files, size, left, foreign;
    uint64_t damaged;
    struct timespec oldest;
};

/* ---- status ---- */

static void status_file(void *ctx, int dir, const struct store_file *f)
{
    struct cache_sum *sum = ctx;
    (void)dir;
    sum->left += f->kind == STORE_LEFT;
    sum->foreign += f->kind == STORE_FOREIGN;
    if (f->kind != STORE_UNIT && f->kind != STORE_ARCHIVE_FILE)
        return;
    if (!sum->files++ || f->used.tv_sec < sum->oldest.tv_sec)
        sum->oldest = f->used;
    sum->size += f->size;
}

static void status_print(const struct store *s, const struct cache_sum *sum)
{
    const double mib = 1 << 20;
    char day[32] = "";
    struct tm tm;
    printf("directory    %s\n", store_path(s));
    printf("files        %llu, %.1f MiB of at most %.1f\n", (unsigned long long)sum->files,
           (double)sum->size / mib, (double)store_limit(s) / mib);
    if (sum->files && localtime_r(&sum->oldest.tv_sec, &tm) &&
        strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm))
        printf("unused since %s, the oldest\n", day);
    if (sum->left)
        printf("unfinished   %llu\n", (unsigned long long)sum->left);
    if (sum->foreign)
        printf("not used     %llu: of others, or writable for others\n",
               (unsigned long long)sum->foreign);
}

/* ---- clear ---- */

static void clear_file(void *ctx, int dir, const struct store_file *f)
{
    struct cache_sum *sum = ctx;
    if (unlinkat(dir, f->name, 0) < 0)
        return;
    sum->files++;
    sum->size += f->size;
}

static void clear_print(const struct store *s, const struct cache_sum *sum)
{
    (void)s;
    printf("%llu files removed, %.1f MiB\n", (unsigned long long)sum->files,
           (double)sum->size / (1 << 20));
}

/* ---- verify ---- */

static void verify_file(void *ctx, int dir, const struct store_file *f)
{
    struct cache_sum *sum = ctx;
    struct unit_key key;
    if (f->kind != STORE_UNIT)
        return;
    sum->files++;
    if (store_verify(dir, f->name, &key))
        return;
    sum->damaged++;
    printf("%s is damaged, %s\n", f->name,
           unlinkat(dir, f->name, 0) < 0 ? "and cannot be removed" : "and has been removed");
}

static void verify_print(const struct store *s, const struct cache_sum *sum)
{
    (void)s;
    printf("%llu files, %llu damaged\n", (unsigned long long)sum->files,
           (unsigned long long)sum->damaged);
}

/* ---- the verb ---- */

static const struct cache_action {
    const char *name;
    void (*file)(void *ctx, int dir, const struct store_file *f);
    void (*print)(const struct store *s, const struct cache_sum *sum);
} cache_actions[] = {
    {"status", status_file, status_print},
    {"clear", clear_file, clear_print},
    {"verify", verify_file, verify_print},
};

static int cache_do(const struct cache_action *a)
{
    struct cache_sum sum = {0};
    struct error err;
    struct store *s = cache_open(&err);
    if (!s)
        return fail_usage(err.msg);
    int rc = store_each(s, a->file, &sum, &err);
    if (!rc || rc == -ENOENT) /* nothing has been kept yet */
        a->print(s, &sum);
    store_free(s);
    return rc && rc != -ENOENT ? fail_usage(err.msg) : sum.damaged ? 1 : 0;
}

static int run_cache(int argc, char **argv)
{
    for (size_t i = 0; argc == 1 && i < sizeof cache_actions / sizeof cache_actions[0]; i++)
        if (!strcmp(argv[0], cache_actions[i].name))
            return cache_do(&cache_actions[i]);
    return fail_usage("cache needs to be told what: guise cache status, clear or verify");
}

static void cache_help(FILE *out)
{
    fputs("\nTranslations that 'guise exec' has made are kept for the next run, for all processes "
          "of\n"
          "a user.\n\n"
          "  status   where they are, how many and how large\n"
          "  clear    removes all of them\n"
          "  verify   compares each with its checksums; removes what is damaged\n\n"
          "They are in $GUISE_CACHE, else in $XDG_CACHE_HOME/guise or ~/.cache/guise; an empty\n"
          "GUISE_CACHE: nowhere. Nobody else may be able to write there. GUISE_CACHE_SIZE is the\n"
          "most that there may be, 1G by default; what was not used for the longest time goes.\n",
          out);
}

const struct verb verb_cache = {
    .name = "cache",
    .usage = "cache status|clear|verify",
    .summary = "look after kept translations",
    .run = run_cache,
    .help = cache_help,
};
