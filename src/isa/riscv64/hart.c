#include "isa/riscv64/hart.h"

#include "base/bits.h"
#include "base/state.h"
#include "isa/riscv64/mmu.h"

#include <errno.h>

/* ---- declared state ---- */

static const struct state_field hart_fields[] = {
    /* x[32] is nobody's value. */
    {.name = "x", .offset = offsetof(struct rv_hart, x), .size = 8, .count = 32, .since = 1},
    STATE_ARRAY(struct rv_hart, f),
    STATE_FIELD(struct rv_hart, pc),
    STATE_FIELD(struct rv_hart, icount),
    STATE_FIELD(struct rv_hart, priv),
    STATE_FIELD(struct rv_hart, fflags),
    STATE_FIELD(struct rv_hart, frm),
    STATE_FIELD(struct rv_hart, reserve_key),
    STATE_FIELD(struct rv_hart, reserve_value),
    STATE_FIELD(struct rv_hart, mstatus),
    STATE_FIELD(struct rv_hart, misa),
    STATE_FIELD(struct rv_hart, medeleg),
    STATE_FIELD(struct rv_hart, mideleg),
    STATE_FIELD(struct rv_hart, mie),
    STATE_FIELD(struct rv_hart, mip),
    STATE_FIELD(struct rv_hart, mtvec),
    STATE_FIELD(struct rv_hart, mscratch),
    STATE_FIELD(struct rv_hart, mepc),
    STATE_FIELD(struct rv_hart, mcause),
    STATE_FIELD(struct rv_hart, mtval),
    STATE_FIELD(struct rv_hart, mcounteren),
    STATE_FIELD(struct rv_hart, mcountinhibit),
    STATE_FIELD(struct rv_hart, menvcfg),
    STATE_FIELD(struct rv_hart, stvec),
    STATE_FIELD(struct rv_hart, sscratch),
    STATE_FIELD(struct rv_hart, sepc),
    STATE_FIELD(struct rv_hart, scause),
    STATE_FIELD(struct rv_hart, stval),
    STATE_FIELD(struct rv_hart, scounteren),
    STATE_FIELD(struct rv_hart, senvcfg),
    STATE_FIELD(struct rv_hart, satp),
    STATE_FIELD(struct rv_hart, stimecmp),
    STATE_FIELD_SINCE(struct rv_hart, miselect, 4),
    STATE_FIELD_SINCE(struct rv_hart, siselect, 4),
    STATE_FIELD(struct rv_hart, mcycle_offset),
    STATE_FIELD(struct rv_hart, minstret_offset),
    STATE_ARRAY(struct rv_hart, pmpaddr),
    STATE_ARRAY(struct rv_hart, pmpcfg),
    STATE_FIELD(struct rv_hart, context_clock),
    STATE_STRUCT(struct rv_hart, tlb_s, &rv_tlb_state),
    STATE_STRUCT(struct rv_hart, tlb_m, &rv_tlb_state),
    STATE_STRUCT(struct rv_hart, fetch_s, &rv_fetch_state),
    STATE_STRUCT(struct rv_hart, fetch_m, &rv_fetch_state),
    STATE_STRUCTS(struct rv_hart, contexts, &rv_context_state),
    STATE_END,
};

static int hart_post_load(void *obj, struct error *err)
{
    struct rv_hart *h = obj;
    if (h->priv > RV_PRIV_M || h->priv == 2)
        return error_set(err, EINVAL, "saved hart has privilege mode %u, which does not exist",
                         h->priv);
    if (bits_get(h->mstatus, RV_MSTATUS_MPP_SHIFT, 2) == 2)
        return error_set(err, EINVAL,
                         "saved hart would return to privilege mode 2, which does not "
                         "exist");
    unsigned satp_mode = (unsigned)(h->satp >> 60);
    if (satp_mode != RV_SATP_BARE && (satp_mode < RV_SATP_SV39 || satp_mode > h->satp_max))
        return error_set(err, EINVAL,
                         "saved hart uses address translation mode %u, this one has "
                         "up to %u",
                         satp_mode, h->satp_max);
    h->x[0] = 0;
    h->mepc &= ~UINT64_C(1);
    h->sepc &= ~UINT64_C(1);
    h->fflags &= 31;
    h->frm &= 7;
    h->miselect &= RV_ISELECT_MASK;
    h->siselect &= RV_ISELECT_MASK;
    h->pc &= ~UINT64_C(1);
    h->code_epoch++;
    rv_pmp_changed(h);
    rv_context_loaded(h);
    rv_hart_view_changed(h);
    return 0;
}

