/*
 * Windows: ranges of host addresses in which the host's MMU does the guest's translation.
 *
 * A window belongs to one context of one hart (isa/riscv64/tlb.h) and to the view of U-mode: the
 * host address of guest address va is base + va for the 2^38 bytes of Sv39's lower half, and
 * BACK_WINDOW_GUARD bytes on either side are never mapped. Nothing is mapped at first; translated
 * code faults, and the page is mapped if the guest's tables and PMP let user code use it and it is
 * RAM. Everything else (exceptions, devices, pages with watchpoints) stays unmapped and is done by
 * the slow path each time.
 *
 * A window is a TLB: what it holds was allowed when it was entered, writing only if the D bit is
 * set, neighbours only with A set; and the fences of its context drop what they name, or more. It
 * is no saved state, so machines whose time is counted in instructions have none.
 *
 * Mappings are bounded: by WINDOW_MAPPINGS in the whole process, because the kernel's limit
 * (vm.max_map_count) is the process's. A window that reaches the bound is emptied, and closed when
 * that happens repeatedly. A window is also closed when it costs more than it saves.
 *
 * Threads: all of a struct windows is the vCPU's; window_fault is called in the handler of a fault
 * in translated code, which holds no locks.
 */
#pragma once

#include "core/vcpu.h"
#include "isa/riscv64/hart.h"

#define WINDOW_BITS 38
#define WINDOW_MAPPINGS 20000u /* each can split one: at most two of 65530 */

struct windows;

/*
 * price: instructions of user code that earn a window; 0: every context has one. NULL: out of
 * memory. Connects itself to the hart's fences.
 */
struct windows *windows_new(struct vcpu *v, uint32_t price);
void windows_free(struct windows *ws);

/* The current context has run user code. */
void windows_earn(struct windows *ws, uint64_t insns);
/*
 * Gives the current context the window that it has earned, or takes one that does not pay: not
 * while translated code runs.
 */
void windows_settle(struct windows *ws);
/* All become empty. */
void windows_clear(struct windows *ws);

/* Translated code of the current context faulted there. True: the access may be repeated. */
bool window_fault(struct windows *ws, uintptr_t address, bool write);

/* For tests and statistics. */
struct window_stats {
    uint64_t faults;   /* calls of window_fault */
    uint64_t mappings; /* made */
    uint64_t dropped;  /* pages dropped one by one */
    uint64_t emptied;
};
const struct window_stats *windows_stats(const struct windows *ws);
