/* Fused multiply-add of x86-64 processors that have the FMA extension. */
#include "isa/riscv64/fp_fast.h"

/* The caller must have checked the processor: these may use VEX instructions from the start. */
__attribute__((target("fma"))) static bool fp_vfmadd32(uint64_t a, uint64_t b, uint64_t c,
                                                       uint64_t *r)
{
    *r = fp32_of_host(__builtin_fmaf(fp32_host(a), fp32_host(b), fp32_host(c)));
    return true;
}

__attribute__((target("fma"))) static bool fp_vfmadd64(uint64_t a, uint64_t b, uint64_t c,
                                                       uint64_t *r)
{
    *r = fp64_of_host(__builtin_fma(fp64_host(a), fp64_host(b), fp64_host(c)));
    return true;
}

bool fp_host_fma32(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    return __builtin_cpu_supports("fma") && fp_vfmadd32(a, b, c, r);
}

bool fp_host_fma64(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    return __builtin_cpu_supports("fma") && fp_vfmadd64(a, b, c, r);
}
