/* Exceptions: what they tell, what handlers change, and how often. */
#include "sig.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>

#define PAGE 4096ul

static sigjmp_buf back;
static volatile siginfo_t last;
static volatile int calls;

static void jumps(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    last = *info;
    calls++;
    siglongjmp(back, 1);
}

static char *pages(size_t n, int prot)
{
    char *p = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

#define FAULT(statement, sig, code, address)                                      \
    do {                                                                          \
        memset((void *)&last, 0, sizeof last);                                    \
        if (!sigsetjmp(back, 1)) {                                                \
            statement;                                                            \
            check_failed(__FILE__, __LINE__, "%s: nothing happened", #statement); \
        }                                                                         \
        CHECK_IS(last.si_signo, sig);                                             \
        CHECK_IS(last.si_code, code);                                             \
        CHECK_IS((long)last.si_addr, (long)(address));                            \
    } while (0)

static void told(void)
{
    volatile char *p = pages(4, PROT_READ | PROT_WRITE), c;
    sig_set(SIGSEGV, jumps, 0);
    sig_set(SIGBUS, jumps, 0);
    CHECK_IS(mprotect((char *)p + PAGE, PAGE, PROT_READ), 0);
    CHECK_IS(mprotect((char *)p + 2 * PAGE, PAGE, PROT_NONE), 0);
    CHECK_IS(munmap((char *)p + 3 * PAGE, PAGE), 0);
    FAULT(c = *(volatile char *)16, SIGSEGV, SEGV_MAPERR, 16);
    FAULT(*(volatile long *)24 = 1, SIGSEGV, SEGV_MAPERR, 24);
    FAULT(p[PAGE + 5] = 1, SIGSEGV, SEGV_ACCERR, p + PAGE + 5);
    FAULT(c = p[2 * PAGE + 7], SIGSEGV, SEGV_ACCERR, p + 2 * PAGE + 7);
    FAULT(p[2 * PAGE + 7] = 1, SIGSEGV, SEGV_ACCERR, p + 2 * PAGE + 7);
    FAULT(c = p[3 * PAGE + 9], SIGSEGV, SEGV_MAPERR, p + 3 * PAGE + 9);
    FAULT(__atomic_fetch_add((int *)(p + PAGE + 8), 1, __ATOMIC_SEQ_CST), SIGSEGV, SEGV_ACCERR,
          p + PAGE + 8);
    FAULT(memset((char *)p + PAGE, 1, 64), SIGSEGV, SEGV_ACCERR, p + PAGE);
    FAULT(((void (*)(void))(p + 2 * PAGE))(), SIGSEGV, SEGV_ACCERR, p + 2 * PAGE);
    FAULT(((void (*)(void))(p + 3 * PAGE))(), SIGSEGV, SEGV_MAPERR, p + 3 * PAGE);
    (void)c;
    CHECK_IS(munmap((char *)p, 3 * PAGE), 0);
    DONE("SIGSEGV");
}

static void file_end(void)
{
    volatile char c;
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK_IS(ftruncate(fd, 2 * PAGE), 0);
    volatile char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    p[PAGE] = 1;
    CHECK_IS(ftruncate(fd, PAGE), 0);
    FAULT(c = p[PAGE + 3], SIGBUS, BUS_ADRERR, p + PAGE + 3);
    FAULT(p[PAGE + 4] = 1, SIGBUS, BUS_ADRERR, p + PAGE + 4);
    (void)c;
    CHECK_ERROR(write(1, (char *)p + PAGE, 1), EFAULT);
    close(fd);
    DONE("SIGBUS");
}

static void skips(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    last = *info;
    calls++;
#ifdef __riscv
    CHECK_IS(SIG_PC(context), (long)info->si_addr);
    SIG_PC(context) += 4;
#else
    SIG_PC(context) += info->si_signo == SIGILL ? 2 : 0;
#endif
}

static void instructions(void)
{
    sig_set(SIGILL, skips, 0);
    sig_set(SIGTRAP, skips, 0);
    calls = 0;
    for (int i = 0; i < 1000; i++) {
#ifdef __riscv
        __asm__ volatile(".option push\n.option norvc\n.word 0xffffffff\n.option pop" ::: "memory");
#else
        __asm__ volatile("ud2" ::: "memory");
#endif
    }
    CHECK_IS(calls, 1000);
    CHECK_IS(last.si_signo, SIGILL);
#ifdef __riscv
    CHECK_IS(last.si_code, ILL_ILLOPC);
    __asm__ volatile(".option push\n.option norvc\nebreak\n.option pop" ::: "memory");
    CHECK_IS(last.si_code, TRAP_BRKPT);
#else
    __asm__ volatile("int3" ::: "memory");
#endif
    CHECK_IS(last.si_signo, SIGTRAP);
    CHECK_IS(calls, 1001);
    DONE("SIGILL, SIGTRAP");
}

/* 10^5 jumps out of handlers, the mask restored each time. */
static void many_jumps(void)
{
    char *p = pages(1, PROT_NONE);
    calls = 0;
    for (volatile int i = 0; i < 100000; i++)
        if (!sigsetjmp(back, 1)) {
            *(volatile int *)p = i;
            CHECK_IS(i, -1);
        }
    CHECK_IS(calls, 100000);
    CHECK(!sig_blocked(SIGSEGV));
    munmap(p, PAGE);
    DONE("jumps");
}

/* Memory that comes when it is used, from several threads. */
static char *lazy;
#define LAZY 512ul

static void pages_in(int sig, siginfo_t *info, void *context)
{
    (void)context;
    CHECK_IS(sig, SIGSEGV);
    CHECK_IS(info->si_code, SEGV_ACCERR);
    char *page = (char *)((uintptr_t)info->si_addr & -PAGE);
    CHECK(page >= lazy && page < lazy + LAZY * PAGE);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    CHECK_IS(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
}

static void *uses(void *arg)
{
    for (unsigned long i = 0; i < LAZY; i++)
        __atomic_fetch_add((long *)(lazy + i * PAGE + 16), (long)arg, __ATOMIC_SEQ_CST);
    return NULL;
}

static void paged_in(void)
{
    pthread_t thread[4];
    sig_set(SIGSEGV, pages_in, 0);
    lazy = pages(LAZY, PROT_NONE);
    calls = 0;
    for (long i = 0; i < 4; i++)
        CHECK_IS(pthread_create(&thread[i], NULL, uses, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        CHECK_IS(pthread_join(thread[i], NULL), 0);
    for (unsigned long i = 0; i < LAZY; i++)
        CHECK_IS(*(long *)(lazy + i * PAGE + 16), 10);
    CHECK(calls >= (int)LAZY);
    munmap(lazy, LAZY * PAGE);
    DONE("paged in");
}

/* A write barrier: the handler opens the page, the program closes it again. */
static void toggled(void)
{
    sig_set(SIGSEGV, pages_in, 0);
    lazy = pages(LAZY, PROT_READ);
    calls = 0;
    for (int i = 0; i < 3000; i++) {
        volatile long *p = (long *)(lazy + (unsigned)i * 7 % LAZY * PAGE);
        long before = *p;
        *p = before + i;
        CHECK_IS(*p, before + i);
        CHECK_IS(mprotect((void *)p, PAGE, PROT_READ), 0);
    }
    CHECK_IS(calls, 3000);
    munmap(lazy, LAZY * PAGE);
    DONE("toggled");
}

/* The handler makes the function that faulted return something. */
__attribute__((noinline)) static long reads(volatile long *p)
{
    return *p;
}

static void returns(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
#ifdef __riscv
    SIG_PC(context) = ((ucontext_t *)context)->uc_mcontext.__gregs[REG_RA];
#else
    SIG_PC(context) = *(long *)SIG_SP(context);
    SIG_SP(context) += 8;
#endif
    SIG_RESULT(context) = 4711 + calls++;
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
}

static void changed(void)
{
    sig_set(SIGSEGV, returns, 0);
    calls = 0;
    for (int i = 0; i < 2000; i++)
        CHECK_IS(reads((long *)8), 4711 + i);
    CHECK(sig_blocked(SIGUSR2));
    sig_block(SIG_UNBLOCK, SIGUSR2, 0);
    DONE("changed");
}

int main(void)
{
    told();
    file_end();
    instructions();
    many_jumps();
    paged_in();
    toggled();
    changed();
    return 0;
}
