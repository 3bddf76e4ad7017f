/*
 * The builder: blocks and edges, SSA over slots, snapshots.
 *
 * SSA construction follows M. Braun et al., "Simple and Efficient Construction of Static Single
 * Assignment Form" (CC 2013). A block keeps the last value of each slot it knows. A slot it does
 * not know is asked of its predecessors; a block that is not sealed gets a PHI whose arguments are
 * found when it is. A PHI of one value is replaced at once; those that become so later are found by
 * ir_finish.
 */
#include "ir/impl.h"

#define VISITING UINT32_MAX /* in `cur`: the slot is being looked up from this block */
#define PENDING UINT32_MAX  /* arg[0] of a PHI: arguments are not known yet */

static ir_ref *build_cur(struct ir *ir, uint32_t block, unsigned slot)
{
    return &ir->build->cur[(size_t)block * IR_MAX_SLOTS + slot];
}

void ir_declare_writes(struct ir *ir, const uint64_t mask[2])
{
    ir->build->written[0] &= mask[0];
    ir->build->written[1] &= mask[1];
}

static bool build_may_write(const struct ir *ir, unsigned slot)
{
    return ir->build->written[slot / 64] >> (slot % 64) & 1;
}

/* --- blocks --------------------------------------------------------------------------------- */

uint32_t ir_block_new(struct ir *ir, uint64_t pc)
{
    if (ir->overflow || ir->block_count == IR_MAX_BLOCKS) {
        ir->overflow = true;
        return 0;
    }
    uint32_t b = ir->block_count++;
    ir->block[b] = (struct ir_block){
        .pc = pc, .pred_first = UINT32_MAX, .loop = IR_NO_BLOCK, .order = IR_NO_BLOCK};
    ir->build->edge_tail[b] = UINT32_MAX;
    memset(build_cur(ir, b, 0), 0, sizeof(ir_ref) * IR_MAX_SLOTS);
    return b;
}

void ir_block_begin(struct ir *ir, uint32_t b)
{
    if (ir->overflow)
        return;
    assert(b < ir->block_count && !ir->block[b].filled);
    ir->current = b;
    ir->build->fpenv_from = ir->ins_count;
}

bool ir_block_open(const struct ir *ir)
{
    return !ir->overflow && ir->current != IR_NO_BLOCK;
}

static void build_edge(struct ir *ir, uint32_t from, uint32_t to)
{
    struct ir_build *build = ir->build;
    struct ir_block *t = &ir->block[to];
    assert(to != 0 && to < ir->block_count && !t->sealed);
    if (build->edge_count == IR_MAX_PREDS) {
        ir->overflow = true;
        return;
    }
    uint32_t e = build->edge_count++;
    build->edge[e] = (struct ir_edge){.from = from, .next = UINT32_MAX};
    if (t->pred_count++)
        build->edge[build->edge_tail[to]].next = e;
    else
        t->pred_first = e;
    build->edge_tail[to] = e;
    ir->block[from].succ[ir->block[from].succ_count++] = to;
}

/* --- slots ---------------------------------------------------------------------------------- */

static ir_ref build_read(struct ir *ir, uint32_t block, unsigned slot);

static ir_ref build_phi(struct ir *ir, uint32_t block, unsigned slot, uint32_t args)
{
    ir_ref phi = ir_ins_new(ir, IR_PHI, ir->slot_type[slot]);
    if (!phi)
        return 0;
    ir->ins[phi].imm = slot;
    ir->ins[phi].arg[0] = args;
    ir_link_front(ir, block, phi);
    return phi;
}

/* Room for the arguments of one PHI in a block. */
static bool build_phi_room(struct ir *ir, uint32_t block, uint32_t *args)
{
    uint32_t n = ir->block[block].pred_count;
    if (ir->overflow || n > IR_MAX_PHI_ARGS - ir->phi_arg_count) {
        ir->overflow = true;
        return false;
    }
    *args = ir->phi_arg_count;
    ir->phi_arg_count += n;
    memset(ir->phi_arg + *args, 0, n * sizeof(ir_ref));
    return true;
}

/* The one value of n arguments other than `self`, or 0 when there are several. */
static ir_ref build_only_value(struct ir *ir, uint32_t args, uint32_t n, ir_ref self)
{
    ir_ref only = 0;
    for (uint32_t i = 0; i < n; i++) {
        ir_ref v = ir_resolve(ir, ir->phi_arg[args + i]);
        if (v == self || v == only)
            continue;
        if (only)
            return 0;
        only = v;
    }
    return only;
}

static void build_read_preds(struct ir *ir, uint32_t block, unsigned slot, uint32_t args)
{
    uint32_t i = 0;
    for (uint32_t e = ir->block[block].pred_first; e != UINT32_MAX && !ir->overflow;
         e = ir->build->edge[e].next)
        ir->phi_arg[args + i++] = build_read(ir, ir->build->edge[e].from, slot);
}

