/*
 * The kernel's ring, by liburing. A thread waits for what it has finished.
 *
 * What a ring does is hidden from the list of system calls of a confined process
 * (docs/confinement.md), so a ring takes reads and writes of open files only, which the kernel sees
 * to; one that cannot promise that is not used.
 */
#include "block/ring.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define RING_SIZE 256u

struct ring {
    struct io_uring uring;
    pthread_mutex_t lock; /* of the submitting side */
    bool started;         /* the thread, with the first request */
    pthread_t thread;
    void (*complete)(void *ctx, struct block_request *r, int result);
    void *ctx;
};

/* A completion without a request says that the ring ends. */
static void *ring_thread(void *arg)
{
    struct ring *ring = arg;
    for (;;) {
        struct io_uring_cqe *cqe;
        if (io_uring_wait_cqe(&ring->uring, &cqe))
            continue;
        struct block_request *r = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&ring->uring, cqe);
        if (!r)
            return NULL;
        ring->complete(ring->ctx, r, result);
    }
}

static int ring_start_thread(struct ring *ring)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* the sandbox tells what it was */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&ring->thread, NULL, ring_thread, ring);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    ring->started = !rc;
    return rc;
}

/* Linux 5.10 and newer. */
static int ring_restrict(struct ring *ring)
{
    struct io_uring_restriction only[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP},
    };
    int rc = io_uring_register_restrictions(&ring->uring, only, sizeof only / sizeof only[0]);
    return rc ? rc : io_uring_enable_rings(&ring->uring);
}

struct ring *ring_new(void (*complete)(void *ctx, struct block_request *r, int result), void *ctx)
{
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    if (io_uring_queue_init(RING_SIZE, &ring->uring, IORING_SETUP_R_DISABLED)) {
        free(ring);
        return NULL;
    }
    pthread_mutex_init(&ring->lock, NULL);
    ring->complete = complete;
    ring->ctx = ctx;
    if (ring_restrict(ring)) {
        io_uring_queue_exit(&ring->uring);
        pthread_mutex_destroy(&ring->lock);
        free(ring);
        return NULL;
    }
    return ring;
}

/* Lock held. A place in the ring; shows the kernel what is there if that makes room. */
static struct io_uring_sqe *ring_entry(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (sqe)
        return sqe;
    io_uring_submit(&ring->uring);
    return io_uring_get_sqe(&ring->uring);
}

static void ring_end_thread(struct ring *ring)
{
    struct io_uring_sqe *sqe = ring_entry(ring);
    while (!sqe)
        sqe = ring_entry(ring);
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data(sqe, NULL);
    io_uring_submit(&ring->uring);
    pthread_join(ring->thread, NULL);
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    if (ring->started)
        ring_end_thread(ring);
    io_uring_queue_exit(&ring->uring);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

bool ring_submit(struct ring *ring, struct block_request *r, int fd, uint64_t offset)
{
    pthread_mutex_lock(&ring->lock);
    struct io_uring_sqe *sqe = ring->started || !ring_start_thread(ring) ? ring_entry(ring) : NULL;
    if (sqe) {
        if (r->op == BLOCK_READ)
            io_uring_prep_readv(sqe, fd, r->iov, (unsigned)r->iov_count, offset);
        else
            io_uring_prep_writev(sqe, fd, r->iov, (unsigned)r->iov_count, offset);
        io_uring_sqe_set_data(sqe, r);
    }
    pthread_mutex_unlock(&ring->lock);
    return sqe;
}

void ring_kick(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    if (io_uring_sq_ready(&ring->uring))
        io_uring_submit(&ring->uring);
    pthread_mutex_unlock(&ring->lock);
}
