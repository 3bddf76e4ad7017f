/*
 * Intervals against a slow computation of liveness: from each use backward to the definition, over
 * random programs, position by position.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"
#include "ir/ir_live.h"

#define ROUNDS 600

static struct ir *ir;
static struct ir_live *live;
static struct guest program;
static bool *slow;     /* by position: whether the value at hand is live */
static bool *out_seen; /* by block */
static uint64_t seed;

static void require(bool ok, const char *what, ir_ref r)
{
    if (ok)
        return;
    fprintf(stderr, "seed %llu, v%u: %s\n", (unsigned long long)seed, r, what);
    ir_print(ir, stderr);
    fail();
}

static uint32_t defined_at(ir_ref r)
{
    return live->pos[r] + (ir->ins[r].op != IR_PHI);
}

/* Live from the block's beginning, or the definition, to `to`; goes on in predecessors. */
static void mark_back(ir_ref r, uint32_t b, uint32_t to)
{
    bool here = ir->ins[r].block == b && defined_at(r) < to;
    uint32_t from = here ? defined_at(r) : live->block_from[b];
    memset(slow + from, 1, to - from);
    if (here)
        return;
    for (uint32_t j = 0; j < ir->block[b].pred_count; j++) {
        uint32_t p = ir_preds(ir, b)[j];
        if (out_seen[p])
            continue;
        out_seen[p] = true;
        mark_back(r, p, live->block_to[p]);
    }
}

static void mark_phi_uses(ir_ref r, uint32_t b, ir_ref phi, unsigned *uses)
{
    for (uint32_t j = 0; j < ir->block[b].pred_count; j++) {
        uint32_t p = ir_preds(ir, b)[j];
        if (ir_phi_args(ir, phi)[j] != r)
            continue;
        (*uses)++;
        out_seen[p] = true;
        mark_back(r, p, live->block_to[p]);
    }
}

/* Marks where r is live; how many uses as operand or PHI argument it has. */
static unsigned mark(ir_ref r)
{
    unsigned uses = 0;
    memset(slow, 0, live->positions);
    memset(out_seen, 0, ir->block_count);
    slow[defined_at(r)] = true;
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        IR_EACH_INS(ir, b, user)
        {
            const struct ir_ins *ins = &ir->ins[user];
            if (ins->op == IR_PHI) {
                mark_phi_uses(r, b, user, &uses);
                continue;
            }
            for (unsigned k = 0; k < ir_argc(ins); k++) {
                uses += ins->arg[k] == r;
                if (ins->arg[k] == r)
                    mark_back(r, b, live->pos[user] + 1);
            }
            for (uint32_t k = 0; ins->snap && k < ir->snap[ins->snap].count; k++) {
                if (ir_snap_entries(ir, ins->snap)[k].value == r)
                    mark_back(r, b, live->pos[user] + 1 + (ins->op == IR_CALL));
            }
        }
    }
    return uses;
}

/* Nothing is live where a region is only entered, but for what nobody uses. */
static void unmark_entrances(unsigned uses)
{
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i], from = live->block_from[b];
        if (ir_is_entrance(ir, b) &&
            (uses || memchr(slow + live->block_to[0], true, live->positions - live->block_to[0])))
            memset(slow + from, 0, live->block_to[b] - from);
    }
}

static void check_ranges(ir_ref r, const struct ir_interval *interval)
{
    uint32_t at = 0;
    for (uint32_t k = 0; k < interval->range_count; k++) {
        struct ir_range range = live->range[interval->range_first + k];
        require(range.from < range.to && (k == 0 || range.from > at), "ranges not in order", r);
        for (; at < range.from; at++)
            require(!slow[at], "live in a hole", r);
        for (; at < range.to; at++)
            require(slow[at], "not live in a range", r);
    }
    for (; at < live->positions; at++)
        require(!slow[at], "live after its end", r);
    require(interval->from == live->range[interval->range_first].from, "from", r);
    require(interval->to == live->range[interval->range_first + interval->range_count - 1].to, "to",
            r);
}

static void check_uses(ir_ref r, const struct ir_interval *interval, unsigned uses)
{
    uint32_t last = 0;
    for (uint32_t k = 0; k < interval->use_count; k++) {
        const struct ir_use *use = &live->use[interval->use_first + k];
        require(use->pos >= last && slow[use->pos], "use out of order or where it is not live", r);
        last = use->pos;
        if (use->kind == IR_USE_LOOP)
            continue;
        uses--;
        if (use->kind == IR_USE_ARG)
            require(live->pos[use->user] == use->pos && live->at[use->pos / 2] == use->user &&
                        ir->ins[use->user].arg[use->operand] == r,
                    "use of another value", r);
        else
            require(ir->ins[use->user].op == IR_PHI, "not a PHI", r);
    }
    require(uses == 0 && interval->last_use == last, "number of uses", r);
}

