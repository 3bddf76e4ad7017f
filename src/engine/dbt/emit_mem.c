/*
 * Guest memory, in one of three ways. Direct: the guest's address is the host's, and what the host
 * refuses goes to the slow path by way of a site. Window: r14 is the host address of guest address
 * 0, a base is tested for its range once, and what the host's MMU refuses goes to the slow path by
 * way of a site. Misaligned accesses are the host's business, except of atomics.
 *
 * TLB: r14 points to it. Index: bits 12 and up of the address; the tag is
 * compared with the address whose low bits of the page offset are cleared except those that have to
 * be zero by alignment: a misaligned access misses.
 */
#include "engine/dbt/emit.h"

#define TLB_ENTRY_SHIFT 5
#define TLB_WTAG 8
#define TLB_ADDEND 16

/* Where an access goes once the TLB has been hit. */
struct emit_access {
    struct asm_mem at;
    enum asm_reg temp; /* free for the value */
    uint32_t stub;     /* index of the slow path */
};

static struct asm_mem emit_tlb_mem(unsigned field)
{
    return asm_mem_index(EMIT_MEM_BASE, EMIT_SCRATCH, 0, (int32_t)field);
}

/* d = base + disp, of that size. */
static void emit_address(struct emit *e, unsigned size, enum asm_reg d, ir_ref base, int32_t disp)
{
    ra_loc l = emit_loc(e, base);
    if (emit_is_pc(e, base)) {
        emit_pc_offset(e, d, ir_at(e->ir, base)->imm);
        if (disp)
            asm_ri(&e->a, ASM_ADD, 8, d, disp);
    } else if (ra_is_const(l)) {
        uint64_t v = (uint64_t)ir_at(e->ir, base)->imm + (uint64_t)(int64_t)disp;
        asm_mov_imm(&e->a, d, size == 4 ? (uint32_t)v : v);
    } else if (ra_is_gpr(l) && disp) {
        asm_lea(&e->a, size, d, asm_mem((enum asm_reg)l, disp));
    } else if (ra_is_gpr(l)) {
        asm_rr(&e->a, ASM_MOV, size, d, (enum asm_reg)l);
    } else {
        asm_rm(&e->a, ASM_MOV, size, d, emit_mem(e, l));
        if (disp)
            asm_ri(&e->a, ASM_ADD, size, d, disp);
    }
}

/* The next instruction is a site of the access: it may be repeated. */
static void emit_site(struct emit *e, const struct emit_access *access)
{
    struct back_code *out = e->out;
    if (!e->t->window_bits)
        return;
    if (!emit_grow((void **)&out->sites, &out->site_cap, out->site_count + 1, sizeof *out->sites)) {
        e->failed = true;
        return;
    }
    out->sites[out->site_count++] = (struct back_site){asm_pos(&e->a), access->stub};
}

void emit_sites(struct emit *e)
{
    struct back_code *out = e->out;
    for (uint32_t i = 0; i < out->site_count; i++) {
        const struct emit_stub *s = &e->stub[out->sites[i].slow];
        bool write = ir_at(e->ir, s->ref)->op != IR_LOAD;
        out->sites[i].slow = (s->label.at - 1) | (write ? BACK_SITE_WRITE : 0);
    }
    asm_align(&e->a, 8);
    out->sites_at = asm_pos(&e->a);
    if (out->site_count)
        asm_data(&e->a, out->sites, out->site_count * sizeof *out->sites);
}

/* To the slow path unless 0 <= r < 1 << window_bits. */
static void emit_window_test(struct emit *e, enum asm_reg r, enum asm_reg scratch,
                             struct emit_stub *slow)
{
    if (e->t->window_bits == BACK_DIRECT)
        return;
    asm_rr(&e->a, ASM_MOV, 8, scratch, r);
    asm_ri(&e->a, ASM_SHR, 8, scratch, e->t->window_bits);
    asm_jcc(&e->a, CC_NE, &slow->label);
}

/* Where the base is in no register, or the offset too large for the guard: the sum in rax. */
static struct emit_access emit_window_far(struct emit *e, const struct ir_ins *ins, int32_t disp,
                                          struct emit_access access)
{
    emit_address(e, 8, EMIT_SCRATCH, ins->arg[0], disp);
    emit_window_test(e, EMIT_SCRATCH, access.temp, &e->stub[access.stub]);
    if (e->t->window_bits != BACK_DIRECT)
        asm_rr(&e->a, ASM_ADD, 8, EMIT_SCRATCH, EMIT_MEM_BASE);
    access.at = asm_mem(EMIT_SCRATCH, 0);
    return access;
}

