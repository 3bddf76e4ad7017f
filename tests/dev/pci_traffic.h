/* As traffic.h, for a pci_rig. */
#pragma once

#include "pci_rig.h"

/* Does one random thing; returns a digest of what could be observed. */
uint64_t pci_traffic_step(struct pci_rig *r, uint64_t *random);
