#include "machine/sbi_sta.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 4000000u /* the host's figure is looked at no more often */

enum { STA_SUCCESS = 0, STA_INVALID_PARAM = -3, STA_INVALID_ADDRESS = -5 };

/* The record in guest memory (table 66). */
struct sta_record {
    uint32_t sequence; /* odd while steal changes */
    uint32_t flags;
    uint64_t steal;
    uint8_t preempted;
    uint8_t pad[47];
};

_Static_assert(sizeof(struct sta_record) == 64, "the guest's record");

/* ---- declared state ---- */

static const struct state_field sta_fields[] = {
    STATE_FIELD(struct sbi_sta, shmem),
    STATE_FIELD(struct sbi_sta, steal),
    STATE_END,
};

static int sta_post_load(void *obj, struct error *err)
{
    struct sbi_sta *sta = obj;
    if (sta->shmem != SBI_STA_NONE && sta->shmem % sizeof(struct sta_record))
        return error_set(err, EINVAL, "saved state has a record of steal time at 0x%llx",
                         (unsigned long long)sta->shmem);
    sta->looked = 0;
    return 0;
}

const struct state_table sbi_sta_state = {
    .name = "sbi-sta",
    .version = 1,
    .size = sizeof(struct sbi_sta),
    .fields = sta_fields,
    .post_load = sta_post_load,
};

/* ---- life ---- */

void sbi_sta_init(struct sbi_sta *sta)
{
    *sta = (struct sbi_sta){.shmem = SBI_STA_NONE};
}

void sbi_sta_reset(struct sbi_sta *sta)
{
    sta->shmem = SBI_STA_NONE;
    sta->steal = 0;
}

/* ---- the call ---- */

static struct sta_record *sta_record(const struct sbi_sta *sta, const struct vcpu *v)
{
    return addrspace_ram(v->mem, sta->shmem, sizeof(struct sta_record));
}

int64_t sbi_sta_set(struct sbi_sta *sta, struct vcpu *v, uint64_t lo, uint64_t hi, uint64_t flags)
{
    if (flags)
        return STA_INVALID_PARAM;
    if (lo == UINT64_MAX && hi == UINT64_MAX) {
        sta->shmem = SBI_STA_NONE;
        return STA_SUCCESS;
    }
    if (lo % sizeof(struct sta_record))
        return STA_INVALID_PARAM;
    struct sta_record *r = hi ? NULL : addrspace_ram(v->mem, lo, sizeof *r);
    if (!r)
        return STA_INVALID_ADDRESS;
    memset(r, 0, sizeof *r);
    sta->shmem = lo;
    sta->steal = 0;
    sta->looked = 0;
    return STA_SUCCESS;
}

/* ---- the host's figure ---- */

static uint64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The second number is the time spent waiting on a run queue. */
static bool host_steal(const struct vcpu *v, uint64_t *ns)
{
    char text[64];
    ssize_t n = v->schedstat < 0 ? -1 : pread(v->schedstat, text, sizeof text - 1, 0);
    if (n <= 0)
        return false;
    text[n] = 0;
    unsigned long long run, wait;
    if (sscanf(text, "%llu %llu", &run, &wait) != 2)
        return false;
    *ns = wait;
    return true;
}

static void sta_write(const struct sbi_sta *sta, struct sta_record *r)
{
    uint32_t sequence = __atomic_load_n(&r->sequence, __ATOMIC_RELAXED) | 1;
    __atomic_store_n(&r->sequence, sequence, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&r->steal, sta->steal, __ATOMIC_RELAXED);
    __atomic_store_n(&r->sequence, sequence + 1, __ATOMIC_RELEASE);
}

void sbi_sta_update(struct sbi_sta *sta, struct vcpu *v)
{
    if (sta->shmem == SBI_STA_NONE || v->clock->is_virtual)
        return;
    uint64_t now = host_ns(), waited;
    bool fresh = !sta->looked;
    if (!fresh && now - sta->looked < PERIOD_NS)
        return;
    struct sta_record *r = sta_record(sta, v);
    if (!r || !host_steal(v, &waited))
        return;
    if (!fresh && waited > sta->host_steal) {
        sta->steal += waited - sta->host_steal;
        sta_write(sta, r);
    }
    sta->host_steal = waited;
    sta->looked = now;
}
