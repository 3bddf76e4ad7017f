/*
 * A machine: memory, clock, virtual processors and devices, assembled by a board. The owner (vmm)
 * drives the vCPUs with an engine and asks the board what an exit means; the board never knows
 * which engine runs.
 *
 * The structure is complete when the board's constructor returns. `ops` functions that take a vCPU
 * are called by the thread that owns the vCPU; reset, save and load while no vCPU runs.
 */
#pragma once

#include "base/error.h"
#include "core/addrspace.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/vcpu.h"

#define MACHINE_MAX_DEVICES 64

struct machine;

/* What the guest did to the machine's power. */
enum machine_power { MACHINE_POWER_OFF, MACHINE_POWER_FAIL, MACHINE_POWER_RESET };

struct machine_ops {
    const char *name;
    /* Power-on state, boot images loaded. */
    int (*reset)(struct machine *m, struct error *err);
    /* VCPU_EXIT_CALL. */
    void (*call)(struct machine *m, struct vcpu *v);
    /* Carries out requests that vcpu_take_requests returned (VCPU_REQ_STOP is the owner's). */
    void (*requests)(struct machine *m, struct vcpu *v, uint32_t bits);
    /* False while the vCPU must not run at all (stopped by the guest). */
    bool (*started)(struct machine *m, struct vcpu *v);
    /* False while it has nothing to do but wait for an interrupt. */
    bool (*has_work)(struct machine *m, struct vcpu *v);
    /* State of processors and firmware; memory, clock and devices are saved by the owner. */
    void (*save)(struct machine *m, struct state_out *out);
    /* The same for a hash, without what engines may keep otherwise; it cannot be loaded. */
    void (*save_visible)(struct machine *m, struct state_out *out);
    int (*load)(struct machine *m, struct state_in *in, struct error *err);
    void (*free)(struct machine *m);
};

struct machine {
    const struct machine_ops *ops;
    struct addrspace *mem;
    struct clock clock;
    struct vcpu *vcpus;
    unsigned vcpu_count;
    struct device *devices[MACHINE_MAX_DEVICES]; /* owned; in the order of construction */
    unsigned device_count;
    /* Called by whichever thread runs the guest's access, possibly with a device's lock held. */
    void (*power)(void *ctx, enum machine_power event, unsigned code);
    void *power_ctx;
};
