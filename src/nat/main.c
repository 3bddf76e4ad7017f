/*
 * guise-net: a network with a NAT behind it, for one network card. guise starts it (net/user.c) and
 * passes a socket as descriptor 3, over which packets go: a frame with its header (net/frame.h).
 * The network is libslirp's: TCP, UDP and ICMP of the guest become sockets of this process.
 *
 * The first message says "ok" or why it does not work; then the process gives up what it does not
 * need, and ends when the other side of the socket does. It blocks while that side takes no frames.
 *
 * The guest is 10.0.2.15 by DHCP, the host and router 10.0.2.2, the name server 10.0.2.3.
 */
#include "nat/confine.h"
#include "net/hostfwd.h"
#include "net/offload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PEER 3
#define BATCH 64
#define MAX_HOSTFWD 64u
#define MAX_TIMERS 8u
/* libslirp keeps a descriptor for each connection, and the process has a limit of them. */
#define MAX_POLL 4096

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd };

struct nat_timer {
    bool used, armed;
    int64_t deadline_ms;
    SlirpTimerCb fire;
    void *ctx;
};

struct nat {
    Slirp *slirp;
    bool host; /* the guest may reach the host's loopback */
    bool ended;
    bool restricted;
    unsigned mtu;
    struct net_hostfwd hostfwd[MAX_HOSTFWD];
    unsigned hostfwd_count;
    struct nat_timer timers[MAX_TIMERS];
    struct pollfd polls[MAX_POLL];
    int poll_count;
    uint8_t packet[NET_HDR_SIZE + NET_FRAME_MAX];
};

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- what libslirp asks of its owner ---- */

