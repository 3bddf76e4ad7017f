/*
 * Errors of the host side: a code and one sentence for the person who reads it.
 *
 * A function that can fail returns 0 or a negative errno value. Where a person will read the
 * reason it also takes a `struct error *` (which may be NULL) and fills it with a sentence that
 * names the file or value and says what to do. A struct error owns nothing.
 */
#pragma once

struct error {
    int code; /* errno value, 0 when nothing failed */
    char msg[400];
};

/*
 * Fills *err (when err is not NULL) and returns -code, so that a caller can write
 * `return error_set(err, EINVAL, "...", ...)`. A sentence that is too long is cut.
 */
int error_set(struct error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence already in *err and returns -err->code. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
