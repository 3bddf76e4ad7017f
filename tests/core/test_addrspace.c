/* The guest-physical address space: layout, edges of regions, bus errors, saved memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "core/addrspace.h"

#define ROM UINT64_C(0x1000)
#define ROM_SIZE UINT64_C(0x1000)
#define REGS UINT64_C(0x10000000)
#define REGS_SIZE UINT64_C(0x100)
#define RAM UINT64_C(0x80000000)
#define RAM_SIZE UINT64_C(0x4000)
#define RAM_END (RAM + RAM_SIZE)

/* A device that notes what it was asked. */
struct spy {
    struct device dev;
    unsigned reads, writes;
    uint64_t offset, value, answer;
    unsigned size;
    bool locked;
};

static void spy_note(struct spy *s, uint64_t offset, unsigned size)
{
    s->offset = offset;
    s->size = size;
    s->locked = pthread_mutex_trylock(&s->dev.lock) == EBUSY;
    if (!s->locked)
        pthread_mutex_unlock(&s->dev.lock);
}

static uint64_t spy_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct spy *s = (struct spy *)dev;
    spy_note(s, offset, size);
    s->reads++;
    return s->answer;
}

static void spy_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct spy *s = (struct spy *)dev;
    spy_note(s, offset, size);
    s->writes++;
    s->value = value;
}

static const struct mmio_ops spy_mmio = {.read = spy_read, .write = spy_write, .sizes = 1 | 4};
static const struct mmio_ops all_mmio = {
    .read = spy_read, .write = spy_write, .sizes = 1 | 2 | 4 | 8};
static const struct mmio_ops deaf_mmio = {.sizes = 1 | 2 | 4 | 8};

struct space {
    struct addrspace *as;
    struct spy spy;
};

static int space_new(void **state)
{
    static struct space s;
    s = (struct space){.as = addrspace_new(NULL)};
    assert_non_null(s.as);
    device_init(&s.spy.dev, NULL, "spy%d", 0);
    /* Not in the order of addresses. */
    assert_int_equal(addrspace_add_ram(s.as, RAM, RAM_SIZE, NULL), 0);
    assert_int_equal(addrspace_add_rom(s.as, ROM, ROM_SIZE, NULL), 0);
    assert_int_equal(addrspace_add_mmio(s.as, REGS, REGS_SIZE, &spy_mmio, &s.spy.dev, NULL), 0);
    *state = &s;
    return 0;
}

static int space_free(void **state)
{
    struct space *s = *state;
    addrspace_free(s->as);
    device_fini(&s->spy.dev);
    return 0;
}

static void test_free_nothing(void **state)
{
    (void)state;
    addrspace_free(NULL);
}

static void test_overlap(void **state)
{
    struct space *s = *state;
    static const struct {
        gpa_t base;
        uint64_t size;
    } bad[] = {
        {RAM, RAM_SIZE},        {RAM, 0x1000},
        {RAM + 0x1000, 0x1000}, {RAM_END - 0x1000, 0x2000},
        {RAM - 0x1000, 0x2000}, {RAM - 0x1000, RAM_SIZE + 0x2000},
        {ROM, 0x1000},          {0, 0x2000},
        {REGS, 0x1000},         {REGS - 0x1000, 0x2000},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        assert_int_equal(addrspace_add_ram(s->as, bad[i].base, bad[i].size, &err), -EEXIST);
        assert_int_equal(err.code, EEXIST);
        assert_int_equal(addrspace_add_rom(s->as, bad[i].base, bad[i].size, NULL), -EEXIST);
        assert_int_equal(
            addrspace_add_mmio(s->as, bad[i].base, bad[i].size, &spy_mmio, &s->spy.dev, NULL),
            -EEXIST);
    }
    /* Neighbours that touch are none. */
    assert_int_equal(addrspace_add_ram(s->as, RAM_END, 0x1000, NULL), 0);
    assert_int_equal(addrspace_add_ram(s->as, RAM - 0x1000, 0x1000, NULL), 0);
    assert_int_equal(addrspace_add_ram(s->as, 0, 0x1000, NULL), 0);
}

