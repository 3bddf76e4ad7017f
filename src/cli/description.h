/*
 * A machine's description: a JSON object with a field for each option of a table
 * (docs/machine-description.md). Reading one does what the options would.
 */
#pragma once

#include "cli/options.h"

/* Raised when a description that was right before would mean something else now. */
#define DESCRIPTION_VERSION 1

/*
 * Applies what the file says, in the order of the table. Names of files in it that do not begin
 * with a slash start from its own directory. EINVAL and others with a sentence that names the file
 * and the place in it.
 */
int description_read(const char *path, const struct option *table, void *ctx,
                     struct option_log *log, struct error *err);

/*
 * The description that does what the log says; names of files are made absolute, so that it can be
 * put anywhere.
 */
int description_print(const struct option *table, const struct option_log *log, FILE *out,
                      struct error *err);
