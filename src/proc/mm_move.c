/* Calls that move mappings or bring in segments: mremap, shmat, shmdt. */
#include "proc/mm_impl.h"

#include "base/bits.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct move {
    uint64_t from, old_len, to, new_len;
    int flags;
};

static int64_t move_do(const struct move *m, int flags)
{
    const void *p =
        mremap((void *)(uintptr_t)m->from, m->old_len, m->new_len, flags, (void *)(uintptr_t)m->to);
    return p == MAP_FAILED ? -errno : (int64_t)(uintptr_t)p;
}

/* ---- what is noted after a move ---- */

/*
 * The protections go along; what is new has those of the last page. Kernels that move several
 * mappings in one call leave alone what is behind the holes between them.
 */
static void move_note(struct mm *mm, const struct move *m)
{
    uint64_t kept = m->old_len < m->new_len ? m->old_len : m->new_len;
    unsigned last = mm_find(mm, kept ? m->from + kept - 1 : m->from);
    uint8_t prot = last < mm->count ? mm->range[last].prot : 0;
    bool grows = last < mm->count && mm->range[last].grows;
    for (uint64_t at = 0; at < kept;) {
        unsigned i = mm_find(mm, m->from + at);
        if (i == mm->count || mm->range[i].start >= m->from + kept)
            break;
        struct mm_range r = mm->range[i];
        uint64_t start = r.start > m->from + at ? r.start - m->from : at;
        uint64_t end = r.end - m->from < kept ? r.end - m->from : kept;
        mm_set(mm, m->to + start, m->to + end, r.prot, r.grows);
        at = end;
    }
    mm_set(mm, m->to + kept, m->to + m->new_len, prot, grows);
    if (!(m->flags & MREMAP_DONTUNMAP))
        mm_clear(mm, m->from, m->from + m->old_len);
}

/* Moves to m->to, of which the caller has found that it may be overwritten. */
static int64_t move_to(struct mm *mm, struct mm_change *c, const struct move *m)
{
    int rc = mm_reserve(mm, mm->count + 8);
    if (rc)
        return rc;
    mm_note_code(mm, c, m->from, m->from + m->old_len);
    mm_note_code(mm, c, m->to, m->to + m->new_len);
    int64_t result = move_do(m, MREMAP_MAYMOVE | MREMAP_FIXED | (m->flags & MREMAP_DONTUNMAP));
    if (result < 0) {
        mm_sync(mm, m->from, m->from + m->old_len);
        mm_sync(mm, m->to, m->to + m->new_len);
        return result;
    }
    move_note(mm, m);
    image_drop(mm, m->from, m->from + m->old_len);
    image_drop(mm, m->to, m->to + m->new_len);
    mm_note_code(mm, c, m->to, m->to + m->new_len);
    return result;
}

/* ---- the three ways ---- */

static bool move_overlaps(const struct move *m)
{
    return m->from + m->old_len > m->to && m->to + m->new_len > m->from;
}

/* MREMAP_FIXED, or MREMAP_DONTUNMAP, for which `to` is a hint. */
static int64_t move_fixed(struct mm *mm, struct mm_change *c, struct move *m)
{
    if (m->to % MM_PAGE || m->new_len > MM_HIGH || m->to > MM_HIGH - m->new_len || move_overlaps(m))
        return -EINVAL;
    if (m->flags & MREMAP_FIXED)
        return m->to < MM_LOW ? -EPERM : move_to(mm, c, m);
    m->to = mm_place_now(mm, m->to, m->new_len, MM_PAGE);
    return m->to ? move_to(mm, c, m) : -ENOMEM;
}

static int64_t move_shrink(struct mm *mm, struct mm_change *c, const struct move *m)
{
    uint64_t start = m->from + m->new_len, end = m->from + m->old_len;
    int rc = mm_reserve(mm, 2);
    if (rc)
        return rc;
    mm_note_code(mm, c, start, end);
    int64_t result = move_do(m, 0);
    if (result >= 0)
        mm_clear(mm, start, end);
    if (result >= 0)
        image_drop(mm, start, end);
    return result;
}

static int64_t move_grow(struct mm *mm, struct mm_change *c, struct move *m)
{
    uint64_t end = m->from + m->old_len;
    if (!mm_within_limits(mm, m->new_len - m->old_len, false))
        return -ENOMEM;
    int rc = mm_reserve(mm, 2);
    if (rc)
        return rc;
    if (m->old_len && m->new_len <= MM_HIGH - m->from && mm_free(mm, end, m->from + m->new_len)) {
        const struct mm_range *last = &mm->range[mm_find(mm, end - 1)];
        int64_t result = move_do(m, 0);
        if (result >= 0) {
            mm_set(mm, end, m->from + m->new_len, last->prot, last->grows);
            mm_note_code(mm, c, end, m->from + m->new_len);
        }
        if (result != -ENOMEM)
            return result;
    }
    if (!(m->flags & MREMAP_MAYMOVE))
        return m->old_len && mm_mapped_until(mm, m->from, end) < end ? -EFAULT : -ENOMEM;
    m->to = m->new_len > MM_HIGH ? 0 : mm_place_now(mm, 0, m->new_len, MM_PAGE);
    return m->to ? move_to(mm, c, m) : -ENOMEM;
}

