/*
 * Runs a fuzz target without libFuzzer, so that random and mutated input is part of `make check`
 * under any compiler. A target is a file tests/fuzz/fuzz_NAME.c that defines
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);    returns 0
 *
 * accepts any input, keeps nothing from one call to the next, and aborts when a promise is broken.
 * List it in tests/fuzz/meson.build; `make fuzz` then also runs it with libFuzzer.
 *
 *     fuzz_NAME DIRECTORY    every file of the directory (it may be missing), then made-up inputs
 *     fuzz_NAME FILE...      these inputs only, to see a failure again
 *
 * Made-up inputs come from a generator whose seed is printed first: GUISE_SEED sets it,
 * GUISE_FUZZ_RUNS their number (default 200,000) and GUISE_FUZZ_SECONDS the time after which it
 * stops all the same (default 2). Input N depends on the seed, N and the directory's files only.
 * When a target dies, its input is left in the working directory as crash-NAME.
 *
 * One thread; the current input is global because signal handlers need it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 4096, SEEDS_MAX = 1024 };

struct input {
    uint8_t *data;
    size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* There when the address sanitizer is. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct input current;
static char crash_path[512];

/* ---- made-up inputs --------------------------------------------------------------------- */

/* splitmix64: good enough, and the same everywhere. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t random_below(uint64_t *state, size_t bound)
{
    return (size_t)(random_next(state) % bound);
}

/* Mostly short, sometimes up to INPUT_MAX. */
static size_t random_size(uint64_t *state)
{
    return random_below(state, (size_t)1 << (1 + random_below(state, 12)));
}

/* Values at which sizes, offsets and indices go wrong, in 1, 2, 4 or 8 little-endian bytes. */
static void put_edge_value(uint64_t *state, struct input *in)
{
    uint64_t bit = UINT64_C(1) << random_below(state, 64);
    const uint64_t values[] = {0, 1, bit, bit - 1, bit + 1, ~bit, ~UINT64_C(0), in->size};
    uint64_t value = values[random_below(state, sizeof values / sizeof values[0])];
    size_t width = (size_t)1 << random_below(state, 4);
    if (in->size < width)
        return;
    size_t at = random_below(state, in->size - width + 1);
    if (random_below(state, 2))
        at -= at % width;
    for (size_t i = 0; i < width; i++)
        in->data[at + i] = (uint8_t)(value >> (8 * i));
}

static void move_part(uint64_t *state, struct input *in)
{
    size_t from = random_below(state, in->size);
    size_t to = random_below(state, in->size);
    size_t most = in->size - (from > to ? from : to);
    memmove(in->data + to, in->data + from, random_below(state, most + 1));
}

static void mutate(uint64_t *state, struct input *in)
{
    size_t times = 1 + random_below(state, 8);
    while (times--) {
        if (!in->size) {
            in->data[in->size++] = (uint8_t)random_next(state);
            continue;
        }
        size_t at = random_below(state, in->size);
        switch (random_below(state, 6)) {
        case 0:
            in->data[at] ^= (uint8_t)(1u << random_below(state, 8));
            break;
        case 1:
            in->data[at] = (uint8_t)random_next(state);
            break;
        case 2:
            put_edge_value(state, in);
            break;
        case 3:
            move_part(state, in);
            break;
        case 4:
            in->size = at;
            break;
        default:
            while (in->size < INPUT_MAX && random_below(state, 8))
                in->data[in->size++] = (uint8_t)random_next(state);
            break;
        }
    }
}

static void make_input(uint64_t seed, uint64_t number, const struct input *seeds, size_t count,
                       struct input *in)
{
    uint64_t state = seed ^ (number * UINT64_C(0xd1342543de82ef95));
    if (count && random_below(&state, 4)) {
        const struct input *from = &seeds[random_below(&state, count)];
        in->size = from->size < INPUT_MAX ? from->size : INPUT_MAX;
        memcpy(in->data, from->data, in->size);
        mutate(&state, in);
        return;
    }
    in->size = random_size(&state);
    for (size_t i = 0; i < in->size; i++)
        in->data[i] = (uint8_t)random_next(&state);
    mutate(&state, in);
}

/* ---- running ----------------------------------------------------------------------------- */

/* Only calls that a signal handler may make. */
static void keep_input(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    size_t done = 0;
    while (done < current.size) {
        ssize_t n = write(fd, current.data + done, current.size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    static const char text[] = "the input that failed is kept in ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, crash_path, strlen(crash_path)) < 0 ||
        write(2, "\n", 1) < 0)
        return;
}

static void on_signal(int sig)
{
    keep_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void watch_for_death(const char *program)
{
    const char *slash = strrchr(program, '/');
    snprintf(crash_path, sizeof crash_path, "crash-%s", slash ? slash + 1 : program);
    signal(SIGABRT, on_signal);
    /* A sanitizer reports the others better than a bare signal would. */
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(keep_input);
        return;
    }
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], on_signal);
}

/* Gives the target a block of exactly the input's size, so that a read beyond it is seen. */
static void run_one(const struct input *in)
{
    uint8_t *copy = malloc(in->size ? in->size : 1);
    if (!copy) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    memcpy(copy, in->data, in->size);
    current = (struct input){copy, in->size};
    int result = LLVMFuzzerTestOneInput(copy, in->size);
    if (result != 0) {
        fprintf(stderr, "the target returned %d\n", result);
        abort();
    }
    current = (struct input){NULL, 0};
    free(copy);
}

static int read_input(const char *path, struct input *in)
{
    FILE *file = fopen(path, "rbe");
    struct stat st;
    if (!file || fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode)) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        if (file)
            fclose(file);
        return -1;
    }
    in->data = malloc((size_t)st.st_size + 1);
    in->size = in->data ? fread(in->data, 1, (size_t)st.st_size, file) : 0;
    fclose(file);
    return in->data ? 0 : -1;
}

/* In the order of their names, so that a seed means the same on every file system. */
static size_t read_directory(const char *path, struct input *inputs)
{
    struct dirent **names;
    size_t count = 0;
    int n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && len < (int)sizeof file && count < SEEDS_MAX &&
            read_input(file, &inputs[count]) == 0)
            count++;
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return count;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void run_made_up(const struct input *seeds, size_t count)
{
    uint64_t seed = number_from("GUISE_SEED", (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid());
    uint64_t runs = number_from("GUISE_FUZZ_RUNS", 200000);
    double end = seconds_now() + (double)number_from("GUISE_FUZZ_SECONDS", 2);
    uint8_t buffer[INPUT_MAX];
    struct input in = {buffer, 0};

    printf("seed GUISE_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    uint64_t number = 0;
    while (number < runs && seconds_now() < end) {
        make_input(seed, number++, seeds, count, &in);
        run_one(&in);
    }
    printf("%zu inputs from files, %" PRIu64 " made up\n", count, number);
}

int main(int argc, char **argv)
{
    static struct input seeds[SEEDS_MAX];
    struct stat st;
    watch_for_death(argv[0]);

    bool files = argc > 1 && stat(argv[1], &st) == 0 && !S_ISDIR(st.st_mode);
    if (files) {
        for (int i = 1; i < argc; i++) {
            struct input in;
            if (read_input(argv[i], &in) < 0)
                return 2;
            run_one(&in);
            free(in.data);
        }
        return 0;
    }

    size_t count = argc > 1 ? read_directory(argv[1], seeds) : 0;
    for (size_t i = 0; i < count; i++)
        run_one(&seeds[i]);
    run_made_up(seeds, count);
    for (size_t i = 0; i < count; i++)
        free(seeds[i].data);
    return 0;
}
