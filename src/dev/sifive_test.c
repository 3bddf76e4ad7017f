#include "dev/sifive_test.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define FINISHER_FAIL 0x3333u
#define FINISHER_PASS 0x5555u
#define FINISHER_RESET 0x7777u

struct sifive_test {
    struct device dev;
    void (*event)(void *ctx, enum power_event what, unsigned code);
    void *ctx;
};

static struct sifive_test *sifive_test_of(struct device *dev)
{
    return container_of(dev, struct sifive_test, dev);
}

static uint64_t sifive_test_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    (void)offset;
    (void)size;
    return 0;
}

static void sifive_test_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct sifive_test *t = sifive_test_of(dev);
    (void)size;
    if (offset)
        return;
    switch (value & 0xffff) {
    case FINISHER_PASS:
        t->event(t->ctx, POWER_OFF, 0);
        break;
    case FINISHER_FAIL:
        t->event(t->ctx, POWER_FAIL, (unsigned)bits_get(value, 16, 16));
        break;
    case FINISHER_RESET:
        t->event(t->ctx, POWER_RESET, 0);
        break;
    }
}

const struct mmio_ops sifive_test_mmio = {
    .read = sifive_test_read,
    .write = sifive_test_write,
    .sizes = 2 | 4,
};

static void sifive_test_reset(struct device *dev)
{
    (void)dev;
}

static const struct state_field sifive_test_fields[] = {
    STATE_END,
};

static const struct state_table sifive_test_state = {
    .name = "sifive_test",
    .version = 1,
    .size = sizeof(struct sifive_test),
    .fields = sifive_test_fields,
};

static void sifive_test_free(struct device *dev)
{
    device_fini(dev);
    free(sifive_test_of(dev));
}

static const struct device_ops sifive_test_ops = {
    .name = "sifive_test",
    .state = &sifive_test_state,
    .reset = sifive_test_reset,
    .free = sifive_test_free,
};

struct device *sifive_test_new(void (*event)(void *ctx, enum power_event what, unsigned code),
                               void *ctx, struct error *err)
{
    struct sifive_test *t = calloc(1, sizeof *t);
    if (!t) {
        error_set(err, ENOMEM, "out of memory for the power device");
        return NULL;
    }
    device_init(&t->dev, &sifive_test_ops, "power");
    t->event = event;
    t->ctx = ctx;
    return &t->dev;
}
