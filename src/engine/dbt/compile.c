#include "engine/dbt/compile.h"

#include "engine/dbt/region.h"

#include "host/host_thread.h"
#include "ir/ir_live.h"
#include "isa/riscv64/hart.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REGION_CODE (256u << 10) /* largest region's code */
#define QUEUE_JOBS 16u

/* ---- one region ---- */

struct compiler {
    struct back_target target;
    struct ir *ir;
    struct ir_live *live;
    struct back *back;
};

bool compile_job_init(struct compile_job *job)
{
    *job = (struct compile_job){0};
    back_code_init(&job->code, malloc(REGION_CODE), REGION_CODE);
    return job->code.bytes;
}

void compile_job_fini(struct compile_job *job)
{
    free(job->code.bytes);
    free(job->text);
    back_code_fini(&job->code);
}

struct compiler *compiler_new(const struct back_target *t)
{
    struct compiler *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->target = *t;
    c->ir = ir_new();
    c->live = ir_live_new();
    c->back = back_new();
    if (!c->ir || !c->live || !c->back) {
        compiler_free(c);
        return NULL;
    }
    return c;
}

void compiler_free(struct compiler *c)
{
    if (!c)
        return;
    ir_free(c->ir);
    ir_live_free(c->live);
    back_free(c->back);
    free(c);
}

static uint64_t compile_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void compiler_run(struct compiler *c, struct compile_job *job)
{
    struct front_input in = {.pages = job->pages,
                             .entry = job->entry,
                             .exts = job->exts,
                             .view = job->view & (uint8_t)~REGION_WINDOW,
                             .relative = job->relative,
                             .host_time = job->host_time,
                             .entry_count = job->entry_count};
    memcpy(in.entries, job->entries, sizeof in.entries);
    for (unsigned i = 0; i < job->pages; i++)
        in.page[i] = (struct front_page){
            .va = job->page[i].va,
            .bytes = job->page[i].bytes,
            .executed = job->all ? NULL : job->page[i].executed,
        };
    size_t length;
    free(job->text);
    job->text = NULL;
    FILE *dump = job->dump ? open_memstream(&job->text, &length) : NULL;
    uint64_t start = compile_now();
    c->target.window_bits = job->window;
    c->target.relative = job->relative;
    c->target.base = job->relative ? job->page[0].va : 0;
    c->target.entry = compile_pc(job);
    job->ok = front_build(c->ir, &in, &job->info) && !ir_optimize(c->ir, NULL, false, NULL) &&
              ir_live_build(c->live, c->ir) &&
              back_compile(c->back, &c->target, c->ir, c->live, &job->code, dump);
    job->ns = compile_now() - start;
    if (dump)
        fclose(dump);
}

/* ---- a thread that compiles ---- */

/* Jobs [taken, finished) wait for the owner, [finished, submitted) for the thread. */
struct compile_queue {
    const struct back_target *target;
    struct compiler *compiler; /* the thread's, which makes it */
    struct compile_job job[QUEUE_JOBS];
    unsigned submitted, taken; /* the owner's; submitted is written with the lock held */
    _Atomic unsigned finished;
    bool started, broken; /* broken: there are no jobs any more */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* submitted or ending changed */
    bool ending;
};

static struct compile_job *queue_job(struct compile_queue *q, unsigned n)
{
    return &q->job[n % QUEUE_JOBS];
}

static void *queue_thread(void *arg)
{
    struct compile_queue *q = arg;
    host_thread_block_signals();
    if (!q->compiler)
        q->compiler = compiler_new(q->target);
    pthread_mutex_lock(&q->lock);
    for (;;) {
        unsigned n = atomic_load_explicit(&q->finished, memory_order_relaxed);
        while (q->submitted == n && !q->ending)
            pthread_cond_wait(&q->work, &q->lock);
        if (q->ending)
            break;
        pthread_mutex_unlock(&q->lock);
        if (q->compiler)
            compiler_run(q->compiler, queue_job(q, n));
        else
            queue_job(q, n)->ok = false; /* out of memory */
        atomic_store_explicit(&q->finished, n + 1, memory_order_release);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Signals are the other threads' business. */
static bool queue_start(struct compile_queue *q)
{
    q->started = !host_thread_start(&q->thread, NULL, queue_thread, q);
    return q->started;
}

struct compile_queue *compile_queue_new(const struct back_target *t)
{
    struct compile_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    q->target = t;
    return q;
}

void compile_queue_free(struct compile_queue *q)
{
    if (!q)
        return;
    if (q->started) {
        pthread_mutex_lock(&q->lock);
        q->ending = true;
        pthread_cond_signal(&q->work);
        pthread_mutex_unlock(&q->lock);
        pthread_join(q->thread, NULL);
    }
    compiler_free(q->compiler);
    for (unsigned i = 0; i < QUEUE_JOBS; i++)
        compile_job_fini(&q->job[i]);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->work);
    free(q);
}

void compile_queue_forked(struct compile_queue *q)
{
    if (!q)
        return;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    if (q->started)
        q->compiler = NULL;
    q->started = false;
    /* The thread may have been anywhere in this one, whose memory is left to it. */
    unsigned n = atomic_load(&q->finished);
    if (n != q->submitted && !compile_job_init(queue_job(q, n)))
        q->broken = true;
    q->taken = q->submitted = 0;
    atomic_store(&q->finished, 0);
    for (unsigned i = 0; i < QUEUE_JOBS; i++)
        q->job[i].text = NULL;
}

bool compile_started(const struct compile_queue *q)
{
    return q->started;
}

struct compile_job *compile_next(struct compile_queue *q)
{
    if (q->broken || q->submitted - q->taken == QUEUE_JOBS || (!q->started && !queue_start(q)))
        return NULL;
    struct compile_job *job = queue_job(q, q->submitted);
    return job->code.bytes || compile_job_init(job) ? job : NULL;
}

void compile_submit(struct compile_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->submitted++;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

/* Whether the job's region will be entered at pc, on the page at gpa if it begins there. */
static bool job_enters(const struct compile_job *job, uint64_t pc, uint64_t gpa)
{
    bool same = job->relative ? (compile_pc(job) ^ pc) % 4096 == 0 : compile_pc(job) == pc;
    if (same && job->page[0].gpa == gpa)
        return true;
    for (unsigned i = 0; i < job->entry_count; i++)
        if (job->entries[i] == pc)
            return true;
    return false;
}

bool compile_pending(const struct compile_queue *q, uint64_t pc, uint64_t gpa, unsigned view)
{
    for (unsigned n = q->taken; n != q->submitted; n++) {
        const struct compile_job *job = &q->job[n % QUEUE_JOBS];
        if (job->view == view && job_enters(job, pc, gpa))
            return true;
    }
    return false;
}

unsigned compile_idle(const struct compile_queue *q)
{
    unsigned n = q->submitted - atomic_load_explicit(&q->finished, memory_order_relaxed);
    return n == 0 ? 2 : n < 4;
}

struct compile_job *compile_finished(struct compile_queue *q)
{
    if (atomic_load_explicit(&q->finished, memory_order_acquire) == q->taken)
        return NULL;
    return queue_job(q, q->taken);
}

void compile_taken(struct compile_queue *q)
{
    q->taken++;
}
