#include "hart_rig.h"

#include "isa/riscv64/decode.h"

#include <stdlib.h>

static uint64_t *word_at(struct rig *r, uint64_t gpa)
{
    uint64_t offset = gpa - RIG_PA;
    return offset < sizeof r->words ? &r->words[offset / 8] : NULL;
}

static uint64_t env_time(void *ctx)
{
    return ((const struct rig *)ctx)->time;
}

static void env_stimecmp_changed(struct rv_hart *h)
{
    struct rig *r = h->env.ctx;
    r->stimecmp_changes++;
}

static bool env_pte_read(void *ctx, uint64_t gpa, uint64_t *pte)
{
    const uint64_t *w = word_at(ctx, gpa);
    if (w)
        *pte = *w;
    return w;
}

static bool env_pte_swap(void *ctx, uint64_t gpa, uint64_t old, uint64_t new, bool *bus_error)
{
    struct rig *r = ctx;
    uint64_t *w = word_at(r, gpa);
    r->swaps++;
    *bus_error = !w || r->swap_bus_error;
    if (*bus_error)
        return false;
    if (r->before_swap)
        r->before_swap(r, gpa);
    if (*w != old)
        return false;
    *w = new;
    return true;
}

static bool env_imsic_reg(void *ctx, unsigned priv, unsigned select, uint64_t clear, uint64_t set,
                          uint64_t *old)
{
    struct rig *r = ctx;
    r->imsic.accesses++;
    r->imsic.priv = priv;
    r->imsic.select = select;
    r->imsic.clear = clear;
    r->imsic.set = set;
    *old = r->imsic.value;
    return !r->imsic.absent;
}

static uint64_t env_imsic_top(void *ctx, unsigned priv, bool claim)
{
    struct rig *r = ctx;
    r->imsic.priv = priv;
    r->imsic.claims += claim;
    return r->imsic.top;
}

void rig_add_imsic(struct rig *r)
{
    r->h.env.imsic_reg = env_imsic_reg;
    r->h.env.imsic_top = env_imsic_top;
}

struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->h.exts = rv_exts_closure(UINT64_MAX);
    r->h.satp_max = RV_SATP_SV57;
    r->h.hartid = 3;
    r->h.irq_lines = &r->lines;
    r->h.env = (struct rv_hart_env){.time = env_time,
                                    .stimecmp_changed = env_stimecmp_changed,
                                    .pte_read = env_pte_read,
                                    .pte_swap = env_pte_swap,
                                    .ctx = r};
    rv_hart_reset(&r->h, 0x1000);
    return r;
}

void rig_free(struct rig *r)
{
    free(r);
}

void rig_pmp_open(struct rig *r)
{
    rv_csr_poke(&r->h, 0x3bf, UINT64_MAX);
    rv_csr_poke(&r->h, 0x3a2, UINT64_C(0x1f) << 56);
}

uint64_t rig_csr_read(struct rig *r, unsigned number)
{
    uint64_t old = 0;
    unsigned effects;
    if (!rv_csr_access(&r->h, number, RV_CSR_RS, true, false, 0, &old, &effects))
        abort();
    return old;
}

void rig_csr_write(struct rig *r, unsigned number, uint64_t value)
{
    uint64_t old;
    unsigned effects;
    if (!rv_csr_access(&r->h, number, RV_CSR_RW, false, true, value, &old, &effects))
        abort();
}
