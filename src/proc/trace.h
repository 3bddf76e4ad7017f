/*
 * Being traced: what a thread does for its tracer, the guise of another process (tracer.h).
 *
 * The host's kernel is the judge of who may trace whom, keeps who does, stops and wakes the thread
 * and tells the tracer's wait. The host's stops come anywhere in guise, though, and the program's
 * must come between two of its instructions, or in its system calls. So whatever the tracer is to
 * see, the thread first goes *home*: it leaves its engine, puts its registers where the tracer can
 * find them (struct trace_record), and sends itself SIGBUS, with TRACE_RAISED in its siginfo_t and
 * the record's address. That is a stop of the host, from which the tracer's guise makes the one
 * that was meant. SIGBUS, because it is never blocked in the host, and always has a handler.
 *
 * In the other direction the tracer's guise sends SIGBUS with one of the TRACE_CALL_... codes, or
 * turns a signal that the host is about to deliver into one: then the thread comes home and stops
 * there for what it was called for.
 *
 * What is raised without a tracer arrives in the handler, by which the thread knows that it has
 * none any more.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <time.h>
#include <ucontext.h>

struct thread;

/* si_code of SIGBUS. None is one of the kernel's. */
enum {
    TRACE_RAISED = -0x67750001, /* by the thread itself; si_errno: enum trace_kind */
    TRACE_CALL_HOME,            /* by the tracer: stop at home */
    TRACE_CALL_GROUP,           /* because the process is stopped, by the signal si_errno */
    TRACE_CALL_SIGNAL,          /* a signal came: trace_pack */
};

/* What a thread has stopped for. */
enum trace_kind {
    TRACE_NOT_A_GUEST, /* there is nothing to trace in this thread of guise; no record */
    TRACE_HOME,        /* the tracer wanted it; PTRACE_EVENT_STOP follows from the host */
    TRACE_STARTED,     /* exec has happened: what does the tracer want? */
    TRACE_SIGNAL,      /* a signal is about to be delivered */
    TRACE_SYSCALL,
    TRACE_EVENT, /* PTRACE_EVENT_... of which the host does not know just when */
    TRACE_GROUP, /* the process is stopped */
};

#define TRACE_MAGIC UINT64_C(0x6775697365743031)

/*
 * A thread's, read and written by the tracer's guise as words while the thread is stopped. A word
 * that makes no sense harms nobody but the one whose memory it is in.
 */
struct trace_record {
    uint64_t magic;
    uint64_t traced; /* has a tracer, or has had one and has not found out */
    uint64_t home;   /* what is below `mask` is valid, and what is written there as well */
    uint64_t status; /* of the stop: signal, and event << 8 */
    uint64_t signal; /* the tracer's answer to TRACE_SIGNAL and TRACE_SYSCALL */
    uint64_t mode;   /* PTRACE_CONT, PTRACE_SYSCALL or PTRACE_SINGLESTEP */
    uint64_t options, seized;
    uint64_t letting; /* the signal that the host is to deliver without asking again */
    uint64_t cloning; /* the program's clone is under way, not guise's own */
    uint64_t message; /* PTRACE_GETEVENTMSG */
    uint64_t code;    /* address of the process's struct trace_code */
    uint64_t op;      /* PTRACE_SYSCALL_INFO_... of a TRACE_SYSCALL */
    uint64_t number, args[6], result; /* of TRACE_SYSCALL, and of a filter's event */
    uint64_t mask;                    /* of blocked signals */
    uint64_t reg[32];                 /* pc, then x1 to x31 */
    uint64_t f[32], fcsr;
    uint64_t info[16]; /* siginfo_t */
};

/* Of a process: what tracers have written over code; end 0: nothing. */
struct trace_code {
    _Atomic uint64_t start, end;
};

struct thread_trace {
    struct trace_record record;
    unsigned wanted; /* TRACE_WANT_... of trace.c */
    int group;       /* for TRACE_WANT_GROUP: the signal */
    int interrupted; /* enum host_call_end: what a call of the tracer did to a host's call */
    int restart;     /* of that call: the delivery of signals decides about it */
    uint64_t first_arg;
    uint64_t repeated;    /* the ecall that is repeated next, 0: none */
    struct timespec left; /* of the last sleep that was interrupted */
};

/* In place of a signal in thread_signals.pending: the thread is called home. */
#define TRACE_CALLED 65

/* A signal as siginfo_t of SIGBUS with TRACE_CALL_SIGNAL, and back. */
void trace_pack(siginfo_t *info);
void trace_unpack(siginfo_t *info);

/* Is it one of the codes above? */
bool trace_is_ours(const siginfo_t *info);
/*
 * In the host's handler: SIGBUS that is ours. t: NULL: a thread of guise's own. Returns the signal
 * to note, with info as it was sent, TRACE_CALLED or 0.
 */
int trace_called(struct thread *t, siginfo_t *info, ucontext_t *uc);

/* ---- with a thread that may be traced, or not ---- */

static inline bool trace_active(const struct thread_trace *trace)
{
    return trace->record.traced;
}

/* Is it to stop after each instruction? */
static inline bool trace_steps(const struct thread_trace *trace)
{
    return trace->record.mode == PTRACE_SINGLESTEP && trace->record.traced;
}

/* What has been wanted; at home, all signals of the host blocked. */
void trace_serve(struct thread *t);
/* The signal to deliver instead of this one, with *info; 0: none. All signals are blocked. */
int trace_signal(struct thread *t, int sig, siginfo_t *info);
/* The host is about to deliver this signal, which the tracer knows already, and may stop by it. */
void trace_let(struct thread *t, int sig);
/* Before and after something in which the host may stop the thread, which is at home. */
void trace_publish(struct thread *t);
void trace_adopt(struct thread *t);

/* Before a system call: its number and arguments, which may be changed. False: it is not done. */
bool trace_enter(struct thread *t, uint64_t *number, uint64_t a[6]);
/* What the registers have of them now. False: as above. */
bool trace_reload(const struct thread *t, uint64_t *number, uint64_t a[6]);
/* A filter wants the tracer to be asked. False: there is none that wants to be. */
bool trace_seccomp(struct thread *t, uint64_t number, const uint64_t a[6], uint32_t data);
/* After it: sets the registers. first_arg: a0 before the call. */
void trace_leave(struct thread *t, int64_t result, uint64_t first_arg);
/* Is this call the one that was interrupted for the tracer alone? */
bool trace_repeats(const struct thread *t);
/* A handler is about to be entered, with these SA_... */
void trace_before_handler(struct thread *t, uint64_t flags);
/* All are that have to be. */
void trace_after_signals(struct thread *t);
/* The thread is about to end; the host says so too late, when its registers are gone. */
void trace_exit(struct thread *t, int status);
/* One instruction has been executed. */
void trace_stepped(struct thread *t);

/* The calling thread asks to be traced by its parent. 0 or -errno. */
int64_t trace_me(struct thread *t);
/* Guise was told by a tracer's that it is traced (AT_FLAGS): it has just been started by exec. */
void trace_start(struct thread *first);
#define TRACE_AT_FLAG (1ul << 31)

/* ---- new threads and processes: flags as thread_clone's ---- */

/* Whether the host traces what the clone makes. */
bool trace_follows(const struct thread *t, uint64_t flags, int exit_signal);
/* The child's state; t: who makes it, may be the same. */
void trace_inherit(struct thread *child, const struct thread *t, bool traced);
/* The parent tells of its child, if the host does not. */
void trace_cloned(struct thread *t, uint64_t flags, int exit_signal, int64_t child);
