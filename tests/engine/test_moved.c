/*
 * User code that the guest maps at several addresses: what was compiled for one serves at all, and
 * does what the interpreter does there. Every engine of the host runs the same programs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "asm.h"
#include "engine/engines.h"
#include "guest.h"
#include "rng.h"

#define FIRST (GUEST_RAM + 0x10000) /* the page that is entered, and what is mapped behind it */
#define SECOND (GUEST_RAM + 0x20000)
#define OTHER (GUEST_RAM + 0x30000)
#define USER (PTE_V | PTE_R | PTE_X | PTE_U | PTE_A)
#define AUIPC(rd, upper) ((uint32_t)(upper) << 12 | (rd) << 7 | 0x17)
#define ROUNDS 300u

static const gva_t places[] = {0x10000, 0x43000, UINT64_C(0xffffffffc0008000), 0x10000, 0x80000};
enum { PLACES = sizeof places / sizeof *places };

/* A hart in U-mode, whose traps end in wfi. */
static struct guest *user_new(const struct engine_ops *engine)
{
    struct guest *g = guest_new_on(engine);
    CODE(g, GUEST_TRAP, WFI);
    guest_sv39(g);
    return g;
}

static void user_map(struct guest *g, gva_t va, gpa_t second)
{
    guest_map(g, va, FIRST, USER);
    guest_map(g, va + 0x1000, second, USER);
    rv_tlb_flush(&g->h);
}

static void user_run(struct guest *g, gva_t pc)
{
    for (unsigned i = 1; i < 32; i++)
        g->h.x[i] = UINT64_C(0x1234567890abcdef) * i;
    g->h.x[5] = ROUNDS;
    g->h.priv = RV_PRIV_U;
    rv_hart_view_changed(&g->h);
    assert_int_equal(guest_run(g, pc, UINT64_MAX), VCPU_EXIT_WAIT);
}

static void user_compare(const struct guest *g, const struct guest *want, unsigned place)
{
    for (unsigned i = 1; i < 32; i++)
        if (g->h.x[i] != want->h.x[i])
            fail_msg("place %u: x%u is %#lx, not %#lx", place, i, (unsigned long)g->h.x[i],
                     (unsigned long)want->h.x[i]);
    assert_int_equal(g->h.mcause, want->h.mcause);
    assert_int_equal(g->h.mepc, want->h.mepc);
}

/* At each place, compared with the interpreter's end; `behind` says what is mapped behind it. */
static void user_compare_all(struct guest *g, void (*put)(struct guest *g), const gpa_t *behind)
{
    struct guest *want = user_new(engines[0]);
    put(g);
    put(want);
    for (unsigned i = 0; i < PLACES; i++) {
        user_map(g, places[i], behind[i]);
        user_map(want, places[i], behind[i]);
        user_run(g, places[i]);
        user_run(want, places[i]);
        user_compare(g, want, i);
    }
    guest_free(want);
}

static void each_of(const struct engine_ops *const *list, void (*fn)(struct guest *g))
{
    for (; *list; list++) {
        struct guest *g = user_new(*list);
        fn(g);
        guest_free(g);
    }
}

static void each_engine(void (*fn)(struct guest *g))
{
    each_of(engines, fn);
    each_of(engines_for_tests, fn);
}

/* ---- compiled once ---- */

static const gpa_t same[PLACES] = {SECOND, SECOND, SECOND, SECOND, SECOND};

/* Addresses as values, a call that is inlined, one that is not, and a page that is read. */
static void put_program(struct guest *g)
{
    CODE(g, FIRST, AUIPC(6, 1), JAL(1, 0x1000 - 4), ADDI(7, 1, 0), AUIPC(28, 0),
         JALR(1, 28, 0x200 - 12), LOAD(3, 29, 6, 0), asm_r(0x33, 0, 0, 30, 30, 6), ADDI(5, 5, -1),
         BNE(5, 0, -32), ECALL);
    CODE(g, FIRST + 0x200, ADDI(8, 8, 3), ADDI(31, 1, 0), JALR(0, 1, 0));
    CODE(g, SECOND, AUIPC(9, 0), asm_r(0x33, 0, 0, 10, 10, 1), JALR(0, 1, 0));
}

