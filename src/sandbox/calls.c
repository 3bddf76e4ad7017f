#include "sandbox/calls.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define HOST_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define HOST_ARCH AUDIT_ARCH_AARCH64
#else
#define HOST_ARCH 0 /* not known: there is no filter */
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* ---- calls.def ---- */

#define CALLS_CLONE_THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define CALLS_CLONE_MASK                                                               \
    (CALLS_CLONE_THREAD | CLONE_VFORK | CLONE_PTRACE | CLONE_NEWNS | CLONE_NEWCGROUP | \
     CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define CALLS_OWN_PID UINT32_MAX /* stands for it: no process has this number */

enum {
    VM = CALLS_VM,
    DISK = CALLS_DISK,
    NET = CALLS_NET,
    LISTEN = CALLS_LISTEN,
    TTY = CALLS_TTY,
    NAT = CALLS_NAT,
    IMAGE = CALLS_IMAGE,
    SHARE = CALLS_SHARE,
    FS = CALLS_FS,
    NBD = CALLS_NBD,
    ALL = VM | NAT | IMAGE | FS | NBD,
};

struct call_row {
    uint32_t nr;
    unsigned whose;
    uint32_t then; /* what the filter returns */
    unsigned arg;
    uint32_t mask, value; /* mask 0: whatever the arguments are */
};

#define CALL(name, whose, why) {SYS_##name, whose, SECCOMP_RET_ALLOW, 0, 0, 0},
#define CALL_IF(name, whose, arg, mask, value, why) \
    {SYS_##name, whose, SECCOMP_RET_ALLOW, arg, (uint32_t)(mask), (uint32_t)(value)},
#define FAIL_IF(name, error, arg, mask, value, why) \
    {SYS_##name, ALL, SECCOMP_RET_ERRNO | (error), arg, (uint32_t)(mask), (uint32_t)(value)},
#define FAIL(name, error, why) FAIL_IF(name, error, 0, 0, 0, why)
static const struct call_row call_rows[] = {
#include "sandbox/calls.def"
};

/* ---- the program ---- */

#define ROW_INSNS 6 /* at most */
#define PROGRAM_INSNS (5 + ROW_INSNS * ARRAY_SIZE(call_rows) + 1)

_Static_assert(PROGRAM_INSNS < BPF_MAXINSNS, "the kernel takes the program");

struct program {
    struct sock_filter insn[PROGRAM_INSNS];
    unsigned len;
    unsigned calls;
};

static void program_add(struct program *p, struct sock_filter insn)
{
    p->insn[p->len++] = insn;
}

static void program_load(struct program *p, size_t offset)
{
    program_add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* Skips `over` instructions if what was loaded is not k. */
static void program_unless(struct program *p, uint32_t k, uint8_t over)
{
    program_add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, over));
}

static void program_return(struct program *p, uint32_t what)
{
    program_add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

/* The number of the call is loaded, before and after. */
static void program_row(struct program *p, const struct call_row *row, uint32_t pid)
{
    if (!row->mask) {
        program_unless(p, row->nr, 1);
        program_return(p, row->then);
        return;
    }
    /* Little endian: the low half comes first. */
    size_t low = offsetof(struct seccomp_data, args) + 8 * row->arg;
    program_unless(p, row->nr, 5);
    program_load(p, low);
    program_add(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, row->mask));
    program_unless(p, row->value == CALLS_OWN_PID ? pid : row->value, 1);
    program_return(p, row->then);
    program_load(p, offsetof(struct seccomp_data, nr));
}

static void program_make(struct program *p, unsigned whose, bool quiet)
{
    uint32_t pid = (uint32_t)getpid();
    *p = (struct program){0};
    program_load(p, offsetof(struct seccomp_data, arch));
    program_unless(p, HOST_ARCH, 1);
    program_add(p, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 1));
    program_return(p, SECCOMP_RET_KILL_PROCESS);
    program_load(p, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < ARRAY_SIZE(call_rows); i++) {
        const struct call_row *row = &call_rows[i];
        if (!(row->whose & whose))
            continue;
        program_row(p, row, pid);
        p->calls += row->then == SECCOMP_RET_ALLOW && (!i || row[-1].nr != row->nr);
    }
    program_return(p, quiet ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_TRAP);
}

int calls_confine(unsigned whose, bool quiet, unsigned *count, struct error *err)
{
    struct program program;
    program_make(&program, whose, quiet);
    const struct sock_fprog code = {.len = (unsigned short)program.len, .filter = program.insn};
    *count = program.calls;
    long rc = HOST_ARCH
                  ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &code)
                  : (errno = ENOSYS, -1);
    if (!rc)
        return 0;
    if (rc > 0)
        return error_set(err, EBUSY, "thread %ld cannot be confined: it has a filter of its own",
                         rc);
    return error_set(err, errno == EINVAL ? ENOSYS : errno,
                     "this host's kernel takes no list of system calls (seccomp: %s)",
                     strerror(errno));
}
