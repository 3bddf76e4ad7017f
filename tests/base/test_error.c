/* Errors: what the sentence says, that it is cut and never overflows, and what is returned. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void test_set_fills_and_returns(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set(&err, EINVAL, "memory of %d MiB is too small", 1), -EINVAL);
    assert_int_equal(err.code, EINVAL);
    assert_string_equal(err.msg, "memory of 1 MiB is too small");
}

static void test_set_accepts_null(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ENOENT, "%s", "nobody reads this"), -ENOENT);
}

static void test_set_cuts_long_text(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';

    struct {
        struct error err;
        char guard[16];
    } box;
    memset(&box, '#', sizeof box);
    assert_int_equal(error_set(&box.err, E2BIG, "%s", text), -E2BIG);
    assert_int_equal(strlen(box.err.msg), sizeof box.err.msg - 1);
    assert_memory_equal(box.guard, "################", sizeof box.guard);
}

static void test_prefix_goes_before(void **state)
{
    (void)state;
    struct error err = {0};
    error_set(&err, ENOENT, "no such file");
    assert_int_equal(error_prefix(&err, "disk %s", "a.img"), -ENOENT);
    assert_int_equal(err.code, ENOENT);
    assert_string_equal(err.msg, "disk a.img: no such file");
}

static void test_prefix_cuts_the_old_text(void **state)
{
    (void)state;
    char name[sizeof((struct error *)0)->msg];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';

    struct error err = {0};
    error_set(&err, EIO, "short read");
    assert_int_equal(error_prefix(&err, "%s", name), -EIO);
    assert_string_equal(err.msg, name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_and_returns),    cmocka_unit_test(test_set_accepts_null),
        cmocka_unit_test(test_set_cuts_long_text),       cmocka_unit_test(test_prefix_goes_before),
        cmocka_unit_test(test_prefix_cuts_the_old_text),
    };
    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
