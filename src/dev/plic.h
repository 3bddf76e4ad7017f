/*
 * SiFive PLIC: the platform-level interrupt controller of QEMU's virt board (RISC-V PLIC
 * specification 1.0.0; sources 1 to 95, priorities 0 to 7).
 *
 * Two contexts per hart: 2 * hart is machine mode, 2 * hart + 1 supervisor mode.
 *
 * Gateways are level-triggered: a high line makes its source pending unless it is already pending
 * or claimed; a completion looks at the line again. Once pending, a source stays so until it is
 * claimed, whatever its line does.
 *
 * Locking: inputs are set with other devices' locks held and take this device's own lock; outputs
 * are set with the lock held and must not come back.
 */
#pragma once

#include "core/device.h"
#include "core/irq.h"

#define PLIC_SIZE UINT64_C(0x600000)
#define PLIC_SOURCES 96u /* including source 0, which does not exist */
#define PLIC_MAX_HARTS 64u
#define PLIC_MAX_PRIORITY 7u

/*
 * outputs: 2 * harts lines in the order of the contexts (copied). harts: 1 to PLIC_MAX_HARTS.
 * NULL with *err.
 */
struct device *plic_new(unsigned harts, const struct irq_line *outputs, struct error *err);

extern const struct mmio_ops plic_mmio;

/* The input line of a source, 1 to PLIC_SOURCES - 1. Any thread. */
struct irq_line plic_input(struct device *plic, unsigned source);
