/*
 * One debugger's session: what its packets mean for the target. Bytes go in with gdb_session_input
 * and come out through a function; there is no socket here, so that it can be fuzzed and tested.
 *
 * Threads: one thread at a time.
 */
#pragma once

#include "vmm/gdb_packet.h"
#include "vmm/gdbstub.h"

#define GDB_MAX_BREAKS 256

struct gdb_point {
    bool hardware; /* Z1: tells gdb which of its two kinds was hit */
    enum gdb_break kind;
    uint64_t addr, len;
};

struct gdb_session {
    const struct gdb_target_ops *ops;
    void *ctx;
    unsigned harts;
    void (*output)(void *out_ctx, const void *data, size_t len);
    void *out_ctx;
    const char *description; /* XML, the caller's */

    struct gdb_framer framer;
    struct gdb_reply reply; /* the last one sent, for a resend */
    bool no_ack;
    bool running;
    bool over;               /* the debugger has detached, killed, or the machine has ended */
    bool knows_sw, knows_hw; /* gdb understands swbreak and hwbreak in stop replies */
    unsigned hart;           /* of the next register or memory access (Hg) */
    uint64_t run_thread;     /* of the next c or s (Hc): a thread, 0 any, UINT64_MAX all */
    char stop_reply[256];    /* data of the last one, for "?" */

    struct gdb_point points[GDB_MAX_BREAKS];
    unsigned point_count;

    /* Stops that gdb has not been told of. */
    struct gdb_stop stops[GDB_MAX_HARTS];
    uint64_t stop_set; /* bit per hart */
};

/*
 * Starts a session: attaches to the target. Output is called with at most GDB_PACKET_SIZE + 5 bytes
 * for each packet that came in, and once more for each time that the target stops.
 */
void gdb_session_start(struct gdb_session *s, const struct gdb_target_ops *ops, void *ctx,
                       const char *description,
                       void (*output)(void *out_ctx, const void *data, size_t len), void *out_ctx);

/* Removes the breakpoints and detaches, unless the debugger has ended it. */
void gdb_session_end(struct gdb_session *s);

/* Takes bytes until a reply was given or all are taken; returns how many. */
size_t gdb_session_input(struct gdb_session *s, const uint8_t *data, size_t len);

/* A hart has stopped by itself. */
void gdb_session_stopped(struct gdb_session *s, unsigned hart, const struct gdb_stop *stop);
/* The machine has ended. */
void gdb_session_exited(struct gdb_session *s, unsigned code);

/* The target description for the ops' registers: malloc'ed XML, NULL when memory is short. */
char *gdb_describe_target(const struct gdb_target_ops *ops, void *ctx);
