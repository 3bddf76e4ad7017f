/*
 * The translator's engine: regions, where they are installed, how they are entered and linked.
 *
 * Once in a region, guest code runs without the interpreter as long as it can: what a region does
 * not do itself (traps, system instructions, most CSRs) is done here, and the next region entered.
 *
 * A region belongs to one vCPU, one page of decoded code and one view of memory, and is entered
 * from the interpreter (slot with native code), through the jump cache (target of an indirect exit)
 * or by a linked exit of another region of the same page. Rules that keep this exact:
 *
 *  1. The translation of the page that a region lies in was checked when it was entered from the
 *     interpreter or put into the jump cache. Whatever drops translations (tlb_epoch) or makes code
 *     stale (code_epoch) happens outside regions, and empties the jump caches before the next one
 * is entered. Links stay: they do not leave the page.
 *  2. The view of memory changes only outside regions. There is a jump cache for each view.
 *  3. A region that uses floating point leaves at its entry unless mstatus.FS is dirty and frm one
 *     of the host's rounding modes. The engine makes FS dirty then, if it is on.
 *  4. When a page's bytes change its regions are freed. Nothing refers to them any more: links come
 *     from the same page, and the jump caches are emptied.
 *  5. When code memory is full everything is dropped, at the next entry of the engine.
 */
#include "engine/dbt/dbt.h"

#include "base/bits.h"
#include "engine/dbt/backend.h"
#include "engine/dbt/front.h"
#include "engine/dbt/helpers.h"
#include "engine/interp/code.h"
#include "engine/interp/interp.h"
#include "engine/rv_mem.h"
#include "engine/rv_sys.h"
#include "host/codemem.h"
#include "host/x86_64/asm.h"
#include "host/x86_64/features.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/fp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CODE_SIZE (64u << 20)    /* of each vCPU; resident as it is used */
#define REGION_CODE (256u << 10) /* largest region's code */
#define THUNK_CODE 4096u
#define MAX_REGIONS 32768u
#define MAX_LINKS 262144u
#define HASH_SIZE 65536u
#define JUMP_CACHE 4096u /* entries for each view */
#define NONE UINT32_MAX

struct jump_entry {
    uint64_t pc;
    const void *code;
};

struct region {
    uint64_t pc;
    struct code_page *page;
    uint8_t *code; /* rw view; NULL: cannot be compiled */
    uint32_t size;
    uint32_t hash_next, page_next; /* index + 1, 0: end */
    uint8_t view;
    bool uses_fp;
};

struct link {
    uint64_t pc;
    uint32_t region;
    uint8_t *field; /* rw view */
};

struct dbt {
    struct codemem mem;
    uint64_t (*enter)(void *hart, const void *code);
    struct back_thunks thunks;
    const uint8_t *thunks_exec;
    struct back_target target;
    const void *helpers[DBT_HELPERS];
    struct ir *ir;
    struct ir_live *live;
    struct back *back;
    struct back_code out;

    struct region *regions;
    uint32_t region_count;
    struct link *links;
    uint32_t link_count;
    uint32_t hash[HASH_SIZE]; /* index + 1 */
    struct jump_entry *jump[RV_VIEWS];

    uint64_t seen_tlb_epoch, seen_code_epoch;
    bool jump_used[RV_VIEWS];
    bool full;             /* drop everything at the next entry */
    struct rv_fault fault; /* of a helper that asked to leave */
    uint64_t compiled, compiled_insns, given_up, entries;
    FILE *dump;
};

static struct dbt *dbt_of(const struct vcpu *v)
{
    return interp_hooks_data(v);
}

void dbt_leave(struct rv_hart *h, const struct rv_fault *fault)
{
    struct dbt *d = dbt_of(h->env.ctx);
    d->fault = *fault;
    h->engine[DBT_WORD_EXIT] = 1;
}

/* ---- jump cache ---- */

static struct jump_entry *jump_slot(struct dbt *d, unsigned view, uint64_t pc)
{
    return &d->jump[view][pc / 2 % JUMP_CACHE];
}

static void jump_put(struct dbt *d, const struct rv_hart *h, const struct region *r)
{
    d->jump_used[h->view] = true;
    *jump_slot(d, h->view, r->pc) =
        (struct jump_entry){.pc = r->pc, .code = codemem_to_rx(&d->mem, r->code)};
}

