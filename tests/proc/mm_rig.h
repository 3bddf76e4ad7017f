/*
 * What tests of the address space share: one that is emptied after each test, a helper to map, and
 * what the kernel says is there. One thread.
 */
#pragma once

#include "proc/mm.h"
#include "proc/process.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED (ANON | MAP_FIXED)

extern struct mm mm;
extern struct process process; /* only its address is used */

/* Calls of process_code_changed since somebody set count to 0, and the last one's range. */
extern struct mm_rig_changed {
    unsigned count;
    uint64_t start, end;
} changed;

/* Before and after each test. */
int mm_rig_begin(void **state);
int mm_rig_end(void **state);
/* Is there room for a program at all? With sanitizers there is not; says that it skips then. */
bool mm_rig_usable(void);

/* Anonymous private pages at just this place. */
int64_t map(uint64_t at, unsigned pages, int prot);
/* The list's protections of the page; -1: free. */
int prot_at(uint64_t va);
/* The kernel's of each of n pages; -1: nothing there. */
void kernel_pages(uint64_t start, unsigned n, int *prot);
