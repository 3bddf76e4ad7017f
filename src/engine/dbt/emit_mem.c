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

/* ---- the TLB ---- */

/*
 * Loads and stores that follow each other at one base, as where registers are saved or a structure
 * is filled, share one look-up: that of a place on the page of the first byte, with the tag of the
 * page of the last access. If both are one page, on which all are allowed and aligned, the others
 * need none, and rax stays what it is. Else all are made by the slow path, one after the other.
 */
#define GROUP_MOST 8 /* some lie across two pages, and the slow path is slow */
#define GROUP_SPAN 256

struct emit_group {
    uint32_t others;
    int64_t lo, hi; /* offsets of the lowest access; of the last one of the largest size */
    unsigned size;  /* the largest */
    bool writes;
};

ir_ref emit_next_access(const struct emit *e, ir_ref ref)
{
    do
        ref = ir_at(e->ir, ref)->next;
    while (ref && (ir_is_leaf(e->ir, ref) || ir_at(e->ir, ref)->op == IR_NOP));
    return ref;
}

static struct emit_group emit_group_of(const struct ir_ins *ins)
{
    bool amo = ins->op == IR_AMO;
    return (struct emit_group){
        .lo = amo ? 0 : ins->imm,
        .hi = amo ? 0 : ins->imm,
        .size = amo ? emit_size(ins->type) : IR_MEM_SIZE(ins->aux),
        .writes = ins->op != IR_LOAD,
    };
}

/* Takes the access into the group if all stay aligned to each other, and near. */
static bool emit_group_add(struct emit_group *g, const struct ir_ins *ins)
{
    struct emit_group one = emit_group_of(ins), all = *g;
    unsigned least = one.size < g->size ? one.size : g->size;
    if ((uint64_t)(one.hi - g->hi) % least)
        return false;
    /* hi stays a place of an access of the largest size, as far up as such could be. */
    if (one.size > g->size) {
        all.hi = one.hi +
                 (g->hi > one.hi ? (g->hi - one.hi) / (int64_t)one.size * (int64_t)one.size : 0);
        all.size = one.size;
    } else if (one.hi > g->hi) {
        all.hi = g->hi + (one.hi - g->hi) / (int64_t)g->size * (int64_t)g->size;
    }
    all.lo = one.lo < g->lo ? one.lo : g->lo;
    all.writes |= one.writes;
    all.others++;
    if (all.hi - all.lo > GROUP_SPAN)
        return false;
    *g = all;
    return true;
}

/* Whether `ref` can use what is in registers where the access before it is made. */
static bool emit_group_keeps(const struct emit *e, ir_ref base, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    uint32_t pos = e->live->pos[ref];
    if ((ins->op != IR_LOAD && ins->op != IR_STORE) || ins->arg[0] != base ||
        (ins->aux & IR_MEM_RESERVE) || (int32_t)ins->imm != ins->imm)
        return false;
    if (e->next_reload < e->ra.reload_count && e->ra.reload[e->next_reload].from <= pos)
        return false;
    for (uint32_t i = 0; i < e->copy_count; i++) {
        const struct ra_reload *r = &e->ra.reload[e->copy[i].index];
        if (r->value == base && r->to <= pos)
            return false;
    }
    return true;
}

/* The accesses that share the look-up of `ref`. */
static struct emit_group emit_group(const struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    struct emit_group g = emit_group_of(ins);
    ra_loc l = emit_loc(e, ins->arg[0]);
    if (ins->op == IR_AMO || (ins->aux & IR_MEM_RESERVE) || !(ra_is_gpr(l) || ra_is_mem(l)))
        return g;
    for (ir_ref next = ref; g.others + 1 < GROUP_MOST;) {
        next = emit_next_access(e, next);
        if (!next || !emit_group_keeps(e, ins->arg[0], next) ||
            !emit_group_add(&g, ir_at(e->ir, next)))
            break;
    }
    return g;
}

/* rax becomes what the guest address of the group's page has to be added to, or the base's own. */
static void emit_tlb_look(struct emit *e, ir_ref ref, const struct emit_group *g,
                          struct emit_stub *slow)
{
    ir_ref base = ir_at(e->ir, ref)->arg[0];
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    emit_address(e, 4, EMIT_SCRATCH, base, (int32_t)g->lo);
    asm_ri(&e->a, ASM_SHR, 4, EMIT_SCRATCH, 12 - TLB_ENTRY_SHIFT);
    asm_ri(&e->a, ASM_AND, 4, EMIT_SCRATCH, (int32_t)((e->t->tlb_entries - 1) << TLB_ENTRY_SHIFT));
    emit_address(e, 8, temp, base, (int32_t)g->hi);
    asm_ri(&e->a, ASM_AND, 8, temp, (int32_t)(0xfffff000u | (g->size - 1)));
    asm_rm(&e->a, ASM_CMP, 8, temp, emit_tlb_mem(g->writes ? TLB_WTAG : 0));
    asm_jcc(&e->a, CC_NE, &slow->label);
    asm_rm(&e->a, ASM_MOV, 8, EMIT_SCRATCH, emit_tlb_mem(TLB_ADDEND));
    if (ra_is_mem(emit_loc(e, base)))
        asm_rm(&e->a, ASM_ADD, 8, EMIT_SCRATCH, emit_mem(e, emit_loc(e, base)));
}

static struct emit_access emit_tlb(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc l = emit_loc(e, ins->arg[0]);
    int32_t disp = ins->op == IR_AMO ? 0 : (int32_t)ins->imm;
    enum asm_reg temp = (enum asm_reg)e->ra.temp[ref][0];
    if (e->group.left) {
        e->group.left--;
    } else {
        struct emit_group g = emit_group(e, ref);
        e->group.stub = e->stub_count;
        e->group.left = g.others;
        struct emit_stub *slow = emit_stub(e, STUB_SLOW, ref);
        slow->others = g.others;
        emit_tlb_look(e, ref, &g, slow);
    }
    struct emit_access access = {asm_mem(EMIT_SCRATCH, disp), temp, e->group.stub};
    if (ra_is_gpr(l)) {
        access.at = asm_mem_index((enum asm_reg)l, EMIT_SCRATCH, 0, disp);
    } else if (!ra_is_mem(l)) {
        emit_address(e, 8, temp, ins->arg[0], disp);
        asm_rr(&e->a, ASM_ADD, 8, EMIT_SCRATCH, temp);
        access.at.disp = 0;
    }
    return access;
}

static struct emit_access emit_reach(struct emit *e, ir_ref ref)
{
    return e->t->window_bits ? emit_window(e, ref) : emit_tlb(e, ref);
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

/* The slow path comes back behind the last access that it makes. */
static void emit_resume(struct emit *e, uint32_t stub)
{
    if (!e->group.left)
        asm_bind(&e->a, &e->stub[stub].resume);
}

void emit_load(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref);
    struct emit_access access = emit_reach(e, ref);
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
    struct emit_access access = emit_reach(e, ref);
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
    struct emit_access access = emit_reach(e, ref);
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
