/*
 * virtio over PCI (virtio 1.2, section 4.1; no legacy interface): a PCI function in front of a
 * virtio device that was made with the line of the function's slot (pci_host_intx).
 *
 * Base addresses: 1 is MSI-X's, 32 bits; 4, of 64 bits and prefetchable, holds the structures that
 * the vendor capabilities name.
 *
 * Locking: registers of the device run with the device's lock held, which the function takes;
 * configuration space and MSI-X with the function's own.
 */
#pragma once

#include "core/device.h"

/*
 * Puts the function into a free slot of the bridge. The device is not owned, and both outlive the
 * machine's run. MSI-X is offered if the bridge can send messages. NULL with *err.
 */
struct device *virtio_pci_new(struct device *host, unsigned slot, struct device *virtio,
                              struct error *err);