const struct state_table rv_hart_state = {
    .name = "riscv64-hart",
    .version = 4,
    .size = sizeof(struct rv_hart),
    .fields = hart_fields,
    .post_load = hart_post_load,
};

/* ---- reset and computed registers ---- */

/* Everything from x to the end that is not fixed, counted on or the engine's becomes 0. */
void rv_hart_reset(struct rv_hart *h, uint64_t pc)
{
    uint64_t icount = h->icount, misa = h->misa;
    memset(h, 0, offsetof(struct rv_hart, code_epoch));
    h->icount = icount;
    h->misa = misa;
    h->pc = pc;
    h->code_epoch++;
    h->priv = RV_PRIV_M;
    h->reserve_key = RV_TLB_INVALID;
    h->stimecmp = UINT64_MAX;
    h->menvcfg = RV_ENVCFG_ADUE;
    h->context_clock = 0;
    rv_tlbs_init(h);
    rv_hart_view_changed(h);
}

uint64_t rv_mstatus(const struct rv_hart *h)
{
    uint64_t v = h->mstatus | RV_MSTATUS_UXL | RV_MSTATUS_SXL;
    if ((v & RV_MSTATUS_FS) == RV_MSTATUS_FS || (v & RV_MSTATUS_VS) == RV_MSTATUS_VS)
        v |= RV_MSTATUS_SD;
    return v;
}

uint64_t rv_mip(const struct rv_hart *h)
{
    return h->mip | atomic_load_explicit(h->irq_lines, memory_order_acquire);
}

/* ---- interrupts and traps ---- */

int rv_interrupt_first(uint64_t pending)
{
    static const uint8_t order[] = {RV_IRQ_MEI, RV_IRQ_MSI, RV_IRQ_MTI,
                                    RV_IRQ_SEI, RV_IRQ_SSI, RV_IRQ_STI};
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        if (pending >> order[i] & 1)
            return order[i];
    return -1;
}

int rv_interrupt_pending(const struct rv_hart *h)
{
    uint64_t pending = rv_mip(h) & h->mie;
    if (!pending)
        return -1;
    bool m_on = h->priv < RV_PRIV_M || (h->mstatus & RV_MSTATUS_MIE);
    bool s_on = h->priv < RV_PRIV_S || (h->priv == RV_PRIV_S && (h->mstatus & RV_MSTATUS_SIE));
    uint64_t now = m_on ? pending & ~h->mideleg : 0;
    if (!now && s_on)
        now = pending & h->mideleg;
    return now ? rv_interrupt_first(now) : -1;
}

bool rv_wfi_done(const struct rv_hart *h)
{
    return rv_mip(h) & h->mie;
}

static void hart_choose_tlbs(struct rv_hart *h)
{
    struct rv_context *c = &h->contexts[h->context];
    struct rv_tlb *const tlb[] = {[RV_VIEW_U] = &c->user,
                                  [RV_VIEW_S] = &h->tlb_s,
                                  [RV_VIEW_S_SUM] = &c->user_by_s,
                                  [RV_VIEW_M] = &h->tlb_m};
    h->tlb = tlb[h->view];
    h->mem_base = h->process                          ? 0
                  : h->view == RV_VIEW_U && c->window ? c->window
                                                      : (uint64_t)(uintptr_t)h->tlb;
    h->fetch = h->fetch_view == RV_VIEW_U   ? &c->fetch
               : h->fetch_view == RV_VIEW_S ? &h->fetch_s
                                            : &h->fetch_m;
}

void rv_hart_view_changed(struct rv_hart *h)
{
    unsigned priv = h->priv;
    h->fetch_view = priv == RV_PRIV_M ? RV_VIEW_M : priv == RV_PRIV_S ? RV_VIEW_S : RV_VIEW_U;
    if (h->mstatus & RV_MSTATUS_MPRV)
        priv = (unsigned)bits_get(h->mstatus, RV_MSTATUS_MPP_SHIFT, 2);
    if (priv == RV_PRIV_M)
        h->view = RV_VIEW_M;
    else if (priv == RV_PRIV_S)
        h->view = h->mstatus & RV_MSTATUS_SUM ? RV_VIEW_S_SUM : RV_VIEW_S;
    else
        h->view = RV_VIEW_U;
    hart_choose_tlbs(h);
}

