/*
 * What a card leaves to do in a frame, done in software: check sums, and cutting TCP segments that
 * are longer than the wire's. Headers and frames are hostile; everything is checked.
 */
#pragma once

#include "net/frame.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * May this header stand before a frame of len bytes for a receiver with these offloads? False also
 * if it is wrong in itself: places outside the frame, an unknown kind of segment.
 */
bool net_hdr_valid(const struct net_hdr *h, size_t len, unsigned offloads);

/* Writes the check sum that a header valid for this frame asks for. */
void net_checksum(const struct net_hdr *h, uint8_t *frame, size_t len);

/* A frame cut into pieces; one that need not be cut is the only piece. */
struct net_segments {
    const uint8_t *frame;
    size_t len;
    struct net_hdr hdr;
    size_t ip, tcp, payload; /* where they begin */
    size_t next;             /* bytes of payload that are done */
    unsigned count;          /* pieces that are done */
    bool whole;
};

/*
 * Starts on a frame with a valid header; it must stay where it is. False if it is not what its
 * header says.
 */
bool net_segments_start(struct net_segments *s, const struct net_hdr *h, const uint8_t *frame,
                        size_t len);
/* Writes the next piece, complete, to out[NET_FRAME_MAX]; its length, 0 if there is none. */
size_t net_segments_next(struct net_segments *s, uint8_t *out);
