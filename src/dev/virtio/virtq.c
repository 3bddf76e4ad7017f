#include "dev/virtio/virtq.h"

#include "base/bits.h"

#include <errno.h>
#include <stdatomic.h>

/* Section 2.7.5: struct virtq_desc. */
#define DESC_SIZE 16u
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/* Sections 2.7.6 and 2.7.8: offsets in the available and the used ring. */
#define RING_FLAGS 0u
#define RING_IDX 2u
#define RING_ENTRIES 4u
#define AVAIL_NO_INTERRUPT 1u

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

static const struct state_field virtq_fields[] = {
    STATE_FIELD(struct virtq, desc),
    STATE_FIELD(struct virtq, avail),
    STATE_FIELD(struct virtq, used),
    STATE_FIELD(struct virtq, size),
    STATE_FIELD(struct virtq, ready),
    STATE_FIELD(struct virtq, next_avail),
    STATE_FIELD(struct virtq, next_used),
    STATE_FIELD(struct virtq, signaled_used),
    STATE_END,
};

const struct state_table virtq_state = {
    .name = "virtq",
    .version = 1,
    .size = sizeof(struct virtq),
    .fields = virtq_fields,
};

static uint16_t ring_load(const uint8_t *p)
{
    return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
}

static void ring_store(uint8_t *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELAXED);
}

/* Everything that the driver wrote before it moved its index is visible after this. */
static uint16_t virtq_avail_idx(const struct virtq *q)
{
    const uint8_t *idx = q->avail_host + RING_IDX;
    return __atomic_load_n((const uint16_t *)(const void *)idx, __ATOMIC_ACQUIRE);
}

/* Whoever sees the index sees the entries before it and what is in their buffers. */
void virtq_publish(struct virtq *q)
{
    uint8_t *idx = q->used_host + RING_IDX;
    __atomic_store_n((uint16_t *)(void *)idx, q->next_used, __ATOMIC_RELEASE);
}

int virtq_enable(struct virtq *q, const struct addrspace *mem, bool indirect, bool event_idx)
{
    uint64_t n = q->size;
    if (!is_pow2(n) || n > VIRTQ_MAX_SIZE || q->desc % 16 || q->avail % 2 || q->used % 4)
        return -EINVAL;
    q->desc_host = addrspace_ram(mem, q->desc, DESC_SIZE * n);
    q->avail_host = addrspace_ram(mem, q->avail, 6 + 2 * n);
    q->used_host = addrspace_ram(mem, q->used, 6 + 8 * n);
    if (!q->desc_host || !q->avail_host || !q->used_host)
        return -EINVAL;
    q->mem = mem;
    q->indirect = indirect;
    q->event_idx = event_idx;
    q->limit = q->next_avail;
    q->ready = 1;
    return 0;
}

void virtq_reset(struct virtq *q)
{
    *q = (struct virtq){0};
}

int virtq_arm(struct virtq *q)
{
    uint16_t pending = 0;
    for (bool announced = false;; announced = true) {
        uint16_t idx = virtq_avail_idx(q);
        uint16_t distance = (uint16_t)(idx - q->next_avail);
        /* An index that goes back is as wrong as one that overtakes the ring. */
        if (distance > q->size || distance < pending)
            return -EINVAL;
        if (!q->event_idx || (announced && distance == pending)) {
            q->limit = idx;
            return 0;
        }
        pending = distance;
        ring_store(q->used_host + RING_ENTRIES + 8u * q->size, idx);
        /* Either the driver sees this event index or the next round sees its entries. */
        atomic_thread_fence(memory_order_seq_cst);
    }
}

/* One copy, which the guest cannot change behind the checks. */
static struct virtq_desc virtq_read_desc(const uint8_t *table, uint32_t index)
{
    uint8_t raw[DESC_SIZE];
    memcpy(raw, table + (size_t)index * DESC_SIZE, sizeof raw);
    atomic_signal_fence(memory_order_seq_cst);
    return (struct virtq_desc){
        .addr = le64_get(raw),
        .len = le32_get(raw + 8),
        .flags = le16_get(raw + 12),
        .next = le16_get(raw + 14),
    };
}

static int virtq_add_segment(const struct virtq *q, struct virtq_chain *c,
                             const struct virtq_desc *d)
{
    bool write = d->flags & DESC_WRITE;
    unsigned used = c->readable_count + c->writable_count;
    if (!write && c->writable_count)
        return -EINVAL;
    if (!d->len)
        return 0;
    if (used == VIRTQ_MAX_SEGMENTS ||
        d->len > VIRTQ_MAX_BYTES - c->readable_bytes - c->writable_bytes)
        return -EINVAL;
    void *host = addrspace_ram(q->mem, d->addr, d->len);
    if (!host)
        return -EINVAL;
    c->iov[used] = (struct iovec){.iov_base = host, .iov_len = d->len};
    *(write ? &c->writable_count : &c->readable_count) += 1;
    *(write ? &c->writable_bytes : &c->readable_bytes) += d->len;
    return 0;
}

