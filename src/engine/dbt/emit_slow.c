/*
 * Descriptors of slow paths, and their execution.
 *
 * A slow path is `call slow thunk; test eax, imm32`: the immediate is the distance from itself to
 * the descriptor, the instruction harmless when it is executed after the return.
 */
#include "base/bits.h"
#include "engine/dbt/emit.h"
#include "isa/riscv64/fp.h"

#include <stdlib.h>
#include <string.h>

enum slow_kind { SLOW_LOAD, SLOW_STORE, SLOW_AMO, SLOW_FP, SLOW_CALL, SLOW_INT, SLOW_STOP };

enum { SLOW_SNAP = 1u << 4, SLOW_STATE = 1u << 5, SLOW_EXITS = 1u << 6, SLOW_FPENV = 1u << 7 };
#define SLOW_BASE (1u << 10) /* D_PC is relative to the base */
#define PLACE_BASE 0x4000u   /* of a place in the pool: likewise */
_Static_assert(IR_MAX_INS <= PLACE_BASE, "an index into the pool");

/* Words of a descriptor. A place is a ra_loc | type << 16; constants: index into the pool. */
enum {
    D_KIND,  /* kind | SLOW_... | number of operands << 8 | retired << 16 */
    D_EXTRA, /* depends on kind */
    D_PC,
    D_PC_HIGH,
    D_RESULT,
    D_IMM,
    D_POOL, /* bytes from the descriptor */
    D_SNAP, /* number of entries | words from the descriptor to them << 8 */
    D_ARG,  /* as many as there are */
};

/* An entry of a snapshot: slot | how << 8 | place << 16. */

static unsigned desc_kind(uint32_t word)
{
    return word & 15;
}

static unsigned desc_args(uint32_t word)
{
    return word >> 8 & 3;
}

static uint32_t desc_retired(uint32_t word)
{
    return word >> 16;
}

static uint32_t desc_snap_count(uint32_t word)
{
    return word & 0xff;
}

static int32_t desc_snap_at(uint32_t word)
{
    return (int32_t)word >> 8;
}

/* --- making them ------------------------------------------------------------------------------ */

void emit_slow_begin(struct emit *e)
{
    e->desc_count = e->pool_count = e->desc_ref_count = 0;
    memset(e->pool_of, 0, e->ir->ins_count * sizeof *e->pool_of);
    memset(e->snap_desc, 0, e->ir->snap_count * sizeof *e->snap_desc);
}

static uint32_t *emit_desc_words(struct emit *e, uint32_t n)
{
    if (!emit_grow((void **)&e->desc, &e->desc_cap, e->desc_count + n, sizeof *e->desc)) {
        e->failed = true;
        return NULL;
    }
    e->desc_count += n;
    return e->desc + e->desc_count - n;
}

static uint32_t emit_place(struct emit *e, ir_ref ref)
{
    ra_loc l = emit_home_loc(e, ref);
    if (!ra_is_const(l))
        return l;
    if (!e->pool_of[ref]) {
        if (!emit_grow((void **)&e->pool, &e->pool_cap, e->pool_count + 1, sizeof *e->pool)) {
            e->failed = true;
            return RA_CONST;
        }
        e->pool[e->pool_count++] = (uint64_t)ir_at(e->ir, ref)->imm;
        e->pool_of[ref] = (uint16_t)e->pool_count;
    }
    return RA_CONST | (emit_is_pc(e, ref) ? PLACE_BASE : 0) | (e->pool_of[ref] - 1u);
}

static void emit_desc_snap(struct emit *e, uint32_t snap)
{
    const struct ir_snap *s = &e->ir->snap[snap];
    uint32_t n = s->count;
    if (e->snap_desc[snap] || !n)
        return;
    /* Snapshots made one after the other often are the same but for the pc. */
    if (s[-1].first == s->first && s[-1].count == n && e->snap_desc[snap - 1]) {
        e->snap_desc[snap] = e->snap_desc[snap - 1];
        return;
    }
    uint32_t first = e->desc_count;
    if (!emit_desc_words(e, n))
        return;
    const struct ir_snap_entry *entry = ir_snap_entries(e->ir, snap);
    for (uint32_t i = 0; i < n; i++)
        e->desc[first + i] =
            entry[i].slot | (uint32_t)entry[i].how << 8 | emit_place(e, entry[i].value) << 16;
    e->snap_desc[snap] = first + 1;
}

