/*
 * Floating point on the host's unit. Rounding mode and flags are the guest's (backend.h); what
 * differs is the following, and is dealt with here:
 *
 *  1. A NaN result is RISC-V's canonical one: whoever makes one is sent to a stub. The flags agree:
 *     both raise "invalid" for signalling operands and invalid operations, detect tininess after
 *     rounding, and raise underflow only if the result is inexact. But a product of infinity and
 *     zero plus a quiet NaN is invalid only here: fused operations with a NaN result are done by
 *     the exact function.
 *  2. A static rounding mode other than the dynamic one: by the exact function, unless the result
 *     does not depend on it. Conversions to integers have their own truncation.
 *  3. Conversions to integers that do not fit: the exact function, which raises the same flag.
 * Where the host would raise others the operand is looked at before.
 *  4. Minimum and maximum of equal or unordered operands: by the exact function.
 */
#include "engine/dbt/emit.h"
#include "isa/riscv64/fp.h"

struct emit_float {
    const struct ir_ins *ins;
    ir_ref ref;
    ra_loc d, a, b, c;
    unsigned from;     /* type of a */
    bool wide;         /* of a */
    enum asm_xmm work; /* where the result is computed */
};

static struct emit_float emit_float_of(const struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    struct emit_float o = {
        .ins = ins,
        .ref = ref,
        .d = emit_loc(e, ref),
        .a = emit_loc(e, ins->arg[0]),
        .b = ins->arg[1] ? emit_loc(e, ins->arg[1]) : RA_NONE,
        .c = ins->arg[2] ? emit_loc(e, ins->arg[2]) : RA_NONE,
        .from = ir_at(e->ir, ins->arg[0])->type,
    };
    o.wide = o.from == IR_F64;
    o.work = ra_is_fp(o.d) ? emit_xmm(o.d) : EMIT_SCRATCH_X;
    return o;
}

/* xmm register or memory; constants go to frame slot 0. */
static struct emit_opnd emit_opnd_fp(struct emit *e, ra_loc l, unsigned type)
{
    if (ra_is_fp(l))
        return (struct emit_opnd){.kind = OPND_REG, .reg = (uint8_t)emit_xmm(l)};
    if (ra_is_const(l)) {
        emit_move(e, type, EMIT_FRAME_SCRATCH, l);
        l = EMIT_FRAME_SCRATCH;
    }
    return (struct emit_opnd){.kind = OPND_MEM, .mem = emit_mem(e, l)};
}

static void emit_opx(struct emit *e, enum asm_op op, enum asm_xmm d, struct emit_opnd s)
{
    if (s.kind == OPND_REG)
        asm_xx(&e->a, op, d, (enum asm_xmm)s.reg);
    else
        asm_xm(&e->a, op, d, s.mem);
}

static void emit_opxx(struct emit *e, enum asm_op op, enum asm_xmm d, enum asm_xmm a,
                      struct emit_opnd s)
{
    if (s.kind == OPND_REG)
        asm_xxx(&e->a, op, d, a, (enum asm_xmm)s.reg);
    else
        asm_xxm(&e->a, op, d, a, s.mem);
}

static bool emit_has_vex(const struct emit *e)
{
    return e->t->features.avx;
}

/* The result is in work; a NaN becomes the canonical one. */
static void emit_finish(struct emit *e, const struct emit_float *o)
{
    struct emit_stub *s = emit_stub(e, STUB_NAN, o->ref);
    s->to = o->work;
    asm_xx(&e->a, o->ins->type == IR_F64 ? ASM_UCOMISD : ASM_UCOMISS, o->work, o->work);
    asm_jcc(&e->a, CC_P, &s->label);
    asm_bind(&e->a, &s->resume);
    emit_move(e, o->ins->type, o->d, (ra_loc)(RA_FP + o->work));
}

