#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* --- making --------------------------------------------------------------------------------- */

uint64_t guest_random(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static unsigned below(uint64_t *seed, unsigned n)
{
    return (unsigned)(guest_random(seed) % n);
}

static int64_t interesting(uint64_t *seed)
{
    static const int64_t list[] = {
        0,  1,  2,          3,         8,          16,        31,        32,        63,   -1,
        -2, -8, 0xff,       0xffff,    0xffffffff, INT32_MAX, INT32_MIN, INT64_MAX, 0x7f, 0x8000,
        56, 48, 0x80000000, INT64_MIN, 0xff8,      24,        7,         4,         -128, 0x1000};
    if (below(seed, 5) == 0)
        return (int64_t)guest_random(seed) >> below(seed, 64);
    return list[below(seed, sizeof list / sizeof list[0])];
}

#define PICK(seed, list) (list)[below(seed, sizeof(list) / sizeof((list)[0]))]

static const unsigned ops2[] = {IR_ADD,  IR_ADD,  IR_ADD,  IR_SUB,  IR_SUB,   IR_AND,   IR_AND,
                                IR_OR,   IR_XOR,  IR_SHL,  IR_SHR,  IR_SAR,   IR_SHL,   IR_SHR,
                                IR_SAR,  IR_ROL,  IR_ROR,  IR_MUL,  IR_MULHS, IR_MULHU, IR_MULHSU,
                                IR_DIVS, IR_DIVU, IR_REMS, IR_REMU, IR_CLMUL, IR_CLMULH};
static const unsigned ops1[] = {IR_NOT,   IR_NEG,   IR_CLZ,    IR_CTZ,   IR_POPCNT,
                                IR_BSWAP, IR_SEXT8, IR_SEXT16, IR_ZEXT8, IR_ZEXT16};
static const unsigned compares[] = {IR_EQ, IR_NE, IR_LTS, IR_GES, IR_LTU, IR_GEU};
static const unsigned floats[] = {IR_FADD,  IR_FMUL,   IR_FNEG,   IR_FABS,
                                  IR_FSGNJ, IR_FSGNJN, IR_FSGNJX, IR_FBOX};

static void make_op(struct guest_ins *i, uint64_t *seed)
{
    switch (i->kind) {
    case GUEST_OP1:
    case GUEST_OP1W:
        i->op = PICK(seed, ops1);
        break;
    case GUEST_EXT:
        i->op = below(seed, 2) ? IR_SEXT32 : IR_ZEXT32;
        break;
    case GUEST_SET:
    case GUEST_SET_IMM:
    case GUEST_SELECT:
        i->op = PICK(seed, compares);
        break;
    case GUEST_LOAD:
        i->aux = below(seed, 8);
        break;
    case GUEST_STORE:
        i->aux = below(seed, 4);
        break;
    case GUEST_AMO:
        i->op = below(seed, IR_AMO_COUNT);
        i->aux = below(seed, 2);
        break;
    case GUEST_CALL:
        i->aux = below(seed, 8);
        break;
    case GUEST_FLOAT:
        i->op = PICK(seed, floats);
        break;
    default:
        i->op = PICK(seed, ops2);
    }
}

static void make_ins(struct guest_ins *i, uint64_t *seed)
{
    static const enum guest_kind often[] = {GUEST_OP_IMM, GUEST_OPW_IMM, GUEST_OPW,
                                            GUEST_LOAD,   GUEST_MOVE,    GUEST_STORE};
    i->kind = below(seed, 2) ? PICK(seed, often) : (enum guest_kind)below(seed, GUEST_KINDS);
    make_op(i, seed);
    i->d = below(seed, GUEST_INTS);
    i->a = below(seed, GUEST_INTS);
    i->b = below(seed, GUEST_INTS);
    i->imm = interesting(seed);
    bool float_d = i->kind == GUEST_FLOAT || i->kind == GUEST_XTOF;
    bool float_a = i->kind == GUEST_FLOAT || i->kind == GUEST_FTOX;
    if (float_d)
        i->d = GUEST_INTS + below(seed, GUEST_FLOATS);
    if (float_a)
        i->a = GUEST_INTS + below(seed, GUEST_FLOATS);
    if (i->kind == GUEST_FLOAT)
        i->b = GUEST_INTS + below(seed, GUEST_FLOATS);
    /* Slots 8 and 9 are mostly addresses. */
    if (i->kind == GUEST_LOAD || i->kind == GUEST_STORE) {
        i->imm = (int64_t)below(seed, 512) - 64;
        if (below(seed, 8))
            i->a = 8 + below(seed, 2);
    } else if (i->d == 8 || i->d == 9) {
        i->kind = GUEST_OP_IMM;
        i->op = below(seed, 3) ? IR_ADD : IR_AND;
        i->a = below(seed, 4) || i->a >= GUEST_INTS ? i->d : i->a;
        i->imm = i->op == IR_AND ? 0xff8 : (int64_t)below(seed, 64) - 16;
    }
}

static void make_block(struct guest *g, unsigned n, uint64_t *seed)
{
    struct guest_block *b = &g->block[n];
    b->count = below(seed, GUEST_MAX_INS + 1);
    for (unsigned i = 0; i < b->count; i++)
        make_ins(&b->ins[i], seed);
    unsigned end = below(seed, 16);
    b->end = end < 9    ? GUEST_BRANCH
             : end < 13 ? GUEST_JUMP
             : end < 14 ? GUEST_EXIT
             : end < 15 ? GUEST_EXIT_IND
                        : GUEST_EXIT_INTERP;
    if (n == 0 && b->end >= GUEST_EXIT)
        b->end = GUEST_JUMP;
    b->op = PICK(seed, compares);
    b->a = below(seed, GUEST_INTS);
    b->b = below(seed, 3) ? below(seed, GUEST_INTS) : GUEST_SLOTS;
    for (unsigned i = 0; i < 2; i++)
        b->to[i] = below(seed, 2) && n + 1 < g->count ? n + 1 : 1 + below(seed, g->count - 1);
}

/* Now and then a branch round a short block: with luck nothing else leads into it. */
static void make_short(struct guest *g, unsigned n, uint64_t *seed)
{
    struct guest_block *b = &g->block[n], *arm = b + 1;
    if (below(seed, 4))
        return;
    unsigned first = below(seed, 2);
    b->end = GUEST_BRANCH;
    b->to[first] = n + 1;
    b->to[!first] = n + 2;
    arm->count = below(seed, 3);
    for (unsigned i = 0; i < arm->count; i++) {
        arm->ins[i].kind = below(seed, 2) ? GUEST_OPW_IMM : GUEST_OP_IMM;
        arm->ins[i].op = IR_ADD;
        arm->ins[i].a %= 8;
        arm->ins[i].d %= 8;
    }
    arm->end = GUEST_JUMP;
    arm->to[0] = n + 2;
}

void guest_make(struct guest *g, uint64_t *seed)
{
    memset(g, 0, sizeof *g);
    g->count = 2 + below(seed, below(seed, 4) ? 7 : GUEST_MAX_BLOCKS - 2);
    g->declares = below(seed, 2);
    g->entries = 1 + (below(seed, 2) ? below(seed, GUEST_MAX_ENTRIES) : 0);
    for (unsigned i = 1; i < g->entries; i++)
        g->entry[i] = (unsigned)below(seed, g->count);
    for (unsigned n = 0; n < g->count; n++)
        make_block(g, n, seed);
    for (unsigned n = 0; n + 2 < g->count; n++)
        make_short(g, n, seed);
    for (unsigned n = 0; n < g->count; n++) {
        const struct guest_block *b = &g->block[n];
        for (unsigned i = 0; i < 2 && b->end <= GUEST_BRANCH; i++) {
            if (b->to[i] <= n)
                g->block[b->to[i]].tick = true;
        }
    }
}

void guest_state(struct eval_state *s, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < GUEST_SLOTS; i++)
        s->slot[i] = i < 8 ? (uint64_t)interesting(seed) : guest_random(seed) & 0x7f8;
    for (unsigned i = GUEST_INTS; i < GUEST_SLOTS; i++)
        s->slot[i] = below(seed, 2) ? guest_random(seed) | ~UINT64_C(0xffffffff)
                                    : UINT64_C(0x3ff0000000000000) + guest_random(seed) % 4096;
    for (unsigned i = 0; i < EVAL_MEM; i++)
        s->mem[i] = (uint8_t)guest_random(seed);
}

