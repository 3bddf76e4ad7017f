#include "vmm/gdb_packet.h"

#include "base/bits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int gdb_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* ---- framing ---- */

static enum gdb_frame gdb_framer_outside(struct gdb_framer *f, uint8_t byte)
{
    switch (byte) {
    case '$':
        f->state = GDB_INSIDE;
        f->len = 0;
        f->sum = 0;
        f->too_long = false;
        f->sum_bad = false;
        return GDB_FRAME_MORE;
    case '-':
        return GDB_FRAME_RESEND;
    case 0x03:
        return GDB_FRAME_INTERRUPT;
    default:
        return GDB_FRAME_MORE;
    }
}

static void gdb_framer_inside(struct gdb_framer *f, uint8_t byte)
{
    if (byte == '#') {
        f->state = GDB_SUM1;
        return;
    }
    f->sum = (uint8_t)(f->sum + byte);
    if (f->len < GDB_PACKET_SIZE)
        f->data[f->len++] = (char)byte;
    else
        f->too_long = true;
}

static void gdb_framer_sum(struct gdb_framer *f, uint8_t byte)
{
    int digit = gdb_digit((char)byte);
    f->sum_bad |= digit < 0;
    f->wanted = (uint8_t)(f->wanted << 4 | (digit & 0xf));
}

enum gdb_frame gdb_framer_byte(struct gdb_framer *f, uint8_t byte)
{
    switch (f->state) {
    case GDB_OUTSIDE:
        return gdb_framer_outside(f, byte);
    case GDB_INSIDE:
        gdb_framer_inside(f, byte);
        return GDB_FRAME_MORE;
    case GDB_SUM1:
        gdb_framer_sum(f, byte);
        f->state = GDB_SUM2;
        return GDB_FRAME_MORE;
    case GDB_SUM2:
        break;
    }
    gdb_framer_sum(f, byte);
    f->state = GDB_OUTSIDE;
    f->data[f->len] = 0;
    if (f->sum_bad || f->wanted != f->sum)
        return GDB_FRAME_BAD;
    return f->too_long ? GDB_FRAME_TOO_LONG : GDB_FRAME_PACKET;
}

/* ---- writing ---- */

void gdb_reply_start(struct gdb_reply *r)
{
    r->data[0] = '$';
    r->len = 1;
    r->full = false;
}

static void gdb_reply_bytes(struct gdb_reply *r, const char *data, size_t len)
{
    if (len > 1 + GDB_PACKET_SIZE - r->len) {
        r->full = true;
        return;
    }
    memcpy(r->data + r->len, data, len);
    r->len += len;
}

void gdb_reply_text(struct gdb_reply *r, const char *text)
{
    gdb_reply_bytes(r, text, strlen(text));
}

void gdb_reply_printf(struct gdb_reply *r, const char *fmt, ...)
{
    char buf[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    gdb_reply_text(r, buf);
}

void gdb_reply_hex(struct gdb_reply *r, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len && !r->full; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", p[i]);
        gdb_reply_bytes(r, hex, 2);
    }
}

void gdb_reply_u64(struct gdb_reply *r, uint64_t value)
{
    uint8_t bytes[8];
    le64_put(bytes, value);
    gdb_reply_hex(r, bytes, sizeof bytes);
}

void gdb_reply_binary(struct gdb_reply *r, const void *data, size_t len)
{
    const char *p = data;
    for (size_t i = 0; i < len && !r->full; i++) {
        if (p[i] == '#' || p[i] == '$' || p[i] == '}' || p[i] == '*') {
            char escaped[2] = {'}', (char)(p[i] ^ 0x20)};
            gdb_reply_bytes(r, escaped, 2);
        } else {
            gdb_reply_bytes(r, p + i, 1);
        }
    }
}

void gdb_reply_finish(struct gdb_reply *r)
{
    if (r->full) {
        gdb_reply_start(r);
        gdb_reply_text(r, "E01");
    }
    uint8_t sum = 0;
    for (size_t i = 1; i < r->len; i++)
        sum = (uint8_t)(sum + (uint8_t)r->data[i]);
    static const char digits[] = "0123456789abcdef";
    r->data[r->len++] = '#';
    r->data[r->len++] = digits[sum >> 4];
    r->data[r->len++] = digits[sum & 0xf];
}

/* ---- reading ---- */

bool gdb_take(struct gdb_text *t, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(t->end - t->p) < len || memcmp(t->p, text, len))
        return false;
    t->p += len;
    return true;
}

bool gdb_take_char(struct gdb_text *t, char c)
{
    if (t->p == t->end || *t->p != c)
        return false;
    t->p++;
    return true;
}

bool gdb_take_number(struct gdb_text *t, uint64_t *v)
{
    uint64_t value = 0;
    unsigned digits = 0;
    const char *p = t->p;
    for (int d; p < t->end && (d = gdb_digit(*p)) >= 0; p++, digits++)
        value = value << 4 | (unsigned)d;
    if (!digits || digits > 16)
        return false;
    t->p = p;
    *v = value;
    return true;
}

bool gdb_take_hex(struct gdb_text *t, void *buf, size_t len)
{
    uint8_t *out = buf;
    if ((size_t)(t->end - t->p) / 2 < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = gdb_digit(t->p[0]), low = gdb_digit(t->p[1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
        t->p += 2;
    }
    return true;
}

bool gdb_take_u64(struct gdb_text *t, uint64_t *v)
{
    uint8_t bytes[8];
    if (!gdb_take_hex(t, bytes, sizeof bytes))
        return false;
    *v = le64_get(bytes);
    return true;
}

bool gdb_take_binary(struct gdb_text *t, void *buf, size_t len)
{
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++) {
        if (t->p == t->end)
            return false;
        char c = *t->p++;
        if (c == '}') {
            if (t->p == t->end)
                return false;
            c = (char)(*t->p++ ^ 0x20);
        }
        out[i] = (uint8_t)c;
    }
    return true;
}

bool gdb_take_thread(struct gdb_text *t, uint64_t *id)
{
    if (gdb_take(t, "-1")) {
        *id = UINT64_MAX;
        return true;
    }
    return gdb_take_number(t, id);
}
