#include "machine/sbi.h"

#include "base/bits.h"
#include "isa/riscv64/csr.h"
#include "isa/riscv64/hart.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* Standard error codes (3.2). */
enum {
    SBI_SUCCESS = 0,
    SBI_ERR_NOT_SUPPORTED = -2,
    SBI_ERR_INVALID_PARAM = -3,
    SBI_ERR_INVALID_ADDRESS = -5,
    SBI_ERR_ALREADY_AVAILABLE = -6,
};

enum { A0 = 10, A1, A2, A3, A4, A5, A6, A7 };

#define SBI_VERSION (2u << 24) /* 2.0 */
#define IMPL_VERSION 1
#define IMPL_ID 0x67756973 /* not a registered one; reads "guis" */

struct sbi_result {
    int64_t error;
    uint64_t value;
};

static struct sbi_result sbi_ok(uint64_t value)
{
    return (struct sbi_result){SBI_SUCCESS, value};
}

static struct sbi_result sbi_err(int64_t error)
{
    return (struct sbi_result){error, 0};
}

/* ---- declared state ---- */

static const struct state_field sbi_hart_fields[] = {
    STATE_FIELD(struct sbi_hart, state),
    STATE_FIELD(struct sbi_hart, start_addr),
    STATE_FIELD(struct sbi_hart, start_arg),
    STATE_STRUCT(struct sbi_hart, sta, &sbi_sta_state),
    STATE_END,
};

static int sbi_hart_post_load(void *obj, struct error *err)
{
    struct sbi_hart *sh = obj;
    uint32_t s = atomic_load(&sh->state);
    if (s != SBI_STARTED && s != SBI_STOPPED && s != SBI_START_PENDING && s != SBI_SUSPENDED)
        return error_set(err, EINVAL, "saved state has a hart in SBI state %u", s);
    return 0;
}

const struct state_table sbi_hart_state = {
    .name = "sbi-hart",
    .version = 1,
    .size = sizeof(struct sbi_hart),
    .fields = sbi_hart_fields,
    .post_load = sbi_hart_post_load,
};

/* ---- BASE (4) ---- */

struct extension;
static const struct extension *sbi_find(uint64_t id);

static struct sbi_result call_base(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)sbi;
    (void)v;
    switch (fid) {
    case 0:
        return sbi_ok(SBI_VERSION);
    case 1:
        return sbi_ok(IMPL_ID);
    case 2:
        return sbi_ok(IMPL_VERSION);
    case 3:
        return sbi_ok(sbi_find(a[0]) != NULL);
    case 4: /* mvendorid, marchid, mimpid */
    case 5:
    case 6:
        return sbi_ok(0);
    default:
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    }
}

/* ---- TIME (6) ---- */

static struct sbi_result call_time(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)sbi;
    struct rv_hart *h = v->arch;
    if (fid)
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    h->stimecmp = a[0];
    h->env.stimecmp_changed(h);
    return sbi_ok(0);
}

/* ---- hart masks (3.1) ---- */

/* Calls fn for each hart of the mask; false if the mask names one that does not exist. */
static bool sbi_each_hart(struct sbi *sbi, uint64_t mask, uint64_t base,
                          void (*fn)(struct sbi *sbi, struct vcpu *target, void *ctx), void *ctx)
{
    unsigned count = sbi->machine->vcpu_count;
    if (base == UINT64_MAX) {
        for (unsigned i = 0; i < count; i++)
            fn(sbi, &sbi->machine->vcpus[i], ctx);
        return true;
    }
    if (base >= count || (mask && 63 - (unsigned)__builtin_clzll(mask) >= count - base))
        return false;
    for (unsigned i = 0; mask; i++, mask >>= 1)
        if (mask & 1)
            fn(sbi, &sbi->machine->vcpus[base + i], ctx);
    return true;
}

/* ---- IPI (7) ---- */

static void send_ipi(struct sbi *sbi, struct vcpu *target, void *ctx)
{
    (void)sbi;
    (void)ctx;
    vcpu_request(target, VCPU_REQ_IPI);
}

static struct sbi_result call_ipi(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)v;
    if (fid)
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    return sbi_each_hart(sbi, a[0], a[1], send_ipi, NULL) ? sbi_ok(0)
                                                          : sbi_err(SBI_ERR_INVALID_PARAM);
}

