/*
 * Translations that one process leaves to the next: the same program runs with an empty store, with
 * what that has left, with files that were damaged at random, and with other code in its place.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asm.h"
#include "base/bits.h"
#include "base/error.h"
#include "core/engine.h"
#include "engine/engines.h"
#include "host/fault.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/hart.h"
#include "store/store.h"

#define CODE_PAGES 2u
#define LOOPS 32u /* each calls a function on the next page */
#define ROUNDS 300u

static const struct engine_ops *engine;
static uint8_t *memory; /* code, then a page of data */
static struct clock clk;
static struct store *store;
static char directory[] = "/tmp/guise-test-persist-XXXXXX";

struct proc_thread {
    struct vcpu v;
    struct rv_hart h;
};

static uint64_t code(void)
{
    return (uint64_t)(uintptr_t)memory;
}

static bool executable(void *ctx, uint64_t va)
{
    (void)ctx;
    return va - code() < CODE_PAGES * 4096;
}

static bool image(void *ctx, uint64_t va, struct rv_image *out)
{
    *out = (struct rv_image){.start = code(),
                             .end = code() + CODE_PAGES * 4096,
                             .base = code(),
                             .hash = {1, 2},
                             .size = CODE_PAGES * 4096};
    return executable(ctx, va);
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void put(unsigned at, uint32_t insn)
{
    le32_put(memory + at, insn);
}

/* LOOPS loops one after the other; number i adds i + step in each round. */
static void put_program(unsigned step)
{
    unsigned at = 0;
    for (unsigned i = 0; i < LOOPS; i++) {
        unsigned function = 4096 + i * 16;
        put(at, ADDI(5, 0, ROUNDS));
        put(at + 4, JAL(1, (int)(function - at - 4)));
        put(at + 8, ADDI(5, 5, -1));
        put(at + 12, BNE(5, 0, -8));
        put(function, ADDI(7, 7, (int)(i + step)));
        put(function + 4, JALR(0, 1, 0));
        at += 16;
    }
    put(at, ECALL);
}

static uint64_t expected(unsigned step)
{
    return (uint64_t)ROUNDS * (LOOPS * (LOOPS - 1) / 2 + LOOPS * step);
}

/*
 * Runs what is in memory as a process of its own would, to the call before `stop`, where x7 has to
 * be `sum`.
 */
static struct engine_stats run_to(uint64_t stop, uint64_t sum)
{
    struct proc_thread *t = aligned_alloc(64, align_up(sizeof *t, 64));
    struct engine_stats stats;
    struct error err;
    memset(t, 0, sizeof *t);
    vcpu_init(&t->v, 0, NULL, &clk);
    t->v.arch = &t->h;
    t->v.engine = engine;
    t->v.store = store;
    t->h.exts = rv_exts_closure(UINT64_MAX);
    t->h.process = 1;
    t->h.env.time = no_time;
    t->h.env.executable = executable;
    t->h.env.image = image;
    t->h.irq_lines = &t->v.irq_lines;
    rv_hart_reset(&t->h, code());
    t->h.priv = RV_PRIV_U;
    rv_hart_view_changed(&t->h);
    /* Over the handlers of the test's framework, which are put in place before each test. */
    assert_int_equal(fault_init(NULL), 0);
    assert_int_equal(engine->attach(&t->v, &err), 0);
    while (engine->run(&t->v, UINT64_MAX) == VCPU_EXIT_KICK)
        ;
    assert_int_equal(t->h.pc, stop);
    assert_int_equal(t->h.x[7], sum);
    if (engine->save)
        engine->save(&t->v);
    engine->stats(&t->v, &stats);
    engine->detach(&t->v);
    fault_fini();
    free(t);
    return stats;
}

/* How many regions of the program were found. */
static uint64_t run_program(unsigned step)
{
    return run_to(code() + LOOPS * 16 + 4, expected(step)).loaded;
}

static int begin(void **state)
{
    struct error err;
    (void)state;
    memory = mmap(NULL, (CODE_PAGES + 1) * 4096, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    clock_init(&clk, false);
    clock_start(&clk);
    strcpy(strrchr(directory, '-'), "-XXXXXX");
    assert_non_null(mkdtemp(directory));
    setenv("GUISE_CACHE", directory, 1);
    store = store_new(0, &err);
    assert_non_null(store);
    return 0;
}

static int end(void **state)
{
    char command[100];
    (void)state;
    store_free(store);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    munmap(memory, (CODE_PAGES + 1) * 4096);
    return system(command);
}

static void test_again(void **state)
{
    (void)state;
    put_program(1);
    assert_int_equal(run_program(1), 0);
    /* On a busy host the thread that compiles may not have had its turn before the program ended.
     */
    long loaded = 0;
    for (unsigned n = 0; n < 50 && !loaded; n++)
        loaded = (long)run_program(1);
    assert_true(loaded > 0 || !engine->save);
}

/* A page that only translated code ever goes to has what was kept for it, too. */
static void test_page_reached_by_regions(void **state)
{
    const unsigned rounds = 0x80000; /* for so long that a thread compiles it meanwhile */
    struct engine_stats stats = {.regions = 1};
    (void)state;
    put(0, 0x37 | 5 << 7 | rounds);  /* lui x5 */
    put(4, 0x17 | 6 << 7 | 1 << 12); /* auipc x6, 1: the function is on the next page */
    put(8, JALR(1, 6, 0));
    put(12, ADDI(5, 5, -1));
    put(16, BNE(5, 0, -8));
    put(20, ECALL);
    put(4096 + 4, ADDI(7, 7, 3));
    put(4096 + 8, JALR(0, 1, 0));
    for (unsigned n = 0; n < 50 && engine->save && (stats.regions || !stats.loaded); n++)
        stats = run_to(code() + 24, (uint64_t)3 * rounds);
    assert_true((!stats.regions && stats.loaded > 1) || !engine->save);
}

/* The same file by name and size, but not what is in it. */
static void test_other_code(void **state)
{
    (void)state;
    put_program(1);
    run_program(1);
    put_program(2);
    run_program(2); /* regions that are all on the first page are good */
    run_program(2);
    put(4096, ADDI(7, 7, 3)); /* one page is other than it was: the first loop's function */
    put(4096 + 16, ADDI(7, 7, 2));
    run_program(2);
}

static void damage(void *ctx, int dir, const struct store_file *f)
{
    unsigned *seed = ctx;
    int fd = openat(dir, f->name, O_RDWR);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)rand_r(seed);
        off_t at = rand_r(seed) % (int)f->size;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

static void test_damage(void **state)
{
    unsigned seed = 1;
    (void)state;
    put_program(1);
    for (unsigned n = 0; n < 60; n++) {
        run_program(1);
        assert_int_equal(store_each(store, damage, &seed, NULL), 0);
        if (!engine->save)
            break;
    }
    run_program(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_again, begin, end),
        cmocka_unit_test_setup_teardown(test_page_reached_by_regions, begin, end),
        cmocka_unit_test_setup_teardown(test_other_code, begin, end),
        cmocka_unit_test_setup_teardown(test_damage, begin, end),
    };
    int failed = 0;
    for (unsigned i = 0; engines[i]; i++) {
        engine = engines[i];
        failed += cmocka_run_group_tests_name(engine->name, tests, NULL, NULL);
    }
    for (unsigned i = 0; engines_for_tests[i]; i++) {
        engine = engines_for_tests[i];
        failed += cmocka_run_group_tests_name(engine->name, tests, NULL, NULL);
    }
    return failed;
}
