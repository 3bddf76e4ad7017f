#include "core/addrspace.h"

#include "base/bits.h"
#include "base/populate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define PAGE UINT64_C(4096)
#define MAX_REGIONS 64
#define FEW_ZEROS (16 * PAGE) /* are not given back */

enum region_kind { REGION_RAM, REGION_ROM, REGION_MMIO };

struct region {
    gpa_t base;
    uint64_t size;
    enum region_kind kind;
    uint8_t *host;               /* RAM, ROM: mapping of fd */
    _Atomic uint64_t *populated; /* RAM: a bit for each batch of pages that was taken */
    int fd;
    uint64_t offset;            /* of the mapping in it */
    const struct mmio_ops *ops; /* of dev, which takes loads and stores; NULL: memory does */
    struct device *dev;
};

/* Regions sorted by base; a linear array is short enough for every board. */
struct addrspace {
    struct region regions[MAX_REGIONS];
    unsigned count;
    unsigned largest; /* the region of most RAM: looked at first */
};

struct addrspace *addrspace_new(struct error *err)
{
    struct addrspace *as = calloc(1, sizeof *as);
    if (!as)
        error_set(err, ENOMEM, "out of memory for an address space");
    return as;
}

void addrspace_free(struct addrspace *as)
{
    if (!as)
        return;
    for (unsigned i = 0; i < as->count; i++) {
        const struct region *r = &as->regions[i];
        if (r->kind == REGION_MMIO)
            continue;
        munmap(r->host, r->size);
        free(r->populated);
        close(r->fd);
    }
    free(as);
}

/* The region that contains gpa, or NULL. */
static const struct region *addrspace_find(const struct addrspace *as, gpa_t gpa)
{
    const struct region *most = &as->regions[as->largest];
    if (gpa - most->base < most->size)
        return most;
    unsigned lo = 0, hi = as->count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (as->regions[mid].base <= gpa)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo)
        return NULL;
    const struct region *r = &as->regions[lo - 1];
    return gpa - r->base < r->size ? r : NULL;
}

static int addrspace_insert(struct addrspace *as, struct region region, struct error *err)
{
    if (as->count == MAX_REGIONS)
        return error_set(err, ENOSPC, "the address space has no room for another region");
    if (!region.size || region.base + (region.size - 1) < region.base)
        return error_set(err, EINVAL, "region at 0x%llx has no valid size",
                         (unsigned long long)region.base);
    unsigned at = 0;
    while (at < as->count && as->regions[at].base < region.base)
        at++;
    const struct region *before = at ? &as->regions[at - 1] : NULL;
    const struct region *after = at < as->count ? &as->regions[at] : NULL;
    if ((before && region.base - before->base < before->size) ||
        (after && after->base - region.base < region.size))
        return error_set(err, EEXIST, "region at 0x%llx overlaps another one",
                         (unsigned long long)region.base);
    memmove(&as->regions[at + 1], &as->regions[at], (as->count - at) * sizeof region);
    as->regions[at] = region;
    as->count++;
    uint64_t most = 0;
    for (unsigned i = 0; i < as->count; i++)
        if (as->regions[i].kind == REGION_RAM && as->regions[i].size > most) {
            most = as->regions[i].size;
            as->largest = i;
        }
    return 0;
}

/* A region that lacks only its mapping. Its file is the address space's, also on failure. */
static int addrspace_map(struct addrspace *as, struct region region, struct error *err)
{
    if (region.kind == REGION_RAM)
        region.populated = calloc(region.size / POPULATE_BATCH / 64 + 1, sizeof *region.populated);
    region.host = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                       region.fd, (off_t)region.offset);
    if (region.host == MAP_FAILED) {
        int code = errno;
        free(region.populated);
        close(region.fd);
        return error_set(err, code, "cannot map %llu bytes of guest memory: %s",
                         (unsigned long long)region.size, strerror(code));
    }
    /* Neither in a core file nor in a process that is forked. */
    madvise(region.host, region.size, MADV_DONTDUMP);
    madvise(region.host, region.size, MADV_DONTFORK);
    int rc = addrspace_insert(as, region, err);
    if (rc) {
        munmap(region.host, region.size);
        free(region.populated);
        close(region.fd);
    }
    return rc;
}

