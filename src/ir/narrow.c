/*
 * 32-bit values in 64-bit registers. RISC-V extends each 32-bit result; most extensions are never
 * looked at, or only by snapshots, which can extend themselves when an exit is taken.
 *
 *  1. A PHI whose arguments are all sign-extended 32-bit numbers, one of them by SEXT32, becomes an
 *     I32 PHI and one SEXT32 of it.
 *  2. A comparison of extended values compares the 32-bit ones.
 *  3. Demand: for each value, how many low bits somebody looks at (8, 16, 32 or all). Extensions
 * and masks of bits that nobody looks at go; SEXT32 and ZEXT32 become XEXT32, which costs nothing.
 *  4. A snapshot that lists an extension which nothing else needs lists its operand, and how to
 *     extend it.
 *
 * After 3 there are values whose upper half is arbitrary. They are sound because nothing that looks
 * at the upper half can come to use them: folding never makes a value out of others that looks at
 * more bits of an operand than the operation it replaces did.
 */
#include "ir/impl.h"

/* --- 1: PHIs ---------------------------------------------------------------------------------- */

#define NARROW_ROUNDS 16

enum { NARROW_SIGNED = 1, NARROW_WORTH = 2 };

struct narrow_phis {
    struct ir *ir;
    uint32_t *is;   /* by ref: NARROW_... */
    uint32_t *made; /* by ref: the I32 PHI of a PHI */
};

static bool narrow_phi_signed(const struct narrow_phis *n, ir_ref phi)
{
    const struct ir *ir = n->ir;
    const ir_ref *arg = ir_phi_args(ir, phi);
    for (uint32_t j = 0; j < ir->block[ir->ins[phi].block].pred_count; j++) {
        if (!(n->is[arg[j]] & NARROW_SIGNED))
            return false;
    }
    return true;
}

static bool narrow_signed(const struct narrow_phis *n, ir_ref r)
{
    const struct ir_ins *ins = &n->ir->ins[r];
    switch (ins->op) {
    case IR_PHI:
        return narrow_phi_signed(n, r);
    case IR_AND:
    case IR_OR:
    case IR_XOR:
        if (n->is[ins->arg[0]] & n->is[ins->arg[1]] & NARROW_SIGNED)
            return true;
        break;
    case IR_SELECT:
        return n->is[ins->arg[1]] & n->is[ins->arg[2]] & NARROW_SIGNED;
    default:
        break;
    }
    return ir_width_s(n->ir, r) <= 32;
}

/* Assumes that PHIs are signed, and takes back what does not hold. */
static void narrow_find_signed(struct narrow_phis *n)
{
    struct ir *ir = n->ir;
    for (ir_ref r = 0; r < ir->ins_count; r++)
        n->is[r] = ir->ins[r].type == IR_I64 ? NARROW_SIGNED : 0;
    bool changed = true;
    for (int round = 0; changed; round++) {
        changed = false;
        for (uint32_t i = 0; i < ir->order_count; i++) {
            IR_EACH_INS(ir, ir->order[i], r)
            {
                bool give_up = round >= NARROW_ROUNDS && ir->ins[r].op == IR_PHI;
                if (n->is[r] && (give_up || !narrow_signed(n, r))) {
                    n->is[r] = 0;
                    changed = true;
                }
            }
        }
    }
}

static bool narrow_phi_worth(const struct narrow_phis *n, ir_ref phi)
{
    const struct ir *ir = n->ir;
    const ir_ref *arg = ir_phi_args(ir, phi);
    for (uint32_t j = 0; j < ir->block[ir->ins[phi].block].pred_count; j++) {
        if (ir->ins[arg[j]].op == IR_SEXT32 || n->is[arg[j]] & NARROW_WORTH)
            return true;
    }
    return false;
}

/* Whether any PHI has an extension among its arguments, without which none is worth anything. */
static bool narrow_phis_extend(const struct ir *ir)
{
    for (uint32_t i = 0; i < ir->order_count; i++) {
        const struct ir_block *b = &ir->block[ir->order[i]];
        for (ir_ref r = b->first; ir->ins[r].op == IR_PHI; r = ir->ins[r].next)
            for (uint32_t j = 0; j < b->pred_count; j++)
                if (ir->ins[ir_phi_args(ir, r)[j]].op == IR_SEXT32)
                    return true;
    }
    return false;
}

