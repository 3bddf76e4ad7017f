/*
 * Lockstep: two machines that differ in their engine run side by side, in deterministic time, until
 * they end or the first instruction is found after which they are no longer equal.
 *
 * Registers and CSRs of all harts are compared after every slice (slice.c), memory and devices
 * every `stride` slices. There both are saved, so that they can be set back: a difference is then
 * found by halving, first the slices since the last point at which all was equal, then the
 * instructions of that slice. A position within a slice counts the instructions of one hart after
 * those of the hart before, as they run.
 *
 * What an engine has translated is not set back, and often a mistake needs it: then it may not show
 * again, and is reported as found.
 *
 * The caller's thread does everything; the machines' event loops do not run.
 */
#include "vmm/vm_internal.h"

#include "base/bits.h"
#include "isa/riscv64/compare.h"
#include "isa/riscv64/disasm.h"
#include "isa/riscv64/mmu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_STRIDE 4096
#define FLUSH_MS 1000

/* Why a side goes no further. */
enum side_end { SIDE_RUNS, SIDE_ENDED, SIDE_IDLE };

struct side {
    struct vm *vm;
    struct slice slice;
    uint64_t slices; /* that are over */
    enum side_end end;
};

/* A position: whole slices, and instructions of the one after them. */
struct position {
    uint64_t slices, insns;
};

/* What both were when they were last found equal. */
struct point {
    struct state_out state[2], memory;
    uint64_t slices;
};

struct lockstep {
    struct side side[2];
    struct point point;
    char what[200]; /* the difference found last */
    FILE *out;
};

static struct rv_hart *hart_of(const struct side *s, unsigned hart)
{
    return s->vm->machine->vcpus[hart].arch;
}

static unsigned hart_count(const struct lockstep *l)
{
    return l->side[0].vm->machine->vcpu_count;
}

static const char *engine_name(const struct side *s)
{
    return s->vm->engine->name;
}

/* ---- running ---- */

static void side_begin(struct side *s)
{
    if (!s->slice.open)
        vm_slice_begin(s->vm, &s->slice);
}

/* A reset is done here as the loop's thread would; every other event ends the run. */
static int side_event(struct side *s, struct error *err)
{
    struct vm *vm = s->vm;
    int rc = 0;
    if (vm->reset_pending && !vm->ended) {
        vm->reset_pending = false;
        rc = vm->machine->ops->reset(vm->machine, err);
    }
    if (vm->ended)
        s->end = SIDE_ENDED;
    atomic_store(&vm->state, RUN_RUNNING);
    return rc;
}

/* To the end of the slice. */
static int side_slice(struct side *s, struct error *err)
{
    struct vm *vm = s->vm;
    side_begin(s);
    vm_slice_run(vm, &s->slice, vm->machine->vcpu_count, 0);
    if (!vm_slice_finish(vm, &s->slice))
        s->end = SIDE_IDLE;
    s->slices++;
    uint64_t run_for = vm->config.run_for;
    if (run_for && clock_ns(&vm->machine->clock) >= run_for)
        vm_end(vm, VM_END_LIMIT, 0);
    return side_event(s, err);
}

static int side_run(struct side *s, struct position to, struct error *err)
{
    while (s->slices < to.slices && s->end == SIDE_RUNS) {
        int rc = side_slice(s, err);
        if (rc)
            return rc;
    }
    if (!to.insns || s->end != SIDE_RUNS)
        return 0;
    side_begin(s);
    vm_slice_run(s->vm, &s->slice, (unsigned)(to.insns / s->slice.length),
                 to.insns % s->slice.length);
    return 0;
}

static int both_run(struct lockstep *l, struct position to, struct error *err)
{
    int rc = side_run(&l->side[0], to, err);
    return rc ? rc : side_run(&l->side[1], to, err);
}

/* ---- comparing ---- */

