#include "dev/aplic.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define WORDS (APLIC_SOURCES / 32)

/* Registers of a domain, section 4.5. */
enum {
    REG_DOMAINCFG = 0x0000,
    REG_SOURCECFG = 0x0004,
    REG_SOURCECFG_END = 0x1000,
    REG_MMSIADDRCFG = 0x1bc0,
    REG_MMSIADDRCFGH = 0x1bc4,
    REG_SMSIADDRCFG = 0x1bc8,
    REG_SMSIADDRCFGH = 0x1bcc,
    REG_SETIP = 0x1c00,
    REG_SETIPNUM = 0x1cdc,
    REG_IN_CLRIP = 0x1d00,
    REG_CLRIPNUM = 0x1ddc,
    REG_SETIE = 0x1e00,
    REG_SETIENUM = 0x1edc,
    REG_CLRIE = 0x1f00,
    REG_CLRIENUM = 0x1fdc,
    REG_SETIPNUM_LE = 0x2000,
    REG_GENMSI = 0x3000,
    REG_TARGET = 0x3004,
    REG_IDC = 0x4000,
};
#define ARRAY_BYTES 0x80u /* of the arrays of bits */

/* Of a structure for delivery to a hart, section 4.8.1. */
enum {
    IDC_DELIVERY = 0x00,
    IDC_FORCE = 0x04,
    IDC_THRESHOLD = 0x08,
    IDC_TOP = 0x18,
    IDC_CLAIM = 0x1c,
    IDC_SIZE = 0x20,
};

#define DOMAIN_FIXED 0x80000000u
#define DOMAIN_ENABLE 0x100u
#define DOMAIN_MSI 0x4u
#define SOURCE_DELEGATED 0x400u
#define LOCKED 0x80000000u /* in mmsiaddrcfgh */
#define MMSIADDRCFGH_MASK 0x9f77ffffu
#define SMSIADDRCFGH_MASK 0x00700fffu
#define TARGET_HART_SHIFT 18
#define TARGET_DIRECT 0xfffc00ffu
#define TARGET_MSI 0xfffc07ffu /* no guest index */
#define EIID_MASK 0x7ffu

/* Source modes. */
enum { INACTIVE = 0, DETACHED = 1, EDGE1 = 4, EDGE0 = 5, LEVEL1 = 6, LEVEL0 = 7 };

struct aplic_domain {
    uint32_t config;
    uint32_t source[APLIC_SOURCES]; /* sourcecfg */
    uint32_t target[APLIC_SOURCES];
    uint32_t pending[WORDS], enabled[WORDS];
    uint32_t genmsi;
    uint8_t delivery[APLIC_MAX_HARTS], force[APLIC_MAX_HARTS], threshold[APLIC_MAX_HARTS];
};

struct aplic {
    struct device dev;
    struct aplic_config config;
    struct irq_line direct[APLIC_MAX_HARTS * APLIC_LEVELS];

    uint32_t level[WORDS]; /* of the input lines */
    uint32_t mmsiaddrcfg, mmsiaddrcfgh, smsiaddrcfg, smsiaddrcfgh;
    struct aplic_domain domains[APLIC_LEVELS];
};

static struct aplic *aplic_of(struct device *dev)
{
    return container_of(dev, struct aplic, dev);
}

/* ---- sources (4.5.2) ---- */

static bool bit_get(const uint32_t *words, unsigned i)
{
    return words[i / 32] >> i % 32 & 1;
}

static void bit_put(uint32_t *words, unsigned i, bool value)
{
    uint32_t bit = UINT32_C(1) << i % 32;
    words[i / 32] = value ? words[i / 32] | bit : words[i / 32] & ~bit;
}

static unsigned source_mode(const struct aplic_domain *d, unsigned i)
{
    return d->source[i] & SOURCE_DELEGATED ? INACTIVE : d->source[i] & 7;
}

static bool source_active(const struct aplic_domain *d, uint32_t i)
{
    return i && i < APLIC_SOURCES && source_mode(d, i) != INACTIVE;
}

static bool source_is_level(const struct aplic_domain *d, unsigned i)
{
    return source_mode(d, i) >= LEVEL1;
}

/* The rectified input value. */
static bool source_input(const struct aplic *a, const struct aplic_domain *d, unsigned i)
{
    unsigned mode = source_mode(d, i);
    return mode >= EDGE1 && bit_get(a->level, i) != (mode & 1);
}

