/*
 * Ethernet frames on their way between a guest's card and a back end: each has a header before it
 * that says what is left to do, in virtio's layout (virtio 1.2, section 5.1.6), which is also that
 * of Linux's tap devices.
 */
#pragma once

#include <stdint.h>

struct net_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;  /* a hint: bytes of headers of a frame to be cut */
    uint16_t gso_size; /* payload of each piece */
    uint16_t csum_start, csum_offset;
    uint16_t num_buffers; /* between device and driver only */
};

#define NET_HDR_SIZE 12u
_Static_assert(sizeof(struct net_hdr) == NET_HDR_SIZE, "virtio's layout, little-endian");

enum { NET_HDR_NEEDS_CSUM = 1, NET_HDR_DATA_VALID = 2 };
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_TCPV6 = 4, NET_GSO_ECN = 0x80 };

/* What a receiver of frames can do about them itself. */
enum {
    NET_OFFLOAD_CSUM = 1, /* takes frames with NET_HDR_NEEDS_CSUM or NET_HDR_DATA_VALID */
    NET_OFFLOAD_TSO4 = 2,
    NET_OFFLOAD_TSO6 = 4,
    NET_OFFLOAD_ECN = 8, /* NET_GSO_ECN beside them */
    NET_OFFLOAD_ALL = 15,
};

#define NET_MAC_SIZE 6u
#define NET_ETH_SIZE 14u /* destination, source, type */
/* The longest: IPv6 header and 65535 bytes behind an Ethernet header and two VLAN tags. */
#define NET_FRAME_MAX (NET_ETH_SIZE + 8u + 40u + 65535u)
