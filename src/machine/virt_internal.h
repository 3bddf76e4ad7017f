/* What the files of the board `virt` share. */
#pragma once

#include "dev/imsic.h"
#include "dev/pci/pci_host.h"
#include "isa/riscv64/hart.h"
#include "machine/image.h"
#include "machine/sbi.h"
#include "machine/virt.h"

/* Memory map. */
#define VIRT_TEST 0x100000u
#define VIRT_RTC 0x101000u
#define VIRT_ROM 0x1000u
#define VIRT_ROM_SIZE 0xf000u
#define VIRT_CLINT 0x2000000u
#define VIRT_PCI_IO 0x3000000u
#define VIRT_PCI_IO_SIZE 0x10000u
#define VIRT_PLIC 0xc000000u
#define VIRT_APLIC_M 0xc000000u
#define VIRT_APLIC_S 0xd000000u
#define VIRT_UART 0x10000000u
#define VIRT_VIRTIO 0x10001000u
#define VIRT_BUTTON 0x10010000u
#define VIRT_VIRTIO_SLOTS_MORE 7u /* behind the others, as far as they are used */
#define VIRT_FLASH 0x20000000u
#define VIRT_IMSIC_M 0x24000000u
#define VIRT_IMSIC_S 0x28000000u
#define VIRT_PCI_ECAM 0x30000000u
#define VIRT_PCI_MEMORY 0x40000000u
#define VIRT_PCI_MEMORY_SIZE 0x40000000u
#define VIRT_RAM UINT64_C(0x80000000)
#define VIRT_PCI_HIGH_SIZE (UINT64_C(16) << 30) /* behind RAM, aligned to its size */

/* Sources of the interrupt controller. */
enum {
    VIRT_IRQ_VIRTIO = 1,
    VIRT_IRQ_UART = 10,
    VIRT_IRQ_RTC = 11,
    VIRT_IRQ_BUTTON = 12,
    VIRT_IRQ_MORE = 13,
    VIRT_IRQ_PCI = 32
};

#define VIRT_TIMEBASE 10000000u /* Hz; one tick is 100 ns */
#define VIRT_NS_PER_TICK 100u

/* Where the boot images go (virt_boot.c). */
struct virt_layout {
    gpa_t firmware, kernel, initrd, fdt;
};

struct virt_hart {
    struct rv_hart hart;
    struct clock_timer timer;   /* stimecmp */
    pthread_mutex_t timer_lock; /* STIP against its deadline; taken before the clock's */
    uint64_t deadline;          /* guest ns at which STIP rises, CLOCK_NEVER: not */
    struct machine *machine;
    struct vcpu *vcpu;
};

struct virt {
    struct machine m;
    struct virt_config config; /* strings are copied */
    struct virt_hart *harts;
    struct sbi sbi; /* used when there is no firmware */
    bool has_sbi;
    struct device *aclint;
    struct device *disks[VIRT_VIRTIO_SLOTS], *nics[VIRT_VIRTIO_SLOTS];
    struct device *button;
    struct device *balloon;                /* NULL: none */
    struct device *plic;                   /* without AIA */
    struct device *aplic, *imsic;          /* with AIA */
    struct image kernel, initrd, firmware; /* fd -1 when not given */
    struct virt_layout layout;
    void *fdt;
    size_t fdt_size;
};

/* The guest has written the time: harts' deadlines are other ones. ctx is the machine. */
void virt_time_moved(void *ctx);

/* Makes virt->fdt; initrd and kernel command line go into /chosen. */
int virt_fdt_build(struct virt *virt, struct error *err);

/* Opens the images, decides where they go; the device tree comes after. */
int virt_boot_open(struct virt *virt, struct error *err);
/* Decides where device tree and initrd go, once the tree's size is known. */
int virt_boot_place(struct virt *virt, struct error *err);
/* Loads everything into memory and sets the harts' first registers. */
int virt_boot_load(struct virt *virt, struct error *err);
void virt_boot_close(struct virt *virt);

/*
 * Takes ownership of dev; NULL is the error of the constructor that made it. size 0: it has no
 * registers of its own in memory.
 */
int virt_add(struct virt *virt, struct device *dev, gpa_t base, uint64_t size,
             const struct mmio_ops *ops, struct error *err);

/* Interrupt controllers, and the timer of firmware (virt_irq.c). */
int virt_irqchips(struct virt *virt, struct error *err);
/* The interrupt controller's input of a source. */
struct irq_line virt_irq(const struct virt *virt, unsigned source);
/* Where messages of devices go; not connected without AIA. */
struct msi_sink virt_msi(struct virt *virt);
/* Bytes of all harts' interrupt files of a level. */
uint64_t virt_imsic_size(const struct virt *virt);

/* All virtio devices: in the slots of MMIO, or behind a PCI bridge, which is made, too. */
int virt_virtio(struct virt *virt, struct error *err);
/* How many slots of MMIO there are, and the interrupt of one. */
unsigned virt_slots(const struct virt *virt);
unsigned virt_slot_irq(unsigned slot);
/* Where the bridge's window `w` is. */
gpa_t virt_pci_window(const struct virt *virt, enum pci_window w, uint64_t *size);
