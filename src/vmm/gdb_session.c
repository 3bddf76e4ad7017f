#include "vmm/gdb_session.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What gdb calls signals; only these two are used. */
enum { GDB_SIGINT = 2, GDB_SIGTRAP = 5 };

/* General registers, pc and floating point: what the "g" packet holds. */
#define GDB_G_REGS 65

static const char gdb_monitor_help[] = "guise has no monitor commands but help.\n";

/* ---- replies ---- */

static void gdb_send(struct gdb_session *s)
{
    gdb_reply_finish(&s->reply);
    s->output(s->out_ctx, s->reply.data, s->reply.len);
}

static void gdb_ok(struct gdb_session *s)
{
    gdb_reply_text(&s->reply, "OK");
}

static void gdb_fail(struct gdb_session *s, int code)
{
    gdb_reply_start(&s->reply);
    gdb_reply_printf(&s->reply, "E%02x", (unsigned)code & 0xff);
}

static void gdb_malformed(struct gdb_session *s)
{
    gdb_fail(s, 1);
}

/* ---- stopping ---- */

static const struct gdb_point *gdb_point_at(const struct gdb_session *s, uint64_t pc)
{
    for (unsigned i = 0; i < s->point_count; i++)
        if (s->points[i].kind == GDB_BREAK && s->points[i].addr == pc)
            return &s->points[i];
    return NULL;
}

/* Why it stopped, in the words of the stop reply. */
static void gdb_stop_words(const struct gdb_session *s, unsigned hart, const struct gdb_stop *stop,
                           char *buf, size_t size)
{
    buf[0] = 0;
    if (stop->why == GDB_STOP_WATCH) {
        const char *kind = stop->watch == GDB_WATCH_READ     ? "rwatch"
                           : stop->watch == GDB_WATCH_ACCESS ? "awatch"
                                                             : "watch";
        snprintf(buf, size, "%s:%llx;", kind, (unsigned long long)stop->addr);
    } else if (stop->why == GDB_STOP_BREAK) {
        uint64_t pc = 0;
        s->ops->read_reg(s->ctx, hart, GDB_REG_PC, &pc);
        const struct gdb_point *point = gdb_point_at(s, pc);
        if (point && (point->hardware ? s->knows_hw : s->knows_sw))
            snprintf(buf, size, point->hardware ? "hwbreak:;" : "swbreak:;");
    }
}

/* Remembers the stop reply; all harts stand still. */
static void gdb_note_stop(struct gdb_session *s, unsigned hart, unsigned signal,
                          const struct gdb_stop *stop)
{
    char words[64];
    gdb_stop_words(s, hart, stop, words, sizeof words);
    snprintf(s->stop_reply, sizeof s->stop_reply, "T%02xthread:%x;%s", signal, hart + 1, words);
    s->running = false;
    s->hart = hart;
}

static void gdb_report_stop(struct gdb_session *s, unsigned hart, unsigned signal,
                            const struct gdb_stop *stop)
{
    gdb_note_stop(s, hart, signal, stop);
    gdb_reply_start(&s->reply);
    gdb_reply_text(&s->reply, s->stop_reply);
    gdb_send(s);
}

static unsigned gdb_first_stop(const struct gdb_session *s)
{
    return (unsigned)__builtin_ctzll(s->stop_set);
}

/* Tells gdb of the first hart that has stopped; the others stay for later. */
static void gdb_report_pending(struct gdb_session *s)
{
    s->ops->stop(s->ctx);
    unsigned hart = gdb_first_stop(s);
    s->stop_set &= ~(UINT64_C(1) << hart);
    gdb_report_stop(s, hart, GDB_SIGTRAP, &s->stops[hart]);
}

void gdb_session_stopped(struct gdb_session *s, unsigned hart, const struct gdb_stop *stop)
{
    if (s->over || hart >= s->harts)
        return;
    s->stops[hart] = *stop;
    s->stop_set |= UINT64_C(1) << hart;
    if (s->running)
        gdb_report_pending(s);
}

static void gdb_interrupt(struct gdb_session *s)
{
    if (!s->running)
        return;
    static const struct gdb_stop none = {.why = GDB_STOP_OTHER};
    s->ops->stop(s->ctx);
    gdb_report_stop(s, s->hart, GDB_SIGINT, &none);
}

