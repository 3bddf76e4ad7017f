/*
 * The riscv64 board `virt`: the layout of QEMU's board of that name, so that guests made for it
 * run. Boots a kernel either with guise as the SBI firmware (no firmware given: harts start in
 * S-mode) or with real M-mode firmware.
 */
#pragma once

#include "block/block.h"
#include "chr/chr.h"
#include "machine/machine.h"
#include "net/net.h"

#define VIRT_MAX_CPUS 64
#define VIRT_VIRTIO_SLOTS 8
#define VIRT_MIN_MEMORY (UINT64_C(2) << 20)

struct virt_config {
    unsigned cpus;
    uint64_t memory;            /* bytes, a multiple of 4096 */
    unsigned address_bits;      /* virtual addresses offered: 39, 48 or 57 */
    bool deterministic;         /* virtual clock, seeded entropy, fixed date */
    bool pci;                   /* a PCI bridge, and the virtio devices behind it */
    bool aia;                   /* APLIC and IMSICs, not a PLIC */
    const char *kernel;         /* paths; kernel or firmware must be given */
    const char *initrd;         /* or NULL */
    const char *append;         /* kernel command line, or NULL */
    const char *firmware;       /* or NULL */
    bool boot_at_once;          /* U-Boot does not wait for a key */
    struct chr *console;        /* the serial port's; not owned, outlives the machine */
    struct block *const *disks; /* not owned, outlive the machine */
    unsigned disk_count;
    struct net *const *nets; /* likewise; disks and networks: up to VIRT_VIRTIO_SLOTS - 1 */
    unsigned net_count;
};

/* NULL with *err. machine_free releases it. */
struct machine *virt_new(const struct virt_config *config, struct error *err);

/*
 * The device tree the guest gets, in FDT format; valid as long as the machine. Each reset gives
 * /chosen another rng-seed, unless the machine is deterministic.
 */
const void *virt_device_tree(struct machine *m, size_t *size);

/* Plugs the cable of network card `net` in or pulls it out. Any thread. */
void virt_set_link(struct machine *m, unsigned net, bool up);
/* The machine has come from elsewhere: guests tell their networks. Any thread. */
void virt_announce(struct machine *m);
