/*
 * For the programs of this folder. A condition that does not hold ends the program with 1 and its
 * text; what the machine lacks, with 77.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 3, 4), unused)) static void
check_failed(const char *file, int line, const char *format, ...)
{
    int error = errno;
    va_list list;
    va_start(list, format);
    fflush(stdout);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, list);
    fprintf(stderr, " (errno: %s)\n", strerror(error));
    va_end(list);
    _exit(1);
}

#define CHECK(condition)                                        \
    do {                                                        \
        if (!(condition))                                       \
            check_failed(__FILE__, __LINE__, "%s", #condition); \
    } while (0)

/* Two integers are equal. */
#define CHECK_IS(a, b)                                                                       \
    do {                                                                                     \
        long long a_ = (long long)(a), b_ = (long long)(b);                                  \
        if (a_ != b_)                                                                        \
            check_failed(__FILE__, __LINE__, "%s is %lld (%#llx), not %lld (%#llx)", #a, a_, \
                         (unsigned long long)a_, b_, (unsigned long long)b_);                \
    } while (0)

/* A call fails with this errno. */
#define CHECK_ERROR(call, error)                                                              \
    do {                                                                                      \
        errno = 0;                                                                            \
        long result_ = (long)(call);                                                          \
        if (result_ != -1 || errno != (error))                                                \
            check_failed(__FILE__, __LINE__, "%s gives %ld, not %s", #call, result_, #error); \
    } while (0)

#define SKIP(reason)                              \
    do {                                          \
        fprintf(stderr, "skipped: %s\n", reason); \
        exit(77);                                 \
    } while (0)

/* A part of a program's work has been done. */
#define DONE(what) printf("%s\n", what)