static void once(struct guest *g)
{
    struct engine_stats before, after;
    user_compare_all(g, put_program, same);
    g->v.engine->stats(&g->v, &before);
    user_compare_all(g, put_program, same);
    g->v.engine->stats(&g->v, &after);
    assert_int_equal(after.regions, before.regions);
    if (!before.regions)
        return;
    assert_true(before.regions < 12); /* not for each of the places */
    assert_true(before.moved >= 3);
}

static void test_once(void **state)
{
    (void)state;
    each_engine(once);
}

/* ---- another page behind it ---- */

static const gpa_t different[PLACES] = {SECOND, OTHER, SECOND, OTHER, OTHER};

static void put_different(struct guest *g)
{
    put_program(g);
    CODE(g, OTHER, ADDI(9, 9, 1), JALR(0, 1, 0));
}

static void other_page(struct guest *g)
{
    user_compare_all(g, put_different, different);
    user_compare_all(g, put_different, different);
}

static void test_other_page(void **state)
{
    (void)state;
    each_engine(other_page);
}

/* ---- random programs ---- */

static uint64_t random_seed;

static unsigned some(struct rng *r)
{
    return 8 + rng_below(r, 16);
}

/* A few instructions from `at` on, the last one before `end`. */
static uint32_t put_random(struct guest *g, struct rng *r, gpa_t at, unsigned count)
{
    static const uint8_t f3[] = {0, 4, 6, 7, 2, 3, 1, 5};
    uint32_t n = 0;
    while (n < count) {
        uint32_t insn;
        switch (rng_below(r, 8)) {
        case 0:
            insn = AUIPC(some(r), rng_below(r, 2) ? rng_below(r, 4) : rng_below(r, 1 << 20));
            break;
        case 1:
            insn = BNE(some(r), some(r), 8);
            break;
        case 2: /* a load from the two pages */
            CODE(g, at + 4 * n, AUIPC(6, 0));
            n++;
            insn = LOAD(rng_below(r, 7), some(r), 6, (int)rng_below(r, 0x100));
            break;
        case 3:
            insn = asm_b(rng_below(r, 2) ? 4 : 6, some(r), some(r), 8);
            break;
        case 4:
            insn = asm_r(rng_below(r, 2) ? 0x33 : 0x3b, 0, rng_below(r, 2) ? 0x20 : rng_below(r, 2),
                         some(r), some(r), some(r));
            break;
        default:
            insn = asm_r(0x33, f3[rng_below(r, 8)], 0, some(r), some(r), some(r));
        }
        CODE(g, at + 4 * n, insn);
        n++;
    }
    CODE(g, at + 4 * n, NOP);
    return n + 1;
}

static void put_random_program(struct guest *g)
{
    struct rng r = rng_part(random_seed, 0);
    uint32_t n = put_random(g, &r, FIRST, 20), call = 4 * n;
    CODE(g, FIRST + call, JAL(1, (int)(0x1000 - call)));
    call += 4;
    call += 4 * put_random(g, &r, FIRST + call, 20);
    CODE(g, FIRST + call, ADDI(5, 5, -1), BNE(5, 0, -(int)call - 4), ECALL);
    n = put_random(g, &r, SECOND, 20);
    CODE(g, SECOND + 4 * n, JALR(0, 1, 0));
}

static void one_random(struct guest *g)
{
    user_compare_all(g, put_random_program, same);
}

static void test_random(void **state)
{
    const char *env = getenv("GUISE_SEED");
    uint64_t seed = env && *env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);
    (void)state;
    print_message("seed %lu\n", (unsigned long)seed);
    for (unsigned i = 0; i < 10; i++) {
        random_seed = seed + i;
        each_engine(one_random);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_other_page),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
