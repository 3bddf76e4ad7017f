#include "dev/pci/pci_fn.h"

#include "base/bits.h"
#include "dev/pci/pci_host.h"

#include <assert.h>

#define FIRST_CAP 0x40u

/* Capability of MSI-X (PCI 3.0, section 6.8.2): message control, and two places in BARs. */
enum { MSIX_CONTROL = 2, MSIX_TABLE = 4, MSIX_PBA = 8, MSIX_SIZE = 12 };
enum { MSIX_ENABLE = 1 << 15, MSIX_MASK_ALL = 1 << 14 };
#define MSIX_PBA_OFFSET 0x800u
/* Words of an entry of the table. */
enum { ENTRY_ADDRESS, ENTRY_ADDRESS_HIGH, ENTRY_DATA, ENTRY_CONTROL, ENTRY_WORDS };
#define ENTRY_MASKED 1u

/* ---- building ---- */

static void pci_fn_row(struct pci_fn *fn, unsigned base, const struct pci_reg *row)
{
    for (unsigned i = 0; i < row->size; i++) {
        fn->initial[base + row->at + i] = (uint8_t)(row->value >> 8 * i);
        fn->writable[base + row->at + i] = (uint8_t)(row->writable >> 8 * i);
    }
}

void pci_fn_init(struct pci_fn *fn, const struct device_ops *device_ops,
                 const struct pci_fn_ops *ops, const struct pci_id *id, const char *name)
{
    const struct pci_reg header[] = {
        {0x00, 2, id->vendor, 0},
        {0x02, 2, id->device, 0},
        /* memory, bus master, parity and system errors, INTx off; there is no I/O space */
        {PCI_COMMAND, 2, 0, 0x0546},
        {PCI_STATUS, 2, 0, 0},
        {0x08, 4, id->class_revision, 0},
        {0x0c, 1, 0, 0xff}, /* cache line size */
        {0x2c, 2, id->subsystem_vendor, 0},
        {0x2e, 2, id->subsystem, 0},
        {0x3c, 1, 0, 0xff}, /* interrupt line: a note of software */
    };
    device_init(&fn->dev, device_ops, "%s", name);
    fn->ops = ops;
    fn->cap_end = FIRST_CAP;
    for (unsigned i = 0; i < ARRAY_SIZE(header); i++)
        pci_fn_row(fn, 0, &header[i]);
}

void pci_fn_fini(struct pci_fn *fn)
{
    device_fini(&fn->dev);
}

void pci_fn_bar(struct pci_fn *fn, unsigned bar, uint64_t size, unsigned flags)
{
    assert(is_pow2(size) && size >= 16 && bar < PCI_BARS);
    uint64_t mask = ~(size - 1);
    const struct pci_reg low = {(uint8_t)(PCI_BAR0 + 4 * bar), 4, flags, (uint32_t)mask};
    const struct pci_reg high = {(uint8_t)(low.at + 4), 4, 0, (uint32_t)(mask >> 32)};
    fn->bar_size[bar] = size;
    pci_fn_row(fn, 0, &low);
    if (flags & PCI_BAR_64)
        pci_fn_row(fn, 0, &high);
}

