/*
 * The translator's engine: what is compiled when, and how regions are entered and left.
 *
 * Once in a region, guest code runs without the interpreter as long as it can: what a region does
 * not do itself (traps, system instructions, most CSRs) is done here, and the next region entered.
 *
 * A region is entered from the interpreter (slot with native code), through the jump cache (target
 * of an indirect exit) or by a linked exit of another region of the same pages. Rules that keep
 * this exact:
 *
 *  1. The translations of the pages that a region lies in were checked when it was entered from the
 *     interpreter or put into the jump cache. Whatever drops translations (rv_fetch_tlb.epoch) or
 *     makes code stale (code_epoch) happens outside regions, and empties the view's jump cache
 *     before the next one is entered, but for rule 8. Links stay: they do not leave the pages.
 *  2. The view of memory and the context change only outside regions. There is a jump cache for
 *     each view, for U in each context.
 *  3. A region that uses floating point leaves at its entry unless mstatus.FS is dirty and frm one
 *     of the host's rounding modes. The interpreter makes FS dirty, at the instruction that does.
 *  4. When a page's bytes change its regions are freed. Nothing refers to them any more: links come
 *     from regions of the same pages, and the jump caches are emptied. What was compiled from other
 *     bytes than the page has when it is finished is thrown away.
 *  5. When code memory is full everything is dropped, at the next entry of the engine.
 *  6. Which regions there are at an instruction must depend on the guest alone when time is
 *     counted in instructions. Only where time is real does another thread compile, or are there
 *     regions that an earlier run or another hart has made.
 *  7. A region is made for reaching memory through the TLB or through the context's window (U-mode
 *     only, where time is real). Whether a context has a window changes only outside regions: when
 *     it gets or loses one, and when the context becomes another space's. A jump cache is of one
 *     kind (dbt_view), and empty before it becomes of the other.
 *  8. A jump cache may stay if all pages of the regions in it are still where they were, with the
 *     bytes that they had; links lead to such pages only. Not where time is counted in
 *     instructions: the interpreter looks where a page is, and compares it, when it comes to it,
 *     and the guest may have changed either by then.
 *  9. A relative region (region.h) is entered where all its pages are. Whoever enters it from here
 *     writes h->pc, from which its base is computed. A link leads to one with the same base.
 * 10. In a process a page has one address and one translation for all threads, and pages and
 *     regions go only while no thread runs (engine_ops.code_changed). So links lead to any region,
 *     and are taken back when it goes; rules 1, 5 and 8 have nothing to ask. Who is not in a region
 *     holds the lock of struct dbt_code.
 */
#include "engine/dbt/dbt.h"

#include "engine/dbt/dbt_impl.h"
#include "engine/rv_mem.h"
#include "host/x86_64/disasm.h"
#include "isa/riscv64/fp.h"

#include <errno.h>
#include <stdlib.h>

void dbt_leave(struct rv_hart *h, const struct rv_fault *fault)
{
    struct dbt *d = dbt_of(h->env.ctx);
    d->fault = *fault;
    h->engine[DBT_WORD_EXIT] = 1;
}

/* Jumps to a target, after which it is worth compiling. A machine has much code that runs a little.
 */
#define HOT 384u
#define HOT_PROCESS 128u

/* ---- windows ---- */

/* A fault in translated code. */
static uintptr_t dbt_fault(void *ctx, struct fault *fault)
{
    struct vcpu *v = ctx;
    struct dbt *d = dbt_of(v);
    bool write;
    uintptr_t slow = region_slow_path(&d->code->regions, fault->pc, &write);
    if (slow && !d->windows)
        ((struct rv_hart *)v->arch)->engine[DBT_WORD_REFUSED] = 1;
    if (slow && d->windows && fault->has_address && window_fault(d->windows, fault->address, write))
        return fault->pc;
    return slow;
}

