/*
 * Comparing two harts that different engines have run. Nothing is owned.
 */
#pragma once

#include "base/state.h"
#include "isa/riscv64/hart.h"

#include <stddef.h>

/*
 * Whether the architectural state is equal: all that is declared but the translation caches, which
 * an engine may fill otherwise. If not, the first difference is written into buf as by state_equal.
 */
bool rv_hart_equal(const struct rv_hart *a, const struct rv_hart *b, char *buf, size_t size);

/* Appends this state, for a hash of it; it cannot be loaded. */
void rv_hart_save_compared(const struct rv_hart *h, struct state_out *out);

/* Calls `fn` for each scalar of it that differs; `name` is a field, or one element of it. */
void rv_hart_differences(const struct rv_hart *a, const struct rv_hart *b,
                         void (*fn)(void *ctx, const char *name, uint64_t va, uint64_t vb),
                         void *ctx);
