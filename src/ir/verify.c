/* Checks the invariants that ir.h lists. What it prints names the instruction. */
#include <errno.h>

#include "ir/impl.h"

struct verify {
    const struct ir *ir;
    struct error *err;
    uint32_t *index; /* by ref: position in its block, 0: in none */
    ir_ref at;       /* instruction being checked */
    int result;
};

static bool verify_that(struct verify *v, bool condition, const char *what)
{
    if (!condition && !v->result) {
        v->result = error_set(v->err, EINVAL, "v%u (%s, block%u): %s", v->at,
                              ir_op_info[v->ir->ins[v->at].op].name, v->ir->ins[v->at].block, what);
    }
    return condition;
}

/* Whether `def` is there where `use` executes; a use at the end of its block: use = 0. */
static bool verify_dominates(const struct verify *v, ir_ref def, ir_ref use, uint32_t block)
{
    const struct ir *ir = v->ir;
    if (def == 0 || def >= ir->ins_count || !v->index[def])
        return false;
    if (ir->ins[def].block == block)
        return use == 0 || v->index[def] < v->index[use];
    return ir_dominates(ir, ir->ins[def].block, block);
}

static unsigned verify_arg_type(const struct ir *ir, const struct ir_ins *ins, unsigned i)
{
    return ir->ins[ins->arg[i]].type;
}

static bool verify_float(unsigned type)
{
    return type == IR_F32 || type == IR_F64;
}

/* Operand types of operations with one rule for each. */
static bool verify_special_types(const struct ir *ir, const struct ir_ins *ins)
{
    unsigned a = verify_arg_type(ir, ins, 0), b = verify_arg_type(ir, ins, 1);
    switch (ins->op) {
    case IR_SEXT32:
    case IR_ZEXT32:
    case IR_XEXT32:
        return a == IR_I32;
    case IR_TRUNC32:
    case IR_EXIT_IND:
        return a == IR_I64;
    case IR_BOOL:
        return a == IR_I1 && ir_is_int(ins->type);
    case IR_BRANCH:
        return a == IR_I1;
    case IR_COUNT_IF:
        return a == IR_I1 && ir_count_if_no(ins->imm) >= 0 &&
               ins->imm == ir_count_if_imm(ir_count_if_yes(ins->imm), ir_count_if_no(ins->imm));
    case IR_SELECT:
        return a == IR_I1 && b == ins->type && verify_arg_type(ir, ins, 2) == b && b != IR_I1;
    case IR_FBOX:
        return a == IR_F32;
    case IR_FUNBOX:
        return a == IR_F64;
    case IR_BITCAST:
        return ir_type_bits(a) == ir_type_bits(ins->type) && verify_float(a) != ir_is_int(a) &&
               verify_float(a) == ir_is_int(ins->type);
    case IR_FCVT:
        return verify_float(a) && verify_float(ins->type) && a != ins->type;
    case IR_FCVT_FROM_S:
    case IR_FCVT_FROM_U:
        return ir_is_int(a) && verify_float(ins->type);
    case IR_FCVT_TO_S:
    case IR_FCVT_TO_U:
        return verify_float(a) && ir_is_int(ins->type);
    case IR_LOAD:
        return a == IR_I64 && IR_MEM_SIZE(ins->aux) * 8 <= ir_type_bits(ins->type) &&
               (ir_is_int(ins->type) || IR_MEM_SIZE(ins->aux) * 8 == ir_type_bits(ins->type));
    case IR_STORE:
        return a == IR_I64 && IR_MEM_SIZE(ins->aux) * 8 <= ir_type_bits(b);
    case IR_FLT_SILENT:
    case IR_FLE_SILENT:
        return verify_float(a) && b == a && verify_arg_type(ir, ins, 2) == IR_I64;
    case IR_FFLAGS_SET:
        return a == IR_I64;
    case IR_AMO:
        return a == IR_I64 && b == ins->type && ir_is_int(b);
    default:
        return true;
    }
}

static bool verify_is_floating(unsigned op)
{
    return (op >= IR_FNEG && op <= IR_FCLASS) || (op >= IR_FADD && op <= IR_FLE);
}

