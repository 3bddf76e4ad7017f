/*
 * Disks: an array of bytes behind a virtual disk, whatever holds it (docs/disks.md).
 *
 * The size is a multiple of BLOCK_SECTOR and does not change while a guest uses it. Requests may
 * have any offset and length in bytes; whole sectors are the quick ones. The generic layer refuses
 * what lies beyond the end (EINVAL) and what changes a read-only disk (EROFS) before a driver sees
 * it.
 *
 * Threads: everything but open, resize and free may be called from any thread at once. The calls of
 * this header wait: when one returns, its data is in the host's page cache or beyond; block_flush
 * makes durable what completed before it was called. Those who cannot wait use block/queue.h.
 * Requests that overlap in time and place are in no order. The buffers may be guest RAM that
 * changes meanwhile.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR 512u

struct block;

struct nbd;

struct block_options {
    const char *format; /* "raw" or "qcow2"; NULL: by what the file begins with */
    bool readonly;
    const char *snapshot; /* qcow2: read this internal snapshot, by name or ID; NULL: no */
    bool no_backing;      /* what would come from the backing disk reads as zeroes */
    bool repair;          /* for block_check: also opens for writing what is marked corrupt */
    struct nbd *remote;   /* the connection to a network block device, which becomes the block's;
                             NULL: it is made */
};

/*
 * Is this the URI of a network block device, as in nbd://host/export, and no file's name? Such a
 * disk is opened as a file is, but a program is started for it (block/nbd.h).
 */
bool block_is_remote(const char *path);

/*
 * Opens an image file, a host block device or a network block device: block_is_remote.
 *
 * A file is locked (docs/disks.md): one writer, or any number of readers; a host block device is
 * opened exclusively for writing. A raw file whose length is no multiple of 512 appears with its
 * last sector filled up with zeroes; the file grows only if that part is written. A disk that was
 * not said to be raw but is refuses writes that would make it begin as an image does (EPERM). NULL
 * with one sentence in *err.
 */
struct block *block_open(const char *path, const struct block_options *options, struct error *err);
/* Ends with a flush of what the driver keeps in memory. NULL is allowed. */
void block_free(struct block *b);

/* Bytes. */
uint64_t block_size(const struct block *b);
bool block_readonly(const struct block *b);
/* The driver's name. */
const char *block_format(const struct block *b);
const char *block_path(const struct block *b);
/* The disk that this one's contents come from where it has none of its own; NULL: none. */
struct block *block_backing(const struct block *b);

/*
 * Read and write all of iov at byte offset. 0 or -errno; on an error any part may have been done.
 */
int block_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n);
int block_flush(struct block *b);
/* The same with one buffer. */
int block_read(struct block *b, uint64_t offset, void *buf, size_t len);
int block_write(struct block *b, uint64_t offset, const void *buf, size_t len);

/*
 * Says that the contents are no longer needed; they are undefined afterwards. -ENOTSUP where the
 * host cannot: harmless, and a device may report success.
 */
int block_discard(struct block *b, uint64_t offset, uint64_t len);
/* Makes the range read as zeroes; `unmap` allows to give its space back to the host. */
int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len, bool unmap);

enum block_kind {
    BLOCK_NONE, /* nothing here: the backing disk's, or zeroes */
    BLOCK_ZERO, /* reads as zeroes */
    BLOCK_DATA,
    BLOCK_COMPRESSED,
};

struct block_extent {
    uint64_t length; /* at least 1, not beyond the end of the disk */
    enum block_kind kind;
    uint64_t host; /* BLOCK_DATA: offset in the file */
};

/* What is at `offset`, in this disk without its backing disk. 0 or -errno. */
int block_map(struct block *b, uint64_t offset, struct block_extent *extent);

/*
 * A new size in bytes, a multiple of 512; what is added reads as zeroes. Shrinking drops what is
 * beyond. 0 or -errno with a sentence.
 */
int block_resize(struct block *b, uint64_t size, struct error *err);
