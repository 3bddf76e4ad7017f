/* Clocks: order of timers, what callbacks may do, and how virtual and real time move. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"

/* A timer that writes its letter down and then does one thing to another timer. */
struct actor {
    struct clock_timer timer;
    struct clock *clock;
    char *log;
    char letter;
    struct clock_timer *cancels, *sets;
    uint64_t set_to;
    unsigned set_times;
    uint64_t own_deadline; /* seen in the callback */
};

static void actor_fire(void *ctx)
{
    struct actor *a = ctx;
    size_t len = strlen(a->log);
    a->log[len] = a->letter;
    a->log[len + 1] = '\0';
    a->own_deadline = a->timer.deadline;
    if (a->cancels)
        clock_timer_cancel(a->clock, a->cancels);
    if (a->sets && a->set_times) {
        a->set_times--;
        clock_timer_set(a->clock, a->sets, a->set_to);
    }
}

struct stage {
    struct clock clock;
    struct actor a, b, c;
    char log[64];
    unsigned changes;
};

static void count_change(void *ctx)
{
    ((struct stage *)ctx)->changes++;
}

static void actor_init(struct stage *s, struct actor *a, char letter)
{
    *a = (struct actor){.clock = &s->clock, .log = s->log, .letter = letter};
    clock_timer_init(&a->timer, actor_fire, a);
}

static void stage_init(struct stage *s, bool is_virtual)
{
    memset(s, 0, sizeof *s);
    clock_init(&s->clock, is_virtual);
    s->clock.changed = count_change;
    s->clock.changed_ctx = s;
    actor_init(s, &s->a, 'a');
    actor_init(s, &s->b, 'b');
    actor_init(s, &s->c, 'c');
}

static void test_order(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    clock_timer_set(&s.clock, &s.c.timer, 30);
    clock_timer_set(&s.clock, &s.a.timer, 10);
    clock_timer_set(&s.clock, &s.b.timer, 20);
    clock_run(&s.clock);
    assert_string_equal(s.log, "");
    clock_advance(&s.clock, 9);
    clock_run(&s.clock);
    assert_string_equal(s.log, "");
    clock_advance(&s.clock, 10);
    clock_run(&s.clock);
    assert_string_equal(s.log, "a");
    assert_true(s.a.own_deadline == CLOCK_NEVER);
    clock_advance(&s.clock, 1000);
    clock_run(&s.clock);
    clock_run(&s.clock);
    assert_string_equal(s.log, "abc");
    clock_fini(&s.clock);
}

static void test_same_deadline(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    clock_timer_set(&s.clock, &s.b.timer, 10);
    clock_timer_set(&s.clock, &s.a.timer, 10);
    clock_timer_set(&s.clock, &s.c.timer, 10);
    clock_advance(&s.clock, 10);
    clock_run(&s.clock);
    assert_string_equal(s.log, "bac");
    clock_fini(&s.clock);
}

static void test_deadline(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    assert_true(clock_deadline(&s.clock) == CLOCK_NEVER);
    clock_timer_cancel(&s.clock, &s.a.timer);
    clock_timer_set(&s.clock, &s.b.timer, 20);
    assert_int_equal(s.changes, 1);
    assert_true(clock_deadline(&s.clock) == 20);
    clock_timer_set(&s.clock, &s.c.timer, 30);
    assert_int_equal(s.changes, 1);
    assert_true(clock_deadline(&s.clock) == 20);
    clock_timer_set(&s.clock, &s.a.timer, 10);
    assert_int_equal(s.changes, 2);
    assert_true(clock_deadline(&s.clock) == 10);
    clock_timer_set(&s.clock, &s.a.timer, 25);
    assert_true(clock_deadline(&s.clock) == 20);
    clock_timer_cancel(&s.clock, &s.b.timer);
    assert_true(s.b.timer.deadline == CLOCK_NEVER);
    assert_true(clock_deadline(&s.clock) == 25);
    clock_timer_set(&s.clock, &s.a.timer, CLOCK_NEVER);
    assert_true(clock_deadline(&s.clock) == 30);
    clock_advance(&s.clock, 100);
    clock_run(&s.clock);
    assert_string_equal(s.log, "c");
    assert_true(clock_deadline(&s.clock) == CLOCK_NEVER);
    clock_fini(&s.clock);
}

static void test_cancel_in_callback(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    s.a.cancels = &s.b.timer;
    s.c.cancels = &s.c.timer;
    clock_timer_set(&s.clock, &s.a.timer, 10);
    clock_timer_set(&s.clock, &s.b.timer, 20);
    clock_timer_set(&s.clock, &s.c.timer, 30);
    clock_advance(&s.clock, 100);
    clock_run(&s.clock);
    assert_string_equal(s.log, "ac");
    assert_true(clock_deadline(&s.clock) == CLOCK_NEVER);
    clock_fini(&s.clock);
}

