/* What must hold of the saved state of any set of devices, under random traffic. */
#pragma once

#include "core/device.h"

#include <stdbool.h>
#include <stdint.h>

/* A kind of rig; each function is as that of struct rig. */
struct state_rig {
    void *(*make)(unsigned round);
    void (*free)(void *r);
    uint64_t (*step)(void *r, uint64_t *random);
    bool (*copy)(void *a, void *b);
    bool (*equal)(void *a, void *b);
    struct device **(*devices)(void *r); /* NULL ends */
};

/* Save, load into a fresh rig, compare; then the same further traffic has the same effects. */
void state_goes_on_after_load(const struct state_rig *kind, uint64_t seed);
/* Loads streams with flipped bytes and cut streams: refused or accepted, and the device lives. */
void state_survives_streams(const struct state_rig *kind, uint64_t seed);