/* Memory whose accesses may fault: price as for windows_new, or a process's own. */
static bool dbt_make_windows(struct vcpu *v, struct dbt *d, uint32_t price, struct error *err)
{
    const struct rv_hart *h = v->arch;
    if (fault_init(err))
        return false;
    d->faults = true;
    d->windows = h->process ? NULL : windows_new(v, price);
    if (!d->windows && !h->process) {
        error_set(err, ENOMEM, "out of memory for the translator's windows");
        return false;
    }
    uintptr_t start = (uintptr_t)d->code->regions.mem.rx;
    d->scope = (struct fault_scope){
        .start = start, .end = start + d->code->regions.mem.size, .fn = dbt_fault, .ctx = v};
    return true;
}

static void dbt_put_jump(struct dbt *d, const struct region *r, uint64_t pc)
{
    jump_cache_put(&d->jumps, d->jump, pc, region_code(&d->code->regions, r));
    for (unsigned i = 0; i < r->pages && d->keeps_jumps; i++)
        jump_cache_note(d->jump, region_page_va(r, i, pc), r->page[i].page);
}

/*
 * Rule 8: whether all that the current jump cache relies on is as it was, which is cheaper to see
 * than to fill the cache again. A page that has changed empties it on the way.
 */
static bool dbt_same_pages(struct vcpu *v, const struct jump_cache *j)
{
    if (!dbt_of(v)->keeps_jumps || j->pages > JUMP_PAGES)
        return false;
    for (unsigned i = 0; i < j->pages; i++)
        if (!interp_page_same(v, j->notes->page[i].va, j->notes->page[i].page))
            return false;
    return true;
}

/* Rules 1, 2 and 7: before a region is entered. False: none can be. */
static bool dbt_settle(struct vcpu *v, struct dbt *d)
{
    struct rv_hart *h = v->arch;
    if (d->windows)
        windows_settle(d->windows);
    struct jump_cache *j = jump_cache_at(&d->jumps, h->view, h->context);
    d->jump = j;
    if (!j)
        return false;
    unsigned view = dbt_view(h);
    if (j->view != view || j->epoch != h->fetch->epoch || j->code_epoch != h->code_epoch) {
        if (j->view != view || !dbt_same_pages(v, j))
            jump_cache_clear(&d->jumps, j);
        j->view = view;
        j->epoch = h->fetch->epoch;
        j->code_epoch = h->code_epoch;
    }
    h->engine[DBT_WORD_FP_BAD] = h->frm > FP_RUP;
    h->engine[DBT_WORD_JUMP] = (uint64_t)(uintptr_t)j->entry;
    return true;
}

void dbt_start_over(struct vcpu *v)
{
    dbt_of(v)->code->regions.full = true;
    if (dbt_of(v)->code->shared)
        vcpu_request(v, VCPU_REQ_RENEW); /* other threads run what is there */
    else
        atomic_store(&v->stop_at, 0);
}

static void dbt_page_changed(struct vcpu *v, struct code_page *page)
{
    struct dbt *d = dbt_of(v);
    if (page) {
        regions_drop_page(&d->code->regions, page);
        jump_caches_clear(&d->jumps);
        return;
    }
    if (!d->code->regions.full) /* else it is on the way */
        dbt_start_over(v);
    jump_caches_clear(&d->jumps);
}

static void dbt_notice(struct vcpu *v, struct code_page *page, uint64_t page_va)
{
    const struct dbt *d = dbt_of(v);
    if (d->code->persist && !page->noticed && page->gpa == page_va)
        persist_notice(d->code->persist, v, page);
    if (d->code->archive)
        archived_notice(page);
    page->noticed = true;
}

static void dbt_page_made(struct vcpu *v, struct code_page *page, uint64_t page_va)
{
    dbt_lock(dbt_of(v));
    dbt_notice(v, page, page_va);
    dbt_unlock(dbt_of(v));
}

/* interp_page_at, for a place whose code is looked for or made. */
static struct code_page *dbt_page_at(struct vcpu *v, uint64_t va)
{
    struct code_page *page = interp_page_at(v, va);
    if (page && !page->noticed)
        dbt_notice(v, page, align_down(va, RV_PAGE));
    return page;
}

