/*
 * NAT without privileges. It is a program of its own, guise-net (src/nat), to which a socket leads:
 * the library behind it need not be linked into guise, and what parses a hostile guest's packets
 * can see no guest and no file. It is started again if it ends.
 */
#include "net/impl.h"

#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_WAIT_MS 10000
#define PROGRAM "guise-net"
/* It is a network without a wire: as few and as long frames as IP can have. */
#define USER_MTU 65520u
#define SOCKET_BUFFER (1 << 20)

struct net_user {
    struct net n;
    pid_t pid; /* 0: none */
};

static struct net_user *net_user_of(struct net *n)
{
    return (struct net_user *)(void *)n;
}

/* argv for guise-net; the strings are the configuration's, or in `mtu`. */
static void net_user_arguments(const struct net *n, const char **argv, char *mtu, size_t size)
{
    const struct net_config *c = &n->config;
    unsigned argc = 0;
    snprintf(mtu, size, "%u", net_mtu(n));
    argv[argc++] = PROGRAM;
    argv[argc++] = "--mtu";
    argv[argc++] = mtu;
    if (c->restricted)
        argv[argc++] = "--restrict";
    if (c->host)
        argv[argc++] = "--host";
    for (unsigned i = 0; i < c->hostfwd_count; i++) {
        argv[argc++] = "--hostfwd";
        argv[argc++] = c->hostfwd[i];
    }
    argv[argc] = NULL;
}

static int net_user_spawn(struct net_user *u, int socket, struct error *err)
{
    char mtu[16];
    const char *argv[8 + 2 * NET_MAX_HOSTFWD];
    net_user_arguments(&u->n, argv, mtu, sizeof mtu);
    return program_start("GUISE_NET", argv, &socket, 1,
                         "network 'user' needs this program, which is built where libslirp-dev is "
                         "installed",
                         &u->pid, err);
}

/* Its first message: empty if it works, or why not. */
static int net_user_wait(int fd, struct error *err)
{
    char text[256];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, START_WAIT_MS) <= 0)
        return error_set(err, ETIMEDOUT, "%s does not answer", PROGRAM);
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return error_set(err, EIO, "%s has ended at once", PROGRAM);
    text[n] = 0;
    return strcmp(text, "ok") ? error_set(err, EIO, "network 'user': %s", text) : 0;
}

static void net_user_release(struct net *n)
{
    struct net_user *u = net_user_of(n);
    if (!u->pid)
        return;
    kill(u->pid, SIGKILL);
    while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    u->pid = 0;
}

static int net_user_acquire(struct net *n, struct net_link *link, struct error *err)
{
    int pair[2], size = SOCKET_BUFFER;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return error_set(err, errno, "cannot make a socket for %s: %s", PROGRAM, strerror(errno));
    for (unsigned i = 0; i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    int rc = net_user_spawn(net_user_of(n), pair[1], err);
    close(pair[1]);
    if (!rc)
        rc = net_user_wait(pair[0], err);
    if (rc) {
        net_user_release(n);
        close(pair[0]);
        return rc;
    }
    link->fd = pair[0];
    fcntl(link->fd, F_SETFL, O_NONBLOCK);
    return 0;
}

const struct net_ops net_user_ops = {
    .name = "user",
    .size = sizeof(struct net_user),
    .is_nat = true,
    .outside = true,
    .mtu = USER_MTU,
    .acquire = net_user_acquire,
    .release = net_user_release,
    .send = net_packet_send,
    .fetch = net_packet_fetch,
};
