/* For the handler of signals: see host_call.c. */
#pragma once

#include "proc/process.h"

/* Where a thread has to go on that a signal met at this host pc; 0: where it was. */
uintptr_t host_call_interrupted(uintptr_t pc);
