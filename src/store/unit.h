/*
 * One file of the translation store: what has been made of one image, an executable file at one
 * place in memory. A map from places (page of the file's addresses, halfword in it) to records,
 * whose contents are their owner's business, and what is known of the pages: a hash of their bytes
 * and what has run.
 *
 * In the file: head, pages by number, entries by page and slot, records. Everything but the records
 * is read into memory, checked once against its checksum and bounds, and good from then on. Records
 * stay in the file, which is mapped: each has a checksum in its entry and is copied out before it
 * is looked at, so that what happens to the file afterwards does no harm.
 *
 * A file is read by the build that wrote it only (unit_key.build), on the same kind of host: the
 * structures are in it as they are in memory.
 *
 * Threads: a struct unit is read by any; a draft belongs to one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What a file is found by; no padding, compared as bytes. */
struct unit_key {
    uint64_t image[2];   /* hash of the file's first page */
    uint64_t size, base; /* of the file; address of its first byte */
    uint64_t exts;       /* what the guest's processor has */
    uint64_t build;      /* of guise */
    uint64_t host;       /* what this processor has */
};

#define UNIT_PAGE 4096u
#define UNIT_SLOTS (UNIT_PAGE / 2)
#define UNIT_MAX_PAGES (1u << 18)
#define UNIT_MAX_ENTRIES (1u << 20)
#define UNIT_MAX_RECORD (1u << 20)        /* bytes */
#define UNIT_MAX_SIZE (UINT64_C(1) << 28) /* bytes of a file */

struct unit_head {
    char magic[8];
    uint32_t version;
    uint32_t page_count, entry_count;
    uint32_t reserved; /* 0 */
    uint64_t file_size;
    struct unit_key key;
    uint64_t sum; /* of head, with 0 here, pages and entries */
};

struct unit_page {
    uint32_t number;       /* address - base, in pages */
    uint32_t first, count; /* its entries */
    uint32_t reserved;     /* 0 */
    uint64_t content;      /* unit_hash of its bytes */
    uint64_t run[UNIT_SLOTS / 64];
};

struct unit_entry {
    uint16_t slot;
    uint16_t reserved; /* 0 */
    uint32_t size;     /* of the record; 0: no record, the place is only wanted */
    uint64_t at;       /* in the file */
    uint64_t sum;      /* unit_hash of the record */
};

struct unit {
    struct unit_head *head; /* NULL: there is no file, or no good one; begins one block with: */
    const struct unit_page *pages;
    const struct unit_entry *entries;
    const uint8_t *map; /* all of the file */
    time_t written;
};

static inline bool unit_there(const struct unit *u)
{
    return u->head != NULL;
}

uint64_t unit_hash(const void *bytes, size_t size);
/* For unit_key.image. */
void unit_hash_image(const void *bytes, size_t size, uint64_t out[2]);

/*
 * Reads the file, which stays open and the caller's. False: it is not for this key, damaged, or
 * cannot be read; then nothing is kept.
 */
bool unit_open(struct unit *u, int fd, const struct unit_key *key);
void unit_close(struct unit *u);

/* NULL: nothing is known of the page; nothing of the place. */
const struct unit_page *unit_page(const struct unit *u, uint32_t number);
const struct unit_entry *unit_entry(const struct unit *u, const struct unit_page *page,
                                    unsigned slot);
/* Copies the record of an entry, e->size bytes. False: it is damaged. */
bool unit_get(const struct unit *u, const struct unit_entry *e, void *to);

/* ---- what is to be added ---- */

struct draft_record {
    uint32_t page;
    uint16_t slot;
    uint32_t size;  /* 0: wanted */
    bool renew;     /* also where the file has one */
    uint8_t *bytes; /* malloc'ed */
};

struct unit_draft {
    struct unit_page *pages;
    uint32_t page_count, page_cap;
    struct draft_record *records;
    uint32_t record_count, record_cap;
    uint64_t bytes; /* of records */
};

void draft_free(struct unit_draft *d); /* it is empty then */
/*
 * The page as it is now; what has run is added to what is known, unless its bytes are others, which
 * end everything older. False: out of memory, or too many.
 */
bool draft_page(struct unit_draft *d, uint32_t number, uint64_t content,
                const uint64_t run[UNIT_SLOTS / 64]);
/* Takes bytes over, also when it fails. The page is to be there. The last record for a place wins.
 */
bool draft_record(struct unit_draft *d, uint32_t page, unsigned slot, uint8_t *bytes,
                  uint32_t size);

/*
 * Writes to an empty file what the old one has (it may have nothing) with the draft's in its place
 * where both have something. The draft is sorted by it. 0, or -errno, -EFBIG when it is too large.
 */
int unit_write(int fd, const struct unit_key *key, const struct unit *old, struct unit_draft *d);
