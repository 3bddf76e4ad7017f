#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct option *option_find(const struct option *table, const char *name, size_t len)
{
    for (const struct option *o = table; o->name; o++)
        if (strlen(o->name) == len && !memcmp(o->name, name, len))
            return o;
    return NULL;
}

int option_apply(const struct option *o, const char *value, void *ctx, struct option_log *log,
                 struct error *err)
{
    if (!log)
        return o->set(ctx, value, err);
    struct option_given *more = reallocarray(log->given, log->count + 1, sizeof *more);
    if (more)
        log->given = more;
    char *copy = value ? strdup(value) : NULL;
    if (!more || (value && !copy)) {
        free(copy);
        return error_set(err, ENOMEM, "out of memory for --%s", o->name);
    }
    log->given[log->count++] = (struct option_given){o, copy};
    return o->set(ctx, copy, err);
}

void option_log_fini(struct option_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->given[i].value);
    free(log->given);
    *log = (struct option_log){0};
}

/* A name of one letter has one dash. */
static int option_dashes(const char *name, size_t len)
{
    return len == 1 && *name ? 1 : 2;
}

/* One option at argv[*i]; its value may be the next word. */
static int option_take(const struct option *table, int argc, char **argv, int *i, void *ctx,
                       struct option_log *log, struct error *err)
{
    const char *arg = argv[*i];
    int dashes = arg[1] == '-' ? 2 : 1;
    const char *name = arg + dashes;
    size_t len = strcspn(name, "=");
    const struct option *o =
        dashes == option_dashes(name, len) ? option_find(table, name, len) : NULL;
    if (!o)
        return error_set(err, EINVAL, "unknown option '%.*s'", dashes + (int)len, arg);
    const char *value = name[len] ? name + len + 1 : NULL;
    if (!o->value && value)
        return error_set(err, EINVAL, "%.*s takes no value", dashes + (int)len, arg);
    if (o->value && !value && ++*i < argc)
        value = argv[*i];
    if (o->value && !value)
        return error_set(err, EINVAL, "%s needs a value: %s %s", arg, arg, o->value);
    return option_apply(o, value, ctx, log, err);
}

int options_parse(const struct option *table, int argc, char **argv, void *ctx,
                  int (*argument)(void *ctx, const char *value, struct error *err),
                  struct error *err)
{
    return options_parse_logged(table, argc, argv, ctx, argument, NULL, err);
}

int options_parse_logged(const struct option *table, int argc, char **argv, void *ctx,
                         int (*argument)(void *ctx, const char *value, struct error *err),
                         struct option_log *log, struct error *err)
{
    bool only_arguments = false;
    int rc = 0;
    for (int i = 0; i < argc && !rc; i++) {
        if (!only_arguments && !strcmp(argv[i], "--"))
            only_arguments = true;
        else if (!only_arguments && argv[i][0] == '-' && argv[i][1])
            rc = option_take(table, argc, argv, &i, ctx, log, err);
        else if (argument)
            rc = argument(ctx, argv[i], err);
        else
            rc = error_set(err, EINVAL, "unexpected argument '%s'", argv[i]);
    }
    return rc;
}

int options_parse_first(const struct option *table, int argc, char **argv, void *ctx, int *first,
                        struct error *err)
{
    int i = 0, rc = 0;
    while (i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--") && !rc) {
        rc = option_take(table, argc, argv, &i, ctx, NULL, err);
        i++;
    }
    *first = i < argc && !strcmp(argv[i], "--") ? i + 1 : i;
    return rc;
}

#define HELP_INDENT 26
#define HELP_WIDTH 78

static void print_wrapped(const char *text, FILE *out)
{
    int column = HELP_INDENT;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > HELP_INDENT && column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        } else if (column > HELP_INDENT) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void options_help(const struct option *table, FILE *out)
{
    for (const struct option *o = table; o->name; o++) {
        const char *dashes = &"--"[2 - option_dashes(o->name, strlen(o->name))];
        int n = fprintf(out, "  %s%s%s%s", dashes, o->name, o->value ? " " : "",
                        o->value ? o->value : "");
        if (n >= HELP_INDENT) {
            fputc('\n', out);
            n = 0;
        }
        fprintf(out, "%*s", HELP_INDENT - n, "");
        print_wrapped(o->help, out);
    }
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end)
        return error_set(err, EINVAL, "'%s' is not a number", text);
    if (errno || v < min || v > max)
        return error_set(err, ERANGE, "'%s' is not in the range %llu to %llu", text,
                         (unsigned long long)min, (unsigned long long)max);
    *value = v;
    return 0;
}

int parse_size(const char *text, uint64_t *value, struct error *err)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (!isdigit((unsigned char)text[0]) || (*end && (!unit || end[1])))
        return error_set(err, EINVAL, "'%s' is not a size: give bytes, or a number with K, M or G",
                         text);
    if (errno || v > (UINT64_C(1) << 62) >> shift)
        return error_set(err, ERANGE, "'%s' is more than any machine has", text);
    *value = (uint64_t)v << shift;
    return 0;
}

int parse_code_cache(const char *text, uint64_t *value, struct error *err)
{
    int rc = parse_size(text, value, err);
    if (!rc && (*value < 1u << 20 || *value > 1u << 30))
        rc = error_set(err, ERANGE, "'%s' is not between 1M and 1G", text);
    return rc;
}
