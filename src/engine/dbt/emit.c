/* The back end from above: blocks, edges, exits and what goes behind the code. */
#include "engine/dbt/emit.h"

#include <stdlib.h>
#include <string.h>

/* Most instructions have at most one stub, divisions two; edges have one. */
#define EMIT_MAX_STUBS (2 * IR_MAX_INS + 2 * IR_MAX_BLOCKS)

struct back {
    struct emit e;
};

bool emit_grow(void **array, uint32_t *cap, uint32_t need, size_t item)
{
    if (need <= *cap)
        return true;
    uint32_t n = *cap ? *cap * 2 : 256;
    while (n < need)
        n *= 2;
    void *p = realloc(*array, n * item);
    if (!p)
        return false;
    *array = p;
    *cap = n;
    return true;
}

struct back *back_new(void)
{
    struct back *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    struct emit *e = &b->e;
    e->block_label = malloc(IR_MAX_BLOCKS * sizeof *e->block_label);
    e->block_order = malloc(IR_MAX_BLOCKS * sizeof *e->block_order);
    e->flags_cc = malloc(IR_MAX_INS);
    e->stub = malloc(EMIT_MAX_STUBS * sizeof *e->stub);
    e->move = malloc(IR_MAX_INS * sizeof *e->move);
    e->pool_of = malloc(IR_MAX_INS * sizeof *e->pool_of);
    e->snap_desc = malloc(IR_MAX_SNAPS * sizeof *e->snap_desc);
    if (!ra_init(&e->ra) || !e->block_label || !e->block_order || !e->flags_cc || !e->stub ||
        !e->move || !e->pool_of || !e->snap_desc) {
        back_free(b);
        return NULL;
    }
    return b;
}

void back_free(struct back *b)
{
    if (!b)
        return;
    struct emit *e = &b->e;
    ra_fini(&e->ra);
    free(e->block_label);
    free(e->block_order);
    free(e->flags_cc);
    free(e->stub);
    free(e->move);
    free(e->pool_of);
    free(e->snap_desc);
    free(e->desc);
    free(e->pool);
    free(e->desc_ref);
    free(e->mark);
    free(b);
}

void back_code_init(struct back_code *code, void *bytes, size_t cap)
{
    *code = (struct back_code){.bytes = bytes, .cap = cap};
}

void back_code_fini(struct back_code *code)
{
    free(code->entries);
    free(code->links);
    free(code->refs);
    free(code->sites);
}

struct emit_stub *emit_stub(struct emit *e, enum emit_stub_kind kind, ir_ref ref)
{
    struct emit_stub *s = &e->stub[e->stub_count++];
    *s = (struct emit_stub){.kind = (uint8_t)kind, .ref = ref};
    return s;
}

void emit_ref(struct emit *e, enum back_thunk thunk)
{
    struct back_code *out = e->out;
    if (!emit_grow((void **)&out->refs, &out->ref_cap, out->ref_count + 1, sizeof *out->refs)) {
        e->failed = true;
        return;
    }
    out->refs[out->ref_count++] = (struct back_ref){asm_pos(&e->a), thunk};
    asm_data(&e->a, "\0\0\0\0", 4);
}

void emit_thunk_jump(struct emit *e, unsigned opcode, enum back_thunk thunk)
{
    uint8_t bytes[2] = {(uint8_t)(opcode >> 8), (uint8_t)opcode};
    asm_data(&e->a, opcode > 0xff ? bytes : bytes + 1, opcode > 0xff ? 2 : 1);
    emit_ref(e, thunk);
}

/* --- what instructions need ------------------------------------------------------------------- */

static void emit_needs(const void *ctx, ir_ref ref, struct ra_needs *needs)
{
    const struct emit *e = ctx;
    const struct ir_ins *ins = ir_at(e->ir, ref);
    switch (ins->op) {
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU:
        needs->clobbers = 1u << RDX;
        break;
    case IR_CLMUL:
    case IR_CLMULH:
        needs->clobbers = 1u << EMIT_CLMUL_X;
        break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
        if (!e->t->features.bmi2 && !ir_is_const(e->ir, ins->arg[1]))
            needs->clobbers = 1u << RCX;
        break;
    case IR_ROL:
    case IR_ROR:
        if (!ir_is_const(e->ir, ins->arg[1]))
            needs->clobbers = 1u << RCX;
        break;
    case IR_AMO:
        needs->temps = 2;
        break;
    case IR_LOAD:
    case IR_STORE:
    case IR_FSGNJ:
    case IR_FSGNJN:
    case IR_FSGNJX:
    case IR_FEQ:
    case IR_FFLAGS:
        needs->temps = 1;
        break;
    default:
        break;
    }
}

