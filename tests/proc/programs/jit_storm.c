/*
 * Eight threads run more code than there is room for translations of, while each writes code of its
 * own, and maps, protects and unmaps it under the others. with: --code-cache 1M
 */
#include "check.h"
#include "jit.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#define THREADS 8
#define PAGE 4096ul
#define SHARED 10000 /* functions that all call */

static unsigned char *shared;
static int rounds = 6;
static __thread sigjmp_buf back;
static __thread volatile int expected_fault;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    (void)context;
    if (!expected_fault)
        check_failed(__FILE__, __LINE__, "fault at %p", info->si_addr);
    siglongjmp(back, 1);
}

static void run_shared(unsigned me)
{
    for (unsigned i = 0; i < SHARED; i++) {
        unsigned n = (i * 7 + me * 131) % SHARED;
        /* Often enough to be translated. */
        for (int k = 0; k < 8; k++)
            CHECK_IS(jit_call(shared + n * JIT_SIZE, 5), 5 + (int)n);
    }
}

/* Code at one place, again and again something else. */
static void run_own(unsigned me, int round)
{
    for (int i = 0; i < 30; i++) {
        int value = round * 1000 + i * 10 + (int)me;
        unsigned char *p =
            mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED);
        unsigned char *end = jit_return(p + PAGE - 8, value);
        CHECK_IS(mprotect(p, 2 * PAGE, PROT_READ | PROT_EXEC), 0);
        jit_flush(p, end);
        for (int k = 0; k < 150; k++)
            CHECK_IS(jit_call(p + PAGE - 8, 0), value);
        expected_fault = 1;
        if (!sigsetjmp(back, 1)) {
            CHECK_IS(mprotect(p, 2 * PAGE, PROT_READ), 0);
            jit_call(p + PAGE - 8, 0);
            check_failed(__FILE__, __LINE__, "not executable, but runs");
        }
        if (!sigsetjmp(back, 1)) {
            CHECK_IS(munmap(p, 2 * PAGE), 0);
            if (i % 2) {
                /* Another thread may have got the place by now. */
                unsigned char *q = mmap(p, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                CHECK(q != MAP_FAILED);
                jit_call(q + PAGE - 8, 0);
                check_failed(__FILE__, __LINE__, "not there, but runs");
            }
        } else {
            expected_fault = 0;
        }
        expected_fault = 0;
    }
}

static void *runs(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (int round = 0; round < rounds; round++) {
        run_own(me, round);
        run_shared(me);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t t[THREADS];
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    if (argc > 1)
        rounds = atoi(argv[1]);
    CHECK_IS(sigaction(SIGSEGV, &a, NULL), 0);
    CHECK_IS(sigaction(SIGBUS, &a, NULL), 0);
    shared = jit_memory(SHARED * JIT_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (int i = 0; i < SHARED; i++)
        jit_add(shared + i * JIT_SIZE, i);
    jit_flush(shared, shared + SHARED * JIT_SIZE);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&t[i], NULL, runs, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(t[i], NULL), 0);
    DONE("storm");
    return 0;
}