static void emit_arith(struct emit *e, ir_ref ref, enum asm_op op32, enum asm_op op64)
{
    struct emit_float o = emit_float_of(e, ref);
    enum asm_op op = o.wide ? op64 : op32;
    struct emit_opnd b = emit_opnd_fp(e, o.b, o.from);
    if (ra_is_fp(o.a) && o.a != o.d && emit_has_vex(e)) {
        emit_opxx(e, op, o.work, emit_xmm(o.a), b);
    } else {
        if (o.d == o.b && o.d != o.a)
            o.work = EMIT_SCRATCH_X;
        emit_move(e, o.from, (ra_loc)(RA_FP + o.work), o.a);
        emit_opx(e, op, o.work, b);
    }
    emit_finish(e, &o);
}

/* Square roots and conversions between formats; the register's upper part is whatever. */
static void emit_one(struct emit *e, ir_ref ref, enum asm_op op32, enum asm_op op64)
{
    struct emit_float o = emit_float_of(e, ref);
    enum asm_op op = o.wide ? op64 : op32;
    if (ra_is_fp(o.a) && emit_has_vex(e)) {
        asm_xxx(&e->a, op, o.work, emit_xmm(o.a), emit_xmm(o.a));
    } else {
        if (!ra_is_fp(o.a)) {
            emit_move(e, o.from, RA_FP + EMIT_SCRATCH_X, o.a);
            o.a = RA_FP + EMIT_SCRATCH_X;
        }
        emit_opx(e, op, o.work, emit_opnd_fp(e, o.a, o.from));
    }
    emit_finish(e, &o);
}

/* --- fused ------------------------------------------------------------------------------------ */

/* The forms of an operation: d = d * rm + r, d = r * d + rm, d = r * rm + d. */
enum fma_form { FMA_132, FMA_213, FMA_231 };

#define FMA_FORMS(name)                                                                 \
    {                                                                                   \
        {ASM_##name##132SS, ASM_##name##132SD}, {ASM_##name##213SS, ASM_##name##213SD}, \
        {                                                                               \
            ASM_##name##231SS, ASM_##name##231SD                                        \
        }                                                                               \
    }

static enum asm_op emit_fma_op(const struct ir_ins *ins, enum fma_form form)
{
    static const uint16_t ops[4][3][2] = {
        [IR_FMADD - IR_FMADD] = FMA_FORMS(VFMADD),
        [IR_FMSUB - IR_FMADD] = FMA_FORMS(VFMSUB),
        [IR_FNMSUB - IR_FMADD] = FMA_FORMS(VFNMADD),
        [IR_FNMADD - IR_FMADD] = FMA_FORMS(VFNMSUB),
    };
    return ops[ins->op - IR_FMADD][form][ins->type == IR_F64];
}

/*
 * With all operands in memory: one goes to the result's register, or to one that is kept in the
 * frame meanwhile.
 */
static bool emit_fma_memory(struct emit *e, const struct emit_float *o)
{
    bool keep = !ra_is_fp(o->d);
    if (keep && ra_is_const(o->c))
        return false; /* it wants the place in the frame */
    ra_loc b = keep ? RA_FP : o->d, work = RA_FP + EMIT_SCRATCH_X;
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, o->ref);
    struct emit_opnd c = emit_opnd_fp(e, o->c, o->from);
    if (keep)
        emit_move(e, IR_F64, EMIT_FRAME_SCRATCH, b);
    emit_move(e, o->from, b, o->b);
    emit_move(e, o->from, work, o->a);
    emit_opxx(e, emit_fma_op(o->ins, FMA_213), EMIT_SCRATCH_X, emit_xmm(b), c);
    if (keep)
        emit_move(e, IR_F64, b, EMIT_FRAME_SCRATCH);
    asm_xx(&e->a, o->wide ? ASM_UCOMISD : ASM_UCOMISS, EMIT_SCRATCH_X, EMIT_SCRATCH_X);
    asm_jcc(&e->a, CC_P, &slow->label);
    emit_move(e, o->ins->type, o->d, work);
    asm_bind(&e->a, &slow->resume);
    return true;
}

