/*
 * What a machine's translator has made, for the next time that the machine is started: one file in
 * the store's directory for each disk, to which records are appended while the machine runs.
 *
 * It is opened before the machine is confined, and by one process at a time. Nobody but machines
 * with this disk, or with one that is over it, reads what is in it: code in it is executed, and who
 * has broken out of a guest into its process can write to the file. So it is found by the disk's
 * file itself (device, inode and time of birth), and a copy of a disk has an archive of its own.
 *
 * An archive can be over others, which are read where it has nothing, and not written: those of the
 * disks that this one takes its contents from.
 *
 * In the file: head, then records, each with its place and a checksum. An index in memory is made
 * by going through it; a record that a writer did not finish ends it. A record is copied out, then
 * compared with its checksum. When the file is full it is begun anew by the next run.
 *
 * Threads: any, but archive_begin comes first.
 */
#pragma once

#include "store/unit.h"

struct error;
struct store;
struct archive;

/* Opens the archive of a disk. NULL: there is to be none, or it may not be used: *err says why. */
struct archive *store_archive(const struct store *s, const char *disk, struct error *err);
/*
 * Puts the archive of another disk below it and those that are there already, if that disk has one
 * that may be used. Before archive_begin.
 */
void archive_put_below(struct archive *a, const struct store *s, const char *disk);
void archive_free(struct archive *a); /* with those below; or NULL */

/*
 * What the records depend on besides the disk; each engine says so before it uses any. Records made
 * for something else are dropped by the first; false: this engine is unlike it.
 */
bool archive_begin(struct archive *a, uint64_t exts, uint64_t build, uint64_t host);

/* Copies the record of a place on a page, at most UNIT_MAX_RECORD bytes: its size, 0: there is none
 * that is good. */
uint32_t archive_get(struct archive *a, uint64_t page, uint32_t place, void *to);
/* Adds one, if there is none and there is room. */
void archive_add(struct archive *a, uint64_t page, uint32_t place, const void *bytes,
                 uint32_t size);
/* Calls fn for each place of the page; fn uses the archive no further. */
void archive_each(struct archive *a, uint64_t page, void (*fn)(void *ctx, uint32_t place),
                  void *ctx);
