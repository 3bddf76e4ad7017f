#include "cli/disk.h"

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/sandbox.h"
#include "cli/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- options ---- */

enum {
    OPT_FORMAT = 1 << 0,
    OPT_CREATE = 1 << 1, /* of new images */
    OPT_BACKING = 1 << 2,
    OPT_SNAPSHOT = 1 << 3,
    OPT_REPAIR = 1 << 4,
    OPT_SHRINK = 1 << 5,
    OPT_TO = 1 << 6,
};

#define SET_STRING(name, member, bit)                                      \
    static int set_##name(void *ctx, const char *value, struct error *err) \
    {                                                                      \
        struct disk_settings *s = ctx;                                     \
        (void)err;                                                         \
        s->member = value;                                                 \
        s->given |= (bit);                                                 \
        return 0;                                                          \
    }

#define SET_SWITCH(name, member, bit)                                      \
    static int set_##name(void *ctx, const char *value, struct error *err) \
    {                                                                      \
        struct disk_settings *s = ctx;                                     \
        (void)value;                                                       \
        (void)err;                                                         \
        s->member = true;                                                  \
        s->given |= (bit);                                                 \
        return 0;                                                          \
    }

SET_STRING(format, format, OPT_FORMAT)
SET_STRING(to, to, OPT_TO)
SET_STRING(snapshot, snapshot, OPT_SNAPSHOT)
SET_STRING(backing, create.backing, OPT_BACKING)
SET_STRING(backing_format, create.backing_format, OPT_BACKING)
SET_SWITCH(lazy, create.lazy_refcounts, OPT_CREATE)
SET_SWITCH(repair, repair, OPT_REPAIR)
SET_SWITCH(shrink, shrink, OPT_SHRINK)

static int set_cluster_size(void *ctx, const char *value, struct error *err)
{
    struct disk_settings *s = ctx;
    uint64_t size;
    if (parse_size(value, &size, err))
        return error_prefix(err, "--cluster-size");
    s->given |= OPT_CREATE;
    s->create.cluster_size = size > UINT32_MAX || !size ? 1 : (uint32_t)size; /* 1 is refused */
    return 0;
}

static int set_number(struct disk_settings *s, const char *option, const char *value,
                      unsigned *number, struct error *err)
{
    uint64_t n;
    if (parse_number(value, 1, 64, &n, err))
        return error_prefix(err, "%s", option);
    s->given |= OPT_CREATE;
    *number = (unsigned)n;
    return 0;
}

static int set_version(void *ctx, const char *value, struct error *err)
{
    struct disk_settings *s = ctx;
    return set_number(s, "--image-version", value, &s->create.version, err);
}

static int set_refcount_bits(void *ctx, const char *value, struct error *err)
{
    struct disk_settings *s = ctx;
    return set_number(s, "--refcount-bits", value, &s->create.refcount_bits, err);
}

/* One of two words; the second sets *second. */
static int set_choice(struct disk_settings *s, const char *option, const char *value,
                      const char *const words[2], bool *second, struct error *err)
{
    if (strcmp(value, words[0]) && strcmp(value, words[1]))
        return error_set(err, EINVAL, "%s: '%s' is neither %s nor %s", option, value, words[0],
                         words[1]);
    *second = !strcmp(value, words[1]);
    s->given |= OPT_CREATE;
    return 0;
}

static int set_preallocation(void *ctx, const char *value, struct error *err)
{
    static const char *const words[2] = {"off", "metadata"};
    struct disk_settings *s = ctx;
    return set_choice(s, "--preallocation", value, words, &s->create.preallocate, err);
}

static int set_compression(void *ctx, const char *value, struct error *err)
{
    static const char *const words[2] = {"zlib", "zstd"};
    struct disk_settings *s = ctx;
    return set_choice(s, "--compression", value, words, &s->create.zstd, err);
}

static const struct option disk_options[] = {
    {"format", "raw|qcow2",
     "what FILE is, or for create is to be; otherwise what it begins with decides, and a new one "
     "is "
     "what its name ends with, raw or qcow2",
     set_format},
    {"to", "raw|qcow2", "convert: what TARGET is to be; otherwise what its name ends with", set_to},
    {"snapshot", "NAME", "convert, map: the disk as it was in an internal snapshot", set_snapshot},
    {"backing", "FILE", "create: what is not written comes from this disk", set_backing},
    {"backing-format", "raw|qcow2", "create: what the backing disk is; needed with --backing",
     set_backing_format},
    {"cluster-size", "SIZE", "of new qcow2 images, 512 to 2M (default 64K)", set_cluster_size},
    {"preallocation", "off|metadata",
     "of new qcow2 images: metadata gives every cluster its place at once", set_preallocation},
    {"image-version", "2|3", "of new qcow2 images (default 3)", set_version},
    {"refcount-bits", "N", "of new qcow2 images: 1, 2, 4, 8, 16 (default), 32 or 64",
     set_refcount_bits},
    {"lazy-refcounts", NULL, "of new qcow2 images: programs that know how may write refcounts late",
     set_lazy},
    {"compression", "zlib|zstd", "of new qcow2 images: what programs that compress are to use",
     set_compression},
    {"repair", NULL, "check: set what is wrong right", set_repair},
    {"shrink", NULL, "resize: allow to drop what is beyond a smaller size", set_shrink},
    {NULL, NULL, NULL, NULL},
};