/* --- running -------------------------------------------------------------------------------- */

static uint64_t pc_of(unsigned block, unsigned ins)
{
    return 0x1000 + block * 0x100 + ins * 4;
}

static uint64_t word(unsigned op, uint64_t a, uint64_t b)
{
    uint64_t v = eval_op(op, IR_I32, IR_I32, (uint32_t)a, (uint32_t)b, 0, 0);
    return (uint64_t)(int32_t)v;
}

static uint64_t run_float(const struct guest_ins *i, uint64_t a, uint64_t b)
{
    if (i->op == IR_FBOX) /* fmv.s-like: unbox, negate, box */
        return ((a >> 32 == UINT32_MAX ? (uint32_t)a : 0x7fc00000) ^ 0x80000000) |
               ~UINT64_C(0xffffffff);
    return eval_op(i->op, IR_F64, IR_F64, a, b, 0, 0);
}

/* What an instruction without effects computes. */
static uint64_t run_value(const struct guest_ins *i, const uint64_t *x)
{
    uint64_t a = x[i->a], b = x[i->b], imm = (uint64_t)i->imm;
    switch (i->kind) {
    case GUEST_OP:
        return eval_op(i->op, IR_I64, IR_I64, a, b, 0, 0);
    case GUEST_OP_IMM:
        return eval_op(i->op, IR_I64, IR_I64, a, imm, 0, 0);
    case GUEST_OPW:
        return word(i->op, a, b);
    case GUEST_OPW_IMM:
        return word(i->op, a, imm);
    case GUEST_OP1:
        return eval_op(i->op, IR_I64, IR_I64, a, 0, 0, 0);
    case GUEST_OP1W:
        return word(i->op, a, 0);
    case GUEST_EXT:
        return i->op == IR_SEXT32 ? (uint64_t)(int32_t)a : (uint32_t)a;
    case GUEST_SET:
        return eval_op(i->op, IR_I1, IR_I64, a, b, 0, 0);
    case GUEST_SET_IMM:
        return eval_op(i->op, IR_I1, IR_I64, a, imm, 0, 0);
    case GUEST_SELECT:
        return eval_op(i->op, IR_I1, IR_I64, a, 0, 0, 0) ? b : 0;
    case GUEST_IMM:
        return imm;
    case GUEST_FLOAT:
        return run_float(i, a, b);
    default: /* moves */
        return a;
    }
}

