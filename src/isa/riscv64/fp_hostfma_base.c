/* Fused multiply-add of hosts whose base instruction set has it (aarch64, riscv64). */
#include "isa/riscv64/fp_fast.h"

bool fp_host_fma32(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    *r = fp32_of_host(__builtin_fmaf(fp32_host(a), fp32_host(b), fp32_host(c)));
    return true;
}

bool fp_host_fma64(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    *r = fp64_of_host(__builtin_fma(fp64_host(a), fp64_host(b), fp64_host(c)));
    return true;
}
