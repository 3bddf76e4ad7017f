/*
 * What a confined machine can still do to its host. A device that misbehaves is part of the machine
 * here: what the guest writes to it is the number of an attack, carried out on the vCPU's thread
 * after `guise run` would have confined itself. Argument: the engine.
 *
 * The system call list hides what is behind it, so each other measure is also tried alone.
 */
#include "core/addrspace.h"
#include "sandbox/broker.h"
#include "sandbox/confine.h"
#include "sandbox/namespaces.h"
#include "small.h"
#include "vmm/vm_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACKER 0x300000u /* where the board has nothing */
#define NOT_CONFINED 99    /* exit code: an attack came back with success */
#define AS_EXPECTED 42

/* What was there before the machine was confined. */
static struct {
    int inet, local; /* sockets */
    int leaked;      /* inherited: does not close on exec */
    pid_t victim;
    char secret[64]; /* a file that everybody may read and write: leaked is open at it */
    ino_t inode;
} before;

/* ---- attacks: each returns as its system call ---- */

static long attack_open(void)
{
    return open(before.secret, O_RDONLY);
}

static long attack_create(void)
{
    return open("/tmp/guise-test-created", O_CREAT | O_WRONLY, 0600);
}

static long attack_open_proc(void)
{
    return open("/proc/self/mem", O_RDWR);
}

static long attack_unlink(void)
{
    return unlink(before.secret);
}

static long attack_rename(void)
{
    return rename(before.secret, "/tmp/guise-test-renamed");
}

static long attack_chmod(void)
{
    return chmod(before.secret, 0777);
}

static long attack_exec(void)
{
    char *argv[] = {(char[]){"true"}, NULL};
    return execve("/bin/true", argv, NULL);
}

static long attack_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); /* fork() blocks signals */
}

static long attack_clone_user_namespace(void)
{
    return syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER, 0, 0, 0, 0);
}

static long attack_socket_inet(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long attack_socket_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long attack_connect_inet(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(22)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(before.inet, (struct sockaddr *)&to, sizeof to);
}

static long attack_connect_unix(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/dbus/system_bus_socket"};
    return connect(before.local, (struct sockaddr *)&to, sizeof to);
}

static long attack_bind(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    return bind(before.inet, (struct sockaddr *)&to, sizeof to);
}

static long attack_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, before.victim, NULL, NULL);
}

static long attack_kill(void)
{
    return kill(before.victim, SIGKILL);
}

static long attack_tgkill(void)
{
    return syscall(SYS_tgkill, before.victim, before.victim, SIGKILL);
}

static long attack_pidfd(void)
{
    return syscall(SYS_pidfd_open, before.victim, 0);
}

static long attack_read_process(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {&before, 1};
    return process_vm_readv(before.victim, &here, 1, &there, 1, 0);
}

static long attack_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}

static long attack_setns(void)
{
    return setns(before.leaked, 0);
}

static long attack_mount(void)
{
    return mount("none", "/", "tmpfs", 0, NULL);
}

static long attack_chroot(void)
{
    return chroot("/");
}

static long attack_io_uring(void)
{
    struct io_uring_params p = {0};
    return syscall(SYS_io_uring_setup, 8, &p);
}

static long attack_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long attack_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, 0);
}

static long attack_new_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? -1
               : 0;
}

static long attack_make_code(void)
{
    static char page[8192];
    char *start = page + (4096 - (uintptr_t)page % 4096) % 4096;
    return mprotect(start, 4096, PROT_READ | PROT_EXEC);
}

static long attack_setuid(void)
{
    return syscall(SYS_setuid, 0);
}

static long attack_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1);
}

static long attack_core(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_CORE, &limit);
}

static long attack_type_at_terminal(void)
{
    return ioctl(STDIN_FILENO, TIOCSTI, "x");
}

static long attack_reboot(void)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL);
}

/* This one is not killed: the C library has to find out that it is to use clone. */
static long attack_clone3(void)
{
    return syscall(SYS_clone3, NULL, 0);
}

/* Reading is allowed, but not what the machine was never given. Another file may have the number.
 */
