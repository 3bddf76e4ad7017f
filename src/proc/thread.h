/* Threads, for clone.c and exec.c. */
#pragma once

#include "proc/process.h"

/* The calling host thread is this guest thread's from now on. */
void thread_set_self(struct thread *t);

/* In fork's child: t is the only thread. */
void thread_forked(struct thread *t);

/* Before the process ends or becomes another program. */
void process_leave(struct thread *t);

/* The engine's counters, on stderr. */
void process_print_stats(const struct thread *t);
