#include "back_world.h"

#include "isa/riscv64/fp.h"

#include <stddef.h>
#include <string.h>

#define T8(t) t, t, t, t, t, t, t, t
const uint8_t world_types[WORLD_SLOTS] = {
    T8(IR_I64), T8(IR_I64), T8(IR_I64), T8(IR_F64), IR_I32, IR_I32,     IR_I32,
    IR_I32,     IR_F32,     IR_F32,     IR_F32,     IR_F32, T8(IR_I64),
};

/* --- memory ----------------------------------------------------------------------------------- */

static bool world_ok(const struct world *w, uint64_t va, bool write)
{
    uint64_t page = (va - WORLD_VA) / 4096;
    (void)w;
    return page < WORLD_PAGES && page != WORLD_PAGE_NONE && !(write && page == WORLD_PAGE_RO);
}

static bool world_access_ok(struct world *w, uint64_t va, unsigned size, bool write)
{
    if (world_ok(w, va, write) && world_ok(w, va + size - 1, write))
        return true;
    w->exit = write ? 2 : 1;
    return false;
}

static void world_fill(struct world *w, uint64_t va)
{
    uint64_t page = va & ~UINT64_C(4095);
    unsigned i = (unsigned)(va >> 12) & (WORLD_TLB - 1);
    if (!w->fill || (va - WORLD_VA) / 4096 == WORLD_PAGE_IO)
        return;
    w->tlb[i].rtag = page;
    w->tlb[i].wtag = world_ok(w, va, true) ? page : UINT64_MAX;
    w->tlb[i].addend = (uint64_t)(uintptr_t)w->ram - WORLD_VA;
}

static uint64_t world_load(void *state, uint64_t va, uint32_t how, uint64_t value)
{
    struct world *w = state;
    unsigned aux = how & 0xff, size = how >> 16;
    uint64_t v = 0;
    (void)value;
    w->calls++;
    if (!world_access_ok(w, va, size, false))
        return UINT64_C(0xdeaddeaddeaddead);
    world_fill(w, va);
    memcpy(&v, w->ram + (va - WORLD_VA), size);
    if (aux & IR_MEM_SIGNED)
        v = (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size));
    return v;
}

static uint64_t world_store(void *state, uint64_t va, uint32_t how, uint64_t value)
{
    struct world *w = state;
    unsigned size = how >> 16;
    w->calls++;
    if (!world_access_ok(w, va, size, true))
        return 0;
    world_fill(w, va);
    memcpy(w->ram + (va - WORLD_VA), &value, size);
    return 0;
}

static uint64_t world_amo_result(const struct world *w, unsigned kind, unsigned size, uint64_t a,
                                 uint64_t b)
{
    int64_t sa = size == 8 ? (int64_t)a : (int32_t)a, sb = size == 8 ? (int64_t)b : (int32_t)b;
    uint64_t ua = size == 8 ? a : (uint32_t)a, ub = size == 8 ? b : (uint32_t)b;
    switch (kind) {
    case IR_AMO_CAS:
        return ua == (size == 8 ? w->expect : (uint32_t)w->expect) ? b : a;
    case IR_AMO_SWAP:
        return b;
    case IR_AMO_ADD:
        return a + b;
    case IR_AMO_XOR:
        return a ^ b;
    case IR_AMO_AND:
        return a & b;
    case IR_AMO_OR:
        return a | b;
    case IR_AMO_MIN:
        return sa < sb ? a : b;
    case IR_AMO_MAX:
        return sa > sb ? a : b;
    case IR_AMO_MINU:
        return ua < ub ? a : b;
    default:
        return ua > ub ? a : b;
    }
}

static uint64_t world_amo(void *state, uint64_t va, uint32_t how, uint64_t value)
{
    struct world *w = state;
    unsigned kind = how & 0xff, size = how >> 8;
    uint64_t old = 0;
    w->calls++;
    if (va & (size - 1)) {
        w->exit = 3;
        return 0;
    }
    if (!world_access_ok(w, va, size, true))
        return 0;
    memcpy(&old, w->ram + (va - WORLD_VA), size);
    uint64_t v = world_amo_result(w, kind, size, old, value);
    memcpy(w->ram + (va - WORLD_VA), &v, size);
    return old;
}

