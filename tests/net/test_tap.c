/* A tap device, in a network namespace of its own, so that the host's networks are left alone. */
#include "card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "guise0"
#define SPEC "tap,ifname=" NAME

static struct sockaddr_in ipv4(const char *text, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, text, &a.sin_addr);
    return a;
}

/* The device gets 192.0.2.1; 192.0.2.2 is the guest, at 02:...:02. */
static void bring_up(int fd)
{
    struct ifreq req = {.ifr_name = NAME};
    struct sockaddr_in own = ipv4("192.0.2.1", 0), mask = ipv4("255.255.255.0", 0);
    struct arpreq arp = {.arp_flags = ATF_PERM | ATF_COM, .arp_dev = NAME};
    memcpy(&req.ifr_addr, &own, sizeof own);
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &req), 0);
    memcpy(&req.ifr_addr, &mask, sizeof mask);
    assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &req), 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &req), 0);
    req.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &req), 0);
    struct sockaddr_in guest = ipv4("192.0.2.2", 0);
    memcpy(&arp.arp_pa, &guest, sizeof guest);
    arp.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(arp.arp_ha.sa_data, "\2\2\2\2\2\2", 6);
    assert_int_equal(ioctl(fd, SIOCSARP, &arp), 0);
}

/* The host's end, for frames as frame_make makes them. */
static int frame_socket(void)
{
    int raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));
    struct sockaddr_ll where = {.sll_family = AF_PACKET,
                                .sll_protocol = htons(0x88b5),
                                .sll_ifindex = (int)if_nametoindex(NAME)};
    assert_int_equal(bind(raw, (struct sockaddr *)&where, sizeof where), 0);
    return raw;
}

/* The next frame of a type; others, which the host sends by itself, are passed over. */
static unsigned wait_for_type(struct card *c, struct loop *loop, unsigned type)
{
    uint64_t end = loop_now_ns() + UINT64_C(10000000000);
    for (unsigned at = 0; loop_now_ns() < end; loop_run_once(loop, 10))
        for (; at < c->count; at++)
            if (((unsigned)c->got[at].data[12] << 8 | c->got[at].data[13]) == type)
                return at;
    fail_msg("no frame of type %x", type);
    return 0;
}

static void frames(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct card *c = card_new(SPEC, loop);
    uint8_t frame[200], got[2000];
    (void)state;
    assert_true(net_carrier(c->net));
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bring_up(udp);
    int raw = frame_socket();

    frame_make(frame, sizeof frame, 0xff, 2);
    assert_int_equal(card_send(c, frame, sizeof frame), 0);
    assert_int_equal(recv(raw, got, sizeof got, 0), sizeof frame);
    assert_memory_equal(got, frame, sizeof frame);

    frame_make(frame, 150, 2, 1);
    assert_int_equal(send(raw, frame, 150, 0), 150);
    unsigned at = wait_for_type(c, loop, 0x88b5);
    assert_int_equal(c->got[at].len, 150);
    assert_memory_equal(c->got[at].data, frame, 150);
    card_forget(c);

    /* The host's kernel leaves sums to a card that can do them, and only to that. */
    struct sockaddr_in to = ipv4("192.0.2.2", 9);
    assert_int_equal(sendto(udp, "hello", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    at = wait_for_type(c, loop, 0x0800);
    assert_int_equal(c->got[at].hdr.flags, NET_HDR_NEEDS_CSUM);
    assert_int_equal(c->got[at].hdr.csum_start, 34);
    assert_int_equal(c->got[at].hdr.csum_offset, 6);
    card_forget(c);
    net_set_offloads(c->net, 0);
    assert_int_equal(sendto(udp, "hello", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    at = wait_for_type(c, loop, 0x0800);
    assert_int_equal(c->got[at].hdr.flags, 0);

    struct net_stats stats;
    net_stats(c->net, &stats);
    assert_int_equal(stats.tx_frames, 1);
    assert_int_equal(stats.tx_bytes, 200);
    assert_true(stats.rx_frames >= 3);
    close(raw);
    close(udp);
    card_free(c);
    loop_free(loop);
}

/* A frame that the device refuses, because it is down, is lost and harms nothing. */
static void a_device_that_is_down(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct card *c = card_new(SPEC, loop);
    struct net_stats stats;
    uint8_t frame[100];
    (void)state;
    frame_make(frame, sizeof frame, 0xff, 2);
    assert_int_equal(card_send(c, frame, sizeof frame), 0);
    loop_settle(loop);
    net_stats(c->net, &stats);
    assert_int_equal(stats.tx_dropped, 1);
    assert_true(net_carrier(c->net));
    card_free(c);
    loop_free(loop);
}

static void a_device_in_use(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct card *c = card_new(SPEC, loop);
    struct error err = {0};
    (void)state;
    assert_null(net_open(SPEC, 1, loop, &err));
    assert_non_null(strstr(err.msg, NAME));
    card_free(c);
    loop_free(loop);
}

/* Frames go out by both queues of a device, and come in by those that are active. */
static void two_queues(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct card *c = card_new(SPEC ",queues=2", loop);
    struct net *second = net_queue(c->net, 1);
    struct error err = {0};
    uint8_t frame[200], got[2000];
    struct net_stats stats;
    (void)state;
    assert_int_equal(net_queue_count(c->net), 2);
    assert_null(net_open(SPEC, 1, loop, &err));
    assert_non_null(strstr(err.msg, "queues=N"));
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bring_up(udp);
    int raw = frame_socket();

    net_set_active(c->net, 2);
    frame_make(frame, sizeof frame, 0xff, 2);
    net_send(second, &(struct net_hdr){0}, &(struct iovec){frame, sizeof frame}, 1, sizeof frame);
    assert_int_equal(recv(raw, got, sizeof got, 0), sizeof frame);
    net_stats(c->net, &stats);
    assert_int_equal(stats.tx_frames, 1);

    /* The host takes for a flow the queue that it came from, or the one that is left. */
    net_set_active(c->net, 1);
    for (unsigned i = 0; i < 8; i++) {
        frame_make(frame, 150, 2, (uint8_t)(10 + i));
        assert_int_equal(send(raw, frame, 150, 0), 150);
        wait_for_type(c, loop, 0x88b5);
        card_forget(c);
    }
    assert_true(net_carrier(second));
    close(raw);
    close(udp);
    card_free(c);
    loop_free(loop);
}

int main(void)
{
    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
        printf("skip: no network namespace can be made here: %s\n", strerror(errno));
        return 77;
    }
    struct loop *loop = loop_new(NULL);
    struct error err = {0};
    struct net *n = net_open(SPEC, 0, loop, &err);
    if (!n) {
        printf("skip: %s\n", err.msg);
        return 77;
    }
    net_free(n);
    loop_free(loop);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),
        cmocka_unit_test(a_device_that_is_down),
        cmocka_unit_test(a_device_in_use),
        cmocka_unit_test(two_queues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