/* The slot at the beginning of a sealed block with several predecessors. */
static ir_ref build_join(struct ir *ir, uint32_t block, unsigned slot)
{
    ir_ref *cur = build_cur(ir, block, slot);
    uint32_t args, n = ir->block[block].pred_count;
    if (!build_phi_room(ir, block, &args))
        return 0;
    *cur = VISITING;
    build_read_preds(ir, block, slot, args);
    if (ir->overflow) {
        *cur = 0;
        return 0;
    }
    ir_ref phi = *cur == VISITING ? 0 : *cur;
    ir_ref only = build_only_value(ir, args, n, phi);
    if (only) {
        if (phi)
            ir_replace(ir, phi, only);
        if (ir->phi_arg_count == args + n)
            ir->phi_arg_count = args;
        return only;
    }
    if (!phi)
        return build_phi(ir, block, slot, args);
    ir->ins[phi].arg[0] = args;
    return phi;
}

static ir_ref build_read(struct ir *ir, uint32_t block, unsigned slot)
{
    ir_ref *cur = build_cur(ir, block, slot);
    const struct ir_block *b = &ir->block[block];
    if (*cur == VISITING)
        *cur = build_phi(ir, block, slot, PENDING);
    if (*cur)
        return ir_resolve(ir, *cur);
    ir_ref v;
    if (ir->overflow)
        return 0;
    if (block == 0 || !build_may_write(ir, slot))
        v = ir_get(ir, slot);
    else if (!b->sealed)
        v = build_phi(ir, block, slot, PENDING);
    else if (b->pred_count == 0)
        v = ir_get(ir, slot); /* never executed: any value will do */
    else if (b->pred_count == 1)
        v = build_read(ir, ir->build->edge[b->pred_first].from, slot);
    else
        v = build_join(ir, block, slot);
    *cur = v;
    return v;
}

static void build_complete_phi(struct ir *ir, uint32_t block, ir_ref phi)
{
    uint32_t args;
    unsigned slot = (unsigned)ir->ins[phi].imm;
    if (!build_phi_room(ir, block, &args))
        return;
    build_read_preds(ir, block, slot, args);
    if (ir->overflow)
        return;
    ir->ins[phi].arg[0] = args;
    ir_ref only = build_only_value(ir, args, ir->block[block].pred_count, phi);
    if (!only && ir->block[block].pred_count == 0)
        only = ir_get(ir, slot);
    if (only)
        ir_replace(ir, phi, only);
}

void ir_block_seal(struct ir *ir, uint32_t b)
{
    if (ir->overflow)
        return;
    assert(b < ir->block_count && !ir->block[b].sealed);
    ir->block[b].sealed = true;
    for (ir_ref r = ir->block[b].first, next; r && ir->ins[r].op == IR_PHI; r = next) {
        next = ir->ins[r].next;
        if (ir->ins[r].arg[0] == PENDING)
            build_complete_phi(ir, b, r);
    }
}

ir_ref ir_slot_read(struct ir *ir, unsigned slot)
{
    assert(slot < ir->slots);
    if (!ir_block_open(ir))
        return 0;
    return build_read(ir, ir->current, slot);
}

void ir_slot_write(struct ir *ir, unsigned slot, ir_ref value)
{
    assert(slot < ir->slots && build_may_write(ir, slot));
    if (!ir_block_open(ir))
        return;
    value = ir_resolve(ir, value);
    assert(value && ir->ins[value].type == ir->slot_type[slot]);
    ir_ref *cur = build_cur(ir, ir->current, slot);
    if (*cur == value)
        return;
    *cur = value;
    ir->build->snap_block = IR_NO_BLOCK;
}

/* --- snapshots ------------------------------------------------------------------------------ */

/* Appends what the slots are now. */
static bool build_entries(struct ir *ir)
{
    for (unsigned w = 0; w < 2; w++) {
        for (uint64_t m = ir->build->written[w]; m; m &= m - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(m);
            ir_ref v = build_read(ir, ir->current, slot);
            if (v == ir->slot_get[slot])
                continue;
            if (ir->overflow || ir->snap_entry_count == IR_MAX_SNAP_ENTRIES) {
                ir->overflow = true;
                return false;
            }
            ir->snap_entry[ir->snap_entry_count++] =
                (struct ir_snap_entry){.slot = (uint16_t)slot, .value = v};
        }
    }
    return !ir->overflow;
}

