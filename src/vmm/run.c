/*
 * The threads that run vCPUs.
 *
 * Normally each vCPU has a thread, and the event loop's thread fires the machine's timers. In
 * deterministic mode one thread runs all vCPUs in turn, in slices of guest time (slice.c).
 *
 * Parking: threads run while vm->state is RUN_RUNNING. To look at or change the machine, the loop's
 * thread pauses it: every thread leaves its engine and waits, and what it owns is the loop's.
 */
#include "vmm/vm_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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

void vm_drain(struct vm *vm)
{
    for (unsigned i = 0; i < vm->machine->device_count; i++)
        device_drain(vm->machine->devices[i]);
}

void vm_resume(struct vm *vm)
{
    clock_start(&vm->machine->clock);
    clock_run(&vm->machine->clock);
    /* The loop's timer may have fired while time stood still, and was not set again. */
    vm_clock_changed(vm);
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
    case VCPU_EXIT_TRAP: /* machines have handlers of their own */
        break;
    }
}

bool vm_vcpu_prepare(struct vm *vm, struct vcpu *v)
{
    struct machine *m = vm->machine;
    m->ops->requests(m, v, vcpu_take_requests(v));
    if (!m->ops->started(m, v))
        return false;
    if (v->waiting && m->ops->has_work(m, v))
        v->waiting = false;
    return !v->waiting && vm_debug_may_run(vm, v);
}

enum vcpu_exit vm_vcpu_enter(struct vm *vm, struct vcpu *v, uint64_t limit)
{
    enum vcpu_exit exit = v->engine->run(v, vm_debug_before(vm, v, limit));
    atomic_store(&v->in_guest, false);
    handle_exit(vm, v, exit);
    vm_debug_after(vm, v, exit);
    return exit;
}

static void thread_ends(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->running--;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

static void *vm_vcpu_thread(void *arg)
{
    struct vcpu_thread *t = arg;
    struct vm *vm = t->vm;
    struct vcpu *v = &vm->machine->vcpus[t->index];
    free(t);
    v->schedstat = vm_open_schedstat(vm);
    while (may_run(vm)) {
        uint32_t seen = atomic_load(&v->wake);
        atomic_store(&v->in_guest, true);
        if (atomic_load(&v->requests) & VCPU_REQ_STOP) {
            atomic_fetch_and(&v->requests, ~(uint32_t)VCPU_REQ_STOP);
            atomic_store(&v->in_guest, false);
            continue;
        }
        if (!vm_vcpu_prepare(vm, v)) {
            atomic_store(&v->in_guest, false);
            vcpu_wait_polling(v, seen);
            continue;
        }
        vm_vcpu_enter(vm, v, UINT64_MAX);
    }
    if (v->schedstat >= 0)
        close(v->schedstat);
    v->schedstat = -1;
    thread_ends(vm);
    return NULL;
}

static void *vm_deterministic_thread(void *arg)
{
    struct vm *vm = arg;
    struct slice slice = {.open = false};
    vm_slices_start(vm);
    while (may_run(vm)) {
        if (!slice.open) {
            if (vm->config.run_for && clock_ns(&vm->machine->clock) >= vm->config.run_for) {
                vm_end(vm, VM_END_LIMIT, 0);
                continue;
            }
            vm_slice_begin(vm, &slice);
        }
        if (!vm_slice_run(vm, &slice, vm->machine->vcpu_count, 0))
            continue;
        uint32_t seen = slice.seen;
        if (!vm_slice_finish(vm, &slice))
            vcpu_wait(&vm->machine->vcpus[0], seen, IDLE_POLL_NS);
    }
    thread_ends(vm);
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
