/* The switch between machines: forwarding, its hub's end, and peers that mean harm. */
#include "card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct place {
    struct loop *loop;
    char dir[40], path[60], spec[80];
};

static int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->dir, "/tmp/guise-net-XXXXXX");
    p->loop = loop_new(NULL);
    if (!p->loop || !mkdtemp(p->dir))
        return -1;
    snprintf(p->path, sizeof p->path, "%s/socket", p->dir);
    snprintf(p->spec, sizeof p->spec, "switch=%s", p->path);
    *state = p;
    return 0;
}

/* Whoever was the hub has removed the socket. */
static int place_teardown(void **state)
{
    struct place *p = *state;
    loop_free(p->loop);
    int rc = rmdir(p->dir);
    free(p);
    return rc;
}

/* Every card is heard of by all, so that addresses are known. */
static void introduce(struct place *p, struct card **cards, unsigned n)
{
    uint8_t frame[60];
    for (unsigned i = 0; i < n; i++) {
        frame_make(frame, sizeof frame, 0xff, (uint8_t)i);
        assert_int_equal(card_send(cards[i], frame, sizeof frame), 0);
        loop_settle(p->loop);
    }
    for (unsigned i = 0; i < n; i++)
        card_forget(cards[i]);
}

static void open_all(struct place *p, struct card **cards, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        cards[i] = card_new(p->spec, p->loop);
        assert_true(net_carrier(cards[i]->net));
        loop_settle(p->loop);
    }
    introduce(p, cards, n);
}

static void expect(struct place *p, struct card *c, const uint8_t *frame, size_t len)
{
    assert_true(card_wait(c, p->loop, 1));
    assert_int_equal(c->count, 1);
    assert_int_equal(c->got[0].len, len);
    assert_memory_equal(c->got[0].data, frame, len);
    card_forget(c);
}

static void forwarding(void **state)
{
    struct place *p = *state;
    struct card *c[4];
    uint8_t frame[1500];
    struct stat st;
    open_all(p, c, 4);
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (unsigned from = 0; from < 4; from++)
        for (unsigned to = 0; to < 4; to++) {
            frame_make(frame, sizeof frame, (uint8_t)to, (uint8_t)from);
            assert_int_equal(card_send(c[from], frame, sizeof frame), 0);
            loop_settle(p->loop);
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(c[i]->count, i == to && to != from);
            if (to != from)
                expect(p, c[to], frame, sizeof frame);
        }
    /* To all, and to one whom nobody knows. */
    for (unsigned i = 0; i < 2; i++) {
        frame_make(frame, sizeof frame, i ? 0xff : 77, 2);
        assert_int_equal(card_send(c[2], frame, sizeof frame), 0);
        for (unsigned k = 0; k < 4; k++)
            if (k != 2)
                expect(p, c[k], frame, sizeof frame);
        assert_int_equal(c[2]->count, 0);
    }
    for (unsigned i = 4; i-- > 0;)
        card_free(c[i]);
}

/* A TCP segment of 3000 bytes goes to a card that can cut in one piece, to the other in three. */
static void long_segments(void **state)
{
    struct place *p = *state;
    struct card *c[3];
    uint8_t frame[14 + 40 + 3000] = {0};
    open_all(p, c, 3);
    frame_make(frame, sizeof frame, 0xff, 1);
    memset(frame + 14, 0, 40);
    memcpy(frame + 12, "\x08\x00\x45\0\0\0\0\1\0\0\x40\6", 12);
    frame[14 + 20 + 12] = 0x50;
    const struct net_hdr hdr = {.flags = 1,
                                .gso_type = NET_GSO_TCPV4,
                                .gso_size = 1448,
                                .csum_start = 34,
                                .csum_offset = 16};
    /* In pieces, as it lies in a guest's memory. */
    const struct iovec iov[3] = {{frame, 3}, {frame + 3, 60}, {frame + 63, sizeof frame - 63}};
    net_set_offloads(c[0]->net, 0);
    assert_int_equal(net_send(c[1]->net, &hdr, iov, 3, sizeof frame), 0);
    assert_true(card_wait(c[0], p->loop, 3));
    assert_true(card_wait(c[2], p->loop, 1));
    assert_int_equal(c[0]->count, 3);
    assert_int_equal(c[0]->got[0].len, 54 + 1448);
    assert_int_equal(c[0]->got[2].len, 54 + 104);
    assert_int_equal(c[0]->got[0].hdr.flags, 0);
    assert_memory_equal(c[0]->got[1].data + 54, frame + 54 + 1448, 1448);
    assert_int_equal(c[2]->count, 1);
    assert_int_equal(c[2]->got[0].len, sizeof frame);
    assert_int_equal(c[2]->got[0].hdr.gso_size, 1448);
    assert_memory_equal(c[2]->got[0].data, frame, sizeof frame);
    for (unsigned i = 3; i-- > 0;)
        card_free(c[i]);
}