static void test_bad_sizes(void **state)
{
    struct space *s = *state;
    static const struct {
        gpa_t base;
        uint64_t size;
    } bad[] = {
        {0x90000000, 0},
        {0x90000000, 1},
        {0x90000000, 0x1001},
        {0x90000001, 0x1000},
        {0x90000800, 0x1000},
        {0x90000000, UINT64_C(1) << 63},
        {UINT64_MAX - 0xfff, 0x2000},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        assert_int_equal(addrspace_add_ram(s->as, bad[i].base, bad[i].size, &err), -EINVAL);
        assert_int_equal(err.code, EINVAL);
        assert_int_equal(addrspace_add_rom(s->as, bad[i].base, bad[i].size, NULL), -EINVAL);
    }
    assert_int_equal(addrspace_add_mmio(s->as, 0x90000000, 0, &spy_mmio, &s->spy.dev, NULL),
                     -EINVAL);
    assert_null(addrspace_readable(s->as, 0x90000000, 1));
}

static void test_last_page(void **state)
{
    struct space *s = *state;
    const gpa_t base = UINT64_MAX - 0xfff;
    assert_int_equal(addrspace_add_ram(s->as, base, 0x1000, NULL), 0);
    assert_non_null(addrspace_ram(s->as, UINT64_MAX, 1));
    assert_null(addrspace_ram(s->as, UINT64_MAX, 2));
    assert_null(addrspace_ram(s->as, base - 1, 1));
}

static void test_lookup_edges(void **state)
{
    struct space *s = *state;
    uint8_t *ram = addrspace_ram(s->as, RAM, RAM_SIZE);
    assert_non_null(ram);
    assert_ptr_equal(addrspace_ram(s->as, RAM_END - 1, 1), ram + RAM_SIZE - 1);
    assert_ptr_equal(addrspace_readable(s->as, RAM + 5, 3), ram + 5);
    assert_null(addrspace_ram(s->as, RAM, RAM_SIZE + 1));
    assert_null(addrspace_ram(s->as, RAM_END - 1, 2));
    assert_null(addrspace_ram(s->as, RAM_END, 1));
    assert_null(addrspace_ram(s->as, RAM - 1, 1));
    assert_null(addrspace_ram(s->as, RAM - 1, 2));
    assert_null(addrspace_ram(s->as, RAM + 1, UINT64_MAX));
    assert_null(addrspace_ram(s->as, 0, 1));
    assert_null(addrspace_ram(s->as, UINT64_MAX, 1));

    assert_null(addrspace_ram(s->as, ROM, 1));
    assert_non_null(addrspace_readable(s->as, ROM, ROM_SIZE));
    assert_null(addrspace_readable(s->as, ROM, ROM_SIZE + 1));
    assert_null(addrspace_ram(s->as, REGS, 1));
    assert_null(addrspace_readable(s->as, REGS, 1));
}

static void test_ram_regions(void **state)
{
    struct space *s = *state;
    gpa_t base;
    uint64_t size;
    assert_true(addrspace_ram_region(s->as, 0, &base, &size));
    assert_true(base == RAM && size == RAM_SIZE);
    assert_false(addrspace_ram_region(s->as, 1, &base, &size));
    assert_int_equal(addrspace_add_ram(s->as, 0x90000000, 0x1000, NULL), 0);
    assert_true(addrspace_ram_region(s->as, 1, &base, &size));
    assert_true(base == 0x90000000 && size == 0x1000);
    assert_false(addrspace_ram_region(s->as, 2, &base, &size));
}

