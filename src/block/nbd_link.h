/*
 * What guise and guise-nbd (src/nbd) say to each other: messages over a SOCK_SEQPACKET socket, data
 * in memory that both have mapped, of NBD_SLOTS slots. A slot belongs to guise until it asks for
 * something, and to guise-nbd until the reply. Numbers are the host's; neither side trusts the
 * other's. The first message is guise-nbd's nbd_hello, then each nbd_request gets one nbd_reply.
 */
#pragma once

#include <stdint.h>

#define NBD_SLOTS 16u
#define NBD_SLOT_SIZE (UINT32_C(1) << 20)
#define NBD_TEXT 256

/* Descriptors of guise-nbd. */
enum { NBD_SOCKET_FD = 3, NBD_MEMORY_FD = 4 };

struct nbd_hello {
    char why[NBD_TEXT]; /* empty, or why there is no connection */
    uint64_t size;      /* bytes */
    uint32_t min_block; /* what requests are multiples of; 0: the server does not say */
    uint32_t max_data;  /* of one read or write; 0: the server does not say */
    uint8_t readonly, trim, zero, status; /* 1 or 0, as all of its kind */
};

enum nbd_op { NBD_READ, NBD_WRITE, NBD_FLUSH, NBD_TRIM, NBD_ZERO, NBD_STATUS };

struct nbd_request {
    uint32_t op;
    uint32_t slot;
    uint64_t offset;
    uint32_t length;
    uint8_t unmap; /* NBD_ZERO: the space may be given back */
};

struct nbd_reply {
    uint32_t slot;
    int32_t result; /* 0 or -errno */
    /* NBD_STATUS: so much at its beginning is alike; whether it reads as zeroes. */
    uint32_t length;
    uint8_t zero;
    uint8_t lost; /* there is no connection any more, and will be none */
    char why[NBD_TEXT];
};
