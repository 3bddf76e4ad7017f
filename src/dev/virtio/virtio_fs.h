/*
 * virtio file system (virtio 1.2, section 5.11): a folder of the host (share/share.h), whose
 * process serves the queues (vhost_user.h). The device itself looks at no request unless that
 * process is gone: then every request fails with EIO, so that nobody in the guest waits for ever.
 */
#pragma once

#include "base/loop.h"
#include "core/addrspace.h"
#include "core/irq.h"
#include "share/share.h"

/* The share outlives the device. NULL with *err. */
struct device *virtio_fs_new(struct addrspace *mem, struct irq_line irq, const char *id,
                             struct share *share, struct loop *loop, struct error *err);
