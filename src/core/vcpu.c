#include "core/vcpu.h"

#include "base/bits.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POLL_MIN_NS 10000
#define POLL_MAX_NS 200000
#define POLL_AWAY_NS 100000 /* for so long another thread has had the processor */
#define POLL_REST 100       /* waits after that which sleep at once */

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

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/*
 * To be woken costs tens of microseconds where the host is a virtual machine itself: as much as two
 * harts that talk to each other take for all the rest. So whoever was woken soon the last times
 * looks for a while before it sleeps, as KVM does on behalf of its guests. That is for processors
 * that nobody else wants: when another thread had this one meanwhile, it is not tried for some
 * time.
 */
static bool vcpu_poll(struct vcpu *v, uint32_t seen, uint64_t start)
{
    for (uint64_t now = start; now - start < v->poll_ns;) {
        for (int i = 0; i < 20; i++) {
            if (atomic_load_explicit(&v->wake, memory_order_acquire) != seen)
                return true;
            host_pause();
        }
        sched_yield();
        uint64_t then = now;
        now = now_ns();
        if (now - then > POLL_AWAY_NS) {
            v->poll_ns = 0;
            v->poll_rest = POLL_REST;
        }
    }
    return false;
}

/* `waited` is how long it would have taken to look. */
static void vcpu_poll_learn(struct vcpu *v, uint64_t waited)
{
    if (v->poll_rest)
        v->poll_rest--;
    else if (waited > POLL_MAX_NS)
        v->poll_ns = 0;
    else if (waited > v->poll_ns)
        v->poll_ns = v->poll_ns ? 2 * v->poll_ns : POLL_MIN_NS;
    if (v->poll_ns > POLL_MAX_NS)
        v->poll_ns = POLL_MAX_NS;
}

void vcpu_wait_polling(struct vcpu *v, uint32_t seen)
{
    uint64_t start = now_ns();
    if (!vcpu_poll(v, seen, start))
        vcpu_wait(v, seen, CLOCK_NEVER);
    vcpu_poll_learn(v, now_ns() - start);
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