static bool ends_equal(struct lockstep *l)
{
    const struct side *a = &l->side[0], *b = &l->side[1];
    const struct vm_result *ra = &a->vm->result, *rb = &b->vm->result;
    if (a->end == b->end && (a->end != SIDE_ENDED || (ra->end == rb->end && ra->code == rb->code)))
        return true;
    snprintf(l->what, sizeof l->what, "one machine has ended, or both in different ways");
    return false;
}

static bool harts_equal(struct lockstep *l)
{
    char what[128];
    for (unsigned i = 0; i < hart_count(l); i++) {
        if (rv_hart_equal(hart_of(&l->side[0], i), hart_of(&l->side[1], i), what, sizeof what))
            continue;
        snprintf(l->what, sizeof l->what, "hart %u, %s", i, what);
        return false;
    }
    return true;
}

static bool memory_equal(struct lockstep *l)
{
    const struct addrspace *mem[2] = {l->side[0].vm->machine->mem, l->side[1].vm->machine->mem};
    gpa_t at;
    uint8_t byte[2] = {0, 0};
    if (addrspace_equal(mem[0], mem[1], &at))
        return true;
    for (unsigned i = 0; i < 2; i++)
        addrspace_copy_out(mem[i], at, &byte[i], 1);
    snprintf(l->what, sizeof l->what, "memory at 0x%" PRIx64 ": 0x%02x != 0x%02x", at, byte[0],
             byte[1]);
    return false;
}

static bool devices_equal(struct lockstep *l)
{
    const struct machine *a = l->side[0].vm->machine, *b = l->side[1].vm->machine;
    for (unsigned i = 0; i < a->device_count; i++) {
        struct device *da = a->devices[i], *db = b->devices[i];
        char what[128];
        if (device_hash(da, 0) == device_hash(db, 0) ||
            state_equal(da->ops->state, da, db, what, sizeof what))
            continue;
        snprintf(l->what, sizeof l->what, "device %s, %s", da->id, what);
        return false;
    }
    return true;
}

static bool clocks_equal(struct lockstep *l)
{
    uint64_t a = clock_ns(&l->side[0].vm->machine->clock);
    uint64_t b = clock_ns(&l->side[1].vm->machine->clock);
    if (a == b)
        return true;
    snprintf(l->what, sizeof l->what, "guest time: %" PRIu64 " != %" PRIu64 " ns", a, b);
    return false;
}

static bool all_equal(struct lockstep *l)
{
    return ends_equal(l) && clocks_equal(l) && harts_equal(l) && devices_equal(l) &&
           memory_equal(l);
}

/* ---- setting back ---- */

static int point_take(struct lockstep *l, struct error *err)
{
    struct point *p = &l->point;
    bool failed = false;
    for (unsigned i = 0; i < 2; i++) {
        p->state[i].len = 0;
        vm_state_save(l->side[i].vm, &p->state[i]);
        failed |= p->state[i].failed;
    }
    p->memory.len = 0;
    addrspace_save(l->side[0].vm->machine->mem, &p->memory);
    p->slices = l->side[0].slices;
    return failed || p->memory.failed ? error_set(err, ENOMEM, "out of memory for lockstep") : 0;
}

static int point_go_back(struct lockstep *l, struct error *err)
{
    const struct point *p = &l->point;
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = &l->side[i];
        struct state_in state = {p->state[i].data, p->state[i].len, 0};
        struct state_in memory = {p->memory.data, p->memory.len, 0};
        int rc = vm_state_load(s->vm, &state, err);
        if (!rc)
            rc = vm_memory_load(s->vm, &memory, err);
        if (rc)
            return rc;
        s->slices = p->slices;
        s->slice.open = false;
        s->end = SIDE_RUNS;
        s->vm->ended = s->vm->power_pending = s->vm->reset_pending = false;
    }
    return 0;
}

static void point_free(struct point *p)
{
    state_out_free(&p->state[0]);
    state_out_free(&p->state[1]);
    state_out_free(&p->memory);
}

