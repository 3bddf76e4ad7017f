/* What the actions of `guise disk` share: disk.c has the table, disk_copy.c those that copy. */
#pragma once

#include "base/error.h"
#include "block/image.h"
#include "block/nbd.h"

struct disk_settings {
    struct block_create create;
    const char *format, *to, *snapshot;
    bool repair, shrink;
    unsigned given;          /* options, as bits */
    const char *argument[2]; /* what is no option */
    struct nbd *remote[2];   /* connections to those that are network block devices */
    unsigned arguments;
};

/* "qcow2" for a name that ends so, else "raw". */
const char *disk_format_of_name(const char *path);

/* Exit codes of check, beside 0 and EXIT_USAGE. */
enum { DISK_DAMAGED = 1, DISK_LEAKS = 3 };

/* Actions return their exit code, or -errno with a sentence. */
int disk_convert(const struct disk_settings *s, struct error *err);
int disk_commit(const struct disk_settings *s, struct error *err);
