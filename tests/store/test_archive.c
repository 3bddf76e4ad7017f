/* A machine's archive of translations: what comes back, whose it is, what is damaged. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "store/archive.h"
#include "store/store.h"

#define RECORDS 300u
#define BUILD 2u

static char directory[] = "/tmp/guise-test-archive-XXXXXX";
static char disk[sizeof directory + 8], cache[sizeof directory + 8];
static uint8_t buffer[UNIT_MAX_RECORD];

static int begin(void **state)
{
    (void)state;
    strcpy(strrchr(directory, '-'), "-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(disk, sizeof disk, "%s/disk", directory);
    snprintf(cache, sizeof cache, "%s/cache", directory);
    close(open(disk, O_WRONLY | O_CREAT, 0600));
    return setenv("GUISE_CACHE", cache, 1);
}

static int end(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static struct archive *try_open(const char *of, struct error *err)
{
    struct store *s = store_new(0, err);
    struct archive *a = s ? store_archive(s, of, err) : NULL;
    store_free(s);
    return a;
}

static struct archive *open_archive(uint64_t build)
{
    struct error err = {0};
    struct archive *a = try_open(disk, &err);
    if (!a && err.code == ENOTSUP) {
        print_message("%s\n", err.msg);
        skip();
    }
    assert_non_null(a);
    assert_true(archive_begin(a, 1, build, 3));
    return a;
}

static uint32_t fill(unsigned n, uint8_t *to)
{
    uint32_t size = 40 + n * 13 % 3000;
    for (uint32_t i = 0; i < size; i++)
        to[i] = (uint8_t)(n + i * 7);
    return size;
}

static void add_all(struct archive *a)
{
    for (unsigned n = 0; n < RECORDS; n++) {
        uint32_t size = fill(n, buffer);
        archive_add(a, n / 10, n % 10, buffer, size);
    }
}

/* How many are there; those that are must be right. */
static unsigned count(struct archive *a)
{
    static uint8_t expected[4096];
    unsigned found = 0;
    for (unsigned n = 0; n < RECORDS; n++) {
        uint32_t size = archive_get(a, n / 10, n % 10, buffer);
        if (!size)
            continue;
        assert_int_equal(size, fill(n, expected));
        assert_memory_equal(buffer, expected, size);
        found++;
    }
    return found;
}

static void note_place(void *ctx, uint32_t place)
{
    *(unsigned *)ctx |= 1u << place;
}

static void test_comes_back(void **state)
{
    (void)state;
    struct archive *a = open_archive(BUILD);
    assert_int_equal(archive_get(a, 1, 1, buffer), 0);
    add_all(a);
    archive_add(a, 0, 0, "other", 5); /* the first one stays */
    assert_int_equal(count(a), RECORDS);
    archive_free(a);
    a = open_archive(BUILD);
    unsigned places = 0;
    archive_each(a, 7, note_place, &places);
    assert_int_equal(places, (1 << 10) - 1);
    assert_int_equal(count(a), RECORDS);
    assert_int_equal(archive_get(a, RECORDS, 0, buffer), 0);
    archive_free(a);
}

static void test_of_another_build(void **state)
{
    (void)state;
    struct archive *a = open_archive(BUILD);
    add_all(a);
    assert_true(archive_begin(a, 1, BUILD, 3)); /* the next hart */
    assert_false(archive_begin(a, 1, BUILD, 4));
    archive_free(a);
    a = open_archive(BUILD + 1);
    assert_int_equal(count(a), 0);
    archive_add(a, 1, 1, "x", 1);
    archive_free(a);
    a = open_archive(BUILD);
    assert_int_equal(count(a), 0);
    archive_free(a);
}

