#include "pci_traffic.h"
#include "rig_devices.h"

#include "base/bits.h"
#include "pci_driver.h"

#define RING(slot) (PRIG_RAM + 0x1000 * (slot))
#define BUFFERS (PRIG_RAM + 0x10000)
#define QUEUE_SIZE 8u

/* As rig_pick_value, or an interrupt file's address. */
static uint64_t pick_value(uint64_t *random)
{
    uint64_t v = rig_random(random);
    return v % 6 ? rig_pick_value(random) : PRIG_IMSIC(v >> 8 & 1, v >> 9 & 1);
}

static gpa_t config(unsigned slot)
{
    return PRIG_ECAM + UINT64_C(0x8000) * slot;
}

static gpa_t pick_register(uint64_t *random)
{
    gpa_t aplic = PRIG_APLIC(rig_pick(random, 2));
    switch (rig_pick(random, 9)) {
    case 0:
        return aplic + 4 * rig_pick(random, 100);
    case 1:
        return aplic + 0x1bc0 + 4 * rig_pick(random, 8);
    case 2:
        return aplic + 0x1c00 + 0x100 * rig_pick(random, 4) + 4 * rig_pick(random, 5);
    case 3:
        return aplic + 0x1cdc + 0x100 * rig_pick(random, 4);
    case 4:
        return aplic + 0x3000 + 4 * rig_pick(random, 100);
    case 5:
        return aplic + 0x4000 + 4 * rig_pick(random, 20);
    case 6:
        return PRIG_IMSIC(rig_pick(random, 2), rig_pick(random, 2)) + 4 * (rig_pick(random, 4) / 3);
    case 7:
        return config((unsigned)rig_pick(random, 4)) + rig_pick(random, 0x108);
    default:
        return (rig_pick(random, 3) ? PRIG_HIGH : PRIG_MEMORY) + rig_pick(random, 2) * 0x4000 +
               (rig_pick(random, 2) ? rig_pick(random, 0x40) : 0x800 * rig_pick(random, 8));
    }
}

static uint64_t step_register(struct pci_rig *r, uint64_t *random)
{
    gpa_t gpa = pick_register(random);
    unsigned size = rig_pick(random, 3) ? 4 : 1u << rig_pick(random, 4);
    uint64_t value = 0;
    gpa = align_down(gpa, size);
    if (rig_pick(random, 2))
        return addrspace_write(r->as, gpa, size, pick_value(random));
    return addrspace_read(r->as, gpa, size, &value) + 2 * value;
}

static uint64_t step_hart(struct pci_rig *r, uint64_t *random)
{
    unsigned hart = (unsigned)rig_pick(random, PRIG_HARTS);
    enum imsic_level level = rig_pick(random, 2);
    uint64_t old = 0;
    if (!rig_pick(random, 3))
        return imsic_top(r->imsic, hart, level, rig_pick(random, 2));
    unsigned select =
        0x70 + (unsigned)(rig_pick(random, 3) ? 2 * rig_pick(random, 4) : rig_pick(random, 0x90));
    if (rig_pick(random, 2))
        select += rig_pick(random, 2) ? 0x10 : 0x50;
    return imsic_reg(r->imsic, hart, level, select, pick_value(random), pick_value(random), &old) +
           2 * old;
}

/* What system software does with an interrupt file first. */
static uint64_t step_file(struct pci_rig *r, uint64_t *random)
{
    unsigned hart = (unsigned)rig_pick(random, PRIG_HARTS);
    enum imsic_level level = rig_pick(random, 2);
    uint64_t old;
    imsic_reg(r->imsic, hart, level, 0x70, UINT64_MAX, 1, &old);
    imsic_reg(r->imsic, hart, level, 0x72, UINT64_MAX, 0, &old);
    imsic_reg(r->imsic, hart, level, 0xc0, UINT64_MAX, rig_random(random), &old);
    return old;
}

