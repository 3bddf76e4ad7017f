/*
 * The threads that run vCPUs.
 *
 * Normally each vCPU has a thread, and the event loop's thread fires the machine's timers. In
 * deterministic mode one thread runs all vCPUs in turn, each for the same slice of guest time;
 * timers fire between slices. Slices end at multiples of SLICE_NS or at a timer's deadline, so
 * where a run is interrupted has no influence on what the guest sees.
 *
 * Parking: threads run while vm->state is RUN_RUNNING. To look at or change the machine, the loop's
 * thread pauses it: every thread leaves its engine and waits, and what it owns is the loop's.
 */
#include "vmm/vm_internal.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_NS 10000u
#define IDLE_POLL_NS 2000000u /* deterministic, nothing to do: how often to look for input */

struct vcpu_thread {
    struct vm *vm;
    unsigned index;
};

/* ---- parking ---- */

/* With vm->lock held. Waits while paused; false when the machine ends. */
static bool park(struct vm *vm)
{
    if (vm->state == RUN_PAUSED) {
        vm->running--;
        pthread_cond_broadcast(&vm->changed);
        while (vm->state == RUN_PAUSED)
            pthread_cond_wait(&vm->changed, &vm->lock);
        vm->running++;
    }
    return vm->state == RUN_RUNNING;
}

static bool may_run(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    bool run = park(vm);
    pthread_mutex_unlock(&vm->lock);
    return run;
}

static void set_state(struct vm *vm, enum run_state state)
{
    pthread_mutex_lock(&vm->lock);
    if (vm->state != RUN_ENDING)
        vm->state = state;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vcpu_request(&vm->machine->vcpus[i], VCPU_REQ_STOP);
}

