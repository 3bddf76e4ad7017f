/* Registers, breakpoints in code that has run already, single steps. */
#include "trace.h"

static volatile long calls;

__attribute__((noinline)) static long called(long n)
{
    calls++;
    return n + 1;
}

static void runs(void)
{
    long sum = 0;
    for (long i = 0; i < 100000; i++) /* so that it is compiled */
        sum += called(i);
    raise(SIGSTOP);
    for (long i = 0; i < 10; i++)
        sum = called(i);
    CHECK_IS(sum, 10);
    CHECK_IS(calls, 100010);
    raise(SIGSTOP);
    sum = called(5);
    _exit((int)sum);
}

static uint64_t breakpoint(pid_t pid, const void *at)
{
    uint64_t word = peek(pid, at);
    poke(pid, at, (word & ~(uint64_t)BREAK_MASK) | BREAK);
    return word;
}

static void breakpoints(void)
{
    const void *at = (const void *)called;
    struct registers r;
    siginfo_t info;
    pid_t pid = start_traced(runs);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGSTOP, 0);
    CHECK_IS(peek(pid, &calls), 100000);
    uint64_t word = breakpoint(pid, at);
    go_on(PTRACE_CONT, pid, 0);
    for (long i = 0; i < 10; i++) {
        wait_stop(pid, SIGTRAP, 0);
        get_registers(pid, &r);
        CHECK_IS(PC(&r), (uintptr_t)at + BREAK_PASSED);
        CHECK_IS(ARGUMENT(&r), i);
        CHECK_IS(peek(pid, &calls), 100000 + i);
        poke(pid, at, word); /* step over it */
        PC(&r) = (uintptr_t)at;
        set_registers(pid, &r);
        go_on(PTRACE_SINGLESTEP, pid, 0);
        wait_stop(pid, SIGTRAP, 0);
        CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
        CHECK_IS(info.si_code, TRAP_TRACE);
        get_registers(pid, &r);
        CHECK(PC(&r) != (uintptr_t)at);
        breakpoint(pid, at);
        go_on(PTRACE_CONT, pid, 0);
    }
    wait_stop(pid, SIGSTOP, 0);
    poke(pid, at, word);
    CHECK_IS(peek(pid, at), word);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 6);
    DONE("breakpoints");
}

/* ---- registers ---- */

#ifdef __riscv
#define FP_IN "fmv.d.x ft3, %0\n"
#define FP_OUT "fmv.x.d %0, ft3\n"
#define ZERO "li a0, 0\n"
#define STEP "addi a0, a0, 1\n"
#define COUNT "mv %1, a0\n"
#define CHANGED "a0", "ft3"
#else
#define FP_IN "movq %0, %%xmm3\n"
#define FP_OUT "movq %%xmm3, %0\n"
#define ZERO "mov $0, %%rax\n"
#define STEP "add $1, %%rax\n"
#define COUNT "mov %%rax, %1\n"
#define CHANGED "rax", "xmm3"
#endif

extern const char steps_start[], steps_end[];

/* With the tracer's help the numbers become others. */
__attribute__((noinline)) static void traps(void)
{
    uint64_t in = 0x4009000000000000, count;
    __asm__ volatile(FP_IN BREAK_NOW FP_OUT ZERO ".globl steps_start, steps_end\n"
                                                 "steps_start:\n" STEP STEP STEP STEP STEP
                                                 "steps_end:\n" COUNT
                     : "+&r"(in), "=&r"(count)
                     :
                     : CHANGED);
    _exit(in == 0x4010000000000000 && count == 105 ? 5 : 6);
}

static void fp_changed(pid_t pid)
{
    uint64_t fp[64];
    struct iovec v = {fp, sizeof fp};
    CHECK_IS(trace(PTRACE_GETREGSET, pid, NT_PRFPREG, (uintptr_t)&v), 0);
    CHECK_IS(v.iov_len, FP_SIZE);
    CHECK_IS(fp[FP_WORD(3)], 0x4009000000000000);
    fp[FP_WORD(3)] = 0x4010000000000000;
    CHECK_IS(trace(PTRACE_SETREGSET, pid, NT_PRFPREG, (uintptr_t)&v), 0);
}

