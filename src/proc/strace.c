#include "proc/strace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void strace_enter(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)number;
    (void)a;
}

void strace_leave(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS], int64_t result)
{
    const struct syscall *c = syscall_find(number);
    fprintf(stderr, "%d %s(%#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ") = ", t->tid,
            c ? c->name : "unknown", a[0], a[1], a[2], a[3]);
    if (result < 0 && result > -4096)
        fprintf(stderr, "-1 (%s)\n", strerror((int)-result));
    else
        fprintf(stderr, "%#" PRIx64 "\n", (uint64_t)result);
}
