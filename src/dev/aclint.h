/*
 * RISC-V ACLINT laid out as SiFive's CLINT: software interrupts (MSWI) and timers (MTIMER) of
 * machine mode. The time base is 10 MHz, taken from the machine's clock.
 *
 * mtime is guest time plus an offset that the guest changes by writing mtime; the offset is 0 at
 * power-on, so that mtime and the harts' time CSR agree as long as nobody writes it.
 *
 * Locking: the device's lock; outputs are set with it held. Timers fire from clock_run().
 */
#pragma once

#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

#define ACLINT_SIZE UINT64_C(0x10000)
#define ACLINT_MAX_HARTS 64u
#define ACLINT_HZ UINT64_C(10000000)
#define ACLINT_NS_PER_TICK (UINT64_C(1000000000) / ACLINT_HZ)

/*
 * msip, mtip: one line per hart (copied), for the inputs of bit 3 and 7 of mip. harts: 1 to
 * ACLINT_MAX_HARTS. The clock must outlive the device. NULL with *err.
 *
 * When state is loaded, the clock must have been loaded before.
 */
struct device *aclint_new(struct clock *clock, unsigned harts, const struct irq_line *msip,
                          const struct irq_line *mtip, struct error *err);

extern const struct mmio_ops aclint_mmio;

/* mtime = ticks of the clock + this, modulo 2^64. Any thread. */
uint64_t aclint_offset(struct device *aclint);

/*
 * Who wants to know that the guest wrote mtime: `moved` is called with the device's lock held, by
 * the thread that wrote. To be set before the machine runs.
 */
void aclint_set_moved(struct device *aclint, void (*moved)(void *ctx), void *ctx);
