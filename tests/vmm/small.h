/*
 * Small deterministic machines for tests that make thousands of them: images and states come from
 * memory, the console goes nowhere, time is bounded. One thread.
 */
#pragma once

#include "vmm/vm.h"

#include <stddef.h>
#include <stdint.h>

#define SMALL_MEMORY (UINT64_C(2) << 20)

/* A file without a name on disk, kept from call to call; its path works in this process. */
struct small_file {
    int fd;
    char path[32];
};

/* Makes it; aborts when the host has no more. small_put replaces the contents. */
void small_open(struct small_file *f);
void small_put(const struct small_file *f, const void *data, size_t len);
void small_close(struct small_file *f);

/* The configuration: 2 MiB, no console, deterministic until `run_for` guest nanoseconds. */
struct vm_config small_config(uint64_t run_for);

/*
 * Makes the machine, runs it and frees it. 0 with *result, or -errno with *err, whose sentence is
 * checked: it must be there, be one line and end before the buffer does.
 */
int small_run(const struct vm_config *config, struct vm_result *result, struct error *err);

/* splitmix64. */
uint64_t small_random(uint64_t *state);

/* The seed of this run: GUISE_SEED or a new one, which is printed. */
uint64_t small_seed(void);
