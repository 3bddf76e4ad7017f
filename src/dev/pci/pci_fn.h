/*
 * A PCI function (PCI Local Bus 3.0, PCI Express Base 3.0): configuration space as a table of what
 * each byte is after reset and which of its bits software writes, base addresses that software
 * moves, capabilities, INTx and MSI-X.
 *
 * A function's private struct begins with `struct pci_fn`, which begins with `struct device`; its
 * state table has `pci_fn_state` as first field. It is built by the functions of the first part
 * and then put into a slot of a host bridge (pci_host.h).
 *
 * Locking: the function's lock (that of its struct device) protects configuration space and MSI-X.
 * It is taken after the lock of the device behind the function and before the bridge's and the
 * interrupt controllers': a device may send messages with its own lock held, and what serves
 * accesses to base addresses takes its own lock with none held.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "core/irq.h"

#include <stdbool.h>
#include <stdint.h>

#define PCI_CONFIG_SIZE 256u /* of the 4096 bytes; the extended rest reads 0: nothing is there */
#define PCI_BARS 6u
#define PCI_MSIX_MAX 32u
#define PCI_MSIX_BAR_SIZE 4096u /* table, and pending bits in its second half */

/* Registers of the header (type 0). */
enum {
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_BAR0 = 0x10,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_PIN = 0x3d,
};

enum {
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_INTX_OFF = 1 << 10,
    PCI_STATUS_INTERRUPT = 1 << 3,
    PCI_STATUS_CAPABILITIES = 1 << 4,
};

enum { PCI_CAP_VENDOR = 0x09, PCI_CAP_EXPRESS = 0x10, PCI_CAP_MSIX = 0x11 };

/* A row of configuration space: `size` bytes (1, 2 or 4) at `at`. */
struct pci_reg {
    uint8_t at, size;
    uint32_t value, writable;
};

struct pci_id {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_revision; /* class code in the upper 24 bits */
};

enum { PCI_BAR_64 = 4, PCI_BAR_PREFETCHABLE = 8 };

struct pci_fn;
struct pci_host;

/* All are called with no lock held; NULL where a function has nothing of the kind. */
struct pci_fn_ops {
    /* Accesses to a base address that is not MSI-X's. */
    uint64_t (*bar_read)(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size);
    void (*bar_write)(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size,
                      uint64_t value);
    /* Before a read and after a write of configuration space. */
    void (*config_read)(struct pci_fn *fn, unsigned at, unsigned size);
    void (*config_written)(struct pci_fn *fn, unsigned at, unsigned size, uint32_t value);
};

struct pci_fn {
    struct device dev;
    const struct pci_fn_ops *ops;
    struct pci_host *host; /* NULL until it is in a slot */
    unsigned slot;
    uint8_t initial[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE]; /* the table */
    uint64_t bar_size[PCI_BARS];                                 /* 0: none */
    uint8_t cap_end, cap_last;                                   /* for the next capability */
    uint8_t msix;                                                /* its capability, 0: none */
    uint8_t msix_bar;
    uint8_t vectors;

    uint8_t config[PCI_CONFIG_SIZE];
    uint32_t msix_table[PCI_MSIX_MAX * 4];
    uint64_t msix_pending;
};

extern const struct state_table pci_fn_state;

/* ---- building ---- */

/* The id as in device_init. */
void pci_fn_init(struct pci_fn *fn, const struct device_ops *device_ops,
                 const struct pci_fn_ops *ops, const struct pci_id *id, const char *name);
void pci_fn_fini(struct pci_fn *fn);

/* size: a power of two, 16 to 2^31, or with PCI_BAR_64, which takes the next number too, any. */
void pci_fn_bar(struct pci_fn *fn, unsigned bar, uint64_t size, unsigned flags);

/*
 * Adds a capability of `size` bytes, a multiple of 4, with rows relative to its start; the first
 * two bytes are made. Returns its place.
 */
unsigned pci_fn_cap(struct pci_fn *fn, unsigned id, unsigned size, const struct pci_reg *rows,
                    unsigned count);

/* The Express capability of an endpoint that is part of the root complex, with function reset. */
unsigned pci_fn_express(struct pci_fn *fn);
#define PCI_EXPRESS_CONTROL 8u
#define PCI_EXPRESS_CONTROL_RESET 0x8000u

/* MSI-X with its tables in `bar`, which it makes. */
void pci_fn_msix(struct pci_fn *fn, unsigned bar, unsigned vectors);

/* The function has a device that may raise INTA. */
void pci_fn_intx(struct pci_fn *fn);

/* device_ops.reset of a function, and what a function-level reset does. Lock held. */
void pci_fn_reset(struct device *dev);

/* ---- running ---- */

/* MSI-X is enabled: the function must not use INTx. Any thread. */
bool pci_fn_msix_on(struct pci_fn *fn);
/* Sends a vector's message, or notes it while it is masked. Any thread. */
void pci_fn_msix_notify(struct pci_fn *fn, unsigned vector);

/* ---- for the bridge ---- */

/* Aligned accesses of 1, 2 or 4 bytes anywhere in the 4096 bytes. No lock held. */
uint32_t pci_fn_config_read(struct pci_fn *fn, unsigned at, unsigned size);
void pci_fn_config_write(struct pci_fn *fn, unsigned at, unsigned size, uint32_t value);
uint64_t pci_fn_bar_read(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size);
void pci_fn_bar_write(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size,
                      uint64_t value);
/* Where a base address is now; 0 bytes when it is not decoded. Lock held. */
uint64_t pci_fn_bar_place(const struct pci_fn *fn, unsigned bar, gpa_t *base);