static long attack_leaked(void)
{
    char byte;
    struct stat st;
    if (fstat(before.leaked, &st) || st.st_ino != before.inode)
        errno = EBADF;
    return errno ? -1 : pread(before.leaked, &byte, 1, 0);
}

static const struct attack {
    const char *what;
    const char *call; /* named in the message; NULL: the attack fails with `error` */
    long (*run)(void);
    int error;
} attacks[] = {
    {"open a file", NULL, attack_open, EACCES},
    {"create a file", "openat", attack_create, 0},
    {"open its own memory", "openat", attack_open_proc, 0},
    {"remove a file", "unlink", attack_unlink, 0},
    {"rename a file", "rename", attack_rename, 0},
    {"change a file's mode", "chmod", attack_chmod, 0},
    {"execute a program", "execve", attack_exec, 0},
    {"make a process", "clone", attack_fork, 0},
    {"make a thread in a new user namespace", "clone", attack_clone_user_namespace, 0},
    {"make an IP socket", "socket", attack_socket_inet, 0},
    {"make a unix socket", "socket", attack_socket_unix, 0},
    {"connect over IP", "connect", attack_connect_inet, 0},
    {"connect to a unix socket", "connect", attack_connect_unix, 0},
    {"listen at a port", "bind", attack_bind, 0},
    {"trace a process", "ptrace", attack_ptrace, 0},
    {"kill a process", "kill", attack_kill, 0},
    {"kill a thread of a process", "tgkill", attack_tgkill, 0},
    {"open a process", "pidfd_open", attack_pidfd, 0},
    {"read a process's memory", "process_vm_readv", attack_read_process, 0},
    {"make a namespace", "unshare", attack_unshare, 0},
    {"enter a namespace", "setns", attack_setns, 0},
    {"mount", "mount", attack_mount, 0},
    {"change its root", "chroot", attack_chroot, 0},
    {"make a ring that calls for it", "io_uring_setup", attack_io_uring, 0},
    {"load a program into the kernel", "bpf", attack_bpf, 0},
    {"handle page faults", "userfaultfd", attack_userfaultfd, 0},
    {"map new code", "mmap", attack_new_code, 0},
    {"make data code", "mprotect", attack_make_code, 0},
    {"become root", "setuid", attack_setuid, 0},
    {"let others read its memory", "prctl", attack_dumpable, 0},
    {"have core files", "prlimit64", attack_core, 0},
    {"type at the terminal", "ioctl", attack_type_at_terminal, 0},
    {"reboot the host", "reboot", attack_reboot, 0},
    {"make a process with clone3", NULL, attack_clone3, ENOSYS},
    {"read an inherited descriptor", NULL, attack_leaked, EBADF},
};

#define ATTACKS (sizeof attacks / sizeof attacks[0])

/* ---- the machine ---- */

static void attacker_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev;
    (void)offset;
    (void)size;
    const struct attack *a = &attacks[value];
    errno = 0;
    long rc = a->run();
    _exit(!a->call && rc < 0 && errno == a->error ? AS_EXPECTED : NOT_CONFINED);
}

static const struct mmio_ops attacker_ops = {.write = attacker_write, .sizes = 4, .unlocked = true};

/* Writes the number to the attacker, if there is one, then switches the machine off. */
static void put_guest(const struct small_file *f, bool attacked, unsigned number)
{
    const uint32_t store = 6 << 20 | 5 << 15 | 2 << 12 | 0x23;
    const uint32_t code[] = {
        (ATTACKER & 0xfffff000) | 5 << 7 | 0x37, /* lui t0, ATTACKER */
        number << 20 | 6 << 7 | 0x13,            /* li t1, number */
        attacked ? store : 0x13,                 /* sw t1, (t0), or nop */
        0x100000 | 5 << 7 | 0x37,                /* lui t0, the power device */
        0x5000 | 6 << 7 | 0x37,                  /* lui t1, 5 */
        0x555 << 20 | 6 << 15 | 6 << 7 | 0x13,   /* addi t1, t1, 0x555 */
        store,                                   /* sw t1, (t0) */
        0x6f,                                    /* j . */
    };
    small_put(f, code, sizeof code);
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    _exit(1);
}

