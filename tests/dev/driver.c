#include "driver.h"

#include "base/bits.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    R_DEVICE_FEATURES = 0x10,
    R_DEVICE_SEL = 0x14,
    R_DRIVER_FEATURES = 0x20,
    R_DRIVER_SEL = 0x24,
    R_QUEUE_SEL = 0x30,
    R_QUEUE_NUM = 0x38,
    R_QUEUE_READY = 0x44,
    R_NOTIFY = 0x50,
    R_STATUS = 0x70,
    R_DESC = 0x80,
    R_AVAIL = 0x90,
    R_USED = 0xa0,
};

static uint64_t get(struct addrspace *as, gpa_t gpa, unsigned size)
{
    uint64_t v;
    if (!addrspace_read(as, gpa, size, &v))
        abort();
    return v;
}

static void put(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t value)
{
    if (!addrspace_write(as, gpa, size, value))
        abort();
}

uint64_t vdriver_offered(struct addrspace *as, gpa_t dev)
{
    put(as, dev + R_DEVICE_SEL, 4, 0);
    uint64_t lo = get(as, dev + R_DEVICE_FEATURES, 4);
    put(as, dev + R_DEVICE_SEL, 4, 1);
    return get(as, dev + R_DEVICE_FEATURES, 4) << 32 | lo;
}

uint32_t vdriver_negotiate(struct addrspace *as, gpa_t dev, uint64_t features)
{
    put(as, dev + R_STATUS, 4, 0);
    put(as, dev + R_STATUS, 4, 1);
    put(as, dev + R_STATUS, 4, 3);
    for (unsigned i = 0; i < 2; i++) {
        put(as, dev + R_DRIVER_SEL, 4, i);
        put(as, dev + R_DRIVER_FEATURES, 4, (uint32_t)(features >> 32 * i));
    }
    put(as, dev + R_STATUS, 4, 11);
    return (uint32_t)get(as, dev + R_STATUS, 4);
}

void vdriver_ok(struct addrspace *as, gpa_t dev)
{
    put(as, dev + R_STATUS, 4, 15);
}

static void vring_address(struct vring *q, unsigned reg, gpa_t gpa)
{
    put(q->as, q->dev + reg, 4, (uint32_t)gpa);
    put(q->as, q->dev + reg + 4, 4, gpa >> 32);
}

void vring_lay(struct vring *q, struct addrspace *as, unsigned index, uint16_t size, gpa_t at)
{
    *q = (struct vring){.as = as, .index = index, .size = size};
    q->desc = at;
    q->avail = q->desc + 16u * size;
    q->used = align_up(q->avail + 6 + 2u * size, 4);
    for (gpa_t p = at; p < q->used + 6 + 8u * size; p += 2)
        put(as, p, 2, 0);
}

void vring_init(struct vring *q, struct addrspace *as, gpa_t dev, unsigned index, uint16_t size,
                gpa_t at)
{
    vring_lay(q, as, index, size, at);
    q->dev = dev;
    q->notify = dev + R_NOTIFY;
    put(as, dev + R_QUEUE_SEL, 4, index);
    put(as, dev + R_QUEUE_NUM, 4, size);
    vring_address(q, R_DESC, q->desc);
    vring_address(q, R_AVAIL, q->avail);
    vring_address(q, R_USED, q->used);
    put(as, dev + R_QUEUE_READY, 4, 1);
}

void vring_write_desc(struct vring *q, gpa_t table, unsigned i, uint64_t addr, uint32_t len,
                      uint16_t flags, uint16_t next)
{
    uint8_t raw[16];
    le64_put(raw, addr);
    le32_put(raw + 8, len);
    le16_put(raw + 12, flags);
    le16_put(raw + 14, next);
    addrspace_copy_in(q->as, table + 16u * i, raw, sizeof raw);
}

void vring_offer(struct vring *q, uint16_t head)
{
    put(q->as, q->avail + 4 + 2u * (q->avail_idx % q->size), 2, head);
    q->avail_idx++;
    atomic_thread_fence(memory_order_release);
    put(q->as, q->avail + 2, 2, q->avail_idx);
}

uint16_t vring_add(struct vring *q, const struct vbuf *bufs, unsigned n, gpa_t table)
{
    uint16_t head = q->next_desc % q->size;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = table ? i : (head + i) % q->size;
        unsigned next = table ? i + 1 : (at + 1) % q->size;
        uint16_t flags = (uint16_t)((bufs[i].write ? VD_WRITE : 0) | (i + 1 < n ? VD_NEXT : 0));
        vring_write_desc(q, table ? table : q->desc, at, bufs[i].addr, bufs[i].len, flags,
                         (uint16_t)next);
    }
    if (table)
        vring_write_desc(q, q->desc, head, table, 16 * n, VD_INDIRECT, 0);
    q->next_desc = (uint16_t)((head + (table ? 1 : n)) % q->size);
    vring_offer(q, head);
    return head;
}

void vring_kick(struct vring *q)
{
    put(q->as, q->notify, 4, q->index);
}

bool vring_used(struct vring *q, uint32_t *id, uint32_t *len)
{
    if (q->used_idx == get(q->as, q->used + 2, 2))
        return false;
    atomic_thread_fence(memory_order_acquire);
    gpa_t entry = q->used + 4 + 8u * (q->used_idx++ % q->size);
    *id = (uint32_t)get(q->as, entry, 4);
    *len = (uint32_t)get(q->as, entry + 4, 4);
    return true;
}
