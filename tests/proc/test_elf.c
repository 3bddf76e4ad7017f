/* Program files: what kind they are, where they are mapped, what the stack holds, what is refused.
 */
#include "proc/elf.h"
#include "proc/process.h"

#include "base/bits.h"
#include "elf_image.h"
#include "host/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define PIE UINT64_C(0x2aaaaaa000)
#define INTERPRETER_FD 200 /* reached as a file of the directory that is the sysroot */
#define SYSROOT "/proc/self/fd"
#define INTERPRETER "/200"

static struct mm mm;
static struct elf_start start;
static struct error err;
static struct image image;
static char *arguments[] = {(char[]){"first"}, (char[]){"second one"}, NULL};
static char *environment[] = {(char[]){"A=1"}, (char[]){"LONGER=some text"}, NULL};

void process_code_changed(struct process *p, uint64_t from, uint64_t to)
{
    (void)p;
    (void)from;
    (void)to;
}

static int begin(void **state)
{
    (void)state;
    memset(&start, 0, sizeof start);
    memset(&err, 0, sizeof err);
    return mm_init(&mm, NULL, NULL);
}

static int end(void **state)
{
    (void)state;
    while (mm.count)
        assert_int_equal(mm_munmap(&mm, mm.range[0].start, mm.range[0].end - mm.range[0].start), 0);
    mm_fini(&mm);
    return 0;
}

static struct elf_args args_for(int fd)
{
    return (struct elf_args){
        .path = "/the/program", .fd = fd, .argv = arguments, .envp = environment, .hwcap = 0x112d};
}

/* Loads the image. cmocka has handlers of its own while a test runs. */
static int load(const char *sysroot)
{
    int fd = image_open(&image, sizeof image);
    assert_true(fd >= 0);
    struct elf_args args = args_for(fd);
    args.sysroot = sysroot;
    assert_int_equal(fault_init(NULL), 0);
    int rc = elf_load(&mm, &args, &start, &err);
    fault_fini();
    close(fd);
    return rc;
}

static int prot_at(uint64_t va)
{
    for (unsigned i = 0; i < mm.count; i++) {
        if (va >= mm.range[i].start && va < mm.range[i].end)
            return mm.range[i].prot;
    }
    return -1;
}

static uint64_t word(uint64_t va)
{
    return *(volatile uint64_t *)(uintptr_t)va;
}

static uint64_t aux(uint64_t type)
{
    for (uint64_t at = start.auxv; at < start.auxv + start.auxv_size; at += 16) {
        if (word(at) == type)
            return word(at + 8);
    }
    fail_msg("no entry %d", (int)type);
    return 0;
}

/* ---- kinds ---- */

static enum elf_kind kind_of(const void *data, size_t size, int *rc, struct elf_script *script)
{
    enum elf_kind kind;
    int fd = image_open(data, size);
    *rc = elf_kind(fd, &kind, script);
    close(fd);
    return kind;
}

static void test_kinds(void **state)
{
    struct elf_script script;
    int rc;
    (void)state;
    image_make(&image, ET_DYN, NULL);
    assert_int_equal(kind_of(&image, sizeof image, &rc, &script), ELF_KIND_RISCV64);
    assert_int_equal(kind_of(&image, 64, &rc, &script), ELF_KIND_RISCV64);
    assert_int_equal(kind_of(&image, 63, &rc, &script), ELF_KIND_OTHER);
    assert_int_equal(kind_of(&image, 0, &rc, &script), ELF_KIND_OTHER);
    assert_int_equal(rc, 0);
    image.eh.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(kind_of(&image, sizeof image, &rc, &script), ELF_KIND_OTHER);
    image.eh.e_ident[EI_CLASS] = ELFCLASS64;
    image.eh.e_machine = EM_X86_64;
    assert_int_equal(kind_of(&image, sizeof image, &rc, &script), ELF_KIND_OTHER);
    enum elf_kind kind;
    assert_int_equal(elf_kind(-1, &kind, &script), -EBADF);
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(elf_kind(dir, &kind, &script), -EISDIR);
    close(dir);
}

