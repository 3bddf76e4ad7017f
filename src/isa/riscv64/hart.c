#include "isa/riscv64/hart.h"

#include "base/bits.h"
#include "base/state.h"
#include "isa/riscv64/mmu.h"

#include <errno.h>

/* ---- declared state ---- */

static const struct state_field tlb_entry_fields[] = {
    STATE_FIELD(struct rv_tlb_entry, rtag),
    STATE_FIELD(struct rv_tlb_entry, wtag),
    STATE_FIELD(struct rv_tlb_entry, gpa),
    STATE_END,
};

static const struct state_table tlb_entry_state = {
    .name = "tlb",
    .version = 1,
    .size = sizeof(struct rv_tlb_entry),
    .fields = tlb_entry_fields,
};

static const struct state_field fetch_entry_fields[] = {
    STATE_FIELD(struct rv_fetch_entry, tag),
    STATE_FIELD(struct rv_fetch_entry, gpa),
    STATE_END,
};

static const struct state_table fetch_entry_state = {
    .name = "fetch",
    .version = 1,
    .size = sizeof(struct rv_fetch_entry),
    .fields = fetch_entry_fields,
};

#define TLB_ROW(view)                                                          \
    {                                                                          \
        .name = "tlb_" #view, .offset = offsetof(struct rv_hart, tlb[view]),   \
        .size = sizeof(struct rv_tlb_entry), .count = RV_TLB_SIZE, .since = 1, \
        .sub = &tlb_entry_state                                                \
    }
#define FETCH_ROW(view)                                                            \
    {                                                                              \
        .name = "fetch_" #view, .offset = offsetof(struct rv_hart, fetch[view]),   \
        .size = sizeof(struct rv_fetch_entry), .count = RV_FETCH_SIZE, .since = 1, \
        .sub = &fetch_entry_state                                                  \
    }

static const struct state_field hart_fields[] = {
    /* x[32] is nobody's value. */
    {.name = "x", .offset = offsetof(struct rv_hart, x), .size = 8, .count = 32, .since = 1},
    STATE_ARRAY(struct rv_hart, f),
    STATE_FIELD(struct rv_hart, pc),
    STATE_FIELD(struct rv_hart, icount),
    STATE_FIELD(struct rv_hart, priv),
    STATE_FIELD(struct rv_hart, fflags),
    STATE_FIELD(struct rv_hart, frm),
    STATE_FIELD(struct rv_hart, reserve_gpa),
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
    STATE_FIELD(struct rv_hart, mcycle_offset),
    STATE_FIELD(struct rv_hart, minstret_offset),
    STATE_ARRAY(struct rv_hart, pmpaddr),
    STATE_ARRAY(struct rv_hart, pmpcfg),
    STATE_FIELD(struct rv_hart, large_lo),
    STATE_FIELD(struct rv_hart, large_hi),
    TLB_ROW(RV_VIEW_U),
    TLB_ROW(RV_VIEW_S),
    TLB_ROW(RV_VIEW_S_SUM),
    TLB_ROW(RV_VIEW_M),
    FETCH_ROW(RV_VIEW_U),
    FETCH_ROW(RV_VIEW_S),
    FETCH_ROW(RV_VIEW_S_SUM),
    FETCH_ROW(RV_VIEW_M),
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
    h->pc &= ~UINT64_C(1);
    for (unsigned v = 0; v < RV_VIEWS; v++)
        for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
            h->fetch[v][i].code = NULL;
    h->code_epoch++;
    rv_pmp_changed(h);
    rv_hart_view_changed(h);
    return 0;
}

const struct state_table rv_hart_state = {
    .name = "riscv64-hart",
    .version = 1,
    .size = sizeof(struct rv_hart),
    .fields = hart_fields,
    .post_load = hart_post_load,
};

/* ---- reset and computed registers ---- */

void rv_hart_reset(struct rv_hart *h, uint64_t pc)
{
    uint64_t icount = h->icount, epoch = h->code_epoch, tlb_epoch = h->tlb_epoch, engine[16];
    memcpy(engine, h->engine, sizeof engine);
    struct rv_hart fixed = {
        .hartid = h->hartid,
        .exts = h->exts,
        .misa = h->misa,
        .satp_max = h->satp_max,
        .sbi = h->sbi,
        .env = h->env,
        .irq_lines = h->irq_lines,
    };
    *h = fixed;
    h->pc = pc;
    h->icount = icount;
    h->code_epoch = epoch + 1;
    h->tlb_epoch = tlb_epoch;
    memcpy(h->engine, engine, sizeof engine);
    h->priv = RV_PRIV_M;
    h->reserve_gpa = RV_TLB_INVALID;
    h->stimecmp = UINT64_MAX;
    h->menvcfg = RV_ENVCFG_ADUE;
    rv_tlb_flush(h);
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
    if (!now)
        return -1;
    static const uint8_t order[] = {RV_IRQ_MEI, RV_IRQ_MSI, RV_IRQ_MTI,
                                    RV_IRQ_SEI, RV_IRQ_SSI, RV_IRQ_STI};
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        if (now >> order[i] & 1)
            return order[i];
    return -1;
}

bool rv_wfi_done(const struct rv_hart *h)
{
    return rv_mip(h) & h->mie;
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
    h->reserve_gpa = RV_TLB_INVALID;
    if (h->priv <= RV_PRIV_S && (h->medeleg >> cause & 1))
        trap_enter_s(h, cause, tval);
    else
        trap_enter_m(h, cause, tval);
    rv_hart_view_changed(h);
}

void rv_trap_interrupt(struct rv_hart *h, unsigned irq)
{
    h->reserve_gpa = RV_TLB_INVALID;
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

/* ---- translations ---- */

void rv_tlb_flush(struct rv_hart *h)
{
    h->tlb_epoch++;
    for (unsigned v = 0; v < RV_VIEWS; v++) {
        for (unsigned i = 0; i < RV_TLB_SIZE; i++)
            h->tlb[v][i] = (struct rv_tlb_entry){RV_TLB_INVALID, RV_TLB_INVALID, 0, 0};
        for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
            h->fetch[v][i] = (struct rv_fetch_entry){RV_TLB_INVALID, 0, NULL};
    }
    h->large_lo = UINT64_MAX;
    h->large_hi = 0;
}

void rv_tlb_flush_page(struct rv_hart *h, uint64_t va)
{
    if (va >= h->large_lo && va <= h->large_hi) {
        rv_tlb_flush(h);
        return;
    }
    h->tlb_epoch++;
    for (unsigned v = 0; v < RV_VIEWS; v++) {
        h->tlb[v][va / RV_PAGE % RV_TLB_SIZE] =
            (struct rv_tlb_entry){RV_TLB_INVALID, RV_TLB_INVALID, 0, 0};
        h->fetch[v][va / RV_PAGE % RV_FETCH_SIZE] =
            (struct rv_fetch_entry){RV_TLB_INVALID, 0, NULL};
    }
}

void rv_fence_i(struct rv_hart *h)
{
    h->code_epoch++;
    for (unsigned v = 0; v < RV_VIEWS; v++)
        for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
            h->fetch[v][i].code = NULL;
}
