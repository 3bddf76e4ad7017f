/*
 * virtio console (virtio 1.2, section 5.3) with one port over a struct chr.
 *
 * Output that the back end does not take stays in the driver's queue until there is room.
 *
 * Locking: the device's lock, which the back end's callbacks take on the event loop's thread.
 */
#pragma once

#include "chr/chr.h"
#include "core/addrspace.h"
#include "core/irq.h"

/*
 * chr NULL: output is dropped, there is no input. The back end must outlive the device, which is
 * made and freed on the event loop's thread or while the loop does not run. NULL with *err.
 */
struct device *virtio_console_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                  struct chr *chr, struct error *err);
