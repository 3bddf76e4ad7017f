/*
 * Firmware's and a driver's side of PCI and of virtio over it, for tests: it finds everything by
 * configuration space alone, after the specifications, and knows nothing of how guise lays it out.
 */
#pragma once

#include "driver.h"

#define PD_BARS 6u

struct pci_driver {
    struct addrspace *as;
    gpa_t config; /* of the function, in ECAM */
    struct pci_bar_info {
        uint64_t size; /* 0: none */
        bool is_64, prefetchable;
        gpa_t base;
    } bars[PD_BARS];
    /* Of virtio (1.2, section 4.1.4): 0 where there is none. */
    gpa_t common, notify, isr, device;
    uint32_t notify_multiplier, device_length;
    unsigned window_cap; /* VIRTIO_PCI_CAP_PCI_CFG */
    unsigned msix_cap;
    unsigned vectors;
    gpa_t table, pba;
};

uint32_t pd_read(const struct pci_driver *d, unsigned at, unsigned size);
void pd_write(const struct pci_driver *d, unsigned at, unsigned size, uint32_t value);

/* Memory accesses that must not be bus errors. */
uint64_t pd_get(const struct pci_driver *d, gpa_t gpa, unsigned size);
void pd_put(const struct pci_driver *d, gpa_t gpa, unsigned size, uint64_t value);

/* Finds the size and kind of every base address and leaves them as they were. */
void pd_size_bars(struct pci_driver *d);
void pd_place_bar(struct pci_driver *d, unsigned bar, gpa_t base);

/* The first capability of this id behind `after` (0: the first of all), 0 if there is none. */
unsigned pd_find_cap(const struct pci_driver *d, unsigned id, unsigned after);

/*
 * All of it: sizes, places behind `memory` (32 bits) and `high`, which move on, command register,
 * capabilities. False: there is no function.
 */
bool pd_probe(struct pci_driver *d, struct addrspace *as, gpa_t config, gpa_t *memory, gpa_t *high);

void pd_msix_enable(const struct pci_driver *d, bool on, bool mask_all);
void pd_msix_entry(const struct pci_driver *d, unsigned vector, gpa_t address, uint32_t data,
                   bool masked);

/* Negotiation up to FEATURES_OK; returns the status read back. */
uint32_t pd_negotiate(const struct pci_driver *d, uint64_t features);
/* Lays a queue out and enables it with this vector. */
void pd_ring_init(struct vring *q, const struct pci_driver *d, unsigned index, uint16_t size,
                  gpa_t at, uint16_t vector);

/* Offsets of the common structure (section 4.1.4.3). */
enum {
    PD_DEVICE_SELECT = 0x00,
    PD_DEVICE_FEATURE = 0x04,
    PD_DRIVER_SELECT = 0x08,
    PD_DRIVER_FEATURE = 0x0c,
    PD_CONFIG_VECTOR = 0x10,
    PD_NUM_QUEUES = 0x12,
    PD_STATUS = 0x14,
    PD_GENERATION = 0x15,
    PD_QUEUE_SELECT = 0x16,
    PD_QUEUE_SIZE = 0x18,
    PD_QUEUE_VECTOR = 0x1a,
    PD_QUEUE_ENABLE = 0x1c,
    PD_QUEUE_NOTIFY_OFF = 0x1e,
    PD_QUEUE_DESC = 0x20,
    PD_QUEUE_DRIVER = 0x28,
    PD_QUEUE_DEVICE = 0x30,
};
#define PD_NO_VECTOR 0xffffu
