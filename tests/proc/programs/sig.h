/* For sig_*.c: actions in one line, and what differs between processors. */
#pragma once

#include "check.h"

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

typedef void (*sig_fn)(int sig, siginfo_t *info, void *context);

__attribute__((unused)) static void sig_set(int sig, sig_fn fn, int flags)
{
    struct sigaction a = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};
    CHECK_IS(sigaction(sig, &a, NULL), 0);
}

__attribute__((unused)) static sigset_t sig_of(int a, int b)
{
    sigset_t set;
    sigemptyset(&set);
    if (a)
        sigaddset(&set, a);
    if (b)
        sigaddset(&set, b);
    return set;
}

__attribute__((unused)) static void sig_block(int how, int a, int b)
{
    sigset_t set = sig_of(a, b);
    CHECK_IS(pthread_sigmask(how, &set, NULL), 0);
}

__attribute__((unused)) static int sig_blocked(int sig)
{
    sigset_t set;
    CHECK_IS(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    return sigismember(&set, sig);
}

__attribute__((unused)) static void sig_sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* Sends the signal to this thread's process soon, from a child that the caller waits for. */
__attribute__((unused)) static pid_t sig_send_soon(int sig)
{
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (!child) {
        sig_sleep_ms(50);
        kill(parent, sig);
        _exit(0);
    }
    return child;
}

/* Waits for a child: its exit status, 1000 + the signal that it died of. */
__attribute__((unused)) static int sig_wait(pid_t child)
{
    int status;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK_IS(got, child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The interrupted pc; the register of the first argument and result. */
#ifdef __riscv
#define SIG_PC(context) (((ucontext_t *)(context))->uc_mcontext.__gregs[REG_PC])
#define SIG_SP(context) (((ucontext_t *)(context))->uc_mcontext.__gregs[REG_SP])
#define SIG_RESULT(context) (((ucontext_t *)(context))->uc_mcontext.__gregs[REG_A0])
#else
#define SIG_PC(context) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_RIP])
#define SIG_SP(context) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])
#define SIG_RESULT(context) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_RAX])
#endif
