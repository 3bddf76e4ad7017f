#include "dev/imsic.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define WORDS ((IMSIC_IDS + 1) / 64)

/* Values of eidelivery. */
enum { DELIVER_NONE = 0, DELIVER_FILE = 1, DELIVER_EXTERNAL = 0x40000000 };

/* Selected registers. */
enum { REG_DELIVERY = 0x70, REG_THRESHOLD = 0x72, REG_EIP = 0x80, REG_EIE = 0xc0, REG_END = 0x100 };

struct imsic_file {
    pthread_mutex_t lock;
    struct irq_line output;

    uint8_t external; /* level of the line from elsewhere */
    uint32_t delivery, threshold;
    uint64_t pending[WORDS], enabled[WORDS];
};

struct imsic {
    struct device dev;
    unsigned harts;
    gpa_t base[IMSIC_LEVELS];
    struct imsic_file files[IMSIC_MAX_HARTS * IMSIC_LEVELS];
};

static struct imsic *imsic_of(struct device *dev)
{
    return container_of(dev, struct imsic, dev);
}

static struct imsic_file *imsic_file(struct device *dev, unsigned hart, enum imsic_level level)
{
    return &imsic_of(dev)->files[IMSIC_LEVELS * hart + level];
}

/* ---- a file; lock held ---- */

/* The pending and enabled identity of highest priority, which is the lowest; 0: none. */
static unsigned file_best(const struct imsic_file *f)
{
    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t m = f->pending[w] & f->enabled[w];
        if (!m)
            continue;
        unsigned id = 64 * w + (unsigned)__builtin_ctzll(m);
        return !f->threshold || id < f->threshold ? id : 0;
    }
    return 0;
}

static void file_drive(struct imsic_file *f)
{
    bool level = f->delivery == DELIVER_FILE       ? file_best(f) != 0
                 : f->delivery == DELIVER_EXTERNAL ? f->external
                                                   : false;
    irq_set(&f->output, level);
}

static void file_message(struct imsic_file *f, uint32_t id)
{
    if (!id || id > IMSIC_IDS)
        return;
    pthread_mutex_lock(&f->lock);
    f->pending[id / 64] |= UINT64_C(1) << id % 64;
    file_drive(f);
    pthread_mutex_unlock(&f->lock);
}

/* eidelivery is WARL: what it does not support leaves it as it was. */
static uint32_t delivery_legal(uint32_t old, uint64_t value)
{
    bool legal = value == DELIVER_NONE || value == DELIVER_FILE || value == DELIVER_EXTERNAL;
    return legal ? (uint32_t)value : old;
}

/* Of the arrays, identity 0 does not exist. */
static uint64_t word_mask(unsigned word)
{
    return word ? UINT64_MAX : ~UINT64_C(1);
}

static bool file_array(uint64_t *array, unsigned index, uint64_t clear, uint64_t set, uint64_t *old)
{
    unsigned word = index / 2;
    if (index % 2)
        return false;
    *old = 0;
    if (word >= WORDS)
        return true;
    *old = array[word];
    array[word] = ((*old & ~clear) | set) & word_mask(word);
    return true;
}

static bool file_reg(struct imsic_file *f, unsigned select, uint64_t clear, uint64_t set,
                     uint64_t *old)
{
    if (select < REG_DELIVERY || select >= REG_END)
        return false;
    if (select >= REG_EIE)
        return file_array(f->enabled, select - REG_EIE, clear, set, old);
    if (select >= REG_EIP)
        return file_array(f->pending, select - REG_EIP, clear, set, old);
    *old = 0;
    if (select == REG_DELIVERY) {
        *old = f->delivery;
        f->delivery = delivery_legal(f->delivery, (*old & ~clear) | set);
    } else if (select == REG_THRESHOLD) {
        *old = f->threshold;
        f->threshold = (uint32_t)((*old & ~clear) | set) & IMSIC_IDS;
    }
    return true;
}

/* ---- for the harts ---- */

bool imsic_reg(struct device *dev, unsigned hart, enum imsic_level level, unsigned select,
               uint64_t clear, uint64_t set, uint64_t *old)
{
    struct imsic_file *f = imsic_file(dev, hart, level);
    pthread_mutex_lock(&f->lock);
    bool there = file_reg(f, select, clear, set, old);
    file_drive(f);
    pthread_mutex_unlock(&f->lock);
    return there;
}

uint32_t imsic_top(struct device *dev, unsigned hart, enum imsic_level level, bool claim)
{
    struct imsic_file *f = imsic_file(dev, hart, level);
    pthread_mutex_lock(&f->lock);
    unsigned id = file_best(f);
    if (claim && id) {
        f->pending[id / 64] &= ~(UINT64_C(1) << id % 64);
        file_drive(f);
    }
    pthread_mutex_unlock(&f->lock);
    return id << 16 | id;
}

/* ---- for devices ---- */

static void imsic_store(struct imsic *s, enum imsic_level level, uint64_t offset, uint64_t value)
{
    uint64_t hart = offset / IMSIC_PAGE;
    /* Little-endian writes only, so seteipnum_be is not there (section 3.5). */
    if (hart < s->harts && !(offset % IMSIC_PAGE))
        file_message(&s->files[IMSIC_LEVELS * hart + level], (uint32_t)value);
}

