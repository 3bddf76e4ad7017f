/*
 * Interrupt controllers of the board `virt`: a PLIC, or with AIA an APLIC in front of an IMSIC per
 * hart, to which devices on PCI send messages themselves. Without firmware the machine-level half
 * of the latter is guise's own: it is not in memory, and is set up as firmware would.
 */
#include "machine/virt_internal.h"

#include "base/bits.h"
#include "dev/aclint.h"
#include "dev/aplic.h"
#include "dev/plic.h"

static const gpa_t imsic_base[IMSIC_LEVELS] = {[IMSIC_M] = VIRT_IMSIC_M, [IMSIC_S] = VIRT_IMSIC_S};

struct irq_line virt_irq(const struct virt *virt, unsigned source)
{
    return virt->aplic ? aplic_input(virt->aplic, source) : plic_input(virt->plic, source);
}

/* The harts' external interrupts, machine and supervisor level of each. */
static void external_lines(struct virt *virt, struct irq_line lines[2 * VIRT_MAX_CPUS])
{
    struct machine *m = &virt->m;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        lines[(size_t)2 * i] = vcpu_irq_line(&m->vcpus[i], RV_IRQ_MEI);
        lines[(size_t)2 * i + 1] = vcpu_irq_line(&m->vcpus[i], RV_IRQ_SEI);
    }
}

static int add_plic(struct virt *virt, struct error *err)
{
    struct irq_line external[2 * VIRT_MAX_CPUS];
    external_lines(virt, external);
    virt->plic = plic_new(virt->m.vcpu_count, external, err);
    return virt_add(virt, virt->plic, VIRT_PLIC, PLIC_SIZE, &plic_mmio, err);
}

/* ---- AIA ---- */

static struct device *hart_imsic(const struct vcpu *v)
{
    const struct virt_hart *vh = container_of(v->arch, struct virt_hart, hart);
    return container_of(vh->machine, struct virt, m)->imsic;
}

static bool hart_imsic_reg(void *ctx, unsigned priv, unsigned select, uint64_t clear, uint64_t set,
                           uint64_t *old)
{
    const struct vcpu *v = ctx;
    return imsic_reg(hart_imsic(v), v->index, priv == RV_PRIV_M ? IMSIC_M : IMSIC_S, select, clear,
                     set, old);
}

static uint64_t hart_imsic_top(void *ctx, unsigned priv, bool claim)
{
    const struct vcpu *v = ctx;
    return imsic_top(hart_imsic(v), v->index, priv == RV_PRIV_M ? IMSIC_M : IMSIC_S, claim);
}

/* Messages go to interrupt files, or are plain writes to RAM; other devices they do not reach. */
static void board_msi(void *ctx, uint64_t address, uint32_t data)
{
    struct virt *virt = ctx;
    if (!imsic_send(virt->imsic, address, data) && !(address & 3) &&
        addrspace_ram(virt->m.mem, address, sizeof data))
        addrspace_write(virt->m.mem, address, sizeof data, data);
}

struct msi_sink virt_msi(struct virt *virt)
{
    return virt->imsic ? (struct msi_sink){.send = board_msi, .ctx = virt} : (struct msi_sink){0};
}

/* A power of two of pages: those behind the last hart's read 0 (AIA 3.6). */
uint64_t virt_imsic_size(const struct virt *virt)
{
    uint64_t size = IMSIC_PAGE;
    while (size < IMSIC_PAGE * virt->m.vcpu_count)
        size *= 2;
    return size;
}

/* The registers of a device that has a region per level; without firmware the first is hidden. */
static int add_levels(struct virt *virt, struct device *dev, const gpa_t base[2], uint64_t size,
                      const struct mmio_ops ops[2], struct error *err)
{
    int rc = virt_add(virt, dev, base[1], size, &ops[1], err);
    if (!rc && !virt->has_sbi)
        rc = addrspace_add_mmio(virt->m.mem, base[0], size, &ops[0], dev, err);
    return rc;
}

static int add_aplic(struct virt *virt, struct error *err)
{
    static const gpa_t base[APLIC_LEVELS] = {[APLIC_M] = VIRT_APLIC_M, [APLIC_S] = VIRT_APLIC_S};
    struct irq_line direct[2 * VIRT_MAX_CPUS];
    for (unsigned i = 0; i < virt->m.vcpu_count; i++)
        for (unsigned level = 0; level < IMSIC_LEVELS; level++)
            direct[IMSIC_LEVELS * i + level] = imsic_external(virt->imsic, i, level);
    const struct aplic_config config = {
        .harts = virt->m.vcpu_count,
        .direct = direct,
        .msi = virt_msi(virt),
        .files = {[APLIC_M] = VIRT_IMSIC_M, [APLIC_S] = VIRT_IMSIC_S},
        .delegated = virt->has_sbi,
    };
    virt->aplic = aplic_new(&config, err);
    return add_levels(virt, virt->aplic, base, APLIC_SIZE, aplic_mmio, err);
}

static int add_aia(struct virt *virt, struct error *err)
{
    struct machine *m = &virt->m;
    struct irq_line external[2 * VIRT_MAX_CPUS];
    external_lines(virt, external);
    virt->imsic = imsic_new(m->vcpu_count, external, imsic_base, err);
    int rc = add_levels(virt, virt->imsic, imsic_base, virt_imsic_size(virt), imsic_mmio, err);
    for (unsigned i = 0; !rc && i < m->vcpu_count; i++) {
        virt->harts[i].hart.env.imsic_reg = hart_imsic_reg;
        virt->harts[i].hart.env.imsic_top = hart_imsic_top;
    }
    return rc ? rc : add_aplic(virt, err);
}

/* ---- all of it ---- */

static int add_aclint(struct virt *virt, struct error *err)
{
    struct machine *m = &virt->m;
    struct irq_line msip[VIRT_MAX_CPUS], mtip[VIRT_MAX_CPUS];
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        msip[i] = vcpu_irq_line(&m->vcpus[i], RV_IRQ_MSI);
        mtip[i] = vcpu_irq_line(&m->vcpus[i], RV_IRQ_MTI);
    }
    virt->aclint = aclint_new(&m->clock, m->vcpu_count, msip, mtip, err);
    if (virt->aclint)
        aclint_set_moved(virt->aclint, virt_time_moved, m);
    return virt_add(virt, virt->aclint, VIRT_CLINT, ACLINT_SIZE, &aclint_mmio, err);
}

int virt_irqchips(struct virt *virt, struct error *err)
{
    int rc = virt->config.aia ? add_aia(virt, err) : add_plic(virt, err);
    return rc || virt->has_sbi ? rc : add_aclint(virt, err);
}
