/*
 * A machine's translations, for its next runs (store/archive.h), and for its other harts: whoever
 * compiles something adds it, and looks whether it is there first.
 *
 * Guests put the same pages at other places each time, so a record is found by what a page holds:
 * the hash of its bytes, the view, and, where code knows its addresses (region.h), where it is
 * mapped. On the page it is found by its slot and by how it reaches memory. The other pages of a
 * region are told by their distance, and their bytes are compared as those of the first are.
 *
 * Threads: the vCPU's.
 */
#pragma once

#include "engine/dbt/record.h"

struct archive;
struct vcpu;

/* A page is entered first, or with other bytes than before. */
void archived_notice(struct code_page *page);
/* The page at va has no slots that are native: those with records become so. */
void archived_open(struct archive *a, const struct vcpu *v, struct code_page *page, uint64_t va);
/*
 * The record for pc, of the region that begins there or is entered there, too, for `view`
 * (region.view); buffer: of UNIT_MAX_RECORD bytes, where it stays. False: it is not there or not
 * good, or not all pages of the region are known here.
 */
bool archived_find(struct archive *a, uint8_t *buffer, struct vcpu *v, struct code_page *page,
                   uint64_t pc, unsigned view, struct record_region *out);
/* What has been compiled and installed is to be kept. */
void archived_keep(struct archive *a, const struct region_place *place,
                   const struct compile_job *job);
/* Such a region is entered at pc as well, on that page of it at va. */
void archived_keep_entry(struct archive *a, const struct region_place *place,
                         struct code_page *page, uint64_t pc);