/* Lets a line follow through: configured as a driver does. */
static uint64_t step_source(struct pci_rig *r, uint64_t *random)
{
    uint64_t source = PRIG_PIN + rig_pick(random, PCI_PINS), level = rig_pick(random, 2);
    gpa_t at = PRIG_APLIC(level);
    addrspace_write(r->as, at, 4, rig_pick(random, 4) ? 0x104 : 0x100);
    addrspace_write(r->as, PRIG_APLIC(0) + 4 * source, 4, level ? 0x400 : 4 + rig_pick(random, 4));
    if (level)
        addrspace_write(r->as, at + 4 * source, 4, 4 + rig_pick(random, 4));
    addrspace_write(r->as, at + 0x3000 + 4 * source, 4,
                    rig_pick(random, 2) << 18 | rig_pick(random, 64));
    addrspace_write(r->as, at + 0x1edc, 4, source);
    addrspace_write(r->as, PRIG_APLIC(0) + 0x1bc0 + 8 * level, 4, PRIG_IMSIC(level, 0) >> 12);
    addrspace_write(r->as, PRIG_APLIC(0) + 0x1bc4, 4, 1 << 12);
    addrspace_write(r->as, at + 0x4000, 4, rig_pick(random, 2));
    return 0;
}

/* Starts a device the way firmware and a driver do. */
static uint64_t step_start(struct pci_rig *r, uint64_t *random)
{
    unsigned slot = 1 + (unsigned)rig_pick(random, 2);
    gpa_t memory = PRIG_MEMORY + 0x4000 * (slot - 1), high = PRIG_HIGH + 0x4000 * (slot - 1);
    struct pci_driver d;
    struct vring q;
    if (!pd_probe(&d, r->as, config(slot), &memory, &high))
        return 0;
    for (unsigned v = 0; v < d.vectors; v++)
        pd_msix_entry(&d, v, PRIG_IMSIC(rig_pick(random, 2), rig_pick(random, 2)),
                      (uint32_t)rig_pick(random, 300), !rig_pick(random, 4));
    pd_msix_enable(&d, rig_pick(random, 3), !rig_pick(random, 4));
    pd_negotiate(&d, rig_pick(random, 4) ? UINT64_C(0x130000000) : pick_value(random));
    pd_ring_init(&q, &d, 0, QUEUE_SIZE, RING(slot), (uint16_t)rig_pick(random, 3));
    pd_put(&d, d.common + PD_STATUS, 1, 15);
    return pd_get(&d, d.common + PD_STATUS, 1);
}

/* A request for either device: the disk reads a sector, the other fills what is writable. */
static uint64_t step_request(struct pci_rig *r, uint64_t *random)
{
    unsigned slot = 1 + (unsigned)rig_pick(random, 2);
    gpa_t at = RING(slot), avail = at + 16 * QUEUE_SIZE;
    gpa_t used = align_up(avail + 6 + 2 * QUEUE_SIZE, 4);
    uint64_t idx = 0, seen = 0;
    addrspace_write(r->as, BUFFERS, 8, 0);
    addrspace_write(r->as, BUFFERS + 8, 8, rig_pick(random, 130));
    if (slot == PRIG_SLOT_BLK) {
        rig_put_desc(r->as, at, BUFFERS, 16, 1, 1);
        rig_put_desc(r->as, at + 16, rig_pick(random, 16) ? BUFFERS + 0x1000 : 0,
                     rig_pick(random, 8) ? 512 : 100, 3, 2);
        rig_put_desc(r->as, at + 32, BUFFERS + 0x800, 1, 2, 0);
    } else {
        rig_put_desc(r->as, at, BUFFERS + 0x1000, 1 + rig_pick(random, 600),
                     rig_pick(random, 8) ? 2 : 0, 0);
    }
    addrspace_read(r->as, avail + 2, 2, &idx);
    addrspace_write(r->as, avail + 4 + 2 * (idx % QUEUE_SIZE), 2, 0);
    addrspace_write(r->as, avail + 2, 2, idx + 1);
    addrspace_write(r->as, PRIG_HIGH + 0x4000 * (slot - 1) + 0x3000, 4, 0);
    addrspace_read(r->as, used + 2, 2, &seen);
    return seen;
}

uint64_t pci_traffic_step(struct pci_rig *r, uint64_t *random)
{
    uint64_t seen, lines = 0;
    switch (rig_pick(random, 13)) {
    case 12:
        seen = step_file(r, random);
        break;
    case 0:
        seen = step_start(r, random);
        break;
    case 1:
        seen = step_source(r, random);
        break;
    case 2:
    case 3:
    case 4:
        seen = step_request(r, random);
        break;
    case 5:
    case 6:
        seen = step_hart(r, random);
        break;
    default:
        seen = step_register(r, random);
        break;
    }
    for (unsigned i = 0; i < IMSIC_LEVELS * PRIG_HARTS; i++)
        lines = lines << 1 | r->external[i];
    return seen << 8 ^ lines;
}
