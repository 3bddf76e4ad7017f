/* The verbs of the command line: one file each, listed in main.c. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* Exit codes: 0, a guest's own code, or this for wrong usage and unusable input. */
#define EXIT_USAGE 2
/* Of a program that could not be started, as env(1) and shells have it. */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

struct verb {
    const char *name;
    const char *usage;   /* after the program's name */
    const char *summary; /* one line */
    /* argv without the verb. Returns the exit code. */
    int (*run)(int argc, char **argv);
    void (*help)(FILE *out); /* what follows the usage; NULL: nothing */
};

/*
 * Whether the kernel has called guise to run a program (binfmt_misc): then there are no verbs, and
 * no options. handler_run returns the exit code of what could not be started.
 */
bool handler_called(void);
int handler_run(int argc, char **argv);

extern const struct verb verb_run, verb_ctl, verb_ps, verb_exec, verb_binfmt, verb_cache,
    verb_disasm, verb_disk, verb_image, verb_version, verb_help;

/* Prints "guise: sentence" to stderr and returns EXIT_USAGE. */
int fail_usage(const char *sentence);
