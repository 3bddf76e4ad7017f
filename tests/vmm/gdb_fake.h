/*
 * A target for gdb: harts that know three instructions, in 4 KiB of memory at FAKE_BASE. They run
 * when fake_run is called.
 *
 *     0x80000000  addi a0, a0, 1
 *     0x80000004  sd   a0, 0(s0)       s0 = 0x80000800
 *     0x80000008  j    0x80000000
 *
 * fake_check aborts when the stub has broken a promise of gdbstub.h.
 */
#pragma once

#include "vmm/gdbstub.h"

#define FAKE_BASE UINT64_C(0x80000000)
#define FAKE_SIZE 4096u
#define FAKE_DATA (FAKE_BASE + 0x800)

struct fake_hart {
    uint64_t x[32], pc, f[32], mstatus;
    enum gdb_action action;
};

struct fake {
    unsigned harts;
    struct fake_hart hart[GDB_MAX_HARTS];
    uint8_t mem[FAKE_SIZE];
    struct {
        enum gdb_break kind;
        uint64_t addr, len;
    } breaks[64];
    unsigned break_count;
    bool attached, running, killed;
    unsigned detaches, resumes;
    /* Where stops go. */
    void (*stopped)(void *ctx, unsigned hart, const struct gdb_stop *stop);
    void *stopped_ctx;
};

extern const struct gdb_target_ops fake_ops;

void fake_init(struct fake *f, unsigned harts);
/* Every hart that may run executes up to n instructions. */
void fake_run(struct fake *f, unsigned n);
