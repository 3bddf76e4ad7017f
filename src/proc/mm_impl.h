/*
 * Between the files of the address space: its list of ranges (mm_list.c), the kernel's
 * (mm_maps.c), and the calls (mm.c, mm_move.c). With mm->lock held.
 */
#pragma once

#include "proc/mm.h"

#include <sys/types.h>

/* ---- mm_list.c: nothing here asks the kernel ---- */

/* Index of the first range that ends above addr; mm->count: none does. */
unsigned mm_find(const struct mm *mm, uint64_t addr);
/* Room for n more ranges, so that what follows a change of the kernel's cannot fail. -ENOMEM. */
int mm_reserve(struct mm *mm, unsigned n);
/* [start, end) is as told, or free, from now on. Takes up to 2 more ranges. */
void mm_set(struct mm *mm, uint64_t start, uint64_t end, uint8_t prot, bool grows);
void mm_clear(struct mm *mm, uint64_t start, uint64_t end);
bool mm_free(const struct mm *mm, uint64_t start, uint64_t end);
/* Is any page of it executable? */
bool mm_has_code(const struct mm *mm, uint64_t start, uint64_t end);
/* The end of what is mapped without a hole from addr on; addr: it is not. At most `end`. */
uint64_t mm_mapped_until(const struct mm *mm, uint64_t addr, uint64_t end);
/*
 * A free place of len bytes, a multiple of align (a power of two): at the hint if there is one
 * (not 0) and it is free, else as mm.h says. 0: none.
 */
uint64_t mm_place(const struct mm *mm, uint64_t hint, uint64_t len, uint64_t align);

/* ---- mm_image.c ---- */

/* What the file is noted as. False: it is no program's. Asks the kernel; without mm->lock, too. */
bool image_read(int fd, struct rv_image *out);
/* Where such a file goes that may go anywhere. 0: as other files. */
uint64_t image_place(const struct mm *mm, const struct rv_image *image, uint64_t len,
                     uint64_t align);
/* The image is mapped at [start, end) with `offset` first. */
void image_note(struct mm *mm, const struct rv_image *image, uint64_t start, uint64_t end,
                uint64_t offset);
/* Something else is mapped there now, or nothing. */
void image_drop(struct mm *mm, uint64_t start, uint64_t end);

/* ---- mm_maps.c ---- */

/*
 * Makes the list agree with the kernel about what is mapped in [start, end). Where the kernel does
 * not tell, for want of /proc or of a file descriptor, it stays as it is.
 */
void mm_sync(struct mm *mm, uint64_t start, uint64_t end);
/* The first address of [start, end) that is not mapped with just these protections of the host. */
uint64_t mm_first_other(uint64_t start, uint64_t end, int host_prot);
/* Is there anything below MM_HIGH? */
bool mm_kernel_has_any(void);

/* ---- mm.c ---- */

/* What a call did to executable pages, to be told when the lock is released. */
struct mm_change {
    uint64_t start, end; /* start == end: nothing */
};

/* The host's protections for the program's. */
int mm_host_prot(int prot);
/* Notes [start, end) in the change if some of it is executable now. */
void mm_note_code(const struct mm *mm, struct mm_change *c, uint64_t start, uint64_t end);
void mm_lock(struct mm *mm);
/* Releases the lock and tells of the change. Returns result. */
int64_t mm_unlock(struct mm *mm, const struct mm_change *c, int64_t result);
/* munmap of whole pages within [MM_LOW, MM_HIGH). */
int64_t mm_unmap_locked(struct mm *mm, struct mm_change *c, uint64_t start, uint64_t end);
/* May the program have len more bytes? data: private and writable. */
bool mm_within_limits(const struct mm *mm, uint64_t len, bool data);
/* As mm_place, after asking the kernel for ranges that have grown. */
uint64_t mm_place_now(struct mm *mm, uint64_t hint, uint64_t len, uint64_t align);
