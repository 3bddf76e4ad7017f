/*
 * Memory that gets its pages by batches: those that are about to be written are there, and no more
 * than a batch beyond them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/populate.h"

#define PAGES 100u
#define PAGE 4096u
#define BATCH_PAGES 16u

/* How many of the pages are there, which are the first ones. */
static unsigned resident(void *p)
{
    unsigned char there[PAGES];
    unsigned n = 0, all = 0;
    assert_int_equal(mincore(p, PAGES * PAGE, there), 0);
    while (n < PAGES && there[n] & 1)
        n++;
    for (unsigned i = 0; i < PAGES; i++)
        all += there[i] & 1;
    assert_int_equal(all, n);
    return n;
}

static void test_ahead(void **state)
{
    (void)state;
    size_t ready = 0;
    uint8_t *p =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE); /* where there is such a thing */
    for (size_t end = 1; end <= PAGES * PAGE; end += 5000) {
        populate(p, PAGES * PAGE, &ready, end);
        unsigned n = resident(p), least = (unsigned)((end + PAGE - 1) / PAGE);
        assert_in_range(n, least, least + BATCH_PAGES - 1);
        assert_int_equal(ready, n * PAGE);
        p[end - 1] = 1;
    }
    /* Beyond the end there is nothing to be had. */
    populate(p, PAGES * PAGE, &ready, PAGES * PAGE + 1000);
    assert_int_equal(ready, PAGES * PAGE);
    populate(p, PAGES * PAGE, &ready, 5);
    assert_int_equal(resident(p), PAGES);
    munmap(p, PAGES * PAGE);
}

int main(void)
{
    if (madvise(NULL, 0, 23) != 0) {
        puts("skip: this kernel has no MADV_POPULATE_WRITE (Linux 5.14)");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ahead)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
