/* What all rigs do with their devices, a list that NULL ends, and with the memory before them. */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"

#include <stdbool.h>

/* Adds memory and devices to the stream, and takes them from it; false: refused, and why is said.
 */
void rig_devices_save(struct addrspace *as, struct device *const *all, struct state_out *out);
bool rig_devices_load(struct addrspace *as, struct device *const *all, struct state_in *in);
/* False: memory or state differs, and where is said. */
bool rig_devices_equal(struct addrspace *a, struct device *const *all_a, struct addrspace *b,
                       struct device *const *all_b);

/* A descriptor of a split ring (virtio 1.2, 2.7.5). */
void rig_put_desc(struct addrspace *as, gpa_t at, gpa_t addr, uint64_t len, uint64_t flags,
                  uint64_t next);