static bool emit_allocate(struct emit *e)
{
    struct ra_host host = {
        .order = {RCX, RDX, RSI, RDI, RBX, R8, R9, R10, R11, R12, R13},
        .order_count = 11,
        .temp_order = {RDX, RCX, RSI, RDI, RBX, R8, R9, R10, R11, R12, R13},
        .temp_count = 11,
        .frame_first = 1,
        .frame_count = EMIT_FRAME_SLOTS - 1,
        .needs = emit_needs,
        .ctx = e,
        .random_seed = e->t->random_seed,
    };
    if (e->t->window_bits == BACK_DIRECT) {
        host.order[host.order_count++] = EMIT_MEM_BASE;
        host.temp_order[host.temp_count++] = EMIT_MEM_BASE;
    }
    for (unsigned x = 0; x < EMIT_SCRATCH_X; x++)
        host.order[host.order_count++] = (uint8_t)(RA_FP + x);
    for (unsigned i = 0; i < host.order_count; i++)
        host.regs |= 1u << host.order[i];
    return ra_run(&e->ra, e->ir, e->live, &host);
}

/* --- conditions that stay in the flags -------------------------------------------------------- */

static bool emit_is_compare(unsigned op)
{
    return op >= IR_EQ && op <= IR_GEU;
}

static bool emit_keeps_flags(const struct emit *e, ir_ref ref, ir_ref condition)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    switch (ins->op) {
    case IR_NOP:
    case IR_CONST:
    case IR_PC:
    case IR_COUNT:
    case IR_TRUNC32:
    case IR_XEXT32:
    case IR_BITCAST:
    case IR_SEXT8:
    case IR_SEXT16:
    case IR_SEXT32:
    case IR_ZEXT8:
    case IR_ZEXT16:
    case IR_ZEXT32:
        return true;
    case IR_BOOL:
    case IR_SELECT:
    case IR_COUNT_IF:
    case IR_BRANCH:
        return ins->arg[0] == condition;
    default:
        return false;
    }
}

/* Whether all who use a comparison come before anything else that changes the flags. */
static bool emit_stays_in_flags(const struct emit *e, ir_ref ref)
{
    uint32_t n = e->live->interval_of[ref];
    if (n == UINT32_MAX)
        return false;
    const struct ir_interval *in = &e->live->interval[n];
    ir_ref last = 0;
    for (uint32_t i = 0; i < in->use_count; i++) {
        const struct ir_use *use = &e->live->use[in->use_first + i];
        const struct ir_ins *user = ir_at(e->ir, use->user);
        if (use->kind != IR_USE_ARG || user->block != ir_at(e->ir, ref)->block ||
            !emit_keeps_flags(e, use->user, ref))
            return false;
        last = use->user;
    }
    if (!last)
        return false;
    for (ir_ref r = ir_at(e->ir, ref)->next; r != last; r = ir_at(e->ir, r)->next)
        if (!emit_keeps_flags(e, r, ref))
            return false;
    return true;
}

static void emit_choose_flags(struct emit *e)
{
    for (ir_ref r = 0; r < e->ir->ins_count; r++)
        e->ra.loc[r] = RA_NONE;
    for (uint32_t i = 0; i < e->ir->order_count; i++) {
        IR_EACH_INS(e->ir, e->ir->order[i], ref)
        if ((emit_is_compare(ir_at(e->ir, ref)->op) || emit_is_float_order(e, ref)) &&
            emit_stays_in_flags(e, ref))
            e->ra.loc[ref] = RA_FLAGS;
    }
}

/* --- layout ----------------------------------------------------------------------------------- */

static bool emit_is_exit(unsigned op)
{
    return op == IR_EXIT || op == IR_EXIT_IND || op == IR_EXIT_INTERP;
}

