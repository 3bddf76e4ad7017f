/* gdb's protocol, packet by packet, against the words of its documentation. */
#include "gdb_fake.h"
#include "vmm/gdb_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake fake;
static struct gdb_session session;
static char out[1 << 16], *description;
static size_t out_len;

static void output(void *ctx, const void *data, size_t len)
{
    (void)ctx;
    assert_true(len <= GDB_PACKET_SIZE + 5);
    assert_true(out_len + len < sizeof out);
    memcpy(out + out_len, data, len);
    out_len += len;
    out[out_len] = 0;
}

static void stopped(void *ctx, unsigned hart, const struct gdb_stop *stop)
{
    gdb_session_stopped(ctx, hart, stop);
}

static int setup(void **state)
{
    (void)state;
    fake_init(&fake, 3);
    fake.stopped = stopped;
    fake.stopped_ctx = &session;
    description = gdb_describe_target(&fake_ops, &fake);
    assert_non_null(description);
    out_len = 0;
    out[0] = 0;
    gdb_session_start(&session, &fake_ops, &fake, description, output, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gdb_session_end(&session);
    free(description);
    return 0;
}

static void raw(const char *bytes, size_t len)
{
    out_len = 0;
    out[0] = 0;
    for (size_t done = 0; done < len;)
        done += gdb_session_input(&session, (const uint8_t *)bytes + done, len - done);
}

static void send_packet(const char *data, size_t len)
{
    char buf[2 * GDB_PACKET_SIZE];
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += (unsigned char)data[i];
    buf[0] = '$';
    memcpy(buf + 1, data, len);
    sprintf(buf + 1 + len, "#%02x", sum & 0xff);
    raw(buf, len + 4);
}

/* The data of the one packet in `out`, behind `before`. */
static const char *unpack(const char *before)
{
    size_t skip = strlen(before);
    assert_true(out_len >= skip + 4);
    assert_memory_equal(out, before, skip);
    char *p = out + skip;
    assert_int_equal(p[0], '$');
    char *end = out + out_len - 3;
    assert_int_equal(end[0], '#');
    unsigned sum = 0, wanted;
    for (char *q = p + 1; q < end; q++) {
        assert_int_not_equal(*q, '$');
        sum += (unsigned char)*q;
    }
    assert_int_equal(sscanf(end + 1, "%2x", &wanted), 1);
    assert_int_equal(sum & 0xff, wanted);
    *end = 0;
    return p + 1;
}

/* What gdb gets for a packet; "" also if there is no reply yet. */
static const char *ask(const char *data)
{
    const char *ack = session.no_ack ? "" : "+";
    send_packet(data, strlen(data));
    if (out_len <= strlen(ack))
        return "";
    return unpack(ack);
}

/* Lets the harts run; what the stop brings is in `out` alone. */
static void run(unsigned n)
{
    out_len = 0;
    fake_run(&fake, n);
}

#define EXPECT(data, reply) assert_string_equal(ask(data), reply)

static void framing_and_acknowledgement(void **state)
{
    (void)state;
    raw("$qC#b4", 6);
    assert_string_equal(out, "+$QC1#c5");
    raw("-", 1);
    assert_string_equal(out, "$QC1#c5");
    raw("+", 1);
    assert_string_equal(out, "");
    raw("$qC#b5", 6);
    assert_string_equal(out, "-");
    raw("$qC#zz", 6);
    assert_string_equal(out, "-");
    raw("junk$qC#B4", 10);
    assert_string_equal(out, "+$QC1#c5");
    raw("$#00", 4);
    assert_string_equal(out, "+$#00");
    EXPECT("QStartNoAckMode", "OK");
    raw("$qC#b4", 6);
    assert_string_equal(out, "$QC1#c5");
    raw("-", 1);
    assert_string_equal(out, "");
    raw("$qC#00", 6);
    assert_string_equal(unpack(""), "E01");
    static char big[GDB_PACKET_SIZE + 100];
    memset(big, 'm', sizeof big);
    send_packet(big, sizeof big);
    assert_string_equal(unpack(""), "E01");
    send_packet(big, GDB_PACKET_SIZE);
    assert_string_equal(unpack(""), "E01");
    EXPECT("qC", "QC1");
}

static void queries(void **state)
{
    (void)state;
    EXPECT("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386",
           "PacketSize=1000;QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
           "swbreak+;hwbreak+");
    EXPECT("vMustReplyEmpty", "");
    EXPECT("qfThreadInfo", "m1,2,3");
    EXPECT("qsThreadInfo", "l");
    EXPECT("qThreadExtraInfo,1", "486172742030");
    EXPECT("qThreadExtraInfo,2", "4861727420312c2077616974696e67");
    EXPECT("qThreadExtraInfo,0", "E01");
    EXPECT("qThreadExtraInfo,4", "E01");
    EXPECT("qThreadExtraInfo,", "E01");
    EXPECT("qAttached", "1");
    EXPECT("vCont?", "vCont;c;C;s;S;t");
    EXPECT("?", "T05thread:1;");
    EXPECT("T3", "OK");
    EXPECT("T4", "E01");
    EXPECT("T", "E01");
    EXPECT("qRcmd,68656c70",
           "677569736520686173206e6f206d6f6e69746f7220636f6d6d616e6473206275742068656c702e0a");
    EXPECT("qRcmd,68656c7", "5468657265206973206e6f207375636820636f6d6d616e643b207472793a206d6f6e"
                            "69746f722068656c700a");
    EXPECT("qOffsets", "");
    EXPECT("!", "");
    EXPECT("R00", "");
}

static void the_description_comes_in_pieces(void **state)
{
    (void)state;
    char text[65536], request[64];
    size_t len = 0;
    const char *reply;
    do {
        snprintf(request, sizeof request, "qXfer:features:read:target.xml:%zx,7b", len);
        reply = ask(request);
        assert_true(reply[0] == 'm' || reply[0] == 'l');
        for (const char *p = reply + 1; *p; p++)
            text[len++] = *p == '}' ? (char)(*++p ^ 0x20) : *p;
    } while (reply[0] == 'm');
    text[len] = 0;
    assert_string_equal(text, description);
    assert_non_null(strstr(text, "<reg name=\"zero\" bitsize=\"64\" regnum=\"0\""));
    assert_non_null(
        strstr(text, "<reg name=\"pc\" bitsize=\"64\" regnum=\"32\" type=\"code_ptr\""));
    assert_non_null(strstr(text, "<reg name=\"ft11\" bitsize=\"64\" regnum=\"64\""));
    assert_non_null(strstr(text, "<reg name=\"mhartid\" bitsize=\"64\" regnum=\"3925\""));
    assert_null(strstr(text, "satp"));
    EXPECT("qXfer:features:read:other.xml:0,100", "E01");
    EXPECT("qXfer:features:read:target.xml:0", "E01");
    EXPECT("qXfer:features:read:target.xml:fffffffffffffff0,ffffffffffffffff", "E01");
    snprintf(request, sizeof request, "qXfer:features:read:target.xml:%zx,10", len);
    EXPECT(request, "l");
    assert_int_equal(ask("qXfer:features:read:target.xml:0,ffffffffffffffff")[0], 'm');
}

static void registers(void **state)
{
    (void)state;
    fake.hart[0].x[10] = 0x1122334455667788;
    fake.hart[1].x[10] = 2;
    EXPECT("pa", "8877665544332211");
    EXPECT("p20", "0000008000000000");
    EXPECT("p341", "0000000000000000"); /* mstatus: 65 + 0x300 */
    EXPECT("p1041", "0300000000000000");
    EXPECT("pfff", "E01");
    EXPECT("p1042", "E01");
    EXPECT("pffffffffffffffff", "E01");
    EXPECT("p", "E01");
    EXPECT("p1,", "E01");
    EXPECT("Hg2", "OK");
    EXPECT("pa", "0200000000000000");
    EXPECT("pf55", "0100000000000000"); /* mhartid */
    EXPECT("Pa=0102030405060708", "OK");
    assert_true(fake.hart[1].x[10] == 0x0807060504030201);
    EXPECT("Pa=01020304050607", "E01");
    EXPECT("Pa=010203040506070809", "E01");
    EXPECT("Pf55=0000000000000000", "E01"); /* read-only */
    EXPECT("P=00", "E01");
    EXPECT("Hg4", "E01");
    EXPECT("Hx1", "E01");
    EXPECT("Hg0", "OK");
    EXPECT("Hg-1", "OK");
    EXPECT("Hc-1", "OK");

    char all[65 * 16 + 2];
    strcpy(all + 1, ask("g"));
    assert_int_equal(strlen(all + 1), 65 * 16);
    assert_memory_equal(all + 1 + 10 * 16, "0102030405060708", 16);
    assert_memory_equal(all + 1 + 32 * 16, "0000008000000000", 16);
    memcpy(all + 1 + 64 * 16, "ff000000000000aa", 16);
    all[0] = 'G';
    EXPECT(all, "OK");
    assert_true(fake.hart[1].f[31] == 0xaa000000000000ff);
    all[65 * 16] = 0;
    EXPECT(all, "E01");
}

static void memory(void **state)
{
    (void)state;
    EXPECT("m80000000,4", "13051500");
    EXPECT("m80000ffe,10", "0000"); /* what is there */
    EXPECT("m80001000,1", "E0e");
    EXPECT("m0,1", "E0e");
    EXPECT("m80000000,0", "");
    EXPECT("m80000000", "E01");
    EXPECT("m,4", "E01");
    EXPECT("m80000000,4x", "E01");
    EXPECT("m180000000000000000,4", "E01");
    assert_int_equal(strlen(ask("m80000000,ffffffffffffffff")), GDB_PACKET_SIZE);
    EXPECT("M80000100,3:a1B2c3", "OK");
    EXPECT("m80000100,4", "a1b2c300");
    EXPECT("M80000100,3:a1b2", "E01");
    EXPECT("M80000100,3:a1b2c3d4", "E01");
    EXPECT("M80000100,3:a1b2cx", "E01");
    EXPECT("M80000fff,2:0102", "E0e");
    EXPECT("M80000000,ffffffffffffffff:00", "E01");
    EXPECT("X80000100,0:", "OK");
    EXPECT("X80000100,4:a}\x03"
           "bc",
           "OK");
    EXPECT("m80000100,4", "61236263");
    EXPECT("X80000100,2:a}", "E01");
    EXPECT("X80000100,2:a", "E01");
    EXPECT("X80000100,2:abc", "E01");
    send_packet("X80000100,2:\0a", 14);
    assert_string_equal(unpack("+"), "OK");
    EXPECT("m80000100,2", "0061");
}

static void breakpoints(void **state)
{
    (void)state;
    ask("qSupported:swbreak+;hwbreak+");
    EXPECT("Z0,80000004,4", "OK");
    EXPECT("Z0,80000004,4", "OK"); /* again: no second one */
    assert_int_equal(fake.break_count, 1);
    EXPECT("vCont;c", "");
    run(10);
    /* All harts arrive at once: one is reported. */
    assert_string_equal(unpack(""), "T05thread:1;swbreak:;");
    assert_false(fake.running);
    EXPECT("?", "T05thread:1;swbreak:;");
    EXPECT("z0,80000004,4", "OK");
    EXPECT("z0,80000004,4", "OK");
    assert_int_equal(fake.break_count, 0);
    EXPECT("Z1,80000000,2", "OK");
    EXPECT("c", "");
    run(10);
    assert_string_equal(unpack(""), "T05thread:1;hwbreak:;");
    assert_int_equal(fake.hart[0].x[10], 1);
    EXPECT("z1,80000000,2", "OK");
    EXPECT("Z0,80000000,4", "OK"); /* gdb's two kinds are one to the target */
    EXPECT("Z1,80000000,4", "OK");
    assert_int_equal(fake.break_count, 1);
    EXPECT("z0,80000000,4", "OK");
    assert_int_equal(fake.break_count, 1);
    EXPECT("z1,80000000,4", "OK");
    assert_int_equal(fake.break_count, 0);
    EXPECT("Z5,80000000,2", "");
    EXPECT("Z0", "E01");
    EXPECT("Z0,80000000", "E01");
    EXPECT("Z0,80000000,4;X1", "E01");
    char request[64];
    for (unsigned i = 0; i < 64; i++) {
        snprintf(request, sizeof request, "Z0,%x,4", 0x1000 + i);
        EXPECT(request, "OK");
    }
    EXPECT("Z0,5000,4", "E1c");
    assert_int_equal(fake.break_count, 64);
    EXPECT("D", "OK");
    assert_int_equal(fake.break_count, 0);
    assert_true(fake.running);
    assert_int_equal(fake.detaches, 1);
}

static void watchpoints(void **state)
{
    (void)state;
    EXPECT("Z2,80000800,8", "OK");
    EXPECT("Hg2", "OK");
    EXPECT("vCont;c:2", "");
    run(100);
    assert_string_equal(unpack(""), "T05thread:2;watch:80000800;");
    EXPECT("p20", "0800008000000000");
    EXPECT("z2,80000800,8", "OK");
    EXPECT("Z4,80000804,1", "OK");
    EXPECT("vCont;c:3;t:-1", "");
    run(100);
    assert_string_equal(unpack(""), "T05thread:3;awatch:80000804;");
    EXPECT("Z3,80000800,8", "OK");
    EXPECT("Z2,80000800,0", "E01");
    EXPECT("Z2,fffffffffffffffc,8", "E01");
    EXPECT("Z2,fffffffffffffff8,8", "OK");
}

static void a_watchpoint_of_another_hart_is_not_lost(void **state)
{
    (void)state;
    EXPECT("Z2,80000800,8", "OK");
    EXPECT("vCont;c", "");
    struct gdb_stop hit = {GDB_STOP_WATCH, GDB_WATCH_WRITE, 0x80000800};
    struct gdb_stop bp = {.why = GDB_STOP_BREAK};
    unsigned resumes = fake.resumes;
    out_len = 0;
    gdb_session_stopped(&session, 2, &hit);
    assert_string_equal(unpack(""), "T05thread:3;watch:80000800;");
    out_len = 0;
    gdb_session_stopped(&session, 0, &bp);  /* happens again by itself */
    gdb_session_stopped(&session, 1, &hit); /* would not */
    assert_int_equal(out_len, 0);
    assert_string_equal(ask("vCont;c"), "T05thread:2;watch:80000800;");
    assert_int_equal(fake.resumes, resumes);
    EXPECT("vCont;c", "");
    assert_int_equal(fake.resumes, resumes + 1);
}

static void stepping(void **state)
{
    (void)state;
    EXPECT("vCont;s:2;c:1", "");
    run(1);
    assert_string_equal(unpack(""), "T05thread:2;");
    assert_true(fake.hart[0].pc == FAKE_BASE + 4);
    assert_true(fake.hart[1].pc == FAKE_BASE + 4);
    assert_true(fake.hart[2].pc == FAKE_BASE); /* not named: held */
    EXPECT("vCont;S05:3", "");
    run(3);
    assert_string_equal(unpack(""), "T05thread:3;");
    assert_true(fake.hart[2].pc == FAKE_BASE + 4);
    assert_true(fake.hart[0].pc == FAKE_BASE + 4);
    EXPECT("Hc3", "OK");
    EXPECT("s", "");
    run(3);
    assert_string_equal(unpack(""), "T05thread:3;");
    assert_true(fake.hart[2].pc == FAKE_BASE + 8);
    EXPECT("s80000000", "");
    run(1);
    assert_string_equal(unpack(""), "T05thread:3;");
    assert_true(fake.hart[2].pc == FAKE_BASE + 4);
    EXPECT("S05;80000008", "");
    run(1);
    assert_true(fake.hart[2].pc == FAKE_BASE);
    unsigned resumes = fake.resumes;
    EXPECT("vCont", "E01");
    EXPECT("vCont;", "E01");
    EXPECT("vCont;x", "E01");
    EXPECT("vCont;c:4", "E01");
    EXPECT("vCont;C", "E01");
    EXPECT("vCont;c:", "E01");
    EXPECT("vCont;cc", "E01");
    EXPECT("cx", "E01");
    EXPECT("C", "E01");
    assert_int_equal(fake.resumes, resumes);
}

static void interrupting(void **state)
{
    (void)state;
    raw("\x03", 1); /* stands still already */
    assert_int_equal(out_len, 0);
    EXPECT("Hg2", "OK");
    EXPECT("vCont;c", "");
    assert_true(fake.running);
    EXPECT("m80000000,4", "E01"); /* not now */
    EXPECT("D", "E01");
    raw("\x03", 1);
    assert_string_equal(unpack(""), "T02thread:2;");
    assert_false(fake.running);
    EXPECT("m80000000,4", "13051500");
}

static void ends(void **state)
{
    (void)state;
    EXPECT("Z0,80000004,4", "OK");
    EXPECT("vKill;1", "OK");
    assert_true(fake.killed && session.over);
    EXPECT("g", "");
    assert_int_equal(fake.detaches, 0);

    fake_init(&fake, 1);
    gdb_session_start(&session, &fake_ops, &fake, description, output, NULL);
    ask("k");
    assert_string_equal(out, "+");
    assert_true(fake.killed && session.over);

    fake_init(&fake, 1);
    gdb_session_start(&session, &fake_ops, &fake, description, output, NULL);
    EXPECT("Z0,80000004,4", "OK");
    EXPECT("c", "");
    out_len = 0;
    gdb_session_exited(&session, 0x12a);
    assert_string_equal(unpack(""), "W2a");
    assert_true(session.over);

    fake_init(&fake, 1);
    fake.stopped = stopped;
    fake.stopped_ctx = &session;
    gdb_session_start(&session, &fake_ops, &fake, description, output, NULL);
    EXPECT("Z0,80000004,4", "OK");
    EXPECT("c", "");
    gdb_session_end(&session); /* the connection broke */
    assert_true(fake.running && !fake.break_count && fake.detaches == 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(framing_and_acknowledgement),
        T(queries),
        T(the_description_comes_in_pieces),
        T(registers),
        T(memory),
        T(breakpoints),
        T(watchpoints),
        T(a_watchpoint_of_another_hart_is_not_lost),
        T(stepping),
        T(interrupting),
        T(ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