static bool by_message(const struct aplic_domain *d)
{
    return d->config & DOMAIN_MSI;
}

/* ---- delivery ---- */

/* Sections 4.9.1: where a message for a hart goes. */
static uint64_t message_address(const struct aplic *a, enum aplic_level level, uint32_t hart)
{
    uint32_t high = level == APLIC_M ? a->mmsiaddrcfgh : a->smsiaddrcfgh;
    uint32_t low = level == APLIC_M ? a->mmsiaddrcfg : a->smsiaddrcfg;
    uint64_t page = (high & UINT64_C(0xfff)) << 32 | low;
    unsigned lhxw = (unsigned)bits_get(a->mmsiaddrcfgh, 12, 4);
    unsigned hhxw = (unsigned)bits_get(a->mmsiaddrcfgh, 16, 3);
    unsigned hhxs = (unsigned)bits_get(a->mmsiaddrcfgh, 24, 5);
    unsigned lhxs = (unsigned)bits_get(high, 20, 3);
    uint64_t g = (hart >> lhxw) & ((UINT64_C(1) << hhxw) - 1);
    uint64_t h = hart & ((UINT64_C(1) << lhxw) - 1);
    return (page | g << (hhxs + 12) | h << lhxs) << 12;
}

static void send_message(struct aplic *a, enum aplic_level level, uint32_t target)
{
    msi_send(&a->config.msi, message_address(a, level, target >> TARGET_HART_SHIFT),
             target & EIID_MASK);
}

/* The value of topi of a hart, section 4.8.1.4: small numbers are high priorities. */
static uint32_t direct_top(const struct aplic_domain *d, unsigned hart)
{
    uint32_t best = 0, best_priority = d->threshold[hart] ? d->threshold[hart] : 256;
    for (unsigned w = 0; w < WORDS; w++)
        for (uint32_t m = d->pending[w] & d->enabled[w]; m; m &= m - 1) {
            unsigned i = 32 * w + (unsigned)__builtin_ctz(m);
            uint32_t priority = d->target[i] & 0xff;
            if (d->target[i] >> TARGET_HART_SHIFT != hart || priority >= best_priority)
                continue;
            best = i << 16 | priority;
            best_priority = priority;
        }
    return best;
}

static void drive_lines(struct aplic *a, enum aplic_level level)
{
    const struct aplic_domain *d = &a->domains[level];
    bool on = d->config & DOMAIN_ENABLE && !by_message(d);
    for (unsigned hart = 0; hart < a->config.harts; hart++)
        irq_set(&a->direct[APLIC_LEVELS * hart + level],
                on && d->delivery[hart] && (d->force[hart] || direct_top(d, hart)));
}

static void send_messages(struct aplic *a, enum aplic_level level)
{
    struct aplic_domain *d = &a->domains[level];
    if (!(d->config & DOMAIN_ENABLE))
        return;
    for (unsigned w = 0; w < WORDS; w++)
        for (uint32_t m = d->pending[w] & d->enabled[w]; m; m &= m - 1) {
            unsigned i = 32 * w + (unsigned)__builtin_ctz(m);
            bit_put(d->pending, i, false);
            send_message(a, level, d->target[i]);
        }
}

/* To be called after every change of a domain. */
static void domain_run(struct aplic *a, enum aplic_level level)
{
    if (by_message(&a->domains[level]))
        send_messages(a, level);
    else
        drive_lines(a, level);
}

/* ---- pending bits (4.7) ---- */

/* The input has changed, or what is derived from it. */
static void pending_follow(const struct aplic *a, struct aplic_domain *d, unsigned i)
{
    bool high = source_input(a, d, i);
    if (source_is_level(d, i))
        bit_put(d->pending, i, high);
    else if (high)
        bit_put(d->pending, i, true);
}

static void pending_set(const struct aplic *a, struct aplic_domain *d, uint32_t i)
{
    if (!source_active(d, i))
        return;
    if (!source_is_level(d, i) || (by_message(d) && source_input(a, d, i)))
        bit_put(d->pending, i, true);
}

static void pending_clear(struct aplic_domain *d, uint32_t i)
{
    if (source_active(d, i) && (!source_is_level(d, i) || by_message(d)))
        bit_put(d->pending, i, false);
}

