/*
 * The kernel's ring (io_uring), or none: ring_uring.c or ring_none.c is linked. For queue.c only.
 *
 * Threads: ring_submit and ring_kick from any; `complete` runs on the ring's own thread.
 */
#pragma once

#include "block/queue.h"

struct ring;

/* NULL: the host has none, or does not allow it. */
struct ring *ring_new(void (*complete)(void *ctx, struct block_request *r, int result), void *ctx);
/* Nothing may be in flight. NULL is allowed. */
void ring_free(struct ring *ring);

/*
 * Leaves a read or write to the kernel; `result` will be the number of bytes or -errno. False if
 * there is no room.
 */
bool ring_submit(struct ring *ring, struct block_request *r, int fd, uint64_t offset);
/* Shows the kernel what was submitted. */
void ring_kick(struct ring *ring);
