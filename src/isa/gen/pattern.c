/* The pattern of a row: fixed bits, fields, pieces of fields, forbidden values. */
#include "table.h"

#include <string.h>

/* Appends one piece to a value; its place is counted from the left until the row is complete. */
static void piece_add(struct table *t, struct row *row, struct source *source, unsigned high,
                      unsigned low)
{
    if (high < low || high > 31 || source->piece_count == COUNT(source->piece)) {
        table_error(t, t->line, "%s: bad bits %u:%u", row->decl.name, high, low);
        return;
    }
    unsigned len = high - low + 1;
    row->len += len;
    row->mask = len < 32 ? row->mask << len : 0;
    row->match = len < 32 ? row->match << len : 0;
    for (unsigned i = 0; i < source->piece_count; i++) {
        const struct piece *old = &source->piece[i];
        if (low < old->to + old->len && old->to < low + len)
            table_error(t, t->line, "%s: bits %u:%u of %s twice", row->decl.name, high, low,
                        source->field->decl.name);
    }
    source->piece[source->piece_count++] = (struct piece){.at = row->len, .to = low, .len = len};
    if (high >= source->width)
        source->width = high + 1;
}

/* The ranges in brackets, such as 12|10:5. */
static void pieces_parse(struct table *t, struct row *row, struct source *source, char *ranges)
{
    char *range;
    while ((range = strsep(&ranges, "|"))) {
        char *low = strchr(range, ':');
        if (low)
            *low++ = 0;
        int h, l;
        if (!number_parse(range, &h) || !number_parse(low ? low : range, &l) || h < 0 || l < 0)
            table_error(t, t->line, "%s: bad bit range '%s'", row->decl.name, range);
        else
            piece_add(t, row, source, (unsigned)h, (unsigned)l);
    }
}

static void forbid_add(struct table *t, struct row *row, const struct source *source,
                       unsigned value)
{
    if (row->forbid_count == COUNT(row->forbid)) {
        table_error(t, t->line, "%s: too many forbidden values", row->decl.name);
        return;
    }
    struct forbid *forbid = &row->forbid[row->forbid_count++];
    for (unsigned i = 0; i < source->piece_count; i++) {
        const struct piece *p = &source->piece[i];
        uint32_t ones = (uint32_t)((UINT64_C(1) << p->len) - 1);
        forbid->mask |= ones << p->at;
        forbid->value |= (value >> p->to & ones) << p->at;
    }
}

/* The value after the '!' of a use: it is applied when all pieces are known. */
static void forbidden_parse(struct table *t, struct row *row, struct source *source,
                            const char *text)
{
    int value;
    if (!number_parse(text, &value) || value < 0)
        table_error(t, t->line, "%s: bad value '%s'", row->decl.name, text);
    else
        source->forbidden = (unsigned)value;
    source->has_forbidden = true;
}

/* A use of a field: NAME or NAME[RANGES], and perhaps !VALUE. */
static void field_use(struct table *t, struct row *row, char *word)
{
    char *forbidden = strchr(word, '!');
    if (forbidden)
        *forbidden++ = 0;
    char *ranges = strchr(word, '[');
    if (ranges) {
        *ranges++ = 0;
        ranges[strcspn(ranges, "]")] = 0;
    }

    const struct field *field = FIND(t->field, t->field_count, word);
    if (!field) {
        table_error(t, t->line, "%s: unknown field '%s'", row->decl.name, word);
        return;
    }
    struct source *source = &row->slot[field->slot];
    if (source->used && source->field != field)
        table_error(t, t->line, "%s: %s and %s both set %s", row->decl.name,
                    source->field->decl.name, word, slot_names[field->slot]);
    source->used = true;
    source->field = field;

    if (forbidden)
        forbidden_parse(t, row, source, forbidden);
    if (ranges)
        pieces_parse(t, row, source, ranges);
    else if (field->width)
        piece_add(t, row, source, field->width - 1, 0);
    else
        table_error(t, t->line, "%s: %s needs bits in brackets", row->decl.name, word);
    if (field->width && source->width > field->width)
        table_error(t, t->line, "%s: %s has only %u bits", row->decl.name, word, field->width);
}

/* When the length is known: places counted from the right, and words that must not match. */
static void source_finish(struct table *t, struct row *row, struct source *source)
{
    for (unsigned i = 0; i < source->piece_count; i++)
        source->piece[i].at = row->len - source->piece[i].at;
    for (unsigned i = 0; source->field && i < source->field->forbid_count; i++)
        forbid_add(t, row, source, source->field->forbid[i]);
    if (source->has_forbidden)
        forbid_add(t, row, source, source->forbidden);
}

void pattern_parse(struct table *t, struct row *row, char *s)
{
    char *word;
    while ((word = word_next(&s))) {
        size_t digits = strspn(word, "01");
        if (word[digits]) {
            field_use(t, row, word);
            continue;
        }
        for (size_t i = 0; i < digits; i++) {
            row->mask = row->mask << 1 | 1;
            row->match = row->match << 1 | (word[i] == '1');
        }
        row->len += (unsigned)digits;
    }

    for (unsigned i = 0; i < SLOT_COUNT; i++)
        source_finish(t, row, &row->slot[i]);
    if (row->len != 16 && row->len != 32)
        table_error(t, t->line, "%s: the pattern has %u bits, not 16 or 32", row->decl.name,
                    row->len);
    else if ((row->mask & 3) != 3 || ((row->match & 3) == 3) != (row->len == 32))
        table_error(t, t->line, "%s: the low two bits do not say the length", row->decl.name);
}
