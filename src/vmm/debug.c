/*
 * The machine as a debugger's target: what gdbstub.h asks for, over the vm. All of it runs on the
 * loop's thread; what it touches of a vCPU it touches while the vCPUs are parked.
 */
#include "vmm/gdbstub.h"
#include "vmm/vm_internal.h"

#include "isa/riscv64/csr.h"
#include "isa/riscv64/disasm.h"
#include "isa/riscv64/mmu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct rv_hart *hart_of(struct vm *vm, unsigned i)
{
    return vm->machine->vcpus[i].arch;
}

static unsigned target_hart_count(void *ctx)
{
    const struct vm *vm = ctx;
    return vm->machine->vcpu_count;
}

/* ---- running ---- */

static void target_stop(void *ctx)
{
    struct vm *vm = ctx;
    vm_pause(vm);
    vm->debug_stop = false;
}

static void target_resume(void *ctx, const enum gdb_action *actions)
{
    struct vm *vm = ctx;
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++) {
        vm->debug_action[i] = actions ? (uint8_t)actions[i] : GDB_RUN;
        vm->machine->vcpus[i].debug.skip_breakpoint = true;
    }
    vm->debug_stop = false;
    vm_resume(vm);
}

static void target_detach(void *ctx)
{
    target_resume(ctx, NULL);
}

static void target_kill(void *ctx)
{
    vm_end(ctx, VM_END_QUIT, 0);
}

/* ---- registers ---- */

static bool target_read_reg(void *ctx, unsigned hart, unsigned reg, uint64_t *value)
{
    struct rv_hart *h = hart_of(ctx, hart);
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

static bool target_write_reg(void *ctx, unsigned hart, unsigned reg, uint64_t value)
{
    struct rv_hart *h = hart_of(ctx, hart);
    if (reg == GDB_REG_PRIV && value != RV_PRIV_U && value != RV_PRIV_S && value != RV_PRIV_M)
        return false;
    if (reg > GDB_REG_CSR && reg != GDB_REG_PRIV)
        return rv_csr_poke(h, reg - GDB_REG_CSR, value);
    if (reg == GDB_REG_PRIV) {
        h->priv = (uint8_t)value;
        rv_hart_view_changed(h);
    } else if (reg == GDB_REG_PC) {
        h->pc = value & ~UINT64_C(1);
    } else if (reg >= GDB_REG_F) {
        h->f[reg - GDB_REG_F] = value;
    } else if (reg) {
        h->x[reg] = value;
    }
    return true;
}

static const char *target_csr_name(void *ctx, unsigned csr)
{
    uint64_t value;
    return rv_csr_peek(hart_of(ctx, 0), csr, &value) ? rv_csr_name(csr) : NULL;
}

/* ---- memory ---- */

/* Calls copy for each piece of [addr, addr+len) within a page; bytes done until one fails. */
static size_t each_page(struct vm *vm, unsigned hart, uint64_t addr, size_t len,
                        bool (*copy)(struct vm *vm, gpa_t gpa, void *buf, size_t len), void *buf)
{
    size_t done = 0;
    while (done < len) {
        gpa_t gpa;
        size_t piece = RV_PAGE - ((addr + done) & (RV_PAGE - 1));
        if (piece > len - done)
            piece = len - done;
        if (!rv_translate_debug(hart_of(vm, hart), addr + done, &gpa) ||
            !copy(vm, gpa, (char *)buf + done, piece))
            break;
        done += piece;
    }
    return done;
}

static bool copy_out(struct vm *vm, gpa_t gpa, void *buf, size_t len)
{
    return addrspace_copy_out(vm->machine->mem, gpa, buf, len);
}

static bool copy_in(struct vm *vm, gpa_t gpa, void *buf, size_t len)
{
    return addrspace_copy_in(vm->machine->mem, gpa, buf, len);
}

static size_t target_read_mem(void *ctx, unsigned hart, uint64_t addr, void *buf, size_t len)
{
    return each_page(ctx, hart, addr, len, copy_out, buf);
}

static size_t target_write_mem(void *ctx, unsigned hart, uint64_t addr, const void *buf, size_t len)
{
    struct vm *vm = ctx;
    size_t done = each_page(vm, hart, addr, len, copy_in, (void *)(uintptr_t)buf);
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++)
        vm->engine->fence_i(&vm->machine->vcpus[i]);
    return done;
}

/* ---- breakpoints ---- */

static int set_breakpoint(struct vcpu_debug *d, uint64_t addr, bool on)
{
    if (on) {
        if (d->breakpoint_count == VCPU_MAX_BREAKPOINTS)
            return -ENOSPC;
        d->breakpoints[d->breakpoint_count++] = addr;
        return 0;
    }
    for (unsigned i = 0; i < d->breakpoint_count; i++)
        if (d->breakpoints[i] == addr) {
            d->breakpoints[i] = d->breakpoints[--d->breakpoint_count];
            break;
        }
    return 0;
}