/* An exit that is out of a loop, or off the likely path. */
static bool emit_is_cold(const struct emit *e, uint32_t block)
{
    const struct ir_block *b = &e->ir->block[block];
    if (!block || !emit_is_exit(ir_at(e->ir, b->last)->op))
        return false;
    for (uint32_t i = 0; i < b->pred_count; i++) {
        const struct ir_block *pred = &e->ir->block[ir_preds(e->ir, block)[i]];
        const struct ir_ins *last = ir_at(e->ir, pred->last);
        unsigned unlikely = pred->succ[0] == block ? IR_BRANCH_UNLIKELY : IR_BRANCH_LIKELY;
        if (last->op != IR_BRANCH || (pred->loop_depth <= b->loop_depth && last->aux != unlikely))
            return false;
    }
    return true;
}

/* Whether the region is entered at the block, not at its beginning. */
static bool emit_is_entrance(const struct emit *e, uint32_t block)
{
    return block && ir_is_entrance(e->ir, block);
}

/* The block that comes right before one that is entered; 0: there is none. */
static uint32_t emit_entrance_of(const struct emit *e, uint32_t block)
{
    uint32_t pred = e->ir->block[block].pred_count == 1 ? ir_preds(e->ir, block)[0] : 0;
    return emit_is_entrance(e, pred) && e->ir->block[pred].succ[0] == block ? pred : 0;
}

static void emit_layout(struct emit *e)
{
    uint32_t n = 0, count = e->ir->order_count;
    for (unsigned cold = 0; cold < 2; cold++)
        for (uint32_t i = 0; i < count; i++) {
            uint32_t block = e->ir->order[i], entrance = emit_entrance_of(e, block);
            if (emit_is_entrance(e, block) || emit_is_cold(e, block) != (cold == 1))
                continue;
            if (entrance)
                e->block_order[n++] = entrance;
            e->block_order[n++] = block;
        }
    memset(e->block_label, 0, e->ir->block_count * sizeof *e->block_label);
}

/* --- edges ------------------------------------------------------------------------------------ */

static void emit_edge_moves(struct emit *e, uint32_t from, uint32_t to)
{
    const struct ir *ir = e->ir;
    const uint32_t *pred = ir_preds(ir, to);
    uint32_t i = 0;
    while (pred[i] != from)
        i++;
    emit_moves_begin(e);
    for (ir_ref r = ir->block[to].first; r && ir_at(ir, r)->op == IR_PHI; r = ir_at(ir, r)->next)
        emit_moves_add(e, ir_at(ir, r)->type, IR_SNAP_PLAIN, emit_loc(e, r),
                       emit_loc(e, ir_phi_args(ir, r)[i]));
}

static bool emit_edge_has_moves(struct emit *e, uint32_t from, uint32_t to)
{
    emit_edge_moves(e, from, to);
    return e->move_count != 0;
}

static void emit_goto(struct emit *e, uint32_t block)
{
    if (block != e->next_block)
        asm_jmp(&e->a, &e->block_label[block]);
}

static void emit_edge(struct emit *e, uint32_t from, uint32_t to)
{
    emit_edge_moves(e, from, to);
    emit_moves_end(e);
    emit_goto(e, to);
}

/* A conditional jump along an edge; its moves are made behind the region. */
static void emit_edge_jcc(struct emit *e, enum asm_cc cc, uint32_t from, uint32_t to)
{
    struct asm_label *label = &e->block_label[to];
    if (emit_edge_has_moves(e, from, to)) {
        struct emit_stub *s = emit_stub(e, STUB_EDGE, 0);
        s->block = from;
        s->to = to;
        label = &s->label;
    }
    asm_jcc(&e->a, cc, label);
}

static void emit_branch(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    uint32_t from = ins->block;
    const uint32_t *succ = e->ir->block[from].succ;
    enum asm_cc cc = emit_condition(e, ins->arg[0]);
    unsigned depth = e->ir->block[from].loop_depth;
    /* The other way is the one with moves round a loop, or what comes next anyway. */
    bool round_loop = succ[1] == e->next_block && e->ir->block[succ[0]].loop_depth >= depth &&
                      !emit_edge_has_moves(e, from, succ[1]) &&
                      emit_edge_has_moves(e, from, succ[0]);
    if (succ[0] == e->next_block || round_loop) {
        emit_edge_jcc(e, cc ^ 1, from, succ[1]);
        emit_edge(e, from, succ[0]);
    } else {
        emit_edge_jcc(e, cc, from, succ[0]);
        emit_edge(e, from, succ[1]);
    }
}

