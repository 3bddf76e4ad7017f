/*
 * The helpers of generated code, in C: memory off the fast path, atomics, floating point. Their
 * contracts are those of backend.h; state is a struct rv_hart.
 */
#include "engine/dbt/helpers.h"

#include "base/bits.h"
#include "engine/interp/exec_amo.h"
#include "engine/rv_direct.h"
#include "engine/rv_sys.h"
#include "isa/riscv64/csr.h"
#include "isa/riscv64/fp.h"
#include "isa/riscv64/fp_fast.h"
#include "isa/riscv64/ops.h"

/* ---- memory ---- */

/* Whether the slow path was taken because the host refused the access: nobody asks it again. */
static bool help_refused(struct rv_hart *h, enum rv_access access, uint64_t va, unsigned size)
{
    if (likely(!h->engine[DBT_WORD_REFUSED]))
        return false;
    const struct rv_fault fault = {access == RV_READ ? RV_CAUSE_LOAD_PAGE : RV_CAUSE_STORE_PAGE,
                                   rv_direct_refused(va, size, access)};
    h->engine[DBT_WORD_REFUSED] = 0;
    dbt_leave(h, &fault);
    return true;
}

static uint64_t help_load(void *state, uint64_t va, uint64_t how, uint64_t unused)
{
    struct rv_hart *h = state;
    unsigned size = (unsigned)(how >> 16) & 0xff;
    struct rv_fault fault;
    uint64_t value = 0;
    (void)unused;
    if (help_refused(h, RV_READ, va, size))
        return 0;
    bool ok = how & IR_MEM_RESERVE ? rv_mem_lr(h->env.ctx, va, size, &value, &fault)
                                   : rv_mem_load(h->env.ctx, va, size, &value, &fault);
    if (!ok) {
        dbt_leave(h, &fault);
        return 0;
    }
    return how & IR_MEM_SIGNED ? bits_sext(value, 8 * size) : value;
}

static uint64_t help_store(void *state, uint64_t va, uint64_t how, uint64_t value)
{
    struct rv_hart *h = state;
    unsigned size = (unsigned)(how >> 16) & 0xff;
    struct rv_fault fault;
    if (help_refused(h, RV_WRITE, va, size))
        return 0;
    if (!rv_mem_store(h->env.ctx, va, size, value, &fault))
        dbt_leave(h, &fault);
    return 0;
}

static uint64_t help_amo(void *state, uint64_t va, uint64_t how, uint64_t operand)
{
    static uint64_t (*const functions[IR_AMO_COUNT][2])(void *mem, uint64_t operand) = {
        [IR_AMO_SWAP] = {amo_amoswap_w, amo_amoswap_d},
        [IR_AMO_ADD] = {amo_amoadd_w, amo_amoadd_d},
        [IR_AMO_XOR] = {amo_amoxor_w, amo_amoxor_d},
        [IR_AMO_AND] = {amo_amoand_w, amo_amoand_d},
        [IR_AMO_OR] = {amo_amoor_w, amo_amoor_d},
        [IR_AMO_MIN] = {amo_amomin_w, amo_amomin_d},
        [IR_AMO_MAX] = {amo_amomax_w, amo_amomax_d},
        [IR_AMO_MINU] = {amo_amominu_w, amo_amominu_d},
        [IR_AMO_MAXU] = {amo_amomaxu_w, amo_amomaxu_d},
    };
    struct rv_hart *h = state;
    struct rv_fault fault;
    unsigned size = (unsigned)(how >> 8) & 0xff;
    if (help_refused(h, RV_WRITE, va, size))
        return 0;
    uint64_t result = h->reserve_value; /* of a compare-and-swap, what is expected */
    bool ok = (how & 0xff) == IR_AMO_CAS
                  ? rv_mem_cas(h->env.ctx, va, size, &result, operand, &fault)
                  : rv_mem_amo(h->env.ctx, va, size, functions[how & 0xff][size == 8], operand,
                               &result, &fault);
    if (!ok) {
        dbt_leave(h, &fault);
        return 0;
    }
    return result;
}

static uint64_t help_cbo_zero(void *state, uint64_t va, uint64_t insn, uint64_t unused)
{
    struct rv_hart *h = state;
    struct rv_fault fault = {RV_CAUSE_ILLEGAL, insn};
    bool flushes;
    (void)unused;
    if (!rv_sys_cbo_allowed(h, RV_OP_CBO_ZERO, &flushes) ||
        !rv_mem_cbo(h->env.ctx, va, RV_CBO_ZERO, &fault))
        dbt_leave(h, &fault);
    return 0;
}

static uint64_t help_sc_fails(void *state, uint64_t va, uint64_t size, uint64_t unused)
{
    struct rv_hart *h = state;
    struct rv_fault fault;
    bool failed = true;
    (void)unused;
    if (help_refused(h, RV_WRITE, va, (unsigned)size))
        return 0;
    if (!rv_mem_sc(h->env.ctx, va, (unsigned)size, 0, &failed, &fault))
        dbt_leave(h, &fault);
    return failed;
}

static uint64_t help_time(void *state, uint64_t insn, uint64_t a, uint64_t b)
{
    struct rv_hart *h = state;
    uint64_t value = 0;
    unsigned effects;
    (void)a;
    (void)b;
    if (!rv_csr_access(h, (unsigned)insn >> 20, RV_CSR_RS, true, false, 0, &value, &effects)) {
        const struct rv_fault fault = {RV_CAUSE_ILLEGAL, insn};
        dbt_leave(h, &fault);
    }
    return value;
}

