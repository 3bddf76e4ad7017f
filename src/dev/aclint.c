#include "dev/aclint.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

/* Register map of the CLINT-compatible layout, ACLINT specification chapters 2 and 3. */
#define REG_MTIMECMP UINT64_C(0x4000)
#define REG_MTIME UINT64_C(0xbff8)

struct aclint;

struct aclint_timer {
    struct aclint *owner;
    unsigned hart;
    struct clock_timer timer;
};

struct aclint {
    struct device dev;
    struct clock *clock;
    unsigned harts;
    struct irq_line msip_line[ACLINT_MAX_HARTS];
    struct irq_line mtip_line[ACLINT_MAX_HARTS];
    struct aclint_timer timers[ACLINT_MAX_HARTS];

    uint8_t msip[ACLINT_MAX_HARTS];
    uint64_t mtimecmp[ACLINT_MAX_HARTS];
    void (*moved)(void *ctx); /* mtime was written; may be NULL */
    void *moved_ctx;
    _Atomic uint64_t mtime_offset; /* mtime = ticks of the clock + this, modulo 2^64 */
};

static struct aclint *aclint_of(struct device *dev)
{
    return container_of(dev, struct aclint, dev);
}

static uint64_t aclint_ticks(const struct aclint *a)
{
    return clock_ns(a->clock) / ACLINT_NS_PER_TICK;
}

/* Guest time at which the clock has counted `wait` ticks more than `ticks`. */
static uint64_t aclint_deadline(uint64_t ticks, uint64_t wait)
{
    uint64_t target, ns;
    if (__builtin_add_overflow(ticks, wait, &target) ||
        __builtin_mul_overflow(target, ACLINT_NS_PER_TICK, &ns))
        return CLOCK_NEVER;
    return ns;
}

/*
 * Drives a hart's timer line and asks to be called when it changes next: when mtime reaches
 * mtimecmp, or, when it is beyond, when mtime wraps around to 0.
 */
static void aclint_update_timer(struct aclint *a, unsigned hart)
{
    uint64_t ticks = aclint_ticks(a);
    uint64_t mtime = ticks + a->mtime_offset;
    uint64_t cmp = a->mtimecmp[hart];
    bool due = mtime >= cmp;
    uint64_t wait = (due ? 0 : cmp) - mtime;
    uint64_t deadline = due && !cmp ? CLOCK_NEVER : aclint_deadline(ticks, wait);
    clock_timer_set(a->clock, &a->timers[hart].timer, deadline);
    irq_set(&a->mtip_line[hart], due);
}

static void aclint_timer_fire(void *ctx)
{
    struct aclint_timer *t = ctx;
    pthread_mutex_lock(&t->owner->dev.lock);
    aclint_update_timer(t->owner, t->hart);
    pthread_mutex_unlock(&t->owner->dev.lock);
}

static void aclint_update_all(struct aclint *a)
{
    for (unsigned i = 0; i < a->harts; i++) {
        irq_set(&a->msip_line[i], a->msip[i]);
        aclint_update_timer(a, i);
    }
}

/* `value` with the bytes at `offset` (0 or 4 for size 4) of the old 64-bit register replaced. */
static uint64_t aclint_merge(uint64_t old, uint64_t offset, unsigned size, uint64_t value)
{
    return size == 8 ? value : bits_set(old, (unsigned)(offset & 4) * 8, 32, value);
}

static uint64_t aclint_part(uint64_t reg, uint64_t offset)
{
    return reg >> (offset & 4) * 8;
}

static uint64_t aclint_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct aclint *a = aclint_of(dev);
    if (offset >= REG_MTIME)
        return offset < REG_MTIME + 8 ? aclint_part(aclint_ticks(a) + a->mtime_offset, offset) : 0;
    if (offset >= REG_MTIMECMP) {
        uint64_t hart = (offset - REG_MTIMECMP) / 8;
        return hart < a->harts ? aclint_part(a->mtimecmp[hart], offset) : 0;
    }
    uint64_t hart = offset / 4;
    uint64_t v = hart < a->harts ? a->msip[hart] : 0;
    if (size == 8 && hart + 1 < a->harts)
        v |= (uint64_t)a->msip[hart + 1] << 32;
    return v;
}