/* A value wanted by an operand at a loop's head has a use at each of its back edges. */
static void check_loop_uses(uint32_t b, uint32_t head)
{
    IR_EACH_INS(ir, head, r)
    {
        for (unsigned k = 0; k < ir_argc(&ir->ins[r]); k++) {
            ir_ref a = ir->ins[r].arg[k];
            if (ir_is_leaf(ir, a) || ir->ins[a].block == head)
                continue;
            const struct ir_interval *interval = &live->interval[live->interval_of[a]];
            bool found = false;
            for (uint32_t u = 0; u < interval->use_count; u++) {
                const struct ir_use *use = &live->use[interval->use_first + u];
                found |= use->kind == IR_USE_LOOP && use->pos == live->block_to[b] - 1;
            }
            require(found, "no use at a back edge", a);
        }
    }
}

static void check_program(void)
{
    require(ir_live_build(live, ir), "not built", 0);
    slow = calloc(live->positions + 2, sizeof *slow);
    out_seen = calloc(ir->block_count, sizeof *out_seen);
    for (uint32_t i = 0; i < ir->order_count; i++) {
        uint32_t b = ir->order[i];
        for (uint32_t s = 0; s < ir->block[b].succ_count; s++) {
            if (ir->block[ir->block[b].succ[s]].order <= i)
                check_loop_uses(b, ir->block[b].succ[s]);
        }
        IR_EACH_INS(ir, b, r)
        {
            if (ir->ins[r].type == IR_VOID || ir_is_leaf(ir, r)) {
                require(live->interval_of[r] == UINT32_MAX, "has an interval", r);
                continue;
            }
            const struct ir_interval *interval = &live->interval[live->interval_of[r]];
            require(interval->value == r, "interval of another value", r);
            unsigned uses = mark(r);
            unmark_entrances(uses);
            check_ranges(r, interval);
            check_uses(r, interval, uses);
            require(ir_live_in(live, b, r) == false || ir->block[b].loop_head, "live in", r);
        }
    }
    for (uint32_t i = 1; i < live->interval_count; i++)
        require(live->pos[live->interval[i - 1].value] <= live->pos[live->interval[i].value],
                "order", live->interval[i].value);
    free(slow);
    free(out_seen);
}

static void test_programs(void **state)
{
    (void)state;
    struct error err;
    const char *text = getenv("GUISE_SEED");
    uint64_t first = text ? strtoull(text, NULL, 0) : 1, rounds = text ? 1 : ROUNDS;
    printf("seeds %llu to %llu\n", (unsigned long long)first,
           (unsigned long long)(first + rounds - 1));
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t s = seed = first + i;
        guest_make(&program, &s);
        guest_build(&program, ir);
        check_program();
        require(ir_optimize(ir, NULL, false, &err) == 0, "optimize", 0);
        check_program();
    }
}

/* The largest regions take bounded time: a loop of IR_MAX_INS, and as many blocks as there can be.
 */
static void test_large(void **state)
{
    (void)state;
    static const uint8_t types[2] = {IR_I64, IR_I64};
    ir_reset(ir, 2, types);
    uint32_t block[IR_MAX_BLOCKS];
    for (unsigned i = 1; i < IR_MAX_BLOCKS; i++)
        block[i] = ir_block_new(ir, i);
    ir_jump(ir, block[1]);
    for (unsigned i = 1; i < IR_MAX_BLOCKS; i++) {
        ir_block_begin(ir, block[i]);
        ir_tick(ir, 1, ir_snapshot(ir, i, 0));
        for (unsigned k = 0; k < 2; k++) {
            ir_ref x = ir_op2(ir, IR_MUL, ir_slot_read(ir, 0), ir_slot_read(ir, 1));
            ir_slot_write(ir, k % 2, ir_op2(ir, IR_XOR, x, ir_i64(ir, i * 2 + k)));
        }
        if (i == IR_MAX_BLOCKS - 1)
            ir_exit(ir, ir_snapshot(ir, i, 0));
        else /* a nest of loops, as deep as there are blocks */
            ir_branch(ir, ir_op2(ir, IR_LTU, ir_slot_read(ir, 0), ir_slot_read(ir, 1)),
                      block[i + 1], block[(IR_MAX_BLOCKS - i) / 2 + 1], 0);
    }
    for (unsigned i = 1; i < IR_MAX_BLOCKS; i++)
        ir_block_seal(ir, block[i]);
    struct error err = {0};
    assert_true(ir_finish(ir));
    if (ir_optimize(ir, NULL, true, &err) < 0)
        fail_msg("%s", err.msg);
    ir_live_build(live, ir); /* may be too entangled */
}

int main(void)
{
    ir = ir_new();
    live = ir_live_new();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_large),
    };
    int result = ir && live ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    ir_live_free(live);
    ir_free(ir);
    return result;
}
