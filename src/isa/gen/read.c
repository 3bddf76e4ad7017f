/* Reading the instruction table: one line, one declaration or one instruction. */
#include "table.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A new element of the array t->a, or NULL after a message that there are too many. */
#define ADD(t, a, name) \
    table_add((t), (t)->a, &(t)->a##_count, COUNT((t)->a), sizeof((t)->a[0]), (name))

const char *const slot_names[SLOT_COUNT] = {"rd", "rs1", "rs2", "rs3", "rm", "imm"};

void table_error(struct table *t, unsigned line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s:%u: ", t->path, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    t->error_count++;
}

/* A copy of s that lives as long as the table. */
static char *string_keep(struct table *t, const char *s)
{
    size_t size = strlen(s) + 1;
    struct string *string = malloc(sizeof *string + size);
    if (!string)
        abort();
    memcpy(string->text, s, size);
    string->next = t->strings;
    t->strings = string;
    return string->text;
}

void table_free(struct table *t)
{
    while (t->strings) {
        struct string *string = t->strings;
        t->strings = string->next;
        free(string);
    }
    for (unsigned i = 0; i < t->layout_count; i++)
        free(t->layout[i]);
    free(t);
}

void *table_find(void *array, unsigned count, size_t size, const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        struct decl *decl = (struct decl *)((char *)array + i * size);
        if (!strcmp(decl->name, name))
            return decl;
    }
    return NULL;
}

