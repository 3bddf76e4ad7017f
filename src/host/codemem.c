#include "host/codemem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/populate.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif

#define INT3 0xcc

/* A sealed file of the right size, its descriptor in *fd. */
static int codemem_file(size_t size, int *fd, struct error *err)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int file = memfd_create("guise-code", flags | MFD_EXEC);
    /* Kernels before 6.3 do not know MFD_EXEC, and always do what it asks for. */
    if (file < 0 && errno == EINVAL)
        file = memfd_create("guise-code", flags);
    if (file < 0)
        return error_set(err, errno, "memory for generated code: memfd_create: %s",
                         strerror(errno));
    if (ftruncate(file, (off_t)size) < 0 ||
        fcntl(file, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        int code = errno;
        close(file);
        return error_set(err, code, "memory for generated code, %zu bytes: %s", size,
                         strerror(code));
    }
    *fd = file;
    return 0;
}

/* A mapping that begins where huge pages do; fd -1: private memory. MAP_FAILED, and errno. */
static void *codemem_mmap(size_t size, int protection, int flags, int fd)
{
    uint8_t *p =
        mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return p;
    uint8_t *start = (uint8_t *)align_up((uintptr_t)p, HUGE_PAGE);
    if (start > p)
        munmap(p, (size_t)(start - p));
    if (p + HUGE_PAGE > start)
        munmap(start + size, (size_t)(p + HUGE_PAGE - start));
    void *mapped = mmap(start, size, protection, flags | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED) {
        int code = errno;
        munmap(start, size);
        errno = code;
    }
    return mapped;
}

