/* The kernel's own list of calls for architectures like riscv64. */
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_SYS_CLONE3
#define __ARCH_WANT_MEMFD_SECRET
#define __SYSCALL(number, function) {number, #function},

#include "numbers.h"

const struct number numbers[] = {
#include <asm-generic/unistd.h>
    {-1, 0}};
