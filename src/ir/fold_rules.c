/*
 * The rules of folding: one line in the table at the end, one small function. Rules of an operation
 * are tried in the order of the table. No two lines may have the same pattern (tests/ir checks it).
 *
 * In a rule, f->l and f->r are the instructions that make a and b. Constants are the right operand
 * of what may be exchanged. A rule returns a value, IR_FOLD_RETRY after changing *f, or 0.
 */
#include "ir/impl.h"

/* --- helpers -------------------------------------------------------------------------------- */

static ir_ref fold_cst(const struct ir_fold *f, uint64_t v)
{
    return ir_const(f->ir, f->type, (int64_t)v);
}

static ir_ref fold_new1(const struct ir_fold *f, enum ir_op op, ir_ref a)
{
    return ir_op1(f->ir, op, a);
}

static ir_ref fold_new2(const struct ir_fold *f, enum ir_op op, ir_ref a, ir_ref b)
{
    return ir_op2(f->ir, op, a, b);
}

/* Operand b becomes the constant v, and a what is given. */
static ir_ref fold_with(struct ir_fold *f, ir_ref a, uint64_t v)
{
    f->b = ir_const(f->ir, f->ir->ins[f->b].type, (int64_t)v);
    f->a = a;
    return f->b ? IR_FOLD_RETRY : 0;
}

/* The constant that is the right operand of f->l. */
static bool fold_inner_const(const struct ir_fold *f, uint64_t *v)
{
    const struct ir_ins *c = &f->ir->ins[f->l->arg[1]];
    *v = (uint64_t)c->imm;
    return c->op == IR_CONST;
}

static unsigned fold_bits(const struct ir_fold *f)
{
    return ir_type_bits(f->ir->ins[f->a].type);
}

static uint64_t fold_rv(const struct ir_fold *f)
{
    return (uint64_t)f->r->imm;
}

/* The right constant as an unsigned number of its type. */
static uint64_t fold_ru(const struct ir_fold *f)
{
    return fold_bits(f) == 64 ? fold_rv(f) : fold_rv(f) & UINT32_MAX;
}

/* The opposite of an I1, or 0 when it costs something. */
static ir_ref fold_opposite(const struct ir_fold *f, ir_ref cond)
{
    const struct ir_ins *c = &f->ir->ins[cond];
    if (c->op == IR_CONST)
        return ir_const(f->ir, IR_I1, !c->imm);
    return ir_is_compare(c->op) ? fold_new2(f, c->op ^ 1u, c->arg[0], c->arg[1]) : 0;
}

/* --- both operands are one value ------------------------------------------------------------ */

static ir_ref fold_same(struct ir_fold *f)
{
    if (f->a != f->b)
        return 0;
    switch (f->op) {
    case IR_SUB:
    case IR_XOR:
        return fold_cst(f, 0);
    case IR_AND:
    case IR_OR:
        return f->a;
    default:
        return ir_const(f->ir, IR_I1, f->op == IR_EQ || f->op == IR_GES || f->op == IR_GEU);
    }
}

/* --- addition ------------------------------------------------------------------------------- */

static ir_ref fold_add_const(struct ir_fold *f)
{
    return fold_rv(f) ? 0 : f->a;
}

/* Unless it does not fit; then it stays an addition. */
static ir_ref fold_add_pc(struct ir_fold *f)
{
    int64_t sum;
    bool fits = !__builtin_add_overflow(f->l->imm, f->r->imm, &sum) && sum == (int32_t)sum;
    return fits ? ir_pc(f->ir, (int32_t)sum) : 0;
}

static ir_ref fold_add_add(struct ir_fold *f)
{
    uint64_t c;
    return fold_inner_const(f, &c) ? fold_with(f, f->l->arg[0], c + fold_rv(f)) : 0;
}

/* c - y + d = (c + d) - y */
static ir_ref fold_add_sub(struct ir_fold *f)
{
    const struct ir_ins *c = &f->ir->ins[f->l->arg[0]];
    if (c->op != IR_CONST)
        return 0;
    return fold_new2(f, IR_SUB, fold_cst(f, (uint64_t)c->imm + fold_rv(f)), f->l->arg[1]);
}