/* ---- running ---- */

/*
 * Resumes. A hart that had stopped without gdb being told stops again by itself when it is at a
 * breakpoint, and a step may be done again, but a watched access is over: it is reported instead.
 */
static void gdb_resume(struct gdb_session *s, const enum gdb_action *actions)
{
    for (unsigned i = 0; i < s->harts; i++)
        if (s->stops[i].why != GDB_STOP_WATCH)
            s->stop_set &= ~(UINT64_C(1) << i);
    s->running = true;
    for (unsigned i = 0; i < s->harts; i++)
        if ((s->stop_set >> i & 1) && actions[i] != GDB_HOLD) {
            gdb_report_pending(s);
            return;
        }
    s->ops->resume(s->ctx, actions);
}

/* The harts that a thread id stands for: first to last, false if there is none. */
static bool gdb_thread_range(const struct gdb_session *s, uint64_t id, unsigned *first,
                             unsigned *last)
{
    *first = 0;
    *last = s->harts - 1;
    if (id == UINT64_MAX)
        return true;
    if (id > s->harts)
        return false;
    *first = *last = id ? (unsigned)id - 1 : s->hart;
    return true;
}

/* c and s with an optional address, C and S with a signal, which means nothing to a machine. */
static bool gdb_cmd_run(struct gdb_session *s, struct gdb_text *t, enum gdb_action action,
                        bool has_signal)
{
    uint64_t pc, signal;
    unsigned first, last;
    bool has_pc = false;
    if (has_signal && !gdb_take_number(t, &signal))
        return gdb_malformed(s), true;
    if (!has_signal || gdb_take_char(t, ';'))
        has_pc = gdb_take_number(t, &pc);
    /* Thread 0 is "any": all of them continue, the current one steps. */
    uint64_t id = s->run_thread || action == GDB_STEP ? s->run_thread : UINT64_MAX;
    if (!gdb_at_end(t) || !gdb_thread_range(s, id, &first, &last))
        return gdb_malformed(s), true;
    if (has_pc && !s->ops->write_reg(s->ctx, first == last ? first : s->hart, GDB_REG_PC, pc))
        return gdb_malformed(s), true;
    enum gdb_action actions[GDB_MAX_HARTS] = {GDB_HOLD};
    for (unsigned i = first; i <= last; i++)
        actions[i] = action;
    gdb_resume(s, actions);
    return false;
}

static bool gdb_take_action(struct gdb_text *t, enum gdb_action *action)
{
    uint64_t signal;
    if (gdb_take_char(t, 'c'))
        *action = GDB_RUN;
    else if (gdb_take_char(t, 's'))
        *action = GDB_STEP;
    else if (gdb_take_char(t, 't'))
        *action = GDB_HOLD;
    else if (gdb_take_char(t, 'C') && gdb_take_number(t, &signal))
        *action = GDB_RUN;
    else if (gdb_take_char(t, 'S') && gdb_take_number(t, &signal))
        *action = GDB_STEP;
    else
        return false;
    return true;
}

/* Behind "vCont": ";action[:thread]"...; the leftmost that matches a hart counts. */
static bool gdb_cmd_vcont(struct gdb_session *s, struct gdb_text *t)
{
    enum gdb_action actions[GDB_MAX_HARTS] = {GDB_HOLD};
    uint64_t set = 0;
    while (gdb_take_char(t, ';')) {
        enum gdb_action action;
        uint64_t id = UINT64_MAX;
        unsigned first, last;
        if (!gdb_take_action(t, &action) || (gdb_take_char(t, ':') && !gdb_take_thread(t, &id)) ||
            !gdb_thread_range(s, id, &first, &last))
            return gdb_malformed(s), true;
        for (unsigned i = first; i <= last; i++)
            if (!(set >> i & 1)) {
                actions[i] = action;
                set |= UINT64_C(1) << i;
            }
    }
    if (!gdb_at_end(t) || !set)
        return gdb_malformed(s), true;
    gdb_resume(s, actions);
    return false;
}

/* ---- registers and memory ---- */

