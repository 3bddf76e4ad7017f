/* Hosts that the process VM has not been brought to. */
#include "cli/verbs.h"

static int run_exec(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return fail_usage("exec runs on x86-64 hosts only, until now");
}

const struct verb verb_exec = {
    .name = "exec",
    .usage = "exec [OPTION]... PROGRAM [ARG]...",
    .summary = "run a riscv64 Linux program (not on this host)",
    .run = run_exec,
};

static int run_binfmt(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return fail_usage("binfmt is for x86-64 hosts only, until now");
}

const struct verb verb_binfmt = {
    .name = "binfmt",
    .usage = "binfmt install|remove|status",
    .summary = "let the kernel run riscv64 programs by guise (not on this host)",
    .run = run_binfmt,
};

bool handler_called(void)
{
    return false;
}

int handler_run(int argc, char **argv)
{
    return run_exec(argc, argv);
}
