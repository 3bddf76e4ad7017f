/*
 * What a disk driver is made of; for the files of this folder only.
 *
 * A driver has a private struct that begins with `struct block`, and a const struct block_ops in
 * the table of block.c. Its functions may be called from several threads at once, with requests
 * that lie inside the disk and are allowed.
 */
#pragma once

#include "block/file.h"
#include "block/image.h"
#include "block/queue.h"

/* Where in a file the bytes of a request are. */
struct block_place {
    int fd;
    uint64_t offset;
};

struct block_ops {
    const char *name;
    size_t size; /* of the private struct */
    /*
     * Does a file that begins with these bytes hold an image of this kind? Probed in the table's
     * order; raw takes anything.
     */
    bool (*probe)(const uint8_t *head, size_t len);
    /*
     * The file is b->file, opened and locked. Sets b->size. `depth`: of the chain above. On failure
     * `close` is called, too.
     */
    int (*open)(struct block *b, const struct block_options *options, unsigned depth,
                struct error *err);
    void (*close)(struct block *b);
    int (*readv)(struct block *b, uint64_t offset, const struct iovec *iov, int n);
    int (*writev)(struct block *b, uint64_t offset, const struct iovec *iov, int n);
    int (*flush)(struct block *b);
    int (*discard)(struct block *b, uint64_t offset, uint64_t len);
    int (*write_zeroes)(struct block *b, uint64_t offset, uint64_t len, bool unmap);
    int (*map)(struct block *b, uint64_t offset, struct block_extent *extent);
    int (*resize)(struct block *b, uint64_t size, struct error *err);
    /* The rest of image.h; NULL: the format has none of it. */
    int (*create)(struct block_file *f, const char *path, const struct block_create *how,
                  struct error *err);
    void (*info)(struct block *b, struct block_info *info);
    void (*snapshot)(struct block *b, unsigned i, struct block_snapshot *snapshot);
    int (*check)(struct block *b, bool repair, struct block_check *result,
                 const struct block_progress *progress, struct error *err);
    int (*drop)(struct block *b, uint64_t offset, uint64_t len);
    /*
     * Without waiting: can the whole read or write, or the flush, be left to the kernel at *place?
     * If true, `unplace` follows when it is done (NULL: not needed).
     */
    bool (*place)(struct block *b, struct block_request *r, struct block_place *place);
    void (*unplace)(struct block *b, struct block_request *r);
};

struct block {
    const struct block_ops *ops;
    char *path; /* for messages */
    struct block_file file;
    struct block *backing; /* or NULL; owned */
    uint64_t size;
    bool readonly;
    bool probed; /* nobody said that it is raw */
};

extern const struct block_ops block_raw_ops, block_qcow2_ops;

/* The driver of a format. NULL with *err. */
const struct block_ops *block_find_driver(const char *path, const char *format, struct error *err);

/* Does a file that begins so hold a qcow2 image? */
bool block_qcow2_probe(const uint8_t *head, size_t len);

/* block_open for a link of a chain, `depth` images above it. */
struct block *block_open_depth(const char *path, const struct block_options *options,
                               unsigned depth, struct error *err);

/* Checks a request's range, and sets r->bytes. 0 or -errno. */
int block_check_request(const struct block *b, struct block_request *r);

/*
 * The file that an image at `path` means by the name of its backing file. -errno with a sentence if
 * it means none that guise can open.
 */
int block_backing_name(const char *path, const char *backing, char *name, size_t size,
                       struct error *err);

/* Gives every cluster of a qcow2 image a place. */
int qcow2_preallocate_block(struct block *b);