static void registers(void)
{
    struct registers r;
    siginfo_t info;
    pid_t pid = start_traced(traps);
    go_on(PTRACE_CONT, pid, 0);
    wait_stop(pid, SIGTRAP, 0);
    CHECK_IS(trace(PTRACE_GETSIGINFO, pid, 0, (uintptr_t)&info), 0);
    CHECK(info.si_code == TRAP_BRKPT || info.si_code == SI_KERNEL);
    fp_changed(pid);
    get_registers(pid, &r);
    PC(&r) += BREAK_SIZE - BREAK_PASSED;
    set_registers(pid, &r);
    unsigned steps = 0, inside = 0;
    do {
        go_on(PTRACE_SINGLESTEP, pid, 0);
        wait_stop(pid, SIGTRAP, 0);
        get_registers(pid, &r);
        inside += PC(&r) >= (uintptr_t)steps_start && PC(&r) < (uintptr_t)steps_end;
        CHECK(steps++ < 100);
    } while (PC(&r) != (uintptr_t)steps_end);
    CHECK_IS(inside, 5);
    CHECK_IS(RESULT(&r), 5);
    RESULT(&r) = 105;
    set_registers(pid, &r);
    go_on(PTRACE_CONT, pid, 0);
    wait_exit(pid, 5);
    DONE("registers");
}

/* ---- steps across system calls and signals ---- */

static void asks(void)
{
    for (int i = 0; i < 3; i++)
        CHECK(syscall(SYS_getppid) > 0);
    _exit(9);
}

static void all_steps(void)
{
    pid_t pid = start_traced(asks);
    int status = 0;
    long steps = 0;
    for (;;) {
        go_on(PTRACE_SINGLESTEP, pid, 0);
        status = wait_for(pid);
        if (!WIFSTOPPED(status))
            break;
        CHECK_IS(WSTOPSIG(status), SIGTRAP);
        steps++;
    }
    CHECK_IS(status, 9 << 8);
    CHECK(steps > 20 && steps < 20000);
    DONE("steps");
}

/* What cannot be reached, and what is written where nothing may be. */
static void memory(void)
{
    static const char text[] = "constant";
    uint64_t word;
    pid_t pid = start_traced(asks);
    CHECK_ERROR(trace(PTRACE_PEEKDATA, pid, 8, (uintptr_t)&word), EIO);
    CHECK_ERROR(trace(PTRACE_PEEKDATA, pid, UINT64_MAX - 6, (uintptr_t)&word), EIO);
    CHECK_ERROR(trace(PTRACE_POKEDATA, pid, 8, 0), EIO);
    poke(pid, text, 0x1122334455667788);
    CHECK_IS(peek(pid, text), 0x1122334455667788);
    CHECK_IS(strcmp(text, "constant"), 0);
    uint64_t many[2] = {0, 0};
    struct iovec here = {many, sizeof many}, there = {(void *)(uintptr_t)text, sizeof many};
    CHECK_IS(process_vm_readv(pid, &here, 1, &there, 1, 0), sizeof many);
    CHECK_IS(many[0], 0x1122334455667788);
    struct iovec v = {many, sizeof many};
    CHECK_ERROR(trace(PTRACE_GETREGSET, pid, 0x7777, (uintptr_t)&v), EINVAL);
    CHECK_ERROR(trace(PTRACE_GETREGSET, pid, NT_PRSTATUS, 8), EFAULT);
    CHECK_ERROR(trace(0x1234, pid, 0, 0), EIO);
    CHECK_ERROR(trace(PTRACE_CONT, pid, 0, 100), EIO);
    CHECK_ERROR(trace(PTRACE_SETOPTIONS, pid, 0, 1 << 30), EINVAL);
    CHECK_IS(kill(pid, SIGKILL), 0);
    CHECK_IS(wait_for(pid), SIGKILL);
    CHECK_ERROR(trace(PTRACE_PEEKDATA, pid, (uintptr_t)text, (uintptr_t)&word), ESRCH);
    DONE("memory");
}

int main(void)
{
    breakpoints();
    registers();
    all_steps();
    memory();
    return 0;
}
