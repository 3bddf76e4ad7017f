/* Code written over code, in one thread: whole functions, in loops, over the end of a page. */
#include "check.h"
#include "jit.h"

#define ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

int main(void)
{
    unsigned char *at = jit_memory(3 * 4096, ALL);
    CHECK(at != MAP_FAILED);
    long sum = 0;
    for (int i = 0; i < 3000; i++) {
        jit_flush(at, jit_return(at, i * 77777));
        for (int again = 0; again < 5; again++)
            sum += jit_call(at, 0);
    }
    printf("one place: %ld\n", sum);

    /* At each distance from the end of a page: instructions that lie in two pages. */
    sum = 0;
    for (int offset = -32; offset < 4; offset += 2)
        for (int i = 0; i < 10; i++) {
            jit_flush(at + 4096 + offset, jit_add(at + 4096 + offset, i * 1000 + offset));
            sum = sum * 3 + jit_call(at + 4096 + offset, 5);
        }
    printf("two pages: %ld\n", sum);

    /* Many functions; some of them change while others run on. */
    const int count = 2 * 4096 / JIT_SIZE;
    for (int i = 0; i < count; i++)
        jit_add(at + i * JIT_SIZE, i);
    jit_flush(at, at + count * JIT_SIZE);
    unsigned value = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < count; i++)
            value = value * 3 + (unsigned)jit_call(at + i * JIT_SIZE, (int)(value & 0xffff));
        int changed = round * 13 % count;
        jit_flush(at + changed * JIT_SIZE, jit_add(at + changed * JIT_SIZE, round * 1000));
    }
    printf("many: %u\n", value);

    /* Jumps from one to another are directed elsewhere. */
    unsigned char *from = at, *to[3] = {at + 4096, at + 4096 + 64, at + 8192};
    for (int i = 0; i < 3; i++)
        jit_flush(to[i], jit_return(to[i], i + 100));
    sum = 0;
    for (int i = 0; i < 3000; i++) {
        jit_flush(from, jit_jump(from, to[i % 3]));
        sum = sum * 7 % 1000003 + jit_call(from, 0);
    }
    printf("jumps: %ld\n", sum);

    /* On the heap and on the stack, when they may be executed. */
    unsigned char local[JIT_SIZE + 4096];
    unsigned char *page = (unsigned char *)((uintptr_t)local & ~UINT64_C(4095));
    if (!mprotect(page, 2 * 4096, ALL)) {
        jit_flush(local, jit_return(local, 4));
        printf("stack: %d\n", jit_call(local, 0));
    }
    return 0;
}
