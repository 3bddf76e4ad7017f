/* Moves: of one value, of many at once, and of operands to where an instruction wants them. */
#include "engine/dbt/emit.h"

#include <assert.h>

struct asm_mem emit_mem(const struct emit *e, ra_loc l)
{
    if (ra_is_home(l))
        return asm_mem(RBP, e->t->slot_offset[l - RA_HOME]);
    assert(ra_is_frame(l));
    return asm_mem(RSP, (int32_t)(l - RA_FRAME) * 8);
}

void emit_pc_offset(struct emit *e, enum asm_reg to, int64_t offset)
{
    asm_rm(&e->a, ASM_MOV, 8, to, asm_mem(RBP, e->t->base_offset));
    if (offset)
        asm_lea(&e->a, 8, to, asm_mem(to, (int32_t)offset));
}

void emit_pc(struct emit *e, enum asm_reg to, uint64_t pc)
{
    if (e->t->relative)
        emit_pc_offset(e, to, (int64_t)(pc - e->t->base));
    else
        asm_mov_imm(&e->a, to, pc);
}

/* A CONST or PC. */
static void emit_leaf(struct emit *e, enum asm_reg to, ra_loc from, unsigned type)
{
    const struct ir_ins *ins = ir_at(e->ir, from & (RA_CONST - 1));
    if (ins->op == IR_PC)
        emit_pc_offset(e, to, ins->imm);
    else
        asm_mov_imm(&e->a, to, emit_size(type) == 4 ? (uint32_t)ins->imm : (uint64_t)ins->imm);
    if (ins->op == IR_PC && emit_size(type) == 4)
        asm_rr(&e->a, ASM_MOV, 4, to, to);
}

static void emit_move_to_gpr(struct emit *e, unsigned size, enum asm_reg to, ra_loc from,
                             unsigned type)
{
    if (ra_is_const(from))
        emit_leaf(e, to, from, type);
    else if (ra_is_gpr(from))
        asm_rr(&e->a, ASM_MOV, size, to, (enum asm_reg)from);
    else if (ra_is_fp(from))
        asm_rx(&e->a, ASM_MOVD, size, to, emit_xmm(from));
    else
        asm_rm(&e->a, ASM_MOV, size, to, emit_mem(e, from));
}

static void emit_move_to_xmm(struct emit *e, unsigned size, enum asm_xmm to, ra_loc from,
                             unsigned type)
{
    if (ra_is_fp(from)) {
        asm_xx(&e->a, ASM_MOVAPS, to, emit_xmm(from));
    } else if (ra_is_mem(from)) {
        asm_xm(&e->a, size == 8 ? ASM_MOVSD : ASM_MOVSS, to, emit_mem(e, from));
    } else if (ra_is_const(from)) {
        emit_leaf(e, EMIT_SCRATCH, from, type);
        asm_xr(&e->a, ASM_MOVD, size, to, EMIT_SCRATCH);
    } else {
        asm_xr(&e->a, ASM_MOVD, size, to, (enum asm_reg)from);
    }
}

/* Whether a CONST can be an immediate operand of that size. */
static bool emit_fits_imm(const struct emit *e, unsigned size, ir_ref ref)
{
    return ir_is_const(e->ir, ref) && (size == 4 || emit_is_imm32(e, ref));
}

static void emit_move_to_mem(struct emit *e, unsigned size, struct asm_mem to, ra_loc from,
                             unsigned type)
{
    if (ra_is_gpr(from)) {
        asm_mr(&e->a, ASM_MOV, size, to, (enum asm_reg)from);
    } else if (ra_is_fp(from)) {
        asm_mx(&e->a, size == 8 ? ASM_MOVSD : ASM_MOVSS, to, emit_xmm(from));
    } else if (ra_is_const(from) && emit_fits_imm(e, size, (ir_ref)(from & (RA_CONST - 1)))) {
        asm_mi(&e->a, ASM_MOV, size, to,
               (int32_t)(uint32_t)ir_at(e->ir, from & (RA_CONST - 1))->imm);
    } else {
        emit_move_to_gpr(e, size, EMIT_SCRATCH, from, type);
        asm_mr(&e->a, ASM_MOV, size, to, EMIT_SCRATCH);
    }
}

void emit_move(struct emit *e, unsigned type, ra_loc to, ra_loc from)
{
    unsigned size = emit_size(type);
    if (to == from || to == RA_NONE)
        return;
    assert(from != RA_NONE && from != RA_FLAGS && to != RA_FLAGS && !ra_is_const(to));
    if (ra_is_gpr(to))
        emit_move_to_gpr(e, size, (enum asm_reg)to, from, type);
    else if (ra_is_fp(to))
        emit_move_to_xmm(e, size, emit_xmm(to), from, type);
    else
        emit_move_to_mem(e, size, emit_mem(e, to), from, type);
}

/* To memory. */
static void emit_move_extend(struct emit *e, const struct emit_move *m)
{
    if (m->how == IR_SNAP_PLAIN) {
        emit_move(e, m->type, m->to, m->from);
        return;
    }
    if (m->how == IR_SNAP_ZEXT32)
        emit_move(e, IR_I32, EMIT_SCRATCH, m->from);
    else if (ra_is_gpr(m->from))
        asm_rr(&e->a, ASM_MOVSXD, 8, EMIT_SCRATCH, (enum asm_reg)m->from);
    else if (ra_is_mem(m->from))
        asm_rm(&e->a, ASM_MOVSXD, 8, EMIT_SCRATCH, emit_mem(e, m->from));
    else {
        emit_move(e, IR_I32, EMIT_SCRATCH, m->from);
        asm_rr(&e->a, ASM_MOVSXD, 8, EMIT_SCRATCH, EMIT_SCRATCH);
    }
    emit_move(e, IR_I64, m->to, EMIT_SCRATCH);
}

