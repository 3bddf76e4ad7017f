/*
 * A device: registers that a guest reads and writes, interrupt lines, and declared state.
 *
 * A device is a private struct that begins with `struct device`. Its lock is taken by whoever calls
 * into it: the address space around MMIO, the owner around reset and state, the device's own
 * back-end callbacks. Code inside a device therefore runs with its lock held and must not call into
 * another device; it may set interrupt lines and use the address space's RAM.
 */
#pragma once

#include "base/error.h"
#include "base/state.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct device;

struct device_ops {
    const char *name;
    const struct state_table *state;   /* table over the private struct */
    void (*reset)(struct device *dev); /* power-on values; lowers its interrupt lines */
    /*
     * Optional: starts the threads that it needs. Called before the machine runs, perhaps again;
     * until then the process has one thread (docs/confinement.md). 0 or -errno with *err.
     */
    int (*start)(struct device *dev, struct error *err);
    /*
     * Comes back when nothing is in flight and all that the guest has asked for is done; may give
     * up the lock meanwhile. NULL: it never has anything in flight.
     */
    void (*drain)(struct device *dev);
    void (*free)(struct device *dev); /* releases what new made, the struct too */
};

/* How a device's registers are reached. `offset` is relative to the region's start. */
struct mmio_ops {
    uint64_t (*read)(struct device *dev, uint64_t offset, unsigned size);
    void (*write)(struct device *dev, uint64_t offset, unsigned size, uint64_t value);
    uint8_t sizes; /* allowed access sizes in bytes, OR-ed: 1 | 2 | 4 | 8 */
    bool unlocked; /* they lock for themselves: the caller does not hold the device's lock */
};

struct device {
    const struct device_ops *ops;
    char id[24]; /* unique in the machine: "serial0", "disk1" */
    pthread_mutex_t lock;
};

void device_init(struct device *dev, const struct device_ops *ops, const char *id_fmt, ...)
    __attribute__((format(printf, 3, 4)));
void device_fini(struct device *dev);

/* The following take the device's lock. Save and hash drain first. */
void device_reset(struct device *dev);
int device_start(struct device *dev, struct error *err);
/* For the owner, while no vCPU runs: what devices do meanwhile may change others, and memory. */
void device_drain(struct device *dev);
void device_save(struct device *dev, struct state_out *out);
/* A load that fails leaves the device reset. */
int device_load(struct device *dev, struct state_in *in, struct error *err);
uint64_t device_hash(struct device *dev, uint64_t seed);

/* Calls the device's free; NULL is allowed. */
void device_free(struct device *dev);