/* The I32 PHI, arguments to be filled in, and the extension that takes the old one's place. */
static void narrow_make_phi(struct narrow_phis *n, ir_ref phi)
{
    struct ir *ir = n->ir;
    ir_ref p = ir_ins_new(ir, IR_PHI, IR_I32), x = ir_ins_new(ir, IR_SEXT32, IR_I64);
    uint32_t count = ir->block[ir->ins[phi].block].pred_count;
    if (ir->overflow || count > IR_MAX_PHI_ARGS - ir->phi_arg_count) {
        ir->overflow = true;
        return;
    }
    ir->ins[p].imm = ir->ins[phi].imm;
    ir->ins[p].arg[0] = ir->phi_arg_count;
    ir->phi_arg_count += count;
    ir_link_before(ir, phi, p);
    ir_ref at = phi;
    while (ir->ins[ir->ins[at].next].op == IR_PHI)
        at = ir->ins[at].next;
    ir_link_after(ir, at, x);
    ir->ins[x].arg[0] = p;
    n->made[phi] = p;
    n->made[p] = x;
}

static void narrow_fill_phi(struct narrow_phis *n, ir_ref phi)
{
    struct ir *ir = n->ir;
    ir_ref p = n->made[phi];
    const uint32_t *pred = ir_preds(ir, ir->ins[phi].block);
    for (uint32_t j = 0; j < ir->block[ir->ins[phi].block].pred_count; j++) {
        ir_ref a = ir_phi_args(ir, phi)[j];
        if (ir->ins[a].op != IR_PHI || !n->made[a]) {
            ir->current = pred[j];
            ir->build->insert_before = ir->block[pred[j]].last;
            a = ir_op1(ir, IR_TRUNC32, a);
        } else {
            a = n->made[a];
        }
        ir->phi_arg[ir->ins[p].arg[0] + j] = a;
    }
}

static void narrow_phis(struct ir *ir)
{
    struct narrow_phis n = {.ir = ir, .is = ir->build->by_ref[0], .made = ir->build->by_ref[1]};
    uint32_t count = 0, phis = ir->ins_count;
    /* each PHI may bring two more */
    memset(n.made, 0, (phis > IR_MAX_INS / 3 ? IR_MAX_INS : 3 * phis) * sizeof *n.made);
    narrow_find_signed(&n);
    for (int round = 0; round < 2; round++) {
        for (ir_ref r = 1; r < phis; r++) {
            if (ir->ins[r].op == IR_PHI && n.is[r] & NARROW_SIGNED && narrow_phi_worth(&n, r))
                n.is[r] |= NARROW_WORTH;
        }
    }
    for (ir_ref r = 1; r < phis && !ir->overflow; r++) {
        if (ir->ins[r].op == IR_PHI && n.is[r] & NARROW_WORTH) {
            narrow_make_phi(&n, r);
            count++;
        }
    }
    for (ir_ref r = 1; r < phis && !ir->overflow; r++) {
        if (n.made[r])
            narrow_fill_phi(&n, r);
    }
    for (ir_ref r = 1; r < phis && !ir->overflow; r++) {
        if (n.made[r])
            ir_replace(ir, r, n.made[n.made[r]]);
    }
    if (count && !ir->overflow) {
        ir_settle(ir, false);
        ir_pass_fold(ir);
    }
}

/* --- 2: comparisons --------------------------------------------------------------------------- */

static unsigned narrow_unsigned_compare(unsigned op)
{
    return op == IR_LTS ? IR_LTU : op == IR_GES ? IR_GEU : op;
}

static void narrow_compare(struct ir *ir, ir_ref r)
{
    const struct ir_ins *ins = &ir->ins[r];
    ir_ref a = ins->arg[0], b = ins->arg[1];
    unsigned op = ins->op, x = ir->ins[a].op, y = ir->ins[b].op;
    if (x != IR_SEXT32 && x != IR_ZEXT32 && y != IR_SEXT32 && y != IR_ZEXT32)
        return;
    if (ir_width_u(ir, a) <= 32 && ir_width_u(ir, b) <= 32)
        op = narrow_unsigned_compare(op);
    else if (ir_width_s(ir, a) > 32 || ir_width_s(ir, b) > 32)
        return;
    ir->current = ins->block;
    ir->build->insert_before = r;
    a = ir_op1(ir, IR_TRUNC32, a);
    b = ir_op1(ir, IR_TRUNC32, b);
    ir_ref v = ir_op2(ir, (enum ir_op)op, a, b);
    if (v)
        ir_replace(ir, r, v);
}

