#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir_eval.h"

#define EVAL_STEPS 200000

static unsigned width(unsigned type)
{
    return type == IR_I1 ? 1 : type == IR_I32 || type == IR_F32 ? 32 : 64;
}

static uint64_t clip(unsigned type, uint64_t v)
{
    return width(type) == 64 ? v : v & ((UINT64_C(1) << width(type)) - 1);
}

static int64_t as_signed(unsigned type, uint64_t v)
{
    return type == IR_I64 ? (int64_t)v : (int32_t)v;
}

static double as_double(uint64_t v)
{
    double d;
    memcpy(&d, &v, 8);
    return d;
}

static uint64_t from_double(double d)
{
    uint64_t v;
    memcpy(&v, &d, 8);
    return isnan(d) ? UINT64_C(0x7ff8000000000000) : v;
}

static uint64_t divide(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    int64_t x = as_signed(t, a), y = as_signed(t, b);
    int64_t min = t == IR_I64 ? INT64_MIN : INT32_MIN;
    switch (op) {
    case IR_DIVU:
        return b ? a / b : UINT64_MAX;
    case IR_REMU:
        return b ? a % b : a;
    case IR_DIVS:
        return y == 0 ? UINT64_MAX : x == min && y == -1 ? a : (uint64_t)(x / y);
    default:
        return y == 0 ? a : x == min && y == -1 ? 0 : (uint64_t)(x % y);
    }
}

static uint64_t high(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    __int128 x = op == IR_MULHU ? (__int128)a : (__int128)as_signed(t, a);
    __int128 y = op == IR_MULHS ? (__int128)as_signed(t, b) : (__int128)b;
    unsigned __int128 p = (unsigned __int128)x * (unsigned __int128)y;
    return (uint64_t)(p >> width(t));
}

static uint64_t product_of_polynomials(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    unsigned __int128 p = 0;
    for (unsigned i = 0; i < width(t); i++)
        p ^= b >> i & 1 ? (unsigned __int128)a << i : 0;
    return (uint64_t)(op == IR_CLMULH ? p >> width(t) : p);
}

static uint64_t integer2(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    unsigned w = width(t), n = (unsigned)(b % w);
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
        return a >> n;
    case IR_SAR:
        return (uint64_t)(as_signed(t, a) >> n);
    case IR_ROL:
        return n ? a << n | a >> (w - n) : a;
    case IR_ROR:
        return n ? a >> n | a << (w - n) : a;
    case IR_MUL:
        return a * b;
    case IR_ANDN:
        return a & ~b;
    case IR_ADDX2:
        return a + 2 * b;
    case IR_ADDX4:
        return a + 4 * b;
    case IR_ADDX8:
        return a + 8 * b;
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
        return high(op, t, a, b);
    case IR_CLMUL:
    case IR_CLMULH:
        return product_of_polynomials(op, t, a, b);
    default:
        return divide(op, t, a, b);
    }
}

static uint64_t count_bits(unsigned op, unsigned w, uint64_t a)
{
    uint64_t n = 0;
    if (op == IR_POPCNT) {
        for (; a; a &= a - 1)
            n++;
    } else if (op == IR_CTZ) {
        for (; n < w && !(a >> n & 1); n++)
            ;
    } else {
        for (; n < w && !(a >> (w - 1 - n) & 1); n++)
            ;
    }
    return n;
}

static uint64_t swap_bytes(unsigned w, uint64_t a)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < w; i += 8)
        v |= (a >> i & 0xff) << (w - 8 - i);
    return v;
}

static uint64_t integer1(unsigned op, unsigned t, uint64_t a)
{
    switch (op) {
    case IR_NOT:
        return ~a;
    case IR_NEG:
        return 0 - a;
    case IR_BSWAP:
        return swap_bytes(width(t), a);
    case IR_SEXT8:
        return (uint64_t)(int8_t)a;
    case IR_SEXT16:
        return (uint64_t)(int16_t)a;
    case IR_ZEXT8:
        return (uint8_t)a;
    case IR_ZEXT16:
        return (uint16_t)a;
    case IR_SEXT32:
        return (uint64_t)(int32_t)a;
    case IR_ZEXT32:
    case IR_TRUNC32:
        return (uint32_t)a;
    default:
        return count_bits(op, width(t), a);
    }
}

static bool compare(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    int64_t x = as_signed(t, a), y = as_signed(t, b);
    switch (op) {
    case IR_EQ:
        return a == b;
    case IR_NE:
        return a != b;
    case IR_LTS:
        return x < y;
    case IR_GES:
        return x >= y;
    case IR_LTU:
        return a < b;
    default:
        return a >= b;
    }
}