/* False: it leaves, before the instruction. */
static bool run_ins(struct eval_state *s, const struct guest_ins *i)
{
    uint64_t *x = s->slot, v, addr = x[i->a] + (uint64_t)i->imm;
    switch (i->kind) {
    case GUEST_LOAD: {
        bool sign = i->aux & 4 && (i->aux & 3) != 3;
        if (!eval_load(s, addr, 1u << (i->aux & 3), sign, &v))
            return s->exit = EVAL_FAULT, false;
        x[i->d] = v;
        return true;
    }
    case GUEST_STORE:
        if (!eval_store(s, addr, 1u << i->aux, x[i->b]))
            return s->exit = EVAL_FAULT, false;
        return true;
    case GUEST_AMO: {
        uint64_t b = i->aux ? x[i->b] : (uint32_t)x[i->b];
        if (!eval_amo(s, i->op, x[i->a], i->aux ? 8 : 4, b, &v))
            return s->exit = EVAL_FAULT, false;
        x[i->d] = i->aux ? v : (uint64_t)(int32_t)v;
        return true;
    }
    case GUEST_CALL:
        v = eval_helper(s, GUEST_SLOTS, 3, i->aux, x[i->a], x[i->b], 0);
        if (i->aux & IR_CALL_EXITS && eval_helper_leaves(v))
            return s->exit = EVAL_CALL, false;
        x[i->d] = v;
        return true;
    case GUEST_FENCE:
        s->effects = (s->effects ^ 1) * UINT64_C(0x9e3779b97f4a7c15);
        s->effects ^= s->effects >> 31;
        return true;
    default:
        x[i->d] = run_value(i, x);
        return true;
    }
}

