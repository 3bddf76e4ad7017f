/*
 * A hostile debugger: any bytes on the connection, with the target running in between. The fake
 * target aborts when the session breaks a promise to it. A byte 0xff lets the target run; every
 * '~' in a packet is taken as the place of a correct check sum, so that inputs get through.
 */
#include "gdb_fake.h"
#include "vmm/gdb_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_output(void *ctx, const void *data, size_t len)
{
    size_t *total = ctx;
    (void)data;
    *total += len;
    if (len > GDB_PACKET_SIZE + 5)
        abort();
}

static void fuzz_stopped(void *ctx, unsigned hart, const struct gdb_stop *stop)
{
    gdb_session_stopped(ctx, hart, stop);
}

static void fuzz_feed(struct gdb_session *s, const void *data, size_t len, const size_t *total)
{
    const uint8_t *p = data;
    while (len) {
        size_t before = *total;
        size_t n = gdb_session_input(s, p, len);
        if (!n || n > len || *total - before > GDB_PACKET_SIZE + 6)
            abort();
        p += n;
        len -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gdb_session s;
    static struct fake fake;
    size_t total = 0;
    unsigned sum = 0;
    fake_init(&fake, size % 2 ? GDB_MAX_HARTS : 2);
    fake.stopped = fuzz_stopped;
    fake.stopped_ctx = &s;
    char *description = gdb_describe_target(&fake_ops, &fake);
    gdb_session_start(&s, &fake_ops, &fake, description, fuzz_output, &total);
    for (size_t i = 0; i < size; i++) {
        char tail[4];
        sum += data[i];
        if (data[i] == 0xff) {
            fake_run(&fake, 7);
        } else if (data[i] == '~') {
            snprintf(tail, sizeof tail, "#%02x", (sum - '~') & 0xff);
            fuzz_feed(&s, tail, 3, &total);
        } else {
            fuzz_feed(&s, data + i, 1, &total);
        }
        if (data[i] == '$')
            sum = 0;
    }
    gdb_session_end(&s);
    if (fake.attached || fake.break_count)
        abort();
    free(description);
    return 0;
}
