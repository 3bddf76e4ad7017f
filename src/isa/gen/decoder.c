/*
 * The decoder: two functions that find the row a word belongs to, as nested switches over bits
 * that are fixed in all rows that are left, and one that fills struct rv_insn.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

static uint32_t ones(unsigned len)
{
    return (uint32_t)((UINT64_C(1) << len) - 1);
}

/* Matching ------------------------------------------------------------------------------------ */

/* A set of rows, and the bits of the word that switches further out have compared. */
struct rows {
    unsigned count;
    const struct row **row;
    uint32_t tested;
};

static void indent(FILE *f, unsigned depth)
{
    fprintf(f, "%*s", (int)depth * 4, "");
}

/* Special cases go first; otherwise the order of the table. */
static int row_compare(const void *a, const void *b)
{
    const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;
    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x < y ? -1 : 1;
}

/* One row of a leaf: what is still to be tested, then its number. Returns whether it can fail. */
static bool row_emit(FILE *f, const struct table *t, const struct row *row, uint32_t tested,
                     unsigned depth)
{
    const char *sep = "if (";
    uint32_t rest = row->mask & ~tested;
    indent(f, depth);
    if (rest) {
        fprintf(f, "%s(w & 0x%x) == 0x%x", sep, rest, row->match & rest);
        sep = " && ";
    }
    for (unsigned i = 0; i < row->forbid_count; i++) {
        fprintf(f, "%s(w & 0x%x) != 0x%x", sep, row->forbid[i].mask, row->forbid[i].value);
        sep = " && ";
    }
    for (unsigned i = 1; i < t->ext_count; i++) { /* the first one, I, is always there */
        if (row->exts >> i & 1) {
            fprintf(f, "%sHAS(%s)", sep, t->ext[i].decl.ident);
            sep = " && ";
        }
    }
    bool can_fail = sep[0] == ' ';
    if (can_fail) {
        fprintf(f, ")\n");
        indent(f, depth + 1);
    }
    fprintf(f, "return RV_ENC_%s;\n", row->decl.ident);
    return can_fail;
}

static bool leaf_emit(FILE *f, const struct table *t, const struct rows *rows, unsigned depth)
{
    bool can_fail = true;
    qsort(rows->row, rows->count, sizeof rows->row[0], row_compare);
    for (unsigned i = 0; i < rows->count && can_fail; i++)
        can_fail = row_emit(f, t, rows->row[i], rows->tested, depth);
    return can_fail;
}

/* The longest run of ones in v: its lowest bit and length. */
static unsigned run_longest(uint32_t v, unsigned *at)
{
    unsigned best = 0;
    for (unsigned lo = 0; lo < 32; lo++) {
        unsigned len = 0;
        while (lo + len < 32 && (v >> (lo + len) & 1))
            len++;
        if (len > best) {
            best = len;
            *at = lo;
        }
    }
    return best;
}

/* Returns whether the printed statements can be left without having found a row. */
static bool tree_emit(FILE *f, const struct table *t, const struct rows *rows, unsigned depth)
{
    uint32_t common = ~rows->tested;
    for (unsigned i = 0; i < rows->count; i++)
        common &= rows->row[i]->mask;
    if (rows->count == 1 || !common)
        return leaf_emit(f, t, rows, depth);

    unsigned at = 0, len = run_longest(common, &at);
    const struct row *part[COUNT(t->row)];
    indent(f, depth);
    fprintf(f, "switch (w >> %u & 0x%x) {\n", at, ones(len));
    for (uint64_t value = 0; value <= ones(len); value++) {
        struct rows sub = {.row = part, .tested = rows->tested | ones(len) << at};
        for (unsigned i = 0; i < rows->count; i++)
            if ((rows->row[i]->match >> at & ones(len)) == value)
                part[sub.count++] = rows->row[i];
        if (!sub.count)
            continue;
        indent(f, depth);
        fprintf(f, "case 0x%x:\n", (unsigned)value);
        if (tree_emit(f, t, &sub, depth + 1)) {
            indent(f, depth + 1);
            fprintf(f, "break;\n");
        }
    }
    indent(f, depth);
    fprintf(f, "}\n");
    return true;
}

static void matcher_emit(FILE *f, const struct table *t, unsigned len)
{
    const struct row *all[COUNT(t->row)];
    struct rows rows = {.row = all, .tested = len == 16 ? 0xffff0000 : 3};
    for (unsigned i = 0; i < t->row_count; i++)
        if (t->row[i].len == len)
            all[rows.count++] = &t->row[i];

    fprintf(f, "\nstatic unsigned rv_match%u(uint32_t w, uint64_t exts)\n{\n", len);
    if (tree_emit(f, t, &rows, 1))
        fprintf(f, "    return RV_ENC_ILLEGAL;\n");
    fprintf(f, "}\n");
}

/* Fields -------------------------------------------------------------------------------------- */

static void value_print(FILE *f, const struct source *source, enum slot slot)
{
    bool is_signed = source->field->is_signed;
    fprintf(f, is_signed ? "rv_sext(" : slot == SLOT_IMM ? "(int32_t)(" : "(uint8_t)(");
    for (unsigned i = 0; i < source->piece_count; i++) {
        const struct piece *p = &source->piece[i];
        fprintf(f, "%s(w >> %u & 0x%x)", i ? " | " : "", p->at, ones(p->len));
        if (p->to)
            fprintf(f, " << %u", p->to);
    }
    if (source->field->add)
        fprintf(f, " + %u", source->field->add);
    fprintf(f, is_signed ? ", %u)" : ")", source->width);
}

/* The statements that fill struct rv_insn for a row, without the operation. */
static char *layout_print(const struct row *row)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        const struct source *source = &row->slot[i];
        if (!source->field && !source->constant)
            continue; /* rv_decode() has cleared it */
        fprintf(f, "        out->%s = ", slot_names[i]);
        if (source->field)
            value_print(f, source, (enum slot)i);
        else
            fprintf(f, "%d", source->constant);
        fprintf(f, ";\n");
    }
    fclose(f);
    return text;
}

void layouts_assign(struct table *t)
{
    for (unsigned i = 0; i < t->row_count; i++) {
        struct row *row = &t->row[i];
        char *text = layout_print(row);
        row->layout = 0;
        while (row->layout < t->layout_count && strcmp(t->layout[row->layout], text) != 0)
            row->layout++;
        if (row->layout == t->layout_count)
            t->layout[t->layout_count++] = text;
        else
            free(text);
    }
}

void emit_decoder(FILE *f, const struct table *t)
{
    matcher_emit(f, t, 16);
    matcher_emit(f, t, 32);

    fprintf(f, "\nstatic void rv_extract(unsigned layout, uint32_t w, struct rv_insn *out)\n{\n");
    fprintf(f, "    switch (layout) {\n");
    for (unsigned i = 0; i < t->layout_count; i++)
        fprintf(f, "    case %u:\n%s        break;\n", i, t->layout[i]);
    fprintf(f, "    }\n}\n");
}