/* The result takes the place of an operand, which xmm15 keeps for the exact function. */
static bool emit_fma_in_place(struct emit *e, struct emit_float *o)
{
    enum fma_form form = FMA_231;
    ra_loc r = o->a, rm = o->b;
    if (o->d == o->a || o->d == o->b) {
        form = FMA_213;
        r = o->d == o->a ? o->b : o->a;
        rm = o->c;
    } else if (o->d != o->c) {
        return false;
    }
    if (!ra_is_fp(r)) {
        if (!ra_is_fp(rm))
            return false;
        ra_loc l = r;
        r = rm;
        rm = l;
        form = form == FMA_213 ? FMA_132 : form;
    }
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, o->ref);
    slow->to = 1u + emit_xmm(o->d);
    struct emit_opnd m = emit_opnd_fp(e, rm, o->from);
    asm_xx(&e->a, ASM_MOVAPS, EMIT_SCRATCH_X, emit_xmm(o->d));
    emit_opxx(e, emit_fma_op(o->ins, form), emit_xmm(o->d), emit_xmm(r), m);
    asm_xx(&e->a, o->wide ? ASM_UCOMISD : ASM_UCOMISS, emit_xmm(o->d), emit_xmm(o->d));
    asm_jcc(&e->a, CC_P, &slow->label);
    asm_bind(&e->a, &slow->resume);
    return true;
}

static bool emit_fma(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    if (!e->t->features.fma)
        return false;
    if (!ra_is_fp(o.a) && !ra_is_fp(o.b) && !ra_is_fp(o.c))
        return emit_fma_memory(e, &o);
    if (ra_is_fp(o.d) && emit_fma_in_place(e, &o))
        return true;
    if (!ra_is_fp(o.b) && ra_is_fp(o.a)) {
        ra_loc l = o.a;
        o.a = o.b;
        o.b = l;
    }
    /* The exact function needs the operands as they were. */
    if (o.d == o.a || o.d == o.b || o.d == o.c)
        o.work = EMIT_SCRATCH_X;
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
    if (ra_is_fp(o.b)) {
        struct emit_opnd c = emit_opnd_fp(e, o.c, o.from);
        emit_move(e, o.from, (ra_loc)(RA_FP + o.work), o.a);
        emit_opxx(e, emit_fma_op(o.ins, FMA_213), o.work, emit_xmm(o.b), c);
    } else {
        struct emit_opnd b = emit_opnd_fp(e, o.b, o.from);
        emit_move(e, o.from, (ra_loc)(RA_FP + o.work), o.a);
        emit_opxx(e, emit_fma_op(o.ins, FMA_132), o.work, emit_xmm(o.c), b);
    }
    asm_xx(&e->a, o.wide ? ASM_UCOMISD : ASM_UCOMISS, o.work, o.work);
    asm_jcc(&e->a, CC_P, &slow->label);
    emit_move(e, o.ins->type, o.d, (ra_loc)(RA_FP + o.work));
    asm_bind(&e->a, &slow->resume);
    return true;
}

/* --- comparisons ------------------------------------------------------------------------------ */

static void emit_min_max(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
    struct emit_opnd b = emit_opnd_fp(e, o.b, o.from);
    enum asm_op op =
        o.ins->op == IR_FMIN ? (o.wide ? ASM_MINSD : ASM_MINSS) : (o.wide ? ASM_MAXSD : ASM_MAXSS);
    emit_move(e, o.from, RA_FP + EMIT_SCRATCH_X, o.a);
    emit_opx(e, o.wide ? ASM_UCOMISD : ASM_UCOMISS, EMIT_SCRATCH_X, b);
    asm_jcc(&e->a, CC_E, &slow->label);
    emit_opx(e, op, EMIT_SCRATCH_X, b);
    emit_move(e, o.from, o.d, RA_FP + EMIT_SCRATCH_X);
    asm_bind(&e->a, &slow->resume);
}

bool emit_is_float_order(const struct emit *e, ir_ref ref)
{
    unsigned op = ir_at(e->ir, ref)->op;
    return op >= IR_FEQ && op <= IR_FLE_SILENT;
}