/* --- floating point --------------------------------------------------------------------------- */

#define FP(n, a) (is64 ? fp64_##n a : fp32_##n a)
#define SIGN (is64 ? FP64_SIGN : FP32_SIGN)

static uint64_t world_fp_convert(unsigned op, unsigned type, unsigned rm, bool is64, uint64_t a,
                                 unsigned *flags)
{
    bool wide = type == IR_I64, result64 = type == IR_F64;
    switch (op) {
    case IR_FCVT:
        if (is64 == result64)
            return a;
        return is64 ? fp64_to_fp32(a, rm, flags) : fp32_to_fp64(a, rm, flags);
    case IR_FCVT_TO_S:
        return wide ? FP(to_i64, (a, rm, flags)) : FP(to_i32, (a, rm, flags));
    default:
        return wide ? FP(to_u64, (a, rm, flags)) : FP(to_u32, (a, rm, flags));
    }
}

static uint64_t world_fp_from(unsigned op, unsigned type, unsigned rm, bool wide, uint64_t a,
                              unsigned *flags)
{
    bool is64 = type == IR_F64;
    if (op == IR_FCVT_FROM_S)
        return wide ? FP(from_i64, (a, rm, flags)) : FP(from_i32, (a, rm, flags));
    return wide ? FP(from_u64, (a, rm, flags)) : FP(from_u32, (a, rm, flags));
}

static uint64_t world_fp(void *state, uint32_t how, uint64_t a, uint64_t b, uint64_t c)
{
    struct world *w = state;
    unsigned op = how & 0xff, type = how >> 8 & 0xff, rm = how >> 16 & 0xff, from = how >> 24;
    unsigned flags = w->fflags;
    bool is64 = from == IR_F64;
    uint64_t r;
    w->calls++;
    rm = rm == 7 ? w->frm : rm;
    switch (op) {
    case IR_FADD:
        r = FP(add, (a, b, rm, &flags));
        break;
    case IR_FSUB:
        r = FP(sub, (a, b, rm, &flags));
        break;
    case IR_FMUL:
        r = FP(mul, (a, b, rm, &flags));
        break;
    case IR_FDIV:
        r = FP(div, (a, b, rm, &flags));
        break;
    case IR_FSQRT:
        r = FP(sqrt, (a, rm, &flags));
        break;
    case IR_FMADD:
        r = FP(fma, (a, b, c, rm, &flags));
        break;
    case IR_FMSUB:
        r = FP(fma, (a, b, c ^ SIGN, rm, &flags));
        break;
    case IR_FNMSUB:
        r = FP(fma, (a ^ SIGN, b, c, rm, &flags));
        break;
    case IR_FNMADD:
        r = FP(fma, (a ^ SIGN, b, c ^ SIGN, rm, &flags));
        break;
    case IR_FMIN:
        r = FP(min, (a, b, &flags));
        break;
    case IR_FMAX:
        r = FP(max, (a, b, &flags));
        break;
    case IR_FEQ:
        r = FP(eq, (a, b, &flags));
        break;
    case IR_FLT:
        r = FP(lt, (a, b, &flags));
        break;
    case IR_FLE:
        r = FP(le, (a, b, &flags));
        break;
    case IR_FCLASS:
        r = FP(class, (a));
        break;
    case IR_FCVT_FROM_S:
    case IR_FCVT_FROM_U:
        r = world_fp_from(op, type, rm, from == IR_I64, a, &flags);
        break;
    default:
        r = world_fp_convert(op, type, rm, is64, a, &flags);
        break;
    }
    w->fflags = (uint8_t)flags;
    return r;
}

/* --- calls ------------------------------------------------------------------------------------ */