static void gdb_cmd_read_all(struct gdb_session *s)
{
    for (unsigned reg = 0; reg < GDB_G_REGS; reg++) {
        uint64_t value;
        if (s->ops->read_reg(s->ctx, s->hart, reg, &value))
            gdb_reply_u64(&s->reply, value);
        else
            gdb_reply_text(&s->reply, "xxxxxxxxxxxxxxxx");
    }
}

static void gdb_cmd_write_all(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t values[GDB_G_REGS];
    for (unsigned i = 0; i < GDB_G_REGS; i++)
        if (!gdb_take_u64(t, &values[i]))
            return gdb_malformed(s);
    if (!gdb_at_end(t))
        return gdb_malformed(s);
    for (unsigned i = 1; i < GDB_G_REGS; i++)
        s->ops->write_reg(s->ctx, s->hart, i, values[i]);
    gdb_ok(s);
}

static void gdb_cmd_read_reg(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t reg, value;
    if (!gdb_take_number(t, &reg) || !gdb_at_end(t) || reg > GDB_REG_PRIV ||
        !s->ops->read_reg(s->ctx, s->hart, (unsigned)reg, &value))
        return gdb_malformed(s);
    gdb_reply_u64(&s->reply, value);
}

static void gdb_cmd_write_reg(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t reg, value;
    if (!gdb_take_number(t, &reg) || !gdb_take_char(t, '=') || !gdb_take_u64(t, &value) ||
        !gdb_at_end(t) || reg > GDB_REG_PRIV ||
        !s->ops->write_reg(s->ctx, s->hart, (unsigned)reg, value))
        return gdb_malformed(s);
    gdb_ok(s);
}

static bool gdb_take_range(struct gdb_text *t, uint64_t *addr, uint64_t *len)
{
    return gdb_take_number(t, addr) && gdb_take_char(t, ',') && gdb_take_number(t, len);
}

static void gdb_cmd_read_mem(struct gdb_session *s, struct gdb_text *t)
{
    uint8_t buf[GDB_PACKET_SIZE / 2];
    uint64_t addr, len;
    if (!gdb_take_range(t, &addr, &len) || !gdb_at_end(t))
        return gdb_malformed(s);
    /* gdb allows to give less than was asked for. */
    size_t want = len < sizeof buf ? (size_t)len : sizeof buf;
    size_t got = want ? s->ops->read_mem(s->ctx, s->hart, addr, buf, want) : 0;
    if (want && !got)
        return gdb_fail(s, EFAULT);
    gdb_reply_hex(&s->reply, buf, got);
}

static void gdb_cmd_write_mem(struct gdb_session *s, struct gdb_text *t,
                              bool (*take)(struct gdb_text *t, void *buf, size_t len))
{
    uint8_t buf[GDB_PACKET_SIZE];
    uint64_t addr, len;
    if (!gdb_take_range(t, &addr, &len) || !gdb_take_char(t, ':') || len > sizeof buf ||
        !take(t, buf, (size_t)len) || !gdb_at_end(t))
        return gdb_malformed(s);
    if (len && s->ops->write_mem(s->ctx, s->hart, addr, buf, (size_t)len) != len)
        return gdb_fail(s, EFAULT);
    gdb_ok(s);
}

/* ---- breakpoints ---- */

/* The target knows one kind of breakpoint; gdb may have both of its kinds at one address. */
static bool gdb_point_shared(const struct gdb_session *s, const struct gdb_point *p)
{
    for (unsigned i = 0; i < s->point_count; i++) {
        const struct gdb_point *q = &s->points[i];
        if (q != p && q->kind == p->kind && q->addr == p->addr && q->len == p->len)
            return true;
    }
    return false;
}

static void gdb_set_point(struct gdb_session *s, const struct gdb_point *p)
{
    if (s->point_count == GDB_MAX_BREAKS)
        return gdb_fail(s, ENOSPC);
    int rc = 0;
    if (!gdb_point_shared(s, p))
        rc = s->ops->set_break(s->ctx, p->kind, p->addr, p->len, true);
    if (rc == -ENOTSUP)
        return; /* the empty reply */
    if (rc)
        return gdb_fail(s, -rc);
    s->points[s->point_count++] = *p;
    gdb_ok(s);
}

