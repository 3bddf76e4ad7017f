/* Stops before and after system calls: what is told about them and what may be changed. */
#include "trace.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)
#define STOP (SIGTRAP | 0x80)
#ifdef SYS_pause
#define PAUSE SYS_pause
#else
#define PAUSE SYS_ppoll
#endif

/* As linux/ptrace.h has it. */
struct info {
    uint8_t op, pad[3];
    uint32_t arch;
    uint64_t pc, sp;
    union {
        struct {
            uint64_t number, args[6];
            uint32_t data;
        } entry;
        struct {
            int64_t result;
            uint8_t is_error;
        } exit;
    };
};

static void works(void)
{
    char buffer[16] = "unchanged";
    CHECK_IS(syscall(SYS_getppid), getppid());
    CHECK_IS(syscall(SYS_dup3, 77, 78, 0), -1);
    CHECK_IS(errno, EBADF);
    CHECK_IS(syscall(SYS_lseek, -1, 5, 6, 0, 0, 0), 12345); /* the tracer makes it up */
    CHECK_IS(syscall(SYS_readlinkat, -1, 0, buffer, sizeof buffer), -1); /* it becomes getpid */
    _exit(8);
}

/* To the next stop of a system call. */
static long next(pid_t pid, struct info *info)
{
    go_on(PTRACE_SYSCALL, pid, 0);
    int status = wait_for(pid);
    if (WIFEXITED(status))
        return -1;
    CHECK_IS(status, STOP << 8 | 0x7f);
    memset(info, 0xff, sizeof *info);
    return trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof *info, (uintptr_t)info);
}

/* To the stop before this call, over all others. */
static void reach(pid_t pid, long number, struct info *info)
{
    do {
        CHECK_IS(next(pid, info), 80);
        CHECK_IS(info->op, PTRACE_SYSCALL_INFO_ENTRY);
        CHECK_IS(info->arch, ARCH);
        if ((long)info->entry.number != number)
            CHECK_IS(next(pid, info), 33);
    } while (info->op != PTRACE_SYSCALL_INFO_ENTRY);
}

static void leave(pid_t pid, struct info *info, long result)
{
    CHECK_IS(next(pid, info), 33);
    CHECK_IS(info->op, PTRACE_SYSCALL_INFO_EXIT);
    CHECK_IS(info->exit.result, result);
    CHECK_IS(info->exit.is_error, result < 0);
}

static void changes(pid_t pid, struct info *info)
{
    struct registers r;
    reach(pid, SYS_lseek, info);
    CHECK_IS((int)info->entry.args[0], -1);
    CHECK_IS(info->entry.args[1], 5);
    CHECK_IS(info->entry.args[2], 6);
    leave(pid, info, -EBADF);
    get_registers(pid, &r);
    CHECK_IS(RESULT(&r), -EBADF);
    CHECK_IS(PC(&r), info->pc);
    CHECK_IS(SP(&r), info->sp);
    RESULT(&r) = 12345;
    set_registers(pid, &r);
    reach(pid, SYS_readlinkat, info);
    get_registers(pid, &r);
    CHECK_IS(CALL(&r), SYS_readlinkat);
    CALL(&r) = (uint64_t)-1; /* no call at all */
    set_registers(pid, &r);
    CHECK_IS(next(pid, info), 33);
    get_registers(pid, &r);
    RESULT(&r) = (uint64_t)-EPERM;
    set_registers(pid, &r);
}

static void calls(void)
{
    struct info info;
    unsigned long message;
    pid_t pid = start_traced(works);
    go_on(PTRACE_SETOPTIONS, pid, OPTIONS);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 24);
    CHECK_IS(info.op, PTRACE_SYSCALL_INFO_NONE);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, 4, (uintptr_t)&info), 24);
    reach(pid, SYS_getppid, &info);
    CHECK_IS(trace(PTRACE_GETEVENTMSG, pid, 0, (uintptr_t)&message), 0);
    CHECK_IS(message, 1);
    leave(pid, &info, getpid());
    reach(pid, SYS_dup3, &info);
    CHECK_IS(info.entry.args[0], 77);
    CHECK_IS(info.entry.args[1], 78);
    leave(pid, &info, -EBADF);
    changes(pid, &info);
    reach(pid, SYS_exit_group, &info);
    CHECK_IS(info.entry.args[0], 8);
    CHECK_IS(next(pid, &info), -1);
    DONE("calls");
}

/* ---- filters that ask the tracer ---- */

static void filtered(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 77),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof code[0], code};
    CHECK_IS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_IS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    CHECK_IS(syscall(SYS_getppid), getpid());  /* the tracer makes it that */
    CHECK_ERROR(syscall(SYS_getppid), ENOSYS); /* nobody is asked */
    _exit(7);
}