/* The block that follows, or -1. */
static int run_end(struct eval_state *s, const struct guest_block *b)
{
    uint64_t y = b->b == GUEST_SLOTS ? 0 : s->slot[b->b];
    switch (b->end) {
    case GUEST_JUMP:
        return (int)b->to[0];
    case GUEST_BRANCH:
        return (int)b->to[eval_op(b->op, IR_I1, IR_I64, s->slot[b->a], y, 0, 0) ? 0 : 1];
    case GUEST_EXIT_IND:
        s->pc = s->slot[b->a];
        s->exit = EVAL_IND;
        return -1;
    default:
        s->exit = b->end == GUEST_EXIT ? EVAL_EXIT : EVAL_INTERP;
        return -1;
    }
}

void guest_run(const struct guest *g, struct eval_state *s, unsigned ticks)
{
    for (int n = (int)g->entry[s->entry]; n >= 0;) {
        const struct guest_block *b = &g->block[n];
        s->pc = pc_of((unsigned)n, 0);
        if (b->tick && !--ticks) {
            s->exit = EVAL_TICK;
            return;
        }
        for (unsigned i = 0; i < b->count; i++) {
            s->pc = pc_of((unsigned)n, i);
            if (!run_ins(s, &b->ins[i]))
                return;
            s->retired++;
        }
        s->pc = pc_of((unsigned)n, b->count);
        n = run_end(s, b);
    }
}

/* --- building ------------------------------------------------------------------------------- */

static ir_ref low(struct ir *ir, unsigned slot)
{
    return ir_op1(ir, IR_TRUNC32, ir_slot_read(ir, slot));
}

static ir_ref build_float(struct ir *ir, const struct guest_ins *i)
{
    ir_ref a = ir_slot_read(ir, i->a), b = ir_slot_read(ir, i->b);
    if (i->op == IR_FBOX)
        return ir_op1(ir, IR_FBOX, ir_op1(ir, IR_FNEG, ir_op1(ir, IR_FUNBOX, a)));
    if (i->op == IR_FADD || i->op == IR_FMUL)
        return ir_value(ir, (enum ir_op)i->op, IR_F64, a, b, 0, 7);
    return ir_value(ir, (enum ir_op)i->op, IR_F64, a, i->op == IR_FNEG || i->op == IR_FABS ? 0 : b,
                    0, 0);
}

