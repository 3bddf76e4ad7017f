/*
 * virtio socket device (virtio 1.2, section 5.10): streams between ports of the guest and the Unix
 * sockets of a struct vsock. Seqpacket sockets are turned away.
 *
 * Connections belong to this host: a machine that is saved and continued has none, and its driver
 * is told (section 5.10.6.7), so that the guest's programs see their connections reset.
 *
 * Locking: the device's lock. Rings and sockets are served on the event loop's thread only.
 */
#pragma once

#include "core/addrspace.h"
#include "core/irq.h"
#include "vsock/vsock.h"

struct loop;

/*
 * The back end must outlive the device, which is made and freed on the event loop's thread or while
 * the loop does not run. NULL with *err.
 */
struct device *virtio_vsock_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                struct vsock *vsock, struct loop *loop, struct error *err);
