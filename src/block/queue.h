/*
 * Requests in flight: for those who must not wait.
 *
 * A request is given to block_queue_submit and comes back through its callback. What a driver can
 * place in a file without looking further goes to the kernel's ring (io_uring); all else, and
 * everything where the host has no ring, is done by a pool of threads.
 *
 * Threads: submit and kick may be called from any thread, callbacks included. Callbacks run on a
 * thread of the queue, never inside submit, several at once. The queue does not touch a request
 * after it has called back.
 */
#pragma once

#include "block/block.h"

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
};

struct block_request {
    /* Set by the owner. */
    enum block_op op;
    bool unmap;    /* BLOCK_WRITE_ZEROES */
    int iov_count; /* BLOCK_READ, BLOCK_WRITE */
    const struct iovec *iov;
    uint64_t offset, length; /* length: of discard and zeroes; the others have iov's */
    void (*done)(struct block_request *r, int result); /* 0 or -errno */

    /* The queue's and the driver's. */
    struct block_request *next;
    uint64_t bytes;
    struct {
        uint64_t first, last;
        bool exclusive;
        struct block_request *next;
    } range;
};

/* Carries out a request now, on this thread; does not call back. 0 or -errno. */
int block_execute(struct block *b, const struct block_request *r);

struct block_queue;

/*
 * NULL with *err. The block must outlive the queue. `ring`: the kernel's ring may be used, if there
 * is one.
 */
struct block_queue *block_queue_new(struct block *b, bool ring, struct error *err);
/*
 * Starts a first thread, which the queue otherwise does with the first request: then it is too late
 * to say that the host has no more. 0 or -errno with *err.
 */
int block_queue_start(struct block_queue *q, struct error *err);
/* Waits for what is in flight; NULL is allowed. */
void block_queue_free(struct block_queue *q);

/*
 * Carries out a read now, on this thread, if the host has its data in memory; does not call back.
 * False: it was not done, and is to be submitted.
 */
bool block_queue_try(struct block_queue *q, struct block_request *r);

/* Never fails: errors come with the callback. The kernel may see it only after the next kick. */
void block_queue_submit(struct block_queue *q, struct block_request *r);
void block_queue_kick(struct block_queue *q);

/* Whether the kernel's ring is used; for tests and messages. */
bool block_queue_has_ring(const struct block_queue *q);