/* --- parallel moves --------------------------------------------------------------------------- */

void emit_moves_begin(struct emit *e)
{
    e->move_count = 0;
}

void emit_moves_add(struct emit *e, unsigned type, unsigned how, ra_loc to, ra_loc from)
{
    if (to != from && to != RA_NONE)
        e->move[e->move_count++] =
            (struct emit_move){.to = to, .from = from, .type = (uint8_t)type, .how = (uint8_t)how};
}

/* The places that moves are about, numbered densely. */
enum { PLACES = RA_REGS + EMIT_FRAME_SLOTS + IR_MAX_SLOTS };

static unsigned emit_place(ra_loc l)
{
    if (ra_is_reg(l))
        return l;
    if (ra_is_frame(l))
        return (unsigned)(RA_REGS + l - RA_FRAME);
    assert(ra_is_home(l));
    return (unsigned)(RA_REGS + EMIT_FRAME_SLOTS + l - RA_HOME);
}

/*
 * A move may go when nobody still reads its destination. When none may, what is left are cycles:
 * one place is saved in xmm15, who reads it reads that, and its cycle unwinds.
 */
void emit_moves_end(struct emit *e)
{
    uint16_t readers[PLACES] = {0};
    uint32_t left = e->move_count;
    for (uint32_t i = 0; i < e->move_count; i++)
        if (!ra_is_const(e->move[i].from))
            readers[emit_place(e->move[i].from)]++;
    while (left) {
        bool progress = false;
        for (uint32_t i = 0; i < e->move_count; i++) {
            struct emit_move *m = &e->move[i];
            if (m->done || readers[emit_place(m->to)])
                continue;
            emit_move_extend(e, m);
            if (!ra_is_const(m->from))
                readers[emit_place(m->from)]--;
            m->done = progress = true;
            left--;
        }
        if (progress || !left)
            continue;
        struct emit_move *first = e->move;
        while (first->done)
            first++;
        ra_loc place = first->to;
        emit_move(e, IR_F64, RA_FP + EMIT_SCRATCH_X, place);
        for (uint32_t i = 0; i < e->move_count; i++)
            if (!e->move[i].done && e->move[i].from == place)
                e->move[i].from = RA_FP + EMIT_SCRATCH_X;
        readers[RA_FP + EMIT_SCRATCH_X] = readers[emit_place(place)];
        readers[emit_place(place)] = 0;
    }
}

/* --- operands --------------------------------------------------------------------------------- */

enum asm_reg emit_gpr(struct emit *e, ir_ref ref, enum asm_reg scratch)
{
    ra_loc l = emit_loc(e, ref);
    if (ra_is_gpr(l))
        return (enum asm_reg)l;
    emit_move(e, ir_at(e->ir, ref)->type, (ra_loc)scratch, l);
    return scratch;
}

enum asm_xmm emit_fp(struct emit *e, ir_ref ref, enum asm_xmm scratch)
{
    ra_loc l = emit_loc(e, ref);
    if (ra_is_fp(l))
        return emit_xmm(l);
    emit_move(e, ir_at(e->ir, ref)->type, (ra_loc)(RA_FP + scratch), l);
    return scratch;
}

struct emit_opnd emit_opnd_rm(struct emit *e, ir_ref ref, bool rax_taken)
{
    ra_loc l = emit_loc(e, ref);
    struct emit_opnd o = {.kind = OPND_REG};
    if (ra_is_gpr(l)) {
        o.reg = (uint8_t)l;
    } else if (ra_is_mem(l)) {
        o.kind = OPND_MEM;
        o.mem = emit_mem(e, l);
    } else {
        unsigned type = ir_at(e->ir, ref)->type;
        emit_move(e, type, EMIT_SCRATCH, l);
        o.reg = EMIT_SCRATCH;
        if (rax_taken) {
            emit_move(e, type, EMIT_FRAME_SCRATCH, EMIT_SCRATCH);
            o.kind = OPND_MEM;
            o.mem = emit_mem(e, EMIT_FRAME_SCRATCH);
        }
    }
    return o;
}

struct emit_opnd emit_opnd(struct emit *e, ir_ref ref, bool rax_taken)
{
    if (!ir_is_const(e->ir, ref))
        return emit_opnd_rm(e, ref, rax_taken);
    int64_t imm = ir_at(e->ir, ref)->imm;
    if (emit_size(ir_at(e->ir, ref)->type) == 4 || imm == (int32_t)imm)
        return (struct emit_opnd){.kind = OPND_IMM, .imm = (int32_t)imm};
    return emit_opnd_rm(e, ref, rax_taken);
}

void emit_op(struct emit *e, enum asm_op op, unsigned size, enum asm_reg d, struct emit_opnd s)
{
    if (s.kind == OPND_REG)
        asm_rr(&e->a, op, size, d, (enum asm_reg)s.reg);
    else if (s.kind == OPND_MEM)
        asm_rm(&e->a, op, size, d, s.mem);
    else
        asm_ri(&e->a, op, size, d, s.imm);
}

void emit_home(struct emit *e, uint32_t snap)
{
    const struct ir_snap_entry *entry = ir_snap_entries(e->ir, snap);
    emit_moves_begin(e);
    for (uint32_t i = 0; i < e->ir->snap[snap].count; i++)
        emit_moves_add(e, e->ir->slot_type[entry[i].slot], entry[i].how,
                       (ra_loc)(RA_HOME + entry[i].slot), emit_loc(e, entry[i].value));
    emit_moves_end(e);
}

void emit_count(struct emit *e, uint64_t n)
{
    if (n)
        asm_lea(&e->a, 8, R15, asm_mem(R15, (int32_t)n));
}
