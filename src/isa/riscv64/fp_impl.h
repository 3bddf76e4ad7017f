/*
 * The parts that all soft floating point files share: formats, unpacking, and the one place where
 * results are rounded and packed. Private to fp_*.c.
 *
 * Everything is written once for any format of up to 64 bits. Functions are forced inline and get
 * the format as a constant, so that each instantiation is specialized by the compiler.
 *
 * Unpacked numbers are exact. A significand on its way to rounding may carry a sticky lowest bit:
 * it is set when any bit below it was lost. That loses nothing, because every format leaves at
 * least two bits between its last place and the lowest bit.
 */
#pragma once

#include "base/bits.h"
#include "isa/riscv64/fp.h"

#define FP_GENERIC static inline __attribute__((always_inline))

typedef unsigned __int128 fp_u128;

struct fp_format {
    unsigned frac_bits; /* stored bits of the significand */
    unsigned exp_bits;
};

#define FP_FORMAT16 ((struct fp_format){.frac_bits = 10, .exp_bits = 5})
#define FP_FORMAT32 ((struct fp_format){.frac_bits = 23, .exp_bits = 8})
#define FP_FORMAT64 ((struct fp_format){.frac_bits = 52, .exp_bits = 11})

/*
 * A finite number: sig / 2^63 * 2^exp. Bit 63 of sig is set, or the number is zero: then sig is 0
 * and exp is FP_EXP_ZERO, below the exponent of any other number.
 */
struct fp_num {
    bool negative;
    int exp;
    uint64_t sig;
};

#define FP_EXP_ZERO (-(1 << 20))

FP_GENERIC uint64_t fp_sign_bit(struct fp_format f)
{
    return UINT64_C(1) << (f.frac_bits + f.exp_bits);
}

FP_GENERIC uint64_t fp_inf(struct fp_format f)
{
    return fp_sign_bit(f) - (UINT64_C(1) << f.frac_bits);
}

FP_GENERIC uint64_t fp_quiet_bit(struct fp_format f)
{
    return UINT64_C(1) << (f.frac_bits - 1);
}

FP_GENERIC uint64_t fp_nan(struct fp_format f)
{
    return fp_inf(f) | fp_quiet_bit(f);
}

/* The exponents of the largest and of the smallest normal numbers. */
FP_GENERIC int fp_exp_max(struct fp_format f)
{
    return (1 << (f.exp_bits - 1)) - 1;
}

FP_GENERIC int fp_exp_min(struct fp_format f)
{
    return 1 - fp_exp_max(f);
}

FP_GENERIC bool fp_negative(struct fp_format f, uint64_t v)
{
    return v & fp_sign_bit(f);
}

FP_GENERIC uint64_t fp_magnitude(struct fp_format f, uint64_t v)
{
    return v & (fp_sign_bit(f) - 1);
}

FP_GENERIC uint64_t fp_signed(struct fp_format f, bool negative, uint64_t magnitude)
{
    return negative ? magnitude | fp_sign_bit(f) : magnitude;
}

FP_GENERIC bool fp_is_nan(struct fp_format f, uint64_t v)
{
    return fp_magnitude(f, v) > fp_inf(f);
}

FP_GENERIC bool fp_is_snan(struct fp_format f, uint64_t v)
{
    return fp_is_nan(f, v) && !(v & fp_quiet_bit(f));
}

FP_GENERIC bool fp_is_inf(struct fp_format f, uint64_t v)
{
    return fp_magnitude(f, v) == fp_inf(f);
}

FP_GENERIC bool fp_is_finite(struct fp_format f, uint64_t v)
{
    return fp_magnitude(f, v) < fp_inf(f);
}

FP_GENERIC bool fp_is_zero(struct fp_format f, uint64_t v)
{
    return fp_magnitude(f, v) == 0;
}

/* The result of an operation on a NaN: raises NV if an operand is signalling. */
FP_GENERIC uint64_t fp_nan_of(struct fp_format f, uint64_t a, uint64_t b, unsigned *flags)
{
    if (fp_is_snan(f, a) || fp_is_snan(f, b))
        *flags |= FP_NV;
    return fp_nan(f);
}

FP_GENERIC uint64_t fp_invalid(struct fp_format f, unsigned *flags)
{
    *flags |= FP_NV;
    return fp_nan(f);
}

/* v must be finite. */
FP_GENERIC struct fp_num fp_unpack(struct fp_format f, uint64_t v)
{
    uint64_t mag = fp_magnitude(f, v);
    struct fp_num n = {.negative = fp_negative(f, v)};
    unsigned biased = (unsigned)(mag >> f.frac_bits);

    if (likely(biased)) {
        n.exp = (int)biased - fp_exp_max(f);
        n.sig = (mag << (63 - f.frac_bits)) | UINT64_C(1) << 63;
    } else if (mag == 0) {
        n.exp = FP_EXP_ZERO;
    } else {
        int lead = __builtin_clzll(mag);
        n.exp = fp_exp_min(f) + (63 - (int)f.frac_bits) - lead;
        n.sig = mag << lead;
    }
    return n;
}