static void test_scripts(void **state)
{
    static const struct {
        const char *text, *interpreter, *argument; /* interpreter NULL: refused */
    } cases[] = {
        {"#!/bin/sh\n", "/bin/sh", NULL},
        {"#!/bin/sh", "/bin/sh", NULL},
        {"#! \t/bin/sh \t-e -x \t\nmore", "/bin/sh", "-e -x"},
        {"#!/bin/sh -e ", "/bin/sh", "-e "},
        {"#!/bin/sh\t-e", "/bin/sh", "-e"},
        {"#!/bin/sh \n", "/bin/sh", NULL},
        {"#!\n", NULL, NULL},
        {"#! \t \n/bin/sh", NULL, NULL},
        {"#!", "", NULL},
    };
    struct elf_script script;
    int rc;
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t size = strlen(cases[i].text);
        assert_int_equal(kind_of(cases[i].text, size, &rc, &script), ELF_KIND_SCRIPT);
        assert_int_equal(rc, cases[i].interpreter ? 0 : -ENOEXEC);
        if (rc)
            continue;
        assert_string_equal(script.interpreter, cases[i].interpreter);
        assert_int_equal(!script.argument, !cases[i].argument);
        if (script.argument)
            assert_string_equal(script.argument, cases[i].argument);
    }
}

/* What the first 256 bytes do not hold. */
static void test_long_scripts(void **state)
{
    char text[400];
    struct elf_script script;
    int rc;
    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "#!/", 3);
    assert_int_equal(kind_of(text, sizeof text, &rc, &script), ELF_KIND_SCRIPT);
    assert_int_equal(rc, -ENOEXEC); /* the path may be longer */
    text[20] = ' ';
    assert_int_equal(kind_of(text, sizeof text, &rc, &script), ELF_KIND_SCRIPT);
    assert_int_equal(rc, 0);
    assert_int_equal(strlen(script.interpreter), 18);
    assert_int_equal(strlen(script.argument), 255 - 21);
    memset(text + 2, ' ', sizeof text - 2);
    assert_int_equal(kind_of(text, sizeof text, &rc, &script), ELF_KIND_SCRIPT);
    assert_int_equal(rc, -ENOEXEC);
}

/* ---- mapping ---- */

static void check_image(uint64_t bias)
{
    const uint64_t data = IMAGE_DATA + bias, data_end = data + IMAGE_BSS_SIZE;
    assert_int_equal(memcmp((void *)(uintptr_t)(IMAGE_TEXT + bias), &image, sizeof image), 0);
    assert_int_equal(prot_at(IMAGE_TEXT + bias), RX);
    assert_int_equal(prot_at(IMAGE_TEXT + 0x1000 + bias), -1);
    assert_int_equal(word(data), UINT64_C(0xdadadadadadadada));
    for (uint64_t at = data + 16; at < align_up(data_end, MM_PAGE); at++)
        assert_int_equal(*(volatile uint8_t *)(uintptr_t)at, 0);
    assert_int_equal(prot_at(data), RW);
    assert_int_equal(prot_at(data_end), RW);
    assert_int_equal(prot_at(align_up(data_end, MM_PAGE)), -1);
}

static void test_fixed(void **state)
{
    (void)state;
    image_make(&image, ET_EXEC, NULL);
    assert_int_equal(load(NULL), 0);
    check_image(0);
    const uint64_t heap = align_up(IMAGE_DATA + IMAGE_BSS_SIZE, MM_PAGE);
    assert_int_equal(start.pc, IMAGE_ENTRY);
    assert_int_equal(mm.brk_start, heap);
    assert_int_equal(mm_brk(&mm, heap + 1), heap + 1);
    assert_int_equal(aux(AT_PHDR), IMAGE_TEXT + sizeof image.eh);
    assert_int_equal(aux(AT_PHNUM), 3);
    assert_int_equal(aux(AT_PHENT), sizeof image.text);
    assert_int_equal(aux(AT_BASE), 0);
    assert_int_equal(aux(AT_ENTRY), IMAGE_ENTRY);
    assert_int_equal(prot_at(start.sp), RW);
    assert_true(mm_executable(&mm, mm.sigreturn));
    assert_int_equal(word(mm.sigreturn), UINT64_C(0x0000007308b00893));
}

static void test_pie(void **state)
{
    (void)state;
    image_make(&image, ET_DYN, NULL);
    image.stack.p_flags |= PF_X;
    image.text.p_align = 0x200000;
    assert_int_equal(load(NULL), 0);
    uint64_t bias = align_down(PIE, 0x200000);
    check_image(bias);
    assert_int_equal(start.pc, IMAGE_ENTRY + bias);
    assert_int_equal(aux(AT_ENTRY), IMAGE_ENTRY + bias);
    assert_int_equal(prot_at(start.sp), RW | PROT_EXEC);
}