static uint64_t floating(unsigned op, unsigned t, uint64_t a, uint64_t b)
{
    uint64_t sign = UINT64_C(1) << (width(t) - 1);
    switch (op) {
    case IR_FNEG:
        return a ^ sign;
    case IR_FABS:
        return a & ~sign;
    case IR_FSGNJ:
        return (a & ~sign) | (b & sign);
    case IR_FSGNJN:
        return (a & ~sign) | (~b & sign);
    case IR_FSGNJX:
        return a ^ (b & sign);
    case IR_FBOX:
        return a | ~UINT64_C(0xffffffff);
    case IR_FUNBOX:
        return a >> 32 == UINT32_MAX ? (uint32_t)a : 0x7fc00000;
    case IR_FADD:
        return from_double(as_double(a) + as_double(b));
    case IR_FMUL:
        return from_double(as_double(a) * as_double(b));
    case IR_FEQ:
        return as_double(a) == as_double(b);
    case IR_FLT:
        return as_double(a) < as_double(b);
    default:
        fprintf(stderr, "eval: no floating operation %s\n", ir_op_info[op].name);
        abort();
    }
}

uint64_t eval_op(unsigned op, unsigned type, unsigned arg_type, uint64_t a, uint64_t b, uint64_t c,
                 uint64_t garbage)
{
    uint64_t v;
    if (op == IR_XEXT32)
        v = (uint32_t)a | garbage << 32;
    else if (op == IR_BOOL || op == IR_BITCAST)
        v = a;
    else if (op == IR_SELECT)
        v = a ? b : c;
    else if (op >= IR_EQ && op <= IR_GEU)
        v = compare(op, arg_type, a, b);
    else if (op >= IR_ADD && op <= IR_ADDX8)
        v = integer2(op, arg_type, a, b);
    else if (op >= IR_NOT && op <= IR_TRUNC32)
        v = integer1(op, arg_type, a);
    else
        v = floating(op, op == IR_FBOX || op == IR_FUNBOX ? IR_F64 : arg_type, a, b);
    return clip(type, v);
}

/* --- memory and helpers --------------------------------------------------------------------- */

bool eval_load(const struct eval_state *s, uint64_t addr, unsigned size, bool sign, uint64_t *v)
{
    if (addr > EVAL_MEM - size)
        return false;
    *v = 0;
    memcpy(v, s->mem + addr, size);
    if (sign && size < 8 && *v >> (8 * size - 1))
        *v |= UINT64_MAX << (8 * size);
    return true;
}

bool eval_store(struct eval_state *s, uint64_t addr, unsigned size, uint64_t v)
{
    if (addr > EVAL_MEM - size)
        return false;
    memcpy(s->mem + addr, &v, size);
    return true;
}

bool eval_amo(struct eval_state *s, unsigned kind, uint64_t addr, unsigned size, uint64_t v,
              uint64_t *old)
{
    if (!eval_load(s, addr, size, false, old))
        return false;
    unsigned t = size == 8 ? IR_I64 : IR_I32;
    uint64_t o = *old;
    bool less = as_signed(t, o) < as_signed(t, v);
    const uint64_t result[IR_AMO_COUNT] = {
        [IR_AMO_SWAP] = v,           [IR_AMO_ADD] = o + v,          [IR_AMO_XOR] = o ^ v,
        [IR_AMO_AND] = o & v,        [IR_AMO_OR] = o | v,           [IR_AMO_MIN] = less ? o : v,
        [IR_AMO_MAX] = less ? v : o, [IR_AMO_MINU] = o < v ? o : v, [IR_AMO_MAXU] = o < v ? v : o,
        [IR_AMO_CAS] = o ? o : v, /* 0 is expected */
    };
    return eval_store(s, addr, size, result[kind]);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 31;
}

uint64_t eval_helper(struct eval_state *s, unsigned slots, int64_t helper, unsigned aux, uint64_t a,
                     uint64_t b, uint64_t c)
{
    uint64_t h = mix(mix(mix(mix(s->effects, (uint64_t)helper), a), b), c);
    for (unsigned i = 0; aux & IR_CALL_STATE && i < slots; i++)
        h = mix(h, s->slot[i]);
    s->effects = h;
    return h;
}

bool eval_helper_leaves(uint64_t result)
{
    return result % 7 == 0;
}

/* --- running -------------------------------------------------------------------------------- */

struct eval_access {
    uint64_t base;
    bool write;
};

struct eval {
    const struct ir *ir;
    struct eval_state *s;
    uint64_t value[IR_MAX_INS];
    bool known[IR_MAX_INS];
    uint64_t entry[IR_MAX_SLOTS];
    uint64_t garbage;
    struct eval_access seen[512];
    unsigned seen_count, seen_kill;
    unsigned ticks;
};

