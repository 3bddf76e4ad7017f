/* Comparisons, minimum and maximum, and classification. */
#include "isa/riscv64/fp_impl.h"

/* Orders all numbers but NaN; both zeros give 0. */
FP_GENERIC int64_t fp_order(struct fp_format f, uint64_t v)
{
    int64_t mag = (int64_t)fp_magnitude(f, v);
    return fp_negative(f, v) ? -mag : mag;
}

/* Whether a comparison has a NaN operand; raises NV if it has to. */
FP_GENERIC bool fp_unordered(struct fp_format f, uint64_t a, uint64_t b, bool quiet,
                             unsigned *flags)
{
    if (likely(!fp_is_nan(f, a) && !fp_is_nan(f, b)))
        return false;
    if (!quiet || fp_is_snan(f, a) || fp_is_snan(f, b))
        *flags |= FP_NV;
    return true;
}

FP_GENERIC bool fp_eq(struct fp_format f, uint64_t a, uint64_t b, unsigned *flags)
{
    return !fp_unordered(f, a, b, true, flags) && fp_order(f, a) == fp_order(f, b);
}

FP_GENERIC bool fp_lt(struct fp_format f, uint64_t a, uint64_t b, bool quiet, unsigned *flags)
{
    return !fp_unordered(f, a, b, quiet, flags) && fp_order(f, a) < fp_order(f, b);
}

FP_GENERIC bool fp_le(struct fp_format f, uint64_t a, uint64_t b, bool quiet, unsigned *flags)
{
    return !fp_unordered(f, a, b, quiet, flags) && fp_order(f, a) <= fp_order(f, b);
}

/* The smaller or the larger operand; neither is a NaN. */
FP_GENERIC uint64_t fp_select(struct fp_format f, uint64_t a, uint64_t b, bool larger)
{
    int64_t x = fp_order(f, a);
    int64_t y = fp_order(f, b);
    bool a_less = x < y || (x == y && fp_negative(f, a));
    return fp_signed(f, fp_negative(f, a_less != larger ? a : b),
                     fp_magnitude(f, a_less != larger ? a : b));
}

FP_GENERIC uint64_t fp_minmax_number(struct fp_format f, uint64_t a, uint64_t b, bool larger,
                                     unsigned *flags)
{
    if (unlikely(fp_unordered(f, a, b, true, flags))) {
        if (fp_is_nan(f, a) && fp_is_nan(f, b))
            return fp_nan(f);
        a = b = fp_is_nan(f, a) ? b : a;
    }
    return fp_select(f, a, b, larger);
}

FP_GENERIC uint64_t fp_minmax_nan(struct fp_format f, uint64_t a, uint64_t b, bool larger,
                                  unsigned *flags)
{
    if (unlikely(fp_unordered(f, a, b, true, flags)))
        return fp_nan(f);
    return fp_select(f, a, b, larger);
}

FP_GENERIC unsigned fp_classify(struct fp_format f, uint64_t v)
{
    bool neg = fp_negative(f, v);

    if (fp_is_nan(f, v))
        return fp_is_snan(f, v) ? FP_CLASS_SNAN : FP_CLASS_QNAN;
    if (fp_is_inf(f, v))
        return neg ? FP_CLASS_NEG_INF : FP_CLASS_POS_INF;
    if (fp_is_zero(f, v))
        return neg ? FP_CLASS_NEG_ZERO : FP_CLASS_POS_ZERO;
    if (fp_magnitude(f, v) >> f.frac_bits == 0)
        return neg ? FP_CLASS_NEG_SUBNORMAL : FP_CLASS_POS_SUBNORMAL;
    return neg ? FP_CLASS_NEG_NORMAL : FP_CLASS_POS_NORMAL;
}

#define FP_INSTANTIATE(N)                                          \
    bool fp##N##_eq(uint64_t a, uint64_t b, unsigned *flags)       \
    {                                                              \
        return fp_eq(FP_FORMAT##N, a, b, flags);                   \
    }                                                              \
    bool fp##N##_lt(uint64_t a, uint64_t b, unsigned *flags)       \
    {                                                              \
        return fp_lt(FP_FORMAT##N, a, b, false, flags);            \
    }                                                              \
    bool fp##N##_le(uint64_t a, uint64_t b, unsigned *flags)       \
    {                                                              \
        return fp_le(FP_FORMAT##N, a, b, false, flags);            \
    }                                                              \
    bool fp##N##_ltq(uint64_t a, uint64_t b, unsigned *flags)      \
    {                                                              \
        return fp_lt(FP_FORMAT##N, a, b, true, flags);             \
    }                                                              \
    bool fp##N##_leq(uint64_t a, uint64_t b, unsigned *flags)      \
    {                                                              \
        return fp_le(FP_FORMAT##N, a, b, true, flags);             \
    }                                                              \
    uint64_t fp##N##_min(uint64_t a, uint64_t b, unsigned *flags)  \
    {                                                              \
        return fp_minmax_number(FP_FORMAT##N, a, b, false, flags); \
    }                                                              \
    uint64_t fp##N##_max(uint64_t a, uint64_t b, unsigned *flags)  \
    {                                                              \
        return fp_minmax_number(FP_FORMAT##N, a, b, true, flags);  \
    }                                                              \
    uint64_t fp##N##_minm(uint64_t a, uint64_t b, unsigned *flags) \
    {                                                              \
        return fp_minmax_nan(FP_FORMAT##N, a, b, false, flags);    \
    }                                                              \
    uint64_t fp##N##_maxm(uint64_t a, uint64_t b, unsigned *flags) \
    {                                                              \
        return fp_minmax_nan(FP_FORMAT##N, a, b, true, flags);     \
    }                                                              \
    unsigned fp##N##_class(uint64_t a)                             \
    {                                                              \
        return fp_classify(FP_FORMAT##N, a);                       \
    }

FP_INSTANTIATE(16)
FP_INSTANTIATE(32)
FP_INSTANTIATE(64)