static void gdb_remove_point(struct gdb_session *s, unsigned i)
{
    const struct gdb_point *p = &s->points[i];
    if (!gdb_point_shared(s, p))
        s->ops->set_break(s->ctx, p->kind, p->addr, p->len, false);
    s->points[i] = s->points[--s->point_count];
}

/* Z and z: type,addr,kind. Both may come twice. */
static void gdb_cmd_point(struct gdb_session *s, struct gdb_text *t, bool on)
{
    static const struct {
        enum gdb_break kind;
        bool hardware;
    } types[] = {{GDB_BREAK, false},
                 {GDB_BREAK, true},
                 {GDB_WATCH_WRITE, false},
                 {GDB_WATCH_READ, false},
                 {GDB_WATCH_ACCESS, false}};
    uint64_t type;
    struct gdb_point p = {0};
    if (!gdb_take_number(t, &type) || !gdb_take_char(t, ',') ||
        !gdb_take_range(t, &p.addr, &p.len) || !gdb_at_end(t))
        return gdb_malformed(s);
    if (type >= ARRAY_SIZE(types))
        return; /* the empty reply: not supported */
    p.kind = types[type].kind;
    p.hardware = types[type].hardware;
    if (p.kind == GDB_BREAK)
        p.len = 0; /* the length of the instruction means nothing here */
    else if (!p.len || p.addr + (p.len - 1) < p.addr)
        return gdb_malformed(s);
    for (unsigned i = 0; i < s->point_count; i++) {
        const struct gdb_point *have = &s->points[i];
        if (have->kind != p.kind || have->addr != p.addr || have->len != p.len ||
            have->hardware != p.hardware)
            continue;
        if (!on)
            gdb_remove_point(s, i);
        return gdb_ok(s);
    }
    if (on)
        gdb_set_point(s, &p);
    else
        gdb_ok(s);
}

/* ---- threads and queries ---- */

static void gdb_cmd_thread(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t id;
    unsigned first, last;
    bool for_run = gdb_take_char(t, 'c');
    if ((!for_run && !gdb_take_char(t, 'g')) || !gdb_take_thread(t, &id) || !gdb_at_end(t) ||
        !gdb_thread_range(s, id, &first, &last))
        return gdb_malformed(s);
    if (for_run)
        s->run_thread = id;
    else if (first == last)
        s->hart = first;
    gdb_ok(s);
}

static void gdb_cmd_alive(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t id;
    if (!gdb_take_number(t, &id) || !gdb_at_end(t) || !id || id > s->harts)
        return gdb_malformed(s);
    gdb_ok(s);
}

static void gdb_query_supported(struct gdb_session *s, struct gdb_text *t)
{
    while (gdb_take_char(t, ':') || gdb_take_char(t, ';')) {
        s->knows_sw |= gdb_take(t, "swbreak+");
        s->knows_hw |= gdb_take(t, "hwbreak+");
        while (t->p < t->end && *t->p != ';')
            t->p++;
    }
    gdb_reply_printf(&s->reply,
                     "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
                     "swbreak+;hwbreak+",
                     GDB_PACKET_SIZE);
}

static void gdb_query_threads(struct gdb_session *s, struct gdb_text *t)
{
    (void)t;
    for (unsigned i = 0; i < s->harts; i++)
        gdb_reply_printf(&s->reply, "%c%x", i ? ',' : 'm', i + 1);
}

static void gdb_query_no_more_threads(struct gdb_session *s, struct gdb_text *t)
{
    (void)t;
    gdb_reply_text(&s->reply, "l");
}

static void gdb_query_thread_info(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t id;
    if (!gdb_take_number(t, &id) || !gdb_at_end(t) || !id || id > s->harts)
        return gdb_malformed(s);
    char words[64] = "", text[96];
    if (s->ops->describe)
        s->ops->describe(s->ctx, (unsigned)id - 1, words, sizeof words);
    snprintf(text, sizeof text, "Hart %u%s%s", (unsigned)id - 1, words[0] ? ", " : "", words);
    gdb_reply_hex(&s->reply, text, strlen(text));
}

