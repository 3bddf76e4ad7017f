#include "dev/pci/pci_host.h"

#include "base/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* An address of ECAM: bus, slot, function, register. */
#define ECAM_BUS_SHIFT 20
#define ECAM_SLOT_SHIFT 15
#define ECAM_FN_SHIFT 12

struct pci_map {
    gpa_t base;
    uint64_t size; /* 0: not decoded */
};

struct pci_host {
    struct pci_fn fn; /* slot 0 */
    struct pci_host_config config;
    struct pci_fn *slots[PCI_SLOTS]; /* fixed once the machine is built */

    pthread_mutex_t wires; /* protects the rest */
    struct pci_map maps[PCI_SLOTS][PCI_BARS];
    bool intx_off[PCI_SLOTS]; /* by the command register */
    bool level[PCI_SLOTS];    /* of the devices' lines */
};

static struct pci_host *pci_host_of(struct device *dev)
{
    return container_of(dev, struct pci_host, fn.dev);
}

/* ---- INTx; `wires` held ---- */

static void pci_host_drive(struct pci_host *host, unsigned pin)
{
    bool level = false;
    for (unsigned slot = pin; slot < PCI_SLOTS; slot += PCI_PINS)
        level |= host->level[slot] && !host->intx_off[slot];
    irq_set(&host->config.pins[pin], level);
}

static void pci_host_set_intx(void *ctx, unsigned slot, bool level)
{
    struct pci_host *host = ctx;
    pthread_mutex_lock(&host->wires);
    if (host->level[slot] != level) {
        host->level[slot] = level;
        pci_host_drive(host, slot % PCI_PINS);
    }
    pthread_mutex_unlock(&host->wires);
}

struct irq_line pci_host_intx(struct device *host, unsigned slot)
{
    return (struct irq_line){.set = pci_host_set_intx, .ctx = pci_host_of(host), .number = slot};
}

bool pci_host_intx_level(struct pci_host *host, const struct pci_fn *fn)
{
    pthread_mutex_lock(&host->wires);
    bool level = host->level[fn->slot];
    pthread_mutex_unlock(&host->wires);
    return level;
}

/* ---- what functions tell ---- */

void pci_host_fn_changed(struct pci_host *host, struct pci_fn *fn)
{
    pthread_mutex_lock(&host->wires);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct pci_map *map = &host->maps[fn->slot][bar];
        map->size = pci_fn_bar_place(fn, bar, &map->base);
    }
    host->intx_off[fn->slot] = le16_get(fn->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF;
    pci_host_drive(host, fn->slot % PCI_PINS);
    pthread_mutex_unlock(&host->wires);
}

void pci_host_send(struct pci_host *host, uint64_t address, uint32_t data)
{
    msi_send(&host->config.msi, address, data);
}

bool pci_host_has_msi(struct device *host)
{
    return pci_host_of(host)->config.msi.send;
}

/* ---- configuration space ---- */

static struct pci_fn *pci_host_target(struct pci_host *host, uint64_t offset)
{
    bool here = !(offset >> ECAM_BUS_SHIFT) && !bits_get(offset, ECAM_FN_SHIFT, 3);
    return here ? host->slots[bits_get(offset, ECAM_SLOT_SHIFT, 5)] : NULL;
}

static uint64_t pci_ecam_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct pci_fn *fn = pci_host_target(pci_host_of(dev), offset);
    return fn ? pci_fn_config_read(fn, offset & 0xfff, size) : UINT64_MAX;
}

static void pci_ecam_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_fn *fn = pci_host_target(pci_host_of(dev), offset);
    if (fn)
        pci_fn_config_write(fn, offset & 0xfff, size, (uint32_t)value);
}

const struct mmio_ops pci_ecam_mmio = {
    .read = pci_ecam_read,
    .write = pci_ecam_write,
    .sizes = 1 | 2 | 4,
    .unlocked = true,
};

/* ---- windows ---- */

/* The function that decodes [gpa, gpa + size), the lowest slot if there are several. */
static struct pci_fn *pci_host_decode(struct pci_host *host, gpa_t gpa, unsigned size,
                                      unsigned *bar, uint64_t *offset)
{
    struct pci_fn *found = NULL;
    pthread_mutex_lock(&host->wires);
    for (unsigned i = 0; !found && i < PCI_SLOTS * PCI_BARS; i++) {
        const struct pci_map *map = &host->maps[i / PCI_BARS][i % PCI_BARS];
        *offset = gpa - map->base;
        if (*offset >= map->size || size > map->size - *offset)
            continue;
        found = host->slots[i / PCI_BARS];
        *bar = i % PCI_BARS;
    }
    pthread_mutex_unlock(&host->wires);
    return found;
}