/* v >> count for any count >= 0; what falls out makes the lowest bit sticky. */
FP_GENERIC uint64_t fp_shift_right_sticky(uint64_t v, int count)
{
    if (count == 0)
        return v;
    if (count >= 64)
        return v != 0;
    return v >> count | (v << (64 - count) != 0);
}

FP_GENERIC fp_u128 fp_shift_right_sticky128(fp_u128 v, int count)
{
    if (count == 0)
        return v;
    if (count >= 128)
        return v != 0;
    return v >> count | (v << (128 - count) != 0);
}

FP_GENERIC uint64_t fp_narrow_sticky(fp_u128 v)
{
    return (uint64_t)(v >> 64) | ((uint64_t)v != 0);
}

/* v must not be zero. */
FP_GENERIC int fp_clz128(fp_u128 v)
{
    uint64_t high = (uint64_t)(v >> 64);
    return high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)v);
}

/*
 * Whether a magnitude whose kept part is odd or even as told, and whose dropped part is `rest`
 * with `half` standing for one half, is rounded away from zero.
 */
FP_GENERIC bool fp_rounds_away(unsigned rm, bool negative, bool odd, uint64_t rest, uint64_t half)
{
    switch (rm) {
    case FP_RNE:
        return rest > half || (rest == half && odd);
    case FP_RDN:
        return negative && rest;
    case FP_RUP:
        return !negative && rest;
    case FP_RMM:
        return rest >= half;
    default:
        return false;
    }
}

FP_GENERIC uint64_t fp_overflow(struct fp_format f, bool negative, unsigned rm, unsigned *flags)
{
    bool to_inf = rm == FP_RNE || rm == FP_RMM || rm == (negative ? FP_RDN : FP_RUP);
    *flags |= FP_OF | FP_NX;
    return fp_signed(f, negative, to_inf ? fp_inf(f) : fp_inf(f) - 1);
}

/*
 * Rounds n, whose sig may have a sticky lowest bit and is not zero, and packs it; raises NX, UF
 * and OF as needed.
 */
FP_GENERIC uint64_t fp_round_pack(struct fp_format f, struct fp_num n, unsigned rm, unsigned *flags)
{
    unsigned drop = 63 - f.frac_bits;
    uint64_t half = UINT64_C(1) << (drop - 1);
    uint64_t drop_mask = (UINT64_C(1) << drop) - 1;
    bool tiny = false;

    if (unlikely(n.exp < fp_exp_min(f))) {
        /* Not tiny if rounding with unbounded exponent reaches the smallest normal number. */
        bool all_ones = n.sig >> drop == ~UINT64_C(0) >> drop;
        tiny = n.exp < fp_exp_min(f) - 1 || !all_ones ||
               !fp_rounds_away(rm, n.negative, true, n.sig & drop_mask, half);
        n.sig = fp_shift_right_sticky(n.sig, fp_exp_min(f) - n.exp);
        n.exp = fp_exp_min(f);
    }
    if (unlikely(n.exp > fp_exp_max(f)))
        return fp_overflow(f, n.negative, rm, flags);

    uint64_t kept = n.sig >> drop;
    uint64_t rest = n.sig & drop_mask;
    kept += fp_rounds_away(rm, n.negative, kept & 1, rest, half);

    /* The leading one of a normal number, and a carry, add to the exponent field. */
    uint64_t mag = ((uint64_t)(n.exp - fp_exp_min(f)) << f.frac_bits) + kept;
    if (unlikely(mag >= fp_inf(f)))
        return fp_overflow(f, n.negative, rm, flags);
    if (rest)
        *flags |= tiny ? FP_NX | FP_UF : FP_NX;
    return fp_signed(f, n.negative, mag);
}

/*
 * The integer nearest to n in the direction of rm: its magnitude, and whether it differs from n.
 * n.exp must be below 64.
 */
FP_GENERIC fp_u128 fp_integral(struct fp_num n, unsigned rm, bool *inexact)
{
    fp_u128 fixed = fp_shift_right_sticky128((fp_u128)n.sig << 64, 63 - n.exp);
    uint64_t rest = (uint64_t)fixed;
    fp_u128 whole = fixed >> 64;

    *inexact = rest != 0;
    return whole + fp_rounds_away(rm, n.negative, whole & 1, rest, UINT64_C(1) << 63);
}

/* The magnitude and sign of an integer as a number; exact. */
FP_GENERIC struct fp_num fp_num_from_int(bool negative, uint64_t magnitude)
{
    if (magnitude == 0)
        return (struct fp_num){.negative = negative, .exp = FP_EXP_ZERO};
    int lead = __builtin_clzll(magnitude);
    return (struct fp_num){.negative = negative, .exp = 63 - lead, .sig = magnitude << lead};
}