static int disk_argument(void *ctx, const char *value, struct error *err)
{
    struct disk_settings *s = ctx;
    if (s->arguments == 2)
        return error_set(err, EINVAL, "unexpected argument '%s'", value);
    s->argument[s->arguments++] = value;
    return 0;
}

/* ---- actions ---- */

static struct block *disk_open(const struct disk_settings *s, bool readonly, struct error *err)
{
    const struct block_options options = {
        .format = s->format,
        .readonly = readonly,
        .snapshot = s->snapshot,
        .repair = s->repair,
        .remote = s->remote[0],
    };
    return block_open(s->argument[0], &options, err);
}

const char *disk_format_of_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".qcow2") || !strcmp(dot, ".qcow")) ? "qcow2" : "raw";
}

static int disk_create(const struct disk_settings *s, struct error *err)
{
    struct block_create how = s->create;
    how.format = s->format ? s->format : disk_format_of_name(s->argument[0]);
    if (s->arguments > 1 && parse_size(s->argument[1], &how.size, err))
        return -err->code;
    if (s->arguments < 2 && !how.backing)
        return error_set(err, EINVAL, "create needs a size behind the file's name");
    if (how.backing_format && !how.backing)
        return error_set(err, EINVAL, "--backing-format without --backing");
    return block_create(s->argument[0], &how, err);
}

static void print_size(const char *what, uint64_t bytes)
{
    printf("%-16s %llu bytes (%.1f MiB)\n", what, (unsigned long long)bytes,
           (double)bytes / (1 << 20));
}

static void print_qcow2(struct block *b, const struct block_info *info)
{
    printf("%-16s %u\n%-16s %u bytes\n%-16s %u bits%s\n%-16s %s\n", "version", info->version,
           "clusters", info->cluster_size, "refcounts", info->refcount_bits,
           info->lazy_refcounts ? ", lazy" : "", "compression", info->compression);
    if (info->dirty)
        printf("%-16s refcounts wait for a repair\n", "not closed");
    if (info->corrupt)
        printf("%-16s marked so; it is not written\n", "damaged");
    if (info->backing)
        printf("%-16s %s (%s)\n", "backing file", info->backing,
               info->backing_format ? info->backing_format : "it does not say of which format");
    for (unsigned i = 0; i < info->snapshots; i++) {
        struct block_snapshot snapshot;
        char day[32] = "";
        struct tm tm;
        block_snapshot(b, i, &snapshot);
        time_t t = snapshot.seconds;
        if (localtime_r(&t, &tm))
            strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm);
        printf("%-16s %s '%s', %s, %llu bytes\n", i ? "" : "snapshots", snapshot.id, snapshot.name,
               day, (unsigned long long)snapshot.size);
    }
}

static int disk_info(const struct disk_settings *s, struct error *err)
{
    /* What is behind it may be missing: an image is to be described all the same. */
    const struct block_options options = {
        .format = s->format, .readonly = true, .no_backing = true, .remote = s->remote[0]};
    struct block *b = block_open(s->argument[0], &options, err);
    struct block_info info;
    if (!b)
        return -err->code;
    int rc = block_info(b, &info);
    if (rc) {
        error_set(err, -rc, "%s: %s", s->argument[0], strerror(-rc));
    } else {
        printf("%-16s %s\n", "format", block_format(b));
        print_size("disk", block_size(b));
        print_size("file", info.file_size);
        if (!block_is_remote(s->argument[0]))
            print_size("on the host", info.allocated);
        if (info.cluster_size)
            print_qcow2(b, &info);
    }
    block_free(b);
    return rc;
}

