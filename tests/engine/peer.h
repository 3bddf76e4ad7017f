/*
 * The independent implementation that results are compared with: qemu-riscv64 of QEMU 10, user
 * mode, run as a child process.
 */
#pragma once

#include "prog.h"

/* Finds it: environment GUISE_QEMU_RISCV64, or the given path, or by name. NULL when there is none
 * of version 10 or later; then *why says so in a sentence. */
const char *peer_find(const char *path, char *why, size_t size);

struct peer_result {
    uint8_t *output; /* NULL when it could not be run */
    size_t output_len;
    int status; /* of wait() */
};

/* Runs the program. The caller frees the output. A program that hangs is ended after 60 s. */
struct peer_result peer_run(const char *peer, const struct prog *p);

struct peer_state {
    uint64_t pc, x[32], f[32], fcsr;
};

/*
 * Runs the program one instruction at a time. `each` is called with the state before each
 * instruction, from the first one on; it returns false to end the run.
 */
void peer_trace(const char *peer, const struct prog *p,
                bool (*each)(void *ctx, const struct peer_state *s), void *ctx);
