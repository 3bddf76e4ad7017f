/*
 * Guest-physical address space: RAM and device registers.
 *
 * RAM lives in a memfd, mapped shared, so that other mappings and processes can see it. The layout
 * (which address is what) is built before the first vCPU runs and does not change afterwards: all
 * functions below the line may then be called from any thread without a lock. RAM pointers stay
 * valid until addrspace_free. Contents of RAM change under the reader's eyes while a guest runs.
 *
 * MMIO takes the device's lock around the call, unless its mmio_ops say otherwise.
 */
#pragma once

#include "base/error.h"
#include "core/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t; /* guest-physical address */
typedef uint64_t gva_t; /* guest-virtual address */

struct addrspace;

/* NULL and *err when memory is short. */
struct addrspace *addrspace_new(struct error *err);
void addrspace_free(struct addrspace *as);

/* Base and size are multiples of 4096. ENOMEM when the host cannot give so much, EEXIST on overlap.
 */
int addrspace_add_ram(struct addrspace *as, gpa_t base, uint64_t size, struct error *err);
/*
 * RAM of another process: maps part of the file fd, which becomes the address space's, also on
 * failure. Whoever made it must have sealed its size, or be trusted not to change it. Not for
 * address spaces that are saved or give memory back.
 */
int addrspace_add_shared(struct addrspace *as, gpa_t base, uint64_t size, int fd, uint64_t offset,
                         struct error *err);
/* Memory that the guest can read and execute but not write (boot ROM). */
int addrspace_add_rom(struct addrspace *as, gpa_t base, uint64_t size, struct error *err);
int addrspace_add_mmio(struct addrspace *as, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                       struct device *dev, struct error *err);
/* ROM to fetches, and to all functions here but addrspace_read and write: those ask the device. */
int addrspace_add_flash(struct addrspace *as, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                        struct device *dev, struct error *err);

/* ---- lookups ---- */

/* Host address of [gpa, gpa+len) if all of it lies in one RAM region, else NULL. */
void *addrspace_ram(const struct addrspace *as, gpa_t gpa, uint64_t len);
/* The same for RAM or ROM; the result must only be read. */
const void *addrspace_readable(const struct addrspace *as, gpa_t gpa, uint64_t len);
/*
 * Part of what addrspace_ram gave is about to be used: its pages are taken by batches, with those
 * around them (base/populate.h), unless they were before and have not been given back.
 */
void addrspace_expect(const struct addrspace *as, const void *host, uint64_t len);

/* File and offset behind a range that addrspace_ram would give; for other mappings of it. */
bool addrspace_ram_file(const struct addrspace *as, gpa_t gpa, uint64_t len, int *fd,
                        uint64_t *offset);

/* Base and size of RAM region i, false when there are no more. */
bool addrspace_ram_region(const struct addrspace *as, unsigned i, gpa_t *base, uint64_t *size);

/*
 * One naturally aligned access of 1, 2, 4 or 8 bytes, RAM or MMIO. False is a bus error: nothing
 * there, or a size that the device does not take.
 */
bool addrspace_read(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t *value);
bool addrspace_write(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t value);

/* Copies to and from RAM (loaders, debugger, SBI). False, nothing copied, if not all of it is RAM.
 */
bool addrspace_copy_in(struct addrspace *as, gpa_t gpa, const void *data, uint64_t len);
bool addrspace_copy_out(const struct addrspace *as, gpa_t gpa, void *data, uint64_t len);
/* As copy_in, also into ROM (machine construction). */
bool addrspace_load(struct addrspace *as, gpa_t gpa, const void *data, uint64_t len);

/* What RAM and ROM cost the host now, in bytes. */
uint64_t addrspace_resident(const struct addrspace *as);
/*
 * Gives zero pages of RAM back to the host, those that have 15 or more neighbours: single ones
 * would soon cost a fault each. Looks at *bytes of what was ever touched, from *from on. Then *from
 * is where to go on, 0 when the end was reached, and *bytes what is left of them. Returns the bytes
 * that were given back. Nobody may write to RAM meanwhile.
 */
uint64_t addrspace_drop_zeros(struct addrspace *as, gpa_t *from, uint64_t *bytes);

/*
 * Gives back the whole pages of what addrspace_ram gave: they read zero afterwards. Returns how
 * many bytes of them there are. Any thread, and the guest may run.
 */
uint64_t addrspace_give_back(const struct addrspace *as, void *host, uint64_t len);

/* All RAM contents: zero pages are left out. Load clears what the stream does not name. */
void addrspace_save(struct addrspace *as, struct state_out *out);
int addrspace_load_state(struct addrspace *as, struct state_in *in, struct error *err);
uint64_t addrspace_hash(const struct addrspace *as, uint64_t seed);
/*
 * Whether RAM and ROM of two machines of the same layout have the same contents; if not, *at is the
 * first address at which they differ.
 */
bool addrspace_equal(const struct addrspace *a, const struct addrspace *b, gpa_t *at);
