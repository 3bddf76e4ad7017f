/* Floating point without arithmetic: signs, boxes. */
#include "engine/dbt/emit.h"

/* All bits of xmm15. */
static void emit_ones(struct emit *e)
{
    asm_xx(&e->a, ASM_PCMPEQD, EMIT_SCRATCH_X, EMIT_SCRATCH_X);
}

/* FNEG, FABS, FBOX: the operand and a mask, both halves of a register if that is easier. */
static void emit_mask(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    bool wide = ins->type == IR_F64;
    ra_loc d = emit_loc(e, ref), a = emit_loc(e, ins->arg[0]);
    unsigned from = ir_at(e->ir, ins->arg[0])->type;
    enum asm_op op = ASM_ORPS;
    emit_ones(e);
    if (ins->op == IR_FBOX) {
        asm_xi(&e->a, ASM_PSLLQ, EMIT_SCRATCH_X, 32);
    } else if (ins->op == IR_FNEG) {
        asm_xi(&e->a, wide ? ASM_PSLLQ : ASM_PSLLD, EMIT_SCRATCH_X, wide ? 63 : 31);
        op = ASM_XORPS;
    } else {
        asm_xi(&e->a, wide ? ASM_PSRLQ : ASM_PSRLD, EMIT_SCRATCH_X, 1);
        op = ASM_ANDPS;
    }
    if (ra_is_fp(d)) {
        emit_move(e, from, d, a);
        asm_xx(&e->a, op, emit_xmm(d), EMIT_SCRATCH_X);
    } else if (ra_is_fp(a)) {
        asm_xx(&e->a, op, EMIT_SCRATCH_X, emit_xmm(a));
        emit_move(e, ins->type, d, RA_FP + EMIT_SCRATCH_X);
    } else { /* from memory to memory */
        emit_move(e, IR_F64, EMIT_FRAME_SCRATCH, RA_FP + EMIT_SCRATCH_X);
        emit_move(e, from, EMIT_SCRATCH, a);
        asm_rm(&e->a,
               op == ASM_ORPS    ? ASM_OR
               : op == ASM_ANDPS ? ASM_AND
                                 : ASM_XOR,
               8, EMIT_SCRATCH, emit_mem(e, EMIT_FRAME_SCRATCH));
        emit_move(e, ins->type, d, EMIT_SCRATCH);
    }
}

/* In xmm registers, none of which is lost: what of a changes is the sign, by a ^ b or ~(a ^ b). */
static bool emit_sign_inject_x(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref), a = emit_loc(e, ins->arg[0]), b = emit_loc(e, ins->arg[1]);
    bool wide = ins->type == IR_F64;
    if (!e->t->features.avx || !ra_is_fp(d) || !ra_is_fp(a) || !ra_is_fp(b))
        return false;
    if (d == a && ins->op != IR_FSGNJX)
        return false;
    emit_ones(e);
    asm_xi(&e->a, wide ? ASM_PSLLQ : ASM_PSLLD, EMIT_SCRATCH_X, wide ? 63 : 31);
    if (ins->op == IR_FSGNJX) {
        asm_xx(&e->a, ASM_ANDPS, EMIT_SCRATCH_X, emit_xmm(b));
        asm_xxx(&e->a, ASM_XORPS, emit_xmm(d), emit_xmm(a), EMIT_SCRATCH_X);
        return true;
    }
    asm_xxx(&e->a, ASM_XORPS, emit_xmm(d), emit_xmm(a), emit_xmm(b));
    asm_xxx(&e->a, ins->op == IR_FSGNJ ? ASM_ANDPS : ASM_ANDNPS, emit_xmm(d), emit_xmm(d),
            EMIT_SCRATCH_X);
    asm_xx(&e->a, ASM_XORPS, emit_xmm(d), emit_xmm(a));
    return true;
}

/* The sign of b, or its opposite, or that of both. */
static void emit_sign_inject(struct emit *e, ir_ref ref)
{
    if (emit_sign_inject_x(e, ref))
        return;
    const struct ir_ins *ins = ir_at(e->ir, ref);
    unsigned type = ins->type, size = emit_size(type);
    int32_t bit = type == IR_F64 ? 63 : 31;
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    emit_move(e, type, (ra_loc)temp, emit_loc(e, ins->arg[1]));
    if (ins->op == IR_FSGNJN)
        asm_r(&e->a, ASM_NOT, size, temp);
    asm_ri(&e->a, ASM_SHR, size, temp, bit);
    asm_ri(&e->a, ASM_SHL, size, temp, bit);
    emit_move(e, type, EMIT_SCRATCH, emit_loc(e, ins->arg[0]));
    if (ins->op != IR_FSGNJX)
        asm_ri(&e->a, ASM_BTR, size, EMIT_SCRATCH, bit);
    asm_rr(&e->a, ASM_XOR, size, EMIT_SCRATCH, temp);
    emit_move(e, type, emit_loc(e, ref), EMIT_SCRATCH);
}

static void emit_unbox(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref), a = emit_loc(e, ins->arg[0]);
    struct emit_stub *s = emit_stub(e, STUB_UNBOX, ref);
    if (ra_is_mem(a)) {
        struct asm_mem high = emit_mem(e, a);
        high.disp += 4;
        asm_mi(&e->a, ASM_CMP, 4, high, -1);
    } else {
        emit_move(e, IR_F64, EMIT_SCRATCH, a);
        asm_ri(&e->a, ASM_SAR, 8, EMIT_SCRATCH, 32);
        asm_ri(&e->a, ASM_CMP, 4, EMIT_SCRATCH, -1);
    }
    asm_jcc(&e->a, CC_NE, &s->label);
    if (ra_is_const(a)) {
        emit_move(e, IR_F32, EMIT_SCRATCH, a);
        a = EMIT_SCRATCH;
    }
    emit_move(e, IR_F32, d, a);
    asm_bind(&e->a, &s->resume);
}

void emit_nan_stub(struct emit *e, struct emit_stub *s)
{
    unsigned type = ir_at(e->ir, s->ref)->type;
    ra_loc d = s->kind == STUB_NAN ? (ra_loc)(RA_FP + s->to) : emit_loc(e, s->ref);
    asm_bind(&e->a, &s->label);
    asm_mov_imm(&e->a, EMIT_SCRATCH, type == IR_F64 ? UINT64_C(0x7ff8000000000000) : 0x7fc00000);
    emit_move(e, type, d, EMIT_SCRATCH);
    asm_jmp(&e->a, &s->resume);
}

bool emit_float_bits(struct emit *e, ir_ref ref)
{
    switch (ir_at(e->ir, ref)->op) {
    case IR_FNEG:
    case IR_FABS:
    case IR_FBOX:
        emit_mask(e, ref);
        return true;
    case IR_FSGNJ:
    case IR_FSGNJN:
    case IR_FSGNJX:
        emit_sign_inject(e, ref);
        return true;
    case IR_FUNBOX:
        emit_unbox(e, ref);
        return true;
    default:
        return false;
    }
}