/* ---- RFENCE (8) ---- */

#define FENCE_HARTS 64

struct fence {
    struct vcpu *self;
    uint32_t request;
    struct sbi_fence what;
    struct vcpu *waiting[FENCE_HARTS];
    uint32_t ticket[FENCE_HARTS];
    unsigned count;
};

#define FENCE_PAGES 64 /* a larger range is fenced as everything */

static void fences_add(struct sbi *sbi, const struct vcpu *target, const struct sbi_fence *what)
{
    struct sbi_fences *fs = &sbi->harts[target->index].fences;
    pthread_mutex_lock(&sbi->lock);
    if (fs->count < SBI_FENCES)
        fs->fence[fs->count++] = *what;
    else
        fs->all = true;
    pthread_mutex_unlock(&sbi->lock);
}

static void fence_range(struct rv_hart *h, const struct sbi_fence *what)
{
    struct rv_fence f = {.one_page = what->pages, .one_space = what->one_space, .asid = what->asid};
    uint64_t n = what->pages ? what->pages : 1;
    for (uint64_t i = 0; i < n; i++) {
        f.va = what->start + i * RV_PAGE;
        rv_tlb_fence(h, &f);
    }
}

static void fences_carry_out(struct sbi *sbi, const struct vcpu *v)
{
    static const struct sbi_fence all;
    struct sbi_fences *pending = &sbi->harts[v->index].fences, fs;
    pthread_mutex_lock(&sbi->lock);
    fs = *pending;
    pending->count = 0;
    pending->all = false;
    pthread_mutex_unlock(&sbi->lock);
    if (fs.all) {
        fence_range(v->arch, &all);
        return;
    }
    for (unsigned i = 0; i < fs.count; i++)
        fence_range(v->arch, &fs.fence[i]);
}

/* Start and size 0, or a size of all ones, mean everything (8.3). */
static struct sbi_fence fence_of(const uint64_t *a, uint64_t fid)
{
    uint64_t start = align_down(a[2], RV_PAGE), size = a[3];
    struct sbi_fence f = {.start = start, .asid = a[4], .one_space = fid == 2};
    if ((a[2] || size) && size <= FENCE_PAGES * RV_PAGE)
        f.pages = size ? (a[2] - start + size + RV_PAGE - 1) / RV_PAGE : 1;
    return f;
}

/*
 * A hart that is outside the guest carries the request out before it enters again; only one that
 * is inside has to be waited for. Owners publish in_guest before they look for requests.
 *
 * What to fence comes before the request, which the hart takes before it looks for what. The
 * request comes before the ticket here, and sbi_requests looks at tickets before requests: whoever
 * sees a ticket also sees, or has seen, the request that belongs to it.
 */
static void ask_fence(struct sbi *sbi, struct vcpu *target, void *ctx)
{
    struct fence *f = ctx;
    if (f->request == VCPU_REQ_FLUSH_TLB)
        fences_add(sbi, target, &f->what);
    if (target == f->self) {
        sbi_requests(sbi, target, f->request);
        return;
    }
    struct sbi_hart *sh = &sbi->harts[target->index];
    atomic_fetch_or(&target->requests, f->request);
    uint32_t ticket = atomic_fetch_add(&sh->fences_asked, 1) + 1;
    if (!atomic_load(&target->in_guest))
        return;
    vcpu_kick(target);
    f->waiting[f->count] = target;
    f->ticket[f->count++] = ticket;
}

static struct sbi_result call_rfence(struct sbi *sbi, struct vcpu *v, const uint64_t *a,
                                     uint64_t fid)
{
    if (fid > 2)
        return sbi_err(SBI_ERR_NOT_SUPPORTED); /* the hypervisor's fences */
    struct fence f = {.self = v, .request = fid ? VCPU_REQ_FLUSH_TLB : VCPU_REQ_FENCE_I};
    if (fid)
        f.what = fence_of(a, fid);
    if (!sbi_each_hart(sbi, a[0], a[1], ask_fence, &f))
        return sbi_err(SBI_ERR_INVALID_PARAM);
    for (unsigned i = 0; i < f.count; i++) {
        struct sbi_hart *sh = &sbi->harts[f.waiting[i]->index];
        while ((int32_t)(atomic_load(&sh->fences_done) - f.ticket[i]) < 0 &&
               atomic_load(&f.waiting[i]->in_guest))
            sched_yield();
    }
    return sbi_ok(0);
}

