/*
 * virtio block device (virtio 1.2, section 5.2): one request queue over a struct block.
 *
 * Requests are carried out when the driver notifies, on its vCPU's thread. Without FLUSH accepted
 * by the driver every write is flushed before it completes.
 */
#pragma once

#include "block/block.h"
#include "core/addrspace.h"
#include "core/irq.h"

/*
 * serial: up to 20 bytes that the driver can ask for, NULL for none (copied). The block must
 * outlive the device. A read-only block is offered as read-only. NULL with *err.
 *
 * State loads only over a disk of the size that was saved.
 */
struct device *virtio_blk_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              struct block *block, const char *serial, struct error *err);
