/*
 * Starting programs: the first one (proc_run), and exec of the running one, which guise passes to
 * the host's kernel: a riscv64 program as an argument of guise itself.
 */
#include "proc/elf.h"
#include "proc/path.h"
#include "proc/proc_other.h"
#include "proc/syscall.h"
#include "proc/thread.h"

#include "base/bits.h"
#include "host/fault.h"
#include "isa/riscv64/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SCRIPTS 4                     /* that may be each other's interpreters, as in the kernel */
#define ARGUMENTS (UINT64_C(2) << 20) /* in a list; the kernel takes fewer */
#define HIGH_FD 1000                  /* where guise's own descriptors are, if the limit allows */
#define PROC_FD "/proc/self/fd/"

/* ---- exec ---- */

/* Strings at guest addresses up to NULL: their number, or -errno. */
static int64_t exec_count(uint64_t list)
{
    uint64_t word;
    for (uint64_t n = 0; list && n < ARGUMENTS; n++) {
        if (!guest_read(&word, list + 8 * n, sizeof word))
            return -EFAULT;
        if (!word)
            return (int64_t)n;
    }
    return list ? -E2BIG : 0;
}

struct exec_file {
    int dirfd, flags;
    const char *path; /* of the host */
    bool script;
    char name[PATH_MAX]; /* of what is open already */
};

/*
 * What the kernel would execute for the file, down to the last interpreter: riscv64 or not. -errno.
 * What cannot be read is left to the kernel.
 */
static int exec_kind(struct thread *t, struct exec_file *file, bool *riscv64)
{
    struct elf_script script;
    char text[PATH_MAX];
    const char *path = file->path;
    int dirfd = file->dirfd, flags = file->flags;
    *riscv64 = false;
    for (unsigned i = 0; i <= SCRIPTS; i++) {
        enum elf_kind kind;
        int nofollow = flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0;
        int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | nofollow);
        if (fd < 0)
            return errno == EACCES || i ? 0 : -errno;
        int rc = elf_kind(fd, &kind, &script);
        close(fd);
        if (rc || kind == ELF_KIND_OTHER)
            return 0;
        if (kind == ELF_KIND_RISCV64) {
            *riscv64 = true;
            return 0;
        }
        file->script = true;
        path = script.interpreter;
        if (t->process->config->sysroot &&
            path_in_sysroot(t->process->config->sysroot, path, true, text))
            path = text;
        dirfd = AT_FDCWD;
        flags = 0;
    }
    return -ELOOP;
}

/* May it be executed at all? As the kernel finds out, before anything else. */
static int exec_allowed(const struct exec_file *file)
{
    struct stat st;
    int how = file->flags & AT_SYMLINK_NOFOLLOW;
    if (fstatat(file->dirfd, file->path, &st, how))
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    if (!S_ISREG(st.st_mode) || faccessat(file->dirfd, file->path, X_OK, AT_EACCESS | how))
        return -EACCES;
    return 0;
}

/*
 * Guise's own arguments, copied to `to`; a sysroot that is not there any more, after chroot, means
 * nothing. Their number.
 */
static uint64_t exec_own_arguments(const char *const *self, char **to)
{
    uint64_t n = 0;
    for (uint64_t i = 0; self[i]; i++) {
        if (!strcmp(self[i], "--sysroot") && self[i + 1] && access(self[i + 1], X_OK))
            i++;
        else
            to[n++] = (char *)(uintptr_t)self[i];
    }
    return n;
}

/*
 * The arguments of guise: its own, then the program's from the second on. fd: of the program as
 * text; NULL: it is known by its path.
 */
static char **exec_arguments(struct thread *t, const char *path, const char *fd, uint64_t argv,
                             uint64_t count)
{
    const char *const *self = t->process->config->self;
    uint64_t own = 0;
    while (self[own])
        own++;
    char **all = calloc(own + count + 8, sizeof *all);
    if (!all)
        return NULL;
    uint64_t n = 0;
    uint64_t first = 0;
    all[n++] = (char *)(uintptr_t) "guise";
    n += exec_own_arguments(self, all + n);
    if (fd) {
        all[n++] = (char *)(uintptr_t) "--program-fd";
        all[n++] = (char *)(uintptr_t)fd;
    }
    all[n++] = (char *)(uintptr_t) "--argv0";
    all[n++] = (char *)(uintptr_t) ""; /* the kernel's, too, for want of arguments */
    if (count && guest_read(&first, argv, sizeof first))
        all[n - 1] = (char *)(uintptr_t)first;
    all[n++] = (char *)(uintptr_t) "--";
    all[n++] = (char *)(uintptr_t)path;
    if (count > 1 && !guest_read(&all[n], argv + 8, (count - 1) * sizeof *all)) {
        free(all);
        return NULL;
    }
    return all;
}