static ir_ref build_value(struct ir *ir, const struct guest_ins *i)
{
    enum ir_op op = (enum ir_op)i->op;
    ir_ref a = ir_slot_read(ir, i->a), b = ir_slot_read(ir, i->b);
    ir_ref imm = ir_const(ir, IR_I64, i->imm), zero = ir_i64(ir, 0);
    switch (i->kind) {
    case GUEST_OP:
        return ir_op2(ir, op, a, b);
    case GUEST_OP_IMM:
        return ir_op2(ir, op, a, imm);
    case GUEST_OPW:
        return ir_op1(ir, IR_SEXT32, ir_op2(ir, op, low(ir, i->a), low(ir, i->b)));
    case GUEST_OPW_IMM:
        return ir_op1(ir, IR_SEXT32, ir_op2(ir, op, low(ir, i->a), ir_i32(ir, (uint32_t)i->imm)));
    case GUEST_OP1:
        return ir_op1(ir, op, a);
    case GUEST_OP1W:
        return ir_op1(ir, IR_SEXT32, ir_op1(ir, op, low(ir, i->a)));
    case GUEST_EXT:
        return ir_op1(ir, op, low(ir, i->a));
    case GUEST_SET:
        return ir_value(ir, IR_BOOL, IR_I64, ir_op2(ir, op, a, b), 0, 0, 0);
    case GUEST_SET_IMM:
        return ir_value(ir, IR_BOOL, IR_I64, ir_op2(ir, op, a, imm), 0, 0, 0);
    case GUEST_SELECT:
        return ir_select(ir, ir_op2(ir, op, a, zero), b, zero);
    case GUEST_IMM:
        return imm;
    case GUEST_FTOX:
        return ir_value(ir, IR_BITCAST, IR_I64, a, 0, 0, 0);
    case GUEST_XTOF:
        return ir_value(ir, IR_BITCAST, IR_F64, a, 0, 0, 0);
    case GUEST_FLOAT:
        return build_float(ir, i);
    default:
        return a;
    }
}

static ir_ref build_load(struct ir *ir, const struct guest_ins *i, uint32_t snap)
{
    ir_ref base = ir_slot_read(ir, i->a);
    if ((i->aux & 3) == IR_MEM_64)
        return ir_load(ir, IR_I64, IR_MEM_64, base, (int32_t)i->imm, snap);
    if ((i->aux & 3) == IR_MEM_32 && i->aux & 4)
        return ir_op1(ir, IR_SEXT32, ir_load(ir, IR_I32, IR_MEM_32, base, (int32_t)i->imm, snap));
    return ir_load(ir, IR_I64, (uint8_t)i->aux, base, (int32_t)i->imm, snap);
}

static ir_ref build_amo(struct ir *ir, const struct guest_ins *i, uint32_t snap)
{
    ir_ref a = ir_slot_read(ir, i->a), b = ir_slot_read(ir, i->b);
    if (i->aux)
        return ir_amo(ir, IR_I64, i->op, a, b, snap);
    return ir_op1(ir, IR_SEXT32, ir_amo(ir, IR_I32, i->op, a, ir_op1(ir, IR_TRUNC32, b), snap));
}

static void build_ins(struct ir *ir, const struct guest_ins *i, uint64_t pc, uint32_t retired)
{
    bool effect = i->kind >= GUEST_LOAD && i->kind <= GUEST_CALL;
    uint32_t snap = effect ? ir_snapshot(ir, pc, retired) : 0;
    ir_ref v = 0;
    switch (i->kind) {
    case GUEST_LOAD:
        v = build_load(ir, i, snap);
        break;
    case GUEST_STORE:
        ir_store(ir, (uint8_t)i->aux, ir_slot_read(ir, i->a), (int32_t)i->imm,
                 ir_slot_read(ir, i->b), snap);
        return;
    case GUEST_AMO:
        v = build_amo(ir, i, snap);
        break;
    case GUEST_CALL:
        v = ir_call(ir, IR_I64, 3, (uint8_t)i->aux, ir_slot_read(ir, i->a), ir_slot_read(ir, i->b),
                    0, snap);
        break;
    case GUEST_FENCE:
        ir_fence(ir);
        return;
    default:
        v = build_value(ir, i);
    }
    ir_slot_write(ir, i->d, v);
}

