/* The cache of decoded pages by itself: found again, compared after fence.i, started over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/interp/code.h"

enum { CROSSING = 7, PAGE_END = 9 };

struct heard {
    struct code_page *page;
    unsigned pages, all;
};

static uint8_t bytes[4096];

static void heard_change(void *ctx, struct code_page *p)
{
    struct heard *h = ctx;
    h->page = p;
    if (p)
        h->pages++;
    else
        h->all++;
}

static struct code_page *get(struct code_cache *c, gpa_t gpa, uint64_t epoch, bool restarts)
{
    bool restarted = !restarts;
    struct code_page *p = code_cache_get(c, gpa, bytes, epoch, &restarted);
    assert_non_null(p);
    assert_int_equal(restarted, restarts);
    return p;
}

static void test_changes(void **state)
{
    struct code_cache *c = code_cache_new(CROSSING, PAGE_END, false);
    struct heard heard = {0};
    (void)state;
    code_cache_set_changed(c, heard_change, &heard);
    bytes[0] = 1;
    struct code_page *p = get(c, 0x5000, 1, false);
    code_cache_open(c, p, 0);
    p->slots[3].handler = 44;
    bytes[0] = 2;
    /* In the same epoch nobody looks. */
    assert_ptr_equal(get(c, 0x5000, 1, false), p);
    assert_int_equal(p->slots[3].handler, 44);
    /* Then it is decoded anew; who has native code that depends on it is told. */
    assert_ptr_equal(get(c, 0x5000, 2, false), p);
    assert_int_equal(p->slots[3].handler, 0);
    assert_int_equal(p->slots[CODE_SLOTS].handler, PAGE_END);
    assert_int_equal(heard.pages, 0);
    p->native_list = 1;
    bytes[0] = 3;
    get(c, 0x5000, 3, false);
    assert_int_equal(heard.pages, 1);
    assert_ptr_equal(heard.page, p);
    assert_int_equal(p->native_list, 0);
    assert_null(code_cache_find(c, 0x6000));
    code_cache_free(c);
}

/* Enters `count` pages from the first on; the first finds the cache full if `restarts`. */
static void fill(struct code_cache *c, gpa_t first, unsigned count, bool restarts)
{
    for (unsigned i = 0; i < count; i++) {
        struct code_page *p = get(c, (first + i) << 12, 1, restarts && !i);
        assert_null(p->slots);
        code_cache_open(c, p, 0);
        /* Nothing of what was in its place before. */
        assert_int_equal(p->slots[5].handler, 0);
        assert_int_equal(p->native_list, 0);
        p->slots[5].handler = 1;
        p->native_list = 1;
    }
}

static void test_full(void **state)
{
    struct code_cache *c = code_cache_new(CROSSING, PAGE_END, false);
    struct heard heard = {0};
    (void)state;
    code_cache_set_changed(c, heard_change, &heard);
    fill(c, 1, CODE_MAX_PAGES, false);
    assert_int_equal(heard.all, 0);
    for (gpa_t i = 1; i <= CODE_MAX_PAGES; i++)
        assert_int_equal(code_cache_find(c, i << 12)->gpa, i << 12);
    /* One more, and all others are gone. */
    fill(c, 100000, CODE_MAX_PAGES, true);
    assert_int_equal(heard.all, 1);
    for (gpa_t i = 1; i <= CODE_MAX_PAGES; i++)
        assert_null(code_cache_find(c, i << 12));
    fill(c, 1, 1, true);
    assert_int_equal(heard.all, 2);
    assert_int_equal(heard.pages, 0);
    code_cache_free(c);
}

/* Opens those of the pages [0, count) that are not, `each` instructions apart. How many were not.
 */
static unsigned open_all(struct code_cache *c, unsigned count, uint64_t each, uint64_t *icount)
{
    unsigned opened = 0;
    for (gpa_t i = 0; i < count; i++) {
        struct code_page *p = get(c, i << 12, 1, false);
        if (p->slots)
            continue;
        code_cache_open(c, p, *icount += each);
        assert_int_equal(p->slots[5].handler, 0);
        assert_int_equal(p->slots[CODE_SLOTS - 1].handler, CROSSING);
        assert_int_equal(p->slots[CODE_SLOTS].handler, PAGE_END);
        assert_int_equal(p->slots[CODE_SLOTS + 1].handler, PAGE_END);
        assert_int_equal(p->cross_handler, 0);
        p->slots[5].handler = p->slots[CODE_SLOTS - 1].handler = p->cross_handler = 1;
        p->run[0] |= 1u << 5;
        opened++;
    }
    return opened;
}

static void test_slots(void **state)
{
    struct code_cache *c = code_cache_new(CROSSING, PAGE_END, false);
    (void)state;
    memset(bytes, 0, sizeof bytes);
    bytes[4094] = 3;
    const unsigned few = CODE_FEW_SLOTS;
    uint64_t icount = 0;
    assert_int_equal(open_all(c, few, 1, &icount), few);
    assert_int_equal(open_all(c, few, 1, &icount), 0);
    /* One more takes the first one's, which stays what it was but for being decoded. */
    assert_int_equal(open_all(c, few + 1, 1, &icount), 1);
    const struct code_page *first = code_cache_find(c, 0);
    assert_null(first->slots);
    assert_int_equal(first->run[0], 1u << 5);
    /* Who needs them seldom gets no more. */
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(open_all(c, 2 * few, 10000000, &icount), 2 * few);
    /* Else they become as many as are needed. */
    unsigned rounds = 0;
    while (open_all(c, 3 * few, 1000, &icount))
        assert_in_range(++rounds, 1, 20);
    assert_true(rounds > 1);
    assert_non_null(first->slots);
    code_cache_free(c);
    bytes[4094] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
