/*
 * Tracing others: ptrace and the waits of the program, by means of the host's ptrace and waits, and
 * of what the traced thread's guise does (trace.h).
 *
 * The host's kernel decides who may be traced. What a tracee says about itself is not trusted: it
 * is read and written in the tracee's own memory only.
 *
 * Threads: any; struct tracer has a lock, which is held by callers of all but tracer_init. Only the
 * thread that traces can do something with a tracee, the kernel sees to it.
 */
#pragma once

#include "proc/trace.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A thread of another process that a thread of this one traces. */
struct tracee {
    struct tracee *next;
    pid_t tid, tgid;
    uint64_t record; /* address of its struct trace_record; 0: not known yet */
    uint64_t options, mode;
    uint64_t message; /* of exec: the tid before */
    bool seized;
    bool native;   /* no guise: it goes its ways, and only its end is told */
    bool starting; /* exec has happened, and it has not been home since */
    bool called;   /* while it was starting */
    bool exiting;  /* it has told so itself */
    bool held;     /* stopped since it was made, until its maker tells */
    int kept;      /* a stop for the program, as wait4's status, that it has not waited for yet */
};

struct tracer {
    pthread_mutex_t lock;
    struct tracee *first;
    _Atomic bool writes; /* into memory of others in ways that guise does not see */
};

/* Also in fork's child, which traces nobody. */
void tracer_init(struct tracer *r);

/* NULL: not known. */
struct tracee *tracee_find(const struct tracer *r, pid_t tid);

/* The host's ptrace: 0 or what it gives, or -errno. */
int64_t tracer_host(int request, pid_t tid, uint64_t address, uint64_t data);
/* A word of its record; false: it is not stopped, or has none. */
bool tracee_load(const struct tracee *e, size_t offset, uint64_t *value);
bool tracee_store(const struct tracee *e, size_t offset, uint64_t value);
#define TRACEE_LOAD(e, field, value) tracee_load(e, offsetof(struct trace_record, field), value)
#define TRACEE_STORE(e, field, value) tracee_store(e, offsetof(struct trace_record, field), value)
/* Has it stopped itself, for what? */
bool tracee_raised(const struct tracee *e, enum trace_kind *kind);
/* Is it at home, so that its registers can be had? */
bool tracee_at_home(const struct tracee *e);
/* Calls it home: TRACE_CALL_HOME or TRACE_CALL_GROUP with the signal. */
void tracee_call(const struct tracee *e, int code, int group);
/* Lets it run: as the program wants it to. */
void tracee_go_on(const struct tracee *e, int sig);
/* The host's options for the program's. */
uint64_t tracer_host_options(uint64_t options);

/*
 * The host's wait tells of a stop, *status as wait4 has it. True: it is one for the program, with
 * *status as it is to see it. False: it was guise's own business, and is over.
 */
bool tracer_stopped(struct tracer *r, pid_t tid, int *status);
/*
 * Takes the stops of all tracees of the calling thread but this one (NULL: all), as above, without
 * waiting. What is for the program is kept. They may have been stopped anywhere in guise, with
 * locks that others of their process wait for.
 */
void tracer_serve(struct tracer *r, const struct tracee *but);
/* It tells of an end. */
void tracer_ended(struct tracer *r, pid_t tid);

/* PTRACE_ATTACH and PTRACE_SEIZE. 0 or -errno; -EINTR: a handler has set *signal. */
int64_t tracer_attach(struct tracer *r, pid_t tid, bool seize, uint64_t options,
                      const volatile int *signal);
/* Forgets it: it is not traced any more. */
void tracer_drop(struct tracer *r, pid_t tid);
