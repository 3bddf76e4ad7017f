/* Back ends whose descriptor takes and gives one packet at a time: header and frame. */
#include "net/impl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int net_packet_write(int fd, const struct net_hdr *hdr, const struct iovec *frame, unsigned count)
{
    struct iovec iov[NET_MAX_SEGMENTS + 1];
    struct net_hdr h = *hdr;
    if (count > NET_MAX_SEGMENTS)
        return -EMSGSIZE;
    iov[0] = (struct iovec){.iov_base = &h, .iov_len = sizeof h};
    memcpy(iov + 1, frame, count * sizeof *frame);
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count + 1};
    ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK)
        n = writev(fd, iov, (int)count + 1);
    return n < 0 ? -errno : 0;
}

int net_packet_send(struct net *n, const struct net_hdr *hdr, const struct iovec *frame,
                    unsigned count, size_t len)
{
    (void)len;
    return net_packet_write(n->fd, hdr, frame, count);
}

ssize_t net_packet_fetch(struct net *n)
{
    ssize_t got = read(n->fd, n->in, NET_PACKET_MAX);
    return got < 0 ? -errno : got;
}
