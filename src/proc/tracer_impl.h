/* Between the files of tracer.h. */
#pragma once

#include "proc/tracer.h"

/* Makes it if need be; NULL: out of memory. */
struct tracee *tracee_get(struct tracer *r, pid_t tid);
/* Is its program run by this guise? */
bool tracee_is_guise(pid_t tid);
/*
 * Waits for its next stop and takes it. -ESRCH: it has been killed, which is still to be told;
 * -EINTR: a handler has noted another signal than SIGCHLD in *signal, unless that is NULL. others,
 * unless NULL: it may depend on them, and they are served meanwhile.
 */
int tracee_await(const struct tracee *e, int *status, struct tracer *others,
                 const volatile int *signal);
/* Tells it what it is to do and to tell. */
void tracee_instruct(const struct tracee *e);
/* It has stopped itself: where its record is. */
bool tracee_note_record(struct tracee *e);