/* It computes and checks sums itself, so the guest need not. */
static ssize_t nat_send(const void *data, size_t len, void *ctx)
{
    struct nat *nat = ctx;
    struct net_hdr hdr = {.flags = NET_HDR_DATA_VALID};
    struct iovec iov[2] = {{&hdr, sizeof hdr}, {(void *)(uintptr_t)data, len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    while (sendmsg(PEER, &msg, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) {
            nat->ended |= errno == EPIPE || errno == ECONNRESET;
            break;
        }
    return (ssize_t)len;
}

/* A log would be the guest's to fill. */
static void nat_guest_error(const char *msg, void *ctx)
{
    (void)msg;
    (void)ctx;
}

static int64_t nat_clock(void *ctx)
{
    (void)ctx;
    return now_ns();
}

static void *nat_timer_new(SlirpTimerCb fire, void *cb_ctx, void *ctx)
{
    struct nat *nat = ctx;
    for (unsigned i = 0; i < MAX_TIMERS; i++)
        if (!nat->timers[i].used) {
            nat->timers[i] = (struct nat_timer){.used = true, .fire = fire, .ctx = cb_ctx};
            return &nat->timers[i];
        }
    abort();
}

static void nat_timer_free(void *timer, void *ctx)
{
    (void)ctx;
    *(struct nat_timer *)timer = (struct nat_timer){0};
}

static void nat_timer_mod(void *timer, int64_t deadline_ms, void *ctx)
{
    struct nat_timer *t = timer;
    (void)ctx;
    t->armed = true;
    t->deadline_ms = deadline_ms;
}

static void nat_poll_fd(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
}

static void nat_notify(void *ctx)
{
    (void)ctx;
}

static const SlirpCb nat_callbacks = {
    .send_packet = nat_send,
    .guest_error = nat_guest_error,
    .clock_get_ns = nat_clock,
    .timer_new = nat_timer_new,
    .timer_free = nat_timer_free,
    .timer_mod = nat_timer_mod,
    .register_poll_fd = nat_poll_fd,
    .unregister_poll_fd = nat_poll_fd,
    .notify = nat_notify,
};

/* ---- the guest's frames ---- */

/* The host's own loopback: libslirp would pass such addresses on. */
static bool nat_is_loopback(const uint8_t *frame, size_t len)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, zero[12] = {0};
    unsigned type = (unsigned)frame[12] << 8 | frame[13];
    if (type == ETH_IPV4 && len >= NET_ETH_SIZE + 20)
        return frame[NET_ETH_SIZE + 16] == 127 || !frame[NET_ETH_SIZE + 16];
    if (type != ETH_IPV6 || len < NET_ETH_SIZE + 40)
        return false;
    const uint8_t *to = frame + NET_ETH_SIZE + 24;
    return !memcmp(to, mapped, sizeof mapped) || !memcmp(to, zero, sizeof zero);
}

/* Long TCP segments are no trouble for libslirp, whose TCP ends here, but their sums are checked.
 */
static void nat_input(struct nat *nat, size_t size)
{
    struct net_hdr hdr;
    uint8_t *frame = nat->packet + NET_HDR_SIZE;
    if (size < NET_HDR_SIZE + NET_ETH_SIZE || size > sizeof nat->packet)
        return;
    size_t len = size - NET_HDR_SIZE;
    memcpy(&hdr, nat->packet, sizeof hdr);
    if (!net_hdr_valid(&hdr, len, NET_OFFLOAD_ALL) || (!nat->host && nat_is_loopback(frame, len)))
        return;
    net_checksum(&hdr, frame, len);
    slirp_input(nat->slirp, frame, (int)len);
}

static void nat_receive(struct nat *nat)
{
    for (unsigned i = 0; i < BATCH; i++) {
        ssize_t n = recv(PEER, nat->packet, sizeof nat->packet, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            nat->ended = true;
            return;
        }
        nat_input(nat, (size_t)n);
    }
}

/* ---- the loop ---- */

static int nat_add_poll(int fd, int events, void *ctx)
{
    struct nat *nat = ctx;
    if (nat->poll_count == MAX_POLL)
        return -1;
    struct pollfd *p = &nat->polls[nat->poll_count];
    *p = (struct pollfd){.fd = fd};
    p->events |= events & SLIRP_POLL_IN ? POLLIN : 0;
    p->events |= events & SLIRP_POLL_OUT ? POLLOUT : 0;
    p->events |= events & SLIRP_POLL_PRI ? POLLPRI : 0;
    return nat->poll_count++;
}

static int nat_get_revents(int index, void *ctx)
{
    const struct nat *nat = ctx;
    if (index < 0)
        return 0;
    int got = nat->polls[index].revents, events = 0;
    events |= got & POLLIN ? SLIRP_POLL_IN : 0;
    events |= got & POLLOUT ? SLIRP_POLL_OUT : 0;
    events |= got & POLLPRI ? SLIRP_POLL_PRI : 0;
    events |= got & POLLERR ? SLIRP_POLL_ERR : 0;
    events |= got & POLLHUP ? SLIRP_POLL_HUP : 0;
    return events;
}

/* Milliseconds until the first timer, at most `most`. */
static int nat_timeout(const struct nat *nat, uint32_t most)
{
    int64_t ms = most > INT32_MAX ? INT32_MAX : (int64_t)most, now = now_ns() / 1000000;
    for (unsigned i = 0; i < MAX_TIMERS; i++) {
        const struct nat_timer *t = &nat->timers[i];
        if (t->armed && t->deadline_ms - now < ms)
            ms = t->deadline_ms > now ? t->deadline_ms - now : 0;
    }
    return (int)ms;
}

static void nat_run_timers(struct nat *nat)
{
    int64_t now = now_ns() / 1000000;
    for (unsigned i = 0; i < MAX_TIMERS; i++) {
        struct nat_timer *t = &nat->timers[i];
        if (t->armed && t->deadline_ms <= now) {
            t->armed = false;
            t->fire(t->ctx);
        }
    }
}

static void nat_run(struct nat *nat)
{
    while (!nat->ended) {
        uint32_t timeout = UINT32_MAX;
        nat->polls[0] = (struct pollfd){.fd = PEER, .events = POLLIN};
        nat->poll_count = 1;
        slirp_pollfds_fill(nat->slirp, &timeout, nat_add_poll, nat);
        int rc = poll(nat->polls, (nfds_t)nat->poll_count, nat_timeout(nat, timeout));
        if (rc > 0 && nat->polls[0].revents)
            nat_receive(nat);
        slirp_pollfds_poll(nat->slirp, rc < 0, nat_get_revents, nat);
        nat_run_timers(nat);
    }
}

/* ---- set-up ---- */

static struct in_addr address(const char *text)
{
    struct in_addr a;
    inet_pton(AF_INET, text, &a);
    return a;
}

static struct in6_addr address6(const char *text)
{
    struct in6_addr a;
    inet_pton(AF_INET6, text, &a);
    return a;
}

static int nat_network(struct nat *nat, struct error *err)
{
    const SlirpConfig config = {
        .version = 1,
        .restricted = nat->restricted,
        .in_enabled = true,
        .vnetwork = address("10.0.2.0"),
        .vnetmask = address("255.255.255.0"),
        .vhost = address("10.0.2.2"),
        .in6_enabled = true,
        .vprefix_addr6 = address6("fec0::"),
        .vprefix_len = 64,
        .vhost6 = address6("fec0::2"),
        .vdhcp_start = address("10.0.2.15"),
        .vnameserver = address("10.0.2.3"),
        .vnameserver6 = address6("fec0::3"),
        .if_mtu = nat->mtu,
        .if_mru = nat->mtu,
        .disable_host_loopback = !nat->host,
    };
    nat->slirp = slirp_new(&config, &nat_callbacks, nat);
    if (!nat->slirp)
        return error_set(err, EINVAL, "libslirp %s does not take this network",
                         slirp_version_string());
    for (unsigned i = 0; i < nat->hostfwd_count; i++) {
        const struct net_hostfwd *f = &nat->hostfwd[i];
        struct in_addr guest = f->guest.s_addr ? f->guest : config.vdhcp_start;
        if (slirp_add_hostfwd(nat->slirp, f->udp, f->host, f->host_port, guest, f->guest_port))
            return error_set(err, errno, "port %u of %s cannot be forwarded: %s", f->host_port,
                             inet_ntoa(f->host), strerror(errno));
    }
    return 0;
}

static int nat_option(struct nat *nat, const char *name, const char *value, int *used,
                      struct error *err)
{
    *used = 2;
    if (!strcmp(name, "--mtu") && value) {
        nat->mtu = (unsigned)strtoul(value, NULL, 10);
        return 0;
    }
    if (!strcmp(name, "--hostfwd") && value && nat->hostfwd_count < MAX_HOSTFWD)
        return net_hostfwd_parse(value, &nat->hostfwd[nat->hostfwd_count++], err);
    *used = 1;
    if (!strcmp(name, "--restrict"))
        nat->restricted = true;
    else if (!strcmp(name, "--host"))
        nat->host = true;
    else
        return error_set(err, EINVAL, "'%s' is no option of guise-net", name);
    return 0;
}

static int nat_start(struct nat *nat, int argc, char **argv, struct error *err)
{
    int rc = 0;
    for (int i = 1, used; !rc && i < argc; i += used)
        rc = nat_option(nat, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used, err);
    if (!rc)
        rc = nat_network(nat, err);
    return rc ? rc : nat_confine(err);
}

/* The socket is all that is inherited; a guest must not be able to fill a log. */
static void nat_descriptors(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    close_range(PEER + 1, ~0u, 0);
    fcntl(PEER, F_SETFD, FD_CLOEXEC); /* as all that is kept */
}

int main(int argc, char **argv)
{
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(PEER, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET) {
        fputs("guise-net: this program is started by guise for --net user\n", stderr);
        return 2;
    }
    nat_descriptors();
    signal(SIGPIPE, SIG_IGN); /* libslirp writes to sockets that their servers have reset */
    struct nat *nat = calloc(1, sizeof *nat);
    struct error err = {0};
    if (!nat || nat_start(nat, argc, argv, &err)) {
        send(PEER, err.msg, strlen(err.msg), MSG_NOSIGNAL);
        return 1;
    }
    send(PEER, "ok", 2, MSG_NOSIGNAL);
    nat_run(nat);
    return 0;
}
