/*
 * The messages of the vhost-user protocol (QEMU's docs/interop/vhost-user), by which a device's
 * queues are served by another process: its socket, the front end's memory and the queues' event
 * descriptors go over it. Both sides use this: vhost_user.h is the front end, src/fsd a back end.
 *
 * What a peer sends is hostile: sizes are checked here, values by whoever uses them. Integers are
 * in the host's byte order.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_MAX_REGIONS 8u

enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_SET_BACKEND_REQ_FD = 21,
    VHOST_GET_CONFIG = 24,
};

enum { VHOST_VERSION = 1, VHOST_FLAG_REPLY = 4, VHOST_FLAG_NEED_REPLY = 8 };

/* A feature bit beside those of virtio, and bits of the protocol's own features. */
enum { VHOST_F_PROTOCOL_FEATURES = 30 };
enum { VHOST_PROTOCOL_F_MQ = 0, VHOST_PROTOCOL_F_REPLY_ACK = 3 };

/* In a message of an event descriptor: the queue, and that there is none. */
#define VHOST_VRING_INDEX 0xffu
#define VHOST_VRING_NO_FD 0x100u

struct vhost_vring_state {
    uint32_t index, num;
};

struct vhost_vring_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log; /* addresses in the front end's process */
};

struct vhost_region {
    uint64_t gpa, size, user, offset; /* user: where it is in the front end's process */
};

struct vhost_memory {
    uint32_t count, padding;
    struct vhost_region regions[VHOST_MAX_REGIONS];
};

#define VHOST_HEADER_SIZE 12u

struct vhost_msg {
    uint32_t request, flags, size; /* size: of what follows */
    union {
        uint64_t u64;
        struct vhost_vring_state state;
        struct vhost_vring_addr addr;
        struct vhost_memory memory;
        uint8_t bytes[sizeof(struct vhost_memory)];
    } __attribute__((packed));
} __attribute__((packed));

_Static_assert(offsetof(struct vhost_msg, u64) == VHOST_HEADER_SIZE, "the wire's layout");
_Static_assert(sizeof(struct vhost_region) == 32, "the wire's layout");

/* Sends a message with up to VHOST_MAX_REGIONS descriptors. 0 or -errno. */
int vhost_send(int fd, const struct vhost_msg *msg, const int *fds, unsigned fd_count);

/*
 * Receives one; *fd_count descriptors, at most VHOST_MAX_REGIONS, are the caller's then. 0, or
 * -errno, and no descriptors: -ECONNRESET when the peer has closed, -EPROTO when what it sends is
 * no message, -EAGAIN when the socket's time-out is over.
 */
int vhost_receive(int fd, struct vhost_msg *msg, int *fds, unsigned *fd_count);
