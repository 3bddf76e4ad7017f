/*
 * Translated code against an evaluator of the IR: programs made at random, and some written by
 * hand, run in two equal worlds that must stay equal. GUISE_SEED repeats a run, GUISE_DUMP prints
 * what differed.
 */
#include "back_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/codemem.h"

#define CODE_SIZE (1 << 20)

static uint64_t seed_state;

static uint32_t rnd(uint32_t below)
{
    seed_state = seed_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed_state >> 33) * below >> 31);
}

static uint64_t rnd64(void)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   UINT64_MAX,
                                   INT64_MAX,
                                   (uint64_t)INT64_MIN,
                                   INT32_MAX,
                                   0xffffffff,
                                   0x80000000,
                                   0xff,
                                   0xffff,
                                   63,
                                   64,
                                   0x7ff0000000000000,
                                   0x7f800000,
                                   0x3ff0000000000000,
                                   0x3f800000,
                                   0x7ff8000000000000,
                                   0xffffffff7fc00000};
    uint64_t v = (uint64_t)rnd(1u << 31) << 33 ^ (uint64_t)rnd(1u << 31) << 15 ^ rnd(1u << 31);
    switch (rnd(8)) {
    case 0:
    case 1:
        return odd[rnd(sizeof odd / sizeof *odd)];
    case 2:
        return v & 0xff;
    case 3:
        return (uint64_t)(int64_t)(int32_t)v;
    case 4:
        return WORLD_VA + v % (WORLD_PAGES * 4096);
    case 5:
        return UINT64_C(0xffffffff00000000) | v;
    default:
        return v;
    }
}

/* Values whose sums, products and conversions are of all kinds. */
static uint64_t rnd_float(unsigned type)
{
    if (rnd(3) == 0)
        return rnd64();
    if (type == IR_F64) {
        uint64_t exponent = rnd(2) ? 1000 + rnd(100) : rnd(2) ? rnd(60) : 1990 + rnd(58);
        return (uint64_t)rnd(2) << 63 | exponent << 52 |
               (rnd64() >> 12 & (rnd(2) ? UINT64_MAX : UINT64_MAX << 40));
    }
    uint64_t exponent = rnd(2) ? 110 + rnd(60) : rnd(2) ? rnd(30) : 226 + rnd(30);
    return (uint64_t)rnd(2) << 31 | exponent << 23 | (rnd64() & 0x7fffff);
}

static uint64_t rnd_slot(unsigned slot)
{
    unsigned type = world_types[slot];
    if (type == IR_F64 && rnd(3) == 0)
        return UINT64_C(0xffffffff00000000) | rnd_float(IR_F32);
    return type == IR_F64 || type == IR_F32 ? rnd_float(type) : rnd64();
}

/* --- the machine ------------------------------------------------------------------------------ */

struct machine {
    struct codemem memory;
    struct back_target target;
    struct back_thunks thunks;
    const uint8_t *thunks_exec;
    void *helpers[WORLD_HELPERS];
    struct back *back;
    struct back_code code;
    uint8_t bytes[CODE_SIZE];
    struct ir *ir;
    struct ir_live *live;
    struct world jit, eval;
    unsigned entry; /* where it is entered */
};

static struct machine *machine_new(void)
{
    struct machine *m = aligned_alloc(_Alignof(struct machine), sizeof *m);
    struct error err = {0};
    assert_non_null(m);
    memset(m, 0, sizeof *m);
    assert_int_equal(codemem_init(&m->memory, 4 << 20, &err), 0);
    world_target(&m->target);
    world_helpers(m->helpers, &m->target);
    m->back = back_new();
    m->ir = ir_new();
    m->live = ir_live_new();
    assert_true(m->back && m->ir && m->live);
    uint8_t *place = codemem_alloc(&m->memory, 4096);
    back_code_init(&m->code, place, 4096);
    assert_true(back_emit_thunks(&m->target, &m->code, &m->thunks));
    m->thunks_exec = codemem_to_rx(&m->memory, place);
    m->code.bytes = m->bytes;
    m->code.cap = sizeof m->bytes;
    return m;
}

