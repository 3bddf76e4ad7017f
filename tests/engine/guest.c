#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"

#include "engine/interp/interp.h"
#include "isa/riscv64/decode.h"

static uint64_t device_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct guest_device *d = (struct guest_device *)dev;
    d->reads++;
    d->offset = offset;
    d->size = size;
    return GUEST_REG(offset);
}

static void device_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct guest_device *d = (struct guest_device *)dev;
    d->writes++;
    d->offset = offset;
    d->size = size;
    d->value = value;
}

static const struct mmio_ops any_ops = {
    .read = device_read, .write = device_write, .sizes = 1 | 2 | 4 | 8};
static const struct mmio_ops only32_ops = {.read = device_read, .write = device_write, .sizes = 4};

static uint64_t guest_time(void *ctx)
{
    const struct vcpu *v = ctx;
    return clock_ns(v->clock) / 100;
}

static void guest_stimecmp_changed(struct rv_hart *h)
{
    (void)h;
}

struct guest *guest_new(void)
{
    return guest_new_on(&engine_interp);
}

struct guest *guest_new_on(const struct engine_ops *engine)
{
    struct guest *g = calloc(1, sizeof *g);
    struct error err;
    assert_non_null(g);
    g->mem = addrspace_new(&err);
    assert_non_null(g->mem);
    assert_int_equal(addrspace_add_ram(g->mem, GUEST_RAM, GUEST_RAM_SIZE, &err), 0);
    assert_int_equal(addrspace_add_rom(g->mem, GUEST_ROM, 0x1000, &err), 0);
    device_init(&g->any.dev, NULL, "any");
    device_init(&g->only32.dev, NULL, "only32");
    assert_int_equal(addrspace_add_mmio(g->mem, GUEST_MMIO, 0x1000, &any_ops, &g->any.dev, &err),
                     0);
    assert_int_equal(
        addrspace_add_mmio(g->mem, GUEST_MMIO32, 0x1000, &only32_ops, &g->only32.dev, &err), 0);
    clock_init(&g->clock, true);
    vcpu_init(&g->v, 0, g->mem, &g->clock);
    g->v.arch = &g->h;
    g->v.engine = engine;
    g->h.exts = rv_exts_closure(UINT64_MAX);
    g->h.satp_max = RV_SATP_SV57;
    g->h.irq_lines = &g->v.irq_lines;
    g->h.env = (struct rv_hart_env){.time = guest_time, .stimecmp_changed = guest_stimecmp_changed};
    rv_hart_reset(&g->h, GUEST_RAM);
    assert_int_equal(engine->attach(&g->v, &err), 0);
    rv_csr_poke(&g->h, 0x3bf, UINT64_MAX);
    rv_csr_poke(&g->h, 0x3a2, UINT64_C(0x1f) << 56);
    rv_csr_poke(&g->h, 0x305, GUEST_TRAP);
    return g;
}

void guest_free(struct guest *g)
{
    g->v.engine->detach(&g->v);
    addrspace_free(g->mem);
    clock_fini(&g->clock);
    device_fini(&g->any.dev);
    device_fini(&g->only32.dev);
    free(g);
}

void *guest_ptr(struct guest *g, gpa_t gpa)
{
    void *p = addrspace_ram(g->mem, gpa, 8);
    assert_non_null(p);
    return p;
}

void guest_code(struct guest *g, gpa_t at, const uint32_t *code, unsigned count)
{
    assert_true(addrspace_load(g->mem, at, code, count * sizeof *code));
    g->v.engine->fence_i(&g->v);
}

enum vcpu_exit guest_run(struct guest *g, gva_t pc, uint64_t n)
{
    g->h.pc = pc;
    return g->v.engine->run(&g->v, n);
}

void guest_steps(struct guest *g, uint64_t n)
{
    uint64_t before = g->h.icount;
    assert_int_equal(g->v.engine->run(&g->v, n), VCPU_EXIT_LIMIT);
    assert_int_equal(g->h.icount - before, n);
}

void guest_expect_trap(struct guest *g, gva_t pc, unsigned cause, uint64_t tval)
{
    g->h.mcause = g->h.mtval = g->h.mepc = 0x5555;
    g->h.pc = pc;
    guest_steps(g, 1);
    assert_int_equal(g->h.mcause, cause);
    assert_int_equal(g->h.mtval, tval);
    assert_int_equal(g->h.mepc, pc);
    assert_int_equal(g->h.pc, GUEST_TRAP);
    assert_int_equal(g->h.priv, RV_PRIV_M);
}

void guest_sv39(struct guest *g)
{
    uint64_t *root = guest_ptr(g, GUEST_TABLES);
    memset(root, 0, 0x10000);
    root[2] = PTE_OF(GUEST_RAM, PTE_RWXAD);
    rv_csr_poke(&g->h, 0x180, UINT64_C(8) << 60 | GUEST_TABLES >> 12);
    g->h.priv = RV_PRIV_S;
    rv_tlb_flush(&g->h);
    rv_hart_view_changed(&g->h);
}

/* The two lower tables of a gigabyte follow the root: pages 1 and 2 for gigabyte 0, 3 and 4 for
 * gigabyte 511; one table of pages for each, so all addresses must lie in the same 2 MiB. */
uint64_t *guest_map(struct guest *g, gva_t va, gpa_t gpa, unsigned flags)
{
    uint64_t *root = guest_ptr(g, GUEST_TABLES);
    unsigned giga = va >> 30 & 511, first = giga ? 3 : 1;
    root[giga] = PTE_OF(GUEST_TABLES + first * 4096, PTE_V);
    root[first * 512 + (va >> 21 & 511)] = PTE_OF(GUEST_TABLES + (first + 1) * 4096, PTE_V);
    uint64_t *pte = &root[(first + 1) * 512 + (va >> 12 & 511)];
    *pte = PTE_OF(gpa, flags);
    return pte;
}
