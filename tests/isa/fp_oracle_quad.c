/*
 * An oracle by exact computation and literal rounding, for x86-64 hosts: operands become
 * __float128, whose 113 bits and wide exponents hold every operand and every product; sums,
 * quotients and roots are truncated, with a note whether something was cut off. What remains is
 * rounded to a multiple of a power of two by comparing the remainder with one half.
 */
#include "fp_ops.h"
#include "isa/riscv64/fp.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

typedef unsigned __int128 u128;
typedef __float128 quad;

#define MXCSR_DEFAULT 0x1f80U
#define MXCSR_TRUNCATE 0x7f80U
#define MXCSR_INEXACT 0x20U

struct layout {
    int frac;
    int emax;
};

static struct layout layout_of(unsigned width)
{
    switch (width) {
    case 16:
        return (struct layout){10, 15};
    case 32:
        return (struct layout){23, 127};
    default:
        return (struct layout){52, 1023};
    }
}

static uint64_t inf_bits(struct layout l)
{
    return (uint64_t)(2 * l.emax + 1) << l.frac;
}

/* The operand's value and kind. */
struct operand {
    quad x;
    bool nan, snan, neg;
};

static struct operand decode(uint64_t v, unsigned width)
{
    struct layout l = layout_of(width);
    v &= ~UINT64_C(0) >> (64 - width);
    bool neg = v >> (width - 1);
    uint64_t mag = v & ~(UINT64_C(1) << (width - 1));
    uint64_t frac = mag & ((UINT64_C(1) << l.frac) - 1);
    int exp = (int)(mag >> l.frac);

    if (mag > inf_bits(l))
        return (struct operand){.nan = true, .snan = !(frac >> (l.frac - 1)), .neg = neg};
    quad x;
    if (mag == inf_bits(l))
        x = INFINITY;
    else if (exp == 0)
        x = (quad)ldexp((double)frac, 1 - l.emax - l.frac);
    else
        x = (quad)ldexp((double)(frac + (UINT64_C(1) << l.frac)), exp - l.emax - l.frac);
    return (struct operand){.x = neg ? -x : x, .neg = neg};
}

static bool quad_negative(quad x)
{
    u128 bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 127;
}

static bool quad_is_inf(quad x)
{
    return x == (quad)INFINITY || x == -(quad)INFINITY;
}

/* A value m * 2^e, 2^112 <= m < 2^113, plus something in (0, 2^e) if sticky; or zero. */
struct exact {
    bool neg, sticky;
    u128 m;
    int e;
};

static struct exact exact_of(quad x, bool sticky)
{
    u128 bits;
    memcpy(&bits, &x, sizeof bits);
    struct exact v = {.neg = bits >> 127, .sticky = sticky};
    if (bits << 1) {
        v.m = (bits & (((u128)1 << 112) - 1)) | (u128)1 << 112;
        v.e = (int)(bits >> 112 & 0x7fff) - 16383 - 112;
    }
    return v;
}

/* |v| / 2^q rounded to an integer; q > v.e. */
static u128 quantize(struct exact v, int q, unsigned rm, bool *inexact)
{
    int shift = q - v.e;
    u128 whole = 0;
    int rest = -1; /* the remainder compared with one half */

    if (v.m == 0) {
        *inexact = false;
        return 0;
    }
    *inexact = true;
    if (shift < 120) {
        u128 r = v.m & (((u128)1 << shift) - 1);
        u128 half = (u128)1 << (shift - 1);
        whole = v.m >> shift;
        rest = r > half || (r == half && v.sticky) ? 1 : r == half ? 0 : -1;
        *inexact = r || v.sticky;
    }
    if (!*inexact)
        return whole;
    switch (rm) {
    case FP_RNE:
        return whole + (rest > 0 || (rest == 0 && whole % 2 == 1));
    case FP_RTZ:
        return whole;
    case FP_RDN:
        return whole + v.neg;
    case FP_RUP:
        return whole + !v.neg;
    default:
        return whole + (rest >= 0);
    }
}

static uint64_t encode(struct exact v, unsigned width, unsigned rm, unsigned *flags)
{
    struct layout l = layout_of(width);
    int emin = 1 - l.emax;
    int lead = v.e + 112;
    uint64_t sign = (uint64_t)v.neg << (width - 1);
    u128 full = (u128)1 << (l.frac + 1);
    bool inexact, unused;

    if (v.m == 0)
        return sign;
    int q = (lead < emin ? emin : lead) - l.frac;
    u128 m = quantize(v, q, rm, &inexact);
    if (inexact) {
        bool reaches_min = lead + 1 == emin && quantize(v, lead - l.frac, rm, &unused) == full;
        *flags |= FP_NX;
        if (lead < emin && !reaches_min)
            *flags |= FP_UF;
    }
    if (m == full) {
        m /= 2;
        q++;
    }
    if (q + l.frac > l.emax) {
        *flags |= FP_OF | FP_NX;
        bool to_max = rm == FP_RTZ || rm == (v.neg ? FP_RUP : FP_RDN);
        return sign | (inf_bits(l) - to_max);
    }
    if (m < full / 2)
        return sign | (uint64_t)m;
    return sign | (uint64_t)(q + l.frac - emin + 1) << l.frac | (uint64_t)(m - full / 2);
}

