#include "block/queue.h"

#include "block/impl.h"
#include "block/ring.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>

#define QUEUE_THREADS 16u

struct block_queue {
    struct block *block;
    struct ring *ring; /* NULL: the host has none */

    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t work;  /* there is something for the pool, or it ends */
    pthread_cond_t idle;  /* nothing is in flight */
    struct block_request *first, **last;
    unsigned in_flight;
    unsigned threads, waiting; /* of the pool: all, those without work */
    unsigned queued;           /* requests from `first` on */
    bool ending;
    pthread_t thread[QUEUE_THREADS];
};

/* ---- ends ---- */

static void queue_finish(struct block_queue *q, struct block_request *r, int result)
{
    r->done(r, result);
    pthread_mutex_lock(&q->lock);
    if (!--q->in_flight)
        pthread_cond_broadcast(&q->idle);
    pthread_mutex_unlock(&q->lock);
}

/* ---- the pool ---- */

/* Lock held. */
static struct block_request *queue_take(struct block_queue *q)
{
    struct block_request *r = q->first;
    q->first = r->next;
    q->queued--;
    if (!q->first)
        q->last = &q->first;
    return r;
}

static void *queue_thread(void *arg)
{
    struct block_queue *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->first && !q->ending) {
            q->waiting++;
            pthread_cond_wait(&q->work, &q->lock);
            q->waiting--;
        }
        if (!q->first)
            break;
        struct block_request *r = queue_take(q);
        pthread_mutex_unlock(&q->lock);
        queue_finish(q, r, block_execute(q->block, r));
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Lock held, or nobody else knows the queue. Signals are for those who wait for them. */
static int queue_add_thread(struct block_queue *q)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* the sandbox tells what it was */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&q->thread[q->threads], NULL, queue_thread, q);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!rc)
        q->threads++;
    return rc;
}

static void queue_to_pool(struct block_queue *q, struct block_request *r)
{
    pthread_mutex_lock(&q->lock);
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
    if (++q->queued > q->waiting && q->threads < QUEUE_THREADS)
        queue_add_thread(q); /* those that there are will do, if there can be no more */
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

/* ---- the ring ---- */

/* What the kernel did not do in full is done again, and fails there if it has to. */
static void queue_ring_done(void *ctx, struct block_request *r, int result)
{
    struct block_queue *q = ctx;
    if (q->block->ops->unplace)
        q->block->ops->unplace(q->block, r);
    if (result >= 0 && (uint64_t)result == r->bytes)
        queue_finish(q, r, 0);
    else
        queue_to_pool(q, r);
}

/* The driver's place; false: it tells none, or what holds the disk is no file of the kernel's. */
static bool queue_place(const struct block_queue *q, struct block_request *r,
                        struct block_place *place)
{
    struct block *b = q->block;
    return b->ops->place && b->file.fd >= 0 && r->iov_count <= IOV_MAX &&
           b->ops->place(b, r, place);
}

static bool queue_to_ring(struct block_queue *q, struct block_request *r)
{
    const struct block_ops *ops = q->block->ops;
    struct block_place place;
    if (!q->ring || (r->op != BLOCK_READ && r->op != BLOCK_WRITE) || !queue_place(q, r, &place))
        return false;
    if (ring_submit(q->ring, r, place.fd, place.offset))
        return true;
    if (ops->unplace)
        ops->unplace(q->block, r);
    return false;
}

/* ---- requests ---- */

/* A handover to another thread and back costs several times what the copy does. */
bool block_queue_try(struct block_queue *q, struct block_request *r)
{
    const struct block_ops *ops = q->block->ops;
    struct block_place place;
    if (r->op != BLOCK_READ || block_check_request(q->block, r) || !r->bytes ||
        !queue_place(q, r, &place))
        return false;
    ssize_t n = preadv2(place.fd, r->iov, r->iov_count, (off_t)place.offset, RWF_NOWAIT);
    if (ops->unplace)
        ops->unplace(q->block, r);
    return n >= 0 && (uint64_t)n == r->bytes;
}

void block_queue_submit(struct block_queue *q, struct block_request *r)
{
    pthread_mutex_lock(&q->lock);
    q->in_flight++;
    pthread_mutex_unlock(&q->lock);
    /* The pool tells what is wrong with a request. */
    if (block_check_request(q->block, r) || !r->bytes || !queue_to_ring(q, r))
        queue_to_pool(q, r);
}

void block_queue_kick(struct block_queue *q)
{
    if (q->ring)
        ring_kick(q->ring);
}

bool block_queue_has_ring(const struct block_queue *q)
{
    return q->ring != NULL;
}

struct block_queue *block_queue_new(struct block *b, bool ring, struct error *err)
{
    struct block_queue *q = calloc(1, sizeof *q);
    if (!q) {
        error_set(err, ENOMEM, "%s: out of memory", block_path(b));
        return NULL;
    }
    q->block = b;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->idle, NULL);
    if (ring && b->file.fd >= 0)
        q->ring = ring_new(queue_ring_done, q);
    return q;
}

int block_queue_start(struct block_queue *q, struct error *err)
{
    pthread_mutex_lock(&q->lock);
    int rc = q->threads ? 0 : queue_add_thread(q);
    pthread_mutex_unlock(&q->lock);
    return rc ? error_set(err, rc, "%s: cannot start a thread for the disk: the host has no more",
                          block_path(q->block))
              : 0;
}

void block_queue_free(struct block_queue *q)
{
    if (!q)
        return;
    block_queue_kick(q);
    pthread_mutex_lock(&q->lock);
    while (q->in_flight)
        pthread_cond_wait(&q->idle, &q->lock);
    q->ending = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->threads; i++)
        pthread_join(q->thread[i], NULL);
    ring_free(q->ring);
    pthread_cond_destroy(&q->idle);
    pthread_cond_destroy(&q->work);
    pthread_mutex_destroy(&q->lock);
    free(q);
}
