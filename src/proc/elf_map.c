/*
 * Segments of a file in memory. Nothing but the program's stack is there before; a file never gets
 * a place that is taken.
 */
#include "base/bits.h"
#include "host/guarded.h"
#include "isa/riscv64/hart.h"
#include "proc/elf_impl.h"
#include "proc/mm_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int segment_bad(const struct elf_file *f, int64_t rc, struct error *err)
{
    return error_set(err, (int)-rc, "a segment of %s cannot be mapped: %s", f->path,
                     strerror((int)-rc));
}

static int segment_prot(const Elf64_Phdr *ph)
{
    return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
           (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

/* What is in the file; behind its end the last page is cleared, where the program may write there.
 */
static int64_t segment_map_file(struct mm *mm, const struct elf_file *f, const Elf64_Phdr *ph)
{
    uint64_t start = ph->p_vaddr + f->bias, end = start + ph->p_filesz;
    uint64_t page = align_down(start, MM_PAGE);
    int64_t rc = mm_mmap(mm, page, end - page, segment_prot(ph), MAP_PRIVATE | MAP_FIXED, f->fd,
                         ph->p_offset - (start - page));
    if (rc < 0)
        return rc;
    if (ph->p_memsz > ph->p_filesz && (ph->p_flags & PF_W) && end % MM_PAGE &&
        !guarded_clear((void *)(uintptr_t)end, MM_PAGE - end % MM_PAGE))
        return -EFAULT; /* the file is shorter than it says */
    return 0;
}

/* What is not: whole pages, which can be written whatever the segment says. */
static int64_t segment_map_zeros(struct mm *mm, const struct elf_file *f, const Elf64_Phdr *ph)
{
    uint64_t start = ph->p_vaddr + f->bias, end = align_up(start + ph->p_memsz, MM_PAGE);
    uint64_t from =
        ph->p_filesz ? align_up(start + ph->p_filesz, MM_PAGE) : align_down(start, MM_PAGE);
    int64_t rc = 0;
    if (from < end)
        rc = mm_mmap(mm, from, end - from,
                     PROT_READ | PROT_WRITE | (ph->p_flags & PF_X ? PROT_EXEC : 0),
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return rc < 0 ? rc : 0;
}

static int segment_map(struct mm *mm, const struct elf_file *f, const Elf64_Phdr *ph,
                       struct error *err)
{
    int64_t rc = ph->p_filesz ? segment_map_file(mm, f, ph) : 0;
    if (!rc && ph->p_memsz > ph->p_filesz)
        rc = segment_map_zeros(mm, f, ph);
    return rc ? segment_bad(f, rc, err) : 0;
}

/* Sets the bias. */
static int elf_place(struct mm *mm, struct elf_file *f, uint64_t hint, struct error *err)
{
    bool fixed = f->eh.e_type == ET_EXEC;
    uint64_t align = fixed ? MM_PAGE : f->align, low = align_down(f->low, align);
    struct rv_image image;
    mm_lock(mm);
    uint64_t at = !fixed && !hint && image_read(f->fd, &image)
                      ? image_place(mm, &image, f->high - low, align)
                      : 0;
    if (!at)
        at = mm_place_now(mm, fixed ? f->low : align_down(hint, align), f->high - low, align);
    pthread_mutex_unlock(&mm->lock);
    if (!at || (fixed && at != f->low))
        return error_set(err, at ? EEXIST : ENOMEM, "%s has no room in memory", f->path);
    f->bias = at - low;
    return 0;
}

int elf_map(struct mm *mm, struct elf_file *f, uint64_t hint, struct error *err)
{
    int rc = elf_place(mm, f, hint, err);
    for (unsigned i = 0; i < f->eh.e_phnum && !rc; i++) {
        if (f->ph[i].p_type == PT_LOAD && f->ph[i].p_memsz)
            rc = segment_map(mm, f, &f->ph[i], err);
    }
    return rc;
}