/* b above a: false when they are unordered. */
static void emit_float_order(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    bool silent = o.ins->op >= IR_FLT_SILENT;
    struct emit_opnd a = emit_opnd_fp(e, o.a, o.from);
    enum asm_xmm b = emit_fp(e, o.ins->arg[1], EMIT_SCRATCH_X);
    if (silent) {
        struct emit_stub *s = emit_stub(e, STUB_SILENT, ref);
        emit_opx(e, o.wide ? ASM_UCOMISD : ASM_UCOMISS, b, a);
        asm_jcc(&e->a, CC_P, &s->label);
        asm_bind(&e->a, &s->resume);
    } else {
        emit_opx(e, o.wide ? ASM_COMISD : ASM_COMISS, b, a);
    }
    emit_result_cc(e, ref, o.ins->op == IR_FLT || o.ins->op == IR_FLT_SILENT ? CC_A : CC_AE);
}

/* Equal, and not unordered. */
static void emit_float_equal(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    struct emit_opnd b = emit_opnd_fp(e, o.b, o.from);
    enum asm_xmm a = emit_fp(e, o.ins->arg[0], EMIT_SCRATCH_X);
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    emit_opx(e, o.wide ? ASM_UCOMISD : ASM_UCOMISS, a, b);
    asm_setcc_r(&e->a, CC_NP, EMIT_SCRATCH);
    asm_setcc_r(&e->a, CC_E, temp);
    asm_rr(&e->a, ASM_AND, 1, EMIT_SCRATCH, temp);
    if (o.d == RA_FLAGS) {
        emit_result_cc(e, ref, CC_NE);
        return;
    }
    asm_rr(&e->a, ASM_MOVZX8, 4, EMIT_SCRATCH, EMIT_SCRATCH);
    emit_move(e, IR_I1, o.d, EMIT_SCRATCH);
}

/* Whether the rounding mode is the one the host's unit has, or does not matter. */
static bool emit_rounds(const struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    unsigned from = ir_at(e->ir, ins->arg[0])->type;
    if (ins->aux == 7)
        return true;
    switch (ins->op) {
    case IR_FMIN:
    case IR_FMAX:
    case IR_FEQ:
    case IR_FLT:
    case IR_FLE:
    case IR_FLT_SILENT:
    case IR_FLE_SILENT:
        return true;
    case IR_FCVT:
        return from == IR_F32;
    case IR_FCVT_FROM_S:
    case IR_FCVT_FROM_U:
        return from == IR_I32 && ins->type == IR_F64;
    case IR_FCVT_TO_S:
        return ins->aux == FP_RTZ;
    default:
        return false;
    }
}

/* --- integers --------------------------------------------------------------------------------- */

/*
 * With another rounding mode than the host's: to the slow path unless -2^n <= a < 2^n, which are
 * exact in the format.
 */
static void emit_check_exact(struct emit *e, const struct emit_float *o, bool is_unsigned,
                             struct emit_stub *slow)
{
    int32_t n = o->ins->type == IR_F64 ? 53 : 24;
    unsigned size = emit_size(o->from);
    if (is_unsigned) {
        emit_move(e, o->from, EMIT_SCRATCH, o->a);
        asm_ri(&e->a, ASM_SHR, size, EMIT_SCRATCH, n);
    } else {
        struct emit_opnd a = emit_opnd_rm(e, o->ins->arg[0], true);
        asm_mov_imm(&e->a, EMIT_SCRATCH, UINT64_C(1) << n);
        emit_op(e, ASM_ADD, size, EMIT_SCRATCH, a);
        asm_ri(&e->a, ASM_SHR, size, EMIT_SCRATCH, n + 1);
    }
    asm_jcc(&e->a, CC_NE, &slow->label);
}

