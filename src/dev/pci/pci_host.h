/*
 * A PCI Express host bridge with configuration space as memory (ECAM, PCI Express Base 3.0,
 * section 7.2.2) and windows into which software puts base addresses: what QEMU's boards call
 * "gpex" and the device tree "pci-host-ecam-generic". One bus, a function per slot; slot 0 is the
 * bridge itself.
 *
 * Addresses on the bus are those of the guest's memory. Where no function answers, reads give all
 * ones and writes are lost.
 *
 * Locking: an inner lock for what is mapped where and the pins' levels, taken last but for the
 * interrupt controllers'.
 */
#pragma once

#include "core/addrspace.h"
#include "core/irq.h"
#include "dev/pci/pci_fn.h"

#define PCI_ECAM_SIZE UINT64_C(0x10000000)
#define PCI_SLOTS 32u
#define PCI_PINS 4u

/* The windows, in this order; each goes with the mmio_ops of its number. */
enum pci_window { PCI_WINDOW_IO, PCI_WINDOW_MEMORY, PCI_WINDOW_HIGH, PCI_WINDOWS };

struct pci_host_config {
    gpa_t window_base[PCI_WINDOWS];
    struct irq_line pins[PCI_PINS]; /* INTA to INTD of slot 0; slot n's INTA is pin n modulo 4 */
    struct msi_sink msi;            /* not connected: functions offer no MSI-X */
};

/* NULL with *err. It must outlive its functions' last use. */
struct device *pci_host_new(const struct pci_host_config *config, struct error *err);

extern const struct mmio_ops pci_ecam_mmio;
extern const struct mmio_ops pci_window_mmio[PCI_WINDOWS];

/* Whether messages reach anybody. */
bool pci_host_has_msi(struct device *host);

/* The INTA line of the device in a slot. Any thread. */
struct irq_line pci_host_intx(struct device *host, unsigned slot);

/* Puts a function into a free slot, 1 to PCI_SLOTS - 1. The bridge does not own it. */
void pci_host_add(struct device *host, unsigned slot, struct pci_fn *fn);

/* ---- for functions ---- */

/* The command register or a base address has changed; lock of the function held. */
void pci_host_fn_changed(struct pci_host *host, struct pci_fn *fn);
/* Does the function's device hold its line? */
bool pci_host_intx_level(struct pci_host *host, const struct pci_fn *fn);
void pci_host_send(struct pci_host *host, uint64_t address, uint32_t data);
