/* Code changed by the thread that runs it, which says so by the instruction alone. */
#include "check.h"
#include "jit.h"

static void fence(void)
{
#ifdef __riscv
    __asm__ volatile("fence.i" ::: "memory");
#endif
}

int main(void)
{
    unsigned char *code = jit_memory(8192, PROT_READ | PROT_WRITE | PROT_EXEC);
    unsigned char *two[] = {code + 64, code + 4096 + 64};
    for (int i = 0; i < 400; i++) {
        jit_return(two[0], i);
        jit_add(two[1], 2 * i);
        fence();
        for (int k = 0; k < (i % 8 ? 3 : 300); k++) {
            CHECK_IS(jit_call(two[0], 0), i);
            CHECK_IS(jit_call(two[1], k), 2 * i + k);
        }
    }
    DONE("fences");
    return 0;
}
