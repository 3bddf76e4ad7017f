#include "base/bits.h"
#include "proc/elf_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the kernel puts position-independent programs on Sv39: at 2/3 of user space. */
#define PIE_BASE UINT64_C(0x2aaaaaa000)
#define PHDRS_MAX 65536 /* bytes */

/* The instructions that handlers of signals return to. */
#define INSN_LI_A7_SIGRETURN 0x08b00893 /* li a7, 139 */
#define INSN_ECALL 0x00000073

/* Reads all of it: -errno, ENOEXEC where the file ends before. */
static int elf_read(int fd, void *to, size_t size, uint64_t offset)
{
    uint8_t *p = to;
    if (offset > INT64_MAX - size)
        return -ENOEXEC;
    while (size) {
        ssize_t n = pread(fd, p, size, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ENOEXEC;
        if (n > 0) {
            p += n;
            offset += (uint64_t)n;
            size -= (size_t)n;
        }
    }
    return 0;
}

/* ---- what kind of file it is ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The first character of [p, last] that ends a word; NULL: none does. */
static char *word_end(char *p, const char *last)
{
    while (p <= last && *p && !is_blank(*p))
        p++;
    return p <= last ? p : NULL;
}

/* The first one that is not blank. */
static char *word_start(char *p, const char *last)
{
    while (p <= last && is_blank(*p))
        p++;
    return p <= last ? p : NULL;
}

/*
 * As the kernel does: the line ends at a newline, at a zero byte, or where the buffer does; an
 * interpreter's path that reaches to there has been cut. The rest of the line is one argument.
 */
static int script_parse(struct elf_script *s)
{
    char *first = s->line + 2, *last = s->line + sizeof s->line - 1;
    char *end = memchr(s->line, '\n', sizeof s->line);
    if (!end) {
        char *name = word_start(first, last);
        if (!name || !word_end(name, last))
            return -ENOEXEC;
        end = last;
    }
    while (is_blank(end[-1]))
        end--;
    char *name = word_start(first, end);
    if (!name || name == end)
        return -ENOEXEC;
    char *sep = word_end(name, end), *argument = NULL;
    if (sep && *sep)
        argument = word_start(sep, end);
    *end = 0;
    if (sep)
        *sep = 0;
    s->interpreter = name;
    s->argument = argument && argument < end && *argument ? argument : NULL;
    return 0;
}

static bool is_riscv64(const Elf64_Ehdr *eh)
{
    return memcmp(eh->e_ident, ELFMAG, SELFMAG) == 0 && eh->e_ident[EI_CLASS] == ELFCLASS64 &&
           eh->e_ident[EI_DATA] == ELFDATA2LSB && eh->e_machine == EM_RISCV;
}

int elf_kind(int fd, enum elf_kind *kind, struct elf_script *script)
{
    Elf64_Ehdr eh;
    ssize_t n;
    memset(script, 0, sizeof *script);
    *kind = ELF_KIND_OTHER;
    do
        n = pread(fd, script->line, sizeof script->line, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (script->line[0] == '#' && script->line[1] == '!') {
        *kind = ELF_KIND_SCRIPT;
        return script_parse(script);
    }
    memcpy(&eh, script->line, sizeof eh);
    if ((size_t)n >= sizeof eh && is_riscv64(&eh))
        *kind = ELF_KIND_RISCV64;
    return 0;
}

/* ---- headers ---- */

static int elf_bad(const struct elf_file *f, int code, const char *what, struct error *err)
{
    return error_set(err, code, "%s cannot be run: %s", f->path, what);
}

/* Takes a segment into what is known of the whole. */
static int segment_check(struct elf_file *f, const Elf64_Phdr *ph, struct error *err)
{
    if (ph->p_filesz > ph->p_memsz || ph->p_memsz > MM_HIGH || ph->p_vaddr > MM_HIGH - ph->p_memsz)
        return elf_bad(f, EINVAL, "a segment's size or address makes no sense", err);
    if (ph->p_filesz && (ph->p_offset - ph->p_vaddr) % MM_PAGE)
        return elf_bad(f, EINVAL, "a segment's place in the file does not fit to its address", err);
    if (ph->p_filesz && (ph->p_offset > INT64_MAX || ph->p_filesz > INT64_MAX - ph->p_offset ||
                         ph->p_offset < ph->p_vaddr % MM_PAGE))
        return elf_bad(f, EINVAL, "a segment has no place in the file", err);
    if (!ph->p_memsz)
        return 0;
    for (const Elf64_Phdr *o = f->ph; o < ph; o++) {
        if (o->p_type == PT_LOAD && o->p_memsz && o->p_vaddr < ph->p_vaddr + ph->p_memsz &&
            ph->p_vaddr < o->p_vaddr + o->p_memsz)
            return elf_bad(f, EINVAL, "segments overlap", err);
    }
    uint64_t low = align_down(ph->p_vaddr, MM_PAGE);
    uint64_t high = align_up(ph->p_vaddr + ph->p_memsz, MM_PAGE);
    f->low = !f->high || low < f->low ? low : f->low;
    f->high = high > f->high ? high : f->high;
    if (is_pow2(ph->p_align) && ph->p_align > f->align && ph->p_align < MM_TOP)
        f->align = ph->p_align;
    return 0;
}

/* code: for what is no sound program. */
static int elf_read_headers(struct elf_file *f, int code, struct error *err)
{
    int rc = elf_read(f->fd, &f->eh, sizeof f->eh, 0);
    if (rc && rc != -ENOEXEC)
        return error_set(err, -rc, "reading %s: %s", f->path, strerror(-rc));
    if (rc || !is_riscv64(&f->eh) || (f->eh.e_type != ET_EXEC && f->eh.e_type != ET_DYN))
        return elf_bad(f, code, "it is no program for riscv64", err);
    size_t size = f->eh.e_phnum * sizeof *f->ph;
    if (f->eh.e_phentsize != sizeof *f->ph || !size || size > PHDRS_MAX)
        return elf_bad(f, code, "it has no table of segments", err);
    f->ph = malloc(size);
    if (!f->ph)
        return error_set(err, ENOMEM, "out of memory for the headers of %s", f->path);
    rc = elf_read(f->fd, f->ph, size, f->eh.e_phoff);
    if (rc)
        return elf_bad(f, code, "its table of segments is cut off", err);
    f->align = MM_PAGE;
    for (unsigned i = 0; i < f->eh.e_phnum && !rc; i++) {
        if (f->ph[i].p_type == PT_LOAD)
            rc = segment_check(f, &f->ph[i], err);
    }
    return rc || f->high ? rc : elf_bad(f, EINVAL, "nothing of it is to be loaded", err);
}

static const Elf64_Phdr *elf_find(const struct elf_file *f, uint32_t type)
{
    for (unsigned i = 0; i < f->eh.e_phnum; i++) {
        if (f->ph[i].p_type == type)
            return &f->ph[i];
    }
    return NULL;
}

/* ---- the interpreter ---- */

static int open_interpreter(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111))
        return fd;
    close(fd);
    return -EACCES;
}

