/*
 * Random traffic against a rig: register accesses of all sizes, guest time, input, sensible and
 * senseless virtio requests. The same seed on equal rigs must have the same effect.
 */
#pragma once

#include "rig.h"

/* Does one random thing; returns a digest of what could be observed. */
uint64_t traffic_step(struct rig *r, uint64_t *random);