/* A region that lacks only its memory. */
static int addrspace_add_memory(struct addrspace *as, struct region region, struct error *err)
{
    uint64_t size = region.size;
    if (!size || region.base % PAGE || size % PAGE || size > INT64_MAX)
        return error_set(err, EINVAL, "memory of %llu bytes at 0x%llx is not made of whole pages",
                         (unsigned long long)size, (unsigned long long)region.base);
    int fd = memfd_create("guise-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed, because whoever else maps it could make it shorter, and us fault. */
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "cannot make %llu bytes of guest memory: %s",
                         (unsigned long long)size, strerror(code));
    }
    region.fd = fd;
    return addrspace_map(as, region, err);
}

int addrspace_add_ram(struct addrspace *as, gpa_t base, uint64_t size, struct error *err)
{
    return addrspace_add_memory(as, (struct region){.base = base, .size = size, .kind = REGION_RAM},
                                err);
}

int addrspace_add_shared(struct addrspace *as, gpa_t base, uint64_t size, int fd, uint64_t offset,
                         struct error *err)
{
    if (base % PAGE || !size || size % PAGE || offset % PAGE || size > INT64_MAX - offset) {
        close(fd);
        return error_set(err, EINVAL, "memory of %llu bytes at 0x%llx is not made of whole pages",
                         (unsigned long long)size, (unsigned long long)base);
    }
    return addrspace_map(
        as,
        (struct region){.base = base, .size = size, .kind = REGION_RAM, .fd = fd, .offset = offset},
        err);
}

int addrspace_add_rom(struct addrspace *as, gpa_t base, uint64_t size, struct error *err)
{
    return addrspace_add_memory(as, (struct region){.base = base, .size = size, .kind = REGION_ROM},
                                err);
}

int addrspace_add_flash(struct addrspace *as, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                        struct device *dev, struct error *err)
{
    return addrspace_add_memory(
        as, (struct region){.base = base, .size = size, .kind = REGION_ROM, .ops = ops, .dev = dev},
        err);
}

int addrspace_add_mmio(struct addrspace *as, gpa_t base, uint64_t size, const struct mmio_ops *ops,
                       struct device *dev, struct error *err)
{
    return addrspace_insert(
        as,
        (struct region){.base = base, .size = size, .kind = REGION_MMIO, .ops = ops, .dev = dev},
        err);
}

/* Host address of the range if it lies in one region of memory whose kind is at most max_kind. */
static uint8_t *addrspace_memory(const struct addrspace *as, gpa_t gpa, uint64_t len,
                                 enum region_kind max_kind)
{
    const struct region *r = addrspace_find(as, gpa);
    if (!r || r->kind > max_kind || len > r->size - (gpa - r->base))
        return NULL;
    return r->host + (gpa - r->base);
}

void *addrspace_ram(const struct addrspace *as, gpa_t gpa, uint64_t len)
{
    return addrspace_memory(as, gpa, len, REGION_RAM);
}

const void *addrspace_readable(const struct addrspace *as, gpa_t gpa, uint64_t len)
{
    return addrspace_memory(as, gpa, len, REGION_ROM);
}

/* The batch of pages at `offset` is there from now on. */
static void region_populate(const struct region *r, uint64_t offset)
{
    uint64_t n = offset / POPULATE_BATCH, bit = UINT64_C(1) << n % 64;
    if (atomic_load_explicit(&r->populated[n / 64], memory_order_relaxed) & bit)
        return;
    atomic_fetch_or_explicit(&r->populated[n / 64], bit, memory_order_relaxed);
    uint64_t left = r->size - offset;
    populate_range(r->host + offset, left < POPULATE_BATCH ? left : POPULATE_BATCH);
}