/* Neighbours are two regions, and nothing lies in both. */
static void test_across_neighbours(void **state)
{
    struct space *s = *state;
    assert_int_equal(addrspace_add_ram(s->as, RAM_END, 0x1000, NULL), 0);
    assert_null(addrspace_ram(s->as, RAM_END - 1, 2));
    assert_non_null(addrspace_ram(s->as, RAM_END, 0x1000));
}

static void test_ram_access(void **state)
{
    struct space *s = *state;
    uint64_t v;
    assert_true(addrspace_write(s->as, RAM + 8, 8, UINT64_C(0x8877665544332211)));
    assert_memory_equal(addrspace_ram(s->as, RAM + 8, 8), "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    assert_true(addrspace_read(s->as, RAM + 8, 8, &v) && v == UINT64_C(0x8877665544332211));
    assert_true(addrspace_read(s->as, RAM + 12, 4, &v) && v == 0x88776655);
    assert_true(addrspace_read(s->as, RAM + 14, 2, &v) && v == 0x8877);
    assert_true(addrspace_read(s->as, RAM + 15, 1, &v) && v == 0x88);
    /* A narrow write takes the low bytes only. */
    assert_true(addrspace_write(s->as, RAM + 9, 1, UINT64_MAX - 0xff + 0xab));
    assert_true(addrspace_write(s->as, RAM + 10, 2, UINT64_C(0x11111111dead)));
    assert_true(addrspace_write(s->as, RAM + 12, 4, UINT64_C(0x1111111101020304)));
    assert_memory_equal(addrspace_ram(s->as, RAM + 8, 8), "\x11\xab\xad\xde\x04\x03\x02\x01", 8);
    assert_true(addrspace_write(s->as, RAM_END - 8, 8, 1));
    assert_true(addrspace_read(s->as, RAM_END - 8, 8, &v) && v == 1);
}

static void test_bus_errors(void **state)
{
    struct space *s = *state;
    static const gpa_t holes[] = {0,       ROM + ROM_SIZE, REGS - 8,      REGS + REGS_SIZE,
                                  RAM - 8, RAM_END,        UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof holes / sizeof *holes; i++)
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t v = 0x77;
            assert_false(addrspace_read(s->as, holes[i], size, &v));
            assert_int_equal(v, 0x77);
            assert_false(addrspace_write(s->as, holes[i], size, 1));
        }
    assert_int_equal(s->spy.reads + s->spy.writes, 0);
}

/* The device is asked by loads and stores; all others see memory. */
static void test_flash(void **state)
{
    struct space *s = *state;
    const gpa_t flash = 0x20000000;
    uint64_t value = 0;
    uint32_t word = 0x12345678, got = 0;
    assert_int_equal(addrspace_add_flash(s->as, flash, 0x1000, &spy_mmio, &s->spy.dev, NULL), 0);
    assert_int_equal(addrspace_add_flash(s->as, flash, 0x1000, &spy_mmio, &s->spy.dev, NULL),
                     -EEXIST);
    s->spy.answer = 0xabcd;
    assert_true(addrspace_load(s->as, flash + 8, &word, sizeof word));
    assert_true(addrspace_read(s->as, flash + 8, 4, &value) && value == 0xabcd);
    assert_true(s->spy.locked && s->spy.offset == 8 && s->spy.reads == 1);
    assert_true(addrspace_write(s->as, flash + 8, 4, 99) && s->spy.value == 99);
    assert_false(addrspace_write(s->as, flash + 8, 8, 99));
    assert_true(addrspace_copy_out(s->as, flash + 8, &got, sizeof got) && got == word);
    assert_memory_equal(addrspace_readable(s->as, flash + 8, 4), &word, sizeof word);
    assert_null(addrspace_ram(s->as, flash, 8));
    assert_false(addrspace_copy_in(s->as, flash, &word, sizeof word));
}

