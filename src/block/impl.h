/*
 * What a disk driver is made of; for the files of this folder only.
 *
 * A driver has a private struct that begins with `struct block`, and a const struct block_ops in
 * the table of block.c. Its functions may be called from several threads at once, with requests
 * that lie inside the disk and are allowed.
 */
#pragma once

#include "block/block.h"

struct block_ops {
    const char *name;
    size_t size; /* of the private struct */
    /*
     * Is the open file an image of this kind? Probed in the table's order; raw takes anything. `fd`
     * stays the caller's.
     */
    bool (*probe)(int fd);
    /* Takes fd over (closes it in `close`, also after a failure) and sets b->size. */
    int (*open)(struct block *b, int fd, struct error *err);
    void (*close)(struct block *b);
    int (*readv)(struct block *b, uint64_t offset, const struct iovec *iov, int n);
    int (*writev)(struct block *b, uint64_t offset, const struct iovec *iov, int n);
    int (*flush)(struct block *b);
    int (*discard)(struct block *b, uint64_t offset, uint64_t len);
    int (*write_zeroes)(struct block *b, uint64_t offset, uint64_t len, bool unmap);
};

struct block {
    const struct block_ops *ops;
    char *path; /* for messages */
    uint64_t size;
    bool readonly;
};

extern const struct block_ops block_raw_ops;
