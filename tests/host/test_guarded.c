/* Accesses to memory that is there, is not, or only in part, for each function of guarded.h. */
#include "host/guarded.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#if GUISE_FAULTS
#include "host/fault.h"
#else /* nothing to install */
#define fault_init(err) 0
#define fault_fini() (void)0
#endif

enum { PAGE = 4096 };

/* Pages: readable and writable, then one that refuses; and one that can only be read. */
static uint8_t *good, *bad, *fixed;

struct place {
    const char *name;
    uint8_t *p;
};

enum { PLACES = 6 };
static struct place places[PLACES]; /* that cannot be read */

static uint8_t *map(size_t pages, int prot)
{
    uint8_t *p = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

/* A page of a file that ends before it: SIGBUS. */
static uint8_t *map_beyond_file(void)
{
    int fd = memfd_create("short", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    return p;
}

static int setup(void **state)
{
    (void)state;
    good = map(3, PROT_READ | PROT_WRITE);
    bad = good + PAGE;
    assert_int_equal(mprotect(bad, PAGE, PROT_NONE), 0);
    fixed = map(1, PROT_READ);
    uint8_t *gone = map(1, PROT_READ);
    munmap(gone, PAGE);
    places[0] = (struct place){"without rights", bad};
    places[1] = (struct place){"not mapped", gone};
    places[2] = (struct place){"beyond its file", map_beyond_file()};
    places[3] = (struct place){"not canonical", (uint8_t *)(UINT64_C(1) << 63)};
    places[4] = (struct place){"the lowest", (uint8_t *)8};
    places[5] = (struct place){"the kernel's", (uint8_t *)(UINT64_MAX - 15)};
    return 0;
}

/* cmocka has handlers of its own while a test runs. */
static void begin(void **state)
{
    (void)state;
    assert_int_equal(fault_init(NULL), 0);
}

static void test_good(void **state)
{
    begin(state);
    uint8_t from[100], to[100];
    uint64_t v;
    for (unsigned i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i + 1);
    for (size_t size = 0; size <= sizeof from; size++) {
        memset(good, 0xee, PAGE);
        assert_true(guarded_copy(good + 7, from, size));
        assert_true(guarded_copy(to, good + 7, size));
        assert_memory_equal(to, from, size);
        assert_int_equal(good[7 + size], 0xee);
        assert_true(guarded_clear(good + 7, size));
        for (size_t i = 0; i < size; i++)
            assert_int_equal(good[7 + i], 0);
        assert_int_equal(good[6], 0xee);
        assert_int_equal(good[7 + size], 0xee);
    }
    for (unsigned size = 1; size <= 8; size *= 2) {
        uint64_t mask = ~UINT64_C(0) >> (64 - 8 * size);
        memset(good, 0xff, 32);
        assert_true(guarded_store(good + 8, size, UINT64_C(0x8899aabbccddeeff)));
        assert_true(guarded_load(good + 8, size, &v));
        assert_int_equal(v, UINT64_C(0x8899aabbccddeeff) & mask);
        assert_int_equal(good[7], 0xff);
        assert_int_equal(good[8 + size], 0xff);
    }
    fault_fini();
}

static void test_exchange(void **state)
{
    begin(state);
    uint64_t *word = (uint64_t *)(void *)good, expected;
    for (unsigned size = 4; size <= 8; size += 4) {
        uint64_t mask = ~UINT64_C(0) >> (64 - 8 * size), old = UINT64_C(0x1111222233334444);
        *word = old;
        expected = old & mask;
        assert_true(guarded_cas(word, size, &expected, UINT64_C(0xfedcba9876543210)));
        assert_int_equal(expected, old & mask);
        assert_int_equal(*word, (old & ~mask) | (UINT64_C(0xfedcba9876543210) & mask));
        old = *word;
        expected = 5;
        assert_true(guarded_cas(word, size, &expected, 6));
        assert_int_equal(expected, old & mask);
        assert_int_equal(*word, old);
    }
    assert_true(guarded_writable(word));
    fault_fini();
}

static void test_strings(void **state)
{
    begin(state);
    char *end = (char *)bad;
    memset(good, 'x', PAGE);
    end[-1] = 0;
    assert_int_equal(guarded_strlen(end - 1, 100), 0);
    assert_int_equal(guarded_strlen(end - 10, 100), 9);
    assert_int_equal(guarded_strlen(end - 10, 10), 9);
    assert_int_equal(guarded_strlen(end - 10, 9), -1);
    assert_int_equal(guarded_strlen(end - 10, 0), -1);
    end[-1] = 'x';
    assert_int_equal(guarded_strlen(end - 10, 100), -1);
    assert_int_equal(guarded_strlen(end - 10, 10), -1);
    fault_fini();
}

static void test_absent(void **state)
{
    begin(state);
    uint8_t buffer[64] = {0};
    for (unsigned i = 0; i < PLACES; i++) {
        uint8_t *p = places[i].p;
        uint64_t v = 3;
        print_message("%s\n", places[i].name);
        assert_false(guarded_copy(p, buffer, 8));
        assert_false(guarded_copy(buffer, p, 8));
        assert_false(guarded_clear(p, 8));
        assert_int_equal(guarded_strlen((const char *)p, 8), -1);
        for (unsigned size = 1; size <= 8; size *= 2) {
            assert_false(guarded_load(p, size, &v));
            assert_false(guarded_store(p, size, 1));
        }
        assert_false(guarded_cas(p, 4, &v, 1));
        assert_false(guarded_cas(p, 8, &v, 1));
        assert_false(guarded_writable(p));
        assert_int_equal(v, 3);
        assert_true(guarded_copy(p, buffer, 0));
        assert_true(guarded_clear(p, 0));
    }
    fault_fini();
}

static void test_read_only(void **state)
{
    begin(state);
    uint8_t buffer[8] = {1};
    uint64_t v = 3;
    assert_true(guarded_copy(buffer, fixed, 8));
    assert_int_equal(buffer[0], 0);
    assert_true(guarded_load(fixed, 8, &v));
    assert_int_equal(guarded_strlen((const char *)fixed, 8), 0);
    assert_false(guarded_copy(fixed, buffer, 8));
    assert_false(guarded_clear(fixed, 8));
    assert_false(guarded_store(fixed, 8, 1));
    assert_false(guarded_cas(fixed, 4, &v, 1));
    assert_false(guarded_writable(fixed));
    fault_fini();
}

/* What crosses into a page that is not there fails, whichever side it is. */
static void test_crossing(void **state)
{
    begin(state);
    static uint8_t buffer[2 * PAGE];
    uint64_t v = 3;
    memset(good, 7, PAGE);
    assert_false(guarded_copy(buffer, bad - 100, 101));
    assert_true(guarded_copy(buffer, bad - 100, 100));
    assert_false(guarded_copy(bad - 100, buffer, PAGE));
    assert_false(guarded_clear(bad - 100, 101));
    assert_true(guarded_clear(bad - 100, 100));
    for (unsigned size = 2; size <= 8; size *= 2) {
        assert_false(guarded_load(bad - 1, size, &v));
        assert_false(guarded_store(bad - 1, size, 1));
        assert_true(guarded_load(bad - size, size, &v));
        assert_true(guarded_store(bad - size, size, 1));
    }
    fault_fini();
}

static void *other_thread(void *arg)
{
    uint64_t v;
    bool *ok = arg;
    *ok = true;
    for (unsigned i = 0; i < 1000; i++)
        *ok = *ok && !guarded_load(bad, 8, &v) && guarded_load(good, 8, &v);
    return NULL;
}

/* No thread has to prepare anything. */
static void test_threads(void **state)
{
    begin(state);
    pthread_t threads[2];
    bool ok[2];
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, other_thread, &ok[i]), 0);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_true(ok[i]);
    }
    fault_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_strings),   cmocka_unit_test(test_absent),
        cmocka_unit_test(test_read_only), cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
