/*
 * qcow2 images, versions 2 and 3 (QEMU's docs/interop/qcow2; docs/disks.md says what of it).
 *
 * Everything in the file is hostile: what is read is checked before it is used. Numbers in the file
 * are big-endian; the tables in memory are as in the file.
 *
 * Locking: `lock` protects all tables, caches and counters; functions that say "lock held" need it.
 * Data is read and written without it, by requests that hold their guest clusters (ranges.c), so
 * that nobody moves them meanwhile. The order is range, lock.
 */
#pragma once

#include "block/image.h"
#include "block/impl.h"

#include <pthread.h>

#define QCOW2_COPIED (UINT64_C(1) << 63)     /* L1, L2: the refcount is exactly one */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62) /* L2 */
#define QCOW2_ZERO UINT64_C(1)               /* L2, version 3 */
#define QCOW2_OFFSET UINT64_C(0x00fffffffffffe00)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)

enum {
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_MAX_L1 = 32 << 20,      /* bytes */
    QCOW2_MAX_REFTABLE = 8 << 20, /* bytes */
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_TABLE = 64 << 20, /* bytes */
};

/* Incompatible features. */
enum {
    QCOW2_DIRTY = 1,
    QCOW2_CORRUPT = 2,
    QCOW2_DATA_FILE = 4,
    QCOW2_COMPRESSION = 8,
    QCOW2_EXTL2 = 16
};
/* Compatible features. */
enum { QCOW2_LAZY = 1 };
/* Auto-clear features. */
enum { QCOW2_BITMAPS = 1 };

enum { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

/* Offsets of header fields. */
enum {
    QCOW2_H_VERSION = 4,
    QCOW2_H_BACKING_OFFSET = 8,
    QCOW2_H_BACKING_SIZE = 16,
    QCOW2_H_CLUSTER_BITS = 20,
    QCOW2_H_SIZE = 24,
    QCOW2_H_CRYPT = 32,
    QCOW2_H_L1_SIZE = 36,
    QCOW2_H_L1_OFFSET = 40,
    QCOW2_H_REFTABLE_OFFSET = 48,
    QCOW2_H_REFTABLE_CLUSTERS = 56,
    QCOW2_H_SNAPSHOTS = 60,
    QCOW2_H_SNAPSHOTS_OFFSET = 64,
    QCOW2_H_V2_LENGTH = 72,
    QCOW2_H_INCOMPATIBLE = 72,
    QCOW2_H_COMPATIBLE = 80,
    QCOW2_H_AUTOCLEAR = 88,
    QCOW2_H_REFCOUNT_ORDER = 96,
    QCOW2_H_LENGTH = 100,
    QCOW2_H_COMPRESSION = 104,
    QCOW2_H_V3_LENGTH = 112,
};

/* Header extensions. */
#define QCOW2_X_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_X_BITMAPS UINT32_C(0x23852875)

/* The header as numbers. */
struct qcow2_header {
    uint32_t version, cluster_bits, l1_size, reftable_clusters, snapshots, refcount_order, length;
    uint64_t size, l1_offset, reftable_offset, snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint8_t compression;
    uint64_t bitmaps_offset, bitmaps_size;
    uint32_t bitmaps;
    char backing[1024], backing_format[32]; /* empty: none */
};

/* A cache of tables of one cluster each, by their offset in the file. */
struct qcow2_table {
    uint64_t offset; /* 0: unused */
    uint8_t *data;
    bool dirty;
    uint64_t used; /* when: a counter */
    unsigned next; /* in the bucket, index + 1 */
};

struct qcow2_cache {
    struct qcow2_table *tables;
    unsigned *buckets; /* index + 1 of the first */
    unsigned count, bucket_count, dirty;
    uint64_t clock;
};

/* A set of host clusters. */
struct qcow2_set {
    uint64_t *slots; /* cluster + 1, 0: empty */
    size_t mask, count;
};

struct qcow2_snapshot {
    char *id, *name;
    uint64_t l1_offset, size;
    uint32_t l1_size;
    uint32_t seconds;
};

/* Host clusters that are free once the tables are on disk. */
struct qcow2_pending {
    uint64_t cluster, count;
    bool discard; /* gives the space back, too */
};

struct qcow2 {
    struct block block;
    struct qcow2_header h;
    uint64_t cluster_size;
    unsigned l2_bits; /* log2 of the entries of an L2 table */

