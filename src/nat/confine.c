#include "nat/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#if defined(__x86_64__)
#define HOST_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define HOST_ARCH AUDIT_ARCH_AARCH64
#endif

/* ---- privileges ---- */

static void drop_root(void)
{
    if (geteuid())
        return;
    /* In a user namespace there may be no such user: then it is root of that only. */
    if (!syscall(SYS_setgroups, 0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY))
        (void)!setresuid(NOBODY, NOBODY, NOBODY);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &head, none) ? -errno : 0;
}

/* ---- files: those from which the host's name servers are read, again when they change ---- */

static int allow_reading(int rules, const char *path)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
        .parent_fd = open(path, O_PATH | O_CLOEXEC),
    };
    if (rule.parent_fd < 0)
        return 0;
    long rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return rc ? -errno : 0;
}

static int confine_files(void)
{
    static const char *const readable[] = {"/etc/resolv.conf", "/run/systemd/resolve",
                                           "/run/resolvconf", "/run/NetworkManager"};
    /* Everything that the first version of landlock knows of. */
    struct landlock_ruleset_attr attr = {.handled_access_fs =
                                             (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
    int rc = 0;
    for (unsigned i = 0; !rc && i < COUNT(readable); i++)
        rc = allow_reading(rules, readable[i]);
    if (!rc && syscall(SYS_landlock_restrict_self, rules, 0))
        rc = -errno;
    close(rules);
    return rc;
}

/* ---- system calls: all others fail with EPERM ---- */

#ifdef HOST_ARCH
static const uint16_t allowed_calls[] = {
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_close,
    SYS_ppoll,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_bind,
    SYS_connect,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_ioctl,
    SYS_fcntl,
    SYS_openat,
    SYS_fstat,
    SYS_newfstatat,
    SYS_lseek,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_futex,
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_getpid,
    SYS_gettid,
    SYS_tgkill,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_restart_syscall,
    SYS_exit,
    SYS_exit_group,
#ifdef SYS_poll
    SYS_poll,
    SYS_open,
    SYS_stat,
    SYS_select,
    SYS_time,
#endif
};

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
/* Skips `over` instructions if what was loaded is not k. */
#define UNLESS(k, over) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (over))

static int confine_calls(void)
{
    static const struct sock_filter head[] = {
        LOAD(arch), UNLESS(HOST_ARCH, 1), BPF_STMT(BPF_JMP | BPF_JA, 1),
        RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(nr),
        /* New sockets speak IP only. */
        UNLESS(SYS_socket, 6), LOAD(args[0]), UNLESS(AF_INET, 1), RETURN(SECCOMP_RET_ALLOW),
        UNLESS(AF_INET6, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_ERRNO | EPERM)};
    struct sock_filter code[COUNT(head) + 2 * COUNT(allowed_calls) + 1];
    unsigned n = COUNT(head);
    memcpy(code, head, sizeof head);
    for (unsigned i = 0; i < COUNT(allowed_calls); i++) {
        code[n++] = (struct sock_filter)UNLESS(allowed_calls[i], 1);
        code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = (uint16_t)n, .filter = code};
    if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 0;
    return errno == EINVAL ? 0 : -errno;
}
#else
static int confine_calls(void)
{
    return 0;
}
#endif

int nat_confine(void)
{
    drop_root();
    int rc = drop_capabilities();
    if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        rc = -errno;
    prctl(PR_SET_DUMPABLE, 0);
    if (!rc)
        rc = confine_files();
    return rc ? rc : confine_calls();
}
