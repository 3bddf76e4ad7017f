/*
 * What the integer instructions compute, as pure functions: the reference for the interpreter, for
 * constant folding in the translator and for tests. rv_alu_<sem> is named by the table in
 * insns.txt; operations with an immediate pass it sign-extended as b, shifts use the low bits of b
 * that the instruction uses. The w forms return their 32-bit result sign-extended.
 */
#pragma once

#include "base/bits.h"

#include <stdbool.h>
#include <stdint.h>

/* The low 32 bits of v, sign-extended. */
static inline uint64_t rv_w(uint64_t v)
{
    return bits_sext(v, 32);
}

/* The signed comparison without leaving unsigned arithmetic: flips the sign bits. */
static inline bool rv_less_signed(uint64_t a, uint64_t b)
{
    return (a ^ UINT64_C(1) << 63) < (b ^ UINT64_C(1) << 63);
}

/* I ------------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_add(uint64_t a, uint64_t b)
{
    return a + b;
}

static inline uint64_t rv_alu_sub(uint64_t a, uint64_t b)
{
    return a - b;
}

static inline uint64_t rv_alu_sll(uint64_t a, uint64_t b)
{
    return a << (b & 63);
}

static inline uint64_t rv_alu_slt(uint64_t a, uint64_t b)
{
    return rv_less_signed(a, b);
}

static inline uint64_t rv_alu_sltu(uint64_t a, uint64_t b)
{
    return a < b;
}

static inline uint64_t rv_alu_xor(uint64_t a, uint64_t b)
{
    return a ^ b;
}

static inline uint64_t rv_alu_srl(uint64_t a, uint64_t b)
{
    return a >> (b & 63);
}

static inline uint64_t rv_alu_sra(uint64_t a, uint64_t b)
{
    return (uint64_t)((int64_t)a >> (b & 63));
}

static inline uint64_t rv_alu_or(uint64_t a, uint64_t b)
{
    return a | b;
}

static inline uint64_t rv_alu_and(uint64_t a, uint64_t b)
{
    return a & b;
}

static inline uint64_t rv_alu_addw(uint64_t a, uint64_t b)
{
    return rv_w(a + b);
}

static inline uint64_t rv_alu_subw(uint64_t a, uint64_t b)
{
    return rv_w(a - b);
}

static inline uint64_t rv_alu_sllw(uint64_t a, uint64_t b)
{
    return rv_w(a << (b & 31));
}

static inline uint64_t rv_alu_srlw(uint64_t a, uint64_t b)
{
    return rv_w((uint32_t)a >> (b & 31));
}

static inline uint64_t rv_alu_sraw(uint64_t a, uint64_t b)
{
    return (uint64_t)((int64_t)rv_w(a) >> (b & 31));
}

static inline bool rv_cond_beq(uint64_t a, uint64_t b)
{
    return a == b;
}

static inline bool rv_cond_bne(uint64_t a, uint64_t b)
{
    return a != b;
}

static inline bool rv_cond_blt(uint64_t a, uint64_t b)
{
    return rv_less_signed(a, b);
}

static inline bool rv_cond_bge(uint64_t a, uint64_t b)
{
    return !rv_less_signed(a, b);
}

static inline bool rv_cond_bltu(uint64_t a, uint64_t b)
{
    return a < b;
}

static inline bool rv_cond_bgeu(uint64_t a, uint64_t b)
{
    return a >= b;
}

/* M: a division by zero and the overflow of INT_MIN / -1 have results, they do not trap ---------
 */

static inline uint64_t rv_alu_mul(uint64_t a, uint64_t b)
{
    return a * b;
}