static uint64_t world_mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static uint64_t world_call(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    struct world *w = state;
    uint64_t v = world_mix(a) ^ world_mix(b + 1) ^ world_mix(c + 2);
    w->calls++;
    return v;
}

static uint64_t world_call_state(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    struct world *w = state;
    uint64_t v = world_call(state, a, b, c) ^ w->pc ^ w->icount << 32;
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        v = world_mix(v + (world_types[i] == IR_I32 || world_types[i] == IR_F32
                               ? (uint32_t)w->slot[i]
                               : w->slot[i]));
    return v;
}

static uint64_t world_call_exits(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    struct world *w = state;
    uint64_t v = world_call(state, a, b, c) ^ w->pc ^ w->icount << 32;
    if (v % 8 == 0)
        w->exit = 7;
    if (v % 16 == 0)
        w->pc = 0x777;
    return v;
}

void world_target(struct back_target *t)
{
    *t = (struct back_target){
        .pc_offset = offsetof(struct world, pc),
        .base_offset = offsetof(struct world, base),
        .icount_offset = offsetof(struct world, icount),
        .exit_offset = offsetof(struct world, exit),
        .stop_at_pointer_offset = offsetof(struct world, stop_at_pointer),
        .fflags_offset = offsetof(struct world, fflags),
        .frm_offset = offsetof(struct world, frm),
        .expect_offset = offsetof(struct world, expect),
        .helpers_offset = offsetof(struct world, helpers),
        .mem_base_offset = offsetof(struct world, mem_base),
        .tlb_entries = WORLD_TLB,
        .jump_offset = offsetof(struct world, jump_pointer),
        .jump_entries = WORLD_JUMP,
    };
    for (unsigned i = 0; i < WORLD_SLOTS; i++) {
        t->slot_offset[i] = (int32_t)(offsetof(struct world, slot) + i * 8);
        t->slot_type[i] = world_types[i];
    }
    host_features_probe(&t->features);
}

void world_helpers(void **table, const struct back_target *t)
{
    table[BACK_HELPER_TARGET] = (void *)(uintptr_t)t;
    table[BACK_HELPER_SLOW] = (void *)(uintptr_t)back_slow;
    table[BACK_HELPER_LOAD] = (void *)(uintptr_t)world_load;
    table[BACK_HELPER_STORE] = (void *)(uintptr_t)world_store;
    table[BACK_HELPER_AMO] = (void *)(uintptr_t)world_amo;
    table[BACK_HELPER_FP] = (void *)(uintptr_t)world_fp;
    table[WORLD_CALL] = (void *)(uintptr_t)world_call;
    table[WORLD_CALL_STATE] = (void *)(uintptr_t)world_call_state;
    table[WORLD_CALL_EXITS] = (void *)(uintptr_t)world_call_exits;
}

/* --- evaluation ------------------------------------------------------------------------------- */

struct eval {
    struct world *w;
    const struct ir *ir;
    uint64_t value[IR_MAX_INS];
};

static uint64_t eval_cut(unsigned type, uint64_t v)
{
    return type == IR_I32 || type == IR_F32 ? (uint32_t)v : v;
}

static void eval_home(struct eval *e, uint32_t snap)
{
    const struct ir_snap_entry *entry = ir_snap_entries(e->ir, snap);
    for (uint32_t i = 0; i < e->ir->snap[snap].count; i++) {
        unsigned slot = entry[i].slot;
        uint64_t v = e->value[entry[i].value];
        if (entry[i].how == IR_SNAP_SEXT32)
            v = (uint64_t)(int64_t)(int32_t)v;
        memcpy(&e->w->slot[slot], &v,
               world_types[slot] == IR_I32 || world_types[slot] == IR_F32 ? 4 : 8);
    }
}

static uint64_t eval_clmul(unsigned bits, uint64_t a, uint64_t b, bool high)
{
    unsigned __int128 p = 0;
    for (unsigned i = 0; i < bits; i++)
        p ^= b >> i & 1 ? (unsigned __int128)a << i : 0;
    return (uint64_t)(high ? p >> bits : p);
}