/* Only of machines: a process's pages stay open. */
static void dbt_page_opened(struct vcpu *v, struct code_page *page, uint64_t page_va)
{
    const struct regions *rs = &dbt_of(v)->code->regions;
    if (dbt_of(v)->code->archive)
        archived_open(dbt_of(v)->code->archive, v, page, page_va);
    for (uint32_t n = page->native_list; n;) {
        const struct region *r = &rs->region[(n - 1) / FRONT_PAGES];
        unsigned at = (n - 1) % FRONT_PAGES;
        if (r->code && !at)
            interp_install(page, (unsigned)(r->pc % RV_PAGE / 2));
        n = r->page[at].next;
    }
}

/* Of a place that has been reached `threshold` times more: whether it is worth a region. */
static bool dbt_is_hot(struct dbt *d, uint64_t pc)
{
    if (!d->code->warm)
        return true;
    /* Who has nothing to do may as well compile what is not quite so hot. */
    unsigned idle = d->code->queue ? compile_idle(d->code->queue) : 0;
    return warm_add(d->code->warm, pc, WARM_STEP) >= HOT_PROCESS >> idle;
}

static void dbt_hot_locked(struct vcpu *v, struct code_page *page, unsigned slot, uint64_t page_va)
{
    const struct rv_hart *h = v->arch;
    uint64_t pc = page_va + slot * 2;
    dbt_collect(v);
    /* Code sees its own view; with MPRV data has another one, and that is not compiled. */
    if (h->mstatus & RV_MSTATUS_MPRV)
        return;
    struct region *r = dbt_find(v, page, pc);
    if (!r && dbt_is_hot(dbt_of(v), pc))
        r = dbt_compile(v, page, pc);
    if (r && r->code)
        interp_install(page, slot);
}

static void dbt_hot(struct vcpu *v, struct code_page *page, unsigned slot, uint64_t page_va)
{
    dbt_lock(dbt_of(v));
    dbt_hot_locked(v, page, slot, page_va);
    dbt_unlock(dbt_of(v));
}

/* ---- running ---- */

/* Whether the region can be entered now for pc (rules 1 and 3). */
static bool region_fits(struct vcpu *v, const struct region *r, uint64_t pc)
{
    const struct rv_hart *h = v->arch;
    if (!r || !r->code)
        return false;
    if (r->uses_fp && ((h->mstatus & RV_MSTATUS_FS) != RV_MSTATUS_FS || h->frm > FP_RUP))
        return false;
    const struct dbt *d = dbt_of(v);
    if (d->code->shared)
        return true; /* its pages are what they were as long as it is there */
    for (unsigned i = 1; i < r->pages; i++)
        if (dbt_page_at(v, region_page_va(r, i, pc)) != r->page[i].page)
            return false;
    /* A look at its pages may have found that they have changed. */
    return r->code && !d->code->regions.full;
}

/* ---- from region to region ---- */

static const void *dbt_code_of(const struct dbt *d, const struct region *r)
{
    return region_code(&d->code->regions, r);
}

/* Whether regions can be entered at all now; settles what they rely on. */
static bool dbt_may_enter(struct vcpu *v, struct dbt *d)
{
    const struct rv_hart *h = v->arch;
    return !(h->mstatus & RV_MSTATUS_MPRV) && dbt_settle(v, d) && !d->code->regions.full;
}

/* The region at h->pc, or the one without code that says that none can be made; NULL: not yet. */
static struct region *dbt_here(struct vcpu *v)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    struct code_page *page = dbt_page_at(v, h->pc);
    if (!page || d->code->regions.full)
        return NULL;
    struct region *r = dbt_find(v, page, h->pc);
    if (!r && interp_heat(v, page, (unsigned)(h->pc % RV_PAGE / 2)) && dbt_is_hot(d, h->pc))
        r = dbt_compile(v, page, h->pc);
    return r;
}

