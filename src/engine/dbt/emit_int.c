/* Integer operations, comparisons and selections. */
#include "engine/dbt/emit.h"

#include <assert.h>

/* What all operations start from. */
struct emit_bin {
    const struct ir_ins *ins;
    ir_ref a, b;
    ra_loc d, la, lb;
    unsigned size;
};

static struct emit_bin emit_bin(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    struct emit_bin o = {
        .ins = ins,
        .a = ins->arg[0],
        .b = ins->arg[1],
        .d = emit_loc(e, ref),
        .la = emit_loc(e, ins->arg[0]),
        .lb = ins->arg[1] ? emit_loc(e, ins->arg[1]) : RA_NONE,
        .size = emit_size(ins->type),
    };
    return o;
}

static void emit_swap(struct emit_bin *o)
{
    ir_ref r = o->a;
    ra_loc l = o->la;
    o->a = o->b;
    o->la = o->lb;
    o->b = r;
    o->lb = l;
}

static void emit_to(struct emit *e, const struct emit_bin *o, enum asm_reg from)
{
    emit_move(e, o->ins->type, o->d, (ra_loc)from);
}

/* The register to compute in: the result's, unless that would overwrite b. */
static enum asm_reg emit_work(const struct emit_bin *o)
{
    bool free = ra_is_gpr(o->d) && (o->d != o->lb || o->d == o->la);
    return free ? (enum asm_reg)o->d : EMIT_SCRATCH;
}

/* d op= b in memory. */
static bool emit_alu_memory(struct emit *e, enum asm_op op, const struct emit_bin *o)
{
    if (!ra_is_frame(o->d) || o->d != o->la || op == ASM_IMUL)
        return false;
    if (ra_is_gpr(o->lb)) {
        asm_mr(&e->a, op, o->size, emit_mem(e, o->d), (enum asm_reg)o->lb);
        return true;
    }
    if (ra_is_const(o->lb) && (o->size == 4 || emit_is_imm32(e, o->b))) {
        asm_mi(&e->a, op, o->size, emit_mem(e, o->d), (int32_t)ir_at(e->ir, o->b)->imm);
        return true;
    }
    return false;
}

/* A sum of registers that goes elsewhere. */
static bool emit_lea(struct emit *e, enum asm_op op, const struct emit_bin *o)
{
    if (!ra_is_gpr(o->d) || !ra_is_gpr(o->la) || o->d == o->la || o->d == o->lb)
        return false;
    bool imm = ra_is_const(o->lb) && (o->size == 4 || emit_is_imm32(e, o->b));
    int64_t v = imm ? ir_at(e->ir, o->b)->imm : 0;
    struct asm_mem m;
    if (op == ASM_ADD && ra_is_gpr(o->lb))
        m = asm_mem_index((enum asm_reg)o->la, (enum asm_reg)o->lb, 0, 0);
    else if (op == ASM_ADD && imm)
        m = asm_mem((enum asm_reg)o->la, (int32_t)v);
    else if (op == ASM_SUB && imm && v != INT32_MIN)
        m = asm_mem((enum asm_reg)o->la, -(int32_t)v);
    else
        return false;
    asm_lea(&e->a, o->size, (enum asm_reg)o->d, m);
    return true;
}

