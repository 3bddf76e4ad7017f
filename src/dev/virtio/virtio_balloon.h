/*
 * virtio memory balloon (virtio 1.2, section 5.5): memory that the guest does without goes back to
 * the host. It does so in two ways: pages that the driver puts into the balloon because the host
 * asks for it (virtio_balloon_set_target), and free ones that it reports on its own (free page
 * reporting). Either way a page has no contents any more: it reads zero when it is used again.
 *
 * Locking: the device's lock. The functions below take it; any thread may call them.
 */
#pragma once

#include "core/addrspace.h"
#include "core/irq.h"

#include <stdbool.h>
#include <stdint.h>

/* Statistics of the guest, by their tags (section 5.5.6.3, and what Linux has besides). */
#define VIRTIO_BALLOON_STATS 16u

struct virtio_balloon_stats {
    uint64_t target;     /* bytes that the balloon is to hold */
    uint64_t actual;     /* bytes that it holds, as the driver says */
    uint64_t given_back; /* bytes given to the host so far, balloon and reports; not saved */
    uint64_t updates;    /* how often the driver has sent what follows; 0: never */
    uint32_t known;      /* bit n: values[n] is one that it has sent */
    uint64_t values[VIRTIO_BALLOON_STATS];
};

/* What a statistic is called in machine-readable output, as "free_memory". */
const char *virtio_balloon_stat_name(unsigned tag);

/* target: bytes that the balloon is to hold at first. NULL with *err. */
struct device *virtio_balloon_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  uint64_t target, struct error *err);

/* Asks the driver to inflate or deflate to so many bytes, rounded down to pages. */
void virtio_balloon_set_target(struct device *dev, uint64_t bytes);

/* Asks the driver for new statistics; they come soon, if at all: `updates` has then changed. */
void virtio_balloon_ask(struct device *dev);

void virtio_balloon_stats(struct device *dev, struct virtio_balloon_stats *out);