static uint64_t pci_window_read(struct device *dev, enum pci_window w, uint64_t at, unsigned size)
{
    struct pci_host *host = pci_host_of(dev);
    unsigned bar;
    uint64_t offset;
    struct pci_fn *fn =
        pci_host_decode(host, host->config.window_base[w] + at, size, &bar, &offset);
    return fn ? pci_fn_bar_read(fn, bar, offset, size) : UINT64_MAX;
}

static void pci_window_write(struct device *dev, enum pci_window w, uint64_t at, unsigned size,
                             uint64_t value)
{
    struct pci_host *host = pci_host_of(dev);
    unsigned bar;
    uint64_t offset;
    struct pci_fn *fn =
        pci_host_decode(host, host->config.window_base[w] + at, size, &bar, &offset);
    if (fn)
        pci_fn_bar_write(fn, bar, offset, size, value);
}

/* No function has registers in I/O space. */
static uint64_t pci_io_read(struct device *dev, uint64_t at, unsigned size)
{
    (void)dev;
    (void)at;
    (void)size;
    return UINT64_MAX;
}

static void pci_io_write(struct device *dev, uint64_t at, unsigned size, uint64_t value)
{
    (void)dev;
    (void)at;
    (void)size;
    (void)value;
}

static uint64_t pci_memory_read(struct device *dev, uint64_t at, unsigned size)
{
    return pci_window_read(dev, PCI_WINDOW_MEMORY, at, size);
}

static void pci_memory_write(struct device *dev, uint64_t at, unsigned size, uint64_t value)
{
    pci_window_write(dev, PCI_WINDOW_MEMORY, at, size, value);
}

static uint64_t pci_high_read(struct device *dev, uint64_t at, unsigned size)
{
    return pci_window_read(dev, PCI_WINDOW_HIGH, at, size);
}

static void pci_high_write(struct device *dev, uint64_t at, unsigned size, uint64_t value)
{
    pci_window_write(dev, PCI_WINDOW_HIGH, at, size, value);
}

#define WINDOW(r, w)                                                        \
    {                                                                       \
        .read = (r), .write = (w), .sizes = 1 | 2 | 4 | 8, .unlocked = true \
    }

const struct mmio_ops pci_window_mmio[PCI_WINDOWS] = {
    [PCI_WINDOW_IO] = WINDOW(pci_io_read, pci_io_write),
    [PCI_WINDOW_MEMORY] = WINDOW(pci_memory_read, pci_memory_write),
    [PCI_WINDOW_HIGH] = WINDOW(pci_high_read, pci_high_write),
};

/* ---- the bridge as a device ---- */

void pci_host_add(struct device *dev, unsigned slot, struct pci_fn *fn)
{
    struct pci_host *host = pci_host_of(dev);
    assert(slot < PCI_SLOTS && !host->slots[slot]);
    fn->host = host;
    fn->slot = slot;
    host->slots[slot] = fn;
    device_reset(&fn->dev);
}

/* The lines' levels belong to the devices and survive. */
static void pci_host_reset(struct device *dev)
{
    pci_fn_reset(dev);
}

static int pci_host_post_load(void *obj, struct error *err)
{
    struct pci_host *host = obj;
    (void)err;
    pthread_mutex_lock(&host->wires);
    for (unsigned pin = 0; pin < PCI_PINS; pin++)
        pci_host_drive(host, pin);
    pthread_mutex_unlock(&host->wires);
    return 0;
}

/* What the pins follow comes first: loading a function drives them, and they must not flicker. */
static const struct state_field pci_host_fields[] = {
    STATE_ARRAY(struct pci_host, level),
    STATE_ARRAY(struct pci_host, intx_off),
    STATE_STRUCT(struct pci_host, fn, &pci_fn_state),
    STATE_END,
};

static const struct state_table pci_host_state = {
    .name = "pci_host",
    .version = 1,
    .size = sizeof(struct pci_host),
    .fields = pci_host_fields,
    .post_load = pci_host_post_load,
};

static void pci_host_free(struct device *dev)
{
    struct pci_host *host = pci_host_of(dev);
    pthread_mutex_destroy(&host->wires);
    pci_fn_fini(&host->fn);
    free(host);
}

static const struct device_ops pci_host_ops = {
    .name = "pci_host",
    .state = &pci_host_state,
    .reset = pci_host_reset,
    .free = pci_host_free,
};

struct device *pci_host_new(const struct pci_host_config *config, struct error *err)
{
    /* The generic bridge of the board that this one follows. */
    static const struct pci_id id = {
        .vendor = 0x1b36,
        .device = 0x0008,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_revision = 0x06000000,
    };
    struct pci_host *host = calloc(1, sizeof *host);
    if (!host) {
        error_set(err, ENOMEM, "out of memory for a PCI host bridge");
        return NULL;
    }
    pthread_mutex_init(&host->wires, NULL);
    pci_fn_init(&host->fn, &pci_host_ops, NULL, &id, "pci");
    host->config = *config;
    pci_host_add(&host->fn.dev, 0, &host->fn);
    return &host->fn.dev;
}
