/* The table of internal snapshots, which are only read. */
#include "block/qcow2/qcow2.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of an entry: up to where the extra data begins. */
#define ENTRY_SIZE 40u
#define EXTRA_DISK_SIZE 8u /* offset of the disk's size in the extra data */

static uint64_t be_get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static int snapshot_strings(struct qcow2 *q, struct qcow2_snapshot *s, uint64_t at, uint64_t id_len,
                            uint64_t name_len)
{
    s->id = calloc(1, id_len + 1);
    s->name = calloc(1, name_len + 1);
    if (!s->id || !s->name)
        return -ENOMEM;
    int rc = block_file_read(&q->block.file, at, s->id, id_len);
    return rc ? rc : block_file_read(&q->block.file, at + id_len, s->name, name_len);
}

static int snapshot_read(struct qcow2 *q, struct qcow2_snapshot *s, uint64_t *at)
{
    uint8_t raw[ENTRY_SIZE], size[8];
    int rc = block_file_read(&q->block.file, *at, raw, sizeof raw);
    if (rc)
        return rc;
    uint64_t id_len = be_get(raw + 12, 2), name_len = be_get(raw + 14, 2);
    uint64_t extra = be_get(raw + 36, 4), strings = *at + ENTRY_SIZE + extra;
    s->l1_offset = be_get(raw, 8);
    s->l1_size = (uint32_t)be_get(raw + 8, 4);
    s->seconds = (uint32_t)be_get(raw + 16, 4);
    s->size = q->h.size;
    if (extra >= EXTRA_DISK_SIZE + sizeof size) {
        rc = block_file_read(&q->block.file, *at + ENTRY_SIZE + EXTRA_DISK_SIZE, size, sizeof size);
        s->size = be_get(size, sizeof size);
    }
    if (!rc)
        rc = snapshot_strings(q, s, strings, id_len, name_len);
    *at += align_up(ENTRY_SIZE + extra + id_len + name_len, 8);
    return rc;
}

static bool snapshot_is_sound(const struct qcow2 *q, const struct qcow2_snapshot *s)
{
    uint64_t span = q->cluster_size << q->l2_bits;
    return s->l1_size <= QCOW2_MAX_L1 / 8 && s->size <= INT64_MAX / 2 &&
           qcow2_in_file(q, s->l1_offset, s->l1_size * UINT64_C(8)) &&
           (s->size + span - 1) / span <= s->l1_size;
}

int qcow2_snapshots_read(struct qcow2 *q, struct error *err)
{
    const char *path = q->block.path;
    uint64_t at = q->h.snapshots_offset;
    q->snapshots_end = at;
    if (!q->h.snapshots)
        return 0;
    q->snapshots = calloc(q->h.snapshots, sizeof *q->snapshots);
    if (!q->snapshots)
        return error_set(err, ENOMEM, "%s: out of memory", path);
    for (uint32_t i = 0; i < q->h.snapshots; i++) {
        int rc = snapshot_read(q, &q->snapshots[i], &at);
        if (rc == -ENOMEM)
            return error_set(err, ENOMEM, "%s: out of memory", path);
        if (rc || at - q->h.snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE ||
            !snapshot_is_sound(q, &q->snapshots[i]))
            return error_set(err, EINVAL, "%s: is damaged: snapshot %u of %u is not valid", path,
                             i + 1, q->h.snapshots);
    }
    q->snapshots_end = at;
    return 0;
}

void qcow2_snapshots_free(struct qcow2 *q)
{
    for (uint32_t i = 0; q->snapshots && i < q->h.snapshots; i++) {
        free(q->snapshots[i].id);
        free(q->snapshots[i].name);
    }
    free(q->snapshots);
}

const struct qcow2_snapshot *qcow2_snapshot_find(const struct qcow2 *q, const char *name)
{
    for (uint32_t i = 0; i < q->h.snapshots; i++)
        if (!strcmp(q->snapshots[i].name, name))
            return &q->snapshots[i];
    for (uint32_t i = 0; i < q->h.snapshots; i++)
        if (!strcmp(q->snapshots[i].id, name))
            return &q->snapshots[i];
    return NULL;
}
