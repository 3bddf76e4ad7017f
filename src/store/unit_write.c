/*
 * Writing a unit: the old file's contents and a draft's, both sorted, are merged. Which records
 * there will be is found first, then the tables are made, then all is written in a few calls.
 */
#include "store/unit_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* ---- drafts ---- */

static bool draft_grow(void **array, uint32_t *cap, uint32_t count, size_t size)
{
    if (count < *cap)
        return true;
    uint32_t more = *cap ? *cap * 2 : 64;
    void *new = realloc(*array, more * size);
    if (!new)
        return false;
    *array = new;
    *cap = more;
    return true;
}

void draft_free(struct unit_draft *d)
{
    for (uint32_t i = 0; i < d->record_count; i++)
        free(d->records[i].bytes);
    free(d->records);
    free(d->pages);
    *d = (struct unit_draft){0};
}

static void run_add(uint64_t *to, const uint64_t *more)
{
    for (unsigned i = 0; i < UNIT_SLOTS / 64; i++)
        to[i] |= more[i];
}

/* Records that were made of other bytes. */
static void draft_drop(struct unit_draft *d, uint32_t page)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->record_count; i++) {
        if (d->records[i].page != page) {
            d->records[kept++] = d->records[i];
            continue;
        }
        d->bytes -= d->records[i].size;
        free(d->records[i].bytes);
    }
    d->record_count = kept;
}

bool draft_page(struct unit_draft *d, uint32_t number, uint64_t content,
                const uint64_t run[UNIT_SLOTS / 64])
{
    uint32_t i = 0;
    while (i < d->page_count && d->pages[i].number != number)
        i++;
    if (i == UNIT_MAX_PAGES || !draft_grow((void **)&d->pages, &d->page_cap, i, sizeof *d->pages))
        return false;
    struct unit_page *p = &d->pages[i];
    if (i == d->page_count || p->content != content) {
        if (i < d->page_count)
            draft_drop(d, number);
        else
            d->page_count++;
        *p = (struct unit_page){.number = number, .content = content};
    }
    run_add(p->run, run);
    return true;
}

bool draft_record(struct unit_draft *d, uint32_t page, unsigned slot, uint8_t *bytes, uint32_t size)
{
    if (size > UNIT_MAX_RECORD || d->record_count == UNIT_MAX_ENTRIES ||
        !draft_grow((void **)&d->records, &d->record_cap, d->record_count, sizeof *d->records)) {
        free(bytes);
        return false;
    }
    d->records[d->record_count++] =
        (struct draft_record){.page = page, .slot = (uint16_t)slot, .size = size, .bytes = bytes};
    d->bytes += size;
    return true;
}

