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
 * A mask argument: *address becomes that of the host's mask, or 0 when the program gives none.
 * 0 or -errno.
 */
static int64_t mask_argument(uint64_t set, uint64_t size, struct signal_mask *m, uint64_t *address)
{
    *address = 0;
    if (!set)
        return 0;
    if (size != GUEST_SIGSET_SIZE)
        return -EINVAL;
    if (!signal_mask_read(m, set))
        return -EFAULT;
    *address = guest_address(&m->host);
    return 0;
}

/* The call with a mask that is the argument `at`, whose size is the next one. */
static int64_t mask_call(struct thread *t, long number, unsigned at, const uint64_t a[SYSCALL_ARGS])
{
    struct signal_mask m;
    uint64_t b[SYSCALL_ARGS] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    int64_t rc = mask_argument(a[at], a[at + 1], &m, &b[at]);
    return rc ? rc : signal_masked_call(t, b[at] ? &m : NULL, number, b);
}

/* Likewise where the argument 5 is the address of the mask's address and size. */
static int64_t mask_pair_call(struct thread *t, long number, const uint64_t a[SYSCALL_ARGS])
{
    struct guest_sigset_arg arg = {0};
    struct signal_mask m;
    const uint64_t b[SYSCALL_ARGS] = {a[0], a[1], a[2], a[3], a[4], a[5] ? guest_address(&arg) : 0};
    if (a[5] && !guest_read(&arg, a[5], sizeof arg))
        return -EFAULT;
    int64_t rc = mask_argument(arg.set, arg.size, &m, &arg.set);
    return rc ? rc : signal_masked_call(t, arg.set ? &m : NULL, number, b);
}

int64_t sys_ppoll(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mask_call(t, SYS_ppoll, 3, a);
}

int64_t sys_pselect6(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mask_pair_call(t, SYS_pselect6, a);
}

int64_t sys_io_pgetevents(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return mask_pair_call(t, SYS_io_pgetevents, a);
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
    int max = (int)a[2];
    if (max <= 0 || (size_t)max > INT_MAX / sizeof g[0])
        return -EINVAL;
    if (max > EPOLL_EVENTS)
        max = EPOLL_EVENTS;
    const uint64_t b[SYSCALL_ARGS] = {a[0], guest_address(e), (uint64_t)max, a[3], a[4], a[5]};
    int64_t n = mask_call(t, number, 4, b);
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