void vm_pause(struct vm *vm)
{
    set_state(vm, RUN_PAUSED);
    pthread_mutex_lock(&vm->lock);
    while (vm->running)
        pthread_cond_wait(&vm->changed, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
    clock_stop(&vm->machine->clock);
}

void vm_resume(struct vm *vm)
{
    clock_start(&vm->machine->clock);
    clock_run(&vm->machine->clock);
    set_state(vm, RUN_RUNNING);
}

/* ---- one vCPU ---- */

static void handle_exit(struct vm *vm, struct vcpu *v, enum vcpu_exit exit)
{
    struct machine *m = vm->machine;
    switch (exit) {
    case VCPU_EXIT_LIMIT:
    case VCPU_EXIT_KICK:
    case VCPU_EXIT_DEBUG: /* vm_debug_after's */
        break;
    case VCPU_EXIT_WAIT:
        v->waiting = true;
        break;
    case VCPU_EXIT_CALL:
        m->ops->call(m, v);
        break;
    }
}

/* Carries out requests. True if the vCPU can run guest code now. */
static bool prepare(struct vm *vm, struct vcpu *v)
{
    struct machine *m = vm->machine;
    m->ops->requests(m, v, vcpu_take_requests(v));
    if (!m->ops->started(m, v))
        return false;
    if (v->waiting && m->ops->has_work(m, v))
        v->waiting = false;
    return !v->waiting && vm_debug_may_run(vm, v);
}

/* Lets v run up to `limit` instructions and handles why it stopped. */
static void enter(struct vm *vm, struct vcpu *v, uint64_t limit)
{
    enum vcpu_exit exit = v->engine->run(v, vm_debug_before(vm, v, limit));
    atomic_store(&v->in_guest, false);
    handle_exit(vm, v, exit);
    vm_debug_after(vm, v, exit);
}

static void *vm_vcpu_thread(void *arg)
{
    struct vcpu_thread *t = arg;
    struct vm *vm = t->vm;
    struct vcpu *v = &vm->machine->vcpus[t->index];
    free(t);
    while (may_run(vm)) {
        uint32_t seen = atomic_load(&v->wake);
        atomic_store(&v->in_guest, true);
        if (atomic_load(&v->requests) & VCPU_REQ_STOP) {
            atomic_fetch_and(&v->requests, ~(uint32_t)VCPU_REQ_STOP);
            atomic_store(&v->in_guest, false);
            continue;
        }
        if (!prepare(vm, v)) {
            atomic_store(&v->in_guest, false);
            vcpu_wait(v, seen, CLOCK_NEVER);
            continue;
        }
        enter(vm, v, UINT64_MAX);
    }
    pthread_mutex_lock(&vm->lock);
    vm->running--;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    return NULL;
}

/* ---- deterministic ---- */

/*
 * A stretch of guest time that every vCPU runs through, one after the other. Whatever interrupts it
 * (a pause, a debugger, a reset by the guest itself) leaves it where it is, so that it then goes on
 * as if nothing had happened.
 */
struct slice {
    bool open;
    bool active;     /* a vCPU had something to do */
    uint64_t end;    /* guest time */
    uint64_t length; /* the same in instructions */
    uint64_t used;   /* of them, by vCPU `next` */
    unsigned next;
    uint32_t seen; /* vCPU 0's wake word when it began */
};

/* Runs v through the rest of its slice, as long as it has something to do. */
static void run_vcpu(struct vm *vm, struct vcpu *v, struct slice *s)
{
    const uint64_t *count = v->engine->icount(v);
    const uint64_t start = *count - s->used;
    clock_slice_begin(&vm->machine->clock, count, s->used);
    while (*count - start < s->length && vm->state == RUN_RUNNING && prepare(vm, v)) {
        s->active = true;
        enter(vm, v, s->length - (*count - start));
    }
    clock_slice_end(&vm->machine->clock);
    s->used = *count - start;
}

/* True when all vCPUs are through. */
static bool run_slice(struct vm *vm, struct slice *s)
{
    while (s->next < vm->machine->vcpu_count) {
        run_vcpu(vm, &vm->machine->vcpus[s->next], s);
        if (vm->state != RUN_RUNNING)
            return false;
        s->used = 0;
        s->next++;
    }
    return true;
}

/* Guest time at which the slice that starts now ends. */
static uint64_t slice_end(struct vm *vm)
{
    uint64_t now = clock_ns(&vm->machine->clock);
    uint64_t end = now - now % SLICE_NS + SLICE_NS;
    uint64_t deadline = clock_deadline(&vm->machine->clock);
    return deadline > now && deadline < end ? deadline : end;
}

/*
 * Guest time to go on at when no vCPU has anything to do before the next timer: that timer's, or
 * where the run is to stop. CLOCK_NEVER: only input can change anything.
 */
static uint64_t idle_end(struct vm *vm, uint64_t end)
{
    uint64_t next = clock_deadline(&vm->machine->clock);
    if (vm->config.run_for && vm->config.run_for < next)
        next = vm->config.run_for;
    return next > end ? next : end;
}

static struct slice slice_begin(struct vm *vm)
{
    uint64_t end = slice_end(vm);
    return (struct slice){
        .open = true,
        .end = end,
        .length = end - clock_ns(&vm->machine->clock),
        .seen = atomic_load(&vm->machine->vcpus[0].wake),
    };
}

/* All vCPUs are through: time moves on. */
static void slice_finish(struct vm *vm, const struct slice *s)
{
    struct machine *m = vm->machine;
    uint64_t end = s->active ? s->end : idle_end(vm, s->end);
    if (end == CLOCK_NEVER)
        vcpu_wait(&m->vcpus[0], s->seen, IDLE_POLL_NS);
    else
        clock_advance(&m->clock, end);
    clock_run(&m->clock);
}

static void *vm_deterministic_thread(void *arg)
{
    struct vm *vm = arg;
    struct slice slice = {.open = false};
    while (may_run(vm)) {
        if (!slice.open) {
            if (vm->config.run_for && clock_ns(&vm->machine->clock) >= vm->config.run_for) {
                vm_end(vm, VM_END_LIMIT, 0);
                continue;
            }
            slice = slice_begin(vm);
        }
        if (run_slice(vm, &slice)) {
            slice_finish(vm, &slice);
            slice.open = false;
        }
    }
    pthread_mutex_lock(&vm->lock);
    vm->running--;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    return NULL;
}

/* ---- threads ---- */

static int thread_start(struct vm *vm, pthread_t *thread, unsigned index)
{
    if (vm->config.deterministic)
        return pthread_create(thread, NULL, vm_deterministic_thread, vm);
    struct vcpu_thread *t = malloc(sizeof *t);
    if (!t)
        return ENOMEM;
    *t = (struct vcpu_thread){vm, index};
    int rc = pthread_create(thread, NULL, vm_vcpu_thread, t);
    if (rc)
        free(t);
    return rc;
}

static unsigned thread_count(const struct vm *vm)
{
    return vm->config.deterministic ? 1 : vm->machine->vcpu_count;
}

static void threads_join(struct vm *vm, pthread_t *threads, unsigned count)
{
    set_state(vm, RUN_ENDING);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

int vm_threads_start(struct vm *vm, pthread_t *threads, struct error *err)
{
    unsigned count = thread_count(vm);
    vm->state = RUN_PAUSED;
    for (unsigned i = 0; i < count; i++) {
        pthread_mutex_lock(&vm->lock);
        vm->running++;
        pthread_mutex_unlock(&vm->lock);
        int rc = thread_start(vm, &threads[i], i);
        if (rc) {
            vm->running--;
            threads_join(vm, threads, i);
            return error_set(err, rc, "cannot start a thread for cpu %u: the host has no more", i);
        }
    }
    return 0;
}

void vm_threads_end(struct vm *vm, pthread_t *threads)
{
    threads_join(vm, threads, thread_count(vm));
}
