/*
 * Guest memory through windows of the translator: whatever user code does to memory ends as in the
 * interpreter, and what the guest has fenced is out of reach.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asm.h"
#include "engine/dbt/dbt.h"
#include "engine/interp/interp.h"
#include "guest.h"

#define CODE_VA UINT64_C(0x10000)
#define CODE_PA (GUEST_RAM + 0x10000)
#define DATA_PA (GUEST_RAM + 0x20000)

#define LOW UINT64_C(0x200000) /* pages of data, by what they are */
enum {
    PAGE_RW,
    PAGE_RW_NEXT,
    PAGE_RO,
    PAGE_CLEAN, /* D is clear */
    PAGE_RW_AFTER,
    PAGE_OLD, /* A and D are clear */
    PAGE_NONE,
    PAGE_KERNEL,
    PAGE_CODE, /* X only */
    PAGE_DEVICE,
    PAGE_DEVICE32,
    PAGE_ROM,
    PAGE_HOLE, /* no memory */
    PAGES,
};
#define USER_RW (PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D)

static const struct {
    gpa_t gpa;
    unsigned flags;
} pages[PAGES] = {
    [PAGE_RW] = {DATA_PA, USER_RW},
    [PAGE_RW_NEXT] = {DATA_PA + 0x5000, USER_RW},
    [PAGE_RO] = {DATA_PA + 0x2000, USER_RW & ~PTE_W},
    [PAGE_CLEAN] = {DATA_PA + 0x3000, USER_RW & ~PTE_D},
    [PAGE_RW_AFTER] = {DATA_PA + 0x4000, USER_RW},
    [PAGE_OLD] = {DATA_PA + 0x1000, USER_RW & ~(PTE_A | PTE_D)},
    [PAGE_NONE] = {DATA_PA + 0x6000, USER_RW & ~PTE_V},
    [PAGE_KERNEL] = {DATA_PA + 0x7000, USER_RW & ~PTE_U},
    [PAGE_CODE] = {DATA_PA + 0x8000, PTE_V | PTE_X | PTE_U | PTE_A},
    [PAGE_DEVICE] = {GUEST_MMIO, USER_RW},
    [PAGE_DEVICE32] = {GUEST_MMIO32, USER_RW},
    [PAGE_ROM] = {GUEST_ROM, USER_RW},
    [PAGE_HOLE] = {UINT64_C(0x40000000), USER_RW},
};

/* A hart in U-mode, whose traps end in wfi. */
static struct guest *user_new(const struct engine_ops *engine)
{
    struct guest *g = guest_new_on(engine);
    CODE(g, GUEST_TRAP, WFI);
    guest_sv39(g);
    guest_map(g, CODE_VA, CODE_PA, PTE_V | PTE_X | PTE_U | PTE_A);
    rv_csr_poke(&g->h, 0x300, 3 << 13);
    return g;
}

/* All pages as they were at first: the last of the lower half, and those from LOW on. */
static void user_pages(struct guest *g)
{
    uint64_t *root = guest_ptr(g, GUEST_TABLES);
    root[255] = PTE_OF(GUEST_TABLES + 5 * 4096, PTE_V);
    root[5 * 512 + 511] = PTE_OF(GUEST_TABLES + 6 * 4096, PTE_V);
    root[6 * 512 + 511] = PTE_OF(DATA_PA, USER_RW);
    root[0] = PTE_OF(GUEST_TABLES + 1 * 4096, PTE_V);
    root[512] = PTE_OF(GUEST_TABLES + 2 * 4096, PTE_V);
    root[512 + 1] = PTE_OF(GUEST_TABLES + 7 * 4096, PTE_V);
    root[512 + 2] = PTE_OF(GUEST_RAM, USER_RW); /* a superpage */
    for (unsigned i = 0; i < PAGES; i++)
        root[7 * 512 + i] = PTE_OF(pages[i].gpa, pages[i].flags);
    uint8_t *data = guest_ptr(g, DATA_PA);
    for (unsigned i = 0; i < 0x9000; i++)
        data[i] = (uint8_t)(i * 37 ^ i >> 8);
    rv_tlb_flush(&g->h);
}

