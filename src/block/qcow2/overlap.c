/* Which host clusters hold metadata, so that nothing else is written there. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

static size_t set_slot(const struct qcow2_set *s, uint64_t cluster)
{
    size_t i = (size_t)((cluster + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & s->mask;
    while (s->slots[i] && s->slots[i] != cluster + 1)
        i = (i + 1) & s->mask;
    return i;
}

static bool set_grow(struct qcow2_set *s)
{
    struct qcow2_set bigger = {.mask = s->slots ? s->mask * 2 + 1 : 63};
    bigger.slots = calloc(bigger.mask + 1, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; s->slots && i <= s->mask; i++)
        if (s->slots[i])
            bigger.slots[set_slot(&bigger, s->slots[i] - 1)] = s->slots[i];
    bigger.count = s->count;
    free(s->slots);
    *s = bigger;
    return true;
}

bool qcow2_set_add(struct qcow2_set *s, uint64_t cluster)
{
    if ((!s->slots || s->count * 2 > s->mask) && !set_grow(s))
        return false;
    size_t i = set_slot(s, cluster);
    if (s->slots[i])
        return false;
    s->slots[i] = cluster + 1;
    s->count++;
    return true;
}

bool qcow2_set_has(const struct qcow2_set *s, uint64_t cluster)
{
    return s->slots && s->slots[set_slot(s, cluster)];
}

void qcow2_set_remove(struct qcow2_set *s, uint64_t cluster)
{
    if (!qcow2_set_has(s, cluster))
        return;
    size_t hole = set_slot(s, cluster);
    s->slots[hole] = 0;
    s->count--;
    /* What collided with it moves up. */
    for (size_t i = (hole + 1) & s->mask; s->slots[i]; i = (i + 1) & s->mask) {
        uint64_t moved = s->slots[i];
        s->slots[i] = 0;
        s->slots[set_slot(s, moved - 1)] = moved;
    }
}

/* Does a write meet the clusters of a table? */
static bool meets(const struct qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t table,
                  uint64_t table_bytes)
{
    uint64_t end = table + align_up(table_bytes, q->cluster_size);
    return bytes && table_bytes && offset < end && table < offset + bytes;
}

static bool meets_snapshots(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    if (!q->h.snapshots)
        return false;
    if (meets(q, offset, bytes, q->h.snapshots_offset, q->snapshots_end - q->h.snapshots_offset))
        return true;
    for (uint32_t i = 0; q->snapshots && i < q->h.snapshots; i++)
        if (meets(q, offset, bytes, q->snapshots[i].l1_offset,
                  q->snapshots[i].l1_size * UINT64_C(8)))
            return true;
    return false;
}

int qcow2_may_write(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_part part)
{
    if (q->corrupt)
        return -EIO;
    bool bad = offset < q->cluster_size || meets_snapshots(q, offset, bytes);
    if (part != QCOW2_PART_L1)
        bad = bad || meets(q, offset, bytes, q->h.l1_offset, q->l1_entries * 8);
    if (part != QCOW2_PART_REFTABLE)
        bad = bad || meets(q, offset, bytes, q->h.reftable_offset,
                           (uint64_t)q->h.reftable_clusters << q->h.cluster_bits);
    uint64_t last = (offset + bytes - 1) >> q->h.cluster_bits;
    for (uint64_t c = offset >> q->h.cluster_bits; part != QCOW2_PART_TABLE && c <= last && !bad;
         c++)
        bad = qcow2_set_has(&q->owned, c);
    return bad ? qcow2_damaged(q) : 0;
}
