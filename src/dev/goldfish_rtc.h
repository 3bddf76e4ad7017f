/*
 * Goldfish real-time clock: time of day in nanoseconds since 1970 and an alarm.
 *
 * Time of day is the machine's clock plus an offset, at first the time of day given at creation.
 * A guest that sets the time changes the offset; like a clock with a battery it survives reset.
 *
 * Locking: the device's lock; the line is set with it held. The alarm fires from clock_run().
 */
#pragma once

#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

#define GOLDFISH_RTC_SIZE UINT64_C(0x1000)

/*
 * epoch_ns: time of day at guest time 0, in nanoseconds since 1970. The clock must outlive the
 * device; when state is loaded, the clock must have been loaded before. NULL with *err.
 */
struct device *goldfish_rtc_new(struct clock *clock, uint64_t epoch_ns, struct irq_line irq,
                                struct error *err);

extern const struct mmio_ops goldfish_rtc_mmio;
