/* Which guest clusters are in use by a request, so that nobody moves them under it. */
#include "block/qcow2/qcow2.h"

static bool range_conflict(const struct qcow2 *q, uint64_t first, uint64_t last, bool exclusive)
{
    for (const struct block_request *r = q->ranges; r; r = r->range.next)
        if (r->range.first <= last && first <= r->range.last && (exclusive || r->range.exclusive))
            return true;
    return false;
}

bool qcow2_hold(struct qcow2 *q, struct block_request *r, uint64_t offset, uint64_t bytes,
                bool exclusive, bool wait)
{
    uint64_t first = offset >> q->h.cluster_bits;
    uint64_t last = (offset + (bytes ? bytes - 1 : 0)) >> q->h.cluster_bits;
    bool held = true;
    pthread_mutex_lock(&q->range_lock);
    while (range_conflict(q, first, last, exclusive) && held) {
        held = wait;
        if (wait)
            pthread_cond_wait(&q->range_freed, &q->range_lock);
    }
    if (held) {
        r->range.first = first;
        r->range.last = last;
        r->range.exclusive = exclusive;
        r->range.next = q->ranges;
        q->ranges = r;
    }
    pthread_mutex_unlock(&q->range_lock);
    return held;
}

void qcow2_release(struct qcow2 *q, struct block_request *r)
{
    pthread_mutex_lock(&q->range_lock);
    struct block_request **p = &q->ranges;
    while (*p != r)
        p = &(*p)->range.next;
    *p = r->range.next;
    pthread_cond_broadcast(&q->range_freed);
    pthread_mutex_unlock(&q->range_lock);
}