static void test_rom(void **state)
{
    struct space *s = *state;
    uint64_t v;
    assert_false(addrspace_copy_in(s->as, ROM, "boot", 4));
    assert_true(addrspace_load(s->as, ROM + ROM_SIZE - 4, "boot", 4));
    assert_false(addrspace_load(s->as, ROM + ROM_SIZE - 3, "boot", 4));
    assert_true(addrspace_read(s->as, ROM + ROM_SIZE - 4, 4, &v) && v == 0x746f6f62);
    assert_false(addrspace_write(s->as, ROM + ROM_SIZE - 4, 4, 0));
    assert_true(addrspace_read(s->as, ROM + ROM_SIZE - 4, 4, &v) && v == 0x746f6f62);
}

static void test_mmio(void **state)
{
    struct space *s = *state;
    struct spy *spy = &s->spy;
    uint64_t v = 0x77;
    spy->answer = UINT64_C(0x8877665544332211);
    assert_true(addrspace_read(s->as, REGS + 8, 4, &v));
    assert_true(v == 0x44332211);
    assert_true(spy->offset == 8 && spy->size == 4 && spy->locked);
    assert_true(addrspace_read(s->as, REGS + REGS_SIZE - 1, 1, &v) && v == 0x11);
    assert_true(spy->offset == REGS_SIZE - 1 && spy->size == 1);
    assert_true(addrspace_write(s->as, REGS, 1, 0xabcd));
    assert_true(spy->offset == 0 && spy->size == 1 && spy->value == 0xcd && spy->locked);
    assert_true(addrspace_write(s->as, REGS + 4, 4, UINT64_MAX) && spy->value == UINT32_MAX);
    assert_int_equal(spy->reads, 2);
    assert_int_equal(spy->writes, 2);

    /* Sizes that it does not take never reach it. */
    v = 0x77;
    for (unsigned size = 2; size <= 8; size *= 4) {
        assert_false(addrspace_read(s->as, REGS, size, &v));
        assert_false(addrspace_write(s->as, REGS, size, 1));
    }
    assert_int_equal(v, 0x77);
    assert_int_equal(spy->reads, 2);
    assert_int_equal(spy->writes, 2);
    /* The lock is free again. */
    assert_int_equal(pthread_mutex_trylock(&spy->dev.lock), 0);
    pthread_mutex_unlock(&spy->dev.lock);
}

static void test_mmio_ends(void **state)
{
    struct space *s = *state;
    uint64_t v;
    const gpa_t wide = 0x20000000, deaf = 0x20001000;
    s->spy.answer = UINT64_C(0x8877665544332211);
    assert_int_equal(addrspace_add_mmio(s->as, wide, 12, &all_mmio, &s->spy.dev, NULL), 0);
    assert_int_equal(addrspace_add_mmio(s->as, deaf, 0x1000, &deaf_mmio, &s->spy.dev, NULL), 0);
    assert_true(addrspace_read(s->as, wide, 8, &v) && v == UINT64_C(0x8877665544332211));
    assert_true(addrspace_read(s->as, wide + 2, 2, &v) && v == 0x2211);
    assert_true(addrspace_write(s->as, wide, 8, UINT64_MAX) && s->spy.value == UINT64_MAX);
    assert_true(addrspace_read(s->as, wide + 8, 4, &v));
    assert_false(addrspace_read(s->as, wide + 8, 8, &v));
    assert_false(addrspace_write(s->as, wide + 8, 8, 0));
    assert_false(addrspace_read(s->as, deaf, 4, &v));
    assert_false(addrspace_write(s->as, deaf, 4, 0));
}

