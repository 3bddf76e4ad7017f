/*
 * Address translation (Sv39, Sv48, Sv57; 10.3-10.6, Svnapot, Svpbmt, Svadu) and physical memory
 * protection (3.7). Pure functions over a hart and its env; filling a TLB is the engine's job.
 */
#pragma once

#include "isa/riscv64/hart.h"

enum rv_access { RV_READ = 1, RV_WRITE = 2, RV_EXEC = 4 };

struct rv_translation {
    uint64_t gpa;       /* of the byte asked for */
    uint64_t page_size; /* that one page-table entry maps */
    bool global;        /* the same in all address spaces */
    uint8_t perms;      /* enum rv_access: what the whole 4 KiB page may be used for, in this view,
                           without a look at the tables. 0: check every access. */
};

/*
 * Translates va for one access of `size` bytes that does not cross a page; sets A and D bits.
 * Returns true, or false with the exception in *cause.
 */
bool rv_translate(struct rv_hart *h, enum rv_view view, uint64_t va, unsigned size,
                  enum rv_access access, struct rv_translation *out, enum rv_cause *cause);

/*
 * What a TLB may remember of va without an access: no side effects; false unless A is set, writing
 * only with D.
 */
bool rv_translate_quiet(const struct rv_hart *h, enum rv_view view, uint64_t va,
                        struct rv_translation *out);

/* Translation for the debugger: no side effects, all permissions, current address space. */
bool rv_translate_debug(const struct rv_hart *h, uint64_t va, uint64_t *gpa);

/* PMP check of [gpa, gpa + size) for a privilege (3.7.1). */
bool rv_pmp_allows(const struct rv_hart *h, enum rv_priv priv, uint64_t gpa, unsigned size,
                   enum rv_access access);

/* Whether all of [gpa, gpa + size) is treated alike. */
bool rv_pmp_same(const struct rv_hart *h, uint64_t gpa, uint64_t size);

/* To be called after pmpcfg or pmpaddr have changed. */
void rv_pmp_changed(struct rv_hart *h);
