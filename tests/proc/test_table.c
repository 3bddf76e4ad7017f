/* The table of system calls: complete, in order, and consistent in itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "numbers.h"
#include "proc/syscall.h"

#define LAST 462 /* mseal, of 6.12 */

enum row_kind { ROW_PASS, ROW_PATH, ROW_CALL, ROW_NONE };

static const struct row {
    unsigned number;
    const char *name;
    enum row_kind kind;
} rows[] = {
#define PASS(number, name, ...) {number, #name, ROW_PASS},
#define PATH(number, name, ...) {number, #name, ROW_PATH},
#define CALL(number, name, ...) {number, #name, ROW_CALL},
#define NONE(number, name, ...) {number, #name, ROW_NONE},
#include "proc/syscalls.def"
#undef PASS
#undef PATH
#undef CALL
#undef NONE
};

static void test_order(void **state)
{
    (void)state;
    for (unsigned i = 1; i < ARRAY_SIZE(rows); i++)
        assert_true(rows[i - 1].number < rows[i].number);
}

/* Functions of the kernel that are not called as the call is. */
static const struct {
    const char *function, *name;
} renamed[] = {{"sys_umount", "umount2"},
               {"sys_sendfile64", "sendfile"},
               {"sys_newfstat", "fstat"},
               {"sys_newuname", "uname"},
               {"sys_fadvise64_64", "fadvise64"}};

static const char *name_of(const char *function)
{
    for (unsigned i = 0; i < ARRAY_SIZE(renamed); i++)
        if (!strcmp(renamed[i].function, function))
            return renamed[i].name;
    return function + strlen("sys_");
}

static void test_complete(void **state)
{
    (void)state;
    unsigned count = 0;
    for (const struct number *n = numbers; n->number >= 0; n++, count++) {
        const struct syscall *c = syscall_find((uint64_t)n->number);
        if (n->number > LAST) /* of headers that are newer than the table */
            continue;
        if (!c)
            fail_msg("%d (%s) is not in the table", n->number, n->function);
        if (strcmp(n->function, "sys_ni_syscall") && strcmp(c->name, name_of(n->function)))
            fail_msg("%d is %s, not %s", n->number, n->function, c->name);
    }
    assert_true(count > 300);
    assert_string_equal(syscall_find(258)->name, "riscv_hwprobe");
    assert_string_equal(syscall_find(259)->name, "riscv_flush_icache");
    assert_string_equal(syscall_find(LAST)->name, "mseal");
}

static void test_unknown(void **state)
{
    (void)state;
    assert_null(syscall_find(244));
    assert_null(syscall_find(403));
    assert_null(syscall_find(LAST + 1));
    assert_null(syscall_find(UINT64_MAX));
}

/* Handlers look paths up themselves; of the host's calls, those with paths and no others do. */
static void test_paths(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct syscall *c = syscall_find(rows[i].number);
        bool path = false;
        for (unsigned k = 0; k < SYSCALL_ARGS; k++)
            path |= c->type[k] == T_PATH || c->type[k] == T_LPATH || c->type[k] == T_NEWPATH;
        if (rows[i].kind == ROW_PASS && path)
            fail_msg("%s has a path that is not looked up", c->name);
        if (rows[i].kind == ROW_PATH && !path)
            fail_msg("%s has no path", c->name);
        assert_int_equal(c->paths, rows[i].kind == ROW_PATH);
        assert_int_equal(!c->serve, rows[i].kind == ROW_PASS || rows[i].kind == ROW_PATH);
    }
}

/* What is printed with the help of the next argument has one. */
static void test_types(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct syscall *c = syscall_find(rows[i].number);
        bool ended = false;
        for (unsigned k = 0; k < SYSCALL_ARGS; k++) {
            bool counted = c->type[k] == T_IN || c->type[k] == T_OUT || c->type[k] == T_IOVEC ||
                           c->type[k] == T_POLL || c->type[k] == T_SOCKADDR;
            assert_true(c->type[k] < T_COUNT);
            assert_false(ended && c->type[k] != T_END);
            if (counted && (k + 1 == SYSCALL_ARGS || c->type[k + 1] == T_END))
                fail_msg("%s has nothing behind argument %u", c->name, k);
            ended |= c->type[k] == T_END;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_complete),
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
