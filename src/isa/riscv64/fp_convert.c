/* Conversions between formats and integers, rounding to integral values, Zfa's constants. */
#include "isa/riscv64/fp_impl.h"

/* An integer type of RISC-V conversions. */
struct fp_int_type {
    bool is_signed;
    unsigned width; /* in bits: 32 or 64 */
};

#define FP_INT_i32 ((struct fp_int_type){.is_signed = true, .width = 32})
#define FP_INT_u32 ((struct fp_int_type){.is_signed = false, .width = 32})
#define FP_INT_i64 ((struct fp_int_type){.is_signed = true, .width = 64})
#define FP_INT_u64 ((struct fp_int_type){.is_signed = false, .width = 64})

/* The largest magnitude that a value of this sign can have in the type. */
FP_GENERIC uint64_t fp_int_limit(struct fp_int_type t, bool negative)
{
    uint64_t max = ~UINT64_C(0) >> (64 - t.width);
    if (t.is_signed)
        return (max >> 1) + negative;
    return negative ? 0 : max;
}

FP_GENERIC uint64_t fp_to_int(struct fp_format f, struct fp_int_type t, uint64_t a, unsigned rm,
                              unsigned *flags)
{
    bool negative = fp_negative(f, a) && !fp_is_nan(f, a);
    uint64_t limit = fp_int_limit(t, negative);
    fp_u128 mag = (fp_u128)limit + 1;
    bool inexact = false;

    if (likely(fp_is_finite(f, a))) {
        struct fp_num n = fp_unpack(f, a);
        if (n.exp < 64)
            mag = fp_integral(n, rm, &inexact);
    }
    if (unlikely(mag > limit)) {
        *flags |= FP_NV;
        mag = limit;
    } else if (inexact) {
        *flags |= FP_NX;
    }
    uint64_t value = negative ? -(uint64_t)mag : (uint64_t)mag;
    return bits_sext(value, t.width);
}

FP_GENERIC uint64_t fp_from_int(struct fp_format f, struct fp_int_type t, uint64_t v, unsigned rm,
                                unsigned *flags)
{
    v = t.is_signed ? bits_sext(v, t.width) : bits_get(v, 0, t.width);
    bool negative = t.is_signed && v >> 63;
    if (v == 0)
        return 0;
    return fp_round_pack(f, fp_num_from_int(negative, negative ? -v : v), rm, flags);
}

FP_GENERIC uint64_t fp_round(struct fp_format f, uint64_t a, unsigned rm, unsigned *flags)
{
    if (unlikely(!fp_is_finite(f, a)))
        return fp_is_nan(f, a) ? fp_nan_of(f, a, a, flags)
                               : fp_signed(f, fp_negative(f, a), fp_inf(f));

    struct fp_num n = fp_unpack(f, a);
    if (n.exp >= (int)f.frac_bits)
        return fp_signed(f, n.negative, fp_magnitude(f, a));

    bool inexact;
    uint64_t whole = (uint64_t)fp_integral(n, rm, &inexact);
    if (inexact)
        *flags |= FP_NX;
    if (whole == 0)
        return fp_signed(f, n.negative, 0);
    return fp_round_pack(f, fp_num_from_int(n.negative, whole), rm, flags);
}

FP_GENERIC uint64_t fp_reformat(struct fp_format from, struct fp_format to, uint64_t a, unsigned rm,
                                unsigned *flags)
{
    bool negative = fp_negative(from, a);

    if (unlikely(fp_is_nan(from, a))) {
        fp_nan_of(from, a, a, flags);
        return fp_nan(to);
    }
    if (unlikely(fp_is_inf(from, a)))
        return fp_signed(to, negative, fp_inf(to));
    if (unlikely(fp_is_zero(from, a)))
        return fp_signed(to, negative, 0);
    return fp_round_pack(to, fp_unpack(from, a), rm, flags);
}

