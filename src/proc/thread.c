/*
 * Threads: their loop, and stopping all of them at once.
 *
 * A thread is in the guest while vcpu.in_guest is set. To change translations that all threads
 * share, one thread sets process->stopping, kicks the others and waits until none is in the guest;
 * whoever wants to enter then waits for stop_lock.
 */
#include "proc/thread.h"

#include "base/bits.h"
#include "host/host_thread.h"
#include "isa/riscv64/decode.h"
#include "proc/robust.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* initial-exec: the handler of signals reads it. vfork's child has the parent's, and sets it. */
static __thread struct thread *thread_current __attribute__((tls_model("initial-exec")));

struct thread *thread_self(void)
{
    return thread_current;
}

void thread_set_self(struct thread *t)
{
    thread_current = t;
}

/* ---- making ---- */

static struct thread *thread_of(struct vcpu *v)
{
    return container_of(v, struct thread, vcpu);
}

static bool thread_executable(void *ctx, uint64_t va)
{
    return mm_executable(&thread_of(ctx)->process->mm, va);
}

static bool thread_image(void *ctx, uint64_t va, struct rv_image *out)
{
    return mm_image(&thread_of(ctx)->process->mm, va, out);
}

static uint64_t thread_time(void *ctx)
{
    const struct vcpu *v = ctx;
    return clock_ns(v->clock) / (UINT64_C(1000000000) / PROCESS_TIME_FREQUENCY);
}

static void thread_no_timer(struct rv_hart *h)
{
    (void)h;
}

static void thread_init_hart(struct rv_hart *h, struct vcpu *v)
{
    h->exts = rv_exts_closure(RV_EXTS_DEFAULT);
    h->process = 1;
    h->env = (struct rv_hart_env){.time = thread_time,
                                  .stimecmp_changed = thread_no_timer,
                                  .ctx = v,
                                  .executable = thread_executable,
                                  .image = thread_image};
    h->irq_lines = &v->irq_lines;
    rv_hart_reset(h, 0);
    h->priv = RV_PRIV_U;
    h->mstatus |= RV_MSTATUS_FS;
    h->mcounteren = h->scounteren = 7; /* cycle, time, instret */
    h->menvcfg = h->senvcfg = RV_ENVCFG_CBZE | RV_ENVCFG_CBCFE;
    rv_hart_view_changed(h);
}

static struct thread *thread_alloc(void)
{
    struct thread *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    /* Zero, and resident only as it is used. */
    t->hart =
        mmap(NULL, sizeof *t->hart, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->hart == MAP_FAILED) {
        free(t);
        return NULL;
    }
    return t;
}

static void thread_dealloc(struct thread *t)
{
    munmap(t->hart, sizeof *t->hart);
    free(t->exec_memory);
    if (t->own_actions)
        free(t->signals.actions);
    free(t);
}

static void thread_enlist(struct thread *t)
{
    struct process *p = t->process;
    t->next = p->threads;
    if (t->next)
        t->next->prev = t;
    p->threads = t;
}

static void thread_delist(struct thread *t)
{
    struct process *p = t->process;
    *(t->prev ? &t->prev->next : &p->threads) = t->next;
    if (t->next)
        t->next->prev = t->prev;
}

struct thread *thread_new(struct process *p, struct error *err)
{
    const struct engine_ops *engine = p->config->engine;
    struct thread *t = thread_alloc();
    if (!t) {
        error_set(err, ENOMEM, "out of memory for a thread");
        return NULL;
    }
    t->process = p;
    vcpu_init(&t->vcpu, 0, NULL, &p->clock);
    t->vcpu.arch = t->hart;
    t->vcpu.engine = engine;
    t->vcpu.code_cache = p->config->code_cache;
    t->vcpu.store = p->config->store;
    thread_init_hart(t->hart, &t->vcpu);
    pthread_mutex_lock(&p->lock);
    t->vcpu.shares = p->threads ? &p->threads->vcpu : NULL;
    int rc = engine->attach(&t->vcpu, err);
    if (!rc)
        thread_enlist(t);
    pthread_mutex_unlock(&p->lock);
    if (rc) {
        thread_dealloc(t);
        return NULL;
    }
    return t;
}

void thread_free(struct thread *t)
{
    pthread_mutex_lock(&t->process->lock);
    t->vcpu.engine->detach(&t->vcpu);
    thread_delist(t);
    pthread_mutex_unlock(&t->process->lock);
    thread_dealloc(t);
}

void thread_forked(struct thread *t)
{
    struct process *p = t->process;
    struct thread *next;
    for (struct thread *o = p->threads; o; o = next) {
        next = o->next;
        if (o != t)
            thread_dealloc(o); /* what its engine had is shared, or stays behind */
    }
    p->threads = t;
    t->next = t->prev = NULL;
    t->vfork = false; /* fork's child has memory of its own */
    atomic_store(&p->alive, 1);
    t->tid = (pid_t)syscall(SYS_gettid);
    tracer_init(&p->tracer);
}