static void test_of_one_disk(void **state)
{
    (void)state;
    struct error err = {0};
    struct archive *a = open_archive(BUILD);
    add_all(a);
    assert_null(try_open(disk, &err)); /* one machine at a time */
    assert_int_equal(err.code, EWOULDBLOCK);
    archive_free(a);
    /* Another file of that name, and none. */
    char other[sizeof disk + 8];
    snprintf(other, sizeof other, "%s.new", disk);
    close(open(other, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(rename(other, disk), 0);
    a = open_archive(BUILD);
    assert_int_equal(count(a), 0);
    archive_free(a);
    assert_null(try_open(other, &err));
    assert_int_equal(err.code, ENOENT);
}

/* The archive of a disk over the first, which reads what that one's has. */
static struct archive *open_over(uint64_t build)
{
    struct error err = {0};
    char over[sizeof disk + 8];
    snprintf(over, sizeof over, "%s.over", disk);
    close(open(over, O_WRONLY | O_CREAT, 0600));
    struct archive *a = try_open(over, &err);
    struct store *s = store_new(0, &err);
    assert_non_null(a);
    assert_non_null(s);
    archive_put_below(a, s, "/dev/null");
    archive_put_below(a, s, disk);
    store_free(s);
    assert_true(archive_begin(a, 1, build, 3));
    return a;
}

static void test_below(void **state)
{
    (void)state;
    struct error err = {0};
    struct archive *a = open_archive(BUILD);
    add_all(a);
    archive_free(a);
    a = open_over(BUILD);
    assert_null(try_open(disk, &err)); /* not to be written meanwhile */
    assert_int_equal(count(a), RECORDS);
    archive_add(a, RECORDS, 0, "new", 3);
    unsigned places = 0;
    archive_each(a, 7, note_place, &places);
    assert_int_equal(places, (1 << 10) - 1);
    archive_free(a);

    /* What is new is the upper one's. */
    a = open_archive(BUILD);
    assert_int_equal(count(a), RECORDS);
    assert_int_equal(archive_get(a, RECORDS, 0, buffer), 0);
    archive_free(a);
    a = open_over(BUILD);
    assert_int_equal(archive_get(a, RECORDS, 0, buffer), 3);
    archive_free(a);
    a = open_over(BUILD + 1);
    assert_int_equal(count(a), 0);
    archive_free(a);
}

struct found {
    char name[64];
    int dir;
};

static void note_file(void *ctx, int dir, const struct store_file *f)
{
    struct found *found = ctx;
    assert_int_equal(f->kind, STORE_ARCHIVE_FILE);
    snprintf(found->name, sizeof found->name, "%s", f->name);
    found->dir = dup(dir);
}

static void only_file(struct store *s, char *name, int *dir)
{
    struct error err = {0};
    struct found found = {.dir = -1};
    assert_int_equal(store_each(s, note_file, &found, &err), 0);
    strcpy(name, found.name);
    *dir = found.dir;
}

/* The archive's file, opened to be spoiled. */
static int open_file(void)
{
    struct error err = {0};
    struct store *s = store_new(0, &err);
    char name[64];
    int dir;
    only_file(s, name, &dir);
    int fd = openat(dir, name, O_RDWR);
    assert_true(fd >= 0);
    close(dir);
    store_free(s);
    return fd;
}

/* That of an archive with all records. */
static int filled_file(void)
{
    struct archive *a = open_archive(BUILD);
    add_all(a);
    archive_free(a);
    return open_file();
}

static void test_damage(void **state)
{
    (void)state;
    struct stat st;
    int fd = filled_file();
    assert_int_equal(fstat(fd, &st), 0);
    unsigned seed = 1;
    for (unsigned n = 0; n < 40; n++) {
        uint8_t byte = (uint8_t)rand_r(&seed);
        off_t at = rand_r(&seed) % st.st_size;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        struct archive *a = open_archive(BUILD);
        unsigned found = count(a);
        add_all(a); /* what is damaged is not written again, what is lost is */
        assert_true(count(a) >= found);
        archive_free(a);
        a = open_archive(BUILD);
        assert_true(count(a) >= found);
        archive_free(a);
    }
    close(fd);
}

static void test_torn(void **state)
{
    (void)state;
    struct stat st;
    int fd = filled_file();
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t size = st.st_size - 1; size > st.st_size / 2; size -= 997) {
        assert_int_equal(ftruncate(fd, size), 0);
        struct archive *a = open_archive(BUILD);
        unsigned found = count(a);
        assert_true(found > 0 && found < RECORDS);
        archive_free(a);
    }
    struct archive *a = open_archive(BUILD);
    add_all(a);
    assert_int_equal(count(a), RECORDS);
    archive_free(a);
    close(fd);
}

/* A limit of the process's own is no reason to die. */
static void test_full(void **state)
{
    (void)state;
    archive_free(open_archive(BUILD)); /* or skips */
    pid_t child = fork();
    if (!child) {
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){20000, 20000});
        struct archive *a = open_archive(BUILD);
        add_all(a);
        _exit(count(a) > 0 && count(a) < RECORDS ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void test_of_others(void **state)
{
    (void)state;
    struct error err = {0};
    int fd = filled_file();
    assert_int_equal(fchmod(fd, 0666), 0);
    close(fd);
    assert_null(try_open(disk, &err));
    assert_int_equal(err.code, EPERM);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_comes_back),  T(test_of_another_build),
        T(test_of_one_disk), T(test_damage),
        T(test_torn),        T(test_full),
        T(test_of_others),   T(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
