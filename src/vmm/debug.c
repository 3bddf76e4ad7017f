/*
 * A machine of riscv64 harts as the target of the debugger's server.
 *
 * The debugger holds the machine while debug_held is set: then all vCPU threads are parked and what
 * they own is the loop's thread's. debug_action says what each hart does otherwise; it is written
 * by the loop's thread while they are parked and by a hart's own thread when it stops.
 */
#include "vmm/vm_internal.h"

#include "base/bits.h"
#include "core/addrspace.h"
#include "isa/riscv64/csr.h"
#include "isa/riscv64/disasm.h"
#include "isa/riscv64/hart.h"
#include "isa/riscv64/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct rv_hart *debug_hart(void *ctx, unsigned hart)
{
    struct vm *vm = ctx;
    return vm->machine->vcpus[hart].arch;
}

/* ---- running ---- */

static unsigned debug_hart_count(void *ctx)
{
    struct vm *vm = ctx;
    return vm->machine->vcpu_count;
}

static void debug_hold(void *ctx)
{
    struct vm *vm = ctx;
    if (vm->debug_held)
        return;
    vm_pause(vm);
    vm->debug_held = true;
}

static void debug_resume(void *ctx, const enum gdb_action *actions)
{
    struct vm *vm = ctx;
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vm->debug_action[i] = actions[i];
    vm->debug_held = false;
    vm_go_on(vm);
}

static void debug_detach(void *ctx)
{
    static const enum gdb_action run[GDB_MAX_HARTS] = {[0 ... GDB_MAX_HARTS - 1] = GDB_RUN};
    debug_resume(ctx, run);
}

static void debug_kill(void *ctx)
{
    vm_end(ctx, VM_END_QUIT, 0);
}

bool vm_debug_may_run(struct vm *vm, const struct vcpu *v)
{
    return !vm->gdb || vm->debug_action[v->index] != GDB_HOLD;
}

uint64_t vm_debug_before(struct vm *vm, struct vcpu *v, uint64_t limit)
{
    if (!vm->gdb)
        return limit;
    bool step = vm->debug_action[v->index] == GDB_STEP;
    v->debug.skip_breakpoint = step;
    v->debug.hold_interrupts = step;
    return step ? 1 : limit;
}

static enum gdb_break debug_watch_kind(unsigned kind)
{
    switch (kind) {
    case VCPU_WATCH_READ:
        return GDB_WATCH_READ;
    case VCPU_WATCH_WRITE:
        return GDB_WATCH_WRITE;
    default:
        return GDB_WATCH_ACCESS;
    }
}

void vm_debug_after(struct vm *vm, struct vcpu *v, enum vcpu_exit exit)
{
    if (!vm->gdb)
        return;
    struct gdb_stop stop = {.why = GDB_STOP_STEP};
    /* Whatever else ended the run, a kick or the limit: the watched access has been done. */
    if (v->debug.hit_watch) {
        v->debug.hit_watch = false;
        stop.why = GDB_STOP_WATCH;
        stop.watch = debug_watch_kind(v->debug.hit.kind);
        stop.addr = v->debug.hit.addr;
    } else if (exit == VCPU_EXIT_DEBUG) {
        stop.why = GDB_STOP_BREAK;
    } else if (vm->debug_action[v->index] != GDB_STEP || exit == VCPU_EXIT_KICK) {
        return;
    }
    vm->debug_action[v->index] = GDB_HOLD;
    gdbstub_stopped(vm->gdb, v->index, &stop);
    /* In this order: when the loop looks for what to do with parked vCPUs, the server has theirs.
     */
    vm_park_soon(vm);
}

/* ---- registers ---- */

static bool debug_read_reg(void *ctx, unsigned hart, unsigned reg, uint64_t *value)
{
    struct rv_hart *h = debug_hart(ctx, hart);
    if (reg < GDB_REG_PC)
        *value = h->x[reg];
    else if (reg == GDB_REG_PC)
        *value = h->pc;
    else if (reg < GDB_REG_CSR)
        *value = h->f[reg - GDB_REG_F];
    else if (reg == GDB_REG_PRIV)
        *value = h->priv;
    else
        return rv_csr_peek(h, reg - GDB_REG_CSR, value);
    return true;
}

static bool debug_write_priv(struct rv_hart *h, uint64_t value)
{
    if (value != RV_PRIV_U && value != RV_PRIV_S && value != RV_PRIV_M)
        return false;
    h->priv = (uint8_t)value;
    rv_hart_view_changed(h);
    return true;
}

static bool debug_write_reg(void *ctx, unsigned hart, unsigned reg, uint64_t value)
{
    struct rv_hart *h = debug_hart(ctx, hart);
    if (reg == 0)
        return false;
    if (reg < GDB_REG_PC)
        h->x[reg] = value;
    else if (reg == GDB_REG_PC)
        h->pc = value & ~UINT64_C(1);
    else if (reg < GDB_REG_CSR)
        h->f[reg - GDB_REG_F] = value;
    else if (reg == GDB_REG_PRIV)
        return debug_write_priv(h, value);
    else
        return rv_csr_poke(h, reg - GDB_REG_CSR, value);
    return true;
}

static const char *debug_csr_name(void *ctx, unsigned csr)
{
    uint64_t value;
    return rv_csr_peek(debug_hart(ctx, 0), csr, &value) ? rv_csr_name(csr) : NULL;
}

/* ---- memory ---- */

/* The part of [addr, addr + len) that lies on addr's page: its gpa, and its length (0: none). */
static size_t debug_page_part(const struct rv_hart *h, uint64_t addr, size_t len, gpa_t *gpa)
{
    uint64_t left = RV_PAGE - addr % RV_PAGE;
    if (!rv_translate_debug(h, addr, gpa))
        return 0;
    return len < left ? len : (size_t)left;
}

