/* Operations on constants, and what is known about a value's width. */
#include "ir/impl.h"

static uint64_t const_mulhu(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

static uint64_t const_mulhs(uint64_t a, uint64_t b)
{
    return const_mulhu(a, b) - (a >> 63 ? b : 0) - (b >> 63 ? a : 0);
}

/* High half of a product; a and b are sign-extended from `bits`. */
static uint64_t const_mulh(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : UINT32_MAX;
    if (bits == 32) {
        uint64_t x = op == IR_MULHU ? a & mask : a;
        uint64_t y = op == IR_MULHS ? b : b & mask;
        return x * y >> 32;
    }
    if (op == IR_MULHU)
        return const_mulhu(a, b);
    return op == IR_MULHS ? const_mulhs(a, b) : const_mulhu(a, b) - (a >> 63 ? b : 0);
}

static uint64_t const_clmul(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : UINT32_MAX;
    return (uint64_t)(bits_clmul(a & mask, b & mask) >> (op == IR_CLMULH ? bits : 0));
}

static uint64_t const_div(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : UINT32_MAX;
    bool quotient = op == IR_DIVS || op == IR_DIVU;
    if (!(b & mask))
        return quotient ? UINT64_MAX : a;
    if (op == IR_DIVU || op == IR_REMU)
        return quotient ? (a & mask) / (b & mask) : (a & mask) % (b & mask);
    if (b == UINT64_MAX) /* -1: negation, also of the least number */
        return quotient ? 0 - a : 0;
    int64_t x = (int64_t)a, y = (int64_t)b;
    return (uint64_t)(quotient ? x / y : x % y);
}

static uint64_t const_shift(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
    unsigned n = (unsigned)b & (bits - 1);
    uint64_t low = bits == 64 ? a : a & UINT32_MAX;
    switch (op) {
    case IR_SHL:
        return a << n;
    case IR_SHR:
        return low >> n;
    case IR_SAR:
        return a >> 63 ? ~(~a >> n) : a >> n;
    case IR_ROL:
        return n ? low << n | low >> (bits - n) : low;
    default:
        return n ? low >> n | low << (bits - n) : low;
    }
}

static uint64_t const_binary(unsigned op, unsigned bits, uint64_t a, uint64_t b)
{
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
    case IR_MUL:
        return a * b;
    case IR_ANDN:
        return a & ~b;
    case IR_ADDX2:
    case IR_ADDX4:
    case IR_ADDX8:
        return a + (b << (op - IR_ADDX2 + 1));
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
        return const_mulh(op, bits, a, b);
    case IR_CLMUL:
    case IR_CLMULH:
        return const_clmul(op, bits, a, b);
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU:
        return const_div(op, bits, a, b);
    default:
        return const_shift(op, bits, a, b);
    }
}

static uint64_t const_unary(unsigned op, unsigned bits, uint64_t a)
{
    uint64_t low = bits == 64 ? a : a & UINT32_MAX;
    switch (op) {
    case IR_NOT:
        return ~a;
    case IR_NEG:
        return 0 - a;
    case IR_CLZ:
        return low ? (uint64_t)__builtin_clzll(low) - (64 - bits) : bits;
    case IR_CTZ:
        return low ? (uint64_t)__builtin_ctzll(low) : bits;
    case IR_POPCNT:
        return (uint64_t)__builtin_popcountll(low);
    case IR_BSWAP:
        return __builtin_bswap64(low) >> (64 - bits);
    case IR_SEXT8:
        return bits_sext(a, 8);
    case IR_SEXT16:
        return bits_sext(a, 16);
    case IR_ZEXT8:
        return a & UINT8_MAX;
    case IR_ZEXT16:
        return a & UINT16_MAX;
    case IR_ZEXT32:
        return a & UINT32_MAX;
    default: /* SEXT32, XEXT32, TRUNC32, BOOL, BITCAST: as constants are kept */
        return a;
    }
}