static void test_interpreter(void **state)
{
    struct image interpreter;
    (void)state;
    image_make(&interpreter, ET_DYN, NULL);
    interpreter.eh.e_entry += 4;
    int fd = image_open(&interpreter, sizeof interpreter);
    assert_int_equal(dup2(fd, INTERPRETER_FD), INTERPRETER_FD);
    close(fd);
    image_make(&image, ET_DYN, INTERPRETER);
    assert_int_equal(load(SYSROOT), 0);
    check_image(PIE - IMAGE_TEXT);
    uint64_t size = align_up(IMAGE_DATA + IMAGE_BSS_SIZE, MM_PAGE) - IMAGE_TEXT;
    /* Its contents say where; clear of the program, its heap and its stack. */
    uint64_t base = aux(AT_BASE);
    assert_int_equal(base % MM_PAGE, 0);
    assert_true(base > mm.brk_start && base + IMAGE_DATA + IMAGE_BSS_SIZE < mm.stack_start);
    assert_int_equal(prot_at(base + IMAGE_TEXT), PROT_READ | PROT_EXEC);
    assert_int_equal(start.pc, base + IMAGE_ENTRY + 4);
    assert_int_equal(aux(AT_ENTRY), PIE - IMAGE_TEXT + IMAGE_ENTRY);
    assert_int_equal(aux(AT_PHDR), PIE + sizeof image.eh);
    assert_int_equal(aux(AT_PHNUM), 4);
    assert_int_equal(mm.brk_start, PIE + size);
}

static void test_bad_interpreter(void **state)
{
    (void)state;
    int fd = image_open("text", 4);
    assert_int_equal(dup2(fd, INTERPRETER_FD), INTERPRETER_FD);
    close(fd);
    image_make(&image, ET_DYN, INTERPRETER);
    assert_int_equal(load(SYSROOT), -ELIBBAD);
    image_make(&image, ET_DYN, "/no/such/interpreter");
    assert_int_equal(load(SYSROOT), -ENOENT);
    assert_non_null(strstr(err.msg, "/the/program"));
    assert_non_null(strstr(err.msg, "/no/such/interpreter"));
    image_make(&image, ET_DYN, "/tmp");
    assert_int_equal(load(NULL), -EACCES);
    image_make(&image, ET_DYN, INTERPRETER);
    image.interp.p_filesz--;
    assert_int_equal(load(SYSROOT), -ENOEXEC);
    image.interp.p_filesz = 1;
    assert_int_equal(load(SYSROOT), -ENOEXEC);
    image.interp.p_filesz = UINT64_MAX;
    assert_int_equal(load(SYSROOT), -ENOEXEC);
    assert_int_equal(mm.count, 0);
    close(INTERPRETER_FD);
}

/* ---- the stack ---- */

