/* Addition, multiplication, division, square root and fused multiply-add. */
#include "isa/riscv64/fp_impl.h"

/*
 * A finite number with room for a full product and one carry: sig / 2^126 * 2^exp, bit 126 of sig
 * set unless the number is zero, which looks as in struct fp_num.
 */
struct fp_wide {
    bool negative;
    int exp;
    fp_u128 sig;
};

FP_GENERIC struct fp_wide fp_widen(struct fp_num n)
{
    return (struct fp_wide){n.negative, n.exp, (fp_u128)n.sig << 63};
}

FP_GENERIC struct fp_wide fp_product(struct fp_num a, struct fp_num b)
{
    struct fp_wide p = {.negative = a.negative != b.negative, .exp = FP_EXP_ZERO};
    if (a.sig == 0 || b.sig == 0)
        return p;

    fp_u128 sig = (fp_u128)a.sig * b.sig;
    bool carry = sig >> 127;
    p.exp = a.exp + b.exp + carry;
    p.sig = carry ? sig >> 1 : sig;
    return p;
}

/*
 * The rounded sum. The operands' lowest 20 bits are clear (products have 106 bits), so that the
 * sticky bit of the smaller one is far below the last place even after one bit cancels; more can
 * cancel only when the exponents differ by less than two and nothing is lost.
 */
FP_GENERIC uint64_t fp_sum(struct fp_format f, struct fp_wide x, struct fp_wide y, unsigned rm,
                           unsigned *flags)
{
    if (x.exp < y.exp || (x.exp == y.exp && x.sig < y.sig)) {
        struct fp_wide t = x;
        x = y;
        y = t;
    }
    bool subtract = x.negative != y.negative;
    y.sig = fp_shift_right_sticky128(y.sig, x.exp - y.exp);
    x.sig = subtract ? x.sig - y.sig : x.sig + y.sig;
    if (unlikely(x.sig == 0))
        return fp_signed(f, subtract ? rm == FP_RDN : x.negative, 0);

    int lead = fp_clz128(x.sig);
    struct fp_num n = {
        .negative = x.negative,
        .exp = x.exp + 1 - lead,
        .sig = fp_narrow_sticky(x.sig << lead),
    };
    return fp_round_pack(f, n, rm, flags);
}

FP_GENERIC uint64_t fp_add_special(struct fp_format f, uint64_t a, uint64_t b, unsigned *flags)
{
    if (fp_is_nan(f, a) || fp_is_nan(f, b))
        return fp_nan_of(f, a, b, flags);
    if (fp_is_inf(f, a) && fp_is_inf(f, b) && fp_negative(f, a) != fp_negative(f, b))
        return fp_invalid(f, flags);
    return fp_signed(f, fp_negative(f, fp_is_inf(f, a) ? a : b), fp_inf(f));
}

FP_GENERIC uint64_t fp_add(struct fp_format f, uint64_t a, uint64_t b, unsigned rm, unsigned *flags)
{
    if (unlikely(!fp_is_finite(f, a) || !fp_is_finite(f, b)))
        return fp_add_special(f, a, b, flags);
    return fp_sum(f, fp_widen(fp_unpack(f, a)), fp_widen(fp_unpack(f, b)), rm, flags);
}

/* A NaN keeps its kind when its sign flips, so this is right for every operand. */
FP_GENERIC uint64_t fp_sub(struct fp_format f, uint64_t a, uint64_t b, unsigned rm, unsigned *flags)
{
    return fp_add(f, a, b ^ fp_sign_bit(f), rm, flags);
}

FP_GENERIC uint64_t fp_mul(struct fp_format f, uint64_t a, uint64_t b, unsigned rm, unsigned *flags)
{
    bool negative = fp_negative(f, a) != fp_negative(f, b);

    if (unlikely(!fp_is_finite(f, a) || !fp_is_finite(f, b))) {
        if (fp_is_nan(f, a) || fp_is_nan(f, b))
            return fp_nan_of(f, a, b, flags);
        if (fp_is_zero(f, a) || fp_is_zero(f, b))
            return fp_invalid(f, flags);
        return fp_signed(f, negative, fp_inf(f));
    }
    struct fp_wide p = fp_product(fp_unpack(f, a), fp_unpack(f, b));
    if (unlikely(p.sig == 0))
        return fp_signed(f, negative, 0);
    struct fp_num n = {negative, p.exp, fp_narrow_sticky(p.sig << 1)};
    return fp_round_pack(f, n, rm, flags);
}

FP_GENERIC uint64_t fp_div_special(struct fp_format f, uint64_t a, uint64_t b, unsigned *flags)
{
    bool negative = fp_negative(f, a) != fp_negative(f, b);

    if (fp_is_nan(f, a) || fp_is_nan(f, b))
        return fp_nan_of(f, a, b, flags);
    if ((fp_is_inf(f, a) && fp_is_inf(f, b)) || (fp_is_zero(f, a) && fp_is_zero(f, b)))
        return fp_invalid(f, flags);
    if (fp_is_inf(f, b) || fp_is_zero(f, a))
        return fp_signed(f, negative, 0);
    if (fp_is_finite(f, a))
        *flags |= FP_DZ;
    return fp_signed(f, negative, fp_inf(f));
}