uint32_t ir_snapshot(struct ir *ir, uint64_t pc, uint32_t retired)
{
    struct ir_build *build = ir->build;
    if (!ir_block_open(ir))
        return 0;
    if (build->snap_block != ir->current) {
        build->snap_first = ir->snap_entry_count;
        if (!build_entries(ir))
            return 0;
        build->snap_count = ir->snap_entry_count - build->snap_first;
        build->snap_block = ir->current;
    }
    if (ir->snap_count == IR_MAX_SNAPS) {
        ir->overflow = true;
        return 0;
    }
    uint32_t s = ir->snap_count++;
    ir->snap[s] = (struct ir_snap){
        .pc = pc, .retired = retired, .first = build->snap_first, .count = build->snap_count};
    return s;
}

/* --- effects -------------------------------------------------------------------------------- */

static bool build_has_snap(const struct ir *ir, uint32_t snap)
{
    return snap && snap < ir->snap_count;
}

/* Adds an instruction with effects to the current block. */
static ir_ref build_effect(struct ir *ir, unsigned op, unsigned type, uint8_t aux, int64_t imm,
                           uint32_t snap)
{
    if (!ir_block_open(ir))
        return 0;
    ir_ref r = ir_ins_new(ir, op, type);
    if (!r)
        return 0;
    ir->ins[r].aux = aux;
    ir->ins[r].imm = imm;
    ir->ins[r].snap = snap;
    ir_link_end(ir, ir->current, r);
    return r;
}

ir_ref ir_load(struct ir *ir, enum ir_type type, uint8_t aux, ir_ref base, int32_t offset,
               uint32_t snap)
{
    if (!ir_block_open(ir))
        return 0;
    assert(build_has_snap(ir, snap) && IR_MEM_SIZE(aux) * 8 <= ir_type_bits(type));
    int64_t imm = offset;
    base = ir_resolve(ir, base);
    ir_fold_address(ir, &base, &imm);
    assert(ir->ins[base].type == IR_I64);
    ir_ref r = build_effect(ir, IR_LOAD, type, aux, imm, snap);
    ir->ins[r].arg[0] = base;
    return r;
}

void ir_store(struct ir *ir, uint8_t aux, ir_ref base, int32_t offset, ir_ref value, uint32_t snap)
{
    if (!ir_block_open(ir))
        return;
    assert(build_has_snap(ir, snap) && !(aux & IR_MEM_SIGNED));
    int64_t imm = offset;
    base = ir_resolve(ir, base);
    ir_fold_address(ir, &base, &imm);
    value = ir_fold_stored(ir, ir_resolve(ir, value), IR_MEM_SIZE(aux) * 8);
    assert(ir->ins[base].type == IR_I64);
    assert(IR_MEM_SIZE(aux) * 8 <= ir_type_bits(ir->ins[value].type));
    ir_ref r = build_effect(ir, IR_STORE, IR_VOID, aux, imm, snap);
    ir->ins[r].arg[0] = base;
    ir->ins[r].arg[1] = value;
}

ir_ref ir_amo(struct ir *ir, enum ir_type type, unsigned kind, ir_ref addr, ir_ref value,
              uint32_t snap)
{
    if (!ir_block_open(ir))
        return 0;
    addr = ir_resolve(ir, addr);
    value = ir_resolve(ir, value);
    assert(build_has_snap(ir, snap) && kind < IR_AMO_COUNT && ir_is_int(type));
    assert(ir->ins[addr].type == IR_I64 && ir->ins[value].type == type);
    ir_ref r = build_effect(ir, IR_AMO, type, type == IR_I64 ? IR_MEM_64 : IR_MEM_32, kind, snap);
    ir->ins[r].arg[0] = addr;
    ir->ins[r].arg[1] = value;
    return r;
}

void ir_fence(struct ir *ir)
{
    build_effect(ir, IR_FENCE, IR_VOID, 0, 0, 0);
}

ir_ref ir_peek(struct ir *ir, int32_t offset, bool deref)
{
    return build_effect(ir, IR_PEEK, IR_I64, deref, offset, 0);
}

ir_ref ir_fflags(struct ir *ir)
{
    return build_effect(ir, IR_FFLAGS, IR_I64, 0, 0, 0);
}

/* Whether flags are what FFLAGS `value` said: nothing has happened since, but for one comparison.
 */
static bool build_flags_same(const struct ir *ir, ir_ref value, ir_ref *comparison)
{
    ir_ref r = ir->block[ir->current].last;
    *comparison = 0;
    for (; r && r != value; r = ir->ins[r].prev) {
        const struct ir_ins *ins = &ir->ins[r];
        if (ins->op == IR_FLT || ins->op == IR_FLE) {
            if (*comparison)
                return false;
            *comparison = r;
        } else if (!(ir_flags(ins) & IR_F_PURE)) {
            return false;
        }
    }
    return r && ir->ins[value].op == IR_FFLAGS;
}