/* Adds one of two numbers without a jump; keeps the flags. */
static void emit_count_if(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    int32_t yes = ir_count_if_yes(ins->imm), no = ir_count_if_no(ins->imm);
    enum asm_cc cc = emit_condition(e, ins->arg[0]);
    asm_lea(&e->a, 8, EMIT_SCRATCH, asm_mem(R15, yes ? yes : no));
    if (yes)
        emit_count(e, (uint64_t)no);
    asm_cmov_rr(&e->a, yes ? cc : cc ^ 1, 8, R15, EMIT_SCRATCH);
}

/* --- leaving ---------------------------------------------------------------------------------- */

/* With all slots home: a jump that can be linked. */
static void emit_link(struct emit *e, ir_ref ref, uint64_t pc)
{
    struct back_code *out = e->out;
    if (!emit_grow((void **)&out->links, &out->link_cap, out->link_count + 1, sizeof *out->links)) {
        e->failed = true;
        return;
    }
    struct emit_stub *s = emit_stub(e, STUB_LINK, ref);
    s->to = out->link_count++;
    asm_nop(&e->a, (3 - asm_pos(&e->a)) & 3);
    out->links[s->to] = (struct back_link){.pc = pc - e->t->base, .field = asm_pos(&e->a) + 1};
    asm_jmp(&e->a, &s->label);
}

static void emit_exit(struct emit *e, ir_ref ref)
{
    const struct ir_snap *snap = &e->ir->snap[ir_at(e->ir, ref)->snap];
    emit_home(e, ir_at(e->ir, ref)->snap);
    emit_count(e, snap->retired);
    emit_link(e, ref, snap->pc);
}

/* Compares rax with the pc of the entry of the jump cache at which it would be, where rcx points.
 */
static void emit_jump_compare(struct emit *e)
{
    asm_rr(&e->a, ASM_MOV, 4, RCX, RAX);
    asm_ri(&e->a, ASM_SHL, 4, RCX, 3);
    asm_ri(&e->a, ASM_AND, 4, RCX, (int32_t)((e->t->jump_entries - 1) << 4));
    asm_rm(&e->a, ASM_ADD, 8, RCX, asm_mem(RBP, e->t->jump_offset));
    asm_rm(&e->a, ASM_CMP, 8, RAX, asm_mem(RCX, 0));
}

/* As emit_jump_cached, with pc at an offset from the base. */
static void emit_jump_relative(struct emit *e, int64_t offset, struct asm_label *miss)
{
    emit_pc_offset(e, RAX, offset);
    emit_jump_compare(e);
    asm_jcc(&e->a, CC_NE, miss);
    asm_jmp_m(&e->a, asm_mem(RCX, 8));
}

/*
 * With all slots home: to where the jump cache says that code for the constant pc is, else to the
 * label. Uses rax and rcx; rax is pc afterwards.
 */
static void emit_jump_cached(struct emit *e, uint64_t pc, struct asm_label *miss)
{
    int32_t entry = (int32_t)((pc >> 1 & (e->t->jump_entries - 1)) << 4);
    asm_mov_imm(&e->a, RAX, pc);
    asm_rm(&e->a, ASM_MOV, 8, RCX, asm_mem(RBP, e->t->jump_offset));
    asm_rm(&e->a, ASM_CMP, 8, RAX, asm_mem(RCX, entry));
    asm_jcc(&e->a, CC_NE, miss);
    asm_jmp_m(&e->a, asm_mem(RCX, entry + 8));
}

/*
 * An exit that is not linked, because there is nothing to link to or because it must not be: a
 * process's is, as soon as it can.
 */
static void emit_link_stub(struct emit *e, struct emit_stub *s)
{
    struct back_link *link = &e->out->links[s->to];
    struct asm_label miss = {0};
    asm_bind(&e->a, &s->label);
    link->stub = asm_pos(&e->a);
    if (e->t->relative)
        emit_jump_relative(e, (int64_t)link->pc, &miss);
    else if (e->t->window_bits != BACK_DIRECT)
        emit_jump_cached(e, link->pc, &miss);
    asm_bind(&e->a, &miss);
    link->index = asm_pos(&e->a) + 1;
    asm_data(&e->a, "\xb8\0\0\0\0", 5); /* mov eax, imm32 */
    emit_thunk_jump(e, 0xe9, BACK_THUNK_EXIT);
}

