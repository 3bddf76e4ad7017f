/*
 * Exact IEEE 754 arithmetic as RISC-V defines it (unprivileged spec: F, D, Zfh, Zfa), for half
 * (fp16_), single (fp32_) and double (fp64_) precision.
 *
 * A value is its bit pattern in the low bits of a uint64_t. Bits above the format are ignored in
 * operands and zero in results, so NaN boxing is the caller's business (fp32_unbox, fp32_box).
 * The host's floating point unit is not used: results and flags depend on the arguments only.
 *
 * `rm` is one of enum fp_rounding; the caller has resolved "dynamic" and trapped on reserved
 * values. `*flags` holds fflags bits; an operation only ever adds to them.
 *
 * Common rules: every NaN result is the canonical NaN; a signalling NaN operand raises NV;
 * tininess is detected after rounding; UF is raised only together with NX.
 *
 * There is no state and no memory; every function may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* fflags (unprivileged spec, "Floating-Point Control and Status Register"). */
enum fp_flag {
    FP_NX = 1,  /* inexact */
    FP_UF = 2,  /* underflow */
    FP_OF = 4,  /* overflow */
    FP_DZ = 8,  /* division of a finite number by zero */
    FP_NV = 16, /* invalid operation */
};

/* The rm field and frm. */
enum fp_rounding {
    FP_RNE = 0, /* to nearest, ties to even */
    FP_RTZ = 1, /* towards zero */
    FP_RDN = 2, /* down */
    FP_RUP = 3, /* up */
    FP_RMM = 4, /* to nearest, ties to the larger magnitude */
};

/* The bits of fclass; exactly one is set. */
enum fp_class {
    FP_CLASS_NEG_INF = 1 << 0,
    FP_CLASS_NEG_NORMAL = 1 << 1,
    FP_CLASS_NEG_SUBNORMAL = 1 << 2,
    FP_CLASS_NEG_ZERO = 1 << 3,
    FP_CLASS_POS_ZERO = 1 << 4,
    FP_CLASS_POS_SUBNORMAL = 1 << 5,
    FP_CLASS_POS_NORMAL = 1 << 6,
    FP_CLASS_POS_INF = 1 << 7,
    FP_CLASS_SNAN = 1 << 8,
    FP_CLASS_QNAN = 1 << 9,
};

#define FP16_SIGN (UINT64_C(1) << 15)
#define FP32_SIGN (UINT64_C(1) << 31)
#define FP64_SIGN (UINT64_C(1) << 63)

#define FP16_NAN UINT64_C(0x7e00)
#define FP32_NAN UINT64_C(0x7fc00000)
#define FP64_NAN UINT64_C(0x7ff8000000000000)

/*
 * The operations that each format has, for N = 16, 32, 64:
 *
 * add sub mul div sqrt: one rounding. fma is a*b+c with one rounding; fmsub, fnmsub and fnmadd
 * are fma with the signs of a and c flipped by the caller. inf*0 raises NV whatever c is.
 *
 * min max: minimumNumber/maximumNumber of IEEE 754-2019: one NaN operand yields the other
 * operand, and -0 < +0. minm maxm (Zfa): a NaN operand yields NaN.
 *
 * eq ltq leq are quiet: only a signalling NaN raises NV. lt le raise NV for every NaN.
 *
 * class returns one bit of enum fp_class.
 *
 * round (Zfa fround) rounds to an integral value in the same format and never raises NX;
 * roundnx does.
 *
 * to_i32 to_u32 to_i64 to_u64: fcvt to integer. The result is the content of rd on RV64: 32-bit
 * results, unsigned ones too, are sign-extended. NaN and values that do not fit after rounding
 * raise NV alone and give the nearest representable integer (NaN: the largest).
 *
 * from_i32 from_u32 from_i64 from_u64: fcvt from integer; the 32-bit ones use the low half of v.
 *
 * fli: the n-th constant of Zfa, n = 0..31.
 */
