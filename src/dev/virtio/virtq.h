/*
 * A split virtqueue seen from the device (virtio 1.2, section 2.7), with indirect descriptors and
 * event index. Devices never touch the rings: they take chains of buffers with virtq_pop and give
 * them back with virtq_push.
 *
 * Everything in the rings is hostile and may change at any time. Each descriptor is read once; its
 * buffer is checked to lie in RAM; chains are bounded in length and bytes. What a driver gets wrong
 * comes back as -EINVAL, after which the device fails (virtio_dev_fail) until its reset.
 *
 * One service of a queue is bounded by the ring's size: virtq_arm notes how far the driver has got
 * and virtq_pop stops there. What the driver adds afterwards makes it notify again, because arming
 * also says from which entry on notifications are wanted.
 *
 * Locking: the device's lock. Memory: the rings belong to guest RAM; nothing is allocated.
 */
#pragma once

#include "core/addrspace.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VIRTQ_MAX_SIZE 1024u
#define VIRTQ_MAX_SEGMENTS 1024u
#define VIRTQ_MAX_BYTES (UINT64_C(256) << 20) /* in one chain */

struct virtq {
    /* What the driver has set up; kept when the queue is not ready. */
    uint64_t desc, avail, used; /* guest-physical addresses of the three parts */
    uint16_t size;              /* entries */
    uint8_t ready;

    uint16_t next_avail;    /* index of the next entry to pop */
    uint16_t next_used;     /* index of the next entry to push */
    uint16_t signaled_used; /* next_used when virtq_wants_interrupt last decided */

    /* Derived while ready. */
    const struct addrspace *mem;
    const uint8_t *desc_host;
    uint8_t *avail_host, *used_host;
    uint16_t limit; /* virtq_pop stops here */
    bool indirect, event_idx;
};

extern const struct state_table virtq_state;

/*
 * A chain of buffers: the device reads from the readable ones and writes to the others. The arrays
 * point into iov and shrink as the functions below consume them.
 */
struct virtq_chain {
    uint16_t head;
    struct iovec *readable, *writable;
    unsigned readable_count, writable_count;
    uint64_t readable_bytes, writable_bytes;
    struct iovec iov[VIRTQ_MAX_SEGMENTS];
};

/*
 * Makes the queue ready with the given size and addresses, which are checked: -EINVAL if the size
 * is no power of two up to VIRTQ_MAX_SIZE, or a part is misaligned or not in RAM. Leaves the
 * indices alone.
 */
int virtq_enable(struct virtq *q, const struct addrspace *mem, bool indirect, bool event_idx);

/* Power-on state. */
void virtq_reset(struct virtq *q);

/* Starts a service. -EINVAL if the driver's index is out of range. The queue must be ready. */
int virtq_arm(struct virtq *q);

/* 1: *chain is the next one; 0: there is none up to where virtq_arm looked; or -EINVAL. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/* Takes back the last pop: the same chain comes again. */
void virtq_unpop(struct virtq *q);

/*
 * Returns a chain to the driver that it sees with the next virtq_publish only: for several that
 * belong together.
 */
void virtq_fill(struct virtq *q, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *q);

/* Returns the chain to the driver; `written` bytes were put into its writable buffers. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t written);

/*
 * The queue comes back from another process that has served it: that had popped all entries before
 * next_avail and returned them; or it is gone, and had returned those that it had popped, in order.
 */
void virtq_take_back(struct virtq *q, uint16_t next_avail);
void virtq_take_back_used(struct virtq *q);
/* Are there entries that were not popped? */
bool virtq_pending(const struct virtq *q);

/* After pushes: does the driver want an interrupt for them? */
bool virtq_wants_interrupt(struct virtq *q);

/* Takes up to len bytes off the front of the readable buffers (buf NULL: drops them). */
size_t virtq_chain_read(struct virtq_chain *c, void *buf, size_t len);
/* Fills up to len bytes of the writable buffers and takes those off their front (buf NULL: they
 * have been filled in place). */
size_t virtq_chain_write(struct virtq_chain *c, const void *buf, size_t len);
/* Takes the last writable byte off and returns its place, NULL if there is none. */
uint8_t *virtq_chain_cut_last(struct virtq_chain *c);
