/*
 * The kernel's list of mappings: asked where the one of mm_list.c cannot know, and shown to the
 * program with the program's protections.
 *
 * /proc/thread-self and not /proc/self, which is empty when the first thread has ended.
 */
#include "proc/mm_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NAME_COLUMN 73

struct maps_line {
    uint64_t start, end, offset;
    int prot; /* the host's */
    char shared;
    unsigned major, minor;
    uint64_t inode;
    const char *name; /* "": none */
};

struct maps {
    FILE *file;
    char *text;
    size_t size;
};

static bool maps_open(struct maps *m)
{
    *m = (struct maps){.file = fopen("/proc/thread-self/maps", "re")};
    return m->file;
}

static void maps_close(struct maps *m)
{
    if (m->file)
        fclose(m->file);
    free(m->text);
}

static bool maps_parse(char *text, struct maps_line *l)
{
    char perms[5];
    int at = 0;
    text[strcspn(text, "\n")] = 0;
    if (sscanf(text, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &l->start,
               &l->end, perms, &l->offset, &l->major, &l->minor, &l->inode, &at) < 7)
        return false;
    l->prot = (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
              (perms[2] == 'x' ? PROT_EXEC : 0);
    l->shared = perms[3];
    l->name = text + at;
    return true;
}

/* The next mapping below MM_HIGH; the name is good until the next call. */
static bool maps_next(struct maps *m, struct maps_line *l)
{
    if (!m->file || getline(&m->text, &m->size, m->file) < 0)
        return false;
    return maps_parse(m->text, l) && l->start < MM_HIGH;
}

/* ---- asking ---- */

bool mm_kernel_has_any(void)
{
    struct maps m;
    struct maps_line l;
    maps_open(&m);
    bool any = maps_next(&m, &l);
    maps_close(&m);
    return any;
}

uint64_t mm_first_other(uint64_t start, uint64_t end, int host_prot)
{
    struct maps m;
    struct maps_line l;
    uint64_t at = start;
    maps_open(&m);
    while (at < end && maps_next(&m, &l)) {
        if (l.end <= at)
            continue;
        if (l.start > at || l.prot != host_prot)
            break;
        at = l.end;
    }
    maps_close(&m);
    return at < end ? at : end;
}

/* What the kernel has mapped and the list has not: a stack has grown, or nobody knows why. */
static bool sync_add(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
    while (start < end) {
        unsigned i = mm_find(mm, start);
        bool above = i < mm->count && mm->range[i].start < end;
        if (above && mm->range[i].start <= start) {
            start = mm->range[i].end;
            continue;
        }
        if (mm_reserve(mm, 4))
            return false;
        const struct mm_range *r = &mm->range[i];
        uint64_t stop = above ? r->start : end;
        if (above && r->grows)
            mm_set(mm, start, stop, r->prot, true);
        else
            mm_set(mm, start, stop, (uint8_t)prot, false);
        start = stop;
    }
    return true;
}

/* Callers have room for 2 ranges, and shall have it afterwards. */
void mm_sync(struct mm *mm, uint64_t start, uint64_t end)
{
    struct maps m;
    struct maps_line l;
    uint64_t at = start;
    bool ok = maps_open(&m);
    while (ok && at < end && maps_next(&m, &l)) {
        if (l.end <= at)
            continue;
        uint64_t from = l.start < at ? at : l.start < end ? l.start : end;
        uint64_t to = l.end < end ? l.end : end;
        ok = mm_reserve(mm, 4) == 0;
        if (!ok)
            break;
        mm_clear(mm, at, from);
        ok = sync_add(mm, from, to, l.prot);
        at = to;
    }
    if (ok && at < end && mm_reserve(mm, 4) == 0)
        mm_clear(mm, at, end);
    maps_close(&m);
}

/* ---- showing ---- */

/* The kernel's names for what is no file, where the host's differ. */
static const char *maps_name(const struct mm *mm, const struct maps_line *l)
{
    if (l->inode || l->name[0])
        return l->name;
    if (l->start < mm->brk_mapped && l->end > mm->brk_start)
        return "[heap]";
    if (l->start < mm->stack_end && l->end >= mm->stack_end)
        return "[stack]";
    if (mm->sigreturn >= l->start && mm->sigreturn < l->end)
        return "[vdso]";
    return "";
}

static void maps_print_line(const struct mm *mm, const struct maps_line *l, FILE *out)
{
    const char *name = maps_name(mm, l);
    int n = fprintf(
        out, "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %02x:%02x %" PRIu64 " ", l->start,
        l->end, l->prot & PROT_READ ? 'r' : '-', l->prot & PROT_WRITE ? 'w' : '-',
        l->prot & PROT_EXEC ? 'x' : '-', l->shared, l->offset, l->major, l->minor, l->inode);
    if (name[0])
        fprintf(out, "%*s%s", n < NAME_COLUMN ? NAME_COLUMN - n : 0, "", name);
    fputc('\n', out);
}

/* The host's line, in pieces where the program's protections change, or the heap or stack ends. */
static void maps_print_split(const struct mm *mm, const struct maps_line *l, FILE *out)
{
    const uint64_t borders[] = {mm->brk_start, mm->brk_mapped, mm->stack_start,
                                mm->stack_end, mm->sigreturn,  mm->sigreturn + MM_PAGE};
    struct maps_line piece = *l;
    while (piece.start < l->end) {
        unsigned i = mm_find(mm, piece.start);
        piece.end = l->end;
        if (i < mm->count && mm->range[i].start <= piece.start) {
            piece.prot = mm->range[i].prot;
            if (mm->range[i].end < piece.end)
                piece.end = mm->range[i].end;
        }
        for (unsigned k = 0; k < sizeof borders / sizeof borders[0] && !l->inode; k++) {
            if (borders[k] > piece.start && borders[k] < piece.end)
                piece.end = borders[k];
        }
        maps_print_line(mm, &piece, out);
        if (l->inode)
            piece.offset += piece.end - piece.start;
        piece.start = piece.end;
    }
}

void mm_print_maps(struct mm *mm, FILE *out)
{
    struct maps m;
    struct maps_line l;
    pthread_mutex_lock(&mm->lock);
    maps_open(&m);
    while (maps_next(&m, &l)) {
        if (l.end > MM_HIGH)
            l.end = MM_HIGH;
        maps_print_split(mm, &l, out);
    }
    maps_close(&m);
    pthread_mutex_unlock(&mm->lock);
}