static void trap_enter_s(struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    h->scause = cause;
    h->sepc = h->pc;
    h->stval = tval;
    uint64_t s = h->mstatus & ~(RV_MSTATUS_SPIE | RV_MSTATUS_SPP | RV_MSTATUS_SIE);
    if (h->mstatus & RV_MSTATUS_SIE)
        s |= RV_MSTATUS_SPIE;
    if (h->priv == RV_PRIV_S)
        s |= RV_MSTATUS_SPP;
    h->mstatus = s;
    h->priv = RV_PRIV_S;
    h->pc = h->stvec & ~UINT64_C(3);
    if ((h->stvec & 1) && (cause & RV_CAUSE_INTERRUPT))
        h->pc += 4 * (cause & ~RV_CAUSE_INTERRUPT);
}

static void trap_enter_m(struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    h->mcause = cause;
    h->mepc = h->pc;
    h->mtval = tval;
    uint64_t s = h->mstatus & ~(RV_MSTATUS_MPIE | RV_MSTATUS_MPP | RV_MSTATUS_MIE);
    if (h->mstatus & RV_MSTATUS_MIE)
        s |= RV_MSTATUS_MPIE;
    h->mstatus = s | (uint64_t)h->priv << RV_MSTATUS_MPP_SHIFT;
    h->priv = RV_PRIV_M;
    h->pc = h->mtvec & ~UINT64_C(3);
    if ((h->mtvec & 1) && (cause & RV_CAUSE_INTERRUPT))
        h->pc += 4 * (cause & ~RV_CAUSE_INTERRUPT);
}

void rv_trap_exception(struct rv_hart *h, enum rv_cause cause, uint64_t tval)
{
    h->reserve_key = RV_TLB_INVALID;
    if (h->priv <= RV_PRIV_S && (h->medeleg >> cause & 1))
        trap_enter_s(h, cause, tval);
    else
        trap_enter_m(h, cause, tval);
    rv_hart_view_changed(h);
}

void rv_trap_interrupt(struct rv_hart *h, unsigned irq)
{
    h->reserve_key = RV_TLB_INVALID;
    uint64_t cause = RV_CAUSE_INTERRUPT | irq;
    if (h->priv <= RV_PRIV_S && (h->mideleg >> irq & 1))
        trap_enter_s(h, cause, 0);
    else
        trap_enter_m(h, cause, 0);
    rv_hart_view_changed(h);
}

bool rv_mret(struct rv_hart *h)
{
    if (h->priv != RV_PRIV_M)
        return false;
    uint64_t s = h->mstatus;
    h->priv = (uint8_t)bits_get(s, RV_MSTATUS_MPP_SHIFT, 2);
    s &= ~(RV_MSTATUS_MIE | RV_MSTATUS_MPP);
    if (s & RV_MSTATUS_MPIE)
        s |= RV_MSTATUS_MIE;
    s |= RV_MSTATUS_MPIE;
    if (h->priv != RV_PRIV_M)
        s &= ~RV_MSTATUS_MPRV;
    h->mstatus = s;
    h->pc = h->mepc;
    rv_hart_view_changed(h);
    return true;
}

bool rv_sret(struct rv_hart *h)
{
    if (h->priv < RV_PRIV_S || (h->priv == RV_PRIV_S && (h->mstatus & RV_MSTATUS_TSR)))
        return false;
    uint64_t s = h->mstatus;
    h->priv = s & RV_MSTATUS_SPP ? RV_PRIV_S : RV_PRIV_U;
    s &= ~(RV_MSTATUS_SIE | RV_MSTATUS_SPP | RV_MSTATUS_MPRV);
    if (s & RV_MSTATUS_SPIE)
        s |= RV_MSTATUS_SIE;
    h->mstatus = s | RV_MSTATUS_SPIE;
    h->pc = h->sepc;
    rv_hart_view_changed(h);
    return true;
}

void rv_fence_i(struct rv_hart *h)
{
    h->code_epoch++;
    rv_fetch_forget(h);
}