/* Batches that lie in what has been given back may be taken again. */
static void region_unpopulate(const struct region *r, uint64_t offset, uint64_t len)
{
    uint64_t end = (offset + len) / POPULATE_BATCH;
    for (uint64_t n = align_up(offset, POPULATE_BATCH) / POPULATE_BATCH; r->populated && n < end;
         n++)
        atomic_fetch_and_explicit(&r->populated[n / 64], ~(UINT64_C(1) << n % 64),
                                  memory_order_relaxed);
}

/* The RAM region that has the host's range, at *offset; NULL: none. */
static const struct region *addrspace_find_host(const struct addrspace *as, const void *host,
                                                uint64_t len, uint64_t *offset)
{
    for (unsigned i = 0; i <= as->count; i++) {
        const struct region *r = &as->regions[i ? i - 1 : as->largest];
        *offset = (uintptr_t)host - (uintptr_t)r->host;
        if (r->kind == REGION_RAM && *offset < r->size && len <= r->size - *offset)
            return r;
    }
    return NULL;
}

void addrspace_expect(const struct addrspace *as, const void *host, uint64_t len)
{
    uint64_t offset;
    const struct region *r = addrspace_find_host(as, host, len, &offset);
    if (!r || !r->populated)
        return;
    for (uint64_t at = align_down(offset, POPULATE_BATCH); at < offset + len; at += POPULATE_BATCH)
        region_populate(r, at);
}

bool addrspace_ram_file(const struct addrspace *as, gpa_t gpa, uint64_t len, int *fd,
                        uint64_t *offset)
{
    const struct region *r = addrspace_find(as, gpa);
    if (!r || r->kind != REGION_RAM || len > r->size - (gpa - r->base))
        return false;
    *fd = r->fd;
    *offset = r->offset + (gpa - r->base);
    return true;
}

bool addrspace_ram_region(const struct addrspace *as, unsigned i, gpa_t *base, uint64_t *size)
{
    for (unsigned k = 0; k < as->count; k++) {
        const struct region *r = &as->regions[k];
        if (r->kind != REGION_RAM || i--)
            continue;
        *base = r->base;
        *size = r->size;
        return true;
    }
    return false;
}

static uint64_t memory_read(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1:
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    case 2:
        return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
    case 4:
        return __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_RELAXED);
    default:
        return __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
    }
}

static void memory_write(uint8_t *p, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        __atomic_store_n(p, (uint8_t)value, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)(void *)p, (uint16_t)value, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)(void *)p, (uint32_t)value, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)(void *)p, value, __ATOMIC_RELAXED);
        break;
    }
}

/* A region cannot end inside an aligned access: bases and sizes are checked to be whole. */
static bool region_takes(const struct region *r, gpa_t offset, unsigned size)
{
    return (r->ops->sizes & size) && size <= r->size - offset;
}

static void region_lock(const struct region *r)
{
    if (!r->ops->unlocked)
        pthread_mutex_lock(&r->dev->lock);
}

static void region_unlock(const struct region *r)
{
    if (!r->ops->unlocked)
        pthread_mutex_unlock(&r->dev->lock);
}

bool addrspace_read(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t *value)
{
    const struct region *r = addrspace_find(as, gpa);
    if (!r)
        return false;
    uint64_t offset = gpa - r->base;
    if (!r->ops) {
        *value = memory_read(r->host + offset, size);
        return true;
    }
    if (!r->ops->read || !region_takes(r, offset, size))
        return false;
    region_lock(r);
    uint64_t v = r->ops->read(r->dev, offset, size);
    region_unlock(r);
    *value = size == 8 ? v : bits_get(v, 0, 8 * size);
    return true;
}

bool addrspace_write(struct addrspace *as, gpa_t gpa, unsigned size, uint64_t value)
{
    const struct region *r = addrspace_find(as, gpa);
    if (!r || (r->kind == REGION_ROM && !r->ops))
        return false;
    uint64_t offset = gpa - r->base;
    if (r->kind == REGION_RAM) {
        memory_write(r->host + offset, size, value);
        return true;
    }
    if (!r->ops->write || !region_takes(r, offset, size))
        return false;
    region_lock(r);
    r->ops->write(r->dev, offset, size, size == 8 ? value : bits_get(value, 0, 8 * size));
    region_unlock(r);
    return true;
}

