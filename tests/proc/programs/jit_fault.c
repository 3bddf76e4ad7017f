/* Jumps to where no code may run, and instructions that are none: the signal, its code, its
 * address. */
#include "check.h"
#include "jit.h"

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf back;
static volatile int number, code;
static const unsigned char *volatile address;

static void caught(int signal, siginfo_t *info, void *context)
{
    (void)context;
    number = signal;
    code = info->si_code;
#ifndef __riscv
    /* x86-64 calls it an illegal operand. */
    if (signal == SIGILL && code == ILL_ILLOPN)
        code = ILL_ILLOPC;
#endif
    address = info->si_addr;
    siglongjmp(back, 1);
}

static void attempt(const char *what, const unsigned char *at, const unsigned char *expected)
{
    number = code = 0;
    address = NULL;
    if (!sigsetjmp(back, 1)) {
        int result = jit_call(at, 1);
        printf("%s: %d\n", what, result);
        return;
    }
    printf("%s: signal %d code %d address %s\n", what, number, code,
           address == expected ? "right" : "wrong");
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGBUS, &action, NULL);

    unsigned char *at = jit_memory(4 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (int i = 0; i < 3; i++) {
        jit_flush(at, jit_return(at, 5));
        attempt("may run", at, NULL);
        CHECK_IS(mprotect(at, 4096, PROT_READ | PROT_WRITE), 0);
        attempt("may not run", at, at);
        CHECK_IS(mprotect(at, 4096, PROT_NONE), 0);
        attempt("may nothing", at, at);
        CHECK_IS(mprotect(at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
        attempt("may run again", at, NULL);
    }
    jit_flush(at, jit_illegal(at));
    attempt("illegal", at, at);
    jit_flush(at, jit_return(at, 6));
    attempt("replaced", at, NULL);
    CHECK_IS(munmap(at + 4096, 4096), 0);
    attempt("gone", at + 4096, at + 4096);
    attempt("null", NULL, NULL);
    attempt("wild", (unsigned char *)UINT64_C(0x123456788000),
            (unsigned char *)UINT64_C(0x123456788000));

    /* Straight on into a page that may not run: the address is that of the first byte there. */
    unsigned char *pair = jit_memory(2 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (unsigned i = 0; i < 4096; i += 4)
#ifdef __riscv
        jit_word(pair + i, 0x00000013);
#else
        memset(pair + i, 0x90, 4);
#endif
    jit_flush(pair, jit_return(pair + 4096, 7));
    attempt("through", pair, NULL);
    CHECK_IS(mprotect(pair + 4096, 4096, PROT_READ), 0);
    attempt("into the wall", pair + 4096 - 64, pair + 4096);
    CHECK_IS(mprotect(pair + 4096, 4096, PROT_READ | PROT_EXEC), 0);
    attempt("through again", pair, NULL);
    return 0;
}
