/* The event loop: order of jobs, timers, removal inside callbacks, wake-up from other threads. */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char trace[64];

static void note(void *ctx)
{
    strncat(trace, ctx, sizeof trace - strlen(trace) - 1);
}

static int setup(void **state)
{
    trace[0] = 0;
    *state = loop_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    loop_free(*state);
    return 0;
}

static void jobs_run_in_order_and_once(void **state)
{
    struct loop *loop = *state;
    struct loop_job a, b, c;
    loop_job_init(&a, note, (void *)"a");
    loop_job_init(&b, note, (void *)"b");
    loop_job_init(&c, note, (void *)"c");
    loop_job_post(loop, &b);
    loop_job_post(loop, &c);
    loop_job_post(loop, &a);
    loop_job_post(loop, &b);
    loop_job_cancel(loop, &c);
    loop_run_once(loop, 0);
    assert_string_equal(trace, "ba");
    loop_job_post(loop, &c);
    loop_run_once(loop, 0);
    assert_string_equal(trace, "bac");
    loop_run_once(loop, 0);
    assert_string_equal(trace, "bac");
}

static void cancelling_the_last_job_keeps_the_queue(void **state)
{
    struct loop *loop = *state;
    struct loop_job a, b;
    loop_job_init(&a, note, (void *)"a");
    loop_job_init(&b, note, (void *)"b");
    loop_job_post(loop, &a);
    loop_job_cancel(loop, &a);
    loop_job_post(loop, &b);
    loop_job_post(loop, &a);
    loop_run_once(loop, 0);
    assert_string_equal(trace, "ba");
}

struct again {
    struct loop *loop;
    struct loop_job job;
    int runs;
};

static void post_again(void *ctx)
{
    struct again *a = ctx;
    a->runs++;
    loop_job_post(a->loop, &a->job);
}

static void a_job_that_posts_itself_runs_once_per_round(void **state)
{
    struct again a = {.loop = *state};
    loop_job_init(&a.job, post_again, &a);
    loop_job_post(a.loop, &a.job);
    loop_run_once(a.loop, 0);
    assert_int_equal(a.runs, 1);
    loop_run_once(a.loop, 0);
    assert_int_equal(a.runs, 2);
}

static void timers_fire_in_order_of_time(void **state)
{
    struct loop *loop = *state;
    struct loop_timer a, b, c;
    loop_timer_init(&a, note, (void *)"a");
    loop_timer_init(&b, note, (void *)"b");
    loop_timer_init(&c, note, (void *)"c");
    uint64_t now = loop_now_ns();
    loop_timer_set(loop, &a, now + UINT64_C(3600000000000));
    loop_timer_set(loop, &b, now + 10000000);
    loop_timer_set(loop, &c, now + 5000000);
    loop_timer_cancel(loop, &c);
    loop_run_once(loop, -1);
    assert_string_equal(trace, "b");
    assert_true(loop_now_ns() >= now + 10000000);
    loop_timer_set(loop, &a, loop_now_ns()); /* moved to now */
    loop_run_once(loop, 1000);
    assert_string_equal(trace, "ba");
    assert_true(!a.armed && !b.armed);
    loop_timer_set(loop, &a, UINT64_MAX); /* never, and no overflow */
    loop_run_once(loop, 5);
    assert_string_equal(trace, "ba");
    loop_timer_set(loop, &a, 0);
    loop_run_once(loop, 1000);
    assert_string_equal(trace, "baa");
}

struct reader {
    struct loop *loop;
    struct loop_fd fd, *victim;
    int calls;
    unsigned events;
};

static void reader_ready(void *ctx, unsigned events)
{
    struct reader *r = ctx;
    r->calls++;
    r->events = events;
    if (r->victim)
        loop_fd_remove(r->loop, r->victim);
}

static void a_descriptor_removed_by_another_callback_is_not_called(void **state)
{
    struct reader a = {.loop = *state}, b = {.loop = *state};
    int pa[2], pb[2];
    assert_int_equal(pipe(pa) | pipe(pb), 0);
    loop_fd_init(&a.fd, pa[0], reader_ready, &a);
    loop_fd_init(&b.fd, pb[0], reader_ready, &b);
    a.victim = &b.fd;
    b.victim = &a.fd;
    assert_int_equal(loop_fd_watch(*state, &a.fd, LOOP_IN), 0);
    assert_int_equal(loop_fd_watch(*state, &b.fd, LOOP_IN), 0);
    loop_run_once(*state, 0);
    assert_int_equal(a.calls + b.calls, 0);
    assert_int_equal(write(pa[1], "x", 1) + write(pb[1], "x", 1), 2);
    loop_run_once(*state, 0);
    assert_int_equal(a.calls + b.calls, 1);
    loop_fd_remove(*state, &a.fd);
    loop_fd_remove(*state, &b.fd);
    close(pa[0]), close(pa[1]), close(pb[0]), close(pb[1]);
}

static void the_end_of_a_pipe_is_readable(void **state)
{
    struct reader a = {.loop = *state};
    int p[2];
    assert_int_equal(pipe(p), 0);
    close(p[1]);
    loop_fd_init(&a.fd, p[0], reader_ready, &a);
    assert_int_equal(loop_fd_watch(*state, &a.fd, LOOP_IN), 0);
    loop_run_once(*state, 0);
    assert_int_equal(a.events, LOOP_IN | LOOP_HUP);
    assert_int_equal(loop_fd_watch(*state, &a.fd, 0), 0);
    loop_run_once(*state, 0);
    assert_int_equal(a.calls, 1);
    close(p[0]);
}

static void a_regular_file_cannot_be_waited_for(void **state)
{
    struct loop_fd f;
    int fd = open("/proc/self/exe", O_RDONLY);
    assert_true(fd >= 0);
    loop_fd_init(&f, fd, reader_ready, NULL);
    assert_int_equal(loop_fd_watch(*state, &f, LOOP_IN), -EPERM);
    close(fd);
}

struct counter {
    struct loop *loop;
    struct loop_job job;
    _Atomic int posted;
    int seen;
};

static void counter_run(void *ctx)
{
    struct counter *c = ctx;
    c->seen = c->posted;
    if (c->seen == 10000)
        loop_stop(c->loop);
}

static void *counter_thread(void *ctx)
{
    struct counter *c = ctx;
    for (int i = 0; i < 10000; i++) {
        c->posted++;
        loop_job_post(c->loop, &c->job);
    }
    return NULL;
}

static void no_post_of_another_thread_is_lost(void **state)
{
    struct counter c = {.loop = *state};
    pthread_t t;
    loop_job_init(&c.job, counter_run, &c);
    assert_int_equal(pthread_create(&t, NULL, counter_thread, &c), 0);
    loop_run(c.loop); /* a lost wake-up hangs here */
    pthread_join(t, NULL);
    assert_int_equal(c.seen, 10000);
}

static void a_stop_that_comes_first_counts(void **state)
{
    loop_stop(*state);
    loop_run(*state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(jobs_run_in_order_and_once),
        T(cancelling_the_last_job_keeps_the_queue),
        T(a_job_that_posts_itself_runs_once_per_round),
        T(timers_fire_in_order_of_time),
        T(a_descriptor_removed_by_another_callback_is_not_called),
        T(the_end_of_a_pipe_is_readable),
        T(a_regular_file_cannot_be_waited_for),
        T(no_post_of_another_thread_is_lost),
        T(a_stop_that_comes_first_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