static void test_copy(void **state)
{
    struct space *s = *state;
    char text[5] = "";
    assert_true(addrspace_copy_in(s->as, RAM_END - 4, "abcd", 4));
    assert_true(addrspace_copy_out(s->as, RAM_END - 4, text, 4));
    assert_string_equal(text, "abcd");
    /* Across the end: nothing is copied. */
    assert_false(addrspace_copy_in(s->as, RAM_END - 3, "WXYZ", 4));
    assert_memory_equal(addrspace_ram(s->as, RAM_END - 4, 4), "abcd", 4);
    strcpy(text, "keep");
    assert_false(addrspace_copy_out(s->as, RAM_END - 3, text, 4));
    assert_false(addrspace_copy_in(s->as, RAM - 1, "WXYZ", 4));
    assert_false(addrspace_copy_out(s->as, RAM - 1, text, 4));
    assert_false(addrspace_copy_out(s->as, REGS, text, 4));
    assert_false(addrspace_copy_in(s->as, REGS, text, 4));
    assert_string_equal(text, "keep");
    assert_int_equal(s->spy.reads + s->spy.writes, 0);
}

/* ---- zero pages ---- */

#define PAGE UINT64_C(4096)

/* Runs of 20, 15 and 27 zero pages, with a page between them that is not. */
static void test_drop_zeros(void **state)
{
    struct space *s = *state;
    const gpa_t base = 0x90000000;
    const uint64_t pages = 64;
    assert_int_equal(addrspace_add_ram(s->as, base, pages * PAGE, NULL), 0);
    uint8_t *ram = addrspace_ram(s->as, base, pages * PAGE);
    uint64_t before = addrspace_resident(s->as), bytes = pages * PAGE;
    gpa_t from = 0;
    /* What was never touched is not looked at. */
    assert_int_equal(addrspace_drop_zeros(s->as, &from, &bytes), 0);
    assert_int_equal(addrspace_resident(s->as), before);
    assert_true(!from && bytes == pages * PAGE);

    memset(ram, 0, pages * PAGE);
    ram[21 * PAGE - 1] = 1;
    ram[36 * PAGE] = 2;
    assert_int_equal(addrspace_resident(s->as), before + pages * PAGE);
    uint64_t hash = addrspace_hash(s->as, 1);

    /* Ten pages are too few to be given back, and where they end the next look begins. */
    bytes = 10 * PAGE;
    assert_int_equal(addrspace_drop_zeros(s->as, &from, &bytes), 0);
    assert_true(from == base + 10 * PAGE && !bytes);
    from = 0;
    bytes = 2 * pages * PAGE;
    assert_int_equal(addrspace_drop_zeros(s->as, &from, &bytes), (20 + 27) * PAGE);
    assert_true(!from && bytes == pages * PAGE);
    assert_int_equal(addrspace_resident(s->as), before + 17 * PAGE);
    assert_true(addrspace_hash(s->as, 1) == hash);
    assert_true(!ram[0] && ram[21 * PAGE - 1] == 1 && ram[36 * PAGE] == 2 && !ram[37 * PAGE]);

    ram[5 * PAGE] = 3;
    assert_int_equal(addrspace_drop_zeros(s->as, &from, &bytes), 0);
    assert_int_equal(ram[5 * PAGE], 3);
}

/* Whole pages only, and nothing but what is memory. */
static void test_give_back(void **state)
{
    struct space *s = *state;
    const gpa_t base = 0x90000000;
    assert_int_equal(addrspace_add_ram(s->as, base, 8 * PAGE, NULL), 0);
    uint8_t *ram = addrspace_ram(s->as, base, 8 * PAGE);
    memset(ram, 7, 8 * PAGE);
    uint64_t before = addrspace_resident(s->as);
    assert_int_equal(addrspace_give_back(s->as, ram + 1, PAGE), 0);
    assert_int_equal(addrspace_give_back(s->as, ram + PAGE - 1, 2 * PAGE + 1), 2 * PAGE);
    assert_int_equal(addrspace_resident(s->as), before - 2 * PAGE);
    assert_int_equal(addrspace_give_back(s->as, ram + 7 * PAGE, 2 * PAGE), 0);
    assert_int_equal(addrspace_give_back(s->as, &before, PAGE), 0);
    assert_int_equal(addrspace_give_back(s->as, NULL, 0), 0);
    assert_true(ram[PAGE - 1] == 7 && !ram[PAGE] && !ram[3 * PAGE - 1] && ram[3 * PAGE] == 7);
}

