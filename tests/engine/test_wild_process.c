/*
 * Random programs in a hart of a process: every engine has to come to the same state at each exit.
 * GUISE_LONG=1 runs many more, and GUISE_WILD=N only program N.
 *
 * Memory is this test's own at a fixed place in the middle of much that may not be reached: random
 * code reaches memory by pointers that nothing else changes, so it cannot hit the test itself.
 */
#include "engine/engines.h"
#include "engine/interp/interp.h"
#include "host/fault.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/hart.h"
#include "isa/riscv64/ops.h"
#include "prog.h"
#include "rng.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BASE UINT64_C(0x2000000000)
#define GUARD (UINT64_C(1) << 31)
#define CODE BASE
#define CODE_SIZE (6 * RV_PAGE)
#define DATA (BASE + 0x10000)
#define DATA_SIZE (4 * RV_PAGE) /* the last page cannot be written */
#define EXITS 1500u             /* of a program */
#define STEP 3000u              /* instructions, if nothing else ends a run */

/* Registers that random code leaves alone: into data, at its end, into what is read only, code. */
enum { MIDDLE = 8, END = 9, CONSTANT = 18, TEXT = 19 };

struct wild {
    const struct engine_ops *engine;
    struct vcpu v;
    struct rv_hart h;
    struct clock clock;
    struct rng r; /* what the owner decides */
    uint64_t *log;
    unsigned exits;
};

static uint8_t *host(uint64_t va)
{
    return (uint8_t *)(uintptr_t)va;
}

/* ---- code ---- */

static bool reserved(unsigned reg)
{
    return reg == MIDDLE || reg == END || reg == CONSTANT || reg == TEXT;
}

static bool is_tame(const struct rv_insn *in)
{
    const struct rv_op_info *info = rv_op_info(in->op);
    if (info->rd_class == RV_CLASS_x && (reserved(in->rd) || reserved(in->rd | 1)))
        return false;
    return in->op != RV_OP_AMOCAS_Q;
}

#define KIND(ID) (UINT64_C(1) << RV_KIND_##ID)
#define KINDS_ALU (KIND(ALU_RR) | KIND(ALU_RI) | KIND(ALU_R) | KIND(LUI) | KIND(AUIPC))
#define KINDS_MEMORY (KIND(LOAD) | KIND(STORE) | KIND(FLOAD) | KIND(FSTORE))
#define KINDS_ATOMIC (KIND(AMO) | KIND(AMOCAS) | KIND(LR) | KIND(SC))

static uint32_t random_word(struct rng *r, uint64_t kinds, unsigned len, struct rv_insn *in)
{
    for (;;) {
        unsigned enc = 1 + rng_below(r, RV_ENC_COUNT - 1);
        const struct rv_op_info *info = rv_op_info(rv_enc_info(enc)->op);
        if (!(kinds >> info->kind & 1) || (len && rv_enc_info(enc)->len != len))
            continue;
        uint32_t word = rv_encode_random((uint16_t)enc, rng_next(r));
        if (rv_decode(word, RV_EXTS_DEFAULT, in) && is_tame(in))
            return word;
    }
}

static unsigned random_pointer(struct rng *r)
{
    return (const unsigned[]){MIDDLE, MIDDLE, MIDDLE, END, CONSTANT}[rng_below(r, 5)];
}

static uint32_t with_rs1(uint32_t word, unsigned reg)
{
    return (word & ~(31u << 15)) | reg << 15;
}

static uint32_t random_jump(struct rng *r)
{
    static const unsigned conditions[] = {0, 1, 4, 5, 6, 7};
    unsigned reg = 20 + rng_below(r, 12);
    switch (rng_below(r, 8)) {
    case 0:
        return asm_jal(rng_below(r, 2), (int32_t)rng_below(r, 1024) * 2 - 1024);
    case 1:
        return asm_jalr(1, TEXT, (int32_t)rng_below(r, 2000) * 2 - 2000);
    default:
        return asm_branch(conditions[rng_below(r, 6)], reg, 20 + rng_below(r, 12),
                          (int32_t)rng_below(r, 256) * 2 - 256);
    }
}

/* The floating-point state's own numbers, 1 to 3; mostly a valid rounding mode. */
static uint32_t random_csr(struct rng *r)
{
    uint32_t number = 1 + rng_below(r, 3);
    unsigned rd = 20 + rng_below(r, 8);
    if (number == 2 || rng_below(r, 2))
        return asm_i(0x73, 5, rd, rng_below(r, 16) ? rng_below(r, 5) : 5 + rng_below(r, 3), 2);
    return asm_i(0x73, 2, rd, 0, (int32_t)number);
}

