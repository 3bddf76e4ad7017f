/*
 * Disk images as files: made, described, checked. For `guise disk`; a machine needs none of it.
 */
#pragma once

#include "block/block.h"

/* Told now and then how far long work is. NULL: nobody asks. */
struct block_progress {
    void (*step)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

struct block_create {
    const char *format; /* "raw" or "qcow2" */
    uint64_t size;      /* bytes, rounded up to sectors; 0: the backing file's */
    /* The rest is qcow2's. */
    const char *backing, *backing_format; /* NULL: none; a relative name starts at the image */
    uint32_t cluster_size;                /* 0: 64 KiB */
    unsigned version;                     /* 2 or 3; 0: 3 */
    unsigned refcount_bits;               /* 0: 16 */
    bool lazy_refcounts, zstd;
    bool preallocate; /* all tables, and places for all clusters */
};

/* A new file; -EEXIST if there is one. It is removed again after a failure. */
int block_create(const char *path, const struct block_create *how, struct error *err);

struct block_info {
    uint64_t file_size, allocated; /* of the file; what it takes on the host's disk, if known */
    /* The rest is qcow2's. */
    uint32_t cluster_size; /* 0: raw */
    unsigned version, refcount_bits;
    const char *compression;
    const char *backing, *backing_format; /* NULL: none */
    bool lazy_refcounts, dirty, corrupt;
    unsigned snapshots;
};

/* Strings are the block's. */
int block_info(struct block *b, struct block_info *info);

struct block_snapshot {
    const char *id, *name;
    uint64_t size;
    uint32_t seconds; /* since the Epoch */
};

/* Snapshot i of block_info's count. */
void block_snapshot(struct block *b, unsigned i, struct block_snapshot *snapshot);

struct block_check {
    uint64_t errors, leaks; /* found: what is wrong, clusters that nobody uses */
    uint64_t errors_fixed, leaks_fixed;
    uint64_t data_clusters, compressed_clusters, total_clusters; /* of the guest's disk */
};

/*
 * Compares refcounts with references; `repair` (the block is open for writing) makes them right.
 * -ENOTSUP for a format without metadata. 0 or -errno with a sentence.
 */
int block_check(struct block *b, bool repair, struct block_check *result,
                const struct block_progress *progress, struct error *err);

/* Forgets what the disk itself has in the range, whole clusters; the backing disk shows through. */
int block_drop(struct block *b, uint64_t offset, uint64_t len);

/*
 * What a reader finds at `offset`, looked for along the chain: *owner is the disk that has it, with
 * *depth disks above it. What nobody has is BLOCK_ZERO, with the last disk as its owner.
 */
int block_map_chain(struct block *b, uint64_t offset, struct block_extent *extent,
                    struct block **owner, unsigned *depth);

/* Backing file that the image names, resolved; -errno with a sentence, ENOENT: it has none. */
int block_backing_path(struct block *b, char *name, size_t size, struct error *err);