static inline uint64_t rv_alu_mulhu(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

static inline uint64_t rv_alu_mulh(uint64_t a, uint64_t b)
{
    return (uint64_t)((__int128)(int64_t)a * (int64_t)b >> 64);
}

static inline uint64_t rv_alu_mulhsu(uint64_t a, uint64_t b)
{
    return rv_alu_mulhu(a, b) - ((int64_t)a < 0 ? b : 0);
}

static inline uint64_t rv_alu_div(uint64_t a, uint64_t b)
{
    if (b == 0)
        return ~UINT64_C(0);
    return b == ~UINT64_C(0) ? -a : (uint64_t)((int64_t)a / (int64_t)b);
}

static inline uint64_t rv_alu_divu(uint64_t a, uint64_t b)
{
    return b == 0 ? ~UINT64_C(0) : a / b;
}

static inline uint64_t rv_alu_rem(uint64_t a, uint64_t b)
{
    if (b == 0)
        return a;
    return b == ~UINT64_C(0) ? 0 : (uint64_t)((int64_t)a % (int64_t)b);
}

static inline uint64_t rv_alu_remu(uint64_t a, uint64_t b)
{
    return b == 0 ? a : a % b;
}

static inline uint64_t rv_alu_mulw(uint64_t a, uint64_t b)
{
    return rv_w(a * b);
}

/* Of 32-bit operands the 64-bit division overflows nowhere; rv_w() gives INT32_MIN / -1 its due. */
static inline uint64_t rv_alu_divw(uint64_t a, uint64_t b)
{
    return rv_w(rv_alu_div(rv_w(a), rv_w(b)));
}

static inline uint64_t rv_alu_divuw(uint64_t a, uint64_t b)
{
    return rv_w(rv_alu_divu((uint32_t)a, (uint32_t)b));
}

static inline uint64_t rv_alu_remw(uint64_t a, uint64_t b)
{
    return rv_w(rv_alu_rem(rv_w(a), rv_w(b)));
}

static inline uint64_t rv_alu_remuw(uint64_t a, uint64_t b)
{
    return rv_w(rv_alu_remu((uint32_t)a, (uint32_t)b));
}

/* Zba ----------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_add_uw(uint64_t a, uint64_t b)
{
    return (uint32_t)a + b;
}

static inline uint64_t rv_alu_sh1add(uint64_t a, uint64_t b)
{
    return (a << 1) + b;
}

static inline uint64_t rv_alu_sh2add(uint64_t a, uint64_t b)
{
    return (a << 2) + b;
}

static inline uint64_t rv_alu_sh3add(uint64_t a, uint64_t b)
{
    return (a << 3) + b;
}

static inline uint64_t rv_alu_sh1add_uw(uint64_t a, uint64_t b)
{
    return rv_alu_sh1add((uint32_t)a, b);
}

static inline uint64_t rv_alu_sh2add_uw(uint64_t a, uint64_t b)
{
    return rv_alu_sh2add((uint32_t)a, b);
}

static inline uint64_t rv_alu_sh3add_uw(uint64_t a, uint64_t b)
{
    return rv_alu_sh3add((uint32_t)a, b);
}

static inline uint64_t rv_alu_sll_uw(uint64_t a, uint64_t b)
{
    return rv_alu_sll((uint32_t)a, b);
}

/* Zbb ----------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_andn(uint64_t a, uint64_t b)
{
    return a & ~b;
}

static inline uint64_t rv_alu_orn(uint64_t a, uint64_t b)
{
    return a | ~b;
}

static inline uint64_t rv_alu_xnor(uint64_t a, uint64_t b)
{
    return ~(a ^ b);
}

static inline uint64_t rv_alu_clz(uint64_t a)
{
    return a ? (uint64_t)__builtin_clzll(a) : 64;
}

static inline uint64_t rv_alu_ctz(uint64_t a)
{
    return a ? (uint64_t)__builtin_ctzll(a) : 64;
}

static inline uint64_t rv_alu_cpop(uint64_t a)
{
    return (uint64_t)__builtin_popcountll(a);
}

static inline uint64_t rv_alu_clzw(uint64_t a)
{
    return rv_alu_clz((uint32_t)a) - 32;
}

static inline uint64_t rv_alu_ctzw(uint64_t a)
{
    return rv_alu_ctz(a | UINT64_C(1) << 32);
}

static inline uint64_t rv_alu_cpopw(uint64_t a)
{
    return rv_alu_cpop((uint32_t)a);
}

static inline uint64_t rv_alu_sext_b(uint64_t a)
{
    return bits_sext(a, 8);
}

static inline uint64_t rv_alu_sext_h(uint64_t a)
{
    return bits_sext(a, 16);
}

static inline uint64_t rv_alu_zext_h(uint64_t a)
{
    return (uint16_t)a;
}

static inline uint64_t rv_alu_max(uint64_t a, uint64_t b)
{
    return rv_less_signed(a, b) ? b : a;
}

static inline uint64_t rv_alu_maxu(uint64_t a, uint64_t b)
{
    return a < b ? b : a;
}

static inline uint64_t rv_alu_min(uint64_t a, uint64_t b)
{
    return rv_less_signed(a, b) ? a : b;
}

static inline uint64_t rv_alu_minu(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t rv_alu_rol(uint64_t a, uint64_t b)
{
    return a << (b & 63) | a >> (-b & 63);
}

static inline uint64_t rv_alu_ror(uint64_t a, uint64_t b)
{
    return a >> (b & 63) | a << (-b & 63);
}

static inline uint64_t rv_alu_rolw(uint64_t a, uint64_t b)
{
    return rv_w((uint32_t)a << (b & 31) | (uint32_t)a >> (-b & 31));
}

static inline uint64_t rv_alu_rorw(uint64_t a, uint64_t b)
{
    return rv_w((uint32_t)a >> (b & 31) | (uint32_t)a << (-b & 31));
}

/* Every byte that is not 0 becomes 0xff: collects its bits in its lowest, then multiplies. */
static inline uint64_t rv_alu_orc_b(uint64_t a)
{
    a |= a >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f);
    a |= a >> 2 & UINT64_C(0x3f3f3f3f3f3f3f3f);
    a |= a >> 1;
    return (a & UINT64_C(0x0101010101010101)) * 0xff;
}

static inline uint64_t rv_alu_rev8(uint64_t a)
{
    return __builtin_bswap64(a);
}

/* Zbs ----------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_bclr(uint64_t a, uint64_t b)
{
    return a & ~(UINT64_C(1) << (b & 63));
}

static inline uint64_t rv_alu_bext(uint64_t a, uint64_t b)
{
    return a >> (b & 63) & 1;
}

static inline uint64_t rv_alu_binv(uint64_t a, uint64_t b)
{
    return a ^ UINT64_C(1) << (b & 63);
}

static inline uint64_t rv_alu_bset(uint64_t a, uint64_t b)
{
    return a | UINT64_C(1) << (b & 63);
}

/* Zbc ----------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_clmul(uint64_t a, uint64_t b)
{
    return (uint64_t)bits_clmul(a, b);
}

static inline uint64_t rv_alu_clmulh(uint64_t a, uint64_t b)
{
    return (uint64_t)(bits_clmul(a, b) >> 64);
}

static inline uint64_t rv_alu_clmulr(uint64_t a, uint64_t b)
{
    return (uint64_t)(bits_clmul(a, b) >> 63);
}

/* Zicond -------------------------------------------------------------------------------------- */

static inline uint64_t rv_alu_czero_eqz(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a;
}

static inline uint64_t rv_alu_czero_nez(uint64_t a, uint64_t b)
{
    return b != 0 ? 0 : a;
}