static void enabled_put(struct aplic_domain *d, uint32_t i, bool on)
{
    if (source_active(d, i))
        bit_put(d->enabled, i, on);
}

static void aplic_set_input(void *ctx, unsigned source, bool level)
{
    struct aplic *a = ctx;
    pthread_mutex_lock(&a->dev.lock);
    if (bit_get(a->level, source) != level) {
        bit_put(a->level, source, level);
        for (unsigned l = 0; l < APLIC_LEVELS; l++)
            if (source_active(&a->domains[l], source)) {
                pending_follow(a, &a->domains[l], source);
                domain_run(a, l);
            }
    }
    pthread_mutex_unlock(&a->dev.lock);
}

struct irq_line aplic_input(struct device *aplic, unsigned source)
{
    return (struct irq_line){.set = aplic_set_input, .ctx = aplic_of(aplic), .number = source};
}

/* ---- configuration ---- */

static uint32_t target_legal(const struct aplic_domain *d, uint32_t value)
{
    if (by_message(d))
        return value & TARGET_MSI;
    value &= TARGET_DIRECT;
    return value & 0xff ? value : value | 1;
}

/* An inactive source has nothing. */
static void source_forget(struct aplic_domain *d, unsigned i)
{
    bit_put(d->pending, i, false);
    bit_put(d->enabled, i, false);
    d->target[i] = 0;
}

static uint32_t sourcecfg_legal(enum aplic_level level, uint32_t value)
{
    if (value & SOURCE_DELEGATED)
        return level == APLIC_M ? SOURCE_DELEGATED : 0; /* child 0; a leaf has none */
    unsigned mode = value & 7;
    return mode == 2 || mode == 3 ? INACTIVE : mode;
}

static void write_sourcecfg(struct aplic *a, enum aplic_level level, unsigned i, uint32_t value)
{
    struct aplic_domain *d = &a->domains[level];
    if (level == APLIC_S && !(a->domains[APLIC_M].source[i] & SOURCE_DELEGATED))
        return;
    bool was_active = source_active(d, i);
    d->source[i] = sourcecfg_legal(level, value);
    if (!source_active(d, i)) {
        source_forget(d, i);
    } else {
        d->target[i] = target_legal(d, was_active ? d->target[i] : 0);
        if (source_is_level(d, i))
            pending_follow(a, d, i);
    }
    if (level == APLIC_M && !(d->source[i] & SOURCE_DELEGATED)) {
        a->domains[APLIC_S].source[i] = 0;
        source_forget(&a->domains[APLIC_S], i);
        domain_run(a, APLIC_S);
    }
}

static void write_domaincfg(struct aplic *a, enum aplic_level level, uint32_t value)
{
    struct aplic_domain *d = &a->domains[level];
    uint32_t changed = d->config ^ value;
    d->config = value & (DOMAIN_ENABLE | DOMAIN_MSI);
    if (!(changed & DOMAIN_MSI))
        return;
    for (unsigned i = 1; i < APLIC_SOURCES; i++) {
        if (!source_active(d, i))
            continue;
        d->target[i] = target_legal(d, d->target[i]);
        if (!by_message(d) && source_is_level(d, i))
            pending_follow(a, d, i);
    }
    d->genmsi = 0;
    drive_lines(a, level);
}

static void write_genmsi(struct aplic *a, enum aplic_level level, uint32_t value)
{
    struct aplic_domain *d = &a->domains[level];
    if (!by_message(d))
        return;
    d->genmsi = value & TARGET_MSI;
    send_message(a, level, d->genmsi);
}

/* The root's, until they are locked. */
static void write_msiaddrcfg(struct aplic *a, uint64_t reg, uint32_t value)
{
    if (a->mmsiaddrcfgh & LOCKED)
        return;
    switch (reg) {
    case REG_MMSIADDRCFG:
        a->mmsiaddrcfg = value;
        break;
    case REG_MMSIADDRCFGH:
        a->mmsiaddrcfgh = value & MMSIADDRCFGH_MASK;
        break;
    case REG_SMSIADDRCFG:
        a->smsiaddrcfg = value;
        break;
    case REG_SMSIADDRCFGH:
        a->smsiaddrcfgh = value & SMSIADDRCFGH_MASK;
        break;
    }
}

