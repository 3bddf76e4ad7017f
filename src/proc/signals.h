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
    uint64_t mask_before;       /* with mask_replaced: what it is after the handlers */
    bool mask_replaced;         /* by a call that waits (sigsuspend, ppoll), and was interrupted */
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
};

/*
 * The host's handlers of SIGSEGV and SIGBUS: before fault_init puts its own over them. What guise
 * was started with ignored, as bits like thread_signals.mask's.
 */
uint64_t signals_prepare(void);
/* Of the first thread. */
int signals_init(struct thread *first, uint64_t ignored, struct error *err);

/* A thread's signals as those of the thread that makes it. */
void signals_inherit(struct thread *child, const struct thread *parent);

/* vfork's child gets actions of its own. False: out of memory. clear: as signals_clear. */
bool signals_own_actions(struct thread *child, bool clear);
/* What has a handler gets the default (CLONE_CLEAR_SIGHAND). In the process that it is for. */
void signals_clear(struct thread *t);

/*
 * Blocks all signals of the calling host thread, round what must not be interrupted. False: one
 * has been noted before; the caller goes back to the guest's instruction and has done nothing.
 */
bool signals_block_all(struct thread *t);
/*
 * The same with SIGSEGV and SIGBUS, too, where nothing can be touched that may not be there, until
 * signals_block_all.
 */
bool signals_shut(struct thread *t);
/* After that: what the host blocks becomes what the guest does, unless a signal waits. */
void signals_unblock(const struct thread *t);

/*
 * Round exec, which keeps what is blocked and ignored: the host does so as the guest, SIGSEGV and
 * SIGBUS, too. A signal may be noted in between.
 */
struct signals_former {
    uint64_t handler, flags, restorer, mask; /* as the kernel takes it */
};
void signals_before_exec(struct thread *t, struct signals_former former[2]);
void signals_after_exec(struct thread *t, const struct signals_former former[2]);

/* Enters the handler of what is pending. Before the engine runs. */
void signals_deliver(struct thread *t);

/* The guest's instruction at hart->pc ended in an exception (enum rv_cause): a signal. */
void signal_exception(struct thread *t, unsigned cause, uint64_t tval);

/*
 * A signal that can be neither blocked nor ignored: then the process dies of it. False: another one
 * waits and has to be delivered first; then nothing has happened.
 */
bool signal_force(struct thread *t, int sig, int code, uint64_t address);

/*
 * rt_sigreturn: restores all registers, pc as well; a bad frame means SIGSEGV.
 * SYSCALL_NO_RESULT or -THREAD_RESTART.
 */
int64_t signal_sigreturn(struct thread *t);

/* The calls of the same names; addresses are the guest's. */
int64_t signal_rt_sigaction(struct thread *t, int sig, uint64_t act, uint64_t old, uint64_t size);
int64_t signal_rt_sigprocmask(struct thread *t, int how, uint64_t set, uint64_t old, uint64_t size);
int64_t signal_rt_sigpending(struct thread *t, uint64_t set, uint64_t size);
int64_t signal_rt_sigsuspend(struct thread *t, uint64_t set, uint64_t size);
int64_t signal_sigaltstack(struct thread *t, uint64_t stack, uint64_t old);

/*
 * For calls that take a mask (ppoll, pselect6, epoll_pwait) and block it while they wait. The mask
 * at a guest address; false: EFAULT.
 */
struct signal_mask {
    uint64_t guest;
    uint64_t host; /* what the host is to block for it: the call gets its address */
};
bool signal_mask_read(struct signal_mask *m, uint64_t set);
/* thread_host_call of a call that replaces the mask. m: NULL: it keeps it. */
int64_t signal_masked_call(struct thread *t, const struct signal_mask *m, long number,
                           const uint64_t a[6]);
