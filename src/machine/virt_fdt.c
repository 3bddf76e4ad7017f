/*
 * The device tree of the board `virt`. Bindings: devicetree-specification 0.4 and the kernel's
 * Documentation/devicetree/bindings.
 */
#include "machine/virt_internal.h"

#include "base/bits.h"
#include "dev/aplic.h"
#include "dev/plic.h"
#include "dev/virtio/virtio_mmio.h"
#include "isa/riscv64/ops.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define FDT_SIZE (64u << 10)
#define SEED_SIZE 48 /* more than the 32 bytes of a key of Linux's generator */
#define FIXED_SEED_BYTE 0x5a

/* Handles of nodes that others point to. */
enum {
    PHANDLE_EXTERNAL = 1, /* the controller that devices' lines lead to */
    PHANDLE_TEST = 2,
    PHANDLE_APLIC_M = 3,
    PHANDLE_IMSIC_M = 4,
    PHANDLE_IMSIC_S = 5,
    PHANDLE_CPU = 0x100,
    PHANDLE_INTC = 0x200,
};

/*
 * Extensions without instructions of their own. Those that firmware has to switch on first are
 * switched on by sbi mode and by reset.
 */
static const char *const other_extensions[] = {"zicntr",  "zihpm",   "sstc",  "svadu",
                                               "svinval", "svnapot", "svpbmt"};
/* With AIA, of machine level, which is hidden without firmware, and of supervisor level. */
static const char *const aia_extensions[] = {"smaia", "ssaia"};

/* Calls fn for each extension's name, single letters first. */
static void each_extension(const struct virt *virt, void (*fn)(void *ctx, const char *name),
                           void *ctx)
{
    static const char letters[] = "imafdc";
    for (unsigned i = 0; letters[i]; i++) {
        char name[2] = {letters[i], 0};
        if (rv_ext_find(name, 1) >= 0)
            fn(ctx, name);
    }
    for (unsigned i = 0; i < RV_EXT_COUNT; i++)
        if ((RV_EXTS_DEFAULT >> i & 1) && rv_ext_name(i)[1] && strcmp(rv_ext_name(i), "svinval"))
            fn(ctx, rv_ext_name(i));
    for (unsigned i = 0; i < ARRAY_SIZE(other_extensions); i++)
        fn(ctx, other_extensions[i]);
    for (unsigned i = virt->has_sbi ? 1 : 0; virt->aplic && i < ARRAY_SIZE(aia_extensions); i++)
        fn(ctx, aia_extensions[i]);
}

struct names {
    char *buf;
    size_t size, len;
};

/* "rv64imafdc_zicsr_..." */
static void isa_string_add(void *ctx, const char *name)
{
    struct names *n = ctx;
    size_t room = n->size - n->len;
    size_t got = (size_t)snprintf(n->buf + n->len, room, "%s%s", name[1] ? "_" : "", name);
    n->len += got < room ? got : room - 1;
}

/* A list of strings, each with its zero byte. */
static void isa_list_add(void *ctx, const char *name)
{
    struct names *n = ctx;
    size_t len = strlen(name) + 1;
    if (len > n->size - n->len)
        return;
    memcpy(n->buf + n->len, name, len);
    n->len += len;
}

/* ---- writing, first error kept ---- */

struct tree {
    void *fdt;
    int rc;
};

static void note(struct tree *t, int rc)
{
    if (!t->rc && rc < 0)
        t->rc = rc;
}

static void begin(struct tree *t, const char *name)
{
    note(t, fdt_begin_node(t->fdt, name));
}

static void begin_at(struct tree *t, const char *name, uint64_t address)
{
    char full[64];
    snprintf(full, sizeof full, "%s@%llx", name, (unsigned long long)address);
    begin(t, full);
}

static void end(struct tree *t)
{
    note(t, fdt_end_node(t->fdt));
}

static void put_bytes(struct tree *t, const char *name, const void *data, size_t len)
{
    note(t, fdt_property(t->fdt, name, data, (int)(uint32_t)len));
}

static void put_string(struct tree *t, const char *name, const char *value)
{
    put_bytes(t, name, value, strlen(value) + 1);
}

static void put_u32(struct tree *t, const char *name, uint32_t value)
{
    note(t, fdt_property_u32(t->fdt, name, value));
}

static void put_u64(struct tree *t, const char *name, uint64_t value)
{
    note(t, fdt_property_u64(t->fdt, name, value));
}

