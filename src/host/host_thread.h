/*
 * Threads of a process whose signals are a guest's. The C library installs a handler of one of its
 * own signals when the first thread is made; in such a process that one is the guest's, too.
 */
#pragma once

#include <pthread.h>

/* As pthread_create, but an action that the signal has already stays as it is. */
int host_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg),
                      void *arg);
