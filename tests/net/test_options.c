/* The text that describes a network, its addresses, and captures. */
#include "card.h"
#include "net/hostfwd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void texts(void **state)
{
    static const char *const good[] = {
        "none",
        "none,mac=52:54:00:00:00:01,mtu=1400",
        "user",
        "user,restrict,host",
        "user,hostfwd=tcp:2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.9:53,pcap=x",
        "tap,ifname=tap0",
        "tap,mtu=9000,ifname=tap0",
        "tap,ifname=tap0,queues=7",
        "switch=/tmp/socket",
        "switch=x,mac=02:00:00:00:00:00",
    };
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "not a network"},
        {"slirp", "not a network"},
        {"user=x", "takes no value"},
        {"switch", "switch=PATH"},
        {"switch=", "switch=PATH"},
        {"tap", "tap,ifname=NAME"},
        {"tap,ifname=", "needs a value"},
        {"tap,ifname=0123456789abcdef", "longer"},
        {"user,", "no option ''"},
        {"user,ifname=x", "no option 'ifname'"},
        {"tap,ifname=t,queues=0", "from 1 to 7"},
        {"tap,ifname=t,queues=8", "from 1 to 7"},
        {"user,queues=2", "no option 'queues'"},
        {"none,restrict", "no option 'restrict'"},
        {"user,restrict=1", "takes no value"},
        {"user,mtu=67", "from 68"},
        {"user,mtu=65536", "65535"},
        {"user,mtu=1500x", "1500x"},
        {"user,mac=52:54:00:00:00", "not an address"},
        {"user,mac=52:54:00:00:00:0g", "not an address"},
        {"user,mac=5:54:00:00:00:011", "not an address"},
        {"user,mac=53:54:00:00:00:01", "group"},
        {"user,hostfwd=tcp:22", "hostfwd"},
        {"user,hostfwd=sctp:22-:22", "hostfwd"},
        {"user,hostfwd=tcp:0-:22", "hostfwd"},
        {"user,hostfwd=tcp:22-:65536", "hostfwd"},
        {"user,hostfwd=tcp:host:22-:22", "hostfwd"},
        {"user,hostfwd=tcp:22-", "hostfwd"},
        {"user,hostfwd=tcp:-:22", "hostfwd"},
    };
    struct error err;
    (void)state;
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        if (net_check(good[i], &err))
            fail_msg("'%s': %s", good[i], err.msg);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct error){0};
        if (net_check(bad[i].text, &err) != -EINVAL || !strstr(err.msg, bad[i].says))
            fail_msg("'%s' gave '%s'", bad[i].text, err.msg);
    }
    assert_false(net_reaches_outside("none"));
    assert_true(net_reaches_outside("switch=x"));
}

static void many_forwards(void **state)
{
    char text[1024] = "user";
    (void)state;
    for (unsigned i = 1; i <= 17; i++) {
        assert_int_equal(net_check(text, NULL), 0);
        snprintf(text + strlen(text), 40, ",hostfwd=tcp:%u-:%u", i, i);
    }
    assert_int_equal(net_check(text, NULL), -EINVAL);
}

static void forwards(void **state)
{
    struct net_hostfwd f;
    (void)state;
    assert_int_equal(net_hostfwd_parse("tcp:2222-:22", &f, NULL), 0);
    assert_false(f.udp);
    assert_int_equal(f.host.s_addr, htonl(0x7f000001)); /* not for the whole network */
    assert_int_equal(f.host_port, 2222);
    assert_int_equal(f.guest.s_addr, 0);
    assert_int_equal(f.guest_port, 22);
    assert_int_equal(net_hostfwd_parse("udp:0.0.0.0:53-10.0.2.9:5353", &f, NULL), 0);
    assert_true(f.udp);
    assert_int_equal(f.host.s_addr, 0);
    assert_int_equal(f.guest.s_addr, htonl(0x0a000209));
    assert_int_equal(f.guest_port, 5353);
}

static void addresses(void **state)
{
    struct loop *loop = loop_new(NULL);
    (void)state;
    struct net *a = net_open("none", 0, loop, NULL), *b = net_open("none", 3, loop, NULL);
    assert_memory_equal(net_mac(a), "\x52\x54\x00\x12\x34\x56", 6);
    assert_memory_equal(net_mac(b), "\x52\x54\x00\x12\x34\x59", 6);
    assert_int_equal(net_mtu(a), 0);
    assert_false(net_carrier(a));
    net_free(b);
    b = net_open("none,mac=52:54:00:ab:cd:ef,mtu=1280", 3, loop, NULL);
    assert_memory_equal(net_mac(b), "\x52\x54\x00\xab\xcd\xef", 6);
    assert_int_equal(net_mtu(b), 1280);
    net_free(a);
    net_free(b);
    loop_free(loop);
}

static void captures(void **state)
{
    char dir[] = "/tmp/guise-net-XXXXXX", spec[200], path[60];
    struct loop *loop = loop_new(NULL);
    uint8_t frame[100], got[300];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/capture", dir);
    snprintf(spec, sizeof spec, "switch=%s/socket,pcap=%s/capture", dir, dir);
    struct card *c = card_new(spec, loop);
    frame_make(frame, sizeof frame, 1, 2);
    assert_int_equal(card_send(c, frame, sizeof frame), 0);
    assert_int_equal(card_send(c, frame, 60), 0);
    card_free(c);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, got, sizeof got);
    close(fd);
    /* Section 4 of draft-ietf-opsawg-pcap: file header, then records of 16 bytes and frame. */
    assert_int_equal(n, 24 + 16 + 100 + 16 + 60);
    assert_memory_equal(got, "\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0",
                        24);
    assert_memory_equal(got + 24 + 8, "\x64\0\0\0\x64\0\0\0", 8);
    assert_memory_equal(got + 40, frame, 100);
    assert_memory_equal(got + 140 + 8, "\x3c\0\0\0\x3c\0\0\0", 8);
    unlink(path);
    /* A place that would block or lose parts. */
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct error err = {0};
    assert_null(net_open(spec, 0, loop, &err));
    assert_non_null(strstr(err.msg, "regular file"));
    close(reader);
    unlink(path);
    loop_free(loop);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),     cmocka_unit_test(many_forwards), cmocka_unit_test(forwards),
        cmocka_unit_test(addresses), cmocka_unit_test(captures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
