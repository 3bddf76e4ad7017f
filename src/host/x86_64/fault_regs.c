#include <assert.h>
#include <string.h>
#include <ucontext.h>

#include "host/fault_impl.h"
#include "host/x86_64/asm.h"

enum { TRAP_PAGE_FAULT = 14, ERROR_WRITE = 2, ERROR_FETCH = 16 };

static const uint8_t fault_greg[16] = {
    [RAX] = REG_RAX, [RCX] = REG_RCX, [RDX] = REG_RDX, [RBX] = REG_RBX,
    [RSP] = REG_RSP, [RBP] = REG_RBP, [RSI] = REG_RSI, [RDI] = REG_RDI,
    [R8] = REG_R8,   [R9] = REG_R9,   [R10] = REG_R10, [R11] = REG_R11,
    [R12] = REG_R12, [R13] = REG_R13, [R14] = REG_R14, [R15] = REG_R15,
};

static mcontext_t *fault_mcontext(const struct fault *fault)
{
    return &((ucontext_t *)fault->context)->uc_mcontext;
}

void fault_describe(struct fault *fault, int signal, const siginfo_t *info, void *context)
{
    mcontext_t *mc = &((ucontext_t *)context)->uc_mcontext;
    uint64_t error = (uint64_t)mc->gregs[REG_ERR];
    *fault = (struct fault){.signal = signal, .context = context};
    fault->pc = (uintptr_t)mc->gregs[REG_RIP];
    /* Others, as general protection for addresses that are not canonical, do not say. */
    fault->has_address = mc->gregs[REG_TRAPNO] == TRAP_PAGE_FAULT;
    if (fault->has_address) {
        fault->address = (uintptr_t)info->si_addr;
        fault->write = error & ERROR_WRITE;
        fault->fetch = error & ERROR_FETCH;
    }
}

void fault_set_pc(struct fault *fault, uintptr_t pc)
{
    fault_mcontext(fault)->gregs[REG_RIP] = (greg_t)pc;
}

uint64_t fault_reg(const struct fault *fault, unsigned reg)
{
    assert(reg < 16);
    return (uint64_t)fault_mcontext(fault)->gregs[fault_greg[reg]];
}

void fault_set_reg(struct fault *fault, unsigned reg, uint64_t v)
{
    assert(reg < 16);
    fault_mcontext(fault)->gregs[fault_greg[reg]] = (greg_t)v;
}

void *fault_xmm(struct fault *fault, unsigned reg)
{
    assert(reg < 16);
    return &fault_mcontext(fault)->fpregs->_xmm[reg];
}