/* ---- finding ---- */

/* From the last point on to the position; *equal says whether they are there. */
static int probe(struct lockstep *l, struct position to, bool *equal, struct error *err)
{
    int rc = point_go_back(l, err);
    if (!rc)
        rc = both_run(l, to, err);
    *equal = !rc && all_equal(l);
    return rc;
}

/*
 * The last number of slices (whole) or of instructions of the slice after the point at which they
 * are equal, between `equal` and `different`.
 */
static int halve(struct lockstep *l, bool whole, uint64_t *equal, uint64_t different,
                 struct error *err)
{
    while (different - *equal > 1) {
        uint64_t middle = *equal + (different - *equal) / 2;
        struct position to = {whole ? middle : l->point.slices, whole ? 0 : middle};
        bool same;
        int rc = probe(l, to, &same, err);
        if (rc)
            return rc;
        if (same)
            *equal = middle;
        else
            different = middle;
    }
    return 0;
}

/* ---- telling ---- */

static void tell_value(void *ctx, const char *name, uint64_t va, uint64_t vb)
{
    const struct lockstep *l = ctx;
    fprintf(l->out, "  %-16s %016" PRIx64 "  %016" PRIx64 "\n", name, va, vb);
}

static void tell_differences(struct lockstep *l)
{
    fprintf(l->out, "  %-16s %-16s  %s\n", "", engine_name(&l->side[0]), engine_name(&l->side[1]));
    for (unsigned i = 0; i < hart_count(l); i++) {
        char what[64];
        const struct rv_hart *a = hart_of(&l->side[0], i), *b = hart_of(&l->side[1], i);
        if (rv_hart_equal(a, b, what, sizeof what))
            continue;
        fprintf(l->out, "  hart %u\n", i);
        rv_hart_differences(a, b, tell_value, l);
    }
    if (!memory_equal(l) || !devices_equal(l) || !ends_equal(l))
        fprintf(l->out, "  %s\n", l->what);
}

/* The instruction that the hart executes next, both sides being equal. */
static void tell_instruction(struct lockstep *l, unsigned hart)
{
    struct rv_hart *h = hart_of(&l->side[0], hart);
    struct addrspace *mem = l->side[0].vm->machine->mem;
    uint8_t bytes[4] = {0};
    for (unsigned i = 0; i < 4; i += 2) {
        uint64_t gpa;
        if (!rv_translate_debug(h, h->pc + i, &gpa) ||
            !addrspace_copy_out(mem, gpa, bytes + i, 2)) {
            fprintf(l->out, "  pc %016" PRIx64 ", where no memory is\n", h->pc);
            return;
        }
        if ((bytes[0] & 3) != 3)
            break;
    }
    char text[80];
    rv_disasm(le32_get(bytes), h->pc, h->exts, text, sizeof text);
    fprintf(l->out, "  pc %016" PRIx64 ", privilege %u: %s\n", h->pc, h->priv, text);
}

static int tell_first(struct lockstep *l, uint64_t equal, uint64_t length, struct error *err)
{
    struct position to = {l->point.slices, equal};
    unsigned hart = (unsigned)(equal / length);
    bool same;
    int rc = probe(l, to, &same, err);
    if (rc)
        return rc;
    if (hart == hart_count(l)) {
        fprintf(l->out, "they differ by what happens at the end of a slice of time\n");
        to = (struct position){l->point.slices + 1, 0};
    } else {
        fprintf(l->out,
                "they differ after instruction %" PRIu64 " of hart %u, in guest time %" PRIu64
                " ns:\n",
                hart_of(&l->side[0], hart)->icount, hart,
                clock_ns(&l->side[0].vm->machine->clock) + equal % length);
        tell_instruction(l, hart);
        to.insns++;
    }
    rc = probe(l, to, &same, err);
    if (!rc)
        tell_differences(l);
    return rc;
}

