/* The passes, and the order that is worth it. */
#include <errno.h>

#include "ir/impl.h"

const struct ir_pass ir_passes[] = {
    {"fold", ir_pass_fold}, {"narrow", ir_pass_narrow}, {"dce", ir_pass_dce}, {"mem", ir_pass_mem},
    {"fuse", ir_pass_fuse}, {"ifconv", ir_pass_ifconv}, {NULL, NULL},
};

/*
 * Narrowing leaves chains to fold and values to remove. Only when everything needless is gone and
 * what can be is fused can ifconv tell how much a branch goes round.
 */
static const struct ir_pass *const optimize_order[] = {
    &ir_passes[0], &ir_passes[1], &ir_passes[0], &ir_passes[2],
    &ir_passes[4], &ir_passes[5], &ir_passes[3],
};

int ir_optimize(struct ir *ir, FILE *dump, bool verify, struct error *err)
{
    if (dump) {
        fputs("; ir as built\n", dump);
        ir_print(ir, dump);
    }
    for (size_t i = 0; i < ARRAY_SIZE(optimize_order); i++) {
        optimize_order[i]->run(ir);
        if (ir->overflow)
            return error_set(err, ENOSPC, "the region is too large for %s",
                             optimize_order[i]->name);
        if (dump) {
            fprintf(dump, "; ir after %s\n", optimize_order[i]->name);
            ir_print(ir, dump);
        }
        if (verify && ir_verify(ir, err) < 0)
            return error_prefix(err, "after %s", optimize_order[i]->name);
    }
    return 0;
}