static uint64_t encode_quad(quad x, bool sticky, unsigned width, unsigned rm, unsigned *flags)
{
    struct layout l = layout_of(width);
    if (quad_is_inf(x))
        return (uint64_t)quad_negative(x) << (width - 1) | inf_bits(l);
    return encode(exact_of(x, sticky), width, rm, flags);
}

static uint64_t nan_bits(unsigned width)
{
    return width == 16 ? FP16_NAN : width == 32 ? FP32_NAN : FP64_NAN;
}

/* The truncated root and whether it is inexact; 53 bits are enough for 16 and 32 bit results. */
static quad narrow_sqrt(quad x, bool *sticky)
{
    double s = sqrt((double)x);
    quad square = (quad)s * (quad)s;
    *sticky = square != x;
    return square > x ? (quad)nextafter(s, 0) : (quad)s;
}

static bool arith(const struct fp_case *t, uint64_t *out, unsigned *flags)
{
    struct operand a = decode(t->a, t->width), b = decode(t->b, t->width);
    struct operand c = decode(t->c, t->width);
    unsigned n = fp_op_infos[t->op].operands;
    bool any_nan = a.nan || (n > 1 && b.nan) || (n > 2 && c.nan);
    bool invalid = a.snan || (n > 1 && b.snan) || (n > 2 && c.snan);
    bool sticky = false;
    volatile quad x = a.x, y = b.x, z = c.x, r = 0, p;
    if (t->op == FP_OP_sub)
        y = -y;
    if (t->op == FP_OP_sqrt && t->width == 64)
        return false;

    if (t->op == FP_OP_fma && !a.nan && !b.nan)
        invalid |= (quad_is_inf(a.x) && b.x == 0) || (a.x == 0 && quad_is_inf(b.x));
    if (any_nan || invalid) {
        *flags = invalid ? FP_NV : 0;
        *out = nan_bits(t->width);
        return true;
    }

    *flags = 0;
    _mm_setcsr(MXCSR_TRUNCATE);
    switch (t->op) {
    case FP_OP_add:
    case FP_OP_sub:
        r = x + y;
        break;
    case FP_OP_mul:
        r = x * y;
        break;
    case FP_OP_div:
        r = x / y;
        break;
    case FP_OP_fma:
        p = x * y;
        r = p + z;
        break;
    default:
        break;
    }
    sticky = _mm_getcsr() & MXCSR_INEXACT;
    _mm_setcsr(MXCSR_DEFAULT);

    if (t->op == FP_OP_sqrt)
        r = a.x == 0 || quad_is_inf(a.x) ? a.x : narrow_sqrt(a.x, &sticky);
    if (t->op == FP_OP_sqrt && a.neg && a.x != 0)
        r = (quad)NAN;
    if (t->op == FP_OP_div && b.x == 0 && a.x != 0 && !quad_is_inf(a.x))
        *flags |= FP_DZ;
    if (r != r) {
        *flags = FP_NV;
        *out = nan_bits(t->width);
        return true;
    }
    /* An exact sum of zero is negative if both addends are, or when rounding down they differ. */
    if (r == 0 && (t->op == FP_OP_add || t->op == FP_OP_sub || t->op == FP_OP_fma)) {
        bool first = quad_negative(t->op == FP_OP_fma ? p : x);
        bool second = quad_negative(t->op == FP_OP_fma ? z : y);
        r = (first == second ? first : t->rm == FP_RDN) ? -(quad)0 : (quad)0;
    }
    *out = encode_quad(r, sticky, t->width, t->rm, flags);
    return true;
}

static uint64_t compare(const struct fp_case *t, unsigned *flags)
{
    struct operand a = decode(t->a, t->width), b = decode(t->b, t->width);
    bool quiet = t->op != FP_OP_lt && t->op != FP_OP_le;

    *flags = a.snan || b.snan || (!quiet && (a.nan || b.nan)) ? FP_NV : 0;
    if (a.nan || b.nan)
        return 0;
    if (t->op == FP_OP_eq)
        return a.x == b.x;
    return t->op == FP_OP_lt || t->op == FP_OP_ltq ? a.x < b.x : a.x <= b.x;
}

static uint64_t minmax(const struct fp_case *t, unsigned *flags)
{
    struct operand a = decode(t->a, t->width), b = decode(t->b, t->width);
    bool max = t->op == FP_OP_max || t->op == FP_OP_maxm;
    bool keep_nan = t->op == FP_OP_minm || t->op == FP_OP_maxm;
    uint64_t mask = ~UINT64_C(0) >> (64 - t->width);

    *flags = a.snan || b.snan ? FP_NV : 0;
    if ((a.nan && b.nan) || (keep_nan && (a.nan || b.nan)))
        return nan_bits(t->width);
    if (a.nan || b.nan)
        return (a.nan ? t->b : t->a) & mask;
    if (a.x == 0 && b.x == 0)
        return (a.neg == max ? t->b : t->a) & mask;
    return ((max ? a.x > b.x : a.x < b.x) ? t->a : t->b) & mask;
}

