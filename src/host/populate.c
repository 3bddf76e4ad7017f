#include "host/populate.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/bits.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define BATCH ((size_t)64 << 10)

void populate(uint8_t *base, size_t size, size_t *ready, size_t end)
{
    if (end > size)
        end = size;
    if (end <= *ready)
        return;
    size_t to = align_up(end, BATCH) < size ? align_up(end, BATCH) : size;
    (void)madvise(base + *ready, to - *ready, MADV_POPULATE_WRITE);
    *ready = to;
}
