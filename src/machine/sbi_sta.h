/*
 * Steal time (SBI 2.0, chapter 16): a guest gives each hart 64 bytes of its memory, in which it
 * then finds how long the hart was ready to run while the host ran something else.
 *
 * The host's figure is that of the thread that runs the hart (vcpu.schedstat). A machine whose time
 * is virtual steals none: its record stays at zero.
 *
 * Everything here belongs to the hart's thread; only init and state may be used by another
 * one while it does not run.
 */
#pragma once

#include "core/vcpu.h"

#define SBI_STA_NONE UINT64_MAX

struct sbi_sta {
    gpa_t shmem;    /* of the record, SBI_STA_NONE: nobody wants to know */
    uint64_t steal; /* ns, as the guest sees it */
    /* Not saved, because they are of this host: */
    uint64_t host_steal; /* the thread's figure when `steal` was last brought up to date */
    uint64_t looked;     /* host ns at that time */
};

extern const struct state_table sbi_sta_state;

void sbi_sta_init(struct sbi_sta *sta);
void sbi_sta_reset(struct sbi_sta *sta);

/* The call (16.1). Returns the SBI error code. */
int64_t sbi_sta_set(struct sbi_sta *sta, struct vcpu *v, uint64_t lo, uint64_t hi, uint64_t flags);

/* To be called by the hart's thread whenever it is about to enter the guest; seldom does much. */
void sbi_sta_update(struct sbi_sta *sta, struct vcpu *v);