/* A card that has no room gets all of them later, in order, also the pieces of one. */
static void a_card_without_room(void **state)
{
    struct place *p = *state;
    struct card *c[2];
    uint8_t frame[200];
    open_all(p, c, 2);
    for (unsigned direction = 0; direction < 2; direction++) {
        struct card *from = c[direction], *to = c[!direction];
        to->room = 1;
        for (unsigned i = 0; i < 20; i++) {
            frame_make(frame, 60 + i, 0xff, (uint8_t)direction);
            assert_int_equal(card_send(from, frame, 60 + i), 0);
        }
        loop_settle(p->loop);
        assert_int_equal(to->count, 1);
        to->room = 4;
        net_accept(to->net);
        loop_settle(p->loop);
        assert_int_equal(to->count, 5);
        to->room = UINT32_MAX;
        net_accept(to->net);
        assert_true(card_wait(to, p->loop, 20));
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(to->got[i].len, 60 + i);
        card_forget(to);
    }
    card_free(c[1]);
    card_free(c[0]);
}

static void wait_for_carrier(struct place *p, const struct card *c)
{
    uint64_t end = loop_now_ns() + UINT64_C(20000000000);
    while (!net_carrier(c->net) && loop_now_ns() < end)
        loop_run_once(p->loop, 20);
    assert_true(net_carrier(c->net));
}

static void the_hub_ends(void **state)
{
    struct place *p = *state;
    struct card *c[3];
    uint8_t frame[100];
    open_all(p, c, 3);
    card_free(c[0]);
    loop_settle(p->loop);
    assert_true(c[1]->carrier && c[2]->carrier);
    /* Meanwhile frames go nowhere, and nobody waits. */
    frame_make(frame, sizeof frame, 2, 1);
    assert_int_equal(card_send(c[1], frame, sizeof frame), 0);
    wait_for_carrier(p, c[1]);
    wait_for_carrier(p, c[2]);
    loop_settle(p->loop);
    introduce(p, c + 1, 2);
    assert_int_equal(card_send(c[1], frame, sizeof frame), 0);
    expect(p, c[2], frame, sizeof frame);
    /* A newcomer finds the new hub. */
    c[0] = card_new(p->spec, p->loop);
    loop_settle(p->loop);
    frame_make(frame, sizeof frame, 0xff, 9);
    assert_int_equal(card_send(c[0], frame, sizeof frame), 0);
    expect(p, c[1], frame, sizeof frame);
    expect(p, c[2], frame, sizeof frame);
    for (unsigned i = 0; i < 3; i++)
        card_free(c[i]);
}

static int raw_socket(struct place *p)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strcpy(a.sun_path, p->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    loop_settle(p->loop);
    return fd;
}

static void left_behind_by_a_dead_hub(void **state)
{
    struct place *p = *state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, p->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
    struct card *c[2];
    open_all(p, c, 2);
    card_free(c[1]);
    card_free(c[0]);
}

static void places_that_do_not_work(void **state)
{
    struct place *p = *state;
    char spec[400];
    struct error err = {0};
    snprintf(spec, sizeof spec, "switch=%s/no/socket", p->dir);
    assert_null(net_open(spec, 0, p->loop, &err));
    assert_non_null(strstr(err.msg, "directory"));
    snprintf(spec, sizeof spec, "switch=/tmp/%0200d", 0);
    assert_null(net_open(spec, 0, p->loop, &err));
    assert_non_null(strstr(err.msg, "at most"));
    /* What is no socket is not removed. */
    FILE *f = fopen(p->path, "we");
    fclose(f);
    assert_null(net_open(p->spec, 0, p->loop, &err));
    assert_int_equal(unlink(p->path), 0);
}

