#include "box.h"

#include "base/bits.h"
#include "engine/engines.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/mmu.h"

#include <stdio.h>
#include <stdlib.h>

#define SIGILL_NUMBER 4
#define WFI 0x10500073u

static uint64_t box_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void box_stimecmp_changed(struct rv_hart *h)
{
    (void)h;
}

static void box_check(int failed, const struct error *err)
{
    if (failed) {
        printf("cannot make a machine: %s\n", err->msg);
        abort();
    }
}

/* As an operating system starts a process: U-mode, floating point and cache blocks allowed. */
static void box_hart(struct box *b)
{
    struct rv_hart *h = &b->hart;
    h->exts = rv_exts_closure(RV_EXTS_DEFAULT);
    h->satp_max = RV_SATP_SV39;
    h->env = (struct rv_hart_env){.time = box_time, .stimecmp_changed = box_stimecmp_changed};
    h->irq_lines = &b->vcpu.irq_lines;
    rv_hart_reset(h, PROG_TEXT);
    h->mtvec = BOX_TRAP;
    h->mstatus = RV_MSTATUS_FS;
    h->menvcfg |= RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE;
    h->senvcfg |= RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE;
    h->mcounteren = h->scounteren = 7;
    h->pmpcfg[0] = 0x1f; /* NAPOT, everything */
    h->pmpaddr[0] = UINT64_MAX >> 10;
    rv_pmp_changed(h);
    h->priv = RV_PRIV_U;
    rv_hart_view_changed(h);
}

struct box *box_new(const struct engine_ops *engine, const struct prog *p)
{
    struct error err = {0};
    struct box *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    b->engine = engine;
    b->mem = addrspace_new(&err);
    box_check(!b->mem, &err);
    box_check(addrspace_add_ram(b->mem, BOX_TRAP, RV_PAGE, &err), &err);
    box_check(addrspace_add_ram(b->mem, PROG_TEXT, align_up(p->text_len, RV_PAGE), &err), &err);
    box_check(addrspace_add_ram(b->mem, PROG_DATA, p->data_len, &err), &err);
    uint8_t wfi[4];
    le32_put(wfi, WFI);
    addrspace_copy_in(b->mem, BOX_TRAP, wfi, sizeof wfi);
    addrspace_copy_in(b->mem, PROG_TEXT, p->text, p->text_len);
    addrspace_copy_in(b->mem, PROG_DATA, p->data, p->data_len);
    clock_init(&b->clock, true);
    vcpu_init(&b->vcpu, 0, b->mem, &b->clock);
    b->vcpu.arch = &b->hart;
    b->vcpu.engine = engine;
    box_hart(b);
    box_check(engine->attach(&b->vcpu, &err), &err);
    return b;
}

void box_free(struct box *b)
{
    b->engine->detach(&b->vcpu);
    clock_fini(&b->clock);
    addrspace_free(b->mem);
    free(b);
}

static void box_resume(struct box *b, uint64_t pc)
{
    b->hart.priv = RV_PRIV_U;
    b->hart.pc = pc;
    rv_hart_view_changed(&b->hart);
}

static enum box_end box_syscall(struct box *b)
{
    struct rv_hart *h = &b->hart;
    switch (h->x[17]) {
    case 64:
        b->output = addrspace_ram(b->mem, h->x[11], h->x[12]);
        b->output_len = h->x[12];
        h->x[10] = h->x[12];
        break;
    case 93:
        return BOX_EXITED;
    case 134:
        b->catches = true;
        h->x[10] = 0;
        break;
    default:
        return BOX_DIED;
    }
    box_resume(b, h->mepc + 4);
    return BOX_RUNS;
}

static enum box_end box_trap(struct box *b)
{
    struct rv_hart *h = &b->hart;
    if (h->mcause == RV_CAUSE_ECALL_U)
        return box_syscall(b);
    if (h->mcause == RV_CAUSE_ILLEGAL && b->catches) {
        h->x[PROG_SIGNAL_REG] = SIGILL_NUMBER;
        box_resume(b, h->x[PROG_RESUME_REG]);
        return BOX_RUNS;
    }
    return BOX_DIED;
}

enum box_end box_service(struct box *b, enum vcpu_exit exit)
{
    /* An engine may leave for other waits too; only the handler's is a trap. */
    return exit == VCPU_EXIT_WAIT && b->hart.priv == RV_PRIV_M ? box_trap(b) : BOX_RUNS;
}

enum box_end box_step(struct box *b, uint64_t max_insns)
{
    return box_service(b, b->engine->run(&b->vcpu, max_insns));
}

enum box_end box_run(struct box *b, uint64_t max_insns)
{
    const uint64_t *icount = b->engine->icount(&b->vcpu);
    enum box_end end = BOX_RUNS;
    while (end == BOX_RUNS && *icount < max_insns)
        end = box_step(b, max_insns - *icount);
    return end;
}
