/*
 * The virtio devices of the board `virt`: disks, then entropy, then networks, then shared folders,
 * then the socket device, then the ports, then the balloon. They are in the slots of MMIO, the
 * first eight of which are always there, or behind a PCI bridge, from slot 1 on. The power button,
 * one of MMIO always, is behind all slots.
 */
#include "machine/virt_internal.h"

#include "base/bits.h"
#include "dev/virtio/virtio.h"
#include "dev/virtio/virtio_balloon.h"
#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_console.h"
#include "dev/virtio/virtio_fs.h"
#include "dev/virtio/virtio_input.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_net.h"
#include "dev/virtio/virtio_pci.h"
#include "dev/virtio/virtio_rng.h"
#include "dev/virtio/virtio_vsock.h"

#include <errno.h>
#include <stdio.h>

#define FIXED_SEED 1

/* As many as harts can use; saved machines, which are deterministic, have one. */
static unsigned virtio_queues(const struct virt_config *c)
{
    return c->deterministic ? 1 : c->cpus < VIRTIO_QUEUE_MAX ? c->cpus : VIRTIO_QUEUE_MAX;
}

/* Device i of those that there are, for whichever bus. */
static struct device *virtio_make(struct virt *virt, unsigned i, struct irq_line irq,
                                  struct error *err)
{
    const struct virt_config *c = &virt->config;
    const uint64_t seed = FIXED_SEED;
    char id[24];
    if (i == c->disk_count)
        return virtio_rng_new(virt->m.mem, irq, "rng0", c->deterministic ? &seed : NULL, err);
    const unsigned singles = c->disk_count + c->net_count + c->share_count + 1;
    if (i == singles && c->vsock)
        return virtio_vsock_new(virt->m.mem, irq, "vsock0", c->vsock, c->loop, err);
    if (i == singles + (c->vsock != NULL) && c->port_count)
        return virtio_console_new(virt->m.mem, irq, "ports0", NULL, c->ports, c->port_count, err);
    if (i > c->disk_count + c->net_count + c->share_count)
        return virt->balloon =
                   virtio_balloon_new(virt->m.mem, irq, "balloon0", c->balloon_target, err);
    if (i > c->disk_count + c->net_count) {
        unsigned share = i - c->disk_count - c->net_count - 1;
        snprintf(id, sizeof id, "share%u", share);
        return virtio_fs_new(virt->m.mem, irq, id, c->shares[share], c->loop, err);
    }
    if (i > c->disk_count) {
        unsigned nic = i - c->disk_count - 1;
        snprintf(id, sizeof id, "net%u", nic);
        return virt->nics[nic] = virtio_net_new(virt->m.mem, irq, id, c->nets[nic], err);
    }
    snprintf(id, sizeof id, "disk%u", i);
    return virt->disks[i] = virtio_blk_new(virt->m.mem, irq, id, c->disks[i], id, virtio_queues(c),
                                           c->deterministic, err);
}

static unsigned virtio_count(const struct virt *virt)
{
    const struct virt_config *c = &virt->config;
    return c->disk_count + 1 + c->net_count + c->share_count + (c->vsock != NULL) +
           (c->port_count != 0) + c->balloon;
}

unsigned virt_slots(const struct virt *virt)
{
    unsigned used = virt->config.pci ? 0 : virtio_count(virt);
    return used > VIRT_VIRTIO_SLOTS ? used : VIRT_VIRTIO_SLOTS;
}

unsigned virt_slot_irq(unsigned slot)
{
    return slot < VIRT_VIRTIO_SLOTS ? VIRT_IRQ_VIRTIO + slot
                                    : VIRT_IRQ_MORE + slot - VIRT_VIRTIO_SLOTS;
}

static int virtio_slots(struct virt *virt, unsigned used, struct error *err)
{
    int rc = 0;
    if (used > VIRT_VIRTIO_SLOTS + VIRT_VIRTIO_SLOTS_MORE)
        return error_set(err, EINVAL,
                         "%u virtio devices: the machine takes up to %u with --bus mmio", used,
                         VIRT_VIRTIO_SLOTS + VIRT_VIRTIO_SLOTS_MORE);
    for (unsigned i = 0; !rc && i < virt_slots(virt); i++) {
        struct device *dev = i < used ? virtio_make(virt, i, virt_irq(virt, virt_slot_irq(i)), err)
                                      : virtio_mmio_empty_new(err);
        rc = virt_add(virt, dev, VIRT_VIRTIO + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE,
                      i < used ? &virtio_mmio : &virtio_mmio_empty, err);
    }
    return rc;
}

gpa_t virt_pci_window(const struct virt *virt, enum pci_window w, uint64_t *size)
{
    static const uint64_t sizes[PCI_WINDOWS] = {
        [PCI_WINDOW_IO] = VIRT_PCI_IO_SIZE,
        [PCI_WINDOW_MEMORY] = VIRT_PCI_MEMORY_SIZE,
        [PCI_WINDOW_HIGH] = VIRT_PCI_HIGH_SIZE,
    };
    *size = sizes[w];
    if (w == PCI_WINDOW_HIGH)
        return align_up(VIRT_RAM + virt->config.memory, VIRT_PCI_HIGH_SIZE);
    return w == PCI_WINDOW_IO ? VIRT_PCI_IO : VIRT_PCI_MEMORY;
}

static int pci_bridge(struct virt *virt, struct device **bridge, struct error *err)
{
    struct pci_host_config config = {0};
    uint64_t sizes[PCI_WINDOWS];
    for (unsigned w = 0; w < PCI_WINDOWS; w++)
        config.window_base[w] = virt_pci_window(virt, w, &sizes[w]);
    for (unsigned pin = 0; pin < PCI_PINS; pin++)
        config.pins[pin] = virt_irq(virt, VIRT_IRQ_PCI + pin);
    config.msi = virt_msi(virt);
    *bridge = pci_host_new(&config, err);
    int rc = virt_add(virt, *bridge, VIRT_PCI_ECAM, PCI_ECAM_SIZE, &pci_ecam_mmio, err);
    for (unsigned w = 0; !rc && w < PCI_WINDOWS; w++)
        rc = addrspace_add_mmio(virt->m.mem, config.window_base[w], sizes[w], &pci_window_mmio[w],
                                *bridge, err);
    return rc;
}

static int virtio_behind_pci(struct virt *virt, struct error *err)
{
    struct device *bridge;
    int rc = pci_bridge(virt, &bridge, err);
    for (unsigned i = 0; !rc && i < virtio_count(virt); i++) {
        struct device *dev = virtio_make(virt, i, pci_host_intx(bridge, i + 1), err);
        rc = virt_add(virt, dev, 0, 0, NULL, err);
        if (!rc)
            rc = virt_add(virt, virtio_pci_new(bridge, i + 1, dev, err), 0, 0, NULL, err);
    }
    return rc ? rc : virtio_slots(virt, 0, err);
}

int virt_virtio(struct virt *virt, struct error *err)
{
    int rc = virt->config.pci ? virtio_behind_pci(virt, err)
                              : virtio_slots(virt, virtio_count(virt), err);
    if (rc)
        return rc;
    virt->button =
        virtio_input_new(virt->m.mem, virt_irq(virt, VIRT_IRQ_BUTTON), "power-button", err);
    return virt_add(virt, virt->button, VIRT_BUTTON, VIRTIO_MMIO_SIZE, &virtio_mmio, err);
}
