/*
 * The host's floating point unit in front of the exact functions of fp.h, where both provably
 * agree. fpN_op_fast has the contract of fpN_op and always the same results and flags.
 *
 * The host computes in its default environment (to nearest, nothing trapped, subnormals kept),
 * and its flags are never read, so its result may be used only if no flag can be missing:
 * - Rounding is to nearest even and the guest has NX set already: inexactness adds nothing.
 * - The result is finite: no NaN, no overflow, no division by zero. Then the operands were
 *   finite too, or an infinite divisor gave zero, which the next rule sends to the exact function.
 * - The result exceeds the smallest normal number: no underflow. (It must exceed it, because a
 *   tiny result may be rounded up to it.) Sums are exempt, as tiny sums are exact; so are roots,
 *   which are never tiny, and products and quotients that are zero because of a zero operand.
 *
 * Needs FLT_EVAL_METHOD 0 and -ffp-contract=off in the including file, so that the compiler rounds
 * every operation to its type. With GUISE_FP_EXACT defined every function here is the exact one.
 */
#pragma once

#include "base/bits.h"
#include "isa/riscv64/fp.h"

#include <float.h>

#ifdef GUISE_FP_EXACT
#define FP_FAST 0
#else
#define FP_FAST (FLT_EVAL_METHOD == 0)
#endif

#ifdef __FAST_MATH__
#error "guise relies on IEEE 754 arithmetic: build without -ffast-math"
#endif

/*
 * a*b+c rounded once to nearest even by the host's hardware; false, with *r untouched, if it has
 * no such instruction. Values are bits as in fp.h.
 */
bool fp_host_fma32(uint64_t a, uint64_t b, uint64_t c, uint64_t *r);
bool fp_host_fma64(uint64_t a, uint64_t b, uint64_t c, uint64_t *r);

