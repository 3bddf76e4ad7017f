/*
 * The translator: an engine whose first stage is the interpreter and which compiles what turns out
 * to be hot. docs/translator.md is the design.
 */
#pragma once

#include "core/engine.h"

extern const struct engine_ops engine_dbt;

/* The same, compiling every target of a jump when it is first reached: for tests. */
extern const struct engine_ops engine_dbt_eager;
/* And with a window for every address space from its beginning (window.h). */
extern const struct engine_ops engine_dbt_window;