static uint64_t eval_arg(struct eval *e, ir_ref r, ir_ref user)
{
    if (!e->known[r]) {
        fprintf(stderr, "eval: v%u uses v%u, which has not been computed\n", user, r);
        e->s->exit = EVAL_LOST;
    }
    return e->value[r];
}

static void eval_write_home(struct eval *e, const struct ir_ins *ins)
{
    uint64_t new[IR_MAX_SLOTS];
    const struct ir_snap *snap = &e->ir->snap[ins->snap];
    const struct ir_snap_entry *entry = e->ir->snap_entry + snap->first;
    for (uint32_t i = 0; i < snap->count; i++) {
        uint64_t v = eval_arg(e, entry[i].value, 0);
        new[i] = entry[i].how == IR_SNAP_SEXT32   ? (uint64_t)(int32_t)v
                 : entry[i].how == IR_SNAP_ZEXT32 ? (uint32_t)v
                                                  : v;
    }
    for (uint32_t i = 0; i < snap->count; i++)
        e->s->slot[entry[i].slot] = new[i];
}

static bool eval_leave(struct eval *e, const struct ir_ins *ins, enum eval_exit how)
{
    eval_write_home(e, ins);
    if (e->s->exit == EVAL_LOST)
        return false;
    e->s->retired += e->ir->snap[ins->snap].retired;
    e->s->pc = e->ir->snap[ins->snap].pc;
    e->s->exit = how;
    return false;
}

/* Marks must be true: an access of the same base before this one. */
static void eval_check_marks(struct eval *e, ir_ref r, uint64_t base, bool write)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    bool range = false, perm = false;
    for (unsigned i = 0; i < e->seen_count; i++) {
        bool same = e->seen[i].base == base;
        range |= same;
        perm |= same && i >= e->seen_kill && (!write || e->seen[i].write);
    }
    bool full = e->seen_count == sizeof e->seen / sizeof e->seen[0];
    if (!full && ins->op != IR_AMO &&
        ((ins->aux & IR_MEM_RANGE && !range) || (ins->aux & IR_MEM_PERM && !perm))) {
        fprintf(stderr, "eval: v%u has a mark that is not true\n", r);
        e->s->exit = EVAL_LOST;
    }
    if (!full)
        e->seen[e->seen_count++] = (struct eval_access){base, write};
}

static bool eval_access(struct eval *e, ir_ref r)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    unsigned size = IR_MEM_SIZE(ins->aux);
    uint64_t base = eval_arg(e, ins->arg[0], r), v = 0;
    uint64_t addr = base + (ins->op == IR_AMO ? 0 : (uint64_t)ins->imm);
    bool ok;
    if (ins->op == IR_LOAD)
        ok = eval_load(e->s, addr, size, ins->aux & IR_MEM_SIGNED, &v);
    else if (ins->op == IR_STORE)
        ok = eval_store(e->s, addr, size, eval_arg(e, ins->arg[1], r));
    else
        ok = eval_amo(e->s, (unsigned)ins->imm, addr, size, eval_arg(e, ins->arg[1], r), &v);
    if (!ok)
        return eval_leave(e, ins, EVAL_FAULT);
    eval_check_marks(e, r, base, ins->op != IR_LOAD);
    e->value[r] = clip(ins->type, v);
    return true;
}

static bool eval_call(struct eval *e, ir_ref r)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    uint64_t x[3] = {0, 0, 0};
    for (unsigned i = 0; i < 3; i++)
        x[i] = ins->arg[i] ? eval_arg(e, ins->arg[i], r) : 0;
    if (ins->aux & IR_CALL_STATE)
        eval_write_home(e, ins);
    uint64_t v = eval_helper(e->s, e->ir->slots, ins->imm, ins->aux, x[0], x[1], x[2]);
    if (!(ins->aux & IR_CALL_MEM_SAME))
        e->seen_kill = e->seen_count;
    if (ins->aux & IR_CALL_EXITS && eval_helper_leaves(v))
        return eval_leave(e, ins, EVAL_CALL);
    e->value[r] = clip(ins->type, v);
    return true;
}

static void eval_value(struct eval *e, ir_ref r)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    uint64_t x[3] = {0, 0, 0};
    for (unsigned i = 0; i < ir_argc(ins); i++)
        x[i] = eval_arg(e, ins->arg[i], r);
    e->garbage = mix(e->garbage, r);
    if (ins->op == IR_CONST)
        e->value[r] = clip(ins->type, (uint64_t)ins->imm);
    else if (ins->op == IR_PC)
        e->value[r] = e->s->base + (uint64_t)ins->imm;
    else if (ins->op == IR_GET)
        e->value[r] = e->entry[ins->imm];
    else
        e->value[r] =
            eval_op(ins->op, ins->type, e->ir->ins[ins->arg[0]].type, x[0], x[1], x[2], e->garbage);
}