static uint32_t emit_slow_kind(const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_LOAD:
        return SLOW_LOAD | SLOW_EXITS;
    case IR_STORE:
        return SLOW_STORE | SLOW_EXITS;
    case IR_AMO:
        return SLOW_AMO | SLOW_EXITS;
    case IR_TICK:
        return SLOW_STOP;
    case IR_CALL:
        return SLOW_CALL | (ins->aux & IR_CALL_STATE ? SLOW_STATE : 0u) |
               (ins->aux & IR_CALL_EXITS ? SLOW_EXITS : 0u) |
               (ins->aux & IR_CALL_FPENV ? SLOW_FPENV : 0u);
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPCNT:
    case IR_CLMUL:
    case IR_CLMULH:
        return SLOW_INT;
    default:
        return SLOW_FP;
    }
}

static uint32_t emit_slow_extra(const struct emit *e, const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_LOAD:
    case IR_STORE:
        return ins->aux |
               (uint32_t)(ins->op == IR_LOAD ? ins->type : ir_at(e->ir, ins->arg[1])->type) << 8 |
               IR_MEM_SIZE(ins->aux) << 16;
    case IR_AMO:
        return (uint32_t)ins->imm | emit_size(ins->type) << 8;
    case IR_CALL:
        return (uint32_t)ins->imm;
    default:
        return ins->op | (uint32_t)ins->type << 8 | (uint32_t)ins->aux << 16 |
               (ins->arg[0] ? (uint32_t)ir_at(e->ir, ins->arg[0])->type << 24 : 0);
    }
}

static uint32_t emit_desc(struct emit *e, ir_ref ref)
{
    const struct ir_ins *ins = ir_at(e->ir, ref);
    const struct ir_snap *snap = &e->ir->snap[ins->snap];
    unsigned args = ir_argc(ins);
    uint32_t place[3];
    if (ins->snap)
        emit_desc_snap(e, ins->snap);
    for (unsigned i = 0; i < args; i++)
        place[i] = emit_place(e, ins->arg[i]) | (uint32_t)ir_at(e->ir, ins->arg[i])->type << 16;
    uint32_t at = e->desc_count;
    uint32_t *d = emit_desc_words(e, D_ARG + args);
    if (!d)
        return 0;
    uint64_t pc = ins->snap ? snap->pc - e->t->base : 0;
    uint32_t retired = ins->snap && ins->op != IR_TICK ? snap->retired : 0;
    d[D_KIND] = emit_slow_kind(ins) | (ins->snap ? SLOW_SNAP : 0u) | args << 8 | retired << 16 |
                (e->t->relative ? SLOW_BASE : 0u);
    d[D_EXTRA] = emit_slow_extra(e, ins);
    d[D_PC] = (uint32_t)pc;
    d[D_PC_HIGH] = (uint32_t)(pc >> 32);
    d[D_RESULT] = emit_loc(e, ref) | (uint32_t)ins->type << 16;
    d[D_IMM] = (uint32_t)ins->imm;
    d[D_SNAP] = 0;
    if (ins->snap && snap->count)
        d[D_SNAP] = snap->count | (e->snap_desc[ins->snap] - 1 - at) << 8;
    memcpy(d + D_ARG, place, args * sizeof *place);
    e->failed |= retired > 0xffff || snap->count > 0xff || e->desc_count > 1u << 23;
    return at;
}

void emit_slow_here(struct emit *e, ir_ref ref)
{
    uint32_t desc = emit_desc(e, ref), n = e->desc_ref_count;
    emit_thunk_jump(e, 0xe8, BACK_THUNK_SLOW);
    if (!emit_grow((void **)&e->desc_ref, &e->desc_ref_cap, n + 1, sizeof *e->desc_ref)) {
        e->failed = true;
        return;
    }
    e->desc_ref[n].field = asm_pos(&e->a) + 1;
    e->desc_ref[n].desc = desc;
    e->desc_ref_count++;
    asm_data(&e->a, "\xa9\0\0\0\0", 5); /* test eax, imm32 */
}

void emit_slow(struct emit *e, struct emit_stub *s)
{
    asm_bind(&e->a, &s->label);
    if (s->to) /* the operand that the result has replaced */
        asm_xx(&e->a, ASM_MOVAPS, (enum asm_xmm)(s->to - 1), EMIT_SCRATCH_X);
    emit_slow_here(e, s->ref);
    ir_ref other = s->ref;
    for (uint32_t i = 0; i < s->others; i++) {
        other = emit_next_access(e, other);
        emit_note(e, EMIT_MARK_STUB | other);
        emit_slow_here(e, other);
    }
    if (ir_at(e->ir, s->ref)->op != IR_TICK)
        asm_jmp(&e->a, &s->resume);
}

