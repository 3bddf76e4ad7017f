/*
 * prctl. Most of it is the host's business; here is what is the program's (its filters, its auxv),
 * what would change guise instead of the program, and what only x86-64 has.
 */
#include "base/bits.h"
#include "proc/seccomp.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_RISCV_SET_ICACHE_FLUSH_CTX
#define PR_RISCV_SET_ICACHE_FLUSH_CTX 71
#define PR_RISCV_CTX_SW_FENCEI_OFF 1
#define PR_RISCV_SCOPE_PER_THREAD 1
#endif
#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif

static int64_t prctl_auxv(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    const struct process *p = t->process;
    char chunk[512];
    if (a[3] || a[4])
        return -EINVAL;
    for (uint64_t at = 0; at < p->auxv_size && at < a[2]; at += sizeof chunk) {
        uint64_t end = p->auxv_size < a[2] ? p->auxv_size : a[2];
        size_t n = end - at < sizeof chunk ? end - at : sizeof chunk;
        if (!guest_read(chunk, p->auxv + at, n) || !guest_write(a[1] + at, chunk, n))
            return -EFAULT;
    }
    return (int64_t)p->auxv_size;
}

static int64_t prctl_tid_address(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return guest_write(a[1], &t->clear_child_tid, sizeof t->clear_child_tid) ? 0 : -EFAULT;
}

static int64_t prctl_get_seccomp(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)a;
    return seccomp_mode(t);
}

/* Modes are one more than the operations of the call. */
static int64_t prctl_set_seccomp(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    if (a[1] != 1 && a[1] != 2)
        return -EINVAL;
    return seccomp_set(t, (unsigned)a[1] - 1, 0, a[1] == 2 ? a[2] : 0);
}

/* A guest thread stays on its hart, so fence.i serves as the program is promised. */
static int64_t prctl_icache_context(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    return a[1] > PR_RISCV_CTX_SW_FENCEI_OFF || a[2] > PR_RISCV_SCOPE_PER_THREAD ? -EINVAL : 0;
}

static int64_t prctl_invalid(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)a;
    return -EINVAL;
}

static int64_t prctl_not_permitted(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    (void)t;
    (void)a;
    return -EPERM;
}

static const struct {
    int option;
    int64_t (*serve)(struct thread *t, const uint64_t a[SYSCALL_ARGS]);
} prctl_table[] = {
    {PR_GET_SECCOMP, prctl_get_seccomp},
    {PR_SET_SECCOMP, prctl_set_seccomp},
    {PR_GET_TID_ADDRESS, prctl_tid_address},
    {PR_GET_AUXV, prctl_auxv},
    {PR_RISCV_SET_ICACHE_FLUSH_CTX, prctl_icache_context},
    {PR_SET_MM, prctl_not_permitted},              /* guise's heap and stack */
    {PR_SET_MDWE, prctl_invalid},                  /* guise makes code later, too */
    {PR_GET_MDWE, prctl_invalid},                  /* */
    {PR_SET_SYSCALL_USER_DISPATCH, prctl_invalid}, /* guise's system calls */
    {PR_GET_TSC, prctl_invalid},                   /* x86 */
    {PR_SET_TSC, prctl_invalid},                   /* */
    {PR_GET_SPECULATION_CTRL, prctl_invalid},      /* no riscv64 kernel has it */
    {PR_SET_SPECULATION_CTRL, prctl_invalid},      /* */
};

int64_t sys_prctl(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    for (unsigned i = 0; i < ARRAY_SIZE(prctl_table); i++)
        if (prctl_table[i].option == (int)a[0])
            return prctl_table[i].serve(t, a);
    return syscall_host(t, SYS_prctl, a);
}
