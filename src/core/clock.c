#include "core/clock.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static const struct state_field clock_fields[] = {
    STATE_FIELD(struct clock, ns),
    STATE_END,
};

/* 146 years: leaves room for sums with host time and deadlines. */
#define CLOCK_MAX_LOADED (UINT64_C(1) << 62)

static void clock_pre_save(void *obj)
{
    struct clock *c = obj;
    if (!c->running)
        return;
    c->ns = clock_ns(c);
}

static int clock_post_load(void *obj, struct error *err)
{
    struct clock *c = obj;
    if (c->ns > CLOCK_MAX_LOADED)
        return error_set(err, EINVAL,
                         "saved clock shows %llu ns, which is no time a machine reaches",
                         (unsigned long long)c->ns);
    if (c->running) {
        c->running = false;
        clock_start(c);
    }
    return 0;
}

const struct state_table clock_state = {
    .name = "clock",
    .version = 1,
    .size = sizeof(struct clock),
    .fields = clock_fields,
    .pre_save = clock_pre_save,
    .post_load = clock_post_load,
};

static int64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void clock_init(struct clock *c, bool is_virtual)
{
    *c = (struct clock){.is_virtual = is_virtual};
    pthread_mutex_init(&c->lock, NULL);
}

void clock_fini(struct clock *c)
{
    pthread_mutex_destroy(&c->lock);
}

void clock_start(struct clock *c)
{
    if (c->is_virtual || c->running)
        return;
    c->host_offset = (int64_t)c->ns - host_ns();
    c->running = true;
}

void clock_stop(struct clock *c)
{
    if (!c->running)
        return;
    c->ns = clock_ns(c);
    c->running = false;
}

uint64_t clock_ns(const struct clock *c)
{
    if (c->running)
        return (uint64_t)(host_ns() + c->host_offset);
    return c->ns + (c->count ? *c->count - c->count_base : 0);
}

void clock_slice_begin(struct clock *c, const uint64_t *count, uint64_t used)
{
    if (!c->is_virtual)
        return;
    c->count = count;
    c->count_base = *count - used;
}

void clock_slice_end(struct clock *c)
{
    c->count = NULL;
}

void clock_advance(struct clock *c, uint64_t ns)
{
    if (c->is_virtual && ns > c->ns)
        c->ns = ns;
}

void clock_timer_init(struct clock_timer *t, void (*fire)(void *ctx), void *ctx)
{
    *t = (struct clock_timer){.deadline = CLOCK_NEVER, .fire = fire, .ctx = ctx};
}

/* With the lock held. */
static void clock_unlink(struct clock *c, struct clock_timer *t)
{
    for (struct clock_timer **p = &c->timers; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->deadline = CLOCK_NEVER;
}

void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t deadline_ns)
{
    pthread_mutex_lock(&c->lock);
    clock_unlink(c, t);
    t->deadline = deadline_ns;
    if (deadline_ns != CLOCK_NEVER) {
        struct clock_timer **p = &c->timers;
        while (*p && (*p)->deadline <= deadline_ns)
            p = &(*p)->next;
        t->next = *p;
        *p = t;
    }
    bool first = c->timers == t;
    pthread_mutex_unlock(&c->lock);
    if (first && c->changed)
        c->changed(c->changed_ctx);
}

void clock_timer_cancel(struct clock *c, struct clock_timer *t)
{
    pthread_mutex_lock(&c->lock);
    clock_unlink(c, t);
    pthread_mutex_unlock(&c->lock);
}

uint64_t clock_deadline(struct clock *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t deadline = c->timers ? c->timers->deadline : CLOCK_NEVER;
    pthread_mutex_unlock(&c->lock);
    return deadline;
}

void clock_run(struct clock *c)
{
    for (;;) {
        uint64_t now = clock_ns(c);
        pthread_mutex_lock(&c->lock);
        struct clock_timer *t = c->timers;
        if (!t || t->deadline > now) {
            pthread_mutex_unlock(&c->lock);
            return;
        }
        clock_unlink(c, t);
        pthread_mutex_unlock(&c->lock);
        t->fire(t->ctx);
    }
}