/* Puts pool and descriptors behind the code, and completes what refers to them. */
void emit_slow_end(struct emit *e)
{
    asm_align(&e->a, 8);
    uint32_t pool = asm_pos(&e->a);
    uint32_t base = pool + e->pool_count * 8;
    size_t room = (size_t)(e->a.end - e->a.p), need = e->pool_count * 8 + e->desc_count * 4;
    if (e->failed || e->a.overflow || room < need) {
        e->a.overflow = true;
        return;
    }
    for (uint32_t i = 0; i < e->desc_ref_count; i++) {
        uint32_t at = base + e->desc_ref[i].desc * 4, distance = at - e->desc_ref[i].field;
        memcpy(e->a.start + e->desc_ref[i].field, &distance, 4);
        e->desc[e->desc_ref[i].desc + D_POOL] = pool - at;
    }
    if (e->pool_count)
        memcpy(e->a.p, e->pool, e->pool_count * 8);
    if (e->desc_count)
        memcpy(e->a.p + e->pool_count * 8, e->desc, e->desc_count * 4);
    e->a.p += need;
}

/* --- executing them --------------------------------------------------------------------------- */

typedef uint64_t (*back_load_fn)(void *state, uint64_t va, uint32_t how, uint64_t value);
typedef uint64_t (*back_fp_fn)(void *state, uint32_t how, uint64_t a, uint64_t b, uint64_t c);
typedef uint64_t (*back_call_fn)(void *state, uint64_t a, uint64_t b, uint64_t c);

struct slow {
    uint64_t *regs;
    const uint32_t *desc;
    void *const *helpers;
    const struct back_target *t;
    uint8_t *state;
};

static uint64_t slow_read_sized(const void *p, unsigned type)
{
    uint64_t v = 0;
    memcpy(&v, p, emit_size(type));
    return v;
}

static uint64_t slow_base(const struct slow *s)
{
    return slow_read_sized(s->state + s->t->base_offset, IR_I64);
}

static uint64_t slow_get(const struct slow *s, uint32_t place, unsigned type)
{
    ra_loc l = (ra_loc)place;
    uint64_t v = 0;
    if (ra_is_const(l)) {
        const uint8_t *pool = (const uint8_t *)s->desc + (int32_t)s->desc[D_POOL];
        memcpy(&v, pool + (size_t)(l & (PLACE_BASE - 1)) * 8, 8);
        v += l & PLACE_BASE ? slow_base(s) : 0;
    } else if (ra_is_reg(l)) {
        v = s->regs[l];
    } else if (ra_is_frame(l)) {
        memcpy(&v, (const uint8_t *)(uintptr_t)s->regs[RSP] + (size_t)(l - RA_FRAME) * 8, 8);
    } else if (ra_is_home(l)) {
        return slow_read_sized(s->state + s->t->slot_offset[l - RA_HOME], type);
    }
    return emit_size(type) == 4 ? (uint32_t)v : v;
}

static uint64_t slow_arg(const struct slow *s, unsigned i)
{
    if (i >= desc_args(s->desc[D_KIND]))
        return 0;
    uint32_t d = s->desc[D_ARG + i];
    return slow_get(s, d & 0xffff, d >> 16);
}

static void slow_result(const struct slow *s, uint64_t v)
{
    ra_loc l = (ra_loc)s->desc[D_RESULT];
    if (ra_is_reg(l))
        s->regs[l] = v;
    else if (ra_is_frame(l))
        memcpy((uint8_t *)(uintptr_t)s->regs[RSP] + (size_t)(l - RA_FRAME) * 8, &v, 8);
}

static uint64_t slow_snap_value(const struct slow *s, uint32_t entry)
{
    unsigned how = entry >> 8 & 0xff, type = how ? IR_I32 : s->t->slot_type[entry & 0xff];
    uint64_t v = slow_get(s, entry >> 16, type);
    return how == IR_SNAP_SEXT32 ? (uint64_t)(int64_t)(int32_t)v : v;
}

/* Slots go home: all are read before the first is written. */
static void slow_home(const struct slow *s)
{
    uint64_t value[IR_MAX_SLOTS];
    uint32_t n = desc_snap_count(s->desc[D_SNAP]);
    const uint32_t *entry = s->desc + desc_snap_at(s->desc[D_SNAP]);
    for (uint32_t i = 0; i < n; i++)
        value[i] = slow_snap_value(s, entry[i]);
    for (uint32_t i = 0; i < n; i++) {
        unsigned slot = entry[i] & 0xff;
        memcpy(s->state + s->t->slot_offset[slot], &value[i], emit_size(s->t->slot_type[slot]));
    }
}

