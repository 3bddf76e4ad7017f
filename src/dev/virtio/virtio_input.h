/*
 * virtio input device (virtio 1.2, section 5.8) with a single key: the machine's power button.
 *
 * Locking: the device's lock.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "core/irq.h"

#include <stdbool.h>

/* NULL with *err. */
struct device *virtio_input_new(struct addrspace *mem, struct irq_line irq, const char *id,
                                struct error *err);

/*
 * Presses the button and lets it go. False if the guest has no driver that would hear of it. Any
 * thread, lock not held.
 */
bool virtio_input_press(struct device *dev);
