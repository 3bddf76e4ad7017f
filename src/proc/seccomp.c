#include "proc/seccomp.h"

#include "base/bits.h"
#include "proc/bpf.h"
#include "proc/guest_abi.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (UINT32_C(1) << 5)
#endif

/* What the kernel allows a thread in all: instructions, and how many each filter counts for more.
 */
#define SECCOMP_MAX_INSNS 32768
#define SECCOMP_FILTER_COST 4

#define SECCOMP_SIGSYS_CODE 1 /* si_code SYS_SECCOMP */

struct seccomp_filter {
    const struct seccomp_filter *before;
    unsigned len;
    struct sock_filter insn[];
};

/* ---- what happens instead of the call ---- */

/* Ends the process as the signal's default does, whatever the program has set. */
static void seccomp_kill_process(void)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigaction(SIGSYS, &standard, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + SIGSYS);
}

static void seccomp_kill_thread(struct thread *t)
{
    struct process *p = t->process;
    pthread_mutex_lock(&p->lock);
    bool alone = !p->threads || !p->threads->next;
    pthread_mutex_unlock(&p->lock);
    if (alone)
        seccomp_kill_process();
    thread_exit(t, SIGSYS);
}

/* SIGSYS as the kernel sends it: it cannot be blocked or ignored. */
static void seccomp_trap(struct thread *t, uint64_t number, uint32_t data)
{
    struct signal_actions *actions = t->signals.actions;
    pthread_mutex_lock(&actions->lock);
    uint64_t handler = actions->action[SIGSYS].handler;
    pthread_mutex_unlock(&actions->lock);
    if (handler <= 1 || (t->signals.mask >> (SIGSYS - 1) & 1))
        seccomp_kill_process();
    siginfo_t info = {0};
    info.si_signo = SIGSYS;
    info.si_code = SECCOMP_SIGSYS_CODE;
    info.si_errno = (int)data;
    memcpy(&info.si_call_addr, &t->hart->pc, sizeof t->hart->pc);
    info.si_syscall = (int)number;
    info.si_arch = GUEST_AUDIT_ARCH;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGSYS, &info);
}

/* ---- asking ---- */

/* The action that comes first in the kernel's order, of the newest filter that has it. */
static uint32_t seccomp_ask(const struct seccomp_filter *filter, const struct seccomp_data *data)
{
    uint32_t verdict = SECCOMP_RET_ALLOW;
    for (; filter; filter = filter->before) {
        uint32_t got = bpf_run(filter->insn, data);
        if ((int32_t)(got & SECCOMP_RET_ACTION_FULL) < (int32_t)(verdict & SECCOMP_RET_ACTION_FULL))
            verdict = got;
    }
    return verdict;
}

static bool seccomp_strict_allows(uint64_t number)
{
    static const uint16_t calls[] = {63, 64, 93, 139}; /* read, write, exit, rt_sigreturn */
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
        if (calls[i] == number)
            return true;
    return false;
}

/* False: not the call; *result is what it gives. */
static bool seccomp_act(struct thread *t, uint64_t number, const uint64_t a[6], uint32_t verdict,
                        int64_t *result)
{
    uint32_t data = verdict & SECCOMP_RET_DATA;
    switch (verdict & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
        return true;
    case SECCOMP_RET_ERRNO:
        *result = data > 4095 ? -4095 : -(int64_t)data;
        return false;
    case SECCOMP_RET_TRAP:
        *result = (int64_t)a[0]; /* a0 stays */
        seccomp_trap(t, number, data);
        return false;
    case SECCOMP_RET_TRACE:
        if (trace_seccomp(t, number, a, data))
            return true;
        *result = -ENOSYS;
        return false;
    case SECCOMP_RET_USER_NOTIF:
        *result = -ENOSYS;
        return false;
    case SECCOMP_RET_KILL_THREAD:
        seccomp_kill_thread(t);
        return false;
    default:
        seccomp_kill_process();
        return false;
    }
}

bool seccomp_allows(struct thread *t, uint64_t number, const uint64_t a[6], int64_t *result)
{
    struct seccomp_data data = {
        .nr = (int)number,
        .arch = GUEST_AUDIT_ARCH,
        .instruction_pointer = t->hart->pc,
    };
    for (unsigned i = 0; i < 6; i++)
        data.args[i] = a[i];
    if (t->seccomp.strict) {
        if (!seccomp_strict_allows(number))
            seccomp_kill_thread(t);
        return true;
    }
    return seccomp_act(t, number, a, seccomp_ask(t->seccomp.filter, &data), result);
}

/* ---- setting ---- */

void seccomp_inherit(struct thread *child, const struct thread *parent)
{
    child->seccomp.filter = parent->seccomp.filter;
    child->seccomp.strict = parent->seccomp.strict;
    child->seccomp.active = parent->seccomp.active;
}

