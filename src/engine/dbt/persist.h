/*
 * Translations that outlive the process (store/store.h): regions that lie within one image are kept
 * as records of its unit, and found there again when a page of an image is first entered.
 *
 * What a record says of its pages is compared by hash with the bytes that were decoded. The code in
 * it is as the back end left it, position-independent but for what back_place fills in; guest
 * addresses are part of it, hence of the unit's key.
 *
 * Threads: the lock of struct dbt_code.
 */
#pragma once

#include "engine/dbt/record.h"
#include "engine/dbt/warm.h"

struct persist;
struct store;
struct vcpu;

/* NULL: out of memory. s and w outlive it; w is told of places that earlier runs wanted, unless it
 * is NULL. */
struct persist *persist_new(const struct store *s, const struct host_features *f, struct warm *w);
void persist_free(struct persist *p);

/* A page that has not been noticed: its slots for which there are records become native. */
void persist_notice(struct persist *p, struct vcpu *v, struct code_page *page);

/*
 * The record for pc, whose slot is native and has no region: of the region that begins there or is
 * entered there, too; good until the next call. False: it is not good, or not there.
 */
bool persist_find(struct persist *p, struct vcpu *v, struct code_page *page, uint64_t pc,
                  struct record_region *out);
/* What has been compiled and installed is to be kept. */
void persist_keep(struct persist *p, const struct region_place *place,
                  const struct compile_job *job);
/* Such a region is entered at pc as well, on that page of it. */
void persist_keep_entry(struct persist *p, const struct region_place *place,
                        const struct code_page *page, uint64_t pc);
/* The place shall be compiled by a later run. False: the page is of no image. */
bool persist_want(struct persist *p, const struct code_page *page, uint64_t pc);
/*
 * Whether so much is expected of the page's unit that it is worth compiling: persist_expect counts
 * what could be in the time that there is.
 */
void persist_expect(struct persist *p, const struct code_page *page);
bool persist_worth(const struct persist *p, const struct code_page *page);
/* In fork's child: what is pending is written by the parent, not by each of its children, too. */
void persist_forked(struct persist *p);
/* Writes what is worth it. */
void persist_save(struct persist *p);