static uint64_t eval_int2(unsigned op, bool wide, uint64_t a, uint64_t b)
{
    unsigned bits = wide ? 64 : 32;
    uint64_t ua = wide ? a : (uint32_t)a, ub = wide ? b : (uint32_t)b;
    int64_t sa = wide ? (int64_t)a : (int32_t)a, sb = wide ? (int64_t)b : (int32_t)b;
    int64_t min = wide ? INT64_MIN : INT32_MIN;
    unsigned n = ub & (bits - 1);
    switch (op) {
    case IR_ADD:
        return a + b;
    case IR_SUB:
        return a - b;
    case IR_AND:
        return a & b;
    case IR_OR:
        return a | b;
    case IR_XOR:
        return a ^ b;
    case IR_SHL:
        return a << n;
    case IR_SHR:
        return ua >> n;
    case IR_SAR:
        return (uint64_t)(sa >> n);
    case IR_ROL:
        return n ? ua << n | ua >> (bits - n) : ua;
    case IR_ROR:
        return n ? ua >> n | ua << (bits - n) : ua;
    case IR_MUL:
        return a * b;
    case IR_ANDN:
        return a & ~b;
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
        return a + (b << (op - IR_ADDX2 + 1));
    case IR_MULHS:
        return (uint64_t)((__int128)sa * sb >> bits);
    case IR_MULHU:
        return (uint64_t)((unsigned __int128)ua * ub >> bits);
    case IR_MULHSU:
        return (uint64_t)((__int128)sa * (__int128)(unsigned __int128)ub >> bits);
    case IR_CLMUL:
    case IR_CLMULH:
        return eval_clmul(bits, ua, ub, op == IR_CLMULH);
    case IR_DIVS:
        return !sb ? UINT64_MAX : sa == min && sb == -1 ? a : (uint64_t)(sa / sb);
    case IR_DIVU:
        return !ub ? UINT64_MAX : ua / ub;
    case IR_REMS:
        return !sb ? a : sa == min && sb == -1 ? 0 : (uint64_t)(sa % sb);
    case IR_REMU:
        return !ub ? a : ua % ub;
    case IR_EQ:
        return ua == ub;
    case IR_NE:
        return ua != ub;
    case IR_LTS:
        return sa < sb;
    case IR_GES:
        return sa >= sb;
    case IR_LTU:
        return ua < ub;
    default:
        return ua >= ub;
    }
}

static uint64_t eval_fp_bits(const struct ir_ins *ins, uint64_t a, uint64_t b)
{
    uint64_t sign = ins->type == IR_F64 ? FP64_SIGN : FP32_SIGN;
    switch (ins->op) {
    case IR_FNEG:
        return a ^ sign;
    case IR_FABS:
        return a & ~sign;
    case IR_FSGNJ:
        return (a & ~sign) | (b & sign);
    case IR_FSGNJN:
        return (a & ~sign) | (~b & sign);
    default:
        return a ^ (b & sign);
    }
}

static uint64_t eval_int1(unsigned op, bool wide, uint64_t a)
{
    switch (op) {
    case IR_NOT:
        return ~a;
    case IR_NEG:
        return 0 - a;
    case IR_CLZ:
        return wide ? (a ? (unsigned)__builtin_clzll(a) : 64u)
                    : ((uint32_t)a ? (unsigned)__builtin_clz((uint32_t)a) : 32u);
    case IR_CTZ:
        return wide ? (a ? (unsigned)__builtin_ctzll(a) : 64u)
                    : ((uint32_t)a ? (unsigned)__builtin_ctz((uint32_t)a) : 32u);
    case IR_POPCNT:
        return (unsigned)__builtin_popcountll(wide ? a : (uint32_t)a);
    case IR_BSWAP:
        return wide ? __builtin_bswap64(a) : __builtin_bswap32((uint32_t)a);
    case IR_SEXT8:
        return (uint64_t)(int64_t)(int8_t)a;
    case IR_SEXT16:
        return (uint64_t)(int64_t)(int16_t)a;
    case IR_ZEXT8:
        return (uint8_t)a;
    case IR_ZEXT16:
        return (uint16_t)a;
    case IR_SEXT32:
        return (uint64_t)(int64_t)(int32_t)a;
    default:
        return (uint32_t)a; /* ZEXT32, XEXT32, TRUNC32 */
    }
}

