/*
 * SiFive test finisher: one register through which a guest ends the machine (power off, failure
 * with a code, reset).
 */
#pragma once

#include "core/device.h"

#define SIFIVE_TEST_SIZE UINT64_C(0x1000)

enum power_event {
    POWER_OFF,   /* the guest is done */
    POWER_FAIL,  /* the guest reports failure with a code */
    POWER_RESET, /* the guest wants a restart */
};

/*
 * The callback runs on the thread of the vCPU that wrote, with the device's lock held: it may only
 * note what shall happen and stop the vCPUs. code is 0 to 65535, and 0 unless POWER_FAIL.
 */
struct device *sifive_test_new(void (*event)(void *ctx, enum power_event what, unsigned code),
                               void *ctx, struct error *err);

extern const struct mmio_ops sifive_test_mmio;
