/* Random programs: straight lines, control flow, and code that changes itself. */
#include "diff.h"
#include "gen.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum gen_kind kind;
    unsigned count; /* programs of a run of scale 10 */
    uint64_t insns; /* of each, about */
} variants[] = {
    {"line", GEN_LINE, 100, 20000},
    {"branch", GEN_BRANCH, 250, 50000},
    {"modify", GEN_MODIFY, 60, 20000},
};

struct program {
    struct diff *diff;
    const struct prog *prog;
};

static void program_differ(void *ctx, const struct engine_ops *engine, const uint8_t *peer,
                           const uint8_t *ours)
{
    struct program *c = ctx;
    unsigned shown = 0;
    for (size_t i = GEN_DUMP; i < c->prog->data_len && shown < 8; i += 8) {
        uint64_t a, b;
        memcpy(&a, peer + i, 8);
        memcpy(&b, ours + i, 8);
        size_t reg = (i - GEN_DUMP) / 8;
        if (a == b)
            continue;
        shown++;
        if (reg < 65)
            printf("    %s%zu", reg < 32 ? "x" : reg < 64 ? "f" : "fcsr", reg % 32);
        else
            printf("    memory %lx", (unsigned long)(PROG_DATA + i));
        printf(" at the end: peer %016lx ours %016lx\n", (unsigned long)a, (unsigned long)b);
    }
    diff_locate(c->diff, engine, c->prog);
}

void diff_programs(struct diff *d)
{
    for (unsigned v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        unsigned long before = d->instructions;
        for (unsigned i = 0; i < variants[v].count * d->scale / 10; i++) {
            char name[40];
            struct rng r;
            struct prog p;
            snprintf(name, sizeof name, "%s/%u", variants[v].name, i);
            if (!diff_part(d, name, &r))
                continue;
            gen_program(&p, &r, variants[v].kind, variants[v].insns);
            struct program c = {d, &p};
            diff_run(d, name, &p, program_differ, &c);
            prog_fini(&p);
        }
        printf("%s: %lu instructions\n", variants[v].name, d->instructions - before);
    }
}