static void slow_position(const struct slow *s)
{
    uint64_t pc = s->desc[D_PC] | (uint64_t)s->desc[D_PC_HIGH] << 32;
    if (s->desc[D_KIND] & SLOW_BASE)
        pc += slow_base(s);
    uint64_t icount = s->regs[R15] + desc_retired(s->desc[D_KIND]);
    memcpy(s->state + s->t->pc_offset, &pc, 8);
    memcpy(s->state + s->t->icount_offset, &icount, 8);
}

/* The host's rounding mode for frm; the modes it does not have do not matter. */
uint32_t emit_mxcsr(unsigned frm)
{
    static const uint8_t rounding[8] = {[FP_RTZ] = 3, [FP_RDN] = 1, [FP_RUP] = 2};
    return 0x1f80 | (uint32_t)rounding[frm & 7] << 13;
}

/* The flags of MXCSR (regs[32]) into fflags. */
static void slow_flags(const struct slow *s)
{
    uint64_t x = s->regs[32];
    s->state[s->t->fflags_offset] |=
        (uint8_t)((x & 1 ? FP_NV : 0) | (x & 4 ? FP_DZ : 0) | (x & 8 ? FP_OF : 0) |
                  (x & 16 ? FP_UF : 0) | (x & 32 ? FP_NX : 0));
}

static uint64_t slow_int(unsigned how, uint64_t v, uint64_t b)
{
    unsigned width = (how >> 8 & 0xff) == IR_I64 ? 64 : 32;
    switch (how & 0xff) {
    case IR_CLZ:
        return v ? (unsigned)__builtin_clzll(v) - (64 - width) : width;
    case IR_CTZ:
        return v ? (unsigned)__builtin_ctzll(v) : width;
    case IR_CLMUL:
        return (uint64_t)bits_clmul(v, b);
    case IR_CLMULH:
        return (uint64_t)(bits_clmul(v, b) >> width);
    default:
        return (unsigned)__builtin_popcountll(v);
    }
}

static uint64_t slow_run(const struct slow *s)
{
    uint32_t extra = s->desc[D_EXTRA];
    uint64_t a = slow_arg(s, 0), b = slow_arg(s, 1), c = slow_arg(s, 2);
    uint64_t va = a + (uint64_t)(int64_t)(int32_t)s->desc[D_IMM];
    switch (desc_kind(s->desc[D_KIND])) {
    case SLOW_LOAD:
        return ((back_load_fn)s->helpers[BACK_HELPER_LOAD])(s->state, va, extra, 0);
    case SLOW_STORE:
        return ((back_load_fn)s->helpers[BACK_HELPER_STORE])(s->state, va, extra, b);
    case SLOW_AMO:
        return ((back_load_fn)s->helpers[BACK_HELPER_AMO])(s->state, a, extra, b);
    case SLOW_FP:
        return ((back_fp_fn)s->helpers[BACK_HELPER_FP])(s->state, extra, a, b, c);
    case SLOW_INT:
        return slow_int(extra, a, b);
    default:
        return ((back_call_fn)s->helpers[extra])(s->state, a, b, c);
    }
}

uint64_t back_slow(uint64_t *regs, const uint32_t *desc, void *const *helpers)
{
    struct slow s = {regs, desc, helpers, helpers[BACK_HELPER_TARGET],
                     (uint8_t *)(uintptr_t)regs[RBP]};
    uint32_t kind = desc[D_KIND];
    int leave = 0;
    if (kind & SLOW_SNAP)
        slow_position(&s);
    if (desc_kind(kind) == SLOW_STOP) {
        slow_home(&s);
        return BACK_THUNK_STOP;
    }
    if (kind & SLOW_STATE)
        slow_home(&s);
    if (kind & SLOW_FPENV)
        slow_flags(&s);
    uint64_t v = slow_run(&s);
    if (kind & SLOW_FPENV)
        regs[32] = emit_mxcsr(s.state[s.t->frm_offset]);
    if (kind & SLOW_EXITS)
        memcpy(&leave, s.state + s.t->exit_offset, sizeof leave);
    if (leave) {
        if (!(kind & SLOW_STATE))
            slow_home(&s);
        regs[R15] += desc_retired(kind);
        return BACK_THUNK_TRAP;
    }
    slow_result(&s, v);
    return 0;
}
