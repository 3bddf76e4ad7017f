/*
 * Files to execute as hostile input. Whatever they say, loading ends with a sentence or with a
 * program whose mappings are all in the program's part of memory, with arguments on its stack.
 *
 * Input: 2 bytes, the length of the program's file; that file; the rest is its interpreter, to
 * which the path "/200" leads. What does not fit is cut.
 */
#include "base/bits.h"
#include "host/fault.h"
#include "proc/elf.h"
#include "proc/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INTERPRETER_FD 200
#define SYSROOT "/proc/self/fd"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int program_fd = -1, interpreter_fd = -1;

void process_code_changed(struct process *p, uint64_t start, uint64_t end)
{
    (void)p;
    (void)start;
    (void)end;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void put_file(int fd, const uint8_t *data, size_t size)
{
    must(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size, "no room for a file");
}

static void make_files(void)
{
    program_fd = memfd_create("program", MFD_CLOEXEC);
    interpreter_fd = dup2(memfd_create("interpreter", MFD_CLOEXEC), INTERPRETER_FD);
    must(program_fd >= 0 && interpreter_fd == INTERPRETER_FD && fault_init(NULL) == 0,
         "no files to try");
}

static void check_kind(void)
{
    enum elf_kind kind;
    struct elf_script script;
    int rc = elf_kind(program_fd, &kind, &script);
    must(rc == 0 || (rc == -ENOEXEC && kind == ELF_KIND_SCRIPT), "a file has no kind");
    if (rc || kind != ELF_KIND_SCRIPT)
        return;
    const char *end = script.line + sizeof script.line;
    must(script.interpreter > script.line && script.interpreter < end &&
             memchr(script.interpreter, 0, (size_t)(end - script.interpreter)),
         "an interpreter's name is not in its line");
    must(!script.argument || (script.argument > script.interpreter && script.argument < end &&
                              memchr(script.argument, 0, (size_t)(end - script.argument))),
         "an argument is not in its line");
}

static void check_ranges(const struct mm *mm)
{
    uint64_t last = MM_LOW;
    for (unsigned i = 0; i < mm->count; i++) {
        const struct mm_range *r = &mm->range[i];
        must(r->start >= last && r->end > r->start && r->end <= MM_HIGH &&
                 (r->start | r->end) % MM_PAGE == 0,
             "a mapping is not where the program's are");
        last = r->end;
    }
}

static void check_program(const struct mm *mm, const struct elf_start *start)
{
    must(start->pc < MM_HIGH, "the program begins nowhere");
    must(start->sp % 16 == 0 && start->sp >= mm->stack_start && start->sp < mm->stack_end,
         "the stack pointer is not on the stack");
    must(le64_get((const void *)(uintptr_t)start->sp) == 1, "the arguments are not on the stack");
    must(mm->brk_start % MM_PAGE == 0 && mm->brk_start >= MM_LOW && mm->brk_start <= MM_HIGH,
         "the heap is nowhere");
}

static void unmap_all(struct mm *mm)
{
    while (mm->count)
        must(mm_munmap(mm, mm->range[0].start, mm->range[0].end - mm->range[0].start) == 0,
             "a mapping cannot be taken away");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[] = "program", *argv[] = {name, NULL}, *envp[] = {NULL};
    struct mm mm;
    struct elf_start start;
    struct error err = {0};
    if (size < 2)
        return 0;
    if (program_fd < 0)
        make_files();
    size_t rest = size - 2, length = le16_get(data);
    length = length < rest ? length : rest;
    put_file(program_fd, data + 2, length);
    put_file(interpreter_fd, data + 2 + length, rest - length);
    check_kind();
    static bool loaded;
    int rc = mm_init(&mm, NULL, &err);
    must(rc == 0 || !loaded, "something is left of the program before");
    if (rc) /* a sanitizer has its memory there */
        return 0;
    loaded = true;
    const struct elf_args args = {
        .path = "program", .fd = program_fd, .sysroot = SYSROOT, .argv = argv, .envp = envp};
    rc = elf_load(&mm, &args, &start, &err);
    check_ranges(&mm);
    if (rc == 0)
        check_program(&mm, &start);
    else
        must(rc < 0 && err.msg[0], "a refusal without a sentence");
    unmap_all(&mm);
    mm_fini(&mm);
    return 0;
}