void ir_fflags_set(struct ir *ir, ir_ref value)
{
    ir_ref comparison;
    if (!ir_block_open(ir))
        return;
    value = ir_resolve(ir, value);
    if (build_flags_same(ir, value, &comparison)) {
        struct ir_ins *ins = &ir->ins[comparison];
        if (comparison) {
            ins->op = ins->op == IR_FLT ? IR_FLT_SILENT : IR_FLE_SILENT;
            ins->arg[2] = value;
        }
    } else {
        ir_ref r = build_effect(ir, IR_FFLAGS_SET, IR_VOID, 0, 0, 0);
        ir->ins[r].arg[0] = value;
    }
    ir->build->fpenv_from = ir->ins_count;
}

void ir_poke(struct ir *ir, int32_t offset, ir_ref value)
{
    if (!ir_block_open(ir))
        return;
    value = ir_resolve(ir, value);
    assert(ir->ins[value].type == IR_I64);
    ir_ref r = build_effect(ir, IR_POKE, IR_VOID, 0, offset, 0);
    ir->ins[r].arg[0] = value;
}

ir_ref ir_call(struct ir *ir, enum ir_type type, unsigned helper, uint8_t aux, ir_ref a, ir_ref b,
               ir_ref c, uint32_t snap)
{
    if (!ir_block_open(ir))
        return 0;
    assert(!(aux & (IR_CALL_STATE | IR_CALL_EXITS)) || build_has_snap(ir, snap));
    assert((a || !b) && (b || !c));
    ir_ref r = build_effect(ir, IR_CALL, type, aux, helper, snap);
    ir->ins[r].arg[0] = ir_resolve(ir, a);
    ir->ins[r].arg[1] = ir_resolve(ir, b);
    ir->ins[r].arg[2] = ir_resolve(ir, c);
    if (aux & IR_CALL_FPENV)
        ir->build->fpenv_from = ir->ins_count;
    return type == IR_VOID ? 0 : r;
}

void ir_count(struct ir *ir, uint32_t retired)
{
    if (!ir_block_open(ir) || !retired)
        return;
    ir_ref last = ir->block[ir->current].last;
    if (last && ir->ins[last].op == IR_COUNT)
        ir->ins[last].imm += retired;
    else
        build_effect(ir, IR_COUNT, IR_VOID, 0, retired, 0);
}

void ir_tick(struct ir *ir, uint32_t retired, uint32_t snap)
{
    assert(ir->overflow || build_has_snap(ir, snap));
    build_effect(ir, IR_TICK, IR_VOID, 0, retired, snap);
}

/* --- ends of blocks ------------------------------------------------------------------------- */

static ir_ref build_end(struct ir *ir, unsigned op, uint8_t aux, uint32_t snap)
{
    ir_ref r = build_effect(ir, op, IR_VOID, aux, 0, snap);
    if (r)
        ir->block[ir->current].filled = true;
    ir->current = r ? IR_NO_BLOCK : ir->current;
    return r;
}

void ir_jump(struct ir *ir, uint32_t to)
{
    uint32_t from = ir->current;
    if (build_end(ir, IR_JUMP, 0, 0))
        build_edge(ir, from, to);
}

void ir_branch(struct ir *ir, ir_ref cond, uint32_t yes, uint32_t no, uint8_t aux)
{
    if (!ir_block_open(ir))
        return;
    cond = ir_resolve(ir, cond);
    assert(ir->ins[cond].type == IR_I1);
    if (yes == no || ir_is_const(ir, cond)) {
        ir_jump(ir, yes == no || ir->ins[cond].imm ? yes : no);
        return;
    }
    uint32_t from = ir->current;
    ir_ref r = build_end(ir, IR_BRANCH, aux, 0);
    if (!r)
        return;
    ir->ins[r].arg[0] = cond;
    build_edge(ir, from, yes);
    build_edge(ir, from, no);
}

void ir_enter(struct ir *ir, uint32_t to, uint32_t next)
{
    uint32_t from = ir->current;
    if (!build_end(ir, IR_ENTER, 0, 0))
        return;
    build_edge(ir, from, to);
    if (next != IR_NO_BLOCK)
        build_edge(ir, from, next);
}

void ir_exit(struct ir *ir, uint32_t snap)
{
    assert(ir->overflow || build_has_snap(ir, snap));
    build_end(ir, IR_EXIT, 0, snap);
}

void ir_exit_ind(struct ir *ir, ir_ref target, uint32_t snap)
{
    assert(ir->overflow || build_has_snap(ir, snap));
    ir_ref r = build_end(ir, IR_EXIT_IND, 0, snap);
    if (r)
        ir->ins[r].arg[0] = ir_resolve(ir, target);
}

void ir_exit_interp(struct ir *ir, uint32_t snap)
{
    assert(ir->overflow || build_has_snap(ir, snap));
    build_end(ir, IR_EXIT_INTERP, 0, snap);
}