static void emit_exit_const(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    struct asm_label miss = {0};
    emit_home(e, ins->snap);
    emit_count(e, e->ir->snap[ins->snap].retired);
    if (e->t->window_bits == BACK_DIRECT) {
        emit_link(e, ref, (uint64_t)ir_at(e->ir, ins->arg[0])->imm);
        return;
    }
    if (emit_is_pc(e, ins->arg[0]))
        emit_jump_relative(e, ir_at(e->ir, ins->arg[0])->imm, &miss);
    else
        emit_jump_cached(e, (uint64_t)ir_at(e->ir, ins->arg[0])->imm, &miss);
    asm_bind(&e->a, &miss);
    emit_thunk_jump(e, 0xe9, BACK_THUNK_INDIRECT);
}

/* All registers but the target's are free once the slots are home. */
static void emit_exit_ind(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc target = emit_loc(e, ins->arg[0]);
    if (ra_is_const(target)) {
        emit_exit_const(e, ref);
        return;
    }
    if (ra_is_home(target)) {
        emit_move(e, IR_I64, EMIT_FRAME_SCRATCH, target);
        target = EMIT_FRAME_SCRATCH;
    }
    emit_home(e, ins->snap);
    emit_count(e, e->ir->snap[ins->snap].retired);
    emit_move(e, IR_I64, RAX, target);
    emit_jump_compare(e);
    emit_thunk_jump(e, 0x0f85, BACK_THUNK_INDIRECT);
    asm_jmp_m(&e->a, asm_mem(RCX, 8));
}

static void emit_exit_interp(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    const struct ir_snap *snap = &e->ir->snap[ins->snap];
    emit_home(e, ins->snap);
    emit_count(e, snap->retired);
    emit_pc(e, RAX, snap->pc);
    asm_mr(&e->a, ASM_MOV, 8, asm_mem(RBP, e->t->pc_offset), RAX);
    emit_thunk_jump(e, 0xe9, BACK_THUNK_INTERP);
}

static void emit_tick(struct emit *e, ir_ref ref)
{
    struct emit_stub *s = emit_stub(e, STUB_SLOW, ref);
    emit_count(e, (uint64_t)ir_at(e->ir, ref)->imm);
    asm_rm(&e->a, ASM_MOV, 8, RAX, asm_mem(RBP, e->t->stop_at_pointer_offset));
    asm_rm(&e->a, ASM_CMP, 8, R15, asm_mem(RAX, 0));
    asm_jcc(&e->a, CC_AE, &s->label);
}

/* --- instructions ----------------------------------------------------------------------------- */

static void emit_get(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    emit_move(e, ins->type, emit_loc(e, ref), (ra_loc)(RA_HOME + ins->imm));
}

/* Where the region is entered for pc, which rax is: notes the base, in BACK_SKIP bytes. */
static void emit_base(struct emit *e, uint64_t pc)
{
    uint32_t start = asm_pos(&e->a);
    if (!e->t->relative)
        return;
    asm_lea(&e->a, 8, RCX, asm_mem(RAX, -(int32_t)(pc - e->t->base)));
    asm_mr(&e->a, ASM_MOV, 8, asm_mem(RBP, e->t->base_offset), RCX);
    asm_nop(&e->a, start + BACK_SKIP - asm_pos(&e->a));
}

/* The region is entered here: what is wanted from now on is brought where it lives. */
static void emit_enter(struct emit *e, uint32_t block)
{
    struct back_code *out = e->out;
    uint32_t to = e->ir->block[block].succ[0];
    if (!emit_grow((void **)&out->entries, &out->entry_cap, out->entry_count + 1,
                   sizeof *out->entries)) {
        e->failed = true;
        return;
    }
    out->entries[out->entry_count++] =
        (struct back_entry){.pc = e->ir->block[to].pc - e->t->base, .at = asm_pos(&e->a)};
    emit_base(e, e->ir->block[to].pc);
    IR_EACH_INS(e->ir, 0, ref)
    if (ir_at(e->ir, ref)->op == IR_GET && ir_live_in(e->live, to, ref))
        emit_get(e, ref);
    emit_goto(e, to);
}

