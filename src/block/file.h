/*
 * The file, host block device or network block device that holds a disk: opened, locked, read and
 * written in full.
 *
 * Offsets and lengths are bytes. Functions return 0 or -errno; those that take a path and an error
 * give a sentence. Any thread, but open and close.
 */
#pragma once

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct nbd;

struct block_file {
    int fd;             /* -1: none, or nbd */
    struct nbd *nbd;    /* a network block device; NULL: fd */
    bool is_device;     /* a block device, whose size is given */
    atomic_bool failed; /* a sync has failed: none succeeds any more */
};

/*
 * A regular file or block device, locked: one writer or many readers. fd -1 after a failure. What
 * block_is_remote is no file: `remote` is the connection to it, which becomes the file's or is
 * ended, or NULL: it is made.
 */
int block_file_open(struct block_file *f, const char *path, bool readonly, struct nbd *remote,
                    struct error *err);
/* Gives up the lock, too. */
void block_file_close(struct block_file *f);

/* A new file, which must not exist yet; locked for writing. */
int block_file_create(struct block_file *f, const char *path, struct error *err);

int block_file_size(const struct block_file *f, uint64_t *size);
/* A device keeps its size: -ENOSPC. */
int block_file_resize(const struct block_file *f, uint64_t size);

/* All of iov. Reading stops at the end of the file: *got (may be NULL) says how much there was. */
int block_file_readv(const struct block_file *f, uint64_t offset, const struct iovec *iov, int n,
                     uint64_t *got);
int block_file_writev(const struct block_file *f, uint64_t offset, const struct iovec *iov, int n);
/* One buffer; what lies beyond the end of the file is an error (EIO). */
int block_file_read(const struct block_file *f, uint64_t offset, void *buf, size_t len);
int block_file_write(const struct block_file *f, uint64_t offset, const void *buf, size_t len);

/* Makes durable what has been written. */
int block_file_sync(struct block_file *f);

/* Gives space back; the range then reads as zeroes (file) or anything (device). -ENOTSUP. */
int block_file_discard(const struct block_file *f, uint64_t offset, uint64_t len);
/* Does not grow a file. */
int block_file_zero(const struct block_file *f, uint64_t offset, uint64_t len, bool unmap);

/* What of data at `offset` there is before a hole, or the other way round: its length, *data. */
int block_file_map(const struct block_file *f, uint64_t offset, uint64_t size, uint64_t *length,
                   bool *data);
