#include "dev/plic.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define WORDS (PLIC_SOURCES / 32)
#define MAX_CONTEXTS (2 * PLIC_MAX_HARTS)

/* Register map, PLIC specification chapter 3. */
#define REG_PENDING UINT64_C(0x1000)
#define REG_ENABLE UINT64_C(0x2000)
#define ENABLE_STRIDE 0x80u
#define REG_CONTEXT UINT64_C(0x200000)
#define CONTEXT_STRIDE 0x1000u
#define CONTEXT_THRESHOLD 0u
#define CONTEXT_CLAIM 4u

struct plic {
    struct device dev;
    unsigned contexts;
    struct irq_line outputs[MAX_CONTEXTS];

    uint8_t priority[PLIC_SOURCES];
    uint32_t level[WORDS];   /* of the input lines */
    uint32_t pending[WORDS]; /* IP */
    uint32_t claimed[WORDS]; /* handed out, not completed */
    uint32_t enable[MAX_CONTEXTS * WORDS];
    uint8_t threshold[MAX_CONTEXTS];
};

static struct plic *plic_of(struct device *dev)
{
    return container_of(dev, struct plic, dev);
}

/*
 * The enabled pending source of highest priority above `floor`, the lowest number among equals;
 * 0 if there is none.
 */
static unsigned plic_best(const struct plic *p, unsigned context, unsigned floor)
{
    unsigned best = 0, best_priority = floor;
    for (unsigned w = 0; w < WORDS; w++)
        for (uint32_t m = p->pending[w] & p->enable[context * WORDS + w]; m; m &= m - 1) {
            unsigned source = 32 * w + (unsigned)__builtin_ctz(m);
            if (p->priority[source] > best_priority) {
                best = source;
                best_priority = p->priority[source];
            }
        }
    return best;
}

static void plic_update_context(struct plic *p, unsigned context)
{
    irq_set(&p->outputs[context], plic_best(p, context, p->threshold[context]) != 0);
}

static void plic_update(struct plic *p)
{
    for (unsigned c = 0; c < p->contexts; c++)
        plic_update_context(p, c);
}

/* The gateways: high lines that are neither claimed nor pending become pending. */
static void plic_run_gateway(struct plic *p, unsigned word)
{
    p->pending[word] |= p->level[word] & ~p->claimed[word];
}

static void plic_set_input(void *ctx, unsigned source, bool level)
{
    struct plic *p = ctx;
    unsigned w = source / 32;
    uint32_t bit = UINT32_C(1) << source % 32;
    pthread_mutex_lock(&p->dev.lock);
    p->level[w] = level ? p->level[w] | bit : p->level[w] & ~bit;
    uint32_t before = p->pending[w];
    plic_run_gateway(p, w);
    if (p->pending[w] != before)
        plic_update(p);
    pthread_mutex_unlock(&p->dev.lock);
}

struct irq_line plic_input(struct device *plic, unsigned source)
{
    return (struct irq_line){.set = plic_set_input, .ctx = plic_of(plic), .number = source};
}

/* A claim does not look at the threshold (PLIC specification, chapter 7). */
static uint32_t plic_claim(struct plic *p, unsigned context)
{
    unsigned source = plic_best(p, context, 0);
    if (!source)
        return 0;
    uint32_t bit = UINT32_C(1) << source % 32;
    p->pending[source / 32] &= ~bit;
    p->claimed[source / 32] |= bit;
    plic_update(p);
    return source;
}

/* A completion of a source that is not enabled for the context is ignored (chapter 8). */
static void plic_complete(struct plic *p, unsigned context, uint32_t source)
{
    if (source >= PLIC_SOURCES)
        return;
    unsigned w = source / 32;
    uint32_t bit = UINT32_C(1) << source % 32;
    if (!(p->enable[context * WORDS + w] & p->claimed[w] & bit))
        return;
    p->claimed[w] &= ~bit;
    plic_run_gateway(p, w);
    plic_update(p);
}

static uint64_t plic_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct plic *p = plic_of(dev);
    (void)size;
    if (offset >= REG_CONTEXT) {
        uint64_t context = (offset - REG_CONTEXT) / CONTEXT_STRIDE;
        if (context >= p->contexts)
            return 0;
        switch (offset % CONTEXT_STRIDE) {
        case CONTEXT_THRESHOLD:
            return p->threshold[context];
        case CONTEXT_CLAIM:
            return plic_claim(p, (unsigned)context);
        default:
            return 0;
        }
    }
    if (offset >= REG_ENABLE) {
        uint64_t context = (offset - REG_ENABLE) / ENABLE_STRIDE;
        uint64_t w = offset % ENABLE_STRIDE / 4;
        return context < p->contexts && w < WORDS ? p->enable[context * WORDS + w] : 0;
    }
    if (offset >= REG_PENDING) {
        uint64_t w = (offset - REG_PENDING) / 4;
        return w < WORDS ? p->pending[w] : 0;
    }
    return offset / 4 < PLIC_SOURCES ? p->priority[offset / 4] : 0;
}

