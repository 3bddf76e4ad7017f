#include "store/unit.h"

#include "host/guarded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store/unit_impl.h"

_Static_assert(sizeof(struct unit_key) == 56, "no padding");
_Static_assert(sizeof(struct unit_head) == 96, "no padding");
_Static_assert(sizeof(struct unit_page) == 24 + UNIT_SLOTS / 8, "no padding");
_Static_assert(sizeof(struct unit_entry) == 24, "no padding");

uint64_t unit_hash(const void *bytes, size_t size)
{
    return XXH3_64bits(bytes, size);
}

void unit_hash_image(const void *bytes, size_t size, uint64_t out[2])
{
    XXH128_hash_t h = XXH3_128bits(bytes, size);
    out[0] = h.low64;
    out[1] = h.high64;
}

uint64_t unit_tables_sum(struct unit_head *head, size_t size)
{
    uint64_t was = head->sum;
    head->sum = 0;
    uint64_t sum = XXH3_64bits(head, size);
    head->sum = was;
    return sum;
}

/* ---- checking ---- */

static bool head_good(const struct unit_head *h, const struct unit_key *key, uint64_t size)
{
    return !memcmp(h->magic, UNIT_MAGIC, sizeof h->magic) && h->version == UNIT_VERSION &&
           h->file_size == size && h->page_count <= UNIT_MAX_PAGES &&
           h->entry_count <= UNIT_MAX_ENTRIES && !memcmp(&h->key, key, sizeof *key) &&
           unit_tables_size(h->page_count, h->entry_count) <= size;
}

static bool entry_good(const struct unit *u, const struct unit_entry *e)
{
    uint64_t tables = unit_tables_size(u->head->page_count, u->head->entry_count);
    uint64_t size = u->head->file_size;
    return e->slot < UNIT_SLOTS && e->size <= UNIT_MAX_RECORD && e->at >= tables && e->at <= size &&
           e->size <= size - e->at;
}

static bool page_good(const struct unit *u, const struct unit_page *p, uint32_t first)
{
    if (p->first != first || p->count > u->head->entry_count - first)
        return false;
    const struct unit_entry *e = &u->entries[first];
    for (uint32_t i = 0; i < p->count; i++)
        if (!entry_good(u, &e[i]) || (i && e[i - 1].slot >= e[i].slot))
            return false;
    return true;
}

static bool unit_good(const struct unit *u)
{
    uint32_t first = 0;
    size_t tables = unit_tables_size(u->head->page_count, u->head->entry_count);
    if (u->head->sum != unit_tables_sum(u->head, tables))
        return false;
    for (uint32_t i = 0; i < u->head->page_count; i++) {
        if ((i && u->pages[i - 1].number >= u->pages[i].number) ||
            !page_good(u, &u->pages[i], first))
            return false;
        first += u->pages[i].count;
    }
    return first == u->head->entry_count;
}

/* ---- reading ---- */

static bool read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (uint8_t *)to + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool unit_read_tables(struct unit *u, int fd, const struct unit_head *head)
{
    size_t size = unit_tables_size(head->page_count, head->entry_count);
    u->head = malloc(size);
    /* The second look at the head may be at other bytes. */
    if (!u->head || !read_all(fd, u->head, size) || memcmp(u->head, head, sizeof *head))
        return false;
    u->pages = (const struct unit_page *)(u->head + 1);
    u->entries = (const struct unit_entry *)(u->pages + head->page_count);
    return unit_good(u);
}

bool unit_open(struct unit *u, int fd, const struct unit_key *key)
{
    struct unit_head head;
    struct stat st;
    *u = (struct unit){0};
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof head ||
        (uint64_t)st.st_size > UNIT_MAX_SIZE || !read_all(fd, &head, sizeof head) ||
        !head_good(&head, key, (uint64_t)st.st_size))
        return false;
    u->written = st.st_mtim.tv_sec;
    bool ok = unit_read_tables(u, fd, &head);
    if (ok) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        u->map = map == MAP_FAILED ? NULL : map;
    }
    if (ok && u->map)
        return true;
    unit_close(u);
    return false;
}

void unit_close(struct unit *u)
{
    if (u->map)
        munmap((void *)(uintptr_t)u->map, u->head->file_size);
    free(u->head);
    *u = (struct unit){0};
}

/* ---- looking up ---- */

const struct unit_page *unit_page(const struct unit *u, uint32_t number)
{
    uint32_t lo = 0, hi = u->head ? u->head->page_count : 0;
    while (lo < hi) {
        uint32_t middle = (lo + hi) / 2;
        if (u->pages[middle].number == number)
            return &u->pages[middle];
        if (u->pages[middle].number < number)
            lo = middle + 1;
        else
            hi = middle;
    }
    return NULL;
}

const struct unit_entry *unit_entry(const struct unit *u, const struct unit_page *page,
                                    unsigned slot)
{
    const struct unit_entry *e = &u->entries[page->first];
    uint32_t lo = 0, hi = page->count;
    while (lo < hi) {
        uint32_t middle = (lo + hi) / 2;
        if (e[middle].slot == slot)
            return &e[middle];
        if (e[middle].slot < slot)
            lo = middle + 1;
        else
            hi = middle;
    }
    return NULL;
}

/* A file that was cut off behind our back faults where it is mapped. */
bool unit_get(const struct unit *u, const struct unit_entry *e, void *to)
{
    return guarded_copy(to, u->map + e->at, e->size) && unit_hash(to, e->size) == e->sum;
}
