/*
 * The order of writes to a qcow2 image, on a host whose power fails. The calls that change the file
 * are noted; a failure keeps what a sync has covered and, of the rest, any sectors of any calls.
 * Whatever is left must be an image without errors that has what was flushed.
 *
 * Random: GUISE_SEED repeats, GUISE_LONG and GUISE_SHORT change how much.
 */
#include "base/bits.h"
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define UNIT 4096u
#define UNITS_MAX 4096u
#define FLUSHES_MAX 512u

enum call { CALL_WRITE, CALL_SIZE, CALL_ZERO, CALL_SYNC };

struct note {
    enum call call;
    uint64_t offset, len;
    uint8_t *data;
};

static struct {
    bool on;
    bool no_holes; /* the file system knows none: what is freed stays as it was */
    struct note *notes;
    size_t count, cap;
} noted;

static void note(enum call call, uint64_t offset, uint64_t len, const void *data)
{
    if (!noted.on)
        return;
    if (noted.count == noted.cap) {
        noted.cap = noted.cap ? noted.cap * 2 : 1024;
        noted.notes = realloc(noted.notes, noted.cap * sizeof *noted.notes);
    }
    struct note *n = &noted.notes[noted.count++];
    *n = (struct note){call, offset, len, NULL};
    if (data) {
        n->data = malloc(len);
        memcpy(n->data, data, len);
    }
}

/* ---- the calls (the linker's --wrap) ---- */

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t at);
int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __real_fallocate64(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t at, off_t len);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t at)
{
    ssize_t done = __real_pwritev64(fd, iov, n, at);
    uint64_t offset = (uint64_t)at, left = done > 0 ? (uint64_t)done : 0;
    for (int i = 0; i < n && left; i++) {
        uint64_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
        note(CALL_WRITE, offset, len, iov[i].iov_base);
        offset += len;
        left -= len;
    }
    return done;
}

int __wrap_ftruncate64(int fd, off_t size)
{
    note(CALL_SIZE, 0, (uint64_t)size, NULL);
    return __real_ftruncate64(fd, size);
}

int __wrap_fallocate64(int fd, int mode, off_t at, off_t len)
{
    if (noted.no_holes) {
        errno = EOPNOTSUPP;
        return -1;
    }
    note(CALL_ZERO, (uint64_t)at, (uint64_t)len, NULL);
    return __real_fallocate64(fd, mode, at, len);
}

int __wrap_fdatasync(int fd)
{
    note(CALL_SYNC, 0, 0, NULL);
    return __real_fdatasync(fd);
}

/* ---- randomness ---- */

static uint64_t seed_state;

static uint64_t rng(void)
{
    uint64_t z = seed_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- work on the image ---- */

static char dir[256], path[300], broken[300];

/* What a flush made durable. */
struct flushed {
    size_t note; /* the number of calls by then */
    uint32_t versions[UNITS_MAX];
};

static struct run {
    struct block *b;
    uint32_t versions[UNITS_MAX]; /* of each unit; see step_write */
    struct flushed *flushes;
    size_t flush_count;
} run;

/* Version v of a unit: its number and v in each word; zeroes if v is a multiple of 3. */
static void step_write(uint64_t unit)
{
    static uint64_t words[UNIT / 8];
    uint32_t v = ++run.versions[unit];
    if (v % 3 == 0) {
        assert_int_equal(block_write_zeroes(run.b, unit * UNIT, UNIT, rng() & 1), 0);
        return;
    }
    for (unsigned i = 0; i < UNIT / 8; i++)
        words[i] = unit << 32 | v;
    assert_int_equal(block_write(run.b, unit * UNIT, words, UNIT), 0);
}

static void step_flush(void)
{
    assert_int_equal(block_flush(run.b), 0);
    struct flushed *f = &run.flushes[run.flush_count++];
    f->note = noted.count;
    memcpy(f->versions, run.versions, sizeof f->versions);
}

/* First in a part of the disk, so that clusters become free that then hold tables, too. */
static void work(unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        struct error err;
        uint64_t units = block_size(run.b) / UNIT, r = rng();
        if (units > UNITS_MAX)
            units = UNITS_MAX;
        if (r % 16 == 0 && run.flush_count < FLUSHES_MAX)
            step_flush();
        else if (r % 256 == 1 && block_size(run.b) < UINT64_C(64) << 20)
            assert_int_equal(block_resize(run.b, block_size(run.b) + (1 << 20), &err), 0);
        else
            step_write((r >> 8) % (i < steps / 2 ? units / 8 : units));
    }
}

/* ---- the failure ---- */

struct wreck {
    uint8_t *data;
    uint64_t size, cap;
};

static void wreck_grow(struct wreck *w, uint64_t size)
{
    if (size > w->cap) {
        w->data = realloc(w->data, size * 2);
        memset(w->data + w->cap, 0, size * 2 - w->cap);
        w->cap = size * 2;
    }
    if (size > w->size)
        w->size = size;
}

/* All of a call, or any of its sectors. */
static void wreck_apply(struct wreck *w, const struct note *n, bool whole)
{
    if (n->call == CALL_SYNC || (n->call != CALL_WRITE && !whole && rng() & 1))
        return;
    if (n->call == CALL_SIZE) {
        wreck_grow(w, n->len);
        return;
    }
    for (uint64_t done = 0; done < n->len;) {
        uint64_t at = n->offset + done, len = 512 - at % 512;
        len = len < n->len - done ? len : n->len - done;
        if (n->call == CALL_ZERO && at + len <= w->size)
            memset(w->data + at, 0, len);
        if (n->call == CALL_WRITE && (whole || rng() & 1)) {
            wreck_grow(w, at + len);
            memcpy(w->data + at, n->data + done, len);
        }
        done += len;
    }
}