static uint64_t *page_entry(struct guest *g, unsigned page)
{
    return (uint64_t *)guest_ptr(g, GUEST_TABLES + 7 * 4096) + page;
}

static void fence(struct guest *g, const uint64_t *va)
{
    rv_tlb_fence(&g->h, &(struct rv_fence){.one_page = va, .va = va ? *va : 0});
}

/* Runs the code at CODE_VA until it traps, with a0 = base. */
static void user_run(struct guest *g, uint64_t base)
{
    for (unsigned i = 1; i < 32; i++)
        g->h.x[i] = UINT64_C(0x1234567890abcdef) * i;
    for (unsigned i = 0; i < 32; i++)
        g->h.f[i] = UINT64_C(0x0123456789abcdef) * (i + 1);
    g->h.x[10] = base;
    g->h.x[6] = 3;
    g->h.mcause = g->h.mtval = g->h.mepc = 0x5555;
    g->h.priv = RV_PRIV_U;
    rv_hart_view_changed(&g->h);
    assert_int_equal(guest_run(g, CODE_VA, UINT64_MAX), VCPU_EXIT_WAIT);
}

/* ---- the same as in the interpreter ---- */

struct pair {
    struct guest *interp, *window;
};

static void pair_code(struct pair *p, uint32_t insn, uint32_t second)
{
    /* Twice, with another offset the second time; and round a loop. */
    CODE(p->interp, CODE_PA, insn, second, ADDI(6, 6, -1), BNE(6, 0, -12), ECALL);
    CODE(p->window, CODE_PA, insn, second, ADDI(6, 6, -1), BNE(6, 0, -12), ECALL);
}

static void pair_compare(const struct pair *p, uint64_t base, uint32_t insn)
{
    const struct rv_hart *a = &p->interp->h, *b = &p->window->h;
    bool same = a->mcause == b->mcause && a->mtval == b->mtval && a->mepc == b->mepc &&
                !memcmp(a->x, b->x, 32 * sizeof *a->x) && !memcmp(a->f, b->f, sizeof a->f);
    if (!same)
        fail_msg("%08x at %lx: cause %lu %lu, tval %lx %lx, pc %lx %lx, x5 %lx %lx", insn,
                 (unsigned long)base, (unsigned long)a->mcause, (unsigned long)b->mcause,
                 (unsigned long)a->mtval, (unsigned long)b->mtval, (unsigned long)a->mepc,
                 (unsigned long)b->mepc, (unsigned long)a->x[5], (unsigned long)b->x[5]);
    if (memcmp(guest_ptr(p->interp, DATA_PA), guest_ptr(p->window, DATA_PA), 0x9000))
        fail_msg("%08x at %lx: memory differs", insn, (unsigned long)base);
    if (memcmp(guest_ptr(p->interp, GUEST_TABLES), guest_ptr(p->window, GUEST_TABLES), 0x8000))
        fail_msg("%08x at %lx: page tables differ", insn, (unsigned long)base);
    assert_int_equal(p->interp->any.reads, p->window->any.reads);
    assert_int_equal(p->interp->any.writes, p->window->any.writes);
    assert_int_equal(p->interp->any.value, p->window->any.value);
    assert_int_equal(p->interp->only32.reads, p->window->only32.reads);
}

static void pair_try(struct pair *p, uint64_t base, uint32_t insn)
{
    user_pages(p->interp);
    user_pages(p->window);
    /* Twice: with nothing mapped, and with what the first has mapped. */
    for (unsigned i = 0; i < 2; i++) {
        user_run(p->interp, base);
        user_run(p->window, base);
        pair_compare(p, base, insn);
    }
}

