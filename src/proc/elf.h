/*
 * From an executable file to a program that is ready to run: what the kernel's exec does (ELF gABI,
 * RISC-V ELF psABI; fs/binfmt_elf.c is what programs rely on).
 */
#pragma once

#include "base/error.h"
#include "proc/mm.h"

#include <sys/types.h>

/* What a file is, for exec. */
enum elf_kind {
    ELF_KIND_RISCV64, /* a program for guise */
    ELF_KIND_SCRIPT,  /* begins with #! */
    ELF_KIND_OTHER,   /* the host's business */
};

#define ELF_SCRIPT_MAX 256 /* bytes of the first line that count, as in the kernel */
struct elf_script {
    char line[ELF_SCRIPT_MAX];
    const char *interpreter;
    const char *argument; /* NULL: none */
};

/*
 * Looks at the first bytes of an open file; fills *script for ELF_KIND_SCRIPT. -errno; ENOEXEC: the
 * script's line names no interpreter, or not all of it is in the first ELF_SCRIPT_MAX bytes.
 */
int elf_kind(int fd, enum elf_kind *kind, struct elf_script *script);

struct elf_start {
    uint64_t pc, sp;
    uint64_t auxv, auxv_size;                /* where it is on the stack, for /proc/self/auxv */
    uint64_t args, environment, strings_end; /* where the strings begin and end */
    uint64_t low, high;                      /* of the program's file */
};

struct elf_args {
    const char *path; /* AT_EXECFN */
    int fd;           /* of the program */
    const char *sysroot;
    char **argv, **envp;
    uint64_t hwcap; /* AT_HWCAP */
};

/*
 * Maps the program and its interpreter, makes the stack with arguments, environment and auxv, sets
 * up the heap and the return from handlers of signals (mm->sigreturn). *mm is empty before;
 * fault_init is in force. Before anything of the program runs: the stack's strings are written
 * without guard.
 *
 * -errno as exec's (ENOEXEC, EINVAL for what is no sound file, ELIBBAD for such an interpreter,
 * ENOENT for a missing one, E2BIG) with a sentence that names the file; *mm then holds what was
 * mapped so far. Nothing of guise is harmed by any file.
 */
int elf_load(struct mm *mm, const struct elf_args *args, struct elf_start *start,
             struct error *err);
