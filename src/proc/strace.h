/*
 * --strace: the program's system calls on stderr, in strace(1)'s style with the thread's id before
 * each. A line is written when the call ends, so that lines of several threads do not mix; those
 * that may not come back are told before as well.
 *
 * Threads: any, each about its own calls.
 */
#pragma once

#include "proc/process.h"
#include "proc/syscall.h"

void strace_enter(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS]);
void strace_leave(struct thread *t, uint64_t number, const uint64_t a[SYSCALL_ARGS],
                  int64_t result);