static void pair_try_places(struct pair *p, uint32_t insn)
{
    static const unsigned offsets[] = {0x100, 0x101, 0x7fc, 0xff8, 0xff9, 0xffc, 0xfff};
    static const uint64_t ends[] = {
        UINT64_C(0x3ffffffff8),       UINT64_C(0x3ffffffffc),       UINT64_C(0x3fffffffff),
        UINT64_C(0x4000000000),       UINT64_C(0x4000000008),       UINT64_C(0x4000000800),
        UINT64_C(0x4100000000),       UINT64_C(0x4200000000),       0,
        UINT64_C(0xfffffffffffffff8), UINT64_C(0xffffffffffe00000), UINT64_C(0x8000000000000000),
        UINT64_C(0x7ffffffffffffff8), UINT64_C(0xffffffc000000000), UINT64_C(0x8000200000),
        UINT64_C(0xffffffff00000000), UINT64_C(0x400000) + 0x20100, UINT64_C(0x400000) + 0x20fff,
    };
    for (unsigned page = 0; page < PAGES; page++)
        for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++)
            pair_try(p, LOW + page * 4096 + offsets[i], insn);
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
        pair_try(p, ends[i], insn);
}

static void test_equal(void **state)
{
    struct pair p = {user_new(&engine_interp), user_new(&engine_dbt_window)};
    (void)state;
    for (unsigned i = 0; i < 7; i++) {
        pair_code(&p, LOAD(i, 5, 10, 0), LOAD(3, 7, 10, -8));
        pair_try_places(&p, LOAD(i, 5, 10, 0));
    }
    for (unsigned i = 0; i < 4; i++) {
        pair_code(&p, STORE(i, 5, 10, 0), STORE(0, 6, 10, 2047));
        pair_try_places(&p, STORE(i, 5, 10, 0));
        pair_code(&p, LOAD(3, 10, 10, 0), STORE(i, 0, 10, -2048));
        pair_try_places(&p, STORE(i, 0, 10, -2048));
    }
    pair_code(&p, FLD(5, 10, 0), asm_i(0x07, 2, 6, 10, 8));
    pair_try_places(&p, FLD(5, 10, 0));
    pair_code(&p, FSD(5, 10, 0), asm_s(2, 6, 10, 16) | 4);
    pair_try_places(&p, FSD(5, 10, 0));
    struct engine_stats stats;
    engine_dbt_window.stats(&p.window->v, &stats);
    assert_true(stats.regions > 10);
    assert_true(p.window->h.contexts[p.window->h.context].window);
    guest_free(p.interp);
    guest_free(p.window);
}

static void test_equal_atomics(void **state)
{
    /* add, swap, xor, or, and, min, max, minu, maxu */
    static const unsigned kinds[] = {0, 1, 4, 8, 12, 16, 20, 24, 28};
    struct pair p = {user_new(&engine_interp), user_new(&engine_dbt_window)};
    (void)state;
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (unsigned size = 2; size < 4; size++)
            for (unsigned rd = 0; rd < 6; rd += 5) {
                uint32_t insn = AMO(kinds[i], size, rd, 10, 7);
                pair_code(&p, insn, LOAD(3, 8, 10, 0));
                pair_try_places(&p, insn);
            }
    guest_free(p.interp);
    guest_free(p.window);
}

/* ---- fences ---- */

static void expect(struct guest *g, uint64_t base, unsigned cause, uint64_t x5)
{
    user_run(g, base);
    assert_int_equal(g->h.mcause, cause);
    if (cause == RV_CAUSE_ECALL_U)
        assert_int_equal(g->h.x[5], x5);
}

static uint64_t data_at(struct guest *g, gpa_t gpa)
{
    return *(const uint64_t *)guest_ptr(g, gpa);
}

