/*
 * Pages by batches: a page fault takes longer than the page does, several times as long where the
 * host is itself a guest. The host may not know how (before Linux 5.14), or have no memory: then
 * pages come one by one, as they would have.
 *
 * Threads: the owner's lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define POPULATE_BATCH ((size_t)64 << 10)
#define HUGE_PAGE ((size_t)2 << 20) /* what MADV_HUGEPAGE may give, aligned to that */

/* The pages of the mapping that hold these bytes are about to be written. */
void populate_range(uint8_t *base, size_t size);

/*
 * Memory that is filled from front to back: bytes up to `end` (what is beyond size does not count)
 * of the private or shared mapping at base, of `size` bytes, are about to be written; what is
 * behind *ready has not been.
 */
void populate(uint8_t *base, size_t size, size_t *ready, size_t end);
