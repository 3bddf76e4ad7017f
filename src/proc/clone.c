/*
 * New threads and processes. A thread is a host thread made by the C library; a process is made by
 * fork, which keeps the C library's locks sound, or by the kernel's own clone where fork cannot say
 * what is wanted. vfork's child runs in this address space on a stack of its own while the kernel
 * keeps the parent waiting.
 */
#include "proc/thread.h"

#include "host/fault.h"
#include "host/host_thread.h"
#include "proc/syscall.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#endif

#define THREAD_STACK (256u << 10) /* the host's: generated code, the handlers of signals */

/* What guise does on its own; the kernel is not told. */
#define CLONE_OURS                                                                                \
    ((uint64_t)(CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) | \
     CLONE_CLEAR_SIGHAND)

static void *host_pointer(uint64_t guest)
{
    return (void *)(uintptr_t)guest;
}

/* The child's registers: the parent's, but for the result and what was asked for. */
static void clone_registers(struct thread *child, const struct thread *t,
                            const struct thread_clone *c)
{
    struct rv_hart *to = child->hart;
    const struct rv_hart *from = t->hart;
    memcpy(to->x, from->x, sizeof to->x);
    memcpy(to->f, from->f, sizeof to->f);
    to->pc = from->pc;
    to->fflags = from->fflags;
    to->frm = from->frm;
    to->x[REG_A0] = 0;
    if (c->stack)
        to->x[REG_SP] = c->stack;
    if (c->flags & CLONE_SETTLS)
        to->x[REG_TP] = c->tls;
}

/* In the child, whose tid is known, before it runs. */
static void clone_begin(struct thread *child, const struct thread_clone *c)
{
    uint32_t tid = (uint32_t)child->tid;
    child->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->child_tid : 0;
    if (c->flags & CLONE_CHILD_SETTID)
        guest_write(c->child_tid, &tid, sizeof tid);
}

static void clone_tell_parent(const struct thread_clone *c, int64_t tid)
{
    uint32_t word = (uint32_t)tid;
    if (c->flags & CLONE_PARENT_SETTID)
        guest_write(c->parent_tid, &word, sizeof word);
}

static struct thread *clone_thread(struct thread *t, const struct thread_clone *c)
{
    struct error err;
    struct thread *child = thread_new(t->process, &err);
    if (!child)
        return NULL;
    clone_registers(child, t, c);
    signals_inherit(child, t);
    trace_inherit(child, t, trace_follows(t, c->flags, c->exit_signal));
    /* Another thread may give filters to all. */
    pthread_mutex_lock(&t->process->lock);
    seccomp_inherit(child, t);
    pthread_mutex_unlock(&t->process->lock);
    return child;
}

/* ---- threads ---- */

struct start {
    struct thread *child;
    const struct thread_clone *clone;
    _Atomic uint32_t tid; /* futex: 0 until the child has begun */
};

/* The C library's threads share more than this one may want to. */
static void start_own(uint64_t flags)
{
    unsigned own = (unsigned)(~flags & (CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));
    if (own)
        unshare((int)own);
}

