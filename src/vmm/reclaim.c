/*
 * Zero pages of guest memory go back to the host.
 *
 * Guests clear memory long before they use it, or never use it: Linux clears its bounce buffers at
 * boot, and an eighth of a kernel's image is zeros. Such a page reads the same when the host has
 * taken it back, and costs a fault when it is written again.
 *
 * Memory is looked through while all vCPUs are parked, a millisecond or two at a time, and only as
 * far as it has grown: each byte that memory costs more than before pays for two that are looked
 * at. So a machine whose memory does not grow is left alone. Memory grows most where a guest has
 * most to do: unless there has been much to give lately, as early in a boot, what is owed then
 * waits until all vCPUs do, but for a look now and then. In deterministic mode nothing is done.
 */
#include "vmm/vm_internal.h"

#define BETWEEN_NS 20000000u /* while there is something to do, and nobody is disturbed */
#define SOONEST_NS 250000000u
#define PUT_OFF 4u /* times that a look waits for a guest that is busy */
#define LATEST_NS UINT64_C(16000000000)
#define WORTH (UINT64_C(4) << 20)   /* bytes: less is not worth parking */
#define AT_ONCE (UINT64_C(8) << 20) /* bytes looked at */
#define MUCH (AT_ONCE / 8)          /* to give of them on the average, to interrupt a guest for */

static uint64_t u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void reclaim_arm(struct vm *vm, uint64_t ns)
{
    loop_timer_set(vm->loop, &vm->reclaim.timer, loop_now_ns() + ns);
}

static bool any_runs(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        if (atomic_load_explicit(&vm->machine->vcpus[i].in_guest, memory_order_relaxed))
            return true;
    return false;
}

static void reclaim_tick(void *ctx)
{
    struct vm *vm = ctx;
    struct vm_reclaim *r = &vm->reclaim;
    uint64_t now = addrspace_resident(vm->machine->mem);
    if (now > r->seen)
        r->owed = u64_min(r->owed + 2 * (now - r->seen), now);
    r->seen = now;
    bool busy = r->yield < MUCH && any_runs(vm), worth = r->owed >= WORTH;
    r->due = worth && (!busy || ++r->put_off >= PUT_OFF);
    if (r->due) {
        r->put_off = 0;
        vm_park_soon(vm); /* and vm_reclaim_due */
    }
    r->interval_ns = worth ? SOONEST_NS : u64_min(2 * r->interval_ns, LATEST_NS);
    reclaim_arm(vm, !busy && r->owed >= WORTH + AT_ONCE ? BETWEEN_NS : r->interval_ns);
}

void vm_reclaim_due(struct vm *vm)
{
    struct vm_reclaim *r = &vm->reclaim;
    if (!r->due)
        return;
    uint64_t bytes = u64_min(r->owed, AT_ONCE), left = bytes;
    vm_drain(vm); /* a disk could write to a page that was zero when it was looked at */
    uint64_t dropped = addrspace_drop_zeros(vm->machine->mem, &r->at, &left);
    r->due = false;
    r->owed -= bytes;
    r->yield = (7 * r->yield + dropped) / 8;
    r->seen -= u64_min(r->seen, dropped);
    r->dropped += dropped;
}

void vm_reclaim_init(struct vm *vm)
{
    loop_timer_init(&vm->reclaim.timer, reclaim_tick, vm);
}

void vm_reclaim_start(struct vm *vm)
{
    vm->reclaim.interval_ns = SOONEST_NS;
    vm->reclaim.yield = AT_ONCE;
    if (!vm->config.deterministic)
        reclaim_arm(vm, SOONEST_NS);
}

void vm_reclaim_stop(struct vm *vm)
{
    loop_timer_cancel(vm->loop, &vm->reclaim.timer);
}
