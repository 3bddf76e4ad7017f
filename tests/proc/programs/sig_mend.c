/*
 * Faults of the program's own instructions: the signals, their codes and addresses, handlers that
 * mend memory or change the registers of what they interrupted.
 */
#include "check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#define PAGES 64
#define PAGE 4096

static char *area;
static volatile int calls;
static volatile siginfo_t seen;
static sigjmp_buf back;

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&a.sa_mask);
    CHECK(!sigaction(sig, &a, NULL));
}

static void leave(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    seen = *info;
    calls++;
    siglongjmp(back, 1);
}

/* ---- what the handler is told ---- */

static void expect(int sig, int code, const volatile void *address)
{
    CHECK_IS(seen.si_signo, sig);
    CHECK_IS(seen.si_code, code);
    CHECK_IS((uintptr_t)seen.si_addr, (uintptr_t)address);
}

#define FAULT(statement)              \
    do {                              \
        int before_ = calls;          \
        if (!sigsetjmp(back, 1)) {    \
            statement;                \
        }                             \
        CHECK_IS(calls, before_ + 1); \
    } while (0)

static void test_codes(void)
{
    volatile char *p =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char sink;
    install(SIGSEGV, leave, 0);
    install(SIGBUS, leave, 0);
    FAULT(sink = *(volatile char *)8);
    expect(SIGSEGV, SEGV_MAPERR, (void *)8);
    FAULT(*(volatile char *)0 = 1);
    expect(SIGSEGV, SEGV_MAPERR, NULL);
    munmap((void *)(p + PAGE), PAGE);
    FAULT(sink = p[PAGE + 17]);
    expect(SIGSEGV, SEGV_MAPERR, p + PAGE + 17);
    FAULT(p[2 * PAGE - 1] = 1);
    expect(SIGSEGV, SEGV_MAPERR, p + 2 * PAGE - 1);
    mprotect((void *)p, PAGE, PROT_READ);
    FAULT(p[5] = 1);
    expect(SIGSEGV, SEGV_ACCERR, p + 5);
    sink = p[5];
    mprotect((void *)p, PAGE, PROT_NONE);
    FAULT(sink = p[6]);
    expect(SIGSEGV, SEGV_ACCERR, p + 6);
    FAULT(((void (*)(void))(uintptr_t)(p + 2 * PAGE))());
    expect(SIGSEGV, SEGV_ACCERR, p + 2 * PAGE);
    FAULT(((void (*)(void))(uintptr_t)(p + PAGE))());
    expect(SIGSEGV, SEGV_MAPERR, p + PAGE);
    (void)sink;
    DONE("codes");
}

static void test_file_end(void)
{
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    volatile char sink;
    CHECK(fd >= 0 && !ftruncate(fd, 3 * PAGE));
    volatile char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p[2 * PAGE] = 1;
    CHECK(!ftruncate(fd, PAGE));
    FAULT(sink = p[PAGE + 9]);
    expect(SIGBUS, BUS_ADRERR, p + PAGE + 9);
    FAULT(p[2 * PAGE] = 2);
    expect(SIGBUS, BUS_ADRERR, p + 2 * PAGE);
    p[9] = 1;
    close(fd);
    (void)sink;
    DONE("file end");
}

#ifdef __riscv
#define ILLEGAL ".option push\n\t.option norvc\n\t.word 0xffffffff\n\t.option pop"
#define BREAK "ebreak"
#define BREAK_LENGTH 0 /* the pc is the instruction's */
#define PC(uc) ((uc)->uc_mcontext.__gregs[REG_PC])
#define RESULT(uc) ((uc)->uc_mcontext.__gregs[REG_A0])
#else
#define ILLEGAL "ud2"
#define BREAK "int3"
#define PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#define RESULT(uc) ((uc)->uc_mcontext.gregs[REG_RAX])
#endif

static void skip_illegal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    calls++;
    CHECK_IS(sig, SIGILL);
    CHECK_IS((uintptr_t)info->si_addr, (uintptr_t)PC(uc));
    CHECK(info->si_code == ILL_ILLOPC || info->si_code == ILL_ILLOPN);
#ifdef __riscv
    PC(uc) += 4;
#else
    PC(uc) += 2;
#endif
    RESULT(uc) = 4711;
}

static void skip_break(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)uc;
    calls++;
    CHECK_IS(sig, SIGTRAP);
#ifdef __riscv
    CHECK_IS(info->si_code, TRAP_BRKPT);
    CHECK_IS((uintptr_t)info->si_addr, (uintptr_t)PC(uc));
    PC(uc) += (*(uint16_t *)(uintptr_t)PC(uc) & 3) == 3 ? 4 : 2;
#else
    CHECK_IS(info->si_code, SI_KERNEL);
#endif
}

