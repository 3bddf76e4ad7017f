/*
 * Programs' files in memory: which are mapped where, so that translations of them are found again,
 * and where they go when it is all the same to the program.
 *
 * Translated code knows its addresses. A library that goes wherever there is room is at another
 * place in each program; so its contents say where it goes, and only when that is taken it goes
 * elsewhere. There is room for some 20,000 files of up to 2 MiB, between the heap of a program and
 * its other mappings.
 */
#include "proc/mm_impl.h"

#include "base/bits.h"
#include "isa/riscv64/hart.h"
#include "store/unit.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGES_LOW UINT64_C(0x3000000000)
#define IMAGE_SLOT (UINT64_C(2) << 20)
#define IMAGE_SLOTS 24571u /* a prime: some 48 GiB */
#define IMAGE_TRIES 4u

#define MAX_IMAGES 4096u

bool image_read(int fd, struct rv_image *out)
{
    uint8_t page[UNIT_PAGE];
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    ssize_t n = pread(fd, page, sizeof page, 0);
    Elf64_Ehdr eh;
    if (n < (ssize_t)sizeof eh)
        return false;
    memcpy(&eh, page, sizeof eh);
    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_machine != EM_RISCV)
        return false;
    *out = (struct rv_image){.size = (uint64_t)st.st_size};
    unit_hash_image(page, (size_t)n, out->hash);
    return true;
}

uint64_t image_place(const struct mm *mm, const struct rv_image *image, uint64_t len,
                     uint64_t align)
{
    for (unsigned i = 0; i < IMAGE_TRIES && len <= IMAGE_SLOTS * IMAGE_SLOT; i++) {
        uint64_t slot = (image->hash[0] + i * (image->hash[1] | 1)) % IMAGE_SLOTS;
        uint64_t at = align_up(IMAGES_LOW + slot * IMAGE_SLOT, align);
        if (at + len <= MM_TOP && mm_free(mm, at, at + len))
            return at;
    }
    return 0;
}

/* ---- the list, in no order ---- */

static bool image_room(struct mm *mm)
{
    if (mm->image_count < mm->image_cap)
        return true;
    unsigned cap = mm->image_cap ? 2 * mm->image_cap : 32;
    struct rv_image *image = cap > MAX_IMAGES ? NULL : realloc(mm->image, cap * sizeof *mm->image);
    if (!image)
        return false;
    mm->image = image;
    mm->image_cap = cap;
    return true;
}

static void image_add(struct mm *mm, const struct rv_image *image)
{
    if (image->start < image->end && image_room(mm))
        mm->image[mm->image_count++] = *image;
}

void image_note(struct mm *mm, const struct rv_image *image, uint64_t start, uint64_t end,
                uint64_t offset)
{
    struct rv_image i = *image;
    i.start = start;
    i.end = end;
    i.base = start - offset;
    if (offset <= start)
        image_add(mm, &i);
}

void image_drop(struct mm *mm, uint64_t start, uint64_t end)
{
    for (unsigned n = mm->image_count; n-- > 0;) {
        struct rv_image below = mm->image[n], above = below;
        if (below.start >= end || below.end <= start)
            continue;
        mm->image[n] = mm->image[--mm->image_count];
        below.end = start;
        image_add(mm, &below);
        above.start = end;
        image_add(mm, &above);
    }
}

bool mm_image(struct mm *mm, uint64_t va, struct rv_image *out)
{
    bool found = false;
    mm_lock(mm);
    for (unsigned n = mm->image_count; n-- > 0 && !found;)
        if (va >= mm->image[n].start && va < mm->image[n].end) {
            *out = mm->image[n];
            found = true;
        }
    pthread_mutex_unlock(&mm->lock);
    return found;
}
