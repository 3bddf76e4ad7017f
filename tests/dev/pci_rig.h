/*
 * A PCI bridge with a disk and an entropy source, an APLIC behind its pins and IMSICs behind both,
 * for tests and fuzzers: recorders at the ends of the IMSICs' lines.
 */
#pragma once

#include "dev/aplic.h"
#include "dev/imsic.h"
#include "dev/pci/pci_host.h"
#include "rig.h"

#define PRIG_HARTS 2u
#define PRIG_RAM RIG_RAM
#define PRIG_RAM_SIZE UINT64_C(0x80000)
#define PRIG_IO UINT64_C(0x3000000)
#define PRIG_IO_SIZE UINT64_C(0x10000)
#define PRIG_APLIC(level) (UINT64_C(0xc000000) + UINT64_C(0x1000000) * (level))
#define PRIG_IMSIC(level, hart) \
    (UINT64_C(0x24000000) + UINT64_C(0x4000000) * (level) + IMSIC_PAGE * (hart))
#define PRIG_ECAM UINT64_C(0x30000000)
#define PRIG_MEMORY UINT64_C(0x40000000)
#define PRIG_MEMORY_SIZE UINT64_C(0x10000000)
#define PRIG_HIGH UINT64_C(0x400000000)
#define PRIG_HIGH_SIZE UINT64_C(0x400000000)

enum { PRIG_SLOT_BLK = 1, PRIG_SLOT_RNG = 2 };
#define PRIG_PIN 32u /* source of the first pin */

struct pci_rig {
    struct addrspace *as;
    struct fake_block disk;
    bool external[IMSIC_LEVELS * PRIG_HARTS]; /* M and S of each hart */
    struct device *imsic, *aplic, *host, *blk, *blk_fn, *rng, *rng_fn;
    struct device *all[8]; /* in the order in which state is saved; NULL ends */
};

/* With messages or without: then functions have pins only. Aborts when it cannot be made. */
struct pci_rig *pci_rig_new(bool msi);
void pci_rig_free(struct pci_rig *r);

/* Saves everything of a, loads it into b. False with a message on stderr if b refuses. */
bool pci_rig_copy(struct pci_rig *a, struct pci_rig *b);
/* Compares all declared state, memory and the lines; false with a message on stderr. */
bool pci_rig_equal(struct pci_rig *a, struct pci_rig *b);