bool imsic_send(struct device *dev, gpa_t address, uint32_t data)
{
    struct imsic *s = imsic_of(dev);
    for (unsigned level = 0; level < IMSIC_LEVELS; level++) {
        uint64_t offset = address - s->base[level];
        if (offset / IMSIC_PAGE >= s->harts)
            continue;
        imsic_store(s, level, offset, data);
        return true;
    }
    return false;
}

static void imsic_set_external(void *ctx, unsigned number, bool level)
{
    struct imsic_file *f = &((struct imsic *)ctx)->files[number];
    pthread_mutex_lock(&f->lock);
    f->external = level;
    file_drive(f);
    pthread_mutex_unlock(&f->lock);
}

struct irq_line imsic_external(struct device *dev, unsigned hart, enum imsic_level level)
{
    return (struct irq_line){
        .set = imsic_set_external, .ctx = imsic_of(dev), .number = IMSIC_LEVELS * hart + level};
}

static uint64_t imsic_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return 0;
}

static void imsic_write_m(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)size;
    imsic_store(imsic_of(dev), IMSIC_M, offset, value);
}

static void imsic_write_s(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)size;
    imsic_store(imsic_of(dev), IMSIC_S, offset, value);
}

const struct mmio_ops imsic_mmio[IMSIC_LEVELS] = {
    [IMSIC_M] = {.read = imsic_read, .write = imsic_write_m, .sizes = 4, .unlocked = true},
    [IMSIC_S] = {.read = imsic_read, .write = imsic_write_s, .sizes = 4, .unlocked = true},
};

/* ---- reset and state ---- */

/* The lines from elsewhere belong to others and survive. */
static void imsic_reset(struct device *dev)
{
    struct imsic *s = imsic_of(dev);
    for (unsigned i = 0; i < IMSIC_LEVELS * s->harts; i++) {
        struct imsic_file *f = &s->files[i];
        pthread_mutex_lock(&f->lock);
        f->delivery = DELIVER_EXTERNAL;
        f->threshold = 0;
        memset(f->pending, 0, sizeof f->pending);
        memset(f->enabled, 0, sizeof f->enabled);
        file_drive(f);
        pthread_mutex_unlock(&f->lock);
    }
}

static const struct state_field imsic_file_fields[] = {
    STATE_FIELD(struct imsic_file, external),  STATE_FIELD(struct imsic_file, delivery),
    STATE_FIELD(struct imsic_file, threshold), STATE_ARRAY(struct imsic_file, pending),
    STATE_ARRAY(struct imsic_file, enabled),   STATE_END,
};

static const struct state_table imsic_file_state = {
    .name = "imsic_file",
    .version = 1,
    .size = sizeof(struct imsic_file),
    .fields = imsic_file_fields,
};

/* Makes every register legal, whatever the stream said. */
static int imsic_post_load(void *obj, struct error *err)
{
    struct imsic *s = obj;
    (void)err;
    for (unsigned i = 0; i < IMSIC_LEVELS * s->harts; i++) {
        struct imsic_file *f = &s->files[i];
        pthread_mutex_lock(&f->lock);
        f->external = f->external != 0;
        f->delivery = delivery_legal(DELIVER_NONE, f->delivery);
        f->threshold &= IMSIC_IDS;
        f->pending[0] &= word_mask(0);
        f->enabled[0] &= word_mask(0);
        file_drive(f);
        pthread_mutex_unlock(&f->lock);
    }
    return 0;
}

static const struct state_field imsic_fields[] = {
    STATE_STRUCTS(struct imsic, files, &imsic_file_state),
    STATE_END,
};

static const struct state_table imsic_state = {
    .name = "imsic",
    .version = 1,
    .size = sizeof(struct imsic),
    .fields = imsic_fields,
    .post_load = imsic_post_load,
};

static void imsic_free(struct device *dev)
{
    struct imsic *s = imsic_of(dev);
    for (unsigned i = 0; i < ARRAY_SIZE(s->files); i++)
        pthread_mutex_destroy(&s->files[i].lock);
    device_fini(dev);
    free(s);
}

static const struct device_ops imsic_ops = {
    .name = "imsic",
    .state = &imsic_state,
    .reset = imsic_reset,
    .free = imsic_free,
};

struct device *imsic_new(unsigned harts, const struct irq_line *outputs,
                         const gpa_t base[IMSIC_LEVELS], struct error *err)
{
    if (!harts || harts > IMSIC_MAX_HARTS) {
        error_set(err, EINVAL, "the message controller serves 1 to %u harts, not %u",
                  IMSIC_MAX_HARTS, harts);
        return NULL;
    }
    struct imsic *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ENOMEM, "out of memory for the message controller");
        return NULL;
    }
    device_init(&s->dev, &imsic_ops, "imsic");
    s->harts = harts;
    memcpy(s->base, base, sizeof s->base);
    for (unsigned i = 0; i < ARRAY_SIZE(s->files); i++) {
        pthread_mutex_init(&s->files[i].lock, NULL);
        s->files[i].delivery = DELIVER_EXTERNAL;
        if (i < IMSIC_LEVELS * harts)
            s->files[i].output = outputs[i];
    }
    return &s->dev;
}
