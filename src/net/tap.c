/* A tap device of the host (Linux's Documentation/networking/tuntap.rst). */
#include "net/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TUN_PATH "/dev/net/tun"

/* Why TUNSETIFF has failed, and what helps. */
static const char *net_tap_advice(const struct net *n, int code)
{
    if (code == EPERM)
        return "; it has to exist and be yours: ip tuntap add mode tap user NAME ";
    if (code != EINVAL)
        return "";
    return n->config.queues > 1 ? "; for several queues: ip tuntap add mode tap multi_queue "
                                : "; for a device with multi_queue give queues=N, 2 or more: ";
}

static int net_tap_attach(struct net *n, int fd, struct error *err)
{
    const char *name = n->config.ifname;
    struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int size = (int)NET_HDR_SIZE;
    req.ifr_flags |= n->config.queues > 1 ? IFF_MULTI_QUEUE : 0;
    strncpy(req.ifr_name, name, sizeof req.ifr_name - 1);
    if (ioctl(fd, TUNSETIFF, &req)) {
        const char *advice = net_tap_advice(n, errno);
        return error_set(err, errno, "tap device %s: %s%s%s", name, strerror(errno), advice,
                         *advice ? name : "");
    }
    if (ioctl(fd, TUNSETVNETHDRSZ, &size))
        return error_set(err, errno, "tap device %s: no headers of %d bytes: %s", name, size,
                         strerror(errno));
    return 0;
}

static int net_tap_acquire(struct net *n, struct net_link *link, struct error *err)
{
    int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, errno, "%s, which tap devices need: %s", TUN_PATH, strerror(errno));
    int rc = net_tap_attach(n, fd, err);
    if (rc) {
        close(fd);
        return rc;
    }
    link->fd = fd;
    return 0;
}

/* What the host's kernel may leave to the guest. */
static void net_tap_offloads_changed(struct net *n)
{
    static const unsigned flags[] = {TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN};
    unsigned long set = 0;
    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (n->offloads >> i & 1)
            set |= flags[i];
    /* If it fails, the kernel does more than it needs to, or net.c completes the frames. */
    ioctl(n->fd, TUNSETOFFLOAD, set);
}

/* A queue that is detached gets nothing; what it sends goes out. */
static void net_tap_active_changed(struct net *n)
{
    struct ifreq req = {.ifr_flags = n->active ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
    /* If it fails, the queue is as it was, and its card takes or drops what comes. */
    ioctl(n->fd, TUNSETQUEUE, &req);
}

const struct net_ops net_tap_ops = {
    .name = "tap",
    .size = sizeof(struct net),
    .needs_ifname = true,
    .shared = true,
    .outside = true,
    .acquire = net_tap_acquire,
    .send = net_packet_send,
    .fetch = net_packet_fetch,
    .offloads_changed = net_tap_offloads_changed,
    .active_changed = net_tap_active_changed,
};