static void machine_free(struct machine *m)
{
    back_free(m->back);
    back_code_fini(&m->code);
    ir_free(m->ir);
    ir_live_free(m->live);
    codemem_fini(&m->memory);
    free(m);
}

static void world_random(struct world *w)
{
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        w->slot[i] = rnd_slot(i);
    for (size_t i = 0; i < sizeof w->ram; i++)
        w->ram[i] = (uint8_t)rnd(256);
    w->icount = rnd(1000);
    w->stop_at = w->icount + 1 + rnd(300);
    w->fflags = rnd(2) ? 1 : 0;
    w->frm = (uint8_t)(rnd(2) ? rnd(4) : 0);
    memcpy(&w->expect, w->ram + rnd(sizeof w->ram / 8) * 8, sizeof w->expect);
    w->fill = rnd(4) != 0;
    memset(w->tlb, 0xff, sizeof w->tlb);
    for (unsigned i = 0; i < WORLD_JUMP; i++)
        w->jump[i].pc = UINT64_MAX;
}

/* The places that make a world its own. */
static void world_settle(struct machine *m, struct world *w)
{
    w->stop_at_pointer = &w->stop_at;
    w->helpers = m->helpers;
    w->jump_pointer = w->jump;
    w->mem_base = w->tlb;
    for (unsigned i = 0; i < WORLD_TLB; i++)
        w->tlb[i].rtag = w->tlb[i].wtag = UINT64_MAX;
}

/* Offset in the code of an entry, whose pc is its number. */
static uint64_t entry_at(const struct back_code *c, unsigned entry, uint64_t base)
{
    uint32_t i = 0;
    while (entry && c->entries[i].pc + base != entry) {
        i++;
        assert_true(i < c->entry_count);
    }
    return entry ? c->entries[i].at : 0;
}

static struct world_exit machine_run(struct machine *m)
{
    struct back_code *c = &m->code;
    struct world_exit out;
    uint8_t *place = codemem_alloc(&m->memory, c->size);
    assert_non_null(place);
    memcpy(place, c->bytes, c->size);
    const uint8_t *exec = codemem_to_rx(&m->memory, place);
    for (uint32_t i = 0; i < c->link_count; i++) {
        assert_int_equal(c->links[i].field & 3, 0);
        memcpy(place + c->links[i].index, &i, 4);
    }
    back_place(c, place, exec, &m->thunks, m->thunks_exec);
    uint64_t (*enter)(void *, const void *) =
        (uint64_t(*)(void *, const void *))(uintptr_t)(m->thunks_exec + m->thunks.enter);
    uint64_t r = enter(&m->jit, exec + entry_at(c, m->entry, m->target.base));
    out.why = (enum back_thunk)(uint32_t)r;
    out.pc = m->jit.pc;
    if (out.why == BACK_THUNK_EXIT) {
        assert_true(r >> 32 < c->link_count);
        out.pc = c->links[r >> 32].pc + (m->target.relative ? m->jit.base : 0);
    }
    codemem_free(&m->memory, place, c->size);
    return out;
}

static bool world_same(const struct world *a, const struct world *b, char *what, size_t n)
{
    for (unsigned i = 0; i < WORLD_SLOTS; i++) {
        bool half = world_types[i] == IR_I32 || world_types[i] == IR_F32;
        uint64_t x = half ? (uint32_t)a->slot[i] : a->slot[i];
        uint64_t y = half ? (uint32_t)b->slot[i] : b->slot[i];
        if (x != y) {
            snprintf(what, n, "slot %u is %#llx, evaluated %#llx", i, (unsigned long long)x,
                     (unsigned long long)y);
            return false;
        }
    }
    snprintf(what, n, "memory, icount %llu / %llu, flags %x / %x, or exit %d / %d",
             (unsigned long long)a->icount, (unsigned long long)b->icount, a->fflags, b->fflags,
             a->exit, b->exit);
    return !memcmp(a->ram, b->ram, sizeof a->ram) && a->icount == b->icount &&
           a->fflags == b->fflags && a->exit == b->exit && a->base == b->base;
}

