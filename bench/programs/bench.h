/*
 * What the benchmark programs share: one program is one file that defines a `struct bench_program`;
 * all are linked into one binary, which runs one of them per process.
 *
 * A program does `count` units of work and returns a checksum of what it computed, which must be
 * equal on every machine that runs the same count. Everything is derived from the count: no input,
 * no time, no address enters the checksum. Set-up goes before bench_start(), so that it is not
 * timed. A program that notices a wrong result itself calls bench_fail().
 *
 * These files must build with any C compiler for Linux and with nothing of guise: they run
 * natively, in guests and under other emulators.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

struct bench_program {
    const char *name;
    /* int, fp, trap (system calls, faults, processes), code (rewritten code) or harts. */
    const char *group;
    /* The most harts that it makes use of. */
    int harts;
    /*
     * Units of work: `full` takes about half a second natively, unless QEMU then needs more than
     * ten; `quick` about a tenth of that; `tiny` is for tests with an interpreter.
     */
    uint64_t full, quick, tiny;
    uint64_t (*run)(uint64_t count);
};

/* The timed part of a run begins and ends; each is called once by a program. */
void bench_start(void);
void bench_stop(void);

/*
 * Bits that depend on how the compiler contracts multiplication and addition: equal wherever the
 * same binary runs, but not between two instruction sets. The checksum is used when it is not
 * called.
 */
void bench_exact(uint64_t bits);

/* Prints one sentence and ends the process with code 1. */
_Noreturn void bench_fail(const char *what);

/* Bytes that may be cut into pieces until the process ends; fails the run when there are none. */
void *bench_memory(size_t bytes);

/* How this binary is run as another process: a zero-terminated argument vector with that verb. */
const char *const *bench_self(const char *verb);

/* A function or a value that the compiler must not see through. */
#define BENCH_OPAQUE __attribute__((noipa))

static inline uint64_t bench_mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ sum >> 29;
}

/* xorshift64*; the state must not be zero. */
static inline uint64_t bench_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Bits of a double, and the double rounded to so many decimal places as an integer. */
uint64_t bench_bits(double value);
uint64_t bench_rounded(double value, int places);

#endif