    pthread_mutex_t lock;
    uint64_t file_size;
    uint64_t *l1;       /* as in the file */
    uint64_t *reftable; /* as in the file */
    uint64_t l1_entries, reftable_entries;
    uint64_t l1_dirty_from, l1_dirty_to; /* entries that the file does not have yet */
    uint64_t reftable_dirty_from, reftable_dirty_to;
    struct qcow2_cache l2, refblocks;
    struct qcow2_set owned; /* L2 tables in use and refcount blocks */
    struct qcow2_snapshot *snapshots;
    uint64_t snapshots_end; /* of the table in the file */
    uint64_t free_hint;     /* no cluster before it is free */
    bool at_end;            /* repairing: refcounts are not believed, take clusters beyond all */
    struct qcow2_pending *pending;
    size_t pending_count, pending_cap;
    bool corrupt; /* nothing is written any more */
    bool reading_snapshot;

    pthread_mutex_t range_lock;
    pthread_cond_t range_freed;
    struct block_request *ranges; /* that are held */

    pthread_mutex_t inflate_lock;
    uint64_t inflated_entry; /* L2 entry of what `inflated` holds, 0: nothing */
    uint8_t *inflated, *deflated;
};

static inline struct qcow2 *qcow2_of(struct block *b)
{
    return (struct qcow2 *)(void *)b;
}

static inline uint64_t qcow2_be64(uint64_t v)
{
    return __builtin_bswap64(v);
}

/* ---- header.c ---- */

/* Reads and checks everything that needs no more than the header. -errno with a sentence. */
int qcow2_header_read(const struct block_file *f, const char *path, struct qcow2_header *h,
                      struct error *err);
/* Writes one field, durable or not. */
int qcow2_header_put(struct qcow2 *q, unsigned at, uint64_t value, unsigned size);
/* Writes the features; version 3. */
int qcow2_header_put_incompatible(struct qcow2 *q, uint64_t bits);
/* Marks the image as damaged (lock held) and returns -EIO. */
int qcow2_damaged(struct qcow2 *q);
/* [offset, offset + bytes) lies in the file and begins at a cluster. */
bool qcow2_in_file(const struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* ---- cache.c ---- */

/* `budget` in bytes; not more than `most` tables, but some. */
int qcow2_cache_init(struct qcow2_cache *c, uint64_t cluster_size, uint64_t budget, uint64_t most);
void qcow2_cache_fini(struct qcow2_cache *c);
/* The table at offset if it is there, else NULL. Lock held, as for all of these. */
struct qcow2_table *qcow2_cache_peek(struct qcow2_cache *c, uint64_t offset);
/* The table at offset, read if need be. Valid until the next get of the same cache but one. */
int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset,
                    struct qcow2_table **table);
/* A zeroed, dirty table for an offset that holds none yet. */
int qcow2_cache_make(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset,
                     struct qcow2_table **table);
void qcow2_cache_dirty(struct qcow2_cache *c, struct qcow2_table *table);
/* Forgets what is at offset, changed or not. */
void qcow2_cache_forget(struct qcow2_cache *c, uint64_t offset);
/* Writes all changes. */
int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c);

/* ---- overlap.c ---- */

bool qcow2_set_add(struct qcow2_set *s,
                   uint64_t cluster); /* false: out of memory, or it is there */
bool qcow2_set_has(const struct qcow2_set *s, uint64_t cluster);
void qcow2_set_remove(struct qcow2_set *s, uint64_t cluster);
/*
 * What a write is for, so that it may touch that.
 */
enum qcow2_part { QCOW2_PART_DATA, QCOW2_PART_TABLE, QCOW2_PART_L1, QCOW2_PART_REFTABLE };
/*
 * May this be written? Lock held. If it overlaps other metadata the image is damaged: -EIO.
 */
int qcow2_may_write(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_part part);