/* The code to go on in at h->pc; NULL: the interpreter goes on. */
static const void *dbt_next(struct vcpu *v)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    dbt_collect(v);
    while (dbt_may_enter(v, d)) {
        const void *known = jump_cache_get(&d->jumps, d->jump, h->pc);
        if (known)
            return known;
        struct region *r = dbt_here(v);
        if (region_fits(v, r, h->pc)) {
            dbt_put_jump(d, r, h->pc);
            return dbt_code_of(d, r);
        }
        if (!r || r->code || h->icount >= atomic_load_explicit(&v->stop_at, memory_order_relaxed) ||
            !dbt_execute(v))
            return NULL;
        dbt_interrupt(v);
    }
    return NULL;
}

/* A direct exit was taken that is not linked: links it if it may be (rule 1). */
static const void *dbt_follow(struct vcpu *v, uint32_t index)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    const struct region_link *l = &d->code->regions.link[index];
    h->pc = l->pc + (d->code->regions.region[l->region].relative ? h->engine[DBT_WORD_BASE] : 0);
    struct code_page *page = dbt_page(h, h->pc);
    struct region *to = page ? dbt_find(v, page, h->pc) : NULL;
    if (!to || !to->code)
        return dbt_next(v);
    if (!region_fits(v, to, h->pc))
        return NULL;
    if (region_link_to(&d->code->regions, index, to))
        d->stats.links++;
    else
        dbt_put_jump(d, to, h->pc);
    return dbt_code_of(d, to);
}

/* A region was left before the instruction at h->pc, which is not compiled or must wait. */
static const void *dbt_instruction(struct vcpu *v)
{
    if (dbt_interrupt(v))
        return dbt_next(v);
    if (!dbt_execute(v))
        return NULL;
    dbt_interrupt(v);
    return dbt_next(v);
}

static const void *dbt_left(struct vcpu *v, uint64_t why)
{
    struct dbt *d = dbt_of(v);
    switch ((uint32_t)why) {
    case BACK_THUNK_EXIT:
        d->stats.left_direct++;
        return dbt_follow(v, (uint32_t)(why >> 32));
    case BACK_THUNK_INDIRECT:
        d->stats.left_indirect++;
        return dbt_next(v);
    case BACK_THUNK_INTERP:
        d->stats.left_instruction++;
        return dbt_instruction(v);
    case BACK_THUNK_TRAP:
        d->stats.left_trap++;
        if (((struct rv_hart *)v->arch)->process) {
            d->leave = NATIVE_TRAP;
            return NULL;
        }
        interp_trap(v, &d->fault);
        return dbt_next(v);
    default:
        d->stats.left_stop++;
        return NULL;
    }
}

/* The code to begin with, where a slot has native code; NULL: none that fits. */
static const void *dbt_begin(struct vcpu *v, struct code_page *page, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    /* With room at an end, a process goes on with what there is. */
    if ((h->mstatus & RV_MSTATUS_MPRV) || !dbt_settle(v, d) ||
        (d->code->regions.full && !d->code->shared))
        return NULL;
    const void *known = jump_cache_get(&d->jumps, d->jump, pc);
    if (known)
        return known;
    struct region *r = dbt_find(v, page, pc);
    if (!r && interp_installed(page, (unsigned)(pc % RV_PAGE / 2)))
        r = dbt_compile(v, page, pc);
    if (!region_fits(v, r, pc))
        return NULL;
    dbt_put_jump(d, r, pc);
    return dbt_code_of(d, r);
}

/* Runs the code and what follows it, until the interpreter has to go on. */
static void dbt_run_from(struct vcpu *v, const void *code)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    while (code) {
        bool user = d->windows && h->view == RV_VIEW_U;
        uint64_t start = h->icount;
        h->engine[DBT_WORD_EXIT] = 0;
        d->stats.region_entries++;
        dbt_unlock(d);
        uint64_t why = d->code->regions.enter(h, code);
        dbt_lock(d);
        if (user)
            windows_earn(d->windows, h->icount - start);
        code = dbt_left(v, why);
    }
}

