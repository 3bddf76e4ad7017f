/*
 * The list of ranges: a sorted array. Programs have some hundred ranges at most, because neighbours
 * with the same protections are one; looking up is a binary search, changing moves the tail.
 */
#include "proc/mm_impl.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* What the kernel keeps free below a stack: 256 pages. */
#define GUARD (256 * MM_PAGE)

unsigned mm_find(const struct mm *mm, uint64_t addr)
{
    unsigned lo = 0, hi = mm->count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (mm->range[mid].end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int mm_reserve(struct mm *mm, unsigned n)
{
    if (mm->cap - mm->count >= n)
        return 0;
    unsigned cap = 2 * mm->cap > mm->count + n ? 2 * mm->cap : mm->count + n + 32;
    struct mm_range *range = realloc(mm->range, cap * sizeof *range);
    if (!range)
        return -ENOMEM;
    mm->range = range;
    mm->cap = cap;
    return 0;
}

/* Makes one of range i - 1 and range i if they are alike and touch. */
static void mm_join(struct mm *mm, unsigned i)
{
    if (i == 0 || i >= mm->count)
        return;
    struct mm_range *a = &mm->range[i - 1], *b = &mm->range[i];
    if (a->end != b->start || a->prot != b->prot || a->grows != b->grows)
        return;
    a->end = b->end;
    memmove(b, b + 1, (mm->count - i - 1) * sizeof *b);
    mm->count--;
}

/* Puts n ranges in place of those from `from` up to `to`. */
static void mm_splice(struct mm *mm, unsigned from, unsigned to, const struct mm_range *with,
                      unsigned n)
{
    if (mm->count > to)
        memmove(&mm->range[from + n], &mm->range[to], (mm->count - to) * sizeof *with);
    if (n)
        memcpy(&mm->range[from], with, n * sizeof *with);
    mm->count = mm->count - (to - from) + n;
}

/* [start, end) becomes *with, or free where that is NULL. */
static void mm_replace(struct mm *mm, uint64_t start, uint64_t end, const struct mm_range *with)
{
    struct mm_range pieces[3];
    unsigned n = 0, from = mm_find(mm, start), to = from;
    while (to < mm->count && mm->range[to].start < end)
        to++;
    if (from < to && mm->range[from].start < start) {
        pieces[n] = mm->range[from];
        pieces[n++].end = start;
    }
    if (with)
        pieces[n++] = *with;
    if (from < to && mm->range[to - 1].end > end) {
        pieces[n] = mm->range[to - 1];
        pieces[n++].start = end;
    }
    mm_splice(mm, from, to, pieces, n);
    for (unsigned i = from + n + 1; i-- > from;)
        mm_join(mm, i);
}

void mm_set(struct mm *mm, uint64_t start, uint64_t end, uint8_t prot, bool grows)
{
    struct mm_range with = {start, end, prot, grows};
    if (start < end)
        mm_replace(mm, start, end, &with);
}

void mm_clear(struct mm *mm, uint64_t start, uint64_t end)
{
    if (start < end)
        mm_replace(mm, start, end, NULL);
}

bool mm_free(const struct mm *mm, uint64_t start, uint64_t end)
{
    unsigned i = mm_find(mm, start);
    return i == mm->count || mm->range[i].start >= end;
}

bool mm_has_code(const struct mm *mm, uint64_t start, uint64_t end)
{
    for (unsigned i = mm_find(mm, start); i < mm->count && mm->range[i].start < end; i++) {
        if (mm->range[i].prot & PROT_EXEC)
            return true;
    }
    return false;
}

uint64_t mm_mapped_until(const struct mm *mm, uint64_t addr, uint64_t end)
{
    for (unsigned i = mm_find(mm, addr); i < mm->count && addr < end; i++) {
        if (mm->range[i].start > addr)
            break;
        addr = mm->range[i].end;
    }
    return addr < end ? addr : end;
}

/* ---- free places ---- */

/* The lowest address that range i keeps others from. */
static uint64_t mm_low_end(const struct mm *mm, unsigned i)
{
    const struct mm_range *r = &mm->range[i];
    if (!r->grows)
        return r->start;
    return r->start > GUARD ? r->start - GUARD : 0;
}

/* The highest place within [low, high); 0: none. */
static uint64_t mm_place_below(const struct mm *mm, uint64_t low, uint64_t high, uint64_t len,
                               uint64_t align)
{
    unsigned i = mm_find(mm, high);
    if (i < mm->count && mm->range[i].start < high)
        i++;
    uint64_t top = i < mm->count && mm_low_end(mm, i) < high ? mm_low_end(mm, i) : high;
    while (top > low && top - low >= len) {
        uint64_t bottom = i ? mm->range[i - 1].end : low;
        uint64_t at = align_down(top - len, align);
        if (at >= bottom && at >= low)
            return at;
        if (!i)
            break;
        top = mm_low_end(mm, --i);
    }
    return 0;
}

/* Is the place a program asked for free, the gap below a stack included? */
static bool mm_hint_free(const struct mm *mm, uint64_t at, uint64_t len)
{
    if (at < MM_LOW || at > MM_HIGH - len)
        return false;
    unsigned i = mm_find(mm, at);
    return i == mm->count || (mm->range[i].start >= at + len && mm_low_end(mm, i) >= at + len);
}

uint64_t mm_place(const struct mm *mm, uint64_t hint, uint64_t len, uint64_t align)
{
    if (len > MM_HIGH)
        return 0;
    hint = align_down(hint, MM_PAGE);
    if (hint && hint < MM_LOW)
        hint = MM_LOW;
    if (hint && hint <= MM_HIGH && mm_hint_free(mm, align_up(hint, align), len))
        return align_up(hint, align);
    uint64_t at = mm_place_below(mm, MM_LOW, MM_TOP, len, align);
    return at ? at : mm_place_below(mm, MM_TOP, MM_HIGH, len, align);
}
