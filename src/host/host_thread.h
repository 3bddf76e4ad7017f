/*
 * Threads of a process whose signals are a guest's. The C library keeps two signals to itself: it
 * unblocks them, and installs a handler of one, when the first thread is made, and its own
 * functions cannot block them. In such a process they are the guest's, too.
 */
#pragma once

#include <pthread.h>

/* Blocks all signals of the calling thread but SIGSEGV and SIGBUS, which host/fault.h wants. */
void host_thread_block_signals(void);

/*
 * As pthread_create, but with all signals blocked in the new thread, the C library's as well when
 * fn calls host_thread_block_signals first; mask and actions of the caller stay as they are.
 */
int host_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                      void *arg);
