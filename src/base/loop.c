#include "base/loop.h"

#include "base/bits.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 16
#define NS_PER_S UINT64_C(1000000000)

struct loop {
    int epoll;
    struct loop_fd wake;    /* eventfd: jobs are queued or stop is set */
    struct loop_fd expired; /* timerfd, armed for the first timer */
    atomic_bool stop;
    struct epoll_event batch[LOOP_BATCH]; /* events being dispatched; data.ptr NULL: removed */
    int batch_len;

    pthread_mutex_t lock; /* protects what follows */
    struct loop_timer *timers;
    struct loop_job *jobs, **jobs_end;
    unsigned job_count;
};

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    /* It can only fail when the counter is at its limit, and then the loop is awake. */
    ssize_t ignored = write(loop->wake.fd, &one, sizeof one);
    (void)ignored;
}

static void loop_drain(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

/* ---- descriptors ---- */

void loop_fd_init(struct loop_fd *f, int fd, void (*ready)(void *ctx, unsigned events), void *ctx)
{
    *f = (struct loop_fd){.fd = fd, .ready = ready, .ctx = ctx};
}

void loop_fd_remove(struct loop *loop, struct loop_fd *f)
{
    if (!f->added)
        return;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, f->fd, NULL);
    f->added = false;
    f->events = 0;
    for (int i = 0; i < loop->batch_len; i++)
        if (loop->batch[i].data.ptr == f)
            loop->batch[i].data.ptr = NULL;
}

int loop_fd_watch(struct loop *loop, struct loop_fd *f, unsigned events)
{
    if (f->added && f->events == events)
        return 0;
    if (!events) {
        loop_fd_remove(loop, f);
        return 0;
    }
    struct epoll_event ev = {.data.ptr = f};
    if (events & LOOP_IN)
        ev.events |= EPOLLIN;
    if (events & LOOP_OUT)
        ev.events |= EPOLLOUT;
    if (epoll_ctl(loop->epoll, f->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, f->fd, &ev))
        return -errno;
    f->added = true;
    f->events = events;
    return 0;
}

/* ---- timers ---- */

uint64_t loop_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void loop_timer_init(struct loop_timer *t, void (*fire)(void *ctx), void *ctx)
{
    *t = (struct loop_timer){.fire = fire, .ctx = ctx};
}

