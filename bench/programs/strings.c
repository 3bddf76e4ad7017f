/* String functions of the C library on strings of 3 to 250 bytes: strlen, strcmp, memcpy, strchr,
 * memset and memcmp. The unit is one string. */
#include "bench.h"

#include <string.h>

enum { STRINGS = 512, STRIDE = 256 };

/* The compiler must call the library, not expand the functions here. */
static size_t (*volatile call_strlen)(const char *) = strlen;
static int (*volatile call_strcmp)(const char *, const char *) = strcmp;
static void *(*volatile call_memcpy)(void *, const void *, size_t) = memcpy;
static char *(*volatile call_strchr)(const char *, int) = strchr;
static void *(*volatile call_memset)(void *, int, size_t) = memset;
static int (*volatile call_memcmp)(const void *, const void *, size_t) = memcmp;

static void fill(char (*strings)[STRIDE])
{
    uint64_t random = 17;
    for (int i = 0; i < STRINGS; i++) {
        uint64_t length = 3 + bench_random(&random) % 248;
        /* Neighbours begin alike, as names and paths do. */
        for (uint64_t j = 0; j < length; j++)
            strings[i][j] = (char)('a' + (j < 20 ? j : bench_random(&random) % 26));
        strings[i][length] = '\0';
    }
}

static uint64_t run(uint64_t count)
{
    static char strings[STRINGS][STRIDE], copy[STRIDE];
    uint64_t sum = 1;

    fill(strings);
    bench_start();
    for (uint64_t i = 0; i < count; i++) {
        const char *a = strings[i % STRINGS], *b = strings[(i * 7 + 1) % STRINGS];
        size_t length = call_strlen(a);
        call_memcpy(copy, a, length + 1);
        int order = call_strcmp(copy, b);
        const char *found = call_strchr(copy, 'z');
        int same = call_memcmp(copy, a, length) == 0;
        call_memset(copy, 'z', length);
        sum += length * 3 +
               (order < 0   ? 1
                : order > 0 ? 2
                            : 0) +
               (found ? (uint64_t)(found - copy) : 777) + (uint64_t)same * 5;
    }
    bench_stop();
    return bench_mix(1, sum);
}

const struct bench_program bench_strings = {"strings", "int", 1, 20000000, 1500000, 20000, run};
