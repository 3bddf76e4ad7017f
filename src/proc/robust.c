#include "proc/robust.h"

#include "proc/syscall.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROBUST_MAX 2048 /* entries: the list may be a circle */

static uint64_t robust_next(uint64_t entry)
{
    uint64_t next;
    return guest_read(&next, entry, sizeof next) ? next & ~UINT64_C(1) : 0;
}

/* One futex: if it is the thread's, its owner has died. */
static void robust_die(uint64_t futex, uint32_t tid)
{
    uint64_t word;
    if (futex % 4 || !guarded_load((void *)(uintptr_t)futex, 4, &word))
        return;
    while ((word & FUTEX_TID_MASK) == tid) {
        uint64_t seen = word;
        if (!guarded_cas((void *)(uintptr_t)futex, 4, &seen,
                         (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED))
            return;
        if (seen == word) {
            if (word & FUTEX_WAITERS)
                syscall(SYS_futex, futex, FUTEX_WAKE, 1, NULL, NULL, 0);
            return;
        }
        word = seen;
    }
}

void robust_list_end(struct thread *t)
{
    struct robust_list_head head, *at = NULL;
    size_t size;
    if (syscall(SYS_get_robust_list, 0, &at, &size) || !at ||
        !guest_read(&head, guest_address(at), sizeof head))
        return;
    syscall(SYS_set_robust_list, NULL, sizeof head);
    uint64_t first = guest_address(at), offset = (uint64_t)head.futex_offset;
    uint64_t pending = guest_address(head.list_op_pending) & ~UINT64_C(1);
    uint64_t entry = guest_address(head.list.next) & ~UINT64_C(1);
    for (unsigned i = 0; i < ROBUST_MAX && entry && entry != first; i++) {
        uint64_t next = robust_next(entry);
        if (entry != pending)
            robust_die(entry + offset, (uint32_t)t->tid);
        entry = next;
    }
    if (pending)
        robust_die(pending + offset, (uint32_t)t->tid);
}