/* ---- registers ---- */

/* Word of an array of bits that begins at `base`, -1 if reg is not in it. */
static int array_word(uint64_t reg, unsigned base)
{
    return reg >= base && reg < base + ARRAY_BYTES ? (int)((reg - base) / 4) : -1;
}

static uint32_t read_inputs(const struct aplic *a, const struct aplic_domain *d, unsigned word)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 32; i++)
        value |= (uint32_t)source_input(a, d, 32 * word + i) << i;
    return value;
}

static uint32_t read_bits(const struct aplic *a, const struct aplic_domain *d, uint64_t reg)
{
    int word;
    if ((word = array_word(reg, REG_SETIP)) >= 0)
        return word < (int)WORDS ? d->pending[word] : 0;
    if ((word = array_word(reg, REG_SETIE)) >= 0)
        return word < (int)WORDS ? d->enabled[word] : 0;
    if ((word = array_word(reg, REG_IN_CLRIP)) >= 0)
        return word < (int)WORDS ? read_inputs(a, d, (unsigned)word) : 0;
    return 0;
}

static uint32_t read_idc(struct aplic *a, enum aplic_level level, uint64_t at)
{
    struct aplic_domain *d = &a->domains[level];
    unsigned hart = (unsigned)(at / IDC_SIZE);
    if (hart >= a->config.harts)
        return 0;
    uint32_t top = by_message(d) ? 0 : direct_top(d, hart);
    switch (at % IDC_SIZE) {
    case IDC_DELIVERY:
        return d->delivery[hart];
    case IDC_FORCE:
        return d->force[hart];
    case IDC_THRESHOLD:
        return d->threshold[hart];
    case IDC_TOP:
        return top;
    case IDC_CLAIM:
        if (top)
            pending_clear(d, top >> 16);
        else
            d->force[hart] = 0;
        domain_run(a, level);
        return top;
    default:
        return 0;
    }
}

static uint32_t read_msiaddrcfg(const struct aplic *a, uint64_t reg)
{
    switch (reg) {
    case REG_MMSIADDRCFG:
        return a->mmsiaddrcfg;
    case REG_MMSIADDRCFGH:
        return a->mmsiaddrcfgh;
    case REG_SMSIADDRCFG:
        return a->smsiaddrcfg;
    default:
        return a->smsiaddrcfgh;
    }
}

static uint64_t aplic_read(struct device *dev, enum aplic_level level, uint64_t reg)
{
    struct aplic *a = aplic_of(dev);
    struct aplic_domain *d = &a->domains[level];
    if (reg >= REG_IDC)
        return read_idc(a, level, reg - REG_IDC);
    if (reg >= REG_TARGET)
        return (reg - REG_GENMSI) / 4 < APLIC_SOURCES ? d->target[(reg - REG_GENMSI) / 4] : 0;
    if (reg == REG_GENMSI)
        return d->genmsi;
    if (reg == REG_DOMAINCFG)
        return DOMAIN_FIXED | d->config;
    if (reg < REG_SOURCECFG_END)
        return reg / 4 < APLIC_SOURCES ? d->source[reg / 4] : 0;
    if (level == APLIC_M && reg >= REG_MMSIADDRCFG && reg <= REG_SMSIADDRCFGH)
        return read_msiaddrcfg(a, reg);
    return read_bits(a, d, reg);
}

enum bits_op { SET_PENDING, CLEAR_PENDING, SET_ENABLED, CLEAR_ENABLED };

static void bits_do(struct aplic *a, struct aplic_domain *d, enum bits_op op, uint32_t i)
{
    if (op == SET_PENDING)
        pending_set(a, d, i);
    else if (op == CLEAR_PENDING)
        pending_clear(d, i);
    else
        enabled_put(d, i, op == SET_ENABLED);
}

