/*
 * virtio block device (virtio 1.2, section 5.2): request queues over a struct block.
 *
 * Requests are handed to a block_queue when the driver notifies, and given back by its threads; or
 * carried out at once on the vCPU's thread, for machines whose runs must repeat exactly. Without
 * FLUSH accepted by the driver every write is flushed before it completes.
 */
#pragma once

#include "block/block.h"
#include "core/addrspace.h"
#include "core/irq.h"

/*
 * queues: 1 to VIRTIO_QUEUE_MAX, of which the driver uses one for each hart, or the first only.
 * serial: up to 20 bytes that the driver can ask for, NULL for none (copied). The block must
 * outlive the device. A read-only block is offered as read-only. `at_once`: no queue. NULL with
 * *err.
 *
 * State loads only over a disk of the size that was saved.
 */
struct device *virtio_blk_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              struct block *block, const char *serial, unsigned queues,
                              bool at_once, struct error *err);

/* What has been done since the device was made; bytes of requests that succeeded. */
struct virtio_blk_stats {
    uint64_t reads, read_bytes, writes, write_bytes;
    uint64_t flushes, discards; /* discards: and writes of zeroes, range by range */
    uint64_t errors;
};

/* Any thread, lock not held. */
void virtio_blk_stats(struct device *dev, struct virtio_blk_stats *out);
