/* The address space: mm.c does the work. */
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

int64_t sys_brk(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_brk(&t->process->mm, a[0]);
}

int64_t sys_mmap(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_mmap(&t->process->mm, a[0], a[1], (int)a[2], (int)(a[3] & ~GUEST_MAP_UNKNOWN),
                   (int)a[4], a[5]);
}

int64_t sys_munmap(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_munmap(&t->process->mm, a[0], a[1]);
}

int64_t sys_mremap(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_mremap(&t->process->mm, a[0], a[1], a[2], (int)a[3], a[4]);
}

int64_t sys_mprotect(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_mprotect(&t->process->mm, a[0], a[1], (int)a[2]);
}

int64_t sys_madvise(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mm_madvise(&t->process->mm, a[0], a[1], (int)a[2]);
}

/*
 * Guise's memory would be locked as well, and that is mostly room for code that is never written:
 * what is touched is locked, the rest is not fetched for it.
 */
int64_t sys_mlockall(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t flags = a[0];
    if (flags & (MCL_CURRENT | MCL_FUTURE))
        flags |= MCL_ONFAULT;
    return thread_host_call(t, SYS_mlockall, flags, 0, 0, 0, 0, 0);
}

/* ---- protection keys: riscv64 has none but key 0, which all memory has ---- */

int64_t sys_pkey_mprotect(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    int key = (int)a[3];
    return key == 0 || key == -1 ? sys_mprotect(t, a) : -EINVAL;
}

int64_t sys_pkey_alloc(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    const uint64_t rights = 3; /* PKEY_ACCESS_MASK */
    (void)t;
    return a[0] || (a[1] & ~rights) ? -EINVAL : -ENOSPC;
}

int64_t sys_pkey_free(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)a;
    return -EINVAL;
}

/* ---- instructions that were written ---- */

/* The kernel ignores the range; programs that give none mean everything. */
int64_t sys_riscv_flush_icache(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    const uint64_t local = 1;
    if (a[2] & ~local)
        return -EINVAL;
    if (a[2] & local)
        t->vcpu.engine->fence_i(&t->vcpu);
    else if (a[0] < a[1])
        process_code_changed(t->process, a[0], a[1]);
    else
        process_code_changed(t->process, MM_LOW, MM_HIGH);
    return 0;
}

/* The host's threads are the program's, so its barriers serve; but they know nothing of
 * translations, which are what SYNC_CORE is for. */
int64_t sys_membarrier(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    int64_t rc = syscall_host(t, SYS_membarrier, a);
    if (!rc && (int)a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)
        process_code_changed(t->process, MM_LOW, MM_HIGH);
    return rc;
}
