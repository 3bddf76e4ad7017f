/*
 * The Supervisor Binary Interface (RISC-V SBI 2.0), answered by guise in the place of M-mode
 * firmware: BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, PMU, STA. Calls reach sbi_call when an engine
 * returns VCPU_EXIT_CALL; arguments and results are in a0..a7.
 */
#pragma once

#include "chr/chr.h"
#include "machine/machine.h"
#include "machine/sbi_sta.h"

#include <stdatomic.h>

enum sbi_hart_state { /* 9.1, as hart_get_status returns them */
                      SBI_STARTED = 0,
                      SBI_STOPPED = 1,
                      SBI_START_PENDING = 2,
                      SBI_SUSPENDED = 4,
};

/* Fences of address ranges that a hart has been asked for and has not carried out. */
#define SBI_FENCES 8
struct sbi_fences {
    struct sbi_fence {
        uint64_t start, pages; /* pages 0: everything */
        uint64_t asid;
        bool one_space;
    } fence[SBI_FENCES];
    unsigned count;
    bool all; /* and more than there was room for */
};

/* One hart as its firmware sees it. */
struct sbi_hart {
    _Atomic uint32_t state; /* enum sbi_hart_state */
    uint64_t start_addr, start_arg;
    /* Remote fences: tickets asked for by others, and the last one that was carried out. */
    _Atomic uint32_t fences_asked, fences_done;
    struct sbi_fences fences; /* with the lock held */
    struct sbi_sta sta;
};

struct sbi {
    struct machine *machine;
    struct chr *console; /* for DBCN; not owned, may be NULL */
    struct sbi_hart *harts;
    pthread_mutex_t lock; /* hart starts, fences */
};

extern const struct state_table sbi_hart_state;

int sbi_init(struct sbi *sbi, struct machine *m, struct chr *console, struct error *err);
void sbi_fini(struct sbi *sbi);

/* Hart `boot` started, all others stopped. */
void sbi_reset(struct sbi *sbi, unsigned boot);

/* Carries out the call in the registers of v's hart. By v's thread. */
void sbi_call(struct sbi *sbi, struct vcpu *v);

/* Carries out requests for v's hart. By v's thread, outside the guest. */
void sbi_requests(struct sbi *sbi, struct vcpu *v, uint32_t bits);

bool sbi_started(const struct sbi *sbi, const struct vcpu *v);
