#include "gdb_fake.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_A0 = 10, FAKE_S0 = 8, FAKE_MSTATUS = 0x300, FAKE_MHARTID = 0xf14 };

/* For promises of the stub. */
static void fake_check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "the stub broke its promise: %s\n", what);
        abort();
    }
}

void fake_init(struct fake *f, unsigned harts)
{
    static const uint32_t program[] = {0x00150513, 0x00a43023, 0xff9ff06f};
    memset(f, 0, sizeof *f);
    f->harts = harts;
    memcpy(f->mem, program, sizeof program);
    for (unsigned i = 0; i < harts; i++) {
        f->hart[i].pc = FAKE_BASE;
        f->hart[i].x[FAKE_S0] = FAKE_DATA;
        f->hart[i].action = GDB_RUN;
    }
    f->running = true;
}

static unsigned fake_hart_count(void *ctx)
{
    return ((struct fake *)ctx)->harts;
}

static void fake_attach(void *ctx)
{
    struct fake *f = ctx;
    fake_check(!f->attached, "attached twice");
    f->attached = true;
    f->running = false;
}

static void fake_detach(void *ctx)
{
    struct fake *f = ctx;
    fake_check(f->attached && !f->running, "detached while running");
    fake_check(!f->break_count, "breakpoints are left behind");
    f->attached = false;
    f->detaches++;
    for (unsigned i = 0; i < f->harts; i++)
        f->hart[i].action = GDB_RUN;
    f->running = true;
}

static void fake_stop(void *ctx)
{
    ((struct fake *)ctx)->running = false;
}

static void fake_resume(void *ctx, const enum gdb_action *actions)
{
    struct fake *f = ctx;
    fake_check(f->attached && !f->running, "resumed while running");
    for (unsigned i = 0; i < f->harts; i++)
        f->hart[i].action = actions[i];
    f->running = true;
    f->resumes++;
}

static void fake_kill(void *ctx)
{
    struct fake *f = ctx;
    fake_check(!f->break_count, "breakpoints are left behind");
    f->killed = true;
    f->attached = false;
}

static uint64_t *fake_reg(struct fake *f, unsigned hart, unsigned reg)
{
    fake_check(f->attached && !f->running, "registers touched while running");
    fake_check(hart < f->harts && reg <= GDB_REG_PRIV, "register out of range");
    struct fake_hart *h = &f->hart[hart];
    if (reg < 32)
        return &h->x[reg];
    if (reg == GDB_REG_PC)
        return &h->pc;
    if (reg < GDB_REG_CSR)
        return &h->f[reg - GDB_REG_F];
    return reg == GDB_REG_CSR + FAKE_MSTATUS ? &h->mstatus : NULL;
}

static bool fake_read_reg(void *ctx, unsigned hart, unsigned reg, uint64_t *value)
{
    const uint64_t *p = fake_reg(ctx, hart, reg);
    if (p)
        *value = *p;
    else if (reg == GDB_REG_CSR + FAKE_MHARTID)
        *value = hart;
    else if (reg == GDB_REG_PRIV)
        *value = 3;
    else
        return false;
    return true;
}

static bool fake_write_reg(void *ctx, unsigned hart, unsigned reg, uint64_t value)
{
    uint64_t *p = fake_reg(ctx, hart, reg);
    if (p && reg != 0)
        *p = value;
    return p && reg != 0;
}

static const char *fake_csr_name(void *ctx, unsigned csr)
{
    (void)ctx;
    return csr == FAKE_MSTATUS ? "mstatus" : csr == FAKE_MHARTID ? "mhartid" : NULL;
}

static size_t fake_clip(struct fake *f, uint64_t addr, size_t len)
{
    fake_check(f->attached && !f->running, "memory touched while running");
    if (addr - FAKE_BASE >= FAKE_SIZE)
        return 0;
    uint64_t left = FAKE_SIZE - (addr - FAKE_BASE);
    return len < left ? len : left;
}

static size_t fake_read_mem(void *ctx, unsigned hart, uint64_t addr, void *buf, size_t len)
{
    struct fake *f = ctx;
    fake_check(hart < f->harts, "hart out of range");
    size_t n = fake_clip(f, addr, len);
    memcpy(buf, f->mem + (n ? addr - FAKE_BASE : 0), n);
    return n;
}