static void narrow_compares(struct ir *ir)
{
    for (uint32_t i = 0; i < ir->order_count; i++) {
        for (ir_ref r = ir->block[ir->order[i]].first, next; r && !ir->overflow; r = next) {
            next = ir->ins[r].next;
            const struct ir_ins *ins = &ir->ins[r];
            if (ir_is_compare(ins->op) && ir->ins[ins->arg[0]].type == IR_I64)
                narrow_compare(ir, r);
        }
    }
    if (!ir->overflow)
        ir_settle(ir, false);
}

/* --- 3: demand -------------------------------------------------------------------------------- */

struct narrow {
    struct ir *ir;
    uint32_t *bits;  /* by ref: low bits wanted: 0, 8, 16, 32, 64 */
    uint32_t *stack; /* values whose demand has grown; each is in it once (mark) */
    uint32_t depth;
};

static uint32_t narrow_round(uint32_t bits)
{
    return bits == 0 ? 0 : bits <= 8 ? 8 : bits <= 16 ? 16 : bits <= 32 ? 32 : 64;
}

static uint32_t narrow_least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void narrow_want(struct narrow *n, ir_ref r, uint32_t bits)
{
    bits = narrow_round(bits);
    if (n->bits[r] >= bits)
        return;
    n->bits[r] = bits;
    if (!n->ir->ins[r].mark) {
        n->ir->ins[r].mark = 1;
        n->stack[n->depth++] = r;
    }
}

/* What a shift to the right, wanted for its low `bits`, wants of its operand. */
static uint32_t narrow_shifted(const struct ir *ir, const struct ir_ins *ins, uint32_t bits)
{
    const struct ir_ins *count = &ir->ins[ins->arg[1]];
    uint32_t width = ir_type_bits(ins->type);
    if (count->op != IR_CONST)
        return 64;
    bits += (uint32_t)count->imm & (width - 1);
    return bits <= width ? bits : 64;
}

static uint32_t narrow_masked(const struct ir *ir, const struct ir_ins *ins, uint32_t bits)
{
    const struct ir_ins *mask = &ir->ins[ins->arg[1]];
    if (mask->op != IR_CONST)
        return bits;
    return narrow_least(bits, mask->imm ? 64 - (uint32_t)__builtin_clzll((uint64_t)mask->imm) : 8);
}

/* How many low bits of operand i an instruction wants whose own low `bits` are wanted. */
static uint32_t narrow_operand(const struct ir *ir, const struct ir_ins *ins, unsigned i,
                               uint32_t bits)
{
    switch (ins->op) {
    case IR_ADD:
    case IR_SUB:
    case IR_MUL:
    case IR_CLMUL:
    case IR_ANDN:
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
    case IR_OR:
    case IR_XOR:
    case IR_NOT:
    case IR_NEG:
        return bits;
    case IR_AND:
        return i ? bits : narrow_masked(ir, ins, bits);
    case IR_SHL:
        return i ? 8 : bits;
    case IR_SHR:
    case IR_SAR:
        return i ? 8 : narrow_shifted(ir, ins, bits);
    case IR_ROL:
    case IR_ROR:
        return i ? 8 : 64;
    case IR_SEXT8:
    case IR_ZEXT8:
        return narrow_least(bits, 8);
    case IR_SEXT16:
    case IR_ZEXT16:
        return narrow_least(bits, 16);
    case IR_SEXT32:
    case IR_ZEXT32:
    case IR_XEXT32:
    case IR_TRUNC32:
        return narrow_least(bits, 32);
    case IR_SELECT:
        return i ? bits : 64;
    case IR_STORE:
        return i ? IR_MEM_SIZE(ins->aux) * 8 : 64;
    default:
        return 64;
    }
}