static void emit_alu(struct emit *e, ir_ref ref, enum asm_op op)
{
    struct emit_bin o = emit_bin(e, ref);
    bool comm = ir_op_info[o.ins->op].flags & IR_F_COMM;
    if (comm && ((ra_is_const(o.la) && !ra_is_const(o.lb)) || (o.d == o.lb && o.d != o.la)))
        emit_swap(&o);
    if (emit_alu_memory(e, op, &o) || emit_lea(e, op, &o))
        return;
    enum asm_reg work = emit_work(&o);
    bool big = ra_is_const(o.lb) && o.size == 8 && !emit_is_imm32(e, o.b);
    if (big && work == EMIT_SCRATCH && comm && !ra_is_const(o.la)) {
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.lb);
        emit_op(e, op, o.size, EMIT_SCRATCH, emit_opnd_rm(e, o.a, true));
        emit_to(e, &o, EMIT_SCRATCH);
        return;
    }
    struct emit_opnd b = emit_opnd(e, o.b, work == EMIT_SCRATCH);
    if (op == ASM_IMUL && b.kind == OPND_IMM) {
        if (ra_is_gpr(o.la))
            asm_rri(&e->a, op, o.size, work, (enum asm_reg)o.la, b.imm);
        else if (ra_is_mem(o.la))
            asm_rmi(&e->a, op, o.size, work, emit_mem(e, o.la), b.imm);
        else {
            emit_move(e, o.ins->type, (ra_loc)work, o.la);
            asm_rri(&e->a, op, o.size, work, work, b.imm);
        }
    } else {
        emit_move(e, o.ins->type, (ra_loc)work, o.la);
        emit_op(e, op, o.size, work, b);
    }
    emit_to(e, &o, work);
}

static void emit_and_not(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    enum asm_reg work = ra_is_gpr(o.d) ? (enum asm_reg)o.d : EMIT_SCRATCH;
    if (e->t->features.bmi1 && ra_is_gpr(o.lb)) {
        struct emit_opnd a = emit_opnd_rm(e, o.a, false);
        if (a.kind == OPND_REG)
            asm_rrr(&e->a, ASM_ANDN, o.size, work, (enum asm_reg)o.lb, (enum asm_reg)a.reg);
        else
            asm_rrm(&e->a, ASM_ANDN, o.size, work, (enum asm_reg)o.lb, a.mem);
    } else {
        struct emit_opnd a = emit_opnd(e, o.a, true);
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.lb);
        asm_r(&e->a, ASM_NOT, o.size, EMIT_SCRATCH);
        emit_op(e, ASM_AND, o.size, EMIT_SCRATCH, a);
        work = EMIT_SCRATCH;
    }
    emit_to(e, &o, work);
}

/* a + (b << scale): whichever is in no register passes through rax. */
static void emit_add_scaled(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    unsigned scale = o.ins->op - IR_ADDX2 + 1u;
    enum asm_reg work = ra_is_gpr(o.d) ? (enum asm_reg)o.d : EMIT_SCRATCH;
    if (ra_is_gpr(o.la)) {
        enum asm_reg b = emit_gpr(e, o.b, EMIT_SCRATCH);
        asm_lea(&e->a, o.size, work, asm_mem_index((enum asm_reg)o.la, b, scale, 0));
    } else if (ra_is_gpr(o.lb)) {
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
        asm_lea(&e->a, o.size, work, asm_mem_index(EMIT_SCRATCH, (enum asm_reg)o.lb, scale, 0));
    } else {
        struct emit_opnd a = emit_opnd(e, o.a, true);
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.lb);
        asm_ri(&e->a, ASM_SHL, o.size, EMIT_SCRATCH, (int32_t)scale);
        emit_op(e, ASM_ADD, o.size, EMIT_SCRATCH, a);
        work = EMIT_SCRATCH;
    }
    emit_to(e, &o, work);
}

/* AND with what a move can do. */
static bool emit_and_move(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    if (!ir_is_const(e->ir, o.b) || ra_is_const(o.la))
        return false;
    uint64_t mask = (uint64_t)ir_at(e->ir, o.b)->imm;
    enum asm_op op = mask == 0xff ? ASM_MOVZX8 : mask == 0xffff ? ASM_MOVZX16 : ASM_MOV;
    if (op == ASM_MOV && mask != 0xffffffff)
        return false;
    enum asm_reg work = ra_is_gpr(o.d) ? (enum asm_reg)o.d : EMIT_SCRATCH;
    emit_op(e, op, 4, work, emit_opnd_rm(e, o.a, false));
    emit_to(e, &o, work);
    return true;
}

/* --- shifts ----------------------------------------------------------------------------------- */

