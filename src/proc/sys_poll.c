/*
 * Calls that wait for descriptors. Their signal masks become what the host is to block for the
 * program, and their events have another layout.
 */
#include "base/bits.h"
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

/* ---- signal masks ---- */

/*
 * A mask argument for the host: *address becomes that of *mask, or 0 when the program gives none.
 * 0 or -errno.
 */
static int64_t mask_argument(uint64_t set, uint64_t size, uint64_t *mask, uint64_t *address)
{
    *address = 0;
    if (!set)
        return 0;
    if (size != GUEST_SIGSET_SIZE)
        return -EINVAL;
    if (!signal_host_mask(set, mask))
        return -EFAULT;
    *address = guest_address(mask);
    return 0;
}

/* For calls that take the address of a mask's address and size. */
struct mask_pair {
    struct guest_sigset_arg arg;
    uint64_t mask, address;
};

static int64_t mask_pair_argument(uint64_t guest, struct mask_pair *m)
{
    m->address = 0;
    if (!guest)
        return 0;
    if (!guest_read(&m->arg, guest, sizeof m->arg))
        return -EFAULT;
    m->address = guest_address(&m->arg);
    return mask_argument(m->arg.set, m->arg.size, &m->mask, &m->arg.set);
}

int64_t sys_ppoll(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t mask, address;
    int64_t rc = mask_argument(a[3], a[4], &mask, &address);
    return rc ? rc : thread_host_call(t, SYS_ppoll, a[0], a[1], a[2], address, a[4], 0);
}

int64_t sys_pselect6(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct mask_pair m;
    int64_t rc = mask_pair_argument(a[5], &m);
    return rc ? rc : thread_host_call(t, SYS_pselect6, a[0], a[1], a[2], a[3], a[4], m.address);
}

int64_t sys_io_pgetevents(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct mask_pair m;
    int64_t rc = mask_pair_argument(a[5], &m);
    return rc ? rc
              : thread_host_call(t, SYS_io_pgetevents, a[0], a[1], a[2], a[3], a[4], m.address);
}

int64_t sys_signalfd4(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t mask;
    if (a[2] != GUEST_SIGSET_SIZE)
        return -EINVAL;
    if (!guest_read(&mask, a[1], sizeof mask))
        return -EFAULT;
    return thread_host_call(t, SYS_signalfd4, a[0], guest_address(&mask), a[2], a[3], 0, 0);
}

/* ---- epoll ---- */

int64_t sys_epoll_ctl(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct guest_epoll_event g;
    struct epoll_event e;
    if ((int)a[1] == EPOLL_CTL_DEL)
        return syscall_host(t, SYS_epoll_ctl, a);
    if (!guest_read(&g, a[3], sizeof g))
        return -EFAULT;
    e = (struct epoll_event){.events = g.events, .data.u64 = g.data};
    return thread_host_call(t, SYS_epoll_ctl, a[0], a[1], a[2], guest_address(&e), 0, 0);
}

/* Fewer than asked for may come at a time, always. */
#define EPOLL_EVENTS 128

static int64_t epoll_wait_converted(struct thread *t, long number, const uint64_t a[SYSCALL_ARGS])
{
    struct epoll_event e[EPOLL_EVENTS];
    struct guest_epoll_event g[EPOLL_EVENTS];
    uint64_t mask, address;
    int max = (int)a[2];
    if (max <= 0 || (size_t)max > INT_MAX / sizeof g[0])
        return -EINVAL;
    if (max > EPOLL_EVENTS)
        max = EPOLL_EVENTS;
    int64_t rc = mask_argument(a[4], a[5], &mask, &address);
    if (rc)
        return rc;
    int64_t n =
        thread_host_call(t, number, a[0], guest_address(e), (uint64_t)max, a[3], address, a[5]);
    for (int64_t i = 0; i < n; i++)
        g[i] = (struct guest_epoll_event){.events = e[i].events, .data = e[i].data.u64};
    if (n > 0 && !guest_write(a[1], g, (size_t)n * sizeof g[0]))
        return -EFAULT;
    return n;
}

int64_t sys_epoll_pwait(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return epoll_wait_converted(t, SYS_epoll_pwait, a);
}

int64_t sys_epoll_pwait2(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return epoll_wait_converted(t, SYS_epoll_pwait2, a);
}