static uint32_t random_insn(struct rng *r, unsigned *len)
{
    struct rv_insn in;
    uint32_t word, dice = rng_below(r, 100);
    *len = 4;
    if (dice < 55) {
        word = random_word(r, dice < 40 ? KINDS_ALU : KIND(FP), 0, &in);
        *len = in.len;
        return word;
    }
    if (dice < 80)
        return with_rs1(random_word(r, KINDS_MEMORY, 4, &in), random_pointer(r));
    if (dice < 84)
        return with_rs1(random_word(r, KINDS_ATOMIC, 4, &in), random_pointer(r));
    if (dice < 95)
        return random_jump(r);
    if (dice < 97)
        return random_csr(r);
    return (const uint32_t[]){ASM_ECALL, 0x00100073, 0, ASM_FENCE_I}[rng_below(r, 4)];
}

static void make_memory(struct rng *r)
{
    uint64_t at = CODE;
    mprotect(host(DATA), DATA_SIZE, PROT_READ | PROT_WRITE);
    memset(host(CODE), 0, CODE_SIZE); /* the loop may leave the last two bytes */
    while (at + 4 <= CODE + CODE_SIZE) {
        unsigned len;
        uint32_t word = random_insn(r, &len);
        memcpy(host(at), &word, len);
        at += len;
    }
    for (uint64_t i = 0; i < DATA_SIZE; i += 8)
        le64_put(host(DATA + i), rng_next(r) >> (rng_next(r) & 63));
    mprotect(host(DATA + DATA_SIZE - RV_PAGE), RV_PAGE, PROT_READ);
}

/* ---- a hart ---- */