/* ---- HSM (9) ---- */

static bool sbi_can_execute(const struct sbi *sbi, gpa_t addr)
{
    return !(addr & 1) && addrspace_readable(sbi->machine->mem, addr, 2);
}

static struct sbi_result hart_start(struct sbi *sbi, const uint64_t *a)
{
    if (a[0] >= sbi->machine->vcpu_count)
        return sbi_err(SBI_ERR_INVALID_PARAM);
    if (!sbi_can_execute(sbi, a[1]))
        return sbi_err(SBI_ERR_INVALID_ADDRESS);
    struct sbi_hart *sh = &sbi->harts[a[0]];
    pthread_mutex_lock(&sbi->lock);
    uint32_t state = atomic_load(&sh->state);
    if (state == SBI_STOPPED) {
        sh->start_addr = a[1];
        sh->start_arg = a[2];
        atomic_store(&sh->state, SBI_START_PENDING);
    }
    pthread_mutex_unlock(&sbi->lock);
    if (state != SBI_STOPPED)
        return sbi_err(SBI_ERR_ALREADY_AVAILABLE);
    vcpu_request(&sbi->machine->vcpus[a[0]], VCPU_REQ_WAKE);
    return sbi_ok(0);
}

/* Power-on registers of S-mode under SBI (9.1, table 8). */
static void hart_enter(struct rv_hart *h, uint64_t addr, uint64_t arg)
{
    for (unsigned i = 0; i < 32; i++)
        h->x[i] = 0;
    h->x[A0] = h->hartid;
    h->x[A1] = arg;
    h->pc = addr;
    h->priv = RV_PRIV_S;
    rv_csr_poke(h, 0x180, 0);                               /* satp */
    rv_csr_poke(h, 0x100, rv_mstatus(h) & ~RV_MSTATUS_SIE); /* sstatus */
    rv_hart_view_changed(h);
}

#define SUSPEND_RETENTIVE 0u
#define SUSPEND_NON_RETENTIVE 0x80000000u

/* What a non-retentive suspend keeps is nothing: the registers of its resumption are set now. */
static struct sbi_result hart_suspend(struct sbi *sbi, struct vcpu *v, const uint64_t *a)
{
    struct sbi_hart *self = &sbi->harts[v->index];
    uint32_t type = (uint32_t)a[0];
    if (type != SUSPEND_RETENTIVE && type != SUSPEND_NON_RETENTIVE)
        return sbi_err(SBI_ERR_INVALID_PARAM);
    if (type == SUSPEND_NON_RETENTIVE && !sbi_can_execute(sbi, a[1]))
        return sbi_err(SBI_ERR_INVALID_ADDRESS);
    atomic_store(&self->state, SBI_SUSPENDED);
    if (type == SUSPEND_RETENTIVE)
        return sbi_ok(0);
    struct rv_hart *h = v->arch;
    hart_enter(h, a[1], a[2]);
    return (struct sbi_result){(int64_t)h->hartid, a[2]};
}

static struct sbi_result call_hsm(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    struct sbi_hart *self = &sbi->harts[v->index];
    switch (fid) {
    case 0:
        return hart_start(sbi, a);
    case 1:
        atomic_store(&self->state, SBI_STOPPED);
        return sbi_ok(0);
    case 2:
        if (a[0] >= sbi->machine->vcpu_count)
            return sbi_err(SBI_ERR_INVALID_PARAM);
        return sbi_ok(atomic_load(&sbi->harts[a[0]].state));
    case 3:
        return hart_suspend(sbi, v, a);
    default:
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    }
}

/* ---- SRST (10) ---- */

static struct sbi_result call_srst(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)v;
    struct machine *m = sbi->machine;
    if (fid)
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    if ((uint32_t)a[0] > 2 || (uint32_t)a[1] > 1)
        return sbi_err(SBI_ERR_INVALID_PARAM);
    bool failure = (uint32_t)a[1] == 1;
    if ((uint32_t)a[0])
        m->power(m->power_ctx, MACHINE_POWER_RESET, 0);
    else
        m->power(m->power_ctx, failure ? MACHINE_POWER_FAIL : MACHINE_POWER_OFF, failure);
    return sbi_ok(0);
}

