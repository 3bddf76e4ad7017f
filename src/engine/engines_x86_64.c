#include "engine/engines.h"

#include "engine/dbt/dbt.h"
#include "engine/interp/interp.h"

#include <stddef.h>

const struct engine_ops *const engines[] = {&engine_dbt, &engine_interp, NULL};
const struct engine_ops *const engines_for_tests[] = {&engine_interp, &engine_dbt_eager,
                                                      &engine_dbt_window, NULL};