static void plic_write_context(struct plic *p, unsigned context, uint64_t reg, uint32_t value)
{
    switch (reg) {
    case CONTEXT_THRESHOLD:
        p->threshold[context] = value & PLIC_MAX_PRIORITY;
        plic_update_context(p, context);
        break;
    case CONTEXT_CLAIM:
        plic_complete(p, context, value);
        break;
    }
}

static void plic_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct plic *p = plic_of(dev);
    (void)size;
    if (offset >= REG_CONTEXT) {
        uint64_t context = (offset - REG_CONTEXT) / CONTEXT_STRIDE;
        if (context < p->contexts)
            plic_write_context(p, (unsigned)context, offset % CONTEXT_STRIDE, (uint32_t)value);
    } else if (offset >= REG_ENABLE) {
        uint64_t context = (offset - REG_ENABLE) / ENABLE_STRIDE;
        uint64_t w = offset % ENABLE_STRIDE / 4;
        if (context >= p->contexts || w >= WORDS)
            return;
        p->enable[context * WORDS + w] = (uint32_t)value & (w ? ~UINT32_C(0) : ~UINT32_C(1));
        plic_update_context(p, (unsigned)context);
    } else if (offset < REG_PENDING && offset / 4 < PLIC_SOURCES && offset) {
        p->priority[offset / 4] = value & PLIC_MAX_PRIORITY;
        plic_update(p);
    }
}

const struct mmio_ops plic_mmio = {.read = plic_read, .write = plic_write, .sizes = 4};

/* The lines' levels belong to the other devices and survive; the gateways see them anew. */
static void plic_reset(struct device *dev)
{
    struct plic *p = plic_of(dev);
    memset(p->priority, 0, sizeof p->priority);
    memset(p->pending, 0, sizeof p->pending);
    memset(p->claimed, 0, sizeof p->claimed);
    memset(p->enable, 0, sizeof p->enable);
    memset(p->threshold, 0, sizeof p->threshold);
    for (unsigned w = 0; w < WORDS; w++)
        plic_run_gateway(p, w);
    plic_update(p);
}

/* Makes every register legal, whatever the stream said. */
static int plic_post_load(void *obj, struct error *err)
{
    struct plic *p = obj;
    (void)err;
    for (unsigned i = 0; i < PLIC_SOURCES; i++)
        p->priority[i] &= PLIC_MAX_PRIORITY;
    p->priority[0] = 0;
    p->level[0] &= ~UINT32_C(1);
    p->pending[0] &= ~UINT32_C(1);
    p->claimed[0] &= ~UINT32_C(1);
    for (unsigned c = 0; c < MAX_CONTEXTS; c++) {
        p->threshold[c] &= PLIC_MAX_PRIORITY;
        p->enable[c * WORDS] &= ~UINT32_C(1);
    }
    plic_update(p);
    return 0;
}

static const struct state_field plic_fields[] = {
    STATE_ARRAY(struct plic, priority),
    STATE_ARRAY(struct plic, level),
    STATE_ARRAY(struct plic, pending),
    STATE_ARRAY(struct plic, claimed),
    STATE_ARRAY(struct plic, enable),
    STATE_ARRAY(struct plic, threshold),
    STATE_END,
};

static const struct state_table plic_state = {
    .name = "plic",
    .version = 1,
    .size = sizeof(struct plic),
    .fields = plic_fields,
    .post_load = plic_post_load,
};

static void plic_free(struct device *dev)
{
    device_fini(dev);
    free(plic_of(dev));
}

static const struct device_ops plic_ops = {
    .name = "plic",
    .state = &plic_state,
    .reset = plic_reset,
    .free = plic_free,
};

struct device *plic_new(unsigned harts, const struct irq_line *outputs, struct error *err)
{
    if (!harts || harts > PLIC_MAX_HARTS) {
        error_set(err, EINVAL, "the interrupt controller serves 1 to %u harts, not %u",
                  PLIC_MAX_HARTS, harts);
        return NULL;
    }
    struct plic *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ENOMEM, "out of memory for the interrupt controller");
        return NULL;
    }
    device_init(&p->dev, &plic_ops, "plic");
    p->contexts = 2 * harts;
    memcpy(p->outputs, outputs, p->contexts * sizeof *outputs);
    return &p->dev;
}
