/* A request, which is one line of JSON, and its answer. */
#pragma once

#include "ctl/command.h"

#include <stddef.h>

/* Bytes of a request without its newline. */
#define CTL_LINE_MAX 16384u

/*
 * Carries the request out and returns the answer with its newline, which the caller frees; NULL:
 * out of memory. The line is hostile: it may hold anything. On the thread of the machine's loop.
 */
char *ctl_answer(const struct ctl_machine *m, const char *line, size_t len);

/* The answer to what was not even read. `code` as docs/control.md lists them. */
char *ctl_refusal(const char *code, const char *sentence);
