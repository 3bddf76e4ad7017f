/*
 * Oracles that need an x86-64 host: its SSE unit, which detects tininess after rounding as RISC-V
 * does, with MXCSR set and read around each instruction; and the compiler's __float128, whose
 * library honours MXCSR too, for results that are then rounded literally.
 *
 * Operands and results pass through volatile variables, which keeps computations between the
 * accesses to MXCSR.
 */
#include "fp_ops.h"
#include "isa/riscv64/fp.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define MXCSR_DEFAULT 0x1f80U

static const unsigned mxcsr_rounding[4] = {0x0000, 0x6000, 0x2000, 0x4000};

static void mxcsr_start(unsigned rm)
{
    _mm_setcsr(MXCSR_DEFAULT | mxcsr_rounding[rm]);
}

/* Restores the default environment and gives what was raised, as fflags. */
static unsigned mxcsr_stop(void)
{
    unsigned m = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    return (m & 1 ? FP_NV : 0) | (m & 4 ? FP_DZ : 0) | (m & 8 ? FP_OF : 0) | (m & 16 ? FP_UF : 0) |
           (m & 32 ? FP_NX : 0);
}

static double as_double(uint64_t v)
{
    double x;
    memcpy(&x, &v, sizeof x);
    return x;
}

static float as_float(uint64_t v)
{
    uint32_t w = (uint32_t)v;
    float x;
    memcpy(&x, &w, sizeof x);
    return x;
}

static uint64_t of_double(double x)
{
    uint64_t v;
    if (isnan(x))
        return FP64_NAN;
    memcpy(&v, &x, sizeof v);
    return v;
}

static uint64_t of_float(float x)
{
    uint32_t v;
    if (isnan(x))
        return FP32_NAN;
    memcpy(&v, &x, sizeof v);
    return v;
}

/* The exception of a conversion to integer says that the value does not fit or is no number. */
static uint64_t saturate(long long r, unsigned flags, bool is_nan, bool negative, unsigned width)
{
    uint64_t max = ((uint64_t)1 << (width - 1)) - 1;
    if (!(flags & FP_NV))
        return (uint64_t)r;
    return is_nan || !negative ? max : ~max;
}

__attribute__((target("fma"))) static void fma_double(volatile double *a, volatile double *b,
                                                      volatile double *c, volatile double *r)
{
    *r = _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(*a), _mm_set_sd(*b), _mm_set_sd(*c)));
}

__attribute__((target("fma"))) static void fma_float(volatile float *a, volatile float *b,
                                                     volatile float *c, volatile float *r)
{
    *r = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(*a), _mm_set_ss(*b), _mm_set_ss(*c)));
}

static bool host_double(const struct fp_case *t, uint64_t *out, unsigned *flags)
{
    volatile double a = as_double(t->a), b = as_double(t->b), c = as_double(t->c), r = 0;
    volatile uint64_t v = t->a;
    volatile long long whole = 0;
    volatile float single = 0;
    enum { REAL, BOOL, INT32, INT64, SINGLE } kind = REAL;

    if (t->op == FP_OP_fma && !__builtin_cpu_supports("fma"))
        return false;
    mxcsr_start(t->rm);
    switch (t->op) {
    case FP_OP_add:
        r = _mm_cvtsd_f64(_mm_add_sd(_mm_set_sd(a), _mm_set_sd(b)));
        break;
    case FP_OP_sub:
        r = _mm_cvtsd_f64(_mm_sub_sd(_mm_set_sd(a), _mm_set_sd(b)));
        break;
    case FP_OP_mul:
        r = _mm_cvtsd_f64(_mm_mul_sd(_mm_set_sd(a), _mm_set_sd(b)));
        break;
    case FP_OP_div:
        r = _mm_cvtsd_f64(_mm_div_sd(_mm_set_sd(a), _mm_set_sd(b)));
        break;
    case FP_OP_sqrt:
        r = _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(a)));
        break;
    case FP_OP_fma:
        fma_double(&a, &b, &c, &r);
        break;
    case FP_OP_from_i32:
        r = _mm_cvtsd_f64(_mm_cvtsi32_sd(_mm_setzero_pd(), (int)v));
        break;
    case FP_OP_from_u32:
        r = _mm_cvtsd_f64(_mm_cvtsi64_sd(_mm_setzero_pd(), (long long)(uint32_t)v));
        break;
    case FP_OP_from_i64:
        r = _mm_cvtsd_f64(_mm_cvtsi64_sd(_mm_setzero_pd(), (long long)v));
        break;
    case FP_OP_to_i32:
        whole = _mm_cvtsd_si32(_mm_set_sd(a));
        kind = INT32;
        break;
    case FP_OP_to_i64:
        whole = _mm_cvtsd_si64(_mm_set_sd(a));
        kind = INT64;
        break;
    case FP_OP_to_fp32:
        single = _mm_cvtss_f32(_mm_cvtsd_ss(_mm_setzero_ps(), _mm_set_sd(a)));
        kind = SINGLE;
        break;
    case FP_OP_eq:
        whole = _mm_ucomieq_sd(_mm_set_sd(a), _mm_set_sd(b));
        kind = BOOL;
        break;
    case FP_OP_lt:
        whole = _mm_comilt_sd(_mm_set_sd(a), _mm_set_sd(b));
        kind = BOOL;
        break;
    case FP_OP_le:
        whole = _mm_comile_sd(_mm_set_sd(a), _mm_set_sd(b));
        kind = BOOL;
        break;
    case FP_OP_ltq:
        whole = _mm_ucomilt_sd(_mm_set_sd(a), _mm_set_sd(b));
        kind = BOOL;
        break;
    case FP_OP_leq:
        whole = _mm_ucomile_sd(_mm_set_sd(a), _mm_set_sd(b));
        kind = BOOL;
        break;
    default:
        mxcsr_stop();
        return false;
    }
    *flags = mxcsr_stop();
    bool nan = isnan(a) || isnan(b);
    *out = kind == REAL     ? of_double(r)
           : kind == SINGLE ? of_float(single)
           : kind == BOOL   ? whole && !nan
                            : saturate(whole, *flags, isnan(a), a < 0, kind == INT32 ? 32 : 64);
    return true;
}