/* ---- floating point ---- */

struct fp_call {
    unsigned op, rm;
    enum ir_type from, to; /* type of operand a, of the result */
    uint64_t a, b, c;
};

/* The operations that both formats have; N is the width, S the sign bit. */
#define FP_ARITHMETIC(N)                                                         \
    static uint64_t fp##N##_arithmetic(const struct fp_call *f, unsigned *flags) \
    {                                                                            \
        const uint64_t a = f->a, b = f->b, c = f->c, sign = FP##N##_SIGN;        \
        switch (f->op) {                                                         \
        case IR_FADD:                                                            \
            return fp##N##_add_fast(a, b, f->rm, flags);                         \
        case IR_FSUB:                                                            \
            return fp##N##_sub_fast(a, b, f->rm, flags);                         \
        case IR_FMUL:                                                            \
            return fp##N##_mul_fast(a, b, f->rm, flags);                         \
        case IR_FDIV:                                                            \
            return fp##N##_div_fast(a, b, f->rm, flags);                         \
        case IR_FSQRT:                                                           \
            return fp##N##_sqrt_fast(a, f->rm, flags);                           \
        case IR_FMADD:                                                           \
            return fp##N##_fma_fast(a, b, c, f->rm, flags);                      \
        case IR_FMSUB:                                                           \
            return fp##N##_fma_fast(a, b, c ^ sign, f->rm, flags);               \
        case IR_FNMSUB:                                                          \
            return fp##N##_fma_fast(a ^ sign, b, c, f->rm, flags);               \
        case IR_FNMADD:                                                          \
            return fp##N##_fma_fast(a ^ sign, b, c ^ sign, f->rm, flags);        \
        case IR_FMIN:                                                            \
            return fp##N##_min(a, b, flags);                                     \
        case IR_FMAX:                                                            \
            return fp##N##_max(a, b, flags);                                     \
        case IR_FEQ:                                                             \
            return fp##N##_eq(a, b, flags);                                      \
        case IR_FLT:                                                             \
            return fp##N##_lt(a, b, flags);                                      \
        case IR_FLE:                                                             \
            return fp##N##_le(a, b, flags);                                      \
        case IR_FCLASS:                                                          \
            return fp##N##_class(a);                                             \
        case IR_FCVT_TO_S:                                                       \
            return f->to == IR_I32 ? fp##N##_to_i32(a, f->rm, flags)             \
                                   : fp##N##_to_i64(a, f->rm, flags);            \
        case IR_FCVT_TO_U:                                                       \
            return f->to == IR_I32 ? fp##N##_to_u32(a, f->rm, flags)             \
                                   : fp##N##_to_u64(a, f->rm, flags);            \
        case IR_FCVT_FROM_S:                                                     \
            return f->from == IR_I32 ? fp##N##_from_i32(a, f->rm, flags)         \
                                     : fp##N##_from_i64(a, f->rm, flags);        \
        default: /* IR_FCVT_FROM_U */                                            \
            return f->from == IR_I32 ? fp##N##_from_u32(a, f->rm, flags)         \
                                     : fp##N##_from_u64(a, f->rm, flags);        \
        }                                                                        \
    }

FP_ARITHMETIC(32)
FP_ARITHMETIC(64)

static uint64_t help_fp(void *state, uint64_t how, uint64_t a, uint64_t b, uint64_t c)
{
    struct rv_hart *h = state;
    struct fp_call f = {
        .op = (unsigned)how & 0xff,
        .rm = (unsigned)(how >> 16) & 0xff,
        .to = (enum ir_type)(how >> 8 & 0xff),
        .from = (enum ir_type)(how >> 24 & 0xff),
        .a = a,
        .b = b,
        .c = c,
    };
    unsigned flags = h->fflags;
    uint64_t result;
    if (f.rm == 7)
        f.rm = h->frm;
    if (f.op == IR_FCVT)
        result = f.to == IR_F64 ? fp32_to_fp64(a, f.rm, &flags) : fp64_to_fp32(a, f.rm, &flags);
    else if (f.from == IR_F32 || f.to == IR_F32)
        result = fp32_arithmetic(&f, &flags);
    else
        result = fp64_arithmetic(&f, &flags);
    h->fflags = (uint8_t)flags;
    return result;
}

/* A table of addresses of different types: functions are stored as what dlsym would give. */
static const void *address(void (*fn)(void))
{
    const void *p;
    memcpy(&p, &fn, sizeof p);
    return p;
}

#define ADDRESS(fn) address((void (*)(void))(fn))

void dbt_helpers(const void *table[DBT_HELPERS], const struct back_target *target)
{
    for (unsigned i = 0; i < DBT_HELPERS; i++)
        table[i] = NULL;
    table[BACK_HELPER_TARGET] = target;
    table[BACK_HELPER_SLOW] = ADDRESS(back_slow);
    table[BACK_HELPER_LOAD] = ADDRESS(help_load);
    table[BACK_HELPER_STORE] = ADDRESS(help_store);
    table[BACK_HELPER_AMO] = ADDRESS(help_amo);
    table[BACK_HELPER_FP] = ADDRESS(help_fp);
    table[DBT_HELPER_CBO_ZERO] = ADDRESS(help_cbo_zero);
    table[DBT_HELPER_SC_FAILS] = ADDRESS(help_sc_fails);
    table[DBT_HELPER_TIME] = ADDRESS(help_time);
}
