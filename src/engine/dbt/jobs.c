/*
 * What is compiled, and how it is installed. A job is filled on the vCPU's thread with copies of
 * the pages that its region wants; what was made of them is installed there too, if the pages are
 * still the same (rule 4 of dbt.c).
 */
#include "engine/dbt/dbt_impl.h"

#define YOUNG 1000000u /* instructions */

static void job_page(const struct dbt *d, const struct code_page *page, uint64_t va,
                     struct front_page *out)
{
    *out = (struct front_page){
        .va = align_down(va, RV_PAGE),
        .bytes = page->bytes,
        .executed = d->code->eager ? NULL : page->run,
    };
}

/* A front_input.more. */
static bool job_more(void *ctx, uint64_t pc, bool middle, struct front_page *out)
{
    struct vcpu *v = ctx;
    const struct code_page *page = dbt_page(v->arch, pc);
    unsigned slot = (unsigned)(pc % RV_PAGE / 2);
    if (!page || !(middle || (page->run[slot / 64] >> slot % 64 & 1)))
        return false;
    job_page(dbt_of(v), page, pc, out);
    return true;
}

/* A front_input.wanted: whether the place has no code of its own. */
static bool job_wanted(void *ctx, uint64_t pc)
{
    const struct code_page *page = dbt_page(((struct vcpu *)ctx)->arch, pc);
    return page && !interp_installed(page, (unsigned)(pc % RV_PAGE / 2));
}

void dbt_fill_job(struct vcpu *v, struct compile_job *job, const struct code_page *page,
                  uint64_t pc)
{
    const struct dbt *d = dbt_of(v);
    const struct rv_hart *h = v->arch;
    struct front_input in = {
        .pages = 1,
        .entry = (unsigned)(pc % RV_PAGE),
        .exts = h->exts,
        .view = h->view,
        .more = job_more,
        .wanted = job_wanted,
        .ctx = v,
    };
    job_page(d, page, pc, &in.page[0]);
    front_pages(&in);
    job->pages = in.pages;
    job->entry = (uint16_t)in.entry;
    job->exts = in.exts;
    job->view = (uint8_t)dbt_view(h);
    job->window = h->process ? BACK_DIRECT : job->view & REGION_WINDOW ? WINDOW_BITS : 0;
    memcpy(job->entries, in.entries, sizeof job->entries);
    job->entry_count = in.entry_count;
    job->relative = !h->process && h->view == RV_VIEW_U;
    job->host_time = dbt_real_time(v);
    job->all = d->code->eager;
    job->dump = d->code->dump;
    for (unsigned i = 0; i < in.pages; i++) {
        struct compile_page *p = &job->page[i];
        const struct code_page *c = i ? dbt_page(h, in.page[i].va) : page;
        p->va = in.page[i].va;
        p->gpa = c->gpa;
        memcpy(p->bytes, c->bytes, sizeof p->bytes);
        memcpy(p->executed, c->run, sizeof p->executed);
    }
}

/* Where the job's region belongs. False: its pages are not what they were (rule 4). */
static bool job_place(struct vcpu *v, const struct compile_job *job, struct region_place *place)
{
    *place = (struct region_place){
        .pc = compile_pc(job),
        .relative = job->relative,
        .view = job->view,
        .pages = (uint8_t)job->pages,
    };
    for (unsigned i = 0; i < job->pages; i++) {
        struct code_page *page = interp_page(v, job->page[i].gpa);
        if (!page || memcmp(page->bytes, job->page[i].bytes, sizeof page->bytes))
            return false;
        place->page[i] = (struct region_page){.page = page, .va = job->page[i].va};
    }
    return true;
}

/* Where the region is, behind what it is. */
static void job_dump(const struct dbt *d, const struct compile_job *job, const struct region *r)
{
    unsigned long long pc = compile_pc(job);
    if (!d->code->dump || !job->text)
        return;
    flockfile(d->code->dump); /* vCPUs share it */
    fputs(job->text, d->code->dump);
    if (r && r->code)
        fprintf(d->code->dump, "region %llx at %p size %x\n\n", pc,
                region_code(&d->code->regions, r), r->size);
    else
        fprintf(d->code->dump, "region %llx given up\n\n", pc);
    funlockfile(d->code->dump);
}

/* The other places where the region is entered, as far as they have none. */
static void job_install_entries(struct vcpu *v, const struct region *r,
                                const struct region_place *place, const struct back_code *code)
{
    struct dbt_code *c = dbt_of(v)->code;
    for (uint32_t i = 1; i < code->entry_count; i++) {
        const struct back_entry *e = &code->entries[i];
        uint64_t pc = e->pc + region_base(place);
        struct code_page *page = region_page_of(place, pc);
        if (!page || region_find(&c->regions, pc, r->view, page) ||
            !region_add_entry(&c->regions, r, e))
            continue;
        if (c->warm)
            warm_remove(c->warm, pc);
        interp_install(page, (unsigned)(pc % RV_PAGE / 2));
    }
}

/* The region is to be kept, r or one that was not installed: at all entries that lead to no other.
 */
static void job_keep(struct vcpu *v, const struct compile_job *job,
                     const struct region_place *place, const struct region *r)
{
    struct dbt_code *c = dbt_of(v)->code;
    if (c->persist)
        persist_keep(c->persist, place, job);
    else
        archived_keep(c->archive, place, job);
    for (uint32_t i = 1; i < job->code.entry_count; i++) {
        const struct back_entry *e = &job->code.entries[i];
        uint64_t pc = e->pc + region_base(place);
        struct code_page *page = region_page_of(place, pc);
        const struct region *at = page ? region_find(&c->regions, pc, job->view, page) : NULL;
        if (!page || (at && !(r && at->code == r->code + e->at)))
            continue;
        if (c->persist)
            persist_keep_entry(c->persist, place, page, pc);
        else
            archived_keep_entry(c->archive, place, page, pc);
    }
}

