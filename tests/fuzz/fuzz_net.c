/*
 * A frame with its header from a guest or a peer, completed in software: nothing outside the frame
 * is touched, every piece is a frame, all payload is in them once, and there are no more pieces
 * than the header's size allows.
 */
#include "net/offload.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pieces(const struct net_hdr *hdr, const uint8_t *frame, size_t len)
{
    struct net_segments s;
    uint8_t *out = malloc(NET_FRAME_MAX);
    size_t total = 0, n;
    if (!out || !net_segments_start(&s, hdr, frame, len)) {
        free(out);
        return;
    }
    while ((n = net_segments_next(&s, out))) {
        if (n < NET_ETH_SIZE || n > NET_FRAME_MAX || n > len)
            abort();
        total += n - s.payload;
    }
    if (total != len - s.payload || s.count > 2 + len / (hdr->gso_size ? hdr->gso_size : len))
        abort();
    free(out);
}

/* The first byte is what the receiver can do; then the header, then the frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_hdr hdr;
    if (size < 1 + NET_HDR_SIZE + NET_ETH_SIZE)
        return 0;
    size_t len = size - 1 - NET_HDR_SIZE;
    memcpy(&hdr, data + 1, sizeof hdr);
    if (!net_hdr_valid(&hdr, len, data[0] & NET_OFFLOAD_ALL))
        return 0;
    /* A place of its own, so that the address sanitizer sees its ends. */
    uint8_t *frame = malloc(len);
    if (!frame)
        return 0;
    memcpy(frame, data + 1 + NET_HDR_SIZE, len);
    check_pieces(&hdr, frame, len);
    net_checksum(&hdr, frame, len);
    free(frame);
    return 0;
}
