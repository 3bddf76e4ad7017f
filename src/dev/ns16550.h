/*
 * UART 16550A with 16-byte FIFOs, byte registers at a stride of 1.
 *
 * The line is infinitely fast: a byte written is sent at once if the back end takes it, and the
 * four character times after which a partly filled receive FIFO interrupts have always passed. When
 * the back end is full, bytes wait in the transmit FIFO and THRE stays low; a guest that writes
 * nevertheless loses them, as on the real part.
 *
 * Accesses wider than a byte reach the low byte's register only, as on QEMU's virt board.
 *
 * Locking: the device's lock, which the back end's callbacks take on the event loop's thread.
 */
#pragma once

#include "chr/chr.h"
#include "core/device.h"
#include "core/irq.h"

#define NS16550_SIZE UINT64_C(0x100)

/*
 * chr NULL: nothing is connected. The back end must outlive the device, which is made and freed on
 * the event loop's thread or while the loop does not run. NULL with *err.
 */
struct device *ns16550_new(struct chr *chr, struct irq_line irq, struct error *err);

extern const struct mmio_ops ns16550_mmio;
