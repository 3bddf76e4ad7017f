/*
 * Configuration space, windows, APLIC and IMSIC: the input is a list of accesses to them, of any
 * size, and of what harts do with their interrupt files. No access harms; at the end the state can
 * be saved, loaded into fresh devices and compares equal.
 *
 * Each access takes 8 bytes of input: what (size, direction, value's kind), where (region, offset
 * in it), value.
 */
#include "base/bits.h"
#include "pci_driver.h"
#include "pci_rig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 8 };

static const struct {
    gpa_t base;
    uint64_t span;
} regions[] = {
    {PRIG_ECAM, 0x100},
    {PRIG_ECAM + 0x8000, 0x100},
    {PRIG_ECAM + 0x10000, 0x100},
    {PRIG_ECAM, 0x20000},
    {PRIG_IO, PRIG_IO_SIZE},
    {PRIG_MEMORY, 0x2000},
    {PRIG_HIGH, 0x40},
    {PRIG_HIGH + 0x4000, 0x40},
    {PRIG_HIGH, 0x8000},
    {PRIG_APLIC(0), 0x200},
    {PRIG_APLIC(0) + 0x1b00, 0x600},
    {PRIG_APLIC(0) + 0x3000, 0x1100},
    {PRIG_APLIC(1), 0x200},
    {PRIG_APLIC(1) + 0x1b00, 0x600},
    {PRIG_APLIC(1) + 0x3000, 0x1100},
    {PRIG_IMSIC(0, 0), 2 * 4096},
    {PRIG_IMSIC(1, 0), 2 * 4096},
    {PRIG_RAM, 0x3000},
};

/* Values spread over 64 bits from 16 of the input. */
static uint64_t widen(uint32_t v)
{
    switch (v >> 13) {
    case 0:
        return v & 0x1fff;
    case 1:
        return UINT64_C(1) << (v & 63);
    case 2:
        return PRIG_RAM + (uint64_t)(v & 0x1fff) * 16;
    case 3:
        return PRIG_MEMORY + (uint64_t)(v & 0x1fff) * 0x1000;
    case 4:
        return PRIG_IMSIC(v & 1, v >> 1 & 1);
    case 5:
        return PRIG_HIGH >> 32 | (uint64_t)(v & 0x1fff) << 32;
    default:
        return ~(uint64_t)(v & 0x1fff);
    }
}

static void run_hart(struct pci_rig *r, const uint8_t *step)
{
    uint64_t old, value = widen(le16_get(step + 6));
    if (step[0] & 4)
        imsic_top(r->imsic, step[1] & 1, step[1] >> 1 & 1, step[1] & 4);
    else
        imsic_reg(r->imsic, step[1] & 1, step[1] >> 1 & 1, step[2],
                  step[3] & 1 ? UINT64_MAX : value, step[3] & 2 ? value : 0, &old);
}

static void run_step(struct pci_rig *r, const uint8_t *step)
{
    if (step[0] & 0x40) {
        run_hart(r, step);
        return;
    }
    unsigned width = 1u << (step[0] & 3);
    unsigned w = step[1] % ARRAY_SIZE(regions);
    gpa_t gpa = regions[w].base + (le32_get(step + 2) & 0xffffff) % regions[w].span;
    gpa = align_down(align_down(gpa, step[0] & 0x20 ? width : 4), width);
    uint64_t value = widen(le16_get(step + 6));
    if (step[0] & 4)
        addrspace_write(r->as, gpa, width, value);
    else
        addrspace_read(r->as, gpa, width, &value);
}

/* A driver that behaves, so that the input begins with what is set up. */
static void start(struct pci_rig *r)
{
    gpa_t memory = PRIG_MEMORY, high = PRIG_HIGH;
    for (unsigned slot = 1; slot < 3; slot++) {
        struct pci_driver d;
        struct vring q;
        if (!pd_probe(&d, r->as, PRIG_ECAM + 0x8000 * slot, &memory, &high))
            abort();
        pd_negotiate(&d, UINT64_C(0x130000000));
        pd_ring_init(&q, &d, 0, 8, PRIG_RAM + 0x1000 * slot, 1);
        pd_put(&d, d.common + PD_STATUS, 1, 15);
        for (unsigned v = 0; v < d.vectors; v++)
            pd_msix_entry(&d, v, PRIG_IMSIC(1, 0), 1 + v, false);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool msi = !size || data[0] & 1;
    struct pci_rig *r = pci_rig_new(msi);
    start(r);
    for (size_t at = 1; at + STEP <= size; at += STEP)
        run_step(r, data + at);
    struct pci_rig *copy = pci_rig_new(msi);
    if (!pci_rig_copy(r, copy) || !pci_rig_equal(r, copy))
        abort();
    pci_rig_free(copy);
    pci_rig_free(r);
    return 0;
}