static void emit_shift_const(struct emit *e, const struct emit_bin *o, enum asm_op op)
{
    enum asm_reg work = ra_is_gpr(o->d) ? (enum asm_reg)o->d : EMIT_SCRATCH;
    int32_t n = (int32_t)(ir_at(e->ir, o->b)->imm & (o->size * 8 - 1));
    bool rotate = op == ASM_ROL || op == ASM_ROR;
    if (ra_is_frame(o->d) && o->d == o->la) {
        asm_mi(&e->a, op, o->size, emit_mem(e, o->d), n);
        return;
    }
    if (op == ASM_SHL && n == 1 && ra_is_gpr(o->la) && ra_is_gpr(o->d) && o->la != o->d) {
        asm_lea(&e->a, o->size, work,
                asm_mem_index((enum asm_reg)o->la, (enum asm_reg)o->la, 0, 0));
        return;
    }
    if (rotate && e->t->features.bmi2 && o->la != o->d && ra_is_gpr(o->la)) {
        if (op == ASM_ROL)
            n = (int32_t)(o->size * 8) - n;
        asm_rri(&e->a, ASM_RORX, o->size, work, (enum asm_reg)o->la,
                n & (int32_t)(o->size * 8 - 1));
    } else {
        emit_move(e, o->ins->type, (ra_loc)work, o->la);
        asm_ri(&e->a, op, o->size, work, n);
    }
    emit_to(e, o, work);
}

/* With BMI2: any registers, flags are kept. */
static void emit_shift_x(struct emit *e, const struct emit_bin *o, enum asm_op op)
{
    enum asm_reg work = ra_is_gpr(o->d) ? (enum asm_reg)o->d : EMIT_SCRATCH;
    struct emit_opnd a = emit_opnd_rm(e, o->a, !ra_is_gpr(o->lb));
    enum asm_reg count = emit_gpr(e, o->b, EMIT_SCRATCH);
    if (a.kind == OPND_REG)
        asm_rrr(&e->a, op, o->size, work, (enum asm_reg)a.reg, count);
    else
        asm_rmr(&e->a, op, o->size, work, a.mem, count);
    emit_to(e, o, work);
}

static void emit_shift(struct emit *e, ir_ref ref, enum asm_op op, enum asm_op x)
{
    struct emit_bin o = emit_bin(e, ref);
    if (ir_is_const(e->ir, o.b)) {
        emit_shift_const(e, &o, op);
    } else if (x != ASM_OP_COUNT && e->t->features.bmi2) {
        emit_shift_x(e, &o, x);
    } else {
        emit_move(e, o.ins->type, RCX, o.lb);
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
        asm_r_cl(&e->a, op, o.size, EMIT_SCRATCH);
        emit_to(e, &o, EMIT_SCRATCH);
    }
}

/* --- products and quotients ------------------------------------------------------------------- */

static void emit_mul_high(struct emit *e, ir_ref ref, enum asm_op op)
{
    struct emit_bin o = emit_bin(e, ref);
    bool mixed = o.ins->op == IR_MULHSU;
    if (!mixed && ra_is_const(o.lb))
        emit_swap(&o);
    struct emit_opnd b = emit_opnd_rm(e, o.b, true);
    emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
    if (b.kind == OPND_REG)
        asm_r(&e->a, op, o.size, (enum asm_reg)b.reg);
    else
        asm_m(&e->a, op, o.size, b.mem);
    if (mixed) { /* signed a is a minus 2^n when negative */
        emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
        asm_ri(&e->a, ASM_SAR, o.size, EMIT_SCRATCH, (int32_t)o.size * 8 - 1);
        emit_op(e, ASM_AND, o.size, EMIT_SCRATCH, b);
        asm_rr(&e->a, ASM_SUB, o.size, RDX, EMIT_SCRATCH);
    }
    emit_to(e, &o, RDX);
}

static void emit_clmul(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    enum asm_xmm other = emit_xmm(EMIT_CLMUL_X);
    emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
    asm_xr(&e->a, ASM_MOVD, o.size, EMIT_SCRATCH_X, EMIT_SCRATCH);
    emit_move(e, o.ins->type, EMIT_SCRATCH, o.lb);
    asm_xr(&e->a, ASM_MOVD, o.size, other, EMIT_SCRATCH);
    asm_xxi(&e->a, ASM_PCLMULQDQ, EMIT_SCRATCH_X, other, 0);
    if (o.ins->op == IR_CLMULH)
        asm_xi(&e->a, ASM_PSRLDQ, EMIT_SCRATCH_X, (uint8_t)o.size);
    asm_rx(&e->a, ASM_MOVD, o.size, EMIT_SCRATCH, EMIT_SCRATCH_X);
    emit_to(e, &o, EMIT_SCRATCH);
}

