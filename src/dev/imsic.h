/*
 * RISC-V IMSIC: the controllers of incoming messages of all harts (Advanced Interrupt Architecture
 * 1.0, chapter 3), with a machine-level and a supervisor-level interrupt file each and no guest
 * files. Identities 1 to IMSIC_IDS.
 *
 * Messages arrive by imsic_send from devices and by stores to the files' pages from harts; the
 * hart itself uses its files by CSRs, for which its owner calls imsic_reg and imsic_top.
 *
 * Locking: each file has a lock of its own, taken last but for the outputs, which are set with it
 * held. All functions may be called from any thread.
 */
#pragma once

#include "core/addrspace.h"
#include "core/device.h"
#include "core/irq.h"

#define IMSIC_MAX_HARTS 64u
#define IMSIC_IDS 255u
#define IMSIC_PAGE UINT64_C(4096)

enum imsic_level { IMSIC_M, IMSIC_S, IMSIC_LEVELS };

/*
 * outputs: for hart h the lines of its files are outputs[IMSIC_LEVELS * h + level] (copied); base:
 * of the files of each level, a page per hart, aligned to what all harts take. NULL with *err.
 */
struct device *imsic_new(unsigned harts, const struct irq_line *outputs,
                         const gpa_t base[IMSIC_LEVELS], struct error *err);

/* The pages of a level's files. */
extern const struct mmio_ops imsic_mmio[IMSIC_LEVELS];

/* A message from a device; false if there is no file at this address. */
bool imsic_send(struct device *imsic, gpa_t address, uint32_t data);

/* Where an APLIC that delivers directly leads to: seen while eidelivery says so (section 3.8.1). */
struct irq_line imsic_external(struct device *imsic, unsigned hart, enum imsic_level level);

/*
 * A register that siselect or miselect `select` names, of RV64 (section 3.8): *old gets its value,
 * then the bits of `clear` are cleared and those of `set` set, at once. False: there is none.
 */
bool imsic_reg(struct device *imsic, unsigned hart, enum imsic_level level, unsigned select,
               uint64_t clear, uint64_t set, uint64_t *old);

/* The value of *topei (section 3.9); claim: that interrupt is no longer pending. */
uint32_t imsic_top(struct device *imsic, unsigned hart, enum imsic_level level, bool claim);
