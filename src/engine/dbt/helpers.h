/*
 * What generated code calls, and the words of the hart that it shares with the engine.
 */
#pragma once

#include "engine/dbt/backend.h"
#include "engine/rv_mem.h"

/* rv_hart.engine[] */
enum {
    DBT_WORD_STOP_AT, /* address of the vCPU's stop_at */
    DBT_WORD_HELPERS, /* address of the table of helpers */
    DBT_WORD_JUMP,    /* address of the jump cache of the current view */
    DBT_WORD_EXIT,    /* not 0: a helper wants the region to be left */
    DBT_WORD_REFUSED, /* not 0: of a process: the host has refused the access that a helper does */
    DBT_WORD_BASE,    /* of the region that is running, if it is relative */
    DBT_WORD_FP_BAD,  /* not 0: frm is none of the host's rounding modes */
};

/* The front end's helpers, callees of IR_CALL. */
enum {
    DBT_HELPER_CBO_ZERO = BACK_HELPER_FIRST, /* (va, the instruction) */
    DBT_HELPER_SC_FAILS,                     /* (va, size): without a reservation for them */
    DBT_HELPER_TIME, /* (the instruction): what it reads, of a clock of the host's */
    DBT_HELPERS,
};

/* Fills the table that DBT_WORD_HELPERS points to. */
void dbt_helpers(const void *table[DBT_HELPERS], const struct back_target *target);

/* By a helper: the instruction ends in an exception. */
void dbt_leave(struct rv_hart *h, const struct rv_fault *fault);