static uint64_t eval_pc(const struct eval *e, uint32_t snap)
{
    return e->ir->snap[snap].pc - e->w->made_base + e->w->base;
}

/* Instructions that name a snapshot: the position is written before. */
static void eval_position(struct eval *e, uint32_t snap)
{
    e->w->pc = eval_pc(e, snap);
}

static uint64_t eval_call(struct eval *e, const struct ir_ins *ins, const uint64_t *v)
{
    uint64_t icount = e->w->icount;
    if (ins->snap) {
        eval_position(e, ins->snap);
        e->w->icount += e->ir->snap[ins->snap].retired;
    }
    if (ins->op == IR_CALL && (ins->aux & IR_CALL_STATE))
        eval_home(e, ins->snap);
    uint64_t r;
    uint64_t va = v[0] + (uint64_t)ins->imm;
    uint32_t type = ins->op == IR_STORE ? e->ir->ins[ins->arg[1]].type : ins->type;
    uint32_t how = ins->aux | type << 8 | IR_MEM_SIZE(ins->aux) << 16;
    switch (ins->op) {
    case IR_LOAD:
        r = world_load(e->w, va, how, 0);
        break;
    case IR_STORE:
        r = world_store(e->w, va, how, v[1]);
        break;
    case IR_AMO:
        r = world_amo(e->w, v[0], (uint32_t)ins->imm | (ins->type == IR_I64 ? 8u : 4u) << 8, v[1]);
        break;
    default:
        r = ins->imm == WORLD_CALL_STATE   ? world_call_state(e->w, v[0], v[1], v[2])
            : ins->imm == WORLD_CALL_EXITS ? world_call_exits(e->w, v[0], v[1], v[2])
                                           : world_call(e->w, v[0], v[1], v[2]);
        break;
    }
    if (!e->w->exit)
        e->w->icount = icount;
    return r;
}

static uint64_t eval_silent(bool is64, bool less, uint64_t a, uint64_t b)
{
    unsigned flags = 0;
    return less ? FP(lt, (a, b, &flags)) : FP(le, (a, b, &flags));
}

static uint64_t eval_value(struct eval *e, const struct ir_ins *ins)
{
    uint64_t v[3] = {0};
    unsigned type = ins->arg[0] ? e->ir->ins[ins->arg[0]].type : 0;
    for (unsigned i = 0; i < 3; i++)
        if (ins->arg[i])
            v[i] = e->value[ins->arg[i]];
    uint32_t how = ins->op | (uint32_t)ins->type << 8 | (uint32_t)ins->aux << 16 | type << 24;
    switch (ins->op) {
    case IR_BOOL:
    case IR_BITCAST:
        return v[0];
    case IR_SELECT:
        return v[0] ? v[1] : v[2];
    case IR_FNEG:
    case IR_FABS:
    case IR_FSGNJ:
    case IR_FSGNJN:
    case IR_FSGNJX:
        return eval_fp_bits(ins, v[0], v[1]);
    case IR_FBOX:
        return v[0] | UINT64_C(0xffffffff00000000);
    case IR_FUNBOX:
        return fp32_unbox(v[0]);
    case IR_LOAD:
    case IR_STORE:
    case IR_AMO:
    case IR_CALL:
        return eval_call(e, ins, v);
    case IR_FFLAGS:
        return e->w->fflags;
    case IR_FFLAGS_SET:
        return e->w->fflags = v[0] & 31;
    case IR_FLT_SILENT:
    case IR_FLE_SILENT:
        return eval_silent(type == IR_F64, ins->op == IR_FLT_SILENT, v[0], v[1]);
    default:
        if (ins->op == IR_FCLASS || (ir_op_info[ins->op].flags & IR_F_FPENV))
            return world_fp(e->w, how, v[0], v[1], v[2]);
        if (ir_op_info[ins->op].argc == 2)
            return eval_int2(ins->op, type == IR_I64, v[0], v[1]);
        return eval_int1(ins->op, ins->op == IR_TRUNC32 ? false : type == IR_I64, v[0]);
    }
}

