/*
 * The NAT, seen from a card: the network's own hosts answer, ports are forwarded, the host is out
 * of reach unless it is given, and the process behind it can do little and may end.
 */
#include "card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST_MAC "\x52\x54\x00\x12\x34\x56"

static struct loop *loop;

/* ---- frames of a guest ---- */

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* Who has 10.0.2.2? The answer tells the router's address, and the router has learned ours. */
static void resolve(struct card *c, uint8_t *router)
{
    uint8_t frame[60] = {0};
    memset(frame, 0xff, 6);
    memcpy(frame + 6, GUEST_MAC "\x08\x06\0\1\x08\0\6\4\0\1" GUEST_MAC "\x0a\0\2\x0f", 26);
    memcpy(frame + 38, "\x0a\0\2\2", 4);
    assert_int_equal(card_send(c, frame, sizeof frame), 0);
    unsigned at = 0;
    do
        assert_true(card_wait(c, loop, at + 1));
    while (get16(c->got[at++].data + 12) != 0x0806);
    const uint8_t *got = c->got[at - 1].data;
    assert_int_equal(get16(got + 20), 2);
    assert_memory_equal(got + 28, "\x0a\0\2\2", 4);
    memcpy(router, got + 6, 6);
    card_forget(c);
}

/* A datagram whose sum is left to the other side, as drivers do. */
static void send_udp(struct card *c, const uint8_t *router, const char *to, unsigned port,
                     const char *text)
{
    uint8_t frame[100] = {0}, *ip = frame + 14, *udp = ip + 20;
    size_t len = strlen(text), udp_len = 8 + len;
    memcpy(frame, router, 6);
    memcpy(frame + 6, GUEST_MAC "\x08\0\x45", 9);
    put16(ip + 2, (unsigned)(20 + udp_len));
    ip[8] = 64;
    ip[9] = 17;
    memcpy(ip + 12, "\x0a\0\2\x0f", 4);
    inet_pton(AF_INET, to, ip + 16);
    unsigned sum = 0;
    for (unsigned i = 0; i < 20; i += 2)
        sum += get16(ip + i);
    put16(ip + 10, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
    put16(udp, 4000);
    put16(udp + 2, port);
    put16(udp + 4, (unsigned)udp_len);
    sum = 17 + (unsigned)udp_len;
    for (unsigned i = 12; i < 20; i += 2)
        sum += get16(ip + i);
    put16(udp + 6, (sum & 0xffff) + (sum >> 16));
    memcpy(udp + 8, text, len);
    const struct net_hdr hdr = {.flags = 1, .csum_start = 34, .csum_offset = 6};
    const struct iovec iov = {frame, 34 + udp_len};
    assert_int_equal(net_send(c->net, &hdr, &iov, 1, 34 + udp_len), 0);
}

/* ---- sockets of the host ---- */

static int host_socket(int type, unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static unsigned free_port(int type)
{
    unsigned port;
    close(host_socket(type, &port));
    return port;
}

static int readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms);
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* ---- tests ---- */

static void the_router_answers(void **state)
{
    struct card *c = card_new("user", loop);
    uint8_t router[6];
    (void)state;
    assert_true(net_carrier(c->net));
    assert_int_equal(net_mtu(c->net), 65520);
    assert_memory_equal(net_mac(c->net), GUEST_MAC, 6);
    resolve(c, router);
    card_free(c);
}

static void host_is_reached_if_given(void **state)
{
    static const char *const specs[] = {"user", "user,host", "user,restrict,host"};
    static const char *const ways[] = {"10.0.2.2", "127.0.0.1", "0.0.0.0"};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        unsigned port;
        char got[10] = {0};
        uint8_t router[6];
        int fd = host_socket(SOCK_DGRAM, &port);
        struct card *c = card_new(specs[i], loop);
        resolve(c, router);
        if (i != 1)
            for (unsigned k = 0; k < 3; k++)
                send_udp(c, router, ways[k], port, "hello");
        else
            send_udp(c, router, "10.0.2.2", port, "hello");
        if (i == 1) {
            assert_int_equal(readable(fd, 10000), 1);
            assert_int_equal(recv(fd, got, sizeof got, 0), 5);
            assert_string_equal(got, "hello");
        } else {
            /* Once an answer has come, the others have been looked at. */
            resolve(c, router);
            assert_int_equal(readable(fd, 100), 0);
        }
        card_free(c);
        close(fd);
    }
}

static void forwarded_ports(void **state)
{
    char spec[100];
    uint8_t router[6];
    unsigned tcp_port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM);
    (void)state;
    /* restrict does not close what is given. */
    snprintf(spec, sizeof spec, "user,restrict,hostfwd=tcp:%u-:22,hostfwd=udp:%u-10.0.2.15:53",
             tcp_port, udp_port);
    struct card *c = card_new(spec, loop);
    resolve(c, router);
    struct sockaddr_in to = loopback(udp_port);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(udp, "question", 8, 0, (struct sockaddr *)&to, sizeof to), 8);
    assert_true(card_wait(c, loop, 1));
    const uint8_t *got = c->got[0].data;
    assert_true(c->got[0].len >= 14 + 20 + 8 + 8); /* newer libslirp pads to 60 */
    assert_memory_equal(got, GUEST_MAC, 6);
    assert_memory_equal(got + 14 + 16, "\x0a\0\2\x0f", 4);
    assert_int_equal(get16(got + 14 + 20 + 2), 53);
    assert_memory_equal(got + 14 + 28, "question", 8);
    card_forget(c);

    to = loopback(tcp_port);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(card_wait(c, loop, 1));
    got = c->got[0].data;
    assert_int_equal(got[14 + 9], 6);
    assert_int_equal(get16(got + 34 + 2), 22);
    assert_int_equal(got[34 + 13] & 0x12, 2); /* SYN without ACK */
    close(tcp);
    close(udp);
    card_free(c);
}