static void jump_clear_all(struct dbt *d)
{
    for (unsigned view = 0; view < RV_VIEWS; view++) {
        if (d->jump_used[view])
            memset(d->jump[view], 0xff, JUMP_CACHE * sizeof *d->jump[view]);
        d->jump_used[view] = false;
    }
}

/* Rules 1 and 2: before a region is entered. */
static void dbt_settle(struct dbt *d, struct rv_hart *h)
{
    if (d->seen_tlb_epoch != h->tlb_epoch || d->seen_code_epoch != h->code_epoch) {
        jump_clear_all(d);
        d->seen_tlb_epoch = h->tlb_epoch;
        d->seen_code_epoch = h->code_epoch;
    }
    h->engine[DBT_WORD_FP_BAD] = h->frm > FP_RUP;
    h->engine[DBT_WORD_JUMP] = (uint64_t)(uintptr_t)d->jump[h->view];
}

/* ---- regions ---- */

static uint32_t *hash_bucket(struct dbt *d, uint64_t pc, unsigned view)
{
    uint64_t key = (pc ^ pc >> 17 ^ (uint64_t)view << 13) / 2;
    return &d->hash[key * UINT64_C(0x9e3779b97f4a7c15) >> 48 & (HASH_SIZE - 1)];
}

static struct region *region_find(struct dbt *d, uint64_t pc, unsigned view,
                                  const struct code_page *page)
{
    for (uint32_t i = *hash_bucket(d, pc, view); i; i = d->regions[i - 1].hash_next) {
        struct region *r = &d->regions[i - 1];
        if (r->pc == pc && r->view == view && r->page == page)
            return r;
    }
    return NULL;
}

static void region_unhash(struct dbt *d, uint32_t index)
{
    struct region *r = &d->regions[index];
    for (uint32_t *p = hash_bucket(d, r->pc, r->view); *p; p = &d->regions[*p - 1].hash_next)
        if (*p == index + 1) {
            *p = r->hash_next;
            return;
        }
}

static void dbt_drop_all(struct vcpu *v, struct dbt *d)
{
    memset(d->hash, 0, sizeof d->hash);
    d->region_count = 0;
    d->link_count = 0;
    jump_clear_all(d);
    (void)v;
}

static void dbt_page_changed(struct vcpu *v, struct code_page *page)
{
    struct dbt *d = dbt_of(v);
    if (!page) {
        dbt_drop_all(v, d);
        d->full = true; /* the memory is given back at the next entry */
        return;
    }
    for (uint32_t i = page->native_list; i; i = d->regions[i - 1].page_next) {
        region_unhash(d, i - 1);
        if (d->regions[i - 1].code)
            codemem_free(&d->mem, d->regions[i - 1].code, d->regions[i - 1].size);
    }
    page->native_list = 0;
    jump_clear_all(d);
}

/* ---- thunks ---- */

/* The thunks come first in the code memory, also after it was emptied. */
static int dbt_make_thunks(struct dbt *d, struct error *err)
{
    uint8_t *rw = codemem_alloc(&d->mem, THUNK_CODE);
    if (!rw || !back_emit_thunks(&d->target, &d->out, &d->thunks))
        return error_set(err, ENOMEM, "no room for the translator's entry code");
    memcpy(rw, d->out.bytes, d->out.size);
    d->thunks_exec = codemem_to_rx(&d->mem, rw);
    const uint8_t *enter = d->thunks_exec + d->thunks.enter;
    memcpy(&d->enter, &enter, sizeof d->enter);
    return 0;
}

/* ---- compiling ---- */

static bool dbt_room(struct dbt *d)
{
    if (d->region_count == MAX_REGIONS || d->link_count + 1024 > MAX_LINKS)
        d->full = true;
    return !d->full;
}

/* Host code for what d->ir holds, in its place; NULL if it is given up. */
static uint8_t *dbt_emit(struct dbt *d, const struct rv_hart *h)
{
    d->target.tlb_offset = (int32_t)(offsetof(struct rv_hart, tlb[0]) + h->view * sizeof h->tlb[0]);
    if (!ir_live_build(d->live, d->ir) ||
        !back_compile(d->back, &d->target, d->ir, d->live, &d->out, d->dump))
        return NULL;
    uint8_t *code = codemem_alloc(&d->mem, d->out.size);
    if (!code) {
        d->full = true;
        return NULL;
    }
    memcpy(code, d->out.bytes, d->out.size);
    back_place(&d->out, code, codemem_to_rx(&d->mem, code), &d->thunks, d->thunks_exec);
    return code;
}