static int set_watchpoint(struct vcpu_debug *d, struct vcpu_watch w, bool on)
{
    if (on) {
        if (d->watchpoint_count == VCPU_MAX_WATCHPOINTS)
            return -ENOSPC;
        d->watchpoints[d->watchpoint_count++] = w;
        return 0;
    }
    for (unsigned i = 0; i < d->watchpoint_count; i++) {
        const struct vcpu_watch *o = &d->watchpoints[i];
        if (o->addr == w.addr && o->len == w.len && o->kind == w.kind) {
            d->watchpoints[i] = d->watchpoints[--d->watchpoint_count];
            break;
        }
    }
    return 0;
}

static unsigned watch_kind(enum gdb_break kind)
{
    return kind == GDB_WATCH_WRITE  ? VCPU_WATCH_WRITE
           : kind == GDB_WATCH_READ ? VCPU_WATCH_READ
                                    : VCPU_WATCH_READ | VCPU_WATCH_WRITE;
}

static int target_set_break(void *ctx, enum gdb_break kind, uint64_t addr, uint64_t len, bool on)
{
    struct vm *vm = ctx;
    int rc = 0;
    for (unsigned i = 0; i < vm->machine->vcpu_count; i++) {
        struct vcpu *v = &vm->machine->vcpus[i];
        if (kind == GDB_BREAK)
            rc = set_breakpoint(&v->debug, addr, on);
        else
            rc = set_watchpoint(&v->debug, (struct vcpu_watch){addr, len, watch_kind(kind)}, on);
        vm->engine->debug_changed(v);
    }
    return rc;
}

static void target_describe(void *ctx, unsigned hart, char *buf, size_t size)
{
    struct vm *vm = ctx;
    struct vcpu *v = &vm->machine->vcpus[hart];
    static const char *const privs[] = {"user", "supervisor", "?", "machine"};
    if (!vm->machine->ops->started(vm->machine, v))
        snprintf(buf, size, "not started");
    else
        snprintf(buf, size, "%s%s", privs[hart_of(vm, hart)->priv & 3],
                 v->waiting ? ", waiting" : "");
}

static const struct gdb_target_ops target_ops = {
    .hart_count = target_hart_count,
    .attach = target_stop,
    .detach = target_detach,
    .stop = target_stop,
    .resume = target_resume,
    .kill = target_kill,
    .read_reg = target_read_reg,
    .write_reg = target_write_reg,
    .csr_name = target_csr_name,
    .read_mem = target_read_mem,
    .write_mem = target_write_mem,
    .set_break = target_set_break,
    .describe = target_describe,
};

/* ---- what the run loop asks ---- */

uint64_t vm_debug_limit(const struct vm *vm, const struct vcpu *v)
{
    switch (vm->debug_action[v->index]) {
    case GDB_HOLD:
        return 0;
    case GDB_STEP:
        return 1;
    default:
        return UINT64_MAX;
    }
}

bool vm_debug_stopped(struct vm *vm)
{
    const struct vcpu_debug *d = &vm->machine->vcpus[vm->debug_vcpu].debug;
    struct gdb_stop stop = {.why = GDB_STOP_BREAK};
    if (!vm->gdb || !gdbstub_attached(vm->gdb))
        return false;
    if (d->hit_watch) {
        stop.why = GDB_STOP_WATCH;
        stop.watch = d->hit.kind == VCPU_WATCH_WRITE  ? GDB_WATCH_WRITE
                     : d->hit.kind == VCPU_WATCH_READ ? GDB_WATCH_READ
                                                      : GDB_WATCH_ACCESS;
        stop.addr = d->hit.addr;
    } else if (vm->debug_action[vm->debug_vcpu] == GDB_STEP) {
        stop.why = GDB_STOP_STEP;
    }
    gdbstub_stopped(vm->gdb, vm->debug_vcpu, &stop);
    return true;
}

bool vm_debug_wait(struct vm *vm)
{
    return vm->gdb;
}

int vm_debug_open(struct vm *vm, struct error *err)
{
    vm->gdb = gdbstub_new(vm->config.gdb, vm->loop, &target_ops, vm, err);
    return vm->gdb ? 0 : -err->code;
}

void vm_debug_ended(struct vm *vm)
{
    if (vm->gdb)
        gdbstub_exited(vm->gdb, vm->result.end == VM_END_FAILURE ? vm->result.code : 0);
}

void vm_debug_close(struct vm *vm)
{
    gdbstub_free(vm->gdb);
    vm->gdb = NULL;
}

unsigned vm_gdb_port(const struct vm *vm)
{
    return vm->gdb ? gdbstub_port(vm->gdb) : 0;
}