#define FP_DECLARE(N)                                                                       \
    uint64_t fp##N##_add(uint64_t a, uint64_t b, unsigned rm, unsigned *flags);             \
    uint64_t fp##N##_sub(uint64_t a, uint64_t b, unsigned rm, unsigned *flags);             \
    uint64_t fp##N##_mul(uint64_t a, uint64_t b, unsigned rm, unsigned *flags);             \
    uint64_t fp##N##_div(uint64_t a, uint64_t b, unsigned rm, unsigned *flags);             \
    uint64_t fp##N##_sqrt(uint64_t a, unsigned rm, unsigned *flags);                        \
    uint64_t fp##N##_fma(uint64_t a, uint64_t b, uint64_t c, unsigned rm, unsigned *flags); \
    uint64_t fp##N##_min(uint64_t a, uint64_t b, unsigned *flags);                          \
    uint64_t fp##N##_max(uint64_t a, uint64_t b, unsigned *flags);                          \
    uint64_t fp##N##_minm(uint64_t a, uint64_t b, unsigned *flags);                         \
    uint64_t fp##N##_maxm(uint64_t a, uint64_t b, unsigned *flags);                         \
    bool fp##N##_eq(uint64_t a, uint64_t b, unsigned *flags);                               \
    bool fp##N##_lt(uint64_t a, uint64_t b, unsigned *flags);                               \
    bool fp##N##_le(uint64_t a, uint64_t b, unsigned *flags);                               \
    bool fp##N##_ltq(uint64_t a, uint64_t b, unsigned *flags);                              \
    bool fp##N##_leq(uint64_t a, uint64_t b, unsigned *flags);                              \
    unsigned fp##N##_class(uint64_t a);                                                     \
    uint64_t fp##N##_round(uint64_t a, unsigned rm, unsigned *flags);                       \
    uint64_t fp##N##_roundnx(uint64_t a, unsigned rm, unsigned *flags);                     \
    uint64_t fp##N##_to_i32(uint64_t a, unsigned rm, unsigned *flags);                      \
    uint64_t fp##N##_to_u32(uint64_t a, unsigned rm, unsigned *flags);                      \
    uint64_t fp##N##_to_i64(uint64_t a, unsigned rm, unsigned *flags);                      \
    uint64_t fp##N##_to_u64(uint64_t a, unsigned rm, unsigned *flags);                      \
    uint64_t fp##N##_from_i32(uint64_t v, unsigned rm, unsigned *flags);                    \
    uint64_t fp##N##_from_u32(uint64_t v, unsigned rm, unsigned *flags);                    \
    uint64_t fp##N##_from_i64(uint64_t v, unsigned rm, unsigned *flags);                    \
    uint64_t fp##N##_from_u64(uint64_t v, unsigned rm, unsigned *flags);                    \
    uint64_t fp##N##_fli(unsigned n);

FP_DECLARE(16)
FP_DECLARE(32)
FP_DECLARE(64)
#undef FP_DECLARE

/* Conversions between formats. Those to a wider format are exact; `rm` is unused there. */
uint64_t fp16_to_fp32(uint64_t a, unsigned rm, unsigned *flags);
uint64_t fp16_to_fp64(uint64_t a, unsigned rm, unsigned *flags);
uint64_t fp32_to_fp16(uint64_t a, unsigned rm, unsigned *flags);
uint64_t fp32_to_fp64(uint64_t a, unsigned rm, unsigned *flags);
uint64_t fp64_to_fp16(uint64_t a, unsigned rm, unsigned *flags);
uint64_t fp64_to_fp32(uint64_t a, unsigned rm, unsigned *flags);

/*
 * Zfa fcvtmod.w.d: truncates, keeps the low 32 bits of the two's complement result and
 * sign-extends them; NaN and infinities give 0. Raises what fp64_to_i32 with FP_RTZ raises.
 */
uint64_t fp64_to_i32_mod(uint64_t a, unsigned *flags);

/*
 * NaN boxing (spec, "NaN Boxing of Narrower Values") of values in 64-bit f registers: unbox gives
 * the narrow value, or the canonical NaN when the upper bits are not all ones.
 */
static inline uint64_t fp16_box(uint64_t v)
{
    return v | ~UINT64_C(0xffff);
}

static inline uint64_t fp32_box(uint64_t v)
{
    return v | ~UINT64_C(0xffffffff);
}

static inline uint64_t fp16_unbox(uint64_t reg)
{
    return reg >= ~UINT64_C(0xffff) ? reg & 0xffff : FP16_NAN;
}

static inline uint64_t fp32_unbox(uint64_t reg)
{
    return reg >= ~UINT64_C(0xffffffff) ? reg & 0xffffffff : FP32_NAN;
}
