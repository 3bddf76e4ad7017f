/*
 * Random calls, whose effect is compared with a model of pages and with what the kernel says.
 * GUISE_SEED repeats a run.
 */
#include "mm_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { PAGES = 96 };
#define WINDOW (MM_TOP - PAGES * MM_PAGE)

static int model[PAGES]; /* protections; -1: free */
static uint64_t rng;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)((rng >> 20) % n);
}

static uint64_t at(unsigned page)
{
    return WINDOW + page * MM_PAGE;
}

static void model_set(unsigned page, unsigned n, int prot)
{
    for (unsigned i = page; i < page + n && i < PAGES; i++)
        model[i] = prot;
}

static bool model_code(unsigned page, unsigned n)
{
    for (unsigned i = page; i < page + n && i < PAGES; i++) {
        if (model[i] >= 0 && model[i] & PROT_EXEC)
            return true;
    }
    return false;
}

static unsigned model_run(unsigned page, unsigned n, bool mapped)
{
    unsigned i = 0;
    while (i < n && page + i < PAGES && (model[page + i] >= 0) == mapped)
        i++;
    return i;
}

/* Where the kernel would put n pages; PAGES: not in the window. */
static unsigned model_place(unsigned n)
{
    for (unsigned page = PAGES - n + 1; page-- > 0;) {
        if (model_run(page, n, false) == n)
            return page;
    }
    return PAGES;
}

static void check(bool must_tell, bool may_tell)
{
    int kernel[PAGES];
    kernel_pages(WINDOW, PAGES, kernel);
    for (unsigned i = 0; i < PAGES; i++) {
        int host = model[i] < 0 ? -1 : (model[i] | model[i] >> 2) & RW; /* x needs r */
        assert_int_equal(prot_at(at(i)), model[i]);
        assert_int_equal(kernel[i], host);
    }
    for (unsigned i = 1; i < mm.count; i++) {
        const struct mm_range *a = &mm.range[i - 1], *b = &mm.range[i];
        assert_true(a->start < a->end && a->end <= b->start && b->start < b->end);
        assert_true(a->end < b->start || a->prot != b->prot || a->grows != b->grows);
    }
    assert_true(changed.count ? may_tell : !must_tell);
    changed.count = 0;
}

static void random_mmap(unsigned page, unsigned n, int prot)
{
    unsigned how = below(4), free_run = model_run(page, n, false);
    bool code = prot & PROT_EXEC;
    if (how == 0) {
        code |= model_code(page, n);
        assert_int_equal(map(at(page), n, prot), at(page));
    } else if (how == 1) {
        int64_t rc = mm_mmap(&mm, at(page), n * MM_PAGE, prot, ANON | MAP_FIXED_NOREPLACE, -1, 0);
        assert_int_equal(rc, free_run == n ? (int64_t)at(page) : -EEXIST);
        if (rc < 0) {
            check(false, true);
            return;
        }
    } else {
        if (how == 2 || free_run < n)
            page = model_place(n);
        if (page == PAGES)
            return;
        uint64_t hint = how == 2 ? 0 : at(page);
        assert_int_equal(mm_mmap(&mm, hint, n * MM_PAGE, prot, ANON, -1, 0), at(page));
    }
    model_set(page, n, prot);
    check(code, code);
}

static void random_mprotect(unsigned page, unsigned n, int prot)
{
    unsigned reach = model_run(page, n, true);
    bool code = model_code(page, reach) || (reach && (prot & PROT_EXEC));
    assert_int_equal(mm_mprotect(&mm, at(page), n * MM_PAGE, prot), reach == n ? 0 : -ENOMEM);
    model_set(page, reach, prot);
    check(code, code);
}

/* The kernel knows whether it can; the model follows. */
static void random_mremap(unsigned page, unsigned n)
{
    static const int kinds[] = {0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                MREMAP_MAYMOVE | 4, MREMAP_MAYMOVE | MREMAP_FIXED | 4};
    int flags = kinds[below(5)], old[PAGES], kernel[PAGES];
    unsigned new_n = flags & 4 ? n : 1 + below(12), to = below(PAGES - 12);
    uint64_t where = flags & MREMAP_FIXED ? at(to) : 0;
    if (flags != 0 && !(flags & MREMAP_FIXED) && model_place(new_n) == PAGES)
        return;
    memcpy(old, model, sizeof old);
    int64_t rc = mm_mremap(&mm, at(page), n * MM_PAGE, new_n * MM_PAGE, flags, where);
    if (rc < 0) { /* part of it may have happened; no protections change */
        kernel_pages(WINDOW, PAGES, kernel);
        for (unsigned i = 0; i < PAGES; i++) {
            assert_true(kernel[i] < 0 || model[i] >= 0);
            model[i] = kernel[i] < 0 ? -1 : model[i];
        }
        check(false, true);
        return;
    }
    assert_true((uint64_t)rc >= WINDOW);
    unsigned now = (unsigned)(((uint64_t)rc - WINDOW) / MM_PAGE), kept = n < new_n ? n : new_n;
    if (now != page && !(flags & 4))
        model_set(page, n, -1);
    if (now == page && new_n < n)
        model_set(page + new_n, n - new_n, -1);
    for (unsigned i = 0; i < kept; i++) {
        if (old[page + i] >= 0) /* what is behind holes stays */
            model[now + i] = old[page + i];
    }
    model_set(now + kept, new_n - kept, old[page + kept - 1]);
    check(false, true);
}

static void random_call(void)
{
    static const int prots[] = {PROT_NONE, PROT_READ, RW, RX, RW | PROT_EXEC, PROT_EXEC};
    unsigned n = 1 + below(12), page = below(PAGES - 12);
    int prot = prots[below(6)];
    bool code = model_code(page, n);
    switch (below(5)) {
    case 0:
        assert_int_equal(mm_munmap(&mm, at(page), n * MM_PAGE), 0);
        model_set(page, n, -1);
        check(code, code);
        break;
    case 1:
        random_mprotect(page, n, prot);
        break;
    case 2:
        random_mremap(page, n);
        break;
    default:
        random_mmap(page, n, prot);
        break;
    }
}

static void test_random(void **state)
{
    (void)state;
    const char *seed = getenv("GUISE_SEED");
    time_t stop = time(NULL) + 5;
    rng = seed && *seed ? strtoull(seed, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15);
    rng |= !rng;
    print_message("seed GUISE_SEED=%" PRIu64 "\n", rng);
    model_set(0, PAGES, -1);
    for (unsigned i = 0; i < 20000 && time(NULL) < stop; i++)
        random_call();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random, mm_rig_begin, mm_rig_end),
    };
    if (!mm_rig_usable())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