static void test_instructions(void)
{
    calls = 0;
    install(SIGILL, skip_illegal, 0);
    install(SIGTRAP, skip_break, 0);
    for (int i = 0; i < 1000; i++) {
#ifdef __riscv
        register long result __asm__("a0") = 1;
#else
        register long result __asm__("rax") = 1;
#endif
        __asm__ volatile(ILLEGAL : "+r"(result)::"memory");
        CHECK_IS(result, 4711);
        __asm__ volatile(BREAK ::: "memory");
    }
    CHECK_IS(calls, 2000);
    DONE("instructions");
}

/* ---- mending ---- */

static void mend(int sig, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    (void)sig;
    (void)context;
    calls++;
    CHECK(page >= (uintptr_t)area && page < (uintptr_t)area + PAGES * PAGE);
    CHECK(!mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE));
}

static void test_mend(void)
{
    install(SIGSEGV, mend, 0);
    area = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 50; round++) {
        uint64_t sum = 0;
        calls = 0;
        mprotect(area, PAGES * PAGE, PROT_NONE);
        for (size_t i = 0; i < PAGES * PAGE / 8; i++)
            ((volatile uint64_t *)(void *)area)[i] = i * 7;
        CHECK_IS(calls, PAGES);
        mprotect(area, PAGES * PAGE, PROT_READ);
        for (size_t i = 0; i < PAGES * PAGE / 8; i++)
            sum += ((volatile uint64_t *)(void *)area)[i];
        CHECK_IS(calls, PAGES);
        for (size_t i = 0; i < PAGES; i++)
            __atomic_fetch_add((uint32_t *)(void *)(area + i * PAGE), 1, __ATOMIC_SEQ_CST);
        CHECK_IS(calls, 2 * PAGES);
        CHECK_IS(sum, (uint64_t)PAGES * PAGE / 8 * (PAGES * PAGE / 8 - 1) / 2 * 7);
    }
    /* An access over the border of two pages: both are mended. */
    mprotect(area, PAGES * PAGE, PROT_NONE);
    calls = 0;
    uint64_t value = 0x1122334455667788;
    for (int i = 1; i < 8; i++) {
        mprotect(area, 2 * PAGE, PROT_NONE);
        *(volatile uint64_t *)(void *)(area + PAGE - i) = value;
        CHECK_IS(*(volatile uint64_t *)(void *)(area + PAGE - i), value);
    }
    CHECK_IS(calls, 14);
    DONE("mended");
}

/* ---- kernel accesses are errors, not signals ---- */

static void test_calls(void)
{
    int pipes[2];
    calls = 0;
    CHECK(!pipe(pipes));
    mprotect(area, PAGE, PROT_NONE);
    CHECK_ERROR(write(pipes[1], area, 10), EFAULT);
    CHECK_IS(write(pipes[1], "x", 1), 1);
    CHECK_ERROR(read(pipes[0], area, 10), EFAULT);
    CHECK_IS(calls, 0);
    DONE("calls");
}

/* ---- death ---- */

static int status_of(void (*run)(void))
{
    int status;
    pid_t child = fork();
    if (!child) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        run();
        _exit(0);
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    return status;
}

static void wild(void)
{
    *(volatile char *)8 = 1;
}

static void default_segv(void)
{
    signal(SIGSEGV, SIG_DFL);
    wild();
}

static void ignored_segv(void)
{
    signal(SIGSEGV, SIG_IGN);
    wild();
}

static void blocked_segv(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    install(SIGSEGV, leave, 0);
    sigprocmask(SIG_BLOCK, &one, NULL);
    wild();
}

static void in_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    wild();
}

static void twice_segv(void)
{
    install(SIGSEGV, in_handler, 0);
    wild();
}

static void illegal(void)
{
    signal(SIGILL, SIG_DFL);
    __asm__ volatile(ILLEGAL);
}

static void breakpoint(void)
{
    signal(SIGTRAP, SIG_DFL);
    __asm__ volatile(BREAK);
}

static void bad_frame(void)
{
    signal(SIGSEGV, SIG_DFL);
#ifdef __riscv
    __asm__ volatile("li sp, 16\n\tli a7, 139\n\tecall");
#else
    __asm__ volatile("mov $16, %rsp\n\tmov $15, %eax\n\tsyscall");
#endif
}

static void test_death(void)
{
    CHECK_IS(status_of(default_segv), SIGSEGV);
    CHECK_IS(status_of(ignored_segv), SIGSEGV);
    CHECK_IS(status_of(blocked_segv), SIGSEGV);
    CHECK_IS(status_of(twice_segv), SIGSEGV);
    CHECK_IS(status_of(illegal), SIGILL);
    CHECK_IS(status_of(breakpoint), SIGTRAP);
    CHECK_IS(status_of(bad_frame), SIGSEGV);
    CHECK_IS(status_of(abort), SIGABRT);
    DONE("death");
}

int main(void)
{
    test_codes();
    test_file_end();
    test_instructions();
    test_mend();
    test_calls();
    test_death();
    return 0;
}
