/* L2 tables and refcount blocks in memory: the last ones used, a bounded number. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MIN 8u

int qcow2_cache_init(struct qcow2_cache *c, uint64_t cluster_size, uint64_t budget, uint64_t most)
{
    uint64_t count = budget / cluster_size;
    count = count < most ? count : most;
    count = count < CACHE_MIN ? CACHE_MIN : count;
    *c = (struct qcow2_cache){.count = (unsigned)count, .bucket_count = (unsigned)count};
    c->tables = calloc(count, sizeof *c->tables);
    c->buckets = calloc(count, sizeof *c->buckets);
    return c->tables && c->buckets ? 0 : -ENOMEM;
}

void qcow2_cache_fini(struct qcow2_cache *c)
{
    for (unsigned i = 0; c->tables && i < c->count; i++)
        free(c->tables[i].data);
    free(c->tables);
    free(c->buckets);
    *c = (struct qcow2_cache){0};
}

static unsigned *cache_bucket(struct qcow2_cache *c, uint64_t offset)
{
    return &c->buckets[(offset >> QCOW2_MIN_CLUSTER_BITS) * UINT64_C(0x9e3779b97f4a7c15) %
                       c->bucket_count];
}

struct qcow2_table *qcow2_cache_peek(struct qcow2_cache *c, uint64_t offset)
{
    for (unsigned i = *cache_bucket(c, offset); i; i = c->tables[i - 1].next)
        if (c->tables[i - 1].offset == offset) {
            c->tables[i - 1].used = ++c->clock;
            return &c->tables[i - 1];
        }
    return NULL;
}

static void cache_unlink(struct qcow2_cache *c, struct qcow2_table *t)
{
    unsigned *p = cache_bucket(c, t->offset);
    while (&c->tables[*p - 1] != t)
        p = &c->tables[*p - 1].next;
    *p = t->next;
    c->dirty -= t->dirty;
    t->dirty = false;
    t->offset = 0;
    t->used = 0;
}

static int cache_write_table(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table *t)
{
    int rc = qcow2_may_write(q, t->offset, q->cluster_size, QCOW2_PART_TABLE);
    if (!rc)
        rc = block_file_write(&q->block.file, t->offset, t->data, q->cluster_size);
    if (!rc) {
        c->dirty -= t->dirty;
        t->dirty = false;
    }
    return rc;
}

/*
 * Makes room. A refcount block may be written at any time; an L2 table only after what it refers
 * to.
 */
static int cache_victim(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table **victim)
{
    struct qcow2_table *t = &c->tables[0];
    for (unsigned i = 1; i < c->count; i++)
        if (c->tables[i].used < t->used)
            t = &c->tables[i];
    if (t->dirty) {
        int rc = c == &q->refblocks ? cache_write_table(q, c, t) : qcow2_write_tables(q);
        if (rc)
            return rc;
    }
    if (t->offset)
        cache_unlink(c, t);
    if (!t->data && !(t->data = malloc(q->cluster_size)))
        return -ENOMEM;
    *victim = t;
    return 0;
}

static void cache_link(struct qcow2_cache *c, struct qcow2_table *t, uint64_t offset)
{
    unsigned *bucket = cache_bucket(c, offset);
    t->offset = offset;
    t->next = *bucket;
    t->used = ++c->clock;
    *bucket = (unsigned)(t - c->tables) + 1;
}

int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset,
                    struct qcow2_table **table)
{
    *table = qcow2_cache_peek(c, offset);
    if (*table)
        return 0;
    if (!offset || !qcow2_in_file(q, offset, q->cluster_size))
        return qcow2_damaged(q);
    int rc = cache_victim(q, c, table);
    if (!rc)
        rc = block_file_read(&q->block.file, offset, (*table)->data, q->cluster_size);
    if (!rc)
        cache_link(c, *table, offset);
    return rc;
}

int qcow2_cache_make(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset,
                     struct qcow2_table **table)
{
    qcow2_cache_forget(c, offset);
    int rc = cache_victim(q, c, table);
    if (rc)
        return rc;
    memset((*table)->data, 0, q->cluster_size);
    cache_link(c, *table, offset);
    qcow2_cache_dirty(c, *table);
    return 0;
}

void qcow2_cache_dirty(struct qcow2_cache *c, struct qcow2_table *table)
{
    c->dirty += !table->dirty;
    table->dirty = true;
}

void qcow2_cache_forget(struct qcow2_cache *c, uint64_t offset)
{
    struct qcow2_table *t = qcow2_cache_peek(c, offset);
    if (t)
        cache_unlink(c, t);
}

int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c)
{
    int rc = 0;
    for (unsigned i = 0; i < c->count && c->dirty && !rc; i++)
        if (c->tables[i].dirty)
            rc = cache_write_table(q, c, &c->tables[i]);
    return rc;
}
