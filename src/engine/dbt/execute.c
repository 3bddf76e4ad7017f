/*
 * What regions leave to the engine: interrupts, and the instructions that change more than
 * registers and memory. They are done between two regions, as the interpreter does them.
 */
#include "engine/dbt/dbt_impl.h"
#include "engine/rv_sys.h"
#include "isa/riscv64/decode.h"

#define ECALL 0x00000073u

bool dbt_interrupt(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    if (h->process)
        return false;
    int irq = v->debug.hold_interrupts ? -1 : rv_interrupt_pending(h);
    if (irq >= 0)
        rv_trap_interrupt(h, (unsigned)irq);
    return irq >= 0;
}

static void execute_trap(struct vcpu *v, enum rv_cause cause, uint64_t tval)
{
    const struct rv_fault fault = {cause, tval};
    interp_trap(v, &fault);
}

/*
 * System instructions; false, nothing done: the interpreter's, they leave the engine. So does what
 * ends in an exception of a process.
 */
static bool execute_system(struct vcpu *v, const struct rv_insn *in, uint32_t bits)
{
    struct rv_hart *h = v->arch;
    if (in->op == RV_OP_WFI)
        return false;
    switch (rv_sys_exec(v, in->op, h->x[in->rs1], in->rs1, in->rs2)) {
    case RV_SYS_NEXT:
        h->pc += in->len;
        h->icount++;
        return true;
    case RV_SYS_JUMP:
        h->icount++;
        return true;
    case RV_SYS_ILLEGAL:
        if (h->process)
            return false;
        execute_trap(v, RV_CAUSE_ILLEGAL, bits);
        return true;
    case RV_SYS_ECALL:
        execute_trap(v, RV_CAUSE_ECALL_U + h->priv, 0);
        return true;
    case RV_SYS_EBREAK:
        if (h->process)
            return false;
        execute_trap(v, RV_CAUSE_BREAKPOINT, h->pc);
        return true;
    default: /* a call: has done nothing yet */
        return false;
    }
}

static bool execute_csr(struct vcpu *v, const struct rv_insn *in, uint32_t bits)
{
    struct rv_hart *h = v->arch;
    unsigned effects;
    if (!rv_sys_csr(h, in->op, (unsigned)in->imm, in->rd, in->rs1, &effects)) {
        if (h->process)
            return false;
        execute_trap(v, RV_CAUSE_ILLEGAL, bits);
        return true;
    }
    h->pc += in->len;
    h->icount++;
    return true;
}

static void execute_fence(struct vcpu *v, const struct rv_insn *in)
{
    struct rv_hart *h = v->arch;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (in->op == RV_OP_FENCE_I)
        rv_fence_i(h);
    h->pc += in->len;
    h->icount++;
}

bool dbt_execute(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    const struct code_page *page = interp_page_at(v, h->pc);
    unsigned offset = (unsigned)(h->pc % RV_PAGE);
    struct rv_insn in;
    if (!page || (page->bytes[offset] & 3) != 3 || offset + 4 > RV_PAGE)
        return false;
    uint32_t bits = le32_get(page->bytes + offset);
    if (h->process && bits == ECALL) {
        dbt_of(v)->leave = NATIVE_CALL;
        h->pc += 4;
        h->icount++;
        return false;
    }
    bool other = (bits & 0x7f) != 0x73 && (bits & 0x7f) != 0x0f;
    if (other || !rv_decode(bits, h->exts, &in))
        return false;
    switch (rv_op_info(in.op)->kind) {
    case RV_KIND_CSR:
        return execute_csr(v, &in, bits);
    case RV_KIND_SYSTEM:
        return execute_system(v, &in, bits);
    case RV_KIND_FENCE:
        if (h->process && in.op == RV_OP_FENCE_I)
            return false; /* all threads have to stop: the interpreter leaves for that */
        execute_fence(v, &in);
        return true;
    default:
        return false;
    }
}