unsigned pci_fn_cap(struct pci_fn *fn, unsigned id, unsigned size, const struct pci_reg *rows,
                    unsigned count)
{
    unsigned at = fn->cap_end;
    assert(at + size <= PCI_CONFIG_SIZE - 4);
    for (unsigned i = 0; i < count; i++)
        pci_fn_row(fn, at, &rows[i]);
    fn->initial[at] = (uint8_t)id;
    fn->initial[fn->cap_last ? fn->cap_last + 1u : PCI_CAPABILITIES] = (uint8_t)at;
    fn->initial[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    fn->cap_last = (uint8_t)at;
    fn->cap_end = (uint8_t)(at + size);
    return at;
}

unsigned pci_fn_express(struct pci_fn *fn)
{
    static const struct pci_reg rows[] = {
        {0x02, 2, 0x0092, 0},                     /* version 2, integrated endpoint */
        {0x04, 4, 0x10008000, 0},                 /* function-level reset, role-based errors */
        {PCI_EXPRESS_CONTROL, 2, 0x2810, 0x781f}, /* reads of 512 bytes; relaxed, no snoop */
    };
    return pci_fn_cap(fn, PCI_CAP_EXPRESS, 0x3c, rows, ARRAY_SIZE(rows));
}

void pci_fn_msix(struct pci_fn *fn, unsigned bar, unsigned vectors)
{
    assert(vectors && vectors <= PCI_MSIX_MAX);
    const struct pci_reg rows[] = {
        {MSIX_CONTROL, 2, vectors - 1, MSIX_ENABLE | MSIX_MASK_ALL},
        {MSIX_TABLE, 4, bar, 0},
        {MSIX_PBA, 4, MSIX_PBA_OFFSET | bar, 0},
    };
    pci_fn_bar(fn, bar, PCI_MSIX_BAR_SIZE, 0);
    fn->msix = (uint8_t)pci_fn_cap(fn, PCI_CAP_MSIX, MSIX_SIZE, rows, ARRAY_SIZE(rows));
    fn->msix_bar = (uint8_t)bar;
    fn->vectors = (uint8_t)vectors;
}

void pci_fn_intx(struct pci_fn *fn)
{
    fn->initial[PCI_INTERRUPT_PIN] = 1;
}

/* ---- MSI-X; lock held ---- */

static unsigned msix_control(const struct pci_fn *fn)
{
    return fn->msix ? le16_get(fn->config + fn->msix + MSIX_CONTROL) : 0;
}

/* Sends what is pending and not masked. Without bus mastering a function writes no memory. */
static void msix_run(struct pci_fn *fn)
{
    unsigned control = msix_control(fn);
    if (!(control & MSIX_ENABLE) || control & MSIX_MASK_ALL ||
        !(le16_get(fn->config + PCI_COMMAND) & PCI_COMMAND_MASTER))
        return;
    for (uint64_t m = fn->msix_pending; m; m &= m - 1) {
        unsigned vector = (unsigned)__builtin_ctzll(m);
        const uint32_t *entry = &fn->msix_table[vector * ENTRY_WORDS];
        if (entry[ENTRY_CONTROL] & ENTRY_MASKED)
            continue;
        fn->msix_pending &= ~(UINT64_C(1) << vector);
        pci_host_send(fn->host, (uint64_t)entry[ENTRY_ADDRESS_HIGH] << 32 | entry[ENTRY_ADDRESS],
                      entry[ENTRY_DATA]);
    }
}

static uint32_t msix_read_word(const struct pci_fn *fn, uint64_t offset)
{
    if (offset >= MSIX_PBA_OFFSET)
        return offset < MSIX_PBA_OFFSET + 8
                   ? (uint32_t)(fn->msix_pending >> 8 * (offset - MSIX_PBA_OFFSET))
                   : 0;
    return offset / 4 < fn->vectors * ENTRY_WORDS ? fn->msix_table[offset / 4] : 0;
}

/* Only words are written (section 6.8.2): the pending bits not at all. */
static void msix_write_word(struct pci_fn *fn, uint64_t offset, uint32_t value)
{
    static const uint32_t writable[ENTRY_WORDS] = {~UINT32_C(3), ~UINT32_C(0), ~UINT32_C(0),
                                                   ENTRY_MASKED};
    uint64_t word = offset / 4;
    if (word < fn->vectors * ENTRY_WORDS)
        fn->msix_table[word] = value & writable[word % ENTRY_WORDS];
}

static uint64_t msix_read(struct pci_fn *fn, uint64_t offset, unsigned size)
{
    if (size < 4)
        return 0;
    uint64_t value = msix_read_word(fn, offset);
    return size == 8 ? value | (uint64_t)msix_read_word(fn, offset + 4) << 32 : value;
}

static void msix_write(struct pci_fn *fn, uint64_t offset, unsigned size, uint64_t value)
{
    if (size < 4)
        return;
    msix_write_word(fn, offset, (uint32_t)value);
    if (size == 8)
        msix_write_word(fn, offset + 4, (uint32_t)(value >> 32));
    msix_run(fn);
}

bool pci_fn_msix_on(struct pci_fn *fn)
{
    pthread_mutex_lock(&fn->dev.lock);
    bool on = msix_control(fn) & MSIX_ENABLE;
    pthread_mutex_unlock(&fn->dev.lock);
    return on;
}

void pci_fn_msix_notify(struct pci_fn *fn, unsigned vector)
{
    if (vector >= fn->vectors)
        return;
    pthread_mutex_lock(&fn->dev.lock);
    if (msix_control(fn) & MSIX_ENABLE)
        fn->msix_pending |= UINT64_C(1) << vector;
    msix_run(fn);
    pthread_mutex_unlock(&fn->dev.lock);
}

/* ---- configuration space ---- */

/* Everything that follows from configuration space, after any change of it. Lock held. */
static void pci_fn_changed(struct pci_fn *fn)
{
    if (fn->host)
        pci_host_fn_changed(fn->host, fn);
    if (!(msix_control(fn) & MSIX_ENABLE))
        fn->msix_pending = 0;
    msix_run(fn);
}

uint64_t pci_fn_bar_place(const struct pci_fn *fn, unsigned bar, gpa_t *base)
{
    const uint8_t *reg = fn->config + PCI_BAR0 + 4 * bar;
    if (!fn->bar_size[bar] || !(le16_get(fn->config + PCI_COMMAND) & PCI_COMMAND_MEMORY))
        return 0;
    *base = le32_get(reg) & ~UINT32_C(15);
    if (le32_get(reg) & PCI_BAR_64)
        *base |= (uint64_t)le32_get(reg + 4) << 32;
    return fn->bar_size[bar];
}

uint32_t pci_fn_config_read(struct pci_fn *fn, unsigned at, unsigned size)
{
    uint32_t value = 0;
    if (at + size > PCI_CONFIG_SIZE)
        return 0;
    if (fn->ops && fn->ops->config_read)
        fn->ops->config_read(fn, at, size);
    pthread_mutex_lock(&fn->dev.lock);
    memcpy(&value, fn->config + at, size);
    pthread_mutex_unlock(&fn->dev.lock);
    if (at <= PCI_STATUS && PCI_STATUS < at + size && pci_host_intx_level(fn->host, fn))
        value |= (uint32_t)PCI_STATUS_INTERRUPT << 8 * (PCI_STATUS - at);
    return value;
}

void pci_fn_config_write(struct pci_fn *fn, unsigned at, unsigned size, uint32_t value)
{
    if (at + size > PCI_CONFIG_SIZE)
        return;
    pthread_mutex_lock(&fn->dev.lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = fn->writable[at + i];
        fn->config[at + i] = (uint8_t)((fn->config[at + i] & ~mask) | (value >> 8 * i & mask));
    }
    pci_fn_changed(fn);
    pthread_mutex_unlock(&fn->dev.lock);
    if (fn->ops && fn->ops->config_written)
        fn->ops->config_written(fn, at, size, value);
}

/* ---- base addresses ---- */

uint64_t pci_fn_bar_read(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size)
{
    if (!fn->msix || bar != fn->msix_bar)
        return fn->ops->bar_read(fn, bar, offset, size);
    pthread_mutex_lock(&fn->dev.lock);
    uint64_t value = msix_read(fn, offset, size);
    pthread_mutex_unlock(&fn->dev.lock);
    return value;
}

void pci_fn_bar_write(struct pci_fn *fn, unsigned bar, uint64_t offset, unsigned size,
                      uint64_t value)
{
    if (!fn->msix || bar != fn->msix_bar) {
        fn->ops->bar_write(fn, bar, offset, size, value);
        return;
    }
    pthread_mutex_lock(&fn->dev.lock);
    msix_write(fn, offset, size, value);
    pthread_mutex_unlock(&fn->dev.lock);
}

/* ---- reset and state ---- */

/* Vectors are masked after reset (section 6.8.2.9). */
void pci_fn_reset(struct device *dev)
{
    struct pci_fn *fn = container_of(dev, struct pci_fn, dev);
    memcpy(fn->config, fn->initial, sizeof fn->config);
    memset(fn->msix_table, 0, sizeof fn->msix_table);
    for (unsigned i = 0; i < fn->vectors; i++)
        fn->msix_table[i * ENTRY_WORDS + ENTRY_CONTROL] = ENTRY_MASKED;
    fn->msix_pending = 0;
    pci_fn_changed(fn);
}

/* Only what software could have written is taken. */
static int pci_fn_post_load(void *obj, struct error *err)
{
    struct pci_fn *fn = obj;
    (void)err;
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        fn->config[i] =
            (uint8_t)((fn->initial[i] & ~fn->writable[i]) | (fn->config[i] & fn->writable[i]));
    for (unsigned i = 0; i < ARRAY_SIZE(fn->msix_table); i++) {
        uint32_t value = fn->msix_table[i];
        fn->msix_table[i] = 0;
        msix_write_word(fn, 4 * i, value);
    }
    fn->msix_pending &= (UINT64_C(1) << fn->vectors) - 1;
    pci_fn_changed(fn);
    return 0;
}

static const struct state_field pci_fn_fields[] = {
    STATE_ARRAY(struct pci_fn, config),
    STATE_ARRAY(struct pci_fn, msix_table),
    STATE_FIELD(struct pci_fn, msix_pending),
    STATE_END,
};

const struct state_table pci_fn_state = {
    .name = "pci_fn",
    .version = 1,
    .size = sizeof(struct pci_fn),
    .fields = pci_fn_fields,
    .post_load = pci_fn_post_load,
};
