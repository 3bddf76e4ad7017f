/* Processes and threads: thread.c and exec.c do the work. */
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>

#define CLONE_SIGNAL UINT64_C(0xff) /* of clone's flags: the signal at the end */

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP UINT64_C(0x200000000)
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* riscv64 has the thread pointer before the child's address (CONFIG_CLONE_BACKWARDS). */
int64_t sys_clone(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint64_t flags = (uint32_t)a[0];
    const struct thread_clone c = {
        .flags = flags & ~CLONE_SIGNAL,
        .exit_signal = (int)(flags & CLONE_SIGNAL),
        .stack = a[1],
        .parent_tid = a[2],
        .pidfd = a[2],
        .tls = a[3],
        .child_tid = a[4],
    };
    /* One address cannot take both. */
    if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    return thread_clone(t, &c);
}

/* Whether all of a newer, longer structure's end is zero: E2BIG if not. */
static int64_t clone_args_end(uint64_t args, uint64_t size)
{
    for (uint64_t at = sizeof(struct guest_clone_args); at < size; at++) {
        uint8_t byte;
        if (!guest_read(&byte, args + at, 1))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return 0;
}

static int64_t clone_args_read(struct guest_clone_args *c, uint64_t args, uint64_t size)
{
    if (size > MM_PAGE)
        return -E2BIG;
    if (size < GUEST_CLONE_ARGS_MIN)
        return -EINVAL;
    if (!guest_read(c, args, size < sizeof *c ? size : sizeof *c))
        return -EFAULT;
    return clone_args_end(args, size);
}

static bool clone_args_valid(const struct guest_clone_args *c, uint64_t size)
{
    const uint64_t refused = CLONE_DETACHED | (CLONE_SIGNAL & ~(uint64_t)CLONE_NEWTIME);
    if ((c->flags & refused) || c->exit_signal > SIGNAL_COUNT)
        return false;
    if ((c->flags & (CLONE_THREAD | CLONE_PARENT)) && c->exit_signal)
        return false;
    if (!c->stack != !c->stack_size || !c->set_tid != !c->set_tid_size)
        return false;
    if ((c->flags & CLONE_INTO_CGROUP) && (c->cgroup > INT_MAX || size < sizeof *c))
        return false;
    return (c->flags & (CLONE_SIGHAND | CLONE_CLEAR_SIGHAND)) !=
           (CLONE_SIGHAND | CLONE_CLEAR_SIGHAND);
}

int64_t sys_clone3(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    struct guest_clone_args g = {0};
    int64_t rc = clone_args_read(&g, a[0], a[1]);
    if (rc)
        return rc;
    if (!clone_args_valid(&g, a[1]))
        return -EINVAL;
    const struct thread_clone c = {
        .flags = g.flags,
        .exit_signal = (int)g.exit_signal,
        .pidfd = g.pidfd,
        .child_tid = g.child_tid,
        .parent_tid = g.parent_tid,
        .stack = g.stack + g.stack_size,
        .tls = g.tls,
        .set_tid = g.set_tid,
        .set_tid_size = g.set_tid_size,
        .cgroup = g.cgroup,
    };
    return thread_clone(t, &c);
}

int64_t sys_execve(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return process_exec(t, AT_FDCWD, a[0], a[1], a[2], 0);
}

int64_t sys_execveat(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return process_exec(t, (int)a[0], a[1], a[2], a[3], (int)a[4]);
}

int64_t sys_exit(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    /* What has been noted may be for the whole process, and would end with this thread. */
    if (!signals_block_all(t))
        return -THREAD_RESTART;
    trace_exit(t, (int)a[0]);
    thread_exit(t, (int)a[0]);
}

int64_t sys_exit_group(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    trace_exit(t, (int)a[0]);
    process_exit(t->process, (int)a[0]);
}

int64_t sys_set_tid_address(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    t->clear_child_tid = a[0];
    return t->tid;
}

/*
 * A processor's own counters would count guise's instructions and not the program's: there are
 * none, as on a board without them. The kernel's events are the program's.
 */
int64_t sys_perf_event_open(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    uint32_t type;
    if (!guest_read(&type, a[0] + offsetof(struct perf_event_attr, type), sizeof type))
        return -EFAULT;
    if (type != PERF_TYPE_SOFTWARE && type != PERF_TYPE_TRACEPOINT)
        return -ENOENT;
    return syscall_host(t, SYS_perf_event_open, a);
}
