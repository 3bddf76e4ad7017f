#include "fp_ops.h"

#include "isa/riscv64/fp_fast.h"

const struct fp_op_info fp_op_infos[FP_OP_COUNT] = {
#define X(name, operands) {#name, operands},
    FP_OPS(X)
#undef X
};

bool fp_case_valid(enum fp_op op, unsigned width)
{
    switch (op) {
    case FP_OP_to_fp16:
        return width != 16;
    case FP_OP_to_fp32:
        return width != 32;
    case FP_OP_to_fp64:
        return width != 64;
    case FP_OP_to_i32_mod:
        return width == 64;
    default:
        return true;
    }
}

#define OP3RM(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name(t->a, t->b, t->c, t->rm, flags)
#define OP2RM(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name(t->a, t->b, t->rm, flags)
#define OP1RM(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name(t->a, t->rm, flags)
#define OP2(N, name)   \
    case FP_OP_##name: \
        return fp##N##_##name(t->a, t->b, flags)

/* clang-format off */
#define DEFINE_RUN(N) \
    static uint64_t run##N(const struct fp_case *t, unsigned *flags) \
    { \
        switch (t->op) { \
            OP2RM(N, add); \
            OP2RM(N, sub); \
            OP2RM(N, mul); \
            OP2RM(N, div); \
            OP1RM(N, sqrt); \
            OP3RM(N, fma); \
            OP2(N, min); \
            OP2(N, max); \
            OP2(N, minm); \
            OP2(N, maxm); \
            OP2(N, eq); \
            OP2(N, lt); \
            OP2(N, le); \
            OP2(N, ltq); \
            OP2(N, leq); \
            OP1RM(N, round); \
            OP1RM(N, roundnx); \
            OP1RM(N, to_i32); \
            OP1RM(N, to_u32); \
            OP1RM(N, to_i64); \
            OP1RM(N, to_u64); \
            OP1RM(N, from_i32); \
            OP1RM(N, from_u32); \
            OP1RM(N, from_i64); \
            OP1RM(N, from_u64); \
            EXTRA##N; \
        case FP_OP_class: \
            return fp##N##_class(t->a); \
        default: \
            __builtin_trap(); \
        } \
    }

#define EXTRA16 \
    OP1RM(16, to_fp32); \
    OP1RM(16, to_fp64)
#define EXTRA32 \
    OP1RM(32, to_fp16); \
    OP1RM(32, to_fp64)
#define EXTRA64 \
    OP1RM(64, to_fp16); \
    OP1RM(64, to_fp32); \
    case FP_OP_to_i32_mod: \
        return fp64_to_i32_mod(t->a, flags)
/* clang-format on */

DEFINE_RUN(16)
DEFINE_RUN(32)
DEFINE_RUN(64)

uint64_t fp_case_run(const struct fp_case *t, unsigned *flags)
{
    return t->width == 16 ? run16(t, flags) : t->width == 32 ? run32(t, flags) : run64(t, flags);
}

#define FAST3(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name##_fast(t->a, t->b, t->c, t->rm, flags)
#define FAST2(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name##_fast(t->a, t->b, t->rm, flags)
#define FAST1(N, name) \
    case FP_OP_##name: \
        return fp##N##_##name##_fast(t->a, t->rm, flags)

/* clang-format off */
#define DEFINE_FAST(N) \
    static uint64_t fast##N(const struct fp_case *t, unsigned *flags) \
    { \
        switch (t->op) { \
            FAST2(N, add); \
            FAST2(N, sub); \
            FAST2(N, mul); \
            FAST2(N, div); \
            FAST1(N, sqrt); \
            FAST1(N, to_i32); \
            FAST1(N, to_i64); \
            FAST1(N, from_i32); \
            FAST3(N, fma); \
            FAST_EXTRA##N; \
        default: \
            return run##N(t, flags); \
        } \
    }

#define FAST_EXTRA32 FAST1(32, to_fp64)
#define FAST_EXTRA64 \
    FAST1(64, to_fp32); \
    FAST1(64, from_i64)
/* clang-format on */

DEFINE_FAST(32)
DEFINE_FAST(64)

uint64_t fp_case_run_fast(const struct fp_case *t, unsigned *flags)
{
    return t->width == 16 ? run16(t, flags) : t->width == 32 ? fast32(t, flags) : fast64(t, flags);
}

uint64_t fp_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned random_below(uint64_t *state, unsigned n)
{
    return (unsigned)((fp_random(state) >> 32) % n);
}

struct layout {
    unsigned frac;
    unsigned exps; /* number of exponent codes */
};

static struct layout layout_of(unsigned width)
{
    switch (width) {
    case 16:
        return (struct layout){10, 32};
    case 32:
        return (struct layout){23, 256};
    default:
        return (struct layout){52, 2048};
    }
}

