/* A rig per test, as a cmocka fixture. */
#pragma once

#include "rig.h"

static inline int rig_setup(void **state)
{
    *state = rig_new();
    return 0;
}

static inline int rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

#define rig_unit_test(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