static bool emit_is_rem(unsigned op)
{
    return op == IR_REMS || op == IR_REMU;
}

static void emit_div(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    bool is_signed = o.ins->op == IR_DIVS || o.ins->op == IR_REMS;
    struct emit_opnd b = emit_opnd_rm(e, o.b, true);
    emit_move(e, o.ins->type, EMIT_SCRATCH, o.la);
    int64_t divisor = ir_is_const(e->ir, o.b) ? ir_at(e->ir, o.b)->imm : 0;
    struct emit_stub *zero = NULL, *minus = NULL;
    if (!divisor) {
        zero = emit_stub(e, STUB_DIV_ZERO, ref);
        if (b.kind == OPND_REG)
            asm_rr(&e->a, ASM_TEST, o.size, (enum asm_reg)b.reg, (enum asm_reg)b.reg);
        else
            asm_mi(&e->a, ASM_CMP, o.size, b.mem, 0);
        asm_jcc(&e->a, CC_E, &zero->label);
    }
    if (is_signed && (!divisor || divisor == -1)) {
        uint32_t at = zero ? (uint32_t)(zero - e->stub) : 0;
        minus = emit_stub(e, STUB_DIV_MINUS, ref);
        zero = zero ? e->stub + at : NULL;
        if (b.kind == OPND_REG)
            asm_ri(&e->a, ASM_CMP, o.size, (enum asm_reg)b.reg, -1);
        else
            asm_mi(&e->a, ASM_CMP, o.size, b.mem, -1);
        asm_jcc(&e->a, CC_E, &minus->label);
    }
    if (is_signed)
        asm_none(&e->a, o.size == 8 ? ASM_CQO : ASM_CDQ);
    else
        asm_rr(&e->a, ASM_XOR, 4, RDX, RDX);
    enum asm_op op = is_signed ? ASM_IDIV : ASM_DIV;
    if (b.kind == OPND_REG)
        asm_r(&e->a, op, o.size, (enum asm_reg)b.reg);
    else
        asm_m(&e->a, op, o.size, b.mem);
    if (zero)
        asm_bind(&e->a, &zero->resume);
    if (minus)
        asm_bind(&e->a, &minus->resume);
    emit_to(e, &o, emit_is_rem(o.ins->op) ? RDX : RAX);
}

/* rax is the dividend. By zero: all ones, and the dividend; by -1: its opposite, and 0. */
void emit_div_stub(struct emit *e, struct emit_stub *s)
{
    const struct ir_ins *ins = ir_at(e->ir, s->ref);
    unsigned size = emit_size(ins->type);
    asm_bind(&e->a, &s->label);
    if (s->kind == STUB_DIV_ZERO && emit_is_rem(ins->op))
        asm_rr(&e->a, ASM_MOV, size, RDX, RAX);
    else if (s->kind == STUB_DIV_ZERO)
        asm_mov_imm(&e->a, RAX, UINT64_MAX);
    else if (emit_is_rem(ins->op))
        asm_rr(&e->a, ASM_XOR, 4, RDX, RDX);
    else
        asm_r(&e->a, ASM_NEG, size, RAX);
    asm_jmp(&e->a, &s->resume);
}

/* --- one operand ------------------------------------------------------------------------------ */

static void emit_unary(struct emit *e, ir_ref ref, enum asm_op op)
{
    struct emit_bin o = emit_bin(e, ref);
    enum asm_reg work = ra_is_gpr(o.d) ? (enum asm_reg)o.d : EMIT_SCRATCH;
    emit_move(e, o.ins->type, (ra_loc)work, o.la);
    if (op == ASM_OP_COUNT)
        asm_bswap(&e->a, o.size, work);
    else
        asm_r(&e->a, op, o.size, work);
    emit_to(e, &o, work);
}