static void test_set_in_callback(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    /* Itself, twice at a time that has come; another one at a time that has not. */
    s.a.sets = &s.a.timer;
    s.a.set_to = 15;
    s.a.set_times = 2;
    s.b.sets = &s.c.timer;
    s.b.set_to = 101;
    s.b.set_times = 1;
    clock_timer_set(&s.clock, &s.a.timer, 10);
    clock_timer_set(&s.clock, &s.b.timer, 20);
    clock_advance(&s.clock, 100);
    clock_run(&s.clock);
    assert_string_equal(s.log, "aaab");
    assert_true(clock_deadline(&s.clock) == 101);
    clock_advance(&s.clock, 101);
    clock_run(&s.clock);
    assert_string_equal(s.log, "aaabc");
    clock_fini(&s.clock);
}

static void test_virtual_time(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, true);
    clock_start(&s.clock);
    assert_true(clock_ns(&s.clock) == 0);
    clock_advance(&s.clock, 500);
    clock_advance(&s.clock, 400);
    assert_true(clock_ns(&s.clock) == 500);

    uint64_t count = 7000;
    clock_slice_begin(&s.clock, &count, 0);
    assert_true(clock_ns(&s.clock) == 500);
    count += 25;
    assert_true(clock_ns(&s.clock) == 525);
    clock_slice_end(&s.clock);

    /* Goes on with the same slice, 25 instructions in. */
    clock_slice_begin(&s.clock, &count, 25);
    assert_true(clock_ns(&s.clock) == 525);
    clock_timer_set(&s.clock, &s.a.timer, 530);
    count += 4;
    clock_run(&s.clock);
    assert_string_equal(s.log, "");
    count += 1;
    clock_run(&s.clock);
    assert_string_equal(s.log, "a");
    clock_slice_end(&s.clock);
    clock_advance(&s.clock, 530);
    assert_true(clock_ns(&s.clock) == 530);

    /* Another vCPU, whose counter is behind what its slice has used. */
    uint64_t other = 3;
    clock_slice_begin(&s.clock, &other, 10);
    assert_true(clock_ns(&s.clock) == 540);
    clock_slice_end(&s.clock);
    clock_fini(&s.clock);
}

static void test_real_time(void **state)
{
    (void)state;
    struct stage s;
    stage_init(&s, false);
    const struct timespec nap = {.tv_nsec = 2000000};
    uint64_t count = 1;
    clock_slice_begin(&s.clock, &count, 1);
    clock_advance(&s.clock, 1000);
    assert_true(clock_ns(&s.clock) == 0);
    nanosleep(&nap, NULL);
    assert_true(clock_ns(&s.clock) == 0);

    clock_start(&s.clock);
    clock_timer_set(&s.clock, &s.a.timer, 2000000);
    nanosleep(&nap, NULL);
    clock_run(&s.clock);
    assert_string_equal(s.log, "a");
    clock_stop(&s.clock);
    uint64_t stopped = clock_ns(&s.clock);
    assert_true(stopped >= 2000000);
    nanosleep(&nap, NULL);
    assert_true(clock_ns(&s.clock) == stopped);
    clock_stop(&s.clock);
    assert_true(clock_ns(&s.clock) == stopped);

    clock_start(&s.clock);
    uint64_t last = clock_ns(&s.clock);
    assert_true(last >= stopped);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = clock_ns(&s.clock);
        assert_true(now >= last);
        last = now;
    }
    clock_stop(&s.clock);
    clock_fini(&s.clock);
}

static int clock_copy(struct clock *from, struct clock *to, struct error *err)
{
    struct state_out out = {0};
    state_save(&out, &clock_state, from);
    struct state_in in = {.data = out.data, .len = out.len};
    int rc = state_load(&in, &clock_state, to, err);
    state_out_free(&out);
    return rc;
}

static void test_save(void **state)
{
    (void)state;
    struct stage a, b, r;
    stage_init(&a, true);
    stage_init(&b, true);
    stage_init(&r, false);
    struct error err = {0};
    clock_advance(&a.clock, 123456789);
    assert_int_equal(clock_copy(&a.clock, &b.clock, &err), 0);
    assert_true(clock_ns(&b.clock) == 123456789);

    /* A running clock goes on from what is loaded. */
    clock_start(&r.clock);
    assert_int_equal(clock_copy(&a.clock, &r.clock, &err), 0);
    uint64_t now = clock_ns(&r.clock);
    assert_true(now >= 123456789);
    assert_int_equal(clock_copy(&r.clock, &b.clock, &err), 0);
    assert_true(clock_ns(&b.clock) >= now && clock_ns(&b.clock) <= clock_ns(&r.clock));
    clock_stop(&r.clock);

    a.clock.ns = (UINT64_C(1) << 62) + 1;
    assert_int_equal(clock_copy(&a.clock, &b.clock, &err), -EINVAL);
    clock_fini(&a.clock);
    clock_fini(&b.clock);
    clock_fini(&r.clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),           cmocka_unit_test(test_same_deadline),
        cmocka_unit_test(test_deadline),        cmocka_unit_test(test_cancel_in_callback),
        cmocka_unit_test(test_set_in_callback), cmocka_unit_test(test_virtual_time),
        cmocka_unit_test(test_real_time),       cmocka_unit_test(test_save),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
