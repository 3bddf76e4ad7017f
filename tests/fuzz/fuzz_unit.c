/*
 * Files of the translation store as hostile input: reading one ends with nothing, or with tables
 * that can be looked up, whose records can be asked for and which merge with new ones into a file
 * that is good.
 *
 * Input: the file. Its head's key and sum are put right, so that what is behind them is reached.
 */
#include "host/fault.h"
#include "store/unit_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX 65536u

static const struct unit_key key = {.build = 1};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static int file_of(const void *bytes, size_t size)
{
    int fd = memfd_create("unit", MFD_CLOEXEC);
    must(fd >= 0 && (!size || write(fd, bytes, size) == (ssize_t)size), "no file");
    return fd;
}

/* Whatever numbers the input has, as far as there are bytes for them. */
static void make_plausible(uint8_t *bytes, size_t size)
{
    struct unit_head head;
    memcpy(&head, bytes, sizeof head);
    memcpy(head.magic, UNIT_MAGIC, sizeof head.magic);
    head.version = UNIT_VERSION;
    head.page_count %= 8;
    head.entry_count %= 64;
    head.file_size = size;
    head.key = key;
    size_t tables = unit_tables_size(head.page_count, head.entry_count);
    memcpy(bytes, &head, sizeof head);
    if (tables > size)
        return;
    head.sum = unit_tables_sum((struct unit_head *)(void *)bytes, tables);
    memcpy(bytes, &head, sizeof head);
}

static void merge(const struct unit *u)
{
    static const uint64_t run[UNIT_SLOTS / 64];
    struct unit_draft d = {0};
    struct unit again;
    must(draft_page(&d, 1, 2, run) && draft_record(&d, 1, 3, calloc(1, 64), 64), "no draft");
    int fd = file_of(NULL, 0);
    must(unit_write(fd, &key, u, &d) == 0, "a good unit cannot be written");
    must(unit_open(&again, fd, &key), "what was written is not good");
    must(unit_entry(&again, unit_page(&again, 1), 3), "what was added is not there");
    unit_close(&again);
    draft_free(&d);
    close(fd);
}

static void use(const struct unit *u)
{
    for (uint32_t i = 0; i < u->head->page_count; i++) {
        const struct unit_page *p = unit_page(u, u->pages[i].number);
        must(p == &u->pages[i], "a page is not found");
        for (unsigned slot = 0; slot < UNIT_SLOTS; slot += 3) {
            const struct unit_entry *e = unit_entry(u, p, slot);
            void *record = e ? malloc(e->size + 1u) : NULL;
            if (record)
                unit_get(u, e, record);
            free(record);
        }
    }
    merge(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_MAX] __attribute__((aligned(8)));
    static bool ready;
    struct unit u;
    if (size < sizeof(struct unit_head) || size > FILE_MAX)
        return 0;
    if (!ready)
        must(fault_init(NULL) == 0, "no faults");
    ready = true;
    memcpy(bytes, data, size);
    make_plausible(bytes, size);
    int fd = file_of(bytes, size);
    if (unit_open(&u, fd, &key)) {
        use(&u);
        unit_close(&u);
    }
    close(fd);
    return 0;
}
