/*
 * RISC-V APLIC, the advanced platform-level interrupt controller (Advanced Interrupt Architecture
 * 1.0, chapter 4): a machine-level domain, the root, and a supervisor-level one, its only child.
 * Sources 1 to APLIC_SOURCES - 1, eight bits of priority; each domain delivers directly or by
 * messages, as software says.
 *
 * Locking: inputs are set with other devices' locks held and take this device's own lock; outputs
 * are set and messages sent with the lock held and must not come back.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "core/irq.h"

#define APLIC_SIZE UINT64_C(0x8000) /* of each domain's registers */
#define APLIC_SOURCES 96u           /* including source 0, which does not exist */
#define APLIC_MAX_HARTS 64u

enum aplic_level { APLIC_M, APLIC_S, APLIC_LEVELS };

struct aplic_config {
    unsigned harts;                /* 1 to APLIC_MAX_HARTS; hart index and number are the same */
    const struct irq_line *direct; /* per hart and level, as imsic_new's outputs (copied) */
    struct msi_sink msi;
    gpa_t files[APLIC_LEVELS]; /* first page of a level's interrupt files, for `delegated` */
    /* What firmware does is done at reset: all sources are the supervisor's, addresses are set. */
    bool delegated;
};

/* NULL with *err. */
struct device *aplic_new(const struct aplic_config *config, struct error *err);

/* The registers of a level's domain. */
extern const struct mmio_ops aplic_mmio[APLIC_LEVELS];

/* The input line of a source, 1 to APLIC_SOURCES - 1. Any thread. */
struct irq_line aplic_input(struct device *aplic, unsigned source);
