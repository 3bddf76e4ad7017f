/*
 * The driver's side of a virtio device over MMIO, for tests: negotiation, rings built in guest RAM,
 * requests. It checks nothing that the device is tested for and can be told to do wrong things by
 * writing to the rings directly.
 */
#pragma once

#include "core/addrspace.h"

#include <stdbool.h>
#include <stdint.h>

struct vring {
    struct addrspace *as;
    gpa_t dev;    /* base of the registers */
    gpa_t notify; /* where it is kicked */
    unsigned index;
    uint16_t size;
    gpa_t desc, avail, used;
    uint16_t next_desc, avail_idx, used_idx;
};

struct vbuf {
    gpa_t addr;
    uint32_t len;
    bool write; /* the device writes it */
};

enum { VD_NEXT = 1, VD_WRITE = 2, VD_INDIRECT = 4 };
#define VD_VERSION_1 (UINT64_C(1) << 32)
#define VD_INDIRECT_DESC (UINT64_C(1) << 28)
#define VD_EVENT_IDX (UINT64_C(1) << 29)

/* Reset, negotiation up to FEATURES_OK; returns the status read back. */
uint32_t vdriver_negotiate(struct addrspace *as, gpa_t dev, uint64_t features);
void vdriver_ok(struct addrspace *as, gpa_t dev);
uint64_t vdriver_offered(struct addrspace *as, gpa_t dev);

/* Lays the queue's parts out in cleared memory without telling anybody. */
void vring_lay(struct vring *q, struct addrspace *as, unsigned index, uint16_t size, gpa_t at);

/* Lays the queue's parts out at `at` (16 KiB apart is enough for 256 entries) and enables it. */
void vring_init(struct vring *q, struct addrspace *as, gpa_t dev, unsigned index, uint16_t size,
                gpa_t at);

void vring_write_desc(struct vring *q, gpa_t table, unsigned i, uint64_t addr, uint32_t len,
                      uint16_t flags, uint16_t next);
/* Makes descriptor `head` available. */
void vring_offer(struct vring *q, uint16_t head);
/* Writes the chain's descriptors (into an indirect table at `table` unless 0), offers it. */
uint16_t vring_add(struct vring *q, const struct vbuf *bufs, unsigned n, gpa_t table);
void vring_kick(struct vring *q);
/* True when the device has returned a chain. */
bool vring_used(struct vring *q, uint32_t *id, uint32_t *len);