/* Register from register or memory; size is the operation's. */
static void emit_convert(struct emit *e, ir_ref ref, enum asm_op op, unsigned size)
{
    struct emit_bin o = emit_bin(e, ref);
    enum asm_reg work = ra_is_gpr(o.d) ? (enum asm_reg)o.d : EMIT_SCRATCH;
    emit_op(e, op, size, work, emit_opnd_rm(e, o.a, false));
    emit_to(e, &o, work);
}

/* Whether the register of an I32 value has nothing above it: a 32-bit operation has written it. */
static bool emit_is_clean(const struct emit *e, ir_ref ref)
{
    unsigned op = ir_at(e->ir, ref)->op;
    return (op >= IR_ADD && op <= IR_MUL) || (op >= IR_ANDN && op <= IR_NEG);
}

static void emit_zext32(struct emit *e, ir_ref ref)
{
    ir_ref a = ir_at(e->ir, ref)->arg[0];
    ra_loc d = emit_loc(e, ref);
    if (ra_is_gpr(emit_loc(e, a)) && emit_is_clean(e, a) && (ra_is_mem(d) || d == emit_loc(e, a)))
        emit_move(e, IR_I64, d, emit_loc(e, a));
    else
        emit_convert(e, ref, ASM_MOV, 4);
}

static void emit_truncate(struct emit *e, ir_ref ref)
{
    emit_move(e, IR_I32, emit_loc(e, ref), emit_loc(e, ir_at(e->ir, ref)->arg[0]));
}

static void emit_bitcast(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    emit_move(e, ins->type, emit_loc(e, ref), emit_loc(e, ins->arg[0]));
}

/* --- conditions ------------------------------------------------------------------------------- */

static enum asm_cc emit_cc_of(unsigned op)
{
    switch (op) {
    case IR_EQ:
        return CC_E;
    case IR_NE:
        return CC_NE;
    case IR_LTS:
        return CC_L;
    case IR_GES:
        return CC_GE;
    case IR_LTU:
        return CC_B;
    default:
        return CC_AE;
    }
}

static enum asm_cc emit_cc_swapped(enum asm_cc cc)
{
    switch (cc) {
    case CC_L:
        return CC_G;
    case CC_GE:
        return CC_LE;
    case CC_B:
        return CC_A;
    case CC_AE:
        return CC_BE;
    default:
        return cc;
    }
}

static enum asm_cc emit_compare(struct emit *e, ir_ref ref)
{
    struct emit_bin o = emit_bin(e, ref);
    unsigned size = emit_size(ir_at(e->ir, o.a)->type);
    enum asm_cc cc = emit_cc_of(o.ins->op);
    if (ra_is_const(o.la) && !ra_is_const(o.lb)) {
        emit_swap(&o);
        cc = emit_cc_swapped(cc);
    }
    if (ra_is_gpr(o.la)) {
        struct emit_opnd b = emit_opnd(e, o.b, false);
        if (b.kind == OPND_IMM && b.imm == 0)
            asm_rr(&e->a, ASM_TEST, size, (enum asm_reg)o.la, (enum asm_reg)o.la);
        else
            emit_op(e, ASM_CMP, size, (enum asm_reg)o.la, b);
    } else if (ra_is_mem(o.la) && ra_is_gpr(o.lb)) {
        asm_mr(&e->a, ASM_CMP, size, emit_mem(e, o.la), (enum asm_reg)o.lb);
    } else if (ra_is_mem(o.la) && ra_is_const(o.lb) && (size == 4 || emit_is_imm32(e, o.b))) {
        asm_mi(&e->a, ASM_CMP, size, emit_mem(e, o.la), (int32_t)ir_at(e->ir, o.b)->imm);
    } else {
        struct emit_opnd b = emit_opnd(e, o.b, true);
        emit_move(e, ir_at(e->ir, o.a)->type, EMIT_SCRATCH, o.la);
        emit_op(e, ASM_CMP, size, EMIT_SCRATCH, b);
    }
    return cc;
}