static void test_fences(void **state)
{
    struct guest *g = user_new(&engine_dbt_window);
    const uint64_t rw = LOW + PAGE_RW * 4096 + 0x100, next = LOW + PAGE_RW_NEXT * 4096 + 0x100;
    (void)state;
    user_pages(g);
    CODE(g, CODE_PA, LOAD(3, 5, 10, 0), ADDI(6, 6, -1), BNE(6, 0, -8), ECALL);
    uint64_t here = data_at(g, DATA_PA + 0x100), there = data_at(g, DATA_PA + 0x5100);
    expect(g, rw, RV_CAUSE_ECALL_U, here);
    expect(g, next, RV_CAUSE_ECALL_U, there);
    /* A page that is fenced by address is out of reach, its neighbour is not disturbed. */
    *page_entry(g, PAGE_RW) = 0;
    fence(g, &rw);
    expect(g, rw, RV_CAUSE_LOAD_PAGE, 0);
    expect(g, next, RV_CAUSE_ECALL_U, there);
    /* It may come back elsewhere: what was not valid is not remembered. */
    *page_entry(g, PAGE_RW) = PTE_OF(DATA_PA + 0x5000, USER_RW);
    expect(g, rw, RV_CAUSE_ECALL_U, there);
    *page_entry(g, PAGE_RW) = PTE_OF(DATA_PA, USER_RW);
    fence(g, NULL);
    expect(g, rw, RV_CAUSE_ECALL_U, here);
    /* A superpage goes with any address in it. */
    uint64_t *root = guest_ptr(g, GUEST_TABLES);
    const uint64_t large = 0x400000 + (DATA_PA - GUEST_RAM) + 0x100, in_large = 0x5ff000;
    expect(g, large, RV_CAUSE_ECALL_U, here);
    root[512 + 2] = 0;
    fence(g, &in_large);
    expect(g, large, RV_CAUSE_LOAD_PAGE, 0);
    /* Another space has other pages, and the first is as it was. */
    uint64_t satp = g->h.satp;
    uint64_t *other = guest_ptr(g, GUEST_TABLES + 0x20000);
    memcpy(other, root, 4096);
    other[0] = 0;
    rv_csr_poke(&g->h, 0x180,
                UINT64_C(8) << 60 | UINT64_C(5) << 44 | (GUEST_TABLES + 0x20000) >> 12);
    user_run(g, rw);
    assert_int_equal(g->h.mcause, RV_CAUSE_FETCH_PAGE);
    rv_csr_poke(&g->h, 0x180, satp);
    expect(g, rw, RV_CAUSE_ECALL_U, here);
    guest_free(g);
}

/* To space `asid`, which has the same tables. */
static void user_space(struct guest *g, uint64_t asid)
{
    rv_csr_poke(&g->h, 0x180, UINT64_C(8) << 60 | asid << 44 | GUEST_TABLES >> 12);
}

/*
 * Where time is real a space earns its window, and loses it with its context: what was made for it
 * must not run for the space that comes after it, though its pages are where and what they were.
 */
static void test_lost_with_context(void **state)
{
    struct guest *g = user_new(&engine_interp);
    const uint64_t rw = LOW + PAGE_RW * 4096 + 0x100, here = UINT64_C(0x5ca1ab1e0ddba11);
    struct error err;
    (void)state;
    engine_interp.detach(&g->v);
    clock_fini(&g->clock);
    clock_init(&g->clock, false);
    g->v.engine = &engine_dbt;
    assert_int_equal(engine_dbt.attach(&g->v, &err), 0);
    user_pages(g);
    uint64_t *data = guest_ptr(g, DATA_PA + 0x100);
    data[0] = here;
    data[1] = 8000000;
    CODE(g, CODE_PA, LOAD(3, 6, 10, 8), LOAD(3, 5, 10, 0), ADDI(6, 6, -1), BNE(6, 0, -8), ECALL);
    user_space(g, 1);
    uint8_t first = g->h.context;
    /* Another thread compiles, when it can: until there is a region for the window. */
    struct engine_stats stats = {0};
    uint64_t before = 0;
    for (unsigned i = 0; i < 100 && stats.regions == before; i++) {
        expect(g, rw, RV_CAUSE_ECALL_U, here);
        engine_dbt.stats(&g->v, &stats);
        if (!g->h.contexts[first].window)
            before = stats.regions;
    }
    assert_int_not_equal(g->h.contexts[first].window, 0);
    assert_true(stats.regions > before);
    expect(g, rw, RV_CAUSE_ECALL_U, here);
    for (unsigned asid = 2; asid < 2 + RV_CONTEXTS; asid++)
        user_space(g, asid);
    assert_int_equal(g->h.context, first);
    data[1] = 1000;
    expect(g, rw, RV_CAUSE_ECALL_U, here);
    assert_int_equal(g->h.contexts[first].window, 0);
    guest_free(g);
}