static void emit_from_int(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    bool is_unsigned = o.ins->op == IR_FCVT_FROM_U, rounds = emit_rounds(e, ref);
    unsigned size = o.from == IR_I64 || is_unsigned ? 8 : 4;
    bool high = is_unsigned && o.from == IR_I64 && rounds;
    struct emit_stub *slow = high || !rounds ? emit_stub(e, STUB_SLOW, ref) : NULL;
    if (!rounds)
        emit_check_exact(e, &o, is_unsigned, slow);
    enum asm_reg r = EMIT_SCRATCH;
    if (ra_is_gpr(o.a) && !(is_unsigned && o.from == IR_I32))
        r = (enum asm_reg)o.a;
    else /* clears the upper half, too */
        emit_move(e, o.from, EMIT_SCRATCH, o.a);
    if (high) {
        asm_rr(&e->a, ASM_TEST, 8, r, r);
        asm_jcc(&e->a, CC_S, &slow->label);
    }
    asm_xx(&e->a, ASM_PXOR, o.work, o.work);
    asm_xr(&e->a, o.ins->type == IR_F64 ? ASM_CVTSI2SD : ASM_CVTSI2SS, size, o.work, r);
    emit_move(e, o.ins->type, o.d, (ra_loc)(RA_FP + o.work));
    if (slow)
        asm_bind(&e->a, &slow->resume);
}

/* To the slow path unless 0 <= a < 2^limit, by sign and exponent. */
static void emit_check_unsigned(struct emit *e, const struct emit_float *o, unsigned limit,
                                struct emit_stub *slow)
{
    emit_move(e, o->from, EMIT_SCRATCH, o->a);
    asm_ri(&e->a, ASM_SHR, o->wide ? 8 : 4, EMIT_SCRATCH, o->wide ? 52 : 23);
    asm_ri(&e->a, ASM_CMP, 4, EMIT_SCRATCH, (int32_t)((o->wide ? 1023 : 127) + limit));
    asm_jcc(&e->a, CC_AE, &slow->label);
}

static void emit_to_int(struct emit *e, ir_ref ref)
{
    struct emit_float o = emit_float_of(e, ref);
    bool is_unsigned = o.ins->op == IR_FCVT_TO_U, cut = o.ins->aux == FP_RTZ;
    unsigned size = o.ins->type == IR_I64 || is_unsigned ? 8 : 4;
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
    if (is_unsigned)
        emit_check_unsigned(e, &o, o.ins->type == IR_I64 ? 63 : 32, slow);
    enum asm_xmm a = emit_fp(e, o.ins->arg[0], EMIT_SCRATCH_X);
    enum asm_op op =
        o.wide ? (cut ? ASM_CVTTSD2SI : ASM_CVTSD2SI) : (cut ? ASM_CVTTSS2SI : ASM_CVTSS2SI);
    asm_rx(&e->a, op, size, EMIT_SCRATCH, a);
    if (!is_unsigned) { /* the smallest integer stands for all that do not fit */
        asm_ri(&e->a, ASM_CMP, size, EMIT_SCRATCH, 1);
        asm_jcc(&e->a, CC_O, &slow->label);
    }
    emit_move(e, o.ins->type, o.d, EMIT_SCRATCH);
    asm_bind(&e->a, &slow->resume);
}

/* --- flags ------------------------------------------------------------------------------------ */

/* Those of MXCSR and those that are in fflags already. */
void emit_fflags(struct emit *e, ir_ref ref)
{
    static const uint8_t lea[16] = {
        [RCX] = 0x0d, [RDX] = 0x15, [RBX] = 0x1d, [RSI] = 0x35, [RDI] = 0x3d, [R8] = 0x05,
        [R9] = 0x0d,  [R10] = 0x15, [R11] = 0x1d, [R12] = 0x25, [R13] = 0x2d, [R14] = 0x35};
    ra_loc d = emit_loc(e, ref);
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    struct asm_mem scratch = emit_mem(e, EMIT_FRAME_SCRATCH);
    if (d == RA_NONE)
        return;
    asm_m(&e->a, ASM_STMXCSR, 4, scratch);
    const uint8_t code[] = {temp >= R8 ? 0x4c : 0x48, 0x8d, lea[temp]};
    asm_data(&e->a, code, sizeof code); /* lea temp, [rip + table] */
    emit_ref(e, BACK_THUNK_FLAGS);
    asm_rm(&e->a, ASM_MOV, 4, EMIT_SCRATCH, scratch);
    asm_ri(&e->a, ASM_AND, 4, EMIT_SCRATCH, 63);
    asm_rm(&e->a, ASM_MOVZX8, 4, EMIT_SCRATCH, asm_mem_index(temp, EMIT_SCRATCH, 0, 0));
    asm_rm(&e->a, ASM_MOVZX8, 4, temp, asm_mem(RBP, e->t->fflags_offset));
    asm_rr(&e->a, ASM_OR, 4, EMIT_SCRATCH, temp);
    emit_move(e, IR_I64, d, EMIT_SCRATCH);
}