static void a_port_in_use(void **state)
{
    char spec[100];
    unsigned port;
    struct error err = {0};
    int fd = host_socket(SOCK_STREAM, &port);
    (void)state;
    assert_int_equal(listen(fd, 1), 0);
    snprintf(spec, sizeof spec, "user,hostfwd=tcp:%u-:22", port);
    assert_null(net_open(spec, 0, loop, &err));
    assert_non_null(strstr(err.msg, "cannot be forwarded: Address already in use"));
    close(fd);
}

static void a_program_that_is_missing(void **state)
{
    struct error err = {0};
    char *program = strdup(getenv("GUISE_NET"));
    (void)state;
    setenv("GUISE_NET", "/nowhere/guise-net", 1);
    assert_null(net_open("user", 0, loop, &err));
    assert_non_null(strstr(err.msg, "libslirp-dev"));
    setenv("GUISE_NET", "/bin/true", 1);
    assert_null(net_open("user", 0, loop, &err));
    assert_non_null(strstr(err.msg, "ended at once"));
    setenv("GUISE_NET", program, 1);
    free(program);
}

/* The only child. */
static pid_t helper(void)
{
    char path[100];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%d", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    return pid;
}

static void expect_status(pid_t pid, const char *name, const char *want)
{
    char path[100], line[300];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name))) {
            if (strcmp(line + strlen(name), want))
                fail_msg("%s", line);
            fclose(f);
            return;
        }
    fail_msg("no %s", name);
}

static void confinement(void **state)
{
    struct card *c = card_new("user", loop);
    pid_t pid = helper();
    (void)state;
    if (!pid)
        skip();
    expect_status(pid, "CapEff:\t", "0000000000000000\n");
    expect_status(pid, "CapPrm:\t", "0000000000000000\n");
    expect_status(pid, "NoNewPrivs:\t", "1\n");
    expect_status(pid, "Seccomp:\t", "2\n");
    card_free(c);
}

static void started_again(void **state)
{
    struct card *c = card_new("user", loop);
    pid_t pid = helper();
    uint8_t router[6];
    (void)state;
    if (!pid)
        skip();
    resolve(c, router);
    assert_int_equal(kill(pid, SIGKILL), 0);
    uint64_t end = loop_now_ns() + UINT64_C(20000000000);
    while (c->carrier < 2 && loop_now_ns() < end)
        loop_run_once(loop, 20);
    assert_int_equal(c->carrier, 2);
    assert_true(net_carrier(c->net));
    assert_int_not_equal(helper(), pid);
    resolve(c, router);
    card_free(c);
    assert_int_equal(helper(), 0);
}

/* Frames of all kinds; afterwards the network is still there. */
static void hostile_frames(void **state)
{
    struct card *c = card_new("user", loop);
    static uint8_t frame[NET_FRAME_MAX];
    uint64_t random = 88172645463325252u;
    uint8_t router[6];
    (void)state;
    resolve(c, router);
    for (unsigned i = 0; i < 20000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t len = 14 + random % (i % 100 ? 200 : NET_FRAME_MAX - 14);
        for (unsigned k = 0; k < 80; k++)
            frame[k] = (uint8_t)(random >> (k % 57) ^ k * random);
        memcpy(frame, router, 6);
        memcpy(frame + 12, i % 3 ? (i % 3 == 1 ? "\x08\0" : "\x86\xdd") : "\x08\6", 2);
        frame[14] = i % 3 == 2 ? 0x60 : 0x45;
        frame[23] = (uint8_t)(i % 5 ? (i % 2 ? 6 : 17) : random);
        memcpy(frame + 26, "\x0a\0\2\x0f\x0a\0\2", 7);
        put16(frame + 16, (unsigned)(i % 4 ? len - 14 : random));
        while (card_send(c, frame, len))
            loop_run_once(loop, 1);
        if (c->count > 32)
            card_forget(c);
        loop_run_once(loop, 0);
    }
    loop_settle(loop);
    card_forget(c);
    resolve(c, router);
    assert_int_equal(c->carrier, 0);
    card_free(c);
}

int main(void)
{
    loop = loop_new(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_router_answers),
        cmocka_unit_test(host_is_reached_if_given),
        cmocka_unit_test(forwarded_ports),
        cmocka_unit_test(a_port_in_use),
        cmocka_unit_test(a_program_that_is_missing),
        cmocka_unit_test(confinement),
        cmocka_unit_test(started_again),
        cmocka_unit_test(hostile_frames),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
