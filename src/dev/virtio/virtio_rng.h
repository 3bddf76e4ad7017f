/*
 * virtio entropy source (virtio 1.2, section 5.4).
 *
 * Its bytes come from the host's generator, or, for runs that can be repeated, from a generator
 * with a given seed whose seed and position are part of the state. The latter is no good for keys.
 */
#pragma once

#include "core/addrspace.h"
#include "core/irq.h"

#include <stdint.h>

/* seed NULL: the host's generator. NULL with *err. */
struct device *virtio_rng_new(struct addrspace *mem, struct irq_line irq, const char *id,
                              const uint64_t *seed, struct error *err);
