#include "lockstep.h"

#include "base/bits.h"
#include "isa/riscv64/compare.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- comparison ---- */

static bool memory_equal(const struct vcpu *a, const struct vcpu *b, char *buf, size_t size)
{
    gpa_t base, other;
    uint64_t len, other_len;
    for (unsigned i = 0; addrspace_ram_region(a->mem, i, &base, &len); i++) {
        if (!addrspace_ram_region(b->mem, i, &other, &other_len) || other != base ||
            other_len != len) {
            snprintf(buf, size, "RAM region %u lies elsewhere", i);
            return false;
        }
        const uint8_t *p = addrspace_ram(a->mem, base, len), *q = addrspace_ram(b->mem, base, len);
        if (!memcmp(p, q, len))
            continue;
        uint64_t at = 0;
        while (p[at] == q[at])
            at++;
        snprintf(buf, size, "memory at %lx: %02x != %02x", (unsigned long)(base + at), p[at],
                 q[at]);
        return false;
    }
    return true;
}

bool lockstep_equal(const struct vcpu *a, const struct vcpu *b, bool everything, char *buf,
                    size_t size)
{
    bool equal = everything ? state_equal(&rv_hart_state, a->arch, b->arch, buf, size)
                            : rv_hart_equal(a->arch, b->arch, buf, size);
    return equal && memory_equal(a, b, buf, size);
}

/* ---- setting back ---- */

/* What both were when they were last equal. */
struct point {
    struct state_out hart[2], memory;
    uint64_t icount;
};

static uint64_t icount_of(const struct vcpu *v)
{
    return *v->engine->icount(v);
}

static void point_take(struct point *p, const struct lockstep *l)
{
    for (unsigned side = 0; side < 2; side++) {
        p->hart[side].len = 0;
        state_save(&p->hart[side], &rv_hart_state, l->vcpu[side]->arch);
    }
    p->memory.len = 0;
    gpa_t base;
    uint64_t len;
    for (unsigned i = 0; addrspace_ram_region(l->vcpu[0]->mem, i, &base, &len); i++)
        state_save_bytes(&p->memory, "ram", addrspace_ram(l->vcpu[0]->mem, base, len), len);
    p->icount = icount_of(l->vcpu[0]);
    if (p->hart[0].failed || p->hart[1].failed || p->memory.failed)
        abort();
}

static void point_go_back(const struct point *p, const struct lockstep *l)
{
    for (unsigned side = 0; side < 2; side++) {
        struct vcpu *v = l->vcpu[side];
        struct state_in hart = {p->hart[side].data, p->hart[side].len, 0};
        struct state_in memory = {p->memory.data, p->memory.len, 0};
        struct error err = {0};
        const uint8_t *data;
        gpa_t base;
        uint64_t len;
        size_t saved;
        for (unsigned i = 0; addrspace_ram_region(v->mem, i, &base, &len); i++)
            if (state_load_bytes(&memory, "ram", &data, &saved, &err) ||
                !addrspace_copy_in(v->mem, base, data, len))
                abort();
        if (state_load(&hart, &rv_hart_state, v->arch, &err) || v->engine->loaded(v, &err)) {
            printf("lockstep: %s\n", err.msg);
            abort();
        }
    }
}

static void point_free(struct point *p)
{
    state_out_free(&p->hart[0]);
    state_out_free(&p->hart[1]);
    state_out_free(&p->memory);
}

/* ---- running ---- */

/* To the instruction count; false when the program ended before. */
static bool side_run(const struct lockstep *l, struct vcpu *v, uint64_t target)
{
    while (icount_of(v) < target) {
        enum vcpu_exit exit = v->engine->run(v, target - icount_of(v));
        if (exit != VCPU_EXIT_LIMIT && exit != VCPU_EXIT_KICK && !l->service(l->ctx, v, exit))
            return false;
    }
    return true;
}

/* Both, to the instruction count; whether they are equal there. */
static bool both_run(const struct lockstep *l, uint64_t target, bool *ended, char *what,
                     size_t size)
{
    bool runs[2];
    for (unsigned side = 0; side < 2; side++)
        runs[side] = side_run(l, l->vcpu[side], target);
    *ended = !runs[0];
    if (runs[0] != runs[1]) {
        snprintf(what, size, "the %s program has ended, the other not",
                 runs[0] ? "second" : "first");
        return false;
    }
    return lockstep_equal(l->vcpu[0], l->vcpu[1], false, what, size);
}

/* They were equal at p and differ after `len` instructions. */
static void find_first(const struct lockstep *l, const struct point *p, uint64_t len,
                       struct lockstep_result *r)
{
    uint64_t equal = 0, different = len;
    bool ended;
    while (different - equal > 1) {
        uint64_t middle = equal + (different - equal) / 2;
        point_go_back(p, l);
        if (both_run(l, p->icount + middle, &ended, r->what, sizeof r->what))
            equal = middle;
        else
            different = middle;
    }
    point_go_back(p, l);
    both_run(l, p->icount + equal, &ended, r->what, sizeof r->what);
    r->insns = p->icount + equal;
    r->pc = ((const struct rv_hart *)l->vcpu[0]->arch)->pc;
    point_go_back(p, l);
    both_run(l, p->icount + different, &ended, r->what, sizeof r->what);
}

enum lockstep_end lockstep_run(struct lockstep *l, uint64_t max_insns, struct lockstep_result *r)
{
    struct point point = {0};
    uint64_t start = icount_of(l->vcpu[0]), end = start + max_insns;
    enum lockstep_end result = LOCKSTEP_LIMIT;
    bool ended = false;
    *r = (struct lockstep_result){0};
    while (icount_of(l->vcpu[0]) < end && !ended) {
        point_take(&point, l);
        uint64_t len = end - point.icount < l->stride ? end - point.icount : l->stride;
        if (!both_run(l, point.icount + len, &ended, r->what, sizeof r->what)) {
            find_first(l, &point, len, r);
            result = LOCKSTEP_DIFFERENT;
            break;
        }
    }
    if (result != LOCKSTEP_DIFFERENT)
        r->insns = icount_of(l->vcpu[0]);
    r->insns -= start;
    point_free(&point);
    return ended && result != LOCKSTEP_DIFFERENT ? LOCKSTEP_ENDED : result;
}