static uint64_t random_fraction(uint64_t *state, unsigned bits)
{
    uint64_t all = (UINT64_C(1) << bits) - 1;
    uint64_t r = fp_random(state) & all;
    unsigned run = random_below(state, bits);

    switch (random_below(state, 8)) {
    case 0:
        return random_below(state, 4);
    case 1:
        return all - random_below(state, 4);
    case 2: /* few leading bits: products and sums with ties */
        return r & ~(all >> random_below(state, bits));
    case 3: /* one run of ones */
        return all >> random_below(state, bits) & ~(all >> run);
    case 4: /* about half as wide as the significand */
        return r & ~(all >> (bits / 2 + random_below(state, 3)));
    case 5:
        return UINT64_C(1) << random_below(state, bits);
    default:
        return r;
    }
}

static unsigned random_exponent(uint64_t *state, struct layout l)
{
    unsigned bias = l.exps / 2 - 1;

    switch (random_below(state, 8)) {
    case 0:
        return random_below(state, 4);
    case 1:
        return l.exps - 1 - random_below(state, 4);
    case 2: /* products and quotients near the smallest normal number */
        return bias / 2 + random_below(state, 4);
    case 3: /* integers and halves */
        return bias - 2 + random_below(state, l.frac + 4 < bias ? l.frac + 4 : bias);
    case 4: /* around the limits of the integer types */
        return bias + (l.exps == 32 ? random_below(state, 16) : 29 + random_below(state, 38));
    case 5:
        return bias - 2 + random_below(state, 5);
    default:
        return random_below(state, l.exps);
    }
}

static uint64_t random_operand(uint64_t *state, unsigned width)
{
    struct layout l = layout_of(width);
    uint64_t sign = (fp_random(state) >> 63) << (width - 1);
    uint64_t frac = random_fraction(state, l.frac);

    switch (random_below(state, 24)) {
    case 0:
        return sign;
    case 1: /* infinity, NaNs of both kinds */
        return sign | (uint64_t)(l.exps - 1) << l.frac | (random_below(state, 2) ? frac : 0);
    case 2: /* subnormal */
        return sign | frac;
    case 3:
        return fp_random(state) >> (64 - width);
    default:
        return sign | (uint64_t)random_exponent(state, l) << l.frac | frac;
    }
}

static uint64_t random_integer(uint64_t *state)
{
    uint64_t r = fp_random(state);
    unsigned shift = random_below(state, 64);

    switch (random_below(state, 5)) {
    case 0:
        return r >> shift;
    case 1:
        return (uint64_t)0 - (r >> shift);
    case 2: /* powers of two and their neighbours */
        return (UINT64_C(1) << shift) + random_below(state, 5) - 2;
    case 3: /* a tie at some place */
        return (r | 1) << shift;
    default:
        return r;
    }
}

/* A neighbour of v, or of -v, or v times a small power of two, so that sums cancel. */
static uint64_t random_near(uint64_t *state, unsigned width, uint64_t v)
{
    struct layout l = layout_of(width);
    uint64_t mask = ~UINT64_C(0) >> (64 - width);

    v ^= (fp_random(state) >> 63) << (width - 1);
    switch (random_below(state, 3)) {
    case 0:
        v += random_below(state, 5) - UINT64_C(2);
        break;
    case 1:
        v += (uint64_t)(random_below(state, 5) - UINT64_C(2)) << l.frac;
        break;
    default: { /* near an exponent difference of the precision: ties and sticky bits */
        uint64_t down = l.frac + random_below(state, 5) - 1;
        v = (v & ~((UINT64_C(1) << l.frac) - 1)) - (down << l.frac);
        v |= random_fraction(state, l.frac);
        break;
    }
    }
    return v & mask;
}

/* c such that a*b+c cancels, where that is easy to find. */
static uint64_t random_addend(uint64_t *state, const struct fp_case *t)
{
    struct fp_case product = *t;
    unsigned ignored = 0;

    product.op = FP_OP_mul;
    return random_near(state, t->width, fp_case_run(&product, &ignored));
}

struct fp_case fp_random_case(uint64_t *state)
{
    struct fp_case t = {.width = 16U << random_below(state, 3)};

    t.rm = random_below(state, 5);
    do {
        /* Half of the cases go to the six arithmetic operations. */
        t.op = random_below(state, 2) ? random_below(state, 6) : random_below(state, FP_OP_COUNT);
    } while (!fp_case_valid(t.op, t.width));

    if (t.op >= FP_OP_from_i32 && t.op <= FP_OP_from_u64) {
        t.a = random_integer(state);
        return t;
    }
    t.a = random_operand(state, t.width);
    t.b =
        random_below(state, 4) ? random_operand(state, t.width) : random_near(state, t.width, t.a);
    t.c = random_below(state, 2) ? random_operand(state, t.width) : random_addend(state, &t);
    return t;
}