static void *table_add(struct table *t, void *array, unsigned *count, size_t limit, size_t size,
                       const char *name)
{
    if (*count == limit) {
        table_error(t, t->line, "%s: no room for more than %zu of these", name, limit);
        return NULL;
    }
    const struct decl *old = table_find(array, *count, size, name);
    if (old)
        table_error(t, t->line, "%s is already on line %u", name, old->line);

    struct decl *decl = (struct decl *)((char *)array + (*count)++ * size);
    decl->name = name;
    decl->line = t->line;
    if ((size_t)snprintf(decl->ident, sizeof decl->ident, "%s", name) >= sizeof decl->ident)
        table_error(t, t->line, "%s: the name is too long", name);
    for (char *c = decl->ident; *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
    return decl;
}

char *word_next(char **s)
{
    char *word;
    do
        word = strsep(s, " \t");
    while (word && !*word);
    return word;
}

bool number_parse(const char *s, int *value)
{
    char *end;
    long v = strtol(s, &end, 0);
    *value = (int)v;
    return end != s && !*end && v >= INT32_MIN && v <= INT32_MAX;
}

/* The slot called `name`; an unknown one is reported and counts as rd. */
static enum slot slot_parse(struct table *t, const char *name)
{
    for (unsigned i = 0; name && i < SLOT_COUNT; i++)
        if (!strcmp(slot_names[i], name))
            return (enum slot)i;
    table_error(t, t->line, "unknown slot '%s'", name ? name : "");
    return SLOT_RD;
}

/* Declarations */

static void ext_parse(struct table *t, char *s)
{
    struct ext *ext = ADD(t, ext, word_next(&s));
    if (!ext)
        return;
    ext->closure = UINT64_C(1) << (ext - t->ext);
    char *word = word_next(&s);
    if (word && strcmp(word, "implies") != 0)
        table_error(t, t->line, "expected 'implies', not '%s'", word);
    while (word && (word = word_next(&s))) {
        const struct ext *other = FIND(t->ext, t->ext_count, word);
        if (!other)
            table_error(t, t->line, "extension %s is not declared above", word);
        else
            ext->closure |= other->closure;
    }
}

static void kind_parse(struct table *t, char *s)
{
    struct kind *kind = ADD(t, kind, word_next(&s));
    if (kind && s)
        kind->text = s + strspn(s, " ");
    if (kind && !kind->text)
        table_error(t, t->line, "kind %s needs a description", kind->decl.name);
}

static void field_attribute(struct table *t, struct field *field, const char *word)
{
    int value;
    if (!strcmp(word, "signed"))
        field->is_signed = true;
    else if (word[0] == '+' && number_parse(word + 1, &value))
        field->add = (unsigned)value;
    else if (word[0] == '!' && number_parse(word + 1, &value) &&
             field->forbid_count < COUNT(field->forbid))
        field->forbid[field->forbid_count++] = (unsigned)value;
    else
        table_error(t, t->line, "field %s: unknown attribute '%s'", field->decl.name, word);
}

static void field_parse(struct table *t, char *s)
{
    struct field *field = ADD(t, field, word_next(&s));
    if (!field)
        return;
    int width;
    char *word = word_next(&s);
    if (!word || !number_parse(word, &width) || width < 0 || width > 32)
        table_error(t, t->line, "field %s needs a width of 0 to 32", field->decl.name);
    else
        field->width = (unsigned)width;
    field->slot = slot_parse(t, word_next(&s));
    while ((word = word_next(&s)))
        field_attribute(t, field, word);
}

static void operand_parse(struct table *t, char *s)
{
    struct operand *operand = ADD(t, operand, word_next(&s));
    if (!operand)
        return;
    operand->slot = slot_parse(t, word_next(&s));
    operand->style = word_next(&s);
    if (!operand->style)
        table_error(t, t->line, "operand %s needs a style", operand->decl.name);
}

static void const_parse(struct table *t, char *s)
{
    char *name = word_next(&s), *value = word_next(&s);
    struct constant *constant = ADD(t, constant, name);
    if (constant && (!value || !number_parse(value, &constant->value)))
        table_error(t, t->line, "constant %s needs a value", name);
}

/* The other columns */

/* Cuts the next word of operands off *s into buf; punctuation stands alone. */
static bool text_next(const char **s, char *buf, size_t size)
{
    if (!**s)
        return false;
    size_t len = strcspn(*s, ",()");
    if (!len)
        len = 1;
    snprintf(buf, size, "%.*s", (int)len, *s);
    *s += len;
    return true;
}

static void operands_parse(struct table *t, struct row *row, const char *s)
{
    char word[32];
    if (!strcmp(s, "-"))
        return;
    while (text_next(&s, word, sizeof word)) {
        if (row->text_count == COUNT(row->text)) {
            table_error(t, t->line, "%s: too many operands", row->decl.name);
            return;
        }
        struct text *text = &row->text[row->text_count++];
        text->operand = FIND(t->operand, t->operand_count, word);
        text->constant = FIND(t->constant, t->constant_count, word);
        if (strchr(",()", word[0]))
            text->punct = word[0];
        else if (!text->operand && !text->constant)
            table_error(t, t->line, "%s: unknown operand '%s'", row->decl.name, word);
        else if (text->operand && !row->slot[text->operand->slot].used)
            table_error(t, t->line, "%s: nothing sets %s for operand %s", row->decl.name,
                        slot_names[text->operand->slot], word);
    }
}

static void exts_parse(struct table *t, struct row *row, char *s)
{
    char *name;
    while ((name = strsep(&s, "+"))) {
        const struct ext *ext = FIND(t->ext, t->ext_count, name);
        if (!ext) {
            table_error(t, t->line, "%s: unknown extension '%s'", row->decl.name, name);
            continue;
        }
        row->exts |= UINT64_C(1) << (ext - t->ext);
        if (!row->ext)
            row->ext = ext;
    }
}

/* One argument of a base: what the slot of the base's operand receives in this row. */
static void arg_parse(struct table *t, struct row *row, const struct source *own, const char *word,
                      struct source *result)
{
    const struct operand *operand = FIND(t->operand, t->operand_count, word);
    const struct constant *constant = FIND(t->constant, t->constant_count, word);
    *result = (struct source){.used = true};
    if (operand && own[operand->slot].used)
        *result = own[operand->slot];
    else if (constant)
        result->constant = constant->value;
    else if (!number_parse(word, &result->constant))
        table_error(t, t->line, "%s: cannot pass '%s' to %s", row->decl.name, word,
                    row->base->decl.name);
}

static void base_parse(struct table *t, struct row *row, char *s)
{
    char *name = word_next(&s);
    row->base = name ? FIND(t->row, t->row_count, name) : NULL;
    if (!row->base || row->base == row || row->base->base) {
        table_error(t, t->line, "%s: no operation %s above", row->decl.name, name ? name : "");
        return;
    }
    row->kind = row->base->kind;
    row->sem = row->base->sem;
    if (row->len == 16)
        t->row[row->base - t->row].has_compressed = true;

    struct source own[SLOT_COUNT];
    memcpy(own, row->slot, sizeof own);
    memset(row->slot, 0, sizeof row->slot);

    char *args = word_next(&s);
    const char *rest = args ? args : "";
    char word[32];
    for (unsigned i = 0; i < row->base->text_count; i++) {
        const struct text *want = &row->base->text[i];
        bool got = text_next(&rest, word, sizeof word);
        if (!got || (want->punct && word[0] != want->punct))
            table_error(t, t->line, "%s: wrong arguments for %s", row->decl.name, name);
        else if (want->operand)
            arg_parse(t, row, own, word, &row->slot[want->operand->slot]);
    }
    if (*rest)
        table_error(t, t->line, "%s: too many arguments for %s", row->decl.name, name);
}

static void meaning_parse(struct table *t, struct row *row, char *s)
{
    row->meaning = string_keep(t, s);
    if (s[0] == '=') {
        base_parse(t, row, s + 1);
        return;
    }
    char *name = strsep(&s, ":");
    row->kind = FIND(t->kind, t->kind_count, name);
    row->sem = s;
    bool pure = !strncmp(name, "alu_", 4);
    if (!row->kind)
        table_error(t, t->line, "%s: unknown kind '%s'", row->decl.name, name);
    else if (row->sem && !pure)
        table_error(t, t->line, "%s: only alu kinds have a function", row->decl.name);
}

static void special_parse(struct table *t, struct row *row, const char *s)
{
    row->special = strncmp(s, "in ", 3) ? NULL : FIND(t->row, t->row_count, s + 3);
    if (!row->special || row->special == row)
        table_error(t, t->line, "%s: '%s' names no row above", row->decl.name, s);
    else
        row->depth = row->special->depth + 1;
}

/* Cuts the next column off *s; columns end with two spaces. */
static char *column_next(char **s)
{
    char *column = *s;
    if (!column || !*column)
        return NULL;
    char *end = strstr(column, "  ");
    if (!end) {
        *s = NULL;
        return column;
    }
    *end = 0;
    *s = end + 1 + strspn(end + 1, " ");
    return column;
}

static void row_parse(struct table *t, char *s)
{
    char *column[6] = {0};
    for (unsigned i = 0; i < COUNT(column); i++)
        column[i] = column_next(&s);
    if (!column[4] || (s && *s)) {
        table_error(t, t->line, "neither a declaration nor an instruction of 5 or 6 columns");
        return;
    }
    struct row *row = ADD(t, row, column[0]);
    if (!row)
        return;
    row->pattern = string_keep(t, column[1]);
    pattern_parse(t, row, column[1]);
    meaning_parse(t, row, column[4]);
    operands_parse(t, row, column[2]);
    exts_parse(t, row, column[3]);
    if (column[5])
        special_parse(t, row, column[5]);
}

static void line_parse(struct table *t, char *s)
{
    static const struct {
        const char *word;
        void (*parse)(struct table *t, char *s);
    } declarations[] = {
        {"ext ", ext_parse},         {"kind ", kind_parse},   {"field ", field_parse},
        {"operand ", operand_parse}, {"const ", const_parse},
    };

    s[strcspn(s, "#\r\n")] = 0;
    size_t len = strlen(s);
    while (len && s[len - 1] == ' ')
        s[--len] = 0;
    if (!len)
        return;
    for (unsigned i = 0; i < COUNT(declarations); i++) {
        size_t n = strlen(declarations[i].word);
        if (!strncmp(s, declarations[i].word, n)) {
            declarations[i].parse(t, s + n);
            return;
        }
    }
    row_parse(t, s);
}

void table_read(struct table *t)
{
    FILE *f = fopen(t->path, "r");
    if (!f) {
        table_error(t, 0, "%s", strerror(errno));
        return;
    }
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, f) >= 0) {
        t->line++;
        line_parse(t, string_keep(t, line));
    }
    free(line);
    fclose(f);
}