/* Compiles m->ir and runs it with `options`; fails the test when the worlds differ. */
static void machine_check(struct machine *m, uint64_t seed)
{
    struct world_exit want, got;
    struct error err = {0};
    char what[256] = "";
    bool dump = getenv("GUISE_DUMP") != NULL;
    assert_int_equal(ir_verify(m->ir, &err), 0);
    m->eval = m->jit;
    world_settle(m, &m->eval);
    world_settle(m, &m->jit);
    if (m->target.relative)
        m->jit.base = rnd64(); /* whoever is entered finds out */
    if (!world_eval(&m->eval, m->ir, m->entry, &want, 1000000))
        fail_msg("seed %llu: the program does not end", (unsigned long long)seed);
    assert_true(ir_live_build(m->live, m->ir));
    bool made = back_compile(m->back, &m->target, m->ir, m->live, &m->code, NULL);
    if (!made)
        fail_msg("seed %llu: not compiled", (unsigned long long)seed);
    if (dump && strcmp(getenv("GUISE_DUMP"), "2") == 0) {
        ir_print(m->ir, stderr);
        back_compile(m->back, &m->target, m->ir, m->live, &m->code, stderr);
    }
    got = machine_run(m);
    bool same = world_same(&m->jit, &m->eval, what, sizeof what);
    if (same && got.why == want.why && got.pc == want.pc)
        return;
    if (dump) {
        ir_print(m->ir, stderr);
        back_compile(m->back, &m->target, m->ir, m->live, &m->code, stderr);
    }
    fail_msg("seed %llu: left by %d at %#llx, evaluated %d at %#llx; %s", (unsigned long long)seed,
             (int)got.why, (unsigned long long)got.pc, (int)want.why, (unsigned long long)want.pc,
             same ? "the rest is equal" : what);
}

/* --- programs at random ----------------------------------------------------------------------- */

#define POOL 24

struct gen {
    struct ir *ir;
    ir_ref pool[IR_VOID + 6][POOL];
    unsigned count[IR_VOID + 6];
    uint32_t block[40];
    uint32_t blocks;
    unsigned entries;
    uint64_t pc;
    bool fp, calls, relative;
};

static unsigned gen_type_of_slot(unsigned slot)
{
    return world_types[slot];
}

static unsigned gen_slot(unsigned type)
{
    unsigned s;
    do {
        s = rnd(WORLD_SLOTS);
    } while (gen_type_of_slot(s) != type);
    return s;
}

static ir_ref gen_get(struct gen *g, unsigned type)
{
    if (type == IR_I1 && !g->count[IR_I1])
        return ir_op2(g->ir, (enum ir_op)(IR_EQ + rnd(6)), gen_get(g, IR_I64), gen_get(g, IR_I64));
    if (g->count[type] && (type == IR_I1 || rnd(3)))
        return g->pool[type][rnd(g->count[type])];
    if (type == IR_I64 && g->relative && rnd(4) == 0)
        return ir_pc(g->ir, rnd(2) ? (int32_t)rnd64() : (int32_t)rnd(8192));
    if (rnd(4) == 0)
        return ir_const(g->ir, (enum ir_type)type,
                        type == IR_I32 || type == IR_F32 ? (int32_t)rnd64() : (int64_t)rnd64());
    return ir_slot_read(g->ir, gen_slot(type));
}

static void gen_put(struct gen *g, ir_ref v)
{
    unsigned type = ir_at(g->ir, v)->type;
    if (!v || type == IR_VOID)
        return;
    if (g->count[type] < POOL)
        g->pool[type][g->count[type]++] = v;
    else
        g->pool[type][rnd(POOL)] = v;
    if (type != IR_I1 && rnd(2))
        ir_slot_write(g->ir, gen_slot(type), v);
}

