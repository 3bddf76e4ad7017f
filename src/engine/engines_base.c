/* Hosts for which the translator has no back end. */
#include "engine/engines.h"

#include "engine/interp/interp.h"

#include <stddef.h>

const struct engine_ops *const engines[] = {&engine_interp, NULL};
const struct engine_ops *const engines_for_tests[] = {&engine_interp, NULL};