static int disk_check_result(const char *path, const struct block_check *r)
{
    uint64_t errors = r->errors - r->errors_fixed, leaks = r->leaks - r->leaks_fixed;
    if (r->errors)
        printf("%s: %llu errors, %llu of them repaired\n", path, (unsigned long long)r->errors,
               (unsigned long long)r->errors_fixed);
    if (r->leaks)
        printf("%s: %llu clusters belong to nobody, %llu of them given back\n", path,
               (unsigned long long)r->leaks, (unsigned long long)r->leaks_fixed);
    if (!r->errors && !r->leaks)
        printf("%s: no errors\n", path);
    printf("%llu of %llu clusters hold data, %llu of them compressed\n",
           (unsigned long long)r->data_clusters, (unsigned long long)r->total_clusters,
           (unsigned long long)r->compressed_clusters);
    return errors ? DISK_DAMAGED : leaks ? DISK_LEAKS : 0;
}

static int disk_check(const struct disk_settings *s, struct error *err)
{
    const struct block_options options = {.format = s->format,
                                          .readonly = !s->repair,
                                          .no_backing = true,
                                          .repair = s->repair,
                                          .remote = s->remote[0]};
    struct block *b = block_open(s->argument[0], &options, err);
    struct block_check result;
    struct progress progress;
    if (!b)
        return -err->code;
    progress_start(&progress, "check");
    int rc = block_check(b, s->repair, &result, &progress.step, err);
    progress_end(&progress);
    block_free(b);
    return rc ? rc : disk_check_result(s->argument[0], &result);
}

static int disk_resize(const struct disk_settings *s, struct error *err)
{
    const char *text = s->argument[1];
    uint64_t size;
    if (s->arguments < 2)
        return error_set(err, EINVAL, "resize needs a size, or +SIZE, behind the file's name");
    if (parse_size(text + (text[0] == '+'), &size, err))
        return -err->code;
    struct block *b = disk_open(s, false, err);
    if (!b)
        return -err->code;
    uint64_t now = block_size(b);
    int rc = 0;
    if (text[0] == '+' && __builtin_add_overflow(size, now, &size))
        rc = error_set(err, ERANGE, "'%s' is too much", text);
    else if (size < now && !s->shrink)
        rc = error_set(err, EINVAL,
                       "%s: has %llu bytes; --shrink allows to drop what is beyond %llu",
                       s->argument[0], (unsigned long long)now, (unsigned long long)size);
    if (!rc)
        rc = block_resize(b, size, err);
    block_free(b);
    return rc;
}

static int disk_map(const struct disk_settings *s, struct error *err)
{
    static const char *const kinds[] = {"none", "zero", "data", "compressed"};
    struct block *b = disk_open(s, true, err);
    int rc = 0;
    if (!b)
        return -err->code;
    puts("offset           length           kind        host             depth  file");
    for (uint64_t at = 0; !rc && at < block_size(b);) {
        struct block_extent e;
        struct block *owner;
        unsigned depth;
        rc = block_map_chain(b, at, &e, &owner, &depth);
        if (rc)
            error_set(err, -rc, "%s: offset %llu: %s", s->argument[0], (unsigned long long)at,
                      strerror(-rc));
        else
            printf("%#-16llx %#-16llx %-11s %#-16llx %-6u %s\n", (unsigned long long)at,
                   (unsigned long long)e.length, kinds[e.kind],
                   e.kind == BLOCK_DATA ? (unsigned long long)e.host : 0ull, depth,
                   block_path(owner));
        at += e.length;
    }
    block_free(b);
    return rc;
}

/* ---- the verb ---- */

/* Which files an action may write; it may read all, since images name others. */
enum disk_writes { WRITES_NOTHING, WRITES_FIRST, WRITES_SECOND, WRITES_CHAIN };

static const struct disk_action {
    const char *name, *usage, *summary;
    int (*run)(const struct disk_settings *s, struct error *err);
    unsigned options;
    unsigned arguments; /* at least */
    enum disk_writes writes;
} disk_actions[] = {
    {"create", "FILE [SIZE]", "makes a disk; without SIZE as large as its backing disk",
     disk_create, OPT_FORMAT | OPT_CREATE | OPT_BACKING, 1, WRITES_FIRST},
    {"info", "FILE", "says what a disk is", disk_info, OPT_FORMAT, 1, WRITES_NOTHING},
    {"convert", "FILE TARGET", "copies a disk to a new file, or to a network block device",
     disk_convert, OPT_FORMAT | OPT_CREATE | OPT_SNAPSHOT | OPT_TO, 2, WRITES_SECOND},
    {"check", "FILE", "looks for damage: exit code 1, or 3 for clusters that nobody uses",
     disk_check, OPT_FORMAT | OPT_REPAIR, 1, WRITES_FIRST},
    {"resize", "FILE [+]SIZE", "changes a disk's size", disk_resize, OPT_FORMAT | OPT_SHRINK, 2,
     WRITES_FIRST},
    {"commit", "FILE", "writes what a disk has to its backing disk, and empties it", disk_commit,
     OPT_FORMAT, 1, WRITES_CHAIN},
    {"map", "FILE", "tells where the contents are", disk_map, OPT_FORMAT | OPT_SNAPSHOT, 1,
     WRITES_NOTHING},
};
#define ACTION_COUNT (sizeof disk_actions / sizeof disk_actions[0])

