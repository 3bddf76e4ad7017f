/*
 * The engines that this host has. vmm chooses among them by name, and tests run all of them; nobody
 * else needs to know that there is more than one.
 */
#pragma once

#include "core/engine.h"

/* Ends with NULL; the first is what "auto" means. */
extern const struct engine_ops *const engines[];

/* Engines for tests only: the same ones made to do early what they do late. Ends with NULL. */
extern const struct engine_ops *const engines_for_tests[];
