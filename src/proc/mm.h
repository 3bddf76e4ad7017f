/*
 * The program's address space: [MM_LOW, MM_HIGH) of this process, of which guise keeps out. All
 * mappings of guise itself (its code, heap, stacks, translations) are above MM_HIGH, where the
 * host's kernel puts them on its own.
 *
 * The kernel has no executable pages for the program; what the program may execute is noted here.
 * mm's list of ranges is the truth about what is free and what is executable; the kernel's about
 * all else.
 *
 * Executable pages are readable, as on most processors.
 *
 * Threads: any; a lock inside. What changes a page that is or becomes executable stops the other
 * threads until their translations are gone (process_code_changed) before it returns.
 */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MM_PAGE UINT64_C(4096)
#define MM_LOW UINT64_C(0x10000)
#define MM_HIGH (UINT64_C(1) << 45)
/*
 * Where mappings go that name no place: below this first, downwards, as on a board with Sv39, whose
 * programs have 38 bits; what does not fit there goes above. Programs' files, libraries above all,
 * go to a place of their own instead, found by their contents: translations of them are good for
 * all programs then (mm_image.c).
 */
#define MM_TOP ((UINT64_C(1) << 38) - MM_PAGE)

struct mm_range {
    uint64_t start, end;
    uint8_t prot; /* the program's PROT_... */
    bool grows;   /* downwards: nothing is placed close below it */
};

struct process;
struct rv_image;

struct mm {
    struct process *process;
    pthread_mutex_t lock;
    struct mm_range *range; /* sorted, disjoint; neighbours that are alike are one */
    unsigned count, cap;
    struct rv_image *image; /* mapped files that are programs, as far as they still are there */
    unsigned image_count, image_cap;
    bool grows; /* the kernel may make a range longer that the program wants to grow */
    uint64_t brk_start, brk, brk_mapped;   /* the heap; the last one is a page's end */
    uint64_t stack_start, stack_end;       /* of the first thread */
    _Atomic uint64_t limit_as, limit_data; /* bytes: mm_set_limits */
    uint64_t sigreturn; /* address of `li a7, 139; ecall`: the return from handlers of signals */
};

/*
 * process: whom changes of code are told; NULL: nobody. Fails with EBUSY if there are mappings
 * below MM_HIGH already.
 */
int mm_init(struct mm *mm, struct process *process, struct error *err);
void mm_fini(struct mm *mm); /* does not unmap */

/*
 * The system calls of the same names: results and errors are theirs (a negative errno). Places
 * outside [MM_LOW, MM_HIGH) are never touched: what would reach there fails as the kernel fails
 * beyond the end of user space.
 */
int64_t mm_mmap(struct mm *mm, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                uint64_t offset);
int64_t mm_munmap(struct mm *mm, uint64_t addr, uint64_t len);
int64_t mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot);
int64_t mm_mremap(struct mm *mm, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                  uint64_t new_addr);
int64_t mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice);
int64_t mm_brk(struct mm *mm, uint64_t addr); /* the new break, or the old one when it must stay */
int64_t mm_shmat(struct mm *mm, int id, uint64_t addr, int flags);
int64_t mm_shmdt(struct mm *mm, uint64_t addr);

/*
 * RLIMIT_AS and RLIMIT_DATA as the program has told them. The latter is held against the heap
 * together with one mapping, not against all mappings: nothing is refused that the kernel allows.
 */
void mm_set_limits(struct mm *mm, uint64_t as, uint64_t data);

/* Where the heap begins, a page's start. */
void mm_set_heap(struct mm *mm, uint64_t start);
/* What is mapped there is the first thread's stack. */
void mm_set_stack(struct mm *mm, uint64_t start, uint64_t end);

/* May the program execute at va? The page is then there and readable. */
bool mm_executable(struct mm *mm, uint64_t va);
/*
 * What the host thinks of an access at va, for one that it has refused: another thread may have
 * changed the mapping since, but does not while this looks. needs: PROT_..., one of which will do.
 */
enum mm_verdict {
    MM_ALLOWED,  /* it works now */
    MM_NOTHING,  /* nothing is mapped there */
    MM_NOT_SO,   /* what is there is not for that */
    MM_NOT_THERE /* it is, but its memory cannot be had: beyond the end of a file */
};
enum mm_verdict mm_access(struct mm *mm, uint64_t va, int needs);
/*
 * The file that is mapped at va, if it is a program's. Its pages may have been written to.
 */
bool mm_image(struct mm *mm, uint64_t va, struct rv_image *out);
/* Is all of it mapped, whatever for? */
bool mm_mapped(struct mm *mm, uint64_t addr, uint64_t len);

/* /proc/self/maps as the program sees it. */
void mm_print_maps(struct mm *mm, FILE *out);