/* Whether there is a region that serves at the place. */
static bool job_is_there(struct vcpu *v, const struct region_place *place)
{
    const struct regions *rs = &dbt_of(v)->code->regions;
    const struct region *r = region_find(rs, place->pc, place->view, place->page[0].page);
    while (r && region_conflicts(r, place))
        r = region_find_next(rs, r);
    return r;
}

/* Installs what a job has made. NULL: there is no room, or the page has changed (rule 4). */
static struct region *job_install(struct vcpu *v, const struct compile_job *job)
{
    struct dbt *d = dbt_of(v);
    struct region_place place;
    d->code->stats.compile_ns += job->ns;
    if (d->code->regions.full || !job_place(v, job, &place) || job_is_there(v, &place))
        return NULL;
    struct region *r = region_add(&d->code->regions, &place, job->ok ? &job->code : NULL);
    job_dump(d, job, r);
    if (!r)
        dbt_start_over(v);
    if (!r || !job->ok) {
        d->code->stats.given_up++;
        return r;
    }
    r->uses_fp = job->info.uses_fp;
    if (d->code->warm)
        warm_remove(d->code->warm, place.pc);
    interp_install(place.page[0].page, job->entry / 2u);
    job_install_entries(v, r, &place, &job->code);
    d->code->stats.regions++;
    d->code->stats.region_insns += job->info.insns;
    if (d->code->persist || d->code->archive)
        job_keep(v, job, &place, r);
    return r;
}

void dbt_keep_job(struct vcpu *v, const struct compile_job *job)
{
    struct region_place place;
    if (job->ok && job_place(v, job, &place))
        job_keep(v, job, &place, NULL);
}

/* Installs what was compiled earlier, or by another hart. NULL: it is not there or not good. */
static struct region *job_load(struct vcpu *v, struct code_page *page, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    struct dbt_code *c = d->code;
    struct record_region stored = {0};
    unsigned view = dbt_view(v->arch);
    if (c->regions.full)
        return NULL;
    stored.place.view = (uint8_t)view;
    if (!(c->persist ? persist_find(c->persist, v, page, pc, &stored)
                     : archived_find(c->archive, c->archived, v, page, pc, view, &stored)) ||
        job_is_there(v, &stored.place))
        return NULL;
    struct region *r = region_add(&d->code->regions, &stored.place, &stored.code);
    if (!r) {
        dbt_start_over(v);
        return NULL;
    }
    r->uses_fp = stored.uses_fp;
    job_install_entries(v, r, &stored.place, &stored.code);
    d->code->stats.loaded++;
    if (!c->persist)
        interp_install(stored.place.page[0].page, (unsigned)(stored.place.pc % RV_PAGE / 2));
    return stored.place.pc == pc ? r : region_find(&d->code->regions, pc, r->view, page);
}

/* Whether the guest is known to have another page, at pc, where the region has one of its own. */
static bool region_is_elsewhere(const struct vcpu *v, const struct region *r, uint64_t pc)
{
    for (unsigned i = 1; i < r->pages && r->relative; i++) {
        const struct code_page *page = dbt_page(v->arch, region_page_va(r, i, pc));
        if (page && page != r->page[i].page)
            return true;
    }
    return false;
}

struct region *dbt_find(struct vcpu *v, struct code_page *page, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    struct region *r = region_find(&d->code->regions, pc, dbt_view(v->arch), page);
    while (r && region_is_elsewhere(v, r, pc))
        r = region_find_next(&d->code->regions, r);
    if (r && r->relative && pc - r->pc != r->base) {
        r->base = pc - r->pc;
        d->code->stats.moved++;
    }
    unsigned slot = (unsigned)(pc % RV_PAGE / 2);
    if (!r && (d->code->persist || d->code->archive) && interp_installed(page, slot)) {
        r = job_load(v, page, pc);
        if (!r)
            interp_uninstall(page, slot);
    }
    return r;
}

void dbt_collect(struct vcpu *v)
{
    struct dbt *d = dbt_of(v);
    struct compile_job *job;
    if (!d->code->queue)
        return;
    while ((job = compile_finished(d->code->queue)) != NULL) {
        job_install(v, job);
        compile_taken(d->code->queue);
    }
}

/* Most programs have ended before it was worth their while to begin a thread that compiles. */
static bool dbt_is_young(const struct dbt_code *c, const struct rv_hart *h)
{
    return h->process && h->icount - c->born < YOUNG && !compile_started(c->queue);
}

struct region *dbt_compile(struct vcpu *v, struct code_page *page, uint64_t pc)
{
    struct dbt *d = dbt_of(v);
    const struct rv_hart *h = v->arch;
    struct region *r = NULL;
    if (d->code->regions.full || (d->code->archive && (r = job_load(v, page, pc)) != NULL))
        return r;
    if (d->code->queue) {
        struct compile_job *job;
        if (!dbt_is_young(d->code, h) &&
            !compile_pending(d->code->queue, pc, page->gpa, dbt_view(h)) &&
            (job = compile_next(d->code->queue)) != NULL) {
            dbt_fill_job(v, job, page, pc);
            compile_submit(d->code->queue);
        }
        return NULL;
    }
    dbt_fill_job(v, &d->code->job, page, pc);
    compiler_run(d->code->compiler, &d->code->job);
    return job_install(v, &d->code->job);
}
