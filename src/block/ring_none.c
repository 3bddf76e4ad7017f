/* Where there is no io_uring. */
#include "block/ring.h"

#include <stddef.h>

struct ring *ring_new(void (*complete)(void *ctx, struct block_request *r, int result), void *ctx)
{
    (void)complete;
    (void)ctx;
    return NULL;
}

void ring_free(struct ring *ring)
{
    (void)ring;
}

bool ring_submit(struct ring *ring, struct block_request *r, int fd, uint64_t offset)
{
    (void)ring;
    (void)r;
    (void)fd;
    (void)offset;
    return false;
}

void ring_kick(struct ring *ring)
{
    (void)ring;
}
