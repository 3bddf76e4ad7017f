/* A guest of the file system of guise-fs: requests as the guest's kernel would make them, or not.
 */
#pragma once

#include "fsd/fs.h"

#include <linux/fuse.h>

struct client {
    struct fs *fs;
    struct virtq_chain chain;
    uint8_t in[70000], out[70000], scratch[FS_BODY_MAX];
    size_t answer_len; /* behind the header */
};

/* Over an open folder; the working directory becomes /proc/self/fd. */
void client_open(struct client *c, int root, bool readonly, uint32_t max_descriptors);
void client_close(struct client *c);

/*
 * A request of a fixed part, then up to two strings with their ends (NULL: none). The answer's
 * error (0 or -errno); what follows its header is at c->out + 16. Aborts if the answer is
 * malformed.
 */
int client_call(struct client *c, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
                const char *first, const char *second);
/* Any bytes at all, in one piece or, split, in small ones. The bytes that were written. */
uint32_t client_raw(struct client *c, const void *data, size_t len, size_t room, bool split);

static inline const void *client_answer(const struct client *c)
{
    return c->out + sizeof(struct fuse_out_header);
}

/* The node of a name, 0 if there is an error, which goes to *rc unless that is NULL. */
uint64_t client_lookup(struct client *c, uint64_t dir, const char *name, int *rc);
/* Opens, reads up to `size` bytes, closes. Their number or -errno. */
int client_read_file(struct client *c, uint64_t node, void *data, uint32_t size);
