/*
 * The life of what a translator makes and makes it with (struct dbt_code): of one vCPU, or of all
 * threads of a process.
 */
#include "engine/dbt/dbt_impl.h"

#include "engine/source_hash.h"
#include "host/x86_64/disasm.h"
#include "host/x86_64/features.h"
#include "store/archive.h"

#include <errno.h>
#include <stdlib.h>

static void dbt_target(struct back_target *t)
{
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
    t->expect_offset = (int32_t)offsetof(struct rv_hart, reserve_value);
    t->helpers_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_HELPERS]);
    t->exit_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_EXIT]);
    t->jump_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_JUMP]);
    t->base_offset = (int32_t)offsetof(struct rv_hart, engine[DBT_WORD_BASE]);
    memset(t->slot_type, IR_I64, FRONT_SLOTS);
    memset(t->slot_type + FRONT_SLOT_F, IR_F64, 32);
    t->mem_base_offset = (int32_t)offsetof(struct rv_hart, mem_base);
    t->tlb_entries = RV_TLB_SIZE;
    host_features_probe(&t->features);
}

static void dbt_code_free(struct dbt_code *c)
{
    compile_queue_free(c->queue);
    persist_free(c->persist);
    free(c->archived);
    free(c->warm);
    compiler_free(c->compiler);
    compile_job_fini(&c->job);
    regions_fini(&c->regions);
    host_disasm_free(c->disasm);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Rule 6. */
static bool dbt_make_compiler(struct dbt_code *c, const struct vcpu *v)
{
    if (!c->eager && v->clock && !v->clock->is_virtual)
        return (c->queue = compile_queue_new(&c->target)) != NULL;
    c->compiler = compiler_new(&c->target);
    return c->compiler && compile_job_init(&c->job);
}

static bool dbt_make_process(struct dbt_code *c, const struct vcpu *v)
{
    if (!c->eager && !(c->warm = calloc(1, sizeof *c->warm)))
        return false;
    return !v->store || (c->persist = persist_new(v->store, &c->target.features, c->warm)) != NULL;
}

/* Not where time is counted in instructions (rule 6). */
static bool dbt_make_machine(struct dbt_code *c, const struct vcpu *v)
{
    const struct rv_hart *h = v->arch;
    if (!v->archive || !c->queue ||
        !archive_begin(v->archive, h->exts, SOURCE_HASH, record_host(&c->target.features)))
        return true;
    c->archive = v->archive;
    return (c->archived = malloc(UNIT_MAX_RECORD)) != NULL;
}

static struct dbt_code *dbt_code_new(const struct vcpu *v, bool eager, struct error *err)
{
    const struct rv_hart *h = v->arch;
    struct dbt_code *c = calloc(1, sizeof *c);
    if (!c) {
        error_set(err, ENOMEM, "out of memory for the translator");
        return NULL;
    }
    c->eager = eager;
    c->shared = h->process;
    pthread_mutex_init(&c->lock, NULL);
    dbt_target(&c->target);
    c->target.jump_entries = h->process ? JUMP_CACHE_PROCESS : JUMP_CACHE;
    c->target.window_bits = h->process ? BACK_DIRECT : 0;
    dbt_helpers(c->helpers, &c->target);
    if (regions_init(&c->regions, &c->target, v->code_cache, h->process, err)) {
        dbt_code_free(c);
        return NULL;
    }
    if (!dbt_make_compiler(c, v) ||
        !(h->process ? dbt_make_process(c, v) : dbt_make_machine(c, v))) {
        error_set(err, ENOMEM, "out of memory for the translator's compiler");
        dbt_code_free(c);
        return NULL;
    }
    return c;
}

struct dbt_code *dbt_code_get(struct vcpu *v, bool eager, struct error *err)
{
    struct dbt_code *c = v->shares ? dbt_of(v->shares)->code : dbt_code_new(v, eager, err);
    if (c)
        __atomic_fetch_add(&c->users, 1, __ATOMIC_RELAXED);
    return c;
}

void dbt_code_put(struct dbt_code *c)
{
    if (c && __atomic_sub_fetch(&c->users, 1, __ATOMIC_ACQ_REL) == 0)
        dbt_code_free(c);
}
