/* Resource limits: rlimits.h says why some are only told. */
#include "proc/syscall.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A stack below this is not for guise's own first thread, which gets it with the next exec. */
#define LIMIT_STACK_MIN (UINT64_C(1) << 20)

static int limit_index(uint64_t resource)
{
    switch ((int)resource) {
    case RLIMIT_AS:
        return GUEST_LIMIT_AS;
    case RLIMIT_DATA:
        return GUEST_LIMIT_DATA;
    case RLIMIT_STACK:
        return GUEST_LIMIT_STACK;
    default:
        return -1;
    }
}

static int64_t limit_host(struct thread *t, uint64_t pid, uint64_t resource, uint64_t new,
                          uint64_t old)
{
    return thread_host_call(t, SYS_prlimit64, pid, resource, new, old, 0, 0);
}

/* process->lock is held. */
static int64_t limit_get(struct thread *t, uint64_t resource, struct rlimit *limit)
{
    const struct guest_limits *l = &t->process->limits;
    int i = limit_index(resource);
    if (!l->set[i])
        return limit_host(t, 0, resource, 0, guest_address(limit));
    *limit = l->limit[i];
    return 0;
}

static uint64_t limit_told_for(const struct guest_limits *l, int i)
{
    return l->set[i] ? l->limit[i].rlim_cur : RLIM_INFINITY;
}

/* process->lock is held. */
static int64_t limit_set(struct thread *t, uint64_t resource, const struct rlimit *old,
                         const struct rlimit *new)
{
    struct guest_limits *l = &t->process->limits;
    int i = limit_index(resource);
    if (new->rlim_cur > new->rlim_max)
        return -EINVAL;
    if (new->rlim_max > old->rlim_max && !syscall_capable(CAP_SYS_RESOURCE))
        return -EPERM;
    if (i == GUEST_LIMIT_STACK && new->rlim_cur >= LIMIT_STACK_MIN) {
        l->set[i] = false;
        return limit_host(t, 0, resource, guest_address(new), 0);
    }
    l->limit[i] = *new;
    l->set[i] = true;
    mm_set_limits(&t->process->mm, limit_told_for(l, GUEST_LIMIT_AS),
                  limit_told_for(l, GUEST_LIMIT_DATA));
    return 0;
}

/* Of this process, and told here. new and old: guest addresses or 0. */
static int64_t limit_told(struct thread *t, uint64_t resource, uint64_t new, uint64_t old)
{
    struct rlimit was, wanted;
    if (new && !guest_read(&wanted, new, sizeof wanted))
        return -EFAULT;
    pthread_mutex_lock(&t->process->lock);
    int64_t rc = limit_get(t, resource, &was);
    if (!rc && new)
        rc = limit_set(t, resource, &was, &wanted);
    pthread_mutex_unlock(&t->process->lock);
    if (!rc && old && !guest_write(old, &was, sizeof was))
        rc = -EFAULT;
    return rc;
}

static int64_t limit_call(struct thread *t, uint64_t pid, uint64_t resource, uint64_t new,
                          uint64_t old)
{
    bool own = !(int)pid || (int)pid == getpid();
    if (own && limit_index(resource) >= 0)
        return limit_told(t, resource, new, old);
    return limit_host(t, pid, resource, new, old);
}

int64_t sys_prlimit64(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return limit_call(t, a[0], a[1], a[2], a[3]);
}

/* Unlike prlimit64's, their address must not be NULL. */
int64_t sys_getrlimit(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return a[1] ? limit_call(t, 0, a[0], 0, a[1]) : -EFAULT;
}

int64_t sys_setrlimit(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return a[1] ? limit_call(t, 0, a[0], a[1], 0) : -EFAULT;
}
