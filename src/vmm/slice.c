/*
 * Deterministic time: all vCPUs run one after the other through the same slice of guest time, which
 * counts instructions. Timers fire between slices. Slices end at multiples of SLICE_NS or at a
 * timer's deadline, so where a run is interrupted has no influence on what the guest sees.
 *
 * Nothing that reaches a vCPU from outside depends on where within a slice its engine returns: an
 * engine notices a kick some instructions late, each engine at other ones. Therefore
 *
 *  - interrupt inputs that rise are held back until the vCPU's next slice (vcpu.hold_irqs), whoever
 *    raised them; those that fall, do so with the guest's own access to the device;
 *  - requests are carried out when a slice begins and after exits that the guest's instructions
 *    have caused, not after a kick;
 *  - switching off and reset happen at the end of the slice. A vCPU that asked firmware for it runs
 *    no further; one that wrote to a device does.
 *
 * So guest time, console and architectural state do not depend on the engine.
 */
#include "vmm/vm_internal.h"

#define SLICE_NS 10000u

void vm_slices_start(struct vm *vm)
{
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vm->machine->vcpus[i].hold_irqs = true;
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

void vm_slice_begin(struct vm *vm, struct slice *s)
{
    uint64_t end = slice_end(vm);
    *s = (struct slice){
        .open = true,
        .end = end,
        .length = end - clock_ns(&vm->machine->clock),
        .seen = atomic_load(&vm->machine->vcpus[0].wake),
    };
}

/* Runs v until it has used `until` instructions of its slice, as long as it has something to do. */
static void run_vcpu(struct vm *vm, struct vcpu *v, struct slice *s, uint64_t until)
{
    const uint64_t *count = v->engine->icount(v);
    const uint64_t start = *count - s->used;
    bool can_run = true, over = false;
    if (!s->used)
        vcpu_irq_release(v);
    clock_slice_begin(&vm->machine->clock, count, s->used);
    enum vcpu_exit exit = VCPU_EXIT_LIMIT;
    while (!over && *count - start < until && vm->state == RUN_RUNNING) {
        if (exit != VCPU_EXIT_KICK)
            can_run = vm_vcpu_prepare(vm, v);
        if (!can_run)
            break;
        s->active = true;
        exit = vm_vcpu_enter(vm, v, until - (*count - start));
        over = exit == VCPU_EXIT_CALL && vm->power_pending;
    }
    clock_slice_end(&vm->machine->clock);
    s->used = over ? s->length : *count - start;
}

bool vm_slice_run(struct vm *vm, struct slice *s, unsigned vcpu, uint64_t used)
{
    for (;;) {
        bool last = s->next == vcpu;
        if (s->next == vm->machine->vcpu_count || (last && !used))
            return true;
        run_vcpu(vm, &vm->machine->vcpus[s->next], s, last ? used : s->length);
        if (vm->state != RUN_RUNNING)
            return false;
        if (last)
            return true;
        s->used = 0;
        s->next++;
    }
}

bool vm_slice_finish(struct vm *vm, struct slice *s)
{
    struct machine *m = vm->machine;
    uint64_t end = s->active ? s->end : idle_end(vm, s->end);
    s->open = false;
    if (end != CLOCK_NEVER)
        clock_advance(&m->clock, end);
    clock_run(&m->clock);
    vm_power_now(vm);
    return end != CLOCK_NEVER;
}
