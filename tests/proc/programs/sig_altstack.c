/*
 * Alternate stacks: where handlers run, what sigaltstack says and refuses, recovery from a stack
 * that has overflown.
 */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

#define SIZE 65536

static char *area;
static volatile int calls;

static bool inside(const void *p)
{
    return (const char *)p >= area && (const char *)p < area + SIZE;
}

static void set_stack(int flags)
{
    stack_t s = {.ss_sp = area, .ss_size = SIZE, .ss_flags = flags};
    CHECK(!sigaltstack(&s, NULL));
}

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&a.sa_mask);
    CHECK(!sigaction(sig, &a, NULL));
}

static void on_stack(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    stack_t now, other = {.ss_sp = area, .ss_size = SIZE / 2};
    (void)sig;
    CHECK(inside(&now) && inside(info) && inside(context));
    CHECK_IS((uintptr_t)context % 8, 0);
    CHECK(uc->uc_stack.ss_sp == area);
    CHECK_IS(uc->uc_stack.ss_size, SIZE);
    CHECK_IS(uc->uc_stack.ss_flags, 0);
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS(now.ss_flags, SS_ONSTACK);
    CHECK(now.ss_sp == area);
    CHECK_ERROR(sigaltstack(&other, NULL), EPERM);
    calls++;
}

static void on_plain(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    CHECK(!inside(&sig) && !inside(info) && !inside(context));
    calls++;
}

static void on_nested(int sig, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(inside(&sig) && inside(info));
    calls++;
    if (sig == SIGUSR1)
        raise(SIGUSR2);
}

static void test_where(void)
{
    stack_t now;
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS(now.ss_flags, SS_DISABLE);
    set_stack(0);
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS(now.ss_flags, 0);
    CHECK_IS(now.ss_size, SIZE);
    install(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    install(SIGUSR1, on_plain, 0);
    raise(SIGUSR1);
    CHECK_IS(calls, 2);
    install(SIGUSR1, on_nested, SA_ONSTACK);
    install(SIGUSR2, on_nested, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_IS(calls, 4);
    /* Without the flag the handler stays where the one it interrupts is. */
    install(SIGUSR2, on_nested, 0);
    raise(SIGUSR1);
    CHECK_IS(calls, 6);
    DONE("where");
}

static void test_errors(void)
{
    stack_t bad = {.ss_sp = area, .ss_size = 512};
    CHECK_ERROR(sigaltstack(&bad, NULL), ENOMEM);
    bad = (stack_t){.ss_sp = area, .ss_size = SIZE, .ss_flags = 0x40};
    CHECK_ERROR(sigaltstack(&bad, NULL), EINVAL);
    CHECK_ERROR(sigaltstack((void *)8, NULL), EFAULT);
    CHECK_ERROR(sigaltstack(NULL, (void *)8), EFAULT);
    stack_t off = {.ss_flags = SS_DISABLE}, now;
    CHECK(!sigaltstack(&off, NULL));
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS(now.ss_flags, SS_DISABLE);
    CHECK_IS(now.ss_size, 0);
    calls = 0;
    install(SIGUSR1, on_plain, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_IS(calls, 1);
    DONE("errors");
}

static void on_disarmed(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    stack_t now;
    (void)sig;
    CHECK(inside(info));
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS(now.ss_flags, SS_DISABLE);
    CHECK_IS((unsigned)uc->uc_stack.ss_flags, SS_AUTODISARM);
    CHECK(uc->uc_stack.ss_sp == area);
    calls++;
}

static void test_autodisarm(void)
{
    stack_t now;
    calls = 0;
    set_stack((int)SS_AUTODISARM);
    install(SIGUSR1, on_disarmed, SA_ONSTACK);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK_IS(calls, 2);
    CHECK(!sigaltstack(NULL, &now));
    CHECK_IS((unsigned)now.ss_flags, SS_AUTODISARM);
    CHECK_IS(now.ss_size, SIZE);
    DONE("autodisarm");
}

static sigjmp_buf back;
static volatile uintptr_t fault_at;

static void on_overflow(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    CHECK(inside(info));
    fault_at = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static __attribute__((noinline)) int deeper(int n, volatile char *before)
{
    volatile char room[4096];
    room[0] = (char)n;
    room[1] = before ? before[0] : 0;
    return n > 1000000000 ? 0 : deeper(n + 1, room) + room[0];
}

static void test_overflow(void)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    pid_t child = fork();
    if (!child) {
        setrlimit(RLIMIT_STACK, &limit);
        set_stack(0);
        install(SIGSEGV, on_overflow, SA_ONSTACK);
        for (volatile int i = 0; i < 3; i++)
            if (!sigsetjmp(back, 1))
                deeper(0, NULL);
        CHECK(fault_at);
        _exit(9);
    }
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    DONE("overflow");
}

/* A frame that cannot be written: the process dies of SIGSEGV, or its handler runs elsewhere. */
static void test_no_room(int handler)
{
    pid_t child = fork();
    if (!child) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        char *small = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(small + 4096, 4096, PROT_READ | PROT_WRITE);
        if (handler) {
            set_stack(0);
            install(SIGSEGV, on_overflow, SA_ONSTACK);
        }
        install(SIGUSR1, on_plain, 0);
        if (sigsetjmp(back, 1))
            _exit(11);
        /* A stack that has no room below: the signal comes between two instructions of this. */
        pid_t self = getpid();
        register long number __asm__(
#ifdef __riscv
            "a7") = 129;
        register long pid __asm__("a0") = self;
        register long sig __asm__("a1") = SIGUSR1;
        __asm__ volatile("mv sp, %3\n\tecall\n\tebreak"
                         : "+r"(pid)
                         : "r"(sig), "r"(number), "r"(small + 4096 + 128)
                         : "memory");
#else
            "rax") = 62;
        register long pid __asm__("rdi") = self;
        register long sig __asm__("rsi") = SIGUSR1;
        __asm__ volatile("mov %3, %%rsp\n\tsyscall\n\tint3"
                         : "+r"(number)
                         : "r"(pid), "r"(sig), "r"(small + 4096 + 128)
                         : "memory", "rcx", "r11");
#endif
        _exit(1);
    }
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    if (handler)
        CHECK_IS(status, 11 << 8);
    else
        CHECK_IS(status & 0x7f, SIGSEGV);
}

int main(void)
{
    area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    test_where();
    test_errors();
    test_autodisarm();
    test_overflow();
    test_no_room(0);
    test_no_room(1);
    DONE("no room");
    return 0;
}
