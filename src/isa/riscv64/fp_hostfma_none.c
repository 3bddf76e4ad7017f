/* For hosts that may have no fused multiply-add. */
#include "isa/riscv64/fp_fast.h"

bool fp_host_fma32(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    (void)a, (void)b, (void)c, (void)r;
    return false;
}

bool fp_host_fma64(uint64_t a, uint64_t b, uint64_t c, uint64_t *r)
{
    (void)a, (void)b, (void)c, (void)r;
    return false;
}
