/*
 * Check sums and cutting in software, against a second calculation that is as slow and plain as
 * RFC 1071 describes it, and literal frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/offload.h"

#include <stdlib.h>
#include <string.h>

enum { ETH = 14, TCP = 20 };

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* One word after the other, in network order. */
static unsigned plain_sum(unsigned sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* The sum over pseudo-header and segment, which is 0xffff if the segment is right. */
static unsigned tcp_sum(const uint8_t *ip, const uint8_t *tcp, size_t len)
{
    uint8_t pseudo[4] = {0, 6, (uint8_t)(len >> 8), (uint8_t)len};
    unsigned sum = ip[0] >> 4 == 4 ? plain_sum(0, ip + 12, 8) : plain_sum(0, ip + 8, 32);
    return plain_sum(plain_sum(sum, pseudo, 4), tcp, len);
}

struct packet {
    uint8_t data[NET_FRAME_MAX];
    size_t len, ip, tcp, payload;
    struct net_hdr hdr;
};

/* A segment as a driver leaves it: the pseudo-header's sum, FIN, PSH and CWR set. */
static struct packet *packet_new(bool v6, unsigned tags, unsigned ip_options, unsigned tcp_options,
                                 size_t payload, unsigned gso_size)
{
    struct packet *p = calloc(1, sizeof *p);
    assert_non_null(p);
    memcpy(p->data, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
    size_t at = 12;
    for (unsigned i = 0; i < tags; i++, at += 4)
        memcpy(p->data + at, i + 1 < tags ? "\x88\xa8\0\5" : "\x81\0\0\7", 4);
    put16(p->data + at, v6 ? 0x86dd : 0x0800);
    p->ip = at + 2;
    p->tcp = p->ip + (v6 ? 40 : 20 + ip_options);
    p->payload = p->tcp + TCP + tcp_options;
    p->len = p->payload + payload;
    uint8_t *ip = p->data + p->ip, *tcp = p->data + p->tcp;
    size_t tcp_len = p->len - p->tcp;
    if (v6) {
        ip[0] = 0x60;
        put16(ip + 4, (unsigned)tcp_len);
        ip[6] = 6;
        memset(ip + 8, 0x11, 32);
    } else {
        ip[0] = (uint8_t)(0x40 | (20 + ip_options) / 4);
        put16(ip + 2, (unsigned)(p->len - p->ip));
        put16(ip + 4, 0xfffe); /* the numbers wrap */
        ip[9] = 6;
        memcpy(ip + 12, "\x0a\0\2\x0f\x0a\0\2\2", 8);
        memset(ip + 20, 1, ip_options);
    }
    memcpy(tcp + 4, "\xff\xff\xfc\x00", 4);
    tcp[12] = (uint8_t)((TCP + tcp_options) / 4 << 4);
    tcp[13] = 0x80 | 0x10 | 8 | 1;
    memset(tcp + TCP, 1, tcp_options);
    for (size_t i = 0; i < payload; i++)
        p->data[p->payload + i] = (uint8_t)(i * 13 + i / 250);
    uint8_t zero[1] = {0};
    put16(tcp + 16, tcp_sum(ip, zero, 0));
    uint8_t pseudo[4] = {0, 6, (uint8_t)(tcp_len >> 8), (uint8_t)tcp_len};
    put16(tcp + 16, plain_sum(v6 ? plain_sum(0, ip + 8, 32) : plain_sum(0, ip + 12, 8), pseudo, 4));
    p->hdr = (struct net_hdr){
        .flags = NET_HDR_NEEDS_CSUM,
        .gso_type = gso_size ? (v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4) : NET_GSO_NONE,
        .gso_size = (uint16_t)gso_size,
        .hdr_len = (uint16_t)p->payload,
        .csum_start = (uint16_t)p->tcp,
        .csum_offset = 16,
    };
    return p;
}

/* Checks a complete frame, and that its payload is that of p from `done` on. Returns its length. */
static size_t check_piece(const struct packet *p, const uint8_t *frame, size_t len, unsigned number,
                          size_t done)
{
    const uint8_t *ip = frame + p->ip, *tcp = frame + p->tcp;
    assert_true(len > p->payload || p->len == p->payload);
    size_t payload = len - p->payload;
    bool last = done + payload == p->len - p->payload;
    if (ip[0] >> 4 == 4) {
        assert_int_equal(get16(ip + 2), len - p->ip);
        assert_int_equal(get16(ip + 4), (0xfffe + number) & 0xffff);
        assert_int_equal(plain_sum(0, ip, p->tcp - p->ip), 0xffff);
    } else {
        assert_int_equal(get16(ip + 4), len - p->tcp);
    }
    assert_int_equal((uint32_t)get16(tcp + 4) << 16 | get16(tcp + 6),
                     (uint32_t)(0xfffffc00 + done));
    assert_int_equal(tcp[13], 0x10 | (last ? 8 | 1 : 0) | (number ? 0 : 0x80));
    assert_int_equal(tcp_sum(ip, tcp, len - p->tcp), 0xffff);
    assert_memory_equal(frame, p->data, p->ip);
    assert_memory_equal(frame + p->payload, p->data + p->payload + done, payload);
    return payload;
}

static void check_cut(struct packet *p, unsigned want_pieces)
{
    struct net_segments s;
    static uint8_t out[NET_FRAME_MAX];
    size_t done = 0, len;
    unsigned pieces = 0;
    assert_true(net_hdr_valid(&p->hdr, p->len, NET_OFFLOAD_ALL));
    assert_true(net_segments_start(&s, &p->hdr, p->data, p->len));
    while ((len = net_segments_next(&s, out))) {
        assert_true(len - p->payload <= p->hdr.gso_size);
        done += check_piece(p, out, len, pieces++, done);
    }
    assert_int_equal(done, p->len - p->payload);
    assert_int_equal(pieces, want_pieces);
    assert_int_equal(net_segments_next(&s, out), 0);
    free(p);
}

static void cutting(void **state)
{
    (void)state;
    check_cut(packet_new(false, 0, 0, 12, 65000, 1448), 45);
    check_cut(packet_new(true, 0, 0, 12, 65000, 1428), 46);
    check_cut(packet_new(false, 1, 0, 0, 2896, 1448), 2);
    check_cut(packet_new(true, 2, 0, 40, 2897, 1448), 3);
    check_cut(packet_new(false, 0, 40, 40, 1001, 100), 11);
    check_cut(packet_new(false, 0, 0, 12, 48, 48), 1);
    check_cut(packet_new(false, 0, 0, 12, 0, 1448), 1);
    check_cut(packet_new(true, 0, 0, 0, 65495, 65000), 2);
}

static void sums(void **state)
{
    (void)state;
    for (size_t payload = 0; payload < 70; payload++) {
        struct net_segments s;
        static uint8_t out[NET_FRAME_MAX];
        struct packet *p = packet_new(payload & 1, 0, 0, 12, payload, 0);
        assert_true(net_segments_start(&s, &p->hdr, p->data, p->len));
        assert_int_equal(net_segments_next(&s, out), p->len);
        assert_int_equal(tcp_sum(out + p->ip, out + p->tcp, p->len - p->tcp), 0xffff);
        assert_int_equal(net_segments_next(&s, out), 0);
        net_checksum(&p->hdr, p->data, p->len);
        assert_memory_equal(out, p->data, p->len);
        free(p);
    }
}

/* RFC 1071's own example, section 3: the sum of these bytes is ddf2. */
static void example(void **state)
{
    uint8_t frame[24] = {[14] = 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    struct net_hdr h = {.flags = NET_HDR_NEEDS_CSUM, .csum_start = 14, .csum_offset = 8};
    (void)state;
    net_checksum(&h, frame, sizeof frame);
    assert_int_equal(get16(frame + 22), 0xffff ^ 0xddf2);
    /* A sum of zero is written as its other form: in UDP zero says that there is none. */
    memset(frame, 0, sizeof frame);
    frame[14] = frame[15] = 0xff;
    net_checksum(&h, frame, sizeof frame);
    assert_int_equal(get16(frame + 22), 0xffff);
}

static void frames_that_are_not_what_they_say(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {13, 0xdd}, /* IPv6's type, half */
        {14, 0x65}, /* IP version */
        {14, 0x46}, /* header longer than where TCP begins */
        {23, 17},   /* UDP */
        {46, 0x40}, /* TCP header of 16 bytes */
        {46, 0xf0}, /* of 60, beyond the end */
    };
    struct net_segments s;
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct packet *p = packet_new(false, 0, 0, 0, 30, 1448);
        assert_true(net_segments_start(&s, &p->hdr, p->data, p->len));
        p->data[wrong[i].at] = wrong[i].value;
        assert_false(net_segments_start(&s, &p->hdr, p->data, p->len));
        free(p);
    }
    struct packet *p = packet_new(true, 0, 0, 0, 30, 1448);
    p->hdr.gso_type = NET_GSO_TCPV4;
    assert_false(net_segments_start(&s, &p->hdr, p->data, p->len));
    p->hdr.gso_type = NET_GSO_TCPV6;
    p->hdr.csum_start = 20;
    assert_false(net_segments_start(&s, &p->hdr, p->data, p->len));
    p->hdr.csum_start = (uint16_t)(p->len - 19);
    assert_false(net_segments_start(&s, &p->hdr, p->data, p->len));
    p->hdr.csum_start = (uint16_t)p->tcp;
    p->hdr.csum_offset = 6;
    assert_false(net_segments_start(&s, &p->hdr, p->data, p->len));
    free(p);
}

static void headers(void **state)
{
    struct net_hdr h = {
        .flags = 1, .gso_type = 1, .gso_size = 48, .csum_start = 34, .csum_offset = 16};
    (void)state;
    assert_true(net_hdr_valid(&h, 52, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4));
    assert_false(net_hdr_valid(&h, 51, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4));
    assert_false(net_hdr_valid(&h, 52, NET_OFFLOAD_TSO4));
    assert_false(net_hdr_valid(&h, 52, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6));
    h.gso_type = 0x81;
    assert_false(net_hdr_valid(&h, 52, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4));
    assert_true(net_hdr_valid(&h, 52, NET_OFFLOAD_ALL));
    h.gso_size = 1; /* a frame for each byte */
    assert_false(net_hdr_valid(&h, 52, NET_OFFLOAD_ALL));
    h = (struct net_hdr){.flags = 4};
    assert_false(net_hdr_valid(&h, 52, NET_OFFLOAD_ALL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting), cmocka_unit_test(sums),
        cmocka_unit_test(example), cmocka_unit_test(frames_that_are_not_what_they_say),
        cmocka_unit_test(headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
