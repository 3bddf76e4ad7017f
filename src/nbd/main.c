/*
 * guise-nbd: a network block device, for one disk. guise starts it (block/nbd.c) with the URI as
 * its argument, a socket as descriptor 3 and memory for data as descriptor 4 (block/nbd_link.h).
 *
 * It connects, says what it has found or why it has not, gives up what it does not need, and ends
 * when the other side of the socket does. So what reads a hostile server's answers sees no guest
 * and no file but what is read and written there.
 */
#include "nbd/server.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_SIZE ((size_t)NBD_SLOTS * NBD_SLOT_SIZE)

/* There is room in the socket for replies to all requests that there can be. */
static void link_reply(void *ctx, const struct nbd_reply *reply)
{
    (void)ctx;
    while (send(NBD_SOCKET_FD, reply, sizeof *reply, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* False: the other side has ended. */
static bool link_receive(struct server *s)
{
    struct nbd_request r;
    for (;;) {
        ssize_t len = recv(NBD_SOCKET_FD, &r, sizeof r, MSG_DONTWAIT);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (len != sizeof r)
            return false;
        server_submit(s, &r);
    }
}

static void link_run(struct server *s)
{
    bool open = true;
    while (open) {
        struct pollfd p[2];
        int timeout = server_poll(s, &p[1]);
        p[0] = (struct pollfd){.fd = NBD_SOCKET_FD, .events = POLLIN};
        if (poll(p, 2, timeout) < 0 && errno != EINTR)
            break;
        if (p[0].revents)
            open = link_receive(s);
        server_serve(s, p[1].revents);
    }
}

/* The connection is all that it keeps. */
static int link_confine(struct error *err)
{
    const struct confine how = {
        .calls = CALLS_NBD,
        .quiet = true, /* GnuTLS and the C library ask for what they can do without */
        .isolate = true,
        .user = CONFINE_NOBODY,
        .group = CONFINE_NOBODY,
    };
    struct confine_report report;
    int rc = confine(&how, &report, err);
    return rc == -ENOSYS ? 0 : rc;
}

static struct server *link_start(const char *uri, struct nbd_hello *hello, struct error *err)
{
    uint8_t *memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, NBD_MEMORY_FD, 0);
    if (memory == MAP_FAILED) {
        error_set(err, errno, "guise-nbd: no memory: %s", strerror(errno));
        return NULL;
    }
    close(NBD_MEMORY_FD);
    struct server *s = server_connect(uri, memory, link_reply, NULL, err);
    if (!s)
        return NULL;
    server_hello(s, hello);
    if (!link_confine(err))
        return s;
    server_end(s);
    return NULL;
}

/* The socket and memory are all that is inherited; a server must not be able to fill a log. */
static void link_descriptors(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close_range(NBD_MEMORY_FD + 1, ~0u, 0);
    fcntl(NBD_SOCKET_FD, F_SETFD, FD_CLOEXEC);
}

int main(int argc, char **argv)
{
    int type;
    socklen_t size = sizeof type;
    if (argc != 2 || getsockopt(NBD_SOCKET_FD, SOL_SOCKET, SO_TYPE, &type, &size) ||
        type != SOCK_SEQPACKET) {
        fputs("guise-nbd: this program is started by guise for disks like nbd://host/export\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* the server may go at any time */
    /* Whoever waits for the connection may be killed meanwhile. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    link_descriptors();
    struct error err = {0};
    struct nbd_hello hello = {0};
    struct server *s = link_start(argv[1], &hello, &err);
    prctl(PR_SET_PDEATHSIG, 0);
    if (!s)
        snprintf(hello.why, sizeof hello.why, "%.*s", NBD_TEXT - 1, err.msg);
    send(NBD_SOCKET_FD, &hello, sizeof hello, MSG_NOSIGNAL);
    if (!s)
        return 1;
    link_run(s);
    server_end(s);
    return 0;
}