void emit_result_cc(struct emit *e, ir_ref ref, enum asm_cc cc)
{
    ra_loc d = emit_loc(e, ref);
    if (d == RA_FLAGS) {
        e->flags_cc[ref] = (uint8_t)cc;
        return;
    }
    enum asm_reg work = ra_is_gpr(d) ? (enum asm_reg)d : EMIT_SCRATCH;
    asm_setcc_r(&e->a, cc, work);
    asm_rr(&e->a, ASM_MOVZX8, 4, work, work);
    emit_move(e, ir_at(e->ir, ref)->type, d, (ra_loc)work);
}

enum asm_cc emit_condition(struct emit *e, ir_ref ref)
{
    ra_loc l = emit_loc(e, ref);
    if (l == RA_FLAGS)
        return e->flags_cc[ref];
    if (ra_is_mem(l)) {
        asm_mi(&e->a, ASM_CMP, 4, emit_mem(e, l), 0);
    } else {
        enum asm_reg r = emit_gpr(e, ref, EMIT_SCRATCH);
        asm_rr(&e->a, ASM_TEST, 4, r, r);
    }
    return CC_NE;
}

static void emit_bool(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref), a = emit_loc(e, ins->arg[0]);
    if (a == RA_FLAGS) {
        emit_result_cc(e, ref, e->flags_cc[ins->arg[0]]);
        return;
    }
    enum asm_reg work = ra_is_gpr(d) ? (enum asm_reg)d : EMIT_SCRATCH;
    emit_op(e, ASM_MOV, 4, work, emit_opnd_rm(e, ins->arg[0], false));
    emit_move(e, ins->type, d, (ra_loc)work);
}

/* d = cc ? a : b, by a jump round a move: for what has no cmov. */
static void emit_select_jump(struct emit *e, enum asm_cc cc, unsigned type, ra_loc d, ra_loc a,
                             ra_loc b)
{
    struct asm_label skip = {0};
    bool through = !ra_is_reg(d);
    ra_loc work = through ? EMIT_SCRATCH : d;
    if (d == a && !through) {
        ra_loc l = a;
        a = b;
        b = l;
        cc ^= 1;
    }
    emit_move(e, type, work, b);
    asm_jcc_short(&e->a, cc ^ 1, &skip);
    emit_move(e, type, work, a);
    asm_bind(&e->a, &skip);
    emit_move(e, type, d, work);
}

static void emit_select(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref), a = emit_loc(e, ins->arg[1]), b = emit_loc(e, ins->arg[2]);
    enum asm_cc cc = emit_condition(e, ins->arg[0]);
    if (d == RA_NONE)
        return;
    if (emit_is_fp(ins->type) || (!ra_is_gpr(d) && ra_is_const(a) && ra_is_const(b))) {
        emit_select_jump(e, cc, ins->type, d, a, b);
        return;
    }
    /* The move of b must leave a alone. */
    if (ra_is_gpr(d) ? d == a : ra_is_const(a)) {
        ra_loc l = a;
        a = b;
        b = l;
        cc ^= 1;
    }
    if (d == a && d == b)
        return;
    ra_loc work = ra_is_gpr(d) ? d : EMIT_SCRATCH;
    emit_move(e, ins->type, work, b);
    if (ra_is_const(a)) {
        emit_move(e, ins->type, EMIT_SCRATCH, a);
        a = EMIT_SCRATCH;
    }
    if (ra_is_gpr(a))
        asm_cmov_rr(&e->a, cc, emit_size(ins->type), (enum asm_reg)work, (enum asm_reg)a);
    else
        asm_cmov_rm(&e->a, cc, emit_size(ins->type), (enum asm_reg)work, emit_mem(e, a));
    emit_move(e, ins->type, d, work);
}

/* --- dispatch --------------------------------------------------------------------------------- */

bool emit_has_int(const struct emit *e, ir_ref ref)
{
    switch (ir_at(e->ir, ref)->op) {
    case IR_CLZ:
        return e->t->features.lzcnt;
    case IR_CTZ:
        return e->t->features.bmi1;
    case IR_POPCNT:
        return e->t->features.popcnt;
    case IR_CLMUL:
    case IR_CLMULH:
        return e->t->features.pclmul;
    default:
        return true;
    }
}

