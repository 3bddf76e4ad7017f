/* close_range, to which guise's own descriptors are no part of the range. */
#include "proc/syscall.h"

#include <sys/syscall.h>

/* Closes first to last; nothing is asked for when there is nothing between two of guise's. */
static int64_t close_range_part(struct thread *t, uint64_t first, uint64_t last, uint64_t flags)
{
    return first > last ? 0 : thread_host_call(t, SYS_close_range, first, last, flags, 0, 0, 0);
}

int64_t sys_close_range(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t first = (uint32_t)a[0], last = (uint32_t)a[1];
    int x = t->process->self_fd, y = t->process->exe_fd;
    const int own[2] = {x < y ? x : y, x < y ? y : x};
    if (first > last)
        return syscall_host(t, SYS_close_range, a);
    for (unsigned i = 0; i < 2; i++) {
        if (own[i] < 0 || (uint64_t)own[i] < first || (uint64_t)own[i] > last)
            continue;
        int64_t rc = own[i] ? close_range_part(t, first, (uint64_t)own[i] - 1, a[2]) : 0;
        if (rc)
            return rc;
        first = (uint64_t)own[i] + 1;
    }
    return close_range_part(t, first, last, a[2]);
}
