/*
 * Flash over a real file: what a driver asks it (CFI), programming, erasing, wrong sequences of
 * commands; what of it is in the file, and when.
 */
#include "test.h"

#include "base/bits.h"
#include "dev/pflash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BASE UINT64_C(0x20000000)
#define SIZE (4 * PFLASH_SECTOR)
#define READY 0x00800080u
#define SEQUENCE 0x00b000b0u

struct place {
    char path[300];
    struct block *disk;
    struct addrspace *as;
    struct device *flash;
};

/* Bytes of the file, which nothing but the flash writes. */
static void file_read(const struct place *p, uint64_t offset, void *buf, size_t len)
{
    int fd = open(p->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
    close(fd);
}

static void place_open(struct place *p, bool readonly)
{
    const struct block_options options = {.format = "raw", .readonly = readonly};
    p->disk = block_open(p->path, &options, NULL);
    p->as = addrspace_new(NULL);
    assert_true(p->disk && p->as);
    p->flash = pflash_new(p->as, BASE, SIZE, "flash0", p->disk, NULL);
    assert_non_null(p->flash);
}

static void place_close(struct place *p)
{
    device_free(p->flash);
    addrspace_free(p->as);
    block_free(p->disk);
}

/* A file with zeroes in the first sector, erased otherwise but for four bytes. */
static int setup(void **state)
{
    static struct place p;
    const char *tmp = getenv("TMPDIR");
    static uint8_t sector[PFLASH_SECTOR];
    snprintf(p.path, sizeof p.path, "%.200s/guise-flash-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(p.path);
    assert_true(fd >= 0 && !ftruncate(fd, PFLASH_SECTOR));
    memset(sector, 0xff, sizeof sector);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(pwrite(fd, sector, sizeof sector, (off_t)(i * sizeof sector)),
                         sizeof sector);
    assert_int_equal(pwrite(fd, "code", 4, 2 * PFLASH_SECTOR), 4);
    close(fd);
    place_open(&p, false);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    place_close(p);
    return unlink(p->path);
}

static uint64_t get(struct place *p, uint64_t offset, unsigned size)
{
    uint64_t v = 0;
    assert_true(addrspace_read(p->as, BASE + offset, size, &v));
    return v;
}

static uint32_t word(struct place *p, uint64_t offset)
{
    return (uint32_t)get(p, offset, 4);
}

static void put(struct place *p, uint64_t offset, uint32_t value)
{
    assert_true(addrspace_write(p->as, BASE + offset, 4, value));
}

/* To both chips, as drivers do it. */
static void command(struct place *p, uint64_t offset, uint32_t value)
{
    put(p, offset, value << 16 | value);
}

/* The status, of which nothing remains, and back to the array. */
static uint32_t status(struct place *p)
{
    command(p, 0, 0x70);
    uint32_t v = word(p, 0);
    command(p, 0, 0x50);
    command(p, 0, 0xff);
    return v;
}

static uint32_t file_word(const struct place *p, uint64_t offset)
{
    uint32_t v;
    file_read(p, offset, &v, sizeof v);
    return v;
}

static void contents(void **state)
{
    struct place *p = *state;
    assert_int_equal(word(p, 0), 0);
    assert_int_equal(word(p, PFLASH_SECTOR), 0xffffffff);
    assert_memory_equal(addrspace_readable(p->as, BASE + 2 * PFLASH_SECTOR, 4), "code", 4);
    assert_int_equal(get(p, 2 * PFLASH_SECTOR + 1, 1), 'o');
    assert_int_equal(get(p, 2 * PFLASH_SECTOR + 2, 2), 'd' | 'e' << 8);
    assert_true(get(p, 2 * PFLASH_SECTOR, 8) == 0xffffffff65646f63);
}

/* Both chips answer, each in its half of the word. */
static void query(void **state)
{
    struct place *p = *state;
    static const char qry[] = "QRY", pri[] = "PRI10";
    command(p, 0x55 * 4, 0x98);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(word(p, (0x10 + i) * 4), (uint32_t)qry[i] * 0x10001);
    uint64_t table = (word(p, 0x15 * 4) & 0xff) * 4;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(word(p, table + i * 4) & 0xff, pri[i]);
    assert_int_equal(1u << (word(p, 0x27 * 4) & 0xff), SIZE / 2);
    assert_int_equal(word(p, 0x2c * 4) & 0xff, 1);
    assert_int_equal(word(p, 0x2d * 4) & 0xff, SIZE / PFLASH_SECTOR - 1);
    uint64_t low = get(p, 0x2f * 4, 1), high = get(p, 0x30 * 4, 1);
    assert_int_equal((low | high << 8) * 256 * 2, PFLASH_SECTOR);
    assert_true(get(p, 0x10 * 4, 8) == UINT64_C(0x0052005200510051));
    assert_int_equal(get(p, 0x10 * 4 + 1, 1), 0);
    assert_int_equal(get(p, 0x10 * 4 + 2, 1), 'Q');
    assert_int_equal(word(p, SIZE - 4), 0);
    command(p, 0, 0x90);
    assert_int_equal(word(p, 0), 0x00890089);
    assert_int_equal(word(p, 4), 0x00180018);
    assert_int_equal(word(p, PFLASH_SECTOR + 8), 0); /* not locked */
    command(p, 0, 0xff);
    assert_int_equal(word(p, 2 * PFLASH_SECTOR), le32_get("code"));
}

static void program(void **state)
{
    struct place *p = *state;
    const uint64_t at = PFLASH_SECTOR + 0x400;
    command(p, at, 0x40);
    put(p, at, 0xf0f0ffff);
    assert_int_equal(word(p, at), READY);
    command(p, at, 0x10);
    put(p, at, 0x7777ffff);
    command(p, 0, 0xff);
    /* Bits go from 1 to 0 only. */
    assert_int_equal(word(p, at), 0x7070ffff);
    assert_int_equal(file_word(p, at), 0x7070ffff);
    command(p, at, 0x40);
    assert_true(addrspace_write(p->as, BASE + at + 4, 1, 0x12));
    assert_int_equal(status(p), READY);
    assert_int_equal(word(p, at + 4), 0xffffff12);
    assert_int_equal(file_word(p, at + 4), 0xffffff12);
}

static void buffer(struct place *p, uint64_t at, uint32_t words)
{
    command(p, at, 0xe8);
    assert_int_equal(word(p, at), READY);
    command(p, at, words - 1);
    for (uint32_t i = 0; i < words; i++)
        put(p, at + 4 * (uint64_t)i, i + 1);
}

static void program_buffer(void **state)
{
    struct place *p = *state;
    const uint64_t at = PFLASH_SECTOR + 4096;
    buffer(p, at + 64, 32);
    assert_int_equal(file_word(p, at + 64), 0xffffffff);
    command(p, at, 0xd0);
    assert_int_equal(status(p), READY);
    assert_int_equal(word(p, at + 60), 0xffffffff);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(word(p, at + 64 + 4 * i), i + 1);
    assert_int_equal(word(p, at + 64 + 128), 0xffffffff);
    assert_int_equal(file_word(p, at + 64 + 124), 32);
    /* The largest. */
    buffer(p, at + 4096, 1024);
    command(p, at, 0xd0);
    assert_int_equal(status(p), READY);
    assert_int_equal(word(p, at + 8188), 1024);
}

static void erase(void **state)
{
    struct place *p = *state;
    command(p, 0x1234, 0x20);
    command(p, 0x1234, 0xd0);
    assert_int_equal(word(p, 0), READY);
    assert_int_equal(status(p), READY);
    for (uint64_t i = 0; i < PFLASH_SECTOR; i += 4)
        assert_int_equal(word(p, i), 0xffffffff);
    assert_int_equal(file_word(p, 0), 0xffffffff);
    assert_int_equal(file_word(p, PFLASH_SECTOR - 4), 0xffffffff);
    assert_int_equal(word(p, 2 * PFLASH_SECTOR), le32_get("code"));
    command(p, 0, 0x60); /* unlocking is not needed and does not fail */
    command(p, 0, 0xd0);
    assert_int_equal(status(p), READY);
}

/* What is not confirmed does nothing. */
static void wrong_sequences(void **state)
{
    struct place *p = *state;
    const uint64_t at = PFLASH_SECTOR;
    command(p, 2 * at, 0x20);
    command(p, 2 * at, 0x11);
    assert_int_equal(status(p), SEQUENCE);
    command(p, at, 0x60);
    command(p, at, 0x22);
    assert_int_equal(status(p), SEQUENCE);
    command(p, 2 * at, 0x20); /* taken back */
    command(p, 2 * at, 0xff);
    assert_int_equal(status(p), READY);
    buffer(p, at, 3);
    command(p, at, 0x20);
    assert_int_equal(status(p), SEQUENCE);
    command(p, at, 0xe8);
    command(p, at, 1024); /* one more than there are */
    assert_int_equal(status(p), SEQUENCE);
    command(p, at, 0xe8);
    command(p, at, 1);
    put(p, at + 4092, 0);
    put(p, at + 4096, 0); /* elsewhere */
    assert_int_equal(status(p), SEQUENCE);
    command(p, at, 0x33); /* no such command */
    assert_int_equal(status(p), READY);
    for (uint64_t i = 0; i < 8192; i += 4)
        assert_int_equal(word(p, at + i), 0xffffffff);
    assert_int_equal(word(p, 2 * at), le32_get("code"));
}

/* Code goes on running while the flash answers other things, and reset shows the array again. */
static void fetches_and_reset(void **state)
{
    struct place *p = *state;
    command(p, 0, 0x90);
    assert_int_equal(word(p, 2 * PFLASH_SECTOR), 0x00890089);
    assert_memory_equal(addrspace_readable(p->as, BASE + 2 * PFLASH_SECTOR, 4), "code", 4);
    device_reset(p->flash);
    assert_int_equal(word(p, 2 * PFLASH_SECTOR), le32_get("code"));
    command(p, 0, 0xe8);
    device_reset(p->flash);
    assert_int_equal(status(p), READY);
}

static void readonly(void **state)
{
    struct place *p = *state;
    place_close(p);
    place_open(p, true);
    const uint64_t at = 2 * PFLASH_SECTOR;
    command(p, at, 0x40);
    put(p, at, 0);
    assert_int_equal(status(p), 0x00920092);
    command(p, at, 0x20);
    command(p, at, 0xd0);
    assert_int_equal(status(p), 0x00a200a2);
    buffer(p, at, 2);
    command(p, at, 0xd0);
    assert_int_equal(status(p), 0x00920092);
    assert_int_equal(word(p, at), le32_get("code"));
}

static void kept_in_the_file(void **state)
{
    struct place *p = *state;
    command(p, PFLASH_SECTOR, 0x40);
    put(p, PFLASH_SECTOR, 0x11223344);
    place_close(p);
    place_open(p, false);
    assert_int_equal(word(p, PFLASH_SECTOR), 0x11223344);
}

static void load(struct place *p, const struct state_out *out)
{
    struct state_in in = {.data = out->data, .len = out->len};
    assert_int_equal(device_load(p->flash, &in, NULL), 0);
    assert_int_equal(addrspace_load_state(p->as, &in, NULL), 0);
}

/*
 * A saved machine brings the contents it had. The file has its own until the guest writes, and then
 * all of what the guest sees.
 */
static void contents_of_saved_state(void **state)
{
    struct place *p = *state;
    const uint64_t here = PFLASH_SECTOR, there = 3 * PFLASH_SECTOR;
    struct state_out out = {0};
    command(p, here, 0x40);
    put(p, here, 1);
    command(p, there, 0xe8);
    device_save(p->flash, &out);
    addrspace_save(p->as, &out);
    device_reset(p->flash);
    command(p, here, 0x40);
    put(p, here, 0);
    assert_int_equal(file_word(p, here), 0);
    load(p, &out);
    assert_int_equal(file_word(p, here), 0);
    command(p, there, 0); /* the command goes on */
    put(p, there, 7);
    command(p, there, 0xd0);
    assert_int_equal(status(p), READY);
    assert_int_equal(word(p, here), 1);
    assert_int_equal(file_word(p, here), 1);
    assert_int_equal(file_word(p, there), 7);
    state_out_free(&out);
}

static void wrong_size(void **state)
{
    struct place *p = *state;
    struct error err = {0};
    struct addrspace *as = addrspace_new(NULL);
    assert_null(pflash_new(as, BASE, SIZE / 2, "flash0", p->disk, &err));
    assert_int_equal(err.code, EINVAL);
    assert_non_null(strstr(err.msg, p->path));
    assert_non_null(strstr(err.msg, "1048576"));
    addrspace_free(as);
}

int main(void)
{
#define PLACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(contents),
        PLACE_TEST(query),
        PLACE_TEST(program),
        PLACE_TEST(program_buffer),
        PLACE_TEST(erase),
        PLACE_TEST(wrong_sequences),
        PLACE_TEST(fetches_and_reset),
        PLACE_TEST(readonly),
        PLACE_TEST(kept_in_the_file),
        PLACE_TEST(contents_of_saved_state),
        PLACE_TEST(wrong_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