static bool emit_arithmetic(struct emit *e, ir_ref ref)
{
    switch (ir_at(e->ir, ref)->op) {
    case IR_ADD:
        emit_alu(e, ref, ASM_ADD);
        return true;
    case IR_SUB:
        emit_alu(e, ref, ASM_SUB);
        return true;
    case IR_AND:
        if (!emit_and_move(e, ref))
            emit_alu(e, ref, ASM_AND);
        return true;
    case IR_OR:
        emit_alu(e, ref, ASM_OR);
        return true;
    case IR_XOR:
        emit_alu(e, ref, ASM_XOR);
        return true;
    case IR_MUL:
        emit_alu(e, ref, ASM_IMUL);
        return true;
    case IR_ANDN:
        emit_and_not(e, ref);
        return true;
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
        emit_add_scaled(e, ref);
        return true;
    case IR_SHL:
        emit_shift(e, ref, ASM_SHL, ASM_SHLX);
        return true;
    case IR_SHR:
        emit_shift(e, ref, ASM_SHR, ASM_SHRX);
        return true;
    case IR_SAR:
        emit_shift(e, ref, ASM_SAR, ASM_SARX);
        return true;
    case IR_ROL:
        emit_shift(e, ref, ASM_ROL, ASM_OP_COUNT);
        return true;
    case IR_ROR:
        emit_shift(e, ref, ASM_ROR, ASM_OP_COUNT);
        return true;
    case IR_MULHS:
        emit_mul_high(e, ref, ASM_IMUL1);
        return true;
    case IR_MULHU:
    case IR_MULHSU:
        emit_mul_high(e, ref, ASM_MUL1);
        return true;
    case IR_CLMUL:
    case IR_CLMULH:
        emit_clmul(e, ref);
        return true;
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU:
        emit_div(e, ref);
        return true;
    default:
        return false;
    }
}

bool emit_int(struct emit *e, ir_ref ref)
{
    unsigned size = emit_size(ir_at(e->ir, ref)->type);
    switch (ir_at(e->ir, ref)->op) {
    case IR_NOT:
        emit_unary(e, ref, ASM_NOT);
        return true;
    case IR_NEG:
        emit_unary(e, ref, ASM_NEG);
        return true;
    case IR_BSWAP:
        emit_unary(e, ref, ASM_OP_COUNT);
        return true;
    case IR_CLZ:
        emit_convert(e, ref, ASM_LZCNT, size);
        return true;
    case IR_CTZ:
        emit_convert(e, ref, ASM_TZCNT, size);
        return true;
    case IR_POPCNT:
        emit_convert(e, ref, ASM_POPCNT, size);
        return true;
    case IR_SEXT8:
        emit_convert(e, ref, ASM_MOVSX8, size);
        return true;
    case IR_SEXT16:
        emit_convert(e, ref, ASM_MOVSX16, size);
        return true;
    case IR_ZEXT8:
        emit_convert(e, ref, ASM_MOVZX8, 4);
        return true;
    case IR_ZEXT16:
        emit_convert(e, ref, ASM_MOVZX16, 4);
        return true;
    case IR_SEXT32:
        emit_convert(e, ref, ASM_MOVSXD, 8);
        return true;
    case IR_ZEXT32:
        emit_zext32(e, ref);
        return true;
    case IR_TRUNC32:
    case IR_XEXT32:
        emit_truncate(e, ref);
        return true;
    case IR_BITCAST:
        emit_bitcast(e, ref);
        return true;
    case IR_EQ:
    case IR_NE:
    case IR_LTS:
    case IR_GES:
    case IR_LTU:
    case IR_GEU:
        emit_result_cc(e, ref, emit_compare(e, ref));
        return true;
    case IR_BOOL:
        emit_bool(e, ref);
        return true;
    case IR_SELECT:
        emit_select(e, ref);
        return true;
    default:
        return emit_arithmetic(e, ref);
    }
}
