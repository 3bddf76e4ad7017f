/* Alternate stacks. */
#include "sig.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static char alternate[65536] __attribute__((aligned(16)));
static volatile int calls;
static stack_t inside;
static char *volatile where;
static sigjmp_buf back;

static void on_stack(int sig, siginfo_t *info, void *context)
{
    char local;
    (void)info;
    (void)context;
    calls++;
    where = &local;
    CHECK_IS(sigaltstack(NULL, &inside), 0);
    if (sig == SIGUSR1 && calls < 3)
        raise(SIGUSR2); /* stays on the stack */
}

static int is_there(const char *p)
{
    return p >= alternate && p < alternate + sizeof alternate;
}

static void used(void)
{
    stack_t set = {.ss_sp = alternate, .ss_size = sizeof alternate}, now;
    CHECK_IS(sigaltstack(NULL, &now), 0);
    CHECK_IS(now.ss_flags, SS_DISABLE);
    CHECK_IS(sigaltstack(&set, NULL), 0);
    CHECK_IS(sigaltstack(NULL, &now), 0);
    CHECK_IS(now.ss_flags, 0);
    CHECK(now.ss_sp == alternate && now.ss_size == sizeof alternate);
    sig_set(SIGUSR1, on_stack, SA_ONSTACK);
    sig_set(SIGUSR2, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_IS(calls, 2);
    CHECK(is_there(where));
    CHECK_IS(inside.ss_flags, SS_ONSTACK);
    sig_set(SIGUSR1, on_stack, 0);
    calls = 3;
    raise(SIGUSR1);
    CHECK(!is_there(where));
    CHECK_IS(inside.ss_flags, 0);
    DONE("used");
}

static void changes(int sig, siginfo_t *info, void *context)
{
    stack_t off = {.ss_flags = SS_DISABLE};
    (void)sig;
    (void)info;
    (void)context;
    CHECK_ERROR(sigaltstack(&off, NULL), EPERM);
}

static void errors(void)
{
    stack_t bad = {.ss_sp = alternate, .ss_size = 100}, off = {.ss_flags = SS_DISABLE}, now;
    CHECK_ERROR(sigaltstack(&bad, NULL), ENOMEM);
    bad.ss_flags = 0x40;
    CHECK_ERROR(sigaltstack(&bad, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_sigaltstack, 8, 0), EFAULT);
    sig_set(SIGUSR1, changes, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK_IS(sigaltstack(&off, &now), 0);
    CHECK(now.ss_sp == alternate);
    CHECK_IS(sigaltstack(NULL, &now), 0);
    CHECK_IS(now.ss_flags, SS_DISABLE);
    DONE("errors");
}

static void disarmed(void)
{
    stack_t set = {.ss_sp = alternate, .ss_size = sizeof alternate, .ss_flags = (int)SS_AUTODISARM};
    stack_t now;
    CHECK_IS(sigaltstack(&set, NULL), 0);
    sig_set(SIGUSR1, on_stack, SA_ONSTACK);
    calls = 3;
    raise(SIGUSR1);
    CHECK(is_there(where));
    CHECK_IS(inside.ss_flags, SS_DISABLE);
    CHECK_IS(sigaltstack(NULL, &now), 0);
    CHECK_IS(now.ss_flags, (int)SS_AUTODISARM);
    CHECK(now.ss_sp == alternate && now.ss_size == sizeof alternate);
    DONE("disarmed");
}

static void jumps(int sig, siginfo_t *info, void *context)
{
    char local;
    (void)sig;
    (void)info;
    (void)context;
    calls++;
    CHECK(is_there(&local));
    siglongjmp(back, 1);
}

__attribute__((noinline)) static int deep(int n)
{
    volatile char room[2000];
    room[0] = (char)n;
    return n < 0 ? 0 : deep(n + 1) + room[0];
}

/* The stack overflows, again and again. */
static void overflow(void)
{
    stack_t set = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct rlimit limit = {.rlim_cur = 2 << 20, .rlim_max = RLIM_INFINITY};
    CHECK_IS(getrlimit(RLIMIT_STACK, &limit), 0);
    limit.rlim_cur = 2 << 20;
    CHECK_IS(setrlimit(RLIMIT_STACK, &limit), 0);
    CHECK_IS(sigaltstack(&set, NULL), 0);
    sig_set(SIGSEGV, jumps, SA_ONSTACK);
    calls = 0;
    for (volatile int i = 0; i < 20; i++)
        if (!sigsetjmp(back, 1))
            deep(0);
    CHECK_IS(calls, 20);
    DONE("overflow");
}

static void *overflows(void *arg)
{
    overflow();
    return arg;
}

/* No frame fits: SIGSEGV in its place, whose handler has a stack; or death. */
static void nowhere(void)
{
    sig_set(SIGUSR1, on_stack, 0);
    sig_set(SIGSEGV, jumps, SA_ONSTACK);
    calls = 0;
    if (!sigsetjmp(back, 1)) {
        pid_t self = getpid();
#ifdef __riscv
        __asm__ volatile(
            "mv a0, %0\n li a1, 10\n li a7, 129\n mv s1, sp\n li sp, 64\n ecall\n mv sp, s1"
            :
            : "r"((long)self)
            : "a0", "a1", "a7", "s1", "memory");
#else
        __asm__ volatile("mov %%rsp, %%r12\n mov $64, %%rsp\n syscall\n mov %%r12, %%rsp"
                         :
                         : "a"(62), "D"((long)self), "S"(10)
                         : "rcx", "r11", "r12", "memory");
#endif
        CHECK(0);
    }
    CHECK_IS(calls, 1);
    DONE("nowhere");
}

/* Nested signals go over the end of the alternate stack. */
static void recurs(int sig, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    raise(sig);
}

static void full(void)
{
    pid_t child = fork();
    if (!child) {
        stack_t set = {.ss_sp = alternate + 20000, .ss_size = 20000};
        CHECK_IS(sigaltstack(&set, NULL), 0);
        signal(SIGSEGV, SIG_DFL);
        sig_set(SIGUSR1, recurs, SA_ONSTACK | SA_NODEFER);
        raise(SIGUSR1);
        _exit(1);
    }
    CHECK_IS(sig_wait(child), 1000 + SIGSEGV);
    DONE("full");
}

int main(void)
{
    pthread_t thread;
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    used();
    errors();
    disarmed();
    overflow();
    CHECK_IS(pthread_create(&thread, NULL, overflows, NULL), 0);
    CHECK_IS(pthread_join(thread, NULL), 0);
    nowhere();
    full();
    return 0;
}