/* The slot's native code was reached: runs regions until the interpreter has to go on, at h->pc. */
static enum interp_native dbt_native(struct vcpu *v, struct code_page *page, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    struct rv_hart *h = v->arch;
    uint64_t before = h->icount;
    d->leave = NATIVE_GO_ON;
    dbt_lock(d);
    dbt_collect(v);
    dbt_run_from(v, dbt_begin(v, page, pc));
    dbt_unlock(d);
    if (d->leave == NATIVE_TRAP) {
        h->scause = d->fault.cause;
        h->stval = d->fault.tval;
    }
    if (d->leave != NATIVE_GO_ON)
        return d->leave;
    /* An entry that is stopped at once has done nothing; then the interpreter must go on. */
    return h->icount != before || h->pc != pc ? NATIVE_GO_ON : NATIVE_INTERPRET;
}

static enum vcpu_exit dbt_run(struct vcpu *v, uint64_t max_insns)
{
    struct dbt *d = dbt_of(v);
    if (d->code->regions.full && !d->code->shared) {
        interp_forget(v);
        regions_reset(&d->code->regions);
        d->stats.starts_over++;
    }
    if (!d->faults)
        return engine_interp.run(v, max_insns);
    fault_push(&d->scope);
    enum vcpu_exit exit = engine_interp.run(v, max_insns);
    fault_pop(&d->scope);
    return exit;
}

/* ---- life ---- */

#define WINDOW_PRICE 16000000u
#define NO_WINDOWS UINT32_MAX

/* A region that was entered just before, and what is executed singly after it. */
#define LONGEST_RUN (FRONT_MAX_INSNS + 8)

#define DBT_HOOKS(hot_after)                                                                \
    {                                                                                       \
        dbt_hot, dbt_native, dbt_page_changed, dbt_page_made, dbt_page_opened, (hot_after), \
            LONGEST_RUN                                                                     \
    }
static const struct interp_hooks dbt_hooks = DBT_HOOKS(HOT), dbt_eager_hooks = DBT_HOOKS(1),
                                 dbt_process_hooks = DBT_HOOKS(WARM_STEP);

static void dbt_free(struct dbt *d)
{
    if (!d)
        return;
    if (d->faults)
        fault_fini();
    windows_free(d->windows);
    jump_caches_fini(&d->jumps);
    dbt_code_put(d->code);
    free(d);
}

static struct dbt *dbt_new(struct vcpu *v, bool eager, struct error *err)
{
    const struct rv_hart *h = v->arch;
    struct dbt *d = calloc(1, sizeof *d);
    if (!d) {
        error_set(err, ENOMEM, "out of memory for the translator");
        return NULL;
    }
    jump_caches_init(&d->jumps, h->process ? JUMP_CACHE_PROCESS : JUMP_CACHE);
    d->keeps_jumps = !h->process && dbt_real_time(v); /* of a process: rule 10 */
    d->code = dbt_code_get(v, eager, err);
    if (d->code)
        return d;
    dbt_free(d);
    return NULL;
}

static void dbt_detach(struct vcpu *v)
{
    if (!v->engine_data)
        return;
    struct dbt *d = dbt_of(v);
    engine_interp.detach(v);
    dbt_free(d);
}

/* price: as for windows_new; NO_WINDOWS: there are none. */
static int dbt_attach_with(struct vcpu *v, const struct interp_hooks *hooks, uint32_t price,
                           struct error *err)
{
    struct rv_hart *h = v->arch;
    struct dbt *d = dbt_new(v, hooks->threshold == 1, err);
    if (!d)
        return -ENOMEM;
    int rc = interp_attach(v, hooks, d, err);
    if (rc) {
        dbt_free(d);
        return rc;
    }
    if ((price != NO_WINDOWS || h->process) && !dbt_make_windows(v, d, price, err)) {
        dbt_detach(v);
        return -ENOMEM;
    }
    h->engine[DBT_WORD_STOP_AT] = (uint64_t)(uintptr_t)&v->stop_at;
    h->engine[DBT_WORD_HELPERS] = (uint64_t)(uintptr_t)d->code->helpers;
    return 0;
}

