/* Operands for instructions: boundary values of every kind, mixed with random ones. */
#pragma once

#include "rng.h"

/* A 64-bit integer. */
uint64_t operand_int(struct rng *r);

/* A floating-point register of the format 'h', 's' or 'd'; now and then not boxed properly. */
uint64_t operand_fp(struct rng *r, char format);

/* Any of the three formats. */
uint64_t operand_fp_any(struct rng *r);
