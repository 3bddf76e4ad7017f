/*
 * Between fault.c, the file that knows the processor's signal context, and the functions that may
 * fault in any thread.
 */
#pragma once

#include <signal.h>

#include "host/fault.h"

/* Fills in what the kernel says of a synchronous fault. context: the handler's third argument. */
void fault_describe(struct fault *fault, int signal, const siginfo_t *info, void *context);
/* Makes the return from the handler continue at pc. */
void fault_set_pc(struct fault *fault, uintptr_t pc);

/*
 * Where a function of guarded.h goes on that faulted at pc: its return with a failure. 0: pc is
 * none of theirs.
 */
uintptr_t guarded_landing(uintptr_t pc);