static void verify_types(struct verify *v, const struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];
    if (info->result == IR_SAME)
        verify_that(v, ins->type == verify_arg_type(v->ir, ins, 0), "result type");
    else if (info->result != IR_ANY)
        verify_that(v, ins->type == info->result, "result type");
    else
        verify_that(v, (ins->type != IR_VOID && ins->type < IR_SAME) || ins->op == IR_CALL,
                    "result type");
    verify_that(v, verify_special_types(v->ir, ins), "types");
    bool plain = (ins->op >= IR_ADD && ins->op <= IR_ZEXT16) || ir_is_compare(ins->op);
    if (!plain && !verify_is_floating(ins->op))
        return;
    unsigned type = verify_arg_type(v->ir, ins, 0);
    verify_that(v, plain ? ir_is_int(type) : verify_float(type), "operand type");
    for (unsigned i = 1; i < info->argc; i++)
        verify_that(v, verify_arg_type(v->ir, ins, i) == type, "operand types differ");
}

static void verify_snap(struct verify *v, const struct ir_ins *ins)
{
    const struct ir *ir = v->ir;
    uint64_t listed[2] = {0, 0};
    bool needs = ir_flags(ins) & IR_F_SNAP;
    if (ins->op == IR_CALL)
        needs = ins->aux & (IR_CALL_STATE | IR_CALL_EXITS) || ins->snap;
    verify_that(v, needs == (ins->snap != 0), "snapshot missing or needless");
    if (!ins->snap || !verify_that(v, ins->snap < ir->snap_count, "snapshot index"))
        return;
    const struct ir_snap *snap = &ir->snap[ins->snap];
    if (!verify_that(v,
                     snap->first <= ir->snap_entry_count &&
                         snap->count <= ir->snap_entry_count - snap->first,
                     "snapshot entries"))
        return;
    for (uint32_t i = 0; i < snap->count; i++) {
        const struct ir_snap_entry *e = &ir->snap_entry[snap->first + i];
        if (!verify_that(v, e->slot < ir->slots, "snapshot slot") ||
            !verify_that(v, verify_dominates(v, e->value, v->at, ins->block), "snapshot value"))
            return;
        unsigned type = ir->ins[e->value].type;
        bool extended = e->how && type == IR_I32 && ir->slot_type[e->slot] == IR_I64;
        verify_that(v, extended || (!e->how && type == ir->slot_type[e->slot]), "snapshot type");
        uint64_t bit = UINT64_C(1) << (e->slot % 64);
        verify_that(v, !(listed[e->slot / 64] & bit), "snapshot lists a slot twice");
        listed[e->slot / 64] |= bit;
    }
}

static void verify_phi(struct verify *v, const struct ir_ins *ins)
{
    const struct ir *ir = v->ir;
    const uint32_t *pred = ir_preds(ir, ins->block);
    verify_that(v, ins->imm >= -1 && ins->imm < (int64_t)ir->slots, "PHI's slot");
    for (uint32_t j = 0; j < ir->block[ins->block].pred_count; j++) {
        ir_ref a = ir_phi_args(ir, v->at)[j];
        if (verify_that(v, verify_dominates(v, a, 0, pred[j]), "PHI argument"))
            verify_that(v, ir->ins[a].type == ins->type, "PHI argument's type");
    }
}

static void verify_ins(struct verify *v, const struct ir_ins *ins)
{
    if (ins->op == IR_PHI) {
        verify_phi(v, ins);
        return;
    }
    unsigned argc = ir_argc(ins);
    for (unsigned i = 0; i < 3; i++) {
        if (i >= argc)
            verify_that(v, ins->arg[i] == 0, "too many operands");
        else if (!verify_that(v, verify_dominates(v, ins->arg[i], v->at, ins->block), "operand"))
            return;
        else
            verify_that(v, v->ir->ins[ins->arg[i]].type != IR_VOID, "operand without a value");
    }
    verify_types(v, ins);
    verify_snap(v, ins);
    if (ins->op == IR_LOAD || ins->op == IR_STORE || ins->op == IR_PC)
        verify_that(v, ins->imm == (int32_t)ins->imm, "offset");
    if (ins->op == IR_GET)
        verify_that(v, v->ir->slot_get[ins->imm] == v->at, "a second GET");
}

