/*
 * Harts of processes: memory is the test's own, calls and exceptions leave the engine, and the
 * vCPUs of a process share translations. Every engine of the host runs the same programs.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "asm.h"
#include "base/bits.h"
#include "core/engine.h"
#include "engine/engines.h"
#include "host/fault.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/hart.h"

#define ROUNDS 5000u

static const struct engine_ops *engine;

struct proc_thread {
    struct vcpu v;
    struct rv_hart h;
};

static uint8_t *memory; /* three pages: code, data, and one that may not be reached */
static struct clock clk;

static bool executable(void *ctx, uint64_t va)
{
    (void)ctx;
    return va - (uint64_t)(uintptr_t)memory < 4096;
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static uint64_t code(void)
{
    return (uint64_t)(uintptr_t)memory;
}

static uint64_t data(void)
{
    return code() + 4096;
}

static void put(unsigned offset, const uint32_t *insns, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        le32_put(memory + offset + 4 * i, insns[i]);
}

#define PUT(offset, ...)                           \
    put((offset), (const uint32_t[]){__VA_ARGS__}, \
        sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static struct proc_thread *thread_new(struct vcpu *shares)
{
    struct proc_thread *t = aligned_alloc(64, align_up(sizeof *t, 64));
    struct error err;
    assert_non_null(t);
    memset(t, 0, sizeof *t);
    vcpu_init(&t->v, 0, NULL, &clk);
    t->v.arch = &t->h;
    t->v.engine = engine;
    t->v.shares = shares;
    t->h.exts = rv_exts_closure(UINT64_MAX);
    t->h.process = 1;
    t->h.env.time = no_time;
    t->h.env.executable = executable;
    t->h.irq_lines = &t->v.irq_lines;
    rv_hart_reset(&t->h, code());
    t->h.priv = RV_PRIV_U;
    t->h.mstatus |= RV_MSTATUS_FS;
    rv_hart_view_changed(&t->h);
    /* Over the handlers of the test's framework, which are put in place before each test. */
    assert_int_equal(fault_init(NULL), 0);
    assert_int_equal(engine->attach(&t->v, &err), 0);
    return t;
}

static void thread_free(struct proc_thread *t)
{
    engine->detach(&t->v);
    fault_fini();
    free(t);
}

static enum vcpu_exit run(struct proc_thread *t, uint64_t pc)
{
    t->h.pc = pc;
    for (;;) {
        enum vcpu_exit exit = engine->run(&t->v, UINT64_MAX);
        if (exit != VCPU_EXIT_KICK)
            return exit;
    }
}

static int begin(void **state)
{
    (void)state;
    memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + 8192, 4096, PROT_NONE), 0);
    clock_init(&clk, true);
    clock_start(&clk);
    return 0;
}

static int end(void **state)
{
    (void)state;
    return munmap(memory, 3 * 4096);
}

/* x5 rounds, each of which adds x6 to memory at x10; then a call. */
static void put_loop(void)
{
    PUT(0, LOAD(3, 7, 10, 0), asm_r(0x33, 0, 0, 7, 7, 6), STORE(3, 7, 10, 0), ADDI(5, 5, -1),
        BNE(5, 0, -16), ECALL);
}

static void test_call(void **state)
{
    (void)state;
    struct proc_thread *t = thread_new(NULL);
    put_loop();
    t->h.x[5] = ROUNDS;
    t->h.x[6] = 3;
    t->h.x[10] = data();
    assert_int_equal(run(t, code()), VCPU_EXIT_CALL);
    assert_int_equal(t->h.pc, code() + 24);
    assert_int_equal(le64_get(memory + 4096), 3 * ROUNDS);
    thread_free(t);
}

static void expect_trap(struct proc_thread *t, uint64_t pc, unsigned cause, uint64_t value)
{
    assert_int_equal(run(t, code()), VCPU_EXIT_TRAP);
    assert_int_equal(t->h.pc, pc);
    assert_int_equal(t->h.scause, cause);
    assert_int_equal(t->h.stval, value);
}

/* The last rounds of a loop reach the page that refuses; all registers are those of that moment. */
static void test_faults(void **state)
{
    (void)state;
    struct proc_thread *t = thread_new(NULL);
    PUT(0, ADDI(5, 5, 1), STORE(0, 5, 10, 0), ADDI(10, 10, 1), BNE(10, 11, -12), ECALL);
    t->h.x[5] = 0;
    t->h.x[10] = data();
    t->h.x[11] = data() + 8192;
    expect_trap(t, code() + 4, RV_CAUSE_STORE_PAGE, data() + 4096);
    assert_int_equal(t->h.x[5], 4097);
    assert_int_equal(memory[8191], 0);
    PUT(0, LOAD(2, 7, 10, 2), ECALL);
    engine->code_changed(&t->v, code(), code() + 8);
    expect_trap(t, code(), RV_CAUSE_LOAD_PAGE, data() + 4098);
    t->h.x[10] = UINT64_C(1) << 63; /* no canonical address of this host */
    expect_trap(t, code(), RV_CAUSE_LOAD_PAGE, (UINT64_C(1) << 63) + 2);
    PUT(0, EBREAK);
    engine->code_changed(&t->v, code(), code() + 4);
    expect_trap(t, code(), RV_CAUSE_BREAKPOINT, code());
    PUT(0, 0);
    engine->code_changed(&t->v, code(), code() + 4);
    expect_trap(t, code(), RV_CAUSE_ILLEGAL, 0);
    PUT(0, JALR(0, 12, 0));
    engine->code_changed(&t->v, code(), code() + 4);
    t->h.x[12] = data();
    expect_trap(t, data(), RV_CAUSE_FETCH_PAGE, data());
    thread_free(t);
}

static void *run_loop(void *arg)
{
    struct proc_thread *t = arg;
    return (void *)(uintptr_t)(run(t, code()) == VCPU_EXIT_CALL);
}

#define THREADS 4u

/* All at once, from the first instruction on; each has a word of its own. */
static void test_threads(void **state)
{
    (void)state;
    struct proc_thread *t[THREADS];
    pthread_t host[THREADS];
    memset(memory + 4096, 0, 4096);
    put_loop();
    for (unsigned i = 0; i < THREADS; i++) {
        t[i] = thread_new(i ? &t[i - 1]->v : NULL);
        t[i]->h.x[5] = ROUNDS * 10;
        t[i]->h.x[6] = i + 1;
        t[i]->h.x[10] = data() + 8 * i;
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&host[i], NULL, run_loop, t[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *ok;
        assert_int_equal(pthread_join(host[i], &ok), 0);
        assert_non_null(ok);
        assert_int_equal(le64_get(memory + 4096 + 8 * i), (i + 1) * ROUNDS * 10);
    }
    /* What one finds changed, all do. */
    PUT(4, asm_r(0x33, 0, 0x20, 7, 7, 6));
    assert_true(engine->has_code(&t[0]->v, code(), code() + 4096));
    assert_false(engine->has_code(&t[0]->v, data(), data() + 4096));
    engine->code_changed(&t[0]->v, code() + 4, code() + 8);
    thread_free(t[0]);
    for (unsigned i = 1; i < THREADS; i++) {
        t[i]->h.x[5] = ROUNDS * 10;
        assert_int_equal(run(t[i], code()), VCPU_EXIT_CALL);
        assert_int_equal(le64_get(memory + 4096 + 8 * i), 0);
        thread_free(t[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_call, begin, end),
        cmocka_unit_test_setup_teardown(test_faults, begin, end),
        cmocka_unit_test_setup_teardown(test_threads, begin, end),
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