/*
 * As a path that is good after exec: of a descriptor what it is open on, and of a script what the
 * kernel tells its interpreter, which is not there if the descriptor is closed.
 */
static const char *exec_name(struct exec_file *file)
{
    char link[64];
    if (file->path[0] == '/' || file->dirfd == AT_FDCWD)
        return file->path;
    if (file->script) {
        int flags = fcntl(file->dirfd, F_GETFD);
        snprintf(file->name, sizeof file->name, "/dev/fd/%d%s%s", file->dirfd,
                 file->path[0] ? "/" : "", file->path);
        return flags >= 0 && !(flags & FD_CLOEXEC) ? file->name : NULL;
    }
    snprintf(link, sizeof link, PROC_FD "%d", file->dirfd);
    ssize_t n = readlink(link, file->name, sizeof file->name - 1);
    if (n < 0)
        return NULL;
    file->name[n] = 0;
    if (file->path[0] && (size_t)n + strlen(file->path) + 2 <= sizeof file->name)
        strcat(strcat(file->name, "/"), file->path);
    return file->name;
}

static int64_t exec_now(struct thread *t, int dirfd, const char *path, char *const *argv,
                        uint64_t envp, int flags)
{
    char *none[] = {NULL};
    char *const *env = envp ? (char *const *)(uintptr_t)envp : none;
    struct signals_former former[2];
    process_leave(t);
    signals_before_exec(t, former);
    /* A signal that was noted must not be forgotten with the program. */
    int64_t rc = thread_host_call(t, SYS_execveat, (uint64_t)dirfd, guest_address(path),
                                  guest_address(argv), guest_address(env), (uint64_t)flags, 0);
    signals_after_exec(t, former);
    return rc;
}

static int64_t exec_riscv64(struct thread *t, struct exec_file *file, uint64_t argv, uint64_t envp,
                            uint64_t count)
{
    const char *name = exec_name(file);
    if (!name)
        return -ENOENT;
    /* What has no name, or no longer, is handed over open. */
    char text[16];
    int fd = file->path[0] || file->script ? -1 : fcntl(file->dirfd, F_DUPFD, HIGH_FD);
    snprintf(text, sizeof text, "%d", fd);
    char **all = exec_arguments(t, name, fd >= 0 ? text : NULL, argv, count);
    free(t->exec_memory);
    t->exec_memory = all; /* a child of vfork leaves it to its parent */
    int64_t rc =
        all ? exec_now(t, t->process->self_fd, "", all, envp, AT_EMPTY_PATH) : -(int64_t)ENOMEM;
    if (fd >= 0)
        close(fd);
    return rc;
}

/*
 * To guise itself, or, when guise is the kernel's handler, to the kernel: with it go rights that
 * the file gives, and its name. The kernel may not have the handler any more; and it does not give
 * a handler what was opened to be closed at exec.
 */
static int64_t exec_translated(struct thread *t, struct exec_file *file, uint64_t argv,
                               uint64_t envp, uint64_t count)
{
    const struct process *p = t->process;
    int64_t rc = -ENOEXEC;
    if (p->config->handled)
        rc =
            exec_now(t, file->dirfd, file->path, (char *const *)(uintptr_t)argv, envp, file->flags);
    if ((rc == -ENOEXEC || rc == -ENOENT) && (!p->config->handled || p->self_fd >= 0))
        rc = exec_riscv64(t, file, argv, envp, count);
    return rc;
}

/* All of what a path can be is there. */
static bool exec_long_path(uint64_t path)
{
    char text[PATH_MAX];
    return guest_read(text, path, sizeof text);
}