static bool host_single(const struct fp_case *t, uint64_t *out, unsigned *flags)
{
    volatile float a = as_float(t->a), b = as_float(t->b), c = as_float(t->c), r = 0;
    volatile uint64_t v = t->a;
    volatile long long whole = 0;
    volatile double wide = 0;
    enum { REAL, BOOL, INT32, INT64, DOUBLE } kind = REAL;

    if (t->op == FP_OP_fma && !__builtin_cpu_supports("fma"))
        return false;
    mxcsr_start(t->rm);
    switch (t->op) {
    case FP_OP_add:
        r = _mm_cvtss_f32(_mm_add_ss(_mm_set_ss(a), _mm_set_ss(b)));
        break;
    case FP_OP_sub:
        r = _mm_cvtss_f32(_mm_sub_ss(_mm_set_ss(a), _mm_set_ss(b)));
        break;
    case FP_OP_mul:
        r = _mm_cvtss_f32(_mm_mul_ss(_mm_set_ss(a), _mm_set_ss(b)));
        break;
    case FP_OP_div:
        r = _mm_cvtss_f32(_mm_div_ss(_mm_set_ss(a), _mm_set_ss(b)));
        break;
    case FP_OP_sqrt:
        r = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a)));
        break;
    case FP_OP_fma:
        fma_float(&a, &b, &c, &r);
        break;
    case FP_OP_from_i32:
        r = _mm_cvtss_f32(_mm_cvtsi32_ss(_mm_setzero_ps(), (int)v));
        break;
    case FP_OP_from_u32:
        r = _mm_cvtss_f32(_mm_cvtsi64_ss(_mm_setzero_ps(), (long long)(uint32_t)v));
        break;
    case FP_OP_from_i64:
        r = _mm_cvtss_f32(_mm_cvtsi64_ss(_mm_setzero_ps(), (long long)v));
        break;
    case FP_OP_to_i32:
        whole = _mm_cvtss_si32(_mm_set_ss(a));
        kind = INT32;
        break;
    case FP_OP_to_i64:
        whole = _mm_cvtss_si64(_mm_set_ss(a));
        kind = INT64;
        break;
    case FP_OP_to_fp64:
        wide = _mm_cvtsd_f64(_mm_cvtss_sd(_mm_setzero_pd(), _mm_set_ss(a)));
        kind = DOUBLE;
        break;
    case FP_OP_eq:
        whole = _mm_ucomieq_ss(_mm_set_ss(a), _mm_set_ss(b));
        kind = BOOL;
        break;
    case FP_OP_lt:
        whole = _mm_comilt_ss(_mm_set_ss(a), _mm_set_ss(b));
        kind = BOOL;
        break;
    case FP_OP_le:
        whole = _mm_comile_ss(_mm_set_ss(a), _mm_set_ss(b));
        kind = BOOL;
        break;
    default:
        mxcsr_stop();
        return false;
    }
    *flags = mxcsr_stop();
    bool nan = isnan(a) || isnan(b);
    *out = kind == REAL     ? of_float(r)
           : kind == DOUBLE ? of_double(wide)
           : kind == BOOL   ? whole && !nan
                            : saturate(whole, *flags, isnan(a), a < 0, kind == INT32 ? 32 : 64);
    return true;
}

/* x86 lets a quiet NaN as addend hide that inf*0 is invalid; RISC-V does not. */
static bool nan_addend(const struct fp_case *t)
{
    return t->op == FP_OP_fma && (t->width == 32 ? isnan(as_float(t->c)) : isnan(as_double(t->c)));
}

bool fp_oracle_host(const struct fp_case *t, uint64_t *r, unsigned *flags)
{
    struct fp_case u = *t;

    /* A root is never half way between two numbers. */
    if (u.op == FP_OP_sqrt && u.rm == FP_RMM)
        u.rm = FP_RNE;
    if (u.rm > FP_RUP || u.width == 16 || nan_addend(&u))
        return false;
    return u.width == 32 ? host_single(&u, r, flags) : host_double(&u, r, flags);
}
