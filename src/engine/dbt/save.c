/*
 * What a process leaves to the next run of its program: its regions, those that it wanted next, and
 * which places it wanted beyond them.
 *
 * A program that starts up and ends has a broad profile: thousands of places that are reached some
 * ten times each. While it runs it cannot compile them all. Those reached most often are compiled
 * now that it ends, for a part of the time that it ran, but not for long: a program that takes
 * longer has time to compile them beside its next run.
 */
#include "engine/dbt/dbt_impl.h"

#include <time.h>

#define WARM_HOT 64u      /* jumps to a place that is worth it */
#define PART 5u           /* of the time that the program took */
#define AT_MOST 50000000u /* ns */
#define EACH 300000u      /* ns, of a region */

static uint64_t save_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* How long what is left to do may take. */
static uint64_t save_time(void)
{
    uint64_t part = save_now(CLOCK_PROCESS_CPUTIME_ID) / PART;
    return part < AT_MOST ? part : AT_MOST;
}

/* The page of a place that can be kept; NULL: it is none. */
static struct code_page *save_page(struct vcpu *v, uint64_t pc)
{
    struct code_page *page = interp_page(v, align_down(pc, RV_PAGE));
    return page && page->origin ? page : NULL;
}

/* Likewise, if the place has no code, nor will it get any soon. */
static struct code_page *save_missing(struct vcpu *v, uint64_t pc)
{
    const struct dbt_code *code = dbt_of(v)->code;
    struct code_page *page = save_page(v, pc);
    if (!page || region_find(&code->regions, pc, dbt_view(v->arch), page) ||
        (code->queue && compile_pending(code->queue, pc, page->gpa, dbt_view(v->arch))))
        return NULL;
    return page;
}

static void save_compile_one(struct vcpu *v, struct compiler *c, struct compile_job *job,
                             const struct warm_place *w)
{
    struct code_page *page = save_missing(v, w->pc);
    if (!page || !persist_worth(dbt_of(v)->code->persist, page))
        return;
    dbt_fill_job(v, job, page, w->pc);
    compiler_run(c, job);
    dbt_keep_job(v, job);
}

/* Whether it is worth while to compile what can be compiled in the time. */
static bool save_any(struct vcpu *v, const struct warm_place *w, unsigned count, uint64_t time)
{
    struct persist *p = dbt_of(v)->code->persist;
    const struct code_page *page;
    bool any = false;
    uint64_t possible = time / EACH;
    for (unsigned i = 0; i < count && possible; i++)
        if ((page = save_missing(v, w[i].pc)) != NULL) {
            persist_expect(p, page);
            possible--;
        }
    for (unsigned i = 0; i < count && !any; i++)
        any = (page = save_missing(v, w[i].pc)) != NULL && persist_worth(p, page);
    return any;
}

/* What the other thread has begun is worth waiting for a little. */
static void save_wait(const struct compile_queue *q, uint64_t deadline)
{
    const struct timespec moment = {.tv_nsec = 50000};
    while (q && compile_idle(q) < 2 && save_now(CLOCK_MONOTONIC) < deadline)
        nanosleep(&moment, NULL);
}

/* Until the time is over: how many places have been seen to. */
static unsigned save_compile(struct vcpu *v, const struct warm_place *w, unsigned count)
{
    struct dbt_code *code = dbt_of(v)->code;
    uint64_t time = save_time();
    struct compiler *c = save_any(v, w, count, time) ? compiler_new(&code->target) : NULL;
    struct compile_job job;
    unsigned done = 0;
    if (!c || !compile_job_init(&job)) {
        compiler_free(c);
        return 0;
    }
    uint64_t deadline = save_now(CLOCK_MONOTONIC) + time;
    while (done < count && save_now(CLOCK_MONOTONIC) < deadline)
        save_compile_one(v, c, &job, &w[done++]);
    save_wait(code->queue, deadline);
    compile_job_fini(&job);
    compiler_free(c);
    return done;
}

static void save_wanted(struct vcpu *v, const struct warm_place *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct code_page *page = save_page(v, w[i].pc);
        if (page)
            persist_want(dbt_of(v)->code->persist, page, w[i].pc);
    }
}

static void save_locked(struct vcpu *v)
{
    struct dbt_code *c = dbt_of(v)->code;
    dbt_collect(v);
    if (c->warm && !c->forked) {
        unsigned hot, count = warm_sort(c->warm, WARM_HOT, &hot);
        unsigned done = save_compile(v, c->warm->place, hot);
        dbt_collect(v);
        save_wanted(v, c->warm->place + done, count - done);
        *c->warm = (struct warm){0};
    }
    persist_save(c->persist);
}

void dbt_save(struct vcpu *v)
{
    struct dbt *d = dbt_of(v);
    if (!d->code->persist)
        return;
    dbt_lock(d);
    save_locked(v);
    dbt_unlock(d);
}