static void tell_unrepeated(struct lockstep *l, uint64_t from, uint64_t until, const char *what)
{
    fprintf(l->out,
            "they differ between slices %" PRIu64 " and %" PRIu64 ", but not when that is "
            "repeated, so it depends on what was translated before:\n  %s\n",
            from, until, what);
}

/* Equal at the last point, different now: finds where, and tells. */
static int find_first(struct lockstep *l, struct error *err)
{
    char what[sizeof l->what];
    uint64_t equal = l->point.slices, until = l->side[0].slices;
    memcpy(what, l->what, sizeof what);
    for (unsigned i = 0; i < 2; i++)
        chr_set_discard(l->side[i].vm->console);
    fprintf(l->out, "guise: lockstep of %s and %s: ", engine_name(&l->side[0]),
            engine_name(&l->side[1]));
    bool same;
    int rc = probe(l, (struct position){until, 0}, &same, err);
    if (!rc && same) {
        tell_unrepeated(l, equal, until, what);
        return 0;
    }
    if (!rc)
        rc = halve(l, true, &equal, until, err);
    if (!rc)
        rc = probe(l, (struct position){equal, 0}, &same, err);
    if (!rc && !same) {
        tell_unrepeated(l, l->point.slices, until, what);
        return 0;
    }
    if (!rc)
        rc = point_take(l, err);
    if (rc)
        return rc;
    side_begin(&l->side[0]);
    uint64_t length = l->side[0].slice.length, insns = 0;
    rc = halve(l, false, &insns, length * hart_count(l) + 1, err);
    return rc ? rc : tell_first(l, insns, length, err);
}

/* ---- the run ---- */

static int check_pair(const struct vm *a, const struct vm *b, struct error *err)
{
    const struct vm *both[2] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        const struct vm_config *c = &both[i]->config;
        if (!c->deterministic || c->gdb)
            return error_set(err, EINVAL, "lockstep is deterministic and takes no debugger");
    }
    return 0;
}

/* One slice on both sides; *equal is whether what was compared is. */
static int lockstep_slice(struct lockstep *l, uint64_t stride, bool *equal, struct error *err)
{
    struct position to = {l->side[0].slices + 1, 0};
    int rc = both_run(l, to, err);
    if (rc)
        return rc;
    *equal = ends_equal(l) && clocks_equal(l) && harts_equal(l);
    bool due = to.slices - l->point.slices >= stride || l->side[0].end != SIDE_RUNS;
    if (!*equal || !due)
        return 0;
    chr_flush(l->side[0].vm->console, FLUSH_MS);
    *equal = all_equal(l);
    return *equal ? point_take(l, err) : 0;
}

int vm_lockstep_run(struct vm *first, struct vm *second, struct vm_lockstep *config, FILE *out,
                    struct error *err)
{
    struct lockstep l = {.side = {{.vm = first}, {.vm = second}}, .out = out};
    uint64_t stride = config->stride ? config->stride : DEFAULT_STRIDE;
    bool equal = true;
    int rc = check_pair(first, second, err);
    for (unsigned i = 0; !rc && i < 2; i++) {
        vm_wait_for_output(l.side[i].vm, true);
        atomic_store(&l.side[i].vm->state, RUN_RUNNING);
        vm_slices_start(l.side[i].vm);
    }
    if (!rc)
        rc = point_take(&l, err);
    while (!rc && equal && l.side[0].end == SIDE_RUNS)
        rc = lockstep_slice(&l, stride, &equal, err);
    if (!rc && !equal)
        rc = find_first(&l, err);
    else if (!rc && l.side[0].end == SIDE_IDLE)
        fprintf(out, "guise: lockstep: the guest waits for input, which there is none of\n");
    config->different = !equal;
    config->result =
        l.side[0].end == SIDE_ENDED ? first->result : (struct vm_result){.end = VM_END_QUIT};
    point_free(&l.point);
    return rc;
}