static void hostile_packets(void **state)
{
    struct place *p = *state;
    struct card *c[2];
    static uint8_t packet[NET_HDR_SIZE + NET_FRAME_MAX + 1000];
    open_all(p, c, 2);
    int fd = raw_socket(p);
    static const struct net_hdr bad[] = {
        {.flags = 0xff},
        {.flags = 1, .csum_start = 60000, .csum_offset = 60000},
        {.flags = 1, .gso_type = 1},
        {.gso_type = 1, .gso_size = 1000},
        {.flags = 1, .gso_type = 99, .gso_size = 1000},
    };
    frame_make(packet + NET_HDR_SIZE, 100, 0xff, 66);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(packet, &bad[i], sizeof bad[i]);
        assert_true(send(fd, packet, NET_HDR_SIZE + 100, 0) > 0);
    }
    memset(packet, 0, NET_HDR_SIZE);
    for (size_t len = 1; len < NET_HDR_SIZE + NET_ETH_SIZE; len++)
        assert_true(send(fd, packet, len, 0) > 0);
    assert_true(send(fd, packet, NET_HDR_SIZE + NET_FRAME_MAX + 1, 0) > 0);
    loop_settle(p->loop);
    assert_int_equal(c[0]->count + c[1]->count, 0);
    assert_true(send(fd, packet, NET_HDR_SIZE + 100, 0) > 0);
    expect(p, c[0], packet + NET_HDR_SIZE, 100);
    expect(p, c[1], packet + NET_HDR_SIZE, 100);
    /* One that is what no card could cut: it goes nowhere where it would have to be. */
    const struct net_hdr cut = {.flags = 1, .gso_type = 1, .gso_size = 50, .csum_offset = 16};
    memcpy(packet, &cut, sizeof cut);
    net_set_offloads(c[0]->net, 0);
    net_set_offloads(c[1]->net, 0);
    assert_true(send(fd, packet, NET_HDR_SIZE + 100, 0) > 0);
    loop_settle(p->loop);
    assert_int_equal(c[0]->count + c[1]->count, 0);
    /* An empty packet is its end. */
    assert_int_equal(send(fd, packet, 0, 0), 0);
    loop_settle(p->loop);
    assert_int_equal(send(fd, packet, 100, MSG_NOSIGNAL), -1);
    close(fd);
    card_free(c[1]);
    card_free(c[0]);
}

static void a_peer_that_does_not_read(void **state)
{
    struct place *p = *state;
    struct card *c[2];
    uint8_t frame[1500], packet[2000];
    open_all(p, c, 2);
    int fd = raw_socket(p);
    for (unsigned i = 0; i < 4000; i++) {
        frame_make(frame, sizeof frame, 0xff, 0);
        assert_int_equal(card_send(c[0], frame, sizeof frame), 0);
        if (i % 100 == 0) {
            loop_run_once(p->loop, 0);
            card_forget(c[1]);
        }
    }
    loop_settle(p->loop);
    card_forget(c[1]);
    assert_int_equal(card_send(c[0], frame, sizeof frame), 0);
    expect(p, c[1], frame, sizeof frame);
    /* What waits for it is bounded: 1 MiB, and what the host's socket holds. */
    unsigned got = 0;
    for (unsigned idle = 0; idle < 5;) {
        if (recv(fd, packet, sizeof packet, 0) > 0) {
            got++;
            idle = 0;
        } else {
            idle++;
            loop_settle(p->loop);
        }
    }
    assert_in_range(got, 600, 3000);
    /* Then it is one like the others. */
    assert_int_equal(card_send(c[1], frame, 1000), 0);
    loop_settle(p->loop);
    assert_int_equal(recv(fd, packet, sizeof packet, 0), NET_HDR_SIZE + 1000);
    close(fd);
    card_free(c[1]);
    card_free(c[0]);
}

static void too_many_peers(void **state)
{
    struct place *p = *state;
    struct card *c[2];
    int fds[70];
    uint8_t frame[100];
    open_all(p, c, 2);
    for (unsigned i = 0; i < 70; i++)
        fds[i] = raw_socket(p);
    frame_make(frame, sizeof frame, 0xff, 0);
    assert_int_equal(card_send(c[0], frame, sizeof frame), 0);
    expect(p, c[1], frame, sizeof frame);
    assert_int_equal(recv(fds[62], frame, sizeof frame, 0), sizeof frame);
    assert_int_equal(recv(fds[63], frame, sizeof frame, 0), 0); /* sent away */
    for (unsigned i = 0; i < 70; i++)
        close(fds[i]);
    loop_settle(p->loop);
    int fd = raw_socket(p);
    assert_int_equal(recv(fd, frame, sizeof frame, 0), -1);
    assert_int_equal(errno, EAGAIN);
    close(fd);
    card_free(c[1]);
    card_free(c[0]);
}

#define place_test(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(forwarding),
        place_test(long_segments),
        place_test(a_card_without_room),
        place_test(the_hub_ends),
        place_test(left_behind_by_a_dead_hub),
        place_test(places_that_do_not_work),
        place_test(hostile_packets),
        place_test(a_peer_that_does_not_read),
        place_test(too_many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
