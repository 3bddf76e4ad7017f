/*
 * What one operation costs, exact and fast, in nanoseconds: a dependent chain (latency) and
 * independent operations (throughput), to nearest with NX already set.
 */
#include "isa/riscv64/fp_fast.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 2000000
#define OPERANDS 64

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t operands[2][OPERANDS];
static volatile uint64_t sink;

/* Numbers in [1, 2): in a chain of operations they stay far from overflow and underflow. */
static void operands_fill(void)
{
    uint64_t x = 88172645463325252U;
    for (unsigned i = 0; i < OPERANDS; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        operands[0][i] = 0x3f800000 | (x & 0x7fffff);
        operands[1][i] = 0x3ff0000000000000 | (x & 0xfffffffffffff);
    }
}

#define MEASURE(name, ops, chain, independent)                                       \
    do {                                                                             \
        unsigned flags = FP_NX;                                                      \
        uint64_t sum = 0, r = (ops)[0];                                              \
        double t0 = now();                                                           \
        for (unsigned i = 0; i < ROUNDS; i++) {                                      \
            uint64_t a = (ops)[i % OPERANDS];                                        \
            r = chain;                                                               \
        }                                                                            \
        double t1 = now();                                                           \
        for (unsigned i = 0; i < ROUNDS; i++) {                                      \
            uint64_t a = (ops)[i % OPERANDS], b = (ops)[(i + 7) % OPERANDS];         \
            sum += independent;                                                      \
        }                                                                            \
        double t2 = now();                                                           \
        sink = sum + r + flags;                                                      \
        printf("%-16s %6.2f %6.2f\n", name, (t1 - t0) / ROUNDS, (t2 - t1) / ROUNDS); \
    } while (0)

/* In a chain, the mask brings the previous result's exponent back to that of 1 or below. */
#define BINARY(N, ops, name, suffix, label)                                              \
    MEASURE(label, ops,                                                                  \
            fp##N##_##name##suffix(a, r & ~(FP##N##_INF ^ FP##N##_ONE), FP_RNE, &flags), \
            fp##N##_##name##suffix(a, b, FP_RNE, &flags))

#define FP32_ONE UINT64_C(0x3f800000)
#define FP64_ONE UINT64_C(0x3ff0000000000000)

#define BOTH(N, ops, name)                     \
    BINARY(N, ops, name, , "fp" #N "_" #name); \
    BINARY(N, ops, name, _fast, "  fast")

#define ALL(N, ops)                                                                      \
    BOTH(N, ops, add);                                                                   \
    BOTH(N, ops, sub);                                                                   \
    BOTH(N, ops, mul);                                                                   \
    BOTH(N, ops, div);                                                                   \
    MEASURE("fp" #N "_sqrt", ops, fp##N##_sqrt(r | a, FP_RNE, &flags),                   \
            fp##N##_sqrt(a + b - b, FP_RNE, &flags));                                    \
    MEASURE("  fast", ops, fp##N##_sqrt_fast(r | a, FP_RNE, &flags),                     \
            fp##N##_sqrt_fast(a + b - b, FP_RNE, &flags));                               \
    MEASURE("fp" #N "_fma", ops,                                                         \
            fp##N##_fma(a, r & ~(FP##N##_INF ^ FP##N##_ONE), a, FP_RNE, &flags),         \
            fp##N##_fma(a, b, a, FP_RNE, &flags));                                       \
    MEASURE("  fast", ops,                                                               \
            fp##N##_fma_fast(a, r & ~(FP##N##_INF ^ FP##N##_ONE), a, FP_RNE, &flags),    \
            fp##N##_fma_fast(a, b, a, FP_RNE, &flags));                                  \
    MEASURE("fp" #N "_to_i64", ops, fp##N##_to_i64(r + a, FP_RTZ, &flags),               \
            fp##N##_to_i64(a + b - b, FP_RTZ, &flags));                                  \
    MEASURE("  fast", ops, fp##N##_to_i64_fast(r + a, FP_RTZ, &flags),                   \
            fp##N##_to_i64_fast(a + b - b, FP_RTZ, &flags));                             \
    MEASURE("fp" #N "_from_i32", ops, fp##N##_from_i32(r + a, FP_RNE, &flags),           \
            fp##N##_from_i32(a + b, FP_RNE, &flags));                                    \
    MEASURE("  fast", ops, fp##N##_from_i32_fast(r + a, FP_RNE, &flags),                 \
            fp##N##_from_i32_fast(a + b, FP_RNE, &flags));                               \
    MEASURE("fp" #N "_lt", ops, fp##N##_lt(a, r + a, &flags), fp##N##_lt(a, b, &flags)); \
    MEASURE("fp" #N "_min", ops, fp##N##_min(a, r, &flags), fp##N##_min(a, b, &flags))

int main(void)
{
    operands_fill();
    printf("%-16s %6s %6s\n", "ns per operation", "chain", "indep.");
    ALL(32, operands[0]);
    ALL(64, operands[1]);
    return 0;
}
