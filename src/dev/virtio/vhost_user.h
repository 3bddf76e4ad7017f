/*
 * The front end of vhost-user: the queues of a virtio device are served by another process (the
 * back end), which gets guest memory and, for each queue, a descriptor by which it is notified and
 * one by which it interrupts. Registers, negotiation and interrupts stay in virtio.c.
 *
 * A device embeds struct vhost_user behind its struct virtio_dev and passes its operations on. A
 * queue is handed over when its driver first notifies it, and comes back when it is reset, or when
 * the machine must stand still; it is handed over again at the next notification.
 *
 * The back end is not trusted: answers are checked and waited for a bounded time. One that breaks
 * the protocol, or is gone, is given up: its queues come back and `gone` is called. It has guest
 * memory mapped, as a bus master has: the guest cannot trust it.
 *
 * Locking: the device's lock, which the loop's callbacks take. Init and fini belong to the loop's
 * thread.
 */
#pragma once

#include "base/loop.h"
#include "dev/virtio/virtio.h"

struct vhost_user;

struct vhost_queue {
    struct vhost_user *owner;
    unsigned index;
    int kick, call; /* event descriptors: to the back end, from it */
    struct loop_fd watch;
    bool started;
};

struct vhost_user {
    struct virtio_dev *vd;
    struct loop *loop;
    int fd; /* -1: the back end was given up, or there never was one */
    struct loop_fd watch;
    bool reply_ack;   /* it tells whether a request succeeded */
    bool memory_sent; /* memory is the same until the machine ends */
    bool broken;      /* its end is shut; the loop's thread gives it up */
    unsigned queue_count;
    struct vhost_queue queues[VIRTIO_QUEUE_MAX];
    /* The back end was given up; lock held, the queues are the device's own again. May be NULL. */
    void (*gone)(struct virtio_dev *vd);
};

/*
 * Connects a device that was made with virtio_dev_init to the back end at the socket fd, which
 * becomes its own, also on failure. Features that the back end does not have are not offered any
 * more. *queues is how many the device wants; the back end may have fewer. 0 or -errno with *err.
 */
int vhost_user_init(struct vhost_user *vu, struct virtio_dev *vd, int fd, struct loop *loop,
                    unsigned *queues, struct error *err);
/* Also after a failed init. The back end sees the end of its connection. */
void vhost_user_fini(struct vhost_user *vu);

/* virtio_dev_ops.notify: false if there is no back end any more. */
bool vhost_user_notify(struct vhost_user *vu, unsigned queue);
/* virtio_dev_ops.quiesce: all queues come back. */
void vhost_user_stop(struct vhost_user *vu);
/* device_ops.drain: the same once everything that the driver has asked for is done. */
void vhost_user_drain(struct vhost_user *vu);