int64_t mm_mremap(struct mm *mm, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                  uint64_t new_addr)
{
    const int placed = MREMAP_FIXED | MREMAP_DONTUNMAP;
    struct move m = {addr, align_up(old_len, MM_PAGE), new_addr, align_up(new_len, MM_PAGE), flags};
    struct mm_change c = {0};
    if ((flags & ~(placed | MREMAP_MAYMOVE)) || ((flags & placed) && !(flags & MREMAP_MAYMOVE)) ||
        ((flags & MREMAP_DONTUNMAP) && old_len != new_len) || addr % MM_PAGE || !m.new_len)
        return -EINVAL;
    if (addr >= MM_HIGH)
        return -EFAULT;
    if (m.old_len > MM_HIGH - addr)
        return m.old_len >= m.new_len ? -EINVAL : -EFAULT;
    mm_lock(mm);
    int64_t rc;
    if (mm_mapped_until(mm, addr, addr + 1) == addr)
        rc = -EFAULT;
    else if (flags & placed)
        rc = move_fixed(mm, &c, &m);
    else if (m.old_len >= m.new_len)
        rc = move_shrink(mm, &c, &m);
    else
        rc = move_grow(mm, &c, &m);
    return mm_unlock(mm, &c, rc);
}

/* ---- System V shared memory ---- */

/* Where a segment goes; *addr is 0 for anywhere. */
static int64_t segment_place(struct mm *mm, uint64_t *addr, uint64_t len, int flags)
{
    if (!*addr) {
        *addr = mm_place_now(mm, 0, len, MM_PAGE);
        return *addr ? 0 : -ENOMEM;
    }
    if (*addr > MM_HIGH || len > MM_HIGH - *addr)
        return flags & SHM_REMAP ? -ENOMEM : -EINVAL;
    if (!(flags & SHM_REMAP) && !mm_free(mm, *addr, *addr + len))
        return -EINVAL;
    return *addr < MM_LOW ? -EPERM : 0;
}

static int64_t segment_attach(struct mm *mm, struct mm_change *c, int id, uint64_t addr, int flags)
{
    struct shmid_ds info;
    if (shmctl(id, IPC_STAT, &info) < 0)
        return -errno;
    uint64_t len = align_up(info.shm_segsz, MM_PAGE);
    int64_t rc = mm_reserve(mm, 2);
    if (!rc)
        rc = segment_place(mm, &addr, len, flags);
    if (rc)
        return rc;
    mm_note_code(mm, c, addr, addr + len);
    const void *p = shmat(id, (void *)(uintptr_t)addr, flags & ~(SHM_RND | SHM_EXEC));
    if (p == (void *)-1) {
        rc = -errno;
        mm_sync(mm, addr, addr + len);
        return rc;
    }
    int prot =
        PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
    mm_set(mm, addr, addr + len, (uint8_t)prot, false);
    image_drop(mm, addr, addr + len);
    mm_note_code(mm, c, addr, addr + len);
    return (int64_t)addr;
}

int64_t mm_shmat(struct mm *mm, int id, uint64_t addr, int flags)
{
    struct mm_change c = {0};
    if (id < 0 || (!addr && (flags & SHM_REMAP)))
        return -EINVAL;
    if (addr % MM_PAGE) {
        if (!(flags & SHM_RND) || (addr < MM_PAGE && (flags & SHM_REMAP)))
            return -EINVAL;
        addr = align_down(addr, MM_PAGE);
    }
    mm_lock(mm);
    return mm_unlock(mm, &c, segment_attach(mm, &c, id, addr, flags));
}

/* Parts of the segment may be gone or replaced since: the kernel knows which it has unmapped. */
int64_t mm_shmdt(struct mm *mm, uint64_t addr)
{
    struct mm_change c = {0};
    if (addr % MM_PAGE || addr >= MM_HIGH)
        return -EINVAL;
    mm_lock(mm);
    int rc = mm_reserve(mm, 2);
    if (!rc && shmdt((void *)(uintptr_t)addr) < 0)
        rc = -errno;
    if (!rc) {
        mm_note_code(mm, &c, addr, MM_HIGH);
        mm_sync(mm, addr, MM_HIGH);
    }
    return mm_unlock(mm, &c, rc);
}
