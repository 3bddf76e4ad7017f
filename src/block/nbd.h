/*
 * Network block devices: the far end of a connection that guise-nbd (src/nbd), a process of its
 * own, has to a server. block/file.h uses it as what holds a disk.
 *
 * A connection that is lost stays so: what is asked of it fails with -EIO, at once, and one line on
 * stderr says why.
 *
 * Threads: any, but connect and free. The calls wait; offsets and lengths are bytes, of any
 * alignment, inside of the device.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct nbd;

/*
 * Starts guise-nbd and waits until it is connected, or has given up. The process must be able to
 * start programs. NULL with *err.
 */
struct nbd *nbd_connect(const char *uri, struct error *err);
/* Ends the connection, and the process. NULL is allowed. */
void nbd_free(struct nbd *n);

/* Bytes. */
uint64_t nbd_size(const struct nbd *n);
/* The server takes no writes. */
bool nbd_readonly(const struct nbd *n);

/* All of iov. 0 or -errno. */
int nbd_readv(struct nbd *n, uint64_t offset, const struct iovec *iov, int count);
int nbd_writev(struct nbd *n, uint64_t offset, const struct iovec *iov, int count);
/* Makes durable what was written before. */
int nbd_flush(struct nbd *n);
/* The contents are undefined afterwards. -ENOTSUP: the server cannot. */
int nbd_discard(struct nbd *n, uint64_t offset, uint64_t len);
int nbd_zero(struct nbd *n, uint64_t offset, uint64_t len, bool unmap);
/* So much from `offset` on, at most `len`, is alike; *data: it may read as other than zeroes. */
int nbd_map(struct nbd *n, uint64_t offset, uint64_t len, uint64_t *length, bool *data);