static void gdb_query_current(struct gdb_session *s, struct gdb_text *t)
{
    (void)t;
    gdb_reply_printf(&s->reply, "QC%x", s->hart + 1);
}

static void gdb_query_attached(struct gdb_session *s, struct gdb_text *t)
{
    (void)t;
    gdb_reply_text(&s->reply, "1");
}

static void gdb_query_features(struct gdb_session *s, struct gdb_text *t)
{
    uint64_t offset, len;
    if (!gdb_take(t, "target.xml:") || !gdb_take_range(t, &offset, &len) || !gdb_at_end(t))
        return gdb_malformed(s);
    size_t size = strlen(s->description);
    if (offset > size)
        return gdb_malformed(s);
    size_t left = size - (size_t)offset;
    /* Escapes may double what is sent. */
    size_t most = GDB_PACKET_SIZE / 2 - 1;
    size_t n = len < most ? (size_t)len : most;
    gdb_reply_text(&s->reply, n < left ? "m" : "l");
    gdb_reply_binary(&s->reply, s->description + offset, n < left ? n : left);
}

static void gdb_query_monitor(struct gdb_session *s, struct gdb_text *t)
{
    static const char unknown[] = "There is no such command; try: monitor help\n";
    char command[16];
    size_t len = (size_t)(t->end - t->p) / 2;
    bool help =
        len == 4 && gdb_take_hex(t, command, len) && gdb_at_end(t) && !memcmp(command, "help", 4);
    if (help)
        gdb_reply_hex(&s->reply, gdb_monitor_help, sizeof gdb_monitor_help - 1);
    else
        gdb_reply_hex(&s->reply, unknown, sizeof unknown - 1);
}

static void gdb_query_no_ack(struct gdb_session *s, struct gdb_text *t)
{
    (void)t;
    s->no_ack = true;
    gdb_ok(s);
}

static const struct {
    const char *name;
    void (*run)(struct gdb_session *s, struct gdb_text *t);
} gdb_queries[] = {
    {"qSupported", gdb_query_supported},
    {"qXfer:features:read:", gdb_query_features},
    {"qfThreadInfo", gdb_query_threads},
    {"qsThreadInfo", gdb_query_no_more_threads},
    {"qThreadExtraInfo,", gdb_query_thread_info},
    {"qAttached", gdb_query_attached},
    {"qRcmd,", gdb_query_monitor},
    {"QStartNoAckMode", gdb_query_no_ack},
    {"qC", gdb_query_current}, /* behind longer names that begin with it */
};

static void gdb_cmd_query(struct gdb_session *s, struct gdb_text *t)
{
    for (unsigned i = 0; i < ARRAY_SIZE(gdb_queries); i++)
        if (gdb_take(t, gdb_queries[i].name))
            return gdb_queries[i].run(s, t);
}

/* ---- the end ---- */

static void gdb_leave(struct gdb_session *s)
{
    while (s->point_count)
        gdb_remove_point(s, s->point_count - 1);
    s->over = true;
    s->running = false;
}

void gdb_session_end(struct gdb_session *s)
{
    if (s->over)
        return;
    if (s->running)
        s->ops->stop(s->ctx);
    gdb_leave(s);
    s->ops->detach(s->ctx);
}

static void gdb_cmd_detach(struct gdb_session *s)
{
    gdb_ok(s);
    gdb_session_end(s);
}

static void gdb_cmd_kill(struct gdb_session *s)
{
    gdb_leave(s);
    s->ops->kill(s->ctx);
}

void gdb_session_exited(struct gdb_session *s, unsigned code)
{
    if (s->over)
        return;
    bool tell = s->running;
    gdb_leave(s);
    gdb_reply_start(&s->reply);
    gdb_reply_printf(&s->reply, "W%02x", code & 0xff);
    if (tell)
        gdb_send(s);
}

/* ---- commands ---- */

/* "v..." ; true if there is a reply. */
static bool gdb_cmd_v(struct gdb_session *s, struct gdb_text *t)
{
    if (gdb_take(t, "Cont?")) {
        gdb_reply_text(&s->reply, "vCont;c;C;s;S;t");
        return true;
    }
    if (gdb_take(t, "Cont"))
        return gdb_cmd_vcont(s, t);
    if (gdb_take(t, "Kill")) {
        gdb_ok(s);
        gdb_cmd_kill(s);
    }
    return true;
}

