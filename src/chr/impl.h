/*
 * What a back end is made of; for the files of this folder only.
 *
 * A back end is a private struct that begins with `struct chr`, and a const struct chr_ops in the
 * table of chr.c. Most have nothing to do but to open descriptors: chr.c moves the bytes.
 *
 * Locks: `drain` is held by the one thread that writes to the host; `lock` protects the rings and
 * flags, is held only for copies, and is taken inside `drain`. The bytes at the head of `out` stay
 * where they are while `drain` is held, so that they can be written without `lock`.
 */
#pragma once

#include "base/loop.h"
#include "chr/chr.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct chr_ops {
    const char *name;
    bool takes_arg; /* "name:ARG" */
    size_t size;    /* of the private struct */
    /* Sets in_fd, out_fd and flags. Whatever it leaves set is cleaned up by `close` on failure. */
    int (*open)(struct chr *c, const char *arg, struct error *err);
    /* Optional: looks at input just read, changes it in place, returns the length that is left. */
    size_t (*filter)(struct chr *c, uint8_t *data, size_t len);
    /* Optional: the other side went away; without it input is over. Loop thread. */
    void (*hangup)(struct chr *c);
    /* Optional: no input is read any more, as nobody takes what has been. Loop thread. */
    void (*stuck)(struct chr *c);
    /* Optional: removes what it has made in the file system. */
    void (*remove)(struct chr *c);
    /* Optional: before the descriptors are closed. */
    void (*close)(struct chr *c);
};

struct chr_ring {
    size_t head, len, size;
    uint8_t *data;
};

struct chr {
    const struct chr_ops *ops;
    struct loop *loop;
    char *path;
    int in_fd, out_fd; /* -1: none. closed by chr.c if own_fds */
    bool own_in, own_out;
    bool created;    /* chr_open made the file at `path` */
    bool abandoned;  /* chr_abandon */
    bool discard;    /* output goes nowhere */
    bool keep_input; /* a full ring stops reading; otherwise what does not fit is dropped */
    bool may_block;  /* out_fd is not O_NONBLOCK: it is polled and written in small pieces */
    bool is_socket;  /* of a client, who may leave at any time: that is no error */

    pthread_mutex_t drain;
    pthread_mutex_t lock;
    struct chr_ring out, in;
    bool overwrite;    /* nobody is there: hold output back, new bytes push out the oldest */
    bool away;         /* there is no client: output is dropped */
    _Atomic bool wait; /* chr_set_wait */
    _Atomic bool deaf; /* chr_set_heard */
    bool refused;      /* chr_write took less than it was offered */
    int error;

    /* Loop thread only. */
    struct loop_fd in_watch, out_watch;
    struct loop_job out_job, in_job;
    bool in_unpollable; /* a regular file: always ready */
    bool in_over;
    size_t (*can_receive)(void *ctx);
    void (*receive)(void *ctx, const uint8_t *data, size_t len);
    void *receive_ctx;
    void (*writable)(void *ctx);
    void *writable_ctx;
    void (*peer)(void *ctx, bool there);
    void *peer_ctx;
    void (*quit)(void *ctx);
    void *quit_ctx;
};

extern const struct chr_ops chr_none_ops, chr_stdio_ops, chr_stdout_ops, chr_file_ops, chr_pty_ops,
    chr_unix_ops, chr_memory_ops;

/* Makes a back end of these ops; `arg` as after the colon. */
struct chr *chr_new(const struct chr_ops *ops, const char *arg, struct loop *loop,
                    struct error *err);

/* Holds output back (and keeps the newest), or lets it go. */
void chr_set_overwrite(struct chr *c, bool on);

/*
 * A client has come, whose descriptors those two are, or has gone (-1): nothing of one reaches the
 * next. Tells the device. Loop thread.
 */
void chr_set_client(struct chr *c, int in_fd, int out_fd);

/* Gives waiting input to the device and reads more. Loop thread. */
void chr_pump(struct chr *c);

/* Copies in at the end as much as fits, out at the front as much as there is. c->lock held. */
size_t chr_ring_put(struct chr_ring *r, const uint8_t *data, size_t len);
size_t chr_ring_get(struct chr_ring *r, uint8_t *data, size_t len);
