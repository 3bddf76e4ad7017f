/*
 * The interpreter as an engine: its life, what an engine that compiles asks of it, and what the
 * vCPUs of a process share.
 */
#include "engine/interp/interp_impl.h"

#include "base/bits.h"
#include "engine/rv_mem.h"

#include <errno.h>
#include <stdlib.h>

/* ---- what is shared ---- */

static void interp_shared_free(struct interp_shared *s)
{
    if (!s)
        return;
    code_cache_free(s->code);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct interp_shared *interp_shared_new(bool process)
{
    struct interp_shared *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->code = code_cache_new(HANDLER_CROSSING, HANDLER_PAGE_END, process);
    if (s->code)
        return s;
    interp_shared_free(s);
    return NULL;
}

static struct interp_shared *interp_shared_get(struct vcpu *v)
{
    const struct rv_hart *h = v->arch;
    if (v->shares)
        return ((struct interp *)v->shares->engine_data)->shared;
    return interp_shared_new(h->process);
}

static void interp_use(struct interp *it)
{
    struct interp_shared *s = it->shared;
    pthread_mutex_lock(&s->lock);
    it->next = s->users;
    s->users = it;
    pthread_mutex_unlock(&s->lock);
}

/* The last one to go takes everything with it. */
static void interp_leave(struct interp *it)
{
    struct interp_shared *s = it->shared;
    pthread_mutex_lock(&s->lock);
    struct interp **at = &s->users;
    while (*at != it)
        at = &(*at)->next;
    *at = it->next;
    bool last = !s->users;
    pthread_mutex_unlock(&s->lock);
    if (last)
        interp_shared_free(s);
}

/* ---- attaching ---- */

static void interp_page_changed(void *ctx, struct code_page *page)
{
    struct vcpu *v = ctx;
    struct interp *it = v->engine_data;
    it->hooks->page_changed(v, page);
}

int interp_attach(struct vcpu *v, const struct interp_hooks *hooks, void *hooks_data,
                  struct error *err)
{
    struct interp *it = calloc(1, sizeof *it);
    if (it)
        it->shared = interp_shared_get(v);
    if (!it || !it->shared) {
        free(it);
        return error_set(err, ENOMEM, "out of memory for the interpreter of hart %u", v->index);
    }
    it->threshold = hooks ? hooks->threshold : UINT16_MAX;
    for (unsigned i = 0; i < HOT_COUNTERS; i++)
        it->hot[i] = it->threshold;
    it->hooks = hooks;
    it->hooks_data = hooks_data;
    it->v = v;
    it->code = it->shared->code;
    interp_use(it);
    if (hooks && !v->shares)
        code_cache_set_changed(it->code, interp_page_changed, v);
    v->engine_data = it;
    rv_mem_connect(v->arch, v);
    return 0;
}

static int interp_attach_only(struct vcpu *v, struct error *err)
{
    return interp_attach(v, NULL, NULL, err);
}

/* ---- for the engine that compiles ---- */

void *interp_hooks_data(const struct vcpu *v)
{
    const struct interp *it = v->engine_data;
    return it->hooks_data;
}

bool interp_heat(struct vcpu *v, const struct code_page *page, unsigned slot)
{
    struct interp *it = v->engine_data;
    uint16_t *counter =
        page->slots ? hot_counter(it, &page->slots[slot]) : &it->hot[slot % HOT_COUNTERS];
    if (--*counter)
        return false;
    *counter = it->threshold;
    return true;
}

void interp_install(struct code_page *page, unsigned slot)
{
    if (page->slots && page->slots[slot].handler < HANDLER_NATIVE)
        page->slots[slot].handler += HANDLER_NATIVE;
}

bool interp_installed(const struct code_page *page, unsigned slot)
{
    return page->slots && page->slots[slot].handler >= HANDLER_NATIVE;
}

void interp_uninstall(struct code_page *page, unsigned slot)
{
    if (interp_installed(page, slot))
        page->slots[slot].handler -= HANDLER_NATIVE;
}

struct code_page *interp_page_at(struct vcpu *v, uint64_t va)
{
    struct interp *it = v->engine_data;
    struct rv_hart *h = v->arch;
    struct rv_fetch_entry *e = &h->fetch->entry[rv_fetch_index(va)];
    bool restarted;
    gpa_t gpa;
    if (e->tag == align_down(va, RV_PAGE) && e->code)
        return e->code;
    const uint8_t *bytes = rv_mem_fetch_known(v, va, &gpa);
    if (!bytes)
        return NULL;
    struct code_page *p = code_cache_get(it->code, gpa, bytes, h->code_epoch, &restarted);
    if (restarted)
        rv_fetch_forget(h);
    e->code = p;
    return p;
}

bool interp_page_same(struct vcpu *v, uint64_t va, const struct code_page *page)
{
    struct interp *it = v->engine_data;
    const struct rv_hart *h = v->arch;
    const struct rv_fetch_entry *e = &h->fetch->entry[rv_fetch_index(va)];
    bool restarted;
    if (e->tag == va && e->code)
        return e->code == page;
    if (!rv_mem_fetch_leads(v, va, page->gpa))
        return false;
    const uint8_t *bytes = rv_mem_page(v, page->gpa);
    return bytes && code_cache_get(it->code, page->gpa, bytes, h->code_epoch, &restarted) == page;
}

struct code_page *interp_page(const struct vcpu *v, uint64_t gpa)
{
    const struct interp *it = v->engine_data;
    code_cache_lock(it->code);
    struct code_page *p = code_cache_find(it->code, gpa);
    code_cache_unlock(it->code);
    return p;
}

/* A user that stands still may leave all the same, and its hart goes with it: not before the lock.
 */
static void interp_flush_users(struct interp_shared *s, const struct interp *but)
{
    pthread_mutex_lock(&s->lock);
    for (struct interp *user = s->users; user; user = user->next)
        if (user != but)
            rv_tlb_flush(user->v->arch);
    pthread_mutex_unlock(&s->lock);
}

void interp_forget(struct vcpu *v)
{
    struct interp *it = v->engine_data;
    code_cache_reset(it->code);
    rv_fetch_forget(v->arch);
    /* The others' engines have not been told: what they hold goes with the epoch. */
    interp_flush_users(it->shared, it);
}

/* ---- of processes ---- */

static const uint8_t *interp_bytes_now(void *ctx, gpa_t page)
{
    const struct vcpu *v = ctx;
    const struct rv_hart *h = v->arch;
    return h->env.executable(ctx, page) ? rv_mem_page(ctx, page) : NULL;
}

void interp_code_changed(struct vcpu *v, uint64_t start, uint64_t end)
{
    struct interp *it = v->engine_data;
    if (it->hooks)
        code_cache_set_changed(it->code, interp_page_changed, v);
    bool changed = code_cache_full(it->code);
    if (changed)
        code_cache_reset(it->code);
    else
        changed = code_cache_check(it->code, start, end, interp_bytes_now, v);
    if (changed)
        interp_flush_users(it->shared, NULL);
}

bool interp_has_code(struct vcpu *v, uint64_t start, uint64_t end)
{
    struct interp *it = v->engine_data;
    return code_cache_full(it->code) || code_cache_has(it->code, start, end);
}

void interp_fork_begin(struct vcpu *v)
{
    struct interp *it = v->engine_data;
    pthread_mutex_lock(&it->shared->lock);
    code_cache_lock(it->code);
}

void interp_fork_end(struct vcpu *v, bool child)
{
    struct interp *it = v->engine_data;
    code_cache_unlock(it->code);
    if (child) {
        it->next = NULL;
        it->shared->users = it;
    }
    pthread_mutex_unlock(&it->shared->lock);
}

/* ---- the rest of engine_ops ---- */

static void interp_detach(struct vcpu *v)
{
    struct interp *it = v->engine_data;
    if (!it)
        return;
    interp_leave(it);
    free(it);
    v->engine_data = NULL;
}

/* Watched pages must leave the TLB, so that every access to them is looked at. */
static void interp_debug_changed(struct vcpu *v)
{
    rv_tlb_flush(v->arch);
}

static void interp_flush_tlb(struct vcpu *v)
{
    rv_tlb_flush(v->arch);
}

static void interp_fence_i(struct vcpu *v)
{
    rv_fence_i(v->arch);
}

static const uint64_t *interp_icount(const struct vcpu *v)
{
    const struct rv_hart *h = v->arch;
    return &h->icount;
}

static void interp_stats(const struct vcpu *v, struct engine_stats *out)
{
    const struct interp *it = v->engine_data;
    const struct rv_hart *h = v->arch;
    *out = (struct engine_stats){
        .instructions = h->icount,
        .decoded = it->decoded,
        .code_pages = code_cache_made(it->code),
        .tlb_misses = it->tlb_misses,
        .traps = it->traps,
    };
}

const struct engine_ops engine_interp = {
    .name = "interp",
    .attach = interp_attach_only,
    .detach = interp_detach,
    .run = interp_run,
    .debug_changed = interp_debug_changed,
    .flush_tlb = interp_flush_tlb,
    .fence_i = interp_fence_i,
    .code_changed = interp_code_changed,
    .has_code = interp_has_code,
    .fork_begin = interp_fork_begin,
    .fork_end = interp_fork_end,
    .loaded = rv_mem_relink,
    .icount = interp_icount,
    .stats = interp_stats,
};