/* Ends the dump of a region with where it is and what it is. */
static void dbt_dump_region(struct dbt *d, uint64_t pc, const uint8_t *code)
{
    if (!d->dump)
        return;
    if (code)
        fprintf(d->dump, "region %llx at %p size %zx\n\n", (unsigned long long)pc,
                (const void *)codemem_to_rx(&d->mem, code), d->out.size);
    else
        fprintf(d->dump, "region %llx given up\n\n", (unsigned long long)pc);
    funlockfile(d->dump);
}

/*
 * The region for a slot in the hart's view, compiled now; NULL when there is no room. A region that
 * cannot be compiled is kept without code, so that it is not tried again.
 */
static struct region *dbt_compile(struct vcpu *v, struct code_page *page, unsigned slot,
                                  uint64_t page_va)
{
    struct dbt *d = dbt_of(v);
    const struct rv_hart *h = v->arch;
    const struct front_input in = {.page = page->bytes,
                                   .page_va = page_va,
                                   .entry = slot * 2,
                                   .exts = h->exts,
                                   .view = h->view};
    struct front_info info;
    uint8_t *code = NULL;
    if (!dbt_room(d))
        return NULL;
    if (front_build(d->ir, &in, &info)) {
        ir_optimize(d->ir, NULL, false, NULL);
        if (d->dump)
            flockfile(d->dump); /* vCPUs share it */
        code = dbt_emit(d, h);
        dbt_dump_region(d, page_va + slot * 2, code);
    }
    if (d->full)
        return NULL;
    struct region *r = &d->regions[d->region_count++];
    uint32_t *bucket = hash_bucket(d, page_va + slot * 2, h->view);
    *r = (struct region){
        .pc = page_va + slot * 2,
        .page = page,
        .code = code,
        .size = code ? (uint32_t)d->out.size : 0,
        .hash_next = *bucket,
        .page_next = page->native_list,
        .view = h->view,
        .uses_fp = info.uses_fp,
    };
    *bucket = page->native_list = d->region_count;
    if (!code) {
        d->given_up++;
        return r;
    }
    for (uint32_t i = 0; i < d->out.link_count; i++) {
        const struct back_link *l = &d->out.links[i];
        le32_put(code + l->index, d->link_count);
        d->links[d->link_count++] =
            (struct link){.pc = l->pc, .region = d->region_count - 1, .field = code + l->field};
    }
    d->compiled++;
    d->compiled_insns += info.insns;
    return r;
}

static void dbt_hot(struct vcpu *v, struct code_page *page, unsigned slot, uint64_t page_va)
{
    const struct rv_hart *h = v->arch;
    struct dbt *d = dbt_of(v);
    /* Code sees its own view; with MPRV data has another one, and that is not compiled. */
    if (h->mstatus & RV_MSTATUS_MPRV)
        return;
    const struct region *r = region_find(d, page_va + slot * 2, h->view, page);
    if (!r)
        r = dbt_compile(v, page, slot, page_va);
    if (r && r->code)
        interp_install(v, page, slot);
}

/* ---- running ---- */

/* Rule 3. */
static bool region_fits(const struct region *r, struct rv_hart *h)
{
    if (!r || !r->code)
        return false;
    if (!r->uses_fp)
        return true;
    if (!(h->mstatus & RV_MSTATUS_FS) || h->frm > FP_RUP)
        return false;
    h->mstatus |= RV_MSTATUS_FS;
    return true;
}

/* The decoded page that h->pc is on, if its translation is at hand. */
static struct code_page *dbt_page(const struct rv_hart *h)
{
    const struct rv_fetch_entry *e = &h->fetch[h->fetch_view][h->pc / RV_PAGE % RV_FETCH_SIZE];
    return e->tag == align_down(h->pc, RV_PAGE) ? e->code : NULL;
}

