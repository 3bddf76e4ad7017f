/*
 * The host's side of a guest's vsock: streams between Unix sockets of the host and ports of the
 * guest, named as Firecracker and cloud-hypervisor do.
 *
 * Who connects to PATH on the host and writes "CONNECT PORT\n" is connected to PORT of the guest,
 * and reads "OK N\n" first, N being the port on the host's side; if nobody listens there the socket
 * is closed. A guest that connects to PORT of the host (CID 2) gets the Unix socket PATH_PORT.
 *
 * The device is dev/virtio/virtio_vsock.h.
 *
 * Threads: the loop's, or any while the loop does not run.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct vsock;

#define VSOCK_CID_DEFAULT 3u
#define VSOCK_MAX_STREAMS 256u

/* One connection; its owner is the device. */
struct vsock_stream;

struct vsock_ops {
    /*
     * Somebody wants the guest's port `port`; `host_port` is his. The stream is the device's if it
     * returns true: then it calls vsock_accepted or vsock_close.
     */
    bool (*wanted)(void *ctx, struct vsock_stream *s, uint32_t port, uint32_t host_port);
    /* What vsock_wait asked for is there; the other side may also have gone. */
    void (*ready)(void *ctx, struct vsock_stream *s, void *owner);
};

/*
 * The text is PATH[,cid=N], N from 3 to 4294967294 and 3 if it is not given. Listens at PATH, where
 * a socket that nobody listens at is replaced. The loop must live longer. NULL with *err: EINVAL
 * for a wrong text, EADDRINUSE, or the host's error.
 */
struct vsock *vsock_open(const char *spec, struct loop *loop, struct error *err);
/* The same checks for the text only. For option parsing. */
int vsock_check(const char *spec, struct error *err);
/* Closes all streams; leaves PATH to vsock_release. NULL is allowed. */
void vsock_free(struct vsock *v);
/* Removes the socket at PATH if it is still this one's. */
void vsock_release(struct vsock *v);

/* The guest's address. */
uint64_t vsock_cid(const struct vsock *v);

/* Whose callbacks those are; NULL: nobody's, who connects is turned away. */
void vsock_set_device(struct vsock *v, const struct vsock_ops *ops, void *ctx);

/*
 * Connects to PATH_PORT: a descriptor or -errno. Uses nothing that changes, so that another process
 * (a fork of this one that may use names of the host) can do it: then `opener` is called instead.
 */
int vsock_dial(const struct vsock *v, uint32_t port);
void vsock_set_opener(struct vsock *v, int (*opener)(void *ctx, uint32_t port), void *ctx);

/* A stream to the host's port. NULL: nobody listens there, or there are too many. */
struct vsock_stream *vsock_connect(struct vsock *v, uint32_t port);
/* The guest has accepted what `wanted` was called for. */
void vsock_accepted(struct vsock_stream *s);
void vsock_close(struct vsock_stream *s);
void vsock_set_owner(struct vsock_stream *s, void *owner);

/* As read and send: bytes, 0 for the end, -EAGAIN, or another error: the stream is over. */
ssize_t vsock_read(struct vsock_stream *s, void *to, size_t len);
ssize_t vsock_write(struct vsock_stream *s, const void *data, size_t len);
/* Nothing more will be written. */
void vsock_end_write(struct vsock_stream *s);
/* Which of LOOP_IN and LOOP_OUT `ready` is called for; 0: none. */
void vsock_wait(struct vsock_stream *s, unsigned events);