static size_t debug_read_mem(void *ctx, unsigned hart, uint64_t addr, void *buf, size_t len)
{
    struct vm *vm = ctx;
    size_t done = 0;
    while (done < len) {
        gpa_t gpa;
        size_t n = debug_page_part(debug_hart(ctx, hart), addr + done, len - done, &gpa);
        const void *p = n ? addrspace_readable(vm->machine->mem, gpa, n) : NULL;
        if (!p)
            break;
        memcpy((char *)buf + done, p, n);
        done += n;
    }
    return done;
}

static size_t debug_write_mem(void *ctx, unsigned hart, uint64_t addr, const void *buf, size_t len)
{
    struct vm *vm = ctx;
    size_t done = 0;
    while (done < len) {
        gpa_t gpa;
        size_t n = debug_page_part(debug_hart(ctx, hart), addr + done, len - done, &gpa);
        void *p = n ? addrspace_ram(vm->machine->mem, gpa, n) : NULL;
        if (!p)
            break;
        memcpy(p, (const char *)buf + done, n);
        done += n;
    }
    /* It may have been code. */
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vm->engine->fence_i(&vm->machine->vcpus[i]);
    return done;
}

/* ---- breakpoints: the same list in every vCPU ---- */

static int debug_set_breakpoint(struct vcpu_debug *d, gva_t addr, bool on)
{
    unsigned i = 0;
    if (on && d->breakpoint_count == VCPU_MAX_BREAKPOINTS)
        return -ENOSPC;
    if (on) {
        d->breakpoints[d->breakpoint_count++] = addr;
        return 0;
    }
    while (d->breakpoints[i] != addr)
        i++;
    d->breakpoints[i] = d->breakpoints[--d->breakpoint_count];
    return 0;
}

static int debug_set_watchpoint(struct vcpu_debug *d, const struct vcpu_watch *w, bool on)
{
    unsigned i = 0;
    if (on && d->watchpoint_count == VCPU_MAX_WATCHPOINTS)
        return -ENOSPC;
    if (on) {
        d->watchpoints[d->watchpoint_count++] = *w;
        return 0;
    }
    while (d->watchpoints[i].addr != w->addr || d->watchpoints[i].len != w->len ||
           d->watchpoints[i].kind != w->kind)
        i++;
    d->watchpoints[i] = d->watchpoints[--d->watchpoint_count];
    return 0;
}

static int debug_set_break(void *ctx, enum gdb_break kind, uint64_t addr, uint64_t len, bool on)
{
    static const unsigned kinds[] = {
        [GDB_WATCH_WRITE] = VCPU_WATCH_WRITE,
        [GDB_WATCH_READ] = VCPU_WATCH_READ,
        [GDB_WATCH_ACCESS] = VCPU_WATCH_READ | VCPU_WATCH_WRITE,
    };
    struct vm *vm = ctx;
    int rc = 0;
    for (unsigned i = 0; i < vm->machine->vcpu_count && !rc; i++) {
        struct vcpu *v = &vm->machine->vcpus[i];
        const struct vcpu_watch watch = {addr, len, kind == GDB_BREAK ? 0 : kinds[kind]};
        if (kind == GDB_BREAK)
            rc = debug_set_breakpoint(&v->debug, addr, on);
        else
            rc = debug_set_watchpoint(&v->debug, &watch, on);
        vm->engine->debug_changed(v);
    }
    return rc;
}

static void debug_describe(void *ctx, unsigned hart, char *buf, size_t size)
{
    static const char names[] = {[RV_PRIV_U] = 'U', [RV_PRIV_S] = 'S', [RV_PRIV_M] = 'M'};
    struct vm *vm = ctx;
    struct vcpu *v = &vm->machine->vcpus[hart];
    if (!vm->machine->ops->started(vm->machine, v))
        snprintf(buf, size, "not started");
    else
        snprintf(buf, size, "%c-mode%s", names[debug_hart(ctx, hart)->priv],
                 v->waiting ? ", waiting" : "");
}

static const struct gdb_target_ops debug_ops = {
    .hart_count = debug_hart_count,
    .attach = debug_hold,
    .detach = debug_detach,
    .stop = debug_hold,
    .resume = debug_resume,
    .kill = debug_kill,
    .read_reg = debug_read_reg,
    .write_reg = debug_write_reg,
    .csr_name = debug_csr_name,
    .read_mem = debug_read_mem,
    .write_mem = debug_write_mem,
    .set_break = debug_set_break,
    .describe = debug_describe,
};

/* ---- life ---- */

_Static_assert(VM_MAX_CPUS <= GDB_MAX_HARTS, "every vCPU is a thread of gdb's");

int vm_debug_open(struct vm *vm, struct error *err)
{
    vm->debug_held = true;
    for (unsigned i = 0; i < GDB_MAX_HARTS; i++)
        vm->debug_action[i] = GDB_RUN;
    vm->gdb = gdbstub_new(vm->config.gdb, vm->loop, &debug_ops, vm, err);
    return vm->gdb ? 0 : -err->code;
}

void vm_debug_ended(struct vm *vm)
{
    if (vm->gdb && vm->result.end != VM_END_LIMIT)
        gdbstub_exited(vm->gdb, vm->result.end == VM_END_FAILURE ? vm->result.code : 0);
}

unsigned vm_gdb_port(const struct vm *vm)
{
    return vm->gdb ? gdbstub_port(vm->gdb) : 0;
}

void vm_debug_close(struct vm *vm)
{
    struct gdbstub *gdb = vm->gdb;
    /* What the server does to say good-bye must not start a machine that goes away. */
    vm->ended = true;
    gdbstub_free(gdb);
    vm->gdb = NULL;
}