static ir_ref fold_add_neg(struct ir_fold *f)
{
    return fold_new2(f, IR_SUB, f->a, f->r->arg[0]);
}

static ir_ref fold_neg_add(struct ir_fold *f)
{
    return f->r->op == IR_CONST ? 0 : fold_new2(f, IR_SUB, f->b, f->l->arg[0]);
}

static ir_ref fold_sub_const(struct ir_fold *f)
{
    return fold_new2(f, IR_ADD, f->a, fold_cst(f, 0 - fold_rv(f)));
}

static ir_ref fold_const_sub(struct ir_fold *f)
{
    return f->l->imm ? 0 : fold_new1(f, IR_NEG, f->b);
}

static ir_ref fold_sub_neg(struct ir_fold *f)
{
    return fold_new2(f, IR_ADD, f->a, f->r->arg[0]);
}

/* NOT NOT, NEG NEG, BSWAP BSWAP, FNEG FNEG */
static ir_ref fold_twice(struct ir_fold *f)
{
    return f->l->arg[0];
}

/* -(x - y) = y - x */
static ir_ref fold_neg_sub(struct ir_fold *f)
{
    return fold_new2(f, IR_SUB, f->l->arg[1], f->l->arg[0]);
}

/* --- logic ---------------------------------------------------------------------------------- */