/* One packet while the target stands still. True if there is a reply. */
static bool gdb_command(struct gdb_session *s, struct gdb_text *t)
{
    char name = t->p < t->end ? *t->p : 0;
    if (name == 'q' || name == 'Q') {
        gdb_cmd_query(s, t);
        return true;
    }
    t->p += t->p < t->end;
    switch (name) {
    case '?':
        gdb_reply_text(&s->reply, s->stop_reply);
        return true;
    case 'c':
    case 'C':
        return gdb_cmd_run(s, t, GDB_RUN, name == 'C');
    case 's':
    case 'S':
        return gdb_cmd_run(s, t, GDB_STEP, name == 'S');
    case 'v':
        return gdb_cmd_v(s, t);
    case 'g':
        gdb_cmd_read_all(s);
        return true;
    case 'G':
        gdb_cmd_write_all(s, t);
        return true;
    case 'p':
        gdb_cmd_read_reg(s, t);
        return true;
    case 'P':
        gdb_cmd_write_reg(s, t);
        return true;
    case 'm':
        gdb_cmd_read_mem(s, t);
        return true;
    case 'M':
        gdb_cmd_write_mem(s, t, gdb_take_hex);
        return true;
    case 'X':
        gdb_cmd_write_mem(s, t, gdb_take_binary);
        return true;
    case 'Z':
    case 'z':
        gdb_cmd_point(s, t, name == 'Z');
        return true;
    case 'H':
        gdb_cmd_thread(s, t);
        return true;
    case 'T':
        gdb_cmd_alive(s, t);
        return true;
    case 'D':
        gdb_cmd_detach(s);
        return true;
    case 'k':
        gdb_cmd_kill(s);
        return false;
    default:
        return true; /* the empty reply: not supported */
    }
}

static void gdb_packet(struct gdb_session *s)
{
    struct gdb_text t = {s->framer.data, s->framer.data + s->framer.len};
    if (!s->no_ack)
        s->output(s->out_ctx, "+", 1);
    gdb_reply_start(&s->reply);
    bool reply = true;
    if (s->running)
        gdb_malformed(s); /* only Ctrl-C makes sense now */
    else
        reply = gdb_command(s, &t);
    if (reply)
        gdb_send(s);
}

static void gdb_packet_bad(struct gdb_session *s, bool too_long)
{
    if (!s->no_ack && !too_long) {
        s->output(s->out_ctx, "-", 1);
        return;
    }
    if (!s->no_ack)
        s->output(s->out_ctx, "+", 1);
    gdb_reply_start(&s->reply);
    gdb_malformed(s);
    gdb_send(s);
}

size_t gdb_session_input(struct gdb_session *s, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s->over)
            return len;
        switch (gdb_framer_byte(&s->framer, data[i])) {
        case GDB_FRAME_MORE:
            continue;
        case GDB_FRAME_PACKET:
            gdb_packet(s);
            break;
        case GDB_FRAME_BAD:
            gdb_packet_bad(s, false);
            break;
        case GDB_FRAME_TOO_LONG:
            gdb_packet_bad(s, true);
            break;
        case GDB_FRAME_RESEND:
            if (s->no_ack || !s->reply.len)
                continue;
            s->output(s->out_ctx, s->reply.data, s->reply.len);
            break;
        case GDB_FRAME_INTERRUPT:
            gdb_interrupt(s);
            break;
        }
        return i + 1;
    }
    return len;
}

void gdb_session_start(struct gdb_session *s, const struct gdb_target_ops *ops, void *ctx,
                       const char *description,
                       void (*output)(void *out_ctx, const void *data, size_t len), void *out_ctx)
{
    memset(s, 0, sizeof *s);
    s->ops = ops;
    s->ctx = ctx;
    s->harts = ops->hart_count(ctx);
    s->description = description;
    s->output = output;
    s->out_ctx = out_ctx;
    ops->attach(ctx);
    static const struct gdb_stop none = {.why = GDB_STOP_OTHER};
    gdb_note_stop(s, 0, GDB_SIGTRAP, &none);
}