int64_t seccomp_mode(const struct thread *t)
{
    if (t->seccomp.strict)
        return SECCOMP_MODE_STRICT;
    return t->seccomp.filter ? SECCOMP_MODE_FILTER : SECCOMP_MODE_DISABLED;
}

/* The program at args, checked. -errno. */
static int64_t seccomp_read(uint64_t args, struct seccomp_filter **out)
{
    struct sock_fprog prog;
    if (!guest_read(&prog, args, sizeof prog))
        return -EFAULT;
    if (!prog.len || prog.len > BPF_MAXINSNS)
        return -EINVAL;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 && !syscall_capable(CAP_SYS_ADMIN))
        return -EACCES;
    size_t size = prog.len * sizeof(struct sock_filter);
    struct seccomp_filter *f = malloc(sizeof *f + size);
    if (!f)
        return -ENOMEM;
    f->len = prog.len;
    bool there = guest_read(f->insn, guest_address(prog.filter), size);
    if (there && bpf_check(f->insn, f->len)) {
        *out = f;
        return 0;
    }
    free(f);
    return there ? -EINVAL : -EFAULT;
}

static bool seccomp_descends(const struct seccomp_filter *from, const struct seccomp_filter *old)
{
    while (from && from != old)
        from = from->before;
    return from == old;
}

/* A thread that cannot take over what `filter` stands on; NULL: all can. process->lock is held. */
static const struct thread *seccomp_in_the_way(const struct thread *self,
                                               const struct seccomp_filter *filter)
{
    for (const struct thread *t = self->process->threads; t; t = t->next)
        if (t != self && (t->seccomp.strict || !seccomp_descends(filter, t->seccomp.filter)))
            return t;
    return NULL;
}

static void seccomp_install(struct thread *t, const struct seccomp_filter *f)
{
    t->seccomp.filter = f;
    t->seccomp.active = true;
}

/* process->lock is held. */
static int64_t seccomp_add(struct thread *t, unsigned flags, struct seccomp_filter *f)
{
    unsigned total = f->len;
    for (const struct seccomp_filter *i = t->seccomp.filter; i; i = i->before)
        total += i->len + SECCOMP_FILTER_COST;
    if (total > SECCOMP_MAX_INSNS)
        return -ENOMEM;
    f->before = t->seccomp.filter;
    if (flags & SECCOMP_FILTER_FLAG_TSYNC) {
        const struct thread *other = seccomp_in_the_way(t, f->before);
        if (other)
            return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : other->tid;
        for (struct thread *i = t->process->threads; i; i = i->next)
            seccomp_install(i, f);
    }
    seccomp_install(t, f);
    return 0;
}

static int64_t seccomp_set_filter(struct thread *t, unsigned flags, uint64_t args)
{
    const unsigned known = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |
                           SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    struct seccomp_filter *f;
    if (flags & ~known)
        return -EINVAL;
    int64_t rc = seccomp_read(args, &f);
    if (rc)
        return rc;
    pthread_mutex_lock(&t->process->lock);
    rc = t->seccomp.strict ? -EINVAL : seccomp_add(t, flags, f);
    pthread_mutex_unlock(&t->process->lock);
    if (rc)
        free(f);
    return rc;
}

static int64_t seccomp_set_strict(struct thread *t, unsigned flags, uint64_t args)
{
    if (flags || args || t->seccomp.filter)
        return -EINVAL;
    t->seccomp.strict = true;
    t->seccomp.active = true;
    return 0;
}

static int64_t seccomp_action_available(uint64_t args)
{
    static const uint32_t actions[] = {
        SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
        SECCOMP_RET_TRACE,        SECCOMP_RET_LOG,         SECCOMP_RET_ALLOW};
    uint32_t action;
    if (!guest_read(&action, args, sizeof action))
        return -EFAULT;
    for (unsigned i = 0; i < ARRAY_SIZE(actions); i++)
        if (actions[i] == action)
            return 0;
    return -EOPNOTSUPP;
}

int64_t seccomp_set(struct thread *t, unsigned operation, unsigned flags, uint64_t args)
{
    switch (operation) {
    case SECCOMP_SET_MODE_STRICT:
        return seccomp_set_strict(t, flags, args);
    case SECCOMP_SET_MODE_FILTER:
        return seccomp_set_filter(t, flags, args);
    case SECCOMP_GET_ACTION_AVAIL:
        return flags ? -EINVAL : seccomp_action_available(args);
    default:
        return -EINVAL;
    }
}

int64_t sys_seccomp(struct thread *t, const uint64_t a[SYSCALL_ARGS])
{
    return seccomp_set(t, (unsigned)a[0], (unsigned)a[1], a[2]);
}