/* The region to go on in at h->pc; NULL: the interpreter goes on. */
static struct region *dbt_next(struct vcpu *v)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    if (d->full || (h->mstatus & RV_MSTATUS_MPRV))
        return NULL;
    dbt_settle(d, h);
    struct code_page *page = dbt_page(h);
    if (!page)
        return NULL;
    struct region *r = region_find(d, h->pc, h->view, page);
    unsigned slot = (unsigned)(h->pc % RV_PAGE / 2);
    if (!r && interp_heat(v, page, slot)) {
        dbt_hot(v, page, slot, align_down(h->pc, RV_PAGE));
        r = region_find(d, h->pc, h->view, page);
    }
    if (!region_fits(r, h))
        return NULL;
    jump_put(d, h, r);
    return r;
}

/* A direct exit was taken that is not linked: links it if it may be (rule 1). */
static struct region *dbt_follow(struct vcpu *v, uint32_t index)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    const struct link *l = &d->links[index];
    h->pc = l->pc;
    const struct region *from = &d->regions[l->region];
    struct region *to = region_find(d, l->pc, from->view, from->page);
    if (!to)
        return dbt_next(v);
    if (!region_fits(to, h))
        return NULL;
    asm_patch_rel32(l->field, to->code);
    return to;
}

/* ---- what regions leave to the engine ---- */

static bool dbt_interrupt(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    int irq = v->debug.hold_interrupts ? -1 : rv_interrupt_pending(h);
    if (irq >= 0)
        rv_trap_interrupt(h, (unsigned)irq);
    return irq >= 0;
}

static void dbt_trap(struct vcpu *v, enum rv_cause cause, uint64_t tval)
{
    const struct rv_fault fault = {cause, tval};
    interp_trap(v, &fault);
}

/* System instructions; false, nothing done: the interpreter's, they leave the engine. */
static bool dbt_system(struct vcpu *v, const struct rv_insn *in, uint32_t bits)
{
    struct rv_hart *h = v->arch;
    if (in->op == RV_OP_WFI)
        return false;
    switch (rv_sys_exec(v, in->op, h->x[in->rs1], in->rs1)) {
    case RV_SYS_NEXT:
        h->pc += in->len;
        h->icount++;
        return true;
    case RV_SYS_JUMP:
        h->icount++;
        return true;
    case RV_SYS_ILLEGAL:
        dbt_trap(v, RV_CAUSE_ILLEGAL, bits);
        return true;
    case RV_SYS_ECALL:
        dbt_trap(v, RV_CAUSE_ECALL_U + h->priv, 0);
        return true;
    case RV_SYS_EBREAK:
        dbt_trap(v, RV_CAUSE_BREAKPOINT, h->pc);
        return true;
    default: /* a call: has done nothing yet */
        return false;
    }
}

static void dbt_csr(struct vcpu *v, const struct rv_insn *in, uint32_t bits)
{
    struct rv_hart *h = v->arch;
    unsigned effects;
    if (!rv_sys_csr(h, in->op, (unsigned)in->imm, in->rd, in->rs1, &effects)) {
        dbt_trap(v, RV_CAUSE_ILLEGAL, bits);
        return;
    }
    h->pc += in->len;
    h->icount++;
}

/* Executes the instruction at h->pc if it is one of those above. */
static bool dbt_execute(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    const struct code_page *page = dbt_page(h);
    unsigned offset = (unsigned)(h->pc % RV_PAGE);
    struct rv_insn in;
    if (!page || (page->bytes[offset] & 3) != 3 || offset + 4 > RV_PAGE)
        return false;
    uint32_t bits = le32_get(page->bytes + offset);
    if ((bits & 0x7f) != 0x73 || !rv_decode(bits, h->exts, &in))
        return false;
    switch (rv_op_info(in.op)->kind) {
    case RV_KIND_CSR:
        dbt_csr(v, &in, bits);
        return true;
    case RV_KIND_SYSTEM:
        return dbt_system(v, &in, bits);
    default:
        return false;
    }
}

/* A region was left before the instruction at h->pc, which is not compiled or must wait. */
static struct region *dbt_instruction(struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    if (dbt_interrupt(v))
        return dbt_next(v);
    if (dbt_execute(v)) {
        dbt_interrupt(v);
        return dbt_next(v);
    }
    return (h->mstatus & RV_MSTATUS_FS) != RV_MSTATUS_FS ? dbt_next(v) : NULL;
}