/* path: of the file with PATH_MAX bytes of room; becomes what has been opened. */
static int find_interpreter(const char *sysroot, char *path)
{
    char below[2 * PATH_MAX];
    int n = sysroot && path[0] == '/' ? snprintf(below, sizeof below, "%s%s", sysroot, path) : 0;
    if (n > 0 && n < PATH_MAX) {
        int fd = open_interpreter(below);
        if (fd >= 0)
            memcpy(path, below, (size_t)n + 1);
        if (fd != -ENOENT && fd != -ENOTDIR)
            return fd;
    }
    return open_interpreter(path);
}

/* The interpreter of f as *in, if it has one: in->fd is -1 otherwise. */
static int elf_open_interpreter(const struct elf_file *f, const char *sysroot, char *path,
                                struct elf_file *in, struct error *err)
{
    const Elf64_Phdr *ph = elf_find(f, PT_INTERP);
    *in = (struct elf_file){.path = path, .fd = -1};
    if (!ph)
        return 0;
    if (ph->p_filesz < 2 || ph->p_filesz > PATH_MAX)
        return elf_bad(f, ENOEXEC, "the name of its interpreter makes no sense", err);
    int rc = elf_read(f->fd, path, ph->p_filesz, ph->p_offset);
    if (rc || path[ph->p_filesz - 1])
        return elf_bad(f, rc ? -rc : ENOEXEC, "the name of its interpreter cannot be read", err);
    in->fd = find_interpreter(sysroot, path);
    if (in->fd < 0)
        return error_set(err, -in->fd, "%s needs %s, which cannot be opened%s: %s", f->path, path,
                         sysroot ? "" : " (is there a --sysroot with it?)", strerror(-in->fd));
    return elf_read_headers(in, ELIBBAD, err);
}