/* False: the region has been left. */
static bool eval_ins(struct eval *e, ir_ref r)
{
    const struct ir_ins *ins = &e->ir->ins[r];
    bool on = true;
    switch (ins->op) {
    case IR_LOAD:
    case IR_STORE:
    case IR_AMO:
        on = eval_access(e, r);
        break;
    case IR_CALL:
        on = eval_call(e, r);
        break;
    case IR_FENCE:
        e->s->effects = mix(e->s->effects, 1);
        break;
    case IR_COUNT:
        e->s->retired += (uint64_t)ins->imm;
        break;
    case IR_COUNT_IF:
        e->s->retired += (uint64_t)(eval_arg(e, ins->arg[0], r) ? ir_count_if_yes(ins->imm)
                                                                : ir_count_if_no(ins->imm));
        break;
    case IR_TICK:
        e->s->retired += (uint64_t)ins->imm;
        on = --e->ticks || eval_leave(e, ins, EVAL_TICK);
        break;
    case IR_EXIT:
        return eval_leave(e, ins, EVAL_EXIT);
    case IR_EXIT_INTERP:
        return eval_leave(e, ins, EVAL_INTERP);
    case IR_EXIT_IND:
        eval_leave(e, ins, EVAL_IND);
        e->s->pc = eval_arg(e, ins->arg[0], r);
        return false;
    default:
        eval_value(e, r);
    }
    e->known[r] = true;
    return on && e->s->exit != EVAL_LOST;
}

/* All PHIs of a block at once. */
static ir_ref eval_phis(struct eval *e, uint32_t from, uint32_t b)
{
    static uint64_t new[IR_MAX_INS];
    const struct ir *ir = e->ir;
    uint32_t j = 0;
    ir_ref r = ir->block[b].first;
    while (ir->block[b].pred_count && ir_preds(ir, b)[j] != from)
        j++;
    for (; ir->ins[r].op == IR_PHI; r = ir->ins[r].next)
        new[r] = eval_arg(e, ir_phi_args(ir, r)[j], r);
    ir_ref rest = r;
    for (r = ir->block[b].first; r != rest; r = ir->ins[r].next) {
        e->value[r] = new[r];
        e->known[r] = true;
    }
    return rest;
}

void eval_run(const struct ir *ir, struct eval_state *s, unsigned ticks)
{
    static struct eval e;
    memset(e.known, 0, ir->ins_count * sizeof e.known[0]);
    e.seen_count = e.seen_kill = 0;
    e.ir = ir;
    e.s = s;
    e.ticks = ticks;
    memcpy(e.entry, s->slot, sizeof e.entry);
    s->exit = EVAL_EXIT;
    uint32_t b = 0;
    unsigned entry = s->entry;
    ir_ref r = ir->block[0].first;
    for (unsigned step = 0; step < EVAL_STEPS; step++) {
        const struct ir_ins *ins = &ir->ins[r];
        if (ins->op == IR_JUMP || ins->op == IR_BRANCH || ins->op == IR_ENTER) {
            bool yes =
                ins->op == IR_ENTER ? !entry-- : !ins->arg[0] || eval_arg(&e, ins->arg[0], r);
            uint32_t to = ir->block[b].succ[yes ? 0 : 1];
            r = eval_phis(&e, b, to);
            b = to;
            continue;
        }
        if (!eval_ins(&e, r))
            return;
        r = ins->next;
    }
    fprintf(stderr, "eval: too many steps\n");
    s->exit = EVAL_LOST;
}

bool eval_same(const struct eval_state *x, const struct eval_state *y, unsigned slots)
{
    bool same = x->exit == y->exit && x->pc == y->pc && x->retired == y->retired &&
                x->effects == y->effects;
    if (!same)
        fprintf(stderr,
                "exit %d/%d pc %" PRIx64 "/%" PRIx64 " retired %" PRIu64 "/%" PRIu64
                " effects %" PRIx64 "/%" PRIx64 "\n",
                x->exit, y->exit, x->pc, y->pc, x->retired, y->retired, x->effects, y->effects);
    for (unsigned i = 0; i < slots; i++) {
        if (x->slot[i] != y->slot[i]) {
            fprintf(stderr, "slot %u: %" PRIx64 "/%" PRIx64 "\n", i, x->slot[i], y->slot[i]);
            same = false;
        }
    }
    if (memcmp(x->mem, y->mem, sizeof x->mem) != 0) {
        fprintf(stderr, "memory differs\n");
        same = false;
    }
    return same && x->exit != EVAL_LOST;
}
