/*
 * The riscv64 board `virt`: the layout of QEMU's board of that name, so that guests made for it
 * run. Boots a kernel, or what the first bank of flash holds, either with guise as the SBI firmware
 * (no firmware given: harts start in S-mode) or with real M-mode firmware.
 */
#pragma once

#include "block/block.h"
#include "chr/chr.h"
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "machine/machine.h"
#include "net/net.h"
#include "share/share.h"
#include "vsock/vsock.h"

struct loop;

#define VIRT_MAX_CPUS 64
#define VIRT_VIRTIO_SLOTS 8
#define VIRT_FLASH_BANKS 2
#define VIRT_FLASH_SIZE (UINT64_C(32) << 20) /* of a bank */
#define VIRT_MIN_MEMORY (UINT64_C(2) << 20)

struct virt_config {
    unsigned cpus;
    uint64_t memory;            /* bytes, a multiple of 4096 */
    unsigned address_bits;      /* virtual addresses offered: 39, 48 or 57 */
    bool deterministic;         /* virtual clock, seeded entropy, fixed date */
    bool pci;                   /* a PCI bridge, and the virtio devices behind it */
    bool aia;                   /* APLIC and IMSICs, not a PLIC */
    const char *kernel;         /* paths; kernel, firmware or flash must be given */
    const char *initrd;         /* or NULL */
    const char *append;         /* kernel command line, or NULL */
    const char *firmware;       /* or NULL */
    struct block *const *flash; /* banks of flash, from the first on; like disks */
    unsigned flash_count;       /* 0: there is none; up to VIRT_FLASH_BANKS */
    bool boot_at_once;          /* U-Boot does not wait for a key */
    struct chr *console;        /* the serial port's; not owned, outlives the machine */
    struct block *const *disks; /* not owned, outlive the machine */
    unsigned disk_count;
    struct net *const *nets; /* likewise */
    unsigned net_count;
    struct share *const *shares; /* likewise */
    unsigned share_count;
    struct vsock *vsock;                     /* likewise, NULL: the machine has no socket device */
    const struct virtio_console_port *ports; /* likewise, in one device */
    unsigned port_count; /* disks, nets, shares, and one each for vsock and ports, if there are any:
                            up to VIRT_VIRTIO_SLOTS - 1 */
    struct loop *loop;   /* of the shares and the socket device */
    bool balloon;        /* there is one, which also takes reports of free pages */
    uint64_t balloon_target; /* bytes that it is to hold at first */
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
/* Whether it is in; `net` must exist. Any thread. */
bool virt_plugged(struct machine *m, unsigned net);
/* Counters of disk `disk`, which must exist. Any thread. */
void virt_disk_stats(struct machine *m, unsigned disk, struct virtio_blk_stats *out);
/* Presses the power button; false if the guest has no driver for it. Any thread. */
bool virt_press_power(struct machine *m);
/*
 * The balloon: bytes that it is to hold, new statistics of the guest, and what is known. False if
 * there is none. Any thread.
 */
bool virt_balloon_set(struct machine *m, uint64_t bytes);
bool virt_balloon_ask(struct machine *m);
bool virt_balloon_stats(struct machine *m, struct virtio_balloon_stats *out);
/* The machine has come from elsewhere: guests tell their networks. Any thread. */
void virt_announce(struct machine *m);