static inline float fp32_host(uint64_t v)
{
    uint32_t bits = (uint32_t)v;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double fp64_host(uint64_t v)
{
    double x;
    memcpy(&x, &v, sizeof x);
    return x;
}

static inline uint64_t fp32_of_host(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline uint64_t fp64_of_host(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Whether the host's rounding is the wanted one, and NX need not be found out. */
static inline bool fp_fast_mode(unsigned rm, unsigned flags)
{
    return FP_FAST && likely(rm == FP_RNE && (flags & FP_NX));
}

/* The bits of infinity and of the smallest normal number. */
#define FP32_INF UINT64_C(0x7f800000)
#define FP64_INF UINT64_C(0x7ff0000000000000)
#define FP32_MIN UINT64_C(0x00800000)
#define FP64_MIN UINT64_C(0x0010000000000000)

#define FP_FAST_DEFINE(N, SQRT)                                                                   \
    static inline bool fp##N##_fast_finite(uint64_t r)                                            \
    {                                                                                             \
        return (r & (FP##N##_SIGN - 1)) < FP##N##_INF;                                            \
    }                                                                                             \
    static inline bool fp##N##_fast_zero(uint64_t v)                                              \
    {                                                                                             \
        return (v & (FP##N##_SIGN - 1)) == 0;                                                     \
    }                                                                                             \
    /* Finite and larger than the smallest normal number. */                                      \
    static inline bool fp##N##_fast_safe(uint64_t r)                                              \
    {                                                                                             \
        return (r & (FP##N##_SIGN - 1)) - FP##N##_MIN - 1 < FP##N##_INF - FP##N##_MIN - 1;        \
    }                                                                                             \
    static inline uint64_t fp##N##_add_fast(uint64_t a, uint64_t b, unsigned rm, unsigned *flags) \
    {                                                                                             \
        if (fp_fast_mode(rm, *flags)) {                                                           \
            uint64_t r = fp##N##_of_host(fp##N##_host(a) + fp##N##_host(b));                      \
            if (likely(fp##N##_fast_finite(r)))                                                   \
                return r;                                                                         \
        }                                                                                         \
        return fp##N##_add(a, b, rm, flags);                                                      \
    }                                                                                             \
    static inline uint64_t fp##N##_sub_fast(uint64_t a, uint64_t b, unsigned rm, unsigned *flags) \
    {                                                                                             \
        if (fp_fast_mode(rm, *flags)) {                                                           \
            uint64_t r = fp##N##_of_host(fp##N##_host(a) - fp##N##_host(b));                      \
            if (likely(fp##N##_fast_finite(r)))                                                   \
                return r;                                                                         \
        }                                                                                         \
        return fp##N##_sub(a, b, rm, flags);                                                      \
    }                                                                                             \
    static inline uint64_t fp##N##_mul_fast(uint64_t a, uint64_t b, unsigned rm, unsigned *flags) \
    {                                                                                             \
        if (fp_fast_mode(rm, *flags)) {                                                           \
            uint64_t r = fp##N##_of_host(fp##N##_host(a) * fp##N##_host(b));                      \
            if (likely(fp##N##_fast_safe(r)))                                                     \
                return r;                                                                         \
            if (fp##N##_fast_zero(r) && (fp##N##_fast_zero(a) || fp##N##_fast_zero(b)))           \
                return r;                                                                         \
        }                                                                                         \
        return fp##N##_mul(a, b, rm, flags);                                                      \
    }                                                                                             \
    static inline uint64_t fp##N##_div_fast(uint64_t a, uint64_t b, unsigned rm, unsigned *flags) \
    {                                                                                             \
        if (fp_fast_mode(rm, *flags)) {                                                           \
            uint64_t r = fp##N##_of_host(fp##N##_host(a) / fp##N##_host(b));                      \
            if (likely(fp##N##_fast_safe(r)) || (fp##N##_fast_zero(r) && fp##N##_fast_zero(a)))   \
                return r;                                                                         \
        }                                                                                         \
        return fp##N##_div(a, b, rm, flags);                                                      \
    }                                                                                             \
    static inline uint64_t fp##N##_sqrt_fast(uint64_t a, unsigned rm, unsigned *flags)            \
    {                                                                                             \
        if (fp_fast_mode(rm, *flags) && likely(!(a & FP##N##_SIGN))) {                            \
            uint64_t r = fp##N##_of_host(SQRT(fp##N##_host(a)));                                  \
            if (likely(fp##N##_fast_finite(r)))                                                   \
                return r;                                                                         \
        }                                                                                         \
        return fp##N##_sqrt(a, rm, flags);                                                        \
    }                                                                                             \
    static inline uint64_t fp##N##_fma_fast(uint64_t a, uint64_t b, uint64_t c, unsigned rm,      \
                                            unsigned *flags)                                      \
    {                                                                                             \
        uint64_t r;                                                                               \
        if (fp_fast_mode(rm, *flags) && likely(fp_host_fma##N(a, b, c, &r)) &&                    \
            likely(fp##N##_fast_safe(r)))                                                         \
            return r;                                                                             \
        return fp##N##_fma(a, b, c, rm, flags);                                                   \
    }

FP_FAST_DEFINE(32, __builtin_sqrtf)
FP_FAST_DEFINE(64, __builtin_sqrt)
#undef FP_FAST_DEFINE

/* Widening is exact; NaNs need the canonical result. */
static inline uint64_t fp32_to_fp64_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    if (FP_FAST && likely(fp32_fast_finite(a)))
        return fp64_of_host((double)fp32_host(a));
    return fp32_to_fp64(a, rm, flags);
}

static inline uint64_t fp64_to_fp32_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    if (fp_fast_mode(rm, *flags)) {
        uint64_t r = fp32_of_host((float)fp64_host(a));
        if (likely(fp32_fast_safe(r)) || fp64_fast_zero(a))
            return r;
    }
    return fp64_to_fp32(a, rm, flags);
}

/* Exact in every rounding mode. */
static inline uint64_t fp64_from_i32_fast(uint64_t v, unsigned rm, unsigned *flags)
{
    if (FP_FAST)
        return fp64_of_host((double)(int32_t)(uint32_t)v);
    return fp64_from_i32(v, rm, flags);
}

static inline uint64_t fp64_from_i64_fast(uint64_t v, unsigned rm, unsigned *flags)
{
    if (fp_fast_mode(rm, *flags))
        return fp64_of_host((double)(int64_t)v);
    return fp64_from_i64(v, rm, flags);
}

static inline uint64_t fp32_from_i32_fast(uint64_t v, unsigned rm, unsigned *flags)
{
    if (fp_fast_mode(rm, *flags))
        return fp32_of_host((float)(int32_t)(uint32_t)v);
    return fp32_from_i32(v, rm, flags);
}

/* Truncation, as C compilers emit it, of what surely fits. The comparisons are false for NaN. */
static inline uint64_t fp64_to_i32_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    double x = fp64_host(a);
    if (FP_FAST && rm == FP_RTZ && (*flags & FP_NX) && likely(x > -0x1p31 && x < 0x1p31))
        return (uint64_t)(int64_t)(int32_t)x;
    return fp64_to_i32(a, rm, flags);
}

static inline uint64_t fp64_to_i64_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    double x = fp64_host(a);
    if (FP_FAST && rm == FP_RTZ && (*flags & FP_NX) && likely(x > -0x1p63 && x < 0x1p63))
        return (uint64_t)(int64_t)x;
    return fp64_to_i64(a, rm, flags);
}

static inline uint64_t fp32_to_i32_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    float x = fp32_host(a);
    if (FP_FAST && rm == FP_RTZ && (*flags & FP_NX) && likely(x > -0x1p31F && x < 0x1p31F))
        return (uint64_t)(int64_t)(int32_t)x;
    return fp32_to_i32(a, rm, flags);
}

static inline uint64_t fp32_to_i64_fast(uint64_t a, unsigned rm, unsigned *flags)
{
    float x = fp32_host(a);
    if (FP_FAST && rm == FP_RTZ && (*flags & FP_NX) && likely(x > -0x1p63F && x < 0x1p63F))
        return (uint64_t)(int64_t)x;
    return fp32_to_i64(a, rm, flags);
}
