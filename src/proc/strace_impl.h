/* What the files of --strace share: a line being written, and the printers of arguments. */
#pragma once

#include "proc/syscall.h"

#include <stdarg.h>

/* What does not fit is cut. */
struct strace_line {
    size_t len;
    char text[6000];
};

void strace_put(struct strace_line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* At most `max` of the bytes, quoted; dots say that there are more. An address if not readable. */
void strace_bytes(struct strace_line *l, uint64_t at, uint64_t size, size_t max);
/* A string of the program, quoted; NULL for 0. */
void strace_string(struct strace_line *l, uint64_t at);

/* A number of one of the types from T_NAMED on. */
void strace_named(struct strace_line *l, enum syscall_type type, uint64_t value);

/*
 * One of the types from T_IN up to T_NAMED. next: the argument behind it; result: the call's, less
 * than 0 if it failed.
 */
void strace_data(struct strace_line *l, enum syscall_type type, uint64_t at, uint64_t next,
                 int64_t result);
