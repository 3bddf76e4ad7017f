/*
 * Executable memory: two views and no page that is writable and executable, allocation against a
 * model, bounds, fork.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "jit.h"

/* Permissions of the mapping that contains p, as in /proc/self/maps. */
static void permissions(const void *p, char out[5])
{
    char line[400];
    FILE *f = fopen("/proc/self/maps", "r");
    assert_non_null(f);
    strcpy(out, "none");
    while (fgets(line, sizeof line, f)) {
        unsigned long start, end;
        char perms[8];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3 && start <= (uintptr_t)p &&
            (uintptr_t)p < end)
            memcpy(out, perms, 5);
    }
    fclose(f);
}

/* What is written stays, in both views, and can be written again, small pages or huge. */
static void test_settle(void **state)
{
    struct codemem m;
    const size_t part = 1 << 20;
    uint8_t *parts[5];
    (void)state;
    assert_int_equal(codemem_init(&m, 8 * part, NULL), 0);
    for (unsigned i = 0; i < 5; i++) {
        parts[i] = codemem_alloc(&m, part);
        memset(parts[i], (int)i + 1, part);
        codemem_settle(&m);
        for (unsigned k = 0; k <= i; k++) {
            const uint8_t *rx = codemem_to_rx(&m, parts[k]);
            assert_int_equal(rx[0], k + 1);
            assert_memory_equal(rx, rx + 1, part - 1);
        }
    }
    parts[0][77] = 99;
    assert_int_equal(codemem_to_rx(&m, parts[0])[77], 99);
    codemem_reset(&m);
    assert_int_equal(codemem_to_rx(&m, parts[0])[77], 0);
    assert_ptr_equal(codemem_alloc(&m, part), parts[0]);
    codemem_settle(&m);
    codemem_fini(&m);
}

static void test_views(void **state)
{
    struct codemem m;
    char perms[5];
    (void)state;
    assert_int_equal(codemem_init(&m, 100000, NULL), 0);
    assert_int_equal(m.size, 102400);
    permissions(m.rw, perms);
    assert_string_equal(perms, "rw-s");
    permissions(m.rx, perms);
    assert_string_equal(perms, "r-xs");
    permissions(m.rx + m.size - 1, perms);
    assert_string_equal(perms, "r-xs");

    uint8_t *p = codemem_alloc(&m, 1000);
    memcpy(p, "guise", 6);
    assert_memory_equal(codemem_to_rx(&m, p), "guise", 6);
    assert_ptr_equal(codemem_to_rw(&m, codemem_to_rx(&m, p)), p);
    assert_true(codemem_has_pc(&m, (uintptr_t)m.rx));
    assert_true(codemem_has_pc(&m, (uintptr_t)m.rx + m.size - 1));
    assert_false(codemem_has_pc(&m, (uintptr_t)m.rx + m.size));
    assert_false(codemem_has_pc(&m, (uintptr_t)m.rx - 1));
    codemem_fini(&m);
    permissions(p, perms);
    codemem_fini(&m);
}

static void test_bounds(void **state)
{
    struct codemem m;
    struct error err = {0};
    (void)state;
    assert_int_equal(codemem_init(&m, 0, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "0 bytes"));
    assert_int_equal(codemem_init(&m, CODEMEM_MAX + 1, &err), -EINVAL);

    assert_int_equal(codemem_init(&m, 8192, NULL), 0);
    assert_null(codemem_alloc(&m, 0));
    assert_null(codemem_alloc(&m, 8193));
    assert_null(codemem_alloc(&m, SIZE_MAX));
    uint8_t *all = codemem_alloc(&m, 8192);
    assert_ptr_equal(all, m.rw);
    assert_int_equal(m.used, 8192);
    assert_null(codemem_alloc(&m, 1));
    codemem_trim(&m, all, 8192, 65);
    assert_int_equal(m.used, 128);
    uint8_t *next = codemem_alloc(&m, 1);
    assert_ptr_equal(next, all + 128);
    codemem_free(&m, all, 65);
    assert_int_equal(all[0], 0xcc);
    assert_int_equal(all[127], 0xcc);
    assert_int_equal(m.used, 64);
    /* Around the one that is left: 128 bytes before it, the rest behind. */
    assert_null(codemem_alloc(&m, 8192 - 128));
    assert_ptr_equal(codemem_alloc(&m, 8192 - 192), next + 64);
    assert_ptr_equal(codemem_alloc(&m, 128), all);
    assert_null(codemem_alloc(&m, 1));
    codemem_reset(&m);
    assert_int_equal(m.used, 0);
    assert_ptr_equal(codemem_alloc(&m, 8192), m.rw);
    assert_int_equal(m.rw[0], 0);
    codemem_reset(&m);
    /* What a trim gives back is used next. */
    codemem_trim(&m, codemem_alloc(&m, 4096), 4096, 64);
    assert_ptr_equal(codemem_alloc(&m, 64), m.rw + 64);
    codemem_fini(&m);
}