static uint32_t gen_snap(struct gen *g)
{
    return ir_snapshot(g->ir, g->pc += 4, rnd(5));
}

static unsigned gen_int(void)
{
    return rnd(3) ? IR_I64 : IR_I32;
}

static unsigned gen_float(void)
{
    return rnd(2) ? IR_F64 : IR_F32;
}

static ir_ref gen_address(struct gen *g)
{
    uint64_t mask = rnd(4) ? WORLD_PAGES * 4096 - 8 : WORLD_PAGES * 4096 - 1;
    ir_ref a = ir_op2(g->ir, IR_AND, gen_get(g, IR_I64), ir_i64(g->ir, mask));
    return ir_op2(g->ir, IR_ADD, a, ir_i64(g->ir, WORLD_VA));
}

static int32_t gen_offset(void)
{
    return rnd(2) ? 0 : rnd(2) ? (int32_t)rnd(16) * 8 : (int32_t)rnd(4096) - 2048;
}

static void gen_access(struct gen *g, ir_ref a, int32_t offset)
{
    unsigned what = rnd(8), size = rnd(4);
    struct ir *ir = g->ir;
    if (what < 3) {
        unsigned type = size == 3 ? IR_I64 : gen_int();
        gen_put(g, ir_load(ir, (enum ir_type)type, (uint8_t)(size | (rnd(2) ? IR_MEM_SIGNED : 0)),
                           a, offset, gen_snap(g)));
    } else if (what == 3) {
        unsigned type = gen_float();
        gen_put(g, ir_load(ir, (enum ir_type)type, type == IR_F64 ? IR_MEM_64 : IR_MEM_32, a,
                           offset, gen_snap(g)));
    } else if (what < 6) {
        ir_store(ir, (uint8_t)size, a, offset, gen_get(g, size == 3 ? IR_I64 : gen_int()),
                 gen_snap(g));
    } else if (what == 6) {
        unsigned type = gen_float();
        ir_store(ir, type == IR_F64 && rnd(4) ? IR_MEM_64 : IR_MEM_32, a, offset, gen_get(g, type),
                 gen_snap(g));
    } else {
        unsigned type = gen_int();
        gen_put(
            g, ir_amo(ir, (enum ir_type)type, rnd(IR_AMO_COUNT), a, gen_get(g, type), gen_snap(g)));
    }
}

/* Often some that are near each other at one base, aligned to each other or not. */
static void gen_memory(struct gen *g)
{
    ir_ref a = gen_address(g);
    int32_t offset = gen_offset();
    gen_access(g, a, offset);
    for (unsigned more = rnd(2) ? rnd(7) : 0; more; more--)
        gen_access(g, a, offset + ((int32_t)rnd(32) - 16) * (rnd(4) ? 8 : (int32_t)rnd(20)));
}

static void gen_call(struct gen *g)
{
    static const unsigned types[] = {IR_I64, IR_I32, IR_F64, IR_F32, IR_VOID};
    unsigned type = types[rnd(5)], n = rnd(4), helper = WORLD_CALL + rnd(3);
    uint8_t aux = helper == WORLD_CALL_STATE   ? IR_CALL_STATE
                  : helper == WORLD_CALL_EXITS ? IR_CALL_EXITS
                                               : 0;
    ir_ref a[3] = {0};
    for (unsigned i = 0; i < n; i++)
        a[i] = gen_get(g, types[rnd(4)]);
    gen_put(g, ir_call(g->ir, (enum ir_type)type, helper, aux, a[0], a[1], a[2],
                       aux ? gen_snap(g) : 0));
}

/* Flags read, written, and kept over a comparison. */
static void gen_flags(struct gen *g)
{
    struct ir *ir = g->ir;
    unsigned type = gen_float();
    ir_ref flags = ir_fflags(ir), a = gen_get(g, type), b = gen_get(g, type);
    if (rnd(4))
        gen_put(g, ir_value(ir, rnd(2) ? IR_FLT : IR_FLE, IR_ANY, a, rnd(8) ? b : a, 0, 0));
    if (rnd(8) == 0)
        gen_put(g, ir_value(ir, IR_FADD, IR_ANY, a, b, 0, 7));
    if (rnd(4))
        ir_fflags_set(ir, rnd(8) ? flags : gen_get(g, IR_I64));
    gen_put(g, flags);
}

