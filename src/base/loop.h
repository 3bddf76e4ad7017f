/*
 * The event loop of one thread: file descriptors that become ready, timers, and jobs that other
 * threads hand over.
 *
 * Everything that is registered (struct loop_fd, loop_timer, loop_job) is embedded in its owner's
 * struct; the loop allocates nothing after loop_new and owns none of it. The owner removes what it
 * registered before the memory goes away. A callback may remove anything, itself included; what is
 * removed on the loop's thread is never called again.
 *
 * Threads: loop_timer_*, loop_job_* , loop_stop may be called from any thread. All else belongs to
 * the loop's thread: the one that is in loop_run, or any while none is. Callbacks run on the loop's
 * thread without the loop's lock. Removing a timer or job on another thread does not wait for a
 * callback that is already running.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

enum {
    LOOP_IN = 1u << 0,  /* readable, or end of file */
    LOOP_OUT = 1u << 1, /* writable */
    LOOP_HUP = 1u << 2, /* error or hang-up; comes with all events that were asked for */
};

struct loop_fd {
    int fd;
    unsigned events; /* LOOP_IN | LOOP_OUT that are waited for; set by loop_fd_watch */
    bool added;
    void (*ready)(void *ctx, unsigned events);
    void *ctx;
};

struct loop_timer {
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
    bool armed;
    void (*fire)(void *ctx);
    void *ctx;
    struct loop_timer *next;
};

struct loop_job {
    bool queued;
    void (*run)(void *ctx);
    void *ctx;
    struct loop_job *next;
};

/* NULL with *err when the host has no descriptors left. */
struct loop *loop_new(struct error *err);
/* NULL is allowed. No thread may be in loop_run. */
void loop_free(struct loop *loop);

/* Runs callbacks until loop_stop; a stop that came earlier ends it at once and is used up. */
void loop_run(struct loop *loop);
/* One round: waits up to timeout_ms (-1: no limit, 0: does not wait), then runs what is ready. */
void loop_run_once(struct loop *loop, int timeout_ms);
void loop_stop(struct loop *loop);

void loop_fd_init(struct loop_fd *f, int fd, void (*ready)(void *ctx, unsigned events), void *ctx);
/*
 * Says which events are waited for; none takes the descriptor out. Readiness is a level: a callback
 * that does not use it is called again. -EPERM for what cannot be waited for: a regular file or
 * directory.
 */
int loop_fd_watch(struct loop *loop, struct loop_fd *f, unsigned events);
/* The same as watching for nothing. Call it before the descriptor is closed. */
void loop_fd_remove(struct loop *loop, struct loop_fd *f);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t loop_now_ns(void);
void loop_timer_init(struct loop_timer *t, void (*fire)(void *ctx), void *ctx);
/* Fires once, at or soon after deadline_ns. A timer that is armed is moved. */
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t deadline_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

void loop_job_init(struct loop_job *j, void (*run)(void *ctx), void *ctx);
/* Runs the job once on the loop's thread, jobs in the order of posting. Queued already: no effect.
 */
void loop_job_post(struct loop *loop, struct loop_job *j);
void loop_job_cancel(struct loop *loop, struct loop_job *j);