static void run_machine(const char *engine, const char *firmware, bool attacked)
{
    struct error err = {0};
    struct vm_result result;
    struct confine_report report;
    struct vm_config config = small_config(0);
    config.deterministic = false;
    config.engine = engine;
    config.firmware = firmware;
    struct vm *vm = vm_new(&config, &err);
    if (!vm || (attacked &&
                addrspace_add_mmio(vm->machine->mem, ATTACKER, 4096, &attacker_ops, NULL, &err)))
        die("machine", err.msg);
    const struct vm_confinement how = {.user = CONFINE_NOBODY, .group = CONFINE_NOBODY};
    if (vm_confine(vm, &how, &report, &err) || vm_run(vm, &result, &err))
        die("run", err.msg);
    vm_free(vm);
    _exit(result.end == VM_END_POWEROFF ? 0 : 1);
}

/* In a child whose messages the caller reads. */
static pid_t start(void (*run)(const void *ctx), const void *ctx, int *messages)
{
    int pipe_fds[2];
    if (pipe(pipe_fds))
        abort();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (!pid) {
        alarm(100);
        dup2(pipe_fds[1], STDERR_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        run(ctx);
        _exit(1);
    }
    close(pipe_fds[1]);
    *messages = pipe_fds[0];
    return pid;
}

/* The status as waitpid gives it, and what the child said. */
static int finish(pid_t pid, int messages, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    int status;
    while (len < size - 1 && (n = read(messages, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(messages);
    if (waitpid(pid, &status, 0) != pid)
        abort();
    return status;
}

struct machine_case {
    const char *engine, *firmware;
    bool attacked;
};

static void run_case(const void *ctx)
{
    const struct machine_case *c = ctx;
    run_machine(c->engine, c->firmware, c->attacked);
}

static unsigned report(bool ok, const char *what, int status, const char *text)
{
    printf("%s: %s\n", ok ? "refused" : "NOT REFUSED", what);
    if (!ok)
        printf("    status 0x%x: %s\n", (unsigned)status, text);
    return !ok;
}

static unsigned try_attack(const char *engine, const struct small_file *f, unsigned number)
{
    const struct attack *a = &attacks[number];
    const struct machine_case c = {engine, f->path, true};
    char text[1000], named[64];
    int messages;
    put_guest(f, true, number);
    pid_t pid = start(run_case, &c, &messages);
    int status = finish(pid, messages, text, sizeof text);
    snprintf(named, sizeof named, ": %s (", a->call ? a->call : "");
    bool ok = a->call ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && strstr(text, named)
                      : WIFEXITED(status) && WEXITSTATUS(status) == AS_EXPECTED;
    return report(ok, a->what, status, text);
}

/* The same machine does work if nobody misbehaves. */
static unsigned try_nothing(const char *engine, const struct small_file *f)
{
    const struct machine_case c = {engine, f->path, false};
    char text[1000];
    int messages;
    put_guest(f, false, 0);
    pid_t pid = start(run_case, &c, &messages);
    int status = finish(pid, messages, text, sizeof text);
    bool ok = !status && !*text;
    printf("%s: a machine that does no harm\n", ok ? "runs" : "DOES NOT RUN");
    if (!ok)
        printf("    status 0x%x: %s\n", (unsigned)status, text);
    return !ok;
}

/* ---- each measure alone; they exit with AS_EXPECTED, or with 77 where the host has none ---- */

static void alone_landlock(const void *ctx)
{
    (void)ctx;
    int version = landlock_confine(NULL, 0, false);
    if (version <= 0)
        _exit(77);
    bool ok = open(before.secret, O_RDONLY) < 0 && errno == EACCES;
    ok &= open("/tmp/guise-test-created", O_CREAT | O_WRONLY, 0600) < 0 && errno == EACCES;
    ok &= unlink(before.secret) < 0 && errno == EACCES;
    ok &= ptrace(PTRACE_ATTACH, before.victim, NULL, NULL) < 0 && errno == EPERM;
    if (version >= 4)
        ok &= attack_connect_inet() < 0 && errno == EACCES;
    if (version >= 6)
        ok &= kill(before.victim, SIGKILL) < 0 && errno == EPERM;
    _exit(ok ? AS_EXPECTED : NOT_CONFINED);
}

static void alone_namespaces(const void *ctx)
{
    const bool *user = ctx;
    struct ifreq req = {.ifr_name = "lo"};
    if (namespaces_enter(*user))
        _exit(77);
    bool ok = access(before.secret, F_OK) < 0 && access("/proc", F_OK) < 0 && !access("/", F_OK);
    ok &= open("/x", O_CREAT | O_WRONLY, 0600) < 0;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    ok &= s >= 0 && !ioctl(s, SIOCGIFFLAGS, &req) && !(req.ifr_flags & IFF_UP);
    _exit(ok ? AS_EXPECTED : NOT_CONFINED);
}

static void alone_privileges(const void *ctx)
{
    (void)ctx;
    struct error err;
    struct confine_report r;
    const struct confine how = {.calls = CALLS_IMAGE,
                                .quiet = true,
                                .user = 4321,
                                .group = 4322,
                                .paths = &(struct landlock_path){.path = "/proc"},
                                .path_count = 1};
    char text[4096];
    bool root = !geteuid();
    if (confine(&how, &r, &err))
        die("confine", err.msg);
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    bool ok = strstr(text, "CapEff:\t0000000000000000") &&
              strstr(text, "CapPrm:\t0000000000000000") && strstr(text, "NoNewPrivs:\t1") &&
              strstr(text, "Seccomp:\t2") &&
              (!root || strstr(text, "Uid:\t4321\t4321\t4321\t4321"));
    _exit(ok ? AS_EXPECTED : NOT_CONFINED);
}

/* Others of the same user, this process's parent one of them, cannot look into a machine. */
static void alone_two_threads_fail(const void *ctx)
{
    (void)ctx;
    struct error err = {0};
    struct confine_report r;
    const struct confine how = {.calls = CALLS_VM};
    static char stack[65536] __attribute__((aligned(16)));
    pid_t thread = clone((int (*)(void *))(void *)pause, stack + sizeof stack,
                         CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, NULL);
    bool ok = thread > 0 && confine(&how, &r, &err) == -EBUSY;
    _exit(ok ? AS_EXPECTED : NOT_CONFINED);
}

static unsigned try_alone(const char *what, void (*run)(const void *ctx), const void *ctx)
{
    char text[1000];
    int messages;
    pid_t pid = start(run, ctx, &messages);
    int status = finish(pid, messages, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("not on this host: %s\n", what);
        return 0;
    }
    return report(WIFEXITED(status) && WEXITSTATUS(status) == AS_EXPECTED, what, status, text);
}

/* ---- the broker ---- */

static int job_give(void *ctx, unsigned arg, int *fd)
{
    *fd = open(ctx, O_RDONLY | O_CLOEXEC);
    return (int)arg + 1;
}

static void job_remove(void *ctx)
{
    unlink(ctx);
}

static void run_broker(const void *ctx)
{
    struct error err;
    int fd = -1, other = -1;
    (void)ctx;
    const struct broker_job jobs[] = {{job_give, job_remove, before.secret}};
    struct broker *b = broker_new(jobs, 1, &err);
    bool ok = b && broker_call(b, 0, 6, &fd) == 7 && fd >= 0 && broker_call(b, 1, 0, &other) < 0 &&
              other < 0 && broker_call(b, 0, 0, &other) == -EPIPE;
    broker_free(b);
    ok &= access(before.secret, F_OK) < 0; /* its end was not needed: it ended at the bad request */
    _exit(ok ? AS_EXPECTED : NOT_CONFINED);
}

/*
 * A machine on a switch that somebody else was the hub of: when that one is killed, the confined
 * machine becomes the hub, for which it needs the broker. When it is killed itself, the switch's
 * socket goes away all the same.
 */
struct switch_case {
    const char *engine, *firmware, *path;
};

static void run_hub(const void *ctx)
{
    const struct switch_case *c = ctx;
    struct loop *loop = loop_new(NULL);
    char spec[100];
    snprintf(spec, sizeof spec, "switch=%s", c->path);
    if (!net_open(spec, 0, loop, NULL) || write(STDERR_FILENO, "!", 1) != 1)
        _exit(1);
    for (;;)
        loop_run_once(loop, 1000);
}

static void run_on_switch(const void *ctx)
{
    const struct switch_case *c = ctx;
    struct error err = {0};
    struct vm_result result;
    struct confine_report report;
    struct vm_config config = small_config(0);
    char spec[100];
    snprintf(spec, sizeof spec, "switch=%s", c->path);
    config.deterministic = false;
    config.engine = c->engine;
    config.firmware = c->firmware;
    config.nets[config.net_count++] = spec;
    struct vm *vm = vm_new(&config, &err);
    const struct vm_confinement how = {.user = CONFINE_NOBODY, .group = CONFINE_NOBODY};
    if (!vm || vm_confine(vm, &how, &report, &err))
        die("machine on a switch", err.msg);
    (void)!write(STDERR_FILENO, "!", 1);
    vm_run(vm, &result, &err);
}

static bool switch_answers(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    bool ok = !connect(s, (struct sockaddr *)&to, sizeof to);
    close(s);
    return ok;
}

static bool switch_is_gone(const char *path)
{
    return access(path, F_OK) < 0;
}

static bool within_a_minute(bool (*is_so)(const char *path), const char *path)
{
    for (unsigned i = 0; i < 600 && !is_so(path); i++)
        usleep(100000);
    return is_so(path);
}

static unsigned try_switch(const char *engine, const struct small_file *f)
{
    static const uint32_t forever = 0x6f; /* j . */
    char path[64], text[1000];
    snprintf(path, sizeof path, "/tmp/guise-test-%d.sock", (int)getpid());
    const struct switch_case c = {engine, f->path, path};
    int hub_says, says, status;
    char byte;
    small_put(f, &forever, sizeof forever);
    pid_t hub = start(run_hub, &c, &hub_says);
    bool ok = read(hub_says, &byte, 1) == 1;
    pid_t pid = start(run_on_switch, &c, &says);
    ok &= read(says, &byte, 1) == 1 && byte == '!';
    kill(hub, SIGKILL);
    finish(hub, hub_says, text, sizeof text);
    ok &= within_a_minute(switch_answers, path);
    kill(pid, SIGKILL);
    status = finish(pid, says, text, sizeof text);
    ok &= within_a_minute(switch_is_gone, path);
    printf("%s: a network that has to be opened again\n", ok ? "runs" : "DOES NOT RUN");
    if (!ok)
        printf("    status 0x%x: %s\n", (unsigned)status, text);
    return !ok;
}

static void prepare(void)
{
    before.inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    before.local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(before.secret, "/tmp/guise-test-XXXXXX");
    before.leaked = mkstemp(before.secret);
    struct stat st;
    if (before.leaked < 0 || fchmod(before.leaked, 0666) || fstat(before.leaked, &st) ||
        write(before.leaked, "secret", 6) != 6)
        die("a file in /tmp", strerror(errno));
    before.inode = st.st_ino;
    before.victim = fork();
    while (!before.victim)
        pause();
}

int main(int argc, char **argv)
{
    static const bool with_user = true, without_user = false;
    struct small_file firmware;
    unsigned failed = 0;
    const char *engine = argc > 1 ? argv[1] : "auto";
    prepare();
    small_open(&firmware);
    failed += try_nothing(engine, &firmware);
    for (unsigned i = 0; i < ATTACKS; i++)
        failed += try_attack(engine, &firmware, i);
    failed += try_alone("landlock alone", alone_landlock, NULL);
    failed += try_alone("namespaces alone, as they are", alone_namespaces, &without_user);
    failed += try_alone("namespaces alone, with a user's own", alone_namespaces, &with_user);
    failed += try_alone("privileges", alone_privileges, NULL);
    failed += try_alone("confinement with threads", alone_two_threads_fail, NULL);
    failed += try_alone("what the broker was not given", run_broker, NULL);
    failed += try_switch(engine, &firmware);
    small_close(&firmware);
    kill(before.victim, SIGKILL);
    waitpid(before.victim, NULL, 0);
    unlink(before.secret);
    printf("%u not as they should be\n", failed);
    return failed ? 1 : 0;
}