uint64_t fp64_to_i32_mod(uint64_t a, unsigned *flags)
{
    struct fp_format f = FP_FORMAT64;

    fp64_to_i32(a, FP_RTZ, flags);
    if (!fp_is_finite(f, a))
        return 0;

    struct fp_num n = fp_unpack(f, a);
    uint64_t mag = 0;
    if (n.exp >= 0 && n.exp <= 63)
        mag = n.sig >> (63 - n.exp);
    else if (n.exp > 63 && n.exp < 63 + 32)
        mag = n.sig << (n.exp - 63);
    return bits_sext(n.negative ? -mag : mag, 32);
}

/* Table "Immediate values loaded by the FLI instructions" of Zfa, single precision. */
static const uint32_t fp_fli_single[32] = {
    0xbf800000, 0x00800000, 0x37800000, 0x38000000, 0x3b800000, 0x3c000000, 0x3d800000, 0x3e000000,
    0x3e800000, 0x3ea00000, 0x3ec00000, 0x3ee00000, 0x3f000000, 0x3f200000, 0x3f400000, 0x3f600000,
    0x3f800000, 0x3fa00000, 0x3fc00000, 0x3fe00000, 0x40000000, 0x40200000, 0x40400000, 0x40800000,
    0x41000000, 0x41800000, 0x43000000, 0x43800000, 0x47000000, 0x47800000, 0x7f800000, 0x7fc00000,
};

/* Entry 1 is the smallest normal number of each format. 2^16 is infinity in half precision. */
FP_GENERIC uint64_t fp_fli(struct fp_format f, unsigned n)
{
    unsigned ignored = 0;
    if (n == 1)
        return UINT64_C(1) << f.frac_bits;
    return fp_reformat(FP_FORMAT32, f, fp_fli_single[n & 31], FP_RNE, &ignored);
}

#define FP_INSTANTIATE_INT(N, T)                                        \
    uint64_t fp##N##_to_##T(uint64_t a, unsigned rm, unsigned *flags)   \
    {                                                                   \
        return fp_to_int(FP_FORMAT##N, FP_INT_##T, a, rm, flags);       \
    }                                                                   \
    uint64_t fp##N##_from_##T(uint64_t v, unsigned rm, unsigned *flags) \
    {                                                                   \
        return fp_from_int(FP_FORMAT##N, FP_INT_##T, v, rm, flags);     \
    }

#define FP_INSTANTIATE(N)                                              \
    FP_INSTANTIATE_INT(N, i32)                                         \
    FP_INSTANTIATE_INT(N, u32)                                         \
    FP_INSTANTIATE_INT(N, i64)                                         \
    FP_INSTANTIATE_INT(N, u64)                                         \
    uint64_t fp##N##_round(uint64_t a, unsigned rm, unsigned *flags)   \
    {                                                                  \
        unsigned raised = 0;                                           \
        uint64_t r = fp_round(FP_FORMAT##N, a, rm, &raised);           \
        *flags |= raised & ~(unsigned)FP_NX;                           \
        return r;                                                      \
    }                                                                  \
    uint64_t fp##N##_roundnx(uint64_t a, unsigned rm, unsigned *flags) \
    {                                                                  \
        return fp_round(FP_FORMAT##N, a, rm, flags);                   \
    }                                                                  \
    uint64_t fp##N##_fli(unsigned n)                                   \
    {                                                                  \
        return fp_fli(FP_FORMAT##N, n);                                \
    }

FP_INSTANTIATE(16)
FP_INSTANTIATE(32)
FP_INSTANTIATE(64)

#define FP_INSTANTIATE_REFORMAT(FROM, TO)                                   \
    uint64_t fp##FROM##_to_fp##TO(uint64_t a, unsigned rm, unsigned *flags) \
    {                                                                       \
        return fp_reformat(FP_FORMAT##FROM, FP_FORMAT##TO, a, rm, flags);   \
    }

FP_INSTANTIATE_REFORMAT(16, 32)
FP_INSTANTIATE_REFORMAT(16, 64)
FP_INSTANTIATE_REFORMAT(32, 16)
FP_INSTANTIATE_REFORMAT(32, 64)
FP_INSTANTIATE_REFORMAT(64, 16)
FP_INSTANTIATE_REFORMAT(64, 32)