static struct region *dbt_left(struct vcpu *v, uint64_t why)
{
    struct dbt *d = dbt_of(v);
    switch ((uint32_t)why) {
    case BACK_THUNK_EXIT:
        return dbt_follow(v, (uint32_t)(why >> 32));
    case BACK_THUNK_INDIRECT:
        return dbt_next(v);
    case BACK_THUNK_INTERP:
        return dbt_instruction(v);
    case BACK_THUNK_TRAP:
        interp_trap(v, &d->fault);
        return dbt_next(v);
    default:
        return NULL;
    }
}

/* The slot's native code was reached: runs regions until the interpreter has to go on, at h->pc. */
static bool dbt_native(struct vcpu *v, struct code_page *page, unsigned slot, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    if (d->full || (h->mstatus & RV_MSTATUS_MPRV))
        return false;
    dbt_settle(d, h);
    struct region *r = region_find(d, pc, h->view, page);
    if (!r)
        r = dbt_compile(v, page, slot, align_down(pc, RV_PAGE));
    if (!region_fits(r, h))
        return false;
    jump_put(d, h, r);
    uint64_t before = h->icount;
    while (r) {
        h->engine[DBT_WORD_EXIT] = 0;
        d->entries++;
        r = dbt_left(v, d->enter(h, codemem_to_rx(&d->mem, r->code)));
    }
    /* An entry that is stopped at once has done nothing; then the interpreter must go on. */
    return h->icount != before || h->pc != pc;
}

static enum vcpu_exit dbt_run(struct vcpu *v, uint64_t max_insns)
{
    struct dbt *d = dbt_of(v);
    if (d->full) {
        interp_forget(v);
        codemem_reset(&d->mem);
        dbt_make_thunks(d, NULL);
        dbt_drop_all(v, d);
        d->full = false;
    }
    return engine_interp.run(v, max_insns);
}

/* ---- life ---- */

static const struct interp_hooks dbt_hooks = {
    .hot = dbt_hot,
    .native = dbt_native,
    .page_changed = dbt_page_changed,
    .threshold = 128,
};

static const struct interp_hooks dbt_eager_hooks = {
    .hot = dbt_hot,
    .native = dbt_native,
    .page_changed = dbt_page_changed,
    .threshold = 1,
};

static void dbt_target(struct dbt *d)
{
    struct back_target *t = &d->target;
    for (unsigned i = 0; i < 32; i++) {
        t->slot_offset[i] = (int32_t)offsetof(struct rv_hart, x[i]);
        t->slot_offset[FRONT_SLOT_F + i] = (int32_t)offsetof(struct rv_hart, f[i]);
    }
    t->slot_offset[FRONT_SLOT_MSTATUS] = (int32_t)offsetof(struct rv_hart, mstatus);
    t->slot_offset[FRONT_SLOT_SSCRATCH] = (int32_t)offsetof(struct rv_hart, sscratch);
    t->slot_offset[FRONT_SLOT_SEPC] = (int32_t)offsetof(struct rv_hart, sepc);
    t->slot_offset[FRONT_SLOT_SCAUSE] = (int32_t)offsetof(struct rv_hart, scause);
    t->slot_offset[FRONT_SLOT_STVAL] = (int32_t)offsetof(struct rv_hart, stval);
    t->pc_offset = (int32_t)offsetof(struct rv_hart, pc);
    t->icount_offset = (int32_t)offsetof(struct rv_hart, icount);
    t->stop_at_pointer_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_STOP_AT]);
    t->fflags_offset = (int32_t)offsetof(struct rv_hart, fflags);
    t->frm_offset = (int32_t)offsetof(struct rv_hart, frm);
    t->helpers_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_HELPERS]);
    t->exit_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_EXIT]);
    t->jump_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_JUMP]);
    t->jump_entries = JUMP_CACHE;
    memset(t->slot_type, IR_I64, FRONT_SLOTS);
    memset(t->slot_type + FRONT_SLOT_F, IR_F64, 32);
    t->tlb_entries = RV_TLB_SIZE;
    host_features_probe(&t->features);
}

static void dbt_free(struct dbt *d)
{
    if (!d)
        return;
    codemem_fini(&d->mem);
    ir_free(d->ir);
    ir_live_free(d->live);
    back_free(d->back);
    free(d->out.bytes);
    back_code_fini(&d->out);
    free(d->regions);
    free(d->links);
    for (unsigned view = 0; view < RV_VIEWS; view++)
        free(d->jump[view]);
    free(d);
}

