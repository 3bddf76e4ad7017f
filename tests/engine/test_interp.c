/*
 * How the interpreter runs and stops: exact limits, kicks, breakpoints and watchpoints, changed
 * code, two vCPUs in one process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "asm.h"
#include "base/state.h"
#include "guest.h"

#define RAM GUEST_RAM

static int setup(void **state)
{
    *state = guest_new();
    return 0;
}

static int teardown(void **state)
{
    guest_free(*state);
    return 0;
}

/* Same numbers for the same seed, on every host. */
static uint64_t next_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15;
    uint64_t z = *seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t test_seed(void)
{
    const char *text = getenv("GUISE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 20240411;
    printf("GUISE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* ---- limits ---- */

/* Two and a half pages of x1 += 1 and a jump back: after n instructions x1 is known. */
static void limits(struct guest *g, unsigned bytes_each, uint64_t instructions)
{
    const uint64_t start = RAM + 0x800;
    uint8_t *p = guest_ptr(g, start);
    const uint32_t wide = ADDI(1, 1, 1), back = JAL(0, -(int)(bytes_each * instructions));
    for (uint64_t i = 0; i < instructions; i++) {
        if (bytes_each == 2)
            memcpy(p + 2 * i, "\x85\x00", 2); /* c.addi x1, 1 */
        else
            memcpy(p + 4 * i, &wide, 4);
    }
    memcpy(p + bytes_each * instructions, &back, 4);
    g->v.engine->fence_i(&g->v);
    uint64_t seed = test_seed(), done = 0;
    g->h.pc = start;
    g->h.x[1] = 0;
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t n = i < 1000 ? i : next_random(&seed) % 20000;
        guest_steps(g, n);
        done += n;
        uint64_t in_loop = done % (instructions + 1);
        assert_int_equal(g->h.x[1], done - done / (instructions + 1));
        assert_int_equal(g->h.pc, start + bytes_each * in_loop);
    }
}

static void test_limits_wide(void **state)
{
    limits(*state, 4, 2560);
}

static void test_limits_compressed(void **state)
{
    limits(*state, 2, 5120);
}

/* A run in one piece and a run in random pieces must end in the same state. */
static void test_limits_traps(void **state)
{
    struct guest *a = *state, *b = guest_new();
    for (unsigned i = 0; i < 2; i++) {
        struct guest *g = i ? b : a;
        CODE(g, RAM, ADDI(1, 1, 1), ECALL, LOAD(3, 2, 0, 0), ADDI(3, 3, 1), 0, JAL(0, -20));
        CODE(g, GUEST_TRAP, CSRRS(5, 0x341, 0), ADDI(5, 5, 4), CSRRW(0, 0x341, 5),
             CSRRS(6, 0xb02, 0), MRET);
        g->h.pc = RAM;
    }
    uint64_t seed = test_seed();
    for (unsigned i = 0; i < 500; i++) {
        uint64_t total = next_random(&seed) % 10000, done = 0;
        guest_steps(a, total);
        while (done < total) {
            uint64_t n = 1 + next_random(&seed) % (i % 2 ? 5 : 3000);
            n = n < total - done ? n : total - done;
            guest_steps(b, n);
            done += n;
        }
        char difference[128];
        if (!state_equal(&rv_hart_state, &a->h, &b->h, difference, sizeof difference))
            fail_msg("after %llu: %s", (unsigned long long)a->h.icount, difference);
    }
    guest_free(b);
}

/* A trap is no retired instruction: 1 + ecall (not) + handler's 1 = 2 before the counter is read.
 */
static void test_minstret(void **state)
{
    struct guest *g = *state;
    CODE(g, RAM, ADDI(1, 1, 1), ECALL);
    CODE(g, GUEST_TRAP, NOP, CSRRS(6, 0xb02, 0), CSRRS(7, 0xb00, 0), CSRRW(0, 0xb02, 0),
         CSRRS(8, 0xb02, 0), NOP, CSRRS(9, 0xb02, 0));
    g->h.pc = RAM;
    guest_steps(g, 9);
    assert_int_equal(g->h.x[6], 2);
    assert_int_equal(g->h.x[7], 4); /* cycles: the trap takes one */
    assert_int_equal(g->h.x[8], 0);
    assert_int_equal(g->h.x[9], 2);
}

/* Nothing at address 0, where mtvec leads: traps for ever, but never without end for the owner. */
static void test_trap_loop(void **state)
{
    struct guest *g = *state;
    g->h.mtvec = 0;
    g->h.pc = 0;
    guest_steps(g, 100000);
    assert_int_equal(g->h.mcause, 1);
    assert_int_equal(g->h.mtval, 0);
    assert_int_equal(g->h.mepc, 0);
    vcpu_kick(&g->v);
    assert_int_equal(guest_run(g, 0, UINT64_MAX), VCPU_EXIT_KICK);
}

/* ---- kicks ---- */

struct kicker {
    struct vcpu *v;
    _Atomic unsigned wanted, made;
};

#define KICKS 10000

static void *kicker_thread(void *arg)
{
    struct kicker *k = arg;
    uint64_t seed = 1;
    for (unsigned i = 1; i <= KICKS; i++) {
        while (atomic_load(&k->wanted) < i)
            ;
        for (volatile unsigned delay = next_random(&seed) % 400; delay; delay--)
            ;
        vcpu_kick(k->v);
        atomic_store(&k->made, i);
    }
    return NULL;
}

/* Each kick ends a run, wherever it falls; a lost one would end this program by its alarm. */
static void test_kicks(void **state)
{
    struct guest *g = *state;
    CODE(g, RAM, JAL(0, 0));                                              /* in one slot */
    CODE(g, RAM + 0x1000, STORE(3, 0, 2, 0), JAL(0, 0x1ffc - 0x1004 + 4), /* over pages */
         JAL(0, 0));
    CODE(g, RAM + 0x2000, JAL(0, -0x1000));
    CODE(g, RAM + 0x3000, ECALL);
    CODE(g, GUEST_TRAP, MRET); /* traps */
    g->h.x[2] = RAM + 0x100000;
    struct kicker k = {.v = &g->v};
    pthread_t thread;
    alarm(120);
    assert_int_equal(pthread_create(&thread, NULL, kicker_thread, &k), 0);
    for (unsigned i = 1; i <= KICKS; i++) {
        g->h.pc = RAM + i % 4 * 0x1000;
        atomic_store(&k.wanted, i);
        enum vcpu_exit exit = g->v.engine->run(&g->v, i & 8 ? UINT64_MAX : UINT64_C(1) << 40);
        assert_int_equal(exit, VCPU_EXIT_KICK);
        while (atomic_load(&k.made) < i)
            ;
    }
    pthread_join(thread, NULL);
    alarm(0);
    /* And none is left over. */
    g->h.pc = RAM;
    guest_steps(g, 10);
}

/* A kick that comes with the limit is reported by the next run. */
static void test_kick_kept(void **state)
{
    struct guest *g = *state;
    CODE(g, RAM, JAL(0, 0));
    vcpu_kick(&g->v);
    assert_int_equal(guest_run(g, RAM, 5), VCPU_EXIT_KICK);
    assert_int_equal(g->h.pc, RAM);
    guest_steps(g, 5);
    /* A hypercall at the same time. */
    CODE(g, RAM, ECALL);
    g->h.sbi = 1;
    g->h.priv = RV_PRIV_S;
    rv_hart_view_changed(&g->h);
    assert_int_equal(guest_run(g, RAM, 5), VCPU_EXIT_CALL);
    assert_int_equal(g->h.pc, RAM + 4);
}

/* ---- breakpoints and watchpoints ---- */

static void set_breakpoint(struct guest *g, gva_t at)
{
    g->v.debug.breakpoints[g->v.debug.breakpoint_count++] = at;
    g->v.engine->debug_changed(&g->v);
}

static void expect_stop(struct guest *g, gva_t pc, uint64_t retired)
{
    uint64_t before = g->h.icount;
    assert_int_equal(g->v.engine->run(&g->v, 1000000), VCPU_EXIT_DEBUG);
    assert_int_equal(g->h.pc, pc);
    assert_int_equal(g->h.icount - before, retired);
}

static void test_breakpoints(void **state)
{
    struct guest *g = *state;
    CODE(g, RAM + 0xff8, NOP, NOP, NOP, ECALL);
    CODE(g, GUEST_TRAP, NOP, JAL(0, -4));
    set_breakpoint(g, RAM + 0xff8);
    set_breakpoint(g, RAM + 0x1000);
    set_breakpoint(g, GUEST_TRAP);
    g->h.pc = RAM + 0xff8;
    expect_stop(g, RAM + 0xff8, 0);
    expect_stop(g, RAM + 0xff8, 0);
    g->v.debug.skip_breakpoint = true;
    expect_stop(g, RAM + 0x1000, 2);
    expect_stop(g, GUEST_TRAP, 2);
    g->v.debug.skip_breakpoint = true;
    expect_stop(g, GUEST_TRAP, 2);
    g->v.debug.skip_breakpoint = false;
    /* Without them the same code runs through. */
    g->v.debug.breakpoint_count = 0;
    g->v.engine->debug_changed(&g->v);
    guest_steps(g, 100000);
}

/* On a page with several PMP regions each instruction is looked up anew; stops work the same. */
static void test_breakpoint_pmp(void **state)
{
    struct guest *g = *state;
    CODE(g, RAM, NOP, NOP, NOP, JAL(0, -12));
    rv_csr_poke(&g->h, 0x3b0, (RAM + 0x800) >> 2);
    rv_csr_poke(&g->h, 0x3a0, 0x91); /* locked NA4, no execution */
    set_breakpoint(g, RAM + 4);
    set_breakpoint(g, RAM + 8);
    g->h.pc = RAM;
    expect_stop(g, RAM + 4, 1);
    g->v.debug.skip_breakpoint = true;
    expect_stop(g, RAM + 8, 1);
    expect_stop(g, RAM + 4, 3);
}

static void watch(struct guest *g, gva_t addr, uint64_t len, unsigned kind)
{
    g->v.debug.watchpoints[0] = (struct vcpu_watch){addr, len, kind};
    g->v.debug.watchpoint_count = 1;
    g->v.engine->debug_changed(&g->v);
}

static void expect_watch(struct guest *g, gva_t from, gva_t pc, uint64_t limit)
{
    g->h.pc = from;
    assert_int_equal(g->v.engine->run(&g->v, limit), VCPU_EXIT_DEBUG);
    assert_true(g->v.debug.hit_watch);
    assert_int_equal(g->v.debug.hit.addr, g->v.debug.watchpoints[0].addr);
    assert_int_equal(g->h.pc, pc);
}

static void test_watchpoints(void **state)
{
    struct guest *g = *state;
    const gva_t data = RAM + 0x5000;
    g->h.x[2] = data;
    g->h.x[3] = data + 6;
    CODE(g, RAM, STORE(3, 1, 2, 16), LOAD(3, 1, 2, 8), STORE(2, 1, 3, 0), LR(3, 1, 2),
         AMOADD(3, 1, 2, 0), JAL(0, -20));
    g->h.pc = RAM;
    guest_steps(g, 12); /* everything is in the TLB */
    watch(g, data + 8, 1, VCPU_WATCH_WRITE);
    expect_watch(g, RAM, RAM + 12, 1000); /* the misaligned store reaches it */
    expect_watch(g, RAM + 8, RAM + 12, 1);
    watch(g, data + 8, 1, VCPU_WATCH_READ);
    expect_watch(g, RAM, RAM + 8, 1000);
    expect_watch(g, RAM + 4, RAM + 8, 1);
    watch(g, data, 8, VCPU_WATCH_READ);
    expect_watch(g, RAM, RAM + 16, 1000); /* lr */
    watch(g, data, 8, VCPU_WATCH_WRITE);
    expect_watch(g, RAM + 12, RAM + 20, 1000); /* amoadd */
    watch(g, data + 24, 8, VCPU_WATCH_READ | VCPU_WATCH_WRITE);
    guest_steps(g, 1000);
    /* The last instruction of a page, with and without a limit. */
    CODE(g, RAM + 0xffc, STORE(3, 1, 2, 0), NOP);
    watch(g, data, 8, VCPU_WATCH_WRITE);
    expect_watch(g, RAM + 0xffc, RAM + 0x1000, 1000);
    expect_watch(g, RAM + 0xffc, RAM + 0x1000, 1);
    /* A kick at the same time is not lost. */
    g->h.pc = RAM + 0xffc;
    g->v.debug.watchpoint_count = 0;
    g->v.engine->debug_changed(&g->v);
    guest_steps(g, 2);
}

static void test_watch_at_top(void **state)
{
    struct guest *g = *state;
    const gva_t top = UINT64_C(0xfffffffffffff000);
    guest_sv39(g);
    guest_map(g, top, RAM + 0x6000, PTE_RWXAD);
    g->h.x[2] = UINT64_MAX - 7;
    CODE(g, RAM, STORE(3, 1, 2, 0), NOP);
    watch(g, UINT64_MAX - 3, 4, VCPU_WATCH_WRITE);
    expect_watch(g, RAM, RAM + 4, 1000);
    watch(g, UINT64_MAX - 15, 8, VCPU_WATCH_WRITE);
    g->h.pc = RAM;
    guest_steps(g, 2);
}

/* ---- changed code ---- */

static void test_fence_i(void **state)
{
    struct guest *g = *state;
    /* Overwrites the instruction at RAM + 16, or RAM + 0x1010, then gets there. */
    for (unsigned other_page = 0; other_page < 2; other_page++) {
        gpa_t target = RAM + (other_page ? 0x1010 : 16);
        for (unsigned fence = 0; fence < 2; fence++) {
            CODE(g, RAM, STORE(2, 4, 3, 0), fence ? FENCE_I : NOP, JAL(0, (int)(target - RAM - 8)));
            CODE(g, target, ADDI(1, 0, 1), JAL(0, 0));
            g->h.pc = target;
            guest_steps(g, 1); /* decoded */
            assert_int_equal(g->h.x[1], 1);
            g->h.x[3] = target;
            g->h.x[4] = ADDI(1, 0, 2);
            g->h.pc = RAM;
            guest_steps(g, 4);
            if (fence)
                assert_int_equal(g->h.x[1], 2);
            else
                assert_true(g->h.x[1] == 1 || g->h.x[1] == 2);
        }
    }
    /* Asked for from outside (a remote fence.i). */
    CODE(g, RAM, ADDI(1, 0, 1));
    g->h.pc = RAM;
    guest_steps(g, 1);
    *(uint32_t *)guest_ptr(g, RAM) = ADDI(1, 0, 3);
    g->v.engine->fence_i(&g->v);
    g->h.pc = RAM;
    guest_steps(g, 1);
    assert_int_equal(g->h.x[1], 3);
}

/* Code on all of memory, page after page, twice. (engine/code fills the cache of decoded pages.) */
static void test_many_pages(void **state)
{
    struct guest *g = *state;
    const unsigned pages = 760;
    for (unsigned i = 0; i < pages; i++)
        CODE(g, RAM + i * 0x1000, ADDI(1, 1, 1), JAL(0, i + 1 < pages ? 0xffc : -4));
    for (unsigned round = 0; round < 2; round++) {
        g->h.x[1] = 0;
        g->h.pc = RAM;
        guest_steps(g, 2 * pages - 1);
        assert_int_equal(g->h.x[1], pages);
    }
}

/* The same page of code reached at two addresses, with different pages behind it. */
static void test_crossing_aliases(void **state)
{
    struct guest *g = *state;
    guest_sv39(g);
    static const unsigned values[] = {11, 22};
    for (unsigned i = 0; i < 2; i++) {
        guest_map(g, 0x4000 + i * 0x4000, RAM + 0x10000, PTE_RWXAD);
        guest_map(g, 0x5000 + i * 0x4000, RAM + 0x11000 + i * 0x1000, PTE_RWXAD);
        uint32_t insn = ADDI(1, 0, (int)values[i]);
        memcpy((uint8_t *)guest_ptr(g, RAM + 0x10ff6) + 8, &insn, 2);
        memcpy(guest_ptr(g, RAM + 0x11000 + i * 0x1000), (uint8_t *)&insn + 2, 2);
    }
    g->v.engine->fence_i(&g->v);
    for (unsigned i = 0; i < 6; i++) {
        g->h.pc = 0x4ffe + i % 2 * 0x4000;
        guest_steps(g, 1);
        assert_int_equal(g->h.x[1], values[i % 2]);
        assert_int_equal(g->h.pc, 0x5002 + i % 2 * 0x4000);
    }
}

/* ---- two vCPUs ---- */

static void *run_thread(void *arg)
{
    struct guest *g = arg;
    for (unsigned i = 0; i < 1000; i++)
        if (g->v.engine->run(&g->v, 5000 + i) != VCPU_EXIT_LIMIT)
            return NULL;
    return g;
}

static void test_two(void **state)
{
    struct guest *g[2] = {*state, guest_new()};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        /* The same addresses hold different programs: x1 += 1 or 2, through memory. */
        CODE(g[i], RAM, LOAD(3, 1, 2, 0), ADDI(1, 1, 1 + (int)i), STORE(3, 1, 2, 0), JAL(0, -12));
        g[i]->h.x[2] = RAM + 0x4000;
        g[i]->h.pc = RAM;
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, g[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        void *ok;
        pthread_join(threads[i], &ok);
        assert_ptr_equal(ok, g[i]);
    }
    const uint64_t n = UINT64_C(1000) * 5000 + 999 * 500; /* a multiple of 4, plus 0 */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(g[i]->h.icount, n);
        assert_int_equal(*(uint64_t *)guest_ptr(g[i], RAM + 0x4000),
                         (n / 4 + (n % 4 > 2)) * (1 + i));
    }
    guest_free(g[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_limits_wide), T(test_limits_compressed), T(test_limits_traps),
        T(test_minstret),    T(test_trap_loop),         T(test_kicks),
        T(test_kick_kept),   T(test_breakpoints),       T(test_breakpoint_pmp),
        T(test_watchpoints), T(test_watch_at_top),      T(test_fence_i),
        T(test_many_pages),  T(test_crossing_aliases),  T(test_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
