/*
 * Errors quote names and values that files and guests choose: however long they are, the sentence
 * stays terminated, inside its array, and what fits of prefix and text comes first.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    size_t room = sizeof err.msg - 1;
    char *text = strndup((const char *)data, size);
    char *expected = NULL;
    size_t len = strlen(text);
    size_t split = size ? data[0] % (len + 1) : 0;

    require(error_set(&err, EIO, "%s", text + split) == -EIO);
    require(strlen(err.msg) == (len - split < room ? len - split : room));
    require(asprintf(&expected, "%.*s: %s", (int)split, text, err.msg) >= 0);
    require(error_prefix(&err, "%.*s", (int)split, text) == -EIO);
    require(strlen(err.msg) == (strlen(expected) < room ? strlen(expected) : room));
    require(memcmp(err.msg, expected, strlen(err.msg)) == 0);

    free(expected);
    free(text);
    return 0;
}