int64_t process_exec(struct thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
                     int flags)
{
    int64_t count = exec_count(argv), rc;
    struct path found;
    bool riscv64;
    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    if (count < 0 || (rc = exec_count(envp)) < 0)
        return count < 0 ? count : rc;
    if (guarded_strlen((const char *)(uintptr_t)path, PATH_MAX) < 0)
        return exec_long_path(path) ? -ENAMETOOLONG : -EFAULT;
    path_look_up(t, path, !(flags & AT_SYMLINK_NOFOLLOW), &found);
    struct exec_file file = {
        .dirfd = dirfd, .flags = flags, .path = (const char *)(uintptr_t)found.address};
    char opened[64];
    if (!file.path[0] && (flags & AT_EMPTY_PATH)) {
        snprintf(opened, sizeof opened, PROC_FD "%d", dirfd);
        file.path = opened;
        file.dirfd = AT_FDCWD;
    } else if (found.proc == PROC_FILE_EXE && !found.other) {
        file.path = t->process->exe;
    }
    rc = exec_allowed(&file);
    if (!rc)
        rc = exec_kind(t, &file, &riscv64);
    if (rc)
        return rc;
    if (file.path == opened) {
        /* The kernel's name for it, and the file's own for guise. */
        file.dirfd = dirfd;
        file.path = "";
    }
    return riscv64
               ? exec_translated(t, &file, argv, envp, (uint64_t)count)
               : exec_now(t, file.dirfd, file.path, (char *const *)(uintptr_t)argv, envp, flags);
}

/* ---- the first program ---- */

/* What is to be loaded, once scripts are resolved. */
struct program {
    char path[PATH_MAX]; /* of the host */
    const char *name;    /* as it was asked for */
    char **argv;
    int fd;
};

static int program_open(const struct proc_config *config, struct program *program,
                        struct error *err)
{
    const char *name = program->name;
    if (config->handled) {
        snprintf(program->path, sizeof program->path, "%s", name);
        program->fd = config->handled->fd;
        return 0;
    }
    if (config->program_fd && name == config->program) {
        snprintf(program->path, sizeof program->path, PROC_FD "%d", config->program_fd);
    } else if (!config->sysroot || name[0] != '/' ||
               !path_in_sysroot(config->sysroot, name, true, program->path)) {
        if (strlen(name) >= sizeof program->path)
            return error_set(err, ENAMETOOLONG, "%.60s...: the name is too long", name);
        strcpy(program->path, name);
    }
    struct stat st;
    if (stat(program->path, &st))
        return error_set(err, errno, "%s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(err, EACCES, "%s is not a file that can be executed", name);
    program->fd = open(program->path, O_RDONLY | O_CLOEXEC);
    return program->fd < 0 ? error_set(err, errno, "%s: %s", name, strerror(errno)) : 0;
}

/* The script's interpreter becomes the program. */
static int program_script(struct program *program, const struct elf_script *script,
                          struct error *err)
{
    unsigned count = 0, n = 0;
    while (program->argv[count])
        count++;
    char **argv = calloc(count + 4, sizeof *argv);
    char *interpreter = strdup(script->interpreter);
    char *argument = script->argument ? strdup(script->argument) : NULL;
    if (!argv || !interpreter || (script->argument && !argument))
        return error_set(err, ENOMEM, "out of memory for the arguments of %s", program->name);
    argv[n++] = interpreter;
    if (argument)
        argv[n++] = argument;
    argv[n++] = (char *)(uintptr_t)program->name;
    for (unsigned i = 1; i < count; i++)
        argv[n++] = program->argv[i];
    close(program->fd);
    program->argv = argv;
    program->name = interpreter;
    return 0;
}

static int program_find(const struct proc_config *config, struct program *program,
                        struct error *err)
{
    enum elf_kind kind;
    struct elf_script script;
    for (unsigned i = 0; i <= SCRIPTS; i++) {
        int rc = program_open(config, program, err);
        if (rc)
            return rc;
        rc = elf_kind(program->fd, &kind, &script);
        if (rc || kind == ELF_KIND_OTHER)
            return error_set(err, ENOEXEC, "%s is not a riscv64 program", program->name);
        if (kind == ELF_KIND_RISCV64)
            return 0;
        rc = program_script(program, &script, err);
        if (rc)
            return rc;
    }
    return error_set(err, ELOOP, "%s: too many scripts are each other's interpreters",
                     config->program);
}

/* To where programs do not look for the lowest free one, as far as the limit allows. */
static int high_fd(int fd)
{
    int high = -1;
    for (int from = HIGH_FD; high < 0 && from > fd; from -= from > 64 ? from / 4 : 1)
        high = fcntl(fd, F_DUPFD_CLOEXEC, from);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

/* As the kernel names it, which knows files that have no name any more; or without /proc. */
static char *program_real_path(const struct program *program)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, PROC_FD "%d", program->fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n > 0) {
        path[n] = 0;
        return strdup(path);
    }
    char *real = realpath(program->path, NULL);
    return real ? real : strdup(program->path);
}

