/*
 * The file system that a guest sees in a shared folder: answers FUSE's requests (linux/fuse.h,
 * protocol 7.31 and up) by calls of the host's kernel. Everything in a request is hostile.
 *
 * Why there is no way out of the folder: a guest names files by number (nodes, of which the folder
 * is the first) and by one component of a path at a time, which is neither "..", nor has a slash,
 * nor is followed if it is a symbolic link. Nothing that is not a regular file or a folder is ever
 * opened. jail.h is what holds if this is wrong.
 *
 * Who owns files: on the host, everything is the user's who runs this. The guest sees those files
 * as `owner`'s, and others' as nobody's. It cannot give files away, make devices, or set the
 * set-user-id and set-group-id bits of files, which would be for the host's users to run.
 *
 * Threads: fs_request by any number of threads at once.
 */
#pragma once

#include "base/error.h"
#include "dev/virtio/virtq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;

struct fs_config {
    int root;                 /* the folder: O_PATH or not; the caller's, and stays open */
    bool readonly;            /* refuse changes by name; the mount is what enforces it (jail.h) */
    uint32_t uid, gid;        /* the owner that the guest sees */
    uint32_t max_descriptors; /* that may be open in all */
};

/*
 * The working directory must be /proc/self/fd: that is how files are reached by descriptor, also
 * where no /proc can be seen. NULL with *err.
 */
struct fs *fs_new(const struct fs_config *config, struct error *err);
void fs_free(struct fs *fs);

#define FS_BODY_MAX (128u << 10) /* a request but for the data of a write */

/*
 * Serves a request; the bytes that were put into its writable buffers. scratch: FS_BODY_MAX bytes
 * of the calling thread's.
 */
uint32_t fs_request(struct fs *fs, struct virtq_chain *c, uint8_t *scratch);