static void asked(void)
{
    struct info info;
    struct registers r;
    unsigned long message;
    pid_t pid = start_traced(filtered);
    go_on(PTRACE_SETOPTIONS, pid, OPTIONS | PTRACE_O_TRACESECCOMP);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGTRAP, PTRACE_EVENT_SECCOMP);
    CHECK_IS(trace(PTRACE_GETEVENTMSG, pid, 0, (uintptr_t)&message), 0);
    CHECK_IS(message, 77);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 84);
    CHECK_IS(info.op, PTRACE_SYSCALL_INFO_SECCOMP);
    CHECK_IS(info.entry.number, SYS_getppid);
    get_registers(pid, &r);
    CALL(&r) = SYS_getpid;
    set_registers(pid, &r);
    go_on(PTRACE_SYSCALL, pid, 0);
    CHECK_IS(wait_for(pid), STOP << 8 | 0x7f);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 33);
    CHECK_IS(info.exit.result, pid);
    go_on(PTRACE_SETOPTIONS, pid, OPTIONS);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 7);
    DONE("filters");
}

/* ---- calls that wait ---- */

static int pipes[2];
static volatile sig_atomic_t count;

static void counts(int sig)
{
    (void)sig;
    count++;
}

static void reads(void)
{
    char byte;
    struct sigaction a = {.sa_handler = counts, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &a, NULL);
    CHECK_IS(read(pipes[0], &byte, 1), 1); /* twice: it is repeated */
    CHECK_IS(count, 1);
    a.sa_flags = 0;
    sigaction(SIGUSR1, &a, NULL);
    CHECK_ERROR(read(pipes[0], &byte, 1), EINTR);
    CHECK_IS(count, 2);
    CHECK_ERROR(pause(), EINTR); /* the tracer takes a signal away first, which ends nothing */
    CHECK_IS(count, 3);
    _exit(2);
}

/* The call that waits is interrupted: it ends, the signal is seen, and it is repeated or not. */
static void interrupted(pid_t pid, long shown, int give)
{
    struct info info;
    int status = wait_for(pid);
    CHECK_IS(status, STOP << 8 | 0x7f);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 33);
    CHECK_IS(info.exit.result, shown);
    go_on(PTRACE_SYSCALL, pid, 0);
    wait_stop(pid, SIGUSR1, 0);
    go_on(PTRACE_SYSCALL, pid, give);
}

static void reach_read(pid_t pid)
{
    struct info info;
    do {
        reach(pid, SYS_read, &info);
    } while ((int)info.entry.args[0] != pipes[0]);
    go_on(PTRACE_SYSCALL, pid, 0);
}

/* The handler's return is in between. */
static void reach_again(pid_t pid, long number)
{
    struct info info;
    int status = wait_for(pid);
    CHECK_IS(status, STOP << 8 | 0x7f);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 80);
    CHECK_IS(info.entry.number, SYS_rt_sigreturn);
    CHECK_IS(next(pid, &info), 33);
    if (number < 0)
        return;
    CHECK_IS(next(pid, &info), 80);
    CHECK_IS(info.entry.number, number);
    go_on(PTRACE_SYSCALL, pid, 0);
}

static bool sleeps(pid_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *end = strrchr(text, ')');
    return end && end[2] == 'S';
}

static void wait_asleep(pid_t pid)
{
    while (!sleeps(pid))
        usleep(1000);
}

static void repeats(void)
{
    struct info info;
    CHECK_IS(pipe(pipes), 0);
    pid_t pid = start_traced(reads);
    go_on(PTRACE_SETOPTIONS, pid, OPTIONS);
    reach_read(pid);
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    interrupted(pid, -512, SIGUSR1);
    reach_again(pid, SYS_read);
    CHECK_IS(write(pipes[1], "x", 1), 1);
    CHECK_IS(wait_for(pid), STOP << 8 | 0x7f);
    reach_read(pid);
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    interrupted(pid, -512, SIGUSR1);
    reach_again(pid, -1);
    do {
        CHECK(next(pid, &info) > 0);
    } while (info.op != PTRACE_SYSCALL_INFO_ENTRY || (info.entry.number != PAUSE));
    go_on(PTRACE_SYSCALL, pid, 0);
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    interrupted(pid, -514, 0);
    int status = wait_for(pid);
    CHECK_IS(status, STOP << 8 | 0x7f);
    CHECK_IS(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info), 80);
    CHECK_IS(info.entry.number, PAUSE);
    go_on(PTRACE_SYSCALL, pid, 0);
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    interrupted(pid, -514, SIGUSR1);
    reach_again(pid, -1);
    while (next(pid, &info) > 0) {
    }
    DONE("repeats");
}

int main(void)
{
    calls();
    asked();
    repeats();
    return 0;
}
