/*
 * Command-line options from a table: each row has the name, what its value is called, one line of
 * help and a function that stores it. The help text is printed from the same table.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_json {
    OPTION_STRING, /* or true and false, of a switch */
    OPTION_NUMBER,
    OPTION_SIZE, /* a number of bytes, or a string such as "512M" */
    OPTION_NONE, /* not in a description */
};

struct option {
    const char *name;  /* without the dashes, one for one letter; NULL ends the table */
    const char *value; /* what the help calls it, NULL for a switch */
    const char *help;  /* broken into lines by the printer */
    /* ctx is the verb's settings; value is NULL for a switch. 0 or -errno with a sentence. */
    int (*set)(void *ctx, const char *value, struct error *err);

    /* How a machine's description (cli/description.h) has it; the command line has no use for it.
     */
    enum option_json json;
    bool repeats; /* each time is one more */
    /*
     * What stands before the name of a file in the value, separated by '|'; "" is its beginning.
     * NULL: it names no file.
     */
    const char *files;
    const char *head; /* name of what comes before the first comma, where the value is a list */
};

/* What has been given, in its order, with the values; they live as long as the log. */
struct option_log {
    struct option_given {
        const struct option *option;
        char *value; /* NULL: a switch */
    } * given;
    size_t count;
};

/* Sets the option to a copy of the value that the log owns; log NULL: to the value itself. */
int option_apply(const struct option *o, const char *value, void *ctx, struct option_log *log,
                 struct error *err);
/* Frees it, after those who use the values. */
void option_log_fini(struct option_log *log);

/*
 * Reads argv[0..argc): "--name value", "--name=value", "-n value", and "--" before arguments. What
 * is no option is given to `argument`, or refused when that is NULL. EINVAL with a sentence.
 */
int options_parse(const struct option *table, int argc, char **argv, void *ctx,
                  int (*argument)(void *ctx, const char *value, struct error *err),
                  struct error *err);

/* The same, with a log of what was given. */
int options_parse_logged(const struct option *table, int argc, char **argv, void *ctx,
                         int (*argument)(void *ctx, const char *value, struct error *err),
                         struct option_log *log, struct error *err);

/* The same without, up to the first argument or behind "--": *first is its index, argc: none. */
int options_parse_first(const struct option *table, int argc, char **argv, void *ctx, int *first,
                        struct error *err);

void options_help(const struct option *table, FILE *out);

/* "512M", "2G", "64K", plain bytes. ERANGE beyond 2^62. */
int parse_size(const char *text, uint64_t *value, struct error *err);
/* A size that code memory can have. */
int parse_code_cache(const char *text, uint64_t *value, struct error *err);
/* A decimal number from min to max. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct error *err);
