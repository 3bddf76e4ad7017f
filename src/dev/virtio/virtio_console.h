/*
 * virtio console (virtio 1.2, section 5.3): port 0, the console, and named ports, each over a
 * struct chr. Without named ports it does not offer VIRTIO_CONSOLE_F_MULTIPORT.
 *
 * A named port is open on the host's side while its back end has a client, and takes input while
 * the guest has it open. Output that the back end does not take stays in the driver's queue until
 * there is room.
 *
 * Locking: the device's lock, which the back end's callbacks take on the event loop's thread.
 */
#pragma once

#include "chr/chr.h"
#include "core/addrspace.h"
#include "core/irq.h"

#define VIRTIO_CONSOLE_NAMED_MAX 6u /* as many as there are queues for */
#define VIRTIO_CONSOLE_NAME_MAX 63u

struct virtio_console_port {
    const char *name; /* up to VIRTIO_CONSOLE_NAME_MAX bytes; outlives the device */
    struct chr *chr;
};

/*
 * chr NULL: there is no console; a driver that knows of no other ports prints to nowhere. The back
 * ends, each of one port, must outlive the device, which is made and freed on the event loop's
 * thread or while the loop does not run. NULL with *err.
 */
struct device *virtio_console_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  struct chr *chr, const struct virtio_console_port *named,
                                  unsigned named_count, struct error *err);
