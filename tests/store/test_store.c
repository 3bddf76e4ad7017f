/* The directory of translations and its files: what comes back, what is refused, what is damaged.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/fault.h"
#include "store/store.h"

static char directory[] = "/tmp/guise-test-store-XXXXXX";
static char path[sizeof directory + 8];

static const struct unit_key key = {.image = {1, 2}, .size = 3, .base = 0x1000, .build = 5};
static const uint64_t run[UNIT_SLOTS / 64] = {6};

static int begin(void **state)
{
    (void)state;
    strcpy(strrchr(directory, '-'), "-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/cache", directory);
    assert_int_equal(setenv("GUISE_CACHE", path, 1), 0);
    return 0;
}

static int end(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

/* What the record for a place says. */
static void contents(uint8_t *to, uint32_t size, unsigned page, unsigned slot)
{
    for (uint32_t i = 0; i < size; i++)
        to[i] = (uint8_t)(page * 31 + slot * 7 + i);
}

static uint32_t size_of(unsigned slot)
{
    return 100 + slot % 1000;
}

static void add(struct unit_draft *d, unsigned page, unsigned slot)
{
    uint8_t *bytes = malloc(size_of(slot));
    contents(bytes, size_of(slot), page, slot);
    assert_true(draft_page(d, page, page + 100, run));
    assert_true(draft_record(d, page, slot, bytes, size_of(slot)));
}

/* 1: it is there; 0: it is not; fails when it is wrong. */
static int check(const struct unit *u, unsigned page, unsigned slot)
{
    uint8_t got[2000], want[2000];
    const struct unit_page *p = unit_page(u, page);
    const struct unit_entry *e = p && p->content == page + 100 ? unit_entry(u, p, slot) : NULL;
    if (!e || !unit_get(u, e, got))
        return 0;
    contents(want, size_of(slot), page, slot);
    assert_int_equal(e->size, size_of(slot));
    assert_memory_equal(got, want, e->size);
    return 1;
}

static struct store *store_get(uint64_t limit)
{
    struct error err;
    struct store *s = store_new(limit, &err);
    assert_non_null(s);
    return s;
}

static void put(const struct store *s, unsigned pages, unsigned slots)
{
    struct unit_draft d = {0};
    for (unsigned p = pages; p-- > 0;)
        for (unsigned i = slots; i-- > 0;)
            add(&d, p * 2, i * 3);
    assert_int_equal(store_add(s, &key, &d), 1);
    draft_free(&d);
}

static void test_round_trip(void **state)
{
    struct store *s = store_get(0);
    struct unit u;
    struct unit_draft d = {0};
    (void)state;
    assert_false(store_read(s, &key, &u));
    put(s, 5, 100);
    assert_true(store_read(s, &key, &u));
    for (unsigned p = 0; p < 10; p++)
        for (unsigned i = 0; i < 300; i++)
            assert_int_equal(check(&u, p, i), p % 2 == 0 && i % 3 == 0);
    assert_int_equal(unit_page(&u, 8)->run[0], run[0]);
    unit_close(&u);
    /* Nothing new. */
    add(&d, 2, 3);
    assert_int_equal(store_add(s, &key, &d), 0);
    draft_free(&d);
    /* Other bytes on a page end what was made of the former ones. */
    for (unsigned i = 0; i < 100; i++) {
        assert_true(draft_page(&d, 2, 7, run));
        assert_true(draft_record(&d, 2, i, calloc(1, 500), 500));
    }
    add(&d, 4, 1);
    assert_int_equal(store_add(s, &key, &d), 1);
    draft_free(&d);
    assert_true(store_read(s, &key, &u));
    assert_int_equal(unit_page(&u, 2)->content, 7);
    assert_int_equal(unit_page(&u, 2)->count, 100);
    assert_true(check(&u, 4, 1) && check(&u, 4, 0) && check(&u, 8, 297));
    unit_close(&u);
    store_free(s);
}

static void verify_unit(void *ctx, int dir, const struct store_file *f)
{
    struct unit_key got;
    *(unsigned *)ctx += f->kind == STORE_UNIT && store_verify(dir, f->name, &got) &&
                        !memcmp(&got, &key, sizeof key);
}

