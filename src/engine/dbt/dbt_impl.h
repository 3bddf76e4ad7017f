/*
 * The translator's engine from the inside: shared by dbt.c, whose head has the rules, code.c,
 * jobs.c, save.c and execute.c, and by nothing else. A struct dbt belongs to its vCPU's thread.
 */
#pragma once

#include "base/bits.h"
#include "engine/dbt/archived.h"
#include "engine/dbt/compile.h"
#include "engine/dbt/helpers.h"
#include "engine/dbt/jump.h"
#include "engine/dbt/persist.h"
#include "engine/dbt/region.h"
#include "engine/dbt/warm.h"
#include "engine/dbt/window.h"
#include "engine/interp/interp.h"
#include "host/fault.h"

#include <pthread.h>

/* Translations, and what makes them: of one vCPU, or of all threads of a process. */
struct dbt_code {
    struct back_target target;
    const void *helpers[DBT_HELPERS];
    struct regions regions;
    struct compile_queue *queue; /* NULL: compiled here, with the next two */
    struct compiler *compiler;
    struct compile_job job;
    struct persist *persist; /* NULL: translations end with the process */
    struct archive *archive; /* of a machine; NULL: they end with it */
    uint8_t *archived;       /* buffer for one record */
    struct warm *warm;       /* NULL: what is hot at first sight is compiled */
    FILE *dump;
    struct host_disasm *disasm; /* with dump: its library is there when no file can be opened */
    bool eager;                 /* everything is compiled at once, whether it has run or not */
    bool shared;                /* by threads: with a lock, held by whoever is not in a region */
    bool forked;                /* what is warm is the parent's to care for at the end */
    unsigned users;             /* with the lock */
    uint64_t born;              /* a process's first instruction, or the first after fork */
    pthread_mutex_t lock;
    struct engine_stats stats; /* of compiling */
};

struct dbt {
    struct dbt_code *code;
    struct jump_caches jumps;
    struct jump_cache *jump;  /* of the current view */
    struct rv_fault fault;    /* of a helper that asked to leave */
    enum interp_native leave; /* of a process: not GO_ON when its engine is to be left */
    bool locked;              /* code->lock is held */
    bool keeps_jumps;         /* over fences, if their pages are as they were (dbt.c, rule 8) */

    struct windows *windows; /* NULL: none in this machine */
    bool faults;             /* regions may fault at sites: scope is pushed while they run */
    struct fault_scope scope;

    struct engine_stats stats; /* of running */
};

/* Whether time is the host's, and not counted in instructions. */
static inline bool dbt_real_time(const struct vcpu *v)
{
    return v->clock && !v->clock->is_virtual;
}

/*
 * A thread that is alone needs no lock, and stays alone while it is in its engine: only it can make
 * another.
 */
static inline void dbt_lock(struct dbt *d)
{
    d->locked = d->code->shared && __atomic_load_n(&d->code->users, __ATOMIC_RELAXED) > 1;
    if (d->locked)
        pthread_mutex_lock(&d->code->lock);
}

static inline void dbt_unlock(struct dbt *d)
{
    if (d->locked)
        pthread_mutex_unlock(&d->code->lock);
    d->locked = false;
}

static inline struct dbt *dbt_of(const struct vcpu *v)
{
    return interp_hooks_data(v);
}

/* What a region has to be made for: the view, and how memory is reached. */
static inline unsigned dbt_view(const struct rv_hart *h)
{
    bool window = h->view == RV_VIEW_U && h->contexts[h->context].window;
    return h->view | (window ? REGION_WINDOW : 0);
}

/* The decoded page at a virtual address, if its translation and its bytes are at hand. */
static inline struct code_page *dbt_page(const struct rv_hart *h, uint64_t va)
{
    const struct rv_fetch_entry *e = &h->fetch->entry[rv_fetch_index(va)];
    return e->tag == align_down(va, RV_PAGE) ? e->code : NULL;
}

/* dbt.c: rule 5: memory is given back when the engine is entered next, which is soon. */
void dbt_start_over(struct vcpu *v);

/* code.c: those of v->shares, or new ones. NULL: out of memory. The last user's put ends them. */
struct dbt_code *dbt_code_get(struct vcpu *v, bool eager, struct error *err);
void dbt_code_put(struct dbt_code *c); /* or NULL */

/* jobs.c: the region for pc in the hart's view, compiled now or, then it is NULL, soon. */
struct region *dbt_compile(struct vcpu *v, struct code_page *page, uint64_t pc);
/* The region for pc that is there or was stored; NULL: neither. */
struct region *dbt_find(struct vcpu *v, struct code_page *page, uint64_t pc);
/* Installs what the other thread has finished. */
void dbt_collect(struct vcpu *v);
/* Fills a job for the place, on that page. */
void dbt_fill_job(struct vcpu *v, struct compile_job *job, const struct code_page *page,
                  uint64_t pc);
/* What a job has made is to be kept, though not installed. */
void dbt_keep_job(struct vcpu *v, const struct compile_job *job);

/* save.c: an engine_ops.save. */
void dbt_save(struct vcpu *v);

/* execute.c: takes the interrupt that is pending and enabled, if there is one. */
bool dbt_interrupt(struct vcpu *v);
/*
 * Executes the instruction at h->pc if it is a CSR's, a fence or a system instruction that does not
 * leave the engine. A process's system call is gone past (dbt.leave), with false.
 */
bool dbt_execute(struct vcpu *v);
