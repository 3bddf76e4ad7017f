/*
 * The binary of all benchmark programs:
 *     programs list                     NAME GROUP HARTS FULL QUICK TINY of each
 *     programs NAME full|quick|tiny|COUNT
 * A run prints `bench: NAME start` when set up and `bench: NAME SECONDS CHECKSUM EXACT` at its end;
 * the reader of these lines can compare this clock with its own.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM(name) extern const struct bench_program bench_##name;
#include "programs.def"
#undef PROGRAM

static const struct bench_program *const programs[] = {
#define PROGRAM(name) &bench_##name,
#include "programs.def"
#undef PROGRAM
};

static struct {
    const struct bench_program *program;
    struct timespec start, stop;
    uint64_t exact;
    int has_exact;
} run;

void bench_start(void)
{
    printf("bench: %s start\n", run.program->name);
    /* A child of fork() must not have it in its buffer. */
    fflush(stdout);
    clock_gettime(CLOCK_MONOTONIC, &run.start);
}

void bench_stop(void)
{
    clock_gettime(CLOCK_MONOTONIC, &run.stop);
}

void bench_exact(uint64_t bits)
{
    run.exact = bits;
    run.has_exact = 1;
}

void bench_fail(const char *what)
{
    printf("bench: %s is wrong: %s\n", run.program ? run.program->name : "it", what);
    fflush(stdout);
    _exit(1);
}

void *bench_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("there is no memory");
    return memory;
}

const char *const *bench_self(const char *verb)
{
    /* A user-mode emulator that is not registered with the kernel cannot be found by exec. */
    const char *emulator = getenv("BENCH_EMULATOR");
    static char path[4096];
    static const char *vector[4];

    if (path[0] == '\0') {
        ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
        if (length < 0)
            bench_fail("/proc/self/exe cannot be read");
    }
    size_t count = 0;
    if (emulator)
        vector[count++] = emulator;
    vector[count++] = path;
    vector[count++] = verb;
    vector[count] = NULL;
    return vector;
}

uint64_t bench_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

uint64_t bench_rounded(double value, int places)
{
    return (uint64_t)llround(value * pow(10, places));
}

static double seconds(void)
{
    return (double)(run.stop.tv_sec - run.start.tv_sec) +
           (double)(run.stop.tv_nsec - run.start.tv_nsec) * 1e-9;
}

static void list(void)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        const struct bench_program *p = programs[i];
        printf("%s %s %d %llu %llu %llu\n", p->name, p->group, p->harts,
               (unsigned long long)p->full, (unsigned long long)p->quick,
               (unsigned long long)p->tiny);
    }
}

static const struct bench_program *find(const char *name)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (strcmp(programs[i]->name, name) == 0)
            return programs[i];
    }
    fprintf(stderr, "programs: there is no %s; `programs list` names all\n", name);
    exit(2);
}

static uint64_t count_of(const struct bench_program *program, const char *scale)
{
    char *end;
    if (strcmp(scale, "full") == 0)
        return program->full;
    if (strcmp(scale, "quick") == 0)
        return program->quick;
    if (strcmp(scale, "tiny") == 0)
        return program->tiny;
    unsigned long long count = strtoull(scale, &end, 10);
    if (*end != '\0' || count == 0) {
        fprintf(stderr, "programs: %s is neither full, quick, tiny nor a count above 0\n", scale);
        exit(2);
    }
    return count;
}

int main(int argc, char **argv)
{
    /* What forkexec starts: the shortest life of a process. */
    if (argc == 2 && strcmp(argv[1], "exit") == 0)
        return 0;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        list();
        return 0;
    }
    if (argc != 3) {
        fprintf(stderr, "usage: programs list | NAME full|quick|tiny|COUNT\n");
        return 2;
    }
    run.program = find(argv[1]);
    uint64_t sum = run.program->run(count_of(run.program, argv[2]));
    printf("bench: %s %.9f %016llx %016llx\n", run.program->name, seconds(),
           (unsigned long long)sum, (unsigned long long)(run.has_exact ? run.exact : sum));
    return 0;
}
