/*
 * A second process that does for a confined one the few things that need names of the host: it is
 * forked before, keeps the privileges, and can be asked only for what was said then, by number. It
 * shares no memory with the confined one, and ends when that does, however that ends.
 *
 * Threads: broker_call may be called from any.
 */
#pragma once

#include "base/error.h"

struct broker;

struct broker_job {
    /*
     * In the broker. `arg` comes from the confined process: do not trust it. 0 or more, or -errno;
     * a descriptor left in *fd (-1 before) is passed and closed.
     */
    int (*run)(void *ctx, unsigned arg, int *fd);
    /* In the broker, when the confined process is gone; NULL: nothing. */
    void (*end)(void *ctx);
    void *ctx; /* as it is at broker_new */
};

/* Forks: this process must have one thread. The jobs are copied. NULL with *err. */
struct broker *broker_new(const struct broker_job *jobs, unsigned count, struct error *err);
/* Lets it carry out `end` of all jobs, and waits until it has. NULL is allowed. */
void broker_free(struct broker *b);

/* What jobs[job].run returns; *fd: the descriptor, or -1. -EPIPE: the broker is gone. */
int broker_call(struct broker *b, unsigned job, unsigned arg, int *fd);
