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
