/*
 * Command-line options from a table: each row has the name, what its value is called, one line of
 * help and a function that stores it. The help text is printed from the same table.
 */
#pragma once

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

struct option {
    const char *name;  /* without the dashes, one for one letter; NULL ends the table */
    const char *value; /* what the help calls it, NULL for a switch */
    const char *help;  /* broken into lines by the printer */
    /* ctx is the verb's settings; value is NULL for a switch. 0 or -errno with a sentence. */
    int (*set)(void *ctx, const char *value, struct error *err);
};

/*
 * Reads argv[0..argc): "--name value", "--name=value", "-n value", and "--" before arguments. What
 * is no option is given to `argument`, or refused when that is NULL. EINVAL with a sentence.
 */
int options_parse(const struct option *table, int argc, char **argv, void *ctx,
                  int (*argument)(void *ctx, const char *value, struct error *err),
                  struct error *err);

/* The same up to the first argument or behind "--": *first is its index, argc: none. */
int options_parse_first(const struct option *table, int argc, char **argv, void *ctx, int *first,
                        struct error *err);

void options_help(const struct option *table, FILE *out);

/* "512M", "2G", "64K", plain bytes. ERANGE beyond 2^62. */
int parse_size(const char *text, uint64_t *value, struct error *err);
/* A size that code memory can have. */
int parse_code_cache(const char *text, uint64_t *value, struct error *err);
/* A decimal number from min to max. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct error *err);
