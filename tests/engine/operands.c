#include "operands.h"

uint64_t operand_int(struct rng *r)
{
    uint64_t bit = UINT64_C(1) << rng_below(r, 64);
    switch (rng_below(r, 12)) {
    case 0:
        return rng_below(r, 5) - UINT64_C(2); /* -2 .. 2 */
    case 1:
        return bit + rng_below(r, 3) - 1;
    case 2:
        return -bit + rng_below(r, 3) - 1;
    case 3: /* around the ends of the 32-bit and 64-bit ranges, signed and not */
        return (UINT64_C(1) << (31 + 32 * rng_below(r, 2))) + rng_below(r, 5) - 2;
    case 4:
        return (UINT64_C(1) << 32) + rng_below(r, 5) - 2;
    case 5:
        return rng_below(r, 65); /* shift amounts, bit numbers */
    case 6:                      /* small halves */
        return (uint64_t)rng_below(r, 3) << 32 | rng_below(r, 3);
    case 7: /* 32-bit, sign-extended */
        return (uint64_t)(int64_t)(int32_t)rng_next(r);
    case 8: /* bytes of which some are zero: orc.b */
        return rng_next(r) & rng_next(r) & (rng_below(r, 2) ? UINT64_C(0xff00ff0000ff00ff) : ~0ull);
    case 9: /* few bits */
        return bit | UINT64_C(1) << rng_below(r, 64);
    default:
        return rng_next(r);
    }
}

struct shape {
    unsigned width, fraction;
};

static struct shape shape_of(char format)
{
    return format == 'h'   ? (struct shape){16, 10}
           : format == 's' ? (struct shape){32, 23}
                           : (struct shape){64, 52};
}

/* The magnitude of a number, without its sign. */
static uint64_t magnitude(struct rng *r, struct shape s)
{
    unsigned exp_bits = s.width - 1 - s.fraction;
    uint64_t one = UINT64_C(1) << s.fraction, frac = rng_next(r) & (one - 1);
    uint64_t max = (UINT64_C(1) << exp_bits) - 1, bias = max >> 1, exp = 0;
    switch (rng_below(r, 14)) {
    case 0:
        return rng_below(r, 2); /* zero, the smallest subnormal */
    case 1:
        return one - 1 + rng_below(r, 3); /* around the smallest normal */
    case 2:
        return max * one - 1 - rng_below(r, 2); /* the largest */
    case 3:
        return max * one; /* infinity */
    case 4:               /* NaNs: default, quiet with payload, signalling */
        return max * one + (rng_below(r, 2) ? one / 2 + (rng_below(r, 2) ? frac / 2 : 0)
                                            : 1 + frac / 2 % (one / 2 - 1));
    case 5:
        return frac; /* subnormal */
    case 6:          /* at the ends of integer ranges, and halves below */
        exp = bias + (const unsigned[]){7, 8, 15, 16, 31, 32, 63, 64}[rng_below(r, 8)];
        frac = rng_below(r, 2) ? 0 : (one - 1) & -(UINT64_C(1) << rng_below(r, s.fraction));
        exp -= rng_below(r, 2);
        break;
    case 7: /* small integers and halves */
        exp = bias - 1 + rng_below(r, 8);
        frac &= -(one >> rng_below(r, 7));
        break;
    case 8: /* few bits */
        exp = bias + rng_below(r, 9) - 4;
        frac = rng_below(r, 2) ? 0 : UINT64_C(1) << rng_below(r, s.fraction);
        break;
    case 9: /* about as large as the fraction is wide, for cancellation and sticky bits */
        exp = bias + rng_below(r, 2 * s.fraction + 4) - s.fraction - 2;
        break;
    case 10: /* whose square is near the end of the range */
        exp = (rng_below(r, 2) ? bias / 2 : bias + bias / 2) + rng_below(r, 4) - 2;
        break;
    case 11:
        exp = bias + rng_below(r, 6) - 3;
        break;
    default:
        return rng_next(r) >> (65 - s.width);
    }
    return (exp > max ? max : exp) * one + (exp >= max ? 0 : frac);
}

uint64_t operand_fp(struct rng *r, char format)
{
    struct shape s = shape_of(format);
    uint64_t bits = magnitude(r, s) | (uint64_t)rng_below(r, 2) << (s.width - 1);
    if (s.width == 64)
        return bits;
    uint64_t box = ~UINT64_C(0) << s.width;
    switch (rng_below(r, 24)) {
    case 0: /* one bit of the box is missing */
        return bits | (box & ~(UINT64_C(1) << (s.width + rng_below(r, 64 - s.width))));
    case 1:
        return bits | (box & rng_next(r));
    default:
        return bits | box;
    }
}

uint64_t operand_fp_any(struct rng *r)
{
    return operand_fp(r, "hsd"[rng_below(r, 3)]);
}
