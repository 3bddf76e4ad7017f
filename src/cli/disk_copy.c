/* Disks copied: to a new file, or into the backing disk. */
#include "cli/disk.h"
#include "cli/progress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (UINT64_C(2) << 20)
#define GRAIN 4096u /* zeroes are looked for in pieces of so many bytes */

struct copy {
    struct block *from, *to;
    uint8_t *buf; /* CHUNK bytes */
    bool zeroes;  /* the target does not read as zeroes where nothing is written */
    struct progress progress;
};

static bool is_zero(const uint8_t *p, size_t len)
{
    return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* Length of the zeroes, or of what is none, that buf begins with. */
static size_t same_run(const uint8_t *buf, size_t len, bool *zero)
{
    size_t done = len < GRAIN ? len : GRAIN;
    *zero = is_zero(buf, done);
    while (done < len) {
        size_t step = len - done < GRAIN ? len - done : GRAIN;
        if (is_zero(buf + done, step) != *zero)
            break;
        done += step;
    }
    return done;
}

static int copy_write(struct copy *c, uint64_t at, size_t len)
{
    for (size_t done = 0; done < len;) {
        bool zero;
        size_t step = same_run(c->buf + done, len - done, &zero);
        int rc = 0;
        if (!zero)
            rc = block_write(c->to, at + done, c->buf + done, step);
        else if (c->zeroes)
            rc = block_write_zeroes(c->to, at + done, step, true);
        if (rc)
            return rc;
        done += step;
    }
    return 0;
}

static int copy_extent(struct copy *c, uint64_t at, uint64_t len)
{
    uint64_t total = block_size(c->from);
    int rc = 0;
    while (len && !rc) {
        size_t step = len < CHUNK ? (size_t)len : CHUNK;
        rc = block_read(c->from, at, c->buf, step);
        if (!rc)
            rc = copy_write(c, at, step);
        at += step;
        len -= step;
        progress_step(&c->progress, at, total);
    }
    return rc;
}

static int copy_start(struct copy *c, const char *what, struct error *err)
{
    c->buf = malloc(CHUNK);
    if (!c->buf)
        return error_set(err, ENOMEM, "out of memory");
    progress_start(&c->progress, what);
    return 0;
}

static void copy_end(struct copy *c)
{
    progress_end(&c->progress);
    free(c->buf);
}

static int copy_error(const struct copy *c, int rc, struct error *err)
{
    return error_set(err, -rc, "%s: cannot be copied to %s: %s", block_path(c->from),
                     block_path(c->to), strerror(-rc));
}

/* ---- to a new file ---- */

/* Whatever is not zeroes, from the whole chain. */
static int convert_copy(struct copy *c)
{
    int rc = 0;
    for (uint64_t at = 0; !rc && at < block_size(c->from);) {
        struct block_extent e;
        struct block *owner;
        unsigned depth;
        rc = block_map_chain(c->from, at, &e, &owner, &depth);
        if (!rc && e.kind != BLOCK_ZERO)
            rc = copy_extent(c, at, e.length);
        else if (!rc && c->zeroes)
            rc = block_write_zeroes(c->to, at, e.length, true);
        at += e.length;
        progress_step(&c->progress, at, block_size(c->from));
    }
    return rc ? rc : block_flush(c->to);
}

static int convert_all(struct copy *c, struct error *err)
{
    int rc = copy_start(c, "convert", err);
    if (rc)
        return rc;
    rc = convert_copy(c);
    copy_end(c);
    return rc ? copy_error(c, rc, err) : 0;
}

static int convert_to(const struct disk_settings *s, struct block *from, const char *format,
                      struct error *err)
{
    const struct block_options options = {.format = format};
    struct block_create how = s->create;
    struct copy c = {.from = from};
    how.format = format;
    how.size = block_size(from);
    int rc = block_create(s->argument[1], &how, err);
    if (rc)
        return rc;
    c.to = block_open(s->argument[1], &options, err);
    rc = c.to ? convert_all(&c, err) : -err->code;
    block_free(c.to);
    if (rc)
        unlink(s->argument[1]);
    return rc;
}

/* What is behind the end of the copy stays as it is. */
static int convert_to_remote(const struct disk_settings *s, struct block *from, const char *format,
                             struct error *err)
{
    const char *uri = s->argument[1];
    const struct block_options options = {.format = "raw", .remote = s->remote[1]};
    struct copy c = {.from = from, .zeroes = true, .to = block_open(uri, &options, err)};
    if (!c.to)
        return -err->code;
    int rc = 0;
    if (strcmp(format, "raw"))
        rc = error_set(err, ENOTSUP, "%s: only raw disks can be copied to a server", uri);
    else if (block_size(c.to) < block_size(from))
        rc = error_set(err, ENOSPC, "%s: has %llu bytes, fewer than the %llu of %s", uri,
                       (unsigned long long)block_size(c.to), (unsigned long long)block_size(from),
                       block_path(from));
    if (!rc)
        rc = convert_all(&c, err);
    block_free(c.to);
    return rc;
}

int disk_convert(const struct disk_settings *s, struct error *err)
{
    const struct block_options options = {
        .format = s->format, .readonly = true, .snapshot = s->snapshot, .remote = s->remote[0]};
    const char *to = s->argument[1];
    const char *format = s->to ? s->to : block_is_remote(to) ? "raw" : disk_format_of_name(to);
    struct block *from = block_open(s->argument[0], &options, err);
    if (!from) {
        nbd_free(s->remote[1]);
        return -err->code;
    }
    int rc = block_is_remote(to) ? convert_to_remote(s, from, format, err)
                                 : convert_to(s, from, format, err);
    block_free(from);
    return rc;
}

/* ---- into the backing disk ---- */

/* What the disk itself has, up to the end of the smaller one; never past it. */
static int commit_copy(struct copy *c)
{
    int rc = 0;
    for (uint64_t at = 0; !rc && at < block_size(c->from);) {
        struct block_extent e;
        rc = block_map(c->from, at, &e);
        if (!rc && e.kind == BLOCK_ZERO)
            rc = block_write_zeroes(c->to, at, e.length, true);
        else if (!rc && e.kind != BLOCK_NONE)
            rc = copy_extent(c, at, e.length);
        at += e.length;
        progress_step(&c->progress, at, block_size(c->from));
    }
    /* Only when the backing disk has it for good may the disk forget it. */
    if (!rc)
        rc = block_flush(c->to);
    if (!rc)
        rc = block_drop(c->from, 0, block_size(c->from));
    return rc ? rc : block_flush(c->from);
}

static int commit_to(struct block *from, const char *path, const char *format, struct error *err)
{
    const struct block_options options = {.format = format};
    struct copy c = {.from = from, .zeroes = true};
    c.to = block_open(path, &options, err);
    if (!c.to)
        return -err->code;
    int rc = 0;
    if (block_size(c.to) < block_size(from))
        rc = block_resize(c.to, block_size(from), err);
    if (!rc)
        rc = copy_start(&c, "commit", err);
    if (!rc) {
        rc = commit_copy(&c);
        copy_end(&c);
        if (rc)
            copy_error(&c, rc, err);
    }
    block_free(c.to);
    return rc;
}

int disk_commit(const struct disk_settings *s, struct error *err)
{
    const struct block_options options = {
        .format = s->format, .no_backing = true, .remote = s->remote[0]};
    struct block *from = block_open(s->argument[0], &options, err);
    struct block_info info;
    char path[4096];
    if (!from)
        return -err->code;
    int rc = block_backing_path(from, path, sizeof path, err);
    if (!rc)
        rc = block_info(from, &info);
    if (!rc && !info.backing_format)
        rc = error_set(err, EINVAL, "%s: does not say which format its backing file has",
                       s->argument[0]);
    if (!rc)
        rc = commit_to(from, path, info.backing_format, err);
    block_free(from);
    return rc;
}
