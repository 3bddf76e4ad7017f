/*
 * Guest time in nanoseconds since the machine's power-on.
 *
 * A real clock follows the host's monotonic clock and stands still while the machine is paused. A
 * virtual clock counts guest instructions, one nanosecond each, so that a run can be repeated
 * exactly; it moves only when the run loop or the running vCPU moves it.
 *
 * Devices ask for a callback at a point in guest time with a clock_timer. Timers fire from
 * clock_run(), which the owner of the machine calls: from its event loop when the clock is real,
 * from the vCPU run loop when it is virtual.
 *
 * Threads: clock_ns, clock_timer_set/cancel and clock_deadline may be called from any thread (a
 * virtual clock has only one). Callbacks run without the clock's lock held.
 */
#pragma once

#include "base/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NEVER UINT64_MAX

struct clock_timer {
    uint64_t deadline; /* guest ns, CLOCK_NEVER when not set */
    void (*fire)(void *ctx);
    void *ctx;
    struct clock_timer *next; /* the clock's list */
};

struct clock {
    bool is_virtual;
    bool running;          /* real clock: false while the machine is paused */
    uint64_t ns;           /* virtual: now at the slice's start; real: now when it was stopped */
    int64_t host_offset;   /* real and running: guest ns = host ns + host_offset */
    const uint64_t *count; /* virtual: instruction counter of the running vCPU, or NULL */
    uint64_t count_base;   /* its value at the slice's start */
    pthread_mutex_t lock;  /* protects timers */
    struct clock_timer *timers;
    void (*changed)(void *ctx); /* the earliest deadline moved: owner may re-arm; may be NULL */
    void *changed_ctx;
};

extern const struct state_table clock_state;

/* A stopped clock at 0 ns. */
void clock_init(struct clock *c, bool is_virtual);
void clock_fini(struct clock *c);

/* Starts and stops a real clock (machine activated, paused). */
void clock_start(struct clock *c);
void clock_stop(struct clock *c);

/* Guest nanoseconds now. Never goes back. */
uint64_t clock_ns(const struct clock *c);

/*
 * Virtual clock: the vCPU whose counter is *count runs from now on, and has run for `used`
 * instructions of the slice before; the slice ends, or is interrupted, with _end.
 */
void clock_slice_begin(struct clock *c, const uint64_t *count, uint64_t used);
void clock_slice_end(struct clock *c);

/* Virtual clock, between slices: moves time forward to `ns` if that is later. */
void clock_advance(struct clock *c, uint64_t ns);

/* A timer belongs to its device, which must cancel it before it goes away. */
void clock_timer_init(struct clock_timer *t, void (*fire)(void *ctx), void *ctx);
void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t deadline_ns);
void clock_timer_cancel(struct clock *c, struct clock_timer *t);

/* Earliest deadline of all timers, CLOCK_NEVER if there is none. */
uint64_t clock_deadline(struct clock *c);

/* Fires all timers whose deadline has come. */
void clock_run(struct clock *c);