/* ---- DBCN (12) ---- */

#define DBCN_MAX 4096 /* bytes of one write that are taken; the caller repeats with the rest */

static struct sbi_result call_dbcn(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)v;
    uint8_t byte = (uint8_t)a[0];
    switch (fid) {
    case 0: {
        uint64_t len = a[0] < DBCN_MAX ? a[0] : DBCN_MAX;
        const void *p = a[2] ? NULL : addrspace_readable(sbi->machine->mem, a[1], a[0]);
        if (!p)
            return sbi_err(SBI_ERR_INVALID_PARAM);
        return sbi_ok(sbi->console ? chr_write(sbi->console, p, len) : len);
    }
    case 1: /* input goes to the serial port */
        return a[2] || !addrspace_ram(sbi->machine->mem, a[1], a[0])
                   ? sbi_err(SBI_ERR_INVALID_PARAM)
                   : sbi_ok(0);
    case 2:
        if (sbi->console)
            chr_write(sbi->console, &byte, 1);
        return sbi_ok(0);
    default:
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    }
}

/* ---- PMU (11): the two fixed counters ---- */

enum { PMU_CYCLE = 0, PMU_INSTRET = 2, PMU_COUNTERS = 3 };

/* Index of the counter for a hardware event (11.1), or -1. */
static int pmu_counter_for(uint64_t event)
{
    return event == 1 ? PMU_CYCLE : event == 2 ? PMU_INSTRET : -1;
}

/* The set of counters (11.5) that base and mask name, as bits; 0 if it has an impossible one. */
static unsigned pmu_set(uint64_t base, uint64_t mask)
{
    const unsigned all = 1u << PMU_CYCLE | 1u << PMU_INSTRET;
    uint64_t set = base < PMU_COUNTERS ? mask << base : 0;
    return set && set >> base == mask && !(set & ~(uint64_t)all) ? (unsigned)set : 0;
}

static struct sbi_result pmu_match(struct rv_hart *h, const uint64_t *a)
{
    unsigned set = pmu_set(a[0], a[1]);
    if (!set)
        return sbi_err(SBI_ERR_INVALID_PARAM);
    int counter = pmu_counter_for(a[3]);
    if (counter < 0 || !(set >> counter & 1))
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    if (a[2] & 2) /* clear the value */
        rv_csr_poke(h, 0xb00 + (unsigned)counter, 0);
    return sbi_ok((unsigned)counter);
}

static struct sbi_result pmu_start(struct rv_hart *h, const uint64_t *a)
{
    unsigned set = pmu_set(a[0], a[1]);
    if (!set)
        return sbi_err(SBI_ERR_INVALID_PARAM);
    for (unsigned i = 0; i < PMU_COUNTERS; i++)
        if (set >> i & 1 && a[2] & 1)
            rv_csr_poke(h, 0xb00 + i, a[3]);
    return sbi_ok(0);
}

static struct sbi_result call_pmu(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    (void)sbi;
    struct rv_hart *h = v->arch;
    switch (fid) {
    case 0:
        return sbi_ok(PMU_COUNTERS);
    case 1: /* counter_info: CSR number, width - 1 = 63, hardware counter */
        if (a[0] != PMU_CYCLE && a[0] != PMU_INSTRET)
            return sbi_err(SBI_ERR_INVALID_PARAM);
        return sbi_ok((0xc00 + a[0]) | UINT64_C(63) << 12);
    case 2:
        return pmu_match(h, a);
    case 3:
        return pmu_start(h, a);
    case 4: /* stop: they run on, as they did before the first start */
        return pmu_set(a[0], a[1]) ? sbi_ok(0) : sbi_err(SBI_ERR_INVALID_PARAM);
    case 5: /* reading a firmware counter: all of them are hardware's */
    case 6:
        return sbi_err(SBI_ERR_INVALID_PARAM);
    default:
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    }
}

/* ---- STA (16) ---- */