/* What was mapped for reading only because D was clear is written after D has been set. */
static void test_dirty(void **state)
{
    struct guest *g = user_new(&engine_dbt_window);
    const uint64_t clean = LOW + PAGE_CLEAN * 4096, ro = LOW + PAGE_RO * 4096;
    (void)state;
    user_pages(g);
    CODE(g, CODE_PA, LOAD(3, 5, 10, 0), ADDI(6, 6, -1), BNE(6, 0, -8), ECALL);
    expect(g, clean, RV_CAUSE_ECALL_U, data_at(g, DATA_PA + 0x3000));
    assert_false(*page_entry(g, PAGE_CLEAN) & PTE_D);
    CODE(g, CODE_PA, STORE(3, 6, 10, 0), LOAD(3, 5, 10, 0), ADDI(6, 6, -1), BNE(6, 0, -12), ECALL);
    expect(g, clean, RV_CAUSE_ECALL_U, 1);
    assert_true(*page_entry(g, PAGE_CLEAN) & PTE_D);
    /* D cleared and fenced: seen again. */
    *page_entry(g, PAGE_CLEAN) &= ~(uint64_t)PTE_D;
    fence(g, &clean);
    expect(g, clean, RV_CAUSE_ECALL_U, 1);
    assert_true(*page_entry(g, PAGE_CLEAN) & PTE_D);
    expect(g, ro, RV_CAUSE_STORE_PAGE, 0);
    /* Write permission taken away and fenced. */
    *page_entry(g, PAGE_CLEAN) &= ~(uint64_t)PTE_W;
    fence(g, &clean);
    expect(g, clean, RV_CAUSE_STORE_PAGE, 0);
    guest_free(g);
}

/* PMP closes the data to user code, and a watchpoint sees an access. */
static void test_protected(void **state)
{
    struct guest *g = user_new(&engine_dbt_window);
    const uint64_t rw = LOW + PAGE_RW * 4096 + 0x100;
    (void)state;
    user_pages(g);
    CODE(g, CODE_PA, LOAD(3, 5, 10, 0), ADDI(6, 6, -1), BNE(6, 0, -8), ECALL);
    expect(g, rw, RV_CAUSE_ECALL_U, data_at(g, DATA_PA + 0x100));
    g->v.debug.watchpoints[0] = (struct vcpu_watch){rw, 8, VCPU_WATCH_READ};
    g->v.debug.watchpoint_count = 1;
    g->v.engine->debug_changed(&g->v);
    g->h.x[10] = rw;
    g->h.priv = RV_PRIV_U;
    rv_hart_view_changed(&g->h);
    assert_int_equal(guest_run(g, CODE_VA, UINT64_MAX), VCPU_EXIT_DEBUG);
    g->v.debug.watchpoint_count = 0;
    g->v.debug.hit_watch = false;
    g->v.engine->debug_changed(&g->v);
    expect(g, rw, RV_CAUSE_ECALL_U, data_at(g, DATA_PA + 0x100));
    /* Eight bytes of the page, then all of it. */
    rv_csr_poke(&g->h, 0x3b0, (DATA_PA + 0x100) >> 2);
    rv_csr_poke(&g->h, 0x3a0, 0x18);
    expect(g, rw, RV_CAUSE_LOAD_ACCESS, 0);
    expect(g, rw + 8, RV_CAUSE_ECALL_U, data_at(g, DATA_PA + 0x108));
    rv_csr_poke(&g->h, 0x3b0, DATA_PA >> 2 | 0x1ff);
    expect(g, rw + 8, RV_CAUSE_LOAD_ACCESS, 0);
    /* A superpage of which that is a part: the rest of it, which goes with any address in it. */
    const uint64_t large = 0x400000 + (DATA_PA - GUEST_RAM) + 0x100, in_large = 0x5ff000;
    expect(g, large, RV_CAUSE_LOAD_ACCESS, 0);
    expect(g, large + 0x5000, RV_CAUSE_ECALL_U, data_at(g, DATA_PA + 0x5100));
    ((uint64_t *)guest_ptr(g, GUEST_TABLES))[512 + 2] = 0;
    fence(g, &in_large);
    expect(g, large + 0x5000, RV_CAUSE_LOAD_PAGE, 0);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),     cmocka_unit_test(test_equal_atomics),
        cmocka_unit_test(test_fences),    cmocka_unit_test(test_dirty),
        cmocka_unit_test(test_protected), cmocka_unit_test(test_lost_with_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