/* Places that are wanted have no record; one that comes later takes their place. */
static void test_wanted(void **state)
{
    struct store *s = store_get(0);
    struct unit u;
    unsigned good = 0;
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        struct unit_draft d = {0};
        add(&d, 1, 10 + n);
        if (n)
            add(&d, 1, 7);
        assert_true(draft_record(&d, 1, 7, NULL, 0));
        assert_true(draft_record(&d, 1, 10, NULL, 0));
        assert_int_equal(store_add(s, &key, &d), 1);
        draft_free(&d);
        assert_true(store_read(s, &key, &u));
        assert_int_equal(unit_entry(&u, unit_page(&u, 1), 7)->size, n ? size_of(7) : 0);
        assert_true(check(&u, 1, 10));
        unit_close(&u);
    }
    assert_int_equal(store_each(s, verify_unit, &good, NULL), 0);
    assert_int_equal(good, 1);
    store_free(s);
}

static void test_other_key(void **state)
{
    struct store *s = store_get(0);
    struct unit u;
    (void)state;
    put(s, 1, 1);
    for (unsigned i = 0; i < sizeof key; i++) {
        struct unit_key other = key;
        ((uint8_t *)&other)[i] ^= 1;
        assert_false(store_read(s, &other, &u));
    }
    store_free(s);
}

/* The one unit there is. */
static void unit_path(char *out, size_t size)
{
    char command[200];
    snprintf(command, sizeof command, "ls %s/*.unit", path);
    FILE *f = popen(command, "r");
    assert_non_null(fgets(out, (int)size, f));
    pclose(f);
    out[strcspn(out, "\n")] = 0;
}

/* What is there is right, or is not there. */
static void test_damage(void **state)
{
    struct store *s = store_get(0);
    struct unit u;
    char file[200];
    (void)state;
    /* Over the handlers of the test's framework. */
    assert_int_equal(fault_init(NULL), 0);
    put(s, 3, 40);
    unit_path(file, sizeof file);
    int fd = open(file, O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    srand(1);
    for (unsigned n = 0; n < 3000; n++) {
        off_t at = rand() % (n % 2 ? 4000 : (int)st.st_size);
        uint8_t was, is;
        assert_int_equal(pread(fd, &was, 1, at), 1);
        is = (uint8_t)(was ^ 1 << n % 8);
        assert_int_equal(pwrite(fd, &is, 1, at), 1);
        if (store_read(s, &key, &u)) {
            for (unsigned i = 0; i < 40; i++)
                check(&u, 4, i * 3);
            unit_close(&u);
        }
        assert_int_equal(pwrite(fd, &was, 1, at), 1);
    }
    /* Cut off while it is used, and before. */
    assert_true(store_read(s, &key, &u));
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_false(check(&u, 4, 117));
    unit_close(&u);
    for (off_t size = st.st_size - 1; size > 0; size -= 997) {
        assert_int_equal(ftruncate(fd, size), 0);
        assert_false(store_read(s, &key, &u));
    }
    close(fd);
    /* It is built anew. */
    put(s, 3, 40);
    assert_true(store_read(s, &key, &u));
    assert_true(check(&u, 4, 117));
    unit_close(&u);
    store_free(s);
    fault_fini();
}

static void test_permissions(void **state)
{
    struct store *s = store_get(0);
    struct unit u;
    struct error err;
    char file[200];
    (void)state;
    put(s, 1, 1);
    unit_path(file, sizeof file);
    assert_int_equal(chmod(file, 0620), 0);
    assert_false(store_read(s, &key, &u));
    assert_int_equal(chmod(file, 0644), 0);
    assert_true(store_read(s, &key, &u));
    unit_close(&u);
    assert_int_equal(chmod(path, 0770), 0);
    assert_false(store_read(s, &key, &u));
    assert_null(store_new(0, &err));
    assert_int_equal(chmod(path, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(file, 1, 1), 0);
        assert_false(store_read(s, &key, &u));
        assert_int_equal(chown(file, 0, 0), 0);
        assert_int_equal(chown(path, 1, 1), 0);
        assert_false(store_read(s, &key, &u));
        assert_null(store_new(0, &err));
        assert_int_equal(chown(path, 0, 0), 0);
    }
    char other[sizeof path + 8];
    snprintf(other, sizeof other, "%s2", path);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_false(store_read(s, &key, &u));
    assert_null(store_new(0, &err));
    store_free(s);
}

static void count_units(void *ctx, int dir, const struct store_file *f)
{
    (void)dir;
    *(unsigned *)ctx += f->kind == STORE_UNIT;
}

static void test_limit(void **state)
{
    struct store *s = store_get(100 << 10);
    struct unit u;
    unsigned units = 0;
    (void)state;
    for (unsigned n = 0; n < 20; n++) {
        struct unit_key k = key;
        struct unit_draft d = {0};
        k.size = n;
        for (unsigned i = 0; i < 15; i++)
            add(&d, 1, i + 900);
        assert_int_equal(store_add(s, &k, &d), 1);
        draft_free(&d);
        usleep(10000);
    }
    assert_int_equal(store_each(s, count_units, &units, NULL), 0);
    assert_true(units > 3 && units < 8);
    struct unit_key last = key;
    last.size = 19;
    assert_true(store_read(s, &last, &u));
    unit_close(&u);
    last.size = 0;
    assert_false(store_read(s, &last, &u));
    store_free(s);
}

/* ---- many at once ---- */

#define WRITERS 24u

/* Adds what is its own, again and again, and finds nothing wrong. */
static void write_for_ever(const struct store *s, unsigned self, unsigned rounds)
{
    for (unsigned n = 0; n < rounds; n++) {
        struct unit_draft d = {0};
        struct unit u;
        for (unsigned i = 0; i < 40; i++)
            add(&d, self, (n * 40 + i) % UNIT_SLOTS);
        store_add(s, &key, &d);
        draft_free(&d);
        if (store_read(s, &key, &u)) {
            for (unsigned p = 0; p < WRITERS; p++)
                for (unsigned i = 0; i < 100; i++)
                    check(&u, p, i);
            unit_close(&u);
        }
    }
}

static void start_writers(const struct store *s, pid_t *pid, unsigned rounds)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        pid[i] = fork();
        if (!pid[i]) {
            write_for_ever(s, i, rounds);
            _exit(0);
        }
    }
}