static void test_stack(void **state)
{
    (void)state;
    image_make(&image, ET_EXEC, NULL);
    assert_int_equal(load(NULL), 0);
    uint64_t at = start.sp;
    assert_int_equal(at % 16, 0);
    assert_int_equal(mm.stack_end, MM_TOP);
    assert_int_equal(word(mm.stack_end - 8), 0);
    assert_int_equal(word(at), 2);
    for (unsigned i = 0; i < 2; i++)
        assert_string_equal((const char *)(uintptr_t)word(at + 8 + 8 * i), arguments[i]);
    assert_int_equal(word(at + 24), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_string_equal((const char *)(uintptr_t)word(at + 32 + 8 * i), environment[i]);
    assert_int_equal(word(at + 48), 0);
    assert_int_equal(start.auxv, at + 56);
    assert_int_equal(word(start.auxv + start.auxv_size - 16), AT_NULL);
    assert_string_equal((const char *)(uintptr_t)aux(AT_EXECFN), "/the/program");
    assert_int_equal(aux(AT_EXECFN) + sizeof "/the/program", mm.stack_end - 8);
    assert_int_equal(aux(AT_PAGESZ), 4096);
    assert_int_equal(aux(AT_CLKTCK), 100);
    assert_int_equal(aux(AT_HWCAP), 0x112d);
    assert_int_equal(aux(AT_UID), getuid());
    assert_int_equal(aux(AT_EGID), getegid());
    assert_int_equal(aux(AT_SECURE), 0);
    assert_int_equal(aux(AT_RANDOM) % 16, 0);
    assert_true(word(aux(AT_RANDOM)) || word(aux(AT_RANDOM) + 8));
}

static void test_stack_size(void **state)
{
    static const struct {
        rlim_t limit;
        uint64_t size;
    } cases[] = {{1, 512 << 10}, {(3 << 20) + 1, (3 << 20) + 4096}, {UINT64_C(1) << 40, 1 << 30}};
    struct rlimit before, limit;
    getrlimit(RLIMIT_STACK, &before);
    image_make(&image, ET_EXEC, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        limit = before;
        limit.rlim_cur = cases[i].limit;
        if (setrlimit(RLIMIT_STACK, &limit) < 0)
            continue;
        assert_int_equal(load(NULL), 0);
        setrlimit(RLIMIT_STACK, &before);
        assert_int_equal(mm.stack_end - mm.stack_start, cases[i].size);
        end(state);
        begin(state);
    }
}

static void test_too_long(void **state)
{
    static char text[128 * 1024], *many[30001];
    char *const first = arguments[0];
    (void)state;
    image_make(&image, ET_EXEC, NULL);
    memset(text, 'x', sizeof text - 1);
    arguments[0] = text;
    assert_int_equal(load(NULL), 0);
    end(state);
    begin(state);
    text[sizeof text - 1] = 'x';
    arguments[0] = first;
    /* A megabyte of strings fits, with 8 MiB of stack; 20 of them and their pointers do not. */
    text[100] = 0;
    for (unsigned i = 0; i < 30000; i++)
        many[i] = text;
    int fd = image_open(&image, sizeof image);
    struct elf_args args = args_for(fd);
    args.envp = many;
    assert_int_equal(fault_init(NULL), 0);
    assert_int_equal(elf_load(&mm, &args, &start, &err), -E2BIG);
    fault_fini();
    assert_non_null(strstr(err.msg, "/the/program"));
    close(fd);
}

/* ---- refusals ---- */

static void refuse(int code)
{
    end(NULL);
    begin(NULL);
    assert_int_equal(load(NULL), -code);
    assert_non_null(strstr(err.msg, "/the/program"));
    image_make(&image, ET_EXEC, NULL);
}

static void test_refused_headers(void **state)
{
    (void)state;
    image_make(&image, 4, NULL);
    refuse(ENOEXEC);
    image.eh.e_machine = EM_X86_64;
    refuse(ENOEXEC);
    image.eh.e_ident[0] = 0;
    refuse(ENOEXEC);
    image.eh.e_phnum = 0;
    refuse(ENOEXEC);
    image.eh.e_phnum = 0xffff;
    refuse(ENOEXEC);
    image.eh.e_phnum = 1000; /* not in the file */
    refuse(ENOEXEC);
    image.eh.e_phentsize = 32;
    refuse(ENOEXEC);
    image.eh.e_phoff = UINT64_MAX;
    refuse(ENOEXEC);
    image.text.p_type = image.data.p_type = PT_NOTE;
    refuse(EINVAL);
    image.eh.e_entry = MM_HIGH;
    refuse(EINVAL);
}

static void test_refused_segments(void **state)
{
    (void)state;
    image_make(&image, ET_EXEC, NULL);
    image.text.p_filesz++;
    refuse(EINVAL);
    image.data.p_memsz = UINT64_MAX;
    refuse(EINVAL);
    image.data.p_vaddr = MM_HIGH - 0x400 - 0xc10;
    refuse(EINVAL);
    image.data.p_offset++;
    refuse(EINVAL);
    image.data.p_offset = UINT64_MAX - 0xc0f;
    refuse(EINVAL);
    image.data.p_vaddr = IMAGE_TEXT + 0x3f0;
    refuse(EINVAL);
    image.text.p_vaddr = 0;
    refuse(EEXIST);
    image.data.p_vaddr = MM_TOP - 0x8c10; /* the stack's */
    refuse(EEXIST);
    image.data.p_memsz = MM_HIGH / 2;
    refuse(EEXIST);
    image.data.p_filesz = 0x10000; /* ends before its last page, which is to be cleared */
    image.data.p_memsz = 0x20000;
    refuse(EFAULT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kinds),      TEST(scripts),     TEST(long_scripts),    TEST(fixed),
        TEST(pie),        TEST(interpreter), TEST(bad_interpreter), TEST(stack),
        TEST(stack_size), TEST(too_long),    TEST(refused_headers), TEST(refused_segments),
    };
    if (mm_init(&mm, NULL, NULL)) { /* of a sanitizer */
        puts("skipped: there is memory already where the program's would be");
        return 77;
    }
    mm_fini(&mm);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
