/*
 * Random operations against the oracles of fp_ops.h, and the fast functions against the exact
 * ones. GUISE_SEED repeats a run; GUISE_LONG=1 runs ten times as many, GUISE_SHORT=1 a quarter.
 */
#include "fp_ops.h"
#include "isa/riscv64/fp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define CASES 12000000UL

static uint64_t seed_get(void)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    printf("GUISE_SEED=%llu\n", (unsigned long long)seed);
    return (seed << 1 | 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static unsigned long cases_get(void)
{
    return getenv("GUISE_LONG") ? 10 * CASES : getenv("GUISE_SHORT") ? CASES / 4 : CASES;
}

static void check(const struct fp_case *t, const char *what, uint64_t r, unsigned flags,
                  uint64_t want, unsigned want_flags)
{
    if (r == want && flags == want_flags)
        return;
    fail_msg("fp%u_%s rm %u of %#llx %#llx %#llx: %#llx flags %#x, but %s gives %#llx flags %#x",
             t->width, fp_op_infos[t->op].name, t->rm, (unsigned long long)t->a,
             (unsigned long long)t->b, (unsigned long long)t->c, (unsigned long long)r, flags, what,
             (unsigned long long)want, want_flags);
}

static void test_oracles(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    unsigned long n = cases_get(), host = 0, quad = 0;

    for (unsigned long i = 0; i < n; i++) {
        struct fp_case t = fp_random_case(&random);
        unsigned flags = 0, want_flags = 0;
        uint64_t want, r = fp_case_run(&t, &flags);
        if (fp_oracle_host(&t, &want, &want_flags)) {
            check(&t, "the host", r, flags, want, want_flags);
            host++;
        }
        if (fp_oracle_quad(&t, &want, &want_flags)) {
            check(&t, "exact rounding", r, flags, want, want_flags);
            quad++;
        }
    }
    printf("%lu operations: %lu checked by the host, %lu by exact rounding\n", n, host, quad);
    if (!host) {
        printf("skipped: the oracles need an x86-64 host\n");
        skip();
    }
}

/* Bits above the format must not matter, and flags that are set must stay. */
static void test_unused_bits(void **state)
{
    (void)state;
    uint64_t random = seed_get();

    for (unsigned long i = 0; i < CASES / 20; i++) {
        struct fp_case t = fp_random_case(&random);
        unsigned flags = 0, before = fp_random(&random) & 31, after = before;
        uint64_t r = fp_case_run(&t, &flags);
        bool from_int = t.op >= FP_OP_from_i32 && t.op <= FP_OP_from_u64;
        unsigned used = !from_int                                          ? t.width
                        : t.op == FP_OP_from_i32 || t.op == FP_OP_from_u32 ? 32
                                                                           : 64;
        if (used < 64) {
            t.a ^= fp_random(&random) << used;
            t.b ^= fp_random(&random) << used;
            t.c ^= fp_random(&random) << used;
        }
        uint64_t again = fp_case_run(&t, &after);
        check(&t, "the plain call", again, after, r, before | flags);
    }
}

static void test_fast(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    unsigned long n = cases_get() / 2;

    for (unsigned long i = 0; i < n; i++) {
        struct fp_case t = fp_random_case(&random);
        uint64_t r = fp_random(&random);
        if (r & 1)
            t.rm = t.op >= FP_OP_to_i32 && t.op <= FP_OP_to_u64 ? FP_RTZ : FP_RNE;
        unsigned before = r >> 8 & 31 & (r & 6 ? FP_NX : 31);
        unsigned exact_flags = before, fast_flags = before;
        uint64_t exact = fp_case_run(&t, &exact_flags);
        uint64_t fast = fp_case_run_fast(&t, &fast_flags);
        check(&t, "the exact function", fast, fast_flags, exact, exact_flags);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracles),
        cmocka_unit_test(test_unused_bits),
        cmocka_unit_test(test_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
