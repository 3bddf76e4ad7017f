/* The heap by brk, and malloc on top of it. */
#include "check.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

int main(void)
{
    char *start = sbrk(0);
    CHECK(start != (void *)-1);
    char *at = sbrk(100000);
    CHECK(at == start);
    CHECK(sbrk(0) == start + 100000);
    for (int i = 0; i < 100000; i++)
        CHECK_IS(at[i], 0);
    memset(at, 'h', 100000);
    CHECK_IS(brk(start + 5000), 0);
    CHECK(sbrk(0) == start + 5000 && at[4999] == 'h');
    CHECK_IS(brk(start + 100000), 0);
    /* Whole pages that were given back come again as zeros. */
    uintptr_t page = ((uintptr_t)start + 5000 + 4095) & ~UINT64_C(4095);
    CHECK_IS(*(char *)page, 0);
    CHECK_IS(((char *)page)[4096], 0);

    /* The kernel's call gives the old break for what is impossible. */
    uintptr_t now = (uintptr_t)sbrk(0);
    CHECK_IS(syscall(SYS_brk, 0), now);
    CHECK_IS(syscall(SYS_brk, 1), now);
    CHECK_IS(syscall(SYS_brk, UINTPTR_MAX), now);
    CHECK_ERROR(brk((char *)now + ((uintptr_t)1 << 46)), ENOMEM);

    /* It stops at a mapping. */
    char *wall = mmap((void *)((now + 0x200000) & ~UINT64_C(4095)), 4096, PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (wall != MAP_FAILED) {
        CHECK_ERROR(brk(wall + 8192), ENOMEM);
        CHECK((uintptr_t)sbrk(0) == now);
        CHECK_IS(munmap(wall, 4096), 0);
    }
    CHECK_IS(brk((char *)now), 0);

    char *blocks[1000];
    uint64_t sum = 0;
    for (int i = 0; i < 1000; i++) {
        size_t size = (size_t)(i * 7919 % 5000 + 1);
        blocks[i] = malloc(size);
        memset(blocks[i], i, size);
    }
    for (int i = 0; i < 1000; i += 2) {
        blocks[i] = realloc(blocks[i], 20000);
        CHECK(blocks[i]);
    }
    for (int i = 0; i < 1000; i++) {
        sum = sum * 31 + (unsigned char)blocks[i][0];
        free(blocks[i]);
    }
    printf("sum %llx\n", (unsigned long long)sum);
    return 0;
}