/* ---- all at once ---- */

static void world_stop(struct thread *self)
{
    struct process *p = self->process;
    pthread_mutex_lock(&p->stop_lock);
    atomic_store(&p->stopping, true);
    pthread_mutex_lock(&p->lock);
    for (struct thread *o = p->threads; o; o = o->next) {
        if (o == self)
            continue;
        vcpu_kick(&o->vcpu);
        while (atomic_load(&o->vcpu.in_guest))
            sched_yield();
    }
    pthread_mutex_unlock(&p->lock);
}

static void world_resume(struct thread *self)
{
    atomic_store(&self->process->stopping, false);
    pthread_mutex_unlock(&self->process->stop_lock);
}

void process_code_changed(struct process *p, uint64_t start, uint64_t end)
{
    struct thread *t = thread_self();
    /* While the program is loaded there is no thread yet. */
    if (!t || !p->config->engine->has_code(&t->vcpu, start, end))
        return;
    world_stop(t);
    p->config->engine->code_changed(&t->vcpu, start, end);
    world_resume(t);
}

/* ---- the loop ---- */

static void thread_requests(struct thread *t)
{
    uint32_t requests = vcpu_take_requests(&t->vcpu);
    if (requests & VCPU_REQ_FENCE_I)
        process_code_changed(t->process, 0, UINT64_MAX);
    else if (requests & VCPU_REQ_RENEW)
        process_code_changed(t->process, 0, 0); /* if nobody else has made room since */
}

/* False: somebody stops all threads, and has waited for this one. */
static bool thread_enter(struct thread *t)
{
    struct process *p = t->process;
    atomic_store(&t->vcpu.in_guest, true);
    if (likely(!atomic_load(&p->stopping)))
        return true;
    atomic_store(&t->vcpu.in_guest, false);
    pthread_mutex_lock(&p->stop_lock);
    pthread_mutex_unlock(&p->stop_lock);
    return false;
}

static void thread_step(struct thread *t)
{
    if (atomic_load_explicit(&t->vcpu.requests, memory_order_relaxed))
        thread_requests(t);
    if (t->signals.pending || t->signals.held)
        signals_deliver(t);
    if (!thread_enter(t))
        return;
    bool one = trace_steps(&t->trace);
    enum vcpu_exit exit = t->vcpu.engine->run(&t->vcpu, one ? 1 : UINT64_MAX);
    atomic_store_explicit(&t->vcpu.in_guest, false, memory_order_release);
    if (exit == VCPU_EXIT_CALL)
        syscall_serve(t);
    else if (exit == VCPU_EXIT_TRAP)
        signal_exception(t, (unsigned)t->hart->scause, t->hart->stval);
    else if (exit == VCPU_EXIT_LIMIT)
        trace_stepped(t);
}

void thread_run(struct thread *t)
{
    for (;;)
        thread_step(t);
}

/* ---- the end ---- */

void process_leave(struct thread *t)
{
    const struct proc_config *config = t->process->config;
    if (config->engine->save && !t->vfork) /* else the parent will */
        config->engine->save(&t->vcpu);
    if (config->stats && !t->vfork)
        process_print_stats(t);
    if (config->dump)
        fflush(config->dump);
}

void process_exit(struct process *p, int status)
{
    (void)p;
    process_leave(thread_self());
    for (;;)
        syscall(SYS_exit_group, status);
}

/* As the kernel does at the end of a thread with CLONE_CHILD_CLEARTID. */
static void thread_clear_tid(const struct thread *t)
{
    if (t->clear_child_tid && guarded_store((void *)(uintptr_t)t->clear_child_tid, 4, 0))
        syscall(SYS_futex, t->clear_child_tid, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * The first thread of the host stays: without it /proc/self has nothing to tell. Its own stack is
 * all that it keeps.
 */
static _Noreturn void thread_stay(void)
{
    host_thread_block_signals(); /* but what tracers ask by */
    for (;;)
        pause();
}

void thread_exit(struct thread *t, int status)
{
    struct process *p = t->process;
    bool first = t->tid == getpid();
    jmp_buf *end = t->end;
    if (t->vfork)
        process_exit(p, status);
    signals_block_all(t);
    robust_list_end(t);
    thread_clear_tid(t);
    if (atomic_fetch_sub(&p->alive, 1) == 1)
        process_exit(p, status);
    thread_free(t);
    thread_set_self(NULL);
    if (first)
        thread_stay();
    if (end)
        longjmp(*end, 1); /* to the start of the host's thread */
    for (;;)
        syscall(SYS_exit, status);
}
