#include "pci_driver.h"

#include <stdlib.h>
#include <string.h>

uint64_t pd_get(const struct pci_driver *d, gpa_t gpa, unsigned size)
{
    uint64_t v;
    if (!addrspace_read(d->as, gpa, size, &v))
        abort();
    return v;
}

void pd_put(const struct pci_driver *d, gpa_t gpa, unsigned size, uint64_t value)
{
    if (!addrspace_write(d->as, gpa, size, value))
        abort();
}

uint32_t pd_read(const struct pci_driver *d, unsigned at, unsigned size)
{
    return (uint32_t)pd_get(d, d->config + at, size);
}

void pd_write(const struct pci_driver *d, unsigned at, unsigned size, uint32_t value)
{
    pd_put(d, d->config + at, size, value);
}

/* What a base address register answers to all ones: PCI 3.0, section 6.2.5.1. */
static uint32_t probe_bits(const struct pci_driver *d, unsigned at)
{
    uint32_t old = pd_read(d, at, 4);
    pd_write(d, at, 4, UINT32_MAX);
    uint32_t bits = pd_read(d, at, 4);
    pd_write(d, at, 4, old);
    return bits;
}

void pd_size_bars(struct pci_driver *d)
{
    memset(d->bars, 0, sizeof d->bars);
    for (unsigned i = 0; i < PD_BARS; i++) {
        struct pci_bar_info *bar = &d->bars[i];
        uint32_t low = probe_bits(d, 0x10 + 4 * i);
        if (!low)
            continue;
        uint64_t bits = low & ~UINT32_C(15);
        bar->is_64 = (low & 6) == 4;
        bar->prefetchable = low & 8;
        bits |=
            bar->is_64 ? (uint64_t)probe_bits(d, 0x14 + 4 * i) << 32 : UINT64_C(0xffffffff00000000);
        bar->size = ~bits + 1;
        i += bar->is_64;
    }
}

void pd_place_bar(struct pci_driver *d, unsigned bar, gpa_t base)
{
    pd_write(d, 0x10 + 4 * bar, 4, (uint32_t)base);
    if (d->bars[bar].is_64)
        pd_write(d, 0x14 + 4 * bar, 4, (uint32_t)(base >> 32));
    d->bars[bar].base = base;
}

unsigned pd_find_cap(const struct pci_driver *d, unsigned id, unsigned after)
{
    if (!(pd_read(d, 6, 2) & 0x10))
        return 0;
    unsigned at = pd_read(d, after ? after + 1 : 0x34, 1) & ~3u;
    for (unsigned steps = 0; at && steps < 48; steps++) {
        if (pd_read(d, at, 1) == id)
            return at;
        at = pd_read(d, at + 1, 1) & ~3u;
    }
    return 0;
}

static void find_msix(struct pci_driver *d)
{
    d->msix_cap = pd_find_cap(d, 0x11, 0);
    if (!d->msix_cap)
        return;
    uint32_t table = pd_read(d, d->msix_cap + 4, 4), pba = pd_read(d, d->msix_cap + 8, 4);
    d->vectors = (pd_read(d, d->msix_cap + 2, 2) & 0x7ff) + 1;
    d->table = d->bars[table & 7].base + (table & ~7u);
    d->pba = d->bars[pba & 7].base + (pba & ~7u);
}

static void find_virtio(struct pci_driver *d)
{
    for (unsigned at = pd_find_cap(d, 9, 0); at; at = pd_find_cap(d, 9, at)) {
        unsigned bar = pd_read(d, at + 4, 1);
        gpa_t place = bar < PD_BARS ? d->bars[bar].base + pd_read(d, at + 8, 4) : 0;
        switch (pd_read(d, at + 3, 1)) {
        case 1:
            d->common = place;
            break;
        case 2:
            d->notify = place;
            d->notify_multiplier = pd_read(d, at + 16, 4);
            break;
        case 3:
            d->isr = place;
            break;
        case 4:
            d->device = place;
            d->device_length = pd_read(d, at + 12, 4);
            break;
        case 5:
            d->window_cap = at;
            break;
        }
    }
}

bool pd_probe(struct pci_driver *d, struct addrspace *as, gpa_t config, gpa_t *memory, gpa_t *high)
{
    *d = (struct pci_driver){.as = as, .config = config};
    if (pd_read(d, 0, 2) == 0xffff)
        return false;
    pd_size_bars(d);
    for (unsigned i = 0; i < PD_BARS; i++) {
        gpa_t *from = d->bars[i].is_64 ? high : memory;
        if (!d->bars[i].size)
            continue;
        gpa_t base = (*from + d->bars[i].size - 1) & ~(d->bars[i].size - 1);
        pd_place_bar(d, i, base);
        *from = base + d->bars[i].size;
    }
    pd_write(d, 4, 2, 6);
    find_msix(d);
    find_virtio(d);
    return true;
}

void pd_msix_enable(const struct pci_driver *d, bool on, bool mask_all)
{
    pd_write(d, d->msix_cap + 2, 2, (on ? 0x8000u : 0) | (mask_all ? 0x4000u : 0));
}

void pd_msix_entry(const struct pci_driver *d, unsigned vector, gpa_t address, uint32_t data,
                   bool masked)
{
    gpa_t entry = d->table + 16 * vector;
    pd_put(d, entry, 4, (uint32_t)address);
    pd_put(d, entry + 4, 4, address >> 32);
    pd_put(d, entry + 8, 4, data);
    pd_put(d, entry + 12, 4, masked);
}

uint32_t pd_negotiate(const struct pci_driver *d, uint64_t features)
{
    pd_put(d, d->common + PD_STATUS, 1, 0);
    pd_put(d, d->common + PD_STATUS, 1, 1);
    pd_put(d, d->common + PD_STATUS, 1, 3);
    for (unsigned i = 0; i < 2; i++) {
        pd_put(d, d->common + PD_DRIVER_SELECT, 4, i);
        pd_put(d, d->common + PD_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
    }
    pd_put(d, d->common + PD_STATUS, 1, 11);
    return (uint32_t)pd_get(d, d->common + PD_STATUS, 1);
}

static void put_address(const struct pci_driver *d, unsigned reg, gpa_t gpa)
{
    pd_put(d, d->common + reg, 4, (uint32_t)gpa);
    pd_put(d, d->common + reg + 4, 4, gpa >> 32);
}

void pd_ring_init(struct vring *q, const struct pci_driver *d, unsigned index, uint16_t size,
                  gpa_t at, uint16_t vector)
{
    vring_lay(q, d->as, index, size, at);
    pd_put(d, d->common + PD_QUEUE_SELECT, 2, index);
    pd_put(d, d->common + PD_QUEUE_SIZE, 2, size);
    pd_put(d, d->common + PD_QUEUE_VECTOR, 2, vector);
    put_address(d, PD_QUEUE_DESC, q->desc);
    put_address(d, PD_QUEUE_DRIVER, q->avail);
    put_address(d, PD_QUEUE_DEVICE, q->used);
    q->notify = d->notify + d->notify_multiplier * pd_get(d, d->common + PD_QUEUE_NOTIFY_OFF, 2);
    pd_put(d, d->common + PD_QUEUE_ENABLE, 2, 1);
}