/* Whether the host takes pages that it is asked for: qemu-aarch64 only says so. */
static bool can_populate(void)
{
    unsigned char there = 0;
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    bool can = !madvise(p, PAGE, 23) && !mincore(p, PAGE, &there) && (there & 1);
    munmap(p, PAGE);
    return can;
}

/* Batches of 16 pages, the last is shorter; once, unless all of one has been given back. */
static void test_expect(void **state)
{
    struct space *s = *state;
    const gpa_t base = 0x90000000;
    const uint64_t pages = 100;
    if (!can_populate()) {
        puts("skip: this kernel has no MADV_POPULATE_WRITE (Linux 5.14)");
        skip();
    }
    assert_int_equal(addrspace_add_ram(s->as, base, pages * PAGE, NULL), 0);
    uint8_t *ram = addrspace_ram(s->as, base, pages * PAGE);
    uint64_t before = addrspace_resident(s->as);
    ram[20 * PAGE] = 5;
    addrspace_expect(s->as, ram + 20 * PAGE + 7, 1);
    assert_int_equal(addrspace_resident(s->as), before + 16 * PAGE);
    assert_int_equal(ram[20 * PAGE], 5);
    addrspace_expect(s->as, ram + 31 * PAGE, PAGE + 1); /* also of the next */
    assert_int_equal(addrspace_resident(s->as), before + 32 * PAGE);
    addrspace_expect(s->as, ram + 99 * PAGE, PAGE);
    assert_int_equal(addrspace_resident(s->as), before + 36 * PAGE);
    addrspace_expect(s->as, ram + 99 * PAGE, 2 * PAGE); /* nothing: it is not all memory */
    addrspace_expect(s->as, &before, 1);

    assert_int_equal(addrspace_give_back(s->as, ram + 16 * PAGE, 15 * PAGE), 15 * PAGE);
    addrspace_expect(s->as, ram + 16 * PAGE, PAGE);
    assert_int_equal(addrspace_resident(s->as), before + 21 * PAGE);
    assert_int_equal(addrspace_give_back(s->as, ram + 16 * PAGE, 16 * PAGE), 16 * PAGE);
    addrspace_expect(s->as, ram + 16 * PAGE, PAGE);
    assert_int_equal(addrspace_resident(s->as), before + 36 * PAGE);
}

/* ---- saved memory ---- */

static struct addrspace *memory_new(void)
{
    struct addrspace *as = addrspace_new(NULL);
    assert_non_null(as);
    assert_int_equal(addrspace_add_ram(as, RAM, RAM_SIZE, NULL), 0);
    assert_int_equal(addrspace_add_rom(as, ROM, ROM_SIZE, NULL), 0);
    return as;
}

