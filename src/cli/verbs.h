/* The verbs of the command line: one file each, listed in main.c. */
#pragma once

#include <stdio.h>

/* Exit codes: 0, a guest's own code, or this for wrong usage and unusable input. */
#define EXIT_USAGE 2

struct verb {
    const char *name;
    const char *usage;   /* after the program's name */
    const char *summary; /* one line */
    /* argv without the verb. Returns the exit code. */
    int (*run)(int argc, char **argv);
    void (*help)(FILE *out); /* what follows the usage; NULL: nothing */
};

extern const struct verb verb_run, verb_exec, verb_cache, verb_disasm, verb_version, verb_help;

/* Prints "guise: sentence" to stderr and returns EXIT_USAGE. */
int fail_usage(const char *sentence);