/* Maps both views of fd. */
static int codemem_map(struct codemem *m, int fd, struct error *err)
{
    void *rw = codemem_mmap(m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    if (rw == MAP_FAILED)
        return error_set(err, errno, "mapping %zu bytes for generated code: %s", m->size,
                         strerror(errno));
    void *rx = codemem_mmap(m->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
    if (rx == MAP_FAILED) {
        int code = errno;
        munmap(rw, m->size);
        return error_set(err, code, "mapping %zu bytes of generated code executable: %s", m->size,
                         strerror(code));
    }
    m->rw = rw;
    m->rx = rx;
    return 0;
}

static bool codemem_is_private(const struct codemem *m)
{
    return m->rw == m->rx;
}

static size_t codemem_words(const struct codemem *m)
{
    return (m->size / CODEMEM_GRANULE + 63) / 64;
}

static int codemem_map_shared(struct codemem *m, struct error *err)
{
    int fd = -1, rc = codemem_file(m->size, &fd, err);
    if (rc == 0) {
        rc = codemem_map(m, fd, err);
        close(fd);
    }
    return rc;
}

/*
 * Much code is in huge pages, where the host has them for those who ask: a quarter of the time of a
 * large program was misses of the instruction TLB. Little code stays in small ones.
 */
static int codemem_map_private(struct codemem *m, struct error *err)
{
    uint8_t *p =
        codemem_mmap(m->size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (p == MAP_FAILED)
        return error_set(err, errno, "mapping %zu bytes for generated code: %s", m->size,
                         strerror(errno));
    if (m->size > HUGE_PAGE)
        madvise(p + HUGE_PAGE, m->size - HUGE_PAGE, MADV_HUGEPAGE);
    m->rw = p;
    m->rx = p;
    return 0;
}

static int codemem_make(struct codemem *m, size_t size,
                        int (*map)(struct codemem *m, struct error *err), struct error *err)
{
    int rc;
    *m = (struct codemem){0};
    if (size == 0 || size > CODEMEM_MAX)
        return error_set(err, EINVAL,
                         "the code cache cannot have %zu bytes; 1 to %llu are possible", size,
                         (unsigned long long)CODEMEM_MAX);
    m->size = align_up(size, (size_t)sysconf(_SC_PAGESIZE));
    m->taken = calloc(codemem_words(m), sizeof *m->taken);
    if (!m->taken)
        return error_set(err, ENOMEM, "no memory for the map of the code cache");
    rc = map(m, err);
    if (rc < 0) {
        free(m->taken);
        *m = (struct codemem){0};
    }
    return rc;
}

int codemem_init(struct codemem *m, size_t size, struct error *err)
{
    return codemem_make(m, size, codemem_map_shared, err);
}

int codemem_init_private(struct codemem *m, size_t size, struct error *err)
{
    return codemem_make(m, size, codemem_map_private, err);
}

void codemem_fini(struct codemem *m)
{
    if (!m->size)
        return;
    munmap(m->rw, m->size);
    if (!codemem_is_private(m))
        munmap((void *)(uintptr_t)m->rx, m->size);
    free(m->taken);
    *m = (struct codemem){0};
}

/* First granule at or after `at` whose bit is `value`, or end. */
static size_t codemem_next(const struct codemem *m, size_t at, size_t end, bool value)
{
    while (at < end) {
        uint64_t word = value ? m->taken[at / 64] : ~m->taken[at / 64];
        word >>= at % 64;
        if (word) {
            at += (size_t)__builtin_ctzll(word);
            return at < end ? at : end;
        }
        at = (at / 64 + 1) * 64;
    }
    return end;
}

/* First run of n free granules that begins in [at, end); end if there is none. */
static size_t codemem_find(const struct codemem *m, size_t at, size_t end, size_t n)
{
    size_t all = m->size / CODEMEM_GRANULE;
    while (at < end) {
        size_t first = codemem_next(m, at, end, false);
        if (first >= end || n > all - first)
            return end;
        at = codemem_next(m, first, first + n, true);
        if (at == first + n)
            return first;
    }
    return end;
}

static void codemem_mark(struct codemem *m, size_t first, size_t n, bool value)
{
    while (n > 0) {
        size_t bit = first % 64, count = n < 64 - bit ? n : 64 - bit;
        uint64_t mask = ~UINT64_C(0) >> (64 - count) << bit;
        assert((m->taken[first / 64] & mask) == (value ? 0 : mask));
        m->taken[first / 64] ^= mask;
        first += count;
        n -= count;
    }
}

static size_t codemem_granules(size_t n)
{
    return (n + CODEMEM_GRANULE - 1) / CODEMEM_GRANULE;
}

uint8_t *codemem_alloc(struct codemem *m, size_t n)
{
    size_t end = m->size / CODEMEM_GRANULE, count, first;
    if (n == 0 || n > m->size)
        return NULL;
    count = codemem_granules(n);
    first = codemem_find(m, m->rover, end, count);
    if (first == end) {
        first = codemem_find(m, 0, m->rover, count);
        if (first == m->rover)
            return NULL;
    }
    codemem_mark(m, first, count, true);
    m->used += count * CODEMEM_GRANULE;
    m->rover = first + count;
    populate(m->rw, m->size, &m->ready, m->rover * CODEMEM_GRANULE);
    return m->rw + first * CODEMEM_GRANULE;
}

static void codemem_release(struct codemem *m, size_t first, size_t n)
{
    codemem_mark(m, first, n, false);
    memset(m->rw + first * CODEMEM_GRANULE, INT3, n * CODEMEM_GRANULE);
    m->used -= n * CODEMEM_GRANULE;
}

void codemem_trim(struct codemem *m, uint8_t *rw, size_t old, size_t n)
{
    size_t first = (size_t)(rw - m->rw) / CODEMEM_GRANULE;
    size_t had = codemem_granules(old), keep = codemem_granules(n);
    assert(n > 0 && n <= old);
    codemem_mark(m, first + keep, had - keep, false);
    m->used -= (had - keep) * CODEMEM_GRANULE;
    if (m->rover == first + had)
        m->rover = first + keep;
}

void codemem_free(struct codemem *m, uint8_t *rw, size_t n)
{
    size_t first = (size_t)(rw - m->rw) / CODEMEM_GRANULE;
    assert(n > 0 && (size_t)(rw - m->rw) < m->size && first * CODEMEM_GRANULE + n <= m->size);
    codemem_release(m, first, codemem_granules(n));
}

void codemem_settle(struct codemem *m)
{
    if (codemem_is_private(m))
        return;
    /* A shared file's pages stay in the file. */
    (void)madvise(m->rw, m->size, MADV_DONTNEED);
    m->ready = align_down(m->rover * CODEMEM_GRANULE, (size_t)4096);
    size_t full = align_down(m->rover * CODEMEM_GRANULE, HUGE_PAGE);
    if (full <= m->huge)
        return;
    /* Where it fails the pages stay small. */
    (void)madvise((void *)(uintptr_t)(m->rx + m->huge), full - m->huge, MADV_COLLAPSE);
    m->huge = full;
}

void codemem_reset(struct codemem *m)
{
    memset(m->taken, 0, codemem_words(m) * sizeof *m->taken);
    m->used = 0;
    m->rover = 0;
    m->ready = 0;
    m->huge = 0;
    /* Where it fails the pages stay, which costs memory only. */
    (void)madvise(m->rw, m->size, codemem_is_private(m) ? MADV_DONTNEED : MADV_REMOVE);
}
