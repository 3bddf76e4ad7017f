/*
 * Regions that lie on several pages: code changes on one of them, fence.i, and what ran before must
 * not run again. Every engine of the host runs the same programs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "asm.h"
#include "engine/engines.h"
#include "guest.h"

#define LOOP GUEST_RAM
#define CALLED (GUEST_RAM + 0x2000)
#define CALLED2 (GUEST_RAM + 0x5000)
#define ROUNDS 4000u

/* x6 += n and back; x11 keeps the way back of the outer function. */
static void put_functions(struct guest *g)
{
    CODE(g, CALLED, ADDI(11, 1, 0), JAL(1, (int)(CALLED2 - CALLED - 4)), ADDI(1, 11, 0),
         ADDI(6, 6, 1), JALR(0, 1, 0));
    CODE(g, CALLED2, ADDI(6, 6, 1), JALR(0, 1, 0));
}

/* Each round calls, then writes another instruction to *x10: x7, which x9 changes. */
static void put_loop(struct guest *g)
{
    CODE(g, LOOP, JAL(1, (int)(CALLED - LOOP)), asm_r(0x33, 4, 0, 7, 7, 9), STORE(2, 7, 10, 0),
         FENCE_I, ADDI(5, 5, -1), BNE(5, 0, -20), WFI);
}

/* What ROUNDS rounds add to x6 while the instruction at `at` is exchanged for `other`. */
static uint64_t run(struct guest *g, gpa_t at, uint32_t other)
{
    const uint32_t first = *(uint32_t *)guest_ptr(g, at);
    g->h.x[5] = ROUNDS;
    g->h.x[6] = 0;
    g->h.x[7] = first;
    g->h.x[9] = first ^ other;
    g->h.x[10] = at;
    assert_int_equal(guest_run(g, LOOP, UINT64_MAX), VCPU_EXIT_WAIT);
    return g->h.x[6];
}

static void each_of(const struct engine_ops *const *list, void (*fn)(struct guest *g))
{
    for (; *list; list++) {
        struct guest *g = guest_new_on(*list);
        put_functions(g);
        put_loop(g);
        fn(g);
        guest_free(g);
    }
}

static void each_engine(void (*fn)(struct guest *g))
{
    each_of(engines, fn);
    each_of(engines_for_tests, fn);
}

static void change(struct guest *g)
{
    for (unsigned again = 0; again < 3; again++) {
        assert_int_equal(run(g, CALLED2, ADDI(6, 6, 1)), 2 * ROUNDS); /* the same */
        assert_int_equal(run(g, CALLED2, ADDI(6, 6, 2)), 2 * ROUNDS + ROUNDS / 2);
        assert_int_equal(run(g, CALLED + 12, ADDI(6, 6, 5)), 2 * ROUNDS + 4 * (ROUNDS / 2));
        assert_int_equal(run(g, CALLED2, JALR(0, 1, 0)), 2 * ROUNDS - ROUNDS / 2);
    }
}

static void test_change(void **state)
{
    (void)state;
    each_engine(change);
}

/*
 * A page that only another page's region lies on: nothing on it is hot itself, because while the
 * loop becomes hot it does not call.
 */
static void cold_page(struct guest *g)
{
    static const struct {
        unsigned rounds, calls, adds;
    } phases[] = {{20, 1, 1}, {1000, 0, 1}, {100, 1, 1}, {100, 1, 2}, {100, 1, 3}};
    CODE(g, LOOP, asm_b(0, 12, 0, 8), JAL(1, (int)(CALLED2 - LOOP - 4)), ADDI(5, 5, -1),
         BNE(5, 0, -12), WFI);
    for (unsigned i = 0; i < sizeof phases / sizeof *phases; i++) {
        CODE(g, CALLED2, ADDI(6, 6, (int)phases[i].adds), JALR(0, 1, 0));
        g->v.engine->fence_i(&g->v);
        g->h.x[5] = phases[i].rounds;
        g->h.x[6] = 0;
        g->h.x[12] = phases[i].calls;
        assert_int_equal(guest_run(g, LOOP, UINT64_MAX), VCPU_EXIT_WAIT);
        assert_int_equal(g->h.x[6], phases[i].rounds * phases[i].calls * phases[i].adds);
    }
}

static void test_cold_page(void **state)
{
    (void)state;
    each_engine(cold_page);
}

/* The called function returns to somewhere else than where the call expects it. */
static void wrong_return(struct guest *g)
{
    CODE(g, CALLED, ADDI(11, 1, 0), JAL(1, (int)(CALLED2 - CALLED - 4)), ADDI(6, 6, 100),
         ADDI(6, 6, 1), JALR(0, 11, 0));
    CODE(g, CALLED2, ADDI(6, 6, 1), ADDI(1, 1, 4), JALR(0, 1, 0));
    assert_int_equal(run(g, CALLED, ADDI(11, 1, 0)), 2 * ROUNDS);
}

static void test_wrong_return(void **state)
{
    (void)state;
    each_engine(wrong_return);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change),
        cmocka_unit_test(test_cold_page),
        cmocka_unit_test(test_wrong_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
