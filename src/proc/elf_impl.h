/* Between the files of the loader: elf.c reads headers, elf_map.c maps, elf_stack.c fills the
 * stack. */
#pragma once

#include "proc/elf.h"

#include <elf.h>

/* A file whose headers have been read; segments are checked one by one and against each other. */
struct elf_file {
    const char *path;
    int fd;
    Elf64_Ehdr eh;
    Elf64_Phdr *ph;            /* eh.e_phnum */
    uint64_t low, high, align; /* of what is loaded, whole pages, before the bias */
    uint64_t bias;
};

/* ---- elf_map.c ---- */

/*
 * Finds a place for f and maps its segments. hint: where its lowest page goes if it is free, 0:
 * anywhere; of no account for a file that names its place itself.
 */
int elf_map(struct mm *mm, struct elf_file *f, uint64_t hint, struct error *err);

/* ---- elf_stack.c ---- */

/* The first thread's stack, empty. */
int elf_stack_map(struct mm *mm, bool executable, struct error *err);

/* What the auxiliary vector tells that is not found elsewhere. */
struct elf_aux {
    uint64_t phdr, phnum, base, entry, hwcap;
};
/* Puts arguments, environment and auxv there; sets sp and where auxv is. */
int elf_stack_fill(struct mm *mm, const struct elf_args *args, const struct elf_aux *aux,
                   struct elf_start *start, struct error *err);