static struct emit_access emit_window(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    bool amo = ins->op == IR_AMO;
    struct emit_access access = {.temp = (enum asm_reg)e->ra.temp[ref][0], .stub = e->stub_count};
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
    ra_loc l = emit_loc(e, ins->arg[0]);
    int32_t disp = amo ? 0 : (int32_t)ins->imm;
    if (amo) {
        emit_address(e, 4, EMIT_SCRATCH, ins->arg[0], 0);
        asm_ri(&e->a, ASM_AND, 4, EMIT_SCRATCH, (int32_t)emit_size(ins->type) - 1);
        asm_jcc(&e->a, CC_NE, &slow->label);
    }
    if (!ra_is_gpr(l) || disp < -IR_GUARD || disp > IR_GUARD)
        return emit_window_far(e, ins, disp, access);
    if (amo || !(ins->aux & IR_MEM_RANGE))
        emit_window_test(e, (enum asm_reg)l, EMIT_SCRATCH, slow);
    access.at = e->t->window_bits == BACK_DIRECT
                    ? asm_mem((enum asm_reg)l, disp)
                    : asm_mem_index(EMIT_MEM_BASE, (enum asm_reg)l, 0, disp);
    return access;
}

static struct emit_access emit_tlb(struct emit *e, ir_ref ref, unsigned tag)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    bool amo = ins->op == IR_AMO;
    unsigned size = amo ? emit_size(ins->type) : IR_MEM_SIZE(ins->aux);
    uint32_t stub = e->stub_count;
    struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
    ir_ref base = ins->arg[0];
    ra_loc l = emit_loc(e, base);
    int32_t disp = amo ? 0 : (int32_t)ins->imm;
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    emit_address(e, 4, EMIT_SCRATCH, base, disp);
    asm_ri(&e->a, ASM_SHR, 4, EMIT_SCRATCH, 12 - TLB_ENTRY_SHIFT);
    asm_ri(&e->a, ASM_AND, 4, EMIT_SCRATCH, (int32_t)((e->t->tlb_entries - 1) << TLB_ENTRY_SHIFT));
    emit_address(e, 8, temp, base, disp);
    asm_ri(&e->a, ASM_AND, 8, temp, (int32_t)(0xfffff000u | (size - 1)));
    asm_rm(&e->a, ASM_CMP, 8, temp, emit_tlb_mem(tag));
    asm_jcc(&e->a, CC_NE, &slow->label);
    asm_rm(&e->a, ASM_MOV, 8, EMIT_SCRATCH, emit_tlb_mem(TLB_ADDEND));
    struct emit_access access = {asm_mem(EMIT_SCRATCH, disp), temp, stub};
    if (ra_is_gpr(l)) {
        access.at = asm_mem_index((enum asm_reg)l, EMIT_SCRATCH, 0, disp);
    } else if (ra_is_mem(l)) {
        asm_rm(&e->a, ASM_ADD, 8, EMIT_SCRATCH, emit_mem(e, l));
    } else {
        emit_address(e, 8, temp, base, disp);
        asm_rr(&e->a, ASM_ADD, 8, EMIT_SCRATCH, temp);
        access.at.disp = 0;
    }
    return access;
}

static struct emit_access emit_reach(struct emit *e, ir_ref ref, unsigned tag)
{
    return e->t->window_bits ? emit_window(e, ref) : emit_tlb(e, ref, tag);
}

static void emit_load_int(struct emit *e, const struct ir_ins *ins, enum asm_reg d,
                          struct asm_mem m)
{
    unsigned size = ins->aux & IR_MEM_SIGNED ? emit_size(ins->type) : 4;
    bool is_signed = ins->aux & IR_MEM_SIGNED;
    switch (ins->aux & IR_MEM_SIZE_MASK) {
    case IR_MEM_8:
        asm_rm(&e->a, is_signed ? ASM_MOVSX8 : ASM_MOVZX8, size, d, m);
        break;
    case IR_MEM_16:
        asm_rm(&e->a, is_signed ? ASM_MOVSX16 : ASM_MOVZX16, size, d, m);
        break;
    case IR_MEM_32:
        asm_rm(&e->a, size == 8 ? ASM_MOVSXD : ASM_MOV, size, d, m);
        break;
    default:
        asm_rm(&e->a, ASM_MOV, 8, d, m);
        break;
    }
}

static void emit_resume(struct emit *e, uint32_t stub)
{
    asm_bind(&e->a, &e->stub[stub].resume);
}

void emit_load(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref);
    struct emit_access access = emit_reach(e, ref, 0);
    emit_site(e, &access);
    if (emit_is_fp(ins->type) && ra_is_fp(d)) {
        asm_xm(&e->a, ins->type == IR_F64 ? ASM_MOVSD : ASM_MOVSS, emit_xmm(d), access.at);
    } else {
        enum asm_reg work = ra_is_gpr(d) ? (enum asm_reg)d : access.temp;
        emit_load_int(e, ins, work, access.at);
        emit_move(e, ins->type, d, (ra_loc)work);
    }
    emit_resume(e, access.stub);
}