static void emit_peek(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    ra_loc d = emit_loc(e, ref);
    enum asm_reg r = ra_is_gpr(d) ? (enum asm_reg)d : EMIT_SCRATCH;
    if (d == RA_NONE)
        return;
    asm_rm(&e->a, ASM_MOV, 8, r, asm_mem(RBP, (int32_t)ins->imm));
    if (ins->aux)
        asm_rm(&e->a, ASM_MOV, 8, r, asm_mem(r, 0));
    emit_move(e, IR_I64, d, (ra_loc)r);
}

static void emit_poke(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    struct asm_mem at = asm_mem(RBP, (int32_t)ins->imm);
    if (emit_is_imm32(e, ins->arg[0]))
        asm_mi(&e->a, ASM_MOV, 8, at, (int32_t)ir_at(e->ir, ins->arg[0])->imm);
    else
        asm_mr(&e->a, ASM_MOV, 8, at, emit_gpr(e, ins->arg[0], EMIT_SCRATCH));
}

static void emit_fence(struct emit *e)
{
    asm_lock(&e->a);
    asm_mi(&e->a, ASM_OR, 4, emit_mem(e, EMIT_FRAME_SCRATCH), 0);
}

static void emit_value(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    if ((ir_op_info[ins->op].flags & IR_F_PURE) && emit_loc(e, ref) == RA_NONE)
        return;
    if (!emit_has_int(e, ref) ||
        (!emit_int(e, ref) && !emit_float_bits(e, ref) && !emit_float(e, ref)))
        emit_slow_here(e, ref);
}

static void emit_ins(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    switch (ins->op) {
    case IR_NOP:
    case IR_CONST:
    case IR_PC:
    case IR_PHI:
        break;
    case IR_GET:
        if (!ir_is_entrance(e->ir, ins->block))
            emit_get(e, ref);
        break;
    case IR_LOAD:
        emit_load(e, ref);
        break;
    case IR_STORE:
        emit_store(e, ref);
        break;
    case IR_AMO:
        emit_amo(e, ref);
        break;
    case IR_PEEK:
        emit_peek(e, ref);
        break;
    case IR_FFLAGS:
        emit_fflags(e, ref);
        break;
    case IR_FFLAGS_SET:
        emit_fflags_set(e, ref);
        break;
    case IR_POKE:
        emit_poke(e, ref);
        break;
    case IR_FENCE:
        emit_fence(e);
        break;
    case IR_COUNT:
        emit_count(e, (uint64_t)ins->imm);
        break;
    case IR_COUNT_IF:
        emit_count_if(e, ref);
        break;
    case IR_TICK:
        emit_tick(e, ref);
        break;
    case IR_JUMP:
        emit_edge(e, ins->block, e->ir->block[ins->block].succ[0]);
        break;
    case IR_BRANCH:
        emit_branch(e, ref);
        break;
    case IR_ENTER:
        emit_enter(e, ins->block);
        break;
    case IR_EXIT:
        emit_exit(e, ref);
        break;
    case IR_EXIT_IND:
        emit_exit_ind(e, ref);
        break;
    case IR_EXIT_INTERP:
        emit_exit_interp(e, ref);
        break;
    default:
        emit_value(e, ref);
        break;
    }
}

/* --- copies of what is in memory (reload.c) -------------------------------------------------- */

ra_loc emit_home_loc(const struct emit *e, ir_ref ref)
{
    for (uint32_t i = 0; i < e->copy_count; i++)
        if (e->ra.reload[e->copy[i].index].value == ref)
            return e->copy[i].memory;
    return emit_loc(e, ref);
}

