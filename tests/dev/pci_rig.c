#include "pci_rig.h"
#include "rig_devices.h"

#include "dev/virtio/virtio_blk.h"
#include "dev/virtio/virtio_pci.h"
#include "dev/virtio/virtio_rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct pci_rig *r, struct device *dev)
{
    unsigned n = 0;
    while (r->all[n])
        n++;
    if (!dev)
        abort();
    r->all[n] = dev;
}

static void map(struct pci_rig *r, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                struct device *dev)
{
    if (addrspace_add_mmio(r->as, base, size, ops, dev, NULL))
        abort();
}

static void send(void *ctx, uint64_t address, uint32_t data)
{
    imsic_send(((struct pci_rig *)ctx)->imsic, address, data);
}

static void make_irqchips(struct pci_rig *r)
{
    static const gpa_t files[] = {PRIG_IMSIC(0, 0), PRIG_IMSIC(1, 0)};
    struct irq_line external[IMSIC_LEVELS * PRIG_HARTS], direct[IMSIC_LEVELS * PRIG_HARTS];
    for (unsigned i = 0; i < IMSIC_LEVELS * PRIG_HARTS; i++)
        external[i] = line_to(&r->external[i]);
    r->imsic = imsic_new(PRIG_HARTS, external, files, NULL);
    add(r, r->imsic);
    for (unsigned i = 0; i < IMSIC_LEVELS * PRIG_HARTS; i++)
        direct[i] = imsic_external(r->imsic, i / IMSIC_LEVELS, i % IMSIC_LEVELS);
    const struct aplic_config config = {
        .harts = PRIG_HARTS, .direct = direct, .msi = {.send = send, .ctx = r}};
    r->aplic = aplic_new(&config, NULL);
    add(r, r->aplic);
    for (unsigned level = 0; level < IMSIC_LEVELS; level++) {
        map(r, PRIG_IMSIC(level, 0), IMSIC_PAGE * PRIG_HARTS, &imsic_mmio[level], r->imsic);
        map(r, PRIG_APLIC(level), APLIC_SIZE, &aplic_mmio[level], r->aplic);
    }
}

static void make_bridge(struct pci_rig *r, bool msi)
{
    static const uint64_t sizes[] = {PRIG_IO_SIZE, PRIG_MEMORY_SIZE, PRIG_HIGH_SIZE};
    struct pci_host_config config = {.window_base = {PRIG_IO, PRIG_MEMORY, PRIG_HIGH}};
    for (unsigned pin = 0; pin < PCI_PINS; pin++)
        config.pins[pin] = aplic_input(r->aplic, PRIG_PIN + pin);
    if (msi)
        config.msi = (struct msi_sink){.send = send, .ctx = r};
    r->host = pci_host_new(&config, NULL);
    add(r, r->host);
    map(r, PRIG_ECAM, PCI_ECAM_SIZE, &pci_ecam_mmio, r->host);
    for (unsigned w = 0; w < PCI_WINDOWS; w++)
        map(r, config.window_base[w], sizes[w], &pci_window_mmio[w], r->host);
}

struct pci_rig *pci_rig_new(bool msi)
{
    uint64_t seed = 7;
    struct pci_rig *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->as = addrspace_new(NULL);
    if (!r->as || addrspace_add_ram(r->as, PRIG_RAM, PRIG_RAM_SIZE, NULL))
        abort();
    make_irqchips(r);
    make_bridge(r, msi);
    for (unsigned i = 0; i < RIG_DISK_SIZE; i++)
        r->disk.data[i] = (uint8_t)(i / 512 + i);
    r->blk = virtio_blk_new(r->as, pci_host_intx(r->host, PRIG_SLOT_BLK), "disk0",
                            fake_block(&r->disk), NULL, 1, true, NULL);
    add(r, r->blk);
    r->blk_fn = virtio_pci_new(r->host, PRIG_SLOT_BLK, r->blk, NULL);
    add(r, r->blk_fn);
    r->rng = virtio_rng_new(r->as, pci_host_intx(r->host, PRIG_SLOT_RNG), "rng0", &seed, NULL);
    add(r, r->rng);
    r->rng_fn = virtio_pci_new(r->host, PRIG_SLOT_RNG, r->rng, NULL);
    add(r, r->rng_fn);
    for (unsigned i = 0; r->all[i]; i++)
        device_reset(r->all[i]);
    return r;
}

void pci_rig_free(struct pci_rig *r)
{
    addrspace_free(r->as);
    for (unsigned i = 0; r->all[i]; i++)
        device_free(r->all[i]);
    free(r);
}

bool pci_rig_copy(struct pci_rig *a, struct pci_rig *b)
{
    struct state_out out = {0};
    rig_devices_save(a->as, a->all, &out);
    b->disk = a->disk;
    struct state_in in = {.data = out.data, .len = out.len};
    bool ok = !out.failed && rig_devices_load(b->as, b->all, &in);
    state_out_free(&out);
    return ok;
}

bool pci_rig_equal(struct pci_rig *a, struct pci_rig *b)
{
    if (!rig_devices_equal(a->as, a->all, b->as, b->all))
        return false;
    if (memcmp(a->disk.data, b->disk.data, sizeof a->disk.data)) {
        fprintf(stderr, "the disk differs\n");
        return false;
    }
    if (memcmp(a->external, b->external, sizeof a->external)) {
        fprintf(stderr, "the lines differ\n");
        return false;
    }
    return true;
}