/* The file, or where it is to be made. */
static const char *disk_place(const char *path, char *buf, size_t size)
{
    if (!access(path, F_OK))
        return path;
    const char *slash = strrchr(path, '/');
    snprintf(buf, size, "%.*s", slash ? (int)(slash - path + (slash == path)) : 1,
             slash ? path : ".");
    return buf;
}

static void disk_disconnect(struct disk_settings *s)
{
    nbd_free(s->remote[0]);
    nbd_free(s->remote[1]);
}

/* While programs can be started. */
static int disk_connect(const struct disk_action *a, struct disk_settings *s, struct error *err)
{
    if (a->run == disk_create)
        return 0;
    if (a->run == disk_convert && s->given & OPT_CREATE && block_is_remote(s->argument[1]))
        return error_set(err, EINVAL, "%s: these options are for new images", s->argument[1]);
    for (unsigned i = 0; i < s->arguments; i++)
        if (block_is_remote(s->argument[i]) && !(s->remote[i] = nbd_connect(s->argument[i], err)))
            return -err->code;
    return 0;
}

/* Images are hostile: what reads them can start nothing, reach nobody, and write what it is for. */
static int disk_confine(const struct disk_action *a, const struct disk_settings *s,
                        struct error *err)
{
    char place[4096];
    struct confine_report report;
    struct landlock_path paths[2] = {
        {.path = "/", .rights = a->writes == WRITES_CHAIN ? LANDLOCK_WRITE : LANDLOCK_READ}};
    struct confine how = {
        .calls = CALLS_IMAGE, .quiet = true, .keep = true, .paths = paths, .path_count = 1};
    if (sandbox_is_off())
        return 0;
    bool second = a->writes == WRITES_SECOND;
    if ((a->writes == WRITES_FIRST || second) && !block_is_remote(s->argument[second]))
        paths[how.path_count++] = (struct landlock_path){
            .path = disk_place(s->argument[second], place, sizeof place), .rights = LANDLOCK_WRITE};
    int rc = confine(&how, &report, err);
    return rc == -ENOSYS ? 0 : rc;
}

static int disk_run(const struct disk_action *a, int argc, char **argv)
{
    struct disk_settings s = {0};
    struct error err = {0};
    int rc = options_parse(disk_options, argc, argv, &s, disk_argument, &err);
    if (!rc && s.given & ~a->options)
        rc = error_set(&err, EINVAL,
                       "disk %s does not take one of these options; 'guise help disk' "
                       "tells which it takes",
                       a->name);
    if (!rc && s.arguments < a->arguments)
        rc = error_set(&err, EINVAL, "disk %s needs more: guise disk %s %s", a->name, a->name,
                       a->usage);
    if (!rc && s.arguments > 1 && !strchr(a->usage, ' '))
        rc = error_set(&err, EINVAL, "unexpected argument '%s'", s.argument[1]);
    if (!rc)
        rc = disk_connect(a, &s, &err);
    if (!rc)
        rc = disk_confine(a, &s, &err);
    if (!rc)
        rc = a->run(&s, &err);
    else
        disk_disconnect(&s);
    return rc < 0 ? fail_usage(err.msg) : rc;
}

static int run_disk(int argc, char **argv)
{
    for (size_t i = 0; argc && i < ACTION_COUNT; i++)
        if (!strcmp(argv[0], disk_actions[i].name))
            return disk_run(&disk_actions[i], argc - 1, argv + 1);
    return fail_usage("disk needs to be told what: create, info, convert, check, resize, commit or "
                      "map; 'guise help disk' explains them");
}

static void disk_help(FILE *out)
{
    fputs(
        "\nDisks as files: raw, or qcow2 as QEMU has them. FILE may also be the URI of a network\n"
        "block device, nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH.\n\n",
        out);
    for (size_t i = 0; i < ACTION_COUNT; i++)
        fprintf(out, "  %-8s %-13s %s\n", disk_actions[i].name, disk_actions[i].usage,
                disk_actions[i].summary);
    fputs("\noptions:\n", out);
    options_help(disk_options, out);
}

const struct verb verb_disk = {
    .name = "disk",
    .usage = "disk ACTION [OPTION]... FILE",
    .summary = "make and look after disk images",
    .run = run_disk,
    .help = disk_help,
};