/* An operation on many sources has an array of bits, and a register that takes one number. */
static void write_bits(struct aplic *a, struct aplic_domain *d, uint64_t reg, uint32_t value)
{
    static const struct {
        uint16_t array, number;
    } regs[] = {
        [SET_PENDING] = {REG_SETIP, REG_SETIPNUM},
        [CLEAR_PENDING] = {REG_IN_CLRIP, REG_CLRIPNUM},
        [SET_ENABLED] = {REG_SETIE, REG_SETIENUM},
        [CLEAR_ENABLED] = {REG_CLRIE, REG_CLRIENUM},
    };
    if (reg == REG_SETIPNUM_LE)
        reg = REG_SETIPNUM;
    for (unsigned op = 0; op < ARRAY_SIZE(regs); op++) {
        int word = array_word(reg, regs[op].array);
        if (reg == regs[op].number)
            bits_do(a, d, op, value);
        for (uint32_t m = word >= 0 ? value : 0; m; m &= m - 1)
            bits_do(a, d, op, 32 * (uint32_t)word + (unsigned)__builtin_ctz(m));
    }
}

static void write_idc(struct aplic *a, struct aplic_domain *d, uint64_t at, uint32_t value)
{
    unsigned hart = (unsigned)(at / IDC_SIZE);
    if (hart >= a->config.harts)
        return;
    switch (at % IDC_SIZE) {
    case IDC_DELIVERY:
        d->delivery[hart] = value & 1;
        break;
    case IDC_FORCE:
        d->force[hart] = value & 1;
        break;
    case IDC_THRESHOLD:
        d->threshold[hart] = value & 0xff;
        break;
    }
}

static void write_target(struct aplic_domain *d, uint64_t i, uint32_t value)
{
    if (i < APLIC_SOURCES && source_active(d, (uint32_t)i))
        d->target[i] = target_legal(d, value);
}

static void aplic_write(struct device *dev, enum aplic_level level, uint64_t reg, uint32_t value)
{
    struct aplic *a = aplic_of(dev);
    struct aplic_domain *d = &a->domains[level];
    if (reg >= REG_IDC)
        write_idc(a, d, reg - REG_IDC, value);
    else if (reg >= REG_TARGET)
        write_target(d, (reg - REG_GENMSI) / 4, value);
    else if (reg == REG_GENMSI)
        write_genmsi(a, level, value);
    else if (reg == REG_DOMAINCFG)
        write_domaincfg(a, level, value);
    else if (reg < REG_SOURCECFG_END && reg / 4 < APLIC_SOURCES)
        write_sourcecfg(a, level, (unsigned)(reg / 4), value);
    else if (level == APLIC_M && reg >= REG_MMSIADDRCFG && reg <= REG_SMSIADDRCFGH)
        write_msiaddrcfg(a, reg, value);
    else
        write_bits(a, d, reg, value);
    domain_run(a, level);
}

static uint64_t aplic_read_m(struct device *dev, uint64_t reg, unsigned size)
{
    (void)size;
    return aplic_read(dev, APLIC_M, reg);
}

static uint64_t aplic_read_s(struct device *dev, uint64_t reg, unsigned size)
{
    (void)size;
    return aplic_read(dev, APLIC_S, reg);
}

static void aplic_write_m(struct device *dev, uint64_t reg, unsigned size, uint64_t value)
{
    (void)size;
    aplic_write(dev, APLIC_M, reg, (uint32_t)value);
}

static void aplic_write_s(struct device *dev, uint64_t reg, unsigned size, uint64_t value)
{
    (void)size;
    aplic_write(dev, APLIC_S, reg, (uint32_t)value);
}

const struct mmio_ops aplic_mmio[APLIC_LEVELS] = {
    [APLIC_M] = {.read = aplic_read_m, .write = aplic_write_m, .sizes = 4},
    [APLIC_S] = {.read = aplic_read_s, .write = aplic_write_s, .sizes = 4},
};

/* ---- reset and state ---- */

static void aplic_delegate(struct aplic *a)
{
    unsigned bits = 0;
    while (UINT32_C(1) << bits < a->config.harts)
        bits++;
    for (unsigned i = 1; i < APLIC_SOURCES; i++)
        a->domains[APLIC_M].source[i] = SOURCE_DELEGATED;
    a->mmsiaddrcfg = (uint32_t)(a->config.files[APLIC_M] >> 12);
    a->smsiaddrcfg = (uint32_t)(a->config.files[APLIC_S] >> 12);
    a->mmsiaddrcfgh = LOCKED | bits << 12;
}

/* The lines' levels belong to the other devices and survive. */
static void aplic_reset(struct device *dev)
{
    struct aplic *a = aplic_of(dev);
    memset(a->domains, 0, sizeof a->domains);
    a->mmsiaddrcfg = a->mmsiaddrcfgh = a->smsiaddrcfg = a->smsiaddrcfgh = 0;
    if (a->config.delegated)
        aplic_delegate(a);
    for (unsigned level = 0; level < APLIC_LEVELS; level++)
        drive_lines(a, level);
}

