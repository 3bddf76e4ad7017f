#include "engine/rv_sys.h"

#include "base/bits.h"
#include "engine/rv_mem.h"
#include "isa/riscv64/csr.h"
#include "isa/riscv64/decode.h"

#include <sched.h>

static enum rv_sys_result sys_ecall(struct vcpu *v, struct rv_hart *h)
{
    (void)v;
    if (h->process)
        return RV_SYS_CALL;
    return h->priv == RV_PRIV_S && h->sbi && !(h->medeleg >> RV_CAUSE_ECALL_S & 1) ? RV_SYS_CALL
                                                                                   : RV_SYS_ECALL;
}

/* Address-translation fences: not for U-mode, and for S-mode only without mstatus.TVM (3.1.6.6). */
static bool sys_may_fence(const struct rv_hart *h)
{
    return h->priv == RV_PRIV_M || (h->priv == RV_PRIV_S && !(h->mstatus & RV_MSTATUS_TVM));
}

static enum rv_sys_result sys_sfence(struct rv_hart *h, uint64_t va, unsigned rs1, unsigned rs2)
{
    if (!sys_may_fence(h))
        return RV_SYS_ILLEGAL;
    const struct rv_fence f = {.one_page = rs1, .one_space = rs2, .va = va, .asid = h->x[rs2]};
    rv_tlb_fence(h, &f);
    h->pc += 4;
    return RV_SYS_JUMP;
}

/* wfi may trap in U-mode (3.3.3) and must in S-mode with mstatus.TW. */
static enum rv_sys_result sys_wfi(const struct rv_hart *h)
{
    if (h->priv == RV_PRIV_U || (h->priv == RV_PRIV_S && (h->mstatus & RV_MSTATUS_TW)))
        return RV_SYS_ILLEGAL;
    return rv_wfi_done(h) ? RV_SYS_NEXT : RV_SYS_WAIT;
}

/*
 * wrs.nto, wrs.sto (Zawrs): waits for a store to the reserved bytes. It may end for no reason: that
 * is what happens after a moment, in which the host runs somebody else if there is one, perhaps the
 * hart that is to store. Where time is counted in instructions no other hart runs.
 */
static void sys_wait_for_store(struct vcpu *v, const struct rv_hart *h)
{
    enum { SPINS = 128 };
    if (!v->clock || v->clock->is_virtual)
        return;
    for (unsigned i = 0; i < SPINS; i++) {
        if (!rv_mem_reserved(v) || rv_wfi_done(h) ||
            !atomic_load_explicit(&v->stop_at, memory_order_relaxed))
            return;
        host_pause();
    }
    sched_yield();
}

enum rv_sys_result rv_sys_exec(struct vcpu *v, unsigned op, uint64_t rs1_value, unsigned rs1,
                               unsigned rs2)
{
    struct rv_hart *h = v->arch;
    switch (op) {
    case RV_OP_ECALL:
        return sys_ecall(v, h);
    case RV_OP_EBREAK:
        return RV_SYS_EBREAK;
    case RV_OP_MRET:
        return rv_mret(h) ? RV_SYS_JUMP : RV_SYS_ILLEGAL;
    case RV_OP_SRET:
        return rv_sret(h) ? RV_SYS_JUMP : RV_SYS_ILLEGAL;
    case RV_OP_WFI:
        return sys_wfi(h);
    case RV_OP_SFENCE_VMA:
    case RV_OP_SINVAL_VMA:
        return sys_sfence(h, rs1_value, rs1, rs2);
    case RV_OP_SFENCE_W_INVAL:
    case RV_OP_SFENCE_INVAL_IR:
        return h->priv == RV_PRIV_U ? RV_SYS_ILLEGAL : RV_SYS_NEXT;
    case RV_OP_WRS_NTO:
    case RV_OP_WRS_STO:
        sys_wait_for_store(v, h);
        return RV_SYS_NEXT;
    default:
        return RV_SYS_ILLEGAL;
    }
}

bool rv_sys_csr(struct rv_hart *h, unsigned op, unsigned number, unsigned rd, unsigned rs1,
                unsigned *effects)
{
    bool imm = op == RV_OP_CSRRWI || op == RV_OP_CSRRSI || op == RV_OP_CSRRCI;
    bool swap = op == RV_OP_CSRRW || op == RV_OP_CSRRWI;
    bool set = op == RV_OP_CSRRS || op == RV_OP_CSRRSI;
    enum rv_csr_op how = swap ? RV_CSR_RW : set ? RV_CSR_RS : RV_CSR_RC;
    uint64_t old;
    if (!rv_csr_access(h, number, how, !swap || rd, swap || rs1, imm ? rs1 : h->x[rs1], &old,
                       effects))
        return false;
    if (rd)
        h->x[rd] = old;
    return true;
}

bool rv_sys_cbo_allowed(const struct rv_hart *h, unsigned op, bool *inval_flushes)
{
    uint64_t m = h->priv < RV_PRIV_M ? h->menvcfg : UINT64_MAX;
    uint64_t s = h->priv < RV_PRIV_S ? h->senvcfg : UINT64_MAX;
    uint64_t both = m & s;
    *inval_flushes = false;
    if (op == RV_OP_CBO_ZERO)
        return both & RV_ENVCFG_CBZE;
    if (op == RV_OP_CBO_INVAL) {
        *inval_flushes = bits_get(m, 4, 2) == 1 || bits_get(s, 4, 2) == 1;
        return (m & RV_ENVCFG_CBIE) && (s & RV_ENVCFG_CBIE);
    }
    return both & RV_ENVCFG_CBCFE;
}
