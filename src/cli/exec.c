#include "cli/cache.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "proc/proc.h"
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SELF 16

struct exec_settings {
    struct proc_config proc;
    const char *engine, *argv0, *dump;
    const char *self[MAX_SELF + 1]; /* what the program's children are started with */
    unsigned self_count;
    bool no_cache;
    struct error no_store; /* why there is none */
};

static void exec_pass_on(struct exec_settings *s, const char *option, const char *value)
{
    if (s->self_count + 2 > MAX_SELF)
        return;
    s->self[s->self_count++] = option;
    if (value)
        s->self[s->self_count++] = value;
}

static int set_engine(void *ctx, const char *value, struct error *err)
{
    struct exec_settings *s = ctx;
    (void)err;
    s->engine = value;
    exec_pass_on(s, "--engine", value);
    return 0;
}

static int set_sysroot(void *ctx, const char *value, struct error *err)
{
    struct exec_settings *s = ctx;
    if (access(value, X_OK) < 0)
        return error_set(err, errno, "--sysroot %s: %s", value, strerror(errno));
    s->proc.sysroot = value;
    exec_pass_on(s, "--sysroot", value);
    return 0;
}

static int set_argv0(void *ctx, const char *value, struct error *err)
{
    (void)err;
    ((struct exec_settings *)ctx)->argv0 = value;
    return 0;
}

static int set_program_fd(void *ctx, const char *value, struct error *err)
{
    uint64_t fd;
    int rc = parse_number(value, 3, INT32_MAX, &fd, err);
    if (!rc)
        ((struct exec_settings *)ctx)->proc.program_fd = (int)fd;
    return rc;
}

static int set_strace(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct exec_settings *)ctx)->proc.strace = true;
    exec_pass_on(ctx, "--strace", NULL);
    return 0;
}

static int set_stats(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct exec_settings *)ctx)->proc.stats = true;
    return 0;
}

static int set_dump(void *ctx, const char *value, struct error *err)
{
    (void)err;
    ((struct exec_settings *)ctx)->dump = value;
    return 0;
}

static int set_no_cache(void *ctx, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    ((struct exec_settings *)ctx)->no_cache = true;
    exec_pass_on(ctx, "--no-cache", NULL);
    return 0;
}

static int set_code_cache(void *ctx, const char *value, struct error *err)
{
    struct exec_settings *s = ctx;
    if (parse_code_cache(value, &s->proc.code_cache, err))
        return error_prefix(err, "--code-cache");
    exec_pass_on(s, "--code-cache", value);
    return 0;
}

static const struct option exec_options[] = {
    {"engine", "NAME", "auto (the default), dbt or interp", set_engine},
    {"sysroot", "DIR",
     "absolute names of files are looked up below DIR first: the program, its interpreter, its "
     "libraries",
     set_sysroot},
    {"argv0", "NAME", "the program's own name for itself; by default PROGRAM", set_argv0},
    {"program-fd", "FD", "PROGRAM is what descriptor FD is open on; guise closes it",
     set_program_fd},
    {"strace", NULL, "tell the program's system calls on standard error", set_strace},
    {"stats", NULL, "tell at the end what the engine did", set_stats},
    {"dump-code", "FILE", "write what is translated to FILE", set_dump},
    {"code-cache", "SIZE", "room for translated code; 128M by default", set_code_cache},
    {"no-cache", NULL, "neither use nor keep translations of earlier runs (see 'guise help cache')",
     set_no_cache},
    {NULL, NULL, NULL, NULL},
};

static void exec_help(FILE *out)
{
    fputs("\nRuns PROGRAM, a riscv64 Linux program, as a process of this host.\n\noptions:\n", out);
    options_help(exec_options, out);
    fputs("\nexit codes: the program's own; 127 when there is no PROGRAM, 126 when it cannot be\n"
          "executed, 2 for wrong usage.\n",
          out);
}

static int exec_open_dump(struct exec_settings *s, struct error *err)
{
    if (!s->dump)
        return 0;
    s->proc.dump = fopen(s->dump, "we");
    return s->proc.dump
               ? 0
               : error_set(err, errno, "%s: cannot be written: %s", s->dump, strerror(errno));
}

/* Without one the program runs all the same. */
static void exec_open_store(struct exec_settings *s)
{
    if (s->no_cache)
        return;
    s->proc.store = cache_open(&s->no_store);
    if (!s->proc.store)
        s->proc.store_why = s->no_store.msg;
}

static int exec_failed(const struct error *err)
{
    fail_usage(err->msg);
    return err->code == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int run_exec(int argc, char **argv)
{
    struct exec_settings s = {.engine = "auto"};
    struct error err = {0};
    int first;
    exec_pass_on(&s, "exec", NULL);
    if (options_parse_first(exec_options, argc, argv, &s, &first, &err))
        return fail_usage(err.msg);
    if (first == argc)
        return fail_usage("exec needs a program: guise exec PROGRAM [ARGUMENT]...");
    s.proc.engine = vm_find_engine(s.engine, &err);
    if (!s.proc.engine || exec_open_dump(&s, &err))
        return fail_usage(err.msg);
    exec_open_store(&s);
    s.proc.program = argv[first];
    s.proc.argv = argv + first;
    if (s.argv0 && (s.proc.argv[0] = strdup(s.argv0)) == NULL)
        return fail_usage("out of memory");
    s.proc.envp = environ;
    s.proc.self = s.self;
    proc_run(&s.proc, &err);
    return exec_failed(&err);
}

const struct verb verb_exec = {
    .name = "exec",
    .usage = "exec [OPTION]... PROGRAM [ARG]...",
    .summary = "run a riscv64 Linux program",
    .run = run_exec,
    .help = exec_help,
};
