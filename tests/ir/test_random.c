/*
 * Random programs mean the same run directly, as IR, and as IR after each pass and all of them. The
 * seed of a failure is printed; GUISE_SEED=n repeats one, GUISE_ROUNDS=n changes how many,
 * GUISE_SHORT=1 makes them a quarter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"

#define STATES 4

static struct ir *ir;
static struct guest program;
static const char *stage;
static unsigned long changed[8]; /* times that a pass left another number of instructions */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static uint64_t rounds_get(void)
{
    if (getenv("GUISE_SEED"))
        return 1;
    return number_from("GUISE_ROUNDS", getenv("GUISE_SHORT") ? 1500 : 6000);
}

static bool agrees(uint64_t seed)
{
    static struct eval_state start, want, got;
    uint64_t s = seed;
    for (unsigned i = 0; i < STATES; i++) {
        unsigned ticks = 1 + i * 7;
        guest_state(&start, &s);
        start.entry = i % program.entries;
        want = got = start;
        guest_run(&program, &want, ticks);
        eval_run(ir, &got, ticks);
        if (!eval_same(&want, &got, GUEST_SLOTS))
            return false;
    }
    return true;
}

static bool good(uint64_t seed)
{
    struct error err = {0};
    if (ir_overflow(ir) || ir_verify(ir, &err) < 0) {
        fprintf(stderr, "verify: %s\n", ir_overflow(ir) ? "overflow" : err.msg);
        return false;
    }
    return agrees(seed);
}

static void require(bool ok, uint64_t seed)
{
    if (ok)
        return;
    fprintf(stderr, "GUISE_SEED=%llu, after %s\n", (unsigned long long)seed, stage);
    ir_print(ir, stderr);
    fail();
}

static unsigned instructions(void)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        IR_EACH_INS(ir, ir->order[i], r)
        n++;
    }
    return n;
}

static void one_program(uint64_t seed)
{
    uint64_t s = seed;
    struct error err = {0};
    guest_make(&program, &s);
    stage = "building";
    guest_build(&program, ir);
    require(good(seed), seed);
    for (unsigned p = 0; ir_passes[p].name; p++) {
        guest_build(&program, ir);
        unsigned before = instructions();
        stage = ir_passes[p].name;
        ir_passes[p].run(ir);
        changed[p] += before != instructions();
        require(good(seed), seed);
    }
    stage = "all passes";
    guest_build(&program, ir);
    require(ir_optimize(ir, NULL, true, &err) == 0, seed);
    require(good(seed), seed);
    stage = "a random order of passes";
    unsigned passes = 0;
    while (ir_passes[passes].name)
        passes++;
    for (unsigned i = 0; i < 6; i++) {
        ir_passes[guest_random(&s) % passes].run(ir);
        require(good(seed), seed);
    }
}

static void test_programs(void **state)
{
    (void)state;
    uint64_t seed = number_from("GUISE_SEED", 1);
    uint64_t rounds = rounds_get();
    printf("seeds %llu to %llu\n", (unsigned long long)seed,
           (unsigned long long)(seed + rounds - 1));
    for (uint64_t i = 0; i < rounds; i++)
        one_program(seed + i);
    if (rounds < 100)
        return;
    /* A test of passes that never do anything tests nothing. (mem only marks, fuse is rare.) */
    for (unsigned p = 0; ir_passes[p].name; p++) {
        printf("%s: %lu\n", ir_passes[p].name, changed[p]);
        if (ir_passes[p].run != ir_pass_mem && ir_passes[p].run != ir_pass_fuse)
            assert_true(changed[p] > rounds / 50);
    }
}

/* --- expressions ---------------------------------------------------------------------------- */

/* Values of one block of which few bits are wanted: stores of some sizes, one slot at the exit. */
#define NODES 40

struct nodes {
    ir_ref ref[NODES];
    uint64_t value[NODES];
    uint8_t type[NODES];
    unsigned count;
};

static unsigned node_of(const struct nodes *n, unsigned type, uint64_t *s)
{
    unsigned i;
    do
        i = (unsigned)(guest_random(s) % n->count);
    while (n->type[i] != type);
    return i;
}

static void add_node(struct nodes *n, unsigned type, ir_ref ref, uint64_t value)
{
    n->ref[n->count] = ref;
    n->type[n->count] = (uint8_t)type;
    n->value[n->count++] = value;
}

static void add_const(struct nodes *n, unsigned type, uint64_t *s)
{
    static const int64_t list[] = {0, 1, 3, 8, 16, 24, 31, 32, 255, 65535, -1, -256, 0x7fffffff};
    int64_t v = list[guest_random(s) % (sizeof list / sizeof list[0])];
    add_node(n, type, ir_const(ir, (enum ir_type)type, v),
             type == IR_I32 ? (uint32_t)v : (uint64_t)v);
}