void emit_store(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    unsigned size = IR_MEM_SIZE(ins->aux), type = ir_at(e->ir, ins->arg[1])->type;
    ra_loc v = emit_loc(e, ins->arg[1]);
    struct emit_access access = emit_reach(e, ref, TLB_WTAG);
    if (ir_is_const(e->ir, ins->arg[1]) && (size < 8 || emit_is_imm32(e, ins->arg[1]))) {
        emit_site(e, &access);
        asm_mi(&e->a, ASM_MOV, size, access.at, (int32_t)ir_at(e->ir, ins->arg[1])->imm);
    } else if (ra_is_fp(v) && size >= 4) {
        emit_site(e, &access);
        asm_mx(&e->a, size == 8 ? ASM_MOVSD : ASM_MOVSS, access.at, emit_xmm(v));
    } else {
        enum asm_reg r = access.temp;
        if (ra_is_gpr(v))
            r = (enum asm_reg)v;
        else
            emit_move(e, type, (ra_loc)r, v);
        emit_site(e, &access);
        asm_mr(&e->a, ASM_MOV, size, access.at, r);
    }
    emit_resume(e, access.stub);
}

/* --- atomics ---------------------------------------------------------------------------------- */

static enum asm_op emit_amo_op(int64_t kind)
{
    return kind == IR_AMO_ADD   ? ASM_ADD
           : kind == IR_AMO_XOR ? ASM_XOR
           : kind == IR_AMO_AND ? ASM_AND
           : kind == IR_AMO_OR  ? ASM_OR
                                : ASM_OP_COUNT;
}

/* The condition under which the old value stays, when it is compared with the operand. */
static enum asm_cc emit_amo_keeps(int64_t kind)
{
    return kind == IR_AMO_MIN    ? CC_L
           : kind == IR_AMO_MAX  ? CC_G
           : kind == IR_AMO_MINU ? CC_B
                                 : CC_A;
}

/* Until nobody comes between: rax is the old value. */
static void emit_amo_loop(struct emit *e, const struct ir_ins *ins,
                          const struct emit_access *access, struct asm_mem at, enum asm_reg new)
{
    unsigned size = emit_size(ins->type);
    enum asm_op op = emit_amo_op(ins->imm);
    struct emit_opnd b =
        op == ASM_OP_COUNT ? emit_opnd_rm(e, ins->arg[1], true) : emit_opnd(e, ins->arg[1], true);
    struct asm_label again = {0};
    emit_site(e, access);
    asm_rm(&e->a, ASM_MOV, size, EMIT_SCRATCH, at);
    asm_bind(&e->a, &again);
    if (op != ASM_OP_COUNT) {
        asm_rr(&e->a, ASM_MOV, size, new, EMIT_SCRATCH);
        emit_op(e, op, size, new, b);
    } else {
        emit_op(e, ASM_MOV, size, new, b);
        asm_rr(&e->a, ASM_CMP, size, EMIT_SCRATCH, new);
        asm_cmov_rr(&e->a, emit_amo_keeps(ins->imm), size, new, EMIT_SCRATCH);
    }
    emit_site(e, access);
    asm_lock(&e->a);
    asm_mr(&e->a, ASM_CMPXCHG, size, at, new);
    asm_jcc(&e->a, CC_NE, &again);
}

/* rax is the old value. */
static void emit_amo_cas(struct emit *e, const struct ir_ins *ins, const struct emit_access *access,
                         struct asm_mem at, enum asm_reg new)
{
    unsigned size = emit_size(ins->type);
    emit_move(e, ins->type, (ra_loc) new, emit_loc(e, ins->arg[1]));
    asm_rm(&e->a, ASM_MOV, size, EMIT_SCRATCH, asm_mem(RBP, e->t->expect_offset));
    emit_site(e, access);
    asm_lock(&e->a);
    asm_mr(&e->a, ASM_CMPXCHG, size, at, new);
}

/* Whoever may write may read. */
void emit_amo(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    unsigned size = emit_size(ins->type);
    ra_loc d = emit_loc(e, ref);
    enum asm_op op = emit_amo_op(ins->imm);
    struct emit_access access = emit_reach(e, ref, TLB_WTAG);
    asm_lea(&e->a, 8, access.temp, access.at);
    struct asm_mem at = asm_mem(access.temp, 0);
    if (d == RA_NONE && op != ASM_OP_COUNT) {
        enum asm_reg b = emit_gpr(e, ins->arg[1], EMIT_SCRATCH);
        emit_site(e, &access);
        asm_lock(&e->a);
        asm_mr(&e->a, op, size, at, b);
    } else if (ins->imm == IR_AMO_SWAP || ins->imm == IR_AMO_ADD) {
        emit_move(e, ins->type, EMIT_SCRATCH, emit_loc(e, ins->arg[1]));
        emit_site(e, &access);
        if (ins->imm == IR_AMO_ADD)
            asm_lock(&e->a);
        asm_mr(&e->a, ins->imm == IR_AMO_ADD ? ASM_XADD : ASM_XCHG, size, at, EMIT_SCRATCH);
        emit_move(e, ins->type, d, EMIT_SCRATCH);
    } else if (ins->imm == IR_AMO_CAS) {
        emit_amo_cas(e, ins, &access, at, (enum asm_reg)e->ra.temp[ref][1]);
        emit_move(e, ins->type, d, EMIT_SCRATCH);
    } else {
        emit_amo_loop(e, ins, &access, at, (enum asm_reg)e->ra.temp[ref][1]);
        emit_move(e, ins->type, d, EMIT_SCRATCH);
    }
    emit_resume(e, access.stub);
}