/* Lock held. */
static void loop_arm(struct loop *loop)
{
    struct itimerspec when = {0}; /* all zero disarms */
    if (loop->timers) {
        uint64_t ns = loop->timers->deadline_ns ? loop->timers->deadline_ns : 1;
        if (ns > (uint64_t)INT64_MAX)
            ns = (uint64_t)INT64_MAX;
        when.it_value.tv_sec = (time_t)(ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(ns % NS_PER_S);
    }
    timerfd_settime(loop->expired.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Lock held. */
static void loop_timer_unlink(struct loop *loop, struct loop_timer *t)
{
    struct loop_timer **p = &loop->timers;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    t->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t deadline_ns)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_timer *first = loop->timers;
    uint64_t first_ns = first ? first->deadline_ns : 0;
    if (t->armed)
        loop_timer_unlink(loop, t);
    struct loop_timer **p = &loop->timers;
    while (*p && (*p)->deadline_ns <= deadline_ns)
        p = &(*p)->next;
    t->deadline_ns = deadline_ns;
    t->armed = true;
    t->next = *p;
    *p = t;
    if (loop->timers != first || loop->timers->deadline_ns != first_ns)
        loop_arm(loop);
    pthread_mutex_unlock(&loop->lock);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
    pthread_mutex_lock(&loop->lock);
    if (t->armed) {
        bool was_first = loop->timers == t;
        loop_timer_unlink(loop, t);
        if (was_first)
            loop_arm(loop);
    }
    pthread_mutex_unlock(&loop->lock);
}

static void loop_run_timers(void *ctx, unsigned events)
{
    (void)events;
    struct loop *loop = ctx;
    loop_drain(loop->expired.fd);
    /* One reading of the time: a timer that sets itself to "now" does not keep the loop here. */
    uint64_t now = loop_now_ns();
    pthread_mutex_lock(&loop->lock);
    while (loop->timers && loop->timers->deadline_ns <= now) {
        struct loop_timer *t = loop->timers;
        loop_timer_unlink(loop, t);
        pthread_mutex_unlock(&loop->lock);
        t->fire(t->ctx);
        pthread_mutex_lock(&loop->lock);
    }
    loop_arm(loop);
    pthread_mutex_unlock(&loop->lock);
}

/* ---- jobs ---- */

void loop_job_init(struct loop_job *j, void (*run)(void *ctx), void *ctx)
{
    *j = (struct loop_job){.run = run, .ctx = ctx};
}

void loop_job_post(struct loop *loop, struct loop_job *j)
{
    pthread_mutex_lock(&loop->lock);
    bool wake = false;
    if (!j->queued) {
        j->queued = true;
        j->next = NULL;
        *loop->jobs_end = j;
        loop->jobs_end = &j->next;
        wake = loop->job_count++ == 0;
    }
    pthread_mutex_unlock(&loop->lock);
    if (wake)
        loop_wake(loop);
}

/* Lock held. `p` points at the link to the job. */
static struct loop_job *loop_job_unlink(struct loop *loop, struct loop_job **p)
{
    struct loop_job *j = *p;
    *p = j->next;
    if (!*p)
        loop->jobs_end = p;
    loop->job_count--;
    j->queued = false;
    return j;
}

void loop_job_cancel(struct loop *loop, struct loop_job *j)
{
    pthread_mutex_lock(&loop->lock);
    if (j->queued) {
        struct loop_job **p = &loop->jobs;
        while (*p != j)
            p = &(*p)->next;
        loop_job_unlink(loop, p);
    }
    pthread_mutex_unlock(&loop->lock);
}

static void loop_run_jobs(void *ctx, unsigned events)
{
    (void)events;
    struct loop *loop = ctx;
    loop_drain(loop->wake.fd);
    pthread_mutex_lock(&loop->lock);
    /* Only those queued by now: a job that posts itself must not starve the descriptors. */
    for (unsigned n = loop->job_count; n && loop->jobs; n--) {
        struct loop_job *j = loop_job_unlink(loop, &loop->jobs);
        pthread_mutex_unlock(&loop->lock);
        j->run(j->ctx);
        pthread_mutex_lock(&loop->lock);
    }
    bool more = loop->job_count != 0;
    pthread_mutex_unlock(&loop->lock);
    if (more)
        loop_wake(loop);
}

/* ---- the loop ---- */

struct loop *loop_new(struct error *err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        error_set(err, ENOMEM, "cannot make an event loop: out of memory");
        return NULL;
    }
    pthread_mutex_init(&loop->lock, NULL);
    loop->jobs_end = &loop->jobs;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop_fd_init(&loop->wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), loop_run_jobs, loop);
    loop_fd_init(&loop->expired, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
                 loop_run_timers, loop);
    if (loop->epoll < 0 || loop->wake.fd < 0 || loop->expired.fd < 0 ||
        loop_fd_watch(loop, &loop->wake, LOOP_IN) || loop_fd_watch(loop, &loop->expired, LOOP_IN)) {
        error_set(err, errno, "cannot make an event loop: %s", strerror(errno));
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    int fds[] = {loop->wake.fd, loop->expired.fd, loop->epoll};
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void loop_run_once(struct loop *loop, int timeout_ms)
{
    int n = epoll_wait(loop->epoll, loop->batch, LOOP_BATCH, timeout_ms);
    loop->batch_len = n > 0 ? n : 0;
    for (int i = 0; i < loop->batch_len; i++) {
        struct loop_fd *f = loop->batch[i].data.ptr;
        uint32_t got = loop->batch[i].events;
        if (!f)
            continue;
        unsigned events = got & EPOLLIN ? LOOP_IN : 0;
        events |= got & EPOLLOUT ? LOOP_OUT : 0;
        if (got & (EPOLLHUP | EPOLLERR))
            events |= LOOP_HUP | f->events;
        /* A callback earlier in the batch may have changed what this one waits for. */
        events &= f->events | LOOP_HUP;
        if (events)
            f->ready(f->ctx, events);
    }
    loop->batch_len = 0;
}

void loop_run(struct loop *loop)
{
    while (!atomic_exchange(&loop->stop, false))
        loop_run_once(loop, -1);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    loop_wake(loop);
}
