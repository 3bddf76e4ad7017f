/*
 * Where an engine is stopped must not matter: random programs end in the same state, translation
 * caches included, when they are run at a stretch, by single steps, in random pieces, and kicked
 * by another thread. And lockstep.h must find an instruction that an engine gets wrong.
 */
#include "base/bits.h"
#include "box.h"
#include "engine/engines.h"
#include "gen.h"
#include "lockstep.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INSNS 60000
#define CHECK(condition, ...)                         \
    do {                                              \
        if (!(condition)) {                           \
            printf("FAILED: " __VA_ARGS__);           \
            printf(" (%s:%d)\n", __FILE__, __LINE__); \
            return false;                             \
        }                                             \
    } while (0)

/* ---- stopping ---- */

struct kicker {
    struct box *box;
    _Atomic bool stop;
    uint64_t seed;
    unsigned long kicks;
};

static void *kicker_thread(void *arg)
{
    struct kicker *k = arg;
    struct rng r = {k->seed};
    while (!atomic_load(&k->stop)) {
        vcpu_kick(&k->box->vcpu);
        k->kicks++;
        struct timespec pause = {0, rng_below(&r, 20000)};
        if (rng_below(&r, 2))
            nanosleep(&pause, NULL);
    }
    return NULL;
}

static enum box_end run_kicked(struct box *b, struct rng *r)
{
    struct kicker k = {.box = b, .seed = rng_next(r)};
    pthread_t thread;
    if (pthread_create(&thread, NULL, kicker_thread, &k))
        abort();
    enum box_end end = BOX_RUNS;
    while (end == BOX_RUNS)
        end = box_step(b, UINT64_MAX);
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    return end;
}

static enum box_end run_pieces(struct box *b, struct rng *r, uint32_t largest)
{
    enum box_end end = BOX_RUNS;
    while (end == BOX_RUNS)
        end = box_step(b, 1 + rng_below(r, largest));
    return end;
}

static bool same_everywhere(const struct engine_ops *engine, const struct prog *p, struct rng *r)
{
    static const char *const names[] = {"single steps", "pieces", "long pieces", "kicks"};
    struct box *whole = box_new(engine, p);
    CHECK(box_run(whole, UINT64_MAX) == BOX_EXITED, "it does not end: cause %lu",
          (unsigned long)whole->hart.mcause);
    for (unsigned way = 0; way < 4; way++) {
        char what[160] = "";
        struct box *b = box_new(engine, p);
        enum box_end end = way == 3 ? run_kicked(b, r)
                                    : run_pieces(b, r,
                                                 way == 0   ? 1
                                                 : way == 1 ? 20
                                                            : 5000);
        bool same =
            end == BOX_EXITED && lockstep_equal(&whole->vcpu, &b->vcpu, true, what, sizeof what);
        CHECK(same, "run by %s it ends otherwise: %s", names[way], what);
        box_free(b);
    }
    box_free(whole);
    return true;
}

/* ---- lockstep ---- */

#define FAULT_AT 1234
#define STRIDE 997

static uint64_t fault_icount(const struct vcpu *v)
{
    return *engines_for_tests[0]->icount(v);
}

/* The first engine, but for what `spoil` does behind the instruction FAULT_AT. */
static enum vcpu_exit fault_run(struct vcpu *v, uint64_t max_insns, void (*spoil)(struct vcpu *v))
{
    uint64_t at = fault_icount(v);
    if (at >= FAULT_AT || max_insns < FAULT_AT - at)
        return engines_for_tests[0]->run(v, max_insns);
    enum vcpu_exit exit = engines_for_tests[0]->run(v, FAULT_AT - at);
    if (exit != VCPU_EXIT_LIMIT)
        return exit;
    spoil(v);
    uint64_t left = max_insns - (FAULT_AT - at);
    return left ? engines_for_tests[0]->run(v, left) : exit;
}

/* Something that the program does not repair before the next comparison. */
static void spoil_mscratch(struct vcpu *v)
{
    ((struct rv_hart *)v->arch)->mscratch ^= 1;
}

static void spoil_f17(struct vcpu *v)
{
    ((struct rv_hart *)v->arch)->f[17] ^= 1;
}

static void spoil_memory(struct vcpu *v)
{
    *(uint8_t *)addrspace_ram(v->mem, PROG_DATA + 8, 1) ^= 1;
}

