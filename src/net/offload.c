#include "net/offload.h"

#include "base/bits.h"

#define ETH_TYPE_IPV4 0x0800u
#define ETH_TYPE_IPV6 0x86ddu
#define ETH_TYPE_VLAN 0x8100u
#define ETH_TYPE_QINQ 0x88a8u
#define IPV4_SIZE 20u
#define IPV6_SIZE 40u
#define TCP_SIZE 20u
#define TCP_CSUM 16u
#define PROTO_TCP 6u
#define GSO_SIZE_MIN 48u /* no system's TCP sends less at once; bounds the work for a frame */
enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

static uint16_t be16_get(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void be16_put(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint32_t be32_get(const uint8_t *p)
{
    return (uint32_t)be16_get(p) << 16 | be16_get(p + 2);
}

static void be32_put(uint8_t *p, uint32_t v)
{
    be16_put(p, v >> 16);
    be16_put(p + 2, v & 0xffff);
}

/* ---- headers ---- */

static unsigned net_hdr_gso_offloads(uint8_t gso_type)
{
    unsigned ecn = gso_type & NET_GSO_ECN ? NET_OFFLOAD_ECN : 0;
    switch (gso_type & ~NET_GSO_ECN) {
    case NET_GSO_TCPV4:
        return NET_OFFLOAD_TSO4 | ecn;
    case NET_GSO_TCPV6:
        return NET_OFFLOAD_TSO6 | ecn;
    default:
        return ~0u; /* nobody has that */
    }
}

bool net_hdr_valid(const struct net_hdr *h, size_t len, unsigned offloads)
{
    if (h->flags & ~(NET_HDR_NEEDS_CSUM | NET_HDR_DATA_VALID) ||
        (h->flags && !(offloads & NET_OFFLOAD_CSUM)))
        return false;
    if (h->flags & NET_HDR_NEEDS_CSUM && (size_t)h->csum_start + h->csum_offset + 2 > len)
        return false;
    if (h->gso_type == NET_GSO_NONE)
        return true;
    return !(net_hdr_gso_offloads(h->gso_type) & ~offloads) && h->gso_size >= GSO_SIZE_MIN &&
           h->hdr_len <= len && h->flags & NET_HDR_NEEDS_CSUM;
}

/* ---- check sums (RFC 1071) ---- */

/* The sum of 16-bit words in the host's byte order; carries are folded in by sum_finish. */
static uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t len)
{
    for (; len >= 4; p += 4, len -= 4)
        sum += le32_get(p);
    if (len & 2) {
        sum += le16_get(p);
        p += 2;
    }
    return len & 1 ? sum + *p : sum;
}

static void sum_finish(uint64_t sum, uint8_t *out)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    /* The other zero: in UDP, zero stands for no check sum. */
    le16_put(out, sum == 0xffff ? 0xffff : (uint16_t)~sum);
}

void net_checksum(const struct net_hdr *h, uint8_t *frame, size_t len)
{
    /* The place of the sum holds that of the pseudo-header. */
    if (h->flags & NET_HDR_NEEDS_CSUM)
        sum_finish(sum_bytes(0, frame + h->csum_start, len - h->csum_start),
                   frame + h->csum_start + h->csum_offset);
}

/* ---- cutting ---- */

/* Where the network layer begins, and its type; 0 if there is none. */
static size_t frame_network(const uint8_t *frame, size_t len, unsigned *type)
{
    size_t at = NET_ETH_SIZE;
    for (unsigned tags = 0; tags < 3 && len >= at; tags++, at += 4) {
        *type = be16_get(frame + at - 2);
        if (*type != ETH_TYPE_VLAN && *type != ETH_TYPE_QINQ)
            return at;
    }
    return 0;
}

/* IP header and TCP header are where the header of the frame lets them be. */
static bool segments_find(struct net_segments *s)
{
    unsigned type;
    bool v4 = (s->hdr.gso_type & ~NET_GSO_ECN) == NET_GSO_TCPV4;
    s->ip = frame_network(s->frame, s->len, &type);
    s->tcp = s->hdr.csum_start;
    if (!s->ip || type != (v4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6) ||
        s->tcp < s->ip + (v4 ? IPV4_SIZE : IPV6_SIZE) || s->len < s->tcp + TCP_SIZE ||
        s->hdr.csum_offset != TCP_CSUM)
        return false;
    const uint8_t *ip = s->frame + s->ip;
    if (v4 && (ip[0] >> 4 != 4 || s->tcp != s->ip + 4u * (ip[0] & 15) || ip[9] != PROTO_TCP))
        return false;
    if (!v4 && ip[0] >> 4 != 6)
        return false;
    size_t tcp_size = 4u * (s->frame[s->tcp + 12] >> 4);
    s->payload = s->tcp + tcp_size;
    return tcp_size >= TCP_SIZE && s->payload <= s->len && s->payload - s->ip <= UINT16_MAX;
}

bool net_segments_start(struct net_segments *s, const struct net_hdr *h, const uint8_t *frame,
                        size_t len)
{
    *s = (struct net_segments){.frame = frame, .len = len, .hdr = *h};
    s->whole = h->gso_type == NET_GSO_NONE;
    return s->whole || segments_find(s);
}

static void segment_ip(const struct net_segments *s, uint8_t *out, size_t len)
{
    uint8_t *ip = out + s->ip;
    if (ip[0] >> 4 == 6) {
        be16_put(ip + 4, len - s->ip - IPV6_SIZE);
        return;
    }
    be16_put(ip + 2, len - s->ip);
    be16_put(ip + 4, (be16_get(ip + 4) + s->count) & 0xffff);
    le16_put(ip + 10, 0);
    sum_finish(sum_bytes(0, ip, s->tcp - s->ip), ip + 10);
}

static void segment_tcp(const struct net_segments *s, uint8_t *out, size_t len, bool last)
{
    uint8_t *ip = out + s->ip, *tcp = out + s->tcp;
    size_t tcp_len = len - s->tcp;
    be32_put(tcp + 4, be32_get(tcp + 4) + (uint32_t)s->next);
    if (!last)
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (s->count)
        tcp[13] &= (uint8_t)~TCP_CWR;
    uint8_t pseudo[4] = {0, PROTO_TCP};
    be16_put(pseudo + 2, tcp_len);
    uint64_t sum = sum_bytes(0, pseudo, sizeof pseudo);
    sum = ip[0] >> 4 == 6 ? sum_bytes(sum, ip + 8, 32) : sum_bytes(sum, ip + 12, 8);
    le16_put(tcp + TCP_CSUM, 0);
    sum_finish(sum_bytes(sum, tcp, tcp_len), tcp + TCP_CSUM);
}

size_t net_segments_next(struct net_segments *s, uint8_t *out)
{
    if (s->whole) {
        if (s->count++)
            return 0;
        memcpy(out, s->frame, s->len);
        net_checksum(&s->hdr, out, s->len);
        return s->len;
    }
    size_t left = s->len - s->payload - s->next;
    if (!left && s->count)
        return 0;
    size_t most = UINT16_MAX - (s->payload - s->ip);
    size_t n = s->hdr.gso_size < most ? s->hdr.gso_size : most;
    n = left < n || !n ? left : n;
    memcpy(out, s->frame, s->payload);
    memcpy(out + s->payload, s->frame + s->payload + s->next, n);
    segment_ip(s, out, s->payload + n);
    segment_tcp(s, out, s->payload + n, n == left);
    s->next += n;
    s->count++;
    return s->payload + n;
}