/* ---- refcount.c: lock held ---- */

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *count);
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);
/* Adjacent free clusters that have been taken. */
struct qcow2_space {
    uint64_t cluster, count;
    bool fresh; /* the file has grown for them: they read as zeroes */
};
/* Takes up to `want` clusters, at least `least`. */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t least, struct qcow2_space *space);
/* Gives back what no table has ever named. */
void qcow2_unalloc(struct qcow2 *q, const struct qcow2_space *space);
/* Clusters that tables on disk may still name: free after the next flush. -EIO: they are tables. */
int qcow2_free_later(struct qcow2 *q, uint64_t cluster, uint64_t count, bool discard);
/* Writes all changed tables in their order, and then frees what waits for it. */
int qcow2_flush_tables(struct qcow2 *q);
/* The first part of that. */
int qcow2_write_tables(struct qcow2 *q);

/* ---- mapping.c: lock held ---- */

struct qcow2_run {
    enum block_kind kind;
    bool own;       /* BLOCK_DATA: may be written in place */
    uint64_t entry; /* of the first cluster */
    uint64_t host;  /* of the first byte, BLOCK_DATA, or what a zero cluster keeps */
    uint64_t bytes; /* as far as it goes on like that */
};

/* What is at a guest offset, up to `bytes`. `peek`: -EAGAIN instead of reading tables. */
int qcow2_lookup(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool peek,
                 struct qcow2_run *run);
/* What an L2 entry says. -EIO: it is wrong. */
int qcow2_decode(const struct qcow2 *q, uint64_t entry, struct qcow2_run *run);
/* The L2 table for a guest offset, the active L1's own. */
int qcow2_own_table(struct qcow2 *q, uint64_t offset, struct qcow2_table **table);
/* Sets `count` entries from a guest offset on, in one table; frees what they named. */
int qcow2_set_entries(struct qcow2 *q, uint64_t offset, uint64_t count, uint64_t first,
                      uint64_t step, bool discard);
uint64_t qcow2_l2_index(const struct qcow2 *q, uint64_t offset);
/* Host clusters of a compressed cluster: the first, and how many. */
void qcow2_compressed_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *first,
                               uint64_t *count);
void qcow2_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
                            uint64_t *bytes);

/* ---- inflate.c ---- */

/* Copies `len` bytes from `skip` on of a compressed cluster. */
int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, void *buf, size_t len);
/* Forgets what is kept of compressed clusters, which have changed. */
void qcow2_inflate_forget(struct qcow2 *q);

/* ---- ranges.c ---- */

/* Holds the guest clusters of [offset, offset + bytes). `wait` false: false if others have them. */
bool qcow2_hold(struct qcow2 *q, struct block_request *r, uint64_t offset, uint64_t bytes,
                bool exclusive, bool wait);
void qcow2_release(struct qcow2 *q, struct block_request *r);

/* ---- io.c ---- */

int qcow2_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int qcow2_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int qcow2_flush(struct block *b);
int qcow2_discard(struct block *b, uint64_t offset, uint64_t len);
int qcow2_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap);
int qcow2_map(struct block *b, uint64_t offset, struct block_extent *extent);
bool qcow2_place(struct block *b, struct block_request *r, struct block_place *place);
void qcow2_unplace(struct block *b, struct block_request *r);
int qcow2_drop(struct block *b, uint64_t offset, uint64_t len);

/* ---- snapshot.c ---- */

int qcow2_snapshots_read(struct qcow2 *q, struct error *err);
void qcow2_snapshots_free(struct qcow2 *q);
/* NULL: there is none of that name or ID. */
const struct qcow2_snapshot *qcow2_snapshot_find(const struct qcow2 *q, const char *name);

/* ---- check.c ---- */

/* Counts references, compares, and repairs if asked to. Nothing else may use the image. */
int qcow2_check(struct qcow2 *q, bool repair, struct block_check *result,
                const struct block_progress *progress, struct error *err);

/* ---- resize.c ---- */

int qcow2_resize(struct block *b, uint64_t size, struct error *err);

/* ---- create.c ---- */

int qcow2_create(struct block_file *f, const char *path, const struct block_create *how,
                 struct error *err);