static void aclint_write_msip(struct aclint *a, uint64_t hart, uint64_t value)
{
    if (hart >= a->harts)
        return;
    a->msip[hart] = value & 1;
    irq_set(&a->msip_line[hart], value & 1);
}

static void aclint_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct aclint *a = aclint_of(dev);
    if (offset >= REG_MTIME) {
        if (offset >= REG_MTIME + 8)
            return;
        uint64_t ticks = aclint_ticks(a);
        a->mtime_offset = aclint_merge(ticks + a->mtime_offset, offset, size, value) - ticks;
        if (a->moved)
            a->moved(a->moved_ctx);
        for (unsigned i = 0; i < a->harts; i++)
            aclint_update_timer(a, i);
    } else if (offset >= REG_MTIMECMP) {
        uint64_t hart = (offset - REG_MTIMECMP) / 8;
        if (hart >= a->harts)
            return;
        a->mtimecmp[hart] = aclint_merge(a->mtimecmp[hart], offset, size, value);
        aclint_update_timer(a, (unsigned)hart);
    } else {
        aclint_write_msip(a, offset / 4, value);
        if (size == 8)
            aclint_write_msip(a, offset / 4 + 1, value >> 32);
    }
}

const struct mmio_ops aclint_mmio = {.read = aclint_read, .write = aclint_write, .sizes = 4 | 8};

/* mtimecmp is undefined after reset by the specification; all ones keeps the timers quiet. */
static void aclint_clear(struct aclint *a)
{
    memset(a->msip, 0, sizeof a->msip);
    memset(a->mtimecmp, 0xff, sizeof a->mtimecmp);
    a->mtime_offset = 0;
}

static void aclint_reset(struct device *dev)
{
    struct aclint *a = aclint_of(dev);
    aclint_clear(a);
    aclint_update_all(a);
}

static int aclint_post_load(void *obj, struct error *err)
{
    struct aclint *a = obj;
    (void)err;
    for (unsigned i = 0; i < ACLINT_MAX_HARTS; i++)
        a->msip[i] &= 1;
    aclint_update_all(a);
    return 0;
}

static const struct state_field aclint_fields[] = {
    STATE_ARRAY(struct aclint, msip),
    STATE_ARRAY(struct aclint, mtimecmp),
    STATE_FIELD(struct aclint, mtime_offset),
    STATE_END,
};

static const struct state_table aclint_state = {
    .name = "aclint",
    .version = 1,
    .size = sizeof(struct aclint),
    .fields = aclint_fields,
    .post_load = aclint_post_load,
};

static void aclint_free(struct device *dev)
{
    struct aclint *a = aclint_of(dev);
    for (unsigned i = 0; i < a->harts; i++)
        clock_timer_cancel(a->clock, &a->timers[i].timer);
    device_fini(dev);
    free(a);
}

static const struct device_ops aclint_ops = {
    .name = "aclint",
    .state = &aclint_state,
    .reset = aclint_reset,
    .free = aclint_free,
};

struct device *aclint_new(struct clock *clock, unsigned harts, const struct irq_line *msip,
                          const struct irq_line *mtip, struct error *err)
{
    if (!harts || harts > ACLINT_MAX_HARTS) {
        error_set(err, EINVAL, "the timer device serves 1 to %u harts, not %u", ACLINT_MAX_HARTS,
                  harts);
        return NULL;
    }
    struct aclint *a = calloc(1, sizeof *a);
    if (!a) {
        error_set(err, ENOMEM, "out of memory for the timer device");
        return NULL;
    }
    device_init(&a->dev, &aclint_ops, "aclint");
    a->clock = clock;
    a->harts = harts;
    memcpy(a->msip_line, msip, harts * sizeof *msip);
    memcpy(a->mtip_line, mtip, harts * sizeof *mtip);
    for (unsigned i = 0; i < harts; i++) {
        a->timers[i] = (struct aclint_timer){.owner = a, .hart = i};
        clock_timer_init(&a->timers[i].timer, aclint_timer_fire, &a->timers[i]);
    }
    aclint_clear(a);
    return &a->dev;
}

uint64_t aclint_offset(struct device *aclint)
{
    return container_of(aclint, struct aclint, dev)->mtime_offset;
}

void aclint_set_moved(struct device *aclint, void (*moved)(void *ctx), void *ctx)
{
    struct aclint *a = container_of(aclint, struct aclint, dev);
    a->moved = moved;
    a->moved_ctx = ctx;
}
