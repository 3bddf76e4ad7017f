/*
 * Parallel NOR flash that speaks the Intel command set (Common Flash Interface; Intel StrataFlash
 * P30 datasheet), as QEMU's board `virt` has it: two chips of 16 bits side by side, which get each
 * command at the same time. Firmware is executed from it in place.
 *
 * The contents are memory of the address space and are saved with it. What the guest programs or
 * erases also goes to the disk behind the flash, at once but without waiting for the medium; a
 * reset of the machine and its end do that.
 */
#pragma once

#include "block/block.h"
#include "core/addrspace.h"

/* Both chips' together: what is erased at once. */
#define PFLASH_SECTOR (UINT64_C(256) << 10)

/*
 * Makes the device and its region of memory, whose base and size are multiples of PFLASH_SECTOR.
 * The disk has that size; a read-only one makes flash that cannot be changed, NULL makes flash
 * that is full of zeroes and gone with the machine. It is not owned and outlives the device. NULL
 * with *err.
 */
struct device *pflash_new(struct addrspace *as, gpa_t base, uint64_t size, const char *id,
                          struct block *disk, struct error *err);