static uint64_t classify(const struct fp_case *t)
{
    struct operand a = decode(t->a, t->width);
    quad x = a.neg ? -a.x : a.x;
    quad min_normal = (quad)ldexp(1, 1 - layout_of(t->width).emax);

    if (a.nan)
        return a.snan ? 1 << 8 : 1 << 9;
    int place = quad_is_inf(x) ? 0 : x >= min_normal ? 1 : x != 0 ? 2 : 3;
    return UINT64_C(1) << (a.neg ? place : 7 - place);
}

/* Saturates |x| rounded; low <= 0 <= high are the limits of the type. */
static uint64_t to_int(const struct fp_case *t, __int128 low, __int128 high, unsigned *flags)
{
    struct operand a = decode(t->a, t->width);
    bool inexact = false;
    __int128 r;

    *flags = 0;
    if (a.nan)
        r = high + 1;
    else if (a.x >= 0x1p65)
        r = high + 1;
    else if (a.x <= -0x1p65)
        r = low - 1;
    else
        r = (__int128)quantize(exact_of(a.x, false), 0, t->rm, &inexact) * (a.neg ? -1 : 1);
    if (r < low || r > high) {
        *flags = FP_NV;
        r = r < low ? low : high;
    } else if (inexact) {
        *flags = FP_NX;
    }
    return (uint64_t)r;
}

static uint64_t round_integral(const struct fp_case *t, unsigned *flags)
{
    struct operand a = decode(t->a, t->width);
    bool inexact;

    *flags = a.snan ? FP_NV : 0;
    if (a.nan)
        return nan_bits(t->width);
    if (a.x >= 0x1p65 || a.x <= -0x1p65)
        return t->a & (~UINT64_C(0) >> (64 - t->width));
    quad x = (quad)quantize(exact_of(a.x, false), 0, t->rm, &inexact);
    if (inexact && t->op == FP_OP_roundnx)
        *flags |= FP_NX;
    return encode_quad(a.neg ? -x : x, false, t->width, t->rm, flags);
}

static uint64_t reformat(const struct fp_case *t, unsigned to, unsigned *flags)
{
    struct operand a = decode(t->a, t->width);
    *flags = a.snan ? FP_NV : 0;
    return a.nan ? nan_bits(to) : encode_quad(a.x, false, to, t->rm, flags);
}

static uint64_t from_int(const struct fp_case *t, quad x, unsigned *flags)
{
    *flags = 0;
    return encode_quad(x, false, t->width, t->rm, flags);
}

static uint64_t to_i32_mod(const struct fp_case *t, unsigned *flags)
{
    struct operand a = decode(t->a, 64);
    struct fp_case plain = *t;

    plain.rm = FP_RTZ;
    to_int(&plain, INT32_MIN, INT32_MAX, flags);
    if (a.nan || quad_is_inf(a.x))
        return 0;
    return (uint64_t)(int64_t)(int32_t)(uint32_t)(int64_t)fmod(trunc((double)a.x), 0x1p32);
}

bool fp_oracle_quad(const struct fp_case *t, uint64_t *r, unsigned *flags)
{
    switch (t->op) {
    case FP_OP_eq:
    case FP_OP_lt:
    case FP_OP_le:
    case FP_OP_ltq:
    case FP_OP_leq:
        *r = compare(t, flags);
        return true;
    case FP_OP_min:
    case FP_OP_max:
    case FP_OP_minm:
    case FP_OP_maxm:
        *r = minmax(t, flags);
        return true;
    case FP_OP_class:
        *flags = 0;
        *r = classify(t);
        return true;
    case FP_OP_round:
    case FP_OP_roundnx:
        *r = round_integral(t, flags);
        return true;
    case FP_OP_to_i32:
        *r = to_int(t, INT32_MIN, INT32_MAX, flags);
        return true;
    case FP_OP_to_u32:
        *r = (uint64_t)(int64_t)(int32_t)to_int(t, 0, UINT32_MAX, flags);
        return true;
    case FP_OP_to_i64:
        *r = to_int(t, INT64_MIN, INT64_MAX, flags);
        return true;
    case FP_OP_to_u64:
        *r = to_int(t, 0, UINT64_MAX, flags);
        return true;
    case FP_OP_from_i32:
        *r = from_int(t, (quad)(int32_t)t->a, flags);
        return true;
    case FP_OP_from_u32:
        *r = from_int(t, (quad)(uint32_t)t->a, flags);
        return true;
    case FP_OP_from_i64:
        *r = from_int(t, (quad)(int64_t)t->a, flags);
        return true;
    case FP_OP_from_u64:
        *r = from_int(t, (quad)t->a, flags);
        return true;
    case FP_OP_to_fp16:
        *r = reformat(t, 16, flags);
        return true;
    case FP_OP_to_fp32:
        *r = reformat(t, 32, flags);
        return true;
    case FP_OP_to_fp64:
        *r = reformat(t, 64, flags);
        return true;
    case FP_OP_to_i32_mod:
        *r = to_i32_mod(t, flags);
        return true;
    default:
        return arith(t, r, flags);
    }
}