static bool executable(void *ctx, uint64_t va)
{
    (void)ctx;
    return va - CODE < CODE_SIZE;
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void wild_pointers(struct wild *w)
{
    w->h.x[MIDDLE] = DATA + 4096 + rng_below(&w->r, 4096 - 16);
    if (rng_below(&w->r, 4))
        w->h.x[MIDDLE] = align_down(w->h.x[MIDDLE], 8);
    w->h.x[END] = DATA + DATA_SIZE - 8 * rng_below(&w->r, 100);
    w->h.x[CONSTANT] = DATA + DATA_SIZE - 2048;
    w->h.x[TEXT] = CODE + 2048 + 2 * rng_below(&w->r, (uint32_t)(CODE_SIZE - 4096) / 2);
}

static struct wild *wild_new(const struct engine_ops *engine, struct rng r, uint64_t *log)
{
    struct wild *w = aligned_alloc(64, align_up(sizeof *w, 64));
    struct error err;
    if (!w)
        abort();
    memset(w, 0, sizeof *w);
    w->engine = engine;
    w->r = r;
    w->log = log;
    clock_init(&w->clock, true);
    vcpu_init(&w->v, 0, NULL, &w->clock);
    w->v.arch = &w->h;
    w->v.engine = engine;
    w->h.exts = rv_exts_closure(RV_EXTS_DEFAULT);
    w->h.process = 1;
    w->h.env = (struct rv_hart_env){.time = no_time, .ctx = &w->v, .executable = executable};
    w->h.irq_lines = &w->v.irq_lines;
    rv_hart_reset(&w->h, CODE);
    w->h.priv = RV_PRIV_U;
    w->h.mstatus |= RV_MSTATUS_FS;
    rv_hart_view_changed(&w->h);
    for (unsigned i = 1; i < 32; i++) {
        w->h.x[i] = rng_next(&w->r) >> (rng_next(&w->r) & 63);
        w->h.f[i] = rng_next(&w->r);
    }
    wild_pointers(w);
    if (engine->attach(&w->v, &err)) {
        printf("%s\n", err.msg);
        abort();
    }
    return w;
}

static void wild_free(struct wild *w)
{
    w->engine->detach(&w->v);
    clock_fini(&w->clock);
    free(w);
}

static uint64_t hash(uint64_t h, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return h;
}

#define LOGGED 5u /* words of an exit */

/* What is compared: why and where, all registers, and now and then memory. */
static void wild_log(struct wild *w, enum vcpu_exit exit)
{
    uint64_t *l = &w->log[LOGGED * w->exits];
    bool trap = exit == VCPU_EXIT_TRAP;
    l[0] = w->h.pc;
    l[1] = (uint64_t)exit << 32 | (trap ? w->h.scause : 0);
    l[2] = trap ? w->h.stval : 0;
    l[3] = hash(0, w->h.x, 32 * 8);
    l[3] = hash(l[3], w->h.f, sizeof w->h.f);
    l[3] = hash(l[3], (uint8_t[]){w->h.fflags, w->h.frm}, 2);
    l[4] = w->exits % 50 ? 0 : hash(0, host(DATA), DATA_SIZE);
}

/* Goes on behind what has trapped, or somewhere else. */
static void wild_serve(struct wild *w, enum vcpu_exit exit)
{
    unsigned dice = rng_below(&w->r, 4);
    bool inside = executable(NULL, w->h.pc) && w->h.pc < CODE + CODE_SIZE - 4;
    if (dice && inside && exit == VCPU_EXIT_TRAP)
        w->h.pc += (*host(w->h.pc) & 3) == 3 ? 4 : 2;
    else if (!inside || (!dice && exit != VCPU_EXIT_KICK) || exit == VCPU_EXIT_LIMIT)
        w->h.pc = CODE + 2 * rng_below(&w->r, (uint32_t)CODE_SIZE / 2 - 8);
    if (dice == 1)
        wild_pointers(w);
    if (rng_below(&w->r, 8) == 0)
        w->h.frm = (uint8_t)rng_below(&w->r, 5);
}

/* Code changes where the owner tells it, as by mprotect or riscv_flush_icache. */
static void wild_change(struct wild *w)
{
    uint64_t at = CODE + 4 * rng_below(&w->r, (uint32_t)CODE_SIZE / 4);
    uint32_t word = random_insn(&w->r, &(unsigned){0});
    memcpy(host(at), &word, 4);
    w->engine->code_changed(&w->v, at, at + 4);
}

static void wild_run(struct wild *w)
{
    for (w->exits = 0; w->exits < EXITS; w->exits++) {
        enum vcpu_exit exit;
        uint64_t stop = w->h.icount + STEP;
        do
            exit = w->engine->run(&w->v, stop - w->h.icount);
        while (exit == VCPU_EXIT_KICK && !w->v.requests && w->h.icount < stop);
        wild_log(w, exit);
        if (vcpu_take_requests(&w->v))
            w->engine->code_changed(&w->v, 0, UINT64_MAX);
        wild_serve(w, exit);
        if (w->exits % 16 == 0)
            wild_change(w);
    }
}

/* ---- all engines ---- */

static bool one_program(uint64_t seed, const struct engine_ops *second)
{
    static uint64_t log[2][LOGGED * EXITS];
    const struct engine_ops *pair[2] = {&engine_interp, second};
    for (unsigned i = 0; i < 2; i++) {
        struct rng r = {seed};
        make_memory(&r);
        struct wild *w = wild_new(pair[i], r, log[i]);
        wild_run(w);
        wild_free(w);
    }
    for (unsigned i = 0; i < EXITS; i++) {
        const uint64_t *a = &log[0][LOGGED * i], *b = &log[1][LOGGED * i];
        if (!memcmp(a, b, LOGGED * sizeof *a))
            continue;
        printf("FAILED: %s and %s differ at exit %u\n", pair[0]->name, second->name, i);
        for (unsigned k = 0; k < LOGGED; k++)
            printf("  %016lx %016lx%s\n", (unsigned long)a[k], (unsigned long)b[k],
                   a[k] == b[k] ? "" : " <-");
        return false;
    }
    return true;
}

/* False: somebody has memory there, as a sanitizer does. */
static bool make_place(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *p = mmap(host(BASE - GUARD), 2 * GUARD, PROT_NONE, flags, -1, 0);
    if (p == MAP_FAILED && errno == EEXIST)
        return false;
    if (p != host(BASE - GUARD) || mprotect(host(CODE), CODE_SIZE, PROT_READ | PROT_WRITE))
        abort();
    return true;
}

int main(void)
{
    const char *env = getenv("GUISE_SEED"), *only = getenv("GUISE_WILD");
    uint64_t seed = env && *env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);
    unsigned programs = getenv("GUISE_LONG") ? 3000 : getenv("GUISE_SHORT") ? 4 : 12;
    struct error err;
    if (fault_init(&err))
        return 1;
    if (!make_place()) {
        printf("skipped: the program's memory is taken; it needs a build without the address "
               "sanitizer\n");
        return 77;
    }
    printf("seed %lu\n", (unsigned long)seed);
    for (unsigned i = 0; i < programs; i++) {
        struct rng r = rng_part(seed, i);
        uint64_t program = rng_next(&r);
        if (only && strtoul(only, NULL, 0) != i)
            continue;
        for (unsigned e = 0; engines_for_tests[e]; e++)
            if (!one_program(program, engines_for_tests[e])) {
                printf("again: GUISE_SEED=%lu GUISE_WILD=%u\n", (unsigned long)seed, i);
                return 1;
            }
    }
    printf("%u programs of %u exits\n", programs, EXITS);
    return 0;
}
