/* For the programs that trace others: registers and breakpoints of both architectures. */
#pragma once

#include "check.h"

#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifdef __riscv
struct registers {
    uint64_t pc, x[31];
};
#define PC(r) ((r)->pc)
#define SP(r) ((r)->x[1])
#define RESULT(r) ((r)->x[9])
#define ARGUMENT(r) ((r)->x[9])
#define SECOND(r) ((r)->x[10])
#define CALL(r) ((r)->x[16])
#define BREAK 0x00100073u
#define BREAK_MASK 0xffffffffu
#define BREAK_PASSED 0 /* how far behind the breakpoint the pc is */
#define BREAK_NOW ".option push\n.option norvc\nebreak\n.option pop\n"
#define BREAK_SIZE 4
#define ARCH 0xc00000f3u
#define FP_WORD(n) (n)
#define FP_SIZE 264
#else
struct registers {
    struct user_regs_struct u;
};
#define PC(r) ((r)->u.rip)
#define SP(r) ((r)->u.rsp)
#define RESULT(r) ((r)->u.rax)
#define ARGUMENT(r) ((r)->u.rdi)
#define SECOND(r) ((r)->u.rsi)
#define CALL(r) ((r)->u.orig_rax)
#define BREAK 0xccu
#define BREAK_MASK 0xffu
#define BREAK_PASSED 1
#define BREAK_NOW "int3\n"
#define BREAK_SIZE 1
#define ARCH 0xc000003eu
#define FP_WORD(n) (20 + 2 * (n)) /* of the register xmm N */
#define FP_SIZE 512
#endif

/* What raw ptrace gives, without the C library's way of peeking. */
__attribute__((unused)) static long trace(int request, pid_t pid, uint64_t address, uint64_t data)
{
    return syscall(SYS_ptrace, request, pid, address, data);
}

__attribute__((unused)) static void get_registers(pid_t pid, struct registers *r)
{
    struct iovec v = {r, sizeof *r};
    CHECK_IS(trace(PTRACE_GETREGSET, pid, NT_PRSTATUS, (uintptr_t)&v), 0);
    CHECK_IS(v.iov_len, sizeof *r);
}

__attribute__((unused)) static void set_registers(pid_t pid, struct registers *r)
{
    struct iovec v = {r, sizeof *r};
    CHECK_IS(trace(PTRACE_SETREGSET, pid, NT_PRSTATUS, (uintptr_t)&v), 0);
}

__attribute__((unused)) static uint64_t peek(pid_t pid, const volatile void *at)
{
    uint64_t word;
    CHECK_IS(trace(PTRACE_PEEKDATA, pid, (uintptr_t)at, (uintptr_t)&word), 0);
    return word;
}

__attribute__((unused)) static void poke(pid_t pid, const volatile void *at, uint64_t word)
{
    CHECK_IS(trace(PTRACE_POKEDATA, pid, (uintptr_t)at, word), 0);
}

__attribute__((unused)) static int wait_for(pid_t pid)
{
    int status;
    CHECK_IS(waitpid(pid, &status, __WALL), pid);
    return status;
}

/* It stops next by this signal, and by this event. */
__attribute__((unused)) static void wait_stop(pid_t pid, int sig, int event)
{
    int status = wait_for(pid);
    CHECK_IS(status, (event << 16) | (sig << 8) | 0x7f);
}

__attribute__((unused)) static void wait_exit(pid_t pid, int code)
{
    CHECK_IS(wait_for(pid), code << 8);
}

__attribute__((unused)) static void go_on(int request, pid_t pid, int sig)
{
    CHECK_IS(trace(request, pid, 0, (uint64_t)sig), 0);
}

/* A child that traces itself by its parent, is stopped by SIGSTOP, and does `work` then. */
__attribute__((unused)) static pid_t start_traced(void (*work)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        CHECK_IS(trace(PTRACE_TRACEME, 0, 0, 0), 0);
        raise(SIGSTOP);
        work();
        _exit(0);
    }
    wait_stop(pid, SIGSTOP, 0);
    return pid;
}
