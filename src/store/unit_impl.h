/* Between the reader (unit.c) and the writer (unit_write.c) of the store's files. */
#pragma once

#include "store/unit.h"

#define UNIT_MAGIC "guise\0tr"
#define UNIT_VERSION 1u

static inline size_t unit_tables_size(uint32_t pages, uint32_t entries)
{
    return sizeof(struct unit_head) + pages * sizeof(struct unit_page) +
           entries * sizeof(struct unit_entry);
}

/* What head->sum is to be. size: of head, pages and entries, which follow each other. */
uint64_t unit_tables_sum(struct unit_head *head, size_t size);
