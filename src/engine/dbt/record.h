/*
 * The form in which a region is stored: what there is to know of it (back_code), and what its pages
 * held. The code is as the back end left it, position-independent but for what back_place fills in.
 * Stored are a process's regions (persist.h) and a machine's (archived.h).
 */
#pragma once

#include "engine/dbt/compile.h"
#include "engine/dbt/region.h"

struct record_page {
    uint64_t content; /* unit_hash of its bytes */
    uint32_t number;  /* which page it is, in the terms of who stores it */
    uint32_t reserved;
};

/*
 * Followed by entries, links, refs, and the code. One without code is an entry of another region,
 * which begins at `slot` of its first page.
 */
struct record {
    uint32_t size, hot_size; /* of the code */
    uint32_t sites_at, site_count, entry_count, link_count, ref_count;
    uint32_t insns;
    uint8_t pages, uses_fp;
    uint16_t slot;
    uint8_t reserved[4];
    struct record_page page[FRONT_PAGES];
};

/* A region that was stored. */
struct record_region {
    struct region_place place;
    struct back_code code; /* in the record's bytes */
    unsigned insns;
    bool uses_fp;
};

size_t record_size(const struct record *r);
/* The record of what was compiled, with the numbers of its pages, malloc'ed; NULL: out of memory.
 */
struct record *record_make(const struct region_place *place, const uint32_t *numbers,
                           const struct compile_job *job);
/* What a record has, but for place.page and place.pc. False: it makes no sense. Any bytes are safe.
 */
bool record_read(uint8_t *bytes, size_t size, struct record_region *out);
/* What code depends on of the host, as a number. */
uint64_t record_host(const struct host_features *f);