static struct dbt *dbt_new(struct error *err)
{
    struct dbt *d = calloc(1, sizeof *d);
    bool ok = d && !codemem_init(&d->mem, CODE_SIZE, err);
    if (ok) {
        d->ir = ir_new();
        d->live = ir_live_new();
        d->back = back_new();
        back_code_init(&d->out, malloc(REGION_CODE), REGION_CODE);
        d->regions = calloc(MAX_REGIONS, sizeof *d->regions);
        d->links = calloc(MAX_LINKS, sizeof *d->links);
        ok = d->ir && d->live && d->back && d->out.bytes && d->regions && d->links;
        for (unsigned view = 0; view < RV_VIEWS; view++)
            ok &= (d->jump[view] = calloc(JUMP_CACHE, sizeof *d->jump[view])) != NULL;
    }
    if (!ok) {
        dbt_free(d);
        error_set(err, ENOMEM, "out of memory for the translator");
        return NULL;
    }
    memset(d->jump_used, 1, sizeof d->jump_used);
    jump_clear_all(d);
    dbt_target(d);
    if (dbt_make_thunks(d, err)) {
        dbt_free(d);
        return NULL;
    }
    return d;
}

static int dbt_attach_with(struct vcpu *v, const struct interp_hooks *hooks, struct error *err)
{
    struct rv_hart *h = v->arch;
    struct dbt *d = dbt_new(err);
    if (!d)
        return -ENOMEM;
    int rc = interp_attach(v, hooks, d, err);
    if (rc) {
        dbt_free(d);
        return rc;
    }
    h->engine[DBT_WORD_STOP_AT] = (uint64_t)(uintptr_t)&v->stop_at;
    dbt_helpers(d->helpers, &d->target);
    h->engine[DBT_WORD_HELPERS] = (uint64_t)(uintptr_t)d->helpers;
    return 0;
}

static int dbt_attach(struct vcpu *v, struct error *err)
{
    return dbt_attach_with(v, &dbt_hooks, err);
}

static int dbt_attach_eager(struct vcpu *v, struct error *err)
{
    return dbt_attach_with(v, &dbt_eager_hooks, err);
}

static void dbt_detach(struct vcpu *v)
{
    if (!v->engine_data)
        return;
    struct dbt *d = dbt_of(v);
    engine_interp.detach(v);
    dbt_free(d);
}

static void dbt_stats(const struct vcpu *v, struct engine_stats *out)
{
    const struct dbt *d = dbt_of(v);
    engine_interp.stats(v, out);
    out->regions = d->compiled;
    out->region_insns = d->compiled_insns;
    out->region_entries = d->entries;
    out->code_bytes = d->mem.used;
}

static void dbt_set_dump(struct vcpu *v, FILE *out)
{
    dbt_of(v)->dump = out;
}

static const uint64_t *dbt_icount(const struct vcpu *v)
{
    return engine_interp.icount(v);
}

static void dbt_debug_changed(struct vcpu *v)
{
    engine_interp.debug_changed(v);
}

static void dbt_flush_tlb(struct vcpu *v)
{
    engine_interp.flush_tlb(v);
}

static void dbt_fence_i(struct vcpu *v)
{
    engine_interp.fence_i(v);
}

const struct engine_ops engine_dbt = {
    .name = "dbt",
    .attach = dbt_attach,
    .detach = dbt_detach,
    .run = dbt_run,
    .debug_changed = dbt_debug_changed,
    .flush_tlb = dbt_flush_tlb,
    .fence_i = dbt_fence_i,
    .loaded = rv_mem_relink,
    .icount = dbt_icount,
    .stats = dbt_stats,
    .dump = dbt_set_dump,
};

const struct engine_ops engine_dbt_eager = {
    .name = "dbt-eager",
    .attach = dbt_attach_eager,
    .detach = dbt_detach,
    .run = dbt_run,
    .debug_changed = dbt_debug_changed,
    .flush_tlb = dbt_flush_tlb,
    .fence_i = dbt_fence_i,
    .loaded = rv_mem_relink,
    .icount = dbt_icount,
    .stats = dbt_stats,
    .dump = dbt_set_dump,
};