FP_GENERIC uint64_t fp_div(struct fp_format f, uint64_t a, uint64_t b, unsigned rm, unsigned *flags)
{
    if (unlikely(!fp_is_finite(f, a) || !fp_is_finite(f, b) || fp_is_zero(f, a) ||
                 fp_is_zero(f, b)))
        return fp_div_special(f, a, b, flags);

    struct fp_num x = fp_unpack(f, a);
    struct fp_num y = fp_unpack(f, b);
    fp_u128 dividend = (fp_u128)x.sig << 63;
    uint64_t quotient = (uint64_t)(dividend / y.sig);
    bool rest = (uint64_t)dividend != quotient * y.sig;
    int lead = __builtin_clzll(quotient);
    struct fp_num n = {
        .negative = x.negative != y.negative,
        .exp = x.exp - y.exp - lead,
        .sig = quotient << lead | rest,
    };
    return fp_round_pack(f, n, rm, flags);
}

/*
 * The root of m / 2^60, for m / 2^60 in [1, 4), bit by bit down to one bit below the last place
 * of f, in the same scale; the lowest bit is sticky. Each step keeps m == (m0 - root^2) * 2^step.
 */
FP_GENERIC uint64_t fp_isqrt(struct fp_format f, uint64_t m)
{
    uint64_t root = 0;
    uint64_t last = UINT64_C(1) << (60 - f.frac_bits - 1);

    for (uint64_t bit = UINT64_C(1) << 60; bit >= last; bit >>= 1) {
        uint64_t trial = 2 * root + bit;
        if (trial <= m) {
            m -= trial;
            root += bit;
        }
        m <<= 1;
    }
    return root | (m != 0);
}

FP_GENERIC uint64_t fp_sqrt(struct fp_format f, uint64_t a, unsigned rm, unsigned *flags)
{
    if (fp_is_nan(f, a))
        return fp_nan_of(f, a, a, flags);
    if (fp_is_zero(f, a))
        return fp_signed(f, fp_negative(f, a), 0);
    if (fp_negative(f, a))
        return fp_invalid(f, flags);
    if (fp_is_inf(f, a))
        return fp_inf(f);

    struct fp_num n = fp_unpack(f, a);
    bool odd = n.exp & 1;
    n.sig = fp_isqrt(f, odd ? n.sig >> 2 : n.sig >> 3) << 3;
    n.exp = (n.exp - odd) / 2;
    return fp_round_pack(f, n, rm, flags);
}

FP_GENERIC uint64_t fp_fma_special(struct fp_format f, uint64_t a, uint64_t b, uint64_t c,
                                   unsigned *flags)
{
    bool negative = fp_negative(f, a) != fp_negative(f, b);
    bool product_inf = fp_is_inf(f, a) || fp_is_inf(f, b);

    if (product_inf && (fp_is_zero(f, a) || fp_is_zero(f, b)))
        return fp_invalid(f, flags);
    if (fp_is_nan(f, a) || fp_is_nan(f, b) || fp_is_nan(f, c)) {
        fp_nan_of(f, a, b, flags);
        return fp_nan_of(f, c, c, flags);
    }
    if (product_inf && fp_is_inf(f, c) && fp_negative(f, c) != negative)
        return fp_invalid(f, flags);
    return fp_signed(f, product_inf ? negative : fp_negative(f, c), fp_inf(f));
}

FP_GENERIC uint64_t fp_fma(struct fp_format f, uint64_t a, uint64_t b, uint64_t c, unsigned rm,
                           unsigned *flags)
{
    if (unlikely(!fp_is_finite(f, a) || !fp_is_finite(f, b) || !fp_is_finite(f, c)))
        return fp_fma_special(f, a, b, c, flags);
    return fp_sum(f, fp_product(fp_unpack(f, a), fp_unpack(f, b)), fp_widen(fp_unpack(f, c)), rm,
                  flags);
}

#define FP_INSTANTIATE(N)                                                                  \
    uint64_t fp##N##_add(uint64_t a, uint64_t b, unsigned rm, unsigned *flags)             \
    {                                                                                      \
        return fp_add(FP_FORMAT##N, a, b, rm, flags);                                      \
    }                                                                                      \
    uint64_t fp##N##_sub(uint64_t a, uint64_t b, unsigned rm, unsigned *flags)             \
    {                                                                                      \
        return fp_sub(FP_FORMAT##N, a, b, rm, flags);                                      \
    }                                                                                      \
    uint64_t fp##N##_mul(uint64_t a, uint64_t b, unsigned rm, unsigned *flags)             \
    {                                                                                      \
        return fp_mul(FP_FORMAT##N, a, b, rm, flags);                                      \
    }                                                                                      \
    uint64_t fp##N##_div(uint64_t a, uint64_t b, unsigned rm, unsigned *flags)             \
    {                                                                                      \
        return fp_div(FP_FORMAT##N, a, b, rm, flags);                                      \
    }                                                                                      \
    uint64_t fp##N##_sqrt(uint64_t a, unsigned rm, unsigned *flags)                        \
    {                                                                                      \
        return fp_sqrt(FP_FORMAT##N, a, rm, flags);                                        \
    }                                                                                      \
    uint64_t fp##N##_fma(uint64_t a, uint64_t b, uint64_t c, unsigned rm, unsigned *flags) \
    {                                                                                      \
        return fp_fma(FP_FORMAT##N, a, b, c, rm, flags);                                   \
    }

FP_INSTANTIATE(16)
FP_INSTANTIATE(32)
FP_INSTANTIATE(64)
