/*
 * The other side of dev/virtio/vhost_user.h: serves the queues of a device for a front end at the
 * other end of a socket, with a thread for each queue. What it does with a chain of buffers is the
 * device's.
 *
 * The front end is trusted as far as its own guest's memory goes: it can make this process end, or
 * fail, but not reach anything by it. Rings and buffers are the guest's, and hostile (virtq.h).
 *
 * Threads: new, run and free by one. The queues' threads live from backend_new on, so that the
 * process can then be confined to system calls that make none.
 */
#pragma once

#include "base/error.h"
#include "dev/virtio/virtq.h"

#define BACKEND_QUEUES 8u

struct backend;

/* Serves a chain: returns the bytes written. By the queues' threads. */
typedef uint32_t (*backend_serve)(void *ctx, unsigned queue, struct virtq_chain *chain);

/* NULL with *err. */
struct backend *backend_new(backend_serve serve, void *ctx, struct error *err);

/* Answers the front end until it is gone, or breaks the protocol (false). */
bool backend_run(struct backend *b, int socket);
