#include "cli/verbs.h"

#include <string.h>

#ifndef GUISE_VERSION
#error "the build defines GUISE_VERSION"
#endif

static const struct verb *const verbs[] = {&verb_run,    &verb_ctl,     &verb_ps,     &verb_exec,
                                           &verb_binfmt, &verb_cache,   &verb_disasm, &verb_disk,
                                           &verb_image,  &verb_version, &verb_help};
#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

int fail_usage(const char *sentence)
{
    fprintf(stderr, "guise: %s\n", sentence);
    return EXIT_USAGE;
}

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

static int fail_verb(const char *name)
{
    char sentence[200];
    snprintf(sentence, sizeof sentence, "there is no verb '%.100s'; 'guise help' lists them", name);
    return fail_usage(sentence);
}

static int run_version(int argc, char **argv)
{
    (void)argv;
    if (argc)
        return fail_usage("version takes no arguments");
    puts("guise " GUISE_VERSION);
    return 0;
}

const struct verb verb_version = {
    .name = "version",
    .usage = "version",
    .summary = "print the version",
    .run = run_version,
};

static void print_overview(FILE *out)
{
    fputs("guise runs unmodified operating systems as virtual machines, and riscv64 programs as\n"
          "processes.\n\nusage:\n",
          out);
    for (size_t i = 0; i < VERB_COUNT; i++)
        fprintf(out, "  guise %-34s %s\n", verbs[i]->usage, verbs[i]->summary);
    fputs("\nexit codes: 0 when the guest switches itself off, the guest's code when it reports\n"
          "failure, 2 for wrong usage or unusable input.\n",
          out);
}

static int run_help(int argc, char **argv)
{
    if (argc > 1)
        return fail_usage("help takes one verb");
    if (!argc) {
        print_overview(stdout);
        return 0;
    }
    const struct verb *v = verb_find(argv[0]);
    if (!v)
        return fail_verb(argv[0]);
    printf("usage: guise %s\n%s\n", v->usage, v->summary);
    if (v->help)
        v->help(stdout);
    return 0;
}

const struct verb verb_help = {
    .name = "help",
    .usage = "help [VERB]",
    .summary = "explain guise, or one verb",
    .run = run_help,
};

/* Behind an action's name, too; but what follows the program of exec is the program's. */
static bool asks_for_help(int argc, char **argv, const struct verb *v)
{
    const char *last = argv[argc - 1];
    if (argc == 3)
        return !strcmp(last, "--help") || !strcmp(last, "-h");
    return argc > 3 && v != &verb_exec && !strcmp(last, "--help");
}

int main(int argc, char **argv)
{
    if (handler_called())
        return handler_run(argc, argv);
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    else if (!strcmp(name, "--version"))
        name = "version";
    const struct verb *v = verb_find(name);
    if (!v)
        return fail_verb(name);
    if (asks_for_help(argc, argv, v))
        return run_help(1, &argv[1]);
    return v->run(argc - 2, argv + 2);
}