/* A mask that keeps the low n bits: n, otherwise 0. */
static unsigned fold_low_mask(uint64_t v)
{
    return v && !(v & (v + 1)) ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* The low bits are known: the base has none. */
static ir_ref fold_and_pc(struct ir_fold *f)
{
    if ((fold_rv(f) | 0xfff) == UINT64_MAX)
        return ir_pc(f->ir, (int32_t)(f->l->imm & f->r->imm));
    return fold_rv(f) < 0x1000 ? fold_cst(f, (uint64_t)(f->l->imm & f->r->imm)) : 0;
}

static ir_ref fold_and_const(struct ir_fold *f)
{
    uint64_t v = fold_ru(f);
    unsigned n = fold_low_mask(v);
    if (v == 0)
        return f->b;
    if (n && ir_width_u(f->ir, f->a) <= n)
        return f->a;
    if (n == 8 || n == 16)
        return fold_new1(f, n == 8 ? IR_ZEXT8 : IR_ZEXT16, f->a);
    if (n == 32 && f->type == IR_I64)
        return fold_new1(f, IR_ZEXT32, fold_new1(f, IR_TRUNC32, f->a));
    return n == fold_bits(f) ? f->a : 0;
}

static ir_ref fold_and_and(struct ir_fold *f)
{
    uint64_t c;
    return fold_inner_const(f, &c) ? fold_with(f, f->l->arg[0], c & fold_rv(f)) : 0;
}

static ir_ref fold_or_const(struct ir_fold *f)
{
    if (fold_rv(f) == UINT64_MAX)
        return f->b;
    return fold_rv(f) ? 0 : f->a;
}

static ir_ref fold_or_or(struct ir_fold *f)
{
    uint64_t c;
    return fold_inner_const(f, &c) ? fold_with(f, f->l->arg[0], c | fold_rv(f)) : 0;
}

static ir_ref fold_xor_const(struct ir_fold *f)
{
    if (fold_rv(f) == UINT64_MAX)
        return fold_new1(f, IR_NOT, f->a);
    return fold_rv(f) ? 0 : f->a;
}

static ir_ref fold_xor_xor(struct ir_fold *f)
{
    uint64_t c;
    return fold_inner_const(f, &c) ? fold_with(f, f->l->arg[0], c ^ fold_rv(f)) : 0;
}

/* The opposite of a comparison as a number: xori after slt. */
static ir_ref fold_xor_bool(struct ir_fold *f)
{
    ir_ref cond = fold_rv(f) == 1 ? fold_opposite(f, f->l->arg[0]) : 0;
    return cond ? ir_value(f->ir, IR_BOOL, f->type, cond, 0, 0, 0) : 0;
}

/*
 * Logic on two sign-extended numbers is the sign-extended logic on the numbers: one extension
 * instead of two, which may turn out to be needless, and 32-bit patterns become visible.
 */
static ir_ref fold_logic_extended(struct ir_fold *f, ir_ref x, ir_ref other)
{
    if (ir_width_s(f->ir, other) > 32)
        return 0;
    ir_ref y = fold_new1(f, IR_TRUNC32, other);
    return fold_new1(f, IR_SEXT32, fold_new2(f, f->op, x, y));
}

static ir_ref fold_logic_sext(struct ir_fold *f)
{
    return fold_logic_extended(f, f->l->arg[0], f->b);
}

static ir_ref fold_logic_any_sext(struct ir_fold *f)
{
    return fold_logic_extended(f, f->r->arg[0], f->a);
}

/* Of constants only negative ones: what others leave is narrow already. */
static ir_ref fold_and_sext_const(struct ir_fold *f)
{
    return f->r->imm < 0 ? fold_logic_sext(f) : 0;
}

static ir_ref fold_not_sext(struct ir_fold *f)
{
    return fold_new1(f, IR_SEXT32, fold_new1(f, IR_NOT, f->l->arg[0]));
}

/* x << n | x >> width - n, in either order, also as a sum or XOR: no bit meets another. */
static ir_ref fold_rotate(struct ir_fold *f)
{
    const struct ir_ins *up = f->l->op == IR_SHL ? f->l : f->r, *down = up == f->l ? f->r : f->l;
    const struct ir_ins *n = &f->ir->ins[up->arg[1]], *m = &f->ir->ins[down->arg[1]];
    if (up->arg[0] != down->arg[0] || n->op != IR_CONST || m->op != IR_CONST)
        return 0;
    if (n->imm <= 0 || m->imm <= 0 || n->imm + m->imm != fold_bits(f))
        return 0;
    return fold_new2(f, IR_ROL, up->arg[0], up->arg[1]);
}

/* --- shifts --------------------------------------------------------------------------------- */

static ir_ref fold_shift_const(struct ir_fold *f)
{
    uint64_t n = fold_rv(f) & (fold_bits(f) - 1);
    if (!n)
        return f->a;
    return n != fold_rv(f) ? fold_with(f, f->a, n) : 0;
}

static ir_ref fold_const_shift(struct ir_fold *f)
{
    return f->l->imm == 0 || (f->l->imm == -1 && f->op == IR_SAR) ? f->a : 0;
}

/* Two shifts in one direction. */
static ir_ref fold_shift_shift(struct ir_fold *f)
{
    uint64_t c, bits = fold_bits(f);
    if (!fold_inner_const(f, &c))
        return 0;
    uint64_t n = (c & (bits - 1)) + (fold_rv(f) & (bits - 1));
    if (n >= bits && f->op != IR_SAR)
        return fold_cst(f, 0);
    return fold_with(f, f->l->arg[0], n < bits ? n : bits - 1);
}

/* Up and down by the same: an extension. */
static ir_ref fold_extend(struct ir_fold *f, unsigned low, ir_ref x, bool sign)
{
    if (low == 8)
        return fold_new1(f, sign ? IR_SEXT8 : IR_ZEXT8, x);
    if (low == 16)
        return fold_new1(f, sign ? IR_SEXT16 : IR_ZEXT16, x);
    if (low == 32 && f->type == IR_I64)
        return fold_new1(f, sign ? IR_SEXT32 : IR_ZEXT32, fold_new1(f, IR_TRUNC32, x));
    return 0;
}

static ir_ref fold_shift_down_up(struct ir_fold *f)
{
    uint64_t up, bits = fold_bits(f), down = fold_rv(f) & (bits - 1);
    if (!fold_inner_const(f, &up))
        return 0;
    up &= bits - 1;
    bool sign = f->op == IR_SAR;
    ir_ref x = f->l->arg[0];
    if (up == down)
        return fold_extend(f, (unsigned)(bits - up), x, sign);
    /* zext.w or sext.w and a shift up, as compilers index arrays */
    if (up == 32 && bits == 64 && down < 32)
        return fold_new2(f, IR_SHL, fold_extend(f, 32, x, sign), fold_cst(f, 32 - down));
    return 0;
}

/* The count is taken modulo the width anyway. */
static ir_ref fold_shift_and(struct ir_fold *f)
{
    const struct ir_ins *c = &f->ir->ins[f->r->arg[1]];
    uint64_t need = fold_bits(f) - 1;
    if (c->op != IR_CONST || ((uint64_t)c->imm & need) != need)
        return 0;
    f->b = f->r->arg[0];
    return IR_FOLD_RETRY;
}

/* --- multiplication and division ------------------------------------------------------------- */

static unsigned fold_log2(uint64_t v)
{
    return (unsigned)__builtin_ctzll(v);
}

static ir_ref fold_mul_const(struct ir_fold *f)
{
    uint64_t v = fold_ru(f);
    if (v == 0)
        return f->b;
    if (v == 1)
        return f->a;
    if (fold_rv(f) == UINT64_MAX)
        return fold_new1(f, IR_NEG, f->a);
    return is_pow2(v) ? fold_new2(f, IR_SHL, f->a, fold_cst(f, fold_log2(v))) : 0;
}

static ir_ref fold_mulhu_const(struct ir_fold *f)
{
    uint64_t v = fold_ru(f);
    if (v <= 1)
        return fold_cst(f, 0);
    return is_pow2(v) ? fold_new2(f, IR_SHR, f->a, fold_cst(f, fold_bits(f) - fold_log2(v))) : 0;
}

static ir_ref fold_mulhs_const(struct ir_fold *f)
{
    if (fold_rv(f) == 0)
        return f->b;
    return fold_rv(f) == 1 ? fold_new2(f, IR_SAR, f->a, fold_cst(f, fold_bits(f) - 1)) : 0;
}

static ir_ref fold_divu_const(struct ir_fold *f)
{
    uint64_t v = fold_ru(f);
    if (v == 0)
        return fold_cst(f, UINT64_MAX);
    return is_pow2(v) ? fold_new2(f, IR_SHR, f->a, fold_cst(f, fold_log2(v))) : 0;
}

static ir_ref fold_remu_const(struct ir_fold *f)
{
    uint64_t v = fold_ru(f);
    if (v == 0)
        return f->a;
    return is_pow2(v) ? fold_new2(f, IR_AND, f->a, fold_cst(f, v - 1)) : 0;
}

/* a / 2^k, towards zero: add 2^k - 1 to what is negative, then shift. */
static ir_ref fold_div_pow2(struct ir_fold *f, unsigned k)
{
    unsigned bits = fold_bits(f);
    ir_ref sign = fold_new2(f, IR_SAR, f->a, fold_cst(f, bits - 1));
    ir_ref add = fold_new2(f, IR_SHR, sign, fold_cst(f, bits - k));
    return fold_new2(f, IR_SAR, fold_new2(f, IR_ADD, f->a, add), fold_cst(f, k));
}

static ir_ref fold_divs_const(struct ir_fold *f)
{
    int64_t v = f->r->imm;
    if (v == 0)
        return fold_cst(f, UINT64_MAX);
    if (v == 1)
        return f->a;
    if (v == -1)
        return fold_new1(f, IR_NEG, f->a);
    return v > 0 && is_pow2((uint64_t)v) ? fold_div_pow2(f, fold_log2((uint64_t)v)) : 0;
}

static ir_ref fold_rems_const(struct ir_fold *f)
{
    int64_t v = f->r->imm;
    if (v == 0)
        return f->a;
    if (v == 1 || v == -1)
        return fold_cst(f, 0);
    if (v < 0 || !is_pow2((uint64_t)v))
        return 0;
    unsigned k = fold_log2((uint64_t)v);
    ir_ref q = fold_div_pow2(f, k);
    return fold_new2(f, IR_SUB, f->a, fold_new2(f, IR_SHL, q, fold_cst(f, k)));
}

/* --- extensions ------------------------------------------------------------------------------ */

static unsigned fold_extended_bits(unsigned op)
{
    return op == IR_SEXT8 || op == IR_ZEXT8 ? 8 : op == IR_SEXT16 || op == IR_ZEXT16 ? 16 : 32;
}

/* Of a value that is so already. */
static ir_ref fold_sext_known(struct ir_fold *f)
{
    return ir_width_s(f->ir, f->a) <= fold_extended_bits(f->op) ? f->a : 0;
}

static ir_ref fold_zext_known(struct ir_fold *f)
{
    return ir_width_u(f->ir, f->a) <= fold_extended_bits(f->op) ? f->a : 0;
}

/* Of an extension that left the low bits alone. */
static ir_ref fold_ext_ext(struct ir_fold *f)
{
    if (fold_extended_bits(f->op) > fold_extended_bits(f->l->op))
        return 0;
    if (f->ir->ins[f->l->arg[0]].type != f->ir->ins[f->a].type)
        return 0;
    f->a = f->l->arg[0];
    return IR_FOLD_RETRY;
}

static ir_ref fold_sext_trunc(struct ir_fold *f)
{
    return ir_width_s(f->ir, f->l->arg[0]) <= 32 ? f->l->arg[0] : 0;
}

static ir_ref fold_zext_trunc(struct ir_fold *f)
{
    return ir_width_u(f->ir, f->l->arg[0]) <= 32 ? f->l->arg[0] : 0;
}

/* Sign-extending what has no sign: zero-extending is cheaper to see through. */
static ir_ref fold_sext_unsigned(struct ir_fold *f)
{
    return ir_width_u(f->ir, f->a) < 32 ? fold_new1(f, IR_ZEXT32, f->a) : 0;
}

static ir_ref fold_trunc_ext(struct ir_fold *f)
{
    return f->l->arg[0];
}

static ir_ref fold_trunc_bool(struct ir_fold *f)
{
    return ir_value(f->ir, IR_BOOL, IR_I32, f->l->arg[0], 0, 0, 0);
}

static ir_ref fold_ext_bool(struct ir_fold *f)
{
    return ir_value(f->ir, IR_BOOL, IR_I64, f->l->arg[0], 0, 0, 0);
}

/* --- comparisons ----------------------------------------------------------------------------- */

/* (x - y), (x ^ y) compared with 0 */
static ir_ref fold_eq_difference(struct ir_fold *f)
{
    return fold_rv(f) ? 0 : fold_new2(f, f->op, f->l->arg[0], f->l->arg[1]);
}

static ir_ref fold_eq_add(struct ir_fold *f)
{
    uint64_t c;
    return fold_inner_const(f, &c) ? fold_with(f, f->l->arg[0], fold_rv(f) - c) : 0;
}

/* Of two addresses in the region: which values they are does not matter. */
static ir_ref fold_eq_pc(struct ir_fold *f)
{
    bool same = f->l->imm == f->r->imm;
    return ir_const(f->ir, IR_I1, same == (f->op == IR_EQ));
}

static ir_ref fold_sub_pc(struct ir_fold *f)
{
    return fold_cst(f, (uint64_t)(f->l->imm - f->r->imm));
}

static ir_ref fold_eq_bool(struct ir_fold *f)
{
    uint64_t v = fold_rv(f);
    if (v > 1)
        return ir_const(f->ir, IR_I1, f->op == IR_NE);
    if (v == (f->op == IR_EQ))
        return f->l->arg[0];
    return fold_opposite(f, f->l->arg[0]);
}

/* A value that fits its narrow form, compared with a constant that does not. */
static ir_ref fold_eq_const(struct ir_fold *f)
{
    unsigned w = ir_width_u(f->ir, f->a);
    return w < 64 && fold_ru(f) >> w ? ir_const(f->ir, IR_I1, f->op == IR_NE) : 0;
}

static ir_ref fold_ltu_const(struct ir_fold *f)
{
    bool below = f->op == IR_LTU;
    uint64_t v = fold_ru(f);
    unsigned w = ir_width_u(f->ir, f->a);
    if (v == 0 || (w < 64 && v >> w))
        return ir_const(f->ir, IR_I1, below == (v != 0));
    if (v == 1)
        return fold_new2(f, below ? IR_EQ : IR_NE, f->a, ir_const(f->ir, f->ir->ins[f->a].type, 0));
    return 0;
}

/* c < x becomes x >= c + 1 */
static ir_ref fold_const_ltu(struct ir_fold *f)
{
    uint64_t v = (uint64_t)f->l->imm;
    if (v == UINT64_MAX)
        return ir_const(f->ir, IR_I1, f->op == IR_GEU);
    return fold_new2(f, f->op ^ 1u, f->b, ir_const(f->ir, f->l->type, (int64_t)(v + 1)));
}

static ir_ref fold_const_lts(struct ir_fold *f)
{
    int64_t max = f->l->type == IR_I64 ? INT64_MAX : INT32_MAX;
    if (f->l->imm == max)
        return ir_const(f->ir, IR_I1, f->op == IR_GES);
    return fold_new2(f, f->op ^ 1u, f->b, ir_const(f->ir, f->l->type, f->l->imm + 1));
}

static ir_ref fold_lts_const(struct ir_fold *f)
{
    int64_t min = fold_bits(f) == 64 ? INT64_MIN : INT32_MIN;
    return f->r->imm == min ? ir_const(f->ir, IR_I1, f->op == IR_GES) : 0;
}

/* BOOL of a test of what is 0 or 1 already */
static ir_ref fold_bool_test(struct ir_fold *f)
{
    const struct ir_ins *zero = &f->ir->ins[f->l->arg[1]];
    ir_ref x = f->l->arg[0];
    if (zero->op != IR_CONST || zero->imm || f->ir->ins[x].type != f->type)
        return 0;
    return ir_width_u(f->ir, x) <= 1 ? x : 0;
}

/* --- select ---------------------------------------------------------------------------------- */

static ir_ref fold_select(struct ir_fold *f)
{
    const struct ir_ins *yes = f->r, *no = &f->ir->ins[f->c];
    if (f->b == f->c)
        return f->b;
    if (f->l->op == IR_CONST)
        return f->l->imm ? f->b : f->c;
    if (!ir_is_int(f->type) || yes->op != IR_CONST || no->op != IR_CONST)
        return 0;
    if (yes->imm == 1 && no->imm == 0)
        return ir_value(f->ir, IR_BOOL, f->type, f->a, 0, 0, 0);
    ir_ref opposite = yes->imm == 0 && no->imm == 1 ? fold_opposite(f, f->a) : 0;
    return opposite ? ir_value(f->ir, IR_BOOL, f->type, opposite, 0, 0, 0) : 0;
}

/* --- floating point -------------------------------------------------------------------------- */

static ir_ref fold_sign_same(struct ir_fold *f)
{
    if (f->a != f->b)
        return 0;
    if (f->op == IR_FSGNJ)
        return f->a;
    return fold_new1(f, f->op == IR_FSGNJN ? IR_FNEG : IR_FABS, f->a);
}

static ir_ref fold_abs_sign(struct ir_fold *f)
{
    f->a = f->l->arg[0];
    return IR_FOLD_RETRY;
}

static ir_ref fold_abs_abs(struct ir_fold *f)
{
    return f->a;
}

static ir_ref fold_bitcast(struct ir_fold *f)
{
    ir_ref x = f->l->arg[0];
    return f->ir->ins[x].type == f->type ? x : 0;
}

/* --- the table ------------------------------------------------------------------------------- */

#define ANY IR_ANY_OP

const struct ir_fold_rule ir_fold_rules[] = {
    {IR_ADD, IR_ADD, IR_CONST, fold_add_add},
    {IR_ADD, IR_SUB, IR_CONST, fold_add_sub},
    {IR_ADD, IR_PC, IR_CONST, fold_add_pc},
    {IR_ADD, ANY, IR_CONST, fold_add_const},
    {IR_ADD, IR_SHL, IR_SHR, fold_rotate},
    {IR_ADD, IR_SHR, IR_SHL, fold_rotate},
    {IR_ADD, ANY, IR_NEG, fold_add_neg},
    {IR_ADD, IR_NEG, ANY, fold_neg_add},
    {IR_SUB, ANY, IR_CONST, fold_sub_const},
    {IR_SUB, IR_CONST, ANY, fold_const_sub},
    {IR_SUB, ANY, IR_NEG, fold_sub_neg},
    {IR_SUB, IR_PC, IR_PC, fold_sub_pc},
    {IR_SUB, ANY, ANY, fold_same},
    {IR_NEG, IR_NEG, ANY, fold_twice},
    {IR_NEG, IR_SUB, ANY, fold_neg_sub},

    {IR_AND, IR_AND, IR_CONST, fold_and_and},
    {IR_AND, IR_PC, IR_CONST, fold_and_pc},
    {IR_AND, ANY, IR_CONST, fold_and_const},
    {IR_AND, IR_SEXT32, IR_CONST, fold_and_sext_const},
    {IR_AND, IR_SEXT32, ANY, fold_logic_sext},
    {IR_AND, ANY, IR_SEXT32, fold_logic_any_sext},
    {IR_AND, ANY, ANY, fold_same},
    {IR_OR, IR_OR, IR_CONST, fold_or_or},
    {IR_OR, ANY, IR_CONST, fold_or_const},
    {IR_OR, IR_SEXT32, ANY, fold_logic_sext},
    {IR_OR, ANY, IR_SEXT32, fold_logic_any_sext},
    {IR_OR, IR_SHL, IR_SHR, fold_rotate},
    {IR_OR, IR_SHR, IR_SHL, fold_rotate},
    {IR_OR, ANY, ANY, fold_same},
    {IR_XOR, IR_XOR, IR_CONST, fold_xor_xor},
    {IR_XOR, IR_BOOL, IR_CONST, fold_xor_bool},
    {IR_XOR, ANY, IR_CONST, fold_xor_const},
    {IR_XOR, IR_SEXT32, ANY, fold_logic_sext},
    {IR_XOR, ANY, IR_SEXT32, fold_logic_any_sext},
    {IR_XOR, IR_SHL, IR_SHR, fold_rotate},
    {IR_XOR, IR_SHR, IR_SHL, fold_rotate},
    {IR_XOR, ANY, ANY, fold_same},
    {IR_NOT, IR_NOT, ANY, fold_twice},
    {IR_NOT, IR_SEXT32, ANY, fold_not_sext},
    {IR_BSWAP, IR_BSWAP, ANY, fold_twice},

    {IR_SHL, IR_SHL, IR_CONST, fold_shift_shift},
    {IR_SHL, ANY, IR_CONST, fold_shift_const},
    {IR_SHL, IR_CONST, ANY, fold_const_shift},
    {IR_SHL, ANY, IR_AND, fold_shift_and},
    {IR_SHR, IR_SHR, IR_CONST, fold_shift_shift},
    {IR_SHR, IR_SHL, IR_CONST, fold_shift_down_up},
    {IR_SHR, ANY, IR_CONST, fold_shift_const},
    {IR_SHR, IR_CONST, ANY, fold_const_shift},
    {IR_SHR, ANY, IR_AND, fold_shift_and},
    {IR_SAR, IR_SAR, IR_CONST, fold_shift_shift},
    {IR_SAR, IR_SHL, IR_CONST, fold_shift_down_up},
    {IR_SAR, ANY, IR_CONST, fold_shift_const},
    {IR_SAR, IR_CONST, ANY, fold_const_shift},
    {IR_SAR, ANY, IR_AND, fold_shift_and},
    {IR_ROL, ANY, IR_CONST, fold_shift_const},
    {IR_ROL, ANY, IR_AND, fold_shift_and},
    {IR_ROR, ANY, IR_CONST, fold_shift_const},
    {IR_ROR, ANY, IR_AND, fold_shift_and},

    {IR_MUL, ANY, IR_CONST, fold_mul_const},
    {IR_MULHU, ANY, IR_CONST, fold_mulhu_const},
    {IR_MULHS, ANY, IR_CONST, fold_mulhs_const},
    {IR_DIVU, ANY, IR_CONST, fold_divu_const},
    {IR_REMU, ANY, IR_CONST, fold_remu_const},
    {IR_DIVS, ANY, IR_CONST, fold_divs_const},
    {IR_REMS, ANY, IR_CONST, fold_rems_const},

    {IR_SEXT8, IR_SEXT16, ANY, fold_ext_ext},
    {IR_SEXT8, IR_ZEXT16, ANY, fold_ext_ext},
    {IR_SEXT8, IR_ZEXT8, ANY, fold_ext_ext},
    {IR_SEXT8, ANY, ANY, fold_sext_known},
    {IR_ZEXT8, IR_SEXT8, ANY, fold_ext_ext},
    {IR_ZEXT8, IR_SEXT16, ANY, fold_ext_ext},
    {IR_ZEXT8, IR_ZEXT16, ANY, fold_ext_ext},
    {IR_ZEXT8, ANY, ANY, fold_zext_known},
    {IR_SEXT16, IR_ZEXT16, ANY, fold_ext_ext},
    {IR_SEXT16, ANY, ANY, fold_sext_known},
    {IR_ZEXT16, IR_SEXT16, ANY, fold_ext_ext},
    {IR_ZEXT16, ANY, ANY, fold_zext_known},
    {IR_SEXT32, IR_TRUNC32, ANY, fold_sext_trunc},
    {IR_SEXT32, IR_BOOL, ANY, fold_ext_bool},
    {IR_SEXT32, ANY, ANY, fold_sext_unsigned},
    {IR_ZEXT32, IR_TRUNC32, ANY, fold_zext_trunc},
    {IR_ZEXT32, IR_BOOL, ANY, fold_ext_bool},
    {IR_TRUNC32, IR_SEXT32, ANY, fold_trunc_ext},
    {IR_TRUNC32, IR_ZEXT32, ANY, fold_trunc_ext},
    {IR_TRUNC32, IR_XEXT32, ANY, fold_trunc_ext},
    {IR_TRUNC32, IR_BOOL, ANY, fold_trunc_bool},

    {IR_EQ, IR_SUB, IR_CONST, fold_eq_difference},
    {IR_EQ, IR_XOR, IR_CONST, fold_eq_difference},
    {IR_EQ, IR_ADD, IR_CONST, fold_eq_add},
    {IR_EQ, IR_BOOL, IR_CONST, fold_eq_bool},
    {IR_EQ, ANY, IR_CONST, fold_eq_const},
    {IR_EQ, IR_PC, IR_PC, fold_eq_pc},
    {IR_EQ, ANY, ANY, fold_same},
    {IR_NE, IR_SUB, IR_CONST, fold_eq_difference},
    {IR_NE, IR_XOR, IR_CONST, fold_eq_difference},
    {IR_NE, IR_ADD, IR_CONST, fold_eq_add},
    {IR_NE, IR_BOOL, IR_CONST, fold_eq_bool},
    {IR_NE, ANY, IR_CONST, fold_eq_const},
    {IR_NE, IR_PC, IR_PC, fold_eq_pc},
    {IR_NE, ANY, ANY, fold_same},
    {IR_LTS, IR_CONST, ANY, fold_const_lts},
    {IR_LTS, ANY, IR_CONST, fold_lts_const},
    {IR_LTS, ANY, ANY, fold_same},
    {IR_GES, IR_CONST, ANY, fold_const_lts},
    {IR_GES, ANY, IR_CONST, fold_lts_const},
    {IR_GES, ANY, ANY, fold_same},
    {IR_LTU, IR_CONST, ANY, fold_const_ltu},
    {IR_LTU, ANY, IR_CONST, fold_ltu_const},
    {IR_LTU, ANY, ANY, fold_same},
    {IR_GEU, IR_CONST, ANY, fold_const_ltu},
    {IR_GEU, ANY, IR_CONST, fold_ltu_const},
    {IR_GEU, ANY, ANY, fold_same},
    {IR_BOOL, IR_NE, ANY, fold_bool_test},
    {IR_SELECT, ANY, ANY, fold_select},

    {IR_FNEG, IR_FNEG, ANY, fold_twice},
    {IR_FABS, IR_FABS, ANY, fold_abs_abs},
    {IR_FABS, IR_FNEG, ANY, fold_abs_sign},
    {IR_FSGNJ, ANY, ANY, fold_sign_same},
    {IR_FSGNJN, ANY, ANY, fold_sign_same},
    {IR_FSGNJX, ANY, ANY, fold_sign_same},
    {IR_FUNBOX, IR_FBOX, ANY, fold_twice},
    {IR_BITCAST, IR_BITCAST, ANY, fold_bitcast},
};

const unsigned ir_fold_rule_count = ARRAY_SIZE(ir_fold_rules);
