/*
 * Packets of gdb's remote protocol: "$data#cs", where cs is the sum of data's bytes in two hex
 * digits; and hex text in both directions. Nothing here allocates or locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most bytes of data in a packet, either way; gdb is told. */
#define GDB_PACKET_SIZE 4096

enum gdb_frame {
    GDB_FRAME_MORE,      /* nothing is complete */
    GDB_FRAME_PACKET,    /* data[0 .. len) is a packet; data[len] is 0 */
    GDB_FRAME_BAD,       /* a packet with a wrong sum */
    GDB_FRAME_TOO_LONG,  /* a packet that was dropped */
    GDB_FRAME_RESEND,    /* "-" */
    GDB_FRAME_INTERRUPT, /* Ctrl-C */
};

/* Zero-initialized. */
struct gdb_framer {
    enum { GDB_OUTSIDE, GDB_INSIDE, GDB_SUM1, GDB_SUM2 } state;
    size_t len;
    bool too_long;
    uint8_t sum, wanted;
    bool sum_bad;
    char data[GDB_PACKET_SIZE + 1];
};

/* Takes one byte of the stream. The packet stays valid until the next call. */
enum gdb_frame gdb_framer_byte(struct gdb_framer *f, uint8_t byte);

/* A packet that is being written; what does not fit sets `full`. Zero-initialized. */
struct gdb_reply {
    size_t len;
    bool full;
    char data[GDB_PACKET_SIZE + 4]; /* '$' first; '#' and the sum are added by gdb_reply_finish */
};

void gdb_reply_start(struct gdb_reply *r);
void gdb_reply_text(struct gdb_reply *r, const char *text);
void gdb_reply_printf(struct gdb_reply *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void gdb_reply_hex(struct gdb_reply *r, const void *data, size_t len);
/* 64 bits, little-endian. */
void gdb_reply_u64(struct gdb_reply *r, uint64_t value);
/* Bytes as they are, with the escapes that the protocol wants. */
void gdb_reply_binary(struct gdb_reply *r, const void *data, size_t len);
/* Adds the sum. One that got too long becomes E01. */
void gdb_reply_finish(struct gdb_reply *r);

/* ---- reading: a cursor in a packet; functions return false and leave *v alone if it is wrong ----
 */

struct gdb_text {
    const char *p, *end;
};

/* Takes `text` if it comes next. */
bool gdb_take(struct gdb_text *t, const char *text);
bool gdb_take_char(struct gdb_text *t, char c);
/* A hex number of 1 to 16 digits. */
bool gdb_take_number(struct gdb_text *t, uint64_t *v);
/* Exactly len bytes as hex digits. */
bool gdb_take_hex(struct gdb_text *t, void *buf, size_t len);
/* Sixteen digits, little-endian. */
bool gdb_take_u64(struct gdb_text *t, uint64_t *v);
/* Exactly len bytes of escaped binary data. */
bool gdb_take_binary(struct gdb_text *t, void *buf, size_t len);
/* Thread id: -1 gives UINT64_MAX. */
bool gdb_take_thread(struct gdb_text *t, uint64_t *id);

static inline bool gdb_at_end(const struct gdb_text *t)
{
    return t->p == t->end;
}
