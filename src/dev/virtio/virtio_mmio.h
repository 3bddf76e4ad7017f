/*
 * virtio over MMIO, register layout version 2 (virtio 1.2, section 4.2). There is no object of its
 * own: give the address space &virtio_mmio with any virtio device.
 */
#pragma once

#include "core/device.h"

#define VIRTIO_MMIO_SIZE UINT64_C(0x1000)

extern const struct mmio_ops virtio_mmio;

/*
 * A slot without a device: guests that probe all slots find device number 0 in it (section
 * 4.2.3.1.1). Goes with &virtio_mmio_empty. NULL with *err.
 */
struct device *virtio_mmio_empty_new(struct error *err);
extern const struct mmio_ops virtio_mmio_empty;
