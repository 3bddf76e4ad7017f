/*
 * A debugger's door: a server of gdb's remote serial protocol for the harts of one machine.
 *
 * The server knows neither engine nor machine: it asks a target through gdb_target_ops. Harts are
 * gdb's threads: hart i is thread i+1. It works in gdb's all-stop mode: either the target runs
 * (some harts may be held back) or all harts stand still, and only then are registers and memory
 * touched. While a debugger is connected the target belongs to it.
 *
 * Whoever can connect controls the machine, so TCP listens on 127.0.0.1 only, and a Unix socket is
 * made with mode 0600. What comes in is hostile input: packets are bounded, wrong ones are answered
 * with an error, and nothing that a client sends makes guise use more memory.
 *
 * Threads: gdbstub_stopped may be called from any thread. The rest, and every call into the target,
 * belongs to the loop's thread.
 *
 * Reference: "Debugging with gdb", appendix E (remote protocol) and G.5.11 (RISC-V features).
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gdbstub;
struct loop;

#define GDB_MAX_HARTS 64

/* Register numbers of riscv64; what gdb is told in the target description. */
enum {
    GDB_REG_X = 0,       /* x0 .. x31 */
    GDB_REG_PC = 32,     /* */
    GDB_REG_F = 33,      /* f0 .. f31 */
    GDB_REG_CSR = 65,    /* + CSR address, 0 .. 4095 */
    GDB_REG_PRIV = 4161, /* privilege: 0 U, 1 S, 3 M */
};

enum gdb_action {
    GDB_HOLD, /* stands still */
    GDB_RUN,
    GDB_STEP, /* one instruction, then gdbstub_stopped with GDB_STOP_STEP */
};

enum gdb_break {
    GDB_BREAK,       /* before the instruction at addr executes */
    GDB_WATCH_WRITE, /* after an instruction has changed a byte of [addr, addr+len) */
    GDB_WATCH_READ,
    GDB_WATCH_ACCESS,
};

enum gdb_stop_why {
    GDB_STOP_BREAK, /* the pc is at a GDB_BREAK, whose instruction has not been executed */
    /*
     * A watched access has been done: the pc is behind it. gdb takes a RISC-V stop to come before
     * the access, steps once and then compares; it shows the pc of one instruction later.
     */
    GDB_STOP_WATCH,
    GDB_STOP_STEP,
    GDB_STOP_OTHER, /* the machine stopped for a reason of its own: shows as SIGTRAP */
};

struct gdb_stop {
    enum gdb_stop_why why;
    enum gdb_break watch; /* GDB_STOP_WATCH: which kind was hit */
    uint64_t addr;        /* GDB_STOP_WATCH: an address in the watched range */
};

struct gdb_target_ops {
    /* 1 .. GDB_MAX_HARTS, constant. */
    unsigned (*hart_count)(void *ctx);

    /*
     * A debugger has come: all harts stand still when it returns. detach is the other end: harts go
     * on as if there had been no debugger (its breakpoints are removed before).
     */
    void (*attach)(void *ctx);
    void (*detach)(void *ctx);

    /* All harts stand still when it returns, and none calls gdbstub_stopped until resumed. */
    void (*stop)(void *ctx);
    /* What each hart does from now on, one action per hart. Returns at once. */
    void (*resume)(void *ctx, const enum gdb_action *actions);
    /* The debugger wants the machine to end. */
    void (*kill)(void *ctx);

    /* Only while all stand still. False: there is no such register, or it cannot be changed. */
    bool (*read_reg)(void *ctx, unsigned hart, unsigned reg, uint64_t *value);
    bool (*write_reg)(void *ctx, unsigned hart, unsigned reg, uint64_t value);
    /* The name of a CSR that this machine has, NULL otherwise. Constant. */
    const char *(*csr_name)(void *ctx, unsigned csr);

    /*
     * Memory as the hart sees it now (its translation, without permission checks). Returns how many
     * bytes from addr on could be copied; devices are not touched.
     */
    size_t (*read_mem)(void *ctx, unsigned hart, uint64_t addr, void *buf, size_t len);
    size_t (*write_mem)(void *ctx, unsigned hart, uint64_t addr, const void *buf, size_t len);

    /*
     * Sets or removes a breakpoint or watchpoint on all harts. Never set twice, never removed if
     * not set. 0, -ENOSPC when there are too many, -ENOTSUP.
     */
    int (*set_break)(void *ctx, enum gdb_break kind, uint64_t addr, uint64_t len, bool on);

    /* Optional: a few words about the hart for "info threads", such as "waiting". */
    void (*describe)(void *ctx, unsigned hart, char *buf, size_t size);
};

/*
 * Listens at `where`: a port number of 127.0.0.1 (0: one that is free) or unix:PATH. One debugger
 * at a time. NULL with *err: EINVAL for another text, or the host's error. Loop and target must
 * live longer.
 */
struct gdbstub *gdbstub_new(const char *where, struct loop *loop, const struct gdb_target_ops *ops,
                            void *ctx, struct error *err);

/* Closes the connection and the socket (detaches if a debugger is there). NULL is allowed. */
void gdbstub_free(struct gdbstub *stub);
/*
 * The path of the Unix socket, NULL: none. The caller frees it, and removes the socket at the end
 * instead of gdbstub_free.
 */
char *gdbstub_take_path(struct gdbstub *stub);

/* The TCP port, 0 for a Unix socket. */
unsigned gdbstub_port(const struct gdbstub *stub);

/* Is a debugger connected? */
bool gdbstub_attached(const struct gdbstub *stub);

/*
 * A hart that was resumed has stopped by itself. Other harts may still run: the server stops them.
 * Ignored when no debugger is there.
 */
void gdbstub_stopped(struct gdbstub *stub, unsigned hart, const struct gdb_stop *stop);

/*
 * The machine has ended with this exit code: the debugger is told at once and the connection ends.
 * On the loop's thread.
 */
void gdbstub_exited(struct gdbstub *stub, unsigned code);
