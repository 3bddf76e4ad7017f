#include "host/x86_64/features.h"

#include <cpuid.h>
#include <stdint.h>

/* The operating system has said that it saves xmm and ymm. */
static bool features_ymm_saved(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

static void features_leaf1(struct host_features *f)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return;
    f->cx16 = c & bit_CMPXCHG16B;
    f->sse41 = c & bit_SSE4_1;
    f->pclmul = c & bit_PCLMUL;
    f->popcnt = c & bit_POPCNT;
    f->avx = (c & bit_OSXSAVE) && (c & bit_AVX) && features_ymm_saved();
    f->fma = f->avx && (c & bit_FMA);
}

/* AMD before family 19h (Zen 3) has pdep and pext in microcode. */
static bool features_fast_pdep(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d))
        return false;
    bool amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return false;
    unsigned family = a >> 8 & 15;
    if (family == 15)
        family += a >> 20 & 255;
    return !amd || family >= 0x19;
}

void host_features_probe(struct host_features *f)
{
    unsigned a, b, c, d;
    *f = (struct host_features){0};
    features_leaf1(f);
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        /* They are VEX-encoded: usable where AVX is. */
        f->bmi1 = f->avx && (b & bit_BMI);
        f->bmi2 = f->avx && (b & bit_BMI2);
        f->fast_pdep = f->bmi2 && features_fast_pdep();
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        f->lzcnt = c & bit_LZCNT;
}
