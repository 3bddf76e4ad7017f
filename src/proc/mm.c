#include "proc/mm_impl.h"

#include "base/bits.h"
#include "isa/riscv64/hart.h"
#include "proc/process.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifndef MAP_ABOVE4G
#define MAP_ABOVE4G 0x80
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#define MADV_GUARD_INSTALL_ 102

#define PROT_SEM_ 8 /* of <asm/mman.h>: without effect */
#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)
#define HUGE_SHIFT_DEFAULT 21

static void *host_ptr(uint64_t addr)
{
    return (void *)(uintptr_t)addr;
}

int mm_init(struct mm *mm, struct process *process, struct error *err)
{
    *mm = (struct mm){.process = process, .limit_as = RLIM_INFINITY, .limit_data = RLIM_INFINITY};
    if (mm_kernel_has_any())
        return error_set(err, EBUSY,
                         "guise has memory of its own below 2^45, where the program's is to be");
    int rc = pthread_mutex_init(&mm->lock, NULL);
    return rc ? error_set(err, rc, "making a lock: %s", strerror(rc)) : 0;
}

void mm_fini(struct mm *mm)
{
    free(mm->range);
    free(mm->image);
    pthread_mutex_destroy(&mm->lock);
    *mm = (struct mm){0};
}

/* ---- what the calls share ---- */

int mm_host_prot(int prot)
{
    int host = prot & ~PROT_EXEC;
    return prot & PROT_EXEC ? host | PROT_READ : host;
}

void mm_lock(struct mm *mm)
{
    pthread_mutex_lock(&mm->lock);
}

int64_t mm_unlock(struct mm *mm, const struct mm_change *c, int64_t result)
{
    pthread_mutex_unlock(&mm->lock);
    if (c->start < c->end && mm->process)
        process_code_changed(mm->process, c->start, c->end);
    return result;
}

void mm_note_code(const struct mm *mm, struct mm_change *c, uint64_t start, uint64_t end)
{
    if (!mm_has_code(mm, start, end))
        return;
    bool first = c->start == c->end;
    c->start = first || start < c->start ? start : c->start;
    c->end = first || end > c->end ? end : c->end;
}

uint64_t mm_place_now(struct mm *mm, uint64_t hint, uint64_t len, uint64_t align)
{
    if (mm->grows)
        mm_sync(mm, MM_LOW, MM_HIGH);
    return mm_place(mm, hint, len, align);
}

/* ---- limits ---- */

void mm_set_limits(struct mm *mm, uint64_t as, uint64_t data)
{
    atomic_store(&mm->limit_as, as);
    atomic_store(&mm->limit_data, data);
}

static bool mm_exceeds(uint64_t limit, uint64_t used, uint64_t len)
{
    return used > limit || len > limit - used;
}

bool mm_within_limits(const struct mm *mm, uint64_t len, bool data)
{
    uint64_t as = atomic_load(&mm->limit_as), used = 0;
    if (data && mm_exceeds(atomic_load(&mm->limit_data), mm->brk_mapped - mm->brk_start, len))
        return false;
    for (unsigned i = 0; i < mm->count && as != RLIM_INFINITY; i++)
        used += mm->range[i].end - mm->range[i].start;
    return as == RLIM_INFINITY || !mm_exceeds(as, used, len);
}

/* ---- mmap ---- */

struct mapping {
    uint64_t addr, len;
    int prot, flags, fd;
    uint64_t offset;
    uint64_t align; /* of places, and what lengths are rounded up to */
    bool is_image;  /* a program's file: */
    struct rv_image image;
};

/*
 * Huge pages are rounded and aligned to their size. The host does not see that the program wants to
 * execute the file, so what forbids it is checked here.
 */