bool addrspace_copy_in(struct addrspace *as, gpa_t gpa, const void *data, uint64_t len)
{
    uint8_t *p = addrspace_memory(as, gpa, len, REGION_RAM);
    if (p)
        memcpy(p, data, len);
    return p;
}

bool addrspace_copy_out(const struct addrspace *as, gpa_t gpa, void *data, uint64_t len)
{
    const uint8_t *p = addrspace_memory(as, gpa, len, REGION_ROM);
    if (p)
        memcpy(data, p, len);
    return p;
}

bool addrspace_load(struct addrspace *as, gpa_t gpa, const void *data, uint64_t len)
{
    uint8_t *p = addrspace_memory(as, gpa, len, REGION_ROM);
    if (p)
        memcpy(p, data, len);
    return p;
}

static bool page_is_zero(const uint8_t *p)
{
    return !p[0] && !memcmp(p, p + 1, PAGE - 1);
}

/*
 * Where from `offset` on the next page is that was ever touched (SEEK_DATA) or never was
 * (SEEK_HOLE): looking for non-zero pages must not make untouched ones resident. A page that the
 * host has swapped out counts as touched.
 */
static uint64_t region_seek(const struct region *r, uint64_t offset, int whence)
{
    off_t found = lseek(r->fd, (off_t)offset, whence);
    if (found >= 0)
        return (uint64_t)found;
    /* No data any more; or the host cannot say, and all of it is looked at. */
    return whence == SEEK_DATA && errno != ENXIO ? offset : r->size;
}

uint64_t addrspace_resident(const struct addrspace *as)
{
    uint64_t blocks = 0;
    for (unsigned i = 0; i < as->count; i++) {
        struct stat st;
        if (as->regions[i].kind != REGION_MMIO && !fstat(as->regions[i].fd, &st))
            blocks += (uint64_t)st.st_blocks;
    }
    return blocks * 512;
}

/* Makes bytes of a region a hole. Returns how many, 0 if the host does not. */
static uint64_t region_punch(const struct region *r, uint64_t offset, uint64_t len)
{
    if (fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len))
        return 0;
    region_unpopulate(r, offset, len);
    return len;
}

/* The `len` zero bytes before `end` become a hole, if they are worth it. Returns how many did. */
static uint64_t region_drop(const struct region *r, uint64_t end, uint64_t len)
{
    return len < FEW_ZEROS ? 0 : region_punch(r, end - len, len);
}

/* From *off on, no more than *bytes of what was touched. */
static uint64_t region_drop_zeros(const struct region *r, uint64_t *off, uint64_t *bytes)
{
    uint64_t dropped = 0;
    while (*bytes >= PAGE && (*off = region_seek(r, *off, SEEK_DATA)) < r->size) {
        uint64_t end = region_seek(r, *off, SEEK_HOLE), zeros = 0;
        for (; *off < end && *bytes >= PAGE; *off += PAGE, *bytes -= PAGE) {
            if (page_is_zero(r->host + *off)) {
                zeros += PAGE;
                continue;
            }
            dropped += region_drop(r, *off, zeros);
            zeros = 0;
        }
        dropped += region_drop(r, *off, zeros);
    }
    return dropped;
}

uint64_t addrspace_drop_zeros(struct addrspace *as, gpa_t *from, uint64_t *bytes)
{
    uint64_t dropped = 0;
    for (unsigned i = 0; i < as->count; i++) {
        const struct region *r = &as->regions[i];
        if (r->kind != REGION_RAM || (*from > r->base && *from - r->base >= r->size))
            continue;
        uint64_t off = *from > r->base ? *from - r->base : 0;
        dropped += region_drop_zeros(r, &off, bytes);
        *from = r->base + off;
        if (*bytes < PAGE)
            return dropped;
    }
    *from = 0;
    return dropped;
}