static size_t last_sync(size_t cut)
{
    while (cut && noted.notes[cut - 1].call != CALL_SYNC)
        cut--;
    return cut;
}

static void wreck_write(const struct wreck *w)
{
    int fd = open(broken, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, w->data, w->size), w->size);
    close(fd);
}

/* The version of a unit must be one that was begun, and not older than the last flush. */
static void expect_unit(uint64_t unit, const uint64_t *words, const struct flushed *f, size_t cut)
{
    uint32_t from = f ? f->versions[unit] : 0, v = (uint32_t)words[0];
    bool torn = false;
    for (unsigned i = 1; i < UNIT / 8; i++)
        torn = torn || words[i] != words[0];
    /* A unit that was being written may be of several versions. */
    if (torn) {
        if (run.versions[unit] == from)
            fail_msg("unit %llu is torn, and was flushed", (unsigned long long)unit);
        return;
    }
    if (!words[0]) {
        for (v = from; v <= run.versions[unit]; v++)
            if (v % 3 == 0)
                return;
        /* Sectors of a new cluster may have been lost with the write that was not flushed. */
        if (run.versions[unit] == from)
            fail_msg("unit %llu is empty, version %u was flushed", (unsigned long long)unit, from);
        return;
    }
    if (words[0] >> 32 != unit || v < from || v > run.versions[unit])
        fail_msg("unit %llu has version %u of %llu; %u was flushed, cut %zu",
                 (unsigned long long)unit, v, (unsigned long long)words[0] >> 32, from, cut);
}

static void expect_image(const struct flushed *f, size_t cut)
{
    struct error err;
    struct block_check check;
    uint64_t words[UNIT / 8];
    const struct block_options options = {.format = "qcow2", .readonly = true};
    struct block *b = block_open(broken, &options, &err);
    if (!b)
        fail_msg("cut at call %zu: %s", cut, err.msg);
    assert_int_equal(block_check(b, false, &check, NULL, &err), 0);
    if (check.errors)
        fail_msg("cut at call %zu: %llu errors in %s", cut, (unsigned long long)check.errors,
                 broken);
    for (uint64_t i = 0; i < UNITS_MAX && i < block_size(b) / UNIT; i++) {
        assert_int_equal(block_read(b, i * UNIT, words, UNIT), 0);
        expect_unit(i, words, f, cut);
    }
    block_free(b);
}

static const struct flushed *flush_before(size_t cut)
{
    const struct flushed *f = NULL;
    for (size_t i = 0; i < run.flush_count && run.flushes[i].note <= cut; i++)
        f = &run.flushes[i];
    return f;
}

/* The power fails after so many calls. */
static void fail_at(size_t cut)
{
    struct wreck w = {0};
    size_t sync = last_sync(cut);
    for (size_t i = 0; i < cut; i++)
        wreck_apply(&w, &noted.notes[i], i < sync);
    wreck_write(&w);
    expect_image(flush_before(cut), cut);
    free(w.data);
}

/* ---- tests ---- */

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR"), *seed = getenv("GUISE_SEED");
    seed_state = seed && *seed ? strtoull(seed, NULL, 0)
                               : (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid();
    printf("seed GUISE_SEED=%llu\n", (unsigned long long)seed_state);
    snprintf(dir, sizeof dir, "%.200s/guise-order-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/image", dir);
    snprintf(broken, sizeof broken, "%s/broken", dir);
    run = (struct run){.flushes = calloc(FLUSHES_MAX, sizeof *run.flushes)};
    return run.flushes ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < noted.count; i++)
        free(noted.notes[i].data);
    noted.count = 0;
    free(run.flushes);
    unlink(path);
    unlink(broken);
    return rmdir(dir);
}

/* Any call; more often the one before a sync, when the most is at stake. */
static size_t random_cut(size_t from)
{
    size_t cut = from + rng() % (noted.count - from);
    bool to_sync = rng() % 4;
    while (to_sync && cut < noted.count && noted.notes[cut].call != CALL_SYNC)
        cut++;
    return cut;
}

static unsigned amount(unsigned n)
{
    return getenv("GUISE_LONG") ? n * 10 : getenv("GUISE_SHORT") ? n / 4 : n;
}

static void power_fails(const struct block_create *how)
{
    struct error err;
    const struct block_options options = {.format = "qcow2"};
    noted.on = true;
    if (block_create(path, how, &err))
        fail_msg("%s", err.msg);
    size_t made = noted.count;
    run.b = block_open(path, &options, &err);
    if (!run.b)
        fail_msg("%s", err.msg);
    work(1500);
    block_free(run.b);
    noted.on = false;
    for (unsigned i = 0; i < amount(100); i++)
        fail_at(random_cut(made));
    fail_at(noted.count);
}

static void with_usual_clusters(void **state)
{
    (void)state;
    power_fails(&(struct block_create){.format = "qcow2", .size = 8 << 20});
}

/* All tables grow and move. */
static void with_small_clusters(void **state)
{
    (void)state;
    power_fails(&(struct block_create){
        .format = "qcow2", .size = 8 << 20, .cluster_size = 512, .refcount_bits = 64});
}

static void with_clusters_of_a_unit(void **state)
{
    (void)state;
    power_fails(&(struct block_create){
        .format = "qcow2", .size = 4 << 20, .cluster_size = 4096, .version = 2});
}

static void without_holes(void **state)
{
    (void)state;
    noted.no_holes = true;
    power_fails(&(struct block_create){
        .format = "qcow2", .size = 8 << 20, .cluster_size = 512, .refcount_bits = 32});
    noted.no_holes = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(with_usual_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(with_small_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(with_clusters_of_a_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(without_holes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
