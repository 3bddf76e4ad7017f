/* The rules of the instruction table that concern more than one line. */
#include "table.h"

#include <string.h>

/* Whether a forbidden value of one of two rows keeps them apart: the fixed bits of both say it. */
static bool forbid_separates(const struct row *row, uint32_t mask, uint32_t match)
{
    for (unsigned i = 0; i < row->forbid_count; i++) {
        const struct forbid *f = &row->forbid[i];
        if ((f->mask & ~mask) == 0 && (match & f->mask) == f->value)
            return true;
    }
    return false;
}

static bool rows_overlap(const struct row *a, const struct row *b)
{
    if (a->len != b->len || ((a->match ^ b->match) & a->mask & b->mask))
        return false;
    uint32_t mask = a->mask | b->mask, match = a->match | b->match;
    return !forbid_separates(a, mask, match) && !forbid_separates(b, mask, match);
}

static bool is_special_of(const struct row *a, const struct row *b)
{
    while (a && a != b)
        a = a->special;
    return a == b;
}

static void overlaps_check(struct table *t)
{
    for (unsigned i = 0; i < t->row_count; i++) {
        for (unsigned k = 0; k < i; k++) {
            const struct row *a = &t->row[i], *b = &t->row[k];
            if (rows_overlap(a, b) && !is_special_of(a, b))
                table_error(t, a->decl.line, "%s overlaps %s on line %u", a->decl.name,
                            b->decl.name, b->decl.line);
        }
    }
}

/* A special case must lie inside its row, and must leave something to it. */
static void special_check(struct table *t, const struct row *row)
{
    const struct row *outer = row->special;
    if (row->len != outer->len || (outer->mask & ~row->mask) ||
        (row->match & outer->mask) != outer->match || row->mask == outer->mask)
        table_error(t, row->decl.line, "%s is no special case of %s", row->decl.name,
                    outer->decl.name);
}

static uint64_t exts_closure(const struct table *t, uint64_t exts)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < t->ext_count; i++)
        if (exts >> i & 1)
            all |= t->ext[i].closure;
    return all;
}

/* Names that differ in the table can still be one C identifier. */
static void idents_check(struct table *t)
{
    for (unsigned i = 0; i < t->row_count; i++)
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(t->row[i].decl.ident, t->row[k].decl.ident) &&
                strcmp(t->row[i].decl.name, t->row[k].decl.name) != 0)
                table_error(t, t->row[i].decl.line, "%s and %s are one C identifier",
                            t->row[i].decl.name, t->row[k].decl.name);
}

void table_check(struct table *t)
{
    idents_check(t);
    overlaps_check(t);
    for (unsigned i = 0; i < t->row_count; i++) {
        const struct row *row = &t->row[i];
        if (row->special)
            special_check(t, row);
        if (row->base && (row->base->exts & ~exts_closure(t, row->exts | 1)))
            table_error(t, row->decl.line, "%s lacks an extension of %s", row->decl.name,
                        row->base->decl.name);
    }
}