static void eval_phis(struct eval *e, uint32_t from, uint32_t to)
{
    const struct ir *ir = e->ir;
    uint64_t next[1024];
    unsigned n = 0, k = 0, i = 0;
    while (ir_preds(ir, to)[i] != from)
        i++;
    for (ir_ref r = ir->block[to].first; r && ir->ins[r].op == IR_PHI; r = ir->ins[r].next)
        next[n++] = e->value[ir_phi_args(ir, r)[i]];
    for (ir_ref r = ir->block[to].first; r && ir->ins[r].op == IR_PHI; r = ir->ins[r].next)
        e->value[r] = next[k++];
}

static void eval_leave(struct eval *e, const struct ir_ins *ins, struct world_exit *out,
                       enum back_thunk why)
{
    out->why = why;
    out->pc = eval_pc(e, ins->snap);
    eval_home(e, ins->snap);
}

/* True: left. */
static bool eval_ins(struct eval *e, ir_ref r, struct world_exit *out)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    struct world *w = e->w;
    switch (ins->op) {
    case IR_NOP:
    case IR_FENCE:
    case IR_PHI:
        return false;
    case IR_CONST:
        e->value[r] = eval_cut(ins->type, (uint64_t)ins->imm);
        return false;
    case IR_PC:
        e->value[r] = w->base + (uint64_t)ins->imm;
        return false;
    case IR_GET:
        e->value[r] = eval_cut(ins->type, w->slot[ins->imm]);
        return false;
    case IR_COUNT:
        w->icount += (uint64_t)ins->imm;
        return false;
    case IR_COUNT_IF:
        w->icount += (uint64_t)(e->value[ins->arg[0]] ? ir_count_if_yes(ins->imm)
                                                      : ir_count_if_no(ins->imm));
        return false;
    case IR_TICK:
        w->icount += (uint64_t)ins->imm;
        if (w->icount < w->stop_at)
            return false;
        eval_leave(e, ins, out, BACK_THUNK_STOP);
        return true;
    case IR_EXIT:
    case IR_EXIT_IND:
    case IR_EXIT_INTERP:
        eval_leave(e, ins, out,
                   ins->op == IR_EXIT       ? BACK_THUNK_EXIT
                   : ins->op == IR_EXIT_IND ? BACK_THUNK_INDIRECT
                                            : BACK_THUNK_INTERP);
        if (ins->op == IR_EXIT_IND)
            out->pc = e->value[ins->arg[0]];
        w->icount += e->ir->snap[ins->snap].retired;
        return true;
    default:
        e->value[r] = eval_cut(ins->type, eval_value(e, ins));
        if (!w->exit)
            return false;
        eval_leave(e, ins, out, BACK_THUNK_TRAP);
        out->pc = w->pc;
        return true;
    }
}

bool world_eval(struct world *w, const struct ir *ir, unsigned entry, struct world_exit *out,
                unsigned steps)
{
    static struct eval e;
    uint32_t block = 0;
    e.w = w;
    e.ir = ir;
    for (;;) {
        ir_ref last = 0;
        IR_EACH_INS(ir, block, r)
        {
            if (!steps--)
                return false;
            last = r;
            if (eval_ins(&e, r, out))
                return true;
        }
        const struct ir_ins *ins = &ir->ins[last];
        bool second = ins->op == IR_ENTER ? entry-- : ins->op == IR_BRANCH && !e.value[ins->arg[0]];
        uint32_t to = ir->block[block].succ[second];
        eval_phis(&e, block, to);
        block = to;
    }
}