static void emit_flags_are(struct emit *e, ir_ref value)
{
    struct asm_mem scratch = emit_mem(e, EMIT_FRAME_SCRATCH);
    asm_m(&e->a, ASM_STMXCSR, 4, scratch);
    asm_mi(&e->a, ASM_AND, 4, scratch, ~63);
    asm_m(&e->a, ASM_LDMXCSR, 4, scratch);
    emit_move(e, IR_I64, EMIT_SCRATCH, emit_loc(e, value));
    asm_ri(&e->a, ASM_AND, 4, EMIT_SCRATCH, 31);
    asm_mr(&e->a, ASM_MOV, 1, asm_mem(RBP, e->t->fflags_offset), EMIT_SCRATCH);
}

void emit_fflags_set(struct emit *e, ir_ref ref)
{
    emit_flags_are(e, ir_at(e->ir, ref)->arg[0]);
}

void emit_silent_stub(struct emit *e, struct emit_stub *s)
{
    asm_bind(&e->a, &s->label);
    emit_flags_are(e, ir_at(e->ir, s->ref)->arg[2]);
    asm_rr(&e->a, ASM_XOR, 4, EMIT_SCRATCH, EMIT_SCRATCH);
    asm_ri(&e->a, ASM_CMP, 4, EMIT_SCRATCH, 1); /* below: neither A nor AE */
    asm_jmp(&e->a, &s->resume);
}

/* --- dispatch --------------------------------------------------------------------------------- */

/* Whether it can be done here at all, however its operands are rounded. */
static bool emit_float_here(const struct emit *e, ir_ref ref)
{
    switch (ir_at(e->ir, ref)->op) {
    case IR_FCVT_TO_U:
        return ir_at(e->ir, ref)->aux == FP_RTZ;
    case IR_FCVT_FROM_S:
    case IR_FCVT_FROM_U:
        return true;
    default:
        return emit_rounds(e, ref);
    }
}

bool emit_float(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    if (!(ir_op_info[ins->op].flags & IR_F_FPENV) || !emit_float_here(e, ref))
        return false;
    switch (ins->op) {
    case IR_FADD:
        emit_arith(e, ref, ASM_ADDSS, ASM_ADDSD);
        return true;
    case IR_FSUB:
        emit_arith(e, ref, ASM_SUBSS, ASM_SUBSD);
        return true;
    case IR_FMUL:
        emit_arith(e, ref, ASM_MULSS, ASM_MULSD);
        return true;
    case IR_FDIV:
        emit_arith(e, ref, ASM_DIVSS, ASM_DIVSD);
        return true;
    case IR_FSQRT:
        emit_one(e, ref, ASM_SQRTSS, ASM_SQRTSD);
        return true;
    case IR_FCVT:
        if (ins->type == ir_at(e->ir, ins->arg[0])->type)
            return false;
        emit_one(e, ref, ASM_CVTSS2SD, ASM_CVTSD2SS);
        return true;
    case IR_FMIN:
    case IR_FMAX:
        emit_min_max(e, ref);
        return true;
    case IR_FEQ:
        emit_float_equal(e, ref);
        return true;
    case IR_FLT:
    case IR_FLE:
    case IR_FLT_SILENT:
    case IR_FLE_SILENT:
        emit_float_order(e, ref);
        return true;
    case IR_FCVT_FROM_S:
    case IR_FCVT_FROM_U:
        emit_from_int(e, ref);
        return true;
    case IR_FCVT_TO_S:
    case IR_FCVT_TO_U:
        emit_to_int(e, ref);
        return true;
    default:
        return emit_fma(e, ref);
    }
}
