#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void small_check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

void small_open(struct small_file *f)
{
    f->fd = memfd_create("guise-test", MFD_CLOEXEC);
    small_check(f->fd >= 0, "no memory for a test's file");
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
}

void small_put(const struct small_file *f, const void *data, size_t len)
{
    small_check(!ftruncate(f->fd, (off_t)len), "a test's file cannot be set to its length");
    small_check(pwrite(f->fd, data, len, 0) == (ssize_t)len, "a test's file cannot be written");
}

void small_close(struct small_file *f)
{
    close(f->fd);
}

struct vm_config small_config(uint64_t run_for)
{
    struct vm_config config;
    vm_config_init(&config);
    config.memory = SMALL_MEMORY;
    config.console = "none";
    config.deterministic = true;
    config.run_for = run_for;
    return config;
}

static int small_failed(struct error *err)
{
    size_t len = strnlen(err->msg, sizeof err->msg);
    small_check(err->code > 0, "an error without a code");
    small_check(len > 0 && len < sizeof err->msg, "an error without a sentence");
    small_check(!strchr(err->msg, '\n'), "an error of more than one line");
    return -err->code;
}

int small_run(const struct vm_config *config, struct vm_result *result, struct error *err)
{
    *err = (struct error){0};
    struct vm *vm = vm_new(config, err);
    if (!vm)
        return small_failed(err);
    int rc = vm_run(vm, result, err);
    vm_free(vm);
    return rc ? small_failed(err) : 0;
}

uint64_t small_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t small_seed(void)
{
    const char *text = getenv("GUISE_SEED");
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t seed =
        text ? strtoull(text, NULL, 0) : (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    printf("seed: GUISE_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}