static void add_random(struct nodes *n, uint64_t *s)
{
    static const uint8_t conversions[] = {IR_SEXT32, IR_ZEXT32, IR_TRUNC32};
    unsigned kind = (unsigned)(guest_random(s) % 8), type = guest_random(s) % 2 ? IR_I32 : IR_I64;
    unsigned a, b = 0, c = 0, op;
    if (kind == 0) {
        add_const(n, type, s);
        return;
    }
    if (kind == 1) {
        op = IR_SELECT;
        a = node_of(n, IR_I1, s);
        b = node_of(n, type, s);
        c = node_of(n, type, s);
    } else if (kind == 2) {
        op = IR_EQ + (unsigned)(guest_random(s) % 6);
        a = node_of(n, type, s);
        b = node_of(n, type, s);
        type = IR_I1;
    } else if (kind < 5) {
        op = conversions[guest_random(s) % 3];
        a = node_of(n, op == IR_TRUNC32 ? IR_I64 : IR_I32, s);
        type = op == IR_TRUNC32 ? IR_I32 : IR_I64;
    } else if (kind == 5) {
        op = IR_NOT + (unsigned)(guest_random(s) % (IR_ZEXT16 - IR_NOT + 1));
        a = node_of(n, type, s);
    } else {
        op = IR_ADD + (unsigned)(guest_random(s) % (IR_ADDX8 - IR_ADD + 1));
        a = node_of(n, type, s);
        b = node_of(n, type, s);
    }
    unsigned argc = ir_op_info[op].argc;
    uint64_t v = eval_op(op, type, n->type[a], n->value[a], n->value[b], n->value[c], 0);
    add_node(n, type,
             ir_value(ir, (enum ir_op)op, (enum ir_type)type, n->ref[a], argc > 1 ? n->ref[b] : 0,
                      argc > 2 ? n->ref[c] : 0, 0),
             v);
}

/* Builds on ir; *want is what it has to do to *start. */
static void make_expression(uint64_t *s, const struct eval_state *start, struct eval_state *want)
{
    static const uint8_t types[8] = {IR_I64, IR_I64, IR_I64, IR_I64,
                                     IR_I64, IR_I64, IR_I64, IR_I64};
    struct nodes n = {.count = 0};
    *want = *start;
    ir_reset(ir, 8, types);
    for (unsigned i = 0; i < 4; i++)
        add_node(&n, IR_I64, ir_slot_read(ir, i), start->slot[i]);
    add_node(&n, IR_I32, ir_op1(ir, IR_TRUNC32, n.ref[0]), (uint32_t)n.value[0]);
    add_node(&n, IR_I1, ir_op2(ir, IR_LTU, n.ref[0], n.ref[1]), n.value[0] < n.value[1]);
    while (n.count < NODES)
        add_random(&n, s);
    uint32_t snap = ir_snapshot(ir, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        unsigned size = (unsigned)(guest_random(s) % 4);
        unsigned v = node_of(&n, size < 3 && guest_random(s) % 2 ? IR_I32 : IR_I64, s);
        ir_store(ir, (uint8_t)size, ir_i64(ir, 0), (int32_t)(i * 8), n.ref[v], snap);
        eval_store(want, i * 8, 1u << size, n.value[v]);
    }
    unsigned v = node_of(&n, IR_I64, s);
    ir_slot_write(ir, 5, n.ref[v]);
    want->slot[5] = n.value[v];
    ir_exit(ir, ir_snapshot(ir, 0x1000, 1));
    want->pc = 0x1000;
    want->retired = 1;
    ir_finish(ir);
}

static void test_expressions(void **state)
{
    (void)state;
    static struct eval_state start, want, got;
    struct error err = {0};
    uint64_t seed = number_from("GUISE_SEED", 1);
    uint64_t rounds = getenv("GUISE_SEED") ? 1 : rounds_get() * 4;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t s = seed + i;
        uint64_t group = (seed + i) / 64; /* making a state takes longer than a program */
        if (i == 0 || (seed + i) % 64 == 0)
            guest_state(&start, &group);
        make_expression(&s, &start, &want);
        for (unsigned pass = 0; pass < 2; pass++) {
            got = start;
            eval_run(ir, &got, 1);
            stage = pass ? "all passes" : "building";
            require(eval_same(&want, &got, 8), seed + i);
            require(ir_optimize(ir, NULL, true, &err) == 0, seed + i);
        }
    }
}

int main(void)
{
    ir = ir_new();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs),
                                       cmocka_unit_test(test_expressions)};
    int result = ir ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    ir_free(ir);
    return result;
}