static void build_end(struct ir *ir, const struct guest_block *b, uint64_t pc,
                      const uint32_t *block)
{
    uint32_t snap;
    switch (b->end) {
    case GUEST_JUMP:
        ir_count(ir, b->count);
        ir_jump(ir, block[b->to[0]]);
        break;
    case GUEST_BRANCH: {
        ir_ref y = b->b == GUEST_SLOTS ? ir_i64(ir, 0) : ir_slot_read(ir, b->b);
        ir_ref cond = ir_op2(ir, (enum ir_op)b->op, ir_slot_read(ir, b->a), y);
        ir_count(ir, b->count);
        ir_branch(ir, cond, block[b->to[0]], block[b->to[1]], (uint8_t)(b->count % 3));
        break;
    }
    case GUEST_EXIT:
        snap = ir_snapshot(ir, pc, b->count);
        ir_exit(ir, snap);
        break;
    case GUEST_EXIT_IND:
        snap = ir_snapshot(ir, pc, b->count);
        ir_exit_ind(ir, ir_slot_read(ir, b->a), snap);
        break;
    default:
        snap = ir_snapshot(ir, pc, b->count);
        ir_exit_interp(ir, snap);
    }
}

/* Seals what can be: all blocks that jump to it have been built. */
static void build_seal(const struct guest *g, struct ir *ir, const uint32_t *block, unsigned done,
                       bool *sealed)
{
    for (unsigned n = 1; n < g->count; n++) {
        bool ready = !sealed[n];
        for (unsigned p = done; p < g->count; p++) {
            const struct guest_block *b = &g->block[p];
            ready &= !(b->end <= GUEST_BRANCH && b->to[0] == n);
            ready &= !(b->end == GUEST_BRANCH && b->to[1] == n);
        }
        if (ready) {
            ir_block_seal(ir, block[n]);
            sealed[n] = true;
        }
    }
}

static void build_declare(const struct guest *g, struct ir *ir)
{
    uint64_t mask[2] = {0, 0};
    for (unsigned n = 0; n < g->count; n++) {
        for (unsigned i = 0; i < g->block[n].count; i++)
            mask[0] |= UINT64_C(1) << g->block[n].ins[i].d;
    }
    ir_declare_writes(ir, mask);
}

/* From the first block of the region, which is current, into the program. */
static void build_entrances(const struct guest *g, struct ir *ir, const uint32_t *block)
{
    for (unsigned i = 0; i < g->entries; i++) {
        bool last = i + 1 == g->entries;
        uint32_t to = ir_block_new(ir, pc_of(g->entry[i], 0));
        uint32_t next = last ? IR_NO_BLOCK : ir_block_new(ir, 0);
        ir_enter(ir, to, next);
        ir_block_begin(ir, to);
        ir_block_seal(ir, to);
        ir_jump(ir, block[g->entry[i]]);
        if (!last) {
            ir_block_begin(ir, next);
            ir_block_seal(ir, next);
        }
    }
}

void guest_build(const struct guest *g, struct ir *ir)
{
    uint8_t types[GUEST_SLOTS];
    uint32_t block[GUEST_MAX_BLOCKS] = {0};
    bool sealed[GUEST_MAX_BLOCKS] = {false};
    memset(types, IR_I64, GUEST_INTS);
    memset(types + GUEST_INTS, IR_F64, GUEST_FLOATS);
    ir_reset(ir, GUEST_SLOTS, types);
    if (g->declares)
        build_declare(g, ir);
    for (unsigned n = g->entries == 1; n < g->count; n++)
        block[n] = ir_block_new(ir, pc_of(n, 0));
    if (g->entries > 1) {
        build_entrances(g, ir, block);
        ir_block_seal(ir, block[0]);
    }
    build_seal(g, ir, block, 0, sealed);
    for (unsigned n = 0; n < g->count; n++) {
        const struct guest_block *b = &g->block[n];
        ir_block_begin(ir, block[n]);
        if (b->tick)
            ir_tick(ir, 0, ir_snapshot(ir, pc_of(n, 0), 0));
        for (unsigned i = 0; i < b->count; i++)
            build_ins(ir, &b->ins[i], pc_of(n, i), i);
        build_end(ir, b, pc_of(n, b->count), block);
        build_seal(g, ir, block, n + 1, sealed);
    }
    ir_finish(ir);
}