static struct sbi_result call_sta(struct sbi *sbi, struct vcpu *v, const uint64_t *a, uint64_t fid)
{
    if (fid)
        return sbi_err(SBI_ERR_NOT_SUPPORTED);
    return sbi_err(sbi_sta_set(&sbi->harts[v->index].sta, v, a[0], a[1], a[2]));
}

/* ---- the table ---- */

struct extension {
    uint64_t id;
    struct sbi_result (*call)(struct sbi *sbi, struct vcpu *v, const uint64_t *args, uint64_t fid);
};

static const struct extension extensions[] = {
    {0x10, call_base},         {0x54494d45, call_time}, {0x735049, call_ipi},
    {0x52464e43, call_rfence}, {0x48534d, call_hsm},    {0x53525354, call_srst},
    {0x4442434e, call_dbcn},   {0x504d55, call_pmu},    {0x535441, call_sta},
};

static const struct extension *sbi_find(uint64_t id)
{
    for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++)
        if (extensions[i].id == id)
            return &extensions[i];
    return NULL;
}

void sbi_call(struct sbi *sbi, struct vcpu *v)
{
    struct rv_hart *h = v->arch;
    const struct extension *e = sbi_find(h->x[A7]);
    uint64_t args[6];
    memcpy(args, &h->x[A0], sizeof args);
    struct sbi_result r = e ? e->call(sbi, v, args, h->x[A6]) : sbi_err(SBI_ERR_NOT_SUPPORTED);
    h->x[A0] = (uint64_t)r.error;
    h->x[A1] = r.value;
}

void sbi_requests(struct sbi *sbi, struct vcpu *v, uint32_t bits)
{
    struct rv_hart *h = v->arch;
    struct sbi_hart *sh = &sbi->harts[v->index];
    const uint32_t fences = VCPU_REQ_FLUSH_TLB | VCPU_REQ_FENCE_I;
    uint32_t asked = atomic_load(&sh->fences_asked);
    bits |= atomic_fetch_and(&v->requests, ~fences) & fences;
    if (bits & VCPU_REQ_FLUSH_TLB)
        fences_carry_out(sbi, v);
    if (bits & VCPU_REQ_FENCE_I)
        rv_fence_i(h);
    atomic_store(&sh->fences_done, asked);
    if (bits & VCPU_REQ_IPI)
        h->mip |= 1u << RV_IRQ_SSI;
    if (atomic_load(&sh->state) == SBI_START_PENDING) {
        h->mip &= ~(UINT64_C(1) << RV_IRQ_SSI); /* sent to it while it was stopped */
        hart_enter(h, sh->start_addr, sh->start_arg);
        atomic_store(&sh->state, SBI_STARTED);
    }
    if (atomic_load(&sh->state) == SBI_SUSPENDED && rv_wfi_done(h))
        atomic_store(&sh->state, SBI_STARTED);
    if (atomic_load_explicit(&v->in_guest, memory_order_relaxed))
        sbi_sta_update(&sh->sta, v);
}

bool sbi_started(const struct sbi *sbi, const struct vcpu *v)
{
    return atomic_load(&sbi->harts[v->index].state) == SBI_STARTED;
}

/* ---- life ---- */

int sbi_init(struct sbi *sbi, struct machine *m, struct chr *console, struct error *err)
{
    *sbi = (struct sbi){.machine = m, .console = console};
    sbi->harts = calloc(m->vcpu_count, sizeof *sbi->harts);
    if (!sbi->harts)
        return error_set(err, ENOMEM, "out of memory for %u harts", m->vcpu_count);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        sbi_sta_init(&sbi->harts[i].sta);
    pthread_mutex_init(&sbi->lock, NULL);
    return 0;
}

void sbi_fini(struct sbi *sbi)
{
    if (!sbi->harts)
        return;
    free(sbi->harts);
    pthread_mutex_destroy(&sbi->lock);
}

void sbi_reset(struct sbi *sbi, unsigned boot)
{
    for (unsigned i = 0; i < sbi->machine->vcpu_count; i++) {
        atomic_store(&sbi->harts[i].state, i == boot ? SBI_STARTED : SBI_STOPPED);
        sbi_sta_reset(&sbi->harts[i].sta);
    }
}