static void test_save_load(void **state)
{
    struct space *s = *state;
    struct addrspace *to = memory_new();
    assert_true(addrspace_hash(s->as, 1) == addrspace_hash(to, 1));
    assert_true(addrspace_load(s->as, ROM + 16, "boot", 4));
    assert_true(addrspace_copy_in(s->as, RAM_END - 4, "last", 4));
    /* Touched, but zero: not in the stream. */
    assert_true(addrspace_write(s->as, RAM + 0x1000, 8, 0));
    assert_true(addrspace_copy_in(to, RAM + 0x2000, "old", 3));
    uint64_t hash = addrspace_hash(s->as, 1);
    assert_true(hash != addrspace_hash(to, 1));
    assert_true(hash != addrspace_hash(s->as, 2));

    struct state_out out = {0};
    addrspace_save(s->as, &out);
    assert_false(out.failed);
    /* Two pages and the end mark: name, length, address, contents. */
    assert_int_equal(out.len, 2 * (5 + 4 + 8 + 4096) + 5 + 4);
    struct state_in in = {.data = out.data, .len = out.len};
    assert_int_equal(addrspace_load_state(to, &in, NULL), 0);
    assert_int_equal(in.pos, out.len);
    assert_true(addrspace_hash(to, 1) == hash);
    assert_memory_equal(addrspace_readable(to, RAM, RAM_SIZE),
                        addrspace_readable(s->as, RAM, RAM_SIZE), RAM_SIZE);
    assert_memory_equal(addrspace_readable(to, ROM, ROM_SIZE),
                        addrspace_readable(s->as, ROM, ROM_SIZE), ROM_SIZE);
    assert_memory_equal(addrspace_readable(to, RAM + 0x2000, 3), "\0\0\0", 3);
    assert_memory_equal(addrspace_readable(to, RAM_END - 4, 4), "last", 4);

    /* The same page at another address is other memory. */
    assert_true(addrspace_copy_in(to, RAM_END - 4, "\0\0\0\0", 4));
    assert_true(addrspace_copy_in(to, RAM + 0x1ffc, "last", 4));
    assert_true(addrspace_hash(to, 1) != hash);
    state_out_free(&out);
    addrspace_free(to);
}

static int load_page(struct addrspace *as, gpa_t gpa, size_t len, bool end)
{
    uint8_t record[8 + 4096 + 1] = {0};
    for (unsigned i = 0; i < 8; i++)
        record[i] = (uint8_t)(gpa >> (8 * i));
    struct state_out out = {0};
    state_save_bytes(&out, "page", record, len);
    if (end)
        state_save_bytes(&out, "page", NULL, 0);
    struct state_in in = {.data = out.data, .len = out.len};
    int rc = addrspace_load_state(as, &in, NULL);
    state_out_free(&out);
    return rc;
}

static void test_bad_streams(void **state)
{
    struct space *s = *state;
    const size_t whole = 8 + 4096;
    assert_int_equal(load_page(s->as, RAM, whole, true), 0);
    assert_int_equal(load_page(s->as, RAM, whole, false), -EINVAL);
    assert_int_equal(load_page(s->as, RAM, whole - 1, true), -EINVAL);
    assert_int_equal(load_page(s->as, RAM, whole + 1, true), -EINVAL);
    assert_int_equal(load_page(s->as, RAM, 1, true), -EINVAL);
    assert_int_equal(load_page(s->as, RAM + 8, whole, true), -EINVAL);
    assert_int_equal(load_page(s->as, RAM_END, whole, true), -EINVAL);
    assert_int_equal(load_page(s->as, RAM - 0x1000, whole, true), -EINVAL);
    assert_int_equal(load_page(s->as, REGS, whole, true), -EINVAL);
    assert_int_equal(load_page(s->as, UINT64_MAX - 0xfff, whole, true), -EINVAL);
    struct state_in nothing = {0};
    assert_int_equal(addrspace_load_state(s->as, &nothing, NULL), -EINVAL);
    assert_int_equal(s->spy.reads + s->spy.writes, 0);
}

#define SPACE_TEST(f) cmocka_unit_test_setup_teardown(f, space_new, space_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_nothing),
        SPACE_TEST(test_overlap),
        SPACE_TEST(test_bad_sizes),
        SPACE_TEST(test_last_page),
        SPACE_TEST(test_lookup_edges),
        SPACE_TEST(test_ram_regions),
        SPACE_TEST(test_across_neighbours),
        SPACE_TEST(test_ram_access),
        SPACE_TEST(test_bus_errors),
        SPACE_TEST(test_rom),
        SPACE_TEST(test_flash),
        SPACE_TEST(test_mmio),
        SPACE_TEST(test_mmio_ends),
        SPACE_TEST(test_copy),
        SPACE_TEST(test_drop_zeros),
        SPACE_TEST(test_give_back),
        SPACE_TEST(test_expect),
        SPACE_TEST(test_save_load),
        SPACE_TEST(test_bad_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
