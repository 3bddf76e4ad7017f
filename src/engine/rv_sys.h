/*
 * The system instructions of riscv64, shared by all engines: what they do to the hart, and what
 * the engine has to do next.
 */
#pragma once

#include "core/vcpu.h"
#include "isa/riscv64/hart.h"

enum rv_sys_result {
    RV_SYS_NEXT,    /* go on behind the instruction */
    RV_SYS_JUMP,    /* go on at h->pc, in a view of memory that may be another one */
    RV_SYS_ILLEGAL, /* illegal-instruction exception */
    RV_SYS_ECALL,   /* environment-call exception */
    RV_SYS_EBREAK,  /* breakpoint exception */
    RV_SYS_CALL,    /* leave with VCPU_EXIT_CALL, pc behind the instruction */
    RV_SYS_WAIT,    /* leave with VCPU_EXIT_WAIT, pc behind the instruction */
};

/* op is one of the table's `system` operations; h->pc is the instruction's own. */
enum rv_sys_result rv_sys_exec(struct vcpu *v, unsigned op, uint64_t rs1_value, unsigned rs1,
                               unsigned rs2);

/*
 * The Zicsr instructions; rd 0: none, rs1 is the register or the immediate. False: illegal.
 * *effects: RV_CSR_..., what the engine has to look at again.
 */
bool rv_sys_csr(struct rv_hart *h, unsigned op, unsigned number, unsigned rd, unsigned rs1,
                unsigned *effects);

/* Whether the hart may execute a cache-block instruction now (Zicbom 2.5.1, Zicboz). */
bool rv_sys_cbo_allowed(const struct rv_hart *h, unsigned op, bool *inval_flushes);