/* ---- loading ---- */

/* Handlers of signals return to it. */
static int map_sigreturn(struct mm *mm, struct error *err)
{
    int64_t at =
        mm_mmap(mm, 0, MM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0)
        return error_set(err, (int)-at, "no memory for the return from signals");
    uint8_t *page = (uint8_t *)(uintptr_t)at;
    le32_put(page, INSN_LI_A7_SIGRETURN);
    le32_put(page + 4, INSN_ECALL);
    mm->sigreturn = (uint64_t)at;
    return (int)mm_mprotect(mm, (uint64_t)at, MM_PAGE, PROT_READ | PROT_EXEC);
}

/* Where the program finds its own headers; as the kernel, the bias if they are not loaded. */
static uint64_t phdr_address(const struct elf_file *f)
{
    for (unsigned i = 0; i < f->eh.e_phnum; i++) {
        const Elf64_Phdr *ph = &f->ph[i];
        if (ph->p_type == PT_LOAD && f->eh.e_phoff >= ph->p_offset &&
            f->eh.e_phoff - ph->p_offset < ph->p_filesz)
            return f->eh.e_phoff - ph->p_offset + ph->p_vaddr + f->bias;
    }
    return f->bias;
}

static int elf_load_files(struct mm *mm, const struct elf_args *args, struct elf_file *program,
                          struct elf_file *interpreter, struct elf_start *start, struct error *err)
{
    const Elf64_Phdr *stack = elf_find(program, PT_GNU_STACK);
    bool interpreted = interpreter->fd >= 0;
    int rc = elf_stack_map(mm, stack && (stack->p_flags & PF_X), err);
    if (!rc)
        rc = elf_map(mm, program, PIE_BASE, err);
    if (!rc)
        mm_set_heap(mm, program->high + program->bias);
    if (!rc && interpreted)
        rc = elf_map(mm, interpreter, 0, err);
    if (!rc)
        rc = map_sigreturn(mm, err);
    if (rc)
        return rc;
    struct elf_aux aux = {
        .phdr = phdr_address(program),
        .phnum = program->eh.e_phnum,
        .base = interpreted ? interpreter->bias : 0,
        .entry = program->eh.e_entry + program->bias,
        .hwcap = args->hwcap,
    };
    start->low = program->low + program->bias;
    start->high = program->high + program->bias;
    start->pc = interpreted ? interpreter->eh.e_entry + interpreter->bias : aux.entry;
    if (start->pc >= MM_HIGH)
        return elf_bad(interpreted ? interpreter : program, EINVAL,
                       "it begins where no memory can be", err);
    return elf_stack_fill(mm, args, &aux, start, err);
}

int elf_load(struct mm *mm, const struct elf_args *args, struct elf_start *start, struct error *err)
{
    char path[PATH_MAX];
    struct elf_file program = {.path = args->path, .fd = args->fd}, interpreter = {.fd = -1};
    int rc = elf_read_headers(&program, ENOEXEC, err);
    if (!rc)
        rc = elf_open_interpreter(&program, args->sysroot, path, &interpreter, err);
    if (!rc)
        rc = elf_load_files(mm, args, &program, &interpreter, start, err);
    if (interpreter.fd >= 0)
        close(interpreter.fd);
    free(interpreter.ph);
    free(program.ph);
    return rc;
}
