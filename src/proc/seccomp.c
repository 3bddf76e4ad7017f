#include "proc/seccomp.h"

#include "proc/syscall.h"

#include <errno.h>

bool seccomp_allows(struct thread *t, uint64_t number, const uint64_t a[6], int64_t *result)
{
    (void)t;
    (void)number;
    (void)a;
    (void)result;
    return true;
}

void seccomp_inherit(struct thread *child, const struct thread *parent)
{
    child->seccomp = parent->seccomp;
}

int64_t seccomp_mode(const struct thread *t)
{
    (void)t;
    return 0;
}

int64_t seccomp_set(struct thread *t, unsigned operation, unsigned flags, uint64_t args)
{
    (void)t;
    (void)operation;
    (void)flags;
    (void)args;
    return -EINVAL;
}

int64_t sys_seccomp(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return seccomp_set(t, (unsigned)a[0], (unsigned)a[1], a[2]);
}