/* x and y are sign-extended from their type: the order is that of 64 bits, also unsigned. */
static bool const_compare(unsigned op, int64_t x, int64_t y)
{
    switch (op) {
    case IR_EQ:
    case IR_NE:
        return (x == y) == (op == IR_EQ);
    case IR_LTS:
    case IR_GES:
        return (x < y) == (op == IR_LTS);
    default:
        return ((uint64_t)x < (uint64_t)y) == (op == IR_LTU);
    }
}

bool ir_fold_const(unsigned op, unsigned type, unsigned arg_type, const int64_t *x, int64_t *result)
{
    uint64_t v;
    if (ir_is_compare(op))
        v = const_compare(op, x[0], x[1]);
    else if (op == IR_SELECT)
        v = (uint64_t)(x[0] ? x[1] : x[2]);
    else if ((op >= IR_NOT && op <= IR_TRUNC32) || op == IR_BOOL || op == IR_BITCAST)
        v = const_unary(op, ir_type_bits(type), (uint64_t)x[0]);
    else if (op >= IR_ADD && op <= IR_ADDX8)
        v = const_binary(op, ir_type_bits(arg_type), (uint64_t)x[0], (uint64_t)x[1]);
    else
        return false;
    *result = ir_imm_of(type, v);
    return true;
}

/* --- widths --------------------------------------------------------------------------------- */

static unsigned const_bits(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

static unsigned width_min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned width_u(const struct ir *ir, ir_ref r, int steps)
{
    const struct ir_ins *ins = &ir->ins[r];
    unsigned bits = ir_type_bits(ins->type), w = bits;
    const struct ir_ins *b = &ir->ins[ins->arg[1]];
    switch (ins->op) {
    case IR_CONST:
        return const_bits(bits == 64 ? (uint64_t)ins->imm : (uint64_t)ins->imm & UINT32_MAX);
    case IR_LOAD:
        return ins->aux & IR_MEM_SIGNED ? bits : IR_MEM_SIZE(ins->aux) * 8;
    case IR_BOOL:
        return 1;
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPCNT:
        return 7;
    case IR_SHR:
        return b->op == IR_CONST ? bits - ((unsigned)b->imm & (bits - 1)) : bits;
    case IR_ZEXT8:
        w = 8;
        break;
    case IR_ZEXT16:
        w = 16;
        break;
    case IR_ZEXT32:
        w = 32;
        break;
    case IR_TRUNC32:
        break;
    case IR_AND:
        w = b->op == IR_CONST ? width_u(ir, ins->arg[1], 0) : bits;
        break;
    default:
        return bits;
    }
    return steps ? width_min(w, width_u(ir, ins->arg[0], steps - 1)) : w;
}

static unsigned width_s(const struct ir *ir, ir_ref r, int steps)
{
    const struct ir_ins *ins = &ir->ins[r];
    unsigned bits = ir_type_bits(ins->type), w;
    const struct ir_ins *b = &ir->ins[ins->arg[1]];
    switch (ins->op) {
    case IR_CONST:
        return const_bits((uint64_t)(ins->imm < 0 ? ~ins->imm : ins->imm)) + 1;
    case IR_LOAD:
        return width_min(bits, IR_MEM_SIZE(ins->aux) * 8 + !(ins->aux & IR_MEM_SIGNED));
    case IR_SAR:
        return b->op == IR_CONST ? bits - ((unsigned)b->imm & (bits - 1)) : bits;
    case IR_SEXT8:
        w = 8;
        break;
    case IR_SEXT16:
        w = 16;
        break;
    case IR_SEXT32:
        w = 32;
        break;
    default:
        return width_min(bits, width_u(ir, r, steps) + 1);
    }
    return steps ? width_min(w, width_s(ir, ins->arg[0], steps - 1)) : w;
}

unsigned ir_width_u(const struct ir *ir, ir_ref r)
{
    return width_u(ir, r, 2);
}

unsigned ir_width_s(const struct ir *ir, ir_ref r)
{
    return width_s(ir, r, 2);
}