static struct process *process_new(const struct proc_config *config, const struct program *program,
                                   struct error *err)
{
    struct process *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ENOMEM, "out of memory for a process");
        return NULL;
    }
    p->config = config;
    p->argv = program->argv;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->stop_lock, NULL);
    tracer_init(&p->tracer);
    clock_init(&p->clock, false);
    clock_start(&p->clock);
    p->exe = program_real_path(program);
    p->exe_fd = high_fd(open(program->path, O_PATH | O_CLOEXEC));
    p->self_fd = high_fd(open("/proc/self/exe", O_PATH | O_CLOEXEC));
    return p;
}

/* What ps calls the process: the file's name, of which the kernel takes 15 bytes. */
static void process_set_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    prctl(PR_SET_NAME, slash ? slash + 1 : path);
}

/*
 * Tells the kernel where the program's arguments, environment and auxv are, as exec does, so that
 * others find them in /proc, even what the program has written over them. Guise's heap stays the
 * kernel's: it ends where it does now, and no longer shrinks below.
 */
static bool process_tell_kernel(const struct elf_start *start)
{
    uint64_t heap = (uint64_t)syscall(SYS_brk, 0);
    struct prctl_mm_map map = {
        .start_code = start->low,
        .end_code = start->high,
        .start_data = start->low,
        .end_data = start->high,
        .start_brk = heap,
        .brk = heap,
        .start_stack = start->sp,
        .arg_start = start->args,
        .arg_end = start->environment,
        .env_start = start->environment,
        .env_end = start->strings_end,
        .auxv = (void *)(uintptr_t)start->auxv,
        .auxv_size = (uint32_t)start->auxv_size,
        .exe_fd = (uint32_t)-1,
    };
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0;
}

/* Letters of RISC-V's single-letter extensions that the default has, as bits (AT_HWCAP). */
static uint64_t process_hwcap(void)
{
    uint64_t bits = 0;
    for (const char *letter = "imafdc"; *letter; letter++)
        bits |= UINT64_C(1) << (*letter - 'a');
    return bits;
}

#define TABLE (64 << 10) /* bytes */

/* Large tables of the heap stay mappings, of which only what is used is ever touched. */
static void settle_libc(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, TABLE);
#endif
}

int proc_run(const struct proc_config *config, struct error *err)
{
    struct program program = {.name = config->program, .argv = config->argv};
    struct elf_start start;
    int rc = program_find(config, &program, err);
    if (rc)
        return rc;
    settle_libc();
    /* In this order: faults that are not fault.h's go to the handlers of signals. */
    uint64_t ignored = signals_prepare();
    rc = fault_init(err);
    struct process *p = rc ? NULL : process_new(config, &program, err);
    if (!p)
        return rc ? rc : -ENOMEM;
    rc = mm_init(&p->mm, p, err);
    if (rc)
        return rc;
    const struct elf_args args = {.path = config->handled ? config->handled->execfn : program.name,
                                  .fd = program.fd,
                                  .sysroot = config->sysroot,
                                  .argv = program.argv,
                                  .envp = config->envp,
                                  .hwcap = process_hwcap()};
    rc = elf_load(&p->mm, &args, &start, err);
    if (rc)
        return rc;
    close(program.fd);
    if (config->program_fd)
        close(config->program_fd);
    if (!config->handled) /* the kernel has done it */
        process_set_name(program.name);
    p->auxv = start.auxv;
    p->auxv_size = start.auxv_size;
    p->told = process_tell_kernel(&start);
    proc_other_publish(p);
    struct thread *t = thread_new(p, err);
    if (!t)
        return -ENOMEM;
    t->tid = (pid_t)syscall(SYS_gettid);
    atomic_store(&p->alive, 1);
    t->hart->pc = start.pc;
    t->hart->x[REG_SP] = start.sp;
    rc = signals_init(t, ignored, err);
    if (rc)
        return rc;
    if (config->dump && config->engine->dump)
        config->engine->dump(&t->vcpu, config->dump);
    thread_set_self(t);
    if (getauxval(AT_FLAGS) & TRACE_AT_FLAG)
        trace_start(t);
    thread_run(t);
}
