/*
 * The interpreter: the reference semantics of riscv64. Decoded instructions are cached per page
 * (code.h) and run by threaded dispatch.
 */
#pragma once

#include "core/engine.h"

extern const struct engine_ops engine_interp;
