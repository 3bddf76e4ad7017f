/*
 * qcow2 images as hostile input: opening one ends with a sentence or with a disk that can be
 * mapped, read, checked, written, repaired and resized, whatever comes of it; and an image that a
 * check finds whole is whole after it was written.
 *
 * Input: the file. Its magic is put right, and its clusters are made small enough to be in it.
 */
#include "block/image.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX 65536u
#define GROWN_MAX (64u << 20)
#define STEPS 40u

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static struct block *open_image(int fd, bool readonly, bool repair)
{
    char path[64];
    struct error err = {0};
    const struct block_options options = {
        .format = "qcow2", .readonly = readonly, .no_backing = true, .repair = repair};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct block *b = block_open(path, &options, &err);
    must(b || err.msg[0], "a refusal without a sentence");
    return b;
}

static void read_all(struct block *b)
{
    static uint8_t buf[8192];
    uint64_t at = 0;
    for (unsigned i = 0; i < STEPS && at < block_size(b); i++) {
        struct block_extent e;
        if (block_map(b, at, &e)) {
            at += 512;
            continue;
        }
        must(e.length && e.length <= block_size(b) - at, "an extent beyond the end");
        block_read(b, at, buf, e.length < sizeof buf ? (size_t)e.length : sizeof buf);
        at += e.length;
    }
}

static bool is_whole(int fd)
{
    struct block_check result;
    struct block *b = open_image(fd, true, false);
    if (!b)
        return false;
    bool ok = !block_check(b, false, &result, NULL, NULL) && !result.errors && !result.leaks;
    block_free(b);
    return ok;
}

/* What is done depends on the input's last bytes. */
static void change(struct block *b, const uint8_t *data, size_t size)
{
    static uint8_t buf[4096];
    for (size_t i = 0; i + 4 <= size && i < (size_t)STEPS * 4; i += 4) {
        const uint8_t *p = data + size - i - 4;
        uint64_t at = ((uint64_t)p[1] << 8 | p[2]) * 512, len = (1u + p[3] % 8) * 512u;
        if (at >= block_size(b))
            at %= block_size(b);
        at -= at % 512;
        if (len > block_size(b) - at)
            len = block_size(b) - at;
        memset(buf, p[0] | 1, sizeof buf);
        if (p[0] % 8 < 4)
            block_write(b, at, buf, (size_t)len);
        else if (p[0] % 8 == 4)
            block_discard(b, at, len);
        else if (p[0] % 8 < 7)
            block_write_zeroes(b, at, len, p[0] % 8 == 5);
        else
            block_flush(b);
        if (p[0] == 0xff)
            block_resize(b, at + len, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rlimit limit = {GROWN_MAX, GROWN_MAX};
    if (size < 72 || size > FILE_MAX)
        return 0;
    /* No signal, but an error, when a file would grow beyond. */
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    int fd = memfd_create("image", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file");
    const uint8_t bits[4] = {0, 0, 0, (uint8_t)(9 + (data[23] + 3) % 4)};
    must(pwrite(fd, "QFI\xfb", 4, 0) == 4 && pwrite(fd, bits, 4, 20) == 4, "no file");

    struct block *b = open_image(fd, true, false);
    if (b) {
        read_all(b);
        block_free(b);
    }
    bool whole = is_whole(fd);
    b = open_image(fd, false, false);
    if (b) {
        change(b, data, size);
        read_all(b);
        block_free(b);
        must(!whole || is_whole(fd), "a whole image was damaged");
    }
    b = open_image(fd, false, true);
    if (b) {
        struct block_check result;
        block_check(b, true, &result, NULL, NULL);
        block_free(b);
    }
    close(fd);
    return 0;
}
