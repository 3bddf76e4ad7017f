#include "dev/virtio/vhost_msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_SIZE (VHOST_MAX_REGIONS * sizeof(int))

union vhost_control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(FDS_SIZE)];
};

int vhost_send(int fd, const struct vhost_msg *msg, const int *fds, unsigned fd_count)
{
    union vhost_control control = {0};
    struct iovec iov = {(void *)(uintptr_t)msg, VHOST_HEADER_SIZE + msg->size};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count) {
        size_t bytes = fd_count * sizeof *fds;
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(bytes);
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    /* Messages are shorter than any socket's buffer. */
    return (size_t)n == iov.iov_len ? 0 : -EPROTO;
}

static void vhost_close_all(int *fds, unsigned *count)
{
    while (*count)
        close(fds[--*count]);
}

static int vhost_receive_header(int fd, struct vhost_msg *msg, int *fds, unsigned *fd_count)
{
    union vhost_control control;
    struct iovec iov = {msg, VHOST_HEADER_SIZE};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n ? -errno : -ECONNRESET;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || *fd_count)
            continue;
        *fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
        memcpy(fds, CMSG_DATA(c), *fd_count * sizeof *fds);
    }
    bool whole = n == VHOST_HEADER_SIZE && !(h.msg_flags & MSG_CTRUNC);
    return whole && (msg->flags & 3) == VHOST_VERSION && msg->size <= sizeof msg->bytes ? 0
                                                                                        : -EPROTO;
}

static int vhost_receive_rest(int fd, struct vhost_msg *msg)
{
    for (size_t done = 0; done < msg->size;) {
        ssize_t n = recv(fd, msg->bytes + done, msg->size - done, MSG_WAITALL);
        if (n > 0)
            done += (size_t)n;
        else if (!n || errno != EINTR)
            return n ? -errno : -ECONNRESET;
    }
    return 0;
}

int vhost_receive(int fd, struct vhost_msg *msg, int *fds, unsigned *fd_count)
{
    memset(msg, 0, sizeof *msg);
    *fd_count = 0;
    int rc = vhost_receive_header(fd, msg, fds, fd_count);
    if (!rc)
        rc = vhost_receive_rest(fd, msg);
    if (rc)
        vhost_close_all(fds, fd_count);
    return rc;
}