static int page_order(const void *a, const void *b)
{
    const struct unit_page *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int record_order(const void *a, const void *b)
{
    const struct draft_record *x = a, *y = b;
    if (x->page != y->page)
        return x->page < y->page ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* One record for each place; all are good, but those that are only wanted go first. */
static void draft_sort(struct unit_draft *d)
{
    uint32_t kept = 0;
    qsort(d->pages, d->page_count, sizeof *d->pages, page_order);
    qsort(d->records, d->record_count, sizeof *d->records, record_order);
    for (uint32_t i = 0; i < d->record_count; i++) {
        struct draft_record *r = &d->records[i], *last = kept ? &d->records[kept - 1] : NULL;
        if (!last || record_order(last, r)) {
            d->records[kept++] = *r;
            continue;
        }
        struct draft_record *gone = r->size ? last : r;
        d->bytes -= gone->size;
        free(gone->bytes);
        if (gone == last)
            *last = *r;
    }
    d->record_count = kept;
}

/* ---- merging ---- */

struct merge {
    const struct unit *old;
    struct unit_draft *draft;
    uint32_t old_page, draft_page, draft_record; /* how far */
    uint8_t *tables;
    struct unit_page *pages;
    uint32_t page_count;
    struct unit_entry *entries;
    uint32_t entry_count;
    struct iovec *pieces; /* of the file: the tables, records */
    uint32_t piece_count;
};

static void merge_put(struct merge *m, unsigned slot, const void *bytes, uint32_t size,
                      uint64_t sum)
{
    struct unit_entry *e = &m->entries[m->entry_count++];
    *e = (struct unit_entry){.slot = (uint16_t)slot, .size = size, .sum = sum};
    if (size)
        m->pieces[m->piece_count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* Entries of a page of which the old file has `count` ones that are still good. */
static void merge_entries(struct merge *m, uint32_t page, const struct unit_entry *e,
                          uint32_t count)
{
    const struct draft_record *r = &m->draft->records[m->draft_record];
    const struct draft_record *end = m->draft->records + m->draft->record_count;
    while (count || (r < end && r->page == page)) {
        bool new = r < end && r->page == page && (!count || r->slot <= e->slot);
        bool both = new &&count && r->slot == e->slot;
        if (new && !(both && !r->size))
            merge_put(m, r->slot, r->bytes, r->size, r->size ? unit_hash(r->bytes, r->size) : 0);
        else
            merge_put(m, e->slot, m->old->map + e->at, e->size, e->sum);
        r += new;
        if (!new || both) {
            e++;
            count--;
        }
    }
    m->draft_record = (uint32_t)(r - m->draft->records);
}

static void merge_page(struct merge *m, const struct unit_page *old, const struct unit_page *new)
{
    struct unit_page *p = &m->pages[m->page_count++];
    bool good = old && (!new || old->content == new->content);
    *p = new ? *new : *old;
    if (good && new)
        run_add(p->run, old->run);
    p->first = m->entry_count;
    merge_entries(m, p->number, good ? &m->old->entries[old->first] : NULL, good ? old->count : 0);
    p->count = m->entry_count - p->first;
}

static void merge_pages(struct merge *m)
{
    const struct unit_page *old = m->old->pages, *new = m->draft->pages;
    uint32_t olds = m->old->head ? m->old->head->page_count : 0, news = m->draft->page_count;
    while (olds || news) {
        bool has_old = olds && (!news || old->number <= new->number);
        bool has_new = news && (!olds || new->number <= old->number);
        merge_page(m, has_old ? old : NULL, has_new ? new : NULL);
        old += has_old;
        olds -= has_old;
        new += has_new;
        news -= has_new;
    }
}

/* Room for all that both have. */
static bool merge_begin(struct merge *m)
{
    const struct unit_head *old = m->old->head;
    uint32_t pages = (old ? old->page_count : 0) + m->draft->page_count;
    uint32_t entries = (old ? old->entry_count : 0) + m->draft->record_count;
    m->pages = calloc(pages ? pages : 1, sizeof *m->pages);
    m->entries = calloc(entries ? entries : 1, sizeof *m->entries);
    m->pieces = calloc(entries + 1, sizeof *m->pieces);
    return m->pages && m->entries && m->pieces;
}

static int merge_tables(struct merge *m, const struct unit_key *key)
{
    size_t size = unit_tables_size(m->page_count, m->entry_count);
    uint64_t at = size;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        m->entries[i].at = at;
        at += m->entries[i].size;
    }
    if (at > UNIT_MAX_SIZE || m->page_count > UNIT_MAX_PAGES || m->entry_count > UNIT_MAX_ENTRIES)
        return -EFBIG;
    struct unit_head *head = malloc(size);
    if (!head)
        return -ENOMEM;
    m->tables = (uint8_t *)head;
    *head = (struct unit_head){.version = UNIT_VERSION,
                               .page_count = m->page_count,
                               .entry_count = m->entry_count,
                               .file_size = at,
                               .key = *key};
    memcpy(head->magic, UNIT_MAGIC, sizeof head->magic);
    uint8_t *pages = (uint8_t *)(head + 1);
    memcpy(pages, m->pages, m->page_count * sizeof *m->pages);
    memcpy(pages + m->page_count * sizeof *m->pages, m->entries,
           m->entry_count * sizeof *m->entries);
    head->sum = unit_tables_sum(head, size);
    m->pieces[0] = (struct iovec){head, size};
    return 0;
}

/* What writev has not written of the pieces. */
static struct iovec *pieces_rest(struct iovec *v, const struct iovec *end, size_t written)
{
    while (v < end && written >= v->iov_len)
        written -= v++->iov_len;
    if (v < end) {
        v->iov_base = (uint8_t *)v->iov_base + written;
        v->iov_len -= written;
    }
    return v;
}

static int write_pieces(int fd, struct iovec *v, uint32_t count)
{
    const struct iovec *end = v + count;
    while (v < end) {
        ssize_t n = writev(fd, v, end - v < IOV_MAX ? (int)(end - v) : IOV_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -ENOSPC;
        v = pieces_rest(v, end, (size_t)n);
    }
    return 0;
}

int unit_write(int fd, const struct unit_key *key, const struct unit *old, struct unit_draft *d)
{
    struct merge m = {.old = old, .draft = d, .piece_count = 1};
    draft_sort(d);
    int rc = merge_begin(&m) ? 0 : -ENOMEM;
    if (!rc) {
        merge_pages(&m);
        rc = merge_tables(&m, key);
    }
    if (!rc)
        rc = write_pieces(fd, m.pieces, m.piece_count);
    free(m.pages);
    free(m.entries);
    free(m.pieces);
    free(m.tables);
    return rc;
}
