/*
 * The directory of translations: one file (unit.h) for each image, shared by all processes of a
 * user. It is $GUISE_CACHE, else guise in $XDG_CACHE_HOME or in ~/.cache; an empty $GUISE_CACHE is
 * none.
 *
 * Code that is in a file is executed, so the directory and its files are looked at only when they
 * belong to the effective user and nobody else may write to them; symbolic links are not followed.
 * Files are never changed: a new one is written beside, and takes the old one's name when it is
 * complete. Whatever fails is no reason for the program to fail; there is no cache then.
 *
 * When there is more than the limit, the files that have not been used for the longest time go. A
 * file's time of access is that of its last use, to the hour.
 *
 * No file descriptor is held between calls: they are the program's. Threads: any, no state changes.
 */
#pragma once

#include "store/unit.h"

#include <sys/types.h>

struct error;

#define STORE_LIMIT (UINT64_C(1) << 30) /* bytes, unless told otherwise */

struct store;

/* limit: bytes, 0: STORE_LIMIT. NULL: there is to be none, or it may not be used: *err says why. */
struct store *store_new(uint64_t limit, struct error *err);
void store_free(struct store *s);
const char *store_path(const struct store *s);
uint64_t store_limit(const struct store *s);

/* The unit for the key; false: there is none that is good. */
bool store_read(const struct store *s, const struct unit_key *key, struct unit *out);

/* Whether so many bytes of new records are worth writing: a good part of the unit, or it is old. */
bool store_worth(const struct unit *old, uint64_t bytes);
/*
 * Adds the draft to the unit of that key as it is now, if that is worth the writing. The draft is
 * the poorer for what the file has already. 1: written, 0: not worth it, or -errno.
 */
int store_add(const struct store *s, const struct unit_key *key, struct unit_draft *d);

/* ---- for people ---- */

struct store_file {
    const char *name; /* in the directory */
    uint64_t size;
    struct timespec used;
    enum {
        STORE_UNIT,
        STORE_ARCHIVE_FILE, /* of a machine's disk (archive.h) */
        STORE_LEFT,         /* from a writer that did not get to its end, or still will */
        STORE_FOREIGN,      /* not ours, or writable for others: never used */
    } kind;
};

/* Calls fn for all files that belong to the store. 0, or -errno with *err; -ENOENT: no directory.
 */
int store_each(const struct store *s, void (*fn)(void *ctx, int dir, const struct store_file *f),
               void *ctx, struct error *err);

/* Whether all of a file is as it was written; *key: what it is for. */
bool store_verify(int dir, const char *name, struct unit_key *key);
