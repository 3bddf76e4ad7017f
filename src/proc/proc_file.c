/* What the files of /proc about this process, and about the processors, tell the program. */
#include "proc/path.h"
#include "proc/proc_other.h"

#include "base/bits.h"
#include "isa/riscv64/ops.h"
#include "proc/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void proc_file_auxv(const struct process *p, FILE *out)
{
    char chunk[512];
    for (uint64_t at = 0; at < p->auxv_size; at += sizeof chunk) {
        size_t n = p->auxv_size - at < sizeof chunk ? p->auxv_size - at : sizeof chunk;
        if (!guest_read(chunk, p->auxv + at, n))
            return;
        fwrite(chunk, 1, n, out);
    }
}

static void proc_file_cmdline(const struct process *p, FILE *out)
{
    for (char **arg = p->argv; *arg; arg++)
        fwrite(*arg, 1, strlen(*arg) + 1, out);
}

/* ---- stat ---- */

/* The program's threads: the one that compiles is none of them. */
static unsigned proc_threads(struct process *p)
{
    unsigned n = 0;
    pthread_mutex_lock(&p->lock);
    for (const struct thread *t = p->threads; t; t = t->next)
        n += !t->vfork;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* The numbers of fields (proc(5)) that tell about threads and memory, and what is told instead. */
static bool proc_stat_field(struct process *p, unsigned field, uint64_t *value)
{
    switch (field) {
    case 20: /* num_threads */
        *value = proc_threads(p);
        return true;
    case 47: /* start_brk */
        *value = p->mm.brk_start;
        return true;
    case 28: /* startstack: collectors look for roots from here downwards */
        *value = p->auxv ? p->auxv : p->mm.stack_end;
        return !p->told;
    case 26: /* startcode */
    case 27: /* endcode */
    case 29: /* kstkesp */
    case 30: /* kstkeip */
    case 45: /* start_data */
    case 46: /* end_data */
    case 48: /* arg_start and on: env_end */
    case 49:
    case 50:
    case 51:
        *value = 0;
        return !p->told;
    default:
        return false;
    }
}

/* The host's file, but for the number of threads. */
static void proc_file_status(struct process *p, const char *path, FILE *out)
{
    char line[4096];
    FILE *in = fopen(path, "re");
    while (in && fgets(line, sizeof line, in)) {
        if (!strncmp(line, "Threads:", 8))
            fprintf(out, "Threads:\t%u\n", proc_threads(p));
        else
            fputs(line, out);
    }
    if (in)
        fclose(in);
}

static void proc_file_stat(struct process *p, const char *path, FILE *out)
{
    char text[2048];
    FILE *in = fopen(path, "re");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in)
        fclose(in);
    text[n] = 0;
    /* The second field is in parentheses and may hold anything. */
    char *rest = strrchr(text, ')');
    if (!rest)
        return;
    fwrite(text, 1, (size_t)(rest - text) + 1, out);
    char *save = NULL;
    unsigned field = 3;
    for (char *word = strtok_r(rest + 1, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        uint64_t value;
        if (proc_stat_field(p, field++, &value))
            fprintf(out, " %" PRIu64, value);
        else
            fprintf(out, " %s", word);
    }
    fputc('\n', out);
}

/* ---- cpuinfo ---- */

/* As the kernel writes it: single letters, then names of several after underscores. */
static void proc_isa_string(uint64_t exts, FILE *out)
{
    static const char letters[] = "imafdc";
    fputs("rv64", out);
    for (unsigned i = 0; letters[i]; i++) {
        char name[2] = {letters[i], 0};
        int ext = rv_ext_find(name, 1);
        if (ext >= 0 && (exts >> ext & 1))
            fputs(name, out);
    }
    fputs("_zicntr", out);
    for (unsigned i = 0; i < RV_EXT_COUNT; i++)
        if ((exts >> i & 1) && rv_ext_name(i)[0] == 'z')
            fprintf(out, "_%s", rv_ext_name(i));
}

static void proc_file_cpuinfo(const struct thread *t, FILE *out)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < count || !i; i++) {
        fprintf(out, "processor\t: %ld\nhart\t\t: %ld\nisa\t\t: ", i, i);
        proc_isa_string(t->hart->exts, out);
        fputs("\nmmu\t\t: sv48\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: ",
              out);
        proc_isa_string(t->hart->exts, out);
        fputs("\n\n", out);
    }
}

/* ---- opening ---- */

static void proc_file_print(struct thread *t, enum proc_file file, const char *path, FILE *out)
{
    struct process *p = t->process;
    switch (file) {
    case PROC_FILE_MAPS:
        mm_print_maps(&p->mm, out);
        break;
    case PROC_FILE_AUXV:
        proc_file_auxv(p, out);
        break;
    case PROC_FILE_CMDLINE:
        proc_file_cmdline(p, out);
        break;
    case PROC_FILE_STAT:
        proc_file_stat(p, path, out);
        break;
    case PROC_FILE_STATUS:
        proc_file_status(p, path, out);
        break;
    case PROC_FILE_CPUINFO:
        proc_file_cpuinfo(t, out);
        break;
    case PROC_FILE_NONE:
    case PROC_FILE_EXE:
        break;
    }
}

/* A file in memory that holds the text, to be read from its start. */
static int proc_file_make(const char *text, size_t size, unsigned flags)
{
    int fd = memfd_create("proc", flags);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, text + at, size - at);
        if (n <= 0 && errno != EINTR) {
            close(fd);
            return -ENOMEM;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

int proc_file_open(struct thread *t, const struct path *path, uint64_t flags)
{
    if ((flags & O_ACCMODE) != O_RDONLY)
        return -EACCES;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    if (path->other)
        proc_other_maps(path->other, out);
    else
        proc_file_print(t, path->proc, path->text, out);
    int fd =
        fclose(out) ? -ENOMEM : proc_file_make(text, size, flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    free(text);
    return fd;
}
