/*
 * Control and status registers: one table in csr.c says for each number which hart field it is,
 * which bits can be written, who may, and what else happens.
 */
#pragma once

#include "isa/riscv64/hart.h"

/* What the engine must do after a CSR access, OR-ed into *effects. */
enum {
    RV_CSR_CHECK_IRQ = 1, /* an interrupt may have become pending and enabled */
    RV_CSR_VIEW = 2,      /* the view of memory changed: rv_hart_view_changed was called */
};

/* Reads without side effects or permission checks (debugger); false if there is no such CSR. */
bool rv_csr_peek(struct rv_hart *h, unsigned number, uint64_t *value);
/* Writes as M-mode would (debugger, SBI); false if there is no such CSR or it is read-only. */
bool rv_csr_poke(struct rv_hart *h, unsigned number, uint64_t value);

enum rv_csr_op { RV_CSR_RW, RV_CSR_RS, RV_CSR_RC };

/*
 * The Zicsr instructions (volume I, 7.1): *old gets the former value. `write` is false for the
 * forms that do not write (csrrs and csrrc with x0 or 0), `read` is false for csrrw to x0. The
 * hart's icount must be current. False: illegal instruction.
 */
bool rv_csr_access(struct rv_hart *h, unsigned number, enum rv_csr_op op, bool read, bool write,
                   uint64_t operand, uint64_t *old, unsigned *effects);