/* Opens the table that an indirect descriptor points to; returns its length, 0 if it is wrong. */
static uint32_t virtq_open_indirect(const struct virtq *q, const struct virtq_desc *d,
                                    const uint8_t **table)
{
    if (!q->indirect || d->flags & DESC_NEXT || !d->len || d->len % DESC_SIZE ||
        d->len / DESC_SIZE > VIRTQ_MAX_SEGMENTS)
        return 0;
    *table = addrspace_ram(q->mem, d->addr, d->len);
    return *table ? d->len / DESC_SIZE : 0;
}

static int virtq_walk(const struct virtq *q, struct virtq_chain *c, uint32_t index)
{
    const uint8_t *table = q->desc_host;
    uint32_t count = q->size;
    bool in_indirect = false;
    for (uint32_t left = count; left; left--) {
        if (index >= count)
            return -EINVAL;
        struct virtq_desc d = virtq_read_desc(table, index);
        if (d.flags & DESC_INDIRECT) {
            count = in_indirect ? 0 : virtq_open_indirect(q, &d, &table);
            if (!count)
                return -EINVAL;
            in_indirect = true;
            index = 0;
            left = count + 1;
            continue;
        }
        if (virtq_add_segment(q, c, &d))
            return -EINVAL;
        if (!(d.flags & DESC_NEXT))
            return 0;
        index = d.next;
    }
    return -EINVAL; /* longer than its table: a loop */
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
    if (q->next_avail == q->limit)
        return 0;
    unsigned slot = q->next_avail & (q->size - 1u);
    c->head = ring_load(q->avail_host + RING_ENTRIES + 2u * slot);
    c->readable_count = c->writable_count = 0;
    c->readable_bytes = c->writable_bytes = 0;
    int rc = virtq_walk(q, c, c->head);
    if (rc)
        return rc;
    c->readable = c->iov;
    c->writable = c->iov + c->readable_count;
    q->next_avail++;
    return 1;
}

void virtq_unpop(struct virtq *q)
{
    q->next_avail--;
}

void virtq_fill(struct virtq *q, uint16_t head, uint32_t written)
{
    unsigned slot = q->next_used & (q->size - 1u);
    uint32_t *entry = (uint32_t *)(void *)(q->used_host + RING_ENTRIES + 8u * slot);
    __atomic_store_n(&entry[0], head, __ATOMIC_RELAXED);
    __atomic_store_n(&entry[1], written, __ATOMIC_RELAXED);
    q->next_used++;
}

void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
    virtq_fill(q, c->head, written);
    virtq_publish(q);
}

void virtq_take_back(struct virtq *q, uint16_t next_avail)
{
    q->next_avail = q->limit = next_avail;
    q->next_used = q->signaled_used = ring_load(q->used_host + RING_IDX);
}

void virtq_take_back_used(struct virtq *q)
{
    virtq_take_back(q, ring_load(q->used_host + RING_IDX));
}

bool virtq_pending(const struct virtq *q)
{
    return virtq_avail_idx(q) != q->next_avail;
}

bool virtq_wants_interrupt(struct virtq *q)
{
    uint16_t old = q->signaled_used;
    uint16_t now = q->next_used;
    if (old == now)
        return false;
    q->signaled_used = now;
    /* The index must be visible before the driver's wish is read (section 2.7.7.2). */
    atomic_thread_fence(memory_order_seq_cst);
    if (!q->event_idx)
        return !(ring_load(q->avail_host + RING_FLAGS) & AVAIL_NO_INTERRUPT);
    uint16_t event = ring_load(q->avail_host + RING_ENTRIES + 2u * q->size);
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* Takes up to len bytes off the front of an array of segments, copying them where `buf` says. */
static size_t segments_consume(struct iovec **iov, unsigned *count, uint64_t *bytes, size_t len,
                               void *out, const void *in)
{
    size_t done = 0;
    while (done < len && *count) {
        struct iovec *s = *iov;
        size_t n = s->iov_len < len - done ? s->iov_len : len - done;
        if (out)
            memcpy((uint8_t *)out + done, s->iov_base, n);
        if (in)
            memcpy(s->iov_base, (const uint8_t *)in + done, n);
        s->iov_base = (uint8_t *)s->iov_base + n;
        s->iov_len -= n;
        done += n;
        if (!s->iov_len) {
            ++*iov;
            --*count;
        }
    }
    *bytes -= done;
    return done;
}

size_t virtq_chain_read(struct virtq_chain *c, void *buf, size_t len)
{
    return segments_consume(&c->readable, &c->readable_count, &c->readable_bytes, len, buf, NULL);
}

size_t virtq_chain_write(struct virtq_chain *c, const void *buf, size_t len)
{
    return segments_consume(&c->writable, &c->writable_count, &c->writable_bytes, len, NULL, buf);
}

uint8_t *virtq_chain_cut_last(struct virtq_chain *c)
{
    if (!c->writable_count)
        return NULL;
    struct iovec *last = &c->writable[c->writable_count - 1];
    last->iov_len--;
    c->writable_bytes--;
    if (!last->iov_len)
        c->writable_count--;
    return (uint8_t *)last->iov_base + last->iov_len;
}