enum { BLOCKS = 64 };

struct block {
    uint8_t *p;
    size_t n;
    uint8_t fill;
};

static uint64_t random_state;

static size_t pick(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 16) % n;
}

static void block_check(const struct codemem *m, const struct block *b)
{
    const uint8_t *rx = codemem_to_rx(m, b->p);
    for (size_t i = 0; i < b->n; i++)
        assert_int_equal(rx[i], b->fill);
}

/* Random blocks keep what is written to them; the sum of their sizes is what is used. */
static void test_random(void **state)
{
    const char *s = getenv("GUISE_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
    struct block blocks[BLOCKS] = {{0}};
    struct codemem m;
    size_t used = 0, refused = 0;
    (void)state;
    printf("GUISE_SEED=%ju\n", (uintmax_t)seed);
    random_state = (seed << 1 | 1) * UINT64_C(0x9e3779b97f4a7c15);
    assert_int_equal(codemem_init(&m, 16 << 10, NULL), 0);
    for (unsigned i = 0; i < 20000; i++) {
        struct block *b = &blocks[pick(BLOCKS)];
        if (b->p) {
            block_check(&m, b);
            codemem_free(&m, b->p, b->n);
            used -= (b->n + 63) / 64 * 64;
            b->p = NULL;
        } else {
            size_t n = 1 + pick(1u << (4 + pick(9)));
            b->p = codemem_alloc(&m, n);
            b->n = 1 + pick(n);
            b->fill = (uint8_t)i;
            refused += !b->p;
            if (b->p) {
                assert_int_equal((uintptr_t)b->p % CODEMEM_GRANULE, 0);
                codemem_trim(&m, b->p, n, b->n);
                memset(b->p, b->fill, b->n);
                used += (b->n + 63) / 64 * 64;
            }
        }
        assert_int_equal(m.used, used);
    }
    assert_true(refused > 100);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].p)
            codemem_free(&m, blocks[i].p, blocks[i].n);
    }
    assert_ptr_equal(codemem_alloc(&m, 16 << 10), m.rw);
    codemem_fini(&m);
}

/* 0 when private code is the child's own after a fork; runs in the child. */
static int child(struct jit *j, jit_fn fn)
{
    if (fn(0, 0, 0) != 1)
        return 1;
    codemem_to_rw(&j->memory, (const uint8_t *)(uintptr_t)fn)[1] = 2;
    return fn(0, 0, 0) == 2 ? 0 : 4;
}

static void test_fork(void **state)
{
    struct jit j;
    int status;
    (void)state;
    assert_int_equal(codemem_init_private(&j.memory, 1 << 20, NULL), 0);
    assert_ptr_equal(j.memory.rw, j.memory.rx);
    assert_non_null(codemem_alloc(&j.memory, 5000));
    jit_begin(&j);
    asm_ri(&j.b, ASM_MOV, 4, RAX, 1);
    asm_none(&j.b, ASM_RET);
    jit_fn fn = jit_end(&j);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(&j, fn));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(fn(0, 0, 0), 1);
    codemem_fini(&j.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),  cmocka_unit_test(test_settle), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random), cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