static enum vcpu_exit fault_run_mscratch(struct vcpu *v, uint64_t max_insns)
{
    return fault_run(v, max_insns, spoil_mscratch);
}

static enum vcpu_exit fault_run_f17(struct vcpu *v, uint64_t max_insns)
{
    return fault_run(v, max_insns, spoil_f17);
}

static enum vcpu_exit fault_run_memory(struct vcpu *v, uint64_t max_insns)
{
    return fault_run(v, max_insns, spoil_memory);
}

static bool service(void *ctx, struct vcpu *v, enum vcpu_exit exit)
{
    struct box **boxes = ctx;
    return box_service(boxes[v == &boxes[1]->vcpu], exit) == BOX_RUNS;
}

static enum lockstep_end both(const struct engine_ops *first, const struct engine_ops *second,
                              const struct prog *p, uint64_t stride, uint64_t max_insns,
                              struct lockstep_result *r)
{
    struct box *boxes[2] = {box_new(first, p), box_new(second, p)};
    struct lockstep l = {{&boxes[0]->vcpu, &boxes[1]->vcpu}, stride, service, boxes};
    enum lockstep_end end = lockstep_run(&l, max_insns, r);
    box_free(boxes[0]);
    box_free(boxes[1]);
    return end;
}

static bool finds_faults(const struct prog *p)
{
    static const struct {
        enum vcpu_exit (*run)(struct vcpu *v, uint64_t max_insns);
        uint64_t stride;
        const char *what;
    } faults[] = {
        {fault_run_mscratch, STRIDE, "mscratch"},
        {fault_run_memory, STRIDE, "memory at 800008"},
        {fault_run_f17, 1, "f[17]"},
    };
    struct lockstep_result r;
    struct engine_ops faulty = *engines_for_tests[0];
    CHECK(both(engines_for_tests[0], &faulty, p, STRIDE, UINT64_MAX / 2, &r) == LOCKSTEP_ENDED,
          "equal engines differ: %s", r.what);
    CHECK(r.insns > FAULT_AT, "too short a program: %lu", (unsigned long)r.insns);
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        faulty.run = faults[i].run;
        enum lockstep_end end =
            both(engines_for_tests[0], &faulty, p, faults[i].stride, FAULT_AT - 1, &r);
        CHECK(end == LOCKSTEP_LIMIT && r.insns == FAULT_AT - 1, "fault %u found too early", i);
        end = both(engines_for_tests[0], &faulty, p, faults[i].stride, UINT64_MAX / 2, &r);
        CHECK(end == LOCKSTEP_DIFFERENT, "fault %u was not found", i);
        CHECK(r.insns == FAULT_AT - 1, "fault %u found after %lu", i, (unsigned long)r.insns);
        CHECK(strstr(r.what, faults[i].what), "fault %u is something else: %s", i, r.what);
    }
    return true;
}

/* All engines against the first. */
static bool engines_agree(const struct prog *p)
{
    struct lockstep_result r;
    for (unsigned i = 1; engines_for_tests[i]; i++)
        CHECK(both(engines_for_tests[0], engines_for_tests[i], p, STRIDE, UINT64_MAX / 2, &r) ==
                  LOCKSTEP_ENDED,
              "engine %s differs after %lu instructions at %lx: %s", engines_for_tests[i]->name,
              (unsigned long)r.insns, (unsigned long)r.pc, r.what);
    return true;
}

int main(void)
{
    const char *env = getenv("GUISE_SEED");
    uint64_t seed = env && *env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);
    unsigned programs = getenv("GUISE_LONG") ? 100 : getenv("GUISE_SHORT") ? 3 : 6;
    printf("seed %lu\n", (unsigned long)seed);
    for (unsigned i = 0; i < programs; i++) {
        struct rng r = rng_part(seed, i);
        struct prog p;
        gen_program(&p, &r, (enum gen_kind[]){GEN_BRANCH, GEN_MODIFY, GEN_LINE}[i % 3], INSNS);
        bool ok = i || finds_faults(&p);
        for (unsigned e = 0; ok && engines_for_tests[e]; e++)
            ok = same_everywhere(engines_for_tests[e], &p, &r);
        ok = ok && engines_agree(&p);
        prog_fini(&p);
        if (!ok) {
            printf("program %u; again: GUISE_SEED=%lu\n", i, (unsigned long)seed);
            return 1;
        }
    }
    return 0;
}
