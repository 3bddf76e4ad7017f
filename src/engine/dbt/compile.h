/*
 * From a page of guest code to host code that can be installed: front end, passes and back end in a
 * row, on the caller's thread or on one of their own.
 *
 * A job holds a copy of everything it depends on, so that it can be compiled while the guest runs.
 * Whoever installs it checks that the page's bytes are still those.
 *
 * Threads: a compiler belongs to one thread. A queue has an owner, the vCPU's thread, which calls
 * all functions here, and a thread that compiles, started with the first job. Jobs are finished in
 * the order in which they were submitted.
 */
#pragma once

#include "engine/dbt/backend.h"
#include "engine/dbt/front.h"

struct compile_page {
    uint64_t va, gpa;
    uint8_t bytes[4096];
    uint64_t executed[4096 / 2 / 64];
};

struct compile_job {
    /* what to compile */
    struct compile_page page[FRONT_PAGES];
    unsigned pages;
    uint64_t exts;
    uint16_t entry;                      /* offset in the first page */
    uint8_t view;                        /* as region.view */
    uint8_t window;                      /* back_target.window_bits */
    uint64_t entries[FRONT_MAX_ENTRIES]; /* where else it is entered */
    unsigned entry_count;
    bool relative;  /* likewise */
    bool host_time; /* as front_input.host_time */
    bool all;       /* also what has never run; executed is not looked at */
    bool dump;      /* wants text */
    /* the result */
    bool ok; /* false: it cannot be compiled */
    struct front_info info;
    struct back_code code;
    uint64_t ns; /* that it took */
    char *text;  /* what was compiled to what, for a person to read; NULL: not asked for */
};

static inline uint64_t compile_pc(const struct compile_job *job)
{
    return job->page[0].va + job->entry;
}

bool compile_job_init(struct compile_job *job); /* false: out of memory */
void compile_job_fini(struct compile_job *job);

struct compiler;

/* t outlives it. NULL: out of memory. */
struct compiler *compiler_new(const struct back_target *t);
void compiler_free(struct compiler *c);
void compiler_run(struct compiler *c, struct compile_job *job);

struct compile_queue;

struct compile_queue *compile_queue_new(const struct back_target *t); /* NULL: out of memory */
void compile_queue_free(struct compile_queue *q);
/*
 * In the child after fork, in which the thread is not: what was on its way is forgotten, and the
 * thread's memory, which may be in no sound state, stays behind. NULL: nothing.
 */
void compile_queue_forked(struct compile_queue *q);
/* Whether the thread is there, which costs some 2 ms. */
bool compile_started(const struct compile_queue *q);
/* A job to fill, NULL: the queue is full; then compile_submit hands it over. */
struct compile_job *compile_next(struct compile_queue *q);
void compile_submit(struct compile_queue *q);
/* Whether a job for this place has been submitted and not been taken yet. */
bool compile_pending(const struct compile_queue *q, uint64_t pc, uint64_t gpa, unsigned view);
/* 2: nothing is on its way, 1: little, 0: something. */
unsigned compile_idle(const struct compile_queue *q);
/* The oldest finished job, NULL: none; compile_taken gives it back. Cheap when there is none. */
struct compile_job *compile_finished(struct compile_queue *q);
void compile_taken(struct compile_queue *q);
