/*
 * Guarded accesses within a function: as those of guarded.h, but what the host refuses goes on at a
 * label of the function, with everything else unchanged. Each costs no more than the access.
 *
 * GUARDED_LOAD(value, va, label): value is a variable of an integer type of 1, 2, 4 or 8 bytes.
 * GUARDED_STORE(value, va, label): likewise, value need not be a variable.
 *
 * On hosts that have none (GUARDED_INLINE is 0) the label is always taken.
 */
#pragma once

#if defined(__x86_64__)
#define GUARDED_INLINE 1
/* Where the access is, and where to go on: offsets from the fields themselves. */
#define GUARDED_SITE(at, label)             \
    ".pushsection guarded_sites, \"a\"\n\t" \
    ".balign 4\n\t"                         \
    ".long " at " - ., " label " - .\n\t"   \
    ".popsection"

#define GUARDED_LOAD(value, va, label)                                        \
    __asm__ goto("1: mov %[p], %[v]\n\t" GUARDED_SITE("1b", "%l[" #label "]") \
                 : [v] "=r"(value)                                            \
                 : [p] "m"(*(__typeof__(value) *)(uintptr_t)(va))             \
                 :                                                            \
                 : label)
#define GUARDED_STORE(value, va, label)                                           \
    __asm__ goto("1: mov %[v], %[p]\n\t" GUARDED_SITE("1b", "%l[" #label "]")     \
                 :                                                                \
                 : [v] "r"(value), [p] "m"(*(__typeof__(value) *)(uintptr_t)(va)) \
                 :                                                                \
                 : label)
#else
#define GUARDED_INLINE 0
#define GUARDED_LOAD(value, va, label) \
    do {                               \
        (void)(va);                    \
        (value) = 0;                   \
        goto label;                    \
    } while (0)
#define GUARDED_STORE(value, va, label) \
    do {                                \
        (void)(va);                     \
        goto label;                     \
    } while (0)
#endif