static void put_empty(struct tree *t, const char *name)
{
    put_bytes(t, name, NULL, 0);
}

static void put_cells(struct tree *t, const char *name, const uint32_t *cells, size_t count)
{
    fdt32_t be[4 * VIRT_MAX_CPUS];
    for (size_t i = 0; i < count; i++)
        be[i] = cpu_to_fdt32(cells[i]);
    put_bytes(t, name, be, count * sizeof be[0]);
}

static void put_reg(struct tree *t, uint64_t base, uint64_t size)
{
    const uint32_t cells[] = {(uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
                              (uint32_t)size};
    put_cells(t, "reg", cells, 4);
}

/* An APLIC wants to be told how a line speaks. */
#define LEVEL_HIGH 4u

static void put_irq(struct tree *t, const struct virt *virt, unsigned source)
{
    const uint32_t cells[] = {source, LEVEL_HIGH};
    put_u32(t, "interrupt-parent", PHANDLE_EXTERNAL);
    put_cells(t, "interrupts", cells, virt->aplic ? 2 : 1);
}

/* ---- nodes ---- */

/*
 * Without a seed Linux's generator is unready for seconds, and until then it mixes its pool anew
 * for every number, of which each system call takes one (randomize_kstack_offset).
 */
static void put_seed(struct tree *t, bool deterministic)
{
    uint8_t seed[SEED_SIZE];
    if (deterministic)
        memset(seed, FIXED_SEED_BYTE, sizeof seed);
    else
        while (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
            ;
    put_bytes(t, "rng-seed", seed, sizeof seed);
}

static void put_chosen(struct tree *t, const struct virt *virt)
{
    begin(t, "chosen");
    put_string(t, "bootargs", virt->config.append ? virt->config.append : "");
    put_string(t, "stdout-path", "/soc/serial@10000000");
    put_seed(t, virt->config.deterministic);
    if (virt->initrd.fd >= 0) {
        put_u64(t, "linux,initrd-start", virt->layout.initrd);
        put_u64(t, "linux,initrd-end", virt->layout.initrd + virt->initrd.file_size);
    }
    end(t);
}

/* For U-Boot (doc/device-tree-bindings/config.txt): no seconds to wait for a key. */
static void put_config(struct tree *t)
{
    begin(t, "config");
    put_u32(t, "bootdelay", 0);
    end(t);
}

static void put_cpu(struct tree *t, const struct virt *virt, unsigned i)
{
    static const char *const mmu[] = {"riscv,sv39", "riscv,sv48", "riscv,sv57"};
    char isa[1024], list[1024];
    struct names string = {isa, sizeof isa, (size_t)snprintf(isa, sizeof isa, "rv64")};
    struct names n = {list, sizeof list, 0};
    each_extension(virt, isa_string_add, &string);
    each_extension(virt, isa_list_add, &n);

    begin_at(t, "cpu", i);
    put_string(t, "device_type", "cpu");
    put_u32(t, "reg", i);
    put_string(t, "status", "okay");
    put_string(t, "compatible", "riscv");
    put_string(t, "riscv,isa", isa);
    put_string(t, "riscv,isa-base", "rv64i");
    put_bytes(t, "riscv,isa-extensions", list, n.len);
    put_string(t, "mmu-type", mmu[virt->harts[i].hart.satp_max - RV_SATP_SV39]);
    put_u32(t, "riscv,cbom-block-size", RV_CBO_BLOCK);
    put_u32(t, "riscv,cbop-block-size", RV_CBO_BLOCK);
    put_u32(t, "riscv,cboz-block-size", RV_CBO_BLOCK);
    put_u32(t, "phandle", PHANDLE_CPU + i);
    begin(t, "interrupt-controller");
    put_u32(t, "#interrupt-cells", 1);
    put_empty(t, "interrupt-controller");
    put_string(t, "compatible", "riscv,cpu-intc");
    put_u32(t, "phandle", PHANDLE_INTC + i);
    end(t);
    end(t);
}

static void put_cpus(struct tree *t, const struct virt *virt)
{
    begin(t, "cpus");
    put_u32(t, "#address-cells", 1);
    put_u32(t, "#size-cells", 0);
    put_u32(t, "timebase-frequency", VIRT_TIMEBASE);
    for (unsigned i = 0; i < virt->config.cpus; i++)
        put_cpu(t, virt, i);
    begin(t, "cpu-map");
    begin(t, "cluster0");
    for (unsigned i = 0; i < virt->config.cpus; i++) {
        char name[16];
        snprintf(name, sizeof name, "core%u", i);
        begin(t, name);
        put_u32(t, "cpu", PHANDLE_CPU + i);
        end(t);
    }
    end(t);
    end(t);
    end(t);
}

/* Pairs of (hart's interrupt controller, interrupt). */
static void put_hart_irqs(struct tree *t, const struct virt *virt, unsigned first, unsigned second)
{
    uint32_t cells[4 * VIRT_MAX_CPUS];
    for (unsigned i = 0; i < virt->config.cpus; i++) {
        uint32_t *c = &cells[(size_t)4 * i];
        c[0] = c[2] = PHANDLE_INTC + i;
        c[1] = first;
        c[3] = second;
    }
    put_cells(t, "interrupts-extended", cells, (size_t)4 * virt->config.cpus);
}

static void put_plic(struct tree *t, const struct virt *virt)
{
    begin_at(t, "plic", VIRT_PLIC);
    put_bytes(t, "compatible", "sifive,plic-1.0.0\0riscv,plic0", 30);
    put_reg(t, VIRT_PLIC, PLIC_SIZE);
    put_u32(t, "#interrupt-cells", 1);
    put_u32(t, "#address-cells", 0);
    put_empty(t, "interrupt-controller");
    put_u32(t, "riscv,ndev", PLIC_SOURCES - 1);
    /* Without firmware the machine context is nobody's: -1 (riscv,plic binding). */
    put_hart_irqs(t, virt, virt->has_sbi ? UINT32_MAX : RV_IRQ_MEI, RV_IRQ_SEI);
    put_u32(t, "phandle", PHANDLE_EXTERNAL);
    end(t);
}

/* The harts' interrupt files of a level; binding riscv,imsics. */
static void put_imsics(struct tree *t, const struct virt *virt, gpa_t base, unsigned irq,
                       uint32_t phandle)
{
    uint32_t cells[2 * VIRT_MAX_CPUS];
    for (unsigned i = 0; i < virt->config.cpus; i++) {
        cells[(size_t)2 * i] = PHANDLE_INTC + i;
        cells[(size_t)2 * i + 1] = irq;
    }
    begin_at(t, "imsics", base);
    put_bytes(t, "compatible", "qemu,imsics\0riscv,imsics", 25);
    put_reg(t, base, virt_imsic_size(virt));
    put_empty(t, "interrupt-controller");
    put_u32(t, "#interrupt-cells", 0);
    put_empty(t, "msi-controller");
    put_u32(t, "#msi-cells", 0);
    put_cells(t, "interrupts-extended", cells, (size_t)2 * virt->config.cpus);
    put_u32(t, "riscv,num-ids", IMSIC_IDS);
    put_u32(t, "phandle", phandle);
    end(t);
}

/* A domain, which sends messages to interrupt files; binding riscv,aplic. The caller ends it. */
static void begin_aplic(struct tree *t, gpa_t base, uint32_t imsic, uint32_t phandle)
{
    begin_at(t, "aplic", base);
    put_bytes(t, "compatible", "qemu,aplic\0riscv,aplic", 23);
    put_reg(t, base, APLIC_SIZE);
    put_empty(t, "interrupt-controller");
    put_u32(t, "#interrupt-cells", 2);
    put_u32(t, "#address-cells", 0);
    put_u32(t, "msi-parent", imsic);
    put_u32(t, "riscv,num-sources", APLIC_SOURCES - 1);
    put_u32(t, "phandle", phandle);
}

static void put_aia(struct tree *t, const struct virt *virt)
{
    static const uint32_t delegated[] = {PHANDLE_EXTERNAL, 1, APLIC_SOURCES - 1};
    if (!virt->has_sbi) {
        put_imsics(t, virt, VIRT_IMSIC_M, RV_IRQ_MEI, PHANDLE_IMSIC_M);
        begin_aplic(t, VIRT_APLIC_M, PHANDLE_IMSIC_M, PHANDLE_APLIC_M);
        put_u32(t, "riscv,children", PHANDLE_EXTERNAL);
        put_cells(t, "riscv,delegation", delegated, ARRAY_SIZE(delegated));
        end(t);
    }
    put_imsics(t, virt, VIRT_IMSIC_S, RV_IRQ_SEI, PHANDLE_IMSIC_S);
    begin_aplic(t, VIRT_APLIC_S, PHANDLE_IMSIC_S, PHANDLE_EXTERNAL);
    end(t);
}

static void put_irqchips(struct tree *t, const struct virt *virt)
{
    if (!virt->has_sbi) {
        begin_at(t, "clint", VIRT_CLINT);
        put_bytes(t, "compatible", "sifive,clint0\0riscv,clint0", 27);
        put_reg(t, VIRT_CLINT, 0x10000);
        put_hart_irqs(t, virt, RV_IRQ_MSI, RV_IRQ_MTI);
        end(t);
    }
    if (virt->aplic)
        put_aia(t, virt);
    else
        put_plic(t, virt);
}

static void put_power(struct tree *t, const char *name, uint32_t value)
{
    begin(t, name);
    put_string(t, "compatible", name[0] == 'p' ? "syscon-poweroff" : "syscon-reboot");
    put_u32(t, "regmap", PHANDLE_TEST);
    put_u32(t, "offset", 0);
    put_u32(t, "value", value);
    end(t);
}

/* ---- PCI: bindings pci-bus-common and host-generic-pci ---- */

/* First cell of a range: the kind of address space. */
static const uint32_t pci_space[PCI_WINDOWS] = {
    [PCI_WINDOW_IO] = 0x01000000,
    [PCI_WINDOW_MEMORY] = 0x02000000,
    [PCI_WINDOW_HIGH] = 0x03000000,
};

/* Addresses on the bus are those of memory, but for I/O, which begins at 0. */
static void put_pci_ranges(struct tree *t, const struct virt *virt)
{
    uint32_t cells[7 * PCI_WINDOWS];
    for (unsigned w = 0; w < PCI_WINDOWS; w++) {
        uint64_t size;
        gpa_t base = virt_pci_window(virt, w, &size), bus = w == PCI_WINDOW_IO ? 0 : base;
        const uint32_t range[7] = {
            pci_space[w],   (uint32_t)(bus >> 32),  (uint32_t)bus, (uint32_t)(base >> 32),
            (uint32_t)base, (uint32_t)(size >> 32), (uint32_t)size};
        memcpy(&cells[(size_t)7 * w], range, sizeof range);
    }
    put_cells(t, "ranges", cells, ARRAY_SIZE(cells));
}

/* Pin p (1 to 4) of slot s is source (s + p - 1) modulo 4; the mask makes four slots stand for all.
 */
static void put_pci_irqs(struct tree *t, const struct virt *virt)
{
    static const uint32_t mask[] = {(PCI_PINS - 1) << 11, 0, 0, 7};
    uint32_t cells[7 * PCI_PINS * PCI_PINS];
    size_t n = 0;
    for (unsigned slot = 0; slot < PCI_PINS; slot++)
        for (unsigned pin = 0; pin < PCI_PINS; pin++) {
            uint32_t source = VIRT_IRQ_PCI + (slot + pin) % PCI_PINS;
            const uint32_t entry[] = {slot << 11,       0,      0,         pin + 1,
                                      PHANDLE_EXTERNAL, source, LEVEL_HIGH};
            size_t len = ARRAY_SIZE(entry) - !virt->aplic;
            memcpy(&cells[n], entry, len * sizeof *entry);
            n += len;
        }
    put_cells(t, "interrupt-map-mask", mask, ARRAY_SIZE(mask));
    put_cells(t, "interrupt-map", cells, n);
}

static void put_pci(struct tree *t, const struct virt *virt)
{
    static const uint32_t buses[] = {0, 0xff};
    begin_at(t, "pci", VIRT_PCI_ECAM);
    put_string(t, "compatible", "pci-host-ecam-generic");
    put_string(t, "device_type", "pci");
    put_u32(t, "#address-cells", 3);
    put_u32(t, "#size-cells", 2);
    put_u32(t, "#interrupt-cells", 1);
    put_u32(t, "linux,pci-domain", 0);
    put_cells(t, "bus-range", buses, 2);
    put_empty(t, "dma-coherent");
    put_reg(t, VIRT_PCI_ECAM, PCI_ECAM_SIZE);
    put_pci_ranges(t, virt);
    put_pci_irqs(t, virt);
    if (virt->imsic)
        put_u32(t, "msi-parent", PHANDLE_IMSIC_S);
    end(t);
}

static void put_virtio(struct tree *t, const struct virt *virt, gpa_t base, unsigned irq)
{
    begin_at(t, "virtio_mmio", base);
    put_string(t, "compatible", "virtio,mmio");
    put_reg(t, base, VIRTIO_MMIO_SIZE);
    put_irq(t, virt, irq);
    end(t);
}

static void put_soc(struct tree *t, const struct virt *virt)
{
    begin(t, "soc");
    put_string(t, "compatible", "simple-bus");
    put_u32(t, "#address-cells", 2);
    put_u32(t, "#size-cells", 2);
    put_empty(t, "ranges");
    put_irqchips(t, virt);

    begin_at(t, "test", VIRT_TEST);
    put_bytes(t, "compatible", "sifive,test1\0sifive,test0\0syscon", 33);
    put_reg(t, VIRT_TEST, 0x1000);
    put_u32(t, "phandle", PHANDLE_TEST);
    end(t);

    begin_at(t, "rtc", VIRT_RTC);
    put_string(t, "compatible", "google,goldfish-rtc");
    put_reg(t, VIRT_RTC, 0x1000);
    put_irq(t, virt, VIRT_IRQ_RTC);
    end(t);

    begin_at(t, "serial", VIRT_UART);
    put_string(t, "compatible", "ns16550a");
    put_reg(t, VIRT_UART, 0x100);
    put_u32(t, "clock-frequency", 3686400);
    put_irq(t, virt, VIRT_IRQ_UART);
    end(t);

    for (unsigned i = 0; i < virt_slots(virt); i++)
        put_virtio(t, virt, VIRT_VIRTIO + i * VIRTIO_MMIO_SIZE, virt_slot_irq(i));
    put_virtio(t, virt, VIRT_BUTTON, VIRT_IRQ_BUTTON);
    if (virt->config.pci)
        put_pci(t, virt);
    end(t);

    put_power(t, "poweroff", 0x5555);
    put_power(t, "reboot", 0x7777);
}

/* Binding cfi-flash: two chips of 16 bits side by side. */
static void put_flash(struct tree *t)
{
    uint32_t cells[4 * VIRT_FLASH_BANKS];
    for (unsigned i = 0; i < VIRT_FLASH_BANKS; i++) {
        uint32_t *c = &cells[(size_t)4 * i];
        c[0] = c[2] = 0;
        c[1] = (uint32_t)(VIRT_FLASH + i * VIRT_FLASH_SIZE);
        c[3] = (uint32_t)VIRT_FLASH_SIZE;
    }
    begin_at(t, "flash", VIRT_FLASH);
    put_string(t, "compatible", "cfi-flash");
    put_cells(t, "reg", cells, ARRAY_SIZE(cells));
    put_u32(t, "bank-width", 4);
    end(t);
}

static void put_root(struct tree *t, const struct virt *virt)
{
    begin(t, "");
    put_u32(t, "#address-cells", 2);
    put_u32(t, "#size-cells", 2);
    put_string(t, "compatible", "riscv-virtio");
    put_string(t, "model", "riscv-virtio,guise");
    put_chosen(t, virt);
    if (virt->config.boot_at_once)
        put_config(t);
    begin_at(t, "memory", VIRT_RAM);
    put_string(t, "device_type", "memory");
    put_reg(t, VIRT_RAM, virt->config.memory);
    end(t);
    put_cpus(t, virt);
    if (virt->config.flash_count)
        put_flash(t);
    put_soc(t, virt);
    end(t);
}

int virt_fdt_build(struct virt *virt, struct error *err)
{
    size_t size = FDT_SIZE + (size_t)virt->config.cpus * 2048;
    if (!virt->fdt)
        virt->fdt = malloc(size);
    if (!virt->fdt)
        return error_set(err, ENOMEM, "out of memory for the device tree");
    struct tree t = {.fdt = virt->fdt};
    note(&t, fdt_create(t.fdt, (int)size));
    note(&t, fdt_finish_reservemap(t.fdt));
    put_root(&t, virt);
    note(&t, fdt_finish(t.fdt));
    if (t.rc)
        return error_set(err, ENOSPC, "cannot build the device tree: %s", fdt_strerror(t.rc));
    virt->fdt_size = fdt_totalsize(virt->fdt);
    return 0;
}