static void *start_thread(void *arg)
{
    struct start *s = arg;
    struct thread *child = s->child;
    jmp_buf end;
    thread_set_self(child);
    /* The C library lets its threads begin with its signal 32, which is the guest's here. */
    signals_block_all(child);
    child->tid = (pid_t)syscall(SYS_gettid);
    child->end = &end;
    start_own(s->clone->flags);
    clone_tell_parent(s->clone, child->tid);
    clone_begin(child, s->clone);
    atomic_store(&s->tid, (uint32_t)child->tid);
    syscall(SYS_futex, &s->tid, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    if (setjmp(end))
        return NULL;
    signals_unblock(child);
    thread_run(child);
}

static int start_host_thread(struct start *s)
{
    pthread_attr_t attr;
    pthread_t host;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    int rc = host_thread_start(&host, &attr, start_thread, s);
    pthread_attr_destroy(&attr);
    return rc;
}

static int64_t clone_new_thread(struct thread *t, const struct thread_clone *c)
{
    struct start s = {.child = clone_thread(t, c), .clone = c};
    if (!s.child)
        return -EAGAIN;
    atomic_fetch_add(&t->process->alive, 1);
    int rc = start_host_thread(&s);
    while (!rc && !atomic_load(&s.tid))
        syscall(SYS_futex, &s.tid, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    if (rc) {
        atomic_fetch_sub(&t->process->alive, 1);
        thread_free(s.child);
        return -rc;
    }
    return s.tid;
}

/* ---- vfork ---- */

struct vfork_start {
    struct thread *child;
    const struct thread_clone *clone;
};

static int start_vfork(void *arg)
{
    const struct vfork_start *s = arg;
    thread_set_self(s->child);
    signals_block_all(s->child);
    s->child->tid = (pid_t)syscall(SYS_gettid);
    clone_begin(s->child, s->clone);
    if (s->child->clear_actions)
        signals_clear(s->child);
    signals_unblock(s->child);
    thread_run(s->child);
}

static struct thread *clone_vfork_thread(struct thread *t, const struct thread_clone *c)
{
    struct thread *child = clone_thread(t, c);
    if (!child)
        return NULL;
    child->vfork = true;
    child->signals.stack = t->signals.stack;
    child->signals.stack_size = t->signals.stack_size;
    child->signals.stack_flags = t->signals.stack_flags;
    if (signals_own_actions(child, c->flags & CLONE_CLEAR_SIGHAND))
        return child;
    thread_free(child);
    return NULL;
}

/* The child may have been killed anywhere: in the guest, with its scope of faults. */
static void clone_vfork_end(struct thread *t, struct thread *child, struct fault_scope *scope)
{
    thread_set_self(t);
    fault_set_innermost(scope);
    atomic_store(&child->vcpu.in_guest, false);
    thread_free(child);
}

static int64_t clone_vfork(struct thread *t, const struct thread_clone *c)
{
    struct fault_scope *scope = fault_innermost();
    int flags = (int)((c->flags & ~CLONE_OURS) | (unsigned)c->exit_signal);
    char *stack =
        mmap(NULL, THREAD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return -ENOMEM;
    struct vfork_start s = {.child = clone_vfork_thread(t, c), .clone = c};
    if (!s.child) {
        munmap(stack, THREAD_STACK);
        return -ENOMEM;
    }
    trace_publish(t);
    int64_t rc = -THREAD_RESTART;
    if (signals_shut(t)) {
        rc = clone(start_vfork, stack + THREAD_STACK, flags, &s, host_pointer(c->pidfd));
        rc = rc < 0 ? -errno : rc;
    }
    clone_vfork_end(t, s.child, scope);
    signals_block_all(t);
    trace_adopt(t);
    if (rc > 0)
        clone_tell_parent(c, rc);
    munmap(stack, THREAD_STACK);
    return rc;
}

/* ---- fork ---- */

/*
 * What must be in no thread's hands in the child. The engine asks mm what is executable while it
 * holds its own locks.
 */
static void fork_lock(struct thread *t)
{
    struct process *p = t->process;
    pthread_mutex_lock(&p->stop_lock);
    pthread_mutex_lock(&p->lock);
    p->config->engine->fork_begin(&t->vcpu);
    pthread_mutex_lock(&p->mm.lock);
    pthread_mutex_lock(&t->signals.actions->lock);
}

static void fork_unlock(struct thread *t, bool child)
{
    struct process *p = t->process;
    pthread_mutex_unlock(&t->signals.actions->lock);
    pthread_mutex_unlock(&p->mm.lock);
    p->config->engine->fork_end(&t->vcpu, child);
    if (child)
        thread_forked(t);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->stop_lock);
}

static int64_t fork_raw(const struct thread_clone *c, uint64_t flags)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
        uint64_t set_tid, set_tid_size, cgroup;
    } args = {
        .flags = flags,
        .pidfd = c->pidfd,
        .exit_signal = (uint64_t)c->exit_signal,
        .set_tid = c->set_tid,
        .set_tid_size = c->set_tid_size,
        .cgroup = c->cgroup,
    };
    long rc = syscall(SYS_clone3, &args, sizeof args);
    return rc < 0 ? -errno : rc;
}

static void clone_process_begin(struct thread *t, const struct thread_clone *c)
{
    struct rv_hart *h = t->hart;
    h->x[REG_SP] = c->stack ? c->stack : h->x[REG_SP];
    h->x[REG_TP] = c->flags & CLONE_SETTLS ? c->tls : h->x[REG_TP];
    clone_begin(t, c);
    t->signals.held = 0;
    if (c->flags & CLONE_CLEAR_SIGHAND)
        signals_clear(t);
}

/* What comes to the child, once there is one, is the child's. */
static int64_t fork_shut(struct thread *t, const struct thread_clone *c)
{
    uint64_t flags = c->flags & ~CLONE_OURS;
    bool plain = !flags && c->exit_signal == SIGCHLD && !c->set_tid_size;
    int64_t rc = plain ? fork() : fork_raw(c, flags);
    if (plain && rc < 0)
        rc = -errno;
    if (!rc)
        trace_inherit(t, t, trace_follows(t, c->flags, c->exit_signal));
    return rc;
}

static int64_t clone_process(struct thread *t, const struct thread_clone *c)
{
    fork_lock(t);
    int64_t rc = signals_shut(t) ? fork_shut(t, c) : -THREAD_RESTART;
    signals_block_all(t);
    fork_unlock(t, !rc);
    if (!rc)
        clone_process_begin(t, c);
    else if (rc > 0)
        clone_tell_parent(c, rc);
    return rc;
}

/* With all signals blocked. */
static int64_t clone_any(struct thread *t, const struct thread_clone *c)
{
    if (c->flags & CLONE_THREAD)
        return clone_new_thread(t, c);
    return c->flags & CLONE_VM ? clone_vfork(t, c) : clone_process(t, c);
}

int64_t thread_clone(struct thread *t, const struct thread_clone *c)
{
    uint64_t f = c->flags;
    if (((f & CLONE_THREAD) && !(f & CLONE_SIGHAND)) || ((f & CLONE_SIGHAND) && !(f & CLONE_VM)))
        return -EINVAL;
    if ((f & CLONE_THREAD) && (f & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_VFORK | CLONE_PIDFD)))
        return -EINVAL;
    /* A process that shares memory and runs at the same time: nobody makes one any more. */
    if (!(f & CLONE_THREAD) && (f & CLONE_VM) && (!(f & CLONE_VFORK) || (f & CLONE_SIGHAND)))
        return -EINVAL;
    /* What is pending here is not the child's. */
    if (!signals_block_all(t))
        return -THREAD_RESTART;
    t->trace.record.cloning = 1;
    int64_t rc = clone_any(t, c);
    t->trace.record.cloning = 0;
    trace_cloned(t, c->flags, c->exit_signal, rc);
    signals_unblock(t);
    return rc;
}