static void gen_fp(struct gen *g)
{
    unsigned type = gen_float(), other = gen_float();
    uint8_t rm = (uint8_t)(rnd(3) ? 7 : rnd(5));
    struct ir *ir = g->ir;
    switch (rnd(9)) {
    case 8:
        gen_flags(g);
        break;
    case 0:
    case 1:
    case 2:
        gen_put(g, ir_value(ir, (enum ir_op)(IR_FADD + rnd(4)), IR_ANY, gen_get(g, type),
                            gen_get(g, type), 0, rm));
        break;
    case 3:
        gen_put(g, ir_value(ir, (enum ir_op)(IR_FMADD + rnd(4)), IR_ANY, gen_get(g, type),
                            gen_get(g, type), gen_get(g, type), rm));
        break;
    case 4:
        gen_put(g, ir_value(ir, (enum ir_op)(IR_FMIN + rnd(5)), IR_ANY, gen_get(g, type),
                            gen_get(g, type), 0, 0));
        break;
    case 5:
        gen_put(g, ir_value(ir, (enum ir_op)(IR_FCVT_FROM_S + rnd(2)), (enum ir_type)type,
                            gen_get(g, gen_int()), 0, 0, rm));
        break;
    case 6:
        gen_put(g, ir_value(ir, (enum ir_op)(IR_FCVT_TO_S + rnd(2)), (enum ir_type)gen_int(),
                            gen_get(g, type), 0, 0, rm));
        break;
    default:
        if (rnd(2))
            gen_put(g, ir_value(ir, IR_FSQRT, IR_ANY, gen_get(g, type), 0, 0, rm));
        else if (type != other)
            gen_put(g, ir_value(ir, IR_FCVT, (enum ir_type)other, gen_get(g, type), 0, 0, rm));
        break;
    }
}

static void gen_bits(struct gen *g)
{
    unsigned type = gen_float();
    struct ir *ir = g->ir;
    switch (rnd(7)) {
    case 0:
        gen_put(g, ir_op1(ir, rnd(2) ? IR_FNEG : IR_FABS, gen_get(g, type)));
        break;
    case 1:
        gen_put(g, ir_op2(ir, (enum ir_op)(IR_FSGNJ + rnd(3)), gen_get(g, type), gen_get(g, type)));
        break;
    case 2:
        gen_put(g, ir_value(ir, IR_BITCAST, type == IR_F64 ? IR_I64 : IR_I32, gen_get(g, type), 0,
                            0, 0));
        break;
    case 3:
        gen_put(g, ir_value(ir, IR_BITCAST, (enum ir_type)type,
                            gen_get(g, type == IR_F64 ? IR_I64 : IR_I32), 0, 0, 0));
        break;
    case 4:
        gen_put(g, ir_op1(ir, IR_FBOX, gen_get(g, IR_F32)));
        break;
    case 5:
        gen_put(g, ir_op1(ir, IR_FUNBOX, gen_get(g, IR_F64)));
        break;
    default:
        gen_put(g, ir_op1(ir, IR_FCLASS, gen_get(g, type)));
        break;
    }
}

static void gen_unary(struct gen *g)
{
    static const uint8_t ops[] = {IR_NOT,   IR_NEG,   IR_CLZ,    IR_CTZ,   IR_POPCNT,
                                  IR_BSWAP, IR_SEXT8, IR_SEXT16, IR_ZEXT8, IR_ZEXT16};
    unsigned what = rnd(14);
    if (what < 10)
        gen_put(g, ir_op1(g->ir, ops[what], gen_get(g, gen_int())));
    else if (what < 12)
        gen_put(g, ir_op1(g->ir, what == 10 ? IR_SEXT32 : IR_ZEXT32, gen_get(g, IR_I32)));
    else
        gen_put(g, ir_op1(g->ir, IR_TRUNC32, gen_get(g, IR_I64)));
}

