/*
 * Memory that is filled from front to back gets its pages by batches: a page fault takes longer
 * than the page does, several times as long where the host is itself a guest.
 *
 * Threads: the owner's lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes up to `end` (what is beyond size does not count) of the private or shared mapping at base,
 * of `size` bytes, are about to be written; what is behind *ready has not been. The host may not
 * know how (before Linux 5.14), or have no memory: then pages come one by one, as they would have.
 */
void populate(uint8_t *base, size_t size, size_t *ready, size_t end);