static int mapping_check_file(struct mapping *m)
{
    struct statfs fs;
    m->align = MM_PAGE;
    if (m->flags & MAP_ANONYMOUS) {
        unsigned shift = ((unsigned)m->flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK;
        if (m->flags & MAP_HUGETLB)
            m->align = UINT64_C(1) << (shift ? shift : HUGE_SHIFT_DEFAULT);
        return m->align < MM_PAGE || m->align > MM_TOP ? -EINVAL : 0;
    }
    if (fstatfs(m->fd, &fs) < 0)
        return errno == EBADF ? -EBADF : 0;
    if ((m->prot & PROT_EXEC) && (fs.f_flags & ST_NOEXEC))
        return -EPERM;
    if (fs.f_type == HUGETLBFS_MAGIC && is_pow2((uint64_t)fs.f_bsize))
        m->align = (uint64_t)fs.f_bsize;
    return 0;
}

/* At the place that the program insists on. Only its end is asked for before its alignment. */
static int mapping_check_fixed(const struct mm *mm, const struct mapping *m)
{
    if (m->addr > MM_HIGH - m->len)
        return -ENOMEM;
    if (m->addr % MM_PAGE)
        return -EINVAL;
    if (m->addr < MM_LOW)
        return -EPERM;
    if ((m->flags & MAP_FIXED_NOREPLACE) && !mm_free(mm, m->addr, m->addr + m->len))
        return -EEXIST;
    return 0;
}

static int mapping_check(struct mapping *m)
{
    if (m->offset % MM_PAGE || !m->len)
        return -EINVAL;
    int rc = mapping_check_file(m);
    if (rc)
        return rc;
    m->len = align_up(m->len, m->align);
    if (!m->len || m->len > MM_HIGH)
        return -ENOMEM;
    /* Of x86 only. Where flags are checked at all, this is one that riscv64 does not know. */
    if ((m->flags & (MAP_32BIT | MAP_ABOVE4G)) && (m->flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
        return -EOPNOTSUPP;
    m->flags &= ~(MAP_32BIT | MAP_ABOVE4G);
    return 0;
}

/* As the kernel, which does not count what the mapping replaces. */
static bool mapping_allowed(const struct mm *mm, const struct mapping *m)
{
    uint64_t end = m->addr + m->len, at = m->addr, there = 0;
    for (unsigned i = mm_find(mm, at); (m->flags & MAP_FIXED) && i < mm->count; i++) {
        const struct mm_range *r = &mm->range[i];
        uint64_t from = r->start > at ? r->start : at, to = r->end < end ? r->end : end;
        there += from < to ? to - from : 0;
    }
    bool data = (m->flags & MAP_TYPE) == MAP_PRIVATE && (m->prot & PROT_WRITE);
    return mm_within_limits(mm, m->len - there, data);
}

static int mapping_do(const struct mapping *m, uint64_t addr, int how)
{
    int flags = (m->flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE)) | how;
    const void *p =
        mmap(host_ptr(addr), m->len, mm_host_prot(m->prot), flags, m->fd, (off_t)m->offset);
    return p == MAP_FAILED ? -errno : 0;
}

/* Data that programs map at a place of their own is no image. */
static void mapping_look(struct mapping *m)
{
    bool placed = m->addr || (m->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
    m->is_image = !(m->flags & MAP_ANONYMOUS) && m->align == MM_PAGE &&
                  ((m->prot & PROT_EXEC) || !placed) && image_read(m->fd, &m->image);
}

static uint64_t mapping_find(struct mm *mm, const struct mapping *m)
{
    uint64_t at = m->is_image && !m->addr ? image_place(mm, &m->image, m->len, m->align) : 0;
    return at ? at : mm_place_now(mm, m->addr, m->len, m->align);
}

/* Where the list says that nothing is; it is corrected when the kernel knows better. */
static int64_t mapping_place(struct mm *mm, const struct mapping *m)
{
    for (unsigned try = 0; try < 8; try++) {
        uint64_t at = mapping_find(mm, m);
        if (!at)
            return -ENOMEM;
        int rc = mapping_do(m, at, MAP_FIXED_NOREPLACE);
        if (rc != -EEXIST)
            return rc ? rc : (int64_t)at;
        mm_sync(mm, MM_LOW, MM_HIGH);
    }
    return -ENOMEM;
}

static int64_t mapping_fix(struct mm *mm, const struct mapping *m)
{
    int rc = mapping_check_fixed(mm, m);
    if (rc)
        return rc;
    rc = mapping_do(m, m->addr, m->flags & MAP_FIXED_NOREPLACE ? MAP_FIXED_NOREPLACE : MAP_FIXED);
    /* What was there may be gone already. */
    if (rc && !mm_free(mm, m->addr, m->addr + m->len))
        mm_sync(mm, m->addr, m->addr + m->len);
    return rc ? rc : (int64_t)m->addr;
}

int64_t mm_mmap(struct mm *mm, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                uint64_t offset)
{
    struct mapping m = {
        .addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .offset = offset};
    struct mm_change c = {0};
    int64_t rc = mapping_check(&m);
    if (rc)
        return rc;
    mapping_look(&m);
    mm_lock(mm);
    rc = mm_reserve(mm, 2);
    if (!rc && !mapping_allowed(mm, &m))
        rc = -ENOMEM;
    if (!rc && (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
        if (addr <= MM_HIGH - m.len)
            mm_note_code(mm, &c, addr, addr + m.len);
        rc = mapping_fix(mm, &m);
    } else if (!rc) {
        rc = mapping_place(mm, &m);
    }
    if (rc < 0)
        return mm_unlock(mm, &c, rc);
    uint64_t start = (uint64_t)rc;
    mm_set(mm, start, start + m.len, (uint8_t)(prot & PROT_ALL), flags & MAP_GROWSDOWN);
    image_drop(mm, start, start + m.len);
    if (m.is_image)
        image_note(mm, &m.image, start, start + m.len, offset);
    mm_note_code(mm, &c, start, start + m.len);
    mm->grows |= (flags & MAP_GROWSDOWN) != 0;
    return mm_unlock(mm, &c, rc);
}

/* ---- munmap ---- */

int64_t mm_unmap_locked(struct mm *mm, struct mm_change *c, uint64_t start, uint64_t end)
{
    int rc = mm_reserve(mm, 2);
    if (rc)
        return rc;
    mm_note_code(mm, c, start, end);
    if (munmap(host_ptr(start), end - start) < 0)
        return -errno;
    mm_clear(mm, start, end);
    image_drop(mm, start, end);
    return 0;
}

int64_t mm_munmap(struct mm *mm, uint64_t addr, uint64_t len)
{
    struct mm_change c = {0};
    if (addr % MM_PAGE || addr > MM_HIGH || len > MM_HIGH - addr || !len)
        return -EINVAL;
    uint64_t start = addr < MM_LOW ? MM_LOW : addr, end = addr + align_up(len, MM_PAGE);
    if (start >= end) /* nothing is ever there */
        return 0;
    mm_lock(mm);
    return mm_unlock(mm, &c, mm_unmap_locked(mm, &c, start, end));
}

/* ---- mprotect ---- */

/* Changes pages without a hole between them; gives up in the middle as the kernel does. */
static int protect_locked(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
    int host = mm_host_prot(prot), rc = 0;
    uint64_t done = end;
    if (mprotect(host_ptr(start), end - start, host) < 0) {
        rc = -errno;
        done = mm_first_other(start, end, host & PROT_ALL);
    }
    for (uint64_t at = start; at < done;) {
        const struct mm_range *r = &mm->range[mm_find(mm, at)];
        uint64_t next = r->end < done ? r->end : done;
        mm_set(mm, at, next, (uint8_t)(prot & PROT_ALL), r->grows);
        at = next;
    }
    return rc;
}

/* PROT_GROWSDOWN reaches to the start of the stack. */
static int protect_grows(const struct mm *mm, uint64_t *start)
{
    unsigned i = mm_find(mm, *start);
    if (i == mm->count || mm->range[i].start > *start)
        return -ENOMEM;
    if (!mm->range[i].grows)
        return -EINVAL;
    *start = mm->range[i].start;
    return 0;
}

int64_t mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot)
{
    const int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    struct mm_change c = {0};
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
    if (addr % MM_PAGE || grows == (PROT_GROWSDOWN | PROT_GROWSUP))
        return -EINVAL;
    if (!len)
        return 0;
    uint64_t start = addr, end = addr + align_up(len, MM_PAGE);
    if (end <= addr)
        return -ENOMEM;
    if (prot & ~(PROT_ALL | PROT_SEM_))
        return -EINVAL;
    mm_lock(mm);
    if (mm->grows)
        mm_sync(mm, MM_LOW, MM_HIGH);
    int rc = mm_reserve(mm, 2);
    if (!rc && grows) {
        rc = grows == PROT_GROWSDOWN                      ? protect_grows(mm, &start)
             : mm_mapped_until(mm, addr, addr + 1) > addr ? -EINVAL
                                                          : -ENOMEM;
    }
    uint64_t stop = mm_mapped_until(mm, start, end);
    if (!rc && stop > start) {
        mm_note_code(mm, &c, start, stop);
        rc = protect_locked(mm, start, stop, prot);
        mm_note_code(mm, &c, start, stop);
    }
    return mm_unlock(mm, &c, rc || stop == end ? rc : -ENOMEM);
}

/* ---- madvise ---- */

/* Does the advice change what the pages hold? */
static bool advice_changes(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
           advice == MADV_DONTNEED_LOCKED || advice == MADV_GUARD_INSTALL_;
}

int64_t mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice)
{
    struct mm_change c = {0};
    uint64_t start = addr, end = addr + align_up(len, MM_PAGE);
    bool beyond = len && (end > MM_HIGH || addr < MM_LOW);
    /* Bad arguments, and no length at all: the host says what of it. */
    if (addr % MM_PAGE || end < addr || (len && end == addr) || end == addr)
        return madvise(host_ptr(addr), len, advice) < 0 ? -errno : 0;
    if (beyond) {
        start = start < MM_LOW ? MM_LOW : start;
        end = end > MM_HIGH ? MM_HIGH : end;
        start = start < end ? start : end;
    }
    mm_lock(mm);
    int64_t rc = madvise(host_ptr(start), end - start, advice) < 0 ? -errno : 0;
    if (advice_changes(advice))
        mm_note_code(mm, &c, start, end);
    return mm_unlock(mm, &c, !rc && beyond ? -ENOMEM : rc);
}

/* ---- the heap ---- */

void mm_set_heap(struct mm *mm, uint64_t start)
{
    mm->brk_start = mm->brk = mm->brk_mapped = start;
}

/* One page has to be free behind the heap, too. */
static bool brk_grow(struct mm *mm, uint64_t end)
{
    uint64_t start = mm->brk_mapped, len = end - start;
    if (!mm_within_limits(mm, len, true))
        return false;
    if (end > MM_HIGH - MM_PAGE || mm_reserve(mm, 2) ||
        mm_place_now(mm, start, len + MM_PAGE, MM_PAGE) != start)
        return false;
    const void *p = mmap(host_ptr(start), len, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    mm_set(mm, start, end, PROT_READ | PROT_WRITE, false);
    return true;
}

/* addr: at least brk_start. */
static bool brk_move(struct mm *mm, struct mm_change *c, uint64_t addr)
{
    uint64_t end = align_up(addr, MM_PAGE);
    struct rlimit limit;
    if (addr > MM_HIGH)
        return false;
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && addr - mm->brk_start > limit.rlim_cur)
        return false;
    if (end > mm->brk_mapped)
        return brk_grow(mm, end);
    return end == mm->brk_mapped || mm_unmap_locked(mm, c, end, mm->brk_mapped) == 0;
}

int64_t mm_brk(struct mm *mm, uint64_t addr)
{
    struct mm_change c = {0};
    mm_lock(mm);
    if (addr >= mm->brk_start && brk_move(mm, &c, addr)) {
        mm->brk = addr;
        mm->brk_mapped = align_up(addr, MM_PAGE);
    }
    return mm_unlock(mm, &c, (int64_t)mm->brk);
}

/* ---- questions ---- */

void mm_set_stack(struct mm *mm, uint64_t start, uint64_t end)
{
    mm_lock(mm);
    unsigned i = mm_find(mm, start);
    if (i < mm->count && !mm_reserve(mm, 2))
        mm_set(mm, start, end, mm->range[i].prot, true);
    mm->stack_start = start;
    mm->stack_end = end;
    pthread_mutex_unlock(&mm->lock);
}

bool mm_executable(struct mm *mm, uint64_t va)
{
    mm_lock(mm);
    bool yes = mm_has_code(mm, va, va + 1);
    pthread_mutex_unlock(&mm->lock);
    return yes;
}

static enum mm_verdict access_locked(const struct mm *mm, uint64_t va, int needs)
{
    void *p = (void *)(uintptr_t)align_down(va, 4);
    uint64_t value;
    unsigned i = mm_find(mm, va);
    if (i >= mm->count || mm->range[i].start > va)
        return MM_NOTHING;
    if (!(mm->range[i].prot & needs))
        return MM_NOT_SO;
    bool works = needs == PROT_WRITE ? guarded_writable(p) : guarded_load(p, 4, &value);
    return works ? MM_ALLOWED : MM_NOT_THERE;
}

enum mm_verdict mm_access(struct mm *mm, uint64_t va, int needs)
{
    mm_lock(mm);
    enum mm_verdict verdict = access_locked(mm, va, needs);
    pthread_mutex_unlock(&mm->lock);
    return verdict;
}

bool mm_mapped(struct mm *mm, uint64_t addr, uint64_t len)
{
    if (addr > MM_HIGH || len > MM_HIGH - addr)
        return false;
    mm_lock(mm);
    bool yes = mm_mapped_until(mm, addr, addr + len) == addr + len;
    if (!yes && mm->grows) {
        mm_sync(mm, MM_LOW, MM_HIGH);
        yes = mm_mapped_until(mm, addr, addr + len) == addr + len;
    }
    pthread_mutex_unlock(&mm->lock);
    return yes;
}