static void gen_ins(struct gen *g)
{
    static const unsigned types[] = {IR_I64, IR_I32, IR_F64, IR_F32};
    struct ir *ir = g->ir;
    unsigned what = rnd(32), type = gen_int();
    if (what < 12) {
        gen_put(g, ir_op2(ir, (enum ir_op)(IR_ADD + rnd(IR_ADDX8 - IR_ADD + 1)), gen_get(g, type),
                          gen_get(g, type)));
    } else if (what < 15) {
        gen_unary(g);
    } else if (what < 18) {
        gen_put(g, ir_op2(ir, (enum ir_op)(IR_EQ + rnd(6)), gen_get(g, type), gen_get(g, type)));
    } else if (what == 18) {
        gen_put(g, ir_value(ir, IR_BOOL, (enum ir_type)type, gen_get(g, IR_I1), 0, 0, 0));
    } else if (what < 21) {
        type = types[rnd(4)];
        gen_put(g, ir_select(ir, gen_get(g, IR_I1), gen_get(g, type), gen_get(g, type)));
    } else if (what < 26) {
        gen_memory(g);
    } else if (what < 28 && g->fp) {
        gen_fp(g);
    } else if (what < 30 && g->fp) {
        gen_bits(g);
    } else if (what == 30 && g->calls) {
        gen_call(g);
    } else if (what == 31) {
        if (rnd(2))
            ir_count(ir, rnd(4));
        else
            ir_fence(ir);
    }
}

/* A branch round a few values, or between two sides: what ir_pass_ifconv looks for. */
static void gen_short(struct gen *g)
{
    struct ir *ir = g->ir;
    unsigned type = gen_int(), sides = 1 + rnd(2), slot = gen_slot(IR_I64), first = rnd(2);
    ir_ref a = gen_get(g, IR_I64), b = gen_get(g, IR_I64), x = gen_get(g, type);
    ir_ref cond = ir_op2(ir, (enum ir_op)(IR_EQ + rnd(6)), x, gen_get(g, type));
    if (ir_is_const(ir, cond))
        return;
    uint32_t to[3];
    for (unsigned k = 0; k < 3; k++)
        to[k] = ir_block_new(ir, g->pc);
    if (rnd(2))
        gen_put(g, cond);
    ir_count(ir, rnd(4));
    ir_branch(ir, cond, to[first], to[!first], IR_BRANCH_NONE);
    for (unsigned k = 0; k < 2; k++) {
        ir_block_begin(ir, to[k]);
        ir_block_seal(ir, to[k]);
        if (k < sides) {
            ir_slot_write(ir, slot, ir_op2(ir, k ? IR_ADD : IR_XOR, a, b));
            ir_count(ir, rnd(3));
        }
        ir_jump(ir, to[2]);
    }
    ir_block_begin(ir, to[2]);
    ir_block_seal(ir, to[2]);
}

static void gen_end(struct gen *g, uint32_t i)
{
    struct ir *ir = g->ir;
    uint32_t to[2] = {0};
    unsigned kind = rnd(16);
    bool back = false;
    if (kind == 0 || g->blocks == 1 || (i + 1 == g->blocks && rnd(2))) {
        if (rnd(3) == 0)
            ir_exit_ind(ir, ir_op2(ir, IR_AND, gen_get(g, IR_I64), ir_i64(ir, ~UINT64_C(1))),
                        gen_snap(g));
        else if (rnd(3) == 0)
            ir_exit_interp(ir, gen_snap(g));
        else
            ir_exit(ir, gen_snap(g));
        return;
    }
    for (unsigned k = 0; k < 2; k++) {
        to[k] = 1 + (i + 1 < g->blocks && rnd(4) ? i + rnd(g->blocks - i - 1) : rnd(g->blocks - 1));
        back |= to[k] <= i;
    }
    if (back)
        ir_tick(ir, 1 + rnd(5), ir_snapshot(ir, g->pc += 4, 0));
    if (kind < 5)
        ir_jump(ir, g->block[to[0]]);
    else
        ir_branch(ir, gen_get(g, IR_I1), g->block[to[0]], g->block[to[1]], (uint8_t)rnd(3));
}