uint64_t addrspace_give_back(const struct addrspace *as, void *host, uint64_t len)
{
    uint64_t offset;
    const struct region *r = addrspace_find_host(as, host, len, &offset);
    uint64_t first = align_up(offset, PAGE), end = align_down(offset + len, PAGE);
    return r && first < end ? region_punch(r, first, end - first) : 0;
}

/* Calls fn for each page of memory that is not all zero. */
static void addrspace_each_page(const struct addrspace *as,
                                void (*fn)(void *ctx, gpa_t gpa, const uint8_t *page), void *ctx)
{
    for (unsigned i = 0; i < as->count; i++) {
        const struct region *r = &as->regions[i];
        if (r->kind == REGION_MMIO)
            continue;
        uint64_t off = region_seek(r, 0, SEEK_DATA);
        while (off < r->size) {
            uint64_t end = region_seek(r, off, SEEK_HOLE);
            for (; off < end; off += PAGE)
                if (!page_is_zero(r->host + off))
                    fn(ctx, r->base + off, r->host + off);
            off = region_seek(r, off, SEEK_DATA);
        }
    }
}

static void save_page(void *ctx, gpa_t gpa, const uint8_t *page)
{
    uint8_t record[8 + PAGE];
    le64_put(record, gpa);
    memcpy(record + 8, page, PAGE);
    state_save_bytes(ctx, "page", record, sizeof record);
}

void addrspace_save(struct addrspace *as, struct state_out *out)
{
    addrspace_each_page(as, save_page, out);
    state_save_bytes(out, "page", NULL, 0);
}

static void region_clear(const struct region *r)
{
    if (!region_punch(r, 0, r->size))
        memset(r->host, 0, r->size);
}

int addrspace_load_state(struct addrspace *as, struct state_in *in, struct error *err)
{
    for (unsigned i = 0; i < as->count; i++)
        if (as->regions[i].kind != REGION_MMIO)
            region_clear(&as->regions[i]);
    for (;;) {
        const uint8_t *record;
        size_t len;
        int rc = state_load_bytes(in, "page", &record, &len, err);
        if (rc)
            return rc;
        if (!len)
            return 0;
        if (len != 8 + PAGE)
            return error_set(err, EINVAL, "saved state holds a memory page of %zu bytes", len);
        gpa_t gpa = le64_get(record);
        if (gpa % PAGE || !addrspace_load(as, gpa, record + 8, PAGE))
            return error_set(err, EINVAL,
                             "saved state holds memory at 0x%llx, where this machine has none",
                             (unsigned long long)gpa);
    }
}

static void hash_page(void *ctx, gpa_t gpa, const uint8_t *page)
{
    uint64_t *hash = ctx;
    *hash = XXH3_64bits_withSeed(page, PAGE, *hash ^ gpa);
}

uint64_t addrspace_hash(const struct addrspace *as, uint64_t seed)
{
    addrspace_each_page(as, hash_page, &seed);
    return seed;
}

static uint64_t u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Offset of the first byte that differs, size if there is none. */
static uint64_t region_difference(const struct region *a, const struct region *b)
{
    uint64_t off = 0;
    for (;;) {
        uint64_t in_a = region_seek(a, off, SEEK_DATA), in_b = region_seek(b, off, SEEK_DATA);
        off = u64_min(in_a, in_b);
        if (off >= a->size)
            return a->size;
        uint64_t end = region_seek(in_a == off ? a : b, off, SEEK_HOLE);
        for (; off < end; off += PAGE) {
            if (!memcmp(a->host + off, b->host + off, PAGE))
                continue;
            while (a->host[off] == b->host[off])
                off++;
            return off;
        }
    }
}

bool addrspace_equal(const struct addrspace *a, const struct addrspace *b, gpa_t *at)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (a->regions[i].kind == REGION_MMIO)
            continue;
        uint64_t off = region_difference(&a->regions[i], &b->regions[i]);
        *at = a->regions[i].base + off;
        if (off < a->regions[i].size)
            return false;
    }
    return true;
}
