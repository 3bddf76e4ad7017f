/*
 * Every operation of isa/riscv64/fp.h behind one call, random operands that hit corner cases, and
 * oracles that compute the same operations by other means. Shared by the tests of fp.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* name, number of operands */
/* clang-format off */
#define FP_OPS(X) \
    X(add, 2) \
    X(sub, 2) \
    X(mul, 2) \
    X(div, 2) \
    X(sqrt, 1) \
    X(fma, 3) \
    X(min, 2) \
    X(max, 2) \
    X(minm, 2) \
    X(maxm, 2) \
    X(eq, 2) \
    X(lt, 2) \
    X(le, 2) \
    X(ltq, 2) \
    X(leq, 2) \
    X(class, 1) \
    X(round, 1) \
    X(roundnx, 1) \
    X(to_i32, 1) \
    X(to_u32, 1) \
    X(to_i64, 1) \
    X(to_u64, 1) \
    X(from_i32, 1) \
    X(from_u32, 1) \
    X(from_i64, 1) \
    X(from_u64, 1) \
    X(to_fp16, 1) \
    X(to_fp32, 1) \
    X(to_fp64, 1) \
    X(to_i32_mod, 1)
/* clang-format on */

enum fp_op {
#define X(name, operands) FP_OP_##name,
    FP_OPS(X)
#undef X
        FP_OP_COUNT,
};

struct fp_op_info {
    const char *name;
    unsigned operands;
};

extern const struct fp_op_info fp_op_infos[FP_OP_COUNT];

/* One computation; width is 16, 32 or 64. */
struct fp_case {
    enum fp_op op;
    unsigned width;
    unsigned rm;
    uint64_t a, b, c;
};

/* Whether the operation exists for the width. */
bool fp_case_valid(enum fp_op op, unsigned width);

/* The exact function, and the fast one (or the exact one where there is no fast one). */
uint64_t fp_case_run(const struct fp_case *t, unsigned *flags);
uint64_t fp_case_run_fast(const struct fp_case *t, unsigned *flags);

/* xorshift64*; *state must not be 0. */
uint64_t fp_random(uint64_t *state);

/* A random case; its operands are often zeros, boundaries, NaNs, ties or nearly equal. */
struct fp_case fp_random_case(uint64_t *state);

/*
 * What the host's floating point unit (32 and 64 bits, all modes but RMM) and an exact quad
 * computation with literal rounding give. False if the oracle does not know the case.
 */
bool fp_oracle_host(const struct fp_case *t, uint64_t *r, unsigned *flags);
bool fp_oracle_quad(const struct fp_case *t, uint64_t *r, unsigned *flags);
