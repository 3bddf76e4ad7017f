#include "base/populate.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/bits.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

void populate_range(uint8_t *base, size_t size)
{
    (void)madvise(base, size, MADV_POPULATE_WRITE);
}

void populate(uint8_t *base, size_t size, size_t *ready, size_t end)
{
    if (end > size)
        end = size;
    if (end <= *ready)
        return;
    size_t to = align_up(end, POPULATE_BATCH) < size ? align_up(end, POPULATE_BATCH) : size;
    populate_range(base + *ready, to - *ready);
    *ready = to;
}
