#include "core/vcpu.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void vcpu_init(struct vcpu *v, unsigned index, struct addrspace *mem, struct clock *clock)
{
    *v = (struct vcpu){
        .index = index, .mem = mem, .clock = clock, .stop_at = UINT64_MAX, .schedstat = -1};
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_kick(struct vcpu *v)
{
    atomic_fetch_add(&v->wake, 1);
    atomic_store(&v->stop_at, 0);
    /* Either this sees that the owner goes to sleep, or it sees another word and does not. */
    if (atomic_load(&v->asleep))
        futex_wake(&v->wake);
}

void vcpu_request(struct vcpu *v, uint32_t bits)
{
    atomic_fetch_or(&v->requests, bits);
    vcpu_kick(v);
}

uint32_t vcpu_take_requests(struct vcpu *v)
{
    return atomic_exchange(&v->requests, 0);
}

void vcpu_irq_set(void *ctx, unsigned number, bool level)
{
    struct vcpu *v = ctx;
    uint64_t bit = UINT64_C(1) << number;
    if (!level) {
        atomic_fetch_and(&v->irq_held, ~bit);
        atomic_fetch_and(&v->irq_lines, ~bit);
    } else if (!(atomic_fetch_or(v->hold_irqs ? &v->irq_held : &v->irq_lines, bit) & bit)) {
        vcpu_kick(v);
    }
}

void vcpu_irq_release(struct vcpu *v)
{
    atomic_fetch_or(&v->irq_lines, atomic_exchange(&v->irq_held, 0));
}

struct irq_line vcpu_irq_line(struct vcpu *v, unsigned number)
{
    return (struct irq_line){.set = vcpu_irq_set, .ctx = v, .number = number};
}

void vcpu_wait(struct vcpu *v, uint32_t seen, uint64_t timeout_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                          .tv_nsec = (long)(timeout_ns % 1000000000)};
    atomic_store(&v->asleep, true);
    syscall(SYS_futex, &v->wake, FUTEX_WAIT_PRIVATE, seen, timeout_ns == CLOCK_NEVER ? NULL : &ts,
            NULL, 0);
    atomic_store(&v->asleep, false);
}
