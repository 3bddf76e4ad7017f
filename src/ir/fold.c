/*
 * Folding while values are made: exchange operands into their usual order, compute what is
 * constant, then try the rules that match the pattern (operation, what makes a, what makes b), as
 * in LuaJIT. A rule gives another value, or changes operands and asks to be tried again, or
 * declines. Last, an equal value is looked for (share.c).
 *
 * Rules make a value out of fewer or cheaper operations, so that trying again ends; the number of
 * tries is bounded all the same.
 */
#include "ir/impl.h"

#define FOLD_TRIES 8

void ir_fold_init(struct ir_build *build)
{
    unsigned n = 0;
    assert(ir_fold_rule_count <= IR_MAX_FOLD_RULES);
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        build->fold_first[op] = (uint16_t)n;
        for (unsigned i = 0; i < ir_fold_rule_count; i++) {
            if (ir_fold_rules[i].op == op)
                build->fold_order[n++] = (uint8_t)i;
        }
    }
    build->fold_first[IR_OP_COUNT] = (uint16_t)n;
}

static bool fold_is_const(const struct ir *ir, ir_ref r)
{
    return ir->ins[r].op == IR_CONST;
}

static void fold_usual_order(struct ir_fold *f)
{
    if (!(ir_op_info[f->op].flags & IR_F_COMM))
        return;
    bool a = fold_is_const(f->ir, f->a), b = fold_is_const(f->ir, f->b);
    if (a != b ? a : f->a > f->b) {
        ir_ref t = f->a;
        f->a = f->b;
        f->b = t;
    }
}

static ir_ref fold_constants(const struct ir_fold *f)
{
    const struct ir_ins *ins = f->ir->ins;
    unsigned argc = ir_op_info[f->op].argc;
    const ir_ref arg[3] = {f->a, f->b, f->c};
    int64_t x[3] = {0, 0, 0}, v;
    if (!(ir_op_info[f->op].flags & IR_F_PURE) || !argc)
        return 0;
    for (unsigned i = 0; i < argc; i++) {
        if (ins[arg[i]].op != IR_CONST)
            return 0;
        x[i] = ins[arg[i]].imm;
    }
    if (!ir_fold_const(f->op, f->type, ins[f->a].type, x, &v))
        return 0;
    return ir_const(f->ir, f->type, v);
}

static ir_ref fold_rules(struct ir_fold *f)
{
    const struct ir_build *build = f->ir->build;
    f->l = &f->ir->ins[f->a];
    f->r = &f->ir->ins[f->b];
    for (unsigned i = build->fold_first[f->op]; i < build->fold_first[f->op + 1]; i++) {
        const struct ir_fold_rule *rule = &ir_fold_rules[build->fold_order[i]];
        if ((rule->a != IR_ANY_OP && rule->a != f->l->op) ||
            (rule->b != IR_ANY_OP && rule->b != f->r->op))
            continue;
        ir_ref v = rule->fn(f);
        if (v)
            return v;
    }
    return 0;
}

ir_ref ir_fold(struct ir_fold *f)
{
    for (int i = 0; i < FOLD_TRIES; i++) {
        fold_usual_order(f);
        ir_ref v = fold_constants(f);
        if (!v)
            v = fold_rules(f);
        if (v != IR_FOLD_RETRY)
            return v;
    }
    return 0;
}

static unsigned fold_type(const struct ir *ir, enum ir_op op, enum ir_type type, ir_ref a)
{
    unsigned result = ir_op_info[op].result;
    if (op == IR_SELECT || result == IR_ANY)
        return type;
    return result == IR_SAME ? ir->ins[a].type : result;
}

ir_ref ir_value(struct ir *ir, enum ir_op op, enum ir_type type, ir_ref a, ir_ref b, ir_ref c,
                uint8_t aux)
{
    if (ir->overflow)
        return 0;
    assert(ir->current != IR_NO_BLOCK);
    struct ir_fold f = {.ir = ir,
                        .op = (uint8_t)op,
                        .aux = aux,
                        .a = ir_resolve(ir, a),
                        .b = ir_resolve(ir, b),
                        .c = ir_resolve(ir, c)};
    f.type = (uint8_t)fold_type(ir, op, type, f.a);
    assert(ir_op_info[op].flags & (IR_F_PURE | IR_F_FPENV));
    assert(ir_op_info[op].argc > 0 && f.a);
    assert(ir_op_info[op].argc < 2 || op == IR_SELECT || ir->ins[f.a].type == ir->ins[f.b].type);
    ir_ref v = ir_fold(&f);
    if (v || ir->overflow)
        return ir_resolve(ir, v);
    struct ir_ins like = {.op = f.op, .type = f.type, .aux = f.aux, .arg = {f.a, f.b, f.c}};
    v = ir_share_find(ir, &like);
    if (v)
        return v;
    v = ir_ins_new(ir, f.op, f.type);
    if (!v)
        return 0;
    ir->ins[v].aux = f.aux;
    memcpy(ir->ins[v].arg, like.arg, sizeof like.arg);
    ir_place(ir, v);
    ir_share_add(ir, v);
    return v;
}

ir_ref ir_op1(struct ir *ir, enum ir_op op, ir_ref a)
{
    return ir_value(ir, op, IR_VOID, a, 0, 0, 0);
}

ir_ref ir_op2(struct ir *ir, enum ir_op op, ir_ref a, ir_ref b)
{
    return ir_value(ir, op, IR_VOID, a, b, 0, 0);
}

ir_ref ir_select(struct ir *ir, ir_ref cond, ir_ref a, ir_ref b)
{
    a = ir_resolve(ir, a);
    return ir_value(ir, IR_SELECT, ir->ins[a].type, cond, a, b, 0);
}

/* Bounds following operands: in a loop that cannot be reached a value may depend on itself. */
#define FOLD_STEPS 16

bool ir_fold_address(struct ir *ir, ir_ref *base, int64_t *offset)
{
    bool moved = false;
    for (int i = 0; i < FOLD_STEPS; i++) {
        const struct ir_ins *ins = &ir->ins[*base];
        if (ins->op != IR_ADD || !fold_is_const(ir, ins->arg[1]))
            return moved;
        int64_t sum;
        if (__builtin_add_overflow(*offset, ir->ins[ins->arg[1]].imm, &sum) || sum != (int32_t)sum)
            return moved;
        *offset = sum;
        *base = ir_resolve(ir, ins->arg[0]);
        moved = true;
    }
    return moved;
}

ir_ref ir_fold_stored(struct ir *ir, ir_ref r, unsigned bits)
{
    for (int i = 0; i < FOLD_STEPS; i++) {
        const struct ir_ins *ins = &ir->ins[r];
        bool same;
        switch (ins->op) {
        case IR_SEXT8:
        case IR_ZEXT8:
            same = bits <= 8;
            break;
        case IR_SEXT16:
        case IR_ZEXT16:
            same = bits <= 16;
            break;
        case IR_SEXT32:
        case IR_ZEXT32:
        case IR_XEXT32:
        case IR_TRUNC32:
            same = bits <= 32;
            break;
        case IR_BITCAST: /* a store takes floating point values, but no part smaller than one */
            same = bits >= 32;
            break;
        case IR_FBOX:
            same = bits == 32;
            break;
        default:
            same = false;
        }
        if (!same)
            return r;
        r = ir_resolve(ir, ins->arg[0]);
    }
    return r;
}
