/*
 * Disks: an array of bytes behind a virtual disk, whatever holds it.
 *
 * The size is a multiple of BLOCK_SECTOR and does not change while open. Requests may have any
 * offset and length in bytes; whole sectors are the quick ones. The generic layer refuses what lies
 * beyond the end (EINVAL) and what changes a read-only disk (EROFS) before a driver sees it.
 *
 * Threads: everything but open and free may be called from any thread at once. All calls are
 * synchronous: when one returns, its data is in the host's page cache or beyond; block_flush makes
 * durable what completed before it was called. Requests that overlap in time and place are in no
 * order. The buffers may be guest RAM that changes meanwhile.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR 512u

struct block;

/*
 * Opens an image file or a host block device.
 *
 * Raw: a file whose length is no multiple of 512 appears with its last sector filled up with
 * zeroes; the file grows only if that part is written. A file is locked (open file description
 * lock): one writer, or any number of readers; a host block device is opened exclusively for
 * writing. NULL with one sentence in *err for what is missing, a directory, empty, not writable,
 * in use.
 */
struct block *block_open(const char *path, bool readonly, struct error *err);
/* Closes without a flush. NULL is allowed. */
void block_free(struct block *b);

/* Bytes. */
uint64_t block_size(const struct block *b);
bool block_readonly(const struct block *b);

/*
 * Read and write all of iov at byte offset. 0 or -errno; on an error any part may have been done.
 */
int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_flush(struct block *b);

/*
 * Says that the contents are no longer needed; they are undefined afterwards. -ENOTSUP where the
 * host cannot: harmless, and a device may report success.
 */
int block_discard(struct block *b, uint64_t offset, uint64_t len);
/* Makes the range read as zeroes; `unmap` allows to give its space back to the host. */
int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap);