/* A block that ends with ENTER: the first one, or one that only such a block leads to. */
static void verify_enter(struct verify *v, const struct ir_block *block)
{
    const struct ir *ir = v->ir;
    uint32_t b = (uint32_t)(block - ir->block);
    ir_ref before = ir->ins[block->last].prev;
    verify_that(v, block->succ_count == 1 || block->succ_count == 2, "number of successors");
    verify_that(v, !before || ir_is_prelude(ir->ins[before].op), "ENTER is not alone");
    verify_that(v, !b || ir_is_entrance(ir, ir_preds(ir, b)[0]), "ENTER inside the region");
    for (uint32_t i = 0; i < block->succ_count; i++)
        verify_that(v, ir->block[block->succ[i]].pred_count == 1, "a way round an ENTER");
}

static void verify_shape(struct verify *v, uint32_t b)
{
    const struct ir *ir = v->ir;
    const struct ir_block *block = &ir->block[b];
    ir_ref prev = 0;
    unsigned stage = 0; /* 0: PHIs or prelude, 1: others, 2: the end */
    IR_EACH_INS(ir, b, r)
    {
        const struct ir_ins *ins = &ir->ins[r];
        v->at = r;
        unsigned part = ir_flags(ins) & IR_F_TERM                     ? 2
                        : ins->op == IR_PHI || ir_is_prelude(ins->op) ? 0
                                                                      : 1;
        verify_that(v, part >= stage && stage < 2, "order in the block");
        verify_that(v, part || (b == 0) == ir_is_prelude(ins->op), "PHI or GET in a wrong block");
        verify_that(v, ins->op != IR_NOP && ins->op < IR_OP_COUNT, "operation");
        verify_that(v, ins->block == b && ins->prev == prev && !ins->mark, "links");
        stage = part;
        prev = r;
    }
    verify_that(v, stage == 2 && block->last == prev, "no end");
    unsigned end = ir->ins[block->last].op;
    uint32_t succ = end == IR_BRANCH ? 2 : end == IR_JUMP;
    if (end == IR_ENTER)
        verify_enter(v, block);
    else
        verify_that(v, block->succ_count == succ, "number of successors");
    verify_that(v, block->succ_count < 2 || block->succ[0] != block->succ[1],
                "successors are equal");
}

static void verify_edges(struct verify *v, uint32_t b)
{
    const struct ir *ir = v->ir;
    const struct ir_block *block = &ir->block[b];
    v->at = block->first;
    verify_that(v, b != 0 || !block->pred_count, "the entry has a predecessor");
    for (uint32_t i = 0; i < block->succ_count; i++) {
        uint32_t found = 0, s = block->succ[i];
        if (!verify_that(v, s < ir->block_count && ir->block[s].order != IR_NO_BLOCK, "successor"))
            return;
        for (uint32_t j = 0; j < ir->block[s].pred_count; j++)
            found += ir_preds(ir, s)[j] == b;
        verify_that(v, found == 1, "successor does not name it as predecessor once");
    }
    for (uint32_t j = 0; j < block->pred_count; j++) {
        const struct ir_block *p = &ir->block[ir_preds(ir, b)[j]];
        bool found = false;
        for (uint32_t i = 0; i < p->succ_count; i++)
            found |= p->succ[i] == b;
        verify_that(v, found && p->order != IR_NO_BLOCK, "predecessor");
    }
}

static void verify_index(struct verify *v)
{
    const struct ir *ir = v->ir;
    memset(v->index, 0, ir->ins_count * sizeof *v->index);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t n = 0;
        IR_EACH_INS(ir, ir->order[i], r)
        {
            v->at = r;
            if (!verify_that(v, r < ir->ins_count && !v->index[r], "links"))
                return;
            v->index[r] = ++n;
        }
    }
}

int ir_verify(const struct ir *ir, struct error *err)
{
    struct verify v = {.ir = ir, .err = err, .index = ir->build->by_ref[2]};
    if (!ir->finished || ir->overflow)
        return error_set(err, EINVAL, "the region is not finished");
    verify_index(&v);
    for (uint32_t i = 0; i < ir->order_count && !v.result; i++) {
        verify_shape(&v, ir->order[i]);
        verify_edges(&v, ir->order[i]);
    }
    for (uint32_t i = 0; i < ir->order_count && !v.result; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        {
            v.at = r;
            verify_ins(&v, &ir->ins[r]);
        }
    }
    return v.result;
}
