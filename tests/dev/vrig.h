/*
 * The virtio devices that the board of rig.h does not have, in slots of MMIO, with recorders at
 * their interrupt lines; and a driver of all of them that does mostly the right things.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "rig.h"
#include "vsock/vsock.h"

#include <stdbool.h>
#include <stdint.h>

#define VRIG_RAM RIG_RAM
#define VRIG_RAM_SIZE UINT64_C(0x100000)
#define VRIG_REGS(n) (UINT64_C(0x10001000) + UINT64_C(0x1000) * (n))

enum { VRIG_BALLOON, VRIG_DISK, VRIG_VSOCK, VRIG_PORTS, VRIG_DEVICES };
#define VRIG_NAMED 2u /* ports with names, behind the console */
#define VRIG_STREAMS 6u

/* Stands for the host's sockets: what comes from the guest is added up. */
struct fake_vsock {
    const struct vsock_ops *ops;
    void *ctx;
    struct vsock_stream *stream; /* VRIG_STREAMS */
    uint64_t digest;
};

struct vrig {
    struct addrspace *as;
    struct fake_block disk;
    struct fake_vsock vsock;
    struct fake_chr port[1 + VRIG_NAMED]; /* the console's first */
    struct loop *loop;
    bool irq[VRIG_DEVICES];
    struct device *all[VRIG_DEVICES + 1]; /* in the order in which state is saved; NULL ends */
};

/* Aborts when it cannot be made. */
struct vrig *vrig_new(void);
void vrig_free(struct vrig *r);

/* Saves everything of a, loads it into b. False with a message on stderr if b refuses. */
bool vrig_copy(struct vrig *a, struct vrig *b);
/* Compares all declared state, memory and the lines; false with a message on stderr. */
bool vrig_equal(struct vrig *a, struct vrig *b);

/* A step of a driver or of the host, from the generator; returns a digest of what can be seen. */
uint64_t vrig_step(struct vrig *r, uint64_t *random);

/* A rig per test, as a cmocka fixture. */
static inline int vrig_setup(void **state)
{
    *state = vrig_new();
    return 0;
}

static inline int vrig_teardown(void **state)
{
    vrig_free(*state);
    return 0;
}

#define vrig_unit_test(fn) cmocka_unit_test_setup_teardown(fn, vrig_setup, vrig_teardown)