static int dbt_attach(struct vcpu *v, struct error *err)
{
    const struct rv_hart *h = v->arch;
    const struct interp_hooks *hooks = h->process ? &dbt_process_hooks : &dbt_hooks;
    return dbt_attach_with(v, hooks, dbt_real_time(v) ? WINDOW_PRICE : NO_WINDOWS, err);
}

static int dbt_attach_eager(struct vcpu *v, struct error *err)
{
    return dbt_attach_with(v, &dbt_eager_hooks, NO_WINDOWS, err);
}

static int dbt_attach_window(struct vcpu *v, struct error *err)
{
    return dbt_attach_with(v, &dbt_eager_hooks, 0, err);
}

static void dbt_stats(const struct vcpu *v, struct engine_stats *out)
{
    const struct dbt *d = dbt_of(v);
    struct engine_stats interp;
    engine_interp.stats(v, &interp);
    *out = d->code->stats;
    engine_stats_add(out, &d->stats);
    engine_stats_add(out, &interp);
    out->code_bytes = d->code->regions.mem.used;
}

static int dbt_loaded(struct vcpu *v, struct error *err)
{
    struct dbt *d = dbt_of(v);
    if (d->windows)
        windows_clear(d->windows);
    return rv_mem_relink(v, err);
}

static void dbt_set_dump(struct vcpu *v, FILE *out)
{
    struct dbt_code *code = dbt_of(v)->code;
    code->dump = out;
    if (out && !code->disasm)
        code->disasm = host_disasm_new();
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

/* ---- of processes ---- */

static void dbt_code_changed(struct vcpu *v, uint64_t start, uint64_t end)
{
    struct dbt *d = dbt_of(v);
    dbt_lock(d);
    interp_code_changed(v, start, end);
    if (d->code->regions.full) {
        interp_forget(v);
        regions_reset(&d->code->regions);
        d->stats.starts_over++;
    }
    dbt_unlock(d);
}

static bool dbt_has_code(struct vcpu *v, uint64_t start, uint64_t end)
{
    return dbt_of(v)->code->regions.full || interp_has_code(v, start, end);
}

static void dbt_fork_begin(struct vcpu *v)
{
    dbt_lock(dbt_of(v));
    interp_fork_begin(v);
}

static void dbt_fork_end(struct vcpu *v, bool child)
{
    struct dbt *d = dbt_of(v);
    interp_fork_end(v, child);
    if (child) {
        d->code->users = 1;
        d->code->forked = true;
        d->code->born = ((const struct rv_hart *)v->arch)->icount;
        compile_queue_forked(d->code->queue);
        if (d->code->persist)
            persist_forked(d->code->persist);
    }
    dbt_unlock(d);
}

#define DBT_ENGINE(label, attach_fn)                                                              \
    {                                                                                             \
        .name = (label), .attach = (attach_fn), .detach = dbt_detach, .run = dbt_run,             \
        .debug_changed = dbt_debug_changed, .flush_tlb = dbt_flush_tlb, .fence_i = dbt_fence_i,   \
        .code_changed = dbt_code_changed, .has_code = dbt_has_code, .fork_begin = dbt_fork_begin, \
        .fork_end = dbt_fork_end, .loaded = dbt_loaded, .icount = dbt_icount, .stats = dbt_stats, \
        .dump = dbt_set_dump, .save = dbt_save,                                                   \
    }

const struct engine_ops engine_dbt = DBT_ENGINE("dbt", dbt_attach);
const struct engine_ops engine_dbt_eager = DBT_ENGINE("dbt-eager", dbt_attach_eager);
const struct engine_ops engine_dbt_window = DBT_ENGINE("dbt-window", dbt_attach_window);