/* Several entries, the first to block 0; how many. */
static unsigned gen_entrances(struct gen *g)
{
    struct ir *ir = g->ir;
    unsigned count = 2 + rnd(5);
    g->block[0] = ir_block_new(ir, 0);
    for (unsigned i = 0; i < count; i++) {
        uint32_t to = ir_block_new(ir, i);
        uint32_t next = i + 1 < count ? ir_block_new(ir, 0) : IR_NO_BLOCK;
        ir_enter(ir, to, next);
        ir_block_begin(ir, to);
        ir_block_seal(ir, to);
        ir_tick(ir, 0, ir_snapshot(ir, i, 0));
        ir_jump(ir, g->block[i ? rnd(g->blocks) : 0]);
        if (i + 1 < count) {
            ir_block_begin(ir, next);
            ir_block_seal(ir, next);
        }
    }
    ir_block_begin(ir, g->block[0]);
    return count;
}

static void gen_program(struct gen *g, struct ir *ir)
{
    *g = (struct gen){.ir = ir, .pc = 0x1000, .fp = rnd(2), .calls = rnd(2), .relative = rnd(2)};
    ir_reset(ir, WORLD_SLOTS, world_types);
    g->blocks = 1 + rnd(rnd(4) ? 6 : 24);
    unsigned length = rnd(8) ? 2 + rnd(16) : 60;
    for (uint32_t i = 1; i < g->blocks; i++)
        g->block[i] = ir_block_new(ir, 0x100 * i);
    g->entries = rnd(3) ? 1 : gen_entrances(g);
    for (uint32_t i = 0; i < g->blocks; i++) {
        if (i)
            ir_block_begin(ir, g->block[i]);
        memset(g->count, 0, sizeof g->count);
        for (unsigned n = rnd(length); n--;)
            if (rnd(16))
                gen_ins(g);
            else
                gen_short(g);
        gen_end(g, i);
    }
    for (uint32_t i = g->entries == 1; i < g->blocks; i++)
        ir_block_seal(ir, g->block[i]);
}

/* The region is compiled for some base, and runs at another. */
static void machine_move(struct machine *m)
{
    m->target.relative = true;
    m->target.base = rnd(1000) * UINT64_C(4096);
    m->jit.base = rnd64() & ~UINT64_C(4095);
    m->jit.made_base = m->target.base;
    m->jit.pc = m->entry - m->target.base + m->jit.base;
}

static void check_seed(struct machine *m, uint64_t seed)
{
    struct gen g;
    struct error err = {0};
    seed_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    gen_program(&g, m->ir);
    if (!ir_finish(m->ir))
        return;
    world_target(&m->target);
    if (rnd(2))
        m->target.random_seed = 1 + rnd(1u << 30);
    if (rnd(4) == 0)
        m->target.features = (struct host_features){0};
    if (rnd(2) && ir_optimize(m->ir, NULL, false, &err) < 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.msg);
    world_random(&m->jit);
    m->entry = rnd(g.entries);
    if (g.relative)
        machine_move(m);
    machine_check(m, seed);
}

static void test_random(void **state)
{
    struct machine *m = machine_new();
    const char *given = getenv("GUISE_SEED"), *rounds = getenv("GUISE_ROUNDS");
    uint64_t first = (uint64_t)time(NULL) * 1000000;
    unsigned n = rounds ? (unsigned)atoi(rounds) : 4000;
    (void)state;
    if (given) {
        first = strtoull(given, NULL, 0);
        n = rounds ? n : 1;
    }
    print_message("seeds from %llu\n", (unsigned long long)first);
    for (unsigned i = 0; i < n; i++)
        check_seed(m, first + i);
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
