/*
 * A virtual processor as its owner and the devices see it, whatever its instruction set and
 * engine: something that runs until it has a reason to stop, can be kicked from any thread, and
 * has interrupt inputs.
 *
 * Threads: one thread owns the vCPU and calls vcpu_run and everything not said to be otherwise.
 * vcpu_kick, vcpu_request and the interrupt lines may be used from any thread.
 */
#pragma once

#include "core/addrspace.h"
#include "core/clock.h"
#include "core/irq.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct engine_ops;

enum vcpu_exit {
    VCPU_EXIT_LIMIT, /* ran the number of instructions asked for */
    VCPU_EXIT_KICK,  /* requests or an interrupt line want the owner's attention */
    VCPU_EXIT_WAIT,  /* the guest waits for an interrupt */
    VCPU_EXIT_CALL,  /* hypercall, or a process's system call: the registers hold it, the pc is past
                        the instruction */
    VCPU_EXIT_TRAP,  /* an exception of a process: hart's scause and stval say which, pc is the
                        instruction's own */
    VCPU_EXIT_DEBUG, /* breakpoint, watchpoint or single step; see vcpu.debug */
};

/* Requests, OR-ed into vcpu.requests by any thread and cleared by the owner. */
enum {
    VCPU_REQ_STOP = 1u << 0,      /* leave the run loop: pause, shutdown, reset */
    VCPU_REQ_FLUSH_TLB = 1u << 1, /* drop address translations (remote sfence) */
    VCPU_REQ_FENCE_I = 1u << 2,   /* drop what was derived from instructions (remote fence.i) */
    VCPU_REQ_WAKE = 1u << 3,      /* hart state management started or woke it */
    VCPU_REQ_IPI = 1u << 4,       /* inter-processor interrupt from firmware */
    VCPU_REQ_TIME = 1u << 5,      /* guest time was moved: its deadlines are other ones */
    VCPU_REQ_RENEW = 1u << 6,     /* of a process: there is no room left for code */
};

enum { VCPU_WATCH_READ = 1, VCPU_WATCH_WRITE = 2 };

struct vcpu_watch {
    gva_t addr;
    uint64_t len;
    unsigned kind; /* VCPU_WATCH_... */
};

#define VCPU_MAX_BREAKPOINTS 64
#define VCPU_MAX_WATCHPOINTS 16

/*
 * What the debugger wants and what it got. Changed by the owner only while the vCPU is stopped;
 * after a change the engine's `debug_changed` must be called.
 */
struct vcpu_debug {
    gva_t breakpoints[VCPU_MAX_BREAKPOINTS];
    unsigned breakpoint_count;
    struct vcpu_watch watchpoints[VCPU_MAX_WATCHPOINTS];
    unsigned watchpoint_count;
    bool hold_interrupts; /* none is taken: a step is to execute the next instruction, no handler */
    bool skip_breakpoint; /* the next instruction runs although it has a breakpoint */
    /* After VCPU_EXIT_DEBUG: */
    bool hit_watch;
    struct vcpu_watch hit;
};

struct archive;
struct store;

struct vcpu {
    unsigned index;
    struct addrspace *mem;
    struct clock *clock;
    void *arch; /* architectural state, for riscv64 a struct rv_hart */
    const struct engine_ops *engine;
    void *engine_data;   /* the engine's own */
    struct vcpu *shares; /* of a process: attached before, whose translations this one uses, too */
    uint64_t code_cache; /* bytes for translated code, set before the engine is attached; 0: its
                            choice */
    const struct store *store; /* of translations, likewise; NULL: they are not kept */
    struct archive *archive;   /* of a machine's, likewise */
    int schedstat;             /* of the owner's thread: /proc's file, -1 if there is none */
    struct vcpu_debug debug;
    uint8_t waiting; /* the owner's: the guest waits for an interrupt */

    _Atomic uint64_t irq_lines; /* level of each interrupt input; bit numbers are the ISA's */
    /*
     * With hold_irqs, inputs that rise are kept here until vcpu_irq_release: the guest does not see
     * them before. Falling ones are seen at once.
     */
    _Atomic uint64_t irq_held;
    bool hold_irqs;
    _Atomic uint32_t requests; /* VCPU_REQ_... */
    /*
     * The engine stops at the next control transfer at which its instruction counter has reached
     * this; a kick sets it to 0.
     */
    _Atomic uint64_t stop_at;
    /*
     * Set by the owner before it looks for requests and runs the guest, cleared after: whoever
     * ORs a request and then finds it clear knows that the guest will not run before the request
     * has been seen.
     */
    _Atomic bool in_guest;
    _Atomic uint32_t wake; /* futex word: a kick changes it */
    uint64_t poll_ns;      /* the owner's: how long vcpu_wait_polling looks before it sleeps */
    uint32_t poll_rest;    /* waits in which it does not look */
    _Atomic bool asleep;   /* in vcpu_wait, or about to: a kick has to wake the owner */
};

void vcpu_init(struct vcpu *v, unsigned index, struct addrspace *mem, struct clock *clock);

/* Makes the engine return and a waiting owner wake up. Any thread. */
void vcpu_kick(struct vcpu *v);
/* ORs bits into requests, then kicks. Any thread. */
void vcpu_request(struct vcpu *v, uint32_t bits);
/* Takes all pending requests. */
uint32_t vcpu_take_requests(struct vcpu *v);

/* An irq_line `set` function: ctx is the vCPU, number the input's bit. Kicks when it rises. */
void vcpu_irq_set(void *ctx, unsigned number, bool level);
struct irq_line vcpu_irq_line(struct vcpu *v, unsigned number);
/* Lets the guest see the inputs that were held back. */
void vcpu_irq_release(struct vcpu *v);

/*
 * Sleeps until a kick or `timeout_ns` host nanoseconds have passed (CLOCK_NEVER: no limit).
 * `seen` is the value of v->wake that the caller read before it decided to sleep.
 */
void vcpu_wait(struct vcpu *v, uint32_t seen, uint64_t timeout_ns);
/* Sleeps until a kick, but stays awake for a while first if that has paid before. */
void vcpu_wait_polling(struct vcpu *v, uint32_t seen);