/* The first reload in a block. */
static uint32_t emit_reload_first(const struct emit *e, uint32_t block)
{
    uint32_t from = e->live->block_from[block], low = 0, high = e->ra.reload_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (e->ra.reload[middle].from < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Loads what the instruction at pos is the first to use; the next reload. */
static uint32_t emit_reload(struct emit *e, uint32_t next, uint32_t pos)
{
    for (; next < e->ra.reload_count && e->ra.reload[next].from == pos; next++) {
        const struct ra_reload *r = &e->ra.reload[next];
        ra_loc *loc = &e->ra.loc[r->value];
        emit_move(e, ir_at(e->ir, r->value)->type, r->reg, *loc);
        e->copy[e->copy_count].index = next;
        e->copy[e->copy_count++].memory = *loc;
        *loc = r->reg;
    }
    return next;
}

/* The copies that the instruction at pos was the last to use are gone. */
static void emit_reload_end(struct emit *e, uint32_t pos)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->copy_count; i++) {
        const struct ra_reload *r = &e->ra.reload[e->copy[i].index];
        if (r->to > pos + 1)
            e->copy[n++] = e->copy[i];
        else
            e->ra.loc[r->value] = e->copy[i].memory;
    }
    e->copy_count = n;
}

static void emit_block(struct emit *e, uint32_t block)
{
    uint32_t next = emit_reload_first(e, block);
    asm_bind(&e->a, &e->block_label[block]);
    IR_EACH_INS(e->ir, block, ref)
    {
        uint32_t pos = e->live->pos[ref];
        emit_note(e, ref);
        if (next < e->ra.reload_count && ir_at(e->ir, ref)->op != IR_PHI && !ir_is_leaf(e->ir, ref))
            next = emit_reload(e, next, pos);
        e->next_reload = next;
        emit_ins(e, ref);
        if (e->copy_count)
            emit_reload_end(e, pos);
    }
}

static void emit_blocks(struct emit *e)
{
    uint32_t n = e->ir->order_count;
    for (uint32_t i = 0; i < n && !e->failed && !e->a.overflow; i++) {
        uint32_t block = e->block_order[i];
        e->next_block = i + 1 < n ? e->block_order[i + 1] : IR_NO_BLOCK;
        emit_note(e, EMIT_MARK_BLOCK | block);
        emit_block(e, block);
    }
    e->next_block = IR_NO_BLOCK;
}

static void emit_stubs(struct emit *e)
{
    for (uint32_t i = 0; i < e->stub_count && !e->failed && !e->a.overflow; i++) {
        struct emit_stub *s = &e->stub[i];
        emit_note(e, EMIT_MARK_STUB | s->ref);
        switch (s->kind) {
        case STUB_SLOW:
            emit_slow(e, s);
            break;
        case STUB_EDGE:
            asm_bind(&e->a, &s->label);
            emit_edge(e, s->block, s->to);
            break;
        case STUB_NAN:
        case STUB_UNBOX:
            emit_nan_stub(e, s);
            break;
        case STUB_SILENT:
            emit_silent_stub(e, s);
            break;
        case STUB_LINK:
            emit_link_stub(e, s);
            break;
        default:
            emit_div_stub(e, s);
            break;
        }
    }
    emit_note(e, EMIT_MARK_STUB);
}

/* --- compile ---------------------------------------------------------------------------------- */

bool back_compile(struct back *b, const struct back_target *t, const struct ir *ir,
                  const struct ir_live *live, struct back_code *out, FILE *dump)
{
    struct emit *e = &b->e;
    e->t = t;
    e->ir = ir;
    e->live = live;
    e->out = out;
    e->dump = dump;
    e->stub_count = e->mark_count = e->copy_count = e->group.left = 0;
    e->failed = false;
    out->entry_count = out->link_count = out->ref_count = out->site_count = 0;
    out->size = out->hot_size = 0;
    asm_init(&e->a, out->bytes, out->cap);
    emit_slow_begin(e);
    emit_choose_flags(e);
    if (!emit_allocate(e))
        return false;
    emit_layout(e);
    if (!ir_is_entrance(ir, 0))
        emit_base(e, t->entry);
    emit_blocks(e);
    out->hot_size = asm_pos(&e->a);
    emit_stubs(e);
    uint32_t code_end = asm_pos(&e->a);
    emit_slow_end(e);
    emit_sites(e);
    if (e->failed || e->a.overflow)
        return false;
    out->size = asm_pos(&e->a);
    if (dump) {
        emit_dump(e);
        fprintf(dump, "%u bytes hot, %u code, %zu in all\n", out->hot_size, code_end, out->size);
    }
    return true;
}
