/* Signals: kill() of the own process with a handler; a store to a protected page that the handler
 * opens, and that is then done again; and one that the handler leaves by siglongjmp(). The unit is
 * one of each. */
#include "bench.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    volatile uint64_t killed, opened, left;
    volatile int leave;
    char *page;
    sigjmp_buf back;
} state;

static void on_user(int number)
{
    (void)number;
    state.killed++;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_addr != state.page + 8)
        bench_fail("the fault is at another address than the store");
    if (state.leave) {
        state.left++;
        siglongjmp(state.back, 1);
    }
    state.opened++;
    mprotect(state.page, 4096, PROT_READ | PROT_WRITE);
}

static void turn(volatile uint64_t *word)
{
    kill(getpid(), SIGUSR1);

    mprotect(state.page, 4096, PROT_NONE);
    state.leave = 0;
    *word = state.opened;

    mprotect(state.page, 4096, PROT_READ);
    state.leave = 1;
    if (sigsetjmp(state.back, 1) == 0) {
        *word = UINT64_MAX;
        bench_fail("a store to a page that can only be read was done");
    }
}

static uint64_t run(uint64_t count)
{
    struct sigaction user = {.sa_handler = on_user};
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    uint64_t sum = 1;

    state.page = bench_memory(4096);
    sigaction(SIGUSR1, &user, NULL);
    sigaction(SIGSEGV, &fault, NULL);
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        turn((volatile uint64_t *)(state.page + 8));
        sum = bench_mix(sum, *(volatile uint64_t *)(state.page + 8));
    }
    bench_stop();
    if (state.killed != count || state.opened != count || state.left != count)
        bench_fail("signals were lost");
    return sum;
}

const struct bench_program bench_signals = {"signals", "trap", 1, 40000, 4000, 100, run};