/* Makes a domain legal, whatever the stream said. */
static void domain_legalize(struct aplic *a, enum aplic_level level)
{
    struct aplic_domain *d = &a->domains[level];
    d->config &= DOMAIN_ENABLE | DOMAIN_MSI;
    d->genmsi &= by_message(d) ? TARGET_MSI : 0;
    for (unsigned i = 0; i < APLIC_SOURCES; i++) {
        bool mine = level == APLIC_M || a->domains[APLIC_M].source[i] & SOURCE_DELEGATED;
        d->source[i] = i && mine ? sourcecfg_legal(level, d->source[i]) : 0;
        if (!source_active(d, i))
            source_forget(d, i);
        else
            d->target[i] = target_legal(d, d->target[i]);
        if (source_is_level(d, i) && !by_message(d))
            pending_follow(a, d, i);
    }
    for (unsigned i = 0; i < APLIC_MAX_HARTS; i++) {
        d->delivery[i] &= 1;
        d->force[i] &= 1;
    }
}

static int aplic_post_load(void *obj, struct error *err)
{
    struct aplic *a = obj;
    (void)err;
    a->level[0] &= ~UINT32_C(1);
    a->mmsiaddrcfgh &= MMSIADDRCFGH_MASK;
    a->smsiaddrcfgh &= SMSIADDRCFGH_MASK;
    for (unsigned level = 0; level < APLIC_LEVELS; level++) {
        domain_legalize(a, level);
        drive_lines(a, level);
    }
    return 0;
}

static const struct state_field aplic_domain_fields[] = {
    STATE_FIELD(struct aplic_domain, config),    STATE_ARRAY(struct aplic_domain, source),
    STATE_ARRAY(struct aplic_domain, target),    STATE_ARRAY(struct aplic_domain, pending),
    STATE_ARRAY(struct aplic_domain, enabled),   STATE_FIELD(struct aplic_domain, genmsi),
    STATE_ARRAY(struct aplic_domain, delivery),  STATE_ARRAY(struct aplic_domain, force),
    STATE_ARRAY(struct aplic_domain, threshold), STATE_END,
};

static const struct state_table aplic_domain_state = {
    .name = "aplic_domain",
    .version = 1,
    .size = sizeof(struct aplic_domain),
    .fields = aplic_domain_fields,
};

static const struct state_field aplic_fields[] = {
    STATE_ARRAY(struct aplic, level),
    STATE_FIELD(struct aplic, mmsiaddrcfg),
    STATE_FIELD(struct aplic, mmsiaddrcfgh),
    STATE_FIELD(struct aplic, smsiaddrcfg),
    STATE_FIELD(struct aplic, smsiaddrcfgh),
    STATE_STRUCTS(struct aplic, domains, &aplic_domain_state),
    STATE_END,
};

static const struct state_table aplic_state = {
    .name = "aplic",
    .version = 1,
    .size = sizeof(struct aplic),
    .fields = aplic_fields,
    .post_load = aplic_post_load,
};

static void aplic_free(struct device *dev)
{
    device_fini(dev);
    free(aplic_of(dev));
}

static const struct device_ops aplic_ops = {
    .name = "aplic",
    .state = &aplic_state,
    .reset = aplic_reset,
    .free = aplic_free,
};

struct device *aplic_new(const struct aplic_config *config, struct error *err)
{
    if (!config->harts || config->harts > APLIC_MAX_HARTS) {
        error_set(err, EINVAL, "the interrupt controller serves 1 to %u harts, not %u",
                  APLIC_MAX_HARTS, config->harts);
        return NULL;
    }
    struct aplic *a = calloc(1, sizeof *a);
    if (!a) {
        error_set(err, ENOMEM, "out of memory for the interrupt controller");
        return NULL;
    }
    device_init(&a->dev, &aplic_ops, "aplic");
    a->config = *config;
    memcpy(a->direct, config->direct,
           (size_t)config->harts * APLIC_LEVELS * sizeof *config->direct);
    a->config.direct = NULL;
    if (config->delegated)
        aplic_delegate(a);
    return &a->dev;
}
