/*
 * A process and its threads from the inside: what the files of this layer share.
 *
 * A guest thread is a host thread with a vCPU. Its loop (thread.c): run the engine; a system call
 * goes to syscall.c, an exception becomes a signal (signals.c); before the engine runs again,
 * requests and signals are seen to.
 *
 * vfork's child (CLONE_VM without CLONE_THREAD) shares struct process and all memory with its
 * parent, which waits; it has a struct thread and signal actions of its own.
 */
#pragma once

#include "core/engine.h"
#include "host/guarded.h"
#include "isa/riscv64/hart.h"
#include "proc/mm.h"
#include "proc/proc.h"
#include "proc/rlimits.h"
#include "proc/seccomp.h"
#include "proc/signals.h"

#include <sys/types.h>

struct thread {
    struct process *process;
    struct vcpu vcpu;
    struct rv_hart *hart;
    struct thread *next, *prev; /* of the process, NULL ends them; process->lock */
    pid_t tid;
    uint64_t clear_child_tid; /* guest address: cleared and woken when the thread ends; 0: none */
    struct thread_signals signals;
    struct seccomp seccomp; /* inherited: seccomp_inherit */
    bool vfork;             /* a child that shares its parent's memory */
    bool own_actions;       /* signals.actions is its own */
    bool clear_actions;     /* of vfork's child: signals_clear first of all */
    void *exec_memory;      /* of vfork's child, which exec took with it */
    void *end;              /* jmp_buf *: where the host's thread ends; NULL: the first thread */
};

struct process {
    const struct proc_config *config;
    struct clock clock; /* real time */
    struct mm mm;
    pthread_mutex_t lock; /* threads */
    struct thread *threads;
    _Atomic unsigned alive;    /* threads that have not ended, but for children of vfork */
    pthread_mutex_t stop_lock; /* held while all threads but one are kept out of the guest */
    _Atomic bool stopping;     /* so they are to be */
    char **argv;               /* of the program, a script's interpreter included */
    char *exe;                 /* absolute path of the program, as /proc/self/exe gives it */
    int exe_fd;                /* O_PATH */
    int self_fd;               /* guise itself, O_PATH: also where /proc is not mounted */
    uint64_t auxv, auxv_size;
    bool told;                  /* the kernel knows the arguments and more: exec.c */
    struct guest_limits limits; /* process->lock */
};

/* Of the time CSR, in Hz: as on the board `virt`. */
#define PROCESS_TIME_FREQUENCY UINT64_C(10000000)

/* Registers of the calling convention. */
enum { REG_RA = 1, REG_SP = 2, REG_TP = 4, REG_A0 = 10, REG_A1, REG_A2, REG_A7 = 17 };

/*
 * The program's instructions in [start, end) may have changed, or may not be executed any more:
 * returns when no thread runs what was there. The calling thread is outside of its engine. Not with
 * mm.lock or process.lock held.
 */
void process_code_changed(struct process *p, uint64_t start, uint64_t end);

/* ---- thread.c ---- */

/* The calling host thread's guest thread. */
struct thread *thread_self(void);

/* A thread with a hart, made but not started; NULL: out of memory. */
struct thread *thread_new(struct process *p, struct error *err);
void thread_free(struct thread *t);

/* Runs the guest on the calling host thread until the thread ends: does not come back. */
_Noreturn void thread_run(struct thread *t);

/* Of a thread of the guest: exit. The last one ends the process. */
_Noreturn void thread_exit(struct thread *t, int status);
_Noreturn void process_exit(struct process *p, int status);

/* The guest's clone (flags as clone3's, plus the exit signal). A tid or -errno. */
struct thread_clone {
    uint64_t flags;
    uint64_t pidfd, child_tid, parent_tid; /* guest addresses */
    int exit_signal;
    uint64_t stack; /* new sp, 0: the same */
    uint64_t tls;
    uint64_t set_tid, set_tid_size, cgroup; /* clone3's, passed on */
};
int64_t thread_clone(struct thread *t, const struct thread_clone *c);

/* ---- exec.c ---- */

/* execveat: -errno; does not come back otherwise. All are guest addresses, path as well. */
int64_t process_exec(struct thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
                     int flags);

/* ---- syscall.c ---- */

/* Serves the call in the registers of t, whose pc is behind the ecall. */
void syscall_serve(struct thread *t);

/*
 * The host's call, such that a signal either comes before it, and it is not done, or interrupts it:
 * -THREAD_RESTART then, and no result. Other results as the kernel's.
 */
#define THREAD_RESTART 512
int64_t thread_host_call(struct thread *t, long number, uint64_t a, uint64_t b, uint64_t c,
                         uint64_t d, uint64_t e, uint64_t f);