static void narrow_want_operands(struct narrow *n, ir_ref r)
{
    const struct ir *ir = n->ir;
    const struct ir_ins *ins = &ir->ins[r];
    if (ins->op == IR_PHI) {
        for (uint32_t j = 0; j < ir->block[ins->block].pred_count; j++)
            narrow_want(n, ir_phi_args(ir, r)[j], n->bits[r]);
        return;
    }
    for (unsigned i = ir_argc(ins); i-- > 0;)
        narrow_want(n, ins->arg[i], narrow_operand(ir, ins, i, n->bits[r]));
}

static bool narrow_is_extension(unsigned op)
{
    return op == IR_SEXT32 || op == IR_ZEXT32;
}

static void narrow_want_entry(void *ctx, ir_ref user, const struct ir_snap_entry *e)
{
    struct narrow *n = ctx;
    const struct ir_ins *v = &n->ir->ins[e->value];
    (void)user;
    if (e->how)
        narrow_want(n, e->value, 32);
    else if (narrow_is_extension(v->op))
        narrow_want(n, v->arg[0], 32);
    else
        narrow_want(n, e->value, 64);
}

static void narrow_find_demand(struct narrow *n)
{
    struct ir *ir = n->ir;
    memset(n->bits, 0, ir->ins_count * sizeof *n->bits);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        {
            if (ir_flags(&ir->ins[r]) & IR_F_PURE)
                continue;
            n->bits[r] = 64;
            narrow_want_operands(n, r);
        }
        ir_each_new_entry(ir, ir->order[i], narrow_want_entry, n);
    }
    while (n->depth) {
        ir_ref r = n->stack[--n->depth];
        ir->ins[r].mark = 0;
        narrow_want_operands(n, r);
    }
}

/* Whether a value's extension can be left to snapshots: nothing else looks at its upper half. */
static bool narrow_is_deferred(const struct narrow *n, ir_ref r)
{
    return narrow_is_extension(n->ir->ins[r].op) && n->bits[r] <= 32;
}

static void narrow_snaps(struct narrow *n)
{
    struct ir *ir = n->ir;
    for (uint32_t i = 0; i < ir->snap_entry_count; i++) {
        struct ir_snap_entry *e = &ir->snap_entry[i];
        if (e->how || !narrow_is_deferred(n, e->value))
            continue;
        e->how = ir->ins[e->value].op == IR_SEXT32 ? IR_SNAP_SEXT32 : IR_SNAP_ZEXT32;
        e->value = ir->ins[e->value].arg[0];
    }
}

/* Whether operand a would do in r's place, of which `bits` low bits are wanted. */
static bool narrow_is_copy(const struct ir *ir, const struct ir_ins *ins, uint32_t bits)
{
    uint64_t low = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    switch (ins->op) {
    case IR_SEXT8:
    case IR_ZEXT8:
        return bits <= 8;
    case IR_SEXT16:
    case IR_ZEXT16:
        return bits <= 16;
    case IR_AND:
        return ir->ins[ins->arg[1]].op == IR_CONST &&
               ((uint64_t)ir->ins[ins->arg[1]].imm & low) == low;
    default:
        return false;
    }
}

static void narrow_value(struct narrow *n, ir_ref r)
{
    struct ir *ir = n->ir;
    struct ir_ins *ins = &ir->ins[r];
    const struct ir_ins *a = &ir->ins[ins->arg[0]];
    if (n->bits[r] == 0)
        return;
    if (narrow_is_copy(ir, ins, n->bits[r])) {
        ir_replace(ir, r, ins->arg[0]);
    } else if (narrow_is_deferred(n, r)) {
        if (a->op == IR_TRUNC32)
            ir_replace(ir, r, a->arg[0]);
        else
            ins->op = IR_XEXT32;
    }
}

/* --- the pass --------------------------------------------------------------------------------- */

void ir_pass_narrow(struct ir *ir)
{
    struct narrow n = {.ir = ir, .bits = ir->build->by_ref[0], .stack = ir->build->by_ref[1]};
    if (narrow_phis_extend(ir))
        narrow_phis(ir);
    if (!ir->overflow)
        narrow_compares(ir);
    if (ir->overflow)
        return;
    narrow_find_demand(&n);
    narrow_snaps(&n);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        for (ir_ref r = ir->block[ir->order[i]].first, next; r; r = next) {
            next = ir->ins[r].next;
            narrow_value(&n, r);
        }
    }
    ir_settle(ir, false);
}
