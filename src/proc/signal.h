/*
 * Signals. The host's kernel keeps what is pending; guise has a handler wherever the program has
 * one. It notes the signal, blocks all others and makes the engine or the system call come back;
 * then the program's handler is entered with a frame as the riscv64 kernel makes it
 * (arch/riscv/include/uapi/asm/{ucontext,sigcontext}.h).
 *
 * What the program ignores or leaves to the default is ignored or left to the default in the host,
 * too: stops, continues, core dumps and exit codes are the kernel's.
 *
 * SIGSEGV and SIGBUS are never blocked in the host, because translated code needs them
 * (host/fault.h).
 *
 * Threads: a thread's signals are its own; the actions have a lock.
 */
#pragma once

#include "base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define SIGNAL_COUNT 64

struct thread;
struct process;

/* As the guest's struct sigaction. */
struct signal_action {
    uint64_t handler; /* guest address, or SIG_DFL, SIG_IGN */
    uint64_t flags;
    uint64_t mask;
};

/* What threads share; vfork's child has a copy. */
struct signal_actions {
    pthread_mutex_t lock;
    struct signal_action action[SIGNAL_COUNT + 1];
};

struct thread_signals {
    struct signal_actions *actions;
    uint64_t mask;              /* blocked, as the guest sees it; bit 0 is signal 1 */
    uint64_t stack, stack_size; /* sigaltstack */
    int stack_flags;
    /* Written by the handler of the host's signal: */
    volatile int pending; /* a signal has come: read by thread_host_call */
    siginfo_t info;
    /*
     * SIGSEGV and SIGBUS that somebody sent while the program blocks them, as bits like mask's; of
     * each the last.
     */
    uint64_t held;
    siginfo_t held_info[2];
    /*
     * Written by syscall_serve: the call at pc, an ecall, was interrupted before it did anything,
     * and a0 is still its argument. signals_deliver makes it -EINTR (a0 = -EINTR, pc += 4) unless
     * the handler has SA_RESTART, and clears this.
     */
    bool interrupted;
};

/* The host's handlers of SIGSEGV and SIGBUS: before fault_init puts its own over them. */
void signals_prepare(void);
/* Of the first thread, with what guise was started with. */
int signals_init(struct thread *first, struct error *err);

/* A thread's signals as those of the thread that makes it. */
void signals_inherit(struct thread *child, const struct thread *parent);

/* vfork's child gets actions of its own. False: out of memory. clear: as signals_clear. */
bool signals_own_actions(struct thread *child, bool clear);
/* What has a handler gets the default (CLONE_CLEAR_SIGHAND). In the process that it is for. */
void signals_clear(struct thread *t);

/*
 * Blocks all signals of the calling host thread; *old is what was blocked, NULL: nobody wants to
 * know. Round what must not be interrupted.
 */
void signals_block_all(uint64_t *old);
/* What the host blocks becomes what the guest does; for exec SIGSEGV and SIGBUS, too. */
void signals_unblock(const struct thread *t, bool for_exec);

/* Enters the handler of what is pending. Before the engine runs. */
void signals_deliver(struct thread *t);

/* The guest's instruction at hart->pc ended in an exception (enum rv_cause): a signal. */
void signal_exception(struct thread *t, unsigned cause, uint64_t tval);

/* A signal that can be neither blocked nor ignored: then the process dies of it. */
void signal_force(struct thread *t, int sig, int code, uint64_t address);

/* rt_sigreturn: restores all registers, pc as well; a bad frame means SIGSEGV. */
void signal_sigreturn(struct thread *t);

/* The calls of the same names; addresses are the guest's. */
int64_t signal_rt_sigaction(struct thread *t, int sig, uint64_t act, uint64_t old, uint64_t size);
int64_t signal_rt_sigprocmask(struct thread *t, int how, uint64_t set, uint64_t old, uint64_t size);
int64_t signal_rt_sigsuspend(struct thread *t, uint64_t set, uint64_t size);
int64_t signal_sigaltstack(struct thread *t, uint64_t stack, uint64_t old);
/*
 * What the host's kernel is to block for the guest's mask at a guest address: for calls that take a
 * mask (ppoll, pselect6, epoll_pwait, signalfd4), where it goes from there. False: EFAULT.
 */
bool signal_host_mask(uint64_t set, uint64_t *host);
