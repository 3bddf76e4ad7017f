/* SIGSYS of a filter: all of its siginfo. run: static */
#include "sig.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static volatile int calls;

static void on_sys(int sig, siginfo_t *info, void *context)
{
    CHECK_IS(sig, SIGSYS);
    CHECK_IS(info->si_code, 1);
    CHECK_IS(info->si_errno, 1234);
    CHECK_IS(info->si_syscall, SYS_getppid);
    CHECK_IS((long)info->si_call_addr, SIG_PC(context));
#ifdef __riscv
    CHECK_IS(info->si_arch, AUDIT_ARCH_RISCV64);
#else
    CHECK_IS(info->si_arch, AUDIT_ARCH_X86_64);
#endif
    SIG_RESULT(context) = 4711;
    calls++;
}

int main(void)
{
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP | 1234),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = sizeof f / sizeof *f, .filter = f};
    sig_set(SIGSYS, on_sys, 0);
    CHECK_IS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_IS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
    for (int i = 0; i < 1000; i++)
        CHECK_IS(syscall(SYS_getppid), 4711);
    CHECK_IS(calls, 1000);
    pid_t child = fork();
    if (!child) {
        sig_block(SIG_BLOCK, SIGSYS, 0);
        syscall(SYS_getppid);
        _exit(1);
    }
    CHECK_IS(sig_wait(child), 1000 + SIGSYS);
    DONE("trapped");
    return 0;
}
