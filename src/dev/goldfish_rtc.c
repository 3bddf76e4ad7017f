#include "dev/goldfish_rtc.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

enum {
    REG_TIME_LOW = 0x00,  /* a read latches the high half */
    REG_TIME_HIGH = 0x04, /* the latched half */
    REG_ALARM_LOW = 0x08, /* a write arms the alarm */
    REG_ALARM_HIGH = 0x0c,
    REG_IRQ_ENABLED = 0x10,
    REG_CLEAR_ALARM = 0x14,
    REG_ALARM_STATUS = 0x18,
    REG_CLEAR_INTERRUPT = 0x1c,
};

struct goldfish_rtc {
    struct device dev;
    struct clock *clock;
    struct irq_line irq;
    struct clock_timer timer;

    uint64_t offset;     /* time of day minus guest time, modulo 2^64 */
    uint64_t alarm;      /* time of day */
    uint32_t alarm_high; /* takes effect with a write of the low half */
    uint32_t time_high;
    uint8_t alarm_armed;
    uint8_t irq_pending;
    uint8_t irq_enabled;
};

static struct goldfish_rtc *goldfish_rtc_of(struct device *dev)
{
    return container_of(dev, struct goldfish_rtc, dev);
}

static uint64_t goldfish_rtc_now(const struct goldfish_rtc *r)
{
    return clock_ns(r->clock) + r->offset;
}

static void goldfish_rtc_update_irq(struct goldfish_rtc *r)
{
    irq_set(&r->irq, r->irq_pending && r->irq_enabled);
}

/* Asks to be called when the alarm's time comes, at once if it has come. */
static void goldfish_rtc_arm(struct goldfish_rtc *r)
{
    uint64_t deadline = CLOCK_NEVER;
    if (r->alarm_armed) {
        uint64_t ns = clock_ns(r->clock);
        uint64_t now = ns + r->offset;
        uint64_t wait = r->alarm > now ? r->alarm - now : 0;
        if (__builtin_add_overflow(ns, wait, &deadline))
            deadline = CLOCK_NEVER;
    }
    clock_timer_set(r->clock, &r->timer, deadline);
}

/* Rings if the alarm's time has come, else waits for it. */
static void goldfish_rtc_check_alarm(struct goldfish_rtc *r)
{
    if (r->alarm_armed && r->alarm <= goldfish_rtc_now(r)) {
        r->alarm_armed = 0;
        r->irq_pending = 1;
    }
    goldfish_rtc_arm(r);
    goldfish_rtc_update_irq(r);
}

static void goldfish_rtc_fire(void *ctx)
{
    struct goldfish_rtc *r = ctx;
    pthread_mutex_lock(&r->dev.lock);
    goldfish_rtc_check_alarm(r);
    pthread_mutex_unlock(&r->dev.lock);
}

static uint64_t goldfish_rtc_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct goldfish_rtc *r = goldfish_rtc_of(dev);
    uint64_t now;
    (void)size;
    switch (offset) {
    case REG_TIME_LOW:
        now = goldfish_rtc_now(r);
        r->time_high = (uint32_t)(now >> 32);
        return (uint32_t)now;
    case REG_TIME_HIGH:
        return r->time_high;
    case REG_ALARM_LOW:
        return (uint32_t)r->alarm;
    case REG_ALARM_HIGH:
        return r->alarm_high;
    case REG_IRQ_ENABLED:
        return r->irq_enabled;
    case REG_ALARM_STATUS:
        return r->alarm_armed;
    default:
        return 0;
    }
}

static void goldfish_rtc_set_time(struct goldfish_rtc *r, unsigned lo, uint64_t half)
{
    uint64_t now = goldfish_rtc_now(r);
    r->offset += bits_set(now, lo, 32, half) - now;
    goldfish_rtc_check_alarm(r);
}

static void goldfish_rtc_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct goldfish_rtc *r = goldfish_rtc_of(dev);
    (void)size;
    switch (offset) {
    case REG_TIME_LOW:
        goldfish_rtc_set_time(r, 0, value);
        break;
    case REG_TIME_HIGH:
        goldfish_rtc_set_time(r, 32, value);
        break;
    case REG_ALARM_LOW:
        r->alarm = (uint64_t)r->alarm_high << 32 | (uint32_t)value;
        r->alarm_armed = 1;
        goldfish_rtc_check_alarm(r);
        break;
    case REG_ALARM_HIGH:
        r->alarm_high = (uint32_t)value;
        break;
    case REG_IRQ_ENABLED:
        r->irq_enabled = value & 1;
        goldfish_rtc_update_irq(r);
        break;
    case REG_CLEAR_ALARM:
        r->alarm_armed = 0;
        goldfish_rtc_check_alarm(r);
        break;
    case REG_CLEAR_INTERRUPT:
        r->irq_pending = 0;
        goldfish_rtc_update_irq(r);
        break;
    }
}

const struct mmio_ops goldfish_rtc_mmio = {
    .read = goldfish_rtc_read,
    .write = goldfish_rtc_write,
    .sizes = 4,
};

static void goldfish_rtc_reset(struct device *dev)
{
    struct goldfish_rtc *r = goldfish_rtc_of(dev);
    r->alarm = 0;
    r->alarm_high = 0;
    r->time_high = 0;
    r->alarm_armed = 0;
    r->irq_pending = 0;
    r->irq_enabled = 0;
    goldfish_rtc_check_alarm(r);
}

static int goldfish_rtc_post_load(void *obj, struct error *err)
{
    struct goldfish_rtc *r = obj;
    (void)err;
    r->alarm_armed &= 1;
    r->irq_pending &= 1;
    r->irq_enabled &= 1;
    goldfish_rtc_arm(r);
    goldfish_rtc_update_irq(r);
    return 0;
}

static const struct state_field goldfish_rtc_fields[] = {
    STATE_FIELD(struct goldfish_rtc, offset),      STATE_FIELD(struct goldfish_rtc, alarm),
    STATE_FIELD(struct goldfish_rtc, alarm_high),  STATE_FIELD(struct goldfish_rtc, time_high),
    STATE_FIELD(struct goldfish_rtc, alarm_armed), STATE_FIELD(struct goldfish_rtc, irq_pending),
    STATE_FIELD(struct goldfish_rtc, irq_enabled), STATE_END,
};

static const struct state_table goldfish_rtc_state = {
    .name = "goldfish_rtc",
    .version = 1,
    .size = sizeof(struct goldfish_rtc),
    .fields = goldfish_rtc_fields,
    .post_load = goldfish_rtc_post_load,
};

static void goldfish_rtc_free(struct device *dev)
{
    struct goldfish_rtc *r = goldfish_rtc_of(dev);
    clock_timer_cancel(r->clock, &r->timer);
    device_fini(dev);
    free(r);
}

static const struct device_ops goldfish_rtc_ops = {
    .name = "goldfish_rtc",
    .state = &goldfish_rtc_state,
    .reset = goldfish_rtc_reset,
    .free = goldfish_rtc_free,
};

struct device *goldfish_rtc_new(struct clock *clock, uint64_t epoch_ns, struct irq_line irq,
                                struct error *err)
{
    struct goldfish_rtc *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(err, ENOMEM, "out of memory for the real-time clock");
        return NULL;
    }
    device_init(&r->dev, &goldfish_rtc_ops, "rtc");
    r->clock = clock;
    r->irq = irq;
    r->offset = epoch_ns;
    clock_timer_init(&r->timer, goldfish_rtc_fire, r);
    return &r->dev;
}