static void check_all(const struct store *s)
{
    struct unit u;
    assert_true(store_read(s, &key, &u));
    for (uint32_t p = 0; p < u.head->page_count; p++)
        for (uint32_t i = 0; i < u.pages[p].count; i++)
            assert_true(check(&u, u.pages[p].number, u.entries[u.pages[p].first + i].slot));
    assert_true(u.head->entry_count);
    unit_close(&u);
}

static void test_writers(void **state)
{
    struct store *s = store_get(0);
    pid_t pid[WRITERS];
    int status;
    (void)state;
    start_writers(s, pid, 10);
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    check_all(s);
    store_free(s);
}

/* GUISE_KILLS: how many are killed at random times. */
static void test_killed(void **state)
{
    const char *wish = getenv("GUISE_KILLS");
    unsigned kills = wish ? (unsigned)atoi(wish) : 48;
    struct store *s = store_get(0);
    pid_t pid[WRITERS];
    (void)state;
    put(s, 1, 1);
    srand(2);
    for (unsigned n = 0; n < kills; n += WRITERS) {
        start_writers(s, pid, 100000);
        for (unsigned i = 0; i < WRITERS; i++) {
            usleep((useconds_t)(rand() % 10000));
            kill(pid[i], SIGKILL);
            waitpid(pid[i], NULL, 0);
        }
        struct unit u; /* a writer may have died between two names */
        if (store_read(s, &key, &u)) {
            unit_close(&u);
            check_all(s);
        }
    }
    put(s, 30, 50);
    check_all(s);
    store_free(s);
}

static void test_full_disk(void **state)
{
    struct unit u;
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    if (mount("none", path, "tmpfs", 0, "size=256k,mode=700") < 0)
        skip();
    struct store *s = store_get(0);
    struct unit_draft d = {0};
    put(s, 2, 20);
    for (unsigned i = 0; i < 1000; i++)
        add(&d, 9, i);
    assert_true(store_add(s, &key, &d) < 0);
    draft_free(&d);
    assert_true(store_read(s, &key, &u));
    assert_true(check(&u, 2, 3));
    unit_close(&u);
    unsigned files = 0;
    assert_int_equal(store_each(s, count_units, &files, NULL), 0);
    assert_int_equal(files, 1);
    store_free(s);
    assert_int_equal(umount(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, begin, end),
        cmocka_unit_test_setup_teardown(test_wanted, begin, end),
        cmocka_unit_test_setup_teardown(test_other_key, begin, end),
        cmocka_unit_test_setup_teardown(test_damage, begin, end),
        cmocka_unit_test_setup_teardown(test_permissions, begin, end),
        cmocka_unit_test_setup_teardown(test_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_writers, begin, end),
        cmocka_unit_test_setup_teardown(test_killed, begin, end),
        cmocka_unit_test_setup_teardown(test_full_disk, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