static size_t fake_write_mem(void *ctx, unsigned hart, uint64_t addr, const void *buf, size_t len)
{
    struct fake *f = ctx;
    fake_check(hart < f->harts, "hart out of range");
    size_t n = fake_clip(f, addr, len);
    memcpy(f->mem + (n ? addr - FAKE_BASE : 0), buf, n);
    return n;
}

static int fake_set_break(void *ctx, enum gdb_break kind, uint64_t addr, uint64_t len, bool on)
{
    struct fake *f = ctx;
    unsigned i = 0;
    while (i < f->break_count &&
           (f->breaks[i].kind != kind || f->breaks[i].addr != addr || f->breaks[i].len != len))
        i++;
    if (!on) {
        fake_check(i < f->break_count, "a breakpoint that is not set is removed");
        f->breaks[i] = f->breaks[--f->break_count];
        return 0;
    }
    fake_check(i == f->break_count, "a breakpoint is set twice");
    if (i == ARRAY_SIZE(f->breaks))
        return -ENOSPC;
    f->breaks[i].kind = kind;
    f->breaks[i].addr = addr;
    f->breaks[i].len = len;
    f->break_count++;
    return 0;
}

static void fake_describe(void *ctx, unsigned hart, char *buf, size_t size)
{
    (void)ctx;
    if (hart == 1)
        snprintf(buf, size, "waiting");
}

const struct gdb_target_ops fake_ops = {
    .hart_count = fake_hart_count,
    .attach = fake_attach,
    .detach = fake_detach,
    .stop = fake_stop,
    .resume = fake_resume,
    .kill = fake_kill,
    .read_reg = fake_read_reg,
    .write_reg = fake_write_reg,
    .csr_name = fake_csr_name,
    .read_mem = fake_read_mem,
    .write_mem = fake_write_mem,
    .set_break = fake_set_break,
    .describe = fake_describe,
};

/* ---- execution ---- */

static void fake_report(struct fake *f, unsigned hart, const struct gdb_stop *stop)
{
    f->hart[hart].action = GDB_HOLD;
    if (f->attached)
        f->stopped(f->stopped_ctx, hart, stop);
}

static bool fake_at_break(const struct fake *f, uint64_t pc)
{
    for (unsigned i = 0; i < f->break_count; i++)
        if (f->breaks[i].kind == GDB_BREAK && f->breaks[i].addr == pc)
            return true;
    return false;
}

/* Executes one instruction; true if it wrote to a watched place. */
static bool fake_execute(struct fake *f, struct fake_hart *h, struct gdb_stop *stop)
{
    uint64_t offset = h->pc - FAKE_BASE;
    uint32_t insn = offset <= FAKE_SIZE - 4 ? le32_get(f->mem + offset) : 0;
    uint64_t addr = h->x[FAKE_S0];
    h->pc += 4;
    switch (insn) {
    case 0x00150513:
        h->x[FAKE_A0]++;
        return false;
    case 0xff9ff06f:
        h->pc -= 12;
        return false;
    case 0x00a43023:
        if (addr - FAKE_BASE <= FAKE_SIZE - 8)
            le64_put(f->mem + (addr - FAKE_BASE), h->x[FAKE_A0]);
        break;
    default: /* anything else hangs */
        h->pc -= 4;
        return false;
    }
    for (unsigned i = 0; i < f->break_count; i++) {
        if (f->breaks[i].kind == GDB_BREAK || f->breaks[i].kind == GDB_WATCH_READ ||
            f->breaks[i].addr - addr >= 8)
            continue;
        *stop = (struct gdb_stop){GDB_STOP_WATCH, f->breaks[i].kind, f->breaks[i].addr};
        return true;
    }
    return false;
}

static void fake_run_hart(struct fake *f, unsigned hart)
{
    struct fake_hart *h = &f->hart[hart];
    if (h->action == GDB_HOLD)
        return;
    struct gdb_stop stop = {.why = GDB_STOP_BREAK};
    bool step = h->action == GDB_STEP;
    if (!step && f->attached && fake_at_break(f, h->pc)) {
        fake_report(f, hart, &stop);
        return;
    }
    bool watched = fake_execute(f, h, &stop);
    if (step && !watched)
        stop.why = GDB_STOP_STEP;
    if (step || watched)
        fake_report(f, hart, &stop);
}

void fake_run(struct fake *f, unsigned n)
{
    while (n--)
        for (unsigned i = 0; i < f->harts; i++)
            if (f->running)
                fake_run_hart(f, i);
}
